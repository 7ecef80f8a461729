"""What a short training says of a full one, and what a full one may gain.

Points lost after a full training are a straight line of those lost after a short one, with an
error. The line is fitted to the networks of the search that had both; until there are many, to what
such lines were on digits-row as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """``offset + slope * x``, in points, and the standard deviation of what is around it."""

    offset: float
    slope: float
    spread: float

    def at(self, x: float) -> float:
        return self.offset + self.slope * x


#: After a short training from float weights.
FROM_FLOAT = Line(-0.2, 0.6, 0.6)
#: After one from the weights of a network that was fully trained: little is left to be won.
FROM_TRAINED = Line(0.0, 0.9, 0.6)
#: Points at which a line is taken to have been measured before the search.
BEFORE = (0.0, 1.0, 2.0, 3.0)


def fitted(pairs: Sequence[tuple[float, float]], before: Line) -> Line:
    """The line through pairs (points after a short and after a full training) and through
    `before` at :data:`BEFORE`."""
    x = np.array([*BEFORE, *(pair[0] for pair in pairs)])
    y = np.array([*map(before.at, BEFORE), *(pair[1] for pair in pairs)])
    slope, offset = np.polyfit(x, y, 1)
    line = Line(float(offset), float(slope), before.spread)
    squares = sum((full - line.at(short)) ** 2 for short, full in pairs)
    spread = math.sqrt((len(BEFORE) * before.spread**2 + squares) / (len(BEFORE) + len(pairs)))
    return Line(line.offset, line.slope, spread)


def chance(points: float, spread: float, limit: float) -> float:
    """Probability that a network loses at most `limit` points."""
    return 0.5 * math.erfc((points - limit) / (spread * math.sqrt(2)))


def gain(saved: float, points: float, spread: float, limit: float) -> float:
    """What a full training is expected to save: `saved` against the best so far, if it is within
    the limit, and nothing if not."""
    return max(0.0, saved) * chance(points, spread, limit)
