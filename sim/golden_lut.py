"""The law of table units that :mod:`golden` does not cover: loadable ones of any width, and FP32.

Integers are Python's own where 64 bits may not hold them, so nothing can overflow; FP32 is NumPy's
float32, which is IEEE-754 single with round-to-nearest-even.
"""

from dataclasses import dataclass

import numpy as np

from ..model.integer import code_range, half

Array = np.ndarray


@dataclass(frozen=True)
class Contents:
    """What a loadable integer unit holds, before anything is folded.

    ``o = sat(((slopes[k] q + (intercepts[k] << align) + half) >> shift) + zero_point)`` with
    ``k = #{j: breakpoints[j] <= q}`` and ``half = 2**(shift-1)``. A negative shift goes left.

    breakpoints : N - 1 codes, not descending
    slopes, intercepts : N integers each
    """

    breakpoints: tuple[int, ...]
    slopes: tuple[int, ...]
    intercepts: tuple[int, ...]
    align: int
    shift: int
    zero_point: int = 0

    def __call__(self, q: Array, out_bits: int) -> Array:
        """Codes int64 of `out_bits` bits for integer codes of any shape; exact for all widths."""
        q = np.asarray(q, np.int64)
        k = np.searchsorted(np.array(self.breakpoints, np.int64), q, side="right")
        slopes = np.array(self.slopes, dtype=object)[k]
        intercepts = np.array(self.intercepts, dtype=object)[k]
        total = slopes * q.astype(object) + intercepts * (1 << self.align)
        if self.shift < 0:
            value = total * (1 << -self.shift)
        else:
            value = (total + half(self.shift)) // (1 << self.shift)
        low, high = code_range(out_bits)
        return np.clip(value + self.zero_point, low, high).astype(np.int64)


def from_bits(bits: Array) -> Array:
    """float32 of the same bits as integers of any type."""
    return np.asarray(bits, np.uint32).view(np.float32)


def multiply_add(slope: Array, x: Array, intercept: Array) -> Array:
    """``slope x + intercept`` float32 of float32, rounded to nearest even after each operation.

    A NaN may have any payload and sign; the unit's own is always 0x7fc00000.
    """
    with np.errstate(all="ignore"):
        product = (np.asarray(slope, np.float32) * np.asarray(x, np.float32)).astype(np.float32)
        return (product + np.asarray(intercept, np.float32)).astype(np.float32)


def float_unit(x: Array, breakpoints: Array, slopes: Array, intercepts: Array) -> Array:
    """float32 results of the FP32 unit: segment ``k = #{j: breakpoints[j] <= x}``.

    `breakpoints` [N-1] ascend, with NaN (never reached) only at their end; zeros of both signs are
    equal. A NaN in gives NaN.
    """
    x = np.asarray(x, np.float32)
    k = (np.asarray(breakpoints, np.float32) <= x[..., None]).sum(-1)
    return multiply_add(np.asarray(slopes)[k], x, np.asarray(intercepts)[k])


def same_floats(got: Array, expected: Array) -> Array:
    """Where two float32 arrays agree bit for bit, or are both NaN."""
    got, expected = np.asarray(got, np.float32), np.asarray(expected, np.float32)
    return (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))


#: Bits of singles at which something happens: zeros, subnormal and normal borders, powers of two
#: around which sums cancel or round, the greatest numbers, infinities, NaN.
SPECIALS = np.array(
    [
        sign << 31 | bits
        for sign in (0, 1)
        for bits in (
            0,
            1,
            2,
            0x00400000,
            0x007FFFFF,
            0x00800000,
            0x00800001,
            0x33800000,
            0x34000000,
            0x3F7FFFFF,
            0x3F800000,
            0x3F800001,
            0x4B000000,
            0x4B800000,
            0x7F7FFFFF,
            0x7F800000,
            0x7F800001,
            0x7FC00000,
        )
    ],
    np.uint32,
)


def float_triples(count: int, seed: int) -> Array:
    """Operands (a, b, c) of :func:`multiply_add` as bits, uint32 [3, count].

    All triples of :data:`SPECIALS` first; then, in equal parts, uniform bit patterns; sums that
    nearly cancel; products on or beside a tie; sums on or beside a tie; results around the least
    and around the greatest numbers; and numbers of the size that a table has.
    """
    rng = np.random.default_rng(seed)
    corners = np.array(np.meshgrid(*[SPECIALS] * 3)).reshape(3, -1)[:, :count]
    n = -(-(count - corners.shape[1]) // 7)

    def bits(value: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(value, np.float64).astype(np.float32).view(np.uint32)

    def near(exponents: Array) -> Array:
        """Random numbers of these exponent fields, 0 to 254."""
        random = rng.integers(0, 1 << 23, n, dtype=np.uint32)
        signs = rng.integers(0, 2, n, dtype=np.uint32) << np.uint32(31)
        return signs | np.clip(exponents, 0, 254).astype(np.uint32) << np.uint32(23) | random

    def product(a: Array, b: Array) -> Array:
        return multiply_add(from_bits(a), from_bits(b), np.zeros(1, np.float32)).view(np.uint32)

    def step(value: Array) -> Array:
        """`value` moved by up to 3 units in the last place."""
        return (value.astype(np.int64) + rng.integers(-3, 4, n)).astype(np.uint32)

    uniform = rng.integers(0, 1 << 32, (3, n), dtype=np.uint32)
    a, b = near(rng.integers(1, 255, n)), near(rng.integers(97, 157, n))
    cancel = np.array([a, b, step(product(a, b) ^ np.uint32(1 << 31))])
    # Odd 13-bit times odd 12-bit integers: 24 or 25 bits, the last one a 1.
    ties = np.array(
        [
            bits(np.ldexp((rng.integers(0, 1 << w, n) | 1 << w | 1) * 1.0, rng.integers(-80, 0, n)))
            for w in (12, 11)
        ]
    )
    ties = np.array([ties[0], ties[1], near(rng.integers(0, 60, n))])
    a, b = near(rng.integers(100, 150, n)), near(rng.integers(100, 150, n))
    # Half a unit of the product's last place, and its neighbours.
    exponent = (product(a, b) >> np.uint32(23) & np.uint32(255)).astype(np.int64)
    half_unit = np.ldexp(rng.choice([-1.5, -1, -0.5, 0.5, 1, 1.5], n), exponent - 127 - 23)
    sums = np.array([a, b, step(bits(half_unit))])
    first = rng.integers(1, 127, n)
    low = np.array(
        [near(first), near(127 - first + rng.integers(-26, 4, n)), near(rng.integers(0, 3, n))]
    )
    first = rng.integers(127, 254, n)
    high = np.array(
        [near(first), near(381 - first + rng.integers(-2, 2, n)), near(rng.integers(228, 255, n))]
    )
    plain = bits(rng.normal(0, [[1], [4], [1]], (3, n)))
    mixed = np.concatenate([uniform, cancel, ties, sums, low, high, plain], axis=1)
    return np.concatenate([corners, rng.permutation(mixed, axis=1)], axis=1)[:, :count]
