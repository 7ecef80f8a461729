"""Features that a GRU and INT8 codes take badly: of very different size, or far from zero.

All input codes of a network have one scale, so a feature far larger than the others takes their
steps from them. After training, quantisation mends that: such features are divided by powers of two
(:func:`feature_shifts`) before they become codes, and their columns of W_i multiplied, which costs
the hardware nothing. Training, which starts from the features as they are, does not: a GRU whose
inputs are hundreds trains badly or not at all.
"""

from typing import Any

import numpy as np

#: Feature ranges may differ by this factor: INT8 codes then leave the smallest two bits.
MAX_RATIO = 64.0
#: Root mean square from which on features count as unscaled; ours have 0.3 to 1.
MAX_SIZE = 16.0
#: Mean, in standard deviations, from which on features count as not centred where that is not
#: small (pixels, 0 to 1, are never centred).
MAX_OFFSET, LEAST_OFFSET = 2.5, 3.0
#: Columns that are named.
NAMED = 3
#: What to train on where there is more than one column to mend.
STANDARD = "(x - x_train.mean((0, 1))) / x_train.std((0, 1)), std 0 as 1"


def feature_warnings(x: np.ndarray, folded: bool = False) -> list[str]:
    """At most one line, about sizes or else about offsets of real inputs [batch, steps, features];
    it names columns, factors and remedy. folded: of the features after :func:`feature_shifts`."""
    flat = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    flat = flat[~np.isnan(flat[:, 0])]
    if folded and (shifts := feature_shifts(x)):
        flat = flat / 2.0 ** np.array(shifts)
    low, high = flat.min(0), flat.max(0)
    mean, deviation = flat.mean(0), flat.std(0)
    # What codes must cover; a constant far from the others costs them as much.
    reach = np.maximum(np.abs(low), np.abs(high))
    line = _sizes(reach) or _offsets(mean, deviation)
    return [line] if line else []


def feature_shifts(x: np.ndarray) -> tuple[int, ...]:
    """Powers of two to divide the features of `x` [batch, steps, features] by, so that all are near
    the median's size, or the smaller of two; none where they differ too little to be worth it."""
    flat = np.abs(np.asarray(x, np.float64)).reshape(-1, x.shape[-1])
    # Steps after the end of a sequence are NaN.
    reach = flat.max(0, initial=0, where=~np.isnan(flat))
    used = reach > 0
    if used.sum() < 2 or reach[used].max() <= MAX_RATIO * reach[used].min():
        return ()
    octaves = np.log2(np.where(used, reach, 1.0))
    usual = octaves[used].min() if used.sum() == 2 else np.median(octaves[used])
    shifts = np.rint(octaves - usual)
    return tuple(int(shift) for shift in np.where(used, shifts, 0))


def _sizes(reach: np.ndarray) -> str:
    used = reach > 0
    if used.sum() < 2 or reach[used].max() <= MAX_RATIO * reach[used].min():
        return ""
    usual = float(np.median(reach[used]))
    if used.sum() == 2:
        usual = float(reach[used].min())
    # The columns furthest from the usual size, first.
    distance = np.abs(np.log2(np.where(used, reach, usual) / usual))
    odd = [int(j) for j in np.argsort(-distance, kind="stable") if distance[j] > 3]
    named, more = odd[:NAMED], len(odd) - NAMED
    text = ", ".join(f"column {j} reaches {_number(reach[j])}" for j in named)
    text += f" and {more} more are as far off" if more > 0 else ""
    steps = "; ".join(_rescale(j, int(np.rint(np.log2(reach[j] / usual)))) for j in named)
    return (
        f"features differ in size by {_number(reach[used].max() / reach[used].min())} times and "
        f"share one INT8 scale: {text}, the median {_number(usual)}. Rescale them "
        f"({steps}; the network stays the same), or train on {STANDARD}"
    )


def _rescale(column: int, octaves: int) -> str:
    """NumPy statements that rescale a column and the weights that read it."""
    there, back = ("/=", "*=") if octaves > 0 else ("*=", "/=")
    size = 2 ** abs(octaves)
    return f"x[..., {column}] {there} {size}, weight_ih_l0[:, {column}] {back} {size}"


def _offsets(mean: np.ndarray, deviation: np.ndarray) -> str:
    size = np.hypot(mean, deviation)
    far = (np.abs(mean) > MAX_OFFSET * deviation) & (np.abs(mean) > LEAST_OFFSET) & (deviation > 0)
    odd = np.flatnonzero(far | (size > MAX_SIZE))
    if not len(odd):
        return ""
    worst = int(odd[size[odd].argmax()])
    return (
        f"{len(odd)} of {len(mean)} features are not centred or not scaled: column {worst} has "
        f"mean {_number(mean[worst])} and standard deviation {_number(deviation[worst])}, a GRU "
        f"learns best from 0 and 1. Train on {STANDARD}"
    )


def _number(value: Any) -> str:
    return f"{float(value):,.0f}" if abs(value) >= 1000 else f"{float(value):.3g}"
