"""Figures of a target measured by Yosys, part by part, for the end of a search."""

from collections.abc import Iterable, Sequence
from typing import Any

from ...hdl.gru.design import Design
from ...hdl.operator import Part
from ..yosys import Progress
from . import cell_memories, cell_pieces, energy, fpga, sky130
from .devices import DEVICES
from .stores import memories_of


def measure_parts(
    target: str,
    parts: Sequence[Part],
    memories: str = "flops",
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[dict[str, float]]:
    """Figures of each part, as :func:`.prices.figures` has them. What was ever measured comes from
    the cache; equal texts are synthesised once."""
    if target in DEVICES:
        names = [part.about for part in parts]
        rows = fpga.measure(DEVICES[target], parts, names, progress, workers)
        return [{"lut": r.lut, "ff": r.ff, "ebr": r.ram, "dsp": r.dsp} for r in rows]
    owners: list[tuple[int, cell_pieces.Piece, float | None]] = []
    pieces = []
    for number, part in enumerate(parts):
        for piece in cell_pieces.pieces_of(cell_pieces.part_design(part), part.about):
            # A macro is known by its size.
            if memories == "sram" and piece.kind != "logic":
                costs = cell_memories.macros_for(*piece.shape)
                owners.append((number, piece, costs[0] * costs[1].area_um2))
                continue
            owners.append((number, piece, None))
            latched = piece.kind == "ram" and memories == "latches"
            pieces.append(piece.latched if latched else piece)
    measured = iter(sky130.measure(pieces, progress, workers))
    areas = [{"logic_um2": 0.0, "rom_um2": 0.0, "ram_um2": 0.0} for _ in parts]
    for number, piece, area in owners:
        um2 = next(measured).um2 if area is None else area
        areas[number][f"{piece.kind}_um2"] += um2
    return [{"um2": sum(row.values()), **row} for row in areas]


def key_of(part: Part) -> tuple[Any, ...]:
    """What tells the figures of a part: its identity, and what its memories hold."""
    contents = [tuple(store.words) for store in memories_of(part) if store.words is not None]
    return (part.identity, *contents)


def measure(
    target: str,
    designs: Iterable[Design],
    memories: str = "flops",
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Figures of many networks, each the sum over its parts; all that is new in any of them is
    synthesised together. Raises :class:`InputError` where Yosys or the cells are missing."""
    networks = list(designs)
    lists = [[(key_of(part), part) for part in design.parts] for design in networks]
    distinct = {key: part for rows in lists for key, part in rows}
    rows = measure_parts(target, list(distinct.values()), memories, progress, workers)
    by_key = dict(zip(distinct, rows, strict=True))
    totals = []
    for design, parts in zip(networks, lists, strict=True):
        total: dict[str, float] = {}
        for key, _ in parts:
            for name, value in by_key[key].items():
                total[name] = total.get(name, 0) + value
        if target == "sky130":
            # Energy by its model, from areas that were measured.
            areas = {name: value for name, value in total.items() if name != "um2"}
            total = energy.sky130_figures(design, areas, memories)
        totals.append(energy.rounded(target, total))
    return totals


def version(target: str) -> str:
    """Changes whenever figures of `target` may for the same Yosys: scripts, cells and libraries."""
    if target in DEVICES:
        return fpga.version(DEVICES[target])
    return sky130.version()
