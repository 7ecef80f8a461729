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


def same_floats(got: Array, wanted: Array) -> Array:
    """Where two float32 arrays agree bit for bit, or are both NaN."""
    got, wanted = np.asarray(got, np.float32), np.asarray(wanted, np.float32)
    return (got.view(np.uint32) == wanted.view(np.uint32)) | (np.isnan(got) & np.isnan(wanted))
