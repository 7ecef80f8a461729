"""`genogate lut`: piecewise-linear table and unit of a function."""

from __future__ import annotations

from typing import Any

import click

from .options import expression
from .terminal import progress


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("function", callback=expression, required=False)
@click.option(
    "--table", metavar="FILE", help="A table.json to build the unit of, instead of a search."
)
@click.option(
    "--range",
    "bounds",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="The function's range; needed for an expression.",
)
@click.option("--entries", type=int, default=8, show_default=True, help="Segments, 4 to 64.")
@click.option(
    "--scales",
    default="0:6",
    show_default=True,
    metavar="K|A:B|K,K...",
    help="Scales 2^-k of the input codes that the table is for.",
)
@click.option("--separate", is_flag=True, help="Slopes and intercepts of its own for every scale.")
@click.option(
    "--method",
    default="exact",
    show_default=True,
    help="exact, gqa, gade, nn-lut or least-squares.",
)
@click.option(
    "--objective",
    type=click.Choice(["mse", "max"]),
    default="mse",
    show_default=True,
    help="Mean squared or greatest absolute error.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="A .npy array, a number for each code: a histogram of activations.",
)
@click.option(
    "--guard",
    default="auto",
    show_default=True,
    metavar="E|none|auto",
    help="Greatest error allowed for codes outside of the range; auto is 0.0625, "
    "or none where no table can hold that.",
)
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, 4 to 8 bits.")
@click.option(
    "--out-bits", type=int, default=8, show_default=True, help="Output codes, 4 to 8 bits."
)
@click.option(
    "--out-scale", type=int, metavar="K", help="Output scale 2^-K; by least error when not given."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["fixed", "dynamic"]),
    default="fixed",
    show_default=True,
    help="Of slopes and intercepts.",
)
@click.option("--slope-bits", type=int, help="Width of a slope; 8, or 10 for steep functions.")
@click.option("--intercept-bits", type=int, help="Width of an intercept; as slopes.")
@click.option("--fraction-bits", type=int, help="Bits behind the point of both; 6.")
@click.option(
    "--style",
    type=click.Choice(["fixed", "loadable", "select"]),
    default="fixed",
    show_default=True,
    help="Constants folded into a unit for each scale, one with a "
    "loadable table, or one of all scales with a select.",
)
@click.option(
    "--stages",
    type=click.IntRange(0, 3),
    default=0,
    show_default=True,
    help="Registers on the way; 0 is combinational.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the searches that need one.",
)
@click.option("--picture/--no-picture", default=True, help="Draw table.svg (needs matplotlib).")
@click.option(
    "--verify/--no-verify", default=True, help="Run the Verilog in Icarus on every input code."
)
@click.option(
    "--silicon", is_flag=True, help="Area and delay in standard cells too ($GENOGATE_LIBERTY)."
)
@click.option("--out", metavar="FOLDER", help="Where to write; build/lut/FUNCTION-ENTRIES/.")
def lut(out: str | None, **options: Any) -> None:
    """Piecewise-linear table and unit of a function.

    FUNCTION is gelu, hswish, silu, sigmoid, tanh, exp, reciprocal, rsqrt, or an expression in x
    such as "x * tanh(log(1 + exp(x)))". Writes table.json (integers and errors), table.svg, unit.v
    and report.json, and prints the errors beside the least possible one, the cells, and whether the
    Verilog gave every code as it should; exits with 1 where it did not.
    """
    from ..lut import make_table, write_lut
    from ..printing import print_lut

    with progress() as say:
        table = make_table(options, say)
        report, folder = write_lut(table, options, out, say)
    print_lut(report, folder)
    if not report["verified"].get("passed", True):
        raise click.exceptions.Exit(1)
