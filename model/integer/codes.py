"""Codes, and the bounds of every constant of the integer model."""

from typing import Any

import numpy as np

from ..errors import InputError, shown

#: Bounds of what the hardware generator accepts; far beyond what calibration chooses.
MAX_SHIFT, MAX_MULTIPLIER, MAX_ZERO, MAX_SIZE, MAX_CHANNEL_SHIFT = 40, 1 << 20, 1 << 16, 4096, 7
#: Octaves that a feature may be divided or multiplied by before it becomes a code.
MAX_OCTAVES = 120


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest signed code of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def signed_width(low: int, high: int) -> int:
    """Least width, bits, of a two's complement number that holds `low` to `high`."""
    return (
        max(
            int(low).bit_length() if low >= 0 else int(~low).bit_length(),
            int(high).bit_length() if high >= 0 else int(~high).bit_length(),
        )
        + 1
    )


def common_power(limit: int, *arrays: np.ndarray) -> int:
    """The greatest k up to `limit` such that ``2**k`` divides all integers of `arrays`."""
    every = int(np.bitwise_or.reduce(np.abs(np.concatenate(arrays))))
    return min(limit, (every & -every).bit_length() - 1) if every else limit


def half(shift: int) -> int:
    """The rounding constant ``2**(shift-1)`` of a right shift; 0 where nothing is dropped."""
    return (1 << shift) >> 1


def check_array(name: str, array: Any, ndim: int, low: int, high: int) -> None:
    """Raise :class:`InputError` unless `array` is one of integers within `low` to `high`."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise InputError(f"{name}: an integer array is needed")
    # NumPy makes floats of uint64 and int64 together.
    if array.dtype == np.uint64:
        raise InputError(f"{name}: an array of at most 63 bits is needed, not uint64")
    if array.ndim != ndim or 0 in array.shape or max(array.shape) > MAX_SIZE:
        raise InputError(f"{name}: shape {array.shape} is not {ndim}-D with 1 to {MAX_SIZE} each")
    if array.min() < low or array.max() > high:
        raise InputError(
            f"{name}: values {array.min()} to {array.max()} are not within {low} to {high}"
        )


def check_scale(name: str, scale: Any) -> None:
    """Raise :class:`InputError` unless `scale` is a positive number."""
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e30:
        raise InputError(f"{name} {shown(scale)} is not a positive number below 1e30")
