"""`genogate bench`: speeds."""

from __future__ import annotations

import click

from .terminal import progress


@click.command()
@click.option(
    "--out",
    metavar="FILE",
    default="build/bench.json",
    show_default=True,
    help="The figures, as JSON.",
)
def bench(out: str) -> None:
    """Measure speeds, against torch where there is a counterpart.

    Golden model and compiled twin against float torch.nn.GRU on the same batch, one thread each;
    emit time; area time cold and cached; cells with constant against run-time multipliers.
    """
    from ..bench import bench as run
    from ..model.files import write_json
    from ..printing import print_bench

    with progress() as say:
        figures = run(say)
    write_json(out, figures)
    print_bench(figures, out)
