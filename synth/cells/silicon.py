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
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from ...model.errors import InputError
from ...model.leftovers import scratch
from .. import cache as kept
from ..area import _ABC
from ..rtlil import Design
from ..yosys import Job, Progress, Tool, run
from ..yosys import find as find_yosys
from . import liberty
from .gates import CYCLES, LANES, SEED, WARM, Netlist, Rates, Stimulus
from .liberty import Library

#: Transitions a cycle on every net, of the power that :attr:`Silicon.even_mw` tells.
EVEN = 0.1
#: Flip-flops that must share an enable to get a clock gate, which is as large as one of them.
_GATED = 3

# What the generic cells are made by, up to the mapping itself.
_PREPARE = _ABC.removesuffix("&get -n\n&dch -f\n&nf\n&put\n")
_SIZE = "topo; upsize {D}; dnsize {D}\n"
_MAPPERS = {
    "nf": _PREPARE + "&get -n; &dch -f; &nf; &put\n" + _SIZE,
    "amap": _PREPARE + "dch -f; amap -m\n" + _SIZE,
}
_SCRIPT = """read_rtlil unit.il
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
_RECIPES = {
    "tree nf": ("", "nf"),
    "tree amap": ("", "amap"),
    "booth amap": ("booth", "amap"),
    "booth-low amap": ("booth -lowpower t:$mul r:A_SIGNED=1 %i\nbooth", "amap"),
}
_NAMES = tuple(_RECIPES)
_MULTIPLIER = re.compile(r"cell \$mul .*?\n  end", re.DOTALL)
_PORT = re.compile(r"^  wire .*?(?:input|output) (\d+)\s.*?\\(\S+)$", re.MULTILINE)
_ROM = re.compile(r"connect \\DATA \d+'[0x-]*1")
_BATCH = 12

_HEAD = """read_liberty cells.lib
read_verilog net.v
link_design top
create_clock -name clk -period {clock} {port}
set_input_delay 0 -clock clk [all_inputs]
set_output_delay 0 -clock clk [all_outputs]
"""
_POWER = """proc show {{name activity}} {{
  set_power_activity -global -activity $activity -duty 0.5
  puts "== $name"
  report_power -instances [get_cells *] -digits 7
  report_power -digits 7
}}
show still 0
show busy 1
foreach gate {{{gates}}} {{ set_disable_timing [get_cells $gate] }}
show off 0
"""
_OPENSTA = "apt-get install opensta, or set STA to it"


@dataclass(frozen=True)
class Power:
    """Milliwatts."""

    internal: float
    switching: float
    leakage: float

    @property
    def total(self) -> float:
        return self.internal + self.switching + self.leakage

    def __add__(self, other: "Power") -> "Power":
        return Power(
            self.internal + other.internal,
            self.switching + other.switching,
            self.leakage + other.leakage,
        )

    def times(self, factor: float) -> "Power":
        return Power(self.internal * factor, self.switching * factor, self.leakage * factor)


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
        design = Design(rtlil.convert(subject.component, name="top", emit_src=False))
        if any(_ROM.search(line) for m in design.modules.values() for line in m.lines):
            raise InputError("a memory that holds constants has no silicon area here")
        original = dict(_PORT.findall("\n".join(design.modules[design.top].lines)))
        unit = design.unit(design.top)
        # The top comes first; ports keep their numbers.
        there = dict(_PORT.findall(unit[: unit.index("\nend\n")]))
        return cls(
            unit, {name: there[number] for number, name in original.items()}, subject.stimulus
        )


@dataclass(frozen=True)
class Sta:
    """An OpenSTA that runs. path : the program; version : goes beside every number"""

    path: str
    version: str


@lru_cache
def _sta(path: str, modified: int) -> Sta:
    try:
        answer = subprocess.run(
            [path, "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
        version = answer.stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{path}: OpenSTA does not run ({error}); {_OPENSTA}") from None
    if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version):
        raise InputError(f"{path}: not an OpenSTA (it says {version[:60]!r}); {_OPENSTA}")
    return Sta(path, f"OpenSTA {version}")


def find_sta() -> Sta:
    """OpenSTA as ``$STA`` or ``sta`` names it. Raises :class:`InputError` when there is none."""
    wanted = os.environ.get("STA", "").strip() or "sta"
    path = shutil.which(wanted)
    if path is None:
        raise InputError(f"OpenSTA not found ({wanted}), without it no delay and power: {_OPENSTA}")
    return _sta(path, os.stat(path).st_mtime_ns)


def _recipes(unit: str) -> list[str]:
    """Names of the recipes that may differ on `unit`."""
    return list(_NAMES) if _MULTIPLIER.search(unit) else ["tree nf", "tree amap"]


@lru_cache
def script_hash() -> str:
    """Ten hex digits that change whenever the way of measuring does."""
    text = json.dumps(
        [
            _SCRIPT,
            _MAPPERS,
            _RECIPES,
            _GATED,
            _HEAD,
            _POWER,
            _DOUBLED,
            EVEN,
            SEED,
            LANES,
            WARM,
            CYCLES,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class _Netlist:
    recipe: str
    area: float
    sequential: float
    types: Mapping[str, int]
    document: str  # as Yosys' write_json gives it


def _netlist(tool: Tool, library: Library, recipe: str, outputs: Mapping[str, str]) -> _Netlist:
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
    return _Netlist(recipe, area, sequential, types, outputs["net.json"])


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


def _run_sta(sta: Sta, script: str, library: Path, verilog: str) -> str:
    with scratch() as root:
        try:
            Path(root, "cells.lib").symlink_to(library)
            Path(root, "net.v").write_text(verilog)
            Path(root, "script.tcl").write_text(script)
            done = subprocess.run(
                [sta.path, "-no_init", "-no_splash", "-exit", "script.tcl"],
                cwd=root,
                timeout=600,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise InputError(f"cannot run {sta.version}: {error.strerror or error}") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"{sta.version} took more than 600 s, it was stopped") from None
    # It goes on after errors and ends well.
    errors = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.startswith("Error") or ("not found" in line and "script.tcl" in line)
    ]
    if done.returncode or errors:
        reason = errors[0][:200] if errors else f"exit status {done.returncode}"
        raise InputError(f"{sta.version} failed: {reason}")
    return done.stdout


def _head(unit: _Unit, clock_ns: float) -> str:
    port = f"[get_ports {unit.names['clk']}]" if "clk" in unit.names else ""
    return _HEAD.format(clock=clock_ns, port=port)


def _delay(sta: Sta, unit: _Unit, net: _Netlist, library: Path, clock_ns: float) -> float:
    text = _run_sta(
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


#: OpenSTA 2.0 charges the energies of a rise and of a fall for each transition: a cell of 0.01 and
#: 0.03 pJ that toggles at 100 MHz takes 4 uW there, and 2 uW in truth.
_DOUBLED = "OpenSTA 2.0."
_FIGURES = r"\s+".join([r"(-?\d\S*)"] * 4)
_INSTANCE = re.compile(rf"^\s*{_FIGURES}\s+(\S+)\s*$", re.MULTILINE)
_TOTAL = re.compile(rf"^Total\s+{_FIGURES}\s+100\.0%$", re.MULTILINE)


def _energies(sta: Sta, text: str, names: Sequence[str]) -> dict[str, dict[str, Power]]:
    """Power of every instance in each of the reports of `_POWER`, checked against its total."""
    reports: dict[str, dict[str, Power]] = {}
    share = 0.5 if sta.version.startswith(_DOUBLED) else 1.0
    for name, body in re.findall(r"^== (\w+)$(.*?)(?=^== |\Z)", text, re.MULTILINE | re.DOTALL):
        rows = {
            row[4].replace("\\", ""): tuple(1e3 * float(v) for v in row[:4])
            for row in _INSTANCE.findall(body)
        }
        total = _TOTAL.search(body)
        sums = [sum(row[k] for row in rows.values()) for k in range(4)]
        wanted = [1e3 * float(v) for v in total.groups()] if total else []
        if (
            set(rows) != set(names)
            or not wanted
            or any(abs(a - b) > 1e-3 * wanted[3] for a, b in zip(sums, wanted, strict=True))
            or abs(sum(sums[:3]) - sums[3]) > 1e-3 * sums[3]
        ):
            raise InputError(f"{sta.version} wrote a report of power that does not add up")
        reports[name] = {
            instance: Power(row[0] * share, *row[1:3]) for instance, row in rows.items()
        }
    if set(reports) != {"still", "busy", "off"}:
        raise InputError(f"{sta.version} wrote no report of power that can be read")
    return reports


def _power(
    sta: Sta, unit: _Unit, net: _Netlist, library: Library, path: Path, clock_ns: float
) -> tuple[Power, Power]:
    """Under the stimulus, and with `EVEN` transitions on every net."""
    simulated = Netlist(net.document, library, unit.names)
    rates = simulated.rates(unit.stimulus)
    gates = " ".join(name for name in rates.toggles if name in simulated.gates)
    script = _head(unit, clock_ns) + _POWER.format(gates=gates)
    reports = _energies(
        sta, _run_sta(sta, script, path, _verilog(net.document)), list(rates.toggles)
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
        "recipe": _NAMES.index(silicon.recipe),
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
        _NAMES[values["recipe"]],
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
    keys, known, new = [], {}, {}
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
        if key in known or key in new:
            continue
        values = kept.load(key, _FIELDS + _STA_FIELDS if sta else _FIELDS)
        if values is None or values["recipe"] >= len(_NAMES):
            new[key] = unit
        else:
            known[key] = _restored(values, clock_ns)
    for key, silicon in _made(tool, sta, library, new, clock_ns, gated, progress):
        values = _stored(silicon)
        kept.store(key, values)
        known[key] = _restored(values, clock_ns)  # the same digits as from the cache
    return [known[key] for key in keys]


def _made(
    tool: Tool,
    sta: Sta | None,
    library: Library,
    units: Mapping[str, _Unit],
    clock_ns: float,
    gated: bool,
    progress: Progress | None,
) -> Iterator[tuple[str, Silicon]]:
    todo = [(key, recipe) for key, unit in units.items() for recipe in _recipes(unit.text)]
    gates = f"clockgate -liberty cells.lib -min_net_size {_GATED}" if gated else ""
    nets: dict[str, list[_Netlist]] = {}
    for start in range(0, len(todo), _BATCH):
        if progress:
            progress(f"Yosys: {len(todo) - start} netlists to make")
        batch = todo[start : start + _BATCH]
        jobs = [
            Job(
                f"module {start + number}",
                {
                    "unit.il": units[key].text,
                    "cells.lib": library.for_synthesis,
                    "map.abc": _MAPPERS[_RECIPES[recipe][1]],
                },
                _SCRIPT.format(
                    multipliers=_RECIPES[recipe][0], gates=gates, picoseconds=round(1000 * clock_ns)
                ),
                ("stat.json", "net.json"),
            )
            for number, (key, recipe) in enumerate(batch, 1)
        ]
        for (key, recipe), outputs in zip(batch, run(tool, jobs), strict=True):
            nets.setdefault(key, []).append(_netlist(tool, library, recipe, outputs))
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
    choices: Sequence[_Netlist],
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
