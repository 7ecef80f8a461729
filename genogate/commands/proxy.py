"""`genogate proxy`: training-free proxies."""

from __future__ import annotations

from typing import Any

import click

from .help import Command, Group, group
from .options import (
    checkpoint_option,
    out_option,
    output_options,
    task_option,
    workers_option,
)
from .terminal import progress, show


@click.group(cls=Group)
def proxy() -> None:
    """Search, judge and use training-free proxies of accuracy.

    A proxy is a formula that ranks genomes without running the network. PROXY is such a formula
    (negate(mean(square(error)))), the name of one that is shipped, or that of a handcrafted one
    (bit-sum, hawq-v2, ...); `genogate proxy show` lists what formulas are made of.

    Example:

    \b
        genogate proxy score bit-sum int8 int4 int3
    """


#: Tables of genomes and their accuracies.
table_option = click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    required=True,
    help="Table of genomes and accuracies (may be repeated).",
)


@proxy.command(
    "search",
    cls=Command,
    examples=("genogate proxy search --table digits-row --evaluations 500",),
)
@group(
    "Search",
    table_option,
    click.option(
        "--method",
        default="evolution",
        show_default=True,
        help="Method of search: evolution or random.",
    ),
    click.option(
        "--structure",
        default="branched",
        show_default=True,
        help="Structure of a formula: sequential, branched, dag or mixed.",
    ),
    click.option(
        "--evaluations",
        type=int,
        default=2000,
        show_default=True,
        help="Number of formulas to score with each seed.",
    ),
    click.option("--population", type=int, default=20, show_default=True, help="Population size."),
    click.option("--seed", type=int, default=0, show_default=True, help="First seed."),
    click.option("--seeds", type=int, default=1, show_default=True, help="Number of searches."),
    click.option(
        "--diversity/--no-diversity",
        default=False,
        help="Let a random newcomer compete with every offspring, as in EMQ. Searches without it "
        "end better.",
    ),
    click.option("--prioritise/--no-prioritise", default=True, help="Draw operations by priority."),
    click.option(
        "--screening/--no-screening",
        default=True,
        help="Stop early on formulas that need not be scored.",
    ),
)
@group(
    "Fitness",
    click.option(
        "--by",
        default="score",
        show_default=True,
        help="Order of the top shares: score (as in EMQ), true accuracy, or both.",
    ),
    click.option(
        "--equal-sum",
        type=float,
        default=0.5,
        show_default=True,
        metavar="WEIGHT",
        help="Weight of the genomes with one sum of bits.",
    ),
    click.option(
        "--equal-size",
        type=float,
        default=0.0,
        show_default=True,
        metavar="WEIGHT",
        help="Weight of the genomes with one model size.",
    ),
    click.option(
        "--worst",
        type=float,
        default=0.25,
        show_default=True,
        metavar="WEIGHT",
        help="Weight of the worst table's fitness, beside the mean of all tables.",
    ),
    click.option("--all-rows", is_flag=True, help="Search on all rows and hold none out."),
)
@group("Run", workers_option(1))
@output_options(
    click.option(
        "--resume",
        is_flag=True,
        help="Resume the search in that folder; where it holds none, begin one and say so.",
    ),
    out_option("FOLDER", "runs/proxy-METHOD-TABLES"),
)
def proxy_search(out: str | None, resume: bool, **options: Any) -> None:
    """Search formulas that rank genomes by accuracy.

    The search uses one half of each table; the other half judges the result. It may be killed at
    any time; --resume continues it, to the same result.
    """
    from ..model.files import read_json
    from ..proxies import print_search, progress_of_proxies, run_search

    with progress_of_proxies() as (say, tell):
        outcomes, held, folder = run_search(options, out, resume, say, tell)
    show(read_json(folder / "found.json"), lambda: print_search(outcomes, held, folder))


@proxy.command(cls=Command, examples=("genogate proxy score evolved int4 int3 --task digits-row",))
@click.argument("proxy")
@click.argument("genomes", nargs=-1, required=True)
@group("Network", task_option, checkpoint_option)
@output_options()
def score(proxy: str, genomes: tuple[str, ...], task: str | None, checkpoint: str | None) -> None:
    """Rank genomes of a network, the best first."""
    from ..proxies import progress_of_proxies, run_score

    with progress_of_proxies() as (say, _):
        ranking = run_score(proxy, genomes, checkpoint, task, say)

    def table() -> None:
        for genome, value in ranking:
            click.echo(f"{value:<14.6g}  {genome}")

    show([{"genome": genome, "score": value} for genome, value in ranking], table)


@proxy.command(
    "eval",
    cls=Command,
    examples=("genogate proxy eval evolved --table digits-row --subset equal-sum",),
)
@click.argument("proxy")
@group(
    "Evaluation",
    table_option,
    click.option(
        "--subset",
        default="all",
        show_default=True,
        help="Genomes to rank: all, or those of equal-sum or equal-size.",
    ),
    click.option(
        "--passes",
        is_flag=True,
        help="Evaluate output-kl too, which runs the network for every genome.",
    ),
)
@output_options(click.option("--out", metavar="FILE", help="File to write the figures to."))
def proxy_eval(
    proxy: str, table: tuple[str, ...], subset: str, passes: bool, out: str | None
) -> None:
    """Print rank correlations of a proxy, beside the handcrafted ones."""
    from ..proxies import print_eval, progress_of_proxies, run_eval, without_nan

    with progress_of_proxies() as (say, _):
        document = run_eval(proxy, table, subset, out, passes, say)
    show(without_nan(document), lambda: print_eval(document))


@proxy.command(
    "table", cls=Command, examples=("genogate proxy table digits-row --out runs/table.npz",)
)
@click.argument("network")
@group(
    "Table",
    click.option(
        "--trained",
        type=int,
        default=0,
        show_default=True,
        help="Number of genomes for which a GRU is also trained.",
    ),
    workers_option(1),
)
@output_options(
    out_option("FILE", "runs/table-NETWORK.npz", "File to write. A table begun there is completed.")
)
def proxy_table(network: str, trained: int, workers: int, out: str | None) -> None:
    """Make a table of genomes and their accuracies, to judge proxies.

    It holds some hundred genomes and their validation accuracy. NETWORK is a GRU checkpoint, or one
    of the small CNNs (resnet-digits, mobilenet-mnist, ...). After a stop the same command resumes.
    """
    from pathlib import Path

    from ..search.proxies.networks import make_table

    path = Path(out or f"runs/table-{Path(network).stem}.npz")
    with progress() as say:
        table = make_table(network, path, trained=trained, workers=workers, say=say)
    count = len(table.genomes)
    show(
        {"written": str(path), "network": table.name, "genomes": count},
        lambda: click.echo(f"{path}: {count} genomes of {table.name}"),
    )


@proxy.command("show", cls=Command, examples=("genogate proxy show", "genogate proxy show evolved"))
@click.argument("proxy", required=False)
@output_options(
    click.option("--graph", metavar="FILE", help="Draw the formula to a .svg or .dot file.")
)
def show_(proxy: str | None, graph: str | None) -> None:
    """Show a proxy's formula, or what formulas are made of.

    Without PROXY the primitives of formulas and the shipped proxies are listed.
    """
    from ..proxies import run_show

    sections = run_show(proxy, graph)

    def table() -> None:
        for heading, text in sections.items():
            click.echo(text if heading == "primitives" else f"{heading:<12} {text}")

    show(sections, table)
