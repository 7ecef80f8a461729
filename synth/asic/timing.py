"""Timing and energy of a netlist, by OpenSTA."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...model.errors import InputError, number_within
from ...model.leftovers import scratch
from ..cells.opensta import POWER, Power, Sta, energies_of, run_sta
from .mapping import Mapped
from .simulation import Activity

#: Share of the period that is left to what lies before an input and behind an output.
OUTSIDE = 0.2


def check_clock(clock_ns: float) -> float:
    """A period in ns, checked. Raises :class:`InputError` where it is none."""
    number_within("clock", clock_ns, 0.01, 1e6)
    return clock_ns


def constraints(mapped: Mapped, clock_ns: float) -> str:
    """Design constraints (SDC): the clock, and what inputs and outputs leave of it to others."""
    ports = mapped.module["ports"]
    sides: dict[str, list[str]] = {"input": [], "output": []}
    for name, port in ports.items():
        if name not in ("clk", "aclk"):
            sides[port["direction"]].append(name)
    clock = next(name for name in ("clk", "aclk") if name in ports)
    delay = f"{OUTSIDE * clock_ns:g}"
    return "\n".join(
        [
            f"create_clock -name clk -period {clock_ns:g} [get_ports {clock}]",
            *(
                f"set_{side}_delay {delay} -clock clk [get_ports {{{name}{_all(ports[name])}}}]"
                for side in ("input", "output")
                for name in sides[side]
            ),
            "",
        ]
    )


def _all(port: Mapping[str, Any]) -> str:
    return "[*]" if len(port["bits"]) > 1 else ""


@dataclass(frozen=True)
class Timing:
    """Of the longest path. start, end : its ends; slack_ns : negative if too slow"""

    clock_ns: float
    slack_ns: float
    start: str
    end: str
    version: str

    def to_json(self) -> dict[str, Any]:
        return {
            "clock_ns": self.clock_ns,
            "slack_ns": round(self.slack_ns, 3),
            "longest_path": [self.start, self.end],
            "opensta": self.version,
        }


def _script(mapped: Mapped, clock_ns: float) -> str:
    return (
        "read_liberty cells.lib\nread_verilog net.v\n"
        f"link_design {mapped.top}\n{constraints(mapped, clock_ns)}"
    )


def _with_library(mapped: Mapped, sta: Sta, script: str) -> str:
    with scratch() as root:
        path = Path(root, "cells.lib")
        path.write_text(mapped.library.text)
        return run_sta(sta, script, path, mapped.verilog)


def timing(mapped: Mapped, sta: Sta, clock_ns: float) -> Timing:
    """Slack of `mapped` at a clock: no wires, no clock tree."""
    script = _script(mapped, clock_ns) + "report_checks -digits 4\nreport_worst_slack -digits 6\n"
    text = _with_library(mapped, sta, script)
    slack = re.search(r"^worst slack (-?[\d.]+)$", text, re.MULTILINE)
    ends = [re.search(rf"^{what}point: (\S+)", text, re.MULTILINE) for what in ("Start", "End")]
    if slack is None or None in ends:
        raise InputError(f"{sta.version} reported no slack: {text.strip()[-100:]}")
    start, end = (match[1] for match in ends if match)
    return Timing(clock_ns, float(slack[1]), start, end, sta.version)


@dataclass(frozen=True)
class Energy:
    """Energy of a netlist while it works on real sequences, pJ a clock cycle.

    clocking : of flip-flops and clock gates by their clock alone
    data : of what changes: all other internal and switching energy
    leakage : at this clock
    cycles : of a sequence, from its first feature to its last output
    """

    clocking: float
    data: float
    leakage: float
    cycles: int
    clock_ns: float
    version: str

    @property
    def total(self) -> float:
        return self.clocking + self.data + self.leakage

    def to_json(self) -> dict[str, Any]:
        return {
            "pj_per_cycle": round(self.total, 3),
            "uj_per_inference": round(self.total * self.cycles * 1e-6, 6),
            "cycles_per_inference": self.cycles,
            "clocking_share": round(self.clocking / self.total, 4),
            "clocking_pj_per_cycle": round(self.clocking, 3),
            "data_pj_per_cycle": round(self.data, 3),
            "leakage_pj_per_cycle": round(self.leakage, 5),
            "clock_ns": self.clock_ns,
            "opensta": self.version,
        }


def energy(mapped: Mapped, sta: Sta, activity: Activity, clock_ns: float) -> Energy:
    """Energy of `mapped` under `activity`: no wires, no clock tree, no glitches.

    OpenSTA says what each instance takes when its output never changes, changes in each cycle, and
    when its clock is off; it is linear in between, and the simulation says where between. OpenSTA
    2.0's own propagation of activities grows without bound in multipliers and is not used, and its
    internal energies are halved, which it charges twice (:data:`..cells.silicon._DOUBLED`).
    """
    names = mapped.instances
    library, cells = mapped.library, mapped.module["cells"]
    pulses = mapped.pulse_gates
    gates = [
        names[n] for n, cell in cells.items() if library.cell(cell["type"]).gated or n in pulses
    ]
    script = _script(mapped, clock_ns) + POWER.format(gates=" ".join(gates))
    reports = energies_of(sta, _with_library(mapped, sta, script), list(names.values()))
    clocking, total = Power(0, 0, 0), Power(0, 0, 0)
    for name, instance in names.items():
        still, busy, off = (reports[kind][instance] for kind in ("still", "busy", "off"))
        clocked = activity.clocked[name]
        idle = still.times(clocked) + off.times(1 - clocked)
        clocking += idle
        total += idle + (busy + still.times(-1)).times(activity.toggles[name])
    by_clock = clocking.internal + clocking.switching
    return Energy(
        by_clock * clock_ns,
        (total.internal + total.switching - by_clock) * clock_ns,
        total.leakage * clock_ns,
        activity.cycles,
        clock_ns,
        sta.version,
    )
