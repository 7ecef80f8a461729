"""`genogate front`: units of a function, from the smallest to the most accurate."""

from __future__ import annotations

from typing import Any

import click

from .options import expression
from .terminal import progress


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("function", callback=expression)
@click.option(
    "--range",
    "bounds",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="The function's range; needed for an expression.",
)
@click.option(
    "--scale",
    type=int,
    default=5,
    show_default=True,
    metavar="K",
    help="Scale 2^-K of the input codes.",
)
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, 4 to 8 bits.")
@click.option(
    "--out-bits", type=int, default=8, show_default=True, help="Output codes, 4 to 8 bits."
)
@click.option(
    "--pop",
    "pop_size",
    type=int,
    default=36,
    show_default=True,
    help="Units measured first; a third as many in each generation.",
)
@click.option("--generations", type=int, default=12, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", metavar="FOLDER", help="Where to write; build/front/FUNCTION-SCALE/.")
def front(**options: Any) -> None:
    """Units of a function with constants folded in, from the smallest to the most accurate.

    FUNCTION as in `genogate lut`. A genetic search over whole units, started from exact tables,
    with Yosys in the loop: slopes of few signed digits, round break points, shared logic, and the
    form with the fewest cells. Writes front.json and a verified Verilog file for every unit.
    """
    from ..lut import write_front
    from ..printing import print_front

    with progress() as say:
        record, folder = write_front(**options, say=say)
    print_front(record, folder)
    if not record["verified"]["passed"]:
        raise click.exceptions.Exit(1)
