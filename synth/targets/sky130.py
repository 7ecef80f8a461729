"""Standard cells: um^2 of every operator's logic, and of every memory by its kind.

Logic is what is left of a module when its memories are taken out. A memory is

* constants: logic that Yosys makes of the real contents (``rom``), written as a memory or as rows
  and columns that share ORs (:mod:`..cells.roms`), whichever is smaller;
* state, and weights that are loaded: flip-flops with logic to write and to read them (``ram``),
  or latches (:mod:`..cells.latches`); large ones are told by a model of small ones (:data:`LARGE`);
* or, in place of either, static RAM as a macro: whole macros only, of the sizes that OpenRAM's
  LEF files for sky130 have; one that holds constants must be loaded after reset. This figure is
  approximate: it counts footprints, without the space that a floor plan keeps around a macro.

Any Liberty file will do (:mod:`..cells.liberty` says where it is looked for); macros are sky130's.
"""

import gc
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...hdl.gru.design import Design as NetworkDesign
from ...hdl.operator import Part
from ...model.errors import InputError
from .. import cache
from ..cells import liberty, roms
from ..cells.latches import MAP_TEXT, SYNTH, latch_cells
from ..cells.liberty import Library
from ..constants import to_rtlil
from ..rtlil import Design
from ..verilog import emit_rtlil
from ..yosys import Job, Progress, Tool, run
from ..yosys import find as find_yosys
from .memories import flip_flop_um2
from .report import module_parts

Kind = Literal["logic", "rom", "ram", "latches"]

#: Two ways to map logic; the second has multipliers by Booth's encoding. The smaller counts.
_SYNTH = {"array": "synth -flatten -top top", "booth": "synth -booth -flatten -top top"}
_SCRIPT = """read_rtlil unit.il
hierarchy -check -top top
{synth}
dfflibmap -liberty cells.lib
abc -liberty cells.lib
opt_clean -purge
delete t:n*
tee -q -o stat.json stat -liberty cells.lib -json
"""
_ROM_SCRIPT = _SCRIPT.replace("read_rtlil unit.il", "read_verilog unit.v").replace(
    "abc -liberty cells.lib", "abc -liberty cells.lib -script rom.abc"
)
#: Layouts of a ROM that are tried, and bits from which it is not tried as a memory too: that takes
#: long, and more area.
_LAYOUTS, _MANY = 2, 8192
_MULTIPLIER = re.compile(r"cell \$mul ")
_MEMORY = re.compile(r"^  memory width (\d+) size (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Macro:
    """A static RAM of one read-write and one read port. area_um2 : width times height in its LEF"""

    name: str
    words: int
    width: int
    area_um2: float


#: OpenRAM's macros for sky130: the SIZE lines of the LEF files that
#: https://github.com/VLSIDA/sky130_sram_macros publishes, one folder a macro.
MACROS = (
    Macro("sky130_sram_1kbyte_1rw1r_8x1024_8", 1024, 8, 455.3 * 446.46),
    Macro("sky130_sram_1kbyte_1rw1r_32x256_8", 256, 32, 479.78 * 397.5),
    Macro("sky130_sram_2kbyte_1rw1r_32x512_8", 512, 32, 683.1 * 416.54),
)


def macros_for(words: int, width: int) -> tuple[int, Macro]:
    """Number and kind of the macros that hold a memory in the least area."""

    def number(macro: Macro) -> int:
        return math.ceil(words / macro.words) * math.ceil(width / macro.width)

    best = min(MACROS, key=lambda macro: number(macro) * macro.area_um2)
    return number(best), best


#: Bits of a written memory above which its flip-flops are told by :mod:`.prices`: synthesis of
#: thousands takes minutes.
LARGE = 2048
#: What holds the bits of a network: constants as logic and state as flip-flops; state as latches;
#: or everything in macros.
MEMORIES = ("flops", "latches", "sram")
#: um^2 of cells of sky130_fd_sc_hd: flip-flop, multiplexer, latch, clock gate (``dfxtp_1``,
#: ``mux2_1``, ``dlxtp_1``, ``dlclkp_1``).
_FLOP, _MUX, _LATCH, _GATE = 20.0192, 11.2608, 15.0144, 17.5168


def check_memories(target: str, memories: str) -> None:
    """Raises :class:`InputError` for what is no kind of memory, or not the target's."""
    if memories not in MEMORIES:
        raise InputError(f"memories {memories!r:.40}: not one of {' '.join(MEMORIES)}")
    if memories != "flops" and target != "sky130":
        raise InputError(
            f"--memories {memories}: for --target sky130; on {target} memories are what Yosys "
            "makes of them"
        )


def latch_um2(words: int, width: int, flops_um2: float) -> float:
    """Estimate of the area of a RAM as latches, from its area as flip-flops: a latch in place of
    every flip-flop and the multiplexer before it, and a clock gate a word."""
    saved = words * width * (_FLOP + _MUX - _LATCH)
    return max(words * width * _LATCH, flops_um2 - saved + words * _GATE)


@dataclass(frozen=True)
class Cost:
    """Standard cells of a module.

    um2, ff_um2, cells : area, that of flip-flops, and number of cells, by the smaller recipe
    by_recipe : um^2 by each recipe that was asked for (``array``, ``booth``); one has no multiplier
        where there is one recipe
    """

    um2: float
    ff_um2: float
    cells: int
    by_recipe: Mapping[str, float] = field(default_factory=dict)


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
    held_by : what holds the bits, one of :data:`MEMORIES`
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


@dataclass(frozen=True)
class Piece:
    """Something to synthesise alone: its kind, and its RTLIL (:meth:`.rtlil.Design.unit`)."""

    name: str
    kind: Kind
    text: str

    @property
    def shape(self) -> tuple[int, int]:
        """Words and width, of a memory."""
        (width, words), *_ = _MEMORY.findall(self.text)
        return int(words), int(width)

    @property
    def latched(self) -> "Piece":
        """A written memory as latches."""
        return replace(self, kind="latches")


def memory_modules(design: Design) -> dict[str, Kind]:
    """Modules of `design` that are a memory, and its kind."""
    kinds: dict[str, Kind] = {}
    for name, module in design.modules.items():
        if any(line.startswith("  memory ") for line in module.lines):
            written = any(line.startswith("  cell $memwr") for line in module.lines)
            kinds[name] = "ram" if written else "rom"
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


def _key(tool: Tool, library: Library, piece: Piece) -> str:
    words = ["cells", tool.version, library.hash, repr(_SYNTH), _SCRIPT, piece.text]
    if piece.kind == "latches":
        words += [SYNTH, *latch_cells(library).files(gated=False).values()]
    elif piece.kind == "rom":
        words += [str(roms.VERSION), roms.ABC, _ROM_SCRIPT, str((_LAYOUTS, _MANY))]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def version() -> str:
    """Changes whenever figures may for the same Yosys. Raises :class:`InputError` where no Liberty
    file is found."""
    words = [liberty.find().hash, repr(_SYNTH), _SCRIPT, repr(MACROS), SYNTH, MAP_TEXT]
    words += [str(roms.VERSION), roms.ABC]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:10]


def _cost(tool: Tool, library: Library, statistics: str) -> dict[str, int]:
    """Of what ``stat -liberty -json`` wrote: areas in 1e-4 um^2, so that they are integers."""
    try:
        design = json.loads(statistics)["design"]
        types: Mapping[str, int] = design.get("num_cells_by_type", {})
        # Yosys leaves the area out where there is no cell.
        area, ff = float(design.get("area", 0)), float(design.get("sequential_area", 0))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{tool.version} wrote no statistic that can be read ({error})") from None
    types = {name: number for name, number in types.items() if name != "$scopeinfo"}
    odd = [name for name in types if name not in library]
    if odd:
        raise InputError(
            f"{tool.version} left cells that {library.name} does not have: {' '.join(odd)[:100]}"
        )
    return {
        "um2": round(area * 1e4),
        "ff_um2": round(ff * 1e4),
        "cells": sum(int(number) for number in types.values()),
    }


def _large(piece: Piece) -> dict[str, int]:
    """As :func:`_cost`, of a large memory of flip-flops or latches."""
    bits, um2 = math.prod(piece.shape), flip_flop_um2(*piece.shape)
    if piece.kind == "latches":
        return {"um2": round(latch_um2(*piece.shape, um2) * 1e4), "ff_um2": 0, "cells": 0}
    return {
        "um2": round(um2 * 1e4),
        "ff_um2": round(bits * _FLOP * 1e4),
        "cells": 0,
    }


def recall(pieces: Sequence[Piece]) -> list[float | None]:
    """um^2 of pieces that were measured before, None for the others."""
    tool, library = find_yosys(), liberty.find()
    rows = [cache.load(_key(tool, library, piece), ("um2",)) for piece in pieces]
    return [None if row is None else row["um2"] / 1e4 for row in rows]


def _recipes(piece: Piece) -> tuple[str, ...]:
    """Names of the recipes that may differ on a piece."""
    if piece.kind == "rom":
        contents = roms.Contents.of(piece.text.splitlines())
        large = math.prod(piece.shape) >= _MANY
        count = len(roms.layouts(contents, _LAYOUTS)) if contents else 0
        names = tuple(f"layout{k}" for k in range(min(count, _LAYOUTS) if large else count))
        return names if names and large else ("array", *names)
    return ("array", "booth") if _MULTIPLIER.search(piece.text) else ("array",)


def _recipe_key(key: str) -> str:
    """Where the areas by each recipe are kept."""
    return hashlib.sha256(f"recipes {key}".encode()).hexdigest()


def _job(piece: Piece, recipe: str, library: Library) -> Job:
    """What Yosys does with a piece."""
    files = {"unit.il": piece.text, "cells.lib": library.for_synthesis}
    script, synth = _SCRIPT, _SYNTH.get(recipe, _SYNTH["array"])
    if piece.kind == "latches":
        cells = latch_cells(library)
        files |= cells.files(gated=False)
        synth = cells.synth("-flatten -top top")
    elif recipe.startswith("layout"):
        contents = roms.Contents.of(piece.text.splitlines())
        assert contents is not None
        layout = roms.layouts(contents, _LAYOUTS)[int(recipe.removeprefix("layout"))]
        del files["unit.il"]
        files |= {"unit.v": roms.verilog("top", contents, layout), "rom.abc": roms.ABC}
        script = _ROM_SCRIPT
    return Job(piece.name, files, script.format(synth=synth), ("stat.json",))


def _has_latches(library: Library) -> bool:
    try:
        latch_cells(library)
    except InputError:
        return False
    return True


def measure(
    pieces: Sequence[Piece],
    progress: Progress | None = None,
    workers: int | None = None,
    library: Library | None = None,
    *,
    recipes: bool = False,
) -> list[Cost]:
    """Cells of each piece by the recipe that makes it smallest; those met before from the cache.

    With `recipes` the area by each of them is known too, where there is more than one.
    Raises :class:`InputError` without a Liberty file or Yosys, or where Yosys fails.
    """
    tool, library = find_yosys(), library or liberty.find()
    keys = [_key(tool, library, piece) for piece in pieces]
    texts = dict(zip(keys, pieces, strict=True))
    costs: dict[str, dict[str, int]] = {}
    areas: dict[str, dict[str, int]] = {}
    jobs, owners = [], []
    for key, piece in texts.items():
        if piece.kind in ("ram", "latches") and math.prod(piece.shape) > LARGE:
            costs[key], areas[key] = _large(piece), {}
            continue
        values = cache.load(key, ("um2", "ff_um2", "cells"))
        names = _recipes(piece) if values is None or piece.kind == "logic" else ()
        both = cache.load(_recipe_key(key), names) if recipes and len(names) > 1 else {}
        if values is not None and both is not None:
            costs[key], areas[key] = values, both
            continue
        areas[key] = {}
        for recipe in names:
            jobs.append(_job(piece, recipe, library))
            owners.append((key, recipe))
    left = {key: len(_recipes(texts[key])) for key, _ in owners}

    def done(number: int, outputs: dict[str, str]) -> None:
        key, recipe = owners[number]
        cost = _cost(tool, library, outputs["stat.json"])
        areas[key][recipe] = cost["um2"]
        costs[key] = min(costs.get(key, cost), cost, key=lambda c: c["um2"])
        left[key] -= 1
        if not left[key]:
            cache.store(key, costs[key])
            if len(areas[key]) > 1:
                cache.store(_recipe_key(key), areas[key])

    run(tool, jobs, progress=progress, done=done, workers=workers)
    return [
        Cost(
            costs[key]["um2"] / 1e4,
            costs[key]["ff_um2"] / 1e4,
            costs[key]["cells"],
            {recipe: um2 / 1e4 for recipe, um2 in areas[key].items()},
        )
        for key in keys
    ]


def standard_cell_report(
    network: NetworkDesign,
    held_by: str = "flops",
    *,
    progress: Progress | None = None,
    library: Library | None = None,
) -> StandardCellReport:
    """Measure `network` in standard cells, those of `library` or of the one that is found;
    `held_by` says what holds its bits (:data:`MEMORIES`).

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
