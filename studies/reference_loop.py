"""The published genetic search in plain Python, point after point: what speed is measured against.

Written from the description of GQA-LUT (arXiv 2403.19591) and its released trainer's parameters:
an individual is judged on a float grid of step 0.01, with the function and the segment looked up
anew for every point; slopes and intercepts are rounded chords; generations as in
:mod:`genogate.search.tables.gqa`. Slow on purpose: the benchmark alone uses it.
"""

import random
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from genogate.model.tables.functions import Function
from genogate.search.tables import gqa

STEP, FRACTION_BITS = 0.01, 6


@dataclass(frozen=True)
class Rate:
    """What a run came to: tables judged, CPU seconds, and the least error on the float grid."""

    evaluations: int
    seconds: float
    error: float


class Loop:
    """The loop for one function.

    numpy_calls : bool
        Whether each point calls NumPy, as in the released trainer; else values of the function are
        kept and segments are found by bisection of a list, the fastest that plain Python does.
    """

    def __init__(self, function: Function, numpy_calls: bool = True) -> None:
        self.function, self.numpy_calls = function, numpy_calls
        # Called with one number at a time, which NumPy's functions take as well as arrays.
        self.value: Callable[[float], float] = cast(Any, function.call)
        self.grid = np.arange(function.low, function.high, STEP)
        self.kept = list(zip(self.grid.tolist(), function(self.grid).tolist(), strict=True))
        self.ends = gqa.CHORD_ENDS.get(function.name, (function.low, function.high))

    def judge(self, breakpoints: list[float]) -> float:
        """Mean squared error on the float grid."""
        edges = [self.ends[0], *sorted(breakpoints), self.ends[1]]
        lines = [self.chord(a, b) for a, b in pairwise(edges)]
        last, total, value = len(lines) - 1, 0.0, self.value
        if self.numpy_calls:
            for x in self.grid:
                slope, intercept = lines[min(np.digitize(x, edges) - 1, last)]
                total += (value(x) - (slope * x + intercept)) ** 2
        else:
            for x, y in self.kept:
                slope, intercept = lines[min(bisect_right(edges, x) - 1, last)]
                total += (y - (slope * x + intercept)) ** 2
        return float(total) / len(self.grid)

    def chord(self, a: float, b: float) -> tuple[float, float]:
        """Slope and intercept through the function at `a` and `b`, rounded."""
        if a == b:
            return 0.0, 0.0
        fa, fb = self.value(a), self.value(b)
        slope, unit = (fb - fa) / (b - a), 2**FRACTION_BITS
        return round(slope * unit) / unit, round((fa - slope * a) * unit) / unit

    def run(self, entries: int, generations: int, seed: int = 0) -> Rate:
        """The search, and how long it took."""
        rng = random.Random(seed)
        low, high = self.function.low, self.function.high
        began, judged = time.process_time(), 0
        people = [
            [rng.uniform(low, high) for _ in range(entries - 1)] for _ in range(gqa.POPULATION)
        ]
        errors = [self.judge(person) for person in people]
        judged += len(people)
        for _ in range(generations):
            chosen = [
                min(rng.choices(range(len(people)), k=gqa.TOURNAMENT), key=errors.__getitem__)
                for _ in people
            ]
            people, errors = [list(people[i]) for i in chosen], [errors[i] for i in chosen]
            changed = [False] * len(people)
            for i in range(1, len(people), 2):
                if rng.random() < gqa.CROSSOVER:
                    a, b = sorted(rng.sample(range(entries), 2))
                    one, other = people[i - 1], people[i]
                    one[a:b], other[a:b] = other[a:b], one[a:b]
                    changed[i - 1] = changed[i] = True
            for i, person in enumerate(people):
                if rng.random() < gqa.MUTATION:
                    people[i], changed[i] = self.mutated(person, rng), True
            for i, person in enumerate(people):
                if changed[i]:
                    person.sort()
                    errors[i] = self.judge(person)
                    judged += 1
        return Rate(judged, time.process_time() - began, min(errors))

    def mutated(self, person: list[float], rng: random.Random) -> list[float]:
        """Break points rounded to the grid of a scale, or moved."""
        found = []
        for x in person:
            for k in range(7):
                fate = rng.random()
                if fate < gqa.ROUNDING:
                    x = round(x * 2**k) / 2**k
                elif fate >= 1 - gqa.MOVING:
                    x += rng.gauss(0, gqa.STEP)
            found.append(min(max(x, self.function.low), self.function.high))
        return found
