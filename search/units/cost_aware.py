"""Error against cells: multiplier-free units by NSGA-II with Yosys in the loop, and an exact rival.

What a unit costs is no sum over its segments: a digit that one slope needs is an adder for all,
equal slopes share their logic, and what logic optimisation makes of constants is known only when it
has been done. So a genetic search looks at whole units and asks Yosys for each
(:func:`~genogate.synth.area.measure`). Its rival (:func:`rival`) is dynamic programming, exact on
the rounded and saturated integer outputs, with a price for every segment, digit and bit of a break
point; its tables are also what the search starts from.

A unit may be computed of one half: ``odd``, ``o(~i) = ~o(i)``, or ``even``, the same but for a ramp
(see :mod:`~genogate.hdl.units.shift_add_unit`); then genes describe that half alone. Codes stand
for the middle between their own value and that of their neighbour there, which costs half a code of
error.

The rounding mutation of arXiv 2403.19591 rounds break points to a scale's codes. Here break points,
intercepts and slopes are rounded to ever coarser grids, because round numbers are less logic.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.problems.static import StaticProblem
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from ...hdl.units import shift_add_unit
from ...hdl.units.shift_add_unit import digits_of
from ...model.errors import InputError, integer_within, shown
from ...model.integer import PiecewiseLinear, code_range, half
from ...model.quantize.activations import unit_codes
from ...model.tables.functions import Function
from ...model.tables.optimal import GUARD
from ...model.tables.table import check_in_bits, codes, output_scale
from ...synth.area import measure

Array = np.ndarray
Progress = Callable[[str], None]
Fold = Literal["none", "odd", "even"]
#: Most segments, and fraction bits of slopes, that are looked at.
MAX_SEGMENTS, FRACTIONS = 24, (1, 2, 3, 4, 5)
#: Error, squared codes, that an equal half may cost at most.
_FOLD_ERROR = 16.0
#: Cells of nodes, adders, constants, gates (:class:`~genogate.hdl.units.shift_add_unit.Rough`) and
#: a constant, by least squares over 1098 measured forms of 230 exact tables. The forms it takes for
#: the cheapest rank as Yosys ranks them (Spearman 0.97), with 0.7 % more cells than the cheapest.
#: Multipliers are left out: one among the 230 units was smallest with one, by a single cell.
_WEIGHTS: dict[str, tuple[float, float, float, float, float]] = {
    "table": (1.2, 0, 0, 0, 0),
    "diagram": (1.33, 0, 0, 0, 0),
    "shift-add": (1.3, 3.02, 0, 0.24, 0),
    "lines": (0.35, 1.42, 0.57, 0.04, 64.7),
    "ramp": (1.28, 0, 3.22, 0.81, 0),
    "even": (1.47, 0, 4.65, 0.53, 0),
}


@dataclass(frozen=True)
class Target:
    """What a unit is judged on: codes in, codes out, both at fixed scales.

    wanted : float64 [2**in_bits], real output codes, zero point included; 0 where undefined
    weight : float64 [2**in_bits], 1/n on the n codes of protocol R, else 0
    watched : bool [2**in_bits], codes of protocol A alone, where the guard holds
    guard : greatest error there, in output codes
    coarsest : greatest mean squared error that is of any use, units of y: root 3 % of the range
    """

    function: Function
    scale: int
    in_bits: int
    out_bits: int
    out_scale: int
    zero_point: int
    wanted: Array
    weight: Array
    watched: Array
    guard: float
    coarsest: float

    @classmethod
    def of(
        cls,
        function: Function,
        scale: int,
        in_bits: int = 8,
        out_bits: int = 8,
        guard: float = GUARD,
    ) -> "Target":
        """Of a function at input scale ``2**-scale``; the output scale is the best one.

        Raises :class:`InputError` for widths or a scale that cannot be.
        """
        check_in_bits(in_bits)
        integer_within("output bits", out_bits, 2, 8)
        if not guard > 0:
            raise InputError(f"guard: {shown(guard)} is not greater than 0")
        out_scale, zero = output_scale(function, in_bits, scale, out_bits)
        low, _ = code_range(in_bits)
        wanted, weight = np.zeros(1 << in_bits), np.zeros(1 << in_bits)
        watched = np.zeros(1 << in_bits, bool)
        judged = codes(function, in_bits, scale)
        for q in (codes(function, in_bits, scale, "A"), judged):
            wanted[q - low] = np.ldexp(function(np.ldexp(q.astype(float), -scale)), out_scale)
            wanted[q - low] += zero
            watched[q - low] = True
        weight[judged - low] = 1 / len(judged)
        watched &= weight == 0
        spread = float(np.ldexp(np.ptp(wanted[weight > 0]), -out_scale))
        return cls(
            function,
            scale,
            in_bits,
            out_bits,
            out_scale,
            zero,
            wanted,
            weight,
            watched,
            float(np.ldexp(guard, out_scale)) + 0.5,
            1e-3 * spread**2,
        )

    def mse(self, outputs: Array) -> float:
        """Mean squared error over protocol R of output codes [2**in_bits], in units of y."""
        return float(np.ldexp(self.weight @ (outputs - self.wanted) ** 2, -2 * self.out_scale))

    def safe(self, outputs: Array) -> bool:
        """Whether the guard holds: what protocol A adds is near to the saturated function."""
        return not self._astray(outputs, np.arange(len(self.wanted))).any()

    def _astray(self, outputs: Array, at: Array) -> Array:
        near = np.clip(self.wanted[at], *code_range(self.out_bits))
        return self.watched[at] & (np.abs(outputs - near) > self.guard)

    def errors(self, outputs: Array, at: Array) -> Array:
        """Weighted squared errors, squared codes, of outputs [..., n] at positions [n]; infinite
        in effect where the guard is broken."""
        error = self.weight[at] * (outputs - self.wanted[at]) ** 2
        return error + np.where(self._astray(outputs, at), 1e9, 0.0)

    def ramp(self) -> int:
        """The shift of the ramp for which what is left is most nearly even."""
        return min(shift_add_unit.RAMPS, key=lambda p: self._fold_error("even", p))

    def _fold_error(self, fold: Fold, ramp: int) -> float:
        """The least error, squared codes, that equal halves cost."""
        right = len(self.wanted) // 2
        w, f = self.weight[right:], self.wanted[right:]
        v, g = self.weight[:right][::-1], self.wanted[:right][::-1]
        if fold == "even":
            f = f - np.ldexp(np.arange(right), ramp)
        else:
            g = -1 - g
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.nansum(w * v / (w + v) * (f - g) ** 2))

    @cached_property
    def folds(self) -> list[tuple[Fold, int]]:
        """Ways to compute it of one half that cost little error, with the ramp; ``none`` first."""
        found: list[tuple[Fold, int]] = [("none", 0)]
        right = self.weight[len(self.weight) // 2 :]
        if not (self.weight[: len(self.weight) // 2] @ right[::-1] > 0):
            return found
        ramp = self.ramp()
        for fold, power in (("odd", 0), ("even", ramp)):
            if power >= 0 and self._fold_error(fold, power) < _FOLD_ERROR:  # type: ignore[arg-type]
                found.append((fold, power))  # type: ignore[arg-type]
        return found


@dataclass(frozen=True)
class Genes:
    """A unit as the search varies it: ``v = (slopes[k] m + intercepts[k]) >> fraction``.

    Rounding and zero point are in the intercepts. m is the code, or with a fold the magnitude
    ``i if i >= 0 else ~i``.

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
        kept: list[tuple[int, int, int]] = []
        for start, slope, intercept in zip(starts, self.slopes, self.intercepts, strict=True):
            if start > high:
                break
            if kept and kept[-1][0] == start:
                kept.pop()
            if not kept or kept[-1][1:] != (slope, intercept):
                kept.append((start, slope, intercept))
        common = self.fraction
        for _, slope, _ in kept:
            if slope:
                common = min(common, (slope & -slope).bit_length() - 1)
        return Genes(
            self.fold,
            self.ramp,
            self.fraction - common,
            tuple(k[0] for k in kept[1:]),
            tuple(k[1] >> common for k in kept),
            tuple(k[2] >> common for k in kept),
        )

    def unit(self, target: Target) -> PiecewiseLinear:
        """The integer unit; `self` in canonical form."""
        points, fraction = list(self.points), self.fraction
        lines = list(zip(self.slopes, self.intercepts, strict=True))
        if self.fold != "none":
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


class Segmenter:
    """The exact method on the integer outputs: the best line of every interval, slope by slope.

    Break points are the multiples of `step`, slopes the given ones, intercepts (with rounding and
    zero point in them) the multiples of ``2**grain``; within these every line is tried, so that a
    table is proved best for any price that adds up over segments.

    cost : float64 [S, n+1, n+1], squared codes, of slope s from node i to before node j
    intercept : int64 [S, n+1, n+1]
    """

    def __init__(
        self,
        target: Target,
        fold: Fold,
        ramp: int,
        fraction: int,
        grain: int,
        step: int,
        slopes: Sequence[int],
    ) -> None:
        self.target, self.fold, self.ramp, self.fraction = target, fold, ramp, fraction
        self.slopes = np.array(sorted(set(slopes)), np.int64)
        self.inputs = inputs_of(target, fold)
        self.nodes = _nodes(target, fold, step)
        at = np.append(self.nodes - self.inputs[0], len(self.inputs))
        size = len(self.nodes) + 1
        self.cost = np.full((len(self.slopes), size, size), np.inf)
        self.intercept = np.zeros((len(self.slopes), size, size), np.int64)
        for number, slope in enumerate(self.slopes):
            tried = intercepts_for(target, fold, ramp, fraction, int(slope), grain, self.inputs)
            error = line_errors(target, fold, ramp, fraction, int(slope), tried, self.inputs)
            sums = np.concatenate([np.zeros((len(tried), 1)), error.cumsum(1)], 1)[:, at]
            for i in range(size - 1):
                away = sums[:, i + 1 :] - sums[:, i : i + 1]
                best = away.argmin(0)
                self.cost[number, i, i + 1 :] = away[best, np.arange(len(best))]
                self.intercept[number, i, i + 1 :] = tried[best]

    def solve(
        self, entries: int, price: Array, point_price: Array, allowed: Array | None = None
    ) -> tuple[float, Genes]:
        """The table of at most `entries` segments with the least error plus price, proved.

        price : float64 [S], of a segment of each slope, squared codes
        point_price : float64 [n], of a segment that begins at each node; the first is not counted
        allowed : bool [S], slopes that may be used; all by default
        """
        cost = self.cost + price[:, None, None]
        if allowed is not None:
            cost = np.where(allowed[:, None, None], cost, np.inf)
        which, cost = cost.argmin(0), cost.min(0)
        cost = cost + np.append(np.concatenate([[0.0], point_price[1:]]), 0.0)[:, None]
        best, choice = cost[0].copy(), []
        for _ in range(entries - 1):
            through = best[:, None] + cost
            start = through.argmin(0)
            reached = through[start, np.arange(len(start))]
            choice.append(np.where(best <= reached, -1, start))
            best = np.minimum(best, reached)
        starts, end = [], len(best) - 1
        for earlier in reversed(choice):
            if earlier[end] >= 0:
                end = int(earlier[end])
                starts.append(end)
        starts = [0, *reversed(starts)]
        pairs = list(zip(starts, [*starts[1:], len(self.nodes)], strict=True))
        used = [int(which[pair]) for pair in pairs]
        return float(best[-1]), Genes(
            self.fold,
            self.ramp,
            self.fraction,
            tuple(int(self.nodes[i]) for i in starts[1:]),
            tuple(int(self.slopes[s]) for s in used),
            tuple(int(self.intercept[s, i, j]) for s, (i, j) in zip(used, pairs, strict=True)),
        )


def inputs_of(target: Target, fold: Fold) -> Array:
    """All codes, or all magnitudes."""
    low, high = code_range(target.in_bits)
    return np.arange(0 if fold != "none" else low, high + 1)


def _nodes(target: Target, fold: Fold, step: int) -> Array:
    """Where segments may begin: multiples of `step` among what is judged, and the first input."""
    inputs = inputs_of(target, fold)
    low, _ = code_range(target.in_bits)
    counts = (target.weight > 0) | target.watched
    if fold != "none":
        counts = counts | counts[::-1]
    seen = inputs[counts[inputs - low]]
    some = inputs[(inputs % step == 0) & (inputs > seen[0]) & (inputs <= seen[-1])]
    return np.concatenate([inputs[:1], some])


def line_errors(
    target: Target,
    fold: Fold,
    ramp: int,
    fraction: int,
    slope: int,
    intercepts: Array,
    inputs: Array,
) -> Array:
    """Errors [intercepts, inputs], squared codes, of lines, with those of the other half."""
    low, _ = code_range(target.in_bits)
    bounds = code_range(target.out_bits)
    value = (slope * inputs[None, :] + np.asarray(intercepts)[:, None]) >> fraction
    if fold == "none":
        return target.errors(np.clip(value, *bounds), inputs - low)
    here, there = inputs - low, ~inputs - low
    if fold == "odd":
        value = np.clip(value, *bounds)
        return target.errors(value, here) + target.errors(~value, there)
    return target.errors(np.clip(value + (inputs << ramp), *bounds), here) + target.errors(
        np.clip(value, *bounds), there
    )


def _residuals(
    target: Target, fold: Fold, ramp: int, fraction: int, slope: int, inputs: Array
) -> Array:
    """What an intercept would have to be at each judged input."""
    low, _ = code_range(target.in_bits)
    near = np.clip(target.wanted, *code_range(target.out_bits))
    counts = (target.weight > 0) | target.watched
    found = []
    for at, wanted in (
        (inputs - low, near[inputs - low] - (inputs << ramp if fold == "even" else 0)),
        (~inputs - low, near[~inputs - low] if fold == "even" else -1 - near[~inputs - low]),
    )[: 1 if fold == "none" else 2]:
        rest = np.ldexp(wanted, fraction) - slope * inputs
        found.append(rest[counts[at]])
    rest = np.concatenate(found)
    # Where nothing is judged any line will do.
    return rest if len(rest) else np.zeros(1)


def intercepts_for(
    target: Target, fold: Fold, ramp: int, fraction: int, slope: int, grain: int, inputs: Array
) -> Array:
    """All multiples of ``2**grain`` that can be best anywhere among `inputs`: with less every
    output is too small, with more too large."""
    rest = _residuals(target, fold, ramp, fraction, slope, inputs)
    low = (int(np.floor(rest.min())) >> grain) - 1
    high = ((int(np.ceil(rest.max())) + (1 << fraction)) >> grain) + 1
    return np.arange(low, high + 1) << grain


def slopes_for(target: Target, fold: Fold, ramp: int, fraction: int, digits: int) -> list[int]:
    """Slopes within what the function has, of at most `digits` signed digits."""
    inputs = inputs_of(target, fold)
    low, _ = code_range(target.in_bits)
    at = inputs[target.weight[inputs - low] > 0]
    wanted = np.clip(target.wanted, *code_range(target.out_bits))[at - low]
    if fold == "even":
        wanted = wanted - (at << ramp)
    steep = np.ldexp(np.diff(wanted), fraction)
    least, greatest = int(np.floor(min(steep.min(), 0))), int(np.ceil(max(steep.max(), 0)))
    return [s for s in range(least, greatest + 1) if len(digits_of(s)) <= digits]


def predicted(unit: PiecewiseLinear) -> dict[str, float]:
    """Estimated cells of `unit` in each form without a multiplier, cheapest first."""
    found = {}
    for form in shift_add_unit.forms(unit):
        core = next(word for word in form.split() if word != "odd")
        if core in _WEIGHTS:
            rough = shift_add_unit.rough(unit, form)
            counts = (rough.nodes, rough.adders, rough.constants, rough.gates, 1)
            found[form] = float(np.dot(_WEIGHTS[core], counts))
    return dict(sorted(found.items(), key=lambda item: item[1]))


class Meter:
    """Candidates from Yosys; each pair of genes and form is one evaluation, once.

    count : evaluations so far
    """

    def __init__(self, target: Target, progress: Progress | None = None) -> None:
        self.target, self.progress = target, progress
        self.known: dict[tuple[Genes, str], Candidate] = {}

    @property
    def count(self) -> int:
        return len(self.known)

    def measure(self, pairs: Iterable[tuple[Genes, str]]) -> list[Candidate]:
        """Candidates of canonical genes in forms; what is new goes to Yosys together."""
        pairs = list(pairs)
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        units = [genes.unit(self.target) for genes, _ in new]
        areas = measure(
            [shift_add_unit.build(u, form) for u, (_, form) in zip(units, new, strict=True)],
            self.progress,
        )
        for pair, unit, area in zip(new, units, areas, strict=True):
            mse = self.target.mse(unit_codes(unit))
            self.known[pair] = Candidate(unit, pair[1], mse, area.cells)
        return [self.known[pair] for pair in pairs]


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other one beats or equals in both error and cells, fewest cells first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.cells, c.mse)):
        if not kept or candidate.mse < kept[-1].mse:
            kept.append(candidate)
    return kept


@dataclass
class _Screen:
    """What is worth an evaluation, by error and predicted cells."""

    target: Target

    def __post_init__(self) -> None:
        self._known: dict[Genes, tuple[float, dict[str, float]] | None] = {}

    def look(self, genes: Genes) -> tuple[float, dict[str, float]] | None:
        """Error, and predicted cells of the forms that may be the cheapest; None where the guard is
        broken or the error too coarse."""
        if genes not in self._known:
            unit = genes.unit(self.target)
            outputs = unit_codes(unit)
            found = None
            if self.target.safe(outputs) and self.target.mse(outputs) <= self.target.coarsest:
                by_form = predicted(unit)
                least = min(by_form.values())
                # As near as this the prediction cannot tell.
                found = (
                    self.target.mse(outputs),
                    {form: least for form, cells in by_form.items() if cells <= 1.06 * least},
                )
            self._known[genes] = found
        return self._known[genes]

    def choose(
        self,
        pool: Iterable[Genes],
        count: int,
        measured: Iterable[Candidate] = (),
        known: Iterable[tuple[Genes, str]] = (),
    ) -> list[tuple[Genes, str]]:
        """At most `count` new pairs of genes and form, best ranks first among those measured."""
        done = set(known)
        pairs, values = [], []
        for genes in dict.fromkeys(pool):
            if (seen := self.look(genes)) is not None:
                for form, cells in seen[1].items():
                    if (genes, form) not in done:
                        pairs.append((genes, form))
                        values.append((seen[0], cells))
        if not pairs:
            return []
        both = [(c.mse, float(c.cells)) for c in front(measured)] + values
        first = len(both) - len(pairs)
        chosen: list[tuple[Genes, str]] = []
        for rank in NonDominatedSorting().do(np.array(both)):
            members = sorted((int(k) for k in rank if k >= first), key=lambda k: both[k][::-1])
            room = count - len(chosen)
            if len(members) > room:
                # Evenly along the rank.
                members = [members[k] for k in np.linspace(0, len(members) - 1, room).astype(int)]
            chosen += [pairs[k - first] for k in members]
            if len(chosen) >= count:
                break
        return chosen


#: More digits than any slope has.
_ANY = 9
#: Prices of a segment, squared codes, of the rival: from nothing to what leaves few segments.
_PRICES = (0.0, *np.geomspace(3e-3, 10, 8).round(4).tolist())


def exact_genes(target: Target, progress: Progress | None = None) -> list[Genes]:
    """Tables of the exact method with cost terms, canonical, each best for its own prices.

    All of: folds, fraction bits, grains of intercepts and of break points, at most one or two
    digits a slope or any slope, a price a segment, and fewer and fewer distinct slopes.
    """
    found: dict[Genes, None] = {}
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
                    found |= dict.fromkeys(_priced(segmenter))
    return list(found)


def _priced(segmenter: Segmenter) -> list[Genes]:
    """Solutions of one segmenter under all prices."""
    bits = segmenter.target.in_bits
    digits = np.array([len(digits_of(int(s))) for s in segmenter.slopes])
    zeros = np.array(
        [(int(p) & -int(p)).bit_length() - 1 if p else bits - 1 for p in segmenter.nodes]
    )
    compared = np.maximum(bits - 1 - zeros, 0) / (bits - 1)
    found = []

    def best(price: float, allowed: Array) -> tuple[float, Genes]:
        each = price * (1 + 0.5 * np.maximum(digits - 1, 0))
        return segmenter.solve(MAX_SEGMENTS, each, 0.5 * price * compared, allowed)

    for limit in (1, 2, _ANY):
        allowed = digits <= limit
        for price in _PRICES if limit < _ANY else _PRICES[:4]:
            found.append(best(price, allowed)[1])
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
                found.append(genes)
    return [genes.canonical(bits) for genes in found]


def rival(
    function: Function,
    *,
    scale: int,
    in_bits: int = 8,
    out_bits: int = 8,
    evaluations: int = 256,
    progress: Progress | None = None,
) -> list[Candidate]:
    """The exact method with cost terms: its best tables by predicted cells, all measured by Yosys.

    Returns the front, fewest cells first. Raises :class:`InputError` for widths, a scale or a
    budget that cannot be, or when Yosys is missing.
    """
    if evaluations < 1:
        raise InputError(f"evaluations: {shown(evaluations)} is not at least 1")
    target = Target.of(function, scale, in_bits, out_bits)
    found = exact_genes(target, progress)
    return front(best_of(target, found, evaluations, progress).known.values())


def best_of(
    target: Target, genes: Sequence[Genes], evaluations: int, progress: Progress | None = None
) -> Meter:
    """Those of `genes` that promise most, by error and predicted cells, measured."""
    meter = Meter(target, progress)
    meter.measure(_Screen(target).choose(genes, evaluations))
    return meter


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
        found = []
        for slope in slopes:
            tried = intercepts_for(*law, slope, grain, inputs)
            error = line_errors(*law, slope, tried, inputs).sum(1)
            good = np.flatnonzero(error <= error.min() * (1 + slack) + 1e-12)
            # Zero itself is the roundest.
            zeros = np.where(tried[good] == 0, 1 << 40, tried[good] & -tried[good])
            at = good[zeros.argmax()]
            found.append((float(error[at]), slope, int(tried[at])))
        _, slope, intercept = min(found, key=lambda line: line[0])
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
        parts = _part(a, low, low, first) + _part(b, low, first, last)
        parts += _part(a, low, last, self.high + 1)
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


def scaled(genes: Genes, fraction: int) -> Genes:
    """The same law with more fraction bits."""
    more = fraction - genes.fraction
    return replace(
        genes,
        fraction=fraction,
        slopes=tuple(s << more for s in genes.slopes),
        intercepts=tuple(c << more for c in genes.intercepts),
    )


def _part(genes: Genes, low: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """First input, slope and intercept of the segments between two inputs."""
    starts = [low, *genes.points]
    ends = [*genes.points, 1 << 30]
    rows = zip(starts, ends, genes.slopes, genes.intercepts, strict=True)
    return [(max(a, start), s, c) for a, b, s, c in rows if max(a, start) < min(b, end)]


class _Start(Sampling):
    def __init__(self, genes: Sequence[Genes]) -> None:
        super().__init__()
        self.genes = genes

    def _do(self, problem: Problem, n_samples: int, **kwargs: Any) -> Array:
        return _column(self.genes[:n_samples])


class _Cross(Crossover):
    def __init__(self, editor: Editor) -> None:
        super().__init__(2, 2, prob=1.0)
        self.editor = editor

    def _do(self, problem: Problem, X: Array, **kwargs: Any) -> Array:
        children = np.empty_like(X)
        for k in range(X.shape[1]):
            a, b = X[0, k, 0], X[1, k, 0]
            children[0, k, 0] = self.editor.cross(a, b)
            children[1, k, 0] = self.editor.cross(b, a)
        return children


class _Mutate(Mutation):
    def __init__(self, editor: Editor) -> None:
        super().__init__(prob=1.0)
        self.editor = editor

    def _do(self, problem: Problem, X: Array, **kwargs: Any) -> Array:
        return _column([self.editor.mutate(genes) for genes in X[:, 0]])


class _Equal(ElementwiseDuplicateElimination):
    def is_equal(self, a: Any, b: Any) -> bool:
        return bool(a.X[0] == b.X[0])


def _column(genes: Sequence[Genes]) -> Array:
    column = np.empty((len(genes), 1), object)
    column[:, 0] = genes
    return column


#: Offspring that are looked at for each that is measured.
_OFFSPRING = 8


def pareto(
    function: Function,
    *,
    scale: int,
    in_bits: int = 8,
    out_bits: int = 8,
    generations: int = 12,
    pop_size: int = 36,
    seed: int = 0,
    start: Sequence[Genes] | None = None,
    progress: Progress | None = None,
) -> list[Candidate]:
    """The front of error against cells of fixed units of a function, by NSGA-II.

    Objectives: log10 of the mean squared error of the output codes over protocol R, and cells by
    Yosys. `pop_size` evaluations at the start, a third of that in each of `generations`; offspring
    whose guard breaks are dropped, the others screened by predicted cells. Deterministic by `seed`.

    Parameters
    ----------
    start : genes to choose the first generation from, the rest of which competes with offspring
        later; by default :func:`exact_genes`; an empty list for a random first generation

    Returns the front of all that was measured, fewest cells first. Raises :class:`InputError` for
    widths, a scale, a population that cannot be, or when Yosys is missing.
    """
    for name, value, least in (("generations", generations, 0), ("pop_size", pop_size, 4)):
        if value < least:
            raise InputError(f"{name}: {shown(value)} is not at least {least}")
    target = Target.of(function, scale, in_bits, out_bits)
    meter = explore(target, generations, pop_size, seed, start, progress)
    return front(meter.known.values())


def explore(
    target: Target,
    generations: int,
    pop_size: int,
    seed: int,
    start: Sequence[Genes] | None = None,
    progress: Progress | None = None,
) -> Meter:
    """:func:`pareto`, with all that it measured."""
    rng, batch = np.random.default_rng([seed, 3]), max(1, pop_size // 3)
    editor, screen, meter = Editor(target, rng), _Screen(target), Meter(target, progress)
    pool = list(exact_genes(target, progress) if start is None else start)
    first = [genes for genes, _ in screen.choose(pool, pop_size)]
    tries = 0
    while len(set(first)) < pop_size and tries < 50 * pop_size:
        tries += 1
        if screen.look(genes := editor.random()) is not None:
            first.append(genes)
    first = list(dict.fromkeys(first))
    algorithm = NSGA2(
        pop_size=pop_size,
        n_offsprings=_OFFSPRING * batch,
        sampling=_Start(first),
        crossover=_Cross(editor),
        mutation=_Mutate(editor),
        eliminate_duplicates=_Equal(),
    )
    problem = Problem(n_var=1, n_obj=2, vtype=object)
    algorithm.setup(problem, seed=seed, verbose=False, termination=("n_gen", generations + 1))
    for generation in range(generations + 1):
        if progress:
            done = front(meter.known.values())
            progress(
                f"{target.function.name}: generation {generation}, {meter.count} measured, "
                f"front of {len(done)}"
            )
        offspring = [row[0] for row in algorithm.ask().get("X")]
        # What the exact method has left competes with the offspring all the time.
        count = batch if generation else pop_size
        pairs = screen.choose([*offspring, *pool], count, meter.known.values(), meter.known)
        cells: dict[Genes, Candidate] = {}
        for (one, _), candidate in zip(pairs, meter.measure(pairs), strict=True):
            if one not in cells or candidate.cells < cells[one].cells:
                cells[one] = candidate
        if not cells:
            break
        taken = Population.new(X=_column(list(cells)))
        values = np.array([(np.log10(max(c.mse, 1e-300)), c.cells) for c in cells.values()])
        algorithm.evaluator.eval(StaticProblem(problem, F=values), taken)
        algorithm.tell(infills=taken)
    return meter
