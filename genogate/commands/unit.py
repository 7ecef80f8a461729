"""`genogate unit`: softmax, normalisation and reciprocals as Verilog."""

from __future__ import annotations

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
        help="Number of elements of a vector; the greatest number for softmax.",
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
    from ..printing import print_unit
    from ..unit import make_unit, write_unit

    with progress() as say:
        op = make_unit(kind, **given)
        report, folder = write_unit(op, kind, given, out, say)
    show(report, lambda: print_unit(report, folder))
    if not report["verified"]["passed"]:
        raise click.exceptions.Exit(1)
