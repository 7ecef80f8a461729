"""The golden model of range reduction, softmax and normalisation: every result bit, in NumPy.

Vectors lie along the last axis; any batch dimensions may stand before it.
"""

import numpy as np

from ..model.errors import InputError
from ..model.integer import code_range
from ..model.tables.composites import Normalise, Softmax
from ..model.tables.reduction import Pieces, PositiveUnit, Reduction
from .golden import round_shift, saturate

Array = np.ndarray


def _codes(q: Array, low: int, high: int, what: str) -> Array:
    q = np.asarray(q)
    if q.dtype.kind not in "iu":
        raise InputError(f"{what}: type {q.dtype}, integers are needed")
    if q.size and (q.min() < low or q.max() > high):
        raise InputError(f"{what}: values {q.min()} to {q.max()} are not within {low} to {high}")
    return q.astype(np.int64)


def _shift(value: Array, n: Array) -> Array:
    """``round(value / 2**n)``, half up, for n of any size, negative for a left shift."""
    down, up = np.clip(n, 0, 62), np.clip(-n, 0, 62)
    return ((value << up) + ((1 << down) >> 1)) >> down


def pieces(op: Pieces, q: Array) -> Array:
    """Results int64 of codes within ``op.low`` to ``op.high``, any shape."""
    k = np.searchsorted(op.breakpoints, q, side="right")
    return round_shift(op.slopes[k] * q + op.intercepts[k], op.shift)


def reduce(op: Reduction, x: Array) -> tuple[Array, Array]:
    """Mantissa and exponent, int64, of unsigned integers of ``op.in_bits`` bits, any shape."""
    x = _codes(x, 0, (1 << op.in_bits) - 1, "x")
    x = np.maximum(x, 1 << op.least)
    # The exponent of a float64 is the place of the leading one, exactly, below 2**53.
    s = (np.frexp(x.astype(np.float64))[1] - 1).astype(np.int64)
    s -= s % op.step
    down = np.maximum(s - op.fraction, 0)
    m = ((x << np.maximum(op.fraction - s, 0)) + ((1 << down) >> 1)) >> down
    return pieces(op.pieces, m), s // op.step


def positive(op: PositiveUnit, q: Array) -> Array:
    """Codes int64 of signed codes, any shape."""
    q = _codes(q, *code_range(op.in_bits), "codes")
    mantissa, exponent = reduce(op.reduction, np.maximum(q, 0) << op.doubled)
    o = _shift(mantissa << max(-op.shift, 0), max(op.shift, 0) + exponent)
    return np.where(q > 0, saturate(o + op.zero_point, op.out_bits), code_range(op.out_bits)[1])


def softmax(op: Softmax, q: Array) -> Array:
    """Codes int64 [..., n] of vectors of codes [..., n], n from 1 to ``op.max_length``."""
    q = _codes(q, *code_range(op.in_bits), "softmax")
    if not q.ndim or not 1 <= q.shape[-1] <= op.max_length:
        raise InputError(f"softmax: shape {q.shape}; the last of it is 1 to {op.max_length}")
    difference = q.max(-1, keepdims=True) - q
    t = round_shift(difference * op.multiplier, op.shift)
    i, p = t >> op.exp_fraction, t & ((1 << op.exp_fraction) - 1)
    power = pieces(op.exp, p)
    # Shifts of 62 and more all give 0.
    term = (power << (op.sum_fraction - op.exp.fraction_bits)) >> np.minimum(i, 62)
    mantissa, exponent = reduce(op.reciprocal, term.sum(-1, keepdims=True))
    n = op.out_shift - op.reciprocal.least + i + exponent
    return saturate(_shift(power * mantissa, n) + op.zero_point, op.out_bits)


def normalise(op: Normalise, q: Array) -> Array:
    """Codes int64 [..., length] of vectors of codes [..., length]."""
    q = _codes(q, *code_range(op.in_bits), "normalise")
    if not q.ndim or q.shape[-1] != op.length:
        raise InputError(f"normalise: shape {q.shape}; the last of it is {op.length}")
    u = q - op.in_zero_point
    total = u.sum(-1, keepdims=True) if op.centre else np.zeros((*u.shape[:-1], 1), np.int64)
    variance = op.length * (u * u).sum(-1, keepdims=True) - total * total
    mantissa, exponent = reduce(op.rsqrt, (variance << op.variance_shift) + op.epsilon)
    n = op.norm_shift + exponent
    value = _shift((op.length * u - total) * mantissa, n)
    if op.gamma is not None and op.beta is not None:
        value = round_shift(value * op.gamma + op.beta, op.shift)
    return saturate(value + op.zero_point, op.out_bits)
