# amaranth: UnusedElaboratable=no
"""Placing and routing a network by nextpnr: clock frequency, and the critical path by operator.

A network has more ports than small packages have pins, so it is routed inside :class:`Shell`, which
feeds every input from a flip-flop and catches every output in one. Paths from and to the outside
count that way too.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError
from ...model.files import write_text
from ...model.genome import GENES
from ...model.leftovers import scratch
from .. import cache
from ..constants import to_rtlil
from ..yosys import Job, Progress
from ..yosys import find as find_yosys
from ..yosys import run as run_yosys
from . import tools
from .devices import Device

#: Frequency that the placer is asked for, MHz: above what a network reaches, so that it tries.
_FREQUENCY = {"ice40": "60", "ecp5": "150", "gowin": "150"}
_SEED = 1
_OPERATOR = re.compile(
    rf"layer\d+\.(?:{'|'.join(GENES)}|x_buffer|state|control)(?![a-z])|classifier|copy|fork|requantize|activation|loader"
)
_SCRIPT = """read_rtlil unit.il
{synth}
write_json net.json
"""


class Shell(wiring.Component):
    """`inner` with one pin for all of its inputs, and one for all of its outputs.

    Inputs are a shift register, outputs are folded into one; a flip-flop and at most one LUT for
    every bit of `inner`'s ports.

    Members
    -------
    serial : In(1); folded : Out(1)
    """

    def __init__(self, inner: wiring.Component) -> None:
        self.inner = inner
        super().__init__({"serial": In(1), "folded": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.core = self.inner
        before: Value = self.serial
        inputs: list[Any] = []
        outputs: list[Any] = []
        for _, member, signal in self.inner.signature.flatten(self.inner):
            (inputs if member.flow is In else outputs).append(Value.cast(signal))
        for bit in Cat(inputs):
            stage = Signal(reset_less=True)
            m.d.sync += stage.eq(before)
            m.d.comb += bit.eq(stage)
            before = stage
        for bit in Cat(outputs):
            stage = Signal(reset_less=True)
            m.d.sync += stage.eq(before ^ bit)
            before = stage
        m.d.comb += self.folded.eq(before)
        return m


@dataclass(frozen=True)
class Routed:
    """What nextpnr says of a placed and routed design.

    fmax_mhz : the greatest clock frequency
    utilisation : kind of cell -> (used, available), as nextpnr names them
    path : where the critical path spends its time, operator -> ns, in the order in which it
        passes them; wires count for the operator that drives them
    version : of nextpnr
    """

    fmax_mhz: float
    utilisation: Mapping[str, tuple[int, int]]
    path: Mapping[str, float]
    version: str

    def to_json(self) -> dict[str, Any]:
        return {
            "fmax_mhz": round(self.fmax_mhz, 2),
            "critical_path_ns": {name: round(ns, 3) for name, ns in self.path.items()},
            "utilisation": {
                name: {"used": used, "available": there}
                for name, (used, there) in self.utilisation.items()
                if used
            },
            "nextpnr": self.version,
        }


def operator_of(cell: str, prefix: str = "core.") -> str:
    """The operator that a cell belongs to by its hierarchical name, e.g. ``layer0.w_ir``."""
    name = cell.removeprefix("$nextpnr_").removeprefix(prefix)
    match = _OPERATOR.match(name)
    if match:
        return match[0]
    layer = re.match(r"layer\d+", name)
    return f"{layer[0]}, between operators" if layer else "outside"


def parse_report(text: str, version: str, prefix: str = "core.") -> Routed:
    """What nextpnr's ``--report`` wrote. Raises :class:`InputError` where it cannot be read."""
    try:
        report = json.loads(text)
        clocks = report["fmax"]
        # All logic has one clock; where a tool splits it the slowest counts.
        fmax = min(float(clock["achieved"]) for clock in clocks.values())
        used = {
            name: (int(row["used"]), int(row["available"]))
            for name, row in report["utilization"].items()
        }
        slowest: dict[str, Any] = max(
            (p for p in report["critical_paths"] if p["from"] == p["to"]),
            key=lambda p: sum(step["delay"] for step in p["path"]),
            default={"path": []},
        )
        path: defaultdict[str, float] = defaultdict(float)
        for step in slowest["path"]:
            path[operator_of(step["from"]["cell"], prefix)] += float(step["delay"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{version} wrote no report that can be read ({error})") from None
    return Routed(fmax, used, dict(path), version)


def route(
    device: Device,
    component: wiring.Component,
    about: str,
    progress: Progress | None = None,
    *,
    seed: int = _SEED,
) -> Routed:
    """Place and route `component` alone on `device`; a few seconds to a minute, cached by content.

    seed : of the placer

    Raises :class:`InputError` where it does not fit, or a tool is missing or fails.
    """
    yosys, nextpnr = find_yosys(), tools.find(device.nextpnr)
    text = to_rtlil(Shell(component), "top")
    options = [
        *device.nextpnr_options,
        *("--freq", _FREQUENCY[device.family], "--seed", str(seed), "--timing-allow-fail"),
    ]
    words = ("route", yosys.version, nextpnr.version, device.synth, _SCRIPT, repr(options), text)
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()
    report = cache.load_text(key)
    if report is None:
        if progress:
            progress(f"Synthesising for {device.name}")
        job = Job(about, {"unit.il": text}, _SCRIPT.format(synth=device.synth), ("net.json",))
        net = run_yosys(yosys, [job])[0]["net.json"]
        if progress:
            progress(f"Placing and routing for {device.name}")
        with scratch() as root:
            folder = Path(root)
            write_text(folder / "net.json", net)
            files = ["--json", "net.json", "--report", "report.json"]
            if device.pins:
                ports = zip(("clk", "rst", "serial", "folded"), device.pins, strict=True)
                pins = "".join(f'IO_LOC "{port}" {pin};\n' for port, pin in ports)
                write_text(folder / "pins.cst", pins)
                files += ["--vopt", "cst=pins.cst"]
            tools.run(nextpnr, [*options, *files], folder, about=f"{about} on {device.part}")
            try:
                report = (folder / "report.json").read_text()
            except OSError:
                raise InputError(f"{nextpnr.version} wrote no report of {about}") from None
        parse_report(report, nextpnr.version)
        cache.store_text(key, report)
    return parse_report(report, nextpnr.version)
