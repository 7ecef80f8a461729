"""Changes of genes: moves, merges, rounder numbers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...hdl.units import shift_add_unit
from ...model.integer import code_range, half
from .genes import Genes, genes_between, scaled
from .segments import intercepts_for, line_errors, slopes_for
from .target import FRACTIONS, MAX_SEGMENTS, Fold, Target


class Editor:
    """Changes of genes that keep them valid; deterministic by its generator."""

    def __init__(self, target: Target, rng: np.random.Generator) -> None:
        self.target, self.rng = target, rng
        self.low, self.high = code_range(target.in_bits)
        self._slopes: dict[tuple[Fold, int, int], list[int]] = {}

    def slopes(self, genes: Genes) -> list[int]:
        """Slopes of few digits that suit the function."""
        key = (genes.fold, genes.ramp, genes.fraction)
        if key not in self._slopes:
            self._slopes[key] = slopes_for(self.target, *key, digits=shift_add_unit.MAX_DIGITS)
        return self._slopes[key]

    def reline(
        self, genes: Genes, segment: int, slopes: Sequence[int], grain: int, slack: float = 0.0
    ) -> Genes:
        """The segment with the best line of these slopes, its intercept a multiple of ``2**grain``;
        of intercepts within `slack` of the best the roundest."""
        law = self.target, genes.fold, genes.ramp, genes.fraction
        starts = self._starts(genes)
        inputs = np.arange(starts[segment], starts[segment + 1])
        lines = []
        for slope in slopes:
            tried = intercepts_for(*law, slope, grain, inputs)
            error = line_errors(*law, slope, tried, inputs).sum(1)
            good = np.flatnonzero(error <= error.min() * (1 + slack) + 1e-12)
            # Zero itself is the roundest.
            zeros = np.where(tried[good] == 0, 1 << 40, tried[good] & -tried[good])
            at = good[zeros.argmax()]
            lines.append((float(error[at]), slope, int(tried[at])))
        _, slope, intercept = min(lines, key=lambda line: line[0])
        return replace(
            genes,
            slopes=(*genes.slopes[:segment], slope, *genes.slopes[segment + 1 :]),
            intercepts=(*genes.intercepts[:segment], intercept, *genes.intercepts[segment + 1 :]),
        )

    def _starts(self, genes: Genes) -> list[int]:
        """First inputs of the segments, and where the last one ends."""
        return [self.low if genes.fold == "none" else 0, *genes.points, self.high + 1]

    def random(self) -> Genes:
        """Genes of nothing but chance, with best intercepts."""
        rng = self.rng
        fold, ramp = self.target.folds[rng.integers(len(self.target.folds))]
        low = self.low if fold == "none" else 0
        grid = 4 if fold == "none" else 2
        count = int(rng.integers(1, 8))
        places = np.arange(low // grid + 1, (self.high + 1) // grid) * grid
        points = np.sort(rng.choice(places, min(count, len(places)), replace=False))
        genes = Genes(
            fold,
            ramp,
            int(rng.choice(FRACTIONS[1:4])),
            tuple(map(int, points)),
            (0,) * (len(points) + 1),
            (0,) * (len(points) + 1),
        )
        slopes = self.slopes(genes)
        for segment in range(len(genes.slopes)):
            some = [int(s) for s in rng.choice(slopes, 4)]
            genes = self.reline(genes, segment, some, self._grain(genes))
        return genes.canonical(self.target.in_bits)

    def _grain(self, genes: Genes) -> int:
        return int(self.rng.integers(0, genes.fraction + 1))

    def mutate(self, genes: Genes) -> Genes:
        """One or more random changes, canonical."""
        for _ in range(1 + int(self.rng.geometric(0.6))):
            genes = self._change(genes)
        return genes.canonical(self.target.in_bits)

    def _change(self, genes: Genes) -> Genes:
        """A random change of a random segment; none where it does not fit."""
        kinds = (
            self._move,
            self._round,
            self._merge,
            self._split,
            self._slope,
            self._tie,
            self._intercept,
            self._line,
            self._fraction,
        )
        kind = kinds[self.rng.integers(len(kinds))]
        segment = int(self.rng.integers(len(genes.slopes)))
        # How much error a rounder intercept may cost.
        slack = float(self.rng.choice([0.0, 0.02, 0.2]))
        return kind(genes, segment, slack)

    def _move(self, genes: Genes, segment: int, slack: float) -> Genes:
        """A break point by a little."""
        if not genes.points:
            return genes
        j = int(self.rng.integers(len(genes.points)))
        by = int(self.rng.choice([-1, 1])) << int(self.rng.integers(0, 4))
        return self._moved(genes, j, genes.points[j] + by, slack)

    def _round(self, genes: Genes, segment: int, slack: float) -> Genes:
        """The rounding mutation: a break point to a coarser grid."""
        if not genes.points:
            return genes
        j, t = int(self.rng.integers(len(genes.points))), int(self.rng.integers(1, 6))
        return self._moved(genes, j, (genes.points[j] + half(t)) >> t << t, slack)

    def _moved(self, genes: Genes, j: int, point: int, slack: float) -> Genes:
        starts = self._starts(genes)
        if not starts[j] < point < starts[j + 2]:
            return genes
        genes = replace(genes, points=(*genes.points[:j], point, *genes.points[j + 1 :]))
        for segment in (j, j + 1):
            if self.rng.random() < 0.5:
                slopes = [genes.slopes[segment]]
                genes = self.reline(genes, segment, slopes, self._grain(genes), slack)
        return genes

    def _merge(self, genes: Genes, segment: int, slack: float) -> Genes:
        """Two segments to one, with the slope of either."""
        if not genes.points:
            return genes
        j = int(self.rng.integers(len(genes.points)))
        gone = j + int(self.rng.integers(2))
        genes = replace(
            genes,
            points=(*genes.points[:j], *genes.points[j + 1 :]),
            slopes=(*genes.slopes[:gone], *genes.slopes[gone + 1 :]),
            intercepts=(*genes.intercepts[:gone], *genes.intercepts[gone + 1 :]),
        )
        return self.reline(genes, j, [genes.slopes[j]], self._grain(genes), slack)

    def _split(self, genes: Genes, segment: int, slack: float) -> Genes:
        """A new break point, and a new line on one side of it."""
        k, starts = segment, self._starts(genes)
        if len(genes.slopes) >= MAX_SEGMENTS or starts[k + 1] - starts[k] < 2:
            return genes
        point = int(self.rng.integers(starts[k] + 1, starts[k + 1]))
        genes = replace(
            genes,
            points=(*genes.points[:k], point, *genes.points[k:]),
            slopes=(*genes.slopes[: k + 1], *genes.slopes[k:]),
            intercepts=(*genes.intercepts[: k + 1], *genes.intercepts[k:]),
        )
        return self._line(genes, k + int(self.rng.integers(2)), slack)

    def _slope(self, genes: Genes, segment: int, slack: float) -> Genes:
        """Another slope of few digits."""
        slope = int(self.rng.choice(self._near(genes, segment)))
        return self.reline(genes, segment, [slope], self._grain(genes), slack)

    def _tie(self, genes: Genes, segment: int, slack: float) -> Genes:
        """The slope of another segment, or none."""
        slope = int(self.rng.choice([0, *genes.slopes]))
        return self.reline(genes, segment, [slope], self._grain(genes), slack)

    def _line(self, genes: Genes, segment: int, slack: float) -> Genes:
        """The best line of few digits."""
        slopes = self._near(genes, segment)
        return self.reline(genes, segment, slopes, self._grain(genes), slack)

    def _intercept(self, genes: Genes, segment: int, slack: float) -> Genes:
        """An intercept rounded, or one step away."""
        t, c = int(self.rng.integers(0, genes.fraction + 3)), genes.intercepts[segment]
        if self.rng.random() < 0.5:
            c = (c + half(t)) >> t << t
        else:
            c += int(self.rng.choice([-1, 1]) << t)
        before, after = genes.intercepts[:segment], genes.intercepts[segment + 1 :]
        return replace(genes, intercepts=(*before, c, *after))

    def _fraction(self, genes: Genes, segment: int, slack: float) -> Genes:
        """A fraction bit more, or one less, all slopes rounded up or down."""
        if self.rng.random() < 0.5 and genes.fraction < FRACTIONS[-1]:
            return scaled(genes, genes.fraction + 1)
        if genes.fraction <= FRACTIONS[0]:
            return genes
        fewer = replace(genes, fraction=genes.fraction - 1)
        for k, slope in enumerate(genes.slopes):
            slopes = [(slope + int(self.rng.integers(2))) >> 1]
            fewer = self.reline(fewer, k, slopes, self._grain(fewer), slack)
        return fewer

    def _near(self, genes: Genes, segment: int) -> list[int]:
        """Slopes of few digits about that of a segment, and those of its neighbours."""
        every = np.array(self.slopes(genes))
        at = int(np.searchsorted(every, genes.slopes[segment]))
        near = {int(s) for s in every[max(0, at - 2) : at + 3]}
        return sorted(near | set(genes.slopes[max(0, segment - 1) : segment + 2]))

    def cross(self, a: Genes, b: Genes) -> Genes:
        """`a` left of two random places and right of them, `b` between; canonical."""
        if (a.fold, a.ramp) != (b.fold, b.ramp):
            return a
        fraction = max(a.fraction, b.fraction)
        a, b = scaled(a, fraction), scaled(b, fraction)
        low = self.low if a.fold == "none" else 0
        first, last = sorted(int(p) for p in self.rng.integers(low, self.high + 2, 2))
        parts = genes_between(a, low, low, first) + genes_between(b, low, first, last)
        parts += genes_between(a, low, last, self.high + 1)
        if not parts or len(parts) > MAX_SEGMENTS:
            return a
        child = Genes(
            a.fold,
            a.ramp,
            fraction,
            tuple(p[0] for p in parts[1:]),
            tuple(p[1] for p in parts),
            tuple(p[2] for p in parts),
        )
        return child.canonical(self.target.in_bits)
