"""The genetic search over break points of arXiv 2403.19591 (GQA-LUT), on the integer objective.

An individual is N-1 real break points, ascending, within the function's range. Its table is judged
on every code of every scale, each break point rounded to the codes of each scale (protocol R),
where the released trainer looks at a float grid. A generation: tournaments of three, two-point
crossover, mutation, all individuals at once. Mutation rounds a break point to the grid of a scale
(probability `ROUNDING` for each scale) or moves it by a normal step.

With the rule ``chord`` the search is the paper's: slope and intercept of a segment are the rounded
chord between its break points, and nothing else is done. With any other rule (:mod:`.rules`) three
things are ours: each child's break points are moved, one after the other, to where each is best
between its neighbours; the best individual survives; twins make room for newcomers. `plain` leaves
them out; then a table has 1.0 to 3.5 times the least error, as the seed will have it.
"""

from typing import Literal

import numpy as np

from ...model.tables.points import Points
from .polish import finished
from .rules import Cut, Problem, Progress, Rule

Array = np.ndarray
#: arXiv 2403.19591 (tournament, step and two-point crossover: its released code).
POPULATION, GENERATIONS, CROSSOVER, MUTATION, TOURNAMENT = 50, 500, 0.7, 0.2, 3
ROUNDING, MOVING, STEP = 0.05, 0.1, 0.2
#: Generations without a better table after which a search that keeps its best ends.
PATIENCE = 150
#: Generations between two calls of `progress`.
OFTEN = 25
#: Where the outer chords end (released trainer); elsewhere they end where the range does.
CHORD_ENDS = {"gelu": (-1e4, 1e4), "hswish": (-1e4, 1e4), "silu": (-1e4, 1e4), "exp": (-16.0, 0.0)}
GqaRule = Rule | Literal["chord"]


class Places:
    """Which inputs are left of a real break point within the function's range.

    low, high : the range
    positions : the positions that break points can have, ascending
    """

    def __init__(self, points: Points) -> None:
        self.low, self.high, self.inputs = points.function.low, points.function.high, len(points.x)
        # Cells of `points` a unit of x.
        self._steps = float(2 << points.finest)
        cells = np.floor(np.array([self.low, self.high]) * self._steps).astype(np.int64)
        self._first = cells[0]
        self._position = points.positions(np.arange(cells[0], cells[1] + 1))
        self.positions = slice(int(self._position[0]), int(self._position[-1]) + 1)
        inner = [points.cut(i) for i in range(1, self.inputs)]
        middle = (np.array([cells[0], *inner, cells[1]]) + 0.5) / self._steps
        self._real = np.clip(middle, self.low, self.high)

    def edges(self, p: Array) -> Array:
        """Positions int64 [P, N+1], both ends included, of break points [P, N-1]."""
        edges = np.empty((len(p), p.shape[1] + 2), np.int64)
        edges[:, 0], edges[:, -1] = 0, self.inputs
        cells = np.floor(p * self._steps).astype(np.int64)
        edges[:, 1:-1] = self._position[cells - self._first]
        return edges

    def real(self, edges: Array) -> Array:
        """Break points [P, N-1] that have these positions [P, N+1]."""
        return self._real[edges[:, 1:-1]]


class LookedUp:
    """Judges tables whose lines a rule gives: one look-up a segment."""

    def __init__(self, problem: Problem, rule: Rule) -> None:
        self.lines, self.places = problem.lines(rule), Places(problem.points)
        self.size = len(self.lines.cost)
        self.matrix = self.lines.cost.copy()
        # A segment without inputs costs nothing.
        np.fill_diagonal(self.matrix, 0.0)
        self.across = np.ascontiguousarray(self.matrix.T)
        self._flat = self.matrix.ravel()
        self.together = np.add if problem.objective == "mse" else np.maximum

    def __call__(self, p: Array) -> Array:
        """Objective float64 [P] of break points [P, N-1], each row ascending."""
        edges = self.places.edges(p)
        return self.together.reduce(self._flat[edges[:, :-1] * self.size + edges[:, 1:]], axis=1)

    def table(self, p: Array) -> tuple[list[int], Array, Array]:
        """Starts, slopes and intercepts (:class:`~.rules.Cut`) for break points [N-1]."""
        edges = np.unique(self.places.edges(p[None])[0])
        pairs = edges[:-1], edges[1:]
        return edges[:-1].tolist(), self.lines.slope[pairs], self.lines.intercept[pairs]

    def polish(self, p: Array) -> tuple[Array, int]:
        """Break points [P, N-1], those of each row moved one after the other to where each is best
        between its neighbours; and how many tables were judged for it."""
        edges, tried, positions = self.places.edges(p), 0, self.places.positions
        for k in range(1, edges.shape[1] - 1):
            left, right = edges[:, k - 1], edges[:, k + 1]
            # Beyond the neighbours the cost is infinite.
            cost = self.together(self.matrix[left, positions], self.across[right, positions])
            edges[:, k] = positions.start + cost.argmin(1)
            tried += int((right - left + 1).sum())
        return self.places.real(edges), tried

    def windows(self, p: Array, count: int) -> tuple[Array, int]:
        """Break points [N-1] of a table, `count` neighbours at a time moved to where they are best
        together between theirs; and how many tables were judged for it."""
        edges, tried, places = self.places.edges(p[None])[0], 0, self.places.positions
        for k in range(1, len(edges) - count):
            left, right = int(edges[k - 1]), int(edges[k + count])
            between = slice(max(left, places.start), min(right, places.stop - 1) + 1)
            if between.start >= between.stop:
                continue  # all of them at an end of the range
            # Row j: from every place to place j. Least of a row is twice as fast as of a column.
            inside, cost, choices = self.across[between, between], self.matrix[left, between], []
            rows, joined = np.arange(len(inside)), np.empty_like(inside)
            for _ in range(count - 1):
                self.together(inside, cost, out=joined)
                choices.append(joined.argmin(1))
                cost = joined[rows, choices[-1]]
                tried += joined.size // 2
            place = int(self.together(cost, self.matrix[between, right]).argmin())
            for j in range(count - 1, -1, -1):
                edges[k + j] = between.start + place
                place = int(choices[j - 1][place]) if j else place
        return self.places.real(edges[None])[0], tried

    def reinsert(self, p: Array) -> tuple[Array, int]:
        """The best table that has one of the break points [N-1] of a row elsewhere, anywhere; and
        how many tables were judged for it."""
        edges = self.places.edges(p[None])[0, 1:-1]
        places = np.arange(self.places.positions.start, self.places.positions.stop)
        rest = np.array([np.delete(edges, k) for k in range(len(edges))])
        tables = np.empty((len(rest), len(places), len(edges)), np.int64)
        tables[:, :, :-1], tables[:, :, -1] = rest[:, None], places
        tables.sort(axis=2)
        every = np.zeros((tables[..., 0].size, len(edges) + 2), np.int64)
        every[:, 1:-1], every[:, -1] = tables.reshape(-1, len(edges)), self.places.inputs
        cost = self.together.reduce(self._flat[every[:, :-1] * self.size + every[:, 1:]], axis=1)
        best = every[cost.argmin()]
        return self.places.real(best[None])[0], len(every)


class Chord:
    """Judges tables by the paper's chord rule; squared errors from cumulative sums, so that a
    segment costs a few operations, however many inputs it has."""

    def __init__(self, problem: Problem) -> None:
        points, self.form = problem.points, problem.form
        self.function = points.function
        self.places = Places(points)
        self.ends = CHORD_ENDS.get(self.function.name, (self.function.low, self.function.high))
        x, y, w = points.x, points.y, points.weight
        terms = np.array([w, w * x, w * y, w * x * x, w * x * y, w * y * y])
        self.sums = np.concatenate([np.zeros((6, 1)), np.cumsum(terms, axis=1)], axis=1)

    def lines(self, p: Array) -> tuple[Array, Array]:
        """Indices [P, N] of slopes and intercepts: the rounded chords between break points."""
        x = np.empty((len(p), p.shape[1] + 2))
        x[:, 0], x[:, -1] = self.ends
        x[:, 1:-1] = p
        y = self.function(x)
        run = np.diff(x, axis=1)
        slope = np.diff(y, axis=1) / np.where(run == 0, 1.0, run)
        intercept = y[:, :-1] - slope * x[:, :-1]
        return self.form.slopes.nearest(slope), self.form.intercepts.nearest(intercept)

    def __call__(self, p: Array) -> Array:
        """Objective float64 [P] of break points [P, N-1], each row ascending."""
        slope, intercept = self.lines(p)
        s, b = self.form.slopes.value(slope), self.form.intercepts.value(intercept)
        n, x, y, xx, xy, yy = np.diff(self.sums[:, self.places.edges(p)], axis=2)
        return (yy - 2 * (s * xy + b * y) + s * (s * xx + 2 * b * x) + b * b * n).sum(1)

    def table(self, p: Array) -> tuple[list[int], Array, Array]:
        """Starts, slopes and intercepts (:class:`~.rules.Cut`) for break points [N-1]."""
        slope, intercept = (v[0] for v in self.lines(p[None]))
        edges = self.places.edges(p[None])[0]
        used = np.flatnonzero(np.diff(edges))
        return edges[used].tolist(), slope[used], intercept[used]


def offspring(
    p: Array, cost: Array, scales: Array, low: float, high: float, rng: np.random.Generator
) -> Array:
    """The next generation [P, N-1] of parents `p` with costs [P]: selected, crossed, mutated."""
    size, n = p.shape
    rivals = rng.integers(0, size, (size, TOURNAMENT))
    child = p[rivals[np.arange(size), cost[rivals].argmin(1)]]
    # Two-point crossover of neighbours: what lies between the points is exchanged.
    pairs = size // 2
    ends = np.sort(rng.integers(0, n + 1, (pairs, 2)), axis=1)
    genes = np.arange(n)
    swap = (genes >= ends[:, :1]) & (genes < ends[:, 1:]) & (rng.random((pairs, 1)) < CROSSOVER)
    one, other = child[: 2 * pairs : 2], child[1 : 2 * pairs : 2]
    child[: 2 * pairs : 2], child[1 : 2 * pairs : 2] = (
        np.where(swap, other, one),
        np.where(swap, one, other),
    )
    mutants = np.flatnonzero(rng.random(size) < MUTATION)
    x = child[mutants]
    chance = rng.random((len(scales), *x.shape))
    steps = np.where(chance >= 1 - MOVING, rng.normal(0, STEP, chance.shape), 0.0)
    for unit, fate, step in zip(2.0**scales, chance, steps, strict=True):
        x = np.where(fate < ROUNDING, np.rint(x * unit) / unit, x + step)
    child[mutants] = np.clip(x, low, high)
    child.sort(axis=1)
    return child


def search(
    problem: Problem,
    entries: int,
    *,
    seed: int = 0,
    budget: int | None = None,
    rule: GqaRule = "best",
    plain: bool = False,
    progress: Progress | None = None,
) -> Cut:
    """A table of at most `entries` segments after at most `budget` generations (GENERATIONS); the
    same one for the same seed."""
    rng = np.random.default_rng(seed)
    judge = Chord(problem) if rule == "chord" else LookedUp(problem, rule)
    polish = None if plain or isinstance(judge, Chord) else judge.polish
    generations = GENERATIONS if budget is None else budget
    low, high = judge.places.low, judge.places.high
    scales = np.array(problem.points.scales, np.float64)

    def newcomers(count: int) -> Array:
        return np.sort(rng.uniform(low, high, (count, entries - 1)), axis=1)

    p = newcomers(POPULATION)
    cost, done, least, since = judge(p), POPULATION, np.inf, 0
    for generation in range(1, generations + 1):
        child = offspring(p, cost, scales, low, high, rng)
        if polish:
            child, tried = polish(child)
            child[0] = p[cost.argmin()]
            child = np.unique(child, axis=0)
            child = np.concatenate([child, newcomers(POPULATION - len(child))])
            done += tried
        p, cost = child, judge(child)
        done += POPULATION
        if progress and generation % OFTEN == 0:
            progress(generation, generations, float(cost.min()))
        since = 0 if cost.min() < least else since + 1
        least = min(least, float(cost.min()))
        if polish and since == PATIENCE:
            break
    if isinstance(judge, LookedUp) and polish:
        p, tried = finished(judge, p, rng)
        done += tried
    return Cut(*judge.table(p[judge(p).argmin()]), done)
