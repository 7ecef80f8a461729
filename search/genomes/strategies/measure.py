"""The end of a search by estimates or by a proxy: what is worth measuring."""

import numpy as np

from ..candidate import Candidate
from ..evaluate import MEASURED
from ..ledger import Ledger
from ..pareto import crowded

#: Objectives that a search by estimates has estimated; memory bits are exact.
ESTIMATED = tuple(name for name in MEASURED if name not in ("memory", "ebr"))
#: Of a search by estimates: by how much a point's may be too high, as a share, to be measured with
#: the front in the end, and how many such points there may be for each of the front. One for each
#: took a tenth of the time of two searches, and added 0.1 and 0.4 % to their hypervolume.
ESTIMATE_SLACK, ESTIMATE_MORE = 0.02, 0.25


def promising(ledger: Ledger, count: int) -> list[Candidate]:
    """The front, and what would be on it if its estimates were a little too high; by a proxy's word
    at most `count` of the front."""
    front = ledger.front()
    if not front:
        return []
    if ledger.blind:
        return [front[k].candidate for k in crowded(ledger.costs(front), count)]
    on_front = {p.candidate for p in front}
    others = [
        p
        for p in ledger.points.values()
        if p.candidate not in on_front and (ledger.violations(p) <= 0).all()
    ]
    if not others:
        return list(on_front)
    estimated = np.array([name in ESTIMATED for name in ledger.objectives])
    wall, costs = ledger.costs(front), ledger.costs(others)
    margins = []
    for row in costs:
        # The least share by which all estimates must fall until no point of the front is as good in
        # everything.
        worse = (wall <= row).all(1)
        need = 1 - wall[worse][:, estimated] / row[estimated]
        margins.append(need.min(1).max() if worse.any() and estimated.any() else 0.0)
    order = np.argsort(margins, kind="stable")[: int(ESTIMATE_MORE * len(front))]
    near = [others[k].candidate for k in order if margins[k] <= ESTIMATE_SLACK]
    return [p.candidate for p in front] + near
