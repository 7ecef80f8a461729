"""Whole units as genes: break points, slopes and intercepts."""

from dataclasses import dataclass, replace

import numpy as np

from ...model.integer import PiecewiseLinear, code_range, half
from .target import Fold, Target


@dataclass(frozen=True)
class Genes:
    """A unit as the search varies it: ``v = (slopes[k] m + intercepts[k]) >> fraction``.

    Rounding and zero point are in the intercepts. m is the code, or with a fold the magnitude
    ``i if i >= 0 else ~i``, with an exact one ``abs(i)``, 0 for the lowest code.

    points : first m of each segment but the first
    """

    fold: Fold
    ramp: int
    fraction: int
    points: tuple[int, ...]
    slopes: tuple[int, ...]
    intercepts: tuple[int, ...]

    def canonical(self, in_bits: int) -> "Genes":
        """The same law in its least form: equal neighbours merged, no common powers of two."""
        low, high = code_range(in_bits)
        low = low if self.fold == "none" else 0
        starts = [low, *self.points]
        segments: list[tuple[int, int, int]] = []
        for start, slope, intercept in zip(starts, self.slopes, self.intercepts, strict=True):
            if start > high:
                break
            if segments and segments[-1][0] == start:
                segments.pop()
            if not segments or segments[-1][1:] != (slope, intercept):
                segments.append((start, slope, intercept))
        common = self.fraction
        for _, slope, _ in segments:
            if slope:
                common = min(common, (slope & -slope).bit_length() - 1)
        return Genes(
            self.fold,
            self.ramp,
            self.fraction - common,
            tuple(k[0] for k in segments[1:]),
            tuple(k[1] >> common for k in segments),
            tuple(k[2] >> common for k in segments),
        )

    def unit(self, target: Target) -> PiecewiseLinear:
        """The integer unit; `self` in canonical form."""
        points, fraction = list(self.points), self.fraction
        lines = list(zip(self.slopes, self.intercepts, strict=True))
        if self.fold in ("negated", "mirrored"):
            points, lines = self._exact(target)
        elif self.fold != "none":
            # At ~m: of s m + c, its complement, or itself.
            odd = self.fold == "odd"
            left = [(s, s - 1 - c) if odd else (-s, c - s) for s, c in lines][::-1]
            up = 0 if odd else 1 << (fraction + self.ramp)
            lines = left + [(s + up, c) for s, c in lines]
            points = [-p for p in points[::-1]] + [0] + points
            at = len(left)
            if lines[at] == lines[at - 1]:
                del lines[at], points[at - 1]
        constant = half(fraction) + (target.zero_point << fraction)
        return PiecewiseLinear(
            a_bits=target.in_bits,
            out_bits=target.out_bits,
            fraction_bits=fraction,
            zero_point=target.zero_point,
            breakpoints=np.array(points, np.int16),
            slopes=np.array([s for s, _ in lines], np.int32),
            intercepts=np.array([c - constant for _, c in lines], np.int64),
        )

    def _exact(self, target: Target) -> tuple[list[int], list[tuple[int, int]]]:
        """Break points and lines of all codes, of a fold at 0."""
        negated, fraction = self.fold == "negated", self.fraction
        lines = list(zip(self.slopes, self.intercepts, strict=True))
        # At -m: minus the floor of s m + c, or itself.
        left = [(s, (1 << fraction) - 1 - c) if negated else (-s, c) for s, c in lines]
        edges = [1 - p for p in self.points]
        if edges[:1] == [0]:
            # The first line is for 0 alone.
            del left[0], edges[0]
        up = 0 if negated else 1 << (fraction + self.ramp)
        lowest = code_range(target.out_bits)[0] if negated else lines[0][1] >> fraction
        first = code_range(target.in_bits)[0] + 1
        points = [first, *edges[::-1], 0, *self.points]
        every = [(0, lowest << fraction), *left[::-1], *((s + up, c) for s, c in lines)]
        # Where neighbours are one line there is no break point.
        joined = [every[0]]
        starts = []
        for point, line in zip(points, every[1:], strict=True):
            if line != joined[-1]:
                starts.append(point)
                joined.append(line)
        return starts, joined


@dataclass(frozen=True)
class Candidate:
    """A unit, the form that was measured, and what it gives.

    mse : over protocol R, of the rounded and saturated output, in units of y
    cells : by Yosys, of the combinational component in that form
    """

    unit: PiecewiseLinear
    form: str
    mse: float
    cells: int


def scaled(genes: Genes, fraction: int) -> Genes:
    """The same law with more fraction bits."""
    more = fraction - genes.fraction
    return replace(
        genes,
        fraction=fraction,
        slopes=tuple(s << more for s in genes.slopes),
        intercepts=tuple(c << more for c in genes.intercepts),
    )


def genes_between(genes: Genes, low: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """First input, slope and intercept of the segments between two inputs."""
    starts = [low, *genes.points]
    ends = [*genes.points, 1 << 30]
    rows = zip(starts, ends, genes.slopes, genes.intercepts, strict=True)
    return [(max(a, start), s, c) for a, b, s, c in rows if max(a, start) < min(b, end)]
