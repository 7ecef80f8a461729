"""Formats of slopes and intercepts: grids of the numbers that an entry may have."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..aliases import Array
from ..errors import InputError, integer_within, shown
from ..integer import code_range
from .functions import Function

#: Widest slopes and intercepts that the default format takes before it gives up fraction bits.
WIDEST = 10
#: Exponents of a dynamic value (LUT-APP): up to so many integer bits.
MAX_EXPONENT = 7


class Grid:
    """The finite set of numbers that a format can hold, ascending.

    size : how many
    """

    size: int

    def value(self, index: Array) -> Array:
        """float64 numbers at integer indices within 0 to ``size - 1``."""
        raise NotImplementedError

    def nearest(self, value: Array) -> Array:
        """Index int64 of the number nearest to each float64 `value`."""
        raise NotImplementedError

    def stored(self, index: Array) -> tuple[Array, Array]:
        """Integers and fraction bits, int64 each: number = integer * 2**-fraction bits."""
        raise NotImplementedError


class FixedGrid(Grid):
    """``m * 2**-fraction_bits`` for every signed m of `bits` bits."""

    def __init__(self, bits: int, fraction_bits: int) -> None:
        self.low, self.high = code_range(bits)
        self.fraction_bits, self.size = fraction_bits, 1 << bits

    def value(self, index: Array) -> Array:
        return np.ldexp(np.asarray(index, np.float64) + self.low, -self.fraction_bits)

    def nearest(self, value: Array) -> Array:
        m = np.floor(np.ldexp(value, self.fraction_bits) + 0.5)
        return (np.clip(m, self.low, self.high) - self.low).astype(np.int64)

    def stored(self, index: Array) -> tuple[Array, Array]:
        m = np.asarray(index, np.int64) + self.low
        return m, np.full_like(m, self.fraction_bits)


def digits(values: Array) -> Array:
    """The fewest signed powers of two that add up to each integer: adders of a multiplier."""
    values = np.abs(np.asarray(values, np.int64))
    return np.vectorize(int.bit_count, otypes=[np.int64])(values ^ 3 * values)


class ListedGrid(Grid):
    """Any finite set: integers `m` [n] with `fraction` bits [n] each, ascending in value."""

    def __init__(self, m: Array, fraction: Array) -> None:
        self.m, self.fraction = np.asarray(m, np.int64), np.asarray(fraction, np.int64)
        self.values = np.ldexp(self.m.astype(np.float64), -self.fraction)
        if not len(self.values) or (np.diff(self.values) <= 0).any():
            raise InputError("a grid's numbers must ascend")
        self.size = len(self.values)
        self._middle = (self.values[1:] + self.values[:-1]) / 2

    def value(self, index: Array) -> Array:
        return self.values[index]

    def nearest(self, value: Array) -> Array:
        return np.searchsorted(self._middle, value, side="right")

    def stored(self, index: Array) -> tuple[Array, Array]:
        return self.m[index], self.fraction[index]


@dataclass(frozen=True)
class Format:
    """How slopes and intercepts are held.

    Parameters
    ----------
    kind : 'fixed' or 'dynamic'
        Fixed: signed integers with `fraction_bits` behind the point. Dynamic (LUT-APP, DATE 2026):
        each value has an exponent of its own, s = clip(floor(1 + log2 |v|), 0, 7) integer bits, and
        what is left of its width behind the point.
    slope_bits, intercept_bits : int
        Stored bits, the sign included, 2 to 24.
    fraction_bits : int
        Of the fixed kind.
    slope_digits : int, 0 to 2
        Of the fixed kind: slopes are sums of at most so many signed powers of two, which shifts
        multiply by; 0 for any slopes.
    """

    kind: Literal["fixed", "dynamic"] = "fixed"
    slope_bits: int = 8
    intercept_bits: int = 8
    fraction_bits: int = 6
    slope_digits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "dynamic"):
            raise InputError(f"format {shown(self.kind)}: fixed and dynamic are known")
        top = 24 if self.kind == "fixed" else 12
        for name in ("slope_bits", "intercept_bits"):
            integer_within(name, getattr(self, name), 2, top)
        integer_within("fraction_bits", self.fraction_bits, 0, 24)
        integer_within("slope_digits", self.slope_digits, 0, 2)
        if self.slope_digits and self.kind != "fixed":
            raise InputError("slope_digits: only fixed slopes have so few, dynamic ones do not")

    @classmethod
    def of(cls, function: Function) -> "Format":
        """The fixed-point format in which `function` is searched when nothing else is said.

        At least that of the function; wider where slopes or intercepts of its pieces need more
        integer bits, up to WIDEST, and beyond that with fewer fraction bits. Raises
        :class:`InputError` for a function whose pieces no format holds.
        """
        pieces = _pieces(function)
        greatest = max(float(np.abs(values).max(initial=0.0)) for values in pieces)
        if greatest > 2.0**23:
            raise InputError(
                f"{function.name}: its lines have slopes or intercepts up to {greatest:.3g}, where "
                f"24 bits hold {2**23:,}; choose a smaller range, or divide it by a power of two"
            )
        integers = [_integer_bits(values) for values in pieces]
        fraction = max(0, min(function.fraction_bits, WIDEST - 1 - max(integers)))
        slope, intercept = (max(function.width, 1 + bits + fraction) for bits in integers)
        return cls("fixed", min(slope, 24), min(intercept, 24), fraction)

    def _grid(self, bits: int) -> Grid:
        if self.kind == "fixed":
            return FixedGrid(bits, self.fraction_bits)
        cheapest: dict[float, tuple[int, int]] = {}
        for exponent in range(min(MAX_EXPONENT, bits - 1) + 1):
            fraction = bits - 1 - exponent
            low, high = code_range(bits)
            for m in range(low, high + 1):
                size = abs(m) * 2.0**-fraction
                if exponent == (min(max(math.floor(1 + math.log2(size)), 0), 7) if m else 0):
                    cheapest[m * 2.0**-fraction] = (m, fraction)
        m, fraction = np.array([cheapest[value] for value in sorted(cheapest)]).T
        return ListedGrid(m, fraction)

    @cached_property
    def slopes(self) -> Grid:
        """The numbers that a slope can be."""
        if not self.slope_digits:
            return self._grid(self.slope_bits)
        low, high = code_range(self.slope_bits)
        values = np.arange(low, high + 1)
        values = values[digits(values) <= self.slope_digits]
        return ListedGrid(values, np.full_like(values, self.fraction_bits))

    @cached_property
    def intercepts(self) -> Grid:
        """The numbers that an intercept can be."""
        return self._grid(self.intercept_bits)

    @property
    def name(self) -> str:
        """Short text, such as ``s1.6`` (integer and fraction bits), ``s1.6, s2.6`` where slopes and
        intercepts differ, or ``dynamic8``."""
        if self.kind == "dynamic":
            return f"dynamic{self.slope_bits}"
        slope, intercept = (
            f"s{bits - 1 - self.fraction_bits}.{self.fraction_bits}"
            for bits in (self.slope_bits, self.intercept_bits)
        )
        name = slope if slope == intercept else f"{slope}, {intercept}"
        powers = ("", "powers of two", "two powers of two")[self.slope_digits]
        return f"{name}, slopes {powers}" if powers else name

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record."""
        record = asdict(self)
        if not self.slope_digits:
            del record["slope_digits"]
        return record


#: Chords by which slopes and intercepts of a function's pieces are told before they are searched.
_CHORDS = 32


def _pieces(function: Function) -> tuple[Array, Array]:
    """Slopes and intercepts float64 of chords over the function's range."""
    x = np.linspace(function.low, function.high, _CHORDS + 1)
    y = function(x[function.defined(x)])
    x = x[function.defined(x)]
    slope = np.diff(y) / np.diff(x)
    return slope, y[:-1] - slope * x[:-1]


def _integer_bits(values: Array) -> int:
    """Bits before the point, without the sign, that hold every value but for a sixteenth of the
    greatest, which a segment with more than one chord evens out."""
    size = np.abs(values).max(initial=0.0)
    bits = 1
    while bits < 23 and size * 15 / 16 > 2.0**bits:
        bits += 1
    return bits
