"""`genogate unit`: softmax, normalisation and reciprocals as Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import out_option, output_options
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=("genogate unit softmax --length 32", "genogate unit rsqrt --entries 6"),
)
@click.argument("kind")
@group(
    "Unit",
    click.option(
        "--length",
        type=int,
        default=64,
        show_default=True,
        help="Number of elements of a vector; for softmax the greatest number.",
    ),
    click.option(
        "--entries", type=int, default=8, show_default=True, help="Segments of each table."
    ),
)
@group(
    "Codes",
    click.option(
        "--scale",
        type=int,
        default=4,
        show_default=True,
        metavar="K",
        help="Scale 2^-K of the input codes.",
    ),
    click.option("--in-bits", type=int, default=8, show_default=True, help="Bits of input codes."),
    click.option(
        "--out-bits", type=int, default=8, show_default=True, help="Bits of output codes."
    ),
    click.option(
        "--out-scale",
        type=int,
        metavar="K",
        show_default="fits the results",
        help="Scale 2^-K of the output codes.",
    ),
)
@output_options(out_option("FOLDER", "build/unit/KIND-LENGTH-SCALE-ENTRIES"))
def unit(kind: str, out: str | None, **given: Any) -> None:
    """Make a verified softmax, normalisation, 1/x or 1/sqrt(x) unit.

    KIND is softmax, layernorm, rmsnorm, reciprocal or rsqrt. The units are made of piecewise-linear
    tables and range reduction by powers of two. Writes unit.v and report.json, and runs the Verilog
    in Icarus against the golden model; exits with 1 where they differ.
    """
    from ..unit import make_unit, write_unit

    with progress() as say:
        op = make_unit(kind, **given)
        report, folder = write_unit(op, kind, given, out, say)
    show(report, lambda: print_unit(report, folder))
    if not report["verified"]["passed"]:
        raise click.exceptions.Exit(1)


def print_unit(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate unit``."""
    from rich.text import Text

    from .tables import console, print_pairs

    area, verified = report["area"], report["verified"]
    terminal = console()
    for text in verified["mismatches"][:10]:
        terminal.print(Text(text))
    print_pairs(
        terminal,
        [
            (
                "unit",
                f"{report['unit']}, {report['in_bits']}-bit codes of scale 2^{-report['scale']} "
                f"to {report['out_bits']}-bit codes, {report['entries']} segments",
            ),
            (
                "verified",
                f"{verified['elements']:,} elements in Icarus, stalls and resets, "
                f"{len(verified['mismatches'])} mismatches",
            ),
            (
                "area",
                f"{area['cells']:,} cells ({area['flip_flops']:,} flip-flops), "
                f"{area['memory_bits']:,} memory bits",
            ),
            ("measured by", area["yosys"]),
            ("written", str(Path(folder) / "{unit.v,report.json}")),
        ],
    )
