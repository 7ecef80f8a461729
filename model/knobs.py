"""Choices beside the genome that the paper leaves open; every one is explicit and recorded."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import InputError

MAX_LANES, MIN_ENTRIES, MAX_ENTRIES = 64, 2, 64
MAX_INPUT_BITS = 8
#: Knobs that came after the first hashes were made: where they are at their default, they are in no
#: hash, so that those of before still hold.
_LATER = ("input_bits",)


@dataclass(frozen=True)
class Knobs:
    """Quantisation and hardware choices of a network (all layers alike).

    Parameters
    ----------
    dense_output : "gene" or "8"
        Whether a dense gene also sets the width of the operator's output code, or that is 8 bits
        (the default: the better trade of accuracy against cells and size, docs/results.md).
    granularity : "tensor" or "channel"
        One weight scale per matrix, or per output channel a power of two times the matrix scale.
    multiplier_terms : 1, 2, 3 or None
        Signed powers of two in each combined scale M (1: shift only); None: a free 16-bit M0.
    activation : "auto", "pwl" or "table"
        Piecewise-linear units, full tables, or the cheaper of those whose accuracy holds.
    entries : int
        Segments of a piecewise-linear unit, 2 to 64; ``auto`` tries other numbers besides.
    lanes_x, lanes_h : int
        Multiply-accumulates per cycle of each dense operator on the input and the state side.
    input_bits : int
        Width of the codes that the first layer gets, 1 to 8.

    Raises :class:`InputError` for anything else.
    """

    dense_output: str = "8"
    granularity: str = "tensor"
    multiplier_terms: int | None = 1
    activation: str = "auto"
    entries: int = 8
    lanes_x: int = 1
    lanes_h: int = 1
    input_bits: int = 8

    def __post_init__(self) -> None:
        for name, allowed in (
            ("dense_output", ("gene", "8")),
            ("granularity", ("tensor", "channel")),
            ("multiplier_terms", (1, 2, 3, None)),
            ("activation", ("auto", "pwl", "table")),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or value not in allowed:
                raise InputError(f"{name}: {value!r} is not one of {allowed}")
        for name, low, high in (
            ("entries", MIN_ENTRIES, MAX_ENTRIES),
            ("lanes_x", 1, MAX_LANES),
            ("lanes_h", 1, MAX_LANES),
            ("input_bits", 1, MAX_INPUT_BITS),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name}: {value!r} is not an integer from {low} to {high}")

    @property
    def suffix(self) -> str:
        """What differs from the defaults, for folder names: ``""`` or e.g. ``-terms2-lanes4``."""
        short = {
            "dense_output": "out",
            "granularity": "",
            "multiplier_terms": "terms",
            "activation": "",
            "entries": "entries",
            "lanes_x": "lx",
            "lanes_h": "lh",
            "input_bits": "in",
        }
        return "".join(
            f"-{short[name]}{'free' if value is None else value}"
            for name, value in self.changes.items()
        )

    @property
    def changes(self) -> dict[str, Any]:
        """The knobs that are not at their default, in the order of the fields."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    @property
    def identity(self) -> dict[str, Any]:
        """What a hash takes of the knobs; JSON-able."""
        changes = self.changes
        return {n: v for n, v in asdict(self).items() if n not in _LATER or n in changes}

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record of all choices."""
        return asdict(self)
