"""The tables of networks in real parts: by the models of searches, and some placed and routed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genogate.model.files import read_json, write_json
from genogate.model.knobs import Knobs
from genogate.network import Network, build_network
from genogate.search.budget import Budget
from genogate.synth.hardware_hash import hardware_hash
from genogate.synth.rtlil import Design as Rtlil
from genogate.synth.targets import fpga, prices, route
from genogate.synth.targets.devices import DEVICES
from genogate.synth.targets.report import NAMES
from genogate.synth.verilog import emit_rtlil

FOLDER = Path("build/studies/targets")
TASKS = ("digits-row", "mnist-row", "kws4", "kws10")
#: Genomes of each task: by name, with knobs. Mixed ones were found by ``genogate experiment``
#: (``docs/data/experiment-*.json``): fewest cells within a point, of the size that is shipped.
MIXED: Mapping[str, tuple[str, Knobs]] = {
    "digits-row": ("4,4,4,3,3,3,3,5,6,3,3,8,8,8,7,5,4", Knobs(activation="table", input_bits=6)),
    "mnist-row": ("2,2,2,2,2,2,8,8,8,8,8,8,8,8,8,8,8", Knobs(activation="table")),
    "kws4": ("2,2,2,2,2,2,7,7,7,7,7,7,7,7,7,7,7", Knobs(activation="table")),
    "kws10": ("3,3,3,2,3,2,3,3,3,8,4,5,8,8,5,5,5", Knobs(activation="table", input_bits=6)),
}
UP5K, ECP5 = "ice40-up5k", "ecp5-25k"
#: Networks that are placed and routed with registers in each multiplication: task, genome, target.
PIPELINED = tuple(("digits-row", name, part) for name in ("INT8", "INT4") for part in (UP5K, ECP5))
PIPELINE = 2
#: Seconds from one step to the next, of tasks whose steps are frames of sound.
STEP_SECONDS = {"kws4": 0.02, "kws10": 0.02}
CLOCK_MHZ = 12

Say = Callable[[str], None]


class Pieces:
    """Pieces of a study, each measured once: what was measured before is read again.

    budget : text of the time that may be spent (:mod:`genogate.search.budget`), or None; a piece
        that takes longer than what is left, by the longest so far, is left out
    missing : names of the pieces that were left out
    """

    def __init__(self, folder: Path, budget: str | None, say: Say) -> None:
        self.folder, self.say = folder, say
        self._left, self._longest = Budget.of(budget), 0.0
        self.missing: list[str] = []

    def get(self, name: str, measured: Callable[[], Any]) -> Any:
        """What `measured` gives, or None where the budget has no time for it."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            if not self._left.allows(self._longest):
                self.missing.append(name)
                return None
            self.say(name)
            begin = time.monotonic()
            write_json(file, measured())
            self._longest = max(self._longest, time.monotonic() - begin)
        return read_json(file)


def genomes(task: str) -> Iterator[tuple[str, str, Knobs]]:
    """Name, genome and knobs of a task's networks."""
    yield "INT8", "int8", Knobs(activation="table")
    yield "INT4", "int4", Knobs(activation="table")
    yield "mixed", *MIXED[task]


def _network(task: str, name: str, say: Say, pipeline: int = 0) -> Network:
    genome, knobs = next((g, k) for n, g, k in genomes(task) if n == name)
    # As `genogate area --pipeline` has it, units of activations chosen by cells: tables are longer.
    knobs = Knobs(pipeline=pipeline) if pipeline else knobs
    return build_network(genome=genome, task=task, checkpoint=None, knobs=knobs, say=say)


def _whole(task: str, name: str, target: str, pipeline: int, say: Say) -> dict[str, Any]:
    """The network as one module on an FPGA."""
    rtlil = Rtlil(emit_rtlil(_network(task, name, say, pipeline).design))
    text = rtlil.unit(rtlil.top, contents=True)
    (whole,) = fpga.measure(DEVICES[target], [text], ["the whole network"], say)
    return vars(whole)


def _routed(task: str, name: str, target: str, pipeline: int, say: Say) -> dict[str, Any]:
    """The clock after place and route."""
    design = _network(task, name, say, pipeline).design
    outcome = route.route(DEVICES[target], design.component(), "the network", say)
    return {
        "task": task,
        "genome": name,
        "target": target,
        "pipeline": pipeline,
        "cycles_per_step": design.cycles_per_step,
        **outcome.to_json(),
    }


def _row(task: str, name: str, say: Say) -> dict[str, Any]:
    """A network in every target, by the models."""
    network = _network(task, name, say)
    design = network.design
    steps = network.task.x_test.shape[1]
    row: dict[str, Any] = {
        "task": task,
        "genome": name,
        "cycles_per_step": design.cycles_per_step,
        "steps": steps,
        **{target: prices.figures(target, design) for target in (UP5K, ECP5)},
        **{
            f"sky130 {kind}": prices.figures("sky130", design, kind)
            for kind in ("flops", "latches", "sram")
        },
    }
    row["uj_per_inference"] = round(row["sky130 flops"]["energy"] * steps / 1000, 4)
    if task in STEP_SECONDS:
        cycles = STEP_SECONDS[task] * CLOCK_MHZ * 1e6
        row["real_time_factor"] = round(cycles / design.cycles_per_step, 1)
    return row


def hardware() -> str:
    """Changes whenever hardware may: figures of other hardware are measured again, which is quick
    where what is emitted stayed the same, as tools' results are kept by content."""
    return hardware_hash()[:8]


def _clocks_of(rows: Sequence[Mapping[str, Any]], pieces: Pieces) -> list[dict[str, Any]]:
    """Networks that fit, routed: those of the issue's tasks, and some with a pipeline."""
    wanted = [
        (row["task"], row["genome"], target, 0)
        for row in rows
        for target in (UP5K, ECP5)
        if not prices.over(target, row[target])
    ]
    # The keyword spotter first: a budget may end before the last of them.
    wanted.sort(key=lambda network: network[0] != "kws10")
    wanted[:0] = [(*network, PIPELINE) for network in PIPELINED]
    routed = []
    for of in wanted:
        label = "-".join(map(str, (*of, hardware()))).lower()
        found = pieces.get(f"routed-{label}", lambda of=of: _routed(*of, pieces.say))
        whole = pieces.get(f"whole-{label}", lambda of=of: _whole(*of, pieces.say))
        routed += [found | (whole or {})] if found else []
    return routed


def measure(pieces: Pieces) -> dict[str, Any]:
    """All tables, as far as the budget goes."""
    rows = []
    for task in TASKS:
        for name, _, _ in genomes(task):
            label = f"{task}-{name.lower()}-{prices.version()}"
            found = pieces.get(label, lambda of=(task, name): _row(*of, pieces.say))
            rows += [found] if found else []
    routed = _clocks_of(rows, pieces)
    return {"rows": rows, "routed": routed, "energy_error": prices.errors("sky130")["energy"]}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def words(number: float | None) -> str:
    """A whole number with commas, or a dash."""
    return "-" if number is None else f"{number:,.0f}"


def _fits(target: str, figures: Mapping[str, float]) -> str:
    names = {"ebr": NAMES["ram"]} | NAMES
    excess = ", ".join(f"{names[n]} by {x:.0f}" for n, x in prices.over(target, figures).items())
    return f"**no**: {excess}" if excess else "yes"


def _fpgas(data: Mapping[str, Any]) -> list[str]:
    lines = []
    routed = {(r["task"], r["genome"], r["target"]): r for r in data["routed"] if not r["pipeline"]}
    for target in (UP5K, ECP5):
        device = DEVICES[target]
        limits = ", ".join(f"{number:,} {NAMES[name]}" for name, number in device.limits.items())
        rows = []
        for row in data["rows"]:
            figures = row[target]
            own = routed.get((row["task"], row["genome"], target), {})
            clock = own.get("fmax_mhz")
            rows.append(
                (
                    row["task"],
                    row["genome"],
                    words(figures["lut"]),
                    words(own.get("lut")),
                    *(words(figures[name]) for name in ("ff", "ebr", "dsp")),
                    _fits(target, figures),
                    f"{clock:.1f}" if clock else "-",
                    words(row["cycles_per_step"]),
                    row.get("real_time_factor", "-"),
                )
            )
        lines += [
            f"### {device.part}",
            "",
            f"It has {limits}.",
            "",
            *table(
                (
                    *("task", "genome", "LUTs", "LUTs whole", "flip-flops", "block RAMs"),
                    *("DSP", "fits"),
                    *("Fmax, MHz", "cycles a step", "real time"),
                ),
                rows,
            ),
        ]
    return [
        *lines,
        "LUTs and flip-flops are estimates, by the models that searches use, summed over modules. "
        "Block RAMs and DSP blocks follow from rules, which were exact on all that was measured. "
        "LUTs whole: what Yosys makes of the network as one module. Fmax: the highest clock after "
        "place and route by nextpnr, one seed. Real time: how many times faster than speech the "
        f"network is at {CLOCK_MHZ} MHz, with a step every 20 ms; digits and MNIST have no pace of "
        "their own. A dash: not measured, or not asked.",
        "",
        *_clocks(data),
    ]


def _clocks(data: Mapping[str, Any]) -> list[str]:
    """The networks that were routed, and where their time goes."""
    rows = [
        (
            row["target"],
            f"{row['task']} {row['genome']}",
            row["pipeline"],
            *(words(row.get(name)) for name in ("lut", "ff", "ram", "dsp")),
            f"{row['fmax_mhz']:.1f}",
            words(row["cycles_per_step"]),
            ", ".join(f"{n} {ns:.1f} ns" for n, ns in _longest(row)),
        )
        for row in data["routed"]
    ]
    return [
        "Networks that were placed and routed. Resources are those of the network as one module. "
        "With a pipeline activations are what `genogate area` chooses by default, without one they "
        "are tables. The critical path is told by the operators that it passes, the three slowest:",
        "",
        *table(
            (
                *("target", "network", "`--pipeline`", "LUTs", "flip-flops", "block RAMs", "DSP"),
                *("Fmax, MHz", "cycles a step", "critical path"),
            ),
            rows,
        ),
    ]


def _longest(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    return sorted(row["critical_path_ns"].items(), key=lambda item: -item[1])[:3]


def _cells(data: Mapping[str, Any]) -> list[str]:
    kinds = ("flops", "latches", "sram")
    off = data["energy_error"]
    rows = []
    for row in data["rows"]:
        flops = row["sky130 flops"]
        rows.append(
            (
                row["task"],
                row["genome"],
                *(words(flops[name]) for name in ("logic_um2", "rom_um2", "ram_um2")),
                *(words(row[f"sky130 {kind}"]["um2"]) for kind in kinds),
                f"{row['uj_per_inference']:.3g}",
                words(row["cycles_per_step"] * row["steps"]),
                row.get("real_time_factor", "-"),
            )
        )
    return [
        "### sky130",
        "",
        *table(
            (
                *("task", "genome", "logic", "ROM", "RAM", "um^2, flops", "latches", "SRAM"),
                *("uJ an inference", "cycles", "real time"),
            ),
            rows,
        ),
        "All um^2 are estimates. Constants are logic; `flops` and `latches` say what holds the "
        "state, and logic, ROM and RAM are the parts of the total with flip-flops. `SRAM`: all "
        "memories in whole macros. Energy of an inference: state as flip-flops, no clock gates, no "
        f"wires. Its model is off by {off['median_percent']} % in the median and "
        f"{off['worst_percent']} % at worst, on the {off['genomes']} netlists whose toggles were "
        f"counted. Real time at {CLOCK_MHZ} MHz, as above.",
        "",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    return [
        *_fpgas(data),
        *_cells(data),
        "No genome was trained by itself, and activations are tables. The mixed ones: "
        + "; ".join(
            f"{task} `{genome}`" + (f", {knobs.input_bits}-bit input" * (knobs.input_bits < 8))
            for task, (genome, knobs) in MIXED.items()
        )
        + ".",
        "",
    ]
