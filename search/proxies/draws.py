"""Random genomes for tables: of any widths, around one width, of equal sum, of equal size."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...model.aliases import Array
from ...model.errors import InputError
from .tables import KINDS

#: Relative reach of the sizes of the subset of equal size.
SAME_SIZE = 0.005


@dataclass(frozen=True)
class Draws:
    """How many genomes of each kind a table gets, and the seed of all of them.

    any : every width alike likely, all items independent
    around : a width, uniform, and every item up to 2 bits from it
    equal_sum : uniform among the genomes with the mean width in the middle
    equal_size : weight bits all of one sum, everything else as in `any`
    """

    any: int = 220
    around: int = 180
    equal_sum: int = 140
    equal_size: int = 140
    seed: int = 2307

    @property
    def counts(self) -> dict[str, int]:
        counts = (self.any, self.around, self.equal_sum, self.equal_size)
        return dict(zip(KINDS, counts, strict=True))


def draw_any(draw: np.random.Generator, widths: Array, items: int) -> Array:
    """Widths [items], each of `widths` alike likely."""
    return draw.choice(widths, items)


def draw_around(draw: np.random.Generator, widths: Array, items: int, reach: int = 2) -> Array:
    """Widths up to `reach` places from one that is drawn first."""
    centre = draw.integers(len(widths))
    places = centre + draw.integers(-reach, reach + 1, items)
    return widths[np.clip(places, 0, len(widths) - 1)]


def draw_weighted(
    draw: np.random.Generator,
    widths: Array,
    weights: Array,
    target: int,
    reach: float = 0.0,
    attempts: int = 200_000,
) -> Array:
    """Uniform widths under the condition that ``weights @ widths`` is `target`, within a relative
    `reach`. Raises :class:`InputError` where `attempts` draws bring none."""
    step = 1000
    for _ in range(0, attempts, step):
        tried = draw.choice(widths, (step, len(weights)))
        fits = np.flatnonzero(np.abs(tried @ weights - target) <= reach * target)
        if len(fits):
            return tried[fits[0]]
    raise InputError(f"no widths with a sum of {target} found in {attempts} draws")


def interleaved(kinds: Mapping[str, int]) -> list[str]:
    """The kinds in an order in which all of them are spread evenly."""
    places = [((k + 0.5) / count, kind) for kind, count in kinds.items() for k in range(count)]
    return [kind for _, kind in sorted(places)]
