"""Integer tables and piecewise-linear units for sigmoid and tanh at an operator's own scales.

Break points, slopes and intercepts come from the exact method
(:mod:`genogate.model.tables.optimal`), which is exact for the line's value; what an operator gives
is that value rounded to a code, so a few alternating steps (best lines for the segments, best
segments for the lines) follow on the rounded codes themselves. Unit and semantics are those of
:class:`~genogate.model.integer.PiecewiseLinear` (arXiv 2403.19591, equation of its quantised use).
"""

import numpy as np

from ..integer import PiecewiseLinear, Table, code_range, common_power, half
from ..tables.formats import FixedGrid
from ..tables.optimal import Lines, Solution, solve, squared_lines
from ..tables.points import Inputs

#: Fraction bits tried, from half of the output's width on; the fewest whose error is within this
#: factor of the least are taken, because each one widens the multiplier.
FRACTION_STEPS, FRACTION_TOLERANCE = (-1, 0, 1), 1.15
#: Numbers of segments solved for at once.
AT_ONCE = 16
#: Rounds of refinement, and the steps of slope and (in sixteenths of a code) intercept tried.
ROUNDS, SLOPE_STEPS, INTERCEPT_STEPS = 3, np.arange(-2, 3), np.arange(-10, 11)


def exact_table(target: np.ndarray, a_bits: int, out_bits: int) -> Table:
    """The full table of ``target`` [2**a_bits], real output codes, rounded half up, saturated."""
    codes = np.clip(np.floor(target + 0.5), *code_range(out_bits))
    return Table(a_bits=a_bits, out_bits=out_bits, table=codes.astype(np.int16))


def unit_codes(unit: PiecewiseLinear) -> np.ndarray:
    """Output codes int64 [2**a_bits] of `unit`, in the order of the input codes."""
    low, high = code_range(unit.a_bits)
    codes = np.arange(low, high + 1)
    segment = np.searchsorted(unit.breakpoints, codes, side="right")
    value = unit.slopes.astype(np.int64)[segment] * codes + unit.intercepts[segment]
    value = (value + half(unit.fraction_bits)) >> unit.fraction_bits
    return np.clip(value + unit.zero_point, *code_range(unit.out_bits))


class Fitting:
    """Piecewise-linear units for ``target`` [2**a_bits]: real output codes in the order of the
    input codes, each of which counts by its `weight`. The lines of all intervals are computed once.
    """

    def __init__(
        self, target: np.ndarray, a_bits: int, out_bits: int, weight: np.ndarray | None = None
    ) -> None:
        weight = np.ones_like(target) if weight is None else weight
        self.a_bits, self.out_bits = a_bits, out_bits
        self.low, self.high = code_range(out_bits)
        self.first = code_range(a_bits)[0]
        self.codes = np.arange(len(target)) + self.first
        # Saturation does the clipping, so beyond the last code any line will do.
        self.y, self.weight = np.clip(target, self.low, self.high), weight / weight.sum()
        # Of every output code [outputs, codes], and where each input's column stands.
        every = np.arange(self.low, self.high + 1)[:, None]
        self._error = self.weight * (every - self.y) ** 2
        self._place = np.arange(len(target))
        #: Steps: slopes of so many fraction bits are tried, the finest last.
        self.bits = sorted({max(1, (out_bits + 1) // 2 + step) for step in FRACTION_STEPS})
        self.lines: dict[int, Lines] = {}
        self.found: dict[tuple[int, int], Solution] = {}

    def grids(self, bits: int) -> tuple[FixedGrid, FixedGrid]:
        """Slopes and intercepts of `bits` fraction bits. No best line is steeper than the steepest
        step; intercepts are as wide as they must be."""
        steepest = float(np.abs(np.diff(self.y)).max()) + 1
        return FixedGrid(1 + int(np.ceil(np.log2(steepest * 2**bits))), bits), FixedGrid(40, bits)

    def solution(self, bits: int, entries: int) -> Solution:
        """The best unrounded lines of at most `entries` segments with `bits` fraction bits."""
        if (bits, entries) not in self.found:
            if bits not in self.lines:
                inputs = Inputs(self.codes.astype(np.float64), self.y, self.weight)
                self.lines[bits] = squared_lines(inputs, *self.grids(bits))
            for n, solution in enumerate(solve(self.lines[bits], max(entries, AT_ONCE)), 1):
                self.found[bits, n] = solution
        return self.found[bits, entries]

    def unrounded(self, entries: int) -> float:
        """Weighted squared error, in codes, of the best lines before their values are rounded."""
        return self.solution(self.bits[-1], entries).cost

    def error(self, codes: np.ndarray) -> float:
        """Weighted mean squared error of output codes [2**a_bits]."""
        return float(self.weight @ (codes - self.y) ** 2)

    def unit(self, entries: int) -> PiecewiseLinear:
        """A unit of at most `entries` segments, with the fewest fraction bits that do."""
        tried = []
        for bits in self.bits:
            solution = self.solution(bits, entries)
            slope, intercept = (
                grid.stored(index)[0]
                for grid, index in zip(
                    self.grids(bits), (solution.slopes, solution.intercepts), strict=True
                )
            )
            error, starts, slope, intercept = self.refine(solution.starts, slope, intercept, bits)
            tried.append((error, self.integers(starts, slope, intercept, bits)))
        limit = min(error for error, _ in tried) * FRACTION_TOLERANCE + 1e-12
        return next(unit for error, unit in tried if error <= limit)

    def errors(self, value: np.ndarray, bits: int) -> np.ndarray:
        """Weighted squared error [..., codes] of what is rounded to codes, for the values
        [..., codes] of lines with ``half(bits)`` added already."""
        code = np.minimum(np.maximum(value >> bits, self.low), self.high)
        return self._error.take((code - self.low) * len(self.y) + self._place)

    def refine(
        self, starts: list[int], slope: np.ndarray, intercept: np.ndarray, bits: int
    ) -> tuple[float, list[int], np.ndarray, np.ndarray]:
        """Error on rounded codes, first code of each segment, slopes and intercepts, bettered."""
        step = max(1, (1 << bits) // 16)
        s_steps = np.repeat(SLOPE_STEPS, len(INTERCEPT_STEPS))
        b_steps = np.tile(INTERCEPT_STEPS * step, len(SLOPE_STEPS))
        slope, intercept = slope.copy(), intercept.copy()
        total = np.inf
        for _ in range(ROUNDS):
            first, ends = np.array(starts), np.array([*starts[1:], len(self.y)])
            # A slope turns about the segment's middle. All segments' lines at once.
            middle = self.codes[(first + ends) // 2]
            piece = np.repeat(np.arange(len(starts)), ends - first)
            value = slope[piece] * self.codes + intercept[piece] + half(bits)
            value = value + SLOPE_STEPS[:, None] * (self.codes - middle[piece])
            value = value[:, None] + INTERCEPT_STEPS[:, None] * step
            errors = self.errors(value.reshape(len(s_steps), -1), bits)
            for k, (a, b) in enumerate(zip(starts, ends.tolist(), strict=True)):
                at = int(errors[:, a:b].sum(1).argmin())
                slope[k] += s_steps[at]
                intercept[k] += b_steps[at] - s_steps[at] * middle[k]
            value = slope[:, None] * self.codes + intercept[:, None] + half(bits)
            better, starts, cuts = _segments(self.errors(value, bits))
            slope, intercept = slope[cuts], intercept[cuts]
            if better >= total:
                break
            total = better
        return total, starts, slope, intercept

    def integers(
        self, starts: list[int], slope: np.ndarray, intercept: np.ndarray, bits: int
    ) -> PiecewiseLinear:
        """The integer unit. A power of two that all constants share is no information."""
        common = common_power(bits, slope, intercept)
        return PiecewiseLinear(
            a_bits=self.a_bits,
            out_bits=self.out_bits,
            fraction_bits=bits - common,
            zero_point=0,
            breakpoints=np.array(starts[1:], np.int16) + np.int16(self.first),
            slopes=(slope >> common).astype(np.int32),
            intercepts=(intercept >> common).astype(np.int32),
        )


def _segments(errors: np.ndarray) -> tuple[float, list[int], list[int]]:
    """For lines in their order, errors [lines, codes]: the least total, the first code of each
    segment, and the lines that still have one."""
    lines, size = errors.shape
    sums = np.concatenate([np.zeros((lines, 1)), errors.cumsum(1)], 1)
    best, entered = sums[0], []
    for k in range(1, lines):
        # Entering line k at code i costs best[i] - sums[k, i] from then on.
        gain = best - sums[k]
        least = np.minimum.accumulate(gain)
        at = np.maximum.accumulate(np.where(gain <= least, np.arange(size + 1), 0))
        entered.append(at)
        best = least + sums[k]
    end, starts = size, [0] * lines
    for k in range(lines - 1, 0, -1):
        starts[k] = end = int(entered[k - 1][end])
    ends = [*starts[1:], size]
    segments = [k for k in range(lines) if ends[k] > starts[k]]
    return float(best[-1]), [starts[k] for k in segments], segments


def fit(
    target: np.ndarray, a_bits: int, out_bits: int, entries: int, weight: np.ndarray | None = None
) -> PiecewiseLinear:
    """One unit of at most `entries` segments (see :class:`Fitting`)."""
    return Fitting(target, a_bits, out_bits, weight).unit(entries)
