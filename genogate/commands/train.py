"""`genogate train`: training of float networks."""

from __future__ import annotations

from typing import Any

import click

from .options import test_option
from .terminal import epochs_bar


@click.command()
@click.option(
    "--task",
    default="digits-row",
    show_default=True,
    help="Data set, or a file NAME.npz with your own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of split and training.")
@click.option("--hidden", type=int, help="Units of every layer.")
@click.option("--layers", type=int, default=1, show_default=True, help="GRU layers in series.")
@click.option("--epochs", type=int, help="Of your own data: as many as make 4,000 updates.")
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--batch", type=int)
@click.option("--weight-decay", type=float)
@click.option("--label-smoothing", type=float)
@click.option(
    "--patience",
    type=int,
    default=0,
    show_default=True,
    help="Stop after so many epochs without a better validation accuracy and keep the "
    "best; 0: keep the last.",
)
@click.option(
    "--start",
    default="",
    metavar="NAME|FILE",
    help="Checkpoint of the same sizes, of any task, to start from.",
)
@click.option(
    "--slower",
    type=float,
    default=1.0,
    show_default=True,
    help="With --start: how many times as fine the steps are as those it was trained on.",
)
@click.option(
    "--augment",
    default="",
    metavar="CHANGE,...",
    help="Random changes of your own data that keep the class: shift, stretch, noise, offset; with "
    "a size as in noise=0.2.",
)
@test_option
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/seedN.safetensors.")
def train(task: str, out: str | None, test: bool, **recipe: Any) -> None:
    """Train a float network (needs torch).

    Writes a safetensors checkpoint that the other commands take with --checkpoint. What is not
    given is the task's own recipe. Prints accuracy on the validation part. The same options give
    the same bytes on the same machine, also when it was stopped in between: the same command goes
    on from FILE.partial.
    """
    from ..flow import run_training, sequences_of
    from ..model.checkpoints.training import recipe_for
    from ..printing import print_training

    chosen = recipe_for(task, recipe, sequences_of(task, recipe["seed"]))
    with epochs_bar("epochs", chosen.epochs, "loss nan") as update:

        def tell(done: int, total: int, loss: float) -> None:
            update(completed=done, now=f"loss {loss:.4f}")

        checkpoint, path = run_training(task, chosen, out, tell, test)
    print_training(checkpoint, path)
