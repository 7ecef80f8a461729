"""The exact rival: dynamic programming on the rounded and saturated integer outputs, with a price
for every segment, digit and bit of a break point."""

from collections.abc import Sequence

import numpy as np

from ...hdl.units.shift_add_unit import digits_of
from ...model.aliases import Array, Say
from ...model.errors import InputError, shown
from ...model.tables.functions import Function
from .genes import Candidate, Genes
from .meter import Meter, Screen, front
from .segments import Segmenter, slopes_for
from .target import MAX_SEGMENTS, Target

#: More digits than any slope has.
_ANY = 9
#: Prices of a segment, squared codes, of the rival: from nothing to what leaves few segments.
_PRICES = (0.0, *np.geomspace(3e-3, 10, 8).round(4).tolist())


def exact_genes(target: Target, progress: Say | None = None) -> list[Genes]:
    """Tables of the exact method with cost terms, canonical, each best for its own prices.

    All of: folds, fraction bits, grains of intercepts and of break points, at most one or two
    digits a slope or any slope, a price a segment, and fewer and fewer distinct slopes.
    """
    starts: dict[Genes, None] = {}
    span = 1 << target.in_bits
    for fold, ramp in target.folds:
        for fraction in (2, 3, 4):
            if progress:
                progress(f"{target.function.name}: exact tables, {fold}, {fraction} fraction bits")
            # All slopes of a fine grid would take the most time, and are for diagrams alone.
            slopes = slopes_for(target, fold, ramp, fraction, _ANY if fraction < 4 else 2)
            for grain in (fraction, fraction - 2):
                for parts in (16, 32, 64):
                    step = max(1, (span if fold == "none" else span // 2) // parts)
                    segmenter = Segmenter(target, fold, ramp, fraction, grain, step, slopes)
                    starts |= dict.fromkeys(_priced(segmenter))
    return list(starts)


def _priced(segmenter: Segmenter) -> list[Genes]:
    """Solutions of one segmenter under all prices."""
    bits = segmenter.target.in_bits
    digits = np.array([len(digits_of(int(s))) for s in segmenter.slopes])
    zeros = np.array(
        [(int(p) & -int(p)).bit_length() - 1 if p else bits - 1 for p in segmenter.nodes]
    )
    compared = np.maximum(bits - 1 - zeros, 0) / (bits - 1)
    priced = []

    def best(price: float, allowed: Array) -> tuple[float, Genes]:
        each = price * (1 + 0.5 * np.maximum(digits - 1, 0))
        return segmenter.solve(MAX_SEGMENTS, each, 0.5 * price * compared, allowed)

    for limit in (1, 2, _ANY):
        allowed = digits <= limit
        for price in _PRICES if limit < _ANY else _PRICES[:4]:
            priced.append(best(price, allowed)[1])
        if limit == _ANY:
            continue
        # Fewer distinct slopes: without each in turn, the best of it.
        for price in _PRICES[2:7:2]:
            now = np.isin(segmenter.slopes, best(price, allowed)[1].slopes)
            while now.sum() > 1:
                tried = []
                for k in np.flatnonzero(now):
                    fewer = now.copy()
                    fewer[k] = False
                    tried.append((*best(price, fewer), fewer))
                _, genes, now = min(tried, key=lambda row: row[0])
                priced.append(genes)
    return [genes.canonical(bits) for genes in priced]


def rival(
    function: Function,
    *,
    scale: int,
    in_bits: int = 8,
    out_bits: int = 8,
    evaluations: int = 256,
    progress: Say | None = None,
) -> list[Candidate]:
    """The exact method with cost terms: its best tables by predicted cells, all measured by Yosys.

    Returns the front, fewest cells first. Raises :class:`InputError` for widths, a scale or a
    budget that cannot be, or when Yosys is missing.
    """
    if evaluations < 1:
        raise InputError(f"evaluations: {shown(evaluations)} is not at least 1")
    target = Target.of(function, scale, in_bits, out_bits)
    genes = exact_genes(target, progress)
    return front(best_of(target, genes, evaluations, progress).known.values())


def best_of(
    target: Target, genes: Sequence[Genes], evaluations: int, progress: Say | None = None
) -> Meter:
    """Those of `genes` that promise most, by error and predicted cells, measured."""
    meter = Meter(target, progress)
    meter.measure(Screen(target).choose(genes, evaluations))
    return meter
