"""Statistics by which runs of searches are compared."""

from collections.abc import Mapping, Sequence

import numpy as np


def effect(a: Sequence[float], b: Sequence[float]) -> float:
    """A12 of Vargha and Delaney: the chance that a value of `a` is greater than one of `b`, equal
    ones half."""
    x, y = np.asarray(a, float)[:, None], np.asarray(b, float)
    return float(((x > y) + 0.5 * (x == y)).mean())


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for how many they are, by Holm's method."""
    order = np.argsort(p, kind="stable")
    corrected, worst = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[k]))
        corrected[k] = worst
    return corrected


def compared(
    reference: Sequence[float], others: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """`reference` against each of the others: Mann-Whitney U, two-sided and exact, p also after
    Holm, and the effect size of the reference over the other."""
    from scipy.stats import mannwhitneyu

    p = []
    for values in others.values():
        tied = len({*reference, *values}) < len(reference) + len(values)
        method = "asymptotic" if tied else "exact"
        p.append(
            1.0
            if len({*reference, *values}) == 1
            else float(mannwhitneyu(reference, values, method=method).pvalue)
        )
    return {
        name: {"p": p[k], "p_holm": corrected, "a12": effect(reference, others[name])}
        for k, (name, corrected) in enumerate(zip(others, holm(p), strict=True))
    }


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, 0 where there is nothing to rank."""
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return 0.0
    return float(spearmanr(a, b).statistic)
