"""Standard cells: um^2 of every operator's logic, and of every memory by its kind.

Logic is what is left of a module when its memories are taken out. A memory is

* constants: logic that Yosys makes of the real contents (``rom``), written as a memory or as rows
  and columns that share ORs (:mod:`..cells.roms`), whichever is smaller;
* state, and weights that are loaded: flip-flops with logic to write and to read them (``ram``),
  or latches (:mod:`..cells.latches`); large ones are told by a model of small ones
  (:data:`.cell_memories.LARGE`);
* or, in place of either, static RAM as a macro: whole macros only, of the sizes that OpenRAM's
  LEF files for sky130 have; one that holds constants must be loaded after reset. This figure is
  approximate: it counts footprints, without the space that a floor plan keeps around a macro.

:mod:`.cell_pieces` takes a network apart, here the pieces are measured, and :mod:`.cell_report`
puts the figures together. Any Liberty file will do (:mod:`..cells.liberty` says where it is looked
for); macros are sky130's.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...model.errors import InputError
from .. import cache
from ..cells import liberty, roms
from ..cells.latches import MAP_TEXT, SYNTH, latch_cells
from ..cells.liberty import Library
from ..yosys import Job, Progress, Tool, run
from ..yosys import find as find_yosys
from .cell_memories import FLOP, LARGE, MACROS, latch_um2
from .cell_pieces import Piece
from .memories import flip_flop_um2

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
        "ff_um2": round(bits * FLOP * 1e4),
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
