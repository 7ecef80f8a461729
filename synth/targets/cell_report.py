"""A report on a network in standard cells: um^2 of each module's logic and of each memory."""

from dataclasses import dataclass
from typing import Any

from ...hdl.gru.design import Design as NetworkDesign
from ...model.errors import InputError
from ..cells import liberty
from ..cells.latches import latch_cells
from ..cells.liberty import Library
from ..rtlil import Design
from ..verilog import emit_rtlil
from ..yosys import Progress
from ..yosys import find as find_yosys
from .cell_memories import LARGE, macros_for
from .cell_pieces import Kind, Piece, memory_modules, part_design, pieces_of
from .report import module_parts
from .sky130 import Cost, measure


@dataclass(frozen=True)
class Memory:
    """A memory of the network.

    kind : ``rom`` or ``ram``
    um2 : as standard cells
    latched_um2 : the same as latches, where it is written and the library has some
    macros, macro : the static RAM that would hold it
    """

    name: str
    kind: Kind
    words: int
    width: int
    um2: float
    latched_um2: float | None = None

    @property
    def bits(self) -> int:
        return self.words * self.width

    @property
    def estimated(self) -> bool:
        """Whether `um2` is told by a model, not measured."""
        return self.kind == "ram" and self.bits > LARGE

    @property
    def latches_um2(self) -> float:
        """As latches, where it is written and they are smaller there."""
        return self.um2 if self.latched_um2 is None else min(self.um2, self.latched_um2)

    @property
    def sram_um2(self) -> float:
        number, macro = macros_for(self.words, self.width)
        return number * macro.area_um2


@dataclass(frozen=True)
class Row:
    """A module's logic without its memories; name and bits as in a report of an FPGA."""

    name: str
    bits: int | None
    logic: Cost


@dataclass(frozen=True)
class StandardCellReport:
    """A network in standard cells.

    rows : logic of each module
    memories : each memory
    whole : the logic of the network with the borders between modules dissolved
    held_by : what holds the bits, one of :data:`.cell_memories.MEMORIES`
    """

    rows: tuple[Row, ...]
    memories: tuple[Memory, ...]
    whole: Cost
    library: str
    yosys_version: str
    held_by: str = "flops"

    def _sum(self, kind: Kind) -> float:
        return sum(memory.um2 for memory in self.memories if memory.kind == kind)

    @property
    def totals(self) -> dict[str, float]:
        """Area of the network by what holds the bits."""
        return {
            "flops": self.whole.um2 + self._sum("rom") + self._sum("ram"),
            "latches": self.whole.um2 + sum(memory.latches_um2 for memory in self.memories),
            "sram": self.whole.um2 + sum(memory.sram_um2 for memory in self.memories),
        }

    @property
    def total_um2(self) -> float:
        """The area as the network is to be built."""
        return self.totals[self.held_by]

    def to_json(self) -> dict[str, Any]:
        bits = {k: sum(m.bits for m in self.memories if m.kind == k) for k in ("rom", "ram")}
        return {
            "target": "sky130",
            "library": self.library,
            "logic_um2": round(self.whole.um2, 1),
            "logic_sum_of_modules_um2": round(sum(row.logic.um2 for row in self.rows), 1),
            "rom_um2": round(self._sum("rom"), 1),
            "ram_um2": round(self._sum("ram"), 1),
            "total_um2": round(self.total_um2, 1),
            "memories_as": self.held_by,
            "total_with_latches_um2": round(self.totals["latches"], 1),
            "total_with_sram_macros_um2": round(self.totals["sram"], 1),
            "rom_um2_per_bit": round(self._sum("rom") / bits["rom"], 3) if bits["rom"] else None,
            "ram_um2_per_bit": round(self._sum("ram") / bits["ram"], 2) if bits["ram"] else None,
            "yosys": self.yosys_version,
            "modules": [
                {
                    "name": row.name,
                    "bits": row.bits,
                    "logic_um2": round(row.logic.um2, 1),
                    "flip_flops_um2": round(row.logic.ff_um2, 1),
                    "cells": row.logic.cells,
                    **{f"{name}_um2": round(um2, 1) for name, um2 in row.logic.by_recipe.items()},
                }
                for row in self.rows
            ],
            "memories": [
                {
                    "name": memory.name,
                    "kind": memory.kind,
                    "words": memory.words,
                    "width": memory.width,
                    "um2": round(memory.um2, 1),
                    "um2_per_bit": round(memory.um2 / memory.bits, 3),
                    **(
                        {"latches_um2": round(memory.latches_um2, 1)}
                        if memory.kind == "ram"
                        else {}
                    ),
                    **({"estimated": True} if memory.estimated else {}),
                    "sram_macros": macros_for(memory.words, memory.width)[0],
                    "sram_macro": macros_for(memory.words, memory.width)[1].name,
                    "sram_um2": round(memory.sram_um2, 1),
                }
                for memory in self.memories
            ],
        }


def _has_latches(library: Library) -> bool:
    try:
        latch_cells(library)
    except InputError:
        return False
    return True


def standard_cell_report(
    network: NetworkDesign,
    held_by: str = "flops",
    *,
    progress: Progress | None = None,
    library: Library | None = None,
) -> StandardCellReport:
    """Measure `network` in standard cells, those of `library` or of the one that is found;
    `held_by` says what holds its bits (:data:`.cell_memories.MEMORIES`).

    Raises :class:`InputError` without a Liberty file, or when Yosys is
    missing or fails, and for latches that a library has not.
    """
    library = library or liberty.find()
    if held_by == "latches":
        latch_cells(library)
    modules = module_parts(network)
    pieces = [
        (bits, piece)
        for name, bits, part in modules
        for piece in pieces_of(part_design(part), name)
    ]
    design = Design(emit_rtlil(network))
    whole = Piece("network", "logic", design.unit(design.top, outside=memory_modules(design)))
    rams = [piece.latched for _, piece in pieces if piece.kind == "ram"]
    rams = rams if _has_latches(library) else []
    flat, *costs = measure(
        [whole, *(piece for _, piece in pieces), *rams], progress, library=library, recipes=True
    )
    rows = [
        Row(piece.name, bits, cost)
        for (bits, piece), cost in zip(pieces, costs[: len(pieces)], strict=True)
        if piece.kind == "logic"
    ]
    latched = {piece.name: cost.um2 for piece, cost in zip(rams, costs[len(pieces) :], strict=True)}
    memories = [
        Memory(piece.name, piece.kind, *piece.shape, cost.um2, latched.get(piece.name))
        for (_, piece), cost in zip(pieces, costs[: len(pieces)], strict=True)
        if piece.kind != "logic"
    ]
    return StandardCellReport(
        tuple(rows), tuple(memories), flat, library.name, find_yosys().version, held_by
    )
