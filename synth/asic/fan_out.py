"""Buffers for what drives many inputs, put into a mapped netlist.

ABC buffers the nets of its own logic, not the outputs of registers: the address of constants
reaches hundreds of cells, which a flip-flop alone takes 10 ns to move. Clocks, and the pulses that
open latches, stay as they are: their trees belong to the layout.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...model.errors import InputError
from ..cells.liberty import Library

#: Pin of a cell -> its net, alone in a list.
Wires = dict[str, list[int | str]]
#: Inputs that an output drives at most.
FAN_OUT = 48
#: A pin's name, and its text up to the next pin.
_PIN = r'\bpin\s*\(\s*"?(\w+)"?\s*\)\s*\{((?:(?!\bpin\s*\().)*)'


@lru_cache(maxsize=4)
def buffer_cell(library: Library) -> tuple[str, str, str] | None:
    """Name, input and output of the smallest buffer that can drive :data:`FAN_OUT` inputs twice as
    large as its own; None where there is none."""
    fitting = []
    for name, text in library.cells.items():
        pins = dict(re.findall(_PIN, text, re.DOTALL))
        try:
            outputs = library.cell(name).outputs
        except InputError:
            continue
        if len(pins) != 2 or len(outputs) != 1 or not set(outputs) < set(pins):
            continue
        ((y, function),) = outputs.items()
        (a,) = set(pins) - {y}
        if function == f"{{{a}}}":
            most = _number(pins[y], "max_capacitance")
            if most is None or most >= 2 * FAN_OUT * (_number(pins[a], "capacitance") or 0):
                fitting.append((cell_area(library, name), name, a, y))
    return min(fitting)[1:] if fitting else None


def _number(text: str, attribute: str) -> float | None:
    match = re.search(rf'\b{attribute}\s*:\s*"?([\d.eE+-]+)', text)
    return float(match[1]) if match else None


def cell_area(library: Library, name: str) -> float:
    """um^2 of a cell."""
    return _number(library.cells[name], "area") or 0.0


def buffered(document: str, top: str, library: Library) -> tuple[str, dict[str, int]]:
    """`document`, a netlist as Yosys' ``write_json`` gives it, with trees of buffers where an
    output has more than :data:`FAN_OUT` inputs; and the cells that were added."""
    buffer = buffer_cell(library)
    if buffer is None:
        return document, {}
    name, a, y = buffer
    design = json.loads(document)
    module = design["modules"][top]
    sinks, fixed = _sinks(module, library)
    bits = [bit for net in module["netnames"].values() for bit in net["bits"]]
    bits += [bit for cell in module["cells"].values() for (bit,) in cell["connections"].values()]
    fresh = max((bit for bit in bits if isinstance(bit, int)), default=1) + 1
    added = 0
    for net, pins in sinks.items():
        if net in fixed or isinstance(net, str):
            continue
        while len(pins) > FAN_OUT:
            groups = -(-len(pins) // FAN_OUT)
            above: list[tuple[Wires, str]] = []
            for k in range(groups):
                connections: Wires = {a: [net], y: [fresh]}
                for cell, pin in pins[k::groups]:
                    cell[pin] = [fresh]
                module["cells"][f"$fan_out${added}"] = {
                    "hide_name": 1,
                    "type": name,
                    "port_directions": {a: "input", y: "output"},
                    "connections": connections,
                }
                above.append((connections, a))
                fresh, added = fresh + 1, added + 1
            pins = above
    return (json.dumps(design), {name: added}) if added else (document, {})


def _sinks(
    module: Mapping[str, Any], library: Library
) -> tuple[dict[int | str, list[tuple[Wires, str]]], set[int | str]]:
    """Net -> connections and pin of each input on it; and the nets that are clocks or pulses."""
    sinks: dict[int | str, list[tuple[Wires, str]]] = defaultdict(list)
    fixed: set[int | str] = set()
    for cell in module["cells"].values():
        kind, wires = library.cell(cell["type"]), cell["connections"]
        clocks = {kind.clock, kind.latch[0] if kind.latch else None}
        if kind.gated:
            clocks |= {kind.gated, library.clock_pin(cell["type"])}
        for pin, (bit,) in wires.items():
            if pin in clocks:
                fixed.add(bit)
            elif pin not in kind.outputs:
                sinks[bit].append((wires, pin))
    return sinks, fixed
