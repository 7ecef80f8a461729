"""`genogate proxy`: training-free proxies."""

from __future__ import annotations

from typing import Any

import click

from .terminal import progress


@click.group()
def proxy() -> None:
    """Training-free proxies: formulas that rank genomes without running the network.

    A PROXY is a formula (negate(mean(square(error)))), the name of one that is shipped, or that of
    a handcrafted one (bit-sum, hawq-v2, ...); `genogate proxy show` lists what formulas are made
    of.
    """


@proxy.command("search")
@click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    required=True,
    help="Configurations and accuracies to search on (may be repeated).",
)
@click.option(
    "--structure",
    default="branched",
    show_default=True,
    help="sequential, branched, dag, or mixed.",
)
@click.option("--method", default="evolution", show_default=True, help="evolution, or random.")
@click.option(
    "--evaluations",
    type=int,
    default=2000,
    show_default=True,
    help="Candidates to score with each seed.",
)
@click.option("--population", type=int, default=20, show_default=True, help="Formulas.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=int, default=1, show_default=True, help="How many searches.")
@click.option(
    "--by",
    default="score",
    show_default=True,
    help="Top shares by score, as EMQ has them, by true accuracy, or both.",
)
@click.option(
    "--equal-sum",
    type=float,
    default=0.5,
    show_default=True,
    metavar="WEIGHT",
    help="Of the genomes with one sum of bits, in the fitness.",
)
@click.option(
    "--equal-size",
    type=float,
    default=0.0,
    show_default=True,
    metavar="WEIGHT",
    help="Of the genomes with one model size, in the fitness.",
)
@click.option(
    "--worst",
    type=float,
    default=0.25,
    show_default=True,
    metavar="WEIGHT",
    help="Of the table with the least fitness, beside the mean.",
)
@click.option(
    "--diversity/--no-diversity",
    default=False,
    help="A random newcomer competes with every offspring, as in EMQ; searches without end better.",
)
@click.option("--prioritise/--no-prioritise", default=True, help="Draw operations by priority.")
@click.option("--screening/--no-screening", default=True, help="Stop what need not be scored.")
@click.option("--all-rows", is_flag=True, help="Hold no half of the tables out.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--resume", is_flag=True, help="Go on with the search in that folder.")
@click.option("--out", metavar="FOLDER", help="Where to write; runs/proxy-METHOD-TABLES.")
def proxy_search(out: str | None, resume: bool, **options: Any) -> None:
    """Search a formula that ranks the genomes of tables by their accuracy.

    One half of each table is searched on, the other judges what was found. Kill it at any time:
    with --resume the same search goes on, to the same end.
    """
    from ..proxies import print_search, progress_of_proxies, run_search

    with progress_of_proxies() as (say, tell):
        found = run_search(options, out, resume, say, tell)
    print_search(*found)


@proxy.command()
@click.argument("proxy")
@click.argument("genomes", nargs=-1, required=True)
@click.option("--task", help="Data set; digits-row, or the checkpoint's own.")
@click.option(
    "--checkpoint",
    metavar="NAME|FILE",
    help="Float checkpoint: a shipped one by name, or a file; the task's by default.",
)
def score(proxy: str, genomes: tuple[str, ...], task: str | None, checkpoint: str | None) -> None:
    """Rank genomes of a network, the best first."""
    from ..proxies import progress_of_proxies, run_score

    with progress_of_proxies() as (say, _):
        found = run_score(proxy, genomes, checkpoint, task, say)
    for genome, value in found:
        click.echo(f"{value:<14.6g}  {genome}")


@proxy.command("eval")
@click.argument("proxy")
@click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    required=True,
    help="Configurations and accuracies to judge on (may be repeated).",
)
@click.option(
    "--subset",
    default="all",
    show_default=True,
    help="all, or the genomes of equal-sum or equal-size.",
)
@click.option(
    "--passes", is_flag=True, help="Also output-kl, which runs the network for every genome."
)
@click.option("--out", metavar="FILE", help="The figures, as JSON.")
def proxy_eval(
    proxy: str, table: tuple[str, ...], subset: str, passes: bool, out: str | None
) -> None:
    """Rank correlations of a proxy on tables, beside the handcrafted ones."""
    from ..proxies import print_eval, progress_of_proxies, run_eval

    with progress_of_proxies() as (say, _):
        document = run_eval(proxy, table, subset, out, passes, say)
    print_eval(document)


@proxy.command("table")
@click.argument("network")
@click.option(
    "--trained",
    type=int,
    default=0,
    show_default=True,
    help="Genomes of a GRU that are trained for as well.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--out", metavar="FILE", help="runs/table-NETWORK.npz; goes on with one begun there.")
def proxy_table(network: str, trained: int, workers: int, out: str | None) -> None:
    """Make a table: some hundred genomes of NETWORK and their validation accuracy.

    NETWORK is a GRU checkpoint, or one of the small CNNs (resnet-digits, mobilenet-mnist, ...).
    Kill it at any time: the same command goes on.
    """
    from pathlib import Path

    from ..search.proxies import tables

    path = Path(out or f"runs/table-{Path(network).stem}.npz")
    with progress() as say:
        made = tables.make(network, path, trained=trained, workers=workers, say=say)
    click.echo(f"{path}: {len(made.genomes)} genomes of {made.name}")


@proxy.command()
@click.argument("proxy", required=False)
@click.option("--graph", metavar="FILE", help="Draw it: a .svg or .dot file.")
def show(proxy: str | None, graph: str | None) -> None:
    """A proxy's formula, text and structure; without PROXY what formulas are made of."""
    from ..proxies import run_show

    for heading, text in run_show(proxy, graph).items():
        click.echo(text if heading == "primitives" else f"{heading:<12} {text}")
