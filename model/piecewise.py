"""Integer tables and piecewise-linear units for sigmoid and tanh at an operator's own scales.

The lines come from dynamic programming over the finite set of input codes: the least-squares
segmentation, then slopes and intercepts rounded to integers. Unit and semantics are those of
:class:`~genogate.model.integer.PiecewiseLinear` (arXiv 2403.19591, equation of its quantised use).
"""

import numpy as np

from .integer import PiecewiseLinear, Table, code_range, half

#: Fraction bits tried; the fewest whose error is within this factor of the finest's are taken.
FRACTION_BITS, FRACTION_TOLERANCE = range(1, 9), 1.15


def exact_table(target: np.ndarray, a_bits: int, out_bits: int) -> Table:
    """The full table of ``target`` [2**a_bits], real output codes, rounded half up, saturated."""
    codes = np.clip(np.floor(target + 0.5), *code_range(out_bits))
    return Table(a_bits=a_bits, out_bits=out_bits, table=codes.astype(np.int16))


def unit_codes(unit: PiecewiseLinear) -> np.ndarray:
    """Output codes int64 [2**a_bits] of `unit`, in the order of the input codes."""
    low, high = code_range(unit.a_bits)
    codes = np.arange(low, high + 1)
    segment = np.searchsorted(unit.breakpoints, codes, side="right")
    value = unit.slopes.astype(np.int64)[segment] * codes + unit.intercepts[segment]
    value = (value + half(unit.fraction_bits)) >> unit.fraction_bits
    return np.clip(value + unit.zero_point, *code_range(unit.out_bits))


def _interval_costs(y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted squared error [i, j] and slope [i, j] of the best line through points i ... j-1."""
    x = np.arange(len(y), dtype=np.float64)
    sums = [np.concatenate([[0.0], np.cumsum(weight * v)])
            for v in (np.ones_like(x), x, y, x * x, x * y, y * y)]  # fmt: skip
    n, sx, sy, sxx, sxy, syy = (s[None, :] - s[:, None] for s in sums)
    n = np.maximum(n, 1e-30)
    vx, vxy, vy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(vx > 1e-9, vxy / vx, 0.0)
    cost = np.maximum(vy - slope * vxy, 0.0)
    cost[np.tril_indices(len(n))] = np.inf
    return cost, slope


def segmentation(y: np.ndarray, weight: np.ndarray, entries: int) -> tuple[list[int], np.ndarray]:
    """Starts of the at most `entries` segments of least weighted squared error, and their slopes.

    Exact: dynamic programming over all partitions of the points.
    """
    cost, slope = _interval_costs(y, weight)
    best, choice = cost[0], []
    for _ in range(entries - 1):
        through = best[:, None] + cost
        start = through.argmin(0)
        reached = through[start, np.arange(len(start))]
        keep = best <= reached
        choice.append(np.where(keep, -1, start))
        best = np.where(keep, best, reached)
    end, starts = len(y), []
    for step in reversed(choice):
        if step[end] >= 0:
            end = int(step[end])
            starts.append(end)
    starts = [0, *reversed(starts)]
    ends = [*starts[1:], len(y)]
    return starts, np.array([slope[a, b] for a, b in zip(starts, ends, strict=True)])


def fit(
    target: np.ndarray, a_bits: int, out_bits: int, entries: int, weight: np.ndarray | None = None
) -> PiecewiseLinear:
    """A piecewise-linear unit of at most `entries` segments for ``target`` [2**a_bits].

    `target` holds real output codes in the order of the input codes; `weight` the importance of
    each input code. Saturation does the clipping, so beyond the last output code the fit follows
    the clipped target.
    """
    low, _ = code_range(a_bits)
    y = np.clip(target, *code_range(out_bits))
    if weight is None:
        weight = np.ones_like(y)
    entries = min(entries, len(y))
    starts, slopes = segmentation(y, weight, entries)
    codes = np.arange(len(y)) + low
    segment = np.searchsorted(starts[1:], np.arange(len(y)), side="right")
    tried = []
    for bits in FRACTION_BITS:
        integer = np.floor(slopes * 2**bits + 0.5).astype(np.int64)
        rest = y * 2**bits - integer[segment] * codes
        total = np.bincount(segment, weight)
        intercept = np.floor(np.bincount(segment, weight * rest) / total + 0.5).astype(np.int64)
        unit = PiecewiseLinear(
            a_bits=a_bits,
            out_bits=out_bits,
            fraction_bits=bits,
            zero_point=0,
            breakpoints=np.array(starts[1:], np.int16) + np.int16(low),
            slopes=integer.astype(np.int32),
            intercepts=intercept.astype(np.int32),
        )
        tried.append((float(weight @ (unit_codes(unit) - y) ** 2), unit))
    limit = min(error for error, _ in tried) * FRACTION_TOLERANCE + 1e-12
    return next(unit for error, unit in tried if error <= limit)
