"""Standard cells by Yosys: scripts, and the netlists that they give."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ...model.errors import InputError
from ..recipes import ABC_SCRIPT
from ..yosys import Tool
from .gates import CYCLES, LANES, SEED, WARM
from .liberty import Library
from .opensta import DOUBLED, HEAD, POWER

#: Transitions a cycle on every net, of the power that :attr:`Silicon.even_mw` tells.
EVEN = 0.1

#: Flip-flops that must share an enable to get a clock gate, which is as large as one of them.
GATED = 3
# What the generic cells are made by, up to the mapping itself.
_PREPARE = ABC_SCRIPT.removesuffix("&get -n\n&dch -f\n&nf\n&put\n")
_SIZE = "topo; upsize {D}; dnsize {D}\n"
MAPPERS = {
    "nf": _PREPARE + "&get -n; &dch -f; &nf; &put\n" + _SIZE,
    "amap": _PREPARE + "dch -f; amap -m\n" + _SIZE,
}
SCRIPT = """read_rtlil unit.il
hierarchy -check -top top
proc -norom
flatten
memory -nomap
memory_map
opt_expr
opt_clean
opt
wreduce
peepopt
opt_clean
{multipliers}
alumacc
maccmap
opt -full
techmap
opt
{gates}
dfflibmap -liberty cells.lib
abc -liberty cells.lib -script map.abc -D {picoseconds}
opt_clean -purge
rename -enumerate -pattern u%
tee -q -o stat.json stat -liberty cells.lib -json
write_json net.json
"""
#: Ways of mapping: what is done with multipliers, and the mapper. A tree of adders is the fastest,
#: Booth's encoding smaller, and its second architecture slower and smaller again.
RECIPES = {
    "tree nf": ("", "nf"),
    "tree amap": ("", "amap"),
    "booth amap": ("booth", "amap"),
    "booth-low amap": ("booth -lowpower t:$mul r:A_SIGNED=1 %i\nbooth", "amap"),
}
NAMES = tuple(RECIPES)
_MULTIPLIER = re.compile(r"cell \$mul .*?\n  end", re.DOTALL)
BATCH = 12


def recipes_for(unit: str) -> list[str]:
    """Names of the recipes that may differ on `unit`."""
    return list(NAMES) if _MULTIPLIER.search(unit) else ["tree nf", "tree amap"]


@lru_cache
def script_hash() -> str:
    """Ten hex digits that change whenever the way of measuring does."""
    text = json.dumps(
        [
            SCRIPT,
            MAPPERS,
            RECIPES,
            GATED,
            HEAD,
            POWER,
            DOUBLED,
            EVEN,
            SEED,
            LANES,
            WARM,
            CYCLES,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class MappedNetlist:
    recipe: str
    area: float
    sequential: float
    types: Mapping[str, int]
    document: str  # as Yosys' write_json gives it


def mapped_netlist(
    tool: Tool, library: Library, recipe: str, outputs: Mapping[str, str]
) -> MappedNetlist:
    try:
        stat = json.loads(outputs["stat.json"])["design"]
        types = {name: int(number) for name, number in stat["num_cells_by_type"].items()}
        area, sequential = float(stat["area"]), float(stat["sequential_area"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{tool.version} wrote no statistic that can be read ({error})") from None
    odd = [name for name in types if name not in library]
    if odd:
        raise InputError(
            f"{tool.version} left cells that {library.name} does not have: {' '.join(odd)[:100]}"
        )
    return MappedNetlist(recipe, area, sequential, types, outputs["net.json"])


def _verilog(document: str) -> str:
    """Verilog of a netlist in JSON, for OpenSTA: its reader takes neither all that Yosys writes,
    such as signed ports and concatenations on the left, nor JSON."""
    (module,) = json.loads(document)["modules"].values()
    names: dict[int | str, str] = {"0": "1'b0", "1": "1'b1", "x": "1'b0"}
    head, body, wires = [], [], []
    for name, port in sorted(module["ports"].items(), key=lambda item: item[1]["direction"]):
        bits = port["bits"]
        head.append(f"{port['direction']} [{len(bits) - 1}:0] {name};")
        for k, bit in enumerate(bits):
            if bit in names:  # inputs come first, so this is an output
                body.append(f"assign {name}[{k}] = {names[bit]};")
            else:
                names[bit] = f"{name}[{k}]"
    for name, cell in module["cells"].items():
        pins = []
        for pin, (bit,) in cell["connections"].items():
            if bit not in names:
                names[bit] = f"w{bit}"
                wires.append(f"wire w{bit};")
            pins.append(f".{pin}({names[bit]})")
        body.append(f"{cell['type']} {name} ({', '.join(pins)});")
    ports = ", ".join(module["ports"])
    return "\n".join([f"module top ({ports});", *head, *wires, *body, "endmodule", ""])
