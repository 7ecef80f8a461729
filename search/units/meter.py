"""Cells of units, predicted and measured by Yosys, and the front of both objectives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from ...hdl.units import shift_add_unit
from ...model.aliases import Say
from ...model.integer import PiecewiseLinear
from ...model.quantize.activations import unit_codes
from ...synth.area import measure, measure_deep
from .genes import Candidate, Genes
from .target import Target

#: Cells of nodes, adders, constants, gates (:class:`~genogate.hdl.units.shift_add_unit.Rough`) and
#: a constant, by least squares over 1098 measured forms of 230 exact tables (93 of others for
#: the last two). The forms it takes for the cheapest of the first six rank as Yosys ranks them
#: (Spearman 0.97), with 0.7 % more cells than the cheapest.
#: Multipliers are left out: one among the 230 units was smallest with one, by a single cell.
_WEIGHTS: dict[str, tuple[float, float, float, float, float]] = {
    "table": (1.2, 0, 0, 0, 0),
    "diagram": (1.33, 0, 0, 0, 0),
    "shift-add": (1.3, 3.02, 0, 0.24, 0),
    "lines": (0.35, 1.42, 0.57, 0.04, 64.7),
    "ramp": (1.28, 0, 3.22, 0.81, 0),
    "even": (1.47, 0, 4.65, 0.53, 0),
    "negated": (1.42, 0, 0, 0.3, 0),
    "mirrored": (1.3, 4.12, 5.03, 0.04, 0),
}


def predicted(unit: PiecewiseLinear) -> dict[str, float]:
    """Estimated cells of `unit` in each form without a multiplier, cheapest first."""
    cells = {}
    for form in shift_add_unit.forms(unit):
        core = next(word for word in form.split() if word != "odd")
        if core in _WEIGHTS:
            rough = shift_add_unit.rough(unit, form)
            counts = (rough.nodes, rough.adders, rough.constants, rough.gates, 1)
            cells[form] = float(np.dot(_WEIGHTS[core], counts))
    return dict(sorted(cells.items(), key=lambda item: item[1]))


class Meter:
    """Candidates from Yosys; each pair of genes and form is one evaluation, once.

    count : evaluations so far
    """

    def __init__(self, target: Target, progress: Say | None = None) -> None:
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
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.cells, c.mse)):
        if not best or candidate.mse < best[-1].mse:
            best.append(candidate)
    return best


def deepened(candidates: Sequence[Candidate], progress: Say | None = None) -> list[Candidate]:
    """The front of these, each with its cells where ABC takes its time."""
    units = [shift_add_unit.build(each.unit, each.form) for each in candidates]
    areas = measure_deep(units, progress)
    return front(
        replace(each, cells=area.cells) for each, area in zip(candidates, areas, strict=True)
    )


@dataclass
class Screen:
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
            prospect = None
            if self.target.safe(outputs) and self.target.mse(outputs) <= self.target.coarsest:
                by_form = predicted(unit)
                least = min(by_form.values())
                # As near as this the prediction cannot tell.
                prospect = (
                    self.target.mse(outputs),
                    {form: least for form, cells in by_form.items() if cells <= 1.06 * least},
                )
            self._known[genes] = prospect
        return self._known[genes]

    def choose(
        self,
        pool: Iterable[Genes],
        count: int,
        measured: Iterable[Candidate] = (),
        earlier: Iterable[tuple[Genes, str]] = (),
    ) -> list[tuple[Genes, str]]:
        """At most `count` new pairs of genes and form, best ranks first among those measured."""
        done = set(earlier)
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
        selected: list[tuple[Genes, str]] = []
        for rank in NonDominatedSorting().do(np.array(both)):
            members = sorted((int(k) for k in rank if k >= first), key=lambda k: both[k][::-1])
            room = count - len(selected)
            if len(members) > room:
                # Evenly along the rank.
                members = [members[k] for k in np.linspace(0, len(members) - 1, room).astype(int)]
            selected += [pairs[k - first] for k in members]
            if len(selected) >= count:
                break
        return selected
