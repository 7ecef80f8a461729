"""Piecewise-linear tables of a function: number formats, the codes they are judged on, their file.

A table of N segments is ``y = slope_k x + intercept_k`` for ``k = #{j: p_j <= x}``: an input on a
break point belongs to the segment on its right. Inputs are signed codes q, ``x = q 2**-scale``.
Slopes and intercepts are integers with fraction bits, so that ``y`` is exact; what an 8-bit output
makes of it is up to the unit (:meth:`Segments.unit`). Source: arXiv 2403.19591 (GQA-LUT), where a
scale is a power of two and a real break point is rounded to the codes of each scale.

Protocol R judges a table on the codes within the function's range, both ends included; protocol A
on every code within its domain, which also shows what a table does outside of its range.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import InputError, index_within, integer_within, shown
from ..files import read_json, write_json
from ..integer import PiecewiseLinear, code_range, common_power
from .functions import Function, parse_function

Array = np.ndarray
KIND, VERSION = "genogate lut", 1
#: What the commands take; the classes below also take fewer segments.
MIN_ENTRIES, MAX_ENTRIES = 4, 64
#: Widest codes of a table that is searched on every code.
MIN_IN_BITS, MAX_IN_BITS = 4, 8
#: Scales 2**-k that a table may be for.
MIN_SCALE, MAX_SCALE = -8, 16
#: The scale set of arXiv 2403.19591.
SCALES = tuple(range(7))
#: Widest slopes and intercepts that the default format takes before it gives up fraction bits.
WIDEST = 10
#: Exponents of a dynamic value (LUT-APP): up to so many integer bits.
MAX_EXPONENT = 7
Protocol = Literal["R", "A"]


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
    """

    kind: Literal["fixed", "dynamic"] = "fixed"
    slope_bits: int = 8
    intercept_bits: int = 8
    fraction_bits: int = 6

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "dynamic"):
            raise InputError(f"format {shown(self.kind)}: fixed and dynamic are known")
        top = 24 if self.kind == "fixed" else 12
        for name in ("slope_bits", "intercept_bits"):
            integer_within(name, getattr(self, name), 2, top)
        integer_within("fraction_bits", self.fraction_bits, 0, 24)

    @classmethod
    def of(cls, function: Function) -> "Format":
        """The fixed-point format in which `function` is searched when nothing else is said.

        At least that of the function; wider where slopes or intercepts of its pieces need more
        integer bits, up to WIDEST, and beyond that with fewer fraction bits.
        """
        integers = [_integer_bits(values) for values in _pieces(function)]
        fraction = max(0, min(function.fraction_bits, WIDEST - 1 - max(integers)))
        slope, intercept = (max(function.width, 1 + bits + fraction) for bits in integers)
        return cls("fixed", min(slope, 24), min(intercept, 24), fraction)

    def _grid(self, bits: int) -> Grid:
        if self.kind == "fixed":
            return FixedGrid(bits, self.fraction_bits)
        found: dict[float, tuple[int, int]] = {}
        for exponent in range(min(MAX_EXPONENT, bits - 1) + 1):
            fraction = bits - 1 - exponent
            low, high = code_range(bits)
            for m in range(low, high + 1):
                size = abs(m) * 2.0**-fraction
                if exponent == (min(max(math.floor(1 + math.log2(size)), 0), 7) if m else 0):
                    found[m * 2.0**-fraction] = (m, fraction)
        m, fraction = np.array([found[value] for value in sorted(found)]).T
        return ListedGrid(m, fraction)

    @cached_property
    def slopes(self) -> Grid:
        """The numbers that a slope can be."""
        return self._grid(self.slope_bits)

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
        return slope if slope == intercept else f"{slope}, {intercept}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record."""
        return asdict(self)


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


def codes(function: Function, in_bits: int, scale: int, protocol: Protocol = "R") -> Array:
    """Input codes int64 that `protocol` judges at scale ``2**-scale``, ascending.

    Raises :class:`InputError` where a range holds fewer than two codes of that scale.
    """
    low, high = code_range(in_bits)
    every = np.arange(low, high + 1)
    x = np.ldexp(every.astype(np.float64), -scale)
    if protocol == "A":
        return every[function.defined(x)]
    inside = (x >= function.low) & (x <= function.high)
    if inside.sum() < 2:
        raise InputError(
            f"range of {function.name}: {function.low:g} to {function.high:g} holds "
            f"{inside.sum()} of the {in_bits}-bit codes at scale 2^{-scale} "
            f"({x[0]:g} to {x[-1]:g} in steps of {2.0**-scale:g}); leave that scale out or widen it"
        )
    return every[inside]


@dataclass(frozen=True)
class Inputs:
    """Finitely many inputs that a table is judged on, in the order of break points.

    x, y, weight : float64 [n], inputs, wanted outputs, and their weights
    """

    x: Array
    y: Array
    weight: Array


@dataclass(frozen=True)
class Points(Inputs):
    """Every input that a table is judged on, of one scale or of many, in the order of break points.

    A real break point p becomes, at scale S, the code round(p / S). On ``2**-(K+1)``, K the finest
    scale, all places where that rounding changes are integers, so a break point is a cell ``c`` of
    that grid (p = c + 1/2 of its steps), and input i is on its right side when ``c < key[i]``. No
    two inputs have the same key.

    The weights sum to 1.

    key : int64 [n], strictly ascending
    scale : int64 [n], the k of the scale 2**-k that the input belongs to
    function, in_bits, scales : what the inputs were made of
    """

    key: Array
    scale: Array
    function: Function
    in_bits: int
    scales: tuple[int, ...]

    @classmethod
    def of(
        cls,
        function: Function,
        scales: Sequence[int] = SCALES,
        in_bits: int = 8,
        weight: Array | None = None,
    ) -> "Points":
        """The inputs of protocol R: mean over codes of each scale, then over scales.

        `weight` [2**in_bits] weighs the codes, lowest code first, for example a histogram of real
        activations; within each scale it is normalised. Raises :class:`InputError` for a scale
        without inputs, a weighting without mass there, or a function that is not finite.
        """
        scales = check_scales(scales)
        check_in_bits(in_bits)
        low, _ = code_range(in_bits)
        if weight is not None:
            weight = np.asarray(weight, np.float64)
            if weight.shape != (1 << in_bits,) or not np.isfinite(weight).all():
                raise InputError(
                    f"weights: {1 << in_bits} finite numbers are needed, one a code, "
                    f"not an array of shape {weight.shape}"
                )
            if (weight < 0).any():
                at = int(np.argmax(weight < 0))
                raise InputError(f"weights: that of code {at + low} is negative ({weight[at]:g})")
        finest = max(scales)
        parts = []
        for k in scales:
            q = codes(function, in_bits, k)
            x = np.ldexp(q.astype(np.float64), -k)
            share = np.ones(len(q)) if weight is None else weight[q - low]
            if not share.sum() > 0:
                raise InputError(f"weights: all are zero within the range at scale 2^{-k}")
            share = share / share.sum() / len(scales)
            parts.append((x, function(x), share, (2 * q + 1) << (finest - k), np.full(len(q), k)))
        x, y, w, key, scale = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(key)
        return cls(
            x[order], y[order], w[order], key[order], scale[order], function, in_bits, scales
        )

    @property
    def finest(self) -> int:
        """K of the finest scale."""
        return max(self.scales)

    def cut(self, position: int) -> int:
        """A cell with inputs 0 ... position-1 on its left: the roundest one, so that comparators
        are short and tables readable."""
        low, high = int(self.key[position - 1]), int(self.key[position]) - 1
        # The cell c stands for p = (2 c + 1) / 2 steps; the least odd part is the roundest p.
        step = 1 << max(0, (high - low + 1).bit_length() - 1)
        while step > 1 and -(-low // step) * step > high:
            step >>= 1
        return -(-low // step) * step

    def positions(self, cuts: Array) -> Array:
        """How many inputs are left of each cell in `cuts` (any shape)."""
        return np.searchsorted(self.key, cuts, side="right")

    def breakpoints(self, cuts: Array, scale: int) -> Array:
        """The codes int64 that begin the segments right of `cuts` at a scale."""
        # The least q with (2 q + 1) 2**(K-k) > c.
        shift = self.finest - scale
        return ((np.asarray(cuts, np.int64) >> shift) + 1) >> 1

    def values(self, cuts: Array, slopes: Array, intercepts: Array) -> Array:
        """Outputs float64 [n] of a shared table with real slopes and intercepts [N]."""
        segment = np.searchsorted(cuts, self.key - 1, side="right")
        return slopes[segment] * self.x + intercepts[segment]


def check_scales(scales: Sequence[int]) -> tuple[int, ...]:
    """`scales` ascending and without doubles, each within MIN_SCALE to MAX_SCALE."""
    if not len(scales):
        raise InputError("scales: at least one is needed")
    for k in scales:
        if isinstance(k, bool) or int(k) != k or not MIN_SCALE <= k <= MAX_SCALE:
            raise InputError(f"scale {shown(k)}: k of 2^-k is within {MIN_SCALE} to {MAX_SCALE}")
    return tuple(sorted({int(k) for k in scales}))


def check_in_bits(in_bits: int) -> int:
    """`in_bits`, within what a table can be searched for."""
    return index_within("input bits", in_bits, MIN_IN_BITS, MAX_IN_BITS)


@dataclass(frozen=True)
class Segments:
    """A table at one scale.

    scale : int, the k of S = 2**-k
    breakpoints : int64 [N-1], codes, not descending; where two are equal a segment is empty
    slopes, slope_fraction, intercepts, intercept_fraction : int64 [N], integers and the bits
        behind their points; an intercept is in units of y, not yet divided by S
    """

    scale: int
    breakpoints: Array
    slopes: Array
    slope_fraction: Array
    intercepts: Array
    intercept_fraction: Array

    def __post_init__(self) -> None:
        for name in ("breakpoints", "slopes", "slope_fraction", "intercepts", "intercept_fraction"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        n = len(self.slopes)
        for name in ("slope_fraction", "intercepts", "intercept_fraction"):
            if len(getattr(self, name)) != n:
                raise InputError(
                    f"scale {self.scale}: {n} slopes and {len(getattr(self, name))} "
                    f"{name}; as many of each are needed"
                )
        if not n or len(self.breakpoints) != n - 1:
            raise InputError(
                f"scale {self.scale}: {n} slopes and {len(self.breakpoints)} breakpoints; one "
                "fewer breakpoint than slopes is needed"
            )
        for name in ("slope_fraction", "intercept_fraction"):
            if (bad := (getattr(self, name) < 0) | (getattr(self, name) > 24)).any():
                raise InputError(
                    f"scale {self.scale}: {name} {getattr(self, name)[bad][0]} is not "
                    "within 0 to 24"
                )
        if (steps := np.diff(self.breakpoints)).size and steps.min() < 0:
            j = int(np.argmax(steps < 0))
            raise InputError(
                f"scale {self.scale}: breakpoint {j + 1} ({self.breakpoints[j + 1]}) is below "
                f"breakpoint {j} ({self.breakpoints[j]})"
            )

    @property
    def entries(self) -> int:
        """Segments, empty ones included."""
        return len(self.slopes)

    def __call__(self, q: Array) -> Array:
        """``y`` float64 of integer codes, any shape; exact for codes of up to 24 bits."""
        q = np.asarray(q, np.int64)
        k = np.searchsorted(self.breakpoints, q, side="right")
        slope = np.ldexp(self.slopes.astype(np.float64), -self.slope_fraction)[k]
        intercept = np.ldexp(self.intercepts.astype(np.float64), -self.intercept_fraction)[k]
        return slope * np.ldexp(q.astype(np.float64), -self.scale) + intercept

    def unit(
        self, in_bits: int, out_bits: int, out_scale: int, zero_point: int = 0
    ) -> PiecewiseLinear:
        """The integer unit of codes in, codes out: ``y = (o - zero_point) 2**-out_scale``, rounded
        half up and saturated. Segments without a code are left out.
        """
        low, high = code_range(in_bits)
        fraction = int(max(self.slope_fraction.max(), self.intercept_fraction.max(), -self.scale))
        # In units of 2**-(fraction + scale): slope q + intercept 2**scale.
        slopes = self.slopes << (fraction - self.slope_fraction)
        intercepts = self.intercepts << (fraction + self.scale - self.intercept_fraction)
        shift = fraction + self.scale - out_scale
        if shift < 0:
            slopes, intercepts, shift = slopes << -shift, intercepts << -shift, 0
        # A common power of two is no information, and only makes the multiplier wider.
        common = common_power(shift, slopes, intercepts)
        first = np.concatenate([[low], np.maximum(self.breakpoints, low)])
        past = np.concatenate([first[1:], [high + 1]])
        kept = np.flatnonzero((past > first) & (first <= high))
        return PiecewiseLinear(
            a_bits=in_bits,
            out_bits=out_bits,
            fraction_bits=shift - common,
            zero_point=int(zero_point),
            breakpoints=first[kept][1:].astype(np.int16),
            slopes=(slopes[kept] >> common).astype(np.int32),
            intercepts=intercepts[kept] >> common,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record."""
        return {name: value.tolist() for name, value in vars(self).items() if name != "scale"}


def output_scale(
    function: Function, in_bits: int, scale: int, out_bits: int, protocol: Protocol = "R"
) -> tuple[int, int]:
    """A scale k (of 2**-k) and a zero point for output codes, by least squared error on the codes
    of `protocol`.

    Functions that are never negative there get the lowest code as zero point, so that all codes
    are used.
    """
    q = codes(function, in_bits, scale, protocol)
    y = function(np.ldexp(q.astype(np.float64), -scale))
    low, high = code_range(out_bits)
    zero = low if y.min() >= 0 else 0

    def error(k: int) -> float:
        code = np.clip(np.floor(np.ldexp(y, k) + 0.5) + zero, low, high)
        return float(((np.ldexp(code - zero, -k) - y) ** 2).mean())

    return min(range(MIN_SCALE, MAX_SCALE + 1), key=lambda k: (error(k), k)), zero


@dataclass(frozen=True)
class LutTable:
    """A table of a function for one scale or several.

    Parameters
    ----------
    function : Function
    format : Format
    in_bits : int
        Width of the input codes.
    rows : tuple of Segments
        One a scale, ascending in k.
    shared : bool
        Whether all scales have the same slopes and intercepts (the paper's setting).
    info : mapping
        How it was found: method, objective, seed, optimum; JSON-able.
    """

    function: Function
    format: Format
    in_bits: int
    rows: tuple[Segments, ...]
    shared: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_in_bits(self.in_bits)
        if not self.rows:
            raise InputError("table: no scale")
        ks = [row.scale for row in self.rows]
        if list(check_scales(ks)) != ks:
            raise InputError(f"scales {' '.join(map(str, ks))}: each once, ascending, is needed")
        low, high = code_range(self.in_bits)
        for row in self.rows:
            if (outside := (row.breakpoints < low) | (row.breakpoints > high + 1)).any():
                raise InputError(
                    f"scale {row.scale}: breakpoint {row.breakpoints[outside][0]} is not within "
                    f"{low} to {high + 1}"
                )

    @classmethod
    def from_cuts(
        cls,
        points: Points,
        format: Format,
        cuts: Array,
        slopes: Array,
        intercepts: Array,
        info: Mapping[str, Any] | None = None,
    ) -> "LutTable":
        """A shared table from ascending cells `cuts` [N-1] (see :class:`Points`) and indices of
        slopes and intercepts [N] into the format's grids."""
        low, high = code_range(points.in_bits)
        s, sf = format.slopes.stored(np.asarray(slopes))
        b, bf = format.intercepts.stored(np.asarray(intercepts))
        rows = tuple(
            Segments(k, np.clip(points.breakpoints(cuts, k), low, high + 1), s, sf, b, bf)
            for k in points.scales
        )
        # The middle of a cell, in half steps of the finest grid.
        real = {"values": [2 * int(c) + 1 for c in cuts], "fraction_bits": points.finest + 2}
        return cls(
            points.function, format, points.in_bits, rows, True, {"cuts": real, **(info or {})}
        )

    def row(self, scale: int) -> Segments:
        """The table at scale ``2**-scale``. Raises :class:`InputError` for one it is not for."""
        for row in self.rows:
            if row.scale == scale:
                return row
        raise InputError(
            f"scale {scale}: this table is for {' '.join(str(row.scale) for row in self.rows)}"
        )

    @property
    def entries(self) -> int:
        """Segments of the longest row."""
        return max(row.entries for row in self.rows)

    def errors(self, protocol: Protocol = "R") -> dict[int, tuple[float, float]]:
        """Mean squared and greatest absolute error by scale, outputs not rounded."""
        found = {}
        for row in self.rows:
            q = codes(self.function, self.in_bits, row.scale, protocol)
            off = row(q) - self.function(np.ldexp(q.astype(np.float64), -row.scale))
            found[row.scale] = float((off**2).mean()), float(np.abs(off).max())
        return found

    def mse(self, protocol: Protocol = "R") -> float:
        """Mean over the scales of the mean squared error."""
        return float(np.mean([mse for mse, _ in self.errors(protocol).values()]))

    def to_json(self) -> dict[str, Any]:
        """The file's contents."""
        judged = {protocol: self.errors(protocol) for protocol in ("R", "A")}
        rows = [
            {
                "scale": row.scale,
                **row.to_json(),
                "errors": {
                    p: {"mse": judged[p][row.scale][0], "max": judged[p][row.scale][1]}
                    for p in judged
                },
            }
            for row in self.rows
        ]
        low, high = self.function.domain
        return {
            "kind": KIND,
            "version": VERSION,
            "function": self.function.name,
            "range": [self.function.low, self.function.high],
            "domain": [low if math.isfinite(low) else None, high if math.isfinite(high) else None],
            "in_bits": self.in_bits,
            "entries": self.entries,
            "format": self.format.to_json(),
            "shared": self.shared,
            **self.info,
            "errors": {
                p: {
                    "mse": float(np.mean([mse for mse, _ in judged[p].values()])),
                    "max": max(top for _, top in judged[p].values()),
                }
                for p in judged
            },
            "scales": rows,
        }

    def save(self, path: str | Path) -> None:
        """Write ``table.json``, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "LutTable":
        """Read a file that :meth:`save` wrote.

        Raises :class:`InputError`, one line naming the value at fault, for one that is foreign,
        damaged, or whose break points are out of order.
        """
        return cls.from_json(read_json(path), str(path))

    @classmethod
    def from_json(cls, data: Any, where: str = "table") -> "LutTable":
        """The table of a parsed file; `where` names it in errors."""
        if not isinstance(data, dict) or data.get("kind") != KIND:
            kind = data.get("kind") if isinstance(data, dict) else data
            raise InputError(f"{where}: not a genogate lut table (kind: {shown(kind)})")
        if data.get("version") != VERSION:
            raise InputError(
                f"{where}: version {shown(data.get('version'))}, this program reads {VERSION}"
            )

        def integer(value: Any, name: str, low: int = -(1 << 30), high: int = 1 << 30) -> int:
            if type(value) is not int or not low <= value <= high:
                raise InputError(
                    f"{where}: {name} {shown(value)} is not an integer within {low} to {high}"
                )
            return value

        def integers(value: Any, name: str, *bounds: int) -> Array:
            if not isinstance(value, list) or len(value) > 4096:
                raise InputError(f"{where}: {name} {shown(value)} is not a list of integers")
            return np.array(
                [integer(v, f"{name}[{j}]", *bounds) for j, v in enumerate(value)], np.int64
            )

        def number(value: Any, name: str) -> float:
            # Integers too great for a float compare, but do not convert.
            if type(value) not in (int, float) or not -1e300 <= value <= 1e300:
                raise InputError(f"{where}: {name} {shown(value)} is not a finite number")
            return float(value)

        def part(value: Any, name: str, kind: type) -> Any:
            if not isinstance(value, kind):
                raise InputError(f"{where}: {name} {shown(value)} is not a {kind.__name__}")
            return value

        try:
            bounds = part(data.get("range"), "range", list)
            if len(bounds) != 2:
                raise InputError(f"{where}: range {shown(bounds)} is not two numbers")
            low, high = (number(bound, f"range[{j}]") for j, bound in enumerate(bounds))
            function = parse_function(part(data.get("function"), "function", str), low, high)
            fmt = part(data.get("format"), "format", dict)
            form = Format(
                fmt.get("kind"),
                *(
                    integer(fmt.get(n), f"format.{n}", 0, 24)
                    for n in ("slope_bits", "intercept_bits", "fraction_bits")
                ),
            )
            rows = []
            for j, row in enumerate(part(data.get("scales"), "scales", list)):
                part(row, f"scales[{j}]", dict)
                k = integer(row.get("scale"), f"scales[{j}].scale", MIN_SCALE, MAX_SCALE)
                rows.append(
                    Segments(
                        k,
                        *(
                            integers(row.get(name), f"scale {k}: {name}", *bounds)
                            for name, bounds in (
                                ("breakpoints", ()),
                                ("slopes", code_range(form.slope_bits)),
                                ("slope_fraction", ()),
                                ("intercepts", code_range(form.intercept_bits)),
                                ("intercept_fraction", ()),
                            )
                        ),
                    )
                )
            known = {
                "kind",
                "version",
                "function",
                "range",
                "domain",
                "in_bits",
                "entries",
                "format",
                "shared",
                "errors",
                "scales",
            }
            info = {name: value for name, value in data.items() if name not in known}
            return cls(
                function,
                form,
                integer(data.get("in_bits"), "in_bits", 2, 8),
                tuple(rows),
                part(data.get("shared"), "shared", bool),
                info,
            )
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from None
