"""Parts of quantisation that GRU layers and dense layers share: weights, biases, units."""

from typing import Any

import numpy as np

from ..integer import Operator, acc_bounds, code_range
from ..knobs import Knobs
from .activations import Fitting, exact_table, unit_codes
from .error_curves import FUNCTIONS, Curve, Tensor, Weights
from .scales import allowed, as_fixed_point

#: A piecewise-linear unit holds its accuracy when no code is further off than this from the table.
PWL_MAX_ERROR = 1
#: ... and its squared error against the real function, weighted by the data, is at most so many
#: times that of the table, which only rounds: a code is little at 8 bits, and much at 4.
PWL_ERROR_GROWTH = {8: 3.0, 7: 2.0, 6: 1.5}
LEAST_ERROR_GROWTH = 1.1
#: Segments tried for ``activation="auto"``, beside the knob's own number.
AUTO_ENTRIES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
#: Units of fewest segments that compete with the table; more segments are hardly ever less cells.
AUTO_UNITS = 3
#: Largest magnitude of a bias code: no float32 bias has more digits.
MAX_BIAS = 1 << 39
#: Bias codes from which on it is looked for what the output does not show of them.
WIDE_BIAS = 1 << 20


def pick(curve: Curve, base: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least error over scales ``base * factors`` and the factor that gives it, shaped as `base`."""
    errors = curve(base[..., None] * factors)
    index = errors.argmin(-1)
    return np.take_along_axis(errors, index[..., None], -1)[..., 0], factors[index]


def snap(ratio: float, terms: int | None) -> tuple[int, int]:
    """The allowed M nearest to `ratio`, as ``(m, n)``: undoes the rounding of float scales."""
    factors = allowed(terms)
    return as_fixed_point(float(factors[np.abs(np.log(factors / ratio)).argmin()]))


def _within_output(
    codes: np.ndarray,
    bias: np.ndarray,
    in_bits: int,
    channel: np.ndarray,
    multiplier: int,
    shift: int,
    zero: int,
    bits: int,
) -> np.ndarray:
    """`bias`, of the units whose output code is the same for all inputs no larger than it takes to
    keep it the same: the accumulator need not be as wide as a bias that nobody sees."""
    low, high = code_range(in_bits)
    wide = codes.astype(np.int64)
    least = np.minimum(wide * low, wide * high).sum(1)
    most = np.maximum(wide * low, wide * high).sum(1)
    lowest, highest = code_range(bits)
    shifts = shift + channel.astype(np.int64)
    half = (1 << shifts) >> 1
    # The least accumulator that gives the highest code, and the greatest that gives the lowest.
    top = -((half - ((highest - zero) << shifts)) // multiplier)
    bottom = (((lowest - zero + 1) << shifts) - half - 1) // multiplier
    return np.maximum(
        np.minimum(bias, np.maximum(top - least, bottom - most)),
        np.minimum(bottom - most, top - least),
    )


def linear_operator(
    weights: Weights,
    bias: np.ndarray,
    *,
    scale: float,
    in_scale: float,
    in_zero: int,
    in_bits: int,
    weight_bits: int,
    granularity: str,
    output: tuple[int, int, int, int] | None = None,
) -> dict[str, Any]:
    """Weight codes, folded bias, channel shifts and proved accumulator bounds.

    output : multiplier, shift, zero point and bits of the requantised output, if it is
    """
    codes, channel, _ = weights.quantize(weight_bits, scale, granularity)
    row_scale = scale / 2.0 ** channel.astype(np.float64)
    # The mean error that rounded weights cause is known, so the bias takes it out.
    drift = ((codes * row_scale[:, None] - weights.matrix) * weights.mean).sum(1)
    real = np.clip((bias - drift) / (row_scale * in_scale), -MAX_BIAS, MAX_BIAS)
    folded = np.floor(real + 0.5).astype(np.int64) - in_zero * codes.astype(np.int64).sum(1)
    if output is not None and np.abs(folded).max() >= WIDE_BIAS:
        folded = _within_output(codes, folded, in_bits, channel, *output)
    low, high = acc_bounds(codes, folded, in_bits)
    return {
        "weight": codes,
        "bias": folded,
        "channel_shift": channel,
        "in_bits": in_bits,
        "weight_bits": weight_bits,
        "acc_min": low,
        "acc_max": high,
    }


def activation_candidates(
    name: str,
    source: Tensor,
    *,
    a_bits: int,
    a_scale: float,
    a_zero: int,
    out_bits: int,
    scale: float,
    zero: int,
    knobs: Knobs,
) -> list[Operator]:
    """The units that may stand for activation `name`: what the knob says, or for ``auto`` the
    table and the first piecewise-linear units that hold its accuracy."""
    low, high = code_range(a_bits)
    codes = np.arange(low, high + 1)
    target = FUNCTIONS[f"s_{name[-1]}"]((codes - a_zero) * a_scale) / scale + zero
    table = exact_table(target, a_bits, out_bits)
    if knobs.activation == "table":
        return [table]
    # Half of the weight goes where the data are, half keeps the rest of the range honest.
    seen = np.clip(np.floor(source.centre / a_scale + 0.5) + a_zero, low, high).astype(int) - low
    mass = np.bincount(seen, source.mass, len(codes))
    weight = mass / mass.sum() + 1 / len(codes)
    fitting = Fitting(target, a_bits, out_bits, weight)
    if knobs.activation == "pwl":
        return [fitting.unit(knobs.entries)]
    candidates: list[Operator] = [table]
    limit = fitting.error(table.table) * PWL_ERROR_GROWTH.get(out_bits, LEAST_ERROR_GROWTH)
    for entries in sorted({*AUTO_ENTRIES, knobs.entries}):
        # Rounding to codes only adds to what the lines are off.
        if len(candidates) > AUTO_UNITS or fitting.unrounded(entries) > limit:
            continue
        codes = unit_codes(unit := fitting.unit(entries))
        if np.abs(codes - table.table).max() <= PWL_MAX_ERROR and fitting.error(codes) <= limit:
            candidates.append(unit)
    return candidates
