"""The quantised network itself: post-training tables, core, cycles, speeds, campaign."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genogate.model.errors import InputError

Say = Callable[[str], None]
#: What mended gates of 2 bits were before: measured once, by the commit that mended them.
GATES = (
    "Gates of 2 bits have the codes 0, 1/2, 1 and 3/2 here. Until commit 98b3de1 calibration gave "
    "them codes without 0 or 1, and the state wore away. INT2 on validation, before and after, as "
    "that commit has it: digits-row 38.1 and 40.7 %, mnist-row 12.7 and 24.2 %, kws4 59.1 and "
    "67.8 %."
)
#: Cases of the campaign that the page reports.
CAMPAIGN_CASES, CAMPAIGN_SEED = 300, 2026
CORE_FEATURES = ("dense operators", "products", "activations", "sums and 1 - z", "everything else")


def measure_ptq(say: Say) -> dict[str, Any]:
    """The table int8 ... int2 under every knob."""
    from .post_training import ptq_table

    return ptq_table(report=say)


def measure_activation(say: Say) -> dict[str, Any]:
    """Tables against piecewise-linear units."""
    from .post_training import activation_table

    return activation_table(report=say)


def measure_core(say: Say) -> dict[str, Any]:
    """Cells of every operator of the INT8 core of digits-row, default knobs."""
    from genogate.model.knobs import Knobs
    from genogate.network import build_network
    from genogate.outputs import area_document

    network = build_network(
        genome="int8", task="digits-row", checkpoint=None, knobs=Knobs(), say=say
    )
    return {**area_document(network, say), "size_bits": network.model.size_bits}


def measure_utilisation(say: Say) -> dict[str, Any]:
    """Cycles per step in Icarus against the formula and the ideal, for several shapes."""
    import numpy as np
    from genogate.hdl.gru.design import Design
    from genogate.model.genome import Genome
    from genogate.model.knobs import Lanes
    from genogate.sim.random_model import random_model
    from genogate.sim.rtl.network.regression import simulate
    from genogate.synth.verilog import emit

    rows = []
    shapes = [
        (8, 16, 1, 1),
        (8, 32, 1, 1),
        (28, 64, 1, 1),
        (40, 16, 1, 1),
        (32, 32, 1, 1),
        (10, 48, 2, 2),
        (8, 32, 1, 4),
        (8, 32, 2, 8),
    ]
    for inputs, hidden, lanes_x, lanes_h in shapes:
        say(f"simulating {inputs} x {hidden}, lanes {lanes_x},{lanes_h}")
        rng = np.random.default_rng(2026)
        model = random_model(rng, Genome.uniform(8), inputs, hidden, 10)
        design = Design.of(model, Lanes(lanes_x, lanes_h))
        codes = rng.integers(-128, 128, (2, 4, inputs))
        with tempfile.TemporaryDirectory() as folder:
            report = simulate(
                model,
                emit(design),
                codes,
                out_dir=folder,
                scenarios=("back-to-back",),
            )
        if report.mismatches:
            raise InputError(f"utilisation: {report.mismatches[0]}")
        rows.append(
            {
                "inputs": inputs,
                "hidden": hidden,
                "lanes_x": lanes_x,
                "lanes_h": lanes_h,
                "measured": report.cycles_per_step,
                "formula": design.cycles_per_step,
                "ideal": design.ideal_cycles_per_step,
            }
        )
    return {"rows": rows, "versions": report.versions}


def measure_bench(say: Say) -> dict[str, Any]:
    """Speeds, in this process: the command has set one BLAS thread."""
    from genogate.bench import bench

    return bench(say)


def measure_campaign(say: Say, budget: str | None = None) -> dict[str, Any]:
    """The regression on random networks; resumes in build/campaign."""
    from genogate.sim.rtl.network.campaign import STRESS_EVERY

    from . import structures

    say(f"{CAMPAIGN_CASES} random networks in Icarus")
    folder = Path("build/campaign")
    summary, records = structures.in_pieces(CAMPAIGN_CASES, folder, CAMPAIGN_SEED, budget)
    kinds = structures.by_kind(records)
    summary = {k: v for k, v in summary.items() if k != "sources"}
    return summary | {"kinds": kinds, "stressed": STRESS_EVERY}


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
    ]


def _points(values: Sequence[float]) -> str:
    """Mean and range of shares, in percent."""
    percent = [100 * v for v in values]
    return f"{statistics.mean(percent):.2f} ({min(percent):.1f}..{max(percent):.1f})"


def render_ptq(data: dict[str, Any]) -> list[str]:
    rows = data["rows"]
    int8 = next(
        r
        for r in rows
        if (r["bits"], r["dense_output"], r["granularity"], r["multiplier_terms"])
        == (8, "8", "tensor", 1)
    )
    test, floats = statistics.mean(int8["test"]), statistics.mean(data["float"]["test"])
    lines = [
        "## Homogeneous genomes after training (PTQ)",
        "",
        f"digits-row, seeds {', '.join(map(str, data['seeds']))} (a seed also cuts its split; "
        "539 or 540 test images, a point is about 5 images). Mean (smallest..largest) in percent.",
        f"Float: validation {_points(data['float']['val'])}, "
        f"test {_points(data['float']['test'])}.",
        f"INT8 with the default knobs: test {_points(int8['test'])}, "
        f"{100 * (test - floats):+.2f} points against float. "
        "Cells and memory bits: first seed, sum over modules, activations as tables, one lane, "
        f"{data['yosys']}.",
        "",
        *_choice(data),
    ]
    base = statistics.mean(int8["size_bits"])
    lines += _table(
        (
            "dense_output",
            "granularity",
            "terms",
            "genome",
            "validation %",
            "test %",
            "size, bits",
            "of INT8",
            "cells",
            "memory bits",
        ),
        [
            (
                r["dense_output"],
                r["granularity"],
                r["multiplier_terms"] or "free",
                f"int{r['bits']}",
                _points(r["val"]),
                _points(r["test"]),
                f"{statistics.mean(r['size_bits']):,.0f}",
                f"{100 * statistics.mean(r['size_bits']) / base:.0f} %",
                f"{r['cells']:,}",
                f"{r['memory_bits']:,}",
            )
            for r in rows
        ],
    )
    return [*lines, GATES, ""]


def _choice(data: dict[str, Any]) -> list[str]:
    """What each knob buys and costs, averaged over the other knobs, from the validation part."""
    rows = [r for r in data["rows"] if r["bits"] >= 4]

    def mean(name: str, value: object, key: str) -> float:
        picked = [r for r in rows if r[name] == value]
        scores = [statistics.mean(r[key]) if key == "val" else r[key] for r in picked]
        return statistics.mean(scores)

    def one(output: str, bits: int) -> str:
        r = next(
            r
            for r in data["rows"]
            if (r["dense_output"], r["granularity"], r["multiplier_terms"], r["bits"])
            == (output, "tensor", 1, bits)
        )
        return (
            f"{100 * statistics.mean(r['val']):.2f} % with {r['cells']:,} cells and "
            f"{statistics.mean(r['size_bits']):,.0f} bits"
        )

    lines = [
        "Each knob by itself: means over int8 to int4 and over all values of the other knobs, on "
        "the validation part. The first value of each knob is its default. Dense outputs of 8 "
        f"bits are the better bargain: int5 with them reaches {one('8', 5)}; int6 without them "
        f"{one('gene', 6)}. int4 with them reaches {one('8', 4)}. The defaults have one scale per "
        "tensor and multipliers of one term: what the other values gain is within the spread of "
        "the seeds, and costs cells.",
        "",
    ]
    table = []
    for name, values in (
        ("dense_output", ("8", "gene")),
        ("granularity", ("tensor", "channel")),
        ("multiplier_terms", (1, 2, None)),
    ):
        for value in values:
            table.append(
                (
                    name,
                    "free" if value is None else value,
                    f"{100 * mean(name, value, 'val'):.2f}",
                    f"{mean(name, value, 'cells'):,.0f}",
                )
            )
    return [*lines, *_table(("knob", "value", "validation %", "cells"), table)]


def render_activation(data: dict[str, Any]) -> list[str]:
    lines = [
        "## Activations: tables or piecewise-linear units",
        "",
        "Default knobs, seed 0. Cells are those of the two sigmoids and the tanh together. Each "
        "function can be a table of all its codes, or a piecewise-linear unit of 2 to 16 "
        "segments. `auto` takes the one of fewest cells among those that are as accurate as the "
        "table: nowhere more than one code away from it, and with a squared error of at most 3 "
        f"times the table's at 8 bits, 1.1 times at 5 bits and below. {data['yosys']}.",
        "",
    ]
    return lines + _table(
        ("genome", "activation", "segments", "units", "validation %", "cells"),
        [
            (
                f"int{r['bits']}",
                r["activation"],
                r["entries"] or "",
                " ".join(r["chosen"]),
                f"{100 * r['val']:.2f}",
                f"{r['cells']:,}",
            )
            for r in data["rows"]
        ],
    )


def render_core(data: dict[str, Any]) -> list[str]:
    total = data["cells"]
    lines = [
        "## The INT8 core of digits-row",
        "",
        f"H = 32, 8 inputs, 10 classes, one lane; {data['yosys']}. Sum of modules {total:,} cells, "
        f"flat {data['cells_flat']:,}, {data['transistors']:,} estimated CMOS transistors, "
        f"{data['memory_bits']:,} memory bits. `make area GENOME=int8` prints this table.",
        "",
    ]
    lines += _table(
        ("module", "bits", "cells", "share", "transistors", "memory bits"),
        [
            (
                row["name"],
                row.get("bits") or "",
                f"{row['cells']:,}",
                f"{100 * row['cells'] / total:.1f} %",
                f"{row['transistors']:,}",
                f"{row['memory_bits']:,}",
            )
            for row in data["operators"]
        ],
    )
    groups: dict[str, int] = dict.fromkeys(CORE_FEATURES, 0)
    for row in data["operators"]:
        gene = row["name"].split(".")[-1]
        key = {"w": 0, "p": 1, "a": 2, "s": 3, "c": 3}[gene[0]] if row.get("bits") else 4
        groups[CORE_FEATURES[key]] += row["cells"]
    shares = ", ".join(f"{name} {100 * cells / total:.0f} %" for name, cells in groups.items())
    return [*lines, f"What dominates: {shares}.", ""]


def render_utilisation(data: dict[str, Any]) -> list[str]:
    lines = [
        "## Utilisation of the multiply-accumulates",
        "",
        "INT8, sequences back to back, no stalls, in Icarus, between the steps of a sequence; "
        "ideal = H max(ceil(I / lanes_x), ceil(H / lanes_h)).",
        "",
    ]
    return lines + _table(
        ("inputs", "hidden", "lanes x,h", "cycles/step", "formula", "ideal", "utilisation"),
        [
            (
                r["inputs"],
                r["hidden"],
                f"{r['lanes_x']},{r['lanes_h']}",
                f"{r['measured']:g}",
                r["formula"],
                r["ideal"],
                f"{100 * r['ideal'] / r['measured']:.1f} %",
            )
            for r in data["rows"]
        ],
    )


def render_bench(data: dict[str, Any]) -> list[str]:
    speed = data["sequences_per_second"]
    return [
        "## Speed (`make bench`)",
        "",
        f"{data['machine']}; medians, in turn; {data['sequences']} sequences of digits-row."
        # Of the machine at the time, where somebody wrote it down.
        + (f" {data['note']}" if "note" in data else ""),
        "",
        *_table(
            ("what", "figure"),
            [
                (
                    "golden (NumPy) against float torch.nn.GRU",
                    f"{data['golden_over_torch']:.2f} ({speed['golden']:,.0f} and "
                    f"{speed['torch']:,.0f} "
                    "sequences/s)",
                ),
                (
                    "compiled twin (same bits) against float torch.nn.GRU",
                    f"{data['twin_over_torch']:.2f} ({speed['twin']:,.0f} sequences/s)",
                ),
                (
                    "quantise one genome from a shared calibration",
                    f"{1e3 * data['quantize_seconds']:.1f} ms",
                ),
                (
                    "quantise one genome with `auto`, activation units known",
                    f"{1e3 * data['quantize_known_units_seconds']:.1f} ms",
                ),
                (
                    "quantise one genome with `auto`, units searched exactly (without Yosys)",
                    f"{1e3 * data['quantize_new_units_seconds']:.0f} ms",
                ),
                ("emit Verilog", f"{data['emit_seconds']:.2f} s"),
                ("area, nothing cached", f"{data['area_cold_seconds']:.1f} s"),
                ("area, all modules cached", f"{data['area_cached_seconds']:.2f} s"),
                (
                    "the same, operators alone, not flat",
                    f"{data['area_rows_cached_seconds']:.3f} s",
                ),
                (
                    "INT8 cells: run-time 16-bit multipliers over constants",
                    f"{data['runtime_over_constant']:.2f} "
                    f"({data['cells_runtime_multipliers']:,} over "
                    f"{data['cells_constant_multipliers']:,})",
                ),
            ],
        ),
    ]


def render_campaign(data: dict[str, Any]) -> list[str]:
    from . import structures

    return [
        f"## Bit-exactness (`make campaign N={data.get('planned', data['cases'])}`)",
        "",
        f"{data['cases']} networks{structures.of_planned(data)} are emitted as Verilog and "
        "simulated in Icarus against the "
        "golden model. The first ones are fixed: all widths at 2 or 8 bits, each operator's "
        "width alone at 2, two layers, more inputs than units, 1 to 8 lanes, both granularities, "
        "multipliers of 1, 2, 3 and any number of terms, tables and piecewise-linear units, "
        "every way to share hardware, every pipeline, every head. The others are random; a "
        "fourth of these have dense layers. Every simulation has stalls, resets in mid-sequence "
        f"and sequences back to back; every {'tenth' if data.get('stressed') == 10 else 'fifth'} "
        "network is also stressed: resets at random moments, outputs held for 10,000 cycles, or "
        "offers withdrawn. Cycles per step were as documented in "
        f"{data['cycles_per_step']['as_documented']} of {data['cycles_per_step']['measured']}.",
        "",
        *_table(
            ("networks", "failed", "sequences", "codes compared", "mismatches", "seed"),
            [
                (
                    data["cases"],
                    data["failed_cases"],
                    f"{data['sequences']:,}",
                    f"{data['codes']:,}",
                    data["mismatches"],
                    data["seed"],
                )
            ],
        ),
        "",
        *_table(
            ("of these", "networks", "codes compared", "failed"),
            [
                (row["kind"], row["cases"], f"{row['codes']:,}", row["failed"])
                for row in data.get("kinds", ())
            ],
        ),
    ]
