"""`genogate report`: one page about a search."""

from __future__ import annotations

from pathlib import Path

import click

from .help import Command, group
from .options import out_option, output_options
from .terminal import progress, show


@click.command(cls=Command, examples=("genogate report runs/digits-row-nsga2-0",))
@click.argument("run", metavar="RUN", type=click.Path())
@group(
    "Contents",
    click.option(
        "--beside",
        multiple=True,
        metavar="RUN",
        help="Draw the hypervolume of this run too (may be repeated). Runs next to RUN that "
        "differ from it only in method and seed are drawn in any case.",
    ),
    click.option(
        "--pictures/--no-pictures", default=True, help="Write the pictures as PNG files too."
    ),
    click.option(
        "--cells/--no-cells",
        default=True,
        help="Measure cells by operator for the points of the front.",
    ),
)
@output_options(out_option("FILE", "RUN/report.html", "HTML file to write."))
def report(run: str, beside: tuple[str, ...], pictures: bool, cells: bool, out: str | None) -> None:
    """Show a search as one HTML page, and as pictures.

    RUN is the folder of a search, which may still be running. Writes one HTML file that loads
    nothing, so that it can be opened from disk, sent, and kept; and PNG files of its pictures.
    """
    from ..search.genomes.remedies import EXPERIMENT, experiment_of, with_remedies
    from ..search.report.page import write_report

    folder = Path(run)
    with progress() as say, with_remedies(folder, EXPERIMENT if experiment_of(folder) else ""):
        page, images, notes = write_report(
            run, beside, out, pictures=pictures, cells=cells, say=say
        )

    def table() -> None:
        for note in notes:
            click.echo(note)
        click.echo(f"written  {page}")
        if images:
            click.echo(f"         {images[0].parent}/ ({len(images)} pictures)")

    show({"page": str(page), "pictures": list(map(str, images)), "notes": list(notes)}, table)
