"""The best possible piecewise-linear table, exactly, by dynamic programming.

A table is judged on finitely many inputs (:class:`~.points.Points`), so there are
finitely many ways to cut them into segments, and for a sum or a maximum over segments the best way
is found by dynamic programming. What makes it exact for *quantised* tables is that the line of each
interval is the best one that the number format can hold, not a rounded least-squares line: for a
slope the best intercept is the number nearest to the mean residual, and slopes are tried outwards
from the least-squares one until no further slope can win, whatever its intercept.

Cutting tables by dynamic programming is known (NLI, arXiv 2602.02988, for float interpolation).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import InputError, shown
from .formats import FixedGrid, Format, Grid
from .points import MAX_SCALE, Inputs, Points, codes

Array = np.ndarray
Objective = Literal["mse", "max"]
#: Absolute error that the guard allows outside of the range, by default.
GUARD = 2.0**-4
_SLACK = 1e-12
#: Slopes tried at once for intervals of one input.
_BLOCK = 1 << 22


class GuardError(InputError):
    """No line of the format holds the guard outside of the function's range."""


@dataclass(frozen=True)
class Lines:
    """The best line of every interval ``i <= inputs < j``.

    cost : float64 [n+1, n+1], its error (weighted squared, or greatest absolute); inf for i >= j
    slope, intercept : int64 [n+1, n+1], indices into the format's grids
    """

    cost: Array
    slope: Array
    intercept: Array


@dataclass(frozen=True)
class Solution:
    """A best table: what :func:`solve` found for some number of segments.

    cost : the objective, proved least
    starts : first input of each segment, the first 0
    slopes, intercepts : indices into the format's grids, one a segment
    """

    cost: float
    starts: list[int]
    slopes: Array
    intercepts: Array

    def cuts(self, points: Points) -> Array:
        """The cells between the segments (see :class:`~.points.Points`)."""
        return np.array([points.cut(start) for start in self.starts[1:]], np.int64)


def moments(points: Inputs) -> tuple[Array, ...]:
    """For all intervals [i, j]: weight, mean x, mean y, and the centred second moments."""
    x, y, w = points.x, points.y, points.weight
    # About the middle, so that differences of cumulative sums cancel little.
    cx, cy = x - x.mean(), y - y.mean()
    sums = [
        np.concatenate([[0.0], np.cumsum(w * v)])
        for v in (np.ones_like(x), cx, cy, cx * cx, cx * cy, cy * cy)
    ]
    n, sx, sy, sxx, sxy, syy = (s[None, :] - s[:, None] for s in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        mx, my = np.where(n > 0, sx / n, 0.0), np.where(n > 0, sy / n, 0.0)
    vx, vxy = np.maximum(sxx - sx * mx, 0.0), sxy - sx * my
    vy = np.maximum(syy - sy * my, 0.0)
    return n, mx + x.mean(), my + y.mean(), vx, vxy, vy


@dataclass
class _Intervals:
    """Every interval of the inputs, and the best line of each so far.

    n, mx, my, vx : weight, means, and variance of the inputs
    ideal : slope of the least-squares line, any number
    slope, intercept : indices into the grids; best : what the line loses to the least-squares one
    """

    slopes: Grid
    intercepts: Grid
    n: Array
    mx: Array
    my: Array
    vx: Array
    ideal: Array

    def __post_init__(self) -> None:
        self.slope = self.slopes.nearest(self.ideal)
        self.intercept = np.zeros(len(self.n), np.int64)
        self.best = np.full(len(self.n), np.inf)

    def lost(self, rows: Array, at: Array) -> tuple[Array, Array]:
        """What is lost, and the best intercept, for slopes `at` of intervals `rows`."""
        s = self.slopes.value(at)
        rest = self.my[rows] - s * self.mx[rows]
        b = self.intercepts.nearest(rest)
        off = s - self.ideal[rows]
        rounding = self.n[rows] * (self.intercepts.value(b) - rest) ** 2
        return self.vx[rows] * off * off + rounding, b

    def take_flat(self, flat: Array, period: int) -> None:
        """Lines of the intervals `flat`, in which all inputs are one: every slope is as good but
        for the rounding of the intercept, which repeats after `period` slopes."""
        # Between equals the flattest line is taken: it needs the least of a multiplier.
        slopes, intercepts = self.slopes, self.intercepts
        every = np.argsort(np.abs(slopes.value(np.arange(slopes.size))), kind="stable")
        few = every[:period]
        # Of few slopes none may need an intercept that there is not.
        ends = np.abs(intercepts.value(np.array([0, intercepts.size - 1]))).min()
        inside = np.abs(self.my) + np.abs(slopes.value(few)).max() * np.abs(self.mx) <= ends
        for tried, kind in ((few, flat & inside), (every, flat & ~inside)):
            blocks = 1 + kind.sum() * len(tried) // _BLOCK
            for rows in np.array_split(np.flatnonzero(kind), blocks):
                excess, b = self.lost(np.repeat(rows, len(tried)), np.tile(tried, len(rows)))
                excess = excess.reshape(-1, len(tried))
                at = excess.argmin(1)
                self.best[rows], self.slope[rows] = excess[np.arange(len(rows)), at], tried[at]
                self.intercept[rows] = b.reshape(-1, len(tried))[np.arange(len(rows)), at]

    def take_nearest(self, rows: Array) -> None:
        """Lines of the intervals `rows`: slopes are tried outwards from the ideal one."""
        start = self.slope.copy()
        self.best[rows], self.intercept[rows] = self.lost(rows, start[rows])
        for reach in range(1, self.slopes.size):
            # Intervals that are not decided yet.
            keep = np.zeros(len(rows), bool)
            for step in (-reach, reach):
                keep |= self._try(rows, start[rows] + step)
            # Slopes further out are further off: a side that is too far off stays so.
            rows = rows[keep]
            if not len(rows):
                break

    def _try(self, rows: Array, at: Array) -> Array:
        """Try slopes `at`; of which intervals they could have been better."""
        inside = (at >= 0) & (at < self.slopes.size)
        off = self.slopes.value(np.clip(at, 0, self.slopes.size - 1)) - self.ideal[rows]
        near = inside & (self.vx[rows] * off * off < self.best[rows])
        tried, at = rows[near], at[near]
        excess, b = self.lost(tried, at)
        better = excess < self.best[tried]
        winners = tried[better]
        self.best[winners], self.slope[winners] = excess[better], at[better]
        self.intercept[winners] = b[better]
        return near


def squared_lines(points: Inputs, slopes: Grid, intercepts: Grid) -> Lines:
    """The line of least weighted squared error of every interval, exactly.

    The error of slope s is ``vy - 2 s vxy + s^2 vx`` plus that of rounding the intercept, which is
    never negative: so once ``vx (s - vxy/vx)^2`` alone exceeds what is lost so far, no slope
    further out can be better.
    """
    size = len(points.x) + 1
    first, last = np.triu_indices(size, 1)
    n, mx, my, vx, vxy, vy = (v[first, last] for v in moments(points))
    # Whether all inputs are one. Sums that cancel do not show it.
    changes = np.append(np.flatnonzero(np.diff(points.x)) + 1, size - 1)
    flat = (last <= changes[np.searchsorted(changes, first, side="right")]) | (vx <= 0)
    vx = np.where(flat, 0.0, vx)
    ideal = np.where(flat, 0.0, vxy / np.where(flat, 1.0, vx))
    intervals = _Intervals(slopes, intercepts, n, mx, my, vx, ideal)
    intervals.take_flat(flat, _period(points, slopes, intercepts))
    intervals.take_nearest(np.flatnonzero(~flat))
    cost = np.full((size, size), np.inf)
    cost[first, last] = np.maximum(vy - ideal * vxy + intervals.best, 0.0)
    lines = (
        _square(number, first, last, size) for number in (intervals.slope, intervals.intercept)
    )
    return Lines(cost, *lines)


def _period(points: Inputs, slopes: Grid, intercepts: Grid) -> int:
    """After how many neighbouring slopes the rounding of intercepts repeats, at any of the inputs;
    all of them where it does not."""
    if isinstance(slopes, FixedGrid) and isinstance(intercepts, FixedGrid):
        for k in range(MAX_SCALE + 1):
            if (np.ldexp(points.x, k) % 1 == 0).all():
                return 1 << max(0, k + slopes.fraction_bits - intercepts.fraction_bits)
    return slopes.size


def _square(values: Array, first: Array, last: Array, size: int) -> Array:
    full = np.zeros((size, size), np.int64)
    full[first, last] = values
    return full


def maximum_lines(points: Inputs, slopes: Grid, intercepts: Grid) -> Lines:
    """The line of least greatest absolute error of every interval, exactly.

    For a slope the best intercept is the number nearest to the middle of the residuals' range, or
    its neighbour; every slope is tried. Inputs of weight 0 do not count.
    """
    x, y, seen = points.x, points.y, points.weight > 0
    size = len(x) + 1
    cost = np.full((size, size), np.inf)
    slope, intercept = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
    every = slopes.value(np.arange(slopes.size))
    residual = y[None, :] - every[:, None] * x[None, :]
    high, low = (np.where(seen, residual, fill) for fill in (-np.inf, np.inf))
    for i in range(size - 1):
        top = np.maximum.accumulate(high[:, i:], axis=1)
        bottom = np.minimum.accumulate(low[:, i:], axis=1)
        # Rounding the intercept never helps: only slopes whose half range beats the best rounded
        # one need a look, and that is decided with the intercept grid's own nearest number.
        with np.errstate(invalid="ignore"):
            middle = np.nan_to_num((top + bottom) / 2, nan=0.0, posinf=0.0, neginf=0.0)
        b = intercepts.nearest(middle)
        value = intercepts.value(b)
        error = np.maximum(np.maximum(top - value, value - bottom), 0.0)
        at = error.argmin(0)
        columns = np.arange(len(at))
        cost[i, i + 1 :], slope[i, i + 1 :] = error[at, columns], at
        intercept[i, i + 1 :] = b[at, columns]
    return Lines(cost, slope, intercept)


def guarded(
    lines: Lines, points: Points, form: Format, objective: Objective, guard: float
) -> Lines:
    """The same lines, but wherever a segment also serves codes outside of the range, one that is
    off by `guard` at most there; of those the best.

    Break points stand at :meth:`~.points.Points.cut`. Where no line holds the guard the
    cost is infinite.
    """
    x, targets, before = beyond(points)
    if not len(x):
        return lines
    cost, slope, intercept = lines.cost.copy(), lines.slope.copy(), lines.intercept.copy()
    every = form.slopes.value(np.arange(form.slopes.size))
    # Codes beyond that no break point parts: the bounds of each slope's intercept are theirs.
    bounds = np.unique(before)
    residual = targets[None] - every[:, None] * x[None]
    blocks = list(itertools.pairwise(bounds))
    judge = _Squares(points) if objective == "mse" else _Ranges(points)
    least = np.array([residual[:, a:b].max(1) - guard for a, b in blocks])
    most = np.array([residual[:, a:b].min(1) + guard for a, b in blocks])
    for a, b in itertools.combinations(range(len(bounds)), 2):
        from_, to = np.flatnonzero(before == bounds[a]), np.flatnonzero(before == bounds[b])
        first, last = (v.ravel() for v in np.meshgrid(from_, to, indexing="ij"))
        low, high = least[a:b].max(0), most[a:b].min(0)
        at = slope[first, last]
        value = form.intercepts.value(intercept[first, last])
        bad = (value < low[at] - _SLACK) | (value > high[at] + _SLACK)
        first, last = first[bad], last[bad]
        cost[first, last], slope[first, last], intercept[first, last] = _lines_within(
            judge, form, first, last, low, high
        )
    return Lines(cost, slope, intercept)


def beyond(points: Points) -> tuple[Array, Array, Array]:
    """Codes that protocol A judges outside of the range: inputs x and wanted outputs, in the order
    of break points, and how many of them are left of the break point at each position [n+1]."""
    function = points.function
    parts = []
    for k in points.scales:
        q = codes(function, points.in_bits, k, "A")
        x = np.ldexp(q.astype(np.float64), -k)
        out = (x < function.low) | (x > function.high)
        parts.append((x[out], (2 * q[out] + 1) << (points.finest - k)))
    x, key = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(key)
    x, key = x[order], key[order]
    cells = [points.cut(position) for position in range(1, len(points.x))]
    before = np.concatenate([[0], np.searchsorted(key, cells, side="right"), [len(x)]])
    return x, function(x), before


def _lines_within(
    judge: "_Squares | _Ranges", form: Format, first: Array, last: Array, least: Array, most: Array
) -> tuple[Array, Array, Array]:
    """Cost, slope and intercept of the best line of each interval [first, last) whose intercept
    lies within bounds [slopes]; every slope is tried. Cost inf where there is none."""
    cost = np.full(len(first), np.inf)
    slope, intercept = np.zeros((2, len(first)), np.int64)
    # A number of the grid lies within the bounds just when the one nearest to their middle does.
    centre = form.intercepts.value(form.intercepts.nearest((least + most) / 2))
    near = np.flatnonzero((centre >= least - _SLACK) & (centre <= most + _SLACK))
    judge.look_at(first, last)
    for at, s in zip(near, form.slopes.value(near), strict=True):
        rest = judge.middle(s)
        index = form.intercepts.nearest(np.clip(rest, least[at], most[at]))
        value = form.intercepts.value(index)
        # Rounding may have left the bounds; the next number is within them.
        index = index + (value < least[at] - _SLACK) - (value > most[at] + _SLACK)
        error = judge.cost(form.intercepts.value(index))
        better = error < cost
        cost[better], slope[better], intercept[better] = error[better], at, index[better]
    return cost, slope, intercept


class _Squares:
    """Squared errors of intervals for one slope after the other."""

    def __init__(self, points: Inputs) -> None:
        self.moments = moments(points)

    def look_at(self, first: Array, last: Array) -> None:
        """From now on the intervals [first, last)."""
        self.n, self.mx, self.my, self.vx, self.vxy, self.vy = (
            v[first, last] for v in self.moments
        )

    def middle(self, s: float) -> Array:
        """The best real intercepts of slope `s`."""
        self.s, self.rest = s, self.my - s * self.mx
        return self.rest

    def cost(self, b: Array) -> Array:
        """Errors with intercepts `b`."""
        spread = self.vy - 2 * self.s * self.vxy + self.s**2 * self.vx
        return np.maximum(spread + self.n * (b - self.rest) ** 2, 0.0)


class _Ranges:
    """Greatest absolute errors of intervals for one slope after the other."""

    def __init__(self, points: Inputs) -> None:
        self.points = points

    def look_at(self, first: Array, last: Array) -> None:
        """From now on the intervals [first, last)."""
        self.first = first
        # An interval is covered by two of the power-of-two length `1 << level`.
        self.level = np.array([int(length).bit_length() - 1 for length in last - first], np.int64)
        self.second = last - (1 << self.level)

    def middle(self, s: float) -> Array:
        """The best real intercepts of slope `s`."""
        residual = self.points.y - s * self.points.x
        self.top = self._greatest(np.where(self.points.weight > 0, residual, -np.inf))
        self.bottom = -self._greatest(np.where(self.points.weight > 0, -residual, -np.inf))
        seen = np.isfinite(self.top)
        return np.where(seen, (np.where(seen, self.top, 0) + np.where(seen, self.bottom, 0)) / 2, 0)

    def cost(self, b: Array) -> Array:
        """Errors with intercepts `b`."""
        return np.maximum(np.maximum(self.top - b, b - self.bottom), 0.0)

    def _greatest(self, values: Array) -> Array:
        greatest = np.empty(len(self.first))
        for level in range(int(self.level.max(initial=0)) + 1):
            if level:
                half = 1 << (level - 1)
                values = np.maximum(values[:-half], values[half:])
            at = self.level == level
            greatest[at] = np.maximum(values[self.first[at]], values[self.second[at]])
        return greatest


def lines_of(
    points: Points, form: Format, objective: Objective = "mse", guard: float | None = None
) -> Lines:
    """The best line of every interval of `points` in format `form`.

    objective : 'mse' (weighted mean of squares) or 'max' (greatest absolute error)
    guard : what the outer segments may be off outside of the function's range, None for anything
    """
    if objective not in ("mse", "max"):
        raise InputError(f"objective {shown(objective)}: mse and max are known")
    kind = squared_lines if objective == "mse" else maximum_lines
    lines = kind(points, form.slopes, form.intercepts)
    return lines if guard is None else guarded(lines, points, form, objective, guard)


def solve(
    lines: Lines, entries: int, objective: Objective = "mse", segment_cost: float = 0.0
) -> list[Solution]:
    """The best tables of at most 1, 2 ... `entries` segments, each proved least.

    `segment_cost` is added for every segment (mse only): then fewer may be better than more.
    """
    cost = lines.cost + segment_cost
    best, choice, solutions = cost[0].copy(), [], []
    for step in range(entries):
        if step:
            if objective == "mse":
                through = best[:, None] + cost
            else:
                through = np.maximum(best[:, None], cost)
            start = through.argmin(0)
            reached = through[start, np.arange(len(start))]
            keep = best <= reached
            choice.append(np.where(keep, -1, start))
            best = np.where(keep, best, reached)
        end, starts = len(best) - 1, []
        for earlier in reversed(choice):
            if earlier[end] >= 0:
                end = int(earlier[end])
                starts.append(end)
        starts = [0, *reversed(starts)]
        ends = [*starts[1:], len(best) - 1]
        pairs = list(zip(starts, ends, strict=True))
        solutions.append(
            Solution(
                float(best[-1]),
                starts,
                np.array([lines.slope[p] for p in pairs], np.int64),
                np.array([lines.intercept[p] for p in pairs], np.int64),
            )
        )
    return solutions


@dataclass
class Exact:
    """The exact method for one set of inputs: lines are computed once, then every N is cheap."""

    points: Points
    form: Format
    objective: Objective = "mse"
    guard: float | None = None
    _lines: Lines | None = field(default=None, repr=False)

    @property
    def lines(self) -> Lines:
        """Best line of every interval."""
        if self._lines is None:
            self._lines = lines_of(self.points, self.form, self.objective, self.guard)
        return self._lines

    def best(self, entries: int, segment_cost: float = 0.0) -> Solution:
        """The best table of at most `entries` segments. Raises :class:`InputError` where the guard
        leaves none."""
        cuts = solve(self.lines, entries, self.objective, segment_cost)[-1]
        if not np.isfinite(cuts.cost):
            raise self.unguardable()
        return cuts

    def unguardable(self) -> "GuardError":
        """What is to be said where no table holds the guard."""
        return GuardError(
            f"guard {self.guard:g}: no line of format {self.form.name} stays so near to "
            f"{self.points.function.name} outside of its range; give --guard none, a greater "
            "guard, a wider range"
        )


def best_intercepts_and_slopes(
    points: Points, form: Format, starts: Sequence[int]
) -> tuple[Array, Array]:
    """Exact best lines (indices) of given segments, least squared error; for searches that only
    choose break points."""
    first, last = np.asarray(starts), np.array([*starts[1:], len(points.x)])
    free = np.full(form.slopes.size, 1e300)
    _, slopes, intercepts = _lines_within(_Squares(points), form, first, last, -free, free)
    return slopes, intercepts
