"""Tables of least error and price, by dynamic programming over segments."""

from collections.abc import Sequence

import numpy as np

from ...hdl.units.shift_add_unit import digits_of
from ...model.aliases import Array
from ...model.integer import code_range
from .genes import Genes
from .target import Fold, Target


class Segmenter:
    """The exact method on the integer outputs: the best line of every interval, slope by slope.

    Break points are the multiples of `step`, slopes the given ones, intercepts (with rounding and
    zero point in them) the multiples of ``2**grain``; within these every line is tried, so that a
    table is proved best for any price that adds up over segments.

    cost : float64 [S, n+1, n+1], squared codes, of slope s from node i to before node j
    intercept : int64 [S, n+1, n+1]
    """

    def __init__(
        self,
        target: Target,
        fold: Fold,
        ramp: int,
        fraction: int,
        grain: int,
        step: int,
        slopes: Sequence[int],
    ) -> None:
        self.target, self.fold, self.ramp, self.fraction = target, fold, ramp, fraction
        self.slopes = np.array(sorted(set(slopes)), np.int64)
        self.inputs = inputs_of(target, fold)
        self.nodes = _nodes(target, fold, step)
        at = np.append(self.nodes - self.inputs[0], len(self.inputs))
        size = len(self.nodes) + 1
        self.cost = np.full((len(self.slopes), size, size), np.inf)
        self.intercept = np.zeros((len(self.slopes), size, size), np.int64)
        for number, slope in enumerate(self.slopes):
            tried = intercepts_for(target, fold, ramp, fraction, int(slope), grain, self.inputs)
            error = line_errors(target, fold, ramp, fraction, int(slope), tried, self.inputs)
            sums = np.concatenate([np.zeros((len(tried), 1)), error.cumsum(1)], 1)[:, at]
            for i in range(size - 1):
                away = sums[:, i + 1 :] - sums[:, i : i + 1]
                best = away.argmin(0)
                self.cost[number, i, i + 1 :] = away[best, np.arange(len(best))]
                self.intercept[number, i, i + 1 :] = tried[best]

    def solve(
        self, entries: int, price: Array, point_price: Array, allowed: Array | None = None
    ) -> tuple[float, Genes]:
        """The table of at most `entries` segments with the least error plus price, proved.

        price : float64 [S], of a segment of each slope, squared codes
        point_price : float64 [n], of a segment that begins at each node; the first is not counted
        allowed : bool [S], slopes that may be used; all by default
        """
        cost = self.cost + price[:, None, None]
        if allowed is not None:
            cost = np.where(allowed[:, None, None], cost, np.inf)
        which, cost = cost.argmin(0), cost.min(0)
        cost = cost + np.append(np.concatenate([[0.0], point_price[1:]]), 0.0)[:, None]
        best, choice = cost[0].copy(), []
        for _ in range(entries - 1):
            through = best[:, None] + cost
            start = through.argmin(0)
            reached = through[start, np.arange(len(start))]
            choice.append(np.where(best <= reached, -1, start))
            best = np.minimum(best, reached)
        starts, end = [], len(best) - 1
        for earlier in reversed(choice):
            if earlier[end] >= 0:
                end = int(earlier[end])
                starts.append(end)
        starts = [0, *reversed(starts)]
        pairs = list(zip(starts, [*starts[1:], len(self.nodes)], strict=True))
        used = [int(which[pair]) for pair in pairs]
        return float(best[-1]), Genes(
            self.fold,
            self.ramp,
            self.fraction,
            tuple(int(self.nodes[i]) for i in starts[1:]),
            tuple(int(self.slopes[s]) for s in used),
            tuple(int(self.intercept[s, i, j]) for s, (i, j) in zip(used, pairs, strict=True)),
        )


def inputs_of(target: Target, fold: Fold) -> Array:
    """All codes, or all magnitudes."""
    low, high = code_range(target.in_bits)
    return np.arange(0 if fold != "none" else low, high + 1)


def _nodes(target: Target, fold: Fold, step: int) -> Array:
    """Where segments may begin: multiples of `step` among what is judged, and the first input."""
    inputs = inputs_of(target, fold)
    low, _ = code_range(target.in_bits)
    counts = (target.weight > 0) | target.watched
    if fold in ("odd", "even"):
        counts = counts | counts[::-1]
    elif fold != "none":
        counts[inputs - low] |= counts[target.other_half(fold, inputs)]
    seen = inputs[counts[inputs - low]]
    some = inputs[(inputs % step == 0) & (inputs > seen[0]) & (inputs <= seen[-1])]
    return np.concatenate([inputs[:1], some])


def line_errors(
    target: Target,
    fold: Fold,
    ramp: int,
    fraction: int,
    slope: int,
    intercepts: Array,
    inputs: Array,
) -> Array:
    """Errors [intercepts, inputs], squared codes, of lines, with those of the other half."""
    low, _ = code_range(target.in_bits)
    bounds = code_range(target.out_bits)
    value = (slope * inputs[None, :] + np.asarray(intercepts)[:, None]) >> fraction
    if fold == "none":
        return target.errors(np.clip(value, *bounds), inputs - low)
    here, there = inputs - low, target.other_half(fold, inputs)
    if fold == "odd":
        value = np.clip(value, *bounds)
        return target.errors(value, here) + target.errors(~value, there)
    if fold == "negated":
        # Only 0 has the size 0, and none is beyond the codes: the circuit has no other case.
        astray = np.where(inputs > 0, (value < 1) | (value > bounds[1]), value != 0)
        opposite = np.where(inputs > 0, -value, bounds[0])
        error = target.errors(value, here) + target.errors(opposite, there)
        return error + np.where(astray, 1e9, 0.0)
    return target.errors(np.clip(value + (inputs << ramp), *bounds), here) + target.errors(
        np.clip(value, *bounds), there
    )


def _residuals(
    target: Target, fold: Fold, ramp: int, fraction: int, slope: int, inputs: Array
) -> Array:
    """What an intercept would have to be at each judged input."""
    low, _ = code_range(target.in_bits)
    near = np.clip(target.wanted, *code_range(target.out_bits))
    counts = (target.weight > 0) | target.watched
    residuals = []
    here, there = inputs - low, target.other_half(fold, inputs)
    even = fold in ("even", "mirrored")
    for at, goal in (
        (here, near[here] - (inputs << ramp if even else 0)),
        (there, near[there] if even else -near[there] - (fold == "odd")),
    )[: 1 if fold == "none" else 2]:
        rest = np.ldexp(goal, fraction) - slope * inputs
        residuals.append(rest[counts[at]])
    rest = np.concatenate(residuals)
    # Where nothing is judged any line will do.
    return rest if len(rest) else np.zeros(1)


def intercepts_for(
    target: Target, fold: Fold, ramp: int, fraction: int, slope: int, grain: int, inputs: Array
) -> Array:
    """All multiples of ``2**grain`` that can be best anywhere among `inputs`: with less every
    output is too small, with more too large."""
    rest = _residuals(target, fold, ramp, fraction, slope, inputs)
    low = (int(np.floor(rest.min())) >> grain) - 1
    high = ((int(np.ceil(rest.max())) + (1 << fraction)) >> grain) + 1
    return np.arange(low, high + 1) << grain


def slopes_for(target: Target, fold: Fold, ramp: int, fraction: int, digits: int) -> list[int]:
    """Slopes within what the function has, of at most `digits` signed digits."""
    inputs = inputs_of(target, fold)
    low, _ = code_range(target.in_bits)
    at = inputs[target.weight[inputs - low] > 0]
    targets = np.clip(target.wanted, *code_range(target.out_bits))[at - low]
    if fold in ("even", "mirrored"):
        targets = targets - (at << ramp)
    steep = np.ldexp(np.diff(targets), fraction)
    least, greatest = int(np.floor(min(steep.min(), 0))), int(np.ceil(max(steep.max(), 0)))
    return [s for s in range(least, greatest + 1) if len(digits_of(s)) <= digits]
