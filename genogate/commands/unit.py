"""`genogate unit`: softmax, normalisation and reciprocals as Verilog."""

from __future__ import annotations

from typing import Any

import click

from .terminal import progress


@click.command()
@click.argument("kind")
@click.option(
    "--length",
    type=int,
    default=64,
    show_default=True,
    help="Elements of a vector (softmax: the most).",
)
@click.option(
    "--scale",
    type=int,
    default=4,
    show_default=True,
    metavar="K",
    help="Scale 2^-K of the input codes.",
)
@click.option("--entries", type=int, default=8, show_default=True, help="Segments of the tables.")
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, bits.")
@click.option("--out-bits", type=int, default=8, show_default=True, help="Output codes, bits.")
@click.option("--out-scale", type=int, metavar="K", help="Output scale 2^-K; chosen if not given.")
@click.option("--out", metavar="FOLDER", help="Where to write; build/unit/KIND-.../.")
def unit(kind: str, out: str | None, **given: Any) -> None:
    """Softmax, normalisation, or a reciprocal of any positive code, as verified Verilog.

    KIND is softmax, layernorm, rmsnorm, reciprocal or rsqrt. The units are made of piecewise-linear
    tables and range reduction by powers of two. Writes unit.v and report.json, and runs the Verilog
    in Icarus against the golden model; exits with 1 where they differ.
    """
    from ..printing import print_unit
    from ..unit import make_unit, write_unit

    with progress() as say:
        op = make_unit(kind, **given)
        report, folder = write_unit(op, kind, given, out, say)
    print_unit(report, folder)
    if not report["verified"]["passed"]:
        raise click.exceptions.Exit(1)
