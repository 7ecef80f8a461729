"""Whole test parts through the emitted Verilog, and test sequences through netlists."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genogate.model.files import read_json
from genogate.model.knobs import Knobs
from genogate.model.leftovers import scratch
from genogate.network import Network, build_network
from genogate.simulation import run_sim
from genogate.synth.asic.gate_level import gate_level
from genogate.synth.asic.mapping import map_design
from genogate.synth.cells import liberty
from genogate.synth.verilog import TOP, digest, emit, emit_rtlil
from genogate.synth.yosys import find as find_yosys

from .netlists import FPGAS, through_netlist
from .part_tables import MIXED, Pieces

FOLDER = Path("build/studies/verification")
PAGE = Path("docs/data/verification.json")
#: Task, genome (mixed: of :data:`.part_tables.MIXED`), and the netlists that test sequences go
#: through; their whole test part goes through the Verilog.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("digits-row", "INT8", ("sky130", *FPGAS)),
    ("digits-row", "INT4", ("sky130", *FPGAS)),
    ("kws4", "INT8", ()),
    ("kws4", "mixed", ("sky130", *FPGAS)),
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
        "test_part": len(network.task.x_test),
        "sequences": report.sequences,
        "codes": report.codes,
        "cycles": report.cycles,
        "mismatches": len(report.mismatches),
        "versions": list(report.versions.values()),
    }


def _cells(network: Network, say: Say) -> dict[str, Any]:
    """Sequences through the netlist of standard cells."""
    codes = network.model.quantize_input(network.task.x_test[:SEQUENCES])
    mapped = map_design(emit_rtlil(network.design), TOP, liberty.find(), gated=True, progress=say)
    return gate_level(mapped, network.design, codes, say).to_json()


def _fpga(network: Network, target: str) -> dict[str, Any]:
    """Sequences through the netlist for an FPGA."""
    codes = network.model.quantize_input(network.task.x_test[:SEQUENCES])
    return through_netlist(network.design, target, codes)


def _network(task: str, name: str, say: Say) -> Network:
    genome, knobs = MIXED[task] if name == "mixed" else (name.lower(), Knobs())
    return build_network(genome=genome, task=task, checkpoint=None, knobs=knobs, say=say)


def _piece(network: Network, what: str, say: Say) -> dict[str, Any]:
    if what == "verilog":
        return _verilog(network, say)
    return _cells(network, say) if what == "sky130" else _fpga(network, what)


def _recorded() -> dict[tuple[str, str], Any]:
    """What the page has, by the digest of the Verilog and what was simulated; nothing by another
    Yosys, whose netlists may be others."""
    document = read_json(PAGE) if PAGE.exists() else {"rows": [], "yosys": ""}
    if document["yosys"] != find_yosys().version:
        return {}
    rows = document["rows"]
    return {
        (r["sha256"], what): r[what]
        for r in rows
        for what in ("verilog", "sky130", *FPGAS)
        if what in r
    }


def measure(say: Say, budget: str | None = None) -> dict[str, Any]:
    """Every case that the budget has time for; what was measured before on the same Verilog stays
    as it is in :data:`FOLDER` or on the page.

    Raises :class:`InputError` without Verilator, Yosys, cells or a C compiler."""
    rows, pieces = [], Pieces(FOLDER, budget, say)
    before = _recorded()
    for task, name, netlists in CASES:
        network = _network(task, name, say)
        sha256 = digest(emit(network.design))
        row: dict[str, Any] = {"task": task, "genome": name, "sha256": sha256}
        for what in ("verilog", *netlists):
            found = before.get((sha256, what)) or pieces.get(
                f"{task}-{name.lower()}-{what}-{sha256}",
                lambda network=network, what=what: _piece(network, what, say),
            )
            if found:
                row[what] = found
        rows.append(row)
    return {"rows": rows, "missing": pieces.missing, "yosys": find_yosys().version}


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    lines = [
        "## Whole test sets through Verilog and netlists",
        "",
        "Verilog: every code of every operator, every state, logit and class against the golden "
        "model, in Verilator, as `genogate sim` runs it (the whole test part back to back, "
        "then stalls, resets and mixed lengths). Netlists: every state, logit and class of the "
        "first test sequences; of sky130 with clock gates as in `genogate asic`; of FPGAs in "
        "Verilator with Yosys' models of the cells and the bench that lies beside `gru.v`, with "
        "pauses on all sides. Yosys has no models of ECP5's block RAM and multiplier: those are "
        "ours (`studies/ecp5_blocks.py`).",
        "",
        "| task | genome | simulated | sequences | clock cycles | words compared | mismatches |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        head = f"| {row['task']} | {row['genome']} |"
        if "verilog" in row:
            verilog = row["verilog"]
            lines.append(
                f"{head} Verilog, the whole test part | {verilog['test_part']:,} back to back, "
                f"{verilog['sequences'] - verilog['test_part']} more | {verilog['cycles']:,} | "
                f"{verilog['codes']:,} | {verilog['mismatches']} |"
            )
        for name in (name for name in ("sky130", *FPGAS) if name in row):
            net = row[name]
            lines.append(
                f"{head} netlist, {name} | {net['sequences']} of {net['steps']} steps | | "
                f"{net['transfers']:,} | {net['mismatches']} |"
            )
    versions = sorted(
        {v for row in data["rows"] for v in row.get("verilog", {}).get("versions", ())}
    )
    missing = data.get("missing", ())
    digests = ", ".join(f"{r['task']} {r['genome']} `{r['sha256']}`" for r in data["rows"])
    return [
        *lines,
        "",
        "First digits of SHA-256 of the Verilog that was simulated, without its header: "
        f"{digests}. mixed: "
        f"`{MIXED['kws4'][0]}`, activations as tables."
        + (f" Not measured yet: {', '.join(missing)}." if missing else ""),
        "",
        f"By {', '.join([data['yosys'], *versions])}.",
        "",
    ]
