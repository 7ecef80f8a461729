"""Denoisers in hardware: Verilog against golden over utterances, silicon by synthesis, FPGAs,
energy, and the clock of real time.

Networks are the shipped float network quantised for each genome: a training for a genome changes
what its weight memories hold, and little else of its hardware. Parts that are stored in
docs/data for the same network and Verilog are not measured again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.asic import AsicOptions, measured
from genogate.hdl.gru.design import Design
from genogate.model.denoise.bands import HOP, RATE
from genogate.model.denoise.task import NAME
from genogate.model.errors import InputError
from genogate.model.files import read_json, write_json
from genogate.network import Network, build_network
from genogate.search.budget import Budget
from genogate.search.ladder.steps import net_of
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.asic.mapping import map_design
from genogate.synth.cells import liberty
from genogate.synth.rtlil import Design as Rtlil
from genogate.synth.targets import cell_pieces, fpga, prices, sky130
from genogate.synth.targets.devices import DEVICES
from genogate.synth.targets.prices import figures
from genogate.synth.targets.report import module_parts
from genogate.synth.verilog import TOP, digest, emit, emit_rtlil
from genogate.synth.yosys import find as find_yosys

from .denoise import FOLDER, GENOMES, KNOBS, LAYERS, NARROWED

Say = Callable[[str], None]
#: Networks by name, and how many utterances go through the Verilog of each.
NETWORKS: dict[str, int] = {"INT8": 20, NARROWED: 0, "weights 2, rest 8": 0, "INT4": 0}
#: Utterances through the netlist of standard cells.
THROUGH_GATES = 8
#: FPGAs, those whose netlists Yosys maps, and the one that another's netlist is for as well.
FPGAS, MAPPED = ("ice40-up5k", "ecp5-25k", "ecp5-85k"), ("ice40-up5k", "ecp5-25k")
SAME = {"ecp5-85k": "ecp5-25k"}
FPGA_MHZ = 12
#: Frames a second.
FRAMES = RATE / HOP
#: Ways to share that are measured, and the part of a row that each of them is.
AREAS = {"none": "area", "all": "area shared"}
#: Files of results: of the study of few bits, and of this one.
FEW_BITS, DATA = Path("docs/data/denoise.json"), Path("docs/data/denoise_hardware.json")


@cache
def network_named(name: str) -> Network:
    """The shipped float network, quantised for a genome of the study of few bits."""
    knobs = KNOBS
    if name == NARROWED:
        net = net_of(np.array(read_json(FEW_BITS)["narrowed"]["row"]))
        knobs = replace(knobs, input_bits=net.input_bits, classifier_bits=net.classifier_bits)
        genome = str(net.genome)
    else:
        genome = ",".join(str(gene) for _ in range(LAYERS) for gene in GENOMES[name])
    return build_network(
        genome=genome, task=NAME, checkpoint=NAME, knobs=knobs, say=lambda text: None
    )


def design_of(name: str, share: str = "none") -> Design:
    """Its hardware."""
    return Design.of(network_named(name).model, share=share)


def _verilog(name: str, folder: Path, utterances: int) -> dict[str, Any]:
    """All codes of all operators, over utterances back to back, in Verilator."""
    network = network_named(name)
    x = network.task.x_test
    picked = np.linspace(0, len(x) - 1, utterances).astype(int)
    text = emit(network.design)
    report = simulate(
        network.model,
        text,
        network.model.quantize_input(x[picked]),
        out_dir=folder,
        scenarios=("back-to-back",),
        simulator="verilator",
        timeout_s=7200,
    )
    told = ("sequences", "steps", "codes", "cycles_per_step", "versions")
    row = {key: getattr(report, key) for key in told}
    return row | {"mismatches": len(report.mismatches), "sha256": digest(text)}


def _area(name: str, share: str, say: Say) -> dict[str, Any]:
    """um^2 by synthesis: logic with the borders between modules dissolved, and every memory."""
    hardware, library = design_of(name, share), liberty.find()
    design = Rtlil(emit_rtlil(hardware))
    whole = design.unit(design.top, outside=cell_pieces.memory_modules(design))
    pieces = [cell_pieces.Piece("network", "logic", whole)]
    for module, _, part in module_parts(hardware):
        kept = cell_pieces.pieces_of(cell_pieces.part_design(part), module)
        pieces += [piece for piece in kept if piece.kind != "logic"]
    costs = sky130.measure(pieces, say, 1, library)
    totals = {
        f"{kind}_um2": round(
            sum(cost.um2 for piece, cost in zip(pieces, costs, strict=True) if piece.kind == kind),
            1,
        )
        for kind in ("logic", "rom", "ram")
    }
    total = round(sum(totals.values()), 1)
    return {**totals, "total_um2": total, "library": library.name, "yosys": find_yosys().version}


def _energy(name: str, say: Say) -> dict[str, Any]:
    """Energy of the netlist with clock gates over the first frames of some utterances."""
    network = network_named(name)
    options = AsicOptions(gated=True, sequences=THROUGH_GATES)
    library = liberty.find(None)
    options.check()
    mapped = map_design(emit_rtlil(network.design), TOP, library, gated=True, progress=say)
    outcome = measured(network, mapped, options, say)
    if outcome["gate_level"]["mismatches"] or outcome["energy"] is None:
        raise InputError("the netlist differs from golden, or OpenSTA is not installed")
    return {
        "netlist_um2": outcome["netlist"]["um2"],
        "slack_ns": outcome["timing"]["slack_ns"],
        "energy": outcome["energy"],
    }


def _fpga(name: str, target: str, say: Say) -> dict[str, Any]:
    """Resources of the network as one module, which is what has to fit."""
    design = Rtlil(emit_rtlil(design_of(name)))
    text = design.unit(design.top, contents=True)
    (whole,) = fpga.measure(DEVICES[target], [text], ["the whole network"], say, 1)
    return {"whole": vars(whole), "yosys": find_yosys().version}


def _row(name: str) -> dict[str, Any]:
    """What is told of a network without measuring it."""
    network, shared = network_named(name), design_of(name, "all")
    told = figures("sky130", network.design)
    return {
        "name": name,
        "model_hash": network.model.hash,
        "digest": digest(emit(network.design)),
        "size": network.model.size_bits,
        "cycles": network.design.cycles_per_step,
        "model_nj": told["energy"],
        "model_um2": told["um2"],
        "models": {target: figures(target, network.design) for target in FPGAS},
        "shared": {
            "cycles": shared.cycles_per_step,
            **{f"model_{k}": figures("sky130", shared)[k] for k in ("um2", "energy")},
        },
    }


def _works(name: str, folder: Path, say: Say) -> dict[str, Callable[[], dict[str, Any]]]:
    """What there is to measure of a network, part by part."""
    works: dict[str, Callable[[], dict[str, Any]]] = {
        **{part: partial(_area, name, share, say) for share, part in AREAS.items()},
        **{target: partial(_fpga, name, target, say) for target in MAPPED},
        "energy": partial(_energy, name, say),
    }
    if utterances := NETWORKS[name]:
        place = folder / f"verilog-{name.replace(' ', '-')}"
        works["verilog"] = partial(_verilog, name, place, utterances)
    return works


def measure(
    say: Say, folder: Path = FOLDER, budget: str | None = None, data: Path = DATA
) -> dict[str, Any]:
    """Every part of every network that the budget has time for: ``{"rows": [...], "missing":
    [...]}``; what `folder`, or the stored `data`, has of the same network and Verilog is taken from
    there. Rows of other networks in `data` stay."""
    left, took, missing = Budget.of(budget), 0.0, []
    stored = {row["name"]: row for row in read_json(data)["rows"]} if data.exists() else {}
    rows, cases = {}, []
    for name in NETWORKS:
        row = rows[name] = _row(name)
        known = stored.get(name, {})
        for part, work in _works(name, folder, say).items():
            file = folder / f"hardware-{row['digest']}-{part.replace(' ', '-')}.json"
            if part in known and known.get("digest") == row["digest"] and not file.exists():
                write_json(file, known[part])
            cases.append((part, name, file, work))
    # The same part of all networks first.
    order = [MAPPED[0], AREAS["none"], *MAPPED[1:], AREAS["all"], "verilog", "energy"]
    for part, name, file, work in sorted(cases, key=lambda case: order.index(case[0])):
        if not file.exists() and not left.allows(took):
            missing.append(f"{name}: {part}")
            continue
        if not file.exists():
            start = time.monotonic()
            say(f"{name}: {part}")
            write_json(file, work())
            took = max(took, time.monotonic() - start)
        rows[name][part] = read_json(file)
    others = [row for name, row in stored.items() if name not in NETWORKS]
    return {
        "rows": [*rows.values(), *others],
        "missing": missing,
        "energy_error": prices.errors("sky130")["energy"],
    }


def energy_of_a_second(row: Mapping[str, Any]) -> tuple[float, float]:
    """Microjoules of a second of speech: what switches, by the cycles that it takes, and leakage
    for all of the second, since the clock of real time is slower than the one it was measured
    with."""
    spent = row["energy"]["energy"]
    cycles = row["cycles"] * FRAMES
    switching = (spent["clocking_pj_per_cycle"] + spent["data_pj_per_cycle"]) * cycles * 1e-6
    leakage = spent["leakage_pj_per_cycle"] * 1e-12 / (spent["clock_ns"] * 1e-9) * 1e6
    return switching, leakage


def _cells(row: Mapping[str, Any]) -> list[str]:
    verilog, area = row.get("verilog"), row.get("area")
    codes = "-" if verilog is None else f"{verilog['codes']:,}"
    utterances = "-" if verilog is None else str(verilog["sequences"])
    mismatches = "-" if verilog is None else str(verilog["mismatches"])
    kinds = ("logic_um2", "rom_um2", "ram_um2", "total_um2")
    silicon = ["-"] * 4 if area is None else [f"{area[kind]:,.0f}" for kind in kinds]
    energy = "-"
    if "energy" in row:
        switching, leakage = energy_of_a_second(row)
        energy = f"{switching:.1f} + {leakage:.2f}"
    return [
        row["name"],
        f"{row['size']:,}",
        utterances,
        codes,
        mismatches,
        *silicon,
        f"{row['model_um2']:,.0f}",
        energy,
        f"{row['model_nj'] * FRAMES / 1000:.1f}",
        *_pace(row["cycles"]),
    ]


def _pace(cycles: float) -> list[str]:
    """Cycles a frame, clock of real time, and real-time factor."""
    return [
        f"{cycles:,}",
        f"{cycles * FRAMES / 1e6:.2f}",
        # Two digits: below 1 the clock is too slow.
        f"{FPGA_MHZ * 1e6 / (cycles * FRAMES):.2g}",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    areas = [row["area"] for row in rows if "area" in row]
    tools = f"{areas[0]['library']}, {areas[0]['yosys']}" if areas else "not measured yet"
    off = data.get("energy_error")
    model = "the model"
    if off:
        model += (
            f" (off by {off['median_percent']:.1f} % in the median and {off['worst_percent']:.0f} "
            f"% at worst over the {off['genomes']} netlists that it knows)"
        )
    lines = [
        "## Speech enhancement: denoisers in hardware",
        "",
        "Networks of the [study of few bits](denoise.md), seed 0: the shipped float network "
        "quantised for each genome, without the training for it, which changes what the weight "
        "memories hold and little else of the hardware (widths of biases). A unit for each "
        "operator, one lane, activations as tables. Verilog: utterances of the test part (2 s "
        "each) in Verilator, every code of every operator at every frame against golden; rows "
        "called trained are of trained weights and a former run. Area of sky130 "
        f"({tools}): logic of the whole network and every memory by synthesis, constants as "
        "logic, state as flip-flops; beside "
        "it the model of the search. Energy of a second of speech: of the netlist with clock gates "
        f"by the activity of its simulation over the first frames of {THROUGH_GATES} utterances, "
        "switching by cycles plus leakage for the whole second, no wires and no clock tree; beside "
        f"it {model}. Real-time factor: how often a clock of {FPGA_MHZ} MHz is fast enough.",
        "",
    ]
    if data["missing"]:
        lines += [f"Not measured yet: {'; '.join(data['missing'])}.", ""]
    lines += [
        "| network | bits | utterances | codes compared | mismatches | logic um^2 | constants um^2 "
        "| state um^2 | total um^2 | by the model | uJ a second | by the model | cycles a frame "
        "| clock of real time, MHz | real-time factor |",
        "|---" + "|---:" * 14 + "|",
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
        "",
    ]
    return [*lines, *_digests(rows), *_shared_lines(rows), *_fpga_lines(rows)]


def _shared_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of one adder for all operators."""
    lines = [
        "One adder for all operators (`--share all`), on sky130; energy by the model:",
        "",
        "| network | logic um^2 | constants um^2 | state um^2 | total um^2 | by the model "
        "| uJ a second | cycles a frame | clock of real time, MHz | real-time factor |",
        "|---" + "|---:" * 9 + "|",
    ]
    kinds = ("logic_um2", "rom_um2", "ram_um2", "total_um2")
    for row in rows:
        if "shared" not in row:
            continue
        shared, area = row["shared"], row.get(AREAS["all"])
        cells = [
            row["name"],
            *(["-"] * 4 if area is None else [f"{area[kind]:,.0f}" for kind in kinds]),
            f"{shared['model_um2']:,.0f}",
            f"{shared['model_energy'] * FRAMES / 1000:.1f}",
            *_pace(shared["cycles"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""] if len(lines) > 4 else []


def _digests(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which Verilog was simulated, and by what."""
    simulated = [row for row in rows if "sha256" in row.get("verilog", {})]
    if not simulated:
        return []
    digests = ", ".join(
        # A row of a former run has that of the whole file.
        f"{row['name']} `{row['verilog']['sha256']}`" + " (with it)" * ("digest" not in row)
        for row in simulated
    )
    versions = sorted({row["verilog"]["versions"]["verilator"] for row in simulated})
    return [
        f"First digits of SHA-256 of the Verilog that was simulated, without its header: {digests} "
        f"({', '.join(versions)}).",
        "",
    ]


def _fpga_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of FPGAs: what Yosys maps, where that was measured, and the models."""
    lines = [
        "Whole networks on FPGAs, as Yosys maps them (not placed), or by the models of the search:",
        "",
        "| network | part | by | LUTs | flip-flops | block RAMs | DSP blocks | fits |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        for target in FPGAS:
            if target not in row["models"]:
                continue
            model = row["models"][target]
            figures_of = {"the models": {**model, "ram": model["ebr"]}}
            if (mapped := row.get(SAME.get(target, target))) is not None:
                figures_of["Yosys"] = mapped["whole"]
            for by, whole in figures_of.items():
                limits = DEVICES[target].limits
                columns = ("lut", "ff", "ram", "dsp")
                used = [f"{whole[c]:,.0f} of {limits[c]:,}" for c in columns]
                cells = [row["name"], target, by, *used, _fit(whole, limits)]
                lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _fit(whole: Mapping[str, float], limits: Mapping[str, int]) -> str:
    """Whether a part holds it, else what is over."""
    names = {"lut": "LUTs", "ff": "flip-flops", "ram": "block RAMs", "dsp": "DSP blocks"}
    over = {name: whole[name] - limit for name, limit in limits.items()}
    told = [f"{n:,.0f} {names[name]}" for name, n in over.items() if n > 0]
    return f"no: {', '.join(told)} too many" if told else "yes"
