"""Fronts: what is not dominated, what it dominates, and where it bends. All costs are minimised."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def non_dominated(costs: Array) -> list[int]:
    """Indices of rows [n, objectives] that no other row dominates; the first of equal ones."""
    indices: list[int] = []
    front = np.empty_like(costs)
    for k in np.lexsort(costs.T[::-1]):
        if not (front[: len(indices)] <= costs[k]).all(1).any():
            front[len(indices)] = costs[k]
            indices.append(int(k))
    return sorted(indices)


def hypervolume(costs: Array, reference: Array) -> float:
    """Share of the box between 0 and `reference` that rows [n, objectives] dominate."""
    from pymoo.indicators.hv import HV

    inside = costs[(costs < reference).all(1)]
    if not len(inside):
        return 0.0
    return float(HV(ref_point=np.ones(len(reference)))(inside / reference))


def gains(front: Array, candidates: Array, reference: Array) -> Array:
    """What each of `candidates` [n, objectives] alone would add to the hypervolume of `front`."""
    before = hypervolume(front, reference)
    return np.array(
        [hypervolume(np.vstack([front, row]), reference) - before for row in candidates]
    )


def knee(costs: Array) -> int:
    """The row farthest below the plane through the extremes: where any more of one objective
    costs most of the others. Objectives are scaled to the front's own range."""
    low, high = costs.min(0), costs.max(0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    return int(scaled.sum(1).argmin())


def crowded(costs: Sequence[Array] | Array, count: int) -> list[int]:
    """Indices of at most `count` rows, spread: the extremes first, then always the row farthest
    from those taken (objectives scaled to their range)."""
    costs = np.asarray(costs, float)
    if len(costs) <= count:
        return list(range(len(costs)))
    low, high = costs.min(0), costs.max(0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    taken = list(dict.fromkeys(int(k) for k in scaled.argmin(0)))[:count]
    while len(taken) < count:
        distance = np.linalg.norm(scaled[:, None] - scaled[taken], axis=2).min(1)
        taken.append(int(distance.argmax()))
    return sorted(taken)
