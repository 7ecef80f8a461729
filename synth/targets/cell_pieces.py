"""A network for standard cells in pieces that are synthesised alone: logic, and each memory."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ...hdl.operator import Part
from ..constants import to_rtlil
from ..rtlil import Design, is_written, memory_sizes

Kind = Literal["logic", "rom", "ram", "latches"]


@dataclass(frozen=True)
class Piece:
    """Something to synthesise alone: its kind, and its RTLIL (:meth:`.rtlil.Design.unit`)."""

    name: str
    kind: Kind
    text: str

    @property
    def shape(self) -> tuple[int, int]:
        """Words and width, of a memory."""
        return memory_sizes(self.text.splitlines())[0]

    @property
    def latched(self) -> "Piece":
        """A written memory as latches."""
        return replace(self, kind="latches")


def memory_modules(design: Design) -> dict[str, Kind]:
    """Modules of `design` that are a memory, and its kind."""
    kinds: dict[str, Kind] = {}
    for name, module in design.modules.items():
        if memory_sizes(module.lines):
            kinds[name] = "ram" if is_written(module.lines) else "rom"
    return kinds


def pieces_of(design: Design, name: str) -> Iterator[Piece]:
    """The logic of `design`, then each of its memories; `name` is for messages and rows."""
    memories = memory_modules(design)
    if design.top in memories:
        kind = memories[design.top]
        yield Piece(name, kind, design.unit(design.top, contents=True))
        return
    yield Piece(name, "logic", design.unit(design.top, outside=memories))
    for module, kind in memories.items():
        tail = module.rsplit(".", 1)[-1]
        yield Piece(f"{name}.{tail}", kind, design.unit(module, contents=True))


def part_design(part: Part) -> Design:
    """RTLIL of a part."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return Design(to_rtlil(part.build(), "top"))
    finally:
        if collects:
            gc.enable()
