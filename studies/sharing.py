"""One adder for all operators, one unit of each kind for the three gates, or a unit for each
operator: logic, memories, silicon and cycles."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genogate.asic import AsicOptions, measured
from genogate.model.files import read_json
from genogate.model.knobs import Knobs
from genogate.network import Network, build_network
from genogate.synth.asic.mapping import map_design
from genogate.synth.cells import liberty, roms
from genogate.synth.report import area_report
from genogate.synth.targets import prices
from genogate.synth.targets.cell_report import standard_cell_report
from genogate.synth.verilog import TOP, emit_rtlil
from genogate.synth.yosys import find as find_yosys

from . import sharing_genomes, smallest
from .part_tables import Pieces, hardware
from .search import table

Say = Callable[[str], None]
Row = Callable[[], dict[str, Any]]
#: What was measured, by hardware; and the page's figures.
FOLDER, PAGE = Path("build/studies/sharing-rows"), Path("docs/data/sharing.json")
#: Few bits everywhere but in the state and what makes it; not trained for them.
MIXED = "2,2,2,3,3,2,3,3,3,3,3,8,7,8,3,3,3"
GENOMES = {"INT8": "int8", "INT4": "int4", "mixed": MIXED}
TASKS = ("digits-row", "kws10")
#: Values of the knob, with lanes: bits of a weight a cycle where all is shared.
SHARED = (("none", 1), ("gates", 1), ("all", 1), ("all", 4), ("all", 8))
#: A clock of small FPGAs, MHz, and how often a task has a step, a second.
CLOCK_MHZ, RATES = 12, {"kws10": 50}
UP5K = "ice40-up5k"
#: The task whose netlists are simulated for their energy, and sequences that run through them.
ENERGY_TASK, SEQUENCES = "digits-row", 16
#: What rows without a netlist lack.
_NONE = dict.fromkeys(("netlist_um2", "slack_ns", "pj_per_cycle", "uj_per_inference"))


def _network(task: str, name: str, share: str, lanes: int, say: Say) -> dict[str, Any]:
    knobs = Knobs(share=share, lanes_x=lanes, lanes_h=lanes)
    network = build_network(genome=GENOMES[name], task=task, checkpoint=None, knobs=knobs, say=say)
    design = network.design
    area = area_report(design, flat=False, progress=say).total
    silicon = standard_cell_report(design, progress=say).to_json()
    bits = {
        kind: sum(m["words"] * m["width"] for m in silicon["memories"] if m["kind"] == kind)
        for kind in ("rom", "ram")
    }
    return {
        "task": task,
        "genome": name,
        "share": share,
        "lanes": lanes,
        "cells": area.cells,
        "flip_flops": area.flip_flops,
        "constant_bits": bits["rom"],
        "state_bits": bits["ram"],
        "cycles": design.cycles_per_step,
        **{f"{k}_um2": silicon[f"{k}_um2"] for k in ("logic", "rom", "ram", "total")},
        "latches_um2": silicon["total_with_latches_um2"],
        "library": silicon["library"],
    }


def _elsewhere(task: str, share: str, say: Say) -> dict[str, Any]:
    """INT8 on a small FPGA by the models, and its energy: by the model, and of one task of the
    netlist."""
    knobs = Knobs(share=share)
    network = build_network(genome="int8", task=task, checkpoint=None, knobs=knobs, say=say)
    step = prices.figures("sky130", network.design)["energy"]
    row = {"task": task, "share": share, **prices.figures(UP5K, network.design), "step_nj": step}
    return row | (_netlist(network, say) if task == ENERGY_TASK else {})


def _netlist(network: Network, say: Say) -> dict[str, Any]:
    """Of the netlist with clock gates and latches: slack, and energy while test sequences run."""
    library = liberty.find()
    text = emit_rtlil(network.design)
    mapped = map_design(text, TOP, library, gated=True, latches=True, progress=say)
    options = AsicOptions(sequences=SEQUENCES, memories="latches")
    document = measured(network, mapped, options, say)
    energy, timing = document["energy"], document["timing"]
    return {
        "mismatches": document["gate_level"]["mismatches"],
        "netlist_um2": document["netlist"]["um2"],
        "slack_ns": timing and timing["slack_ns"],
        "pj_per_cycle": energy and energy["pj_per_cycle"],
        "uj_per_inference": energy and energy["uj_per_inference"],
    }


def measure(say: Say, budget: str | None = None) -> dict[str, Any]:
    """Every network with each value of the knob, as far as the budget goes; what it has no time
    for stays that of the page before, marked as older. What was measured is kept in
    :data:`FOLDER`. Raises :class:`InputError` without a library."""
    pieces = Pieces(FOLDER, budget, say)
    before = read_json(PAGE)
    version = f"{hardware()}-{roms.VERSION}"

    def rows_of(part: str, cases: Mapping[str, Row]) -> list[dict[str, Any]]:
        """A row of each case, by its name: measured, or that of the page."""
        found = []
        for (name, make), old in zip(cases.items(), before[part], strict=True):
            row = pieces.get(f"{part}-{name}-{version}".replace(",", ""), make)
            found.append(row or old | {"older": True})
        return found

    networks = {
        f"{task}-{name}-{share}-{lanes}": partial(_network, task, name, share, lanes, say)
        for task in TASKS
        for name in GENOMES
        for share, lanes in SHARED
    }
    elsewhere = {
        f"{task}-{share}": partial(_elsewhere, task, share, say)
        for task in TASKS
        for share in dict.fromkeys(share for share, _ in SHARED)
    }
    # The least first: a budget may end before the last of all rows.
    least = rows_of("smallest", smallest.cases(say))
    return {
        "yosys": find_yosys().version,
        "mixed": MIXED,
        "smallest": least,
        "rows": rows_of("rows", networks),
        "elsewhere": rows_of("elsewhere", elsewhere),
        "genomes": pieces.get(f"genomes-{version}", partial(sharing_genomes.measure, say))
        or before["genomes"] | {"older": True},
    }


def _less(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.0f} %"


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    lines = [
        "## Shared hardware: one adder for all operators, or one unit of each kind for the gates",
        "",
        "`--share none` gives every operator a unit of its own; `--share gates` lets the three "
        "gates share one unit of each kind; `--share all` has one adder for everything. The "
        f"results are the same bits. {data['rows'][0]['library']}, {data['yosys']}, before "
        "placement. Constants are logic, the state is in flip-flops, or in the last three "
        "columns in latches (`genogate asic --memories latches`). With `all`, lanes are bits of "
        f"a weight that are worked on in a cycle. The mixed genome is {data['mixed']}. "
        "Percentages are against INT8 with `--share none`.",
        "",
        "| task | genome | share | lanes | cells | constant bits | state bits | cycles a step "
        "| logic um^2 | constants um^2 | state um^2 | total um^2 | logic | total "
        "| state as latches um^2 | total um^2 | total |",
        "|" + "---|" * 17,
    ]
    for row in data["rows"]:
        base = next(
            r
            for r in data["rows"]
            if (r["task"], r["genome"], r["share"]) == (row["task"], "INT8", "none")
        )
        numbers = [row[key] for key in ("cells", "constant_bits", "state_bits", "cycles")] + [
            row[f"{key}_um2"] for key in ("logic", "rom", "ram", "total")
        ]
        lines.append(
            f"| {row['task']} | {row['genome']} | {row['share']} | "
            f"{row['lanes']}{smallest.mark(row)} | "
            + " | ".join(f"{number:,.0f}" for number in numbers)
            + f" | {_less(row['logic_um2'], base['logic_um2'])} | "
            f"{_less(row['total_um2'], base['total_um2'])} | "
            f"{row['ram_um2'] - row['total_um2'] + row['latches_um2']:,.0f} | "
            f"{row['latches_um2']:,.0f} | {_less(row['latches_um2'], base['total_um2'])} |"
        )
    lines += ["", *smallest.older([*data["rows"], *data["elsewhere"], data["genomes"]])]
    lines += _against_before(data["rows"])
    for row in data["rows"]:
        if row["share"] != "none" and row["genome"] == "INT8" and row["task"] in RATES:
            rate = RATES[row["task"]]
            margin = CLOCK_MHZ * 1e6 / (row["cycles"] * rate)
            lanes = "1 lane" if row["lanes"] == 1 else f"{row['lanes']} lanes"
            lines += [
                f"{row['task']} has {rate} steps a second: at {CLOCK_MHZ} MHz share {row['share']} "
                f"with {lanes} is {margin:.1f} times as fast as that.",
                "",
            ]
    for name, page in (
        ("elsewhere", _render_elsewhere),
        ("genomes", sharing_genomes.render),
        ("smallest", smallest.render),
    ):
        if name in data:
            lines += page(data[name])
    return lines


def _against_before(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """INT8 with everything shared against INT8 of before."""
    parts = []
    for row in rows:
        if (row["genome"], row["share"], row["lanes"]) == ("INT8", "all", 1):
            before = smallest.BEFORE[row["task"]]
            parts.append(
                f"{row['task']} {row['total_um2']:,.0f} ({_less(row['total_um2'], before)}) with "
                f"flip-flops, {row['latches_um2']:,.0f} ({_less(row['latches_um2'], before)}) with "
                f"latches, before {before:,}"
            )
    text = "INT8 with share all against INT8 before hardware could be shared, um^2: "
    return [text + "; ".join(parts) + ".", ""]


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _render_elsewhere(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    body = [
        (
            row["task"],
            row["share"] + smallest.mark(row),
            *(_number(row[key]) for key in ("lut", "ff", "ebr", "dsp", "step_nj", "netlist_um2")),
            _number(row["slack_ns"], 2),
            _number(row["pj_per_cycle"], 1),
            _number(row["uj_per_inference"], 3),
        )
        for row in ({**_NONE, **row} for row in rows)
    ]
    netlists = [row["mismatches"] for row in rows if "mismatches" in row]
    head = (
        "INT8",
        "share",
        "LUT4",
        "flip-flops",
        "EBR",
        "DSP",
        "nJ a step, model",
        "netlist, um^2",
        "slack at 20 ns, ns",
        "pJ a cycle",
        "uJ an inference",
    )
    return [
        "### On a small FPGA, and energy",
        "",
        "iCE40 UP5K by the models of the target (parts that no model knows are measured by Yosys; "
        "block RAMs and DSP blocks by rules). nJ a step by the model of sky130, state in "
        "flip-flops without clock gates, in proportion to area and cycles. Netlists: latches, "
        f"clock gates, {SEQUENCES} test sequences of {ENERGY_TASK}, activity of their simulation, "
        f"OpenSTA; {sum(netlists)} mismatches with the golden model.",
        "",
        *table(head, body),
    ]
