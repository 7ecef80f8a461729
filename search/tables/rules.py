"""What every search over break points starts from: the inputs, and the line that a rule gives to
each interval of them.

Costs of all intervals (some 300,000 for seven scales) are computed once, so that judging a table
is one look-up a segment. The rules:

- ``best``: the line of least error that the format can hold (:mod:`genogate.model.tables.optimal`).
- ``least-squares``: of the three slopes nearest to that of the least-squares line the best, each
  with the intercept that then fits best.
- ``refitted``: the slope nearest to that of the least-squares line, the intercept fitted to it.
- ``rounded``: slope and intercept of the least-squares line, each rounded (LUT-APP, DATE 2026).
- ``real``: the least-squares line itself, not rounded: what no format can beat.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from ...model.errors import InputError
from ...model.tables.formats import Format
from ...model.tables.optimal import (
    Exact,
    Lines,
    Objective,
    Solution,
    beyond,
    guarded,
    moments,
    solve,
)
from ...model.tables.points import Points

Array = np.ndarray
Rule = Literal["best", "least-squares", "refitted", "rounded", "real"]
#: Called now and then with rounds done, rounds at most, and the least objective so far.
Progress = Callable[[int, int, float], None]
#: Steps of the slope's grid that a rule tries around the nearest one.
_REACH = {"least-squares": (0, -1, 1), "refitted": (0,), "rounded": (0,)}


def rule_lines(points: Points, form: Format, rule: Rule) -> Lines:
    """The line of every interval by a rule of least squares, and its weighted squared error.

    ``real`` gives the indices of ``rounded``, but the errors of the lines before rounding.
    """
    size = len(points.x) + 1
    first, last = np.triu_indices(size, 1)
    n, mx, my, vx, vxy, vy = (v[first, last] for v in moments(points))
    flat = vx <= 1e-12 * np.maximum(n, 1e-12)
    ideal = np.where(flat, 0.0, vxy / np.where(flat, 1.0, vx))
    nearest = form.slopes.nearest(ideal)
    slope, intercept = nearest.copy(), form.intercepts.nearest(my - ideal * mx)
    cost = vy - ideal * vxy if rule == "real" else np.full(len(first), np.inf)
    for step in _REACH.get(rule, ()):
        s = np.clip(nearest + step, 0, form.slopes.size - 1)
        value = form.slopes.value(s)
        rest = my - value * mx
        b = intercept if rule == "rounded" else form.intercepts.nearest(rest)
        error = vy - 2 * value * vxy + value**2 * vx + n * (form.intercepts.value(b) - rest) ** 2
        better = error < cost
        cost[better], slope[better], intercept[better] = error[better], s[better], b[better]
    square = np.full((size, size), np.inf)
    square[first, last] = np.maximum(cost, 0.0)
    indices = np.zeros((2, size, size), np.int64)
    indices[:, first, last] = slope, intercept
    return Lines(square, *indices)


@dataclass(frozen=True)
class Cut:
    """A table as a search finds it.

    starts : first input of each segment, ascending, the first 0; no segment is empty
    slopes, intercepts : indices into the format's grids, one a segment
    evaluations : tables judged to find it
    """

    starts: list[int]
    slopes: Array
    intercepts: Array
    evaluations: int


@dataclass
class Problem:
    """Inputs, format, objective and guard of a search; what methods share is computed once."""

    points: Points
    form: Format
    objective: Objective = "mse"
    guard: float | None = None
    _lines: dict[Rule, Lines] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def exact(self) -> Exact:
        """The exact method."""
        return Exact(self.points, self.form, self.objective, self.guard)

    def lines(self, rule: Rule) -> Lines:
        """Line and cost of every interval by a rule, under the guard."""
        if rule == "best":
            return self.exact.lines
        if rule not in self._lines:
            if self.objective != "mse" and rule != "real":
                raise InputError(f"rule {rule}: objective {self.objective} has only the rule best")
            lines = rule_lines(self.points, self.form, rule)
            if self.guard is not None and rule != "real":
                lines = guarded(lines, self.points, self.form, self.objective, self.guard)
            self._lines[rule] = lines
        return self._lines[rule]

    def limit(self, rule: Rule, entries: int) -> Solution:
        """The best table of at most `entries` segments with the lines of a rule, by dynamic
        programming. Where the rule is ``real``: a lower bound of squares for every format."""
        return solve(self.lines(rule), entries, "mse" if rule == "real" else self.objective)[-1]

    def cost(self, cut: Cut) -> float:
        """The objective of a table."""
        y = self.values(cut)
        off = np.abs(y - self.points.y)
        if self.objective == "mse":
            return float(off**2 @ self.points.weight)
        return float(off[self.points.weight > 0].max())

    def values(self, cut: Cut) -> Array:
        """Outputs float64 of a table at every input."""
        segment = np.searchsorted(cut.starts, np.arange(len(self.points.x)), side="right") - 1
        slope = self.form.slopes.value(cut.slopes)[segment]
        return slope * self.points.x + self.form.intercepts.value(cut.intercepts)[segment]

    def held(self, cut: Cut) -> Cut:
        """The same table with the lines that break the guard replaced by the best that hold it.

        Raises :class:`InputError` where there is none.
        """
        if self.guard is None:
            return cut
        x, targets, before = beyond(self.points)
        slopes, intercepts = cut.slopes.copy(), cut.intercepts.copy()
        ends = [*cut.starts[1:], len(self.points.x)]
        for k, (i, j) in enumerate(zip(cut.starts, ends, strict=True)):
            served = slice(before[i], before[j])
            line = self.form.slopes.value(slopes[k]) * x[served]
            line = line + self.form.intercepts.value(intercepts[k])
            if np.abs(line - targets[served]).max(initial=0.0) <= self.guard:
                continue
            if not np.isfinite(self.exact.lines.cost[i, j]):
                raise self.exact.unguardable()
            slopes[k] = self.exact.lines.slope[i, j]
            intercepts[k] = self.exact.lines.intercept[i, j]
        return replace(cut, slopes=slopes, intercepts=intercepts)
