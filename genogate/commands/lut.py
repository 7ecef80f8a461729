"""`genogate lut`: piecewise-linear table and unit of a function."""

from __future__ import annotations

from typing import Any

import click

from .completion import functions
from .help import Command, group
from .options import expression, out_option, output_options, seed_option
from .terminal import progress, show


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True},
    examples=(
        "genogate lut gelu --entries 8",
        'genogate lut "x * tanh(log(1 + exp(x)))" --range -4 4 --scales 4',
        "genogate lut exp --style loadable --method least-squares",
    ),
)
@click.argument("function", callback=expression, required=False, shell_complete=functions)
@group(
    "Function and codes",
    click.option(
        "--range",
        "bounds",
        type=float,
        nargs=2,
        metavar="LOW HIGH",
        help="Range of the function; an expression needs one.",
    ),
    click.option(
        "--scales",
        default="0:6",
        show_default=True,
        metavar="K|A:B|K,K...",
        help="Scales 2^-k of the input codes that the table is for.",
    ),
    click.option(
        "--in-bits", type=int, default=8, show_default=True, help="Bits of input codes, 4 to 8."
    ),
    click.option(
        "--out-bits", type=int, default=8, show_default=True, help="Bits of output codes, 4 to 8."
    ),
    click.option(
        "--out-scale",
        type=int,
        metavar="K",
        show_default="the one of least error",
        help="Scale 2^-K of the output codes.",
    ),
)
@group(
    "Table",
    click.option("--entries", type=int, default=8, show_default=True, help="Segments, 4 to 64."),
    click.option(
        "--separate", is_flag=True, help="Give every scale its own slopes and intercepts."
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["fixed", "dynamic"]),
        default="fixed",
        show_default=True,
        help="Format of slopes and intercepts: one point for all, or an exponent for each.",
    ),
    click.option(
        "--slope-bits",
        type=int,
        show_default="8, or 10 for steep functions",
        help="Bits of a slope.",
    ),
    click.option(
        "--intercept-bits", type=int, show_default="as slopes", help="Bits of an intercept."
    ),
    click.option(
        "--fraction-bits",
        type=int,
        show_default="6",
        help="Bits behind the point of slopes and intercepts.",
    ),
    click.option(
        "--table", metavar="FILE", help="Build the unit of this table.json instead of searching."
    ),
)
@group(
    "Search",
    click.option(
        "--method",
        default="exact",
        show_default=True,
        help="Method that places the break points: exact, gqa, gade, nn-lut or least-squares.",
    ),
    click.option(
        "--objective",
        type=click.Choice(["mse", "max"]),
        default="mse",
        show_default=True,
        help="Error to minimise: mean squared, or the greatest absolute one.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="A .npy array with a weight for each code, such as a histogram of activations.",
    ),
    click.option(
        "--guard",
        default="auto",
        show_default=True,
        metavar="E|none|auto",
        help="Greatest error allowed for codes outside the range; auto is 0.0625, or none where no "
        "table can hold that.",
    ),
    seed_option(),
)
@group(
    "Unit",
    click.option(
        "--style",
        type=click.Choice(["fixed", "loadable", "select"]),
        default="fixed",
        show_default=True,
        help="Constants folded into a unit for each scale, one unit with a loadable table, or one "
        "of all scales with a select.",
    ),
    click.option(
        "--stages",
        type=click.IntRange(0, 3),
        default=0,
        show_default=True,
        help="Pipeline registers of the unit; 0 is combinational.",
    ),
    click.option(
        "--verify/--no-verify", default=True, help="Simulate the Verilog on every input code."
    ),
    click.option(
        "--silicon",
        is_flag=True,
        help="Measure area and delay in standard cells too ($GENOGATE_LIBERTY).",
    ),
)
@output_options(
    click.option("--picture/--no-picture", default=True, help="Draw table.svg (needs matplotlib)."),
    out_option("FOLDER", "build/lut/FUNCTION-ENTRIES"),
)
def lut(out: str | None, **options: Any) -> None:
    """Make the best piecewise-linear table of a function, and a unit.

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
    show(report, lambda: print_lut(report, folder))
    if not report["verified"].get("passed", True):
        raise click.exceptions.Exit(1)
