"""Mapping a whole network to the cells of a Liberty library, memories included."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...model.errors import InputError
from .. import cache
from ..cells.latches import SYNTH, latch_cells
from ..cells.liberty import CLOCK_GATE, Library
from ..cells.roms import grouped
from ..yosys import Job, Progress, run
from ..yosys import find as find_yosys
from .fan_out import FAN_OUT, buffer_cell, buffered, cell_area

#: Flip-flops that must share an enable to get a clock gate, which is as large as one of them.
GATED = 3
#: ABC's commands: those that Yosys gives it for a Liberty file, then buffers in its own logic, and
#: smaller cells where there is time.
_SIZED = " -script +strash;&get,-n;&fraig,-x;&put;scorr;dc2;dretime;strash;&get,-n;"
_SIZED += f"&dch,-f;&nf;&put;buffer,-N,{FAN_OUT};topo;dnsize"
#: Constants become logic and state flip-flops with multiplexers to read them; resets become logic,
#: since the flip-flops that are simulated here have none. Two ways to map multipliers.
_SCRIPT = """read_rtlil unit.il
{roms}hierarchy -check -top {top}
{synth}
dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01
opt_clean
{gates}
dfflibmap -liberty cells.lib
abc -liberty cells.lib{sized}
setundef -zero
opt_clean -purge
tee -q -o stat.json stat -liberty cells.lib -json
write_json net.json
"""


@dataclass(frozen=True)
class Mapped:
    """A flat netlist of library cells.

    top : name of the module
    area_um2, sequential_um2 : of all cells; of flip-flops and clock gates
    types : cell -> number
    document : the netlist as Yosys' ``write_json`` gives it
    """

    top: str
    area_um2: float
    sequential_um2: float
    types: Mapping[str, int]
    document: str = field(repr=False)
    library: Library = field(repr=False)
    yosys_version: str

    @property
    def cells(self) -> int:
        return sum(self.types.values())

    @property
    def flip_flops(self) -> int:
        return sum(n for name, n in self.types.items() if self.library.cell(name).clock)

    @property
    def latches(self) -> int:
        return sum(n for name, n in self.types.items() if self.library.cell(name).latch)

    @property
    def clock_gates(self) -> int:
        return sum(n for name, n in self.types.items() if self.library.cell(name).gated)

    @cached_property
    def pulse_gates(self) -> frozenset[str]:
        """Cells of :attr:`document` that open latches."""
        opens = set()
        for cell in self.module["cells"].values():
            if latch := self.library.cell(cell["type"]).latch:
                opens.add(cell["connections"][latch[0]][0])
        return frozenset(
            name
            for name, cell in self.module["cells"].items()
            for pin in self.library.cell(cell["type"]).outputs
            if cell["connections"].get(pin, [None])[0] in opens
        )

    @cached_property
    def module(self) -> dict[str, Any]:
        """Ports, cells and names of nets, as in :attr:`document`."""
        return json.loads(self.document)["modules"][self.top]

    @cached_property
    def net_names(self) -> dict[int | str, str]:
        """Number of a net -> a name that is a plain Verilog identifier, from the source where the
        net has one there; nets of ports are not in it."""
        names: dict[int | str, str] = {}
        taken: set[str] = {*self.module["ports"], "clk"}
        ports = {bit for port in self.module["ports"].values() for bit in port["bits"]}
        listed = sorted(
            self.module["netnames"].items(), key=lambda item: (item[1]["hide_name"], len(item[0]))
        )
        for name, net in listed:
            for place, bit in enumerate(net["bits"]):
                if isinstance(bit, str) or bit in ports or bit in names:
                    continue
                if net["hide_name"]:
                    plain = f"n{bit}"
                else:
                    plain = re.sub(r"\W+", "_", name).strip("_") or "n"
                    plain = f"n_{plain}" if plain[0].isdigit() else plain
                    plain += f"_{place}" if len(net["bits"]) > 1 else ""
                while plain in taken:
                    plain += "_"
                taken.add(plain)
                names[bit] = plain
        return names

    @cached_property
    def instances(self) -> dict[str, str]:
        """Cell of :attr:`document` -> its name in :attr:`verilog`: a flip-flop bears the name of
        the net that it drives, others are numbered."""
        names: dict[str, str] = {}
        taken: set[str] = {*self.net_names.values(), *self.module["ports"]}
        for number, (name, cell) in enumerate(self.module["cells"].items()):
            kind = self.library.cell(cell["type"])
            plain = f"u{number}"
            if kind.clock:
                driven = [cell["connections"][pin][0] for pin in kind.outputs]
                plain = next(
                    (f"r_{self.net_names[n]}" for n in driven if n in self.net_names), plain
                )
            while plain in taken:
                plain += "_"
            taken.add(plain)
            names[name] = plain
        return names

    @cached_property
    def verilog(self) -> str:
        """The netlist as structural Verilog: ports, wires, instances, and ``assign`` of constants
        and of nets that leave by two ports."""
        names: dict[int | str, str] = {"0": "1'b0", "1": "1'b1", "x": "1'b0", **self.net_names}
        head, body = [], []
        ports = self.module["ports"]
        for name, port in sorted(ports.items(), key=lambda item: item[1]["direction"]):
            bits = port["bits"]
            range_ = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
            head.append(f"  {port['direction']} {range_}{name};")
            for place, bit in enumerate(bits):
                there = f"{name}[{place}]" if len(bits) > 1 else name
                if bit in names:  # inputs come first, so this is an output
                    body.append(f"  assign {there} = {names[bit]};")
                else:
                    names[bit] = there
        for name, cell in self.module["cells"].items():
            pins = []
            for pin, (bit,) in cell["connections"].items():
                # A pin that nothing reads has a net without a name.
                pins.append(f".{pin}({names.setdefault(bit, f'n{bit}')})")
            body.append(f"  {cell['type']} {self.instances[name]} ({', '.join(pins)});")
        wires = {name for name in names.values() if name.isidentifier()} - {*ports}
        lines = [f"module {self.top} ({', '.join(ports)});", *head]
        lines += [f"  wire {name};" for name in sorted(wires)]
        return "\n".join([*lines, *body, "endmodule", ""])


def map_design(
    text: str,
    top: str,
    library: Library,
    *,
    gated: bool = False,
    latches: bool = False,
    progress: Progress | None = None,
) -> Mapped:
    """The netlist of RTLIL `text` in the cells of `library`, by the recipe that makes it smaller;
    from the cache where it was made before. Nets of many inputs are buffered
    (:mod:`.fan_out`).

    gated : whether registers and memory words with an enable get clock gates
    latches : whether memories that are written are latches (:mod:`..cells.latches`)

    Raises :class:`InputError` without Yosys or where it fails, and for a library without a clock
    gate that Yosys takes, or a latch, where one is needed.
    """
    if gated and CLOCK_GATE not in library.text:
        raise InputError(f"{library.source}: it has no clock gate, leave out clock gating")
    tool, cells = find_yosys(), latch_cells(library) if latches else None
    more: dict[str, str] = cells.files(gated=gated) if cells else {}
    # ROMs are written as rows and columns that share ORs: what Yosys makes of them is larger.
    text, written = grouped(text)
    more |= {"roms.v": written} if written else {}
    words = "\0".join((text, *more.values(), *([SYNTH] if cells else [])))
    key = mapping_key(words, library, gated=gated, version=tool.version)
    cached = _cached(key)
    if cached is None:
        sized = _SIZED if buffer_cell(library) else ""
        read = "read_verilog roms.v\n" if written else ""
        gates = f"clockgate -liberty cells.lib -min_net_size {GATED}" if gated else ""
        files = {"unit.il": text, "cells.lib": library.for_synthesis, **more}

        def synth(booth: str) -> str:
            options = f"{booth} -flatten -top {top}"
            return cells.synth(options) if cells else f"synth {options}"

        jobs = [
            Job(
                "the netlist",
                files,
                _SCRIPT.format(top=top, roms=read, synth=synth(booth), gates=gates, sized=sized),
                ("stat.json", "net.json"),
            )
            for booth in ("", "-booth")
        ]
        if progress:
            progress("Mapping to cells")
        results = run(tool, jobs, timeout=3600, progress=progress)
        cached = min(results, key=lambda out: _read(out, top, library, tool.version).area_um2)
        cache.store_text(key, _packed(cached))
    return _read(cached, top, library, tool.version)


def _packed(outputs: Mapping[str, str]) -> str:
    """Yosys' outputs as a short text."""
    return base64.b64encode(zlib.compress(json.dumps(dict(outputs)).encode())).decode()


def _cached(key: str) -> dict[str, str] | None:
    """What :func:`_packed` kept under `key`, None where there is nothing sound."""
    text = cache.load_text(key)
    return None if text is None else json.loads(zlib.decompress(base64.b64decode(text)))


def _read(outputs: Mapping[str, str], top: str, library: Library, version: str) -> Mapped:
    try:
        stat = json.loads(outputs["stat.json"])["design"]
        types = {name: int(n) for name, n in stat["num_cells_by_type"].items()}
        types.pop("$scopeinfo", None)
        area, sequential = float(stat["area"]), float(stat.get("sequential_area", 0))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{version} wrote no statistic that can be read ({error})") from None
    odd = [name for name in types if name not in library]
    if odd:
        raise InputError(
            f"{version} left cells that {library.name} does not have: {' '.join(odd)[:100]}"
        )
    document, buffers = buffered(outputs["net.json"], top, library)
    for name, number in buffers.items():
        types[name] = types.get(name, 0) + number
        area += number * cell_area(library, name)
    return Mapped(top, area, sequential, types, document, library, version)


def mapping_key(text: str, library: Library, *, gated: bool, version: str) -> str:
    """Changes with everything that the result of :func:`map_design` depends on."""
    words = (
        "netlist",
        version,
        library.hash,
        str(gated),
        _SCRIPT,
        _SIZED,
        str(FAN_OUT),
        str(GATED),
        text,
    )
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
