"""What single bits and parts of the units cost and save, looked at once and added up for networks
of many steps."""

from dataclasses import dataclass, field

import numpy as np

from ...model.genome import MAX_BITS
from .forecast import Effects, Step
from .rungs import Net, Result, Rungs
from .steps import net_of, row_of, steps_down, units_number

#: Points that a step's effect counts as at least where steps are ordered.
SLIGHT = 0.03
#: Steps down and up that a drawn network is away, and the spread of their order: of the logarithm
#: of points over saving.
DOWN, UP, SPREAD = (1, 2, 3, 5, 8, 12), (0, 0, 1, 2, 4, 8), 0.5
#: Parts of a network's units that may be removed at once, and how many times the points of a part
#: the next one is thought to lose before it has been looked at.
PARTS_AT_ONCE, MORE = 3, 1.5


@dataclass(frozen=True)
class Near:
    """A network some steps from another, and what it saves of the plan's cost, about."""

    net: Net
    saved: float


@dataclass
class StepTable:
    """Steps by position in :func:`.steps.row_of` and the bits that they end with.

    point : what a point is (:class:`.climb.Climb`)
    points : lost by quantising trained weights; of whichever network was looked at first, since
        the operators matter more than their neighbours' bits
    saved : of the plan's cost, by size too
    thought : steps that were not looked at: units beyond those of the next step
    """

    rungs: Rungs
    point: float = 1.0
    points: dict[Step, float] = field(default_factory=dict)
    saved: dict[tuple[int, int, int], float] = field(default_factory=dict)
    thought: set[Step] = field(default_factory=set)

    def look(self, parent: Result) -> None:
        """Take up steps down from `parent` that are not in the table, or were only thought of."""
        row = row_of(parent.net)
        points, saved = {}, {}
        for step in steps_down(parent.net, self.rungs.most_cut(parent.net.size)):
            (place,) = np.flatnonzero(row_of(step) != row)
            key = (int(place), int(row[place]) - 1)
            if key not in self.points or key in self.thought:
                points[key] = step
            if (parent.net.size, *key) not in self.saved or key in self.thought:
                saved[(parent.net.size, *key)] = step
        if points:
            # The parent as its own weights quantise it, so that the difference is the step's.
            base, *looked = self.rungs.quantised([parent.net, *points.values()], parent)
            for key, result in zip(points, looked, strict=True):
                self.points[key] = max(0.0, 100 * (base.judged - result.judged) / self.point)
        if saved:
            cost, *costs = (
                p[self.rungs.plan.cost] for p in self.rungs.priced([parent.net, *saved.values()])
            )
            for where, less in zip(saved, costs, strict=True):
                self.saved[where] = cost - less
        self.thought -= points.keys()
        for key in [key for key in points if key[0] == len(row) - 1]:
            self._think_on(parent.net.size, key)

    def _think_on(self, size: int, key: Step) -> None:
        """Take up units beyond those of a step that was looked at."""
        place, ends = key
        least = units_number(size, self.rungs.most_cut(size))
        for further in range(1, PARTS_AT_ONCE):
            beyond = (place, ends - further)
            if beyond[1] >= least and (beyond not in self.points or beyond in self.thought):
                self.points[beyond] = MORE**further * self.points[key]
                self.saved[(size, *beyond)] = self.saved[(size, *key)]
                self.thought.add(beyond)

    def cheap_half(self, net: Net) -> list[int]:
        """Places in a network's row whose next steps lose least for what they save, until they save
        half of what all steps that were looked at do."""
        ends = row_of(net) - 1
        saved = {place: s for place, s in self._steps(net, ends).items() if place < len(ends) - 1}
        ratio = {
            place: max(self.points[place, int(ends[place])], SLIGHT) / max(less, 1e-6)
            for place, less in saved.items()
        }
        half, places = 0.5 * sum(saved.values()), list[int]()
        for place in sorted(saved, key=lambda place: ratio[place]):
            if sum(saved[place] for place in places) >= half:
                break
            places.append(place)
        return places

    def neighbours(
        self, net: Net, effects: Effects, count: int, draw: np.random.Generator
    ) -> list[Near]:
        """Networks some steps from `net`, whose steps down are in the table: likely those that
        lose little for what they save, against some steps up that win much."""
        row = row_of(net)
        down = self._steps(net, row - 1)
        # A removed unit does not come back.
        up = {
            place: s
            for place, s in self._steps(net, row).items()
            if row[place] < MAX_BITS and place < len(row) - 1
        }
        points = dict(zip(effects.index, effects.mean[1:], strict=True))
        near = {}
        for _ in range(count):
            lower = self._drawn(down, row - 1, points, int(draw.choice(DOWN)), draw, 1)
            raised = self._drawn(up, row, points, int(draw.choice(UP)), draw, -1)
            raised = [place for place in raised if place not in lower]
            changed = row.copy()
            changed[lower] -= 1
            changed[raised] += 1
            saved = sum(down[place] for place in lower) - sum(up[place] for place in raised)
            if (last := len(row) - 1) in lower:
                for _ in range(int(draw.integers(PARTS_AT_ONCE))):
                    where = (last, int(changed[last]) - 1)
                    if where in self.points:
                        changed[last] -= 1
                        saved += self.saved[(net.size, *where)]
            near[changed.tobytes()] = Near(net_of(changed), saved)
        return list(near.values())

    def _steps(self, net: Net, ends: np.ndarray) -> dict[int, float]:
        """Saving of the step at every place that ends with these bits, where it was looked at."""
        return {
            place: self.saved[(net.size, *key)]
            for place in range(len(ends))
            if (key := (place, int(ends[place]))) in self.points and (net.size, *key) in self.saved
        }

    @staticmethod
    def _drawn(
        steps: dict[int, float],
        ends: np.ndarray,
        points: dict[Step, float],
        count: int,
        draw: np.random.Generator,
        sign: int,
    ) -> list[int]:
        """Places of some steps: of least points over saving, or of most where `sign` is -1."""
        places = list(steps)
        ratio = np.array(
            [
                np.log(max(points[place, int(ends[place])], SLIGHT) / max(saved, 1e-6))
                for place, saved in steps.items()
            ]
        )
        order = np.argsort(sign * ratio + draw.normal(0, SPREAD, len(places)))
        return [places[k] for k in order[:count]]
