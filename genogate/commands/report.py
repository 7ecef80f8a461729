"""`genogate report`: one page about a search."""

from __future__ import annotations

import click

from .terminal import progress


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--beside",
    multiple=True,
    metavar="RUN",
    help="Draw the hypervolume of this run too (may be repeated). Runs next to RUN that "
    "differ from it only in method and seed are found without it.",
)
@click.option("--pictures/--no-pictures", default=True, help="PNG files for papers, beside it.")
@click.option(
    "--cells/--no-cells", default=True, help="Cells by operator for the points of the front."
)
@click.option("--out", metavar="FILE", help="Where to write; RUN/report.html.")
def report(run: str, beside: tuple[str, ...], pictures: bool, cells: bool, out: str | None) -> None:
    """One page about a search: its front, genes and cells, to look at and to turn.

    RUN is the folder of a search, which may still be going on. Writes one HTML file that loads
    nothing, so that it can be opened from disk, sent, and kept; and PNG files of its pictures.
    """
    from ..search.report.page import write_report

    with progress() as say:
        page, images, notes = write_report(
            run, beside, out, pictures=pictures, cells=cells, say=say
        )
    for note in notes:
        click.echo(note)
    click.echo(f"written  {page}")
    if images:
        click.echo(f"         {images[0].parent}/ ({len(images)} pictures)")
