"""Whole test parts through the emitted Verilog, and test sequences through netlists."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genogate.model.files import read_json, write_json
from genogate.model.knobs import Knobs
from genogate.model.leftovers import scratch
from genogate.network import Network, build_network
from genogate.simulation import run_sim
from genogate.synth.asic.gate_level import gate_level
from genogate.synth.asic.mapping import map_design
from genogate.synth.cells import liberty
from genogate.synth.verilog import TOP, emit_rtlil
from genogate.synth.yosys import find as find_yosys

FOLDER = Path("build/studies/verification")
#: Task, genome, whether the whole test part goes through the Verilog, and steps of a sequence that
#: go through the netlist of standard cells.
CASES = (
    ("digits-row", "int4", True, 8),
    ("digits-row", "int8", False, 8),
)
#: Test sequences through a netlist.
SEQUENCES = 50
Say = Callable[[str], None]


def _verilog(network: Network, say: Say) -> dict[str, Any]:
    """The whole test part in Verilator, every code of every operator."""
    with scratch() as folder:
        report, _ = run_sim(
            network, sequences=None, seed=2026, out=folder, say=say, simulator="verilator"
        )
    return {
        "sequences": report.sequences,
        "codes": report.codes,
        "cycles": report.cycles,
        "mismatches": len(report.mismatches),
        "versions": list(report.versions.values()),
    }


def _cells(network: Network, steps: int, say: Say) -> dict[str, Any]:
    """Sequences through the netlist of standard cells."""
    codes = network.model.quantize_input(network.task.x_test[:SEQUENCES, :steps])
    mapped = map_design(emit_rtlil(network.design), TOP, liberty.find(), gated=True, progress=say)
    return gate_level(mapped, network.design, codes, say).to_json()


def measure(say: Say) -> dict[str, Any]:
    """Every case; those that were measured before stay as they are in :data:`FOLDER`.

    Raises :class:`InputError` without Verilator, Yosys, cells or a C compiler."""
    rows = []
    for task, genome, whole, steps in CASES:
        network: Network | None = None
        row: dict[str, Any] = {"task": task, "genome": genome}
        parts: dict[str, Callable[[Network], dict[str, Any]]] = {
            "sky130": lambda n, steps=steps: _cells(n, steps, say),  # type: ignore[misc]
        }
        if whole:
            parts["verilog"] = lambda n: _verilog(n, say)
        for name, part in parts.items():
            file = FOLDER / f"{task}-{genome}-{name}.json"
            if not file.exists():
                say(f"{task} {genome}, {name}")
                network = network or build_network(
                    genome=genome, task=task, checkpoint=None, knobs=Knobs(), say=say
                )
                write_json(file, part(network))
            row[name] = read_json(file)
        rows.append(row)
    return {"rows": rows, "yosys": find_yosys().version}


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    lines = [
        "## Whole test sets through Verilog and netlists",
        "",
        "Verilog: every code of every operator, every state, logit and class against the golden "
        "model, in Verilator, as `genogate sim` runs it (the whole test part back to back, "
        "then stalls, resets and mixed lengths). Netlists: every state, logit and class of the "
        "first test sequences, cut to as many steps as the table says: of sky130 with "
        "clock gates as in `genogate asic`.",
        "",
        "| task | genome | simulated | sequences | words compared | mismatches |",
        "|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        head = f"| {row['task']} | {row['genome'].upper()} |"
        if "verilog" in row:
            verilog = row["verilog"]
            lines.append(
                f"{head} Verilog, the whole test part | {verilog['sequences']:,} | "
                f"{verilog['codes']:,} | {verilog['mismatches']} |"
            )
        net = row["sky130"]
        lines.append(
            f"{head} netlist, sky130 | {net['sequences']} of {net['steps']} steps | "
            f"{net['transfers']:,} | {net['mismatches']} |"
        )
    versions = sorted(
        {v for row in data["rows"] for v in row.get("verilog", {}).get("versions", ())}
    )
    return [*lines, "", f"By {', '.join([data['yosys'], *versions])}.", ""]
