"""Estimates of a target's figures put right by what was measured, and how far off they were."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...synth.targets.prices import UNITS
from .candidate import Candidate, Point
from .ledger import Ledger

#: How often what was measured corrects the estimates at the end of a search.
REFRESHES = 2
#: Parts of a figure that are corrected apart.
_PARTS = {"um2": ("logic_um2", "rom_um2", "ram_um2")}


def _scale(estimates: Sequence[float], exact: Sequence[float]) -> float:
    """The factor that brings estimates nearest to what was measured."""
    e, m = np.array(estimates, float), np.array(exact, float)
    norm = float(e @ e)
    return float(e @ m) / norm if norm else 1.0


def corrected(measured: Ledger, estimated: Mapping[Candidate, Point]) -> Ledger:
    """A ledger of all points, those that were not measured with corrected estimates.

    Each part of a figure is multiplied by one factor, from the points that were measured.
    """
    pairs = [
        (estimated[c].result, point.result)
        for c, point in measured.points.items()
        if c in estimated
    ]
    factors = {}
    for part in (part for name in UNITS for part in _PARTS.get(name, (name,))):
        both = [(e[part], m[part]) for e, m in pairs if part in e and part in m]
        if both:
            factors[part] = _scale(*zip(*both, strict=True))
    ledger = Ledger(measured.objectives, measured.limits, measured.int8, blind=False)
    ledger.floor = measured.floor
    for candidate, point in estimated.items():
        result = {
            name: value * factors.get(name, 1.0) if isinstance(value, int | float) else value
            for name, value in point.result.items()
        }
        if "um2" in result:
            result["um2"] = sum(result[part] for part in _PARTS["um2"])
        ledger.points[candidate] = Point(candidate, result, point.beacon)
    ledger.points |= measured.points
    return ledger


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's coefficient; None where it has no meaning."""
    x, y = _ranks(a), _ranks(b)
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def estimate_errors(measured: Ledger, estimated: Mapping[Candidate, Point]) -> dict[str, Any]:
    """By how much the figures of a target were estimated off, on the points that were measured:
    figure -> ``median_percent``, ``worst_percent``, ``rank_correlation``, ``genomes``."""
    report = {}
    # Energy is told by its model in the end too, from areas that were measured.
    for name in (name for name in UNITS if name != "energy"):
        pairs = [
            (estimated[c].result[name], point.result[name])
            for c, point in measured.points.items()
            if c in estimated and name in point.result and name in estimated[c].result
        ]
        if not pairs:
            continue
        off = [100 * abs(e - m) / max(m, 1) for e, m in pairs]
        ranks = rank_correlation(*zip(*pairs, strict=True))
        report[name] = {
            "median_percent": round(float(np.median(off)), 2),
            "worst_percent": round(max(off), 2),
            "rank_correlation": None if ranks is None else round(ranks, 3),
            "genomes": len(pairs),
        }
    return report
