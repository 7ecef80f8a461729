"""`genogate experiment`: everything for a task."""

from __future__ import annotations

from typing import Any

import click

from ..model.knobs import Knobs
from .terminal import saying


@click.command()
@click.option(
    "--task",
    default="digits-row",
    show_default=True,
    help="Data set, or a file NAME.npz with your own.",
)
@click.option(
    "--budget",
    type=click.Choice(["full", "quick"]),
    default="full",
    show_default=True,
    help="quick says nothing; it is for a look.",
)
@click.option(
    "--checkpoints",
    metavar="NAME|FILE,...",
    help="Float networks: the reference, further seeds of its size, and any of the "
    "sizes of --hidden; seedN: trained here. All that are shipped.",
)
@click.option("--hidden", metavar="N,...|none", help="Further hidden sizes, trained here.")
@click.option("--objectives", help="Of the searches; accuracy,size,cells.")
@click.option("--epochs", type=int, help="Of training a network for its genome.")
@click.option("--any-epochs", type=int, help="Of training weights for all genomes.")
@click.option(
    "--scales",
    type=click.Choice(["fixed", "learned"]),
    help="Of the networks that are trained for their genome.",
)
@click.option(
    "--teacher",
    type=click.Choice(["own", "reference"]),
    help="Whose answers teach other sizes: their own float network's, or those of the "
    "reference's size.",
)
@click.option("--sequences", type=int, help="Training sequences that an epoch sees; all.")
@click.option("--any-sequences", type=int, help="The same, of training weights for all genomes.")
@click.option("--pop", "pop_size", type=int, help="Genomes of a search's population.")
@click.option("--generations", type=int, help="Of exploration; as many of local search follow.")
@click.option("--rounds", type=int, help="Rounds of training what was found.")
@click.option("--trained", type=int, help="Networks that a round trains.")
@click.option(
    "--every-seed/--first-seed",
    default=None,
    help="Whether rounds train on every seed; on the first, further ones may be added later.",
)
@click.option("--seed", type=int, help="Of searches and trainings; 0.")
@click.option("--sim-sequences", type=int, help="Test sequences to simulate as Verilog.")
@click.option(
    "--lanes",
    default="1",
    show_default=True,
    metavar="N|X,H",
    help="Multiply-accumulates per cycle of a dense operator.",
)
@click.option(
    "--activation",
    type=click.Choice(["auto", "pwl", "table"]),
    default="table",
    show_default=True,
    help="Sigmoid and tanh; tables are quick to measure.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--record", is_flag=True, help="Keep it in docs/data too, for docs/results.md.")
@click.option("--out", metavar="FOLDER", help="Where to write; runs/experiment-TASK.")
def experiment(
    task: str,
    budget: str,
    out: str | None,
    workers: int,
    record: bool,
    lanes: str,
    activation: str,
    **options: Any,
) -> None:
    """Everything for a task: searches, training of what they find, one look at the test part.

    Float networks, weights for all genomes, searches on both, homogeneous rivals, rounds of
    training, several seeds, cells by Yosys, and one mixed network simulated as Verilog. Every
    number is kept in experiment.json as soon as it is known: the same command goes on after a stop.
    """
    from ..experiment import record_in_docs, run_experiment
    from ..printing import print_experiment

    knobs = Knobs.from_texts({"activation": activation, "lanes": lanes})
    if options["generations"] is not None:
        options["exploit"] = options["generations"]
    with saying() as say:
        document, folder = run_experiment(task, budget, options, knobs, out, workers, say)
    print_experiment(document, folder)
    if record:
        click.echo(f"written  {record_in_docs(document)}")
    if document.get("simulation", {}).get("mismatches"):
        raise click.exceptions.Exit(1)
