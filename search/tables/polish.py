"""The last step of the searches over break points: tables that no small change makes better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .gqa import LookedUp

Array = np.ndarray
#: Best tables whose break points are put elsewhere at the end.
FINALISTS = 16
#: Neighbouring break points that are moved together. With one at a time x**3 of 16 segments in s1.6
#: ended up to 1.12 times above the least error, with four 2**x of 16 up to 1.11 times, and with six
#: cbrt of 8 up to 1.04 times, with eight sin of 16 up to 1.03 times.
WINDOW = 12
#: Random tables that are polished beside the last generation.
NEWCOMERS = 200


def finished(judge: LookedUp, p: Array, rng: np.random.Generator) -> tuple[Array, int]:
    """Break points [P, N-1] of the last generation and of NEWCOMERS random tables, each moved to
    where it is best between its neighbours until no table gains; in the FINALISTS best ones, break
    points are also put elsewhere altogether. And how many tables were judged."""
    low, high = judge.places.low, judge.places.high
    p = np.concatenate([p, np.sort(rng.uniform(low, high, (NEWCOMERS, p.shape[1])), axis=1)])
    p, judged = settled(judge, p)
    p = different(judge, p[np.argsort(judge(p), kind="stable")])[:FINALISTS]
    least, ended = judge(p), []
    while True:
        joined = [judge.windows(row, min(WINDOW, p.shape[1])) for row in p]
        moved = [judge.reinsert(row) for row, _ in joined]
        judged += sum(tried for _, tried in joined)
        judged += sum(tried for _, tried in moved)
        better, tried = settled(judge, np.array([row for row, _ in moved]))
        judged += tried
        cost = judge(better)
        gained = cost < least
        # A table that gains nothing is at its end.
        ended.append(p[~gained])
        if not gained.any():
            return np.concatenate(ended), judged
        p = different(judge, better[gained])
        least = judge(p)


def different(judge: LookedUp, p: Array) -> Array:
    """Break points [P, N-1] without those that give an earlier one's table."""
    _, first = np.unique(judge.places.edges(p), axis=0, return_index=True)
    return p[np.sort(first)]


def settled(judge: LookedUp, p: Array) -> tuple[Array, int]:
    """Break points [P, N-1] polished until no table gains; and how many tables were judged."""
    cost, judged = judge(p), len(p)
    while True:
        better, tried = judge.polish(p)
        better_cost = judge(better)
        judged += tried + len(p)
        if not (better_cost < cost).any():
            return p, judged
        p, cost = better, better_cost
