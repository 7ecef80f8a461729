"""`genogate search`: searches of genomes."""

from __future__ import annotations

from typing import Any

import click

from ..model.knobs import knob_genes
from .options import knobs_of, source_options, test_option
from .terminal import search_progress


@click.command()
@source_options
@click.option(
    "--objectives",
    default="accuracy,size,cells",
    show_default=True,
    help="accuracy and one or more of size, weights (of the GRU alone), cells, memory, "
    "cycles, silicon.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME|FILE",
    help="Another checkpoint of the task, of other sizes or weights (may be repeated); "
    "which one is a gene. --checkpoint stays what all is relative to.",
)
@click.option(
    "--method", default="nsga2", show_default=True, help="nsga2, or its rivals random and greedy."
)
@click.option("--pop", "pop_size", type=int, default=40, show_default=True, help="Genomes.")
@click.option("--generations", type=int, default=10, show_default=True, help="Of exploration.")
@click.option(
    "--exploit",
    type=int,
    show_default="15, for nsga2",
    help="Generations of local search around the front, after that.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--initial",
    show_default="sensitivity, for nsga2",
    help="First population: random; with the homogeneous genomes; or with these and "
    "genomes ordered by the sensitivity of every operator.",
)
@click.option(
    "--knob-genes",
    metavar="KNOB,...",
    default="",
    help=f"Knobs that are genes too: {', '.join(knob_genes())}.",
)
@click.option(
    "--max-drop",
    default="10",
    show_default=True,
    metavar="POINTS|none",
    help="Points of accuracy below INT8 beyond which a genome is of no use (and goes unmeasured).",
)
@click.option("--max-size", type=float, metavar="BITS", help="Limit of the size.")
@click.option("--max-weights", type=float, metavar="BITS", help="Limit of the GRU's weights.")
@click.option("--max-cells", type=float, metavar="CELLS", help="Limit of the cells.")
@click.option("--max-memory", type=float, metavar="BITS", help="Limit of the memory bits.")
@click.option("--max-cycles", type=float, metavar="CYCLES", help="Limit of cycles per step.")
@click.option(
    "--bit-weight",
    type=float,
    default=0.75,
    show_default=True,
    metavar="K",
    help="Cells that a memory bit counts as in the objective silicon.",
)
@click.option(
    "--beacon",
    metavar="COMMAND",
    help="Retrains a few genomes: a command with {genome} (a genome file) and {out} (the "
    "checkpoint to write) in it.",
)
@click.option(
    "--beacons",
    type=int,
    default=3,
    show_default=True,
    help="Genomes to retrain at most, with --beacon.",
)
@click.option(
    "--beacon-distance",
    type=float,
    default=1.0,
    show_default=True,
    metavar="BITS",
    help="Genomes so near (mean over genes) try a beacon's weights.",
)
@click.option(
    "--prescreen",
    metavar="PROXY",
    help="Search by this training-free proxy (name or formula, `genogate proxy show`), "
    "corrected by every evaluation, between two generations that are "
    "evaluated.",
)
@click.option(
    "--prescreen-factor",
    type=int,
    default=50,
    show_default=True,
    metavar="N",
    help="Genomes looked at for each that is evaluated, with --prescreen.",
)
@click.option(
    "--proxy-only",
    is_flag=True,
    help="The proxy of --prescreen is the accuracy objective; only the front is "
    "evaluated, in the end.",
)
@click.option(
    "--estimate",
    is_flag=True,
    help="Search by estimated cells, without Yosys, and measure the front in the end.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option(
    "--backend",
    type=click.Choice(["processes", "serial", "dask", "ray"]),
    help="Where evaluations run; processes of this machine when not given.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a running cluster (dask, ray).")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@test_option
@click.option("--out", metavar="FOLDER", help="Where to write; runs/TASK-METHOD-SEED.")
def search(out: str | None, resume: bool, **options: Any) -> None:
    """Search genomes: fewest cells, bits ... at the best accuracy.

    NSGA-II over the bit widths of all operators, then local search around the front. Accuracy is
    that of the validation part; cells come from Yosys, each distinct module once ever. Ends with
    the smallest genomes within 0.5 and within 1 point of INT8, and leaves the whole front and
    genome files (within-0.5-smallest, within-0.5-fewest-cells, within-1.0-..., knee, most-accurate,
    smallest, fewest-weights, fewest-cells, front-N) that the other commands take with --genome.
    Kill it at any time: with --resume the same run goes on.
    """
    from ..flow import run_search
    from ..printing import print_search

    try:
        with search_progress() as (say, tell):
            report, folder = run_search(options, knobs_of(options), out, resume, say, tell)
    except KeyboardInterrupt:
        click.echo("genogate: what is evaluated is kept, --resume goes on from there", err=True)
        raise
    print_search(report, folder)
