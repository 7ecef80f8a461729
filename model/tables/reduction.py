"""Range reduction by powers of two: reciprocal and reciprocal square root of any positive integer.

``1/x = 2**-s / m`` for ``x = m 2**s`` with m in [1, 2], and ``1/sqrt(x) = 2**-(s/2) / sqrt(m)`` for
an even s and m in [1, 4]: one piecewise-linear table over m serves every x. The tables come from
:mod:`.optimal`, so that each is the best one of its format for the weights given.
The law is :func:`genogate.sim.golden_composites.reduce`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from ..errors import InputError, index_within, shown
from ..integer import MAX_ZERO, code_range, common_power, half
from .formats import FixedGrid
from .functions import FUNCTIONS, Function
from .optimal import solve, squared_lines
from .points import Inputs

Array = np.ndarray
Name = Literal["reciprocal", "rsqrt"]
#: Widest integer that is reduced: the variance of 1024 codes of 8 bits needs 36 bits.
MAX_REDUCED_BITS = 40
#: Mantissa bits behind the point: at most so many, and at most so many in the fit, whose time
#: grows with the square of the mantissas; break points are then multiples of the fit's step.
MAX_FRACTION, FIT_FRACTION = 12, 7
MAX_ENTRIES = 64


def check_fields(record: Any, kind: str, bounds: dict[str, tuple[int, int]]) -> None:
    """Hold the integer fields of a frozen dataclass to `bounds`, and make them plain ints."""
    for name, (low, high) in bounds.items():
        value = index_within(f"{kind}.{name}", getattr(record, name), low, high)
        object.__setattr__(record, name, value)


@dataclass(frozen=True, eq=False)
class Pieces:
    """``k = #{j: breakpoints[j] <= q}``; ``y = (slopes[k] q + intercepts[k] + half) >> shift``.

    A wide piecewise-linear unit over the codes `low` to `high` and no others. It does not saturate:
    its results lie within :attr:`bounds`, and stand for ``y 2**-fraction_bits``.

    breakpoints : int64 [N-1], strictly ascending
    slopes, intercepts : int64 [N]
    shift : bits dropped, rounding half up; 0 for the exact line
    """

    low: int
    high: int
    fraction_bits: int
    shift: int
    breakpoints: Array
    slopes: Array
    intercepts: Array

    def __post_init__(self) -> None:
        check_fields(
            self,
            "pieces",
            {
                "low": (-(1 << 20), 1 << 20),
                "high": (-(1 << 20), 1 << 20),
                "fraction_bits": (0, 40),
                "shift": (0, 40),
            },
        )
        for name in ("breakpoints", "slopes", "intercepts"):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
                raise InputError(f"pieces.{name}: a list of integers is needed")
            object.__setattr__(self, name, array.astype(np.int64))
            if array.size and np.abs(getattr(self, name)).max() > 1 << 40:
                raise InputError(f"pieces.{name}: values beyond 2**40")
        n = len(self.slopes)
        if not n or len(self.intercepts) != n or len(self.breakpoints) != n - 1:
            raise InputError(
                f"pieces: {n} slopes, {len(self.intercepts)} intercepts and "
                f"{len(self.breakpoints)} breakpoints; N, N and N - 1 are needed"
            )
        edges = np.concatenate([[self.low], self.breakpoints, [self.high + 1]])
        if (steps := np.diff(edges)).min() <= 0:
            j = int(np.argmax(steps <= 0))
            raise InputError(
                f"pieces: {edges[j + 1]} is not above {edges[j]}; breakpoints ascend within "
                f"{self.low + 1} to {self.high}"
            )

    def check_falling(self, low: int, high: int, what: str) -> None:
        """Raises :class:`InputError` unless the codes are `low` to `high`, no line rises, and no
        result is negative: what the hardware, which keeps slopes without a sign, relies on."""
        if (self.low, self.high) != (low, high):
            raise InputError(
                f"{what}: pieces over {self.low} to {self.high}; {low} to {high} are needed"
            )
        if self.slopes.max() > 0:
            raise InputError(f"{what}: slope {self.slopes.max()} rises; the function falls")
        if (least := self.bounds[0]) < 0:
            raise InputError(f"{what}: the result {least} is negative; no value of it is")

    @property
    def entries(self) -> int:
        """Segments."""
        return len(self.slopes)

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest result over all codes."""
        ends = np.concatenate([[self.low], self.breakpoints, self.breakpoints - 1, [self.high]])
        k = np.searchsorted(self.breakpoints, ends, side="right")
        y = (self.slopes[k] * ends + self.intercepts[k] + half(self.shift)) >> self.shift
        return int(y.min()), int(y.max())

    def rounded(self, fraction_bits: int) -> "Pieces":
        """The same lines with results of fewer fraction bits."""
        drop = index_within("result bits", fraction_bits, 0, self.fraction_bits + self.shift)
        return Pieces(
            self.low,
            self.high,
            drop,
            self.fraction_bits + self.shift - drop,
            self.breakpoints,
            self.slopes,
            self.intercepts,
        )


@dataclass(frozen=True)
class Widths:
    """Fraction bits of a table's slopes and intercepts, and the bits in front of the point.

    A slope has ``slope_fraction + slope_whole`` bits beside its sign.
    """

    slope_fraction: int
    intercept_fraction: int
    slope_whole: int = 0
    intercept_whole: int = 1


class _Falling(FixedGrid):
    """The numbers of a :class:`FixedGrid` that are not positive."""

    def __init__(self, bits: int, fraction_bits: int) -> None:
        super().__init__(bits, fraction_bits)
        self.high, self.size = 0, 1 - self.low


def fit_pieces(
    function: Function,
    low: int,
    high: int,
    fraction: int,
    entries: int,
    widths: Widths,
    weight: Array,
    step: int = 1,
) -> Pieces:
    """The best `entries` pieces for a falling ``function(q 2**-fraction)``, q from `low` to `high`.

    Provably least weighted squared error of all tables whose slopes and intercepts have the bits of
    `widths` and whose break points are multiples of `step` from `low`, judged on every `step`-th
    code. `weight` [codes judged] need not be normalised.
    """
    q = np.arange(low, high + 1, step, dtype=np.int64)
    weight = np.asarray(weight, np.float64)
    if weight.shape != q.shape or not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise InputError(f"weights: {len(q)} finite numbers that are not negative are needed")
    if not weight.sum() > 0:
        raise InputError("weights: all are zero")
    entries = index_within("entries", entries, 1, MAX_ENTRIES)
    x = np.ldexp(q.astype(np.float64), -fraction)
    inputs = Inputs(x, function(x), weight / weight.sum())
    slopes = _Falling(1 + widths.slope_whole + widths.slope_fraction, widths.slope_fraction)
    intercepts = FixedGrid(
        1 + widths.intercept_whole + widths.intercept_fraction, widths.intercept_fraction
    )
    solution = solve(squared_lines(inputs, slopes, intercepts), entries)[-1]
    (s, sf), (b, bf) = slopes.stored(solution.slopes), intercepts.stored(solution.intercepts)
    # One unit for both, and no more of it than the finer of the two needs.
    bits = np.maximum(sf + fraction, bf)
    s, b = s << (bits - fraction - sf), b << (bits - bf)
    common = common_power(int(bits[0]), s, b)
    return Pieces(
        low, high, int(bits[0]) - common, 0, q[solution.starts[1:]], s >> common, b >> common
    )


@dataclass(frozen=True, eq=False)
class Reduction:
    """``1/x`` or ``1/sqrt(x)`` of an unsigned integer, as mantissa and exponent.

    ``s`` is the place of the leading one of x, for rsqrt less 1 where odd;
    ``m = round(x 2**(f-s))``, half up, f the `fraction`; the mantissa is ``pieces(m)``, the
    exponent s, or s/2 for rsqrt::

        f(x) = mantissa 2**-(pieces.fraction_bits + exponent)

    An x below ``2**least`` counts as ``2**least``: for least = 0 zero counts as 1, the nearest
    integer that has a result.

    in_bits : width of x, 1 to 40
    fraction : mantissa bits behind the point
    pieces : over m, 2**f to 2**(f+1), or 2**(f+2) for rsqrt, both ends included
    """

    name: Name
    in_bits: int
    fraction: int
    least: int
    pieces: Pieces

    def __post_init__(self) -> None:
        if self.name not in ("reciprocal", "rsqrt"):
            raise InputError(f"reduction: {shown(self.name)}; reciprocal and rsqrt are known")
        check_fields(
            self, "reduction", {"in_bits": (1, MAX_REDUCED_BITS), "fraction": (1, MAX_FRACTION)}
        )
        check_fields(self, "reduction", {"least": (0, self.in_bits - 1)})
        if self.least % self.step:
            raise InputError(f"reduction.least: {self.least} is odd; rsqrt needs an even one")
        ends = 1 << self.fraction, 1 << (self.fraction + self.step)
        self.pieces.check_falling(*ends, "reduction")

    @property
    def step(self) -> int:
        """Powers of two between the mantissas' ends: 1, or 2 for rsqrt."""
        return 1 if self.name == "reciprocal" else 2

    @property
    def places(self) -> range:
        """The values that s can have."""
        return range(self.least, self.in_bits, self.step)

    @property
    def exponents(self) -> range:
        """The values that the exponent can have."""
        return range(self.least // self.step, self.places[-1] // self.step + 1)


#: Slopes of 8 bits beside the sign, which is always negative; intercepts are what costs least.
WIDTHS: dict[str, Widths] = {"reciprocal": Widths(8, 12), "rsqrt": Widths(9, 12)}


@cache
def mantissa_pieces(
    name: Name,
    entries: int = 8,
    fraction: int = 8,
    widths: Widths | None = None,
    weight: tuple[float, ...] | None = None,
) -> Pieces:
    """The best pieces for ``1/m`` (m in [1, 2]) or ``1/sqrt(m)`` ([1, 4]), unrounded.

    By default for least squared relative error, every mantissa alike on a logarithmic scale; or
    `weight`, one number for each mantissa of the fit, lowest first.
    """
    fraction = index_within("fraction", fraction, 1, MAX_FRACTION)
    step = 1 << max(0, fraction - FIT_FRACTION)
    low, high = 1 << fraction, 1 << (fraction + (1 if name == "reciprocal" else 2))
    m = np.ldexp(np.arange(low, high + 1, step, dtype=np.float64), -fraction)
    function = FUNCTIONS[name]
    # Density 1/m on a logarithmic scale, and relative errors.
    share = np.array(weight) if weight is not None else 1 / (m * function(m) ** 2)
    return fit_pieces(function, low, high, fraction, entries, widths or WIDTHS[name], share, step)


def reduction(
    name: Name,
    in_bits: int,
    entries: int = 8,
    fraction: int = 8,
    result_bits: int | None = None,
    least: int = 0,
) -> Reduction:
    """A :class:`Reduction` with the best table of `entries` segments for relative error.

    result_bits : fraction bits that the mantissa is rounded to; None keeps all of the line's
    """
    if name not in WIDTHS:
        raise InputError(f"reduction: {shown(name)}; reciprocal and rsqrt are known")
    pieces = mantissa_pieces(name, entries, fraction)
    return Reduction(
        name,
        in_bits,
        fraction,
        least,
        pieces if result_bits is None else pieces.rounded(result_bits),
    )


@dataclass(frozen=True, eq=False)
class PositiveUnit:
    """A function of a signed code by range reduction, as a saturated code.

    ``o = sat(round(mantissa 2**-(shift + exponent)) + zero_point)`` of the reduction of
    ``q << doubled``, half up, one rounding; a q that is zero or negative gives the greatest code.

    in_bits, out_bits : widths of the signed codes
    doubled : 0, or 1 where an odd input scale is made even for rsqrt
    shift : right shift at exponent 0; negative for a left shift
    """

    reduction: Reduction
    in_bits: int
    doubled: int
    shift: int
    out_bits: int
    zero_point: int

    def __post_init__(self) -> None:
        check_fields(
            self,
            "positive unit",
            {
                "in_bits": (2, 32),
                "doubled": (0, 1),
                "shift": (-24, 63),
                "out_bits": (2, 32),
                "zero_point": (-MAX_ZERO, MAX_ZERO),
            },
        )
        if self.reduction.in_bits != self.in_bits - 1 + self.doubled or self.reduction.least:
            raise InputError(
                f"positive unit: a reduction of {self.in_bits - 1 + self.doubled} bits from 1 on "
                f"is needed, not of {self.reduction.in_bits} from 2**{self.reduction.least}"
            )


def positive_unit(
    name: Name,
    in_bits: int = 8,
    scale: int = 4,
    out_bits: int = 8,
    out_scale: int | None = None,
    entries: int = 8,
    zero_point: int = 0,
    pieces: Pieces | None = None,
) -> PositiveUnit:
    """Codes ``x = q 2**-scale`` to codes ``f(x) = (o - zero_point) 2**-out_scale``.

    out_scale : None for the finest at which ``f(2**-scale)``, the greatest value, is still a code
    pieces : another table over the mantissas than the best for relative error
    """
    if name not in WIDTHS:
        raise InputError(f"positive unit: {shown(name)}; reciprocal and rsqrt are known")
    in_bits = index_within("in_bits", in_bits, 2, 32)
    out_bits = index_within("out_bits", out_bits, 2, 32)
    scale = index_within("scale", scale, -40, 40)
    doubled = scale % 2 if name == "rsqrt" else 0
    power = scale if name == "reciprocal" else (scale + doubled) // 2
    bits = in_bits - 1 + doubled
    if pieces is None:
        pieces = mantissa_pieces(name, entries, min(max(6, bits - 1), FIT_FRACTION + 1))
    fraction = pieces.low.bit_length() - 1
    if out_scale is None:
        top = code_range(out_bits)[1] - zero_point
        greatest = float(FUNCTIONS[name](np.ldexp(1.0, -scale)))
        if top <= 0:
            raise InputError(f"zero_point: {zero_point} leaves no code for positive values")
        out_scale = int(np.floor(np.log2(top / greatest)))
    out_scale = index_within("out_scale", out_scale, -60, 60)
    return PositiveUnit(
        Reduction(name, bits, fraction, 0, pieces),
        in_bits,
        doubled,
        pieces.fraction_bits - power - out_scale,
        out_bits,
        zero_point,
    )
