"""What a network loses after training from inherited weights, and what that training may gain.

Every step by a bit has an effect in points. Before any training it is thought to be a share of what
quantising the weights for it loses (training wins back the more, the more it was), more or less;
every training of the search tells a sum of effects, with an error. The effects follow by Bayesian
linear regression, so a forecast has a standard deviation of its own, and steps that were not tried
are the less certain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: A step: place in a network's row, and the bits that it ends with.
Step = tuple[int, int]
#: Steps down (1) and up (-1).
Steps = Mapping[Step, int]
#: Points that further epochs win without a step, and their standard deviation.
DRIFT, DRIFT_SPREAD = -0.1, 0.2
#: Effect of a step by the logarithm of one more than the points looked at, of one not looked at,
#: and the standard deviation: constant and share.
KEPT, USUAL, SPREAD = 0.4, 0.12, (0.12, 0.5)
#: Error of what a training tells, and trainings that this is as certain as.
NOISE, NOISE_WEIGHT = 0.5, 6


@dataclass(frozen=True)
class Effects:
    """Effects of steps after the trainings so far.

    index : place of a step in `mean` and `cover`; 0 is the drift
    cover : covariance
    noise : standard deviation of one training
    """

    index: Mapping[Step, int]
    mean: np.ndarray
    cover: np.ndarray
    noise: float

    def at(self, steps: Steps) -> tuple[float, float]:
        """Points that a training with these steps leaves, and their standard deviation."""
        row = _row(steps, self.index)
        return float(row @ self.mean), math.sqrt(self.noise**2 + float(row @ self.cover @ row))


def _row(steps: Steps, index: Mapping[Step, int]) -> np.ndarray:
    row = np.zeros(len(index) + 1)
    row[0] = 1.0
    for step, sign in steps.items():
        row[index[step]] += sign
    return row


def effects(
    looked: Mapping[Step, float], steps: Sequence[Step], tried: Sequence[tuple[Steps, float]]
) -> Effects:
    """Effects of `steps` and of those tried.

    looked : points that quantising for a step loses
    tried : steps of a training, and points that it left
    """
    every = sorted({*steps, *(step for row, _ in tried for step in row)})
    index = {step: k for k, step in enumerate(every, 1)}
    usual = [KEPT * math.log1p(looked[s]) if s in looked else USUAL for s in every]
    mean = np.array([DRIFT, *usual])
    spread = SPREAD[0] + SPREAD[1] * mean
    spread[0] = DRIFT_SPREAD
    cover, noise = np.diag(spread**2), NOISE
    if not tried:
        return Effects(index, mean, cover, noise)
    rows = np.array([_row(row, index) for row, _ in tried])
    left = np.array([points for _, points in tried])
    for _ in range(2):
        inner = rows @ cover @ rows.T + noise**2 * np.eye(len(rows))
        weights = np.linalg.solve(inner, rows @ cover)
        after = mean + weights.T @ (left - rows @ mean)
        squares = float(((left - rows @ after) ** 2).sum())
        noise = math.sqrt((NOISE_WEIGHT * NOISE**2 + squares) / (NOISE_WEIGHT + len(rows)))
    return Effects(index, after, cover - cover @ rows.T @ weights, noise)


def chance(points: float, spread: float, limit: float) -> float:
    """Probability that a network loses at most `limit` points."""
    return 0.5 * math.erfc((points - limit) / (spread * math.sqrt(2)))


def gain(saved: float, points: float, spread: float, limit: float) -> float:
    """What a training is expected to save: `saved` against the best so far, if it is within the
    limit, and nothing if not."""
    return max(0.0, saved) * chance(points, spread, limit)
