"""One adder for all operators, one unit of each kind for the three gates, or a unit for each
operator: logic, memories, silicon and cycles."""

from collections.abc import Callable, Mapping
from typing import Any

from genogate.model.data.tasks import load_task
from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.synth.report import area_report
from genogate.synth.targets.sky130 import standard_cell_report
from genogate.synth.yosys import find as find_yosys

Say = Callable[[str], None]
#: Few bits everywhere but in the state and what makes it; not trained for them.
MIXED = "2,2,2,3,3,2,3,3,3,3,3,8,7,8,3,3,3"
GENOMES = {"INT8": "int8", "INT4": "int4", "mixed": MIXED}
TASKS = ("digits-row", "kws10")
#: Values of the knob, with lanes: bits of a weight a cycle where all is shared.
SHARED = (("none", 1), ("gates", 1), ("all", 1), ("all", 4), ("all", 8))
#: A clock of small FPGAs, MHz, and how often a task has a step, a second.
CLOCK_MHZ, RATES = 12, {"kws10": 50}


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


def measure(say: Say) -> dict[str, Any]:
    """Every network with each value of the knob; raises :class:`InputError` without a library."""
    rows = []
    for task in TASKS:
        load_task(task)
        for name in GENOMES:
            for share, lanes in SHARED:
                say(f"{task} {name}, share {share}, lanes {lanes}")
                rows.append(_network(task, name, share, lanes, say))
    return {"yosys": find_yosys().version, "mixed": MIXED, "rows": rows}


def _less(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.0f} %"


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    lines = [
        "## Shared hardware: one adder for all operators, or one unit of each kind for the gates",
        "",
        "`genogate gru --share gates` and `--share all` against a unit for each operator, the same "
        "bits of result; "
        f"{data['rows'][0]['library']}, {data['yosys']}. Constants as logic, state as flip-flops, "
        "or as latches (the last three columns; built, `genogate asic --memories latches`), before "
        "placement. Where all is shared, lanes are bits of a weight that a cycle takes. The "
        f"mixed genome is {data['mixed']}. Differences are to INT8 with a unit for each operator.",
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
            f"| {row['task']} | {row['genome']} | {row['share']} | {row['lanes']} | "
            + " | ".join(f"{number:,.0f}" for number in numbers)
            + f" | {_less(row['logic_um2'], base['logic_um2'])} | "
            f"{_less(row['total_um2'], base['total_um2'])} | "
            f"{row['ram_um2'] - row['total_um2'] + row['latches_um2']:,.0f} | "
            f"{row['latches_um2']:,.0f} | {_less(row['latches_um2'], base['total_um2'])} |"
        )
    lines.append("")
    for row in data["rows"]:
        if row["share"] != "none" and row["genome"] == "INT8" and row["task"] in RATES:
            rate = RATES[row["task"]]
            margin = CLOCK_MHZ * 1e6 / (row["cycles"] * rate)
            lines += [
                f"{row['task']} has {rate} steps a second: at {CLOCK_MHZ} MHz share {row['share']} "
                f"with {row['lanes']} lanes is {margin:.1f} times as fast as that.",
                "",
            ]
    return lines
