"""A network's statistics as formulas take them: the leaves, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...model.aliases import Array
from ...model.errors import InputError
from .layout import Layout, Value, item_maxima

#: Inputs that are tensors, with the symbol that a formula shows.
TENSORS = {
    "weight": "W",
    "activation": "A",
    "gradient": "G",
    "virtual_gradient": "V",
    "hessian": "H",
    "squared_gradient": "F",
    "error": "D",
}
#: Inputs that are one number an item: its width, its elements, those of a whole batch (of a
#: weight the same), its multiply-accumulates.
SCALARS = {"bits": "b", "elements": "n", "counts": "N", "macs": "m"}
#: One number an item that is measured: the eigenvalue of largest size of its Hessian block.
SPECTRAL = {"eigenvalue": "lambda"}
SYMBOLS = TENSORS | SCALARS | SPECTRAL
#: A tensor times the width, as EMQ lets the width enter; the error has its width already.
SCALED = tuple(f"bits*{name}" for name in TENSORS if name != "error")
#: Everything that a formula may start from.
LEAVES = (*SYMBOLS, *SCALED)
#: Leaves that are not the same at all widths.
BY_WIDTH = frozenset({"bits", "error", *SCALED})
#: Elements an item that :meth:`Inputs.of` keeps in the evolution.
SAMPLE = 512


def _stacked(name: str, arrays: Sequence[Sequence[Array]], parts: Sequence[Any]) -> Array:
    """The `parts` of the items' matrices, one behind the other [widths, elements]. Raises
    :class:`InputError` where one is not finite."""
    data = np.stack(
        [
            np.concatenate(
                [
                    each[width][np.ix_(*part)].ravel()
                    for each, part in zip(arrays, parts, strict=True)
                ]
            )
            for width in range(len(arrays[0]))
        ]
    )
    if not np.isfinite(data).all():
        raise InputError(f"statistics: {name} holds values that are not finite")
    return data


@dataclass(frozen=True, eq=False)
class Inputs:
    """A network's statistics as formulas take them: the leaves by name.

    names, widths : items (genes or layers), and bit widths of the columns
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    leaves: Mapping[str, Value]
    scalar: Layout

    @classmethod
    def of(
        cls, statistics: Any, sample: int | None = SAMPLE, *, seed: int = 0, normalise: bool = True
    ) -> "Inputs":
        """Of a :class:`~.statistics.Statistics`.

        sample : elements an item at most, the same rows and columns of every tensor; None for all
        normalise : give every tensor the root mean square 1 over the network (the error is in
            units of the weight), so that guards and exponentials mean the same in every network.
            A constant factor of a tensor ranks nothing differently in a formula without them.
        Raises :class:`InputError` for statistics that are incomplete or not finite.
        """
        names, widths = tuple(statistics.names), tuple(int(w) for w in statistics.widths)
        elements = np.asarray(statistics.elements, float)
        # Outputs are quantised at every sample and step of the batch.
        whole = np.asarray(getattr(statistics, "counts", elements), float)
        if not names or not widths:
            raise InputError("statistics: no items or no widths in them")
        rng = np.random.default_rng([seed, 6])
        layouts: dict[Any, tuple[Layout, list[tuple[Array, Array]]]] = {}
        leaves: dict[str, Value] = {}
        scale: dict[str, float] = {}
        tensors = _tensors_of(statistics, widths)
        for name in TENSORS:
            if len(tensors.get(name, ())) != len(names):
                raise InputError(
                    f"statistics: {name} has {len(tensors.get(name, ()))} items, "
                    f"{len(names)} are named"
                )
            arrays = tensors[name]
            shapes = tuple(each[0].shape for each in arrays)
            if any(len(shape) != 2 or 0 in shape for shape in shapes):
                raise InputError(f"statistics: {name} needs matrices that are not empty")
            if shapes not in layouts:
                parts = [_sampled_part(shape, sample, rng) for shape in shapes]
                small = Layout(tuple((len(r), len(c)) for (r, c) in parts), whole)
                layouts[shapes] = small, parts
            layout, parts = layouts[shapes]
            data = _stacked(name, arrays, parts)
            scale[name] = float(np.sqrt((data**2).mean())) or 1.0
            leaves[name] = Value(
                data / (scale["weight" if name == "error" else name] if normalise else 1.0), layout
            )
        single = Layout(((1, 1),) * len(names), whole)
        bits = np.repeat(np.array(widths, float)[:, None], len(names), 1)
        leaves["bits"] = Value(bits, single)
        leaves["elements"] = Value(elements[None], single)
        leaves["counts"] = Value(whole[None], single)
        leaves["macs"] = Value(np.asarray(statistics.macs, float)[None], single)
        vectors = getattr(statistics, "vectors", {})
        if "eigenvalue" in vectors:
            eigenvalue = np.asarray(vectors["eigenvalue"], float)[None]
        else:  # of a diagonal matrix it is the largest entry
            eigenvalue = item_maxima(leaves["hessian"].data, leaves["hessian"].layout)
        size = float(np.sqrt((eigenvalue**2).mean())) or 1.0
        leaves["eigenvalue"] = Value(eigenvalue / (size if normalise else 1.0), single)
        # Scaled leaves are made when they are asked for: most formulas need none.
        return cls(names, widths, leaves, single)

    def leaf(self, name: str) -> Value:
        """The value of a leaf."""
        if name in self.leaves:
            return self.leaves[name]
        plain = self.leaves[name.removeprefix("bits*")]
        value = Value(plain.data * np.array(self.widths, float)[:, None], plain.layout)
        self._scaled[name] = value
        return value

    @cached_property
    def _scaled(self) -> dict[str, Value]:
        return {}

    def columns(self, genomes: Array) -> Array:
        """Column of every gene's width: int [N, items].

        Raises :class:`InputError` for genomes of another network.
        """
        genomes = np.asarray(genomes)
        if genomes.ndim != 2 or genomes.shape[1] != len(self.names):
            raise InputError(
                f"genomes {list(genomes.shape)}: the statistics have {len(self.names)} items; "
                "both must be of one network"
            )
        place = np.full(max(*self.widths, int(genomes.max(initial=0))) + 1, -1)
        place[list(self.widths)] = np.arange(len(self.widths))
        columns = place[genomes.astype(int)]
        if (columns < 0).any():
            row, item = np.argwhere(columns < 0)[0]
            raise InputError(
                f"genome {row}, item {item} ({self.names[item]}): {int(genomes[row, item])} bits, "
                f"the statistics have {', '.join(map(str, self.widths))}"
            )
        return columns


def _tensors_of(statistics: Any, widths: tuple[int, ...]) -> dict[str, list[list[Array]]]:
    """Matrices by kind and item; a single one, or of errors one for each width."""
    tensors: dict[str, list[list[Array]]] = {
        name: [[np.asarray(tensor, float)] for tensor in given]
        for name, given in statistics.tensors.items()
        if name in TENSORS
    }
    if "squared_gradient" not in tensors and "gradient" in tensors:
        tensors["squared_gradient"] = [[each**2] for (each,) in tensors["gradient"]]
    batch = float(getattr(statistics, "about", {}).get("batch", 1))
    for item, size in enumerate(getattr(statistics, "parameters", ())):
        # An output belongs to one sample: its sum over the batch is to be a mean, too.
        if not size and item < len(tensors.get("squared_gradient", ())):
            tensors["squared_gradient"][item] = [
                each / batch for each in tensors["squared_gradient"][item]
            ]
    try:
        tensors["error"] = [
            [np.asarray(error[width], float) for width in widths] for error in statistics.errors
        ]
    except KeyError as error:
        raise InputError(f"statistics: no quantisation error at {error} bits") from None
    return tensors


def _sampled_part(
    shape: tuple[int, int], sample: int | None, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Rows and columns to keep of a matrix, about as many of both as its shape has."""
    rows, columns = shape
    if sample is None or rows * columns <= sample:
        return np.arange(rows), np.arange(columns)
    few = int(np.clip(round((sample * rows / columns) ** 0.5), 1, rows))
    some = max(1, min(columns, sample // few))
    few = max(1, min(rows, sample // some))
    return (
        np.sort(rng.choice(rows, few, replace=False)),
        np.sort(rng.choice(columns, some, replace=False)),
    )
