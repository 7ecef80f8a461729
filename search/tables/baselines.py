"""Cheap ways to a table: least-squares cuts, and a small network turned into a table (NN-LUT)."""

from dataclasses import replace

import numpy as np

from ...model.tables.optimal import moments, solve
from .gqa import Places
from .rules import Cut, Problem, Progress, rule_lines

Array = np.ndarray
#: Steps of gradient descent, and the greatest step of a break point as a share of the range.
STEPS, RATE = 1500, 0.02
#: Steps between two calls of `progress`.
OFTEN = 500


def least_squares(problem: Problem, entries: int) -> Cut:
    """Cuts that are best for real least-squares lines, by dynamic programming; the slopes of those
    lines are rounded afterwards, and intercepts fitted to what the slopes became. Lines that the
    guard changes count with the error that they then have. Always by squares."""
    squares = replace(problem, objective="mse")
    plain = rule_lines(problem.points, problem.form, "refitted")
    held = squares.lines("refitted")
    cost = np.where(held.cost == plain.cost, squares.lines("real").cost, held.cost)
    solution = solve(replace(held, cost=cost), entries)[-1]
    return Cut(solution.starts, solution.slopes, solution.intercepts, 1)


def network(
    problem: Problem,
    entries: int,
    *,
    seed: int = 0,
    budget: int | None = None,
    progress: Progress | None = None,
) -> Cut:
    """A network of one hidden layer of ReLUs, as a table (arXiv 2112.02191, NN-LUT).

    ``y = c + d x + sum_j a_j max(x - p_j, 0)``: N-1 hidden units give N segments that join in their
    break points p. Weighted squared error on the inputs of the problem, whatever its objective;
    Adam moves the break points for `budget` steps (STEPS), and the output layer is solved exactly
    in each. Then slopes are rounded, and intercepts fitted to what they became.
    """
    rng = np.random.default_rng(seed)
    points, n = problem.points, entries - 1
    low, high = points.function.low, points.function.high
    steps = STEPS if budget is None else budget
    x, y, root = points.x, points.y, np.sqrt(points.weight)
    p = low + (high - low) * (np.arange(n) + rng.uniform(0, 1, n)) / n
    mean, square = np.zeros(n), np.zeros(n)
    least, best = np.inf, (p, np.zeros(n + 2))
    for step in range(1, steps + 1):
        units = np.column_stack([np.maximum(x[:, None] - p, 0.0), x, np.ones_like(x)])
        weighted = units * root[:, None]
        # A little is added so that units without inputs do no harm.
        gram = weighted.T @ weighted + 1e-10 * np.eye(n + 2)
        out = np.linalg.solve(gram, weighted.T @ (root * y))
        off = units @ out - y
        loss = float((root * off) @ (root * off))
        if loss < least:
            least, best = loss, (p, out)
        slope = -2 * out[:n] * ((root * root * off) @ (x[:, None] > p))
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope**2
        # The rate falls to nothing by half a cosine.
        rate = RATE * (high - low) * (1 + np.cos(np.pi * step / steps)) / 2
        move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-12)
        p = np.clip(p - rate * move, low, high)
        if progress and step % OFTEN == 0:
            progress(step, steps, least)
    p, out = best
    order = np.argsort(p, kind="stable")
    edges = Places(points).edges(p[order][None])[0]
    used = np.flatnonzero(np.diff(edges))
    real = out[n] + np.concatenate([[0.0], np.cumsum(out[:n][order])])
    slopes = problem.form.slopes.nearest(real[used])
    _, mx, my, *_ = (v[edges[used], edges[used + 1]] for v in moments(points))
    intercepts = problem.form.intercepts.nearest(my - problem.form.slopes.value(slopes) * mx)
    return Cut(edges[used].tolist(), slopes, intercepts, steps)
