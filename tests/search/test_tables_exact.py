"""The exact method against brute force: every partition, every pair of numbers of the format."""

import itertools

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function, expression, parse_function
from genogate.model.tables.optimal import Exact, best_intercepts_and_slopes, lines_of
from genogate.model.tables.points import Points, codes
from genogate.model.tables.table import LutTable

#: Few enough numbers to try all.
TINY = Format("fixed", slope_bits=4, intercept_bits=5, fraction_bits=2)
DYNAMIC = Format("dynamic", slope_bits=3, intercept_bits=4)


def brute_lines(points, form, objective, guard=None):
    """Least objective [n+1, n+1] of every interval of inputs, by all lines of the format, code by
    code; inf where none holds the guard. Break points are at the cells of `points`."""
    n, function = len(points.x), points.function
    slopes = form.slopes.value(np.arange(form.slopes.size))
    intercepts = form.intercepts.value(np.arange(form.intercepts.size))
    lines = slopes[:, None, None] * points.x + intercepts[:, None]
    off = np.abs(lines - points.y)
    low, high = -(1 << (points.in_bits - 1)), (1 << (points.in_bits - 1)) - 1

    def outside(i, j):
        """Codes out of range that the segment of inputs i to j serves, as real inputs."""
        found = []
        for k in points.scales:
            first = points.breakpoints(points.cut(i), k) if i else low
            past = points.breakpoints(points.cut(j), k) if j < n else high + 1
            judged = set(codes(function, points.in_bits, k, "A").tolist())
            x = [q * 2.0**-k for q in range(int(first), int(past)) if q in judged]
            found += [v for v in x if not function.low <= v <= function.high]
        return np.array(found)

    least = np.full((n + 1, n + 1), np.inf)
    for i, j in itertools.combinations(range(n + 1), 2):
        part = off[..., i:j]
        w = points.weight[i:j]
        cost = (part**2 * w).sum(-1) if objective == "mse" else np.where(w > 0, part, 0).max(-1)
        if guard is not None and len(x := outside(i, j)):
            wrong = np.abs(slopes[:, None, None] * x + intercepts[:, None] - function(x)).max(-1)
            cost = np.where(wrong <= guard + 1e-12, cost, np.inf)
        least[i, j] = cost.min()
    return least


def brute_cost(least, entries, objective):
    """Least objective of all tables of at most `entries` segments with those of intervals."""
    n = len(least) - 1
    together = sum if objective == "mse" else max
    return min(
        together(least[a, b] for a, b in itertools.pairwise([0, *inner, n]))
        for count in range(entries)
        for inner in itertools.combinations(range(1, n), count)
    )


def table_cost(points, form, solution, objective):
    """The objective of a solution, judged by the rows of the table it makes."""
    table = LutTable.from_cuts(
        points, form, solution.cuts(points), solution.slopes, solution.intercepts
    )
    y = np.empty(len(points.x))
    for k in points.scales:
        at = points.scale == k
        y[at] = table.row(k)(np.round(points.x[at] * 2.0**k).astype(int))
    off = np.abs(y - points.y)
    if objective == "mse":
        return float((off**2) @ points.weight)
    return float(off[points.weight > 0].max())


CASES = [
    ("gelu", -4, 4, (0,), 4, TINY, None),
    ("tanh", -2, 2, (0, 1), 4, TINY, None),
    ("exp", -3, 0, (0, 1, 2), 4, TINY, None),
    ("rsqrt", 0.25, 2, (1, 2), 4, DYNAMIC, None),
    ("x * x / 4", -2, 2, (0, 1), 4, DYNAMIC, None),
    ("hswish", -3, 3, (0, 1), 4, TINY, 7),
    ("silu", -2, 2, (0, 1), 4, DYNAMIC, 8),
]


@pytest.mark.parametrize(("name", "low", "high", "scales", "bits", "form", "seed"), CASES)
@pytest.mark.parametrize("objective", ["mse", "max"])
def test_no_table_is_better(name, low, high, scales, bits, form, seed, objective):
    weight = None
    if seed is not None:
        rng = np.random.default_rng(seed)
        weight = rng.random(1 << bits) * (rng.random(1 << bits) < 0.7) + 1e-3 * np.eye(1 << bits)[8]
    points = Points.of(parse_function(name, low, high), scales, bits, weight)
    lines = brute_lines(points, form, objective)
    np.testing.assert_allclose(lines_of(points, form, objective).cost, lines, atol=1e-12)
    for entries in (1, 2, 3):
        found = Exact(points, form, objective).best(entries)
        least = brute_cost(lines, entries, objective)
        assert found.cost == pytest.approx(least, abs=1e-12)
        assert table_cost(points, form, found, objective) == pytest.approx(least, abs=1e-12)


GUARDED = [
    (FUNCTIONS["gelu"].within(-2, 2), (0, 1), TINY, 0.25),
    (FUNCTIONS["tanh"].within(-1.3, 1.6), (0, 1, 2), TINY, 0.25),
    (FUNCTIONS["silu"].within(-1.9, 1.9), (1, 0), DYNAMIC, 0.5),
    # It bends just past the range, where codes of coarse scales are within it and others are not.
    (expression("minimum(abs(x), 1.25) - 1", -1, 1), (0, 1, 2), TINY, 0.125),
    (expression("where(x < 1.2, x, 3 - x)", -1, 1.2), (0, 1, 2), TINY, 0.5),
    (expression("where(x < 1.2, x, 3 - x)", -1, 1), (0, 1, 2, 3), TINY, 0.5),
]


@pytest.mark.parametrize(("function", "scales", "form", "guard"), GUARDED)
@pytest.mark.parametrize("objective", ["mse", "max"])
def test_no_guarded_table_is_better(function, scales, form, guard, objective):
    points = Points.of(function, scales, 5)
    lines = brute_lines(points, form, objective, guard)
    np.testing.assert_allclose(lines_of(points, form, objective, guard).cost, lines, atol=1e-12)
    for entries in (1, 2, 3, 4):
        least = brute_cost(lines, entries, objective)
        if np.isinf(least):
            with pytest.raises(InputError, match="guard"):
                Exact(points, form, objective, guard).best(entries)
            continue
        found = Exact(points, form, objective, guard).best(entries)
        assert found.cost == pytest.approx(least, abs=1e-12)
        table = LutTable.from_cuts(points, form, found.cuts(points), found.slopes, found.intercepts)
        assert worst_outside(table) <= guard + 1e-12


def worst_outside(table):
    """Greatest error at any code that protocol A judges and protocol R does not."""
    worst = 0.0
    for row in table.rows:
        q = codes(table.function, table.in_bits, row.scale, "A")
        x = q * 2.0**-row.scale
        off = np.abs(row(q) - table.function(x))
        outside = (x < table.function.low) | (x > table.function.high)
        worst = max(worst, off[outside].max(initial=0))
    return worst


def test_lines_of_given_segments_are_the_best():
    points = Points.of(FUNCTIONS["gelu"], (0, 1), 5)
    starts = [0, 3, 4, 11]
    slopes, intercepts = best_intercepts_and_slopes(points, TINY, starts)
    for i, j, s, b in zip(starts, [*starts[1:], len(points.x)], slopes, intercepts, strict=True):
        every_s = TINY.slopes.value(np.arange(16))[:, None, None]
        every_b = TINY.intercepts.value(np.arange(32))[:, None]
        off = (every_s * points.x[i:j] + every_b - points.y[i:j]) ** 2 @ points.weight[i:j]
        assert off[s, b] == pytest.approx(off.min(), abs=1e-15)


def test_a_function_of_our_own_is_searched():
    function = Function("bump", lambda x: np.exp(-x * x), -2, 2)
    points = Points.of(function, (2,), 5)
    found = Exact(points, TINY).best(3)
    assert found.cost == pytest.approx(
        brute_cost(brute_lines(points, TINY, "mse"), 3, "mse"), abs=1e-12
    )
