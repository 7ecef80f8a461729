"""Denoisers in hardware: Verilog against golden over utterances, silicon by synthesis, FPGAs,
energy, and the clock of real time."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from genogate.asic import AsicOptions, measured
from genogate.model.denoise.bands import HOP, RATE
from genogate.model.errors import InputError
from genogate.model.files import read_json, write_json
from genogate.network import Network
from genogate.search.budget import Budget
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.asic.mapping import map_design
from genogate.synth.cells import liberty
from genogate.synth.targets.devices import DEVICES
from genogate.synth.targets.prices import figures
from genogate.synth.targets.report import fpga_report
from genogate.synth.targets.sky130 import standard_cell_report
from genogate.synth.verilog import TOP, emit, emit_rtlil

from .denoise import FOLDER, network_of
from .denoise_search import narrowed_network

Say = Callable[[str], None]
#: Networks of seed 0 by name, and how many utterances go through the Verilog of each.
NETWORKS: dict[str, int] = {"INT8": 20, "weights 2, rest 8, trained": 20, "narrowed, trained": 20}
#: Utterances through the netlist of standard cells.
THROUGH_GATES = 8
FPGAS, FPGA_MHZ = ("ice40-up5k", "ecp5-25k"), 12
#: Frames a second.
FRAMES = RATE / HOP


def _network(name: str, folder: Path) -> Network:
    if name.startswith("narrowed"):
        return narrowed_network(0, folder)
    genome = name.removesuffix(", trained")
    return network_of(genome, name != genome, folder=folder)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _verilog(network: Network, folder: Path, utterances: int) -> dict[str, Any]:
    """All codes of all operators, over utterances back to back, in Verilator."""
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
    names = ("sequences", "steps", "codes", "cycles_per_step", "versions")
    row = {name: getattr(report, name) for name in names}
    return row | {"mismatches": len(report.mismatches), "sha256": _digest(text)}


def _area(network: Network, say: Say) -> dict[str, Any]:
    """um^2 of every module by synthesis, summed, and what the models say of the same."""
    area = standard_cell_report(network.design, progress=say).to_json()
    kinds = [f"{kind}_um2" for kind in ("logic", "rom", "ram", "total")]
    return {name: area[name] for name in (*kinds, "library", "yosys")}


def _energy(network: Network, say: Say) -> dict[str, Any]:
    """Energy of the netlist with clock gates over the first frames of some utterances."""
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


def _fpga(network: Network, target: str, say: Say) -> dict[str, Any]:
    report = fpga_report(target, network.design, progress=say).to_json()
    return {key: report[key] for key in ("fits", "whole", "limits", "advice")}


def measure(say: Say, folder: Path = FOLDER, budget: str | None = None) -> dict[str, Any]:
    """Every part of every network that the budget has time for: ``{"rows": [...], "missing":
    [...]}``; parts that were measured before are read from `folder`."""
    left, took, missing = Budget.of(budget), 0.0, []
    rows: dict[str, dict[str, Any]] = {}
    cases = []
    for name, utterances in NETWORKS.items():
        network = _network(name, folder)
        rows[name] = {
            "name": name,
            "size": network.model.size_bits,
            "cycles": network.design.cycles_per_step,
            "model_nj": figures("sky130", network.design)["energy"],
            "model_um2": figures("sky130", network.design)["um2"],
            "models": {target: figures(target, network.design) for target in FPGAS},
        }
        stem = f"hardware-{network.model.hash}"
        place = folder / f"verilog-{network.model.hash}"
        works: dict[str, Callable[[], dict[str, Any]]] = {
            "verilog": lambda n=network, p=place, u=utterances: _verilog(n, p, u),
            "area": lambda n=network: _area(n, say),
            **{f: lambda n=network, f=f: _fpga(n, f, say) for f in FPGAS},
            "energy": lambda n=network: _energy(n, say),
        }
        # Other Verilog of the same model is simulated again.
        stems = {"verilog": f"{stem}-{_digest(emit(network.design))}"}
        cases += [
            (part, name, folder / f"{stems.get(part, stem)}-{part}.json", work)
            for part, work in works.items()
        ]
    # The same part of all networks first.
    order = ["verilog", "area", *FPGAS, "energy"]
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
    return {"rows": list(rows.values()), "missing": missing}


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
        f"{row['cycles']:,}",
        f"{row['cycles'] * FRAMES / 1e6:.2f}",
        f"{FPGA_MHZ * 1e6 / (row['cycles'] * FRAMES):.0f}",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    areas = [row["area"] for row in rows if "area" in row]
    tools = f"{areas[0]['library']}, {areas[0]['yosys']}" if areas else "not measured yet"
    lines = [
        "## Speech enhancement: denoisers in hardware",
        "",
        "Networks of the [study of few bits](denoise.md), seed 0, a unit for each operator, one "
        "lane, activations as tables. Verilog: utterances of the test part (2 s each) in "
        "Verilator, every code of every operator at every frame against golden. Area of sky130 "
        f"({tools}): every module by synthesis, constants as logic, state as flip-flops; beside "
        "it the model of the search. Energy of a second of speech: of the netlist with clock gates "
        f"by the activity of its simulation over the first frames of {THROUGH_GATES} utterances, "
        "switching by cycles plus leakage for the whole second, no wires and no clock tree; beside "
        f"it the model. Real-time factor: how often a clock of {FPGA_MHZ} MHz is fast enough.",
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
    return [*lines, *_digests(rows), *_fpga_lines(rows)]


def _digests(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which Verilog was simulated, and by what."""
    simulated = [row for row in rows if "sha256" in row.get("verilog", {})]
    if not simulated:
        return []
    digests = ", ".join(f"{row['name']} `{row['verilog']['sha256']}`" for row in simulated)
    versions = sorted({row["verilog"]["versions"]["verilator"] for row in simulated})
    return [
        f"First digits of SHA-256 of the Verilog that was simulated: {digests} "
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
            device = DEVICES[target]
            model = row["models"][target]
            figures_of = {"the models": {**model, "ram": model["ebr"]}}
            if target in row:
                figures_of["Yosys"] = row[target]["whole"]
            for by, whole in figures_of.items():
                columns = ("lut", "ff", "ram", "dsp")
                limits = device.limits
                used = [
                    f"{whole[c]:,.0f} of {limits[c]:,}" if c in limits else f"{whole[c]:,.0f}"
                    for c in columns
                ]
                fits = all(whole[c] <= limits.get(c, np.inf) for c in columns)
                cells = [row["name"], target, by, *used, "yes" if fits else "no"]
                lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]
