"""Exploitation: what to try next around a front, by what the points known so far teach.

The answer here to the open question of arXiv 2402.12263, section 6, what should follow the
exploration: all small steps from all useful points of the front are judged by an additive model of
what every step of every gene did to every objective so far, and only the most promising ones are
evaluated.
"""

from dataclasses import dataclass

import numpy as np

from .pareto import gains

Array = np.ndarray
#: Pairs of steps that are drawn for each point of the front.
PAIRS = 80
#: Candidates whose gain of hypervolume is computed, for each that is wanted.
SHORTLIST = 8
#: Share of the steps that are drawn blindly, so that the model meets what it thinks little of.
BLIND = 0.15


@dataclass(frozen=True)
class Space:
    """Integer variables between bounds: genes in bits, and indices of knobs.

    low, high : int64 [variables], both inclusive
    categories : variables whose values have no order, so that every one is next to all others
    """

    low: Array
    high: Array
    categories: tuple[int, ...] = ()

    def features(self, rows: Array) -> Array:
        """Rows [n, variables] as thermometers: a 0 or 1 for each step above the least value; for a
        category one for each value but the least."""
        steps = [np.arange(a + 1, b + 1) for a, b in zip(self.low, self.high, strict=True)]
        return np.hstack([
            rows[:, [k]] == step if k in self.categories else rows[:, [k]] >= step
            for k, step in enumerate(steps)
        ]).astype(float)  # fmt: skip

    def others(self, variable: int, value: int) -> Array:
        """The values of a category besides `value`."""
        every = np.arange(self.low[variable], self.high[variable] + 1)
        return every[every != value]


def additive(space: Space, rows: Array, values: Array) -> Array:
    """Coefficients of a ridge regression of `values` [n] on thermometers of `rows`."""
    x = space.features(rows)
    x0, y0 = x.mean(0), values.mean()
    x = x - x0
    return np.linalg.solve(x.T @ x + 0.5 * np.eye(x.shape[1]), x.T @ (values - y0))


@dataclass(frozen=True, eq=False)
class Linear:
    """What the least row is worth, and what every step above it adds."""

    space: Space
    least: float
    step: Array

    @classmethod
    def fit(cls, space: Space, rows: Array, values: Array) -> "Linear":
        """By :func:`additive`."""
        step = additive(space, rows, values)
        return cls(space, float(values.mean() - space.features(rows).mean(0) @ step), step)

    def __call__(self, rows: Array) -> Array:
        """Float64 [n] of rows [n, variables]."""
        return self.least + self.space.features(rows) @ self.step


def steps(rng: np.random.Generator, space: Space, row: Array) -> Array:
    """Neighbours of a row: every variable one up or down, and random pairs of such steps; a step of
    a category is any other value."""
    count = len(row)
    singles = np.repeat(row[None], 2 * count, 0)
    singles[np.arange(count), np.arange(count)] += 1
    singles[count + np.arange(count), np.arange(count)] -= 1
    pairs = np.repeat(row[None], PAIRS, 0)
    moved = np.array([rng.permutation(count)[:2] for _ in range(PAIRS)])
    # Most pairs give a bit here and take one there.
    signs = rng.choice([-1, 1], (PAIRS, 2), p=(0.6, 0.4))
    for column in (0, 1):
        pairs[np.arange(PAIRS), moved[:, column]] += signs[:, column]
    for k in space.categories:
        values = space.others(k, row[k])
        singles = np.vstack([singles, np.repeat(row[None], len(values), 0)])
        singles[len(singles) - len(values) :, k] = values
        changed = (moved == k).any(1)
        pairs[changed, k] = rng.choice(values, changed.sum())
    near = np.vstack([singles, pairs])
    return near[((near >= space.low) & (near <= space.high)).all(1)]


def _alike(space: Space, rows: Array, candidates: Array, parents: Array) -> list[tuple[Array, ...]]:
    """For each combination of categories among `parents`: which of `rows` have it, and which of
    `candidates` have it like their parents."""
    at = list(space.categories)
    if not at:
        return []
    kept = (candidates[:, at] == parents[:, at]).all(1)
    return [((rows[:, at] == of).all(1), kept & (parents[:, at] == of).all(1))
            for of in np.unique(parents[:, at], axis=0)]  # fmt: skip


def propose(
    rng: np.random.Generator, space: Space, rows: Array, costs: Array, front: list[int],
    reference: Array, count: int,
) -> Array:  # fmt: skip
    """At most `count` rows that are not known, near the front, the most promising ones.

    Parameters
    ----------
    rows : int64 [n, variables], everything known
    costs : float64 [n, objectives], to be minimised; NaN where a point was not measured
    front : indices of the points to start from
    reference : far corner of the region where hypervolume counts
    """
    known = {row.tobytes() for row in rows}
    near, parents = [], []
    for index in front:
        for row in steps(rng, space, rows[index]):
            if row.tobytes() not in known:
                known.add(row.tobytes())
                near.append(row)
                parents.append(index)
    if not near:
        return rows[:0]
    candidates, owners = np.array(near), np.array(parents)
    blind = rng.permutation(len(candidates))[: int(BLIND * count)]
    predicted = costs[owners].copy()
    for column in range(costs.shape[1]):
        # What lies far outside of the useful region says little about its inside.
        fit = np.isfinite(costs[:, column]) & (costs[:, 0] < 2 * reference[0] + 0.1)
        change = space.features(candidates) - space.features(rows[owners])
        predicted[:, column] += change @ additive(space, rows[fit], costs[fit, column])
        for alike, same in _alike(space, rows, candidates, rows[owners]):
            # Where many points have the same categories, only they are asked: a bit weighs more in
            # a larger network.
            if (fit & alike).sum() >= 2 * change.shape[1]:
                model = additive(space, rows[fit & alike], costs[fit & alike, column])
                predicted[same, column] = costs[owners[same], column] + change[same] @ model
    front_costs = costs[front]
    # By how much a candidate could get worse until a point of the front dominates it.
    margin = ((front_costs[None] - predicted[:, None]) / reference).max(2).min(1)
    margin[~(predicted < reference).all(1)] = -np.inf
    shortlist = np.argsort(-margin, kind="stable")[: SHORTLIST * count]
    shortlist = shortlist[np.isfinite(margin[shortlist])]
    taken = list(dict.fromkeys(int(k) for k in blind))
    if len(shortlist):
        gain = gains(front_costs, np.maximum(predicted[shortlist], 0.0), reference)
        # Equal gains, most of them none, by the margin, in which the list is sorted.
        order = shortlist[np.argsort(-gain, kind="stable")]
        share = max(2, count // 4)
        used: dict[int, int] = {}
        for k in order:
            if len(taken) >= count:
                break
            owner = int(owners[k])
            if int(k) not in taken and used.get(owner, 0) < share:
                used[owner] = used.get(owner, 0) + 1
                taken.append(int(k))
    return candidates[taken[:count]]
