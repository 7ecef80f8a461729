"""What a search knows: its points, the front of them, and the constraints."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from .candidate import Candidate, Point, cost, useful_region
from .pareto import Array, non_dominated

#: Stands for an objective that was not measured, in what NSGA-II sees; never compared, since such
#: points violate a constraint.
UNKNOWN = 10.0


class Ledger:
    """Points by candidate, in the order in which they became known.

    objectives, limits : of the run's configuration
    int8 : the candidate that everything is relative to; its point must be there first
    blind : whether accuracies are ranks by a proxy, until the front is measured
    floor : accuracy below which a point violates a constraint
    """

    def __init__(
        self,
        objectives: Sequence[str],
        limits: Sequence[tuple[str, float]],
        int8: Candidate,
        *,
        blind: bool,
    ) -> None:
        self.objectives, self.limits, self.int8, self.blind = objectives, limits, int8, blind
        self.points: dict[Candidate, Point] = {}
        self.floor = 0.0
        self._front: list[Point] = []
        self._judged: set[Candidate] = set()

    def forget(self, candidates: Iterable[Candidate]) -> None:
        """Remove points that are to be evaluated again."""
        for candidate in candidates:
            del self.points[candidate]

    def judge_again(self) -> None:
        """Make the front anew from all points, after some of them have changed."""
        self._front, self._judged = [], set()

    def start_again(self) -> dict[Candidate, Point]:
        """Forget all points, which are given back; accuracies are true ones from here on."""
        before, self.points, self.blind = self.points, {}, False
        self.judge_again()
        self.__dict__.pop("reference", None)
        return before

    def violations(self, point: Point) -> Array:
        """How far a point is beyond each constraint, float64, 0 or less where it is not."""
        excess = [self.floor - point.result["accuracy"]]
        for name, limit in self.limits:
            # Not measured, since it violates the first already.
            value = point.result.get(name)
            # A part may have none of a resource.
            excess.append(0.0 if value is None else value / limit - 1 if limit else float(value))
        return np.array(excess)

    def front(self) -> list[Point]:
        """The points within the constraints that no other dominates, by the first objective."""
        new = [p for c, p in self.points.items() if c not in self._judged]
        self._judged.update(p.candidate for p in new)
        points = self._front + [p for p in new if (self.violations(p) <= 0).all()]
        costs = self.costs(points)
        indices = non_dominated(costs) if len(points) else []
        self._front = [points[k] for k in sorted(indices, key=lambda k: tuple(costs[k]))]
        return self._front

    def costs(self, points: Sequence[Point]) -> Array:
        """Objective values [points, objectives] (:func:`cost`)."""
        int8 = self.points[self.int8].result
        rows = [cost(self.objectives, p.result, int8) for p in points]
        return np.array(rows).reshape(len(rows), len(self.objectives))

    @cached_property
    def reference(self) -> Array:
        """:func:`useful_region` of this run; of a proxy's ranks everything."""
        if self.blind:
            return np.ones(len(self.objectives))
        return useful_region(self.objectives, self.points[self.int8].result)

    def seen_by_nsga2(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """Objectives and violations as NSGA-II gets them."""
        costs = np.nan_to_num(self.costs(points), nan=UNKNOWN)
        return costs, np.array([self.violations(point) for point in points])
