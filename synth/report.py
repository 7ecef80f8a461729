# amaranth: UnusedElaboratable=no
"""Areas of whole networks: a row for every operator, totals of many, the cheapest units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..hdl.gru.design import Design
from ..hdl.gru.layer import component_part
from ..hdl.operator import Part
from ..hdl.piecewise_linear import PiecewisePlan
from ..model.genome import GENES
from ..model.integer import Operator, PiecewiseLinear
from . import rtlil as texts
from .area import ModuleArea, Remote, _measure, measure
from .recipes import script_hash
from .verilog import emit_rtlil
from .yosys import Progress, find


@dataclass(frozen=True)
class OperatorArea:
    """A row of the report: an operator with its parameter memories, or what stands beside them.

    name : ``layer0.w_ir`` ..., ``layer0.control``, ``layer0.state``, ``classifier`` ...
    bits : the gene, None for what has none
    serves : the operators that a shared unit works for
    """

    name: str
    bits: int | None
    area: ModuleArea
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class AreaReport:
    """The area of a network.

    rows : all operators of all layers, then what else is there; disjoint and complete
    flat : the network as one module with the borders between operators dissolved, or None
    yosys_version, script : what measured it
    """

    rows: tuple[OperatorArea, ...]
    flat: ModuleArea | None
    yosys_version: str
    script: str

    @property
    def total(self) -> ModuleArea:
        """Sum of the rows."""
        return sum((row.area for row in self.rows), ModuleArea())

    def to_json(self) -> dict[str, object]:
        """A JSON-able record: totals, and one entry per row under ``operators``."""
        values = vars(self.total)
        flat = (
            {}
            if self.flat is None
            else {"cells_flat": self.flat.cells, "transistors_flat": self.flat.transistors}
        )
        return {
            **values,
            **flat,
            "yosys": self.yosys_version,
            "yosys_script": self.script,
            "operators": [
                {"name": row.name, "bits": row.bits, **vars(row.area)}
                | ({"serves": list(row.serves)} if row.serves else {})
                for row in self.rows
            ],
        }


def _parts(design: Design) -> list[tuple[str, int | None, list[Part]]]:
    """Rows of a network: name, gene, and the parts whose areas add up to it. Together they hold
    all of its logic and memories, each once; none of them is built."""
    rows: list[tuple[str, int | None, list[Part]]] = []
    genomes = design.model.genome.layers
    for number, (row, genes) in enumerate(zip(design.layers, genomes, strict=True)):
        parts = dict(row)
        for gene, bits in zip(GENES, genes, strict=True):
            # The operator, and its memories where it has some.
            of_gene = [name for name in parts if name == gene or name.startswith(f"{gene}_")]
            if of_gene:
                rows.append((f"layer{number}.{gene}", bits, [parts.pop(name) for name in of_gene]))
        rows += [(f"layer{number}.{name}", None, [part]) for name, part in parts.items()]
    plans = (*design.front, *design.back)
    for plan, (name, of_stage) in zip(plans, design.stages.items(), strict=True):
        parts = dict(of_stage)
        operator = [parts.pop(part) for part in ("dense", "weights", "biases")]
        rows.append((name, plan.layer.dense.weight_bits, operator))
        rows += [(f"{name}.{part}", None, [of]) for part, of in parts.items()]
    return [*rows, *((name, None, [part]) for name, part in design.rest.items())]


def area_report(
    design: Design,
    *,
    flat: bool = True,
    progress: Progress | None = None,
) -> AreaReport:
    """Measure `design`: a row for each operator of each layer, and for the rest.

    An operator's row holds its datapath and its parameter memories. ``control`` is a layer's
    sequencer, ``state`` its memory with the old state that waits for its unit. The sum is built
    from modules synthesised apart; with `flat` the whole is synthesised as one module too.
    Raises :class:`InputError` when Yosys is missing, too old or fails.
    """
    tool = find()
    parts = _parts(design)
    areas = iter(measure([part for _, _, row_parts in parts for part in row_parts], progress))
    rows = tuple(
        OperatorArea(
            name,
            bits,
            sum((next(areas) for _ in row_parts), ModuleArea()),
            design.serves.get(name, ()),
        )
        for name, bits, row_parts in parts
    )
    whole = None
    if flat:
        unit = texts.whole(emit_rtlil(design))
        whole = _measure([unit], ["the whole network"], progress)[0]
    return AreaReport(rows, whole, tool.version, script_hash())


def totals(
    designs: Iterable[Design],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    remote: Remote | None = None,
) -> list[ModuleArea]:
    """``area_report(..., flat=False).total`` of many networks. All that is new in any of them is
    synthesised together (see :func:`measure`)."""
    lists = [design.parts for design in designs]
    all_parts = [part for parts in lists for part in parts]
    areas = iter(measure(all_parts, progress, workers=workers, remote=remote))
    return [sum((next(areas) for _ in parts), ModuleArea()) for parts in lists]


def prepare(
    designs: Iterable[Design],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> None:
    """Measure all new modules of many networks together.

    Afterwards :func:`area_report` with ``flat=False`` finds everything in the cache.
    """
    totals(designs, progress, workers=workers)


def as_built(op: Operator) -> Part:
    """The component of an element-wise operator; a piecewise-linear unit in the form that a network
    of few lanes gives it, serial where that is smaller
    (:class:`~genogate.hdl.gru.schedule.Schedule`)."""
    serial = PiecewisePlan.of(op).digits()[-1] if isinstance(op, PiecewiseLinear) else 0
    return component_part(op, digit=serial)


def cheapest(
    groups: Sequence[Sequence[Operator]],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    remote: Remote | None = None,
) -> list[int]:
    """For each group of activation units, the index of the one with the fewest cells.

    They are measured :func:`as_built`. Fewer transistors decide between equals, then the order.
    All that is new in any group is synthesised together. A group of one needs no Yosys.
    """
    contested = [as_built(op) for group in groups if len(group) > 1 for op in group]
    where: dict[str, Any] = {"workers": workers, "remote": remote}
    areas = iter(measure(contested, progress, **where) if contested else [])
    costs = [[next(areas) for _ in group] if len(group) > 1 else [ModuleArea()] for group in groups]
    return [min(range(len(row)), key=lambda k: (row[k].cells, row[k].transistors)) for row in costs]
