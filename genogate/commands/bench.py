"""`genogate bench`: speeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command
from .options import output_options
from .terminal import progress, show


@click.command(cls=Command, examples=("genogate bench",))
@output_options(
    click.option(
        "--out",
        metavar="FILE",
        default="build/bench.json",
        show_default=True,
        help="File to write the figures to.",
    )
)
def bench(out: str) -> None:
    """Measure the speed of every part (needs torch).

    Compares the golden model and its compiled twin with float torch.nn.GRU on the same batch, one
    thread each. Also measures how long emitting takes, how long an area report takes with and
    without the cache, and the cells of constant and of run-time multipliers.
    """
    from ..bench import bench as run
    from ..model.files import write_json

    with progress() as say:
        figures = run(say)
    write_json(out, figures)
    show(figures, lambda: print_bench(figures, out))


def print_bench(figures: dict[str, Any], path: str | Path) -> None:
    """The figures of ``genogate bench``, nested ones with dotted names."""
    from .tables import console, number_text, print_pairs

    rows = []
    for name, value in figures.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, number in inner:
            text = (
                f"{number:,.4g}"
                if isinstance(number, float) and number < 1e4
                else (f"{number:,.0f}" if isinstance(number, float) else number_text(number))
            )
            rows.append((".".join(filter(None, (name, key))).replace("_", " "), text))
    print_pairs(console(), [*rows, ("written", str(path))])
