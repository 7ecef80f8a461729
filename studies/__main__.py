"""``python -m studies``: measure what docs/results.md reports, and write the page again."""

import click
from genogate.cli import main as run
from genogate.commands.terminal import saying

from .results import results


@click.command()
@click.option("--only", multiple=True, metavar="SECTION", help="Measure these sections only.")
@click.option(
    "--docs", default="docs", show_default=True, metavar="FOLDER", help="The docs folder."
)
@click.option("--quick", is_flag=True, help="Small versions of the sections; with another --docs.")
@click.option(
    "--budget",
    metavar="TIME",
    help="Time for a section of many trainings, as in 60m; the next call goes on.",
)
def study(only: tuple[str, ...], docs: str, quick: bool, budget: str | None) -> None:
    """Measure what docs/results.md reports, and write it again.

    The figures go to docs/data, and the page is made from them. All sections take about three hours
    on two cores; those of silicon need a Liberty file and OpenSTA.
    """
    with saying() as say:
        present = results(only, docs, say, quick, budget)
    click.echo(f"{docs}/results.md: {', '.join(present)}")


if __name__ == "__main__":
    run(study, "python -m studies")
