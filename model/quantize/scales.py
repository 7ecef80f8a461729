"""Which combined scales M the hardware multiplies by: numbers of few signed powers of two."""

import math
from functools import cache

import numpy as np

#: Least exponent gap and depth of a second and third term. Deeper terms move M by under 2 %, which
#: no calibration curve notices, and widen every requantiser.
TERM_DEPTH = 5
#: Gates that must have codes for 0 and 1 at few bits, and the most bits at which they do not get
#: them by themselves: see :func:`kept_format`.
KEPT_GATES, KEPT_BITS = ("a_z", "c_z"), 2
#: Bits of an unconstrained M0.
FREE_BITS = 16


@cache
def mantissas(terms: int | None) -> tuple[float, ...]:
    """Allowed mantissas of M in [1, 2), ascending: ``2**a`` (1 term), ``2**a +- 2**b``, ...

    ``None`` gives the 16 steps per octave that stand for a free 16-bit M0.
    """
    if terms is None:
        return tuple(round(2 ** (FREE_BITS - 1 + k / 16)) / 2 ** (FREE_BITS - 1) for k in range(16))
    values = {1 << TERM_DEPTH}
    for _ in range(terms - 1):
        values |= {
            v + sign * (1 << k) for v in values for sign in (-1, 1) for k in range(TERM_DEPTH + 1)
        }
    mantissas = {v / 2 ** math.floor(math.log2(v)) for v in values if v > 0}
    return tuple(sorted(mantissas))


@cache
def allowed(terms: int | None, low: int = -24, high: int = 8) -> np.ndarray:
    """All allowed M from ``2**low`` to ``2**(high+1)``, ascending float64."""
    octaves = 2.0 ** np.arange(low, high + 1)
    return (octaves[:, None] * np.array(mantissas(terms))).ravel()


def as_fixed_point(value: float) -> tuple[int, int]:
    """``(m, n)`` with ``value == m * 2**-n`` exactly, ``n >= 0`` least. `value` > 0, dyadic."""
    numerator, denominator = float(value).as_integer_ratio()
    return numerator, denominator.bit_length() - 1


def kept_format(name: str, bits: int) -> tuple[float, int] | None:
    """Scale and zero point of a narrow gate z or 1 - z, codes for 0, 1/2, 1; None for others.

    Calibration weighs the error of one step, where it is cheap to leave out an end of the range;
    but a gate that is never open or never closed wears the state away at every step.
    """
    if name not in KEPT_GATES or bits > KEPT_BITS:
        return None
    return 2.0 ** (1 - bits), -(1 << (bits - 1))


def signed_digits(value: int) -> int:
    """Signed powers of two (non-zero canonical signed digits) in a positive integer."""
    return (value ^ (3 * value)).bit_count()
