"""`genogate search`: searches of genomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..model.knobs import knob_genes
from .completion import checkpoints
from .help import Command, group
from .options import (
    confirm_option,
    folds_option,
    keep_units_option,
    knob_options,
    knobs_of,
    out_option,
    output_options,
    seed_option,
    source_options,
    spare_option,
    target_options,
    test_option,
    was_given,
    workers_option,
)
from .terminal import saying, search_progress, show

#: Said beside "stopped".
_KEPT = "evaluations are kept; --resume goes on from there"


@click.command(
    cls=Command,
    examples=(
        "genogate search --task digits-row",
        "genogate search --task digits-row --budget 10m",
        "genogate search --pop 8 --generations 2 --exploit 2 --out runs/first-look",
        "genogate search --objectives accuracy,cells --max-drop 1 --max-cells 2500",
        "genogate search --objectives accuracy,um2 --target sky130",
    ),
)
@source_options
@group(
    "Network",
    click.option(
        "--also",
        multiple=True,
        metavar="NAME|FILE",
        shell_complete=checkpoints,
        help="Another checkpoint of the task, of other sizes or weights (may be repeated). Which "
        "one is a gene; --checkpoint stays the reference.",
    ),
)
@group(
    "Objectives and limits",
    click.option(
        "--objectives",
        default="accuracy,size,cells",
        show_default=True,
        help="Objectives: accuracy and one or more of size, weights (of the GRU alone), cells, "
        "memory, cycles; with --target also um2 and energy (sky130), or lut, ff, ebr (block RAMs), "
        "dsp (FPGAs). Those are estimated, and measured for the front at the end.",
    ),
    target_options,
    click.option("--fit", is_flag=True, help="Require that the network fits the target, an FPGA."),
    click.option(
        "--clock",
        type=float,
        metavar="MHZ",
        help="Clock that the network must reach in the target. It is measured for the front at "
        "the end, after place and route (FPGA) or by OpenSTA (sky130); networks that miss it"
        " are left out.",
    ),
    click.option(
        "--max-drop",
        default="10",
        show_default=True,
        metavar="POINTS|none",
        help="Greatest loss of accuracy against INT8, in points (hundredths of the task's measure; "
        "dB of SI-SDR for a denoiser). A genome that loses more is rejected before its hardware is "
        "measured.",
    ),
    click.option("--max-size", type=float, metavar="BITS", help="Limit for the size."),
    click.option("--max-weights", type=float, metavar="BITS", help="Limit for the GRU's weights."),
    click.option("--max-cells", type=float, metavar="CELLS", help="Limit for the cells."),
    click.option("--max-memory", type=float, metavar="BITS", help="Limit for the memory bits."),
    click.option("--max-cycles", type=float, metavar="CYCLES", help="Limit for cycles per step."),
    click.option("--max-um2", type=float, metavar="UM2", help="Limit for the area on sky130."),
    click.option(
        "--max-energy",
        type=float,
        metavar="NJ",
        help="Limit for the energy of a step on sky130, nJ.",
    ),
    click.option("--max-lut", type=float, metavar="LUTS", help="Limit for the LUTs."),
    click.option("--max-ff", type=float, metavar="FLIPFLOPS", help="Limit for the flip-flops."),
    click.option("--max-ebr", type=float, metavar="RAMS", help="Limit for the block RAMs."),
    click.option("--max-dsp", type=float, metavar="BLOCKS", help="Limit for the DSP blocks."),
    click.option(
        "--estimate/--exact",
        default=None,
        show_default="estimate",
        help="Estimate cells during the search and measure only the front, at the end; or measure"
        " every genome.",
    ),
    test_option,
)
@group(
    "Search",
    click.option(
        "--budget",
        metavar="TIME",
        help="CPU time to spend over all processes, as in 60m. The search then trains networks "
        "too, many briefly and few fully, and ends with the one of least cost (area, or LUTs of "
        "an FPGA whose resources are limits, unless --objectives names another) within "
        "--max-drop, by default 0.5 then. It needs no other option of this group.",
    ),
    click.option(
        "--start",
        multiple=True,
        metavar="GENOME",
        help="With --budget: a genome to train first, in addition to those that the search "
        "computes (may be repeated).",
    ),
    folds_option("--budget"),
    spare_option("--budget"),
    confirm_option("--budget"),
    keep_units_option("--budget"),
    click.option(
        "--method",
        default="nsga2",
        show_default=True,
        help="Strategy: nsga2, or its rivals random and greedy.",
    ),
    click.option(
        "--pop", "pop_size", type=int, default=40, show_default=True, help="Population size."
    ),
    click.option(
        "--generations",
        type=int,
        default=10,
        show_default=True,
        help="Number of generations of exploration.",
    ),
    click.option(
        "--exploit",
        type=int,
        show_default="15, for nsga2",
        help="Number of generations of local search around the front, after exploration.",
    ),
    seed_option(),
    click.option(
        "--initial",
        show_default="sensitivity, for nsga2",
        help="First population: random; homogeneous (with the homogeneous genomes in it); or "
        "sensitivity (with these, and genomes ordered by the sensitivity of every operator).",
    ),
    click.option(
        "--seed-patterns",
        is_flag=True,
        help="Put genomes written by hand (2- to 4-bit weights, one width for the rest) into the "
        "first population too.",
    ),
    click.option(
        "--knob-genes",
        metavar="KNOB,...",
        default="",
        help=f"Knobs that are genes too: {', '.join(knob_genes())}. With --budget share alone.",
    ),
)
@group(
    "Proxy",
    click.option(
        "--prescreen",
        metavar="PROXY",
        help="Training-free proxy (name or formula, see `genogate proxy show`) that chooses the "
        "genomes to evaluate; every evaluation corrects it.",
    ),
    click.option(
        "--prescreen-factor",
        type=int,
        default=50,
        show_default=True,
        metavar="N",
        help="Genomes ranked by the proxy for each one that is evaluated.",
    ),
    click.option(
        "--proxy-only",
        is_flag=True,
        help="Use the proxy of --prescreen as the accuracy objective; only the front is evaluated, "
        "at the end.",
    ),
)
@group(
    "Retraining",
    click.option(
        "--beacon",
        metavar="COMMAND",
        help="Command that retrains a genome, with {genome} (a genome file) and {out} (the "
        "checkpoint to write) in it.",
    ),
    click.option(
        "--beacons",
        type=int,
        default=3,
        show_default=True,
        help="Greatest number of genomes to retrain, with --beacon.",
    ),
    click.option(
        "--beacon-distance",
        type=float,
        default=1.0,
        show_default=True,
        metavar="BITS",
        help="Distance (mean over genes) within which genomes try a beacon's weights.",
    ),
)
@knob_options()
@group(
    "Workers",
    workers_option(),
    click.option(
        "--backend",
        type=click.Choice(["processes", "serial", "dask", "ray"]),
        show_default="processes",
        help="Workers: processes of this machine, none (serial), or a cluster (dask, ray).",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="Address of a running cluster (dask, ray)."
    ),
)
@output_options(
    click.option(
        "--resume",
        is_flag=True,
        help="Resume the search in that folder; where it holds none, begin one and say so.",
    ),
    out_option("FOLDER", "runs/TASK-METHOD-SEED"),
)
def search(out: str | None, resume: bool, **options: Any) -> None:
    """Search for genomes that cost little and keep the accuracy.

    NSGA-II over the bit widths of all operators, then local search around the front. Accuracy is
    measured on the validation part. Cells are estimated; those of the front are measured by Yosys
    at the end. Ends with the smallest genomes within 0.5 and within 1 point of INT8, and leaves the
    whole front and genome files (within-0.5-smallest, within-0.5-fewest-cells, within-1.0-...,
    knee, most-accurate, smallest, fewest-weights, fewest-cells, front-N) that the other commands
    take with --genome. It may be killed at any time; --resume continues it.
    """
    if options["budget"] is not None:
        _search_within_budget(out, resume, options)
        return
    from ..genome_search import run_search
    from ..model.files import read_json

    try:
        with search_progress() as (say, tell):
            report, folder = run_search(options, knobs_of(options), out, resume, say, tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_KEPT) from None
    show(read_json(folder / "front.json"), lambda: print_search(report, folder))


def _search_within_budget(out: str | None, resume: bool, options: dict[str, Any]) -> None:
    from ..ladder import run_ladder

    given = {name for name in options if was_given(name)}
    try:
        with saying() as say:
            document, folder = run_ladder(options, given, knobs_of(options), out, resume, say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_KEPT) from None
    show(document, lambda: print_ladder(document, folder))


def print_ladder(document: dict[str, Any], folder: str | Path) -> None:
    """What a search within a budget ends with."""
    from ..model.data.measures import unit_of
    from ..search.ladder.page import (
        of_again,
        of_floats,
        of_last,
        others_on_front,
        spared,
        unit_of_cost,
        widths,
    )
    from ..search.report.commands import as_word, emit_command
    from .tables import console, new_table, print_caution, print_pairs

    terminal, best, cost = console(), document["best"], document["cost"]
    tested = ["test"] if "test" in document["int8"] else []
    table = new_table("network", "units", "genes", "in", "class.", cost, "saved", "lost", *tested)
    base = document["int8"][cost]
    rows = [("INT8", document["int8"]), *([("best", best)] if best else [])]
    rows += [("front", entry) for entry in others_on_front(document)]
    for name, entry in rows:
        table.add_row(
            name,
            str(entry["hidden"]),
            widths(entry),
            str(entry["input_bits"]),
            str(entry["classifier_bits"]),
            f"{entry[cost]:,.0f}",
            f"{100 * (1 - entry[cost] / base):.1f} %",
            f"{entry['lost']:+.2f}",
            *(f"{entry['test']:.4f}" if "test" in entry else "" for _ in tested),
        )
    terminal.print(table)
    terminal.print()
    spent = document["spent_seconds"] / 60
    pairs = [
        ("cost", unit_of_cost(document)),
        (
            "best",
            f"{'the least' if best else 'none'} within {document['drop']:g} {spared(document)}",
        ),
        (
            f"{unit_of(document.get('measure', ''))} lost",
            f"against INT8 of {document['int8']['epochs']} epochs, on {document['validation']}",
        ),
        *(("", text.strip()) for text in (of_again(document),) if text),
        ("spent", f"{spent:.1f} of {document['budget_seconds'] / 60:.1f} CPU minutes"),
        *(("", text.strip()) for text in (of_floats(document), of_last(document)) if text),
        ("page", f"{Path(folder) / 'page.html'}"),
    ]
    if "cells_measured" in document:
        pairs.append(("Verilog", f"{Path(folder) / 'best' / 'gru.v'}"))
    elif best is not None:
        pairs.append(("emit", emit_command() + as_word(str(Path(folder) / "best"))))
    print_pairs(terminal, [*pairs, ("written", f"{folder}/")])
    print_caution(document.get("caution"))


def _too_slow(clock: dict[str, Any]) -> str:
    """A line on a clock that no network reaches."""
    fastest = clock["fastest_mhz"]
    best = f"the fastest of {clock['measured']}, {clock['fastest']}, reaches {fastest:g} MHz"
    return (
        f"--clock {clock['mhz']:g}: no network reaches it; "
        f"{best if fastest else 'none fits the part'}: give a lower --clock, --pipeline 2, "
        "or a faster part."
    )


def print_search(report: dict[str, Any], folder: str | Path) -> None:
    """What ``genogate search`` ends with; the whole front is in its file and its page."""
    from ..search.genomes.conclusion import COSTS
    from ..search.report.commands import as_word, by_make, emit_command
    from .tables import console, new_table, print_caution, print_pairs

    terminal, rows = console(), report["conclusion"]
    if report.get("damaged"):
        terminal.print(f"{report['damaged']} damaged evaluations were made again.")
    clock = report.get("clock")
    if clock and not clock["met"]:
        terminal.print(_too_slow(clock))
        return
    if not report["points"]:
        terminal.print("No genome within the limits was found: allow more, or search longer.")
        return
    costs = [name for name in COSTS if any(name in row for row in rows)]
    tested = ["test"] if "test_accuracy" in rows[0] else []
    share = f"of int8 ({report['reference']})"
    table = new_table("genome", f"{report['unit']} lost", *tested, "bits", share, *costs)
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['drop']:.2f}",
            *(f"{row['test_accuracy']:.4f}" for _ in tested),
            f"{row['size']:,}",
            f"{row['share']:.1%}",
            *(
                f"{row[name]:,.{int(name == 'fmax_mhz')}f}" if row.get(name) is not None else ""
                for name in costs
            ),
        )
    terminal.print(table)
    terminal.print()
    names = [row["name"] for row in rows]
    suggested = next((n for n in names if n.startswith("within-0.5")), names[-1])
    page = "make report RUN=" if by_make() else "genogate report "
    pairs = [
        (f"{report['unit']} lost", f"against int8, on {report['judged']}"),
        ("front", f"{len(report['points'])} points in {Path(folder) / 'front.json'}"),
        ("page", page + as_word(str(folder))),
    ]
    if report.get("estimates"):
        words = [
            f"{name} {row['median_percent']:g} % (median), {row['worst_percent']:g} % at worst"
            for name, row in report["estimates"].items()
        ]
        pairs.insert(1, ("estimates off", "; ".join(words) + "; the table is measured"))
    if clock:
        reached = f"{clock['met']} of {clock['measured']} networks reach {clock['mhz']:g} MHz"
        pairs.insert(1, ("clock", f"{reached} by {', '.join(clock['by'])}; the rest are left out"))
    if suggested != "int8":
        pairs.append(("emit", emit_command() + as_word(str(Path(folder) / suggested))))
    print_pairs(terminal, [*pairs, ("written", f"{folder}/")])
    print_caution(report.get("caution"))
