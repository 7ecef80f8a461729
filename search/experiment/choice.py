"""What an experiment trains next: networks by what training is thought to leave of their loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...model.genome import MAX_BITS, MIN_BITS
from ..genomes.candidate import Candidate
from ..genomes.pareto import hypervolume

Array = np.ndarray

#: Points below INT8 at which the smallest network is asked for, and of which costs.
ALLOWED = (0.5, 1.0)
GOALS = ("size", "cells")
#: How far from the predicted drop a network may be that is tried for a limit, in points.
MARGIN = 0.2
#: Share of the points lost without training that training leaves, until trainings say otherwise.
PRIOR = 0.4


@dataclass(frozen=True)
class Entry:
    """A network that may be trained, as the weights for all have it.

    hidden : units; size, cells (0: not measured), weights : bits, Yosys cells, bits
    """

    hidden: int
    candidate: Candidate
    accuracy: float
    size: float
    cells: float
    weights: float

    @property
    def key(self) -> str:
        return f"h{self.hidden} {self.candidate}"

    def features(self, drop: float, most: int) -> list[float]:
        """What the points that training leaves may depend on; drop in points."""
        genes = np.array(self.candidate.genome.layers)
        few = (MAX_BITS - genes) / (MAX_BITS - MIN_BITS)
        return [
            1.0,
            drop / 10,
            *few[:, :6].mean(0)[[0, 2, 3, 5]],
            float(few[:, 6:].mean()),
            float(few[:, [8, 10, 12, 13]].mean()),
            1 - self.hidden / most,
        ]


def predicted(
    entries: Sequence[Entry], trained_drops: Sequence[tuple[Entry, float]], int8: float
) -> Array:
    """Points below INT8 that training is thought to leave of each entry.

    known : entries that were trained, and what training left of them

    A share of what is lost without training, corrected by ridge regression on what is known.
    """
    most = max((e.hidden for e in [*entries, *(e for e, _ in trained_drops)]), default=1)

    def drops(some: Sequence[Entry]) -> Array:
        return 100 * (int8 - np.array([e.accuracy for e in some]))

    def rows(some: Sequence[Entry]) -> Array:
        return np.array([e.features(d, most) for e, d in zip(some, drops(some), strict=True)])

    base = PRIOR * drops(entries)
    if not trained_drops or not len(entries):
        return base
    trained = [e for e, _ in trained_drops]
    left = np.array([drop for _, drop in trained_drops]) - PRIOR * drops(trained)
    # What is far off tells little about what is near.
    trust = 1 / (1 + np.maximum(0.0, np.array([drop for _, drop in trained_drops])))
    x = rows(trained) * trust[:, None]
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ (left * trust))
    return base + rows(entries) @ weights


def proposals(
    entries: Sequence[Entry],
    trained_drops: Sequence[tuple[Entry, float]],
    int8: Mapping[str, float],
    count: int,
    goals: Sequence[str] = GOALS,
) -> list[Entry]:
    """`count` entries to train next: in turn the least of every cost that may stay within each
    limit, and what adds most to the front of points lost and weight bits.

    int8 : accuracy, size, cells, weights
    """
    taken = {e.key for e, _ in trained_drops}
    pool = [e for e in entries if e.key not in taken]
    drops = predicted(pool, trained_drops, int8["accuracy"])
    aims: list[tuple[str, float] | None] = [(g, limit) for limit in ALLOWED for g in goals]
    # A wider look besides the limits, every third.
    aims = [aim for k, one in enumerate(aims) for aim in ((one, None) if k % 2 else (one,))]
    proposed: list[Entry] = []
    corner = np.array([8.0, int8["weights"]])
    front = [(max(0.0, drop), e.weights) for e, drop in trained_drops]
    for turn in range(4 * count):
        left = [k for k, e in enumerate(pool) if all(_differ(e, c) for c in proposed)]
        if len(proposed) >= count or not left:
            break
        aim = aims[turn % len(aims)]
        if aim is None:
            costs = np.array([(max(0.0, drops[k]), pool[k].weights) for k in left])
            base = np.array(front).reshape(-1, 2)
            before = hypervolume(base, corner) if len(base) else 0.0
            gain = [hypervolume(np.vstack([base, row]), corner) - before for row in costs]
            best = left[int(np.argmax(gain))]
        else:
            goal, limit = aim
            able = [k for k in left if getattr(pool[k], goal) > 0 and drops[k] <= limit + MARGIN]
            held = [
                getattr(e, goal) for e, drop in trained_drops if drop <= limit and getattr(e, goal)
            ]
            able = [k for k in able if getattr(pool[k], goal) < min(held, default=np.inf)]
            if not able:
                continue
            # A little less of the cost is not worth much more risk.
            best = min(
                able,
                key=lambda k: (
                    getattr(pool[k], goal) / int8[goal] + 0.05 * max(0.0, float(drops[k]))
                ),
            )
        proposed.append(pool[best])
        front.append((max(0.0, float(drops[best])), pool[best].weights))
    return proposed


def _differ(a: Entry, b: Entry) -> bool:
    """Whether two entries are worth a training each."""
    if a.hidden != b.hidden or a.candidate.knobs != b.candidate.knobs:
        return True
    return int(np.abs(np.subtract(a.candidate.genome.genes, b.candidate.genome.genes)).sum()) > 1
