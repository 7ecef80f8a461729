"""`genogate qat`: training of quantised networks."""

from __future__ import annotations

from typing import Any

import click

from .options import GENOME_HELP, knobs_of, source_options, test_option, with_recorded_options
from .terminal import epochs_bar


@click.command()
@click.option("--genome", default="int4", show_default=True, help=GENOME_HELP)
@source_options
@click.option(
    "--any", "for_all", is_flag=True, help="One set of weights for all genomes, not for --genome."
)
@click.option("--epochs", type=int, help="30; with --any 50.")
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--batch", type=int, help="Sequences; as the task's float training.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--distil/--no-distil",
    default=True,
    show_default=True,
    help="Whether the float network teaches it.",
)
@click.option("--ternary", "narrow", is_flag=True, help="2-bit weights -1 to 1, not -2 to 1.")
@click.option("--tables", is_flag=True, help="The entries of activation tables are trained too.")
@click.option(
    "--scales",
    type=click.Choice(["learned", "fixed"]),
    help="Whether scales are trained too; fixed.",
)
@click.option(
    "--patience", type=int, help="Stop after so many epochs without a better validation accuracy."
)
@test_option
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/GENOME-qat.safetensors.")
def qat(
    genome: str,
    for_all: bool,
    out: str | None,
    test: bool,
    epochs: int | None,
    lr: float | None,
    batch: int | None,
    seed: int,
    distil: bool,
    narrow: bool,
    tables: bool,
    scales: str | None,
    patience: int | None,
    **options: Any,
) -> None:
    """Train the weights on, quantised as the genome says (needs torch).

    The forward pass is the integer network itself, so `genogate gru --genome G --checkpoint FILE`
    gives exactly the network that was trained; any other genome with that checkpoint is quantised
    as always. With --any the weights are trained for all genomes at once, for a search to run on.
    A training that was stopped goes on when the same command is given again.
    """
    from ..printing import print_tuning
    from ..tuning import run_any, run_tuning

    given = {**options, "genome": genome}
    found = given if for_all else with_recorded_options(given)
    recipe = {
        "epochs": epochs,
        "lr": lr,
        "batch": batch,
        "seed": seed,
        "distil": distil,
        "narrow": narrow,
        "tables": tables,
        "scales": scales,
        "patience": patience,
    }
    with epochs_bar("Reading") as update:

        def say(text: str) -> None:
            update(description=text)

        def tell(done: int, total: int, loss: float, score: float) -> None:
            now = f"loss {loss:.4f}, validation {score:.4f}"
            update(total=total, completed=done, now=now)

        about: dict[str, Any] = {
            "task": found["task"],
            "checkpoint": found["checkpoint"],
            "knobs": knobs_of(found),
            "out": out,
            "options": recipe,
            "say": say,
            "tell": tell,
            "test": test,
        }
        if for_all:
            report, path = run_any(**about)
        else:
            report, path = run_tuning(genome=found["genome"], **about)
    print_tuning(report, path)
