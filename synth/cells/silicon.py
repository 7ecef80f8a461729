"""Silicon area, delay and power of components in a standard-cell library.

Yosys maps a component to the cells of a Liberty file (:mod:`.liberty`) in several ways; what counts
is the smallest netlist that meets the clock, by the same ways for every component. OpenSTA gives
delay and energies. No wires, no clock tree, no loads outside: a netlist before placement.

Power: OpenSTA says what each instance takes when its output never toggles, toggles in each cycle,
and when its clock is off; it is linear in between. How often it toggles, and which clock gates are
open, is counted in a simulation of the netlist (:mod:`.gates`): probabilities that are propagated
gate by gate, as OpenSTA would, grow without bound in a multiplier. Glitches are not seen.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.lib import wiring

from ...model.errors import InputError
from ...model.leftovers import scratch
from .. import cache as kept
from ..constants import to_rtlil
from ..rtlil import Design
from ..yosys import Job, Progress, Tool, run
from ..yosys import find as find_yosys
from . import liberty
from .gates import Netlist, Rates, Stimulus
from .liberty import Library
from .mapping import (
    BATCH,
    EVEN,
    GATED,
    MAPPERS,
    NAMES,
    RECIPES,
    SCRIPT,
    MappedNetlist,
    _verilog,
    mapped_netlist,
    recipes_for,
    script_hash,
)
from .opensta import HEAD, POWER, Power, Sta, energies_of, find_sta, run_sta

_PORT = re.compile(r"^  wire .*?(?:input|output) (\d+)\s.*?\\(\S+)$", re.MULTILINE)
_ROM = re.compile(r"connect \\DATA \d+'[0x-]*1")


@dataclass(frozen=True)
class Silicon:
    """What a component is in silicon.

    area_um2 : of all cells; sequential_um2 : of flip-flops and clock gates
    cells, flip_flops : numbers of cells
    clock_ns : the period it was made for
    delay_ns : the shortest period at which it works; None without OpenSTA, as is power
    power : under the stimulus
    even : with `EVEN` transitions a cycle on every net that is no clock; gates as simulated
    recipe : which way of mapping gave it
    """

    area_um2: float
    sequential_um2: float
    cells: int
    flip_flops: int
    clock_ns: float
    recipe: str
    delay_ns: float | None = None
    power: Power | None = None
    even: Power | None = None

    @property
    def slack_ns(self) -> float | None:
        """Time left in a period, negative where it does not work at this clock."""
        return None if self.delay_ns is None else self.clock_ns - self.delay_ns

    @property
    def power_mw(self) -> float | None:
        return None if self.power is None else self.power.total


@dataclass(frozen=True)
class Subject:
    """A component to measure, and what its inputs see while its power is."""

    component: wiring.Component
    stimulus: Stimulus = field(default_factory=Stimulus)


@dataclass(frozen=True)
class _Unit:
    text: str
    names: Mapping[str, str]  # port -> its name in `text`
    stimulus: Stimulus

    @classmethod
    def of(cls, subject: Subject) -> "_Unit":
        design = Design(to_rtlil(subject.component, "top"))
        if any(_ROM.search(line) for m in design.modules.values() for line in m.lines):
            raise InputError("a memory that holds constants has no silicon area here")
        original = dict(_PORT.findall("\n".join(design.modules[design.top].lines)))
        unit = design.unit(design.top)
        # The top comes first; ports keep their numbers.
        there = dict(_PORT.findall(unit[: unit.index("\nend\n")]))
        return cls(
            unit, {name: there[number] for number, name in original.items()}, subject.stimulus
        )


def _head(unit: _Unit, clock_ns: float) -> str:
    port = f"[get_ports {unit.names['clk']}]" if "clk" in unit.names else ""
    return HEAD.format(clock=clock_ns, port=port)


def _delay(sta: Sta, unit: _Unit, net: MappedNetlist, library: Path, clock_ns: float) -> float:
    text = run_sta(
        sta,
        _head(unit, clock_ns) + "report_worst_slack -digits 6\n",
        library,
        _verilog(net.document),
    )
    slack = re.search(r"^worst slack (\S+)$", text, re.MULTILINE)
    if slack and slack[1] == "INF":
        return 0.0
    try:
        return max(0.0, clock_ns - float(slack[1]))  # type: ignore[index]
    except (TypeError, ValueError):
        raise InputError(f"{sta.version} reported no slack: {text.strip()[-100:]}") from None


def _power(
    sta: Sta, unit: _Unit, net: MappedNetlist, library: Library, path: Path, clock_ns: float
) -> tuple[Power, Power]:
    """Under the stimulus, and with `EVEN` transitions on every net."""
    simulated = Netlist(net.document, library, unit.names)
    rates = simulated.rates(unit.stimulus)
    gates = " ".join(name for name in rates.toggles if name in simulated.gates)
    script = _head(unit, clock_ns) + POWER.format(gates=gates)
    reports = energies_of(
        sta, run_sta(sta, script, path, _verilog(net.document)), list(rates.toggles)
    )
    return _total(reports, rates, None), _total(reports, rates, EVEN)


def _total(reports: Mapping[str, Mapping[str, Power]], rates: Rates, even: float | None) -> Power:
    total = Power(0, 0, 0)
    for name, toggles in rates.toggles.items():
        still, off, busy = (reports[kind][name] for kind in ("still", "off", "busy"))
        clocked = rates.clocked[name]
        rate = even if even is not None else toggles
        total += still.times(clocked) + off.times(1 - clocked)
        total += (busy + still.times(-1)).times(rate)
    return total


_FIELDS = ("area", "sequential", "cells", "flip_flops", "recipe")
_STA_FIELDS = (
    "delay",
    *(
        f"{kind}_{part}"
        for kind in ("power", "even")
        for part in ("internal", "switching", "leakage")
    ),
)
#: Of what is kept in integers: 1e-6 um2, fs, 1e-12 mW.
_AREA, _TIME, _MILLIWATT = 1e6, 1e6, 1e12


def _stored(silicon: Silicon) -> dict[str, int]:
    values = {
        "area": round(silicon.area_um2 * _AREA),
        "sequential": round(silicon.sequential_um2 * _AREA),
        "cells": silicon.cells,
        "flip_flops": silicon.flip_flops,
        "recipe": NAMES.index(silicon.recipe),
    }
    if silicon.delay_ns is not None and silicon.power and silicon.even:
        values["delay"] = round(silicon.delay_ns * _TIME)
        for kind, power in (("power", silicon.power), ("even", silicon.even)):
            for part in ("internal", "switching", "leakage"):
                values[f"{kind}_{part}"] = round(getattr(power, part) * _MILLIWATT)
    return values


def _restored(values: Mapping[str, int], clock_ns: float) -> Silicon:
    powers = {
        kind: Power(
            *(
                values[f"{kind}_{part}"] / _MILLIWATT
                for part in ("internal", "switching", "leakage")
            )
        )
        for kind in ("power", "even")
        if "delay" in values
    }
    return Silicon(
        values["area"] / _AREA,
        values["sequential"] / _AREA,
        values["cells"],
        values["flip_flops"],
        clock_ns,
        NAMES[values["recipe"]],
        values["delay"] / _TIME if "delay" in values else None,
        **powers,
    )


def measure_all(
    subjects: Sequence[Subject | wiring.Component],
    *,
    clock_ns: float = 20.0,
    gated: bool = True,
    path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[Silicon]:
    """Area, delay and power of each component; known ones from the cache.

    Parameters
    ----------
    clock_ns : the period that all are made for and run at
    gated : whether registers with an enable get clock gates; else flip-flops with an enable
    path : a Liberty file; found as :func:`.liberty.find` does when not given

    Without OpenSTA delay and power are None, and the smallest netlist counts whatever its delay.
    Raises :class:`InputError` for a clock that is none, without a library or Yosys, or when one of
    the tools fails.
    """
    if not 0 < clock_ns < 1e6:
        raise InputError(f"clock_ns: {clock_ns} is not within 0 to 1,000,000")
    clock_ns = float(clock_ns)
    tool, library = find_yosys(), liberty.find(path)
    try:
        sta: Sta | None = find_sta()
    except InputError:
        sta = None
    units = [_Unit.of(s if isinstance(s, Subject) else Subject(s)) for s in subjects]
    keys, measured, new = [], {}, {}
    for unit in units:
        key = hashlib.sha256(
            "\0".join(
                (
                    tool.version,
                    sta.version if sta else "",
                    script_hash(),
                    library.hash,
                    repr(clock_ns),
                    str(gated),
                    json.dumps(unit.names, sort_keys=True),
                    unit.stimulus.to_json(),
                    unit.text,
                )
            ).encode()
        ).hexdigest()
        keys.append(key)
        if key in measured or key in new:
            continue
        values = kept.load(key, _FIELDS + _STA_FIELDS if sta else _FIELDS)
        if values is None or values["recipe"] >= len(NAMES):
            new[key] = unit
        else:
            measured[key] = _restored(values, clock_ns)
    for key, silicon in _made(tool, sta, library, new, clock_ns, gated, progress):
        values = _stored(silicon)
        kept.store(key, values)
        measured[key] = _restored(values, clock_ns)  # the same digits as from the cache
    return [measured[key] for key in keys]


def _made(
    tool: Tool,
    sta: Sta | None,
    library: Library,
    units: Mapping[str, _Unit],
    clock_ns: float,
    gated: bool,
    progress: Progress | None,
) -> Iterator[tuple[str, Silicon]]:
    todo = [(key, recipe) for key, unit in units.items() for recipe in recipes_for(unit.text)]
    gates = f"clockgate -liberty cells.lib -min_net_size {GATED}" if gated else ""
    nets: dict[str, list[MappedNetlist]] = {}
    for start in range(0, len(todo), BATCH):
        if progress:
            progress(f"Yosys: {len(todo) - start} netlists to make")
        batch = todo[start : start + BATCH]
        jobs = [
            Job(
                f"module {start + number}",
                {
                    "unit.il": units[key].text,
                    "cells.lib": library.for_synthesis,
                    "map.abc": MAPPERS[RECIPES[recipe][1]],
                },
                SCRIPT.format(
                    multipliers=RECIPES[recipe][0], gates=gates, picoseconds=round(1000 * clock_ns)
                ),
                ("stat.json", "net.json"),
            )
            for number, (key, recipe) in enumerate(batch, 1)
        ]
        for (key, recipe), outputs in zip(batch, run(tool, jobs), strict=True):
            nets.setdefault(key, []).append(mapped_netlist(tool, library, recipe, outputs))
    with scratch() as root:
        path = Path(root, "cells.lib")
        if sta and units:
            path.write_text(library.text)
        for number, (key, choices) in enumerate(nets.items(), 1):
            if progress and sta:
                progress(f"OpenSTA: {number} of {len(nets)} modules")
            yield key, _best(sta, units[key], choices, library, path, clock_ns)


def _best(
    sta: Sta | None,
    unit: _Unit,
    choices: Sequence[MappedNetlist],
    library: Library,
    path: Path,
    clock_ns: float,
) -> Silicon:
    """The smallest netlist that meets the clock, else the fastest."""
    choices = sorted(choices, key=lambda net: net.area)
    best = choices[0]
    delay = power = even = None
    if sta:
        delays: list[float] = []
        for net in choices:
            delays.append(_delay(sta, unit, net, path, clock_ns))
            if delays[-1] <= clock_ns:
                break
        delay = delays[-1] if delays[-1] <= clock_ns else min(delays)
        best = choices[delays.index(delay)]
        power, even = _power(sta, unit, best, library, path, clock_ns)
    flops = sum(n for name, n in best.types.items() if library.cell(name).clock)
    return Silicon(
        best.area,
        best.sequential,
        sum(best.types.values()),
        flops,
        clock_ns,
        best.recipe,
        delay,
        power,
        even,
    )


def silicon_if_available(
    components: Sequence[wiring.Component], progress: Progress | None = None
) -> list[Silicon] | None:
    """:func:`measure_all` at its defaults, or None where no cell library is at hand."""
    try:
        liberty.find()
    except InputError:
        return None
    return measure_all(components, progress=progress)
