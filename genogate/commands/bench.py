"""`genogate bench`: speeds."""

from __future__ import annotations

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

    Golden model and compiled twin against float torch.nn.GRU on the same batch, one thread each;
    emit time; area time cold and cached; cells with constant against run-time multipliers.
    """
    from ..bench import bench as run
    from ..model.files import write_json
    from ..printing import print_bench

    with progress() as say:
        figures = run(say)
    write_json(out, figures)
    show(figures, lambda: print_bench(figures, out))
