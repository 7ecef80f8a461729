"""LUT-APP's search over break points (GADE, DATE 2026): differential evolution that adapts itself.

An individual is N-1 real break points, as in :mod:`.gqa`. Each trial is made either from the best
individual and the difference of two others (DE/best/1), with a probability that falls from 0.6 to
0.2 by half a cosine, or by a normal step of its parent; crossed gene by gene with the parent; and
takes its place if it is no worse. The factor of the difference is drawn from a Cauchy distribution
and the rate of crossover from a normal one, both around the mean of those that succeeded so far.

With the rule ``mae`` the objective is that of the released trainer: the mean absolute error of
least-squares lines whose slope and intercept are each rounded, with penalties for break points that
fall together and for negative outputs of a positive function. Else the rule (:mod:`.rules`) gives
the lines and the problem's objective is minimised. Then the population is polished now and then
(each break point moved to where it is best between its neighbours), and at the end together with
random tables; this is ours: without it a table of 16 segments ended up to 1.4 times above the least
error.
"""

from typing import Literal

import numpy as np

from .gqa import OFTEN, LookedUp
from .polish import finished
from .rules import Cut, Problem, Progress, Rule

Array = np.ndarray
#: The released trainer's; it takes the best of ten such runs.
POPULATION, GENERATIONS, STEP = 50, 500, 0.2
#: Share of DE/best/1 at the beginning and at the end; also the width of both distributions.
MOST, LEAST = 0.6, 0.2
#: The factor of a difference, and what both factor and rate begin with.
FACTORS, BEGIN = (0.1, 1.0), 0.5
#: Added for every pair of break points that fall together, and per unit of negative output.
PENALTY = 1e5
#: Generations between two rounds of polishing; at 3 the worst of nine hold-outs ended 3 % above.
EVERY = 1
GadeRule = Rule | Literal["mae"]


class Absolute(LookedUp):
    """Judges tables of rounded least-squares lines by mean absolute error and penalties."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, "rounded")
        self.points = problem.points
        self.slopes = problem.form.slopes.value(self.lines.slope)
        self.intercepts = problem.form.intercepts.value(self.lines.intercept)
        self.positive = bool((self.points.y > 0).all())

    def __call__(self, p: Array) -> Array:
        edges = self.places.edges(p)
        # The segment of each input, from how many break points are left of it.
        crossed = np.zeros((len(p), self.size), np.int64)
        np.add.at(crossed, (np.arange(len(p))[:, None], edges[:, 1:-1]), 1)
        segment = np.cumsum(crossed[:, :-1], axis=1)
        flat = edges[:, :-1] * self.size + edges[:, 1:]
        slope = np.take_along_axis(self.slopes.ravel()[flat], segment, 1)
        intercept = np.take_along_axis(self.intercepts.ravel()[flat], segment, 1)
        y = slope * self.points.x + intercept
        cost = np.abs(y - self.points.y) @ self.points.weight
        cost = cost + PENALTY * (np.diff(edges[:, 1:-1], axis=1) == 0).sum(1)
        if self.positive:
            cost += PENALTY * np.maximum(-y, 0.0).sum(1)
        return cost


def search(
    problem: Problem,
    entries: int,
    *,
    seed: int = 0,
    budget: int | None = None,
    rule: GadeRule = "best",
    progress: Progress | None = None,
) -> Cut:
    """A table of at most `entries` segments after `budget` generations (GENERATIONS); the same one
    for the same seed."""
    rng = np.random.default_rng(seed)
    judge = Absolute(problem) if rule == "mae" else LookedUp(problem, rule)
    generations = GENERATIONS if budget is None else budget
    size, n = POPULATION, entries - 1
    low, high = judge.places.low, judge.places.high
    p = rng.uniform(low, high, (size, n))
    cost = judge(np.sort(p, axis=1))
    # Sums over the successes so far: how many, their factors, their rates.
    successes, factors, rates = 0, 0.0, 0.0
    polished = 0
    every = np.arange(size)
    for generation in range(generations):
        share = LEAST + (MOST - LEAST) * (1 + np.cos(np.pi * generation / generations)) / 2
        around = (factors / successes, rates / successes) if successes else (BEGIN, BEGIN)
        factor = np.clip(around[0] + share * rng.standard_cauchy(size), *FACTORS)
        rate = np.clip(rng.normal(around[1], share, size), 0.0, 1.0)
        # Two others: different from each other and from the parent.
        one, other = rng.integers(0, size - 1, size), rng.integers(0, size - 2, size)
        other += other >= one
        one, other = ((every + 1 + v) % size for v in (one, other))
        mutant = np.where(
            (rng.random(size) < share)[:, None],
            p[cost.argmin()] + factor[:, None] * (p[one] - p[other]),
            p + rng.normal(0, STEP, p.shape),
        )
        taken = rng.random(p.shape) < rate[:, None]
        taken[every, rng.integers(0, n, size)] = True
        trial = np.where(taken, np.clip(mutant, low, high), p)
        trial_cost = judge(np.sort(trial, axis=1))
        won = trial_cost <= cost
        p, cost = np.where(won[:, None], trial, p), np.where(won, trial_cost, cost)
        successes += int(won.sum())
        factors, rates = factors + float(factor[won].sum()), rates + float(rate[won].sum())
        if rule != "mae" and (generation + 1) % EVERY == 0:
            better, tried = judge.polish(np.sort(p, axis=1))
            better_cost = judge(better)
            won = better_cost < cost
            p, cost = np.where(won[:, None], better, p), np.where(won, better_cost, cost)
            polished += tried + size
        if progress and (generation + 1) % OFTEN == 0:
            progress(generation + 1, generations, float(cost.min()))
    p = np.sort(p, axis=1)
    if rule != "mae":
        p, tried = finished(judge, p, rng)
        polished += tried
    return Cut(*judge.table(p[judge(p).argmin()]), size * (generations + 1) + polished)
