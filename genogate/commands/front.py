"""`genogate front`: units of a function, from the smallest to the most accurate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .completion import functions
from .help import Command, group
from .options import expression, out_option, output_options, range_option, seed_option
from .terminal import progress, show


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True},
    examples=(
        "genogate front gelu",
        'genogate front "x * tanh(log(1 + exp(x)))" --range -4 4 --generations 4',
    ),
)
@click.argument("function", callback=expression, shell_complete=functions)
@group(
    "Function and codes",
    range_option,
    click.option(
        "--scale",
        type=int,
        default=5,
        show_default=True,
        metavar="K",
        help="Scale 2^-K of the input codes.",
    ),
    click.option(
        "--in-bits", type=int, default=8, show_default=True, help="Bits of input codes, 4 to 8."
    ),
    click.option(
        "--out-bits", type=int, default=8, show_default=True, help="Bits of output codes, 4 to 8."
    ),
)
@group(
    "Search",
    click.option(
        "--pop",
        "pop_size",
        type=int,
        default=36,
        show_default=True,
        help="Number of units to measure first; each generation measures a third as many.",
    ),
    click.option(
        "--generations",
        type=int,
        default=12,
        show_default=True,
        help="Number of generations of the search.",
    ),
    seed_option(),
    click.option(
        "--deep",
        is_flag=True,
        help="Spend minutes of logic optimisation (ABC's &deepsyn) on the units of the front; "
        "some get smaller.",
    ),
)
@output_options(out_option("FOLDER", "build/front/FUNCTION-SCALE"))
def front(**options: Any) -> None:
    """Find units of a function, from smallest to most accurate.

    FUNCTION as in `genogate lut`. A genetic search starts from exact tables and varies whole units,
    with Yosys in the loop; it finds slopes of few signed digits, round break points, shared logic,
    and the form with the fewest cells. Writes front.json and a verified Verilog file for every
    unit, its constants folded in.
    """
    from ..lut import write_front

    with progress() as say:
        record, folder = write_front(**options, say=say)
    show(record, lambda: print_front(record, folder))
    if not record["verified"]["passed"]:
        raise click.exceptions.Exit(1)


def print_front(record: dict[str, Any], folder: str | Path) -> None:
    """The units of ``genogate front``."""
    from rich.text import Text

    from .tables import console, new_table, power_text, print_pairs

    terminal, verified = console(), record["verified"]
    for text in verified["first"]:
        terminal.print(Text(text))
    rows = new_table("file", "cells", "mean squared error", "segments", "form")
    for unit in record["units"]:
        rows.add_row(
            unit["file"],
            f"{unit['cells']:,}",
            f"{unit['mse']:.3g}",
            str(len(unit["slopes"])),
            unit["form"],
        )
    terminal.print(rows)
    terminal.print()
    low, high = record["range"]
    print_pairs(
        terminal,
        [
            (
                "function",
                f"{record['function']} on {low:g} to {high:g}, "
                f"codes of scale {power_text(record['scale'])}",
            ),
            (
                "verified",
                f"{verified['codes']:,} codes in Icarus, stalls, "
                f"{verified['mismatches']} mismatches",
            ),
            ("measured by", record["yosys"]),
            ("written", f"{folder}/"),
        ],
    )
