"""`genogate gru`: from a genome to Verilog, integer model and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import (
    build,
    network_folder,
    network_options,
    output_options,
    pace_options,
    target_options,
)
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate gru --genome int4",
        "genogate gru --genome 4,4,6,3,3,5,6,6,8,6,8,6,8,8,5,5,8 --lanes 2",
        "genogate gru --checkpoint digits-row-2layer --out build/two-layers",
    ),
)
@network_options
@group("Part", target_options)
@pace_options
@output_options(
    click.option(
        "--wrapper",
        type=click.Choice(["none", "axi", "bytes"]),
        default="none",
        show_default=True,
        help="Also write gru_axi.v or gru_bytes.v: gru.v behind AXI4-Stream or byte streams.",
    ),
    network_folder,
)
def gru(
    wrapper: str,
    target: str,
    memories: str,
    steps_per_second: float | None,
    clock: float | None,
    **options: Any,
) -> None:
    """Quantise a network, write its Verilog and measure it.

    Writes gru.v, model.safetensors (every integer of the network) and report.json (accuracy, size,
    cycles, cells of every operator), and prints the report. It also writes a self-checking Verilog
    bench with vectors (gru_tb.v and its .hex files) and gru.core for FuseSoC; with --target also
    target.json, the resources that the network takes of a real part. Either all files are written
    or none.
    """
    from ..outputs import write_gru
    from ..pace import Pace
    from ..targets import check_target_options, print_target

    check_target_options(target, memories)
    pace = Pace(steps_per_second, clock)
    pace.check()
    with progress() as say:
        network = build(options, say)
        report = write_gru(network, options["out"], say, wrapper, target, memories, pace)

    def told() -> None:
        print_report(report, options["out"] or network.folder)
        if target != "generic":
            print()
            print_target(report["on_target"], options["out"] or network.folder)

    show(report, told)


def _original(info: dict[str, Any]) -> str:
    """What is known of the float network that a chain of trainings began with."""
    name = info.get("imported") or info.get("source") or f"checkpoint {info.get('hash')}"
    if "accuracy" in info:
        score = f"{info['accuracy']:.4f}"
    elif "val" in info:
        score = f"{info['val']:.4f} on validation"
    else:
        score = "unknown"
    return f"{score}, the original network ({name})"


def print_report(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate gru``."""
    from ..model.data.measures import score_text
    from ..pace import pace_rows
    from ..reference import size_text
    from .tables import console, genome_text, print_operators, print_pairs

    terminal, measure = console(), report.get("measure", "accuracy")
    print_operators(terminal, report)
    terminal.print()
    images = f"{report['test_sequences']} test sequences"
    if not report["test_unseen"]:
        images += ", which its training may have seen"
    float_text = f"float {score_text(measure, report['accuracy_float'])}"
    if "original" in report:
        float_text = f"the trained weights run as {float_text}"
    print_pairs(
        terminal,
        [
            ("genome", genome_text(report)),
            (
                measure,
                f"{score_text(measure, report['accuracy'])} on {images} ({float_text})",
            ),
            *(
                [("mean error", f"{report['mean_error']:.4g} (root mean square)")]
                if "mean_error" in report
                else []
            ),
            *([("head", report["head"])] if "head" in report else []),
            *([("float", _original(report["original"]))] if "original" in report else []),
            (
                "size",
                size_text(report),
            ),
            (
                "cycles per step",
                f"{report['cycles_per_step']:,}, multipliers busy {report['utilisation']:.1%}",
            ),
            (
                "per sequence",
                f"{report['cycles_per_sequence']:,} cycles back to back, {report['steps']} steps",
            ),
            *pace_rows(report),
            ("cells", f"{report['cells']:,} summed over modules, {report['cells_flat']:,} flat"),
            ("memory", f"{report['memory_bits']:,} bits"),
            ("measured by", report["yosys"]),
            (
                "written",
                str(Path(folder) / "{gru.v,gru_tb.v,report.json,...}"),
            ),
        ],
    )
