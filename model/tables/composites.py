"""Softmax and layer normalisation of vectors of codes: the integers of the units, and builders.

Equations are in :mod:`genogate.sim.golden_composites`, which is the law. Softmax takes
``exp(-t ln 2) = 2**-i 2**-p``, t = i + p, so that one table over the fraction p serves every
difference of codes with the same relative error, however long the vector; its sum goes through the
reciprocal of :mod:`.reduction`. Normalisation sums exactly and goes through the reciprocal square
root.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..errors import InputError, index_within, shown
from ..integer import MAX_ZERO, code_range
from .functions import Function
from .points import MAX_SCALE, MIN_SCALE
from .reduction import (
    MAX_REDUCED_BITS,
    Pieces,
    Reduction,
    Widths,
    check_fields,
    fit_pieces,
    reduction,
)

Array = np.ndarray
MAX_LENGTH = 1024
#: Fraction bits of the power of two that goes into the exponential's table, of log2(e), and of
#: the exponential: chosen by cells among those whose greatest error is well below one code.
EXP_FRACTION, LOG2E_FRACTION, EXP_RESULT = 7, 8, 10
#: Fraction bits of a mantissa, and of a reciprocal or reciprocal square root.
MANTISSA, RESULT = 9, 11
#: More fraction bits of a normalised value than of the output, where gamma multiplies it.
AFFINE_GUARD = 4


@dataclass(frozen=True, eq=False)
class Softmax:
    """``softmax(S q)`` of a vector of 1 to `max_length` codes q; ``p = 2**-out_scale (o - Z)``.

    Parameters
    ----------
    in_bits, out_bits : widths of the signed codes
    max_length : int, 1 to 1024
    multiplier, shift : ``t = round(multiplier (max q - q) / 2**shift)``, the difference in powers
        of two, ``log2(e) S (max q - q)``, as many bits behind the point as the table takes
    exp : pieces for ``2**-p`` over the fraction bits of t
    sum_fraction : fraction bits of the sum, of which each term is rounded down
    reciprocal : of the sum
    out_scale, zero_point : of the output; a probability that is no code saturates
    """

    in_bits: int
    out_bits: int
    max_length: int
    multiplier: int
    shift: int
    exp: Pieces
    sum_fraction: int
    reciprocal: Reduction
    out_scale: int
    zero_point: int

    def __post_init__(self) -> None:
        check_fields(
            self,
            "softmax",
            {
                "in_bits": (2, 8),
                "out_bits": (2, 8),
                "max_length": (1, MAX_LENGTH),
                "multiplier": (1, 1 << 24),
                "shift": (0, 40),
                "sum_fraction": (1, 40),
                "out_scale": (0, 24),
                "zero_point": (-MAX_ZERO, MAX_ZERO),
            },
        )
        self.exp.check_falling(0, (1 << self.exp_fraction) - 1, "softmax.exp")
        least, _ = self.exp.bounds
        if self.sum_fraction < self.exp.fraction_bits or not least:
            raise InputError(
                f"softmax: exp of {least} or more with {self.exp.fraction_bits} fraction bits into "
                f"a sum of {self.sum_fraction}; at least 1, and no fewer bits, are needed"
            )
        op = self.reciprocal
        if op.name != "reciprocal" or op.in_bits < self.sum_bits or op.least > self.sum_least:
            raise InputError(
                f"softmax: a reciprocal of {self.sum_bits} bits from 2**{self.sum_least} on is "
                f"needed, not {op.name} of {op.in_bits} from 2**{op.least}"
            )
        if self.out_shift < 0:
            raise InputError(
                f"softmax.out_scale: {self.out_scale} is beyond the bits of exp and reciprocal"
            )

    @property
    def exp_fraction(self) -> int:
        """Fraction bits of t."""
        return self.exp.high.bit_length()

    @property
    def sum_bits(self) -> int:
        """Width of the greatest sum."""
        one = self.exp.bounds[1] << (self.sum_fraction - self.exp.fraction_bits)
        return (one * self.max_length).bit_length()

    @property
    def sum_least(self) -> int:
        """Place of the leading one of the least sum: that of one greatest code alone."""
        return self.exp.bounds[1].bit_length() - 1 + self.sum_fraction - self.exp.fraction_bits

    @property
    def out_shift(self) -> int:
        """Right shift of exp times reciprocal at i = 0 and exponent 0, less the sum's fraction."""
        fraction = self.exp.fraction_bits + self.reciprocal.pieces.fraction_bits
        return fraction - self.sum_fraction - self.out_scale + self.reciprocal.least


@cache
def exp_pieces(entries: int = 8, fraction: int = EXP_FRACTION) -> Pieces:
    """The best pieces for ``2**-p``, p a `fraction`-bit code of [0, 1), by relative error."""
    p = np.ldexp(np.arange(1 << fraction, dtype=np.float64), -fraction)
    function = Function("2**-p", lambda x: 2.0**-x, 0, 1)
    return fit_pieces(function, 0, len(p) - 1, fraction, entries, Widths(7, 11), 4.0**p)


def softmax_params(
    scale: int = 4,
    entries: int = 8,
    max_length: int = 64,
    in_bits: int = 8,
    out_bits: int = 8,
    out_scale: int | None = None,
    zero_point: int | None = None,
) -> Softmax:
    """A softmax of codes that stand for ``q 2**-scale``, with tables of `entries` segments.

    By default the output's codes are all used: ``p = (o + 2**(out_bits-1)) 2**-out_bits``, so that
    p = 1 saturates one code below. Largest error of 8 bits: see ``docs/data/composites.json``.
    """
    scale = index_within("scale", scale, MIN_SCALE, MAX_SCALE)
    in_bits = index_within("in_bits", in_bits, 2, 8)
    max_length = index_within("max_length", max_length, 1, MAX_LENGTH)
    out_bits = index_within("out_bits", out_bits, 2, 8)
    entries = index_within("entries", entries, 1, 64)
    exp = exp_pieces(entries).rounded(EXP_RESULT)
    multiplier = round(math.log2(math.e) * 2**LOG2E_FRACTION)
    shift = LOG2E_FRACTION + scale - EXP_FRACTION
    sum_fraction = exp.fraction_bits + (max_length - 1).bit_length()
    top = exp.bounds[1] << (sum_fraction - exp.fraction_bits)
    sum_reciprocal = reduction(
        "reciprocal",
        (top * max_length).bit_length(),
        entries,
        MANTISSA,
        RESULT,
        top.bit_length() - 1,
    )
    return Softmax(
        in_bits,
        out_bits,
        max_length,
        multiplier << max(0, -shift),
        max(0, shift),
        exp,
        sum_fraction,
        sum_reciprocal,
        out_bits if out_scale is None else out_scale,
        -(1 << (out_bits - 1)) if zero_point is None else zero_point,
    )


def _variance_max(length: int, in_bits: int, centre: bool, in_zero_point: int) -> int:
    """The greatest ``length**2 var``, or ``length**2`` times the mean of squares."""
    low, high = (v - in_zero_point for v in code_range(in_bits))
    # Centred, it is that of half of the codes at each end.
    half = length // 2
    return half * (length - half) * (high - low) ** 2 if centre else (length * max(-low, high)) ** 2


@dataclass(frozen=True, eq=False)
class Normalise:
    """``(x - mean) / sqrt(var + eps)`` of a vector of `length` codes, or ``x / rms(x)``.

    With gamma and beta, ``y = gamma (x - mean) / sqrt(var + eps) + beta``, one of each an element;
    ``y = 2**-out_scale (o - zero_point)``. A vector of equal codes gives beta.

    Parameters
    ----------
    length : int, 2 to 1024
    in_bits, out_bits : widths of the signed codes
    centre : subtract the mean; without it the zero point of the input counts
    in_zero_point : of the input; the mean takes it away, so it is 0 where `centre` is set
    variance_shift : even; fraction bits of the variance, for epsilon beside a small one
    epsilon : eps in units of ``(S / length)**2 2**-variance_shift``, S the input's scale
    rsqrt : reduction of ``(length**2 var << variance_shift) + epsilon``
    norm_fraction : fraction bits of the normalised value; those of the output without gamma
    shift : right shift after gamma and beta; 0 without
    zero_point : of the output
    gamma : int64 [length] or None
    beta : int64 [length] or None, in units of the normalised value times gamma
    """

    length: int
    in_bits: int
    out_bits: int
    centre: bool
    in_zero_point: int
    variance_shift: int
    epsilon: int
    rsqrt: Reduction
    norm_fraction: int
    shift: int
    zero_point: int
    gamma: Array | None = None
    beta: Array | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            "normalise",
            {
                "length": (2, MAX_LENGTH),
                "in_bits": (2, 8),
                "out_bits": (2, 8),
                "variance_shift": (0, 16),
                "epsilon": (0, 1 << (MAX_REDUCED_BITS - 1)),
                "norm_fraction": (0, 24),
                "shift": (0, 40),
                "zero_point": (-MAX_ZERO, MAX_ZERO),
            },
        )
        low, high = code_range(self.in_bits)
        check_fields(self, "normalise", {"in_zero_point": (low, high)})
        if self.centre and self.in_zero_point:
            raise InputError(
                f"normalise.in_zero_point: {self.in_zero_point}; the mean takes it away, so give 0"
            )
        if self.variance_shift % 2:
            raise InputError(f"normalise.variance_shift: {self.variance_shift} is odd")
        if (self.gamma is None) != (self.beta is None):
            raise InputError("normalise: gamma and beta come together")
        if self.gamma is None and self.shift:
            raise InputError(f"normalise.shift: {self.shift}; without gamma it is 0")
        for name, limit in (("gamma", 1 << 15), ("beta", 1 << 40)):
            if (array := getattr(self, name)) is None:
                continue
            array = np.asarray(array)
            if array.shape != (self.length,) or array.dtype.kind not in "iu":
                raise InputError(f"normalise.{name}: {self.length} integers are needed")
            if (bad := (array < -limit) | (array >= limit)).any():
                raise InputError(
                    f"normalise.{name}[{int(np.argmax(bad))}]: {array[bad][0]} is not within "
                    f"{-limit} to {limit - 1}"
                )
            object.__setattr__(self, name, array.astype(np.int64))
        op = self.rsqrt
        bits = self.variance_max.bit_length()
        if op.name != "rsqrt" or op.in_bits < bits or (op.least and 1 << op.least > self.epsilon):
            raise InputError(
                f"normalise: an rsqrt of {bits} bits from {self.epsilon} on is needed, not "
                f"{op.name} of {op.in_bits} from 2**{op.least}"
            )

    @property
    def variance_max(self) -> int:
        """The greatest ``(length**2 var << variance_shift) + epsilon``."""
        most = _variance_max(self.length, self.in_bits, self.centre, self.in_zero_point)
        return (most << self.variance_shift) + self.epsilon

    @property
    def difference_max(self) -> int:
        """The greatest ``length (x - mean)``, or ``length x``, in size."""
        low, high = (v - self.in_zero_point for v in code_range(self.in_bits))
        return (self.length - 1) * (high - low) if self.centre else self.length * max(-low, high)

    @property
    def norm_shift(self) -> int:
        """Right shift of ``length (x - mean)`` times the mantissa at exponent 0; negative for a
        left shift."""
        return self.rsqrt.pieces.fraction_bits - self.norm_fraction - self.variance_shift // 2

    @property
    def norm_max(self) -> int:
        """A bound of the normalised value's size: sqrt(length), and what the table adds."""
        pieces, f = self.rsqrt.pieces, self.rsqrt.fraction
        m = np.arange(pieces.low, pieces.high + 1)
        k = np.searchsorted(pieces.breakpoints, m, side="right")
        y = (pieces.slopes[k] * m + pieces.intercepts[k]) / 2.0 ** (
            pieces.shift + pieces.fraction_bits
        ) + 2.0**-pieces.fraction_bits
        over = float((y * np.sqrt((m + 0.5) / 2.0**f)).max())
        return math.ceil(math.sqrt(self.length) * over * 2**self.norm_fraction) + 1


def _codes_of(
    name: str, values: Array, length: int, bits: int, least: int, most: int
) -> tuple[Array, int]:
    """Codes int64 [length] of `bits` bits and their fraction bits, `least` to `most`, as many as
    the values leave."""
    values = np.asarray(values, np.float64)
    if values.shape != (length,) or not np.isfinite(values).all():
        raise InputError(f"{name}: {length} finite numbers are needed, one an element")
    low, high = code_range(bits)
    fraction = most
    while not (
        low <= np.floor(values.min() * 2.0**fraction + 0.5)
        and np.floor(values.max() * 2.0**fraction + 0.5) <= high
    ):
        fraction -= 1
    if fraction < least:
        at = int(np.argmax(np.abs(values)))
        raise InputError(f"{name}[{at}]: {values[at]:g} is too great for a code of {bits} bits")
    return np.floor(np.ldexp(values, fraction) + 0.5).astype(np.int64), fraction


def _affine_codes(
    gamma: Array | None, beta: Array | None, length: int, gamma_bits: int, norm_fraction: int
) -> tuple[Array, Array, int]:
    """Codes of gamma and beta, and the fraction bits of their sum."""
    ones = np.ones(length) if gamma is None else gamma
    gamma, gamma_fraction = _codes_of("gamma", ones, length, gamma_bits, -AFFINE_GUARD, 16)
    unit = norm_fraction + gamma_fraction
    zeros = np.zeros(length) if beta is None else beta
    beta, beta_fraction = _codes_of("beta", zeros, length, 16, unit - 24, unit)
    return gamma, beta << (unit - beta_fraction), unit


def _reciprocal_root(most: int, least: int, entries: int) -> Reduction:
    """One over the square root of integers from `least` to `most`."""
    return reduction(
        "rsqrt",
        most.bit_length(),
        entries,
        MANTISSA,
        RESULT,
        max(0, least.bit_length() - 1) & ~1,
    )


def layernorm_params(
    length: int,
    scale: int = 4,
    entries: int = 8,
    in_bits: int = 8,
    out_bits: int = 8,
    out_scale: int = 5,
    zero_point: int = 0,
    eps: float = 1e-5,
    gamma: Array | None = None,
    beta: Array | None = None,
    gamma_bits: int = 8,
    rms: bool = False,
    in_zero_point: int = 0,
) -> Normalise:
    """Layer normalisation of `length` codes that stand for ``(q - in_zero_point) 2**-scale``.

    gamma, beta : floats [length], rounded to codes of `gamma_bits` and of 16 bits with the finest
        common scale that holds them; one alone takes 1 or 0 for the other
    rms : divide by the root mean square of the codes, without taking the mean away
    """
    length = index_within("length", length, 2, MAX_LENGTH)
    scale = index_within("scale", scale, MIN_SCALE, MAX_SCALE)
    in_bits = index_within("in_bits", in_bits, 2, 8)
    out_scale = index_within("out_scale", out_scale, 0, 16)
    entries = index_within("entries", entries, 1, 64)
    gamma_bits = index_within("gamma_bits", gamma_bits, 2, 16)
    if not (math.isfinite(eps) and eps >= 0):
        raise InputError(f"eps: {shown(eps)} is not a finite number that is not negative")
    # So that half a unit of epsilon is no more than 2**-8 of the least variance but zero.
    variance_shift = max(0, 9 - (length - 1).bit_length()) & ~1
    epsilon = math.floor(length**2 * eps * 4.0**scale * 2**variance_shift + 0.5)
    zero = 0 if not rms else index_within("in_zero_point", in_zero_point, *code_range(in_bits))
    shift, norm_fraction = 0, out_scale
    if gamma is not None or beta is not None:
        norm_fraction += AFFINE_GUARD
        gamma, beta, unit = _affine_codes(gamma, beta, length, gamma_bits, norm_fraction)
        shift = unit - out_scale
    most = _variance_max(length, in_bits, not rms, zero)
    if epsilon >= 1 << (MAX_REDUCED_BITS - 1):
        raise InputError(
            f"eps: {eps:g} is too great beside codes of scale 2^{-scale}; at that every result is 0"
        )
    rsqrt = _reciprocal_root((most << variance_shift) + epsilon, epsilon, entries)
    return Normalise(
        length,
        in_bits,
        out_bits,
        not rms,
        zero,
        variance_shift,
        epsilon,
        rsqrt,
        norm_fraction,
        shift,
        zero_point,
        gamma,
        beta,
    )
