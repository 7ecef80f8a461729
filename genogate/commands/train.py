"""`genogate train`: training of float networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model.checkpoints.floating import Checkpoint

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import (
    out_option,
    output_options,
    seed_option,
    test_option,
    training_task_option,
)
from .terminal import epochs_bar, show


@click.command(
    cls=Command,
    examples=(
        "genogate train --epochs 5 --hidden 24 --out mine.safetensors",
        "genogate train --task mine.npz --hidden 24 --augment shift,noise=0.2",
    ),
)
@group(
    "Network and data",
    training_task_option,
    click.option(
        "--hidden", type=int, show_default="the task's own", help="Number of units of every layer."
    ),
    click.option(
        "--layers", type=int, show_default="1, of denoise 2", help="Number of GRU layers in series."
    ),
    click.option(
        "--start",
        default="",
        metavar="NAME|FILE",
        help="Checkpoint of the same sizes, of any task, to start from.",
    ),
    click.option(
        "--slower",
        type=float,
        default=1.0,
        show_default=True,
        help="With --start: how many times finer the steps are than those it was trained on.",
    ),
    click.option(
        "--augment",
        default="",
        metavar="CHANGE,...",
        help="Random changes of your own data that keep the class: shift, stretch, noise, offset; "
        "with a size as in noise=0.2.",
    ),
    click.option(
        "--activation",
        default="",
        metavar="none|relu|sigmoid|tanh",
        show_default="sigmoid where targets are from 0 to 1, else none",
        help="Activation behind real outputs.",
    ),
    click.option(
        "--front",
        default="",
        metavar="FUNCTION:UNITS,..",
        show_default="none",
        help="Dense layers in front of the GRU layers: none, relu, sigmoid or tanh, and units.",
    ),
    click.option(
        "--back",
        default="",
        metavar="FUNCTION:UNITS,..",
        show_default="none",
        help="Dense layers between the GRU layers and the classifier.",
    ),
    click.option(
        "--initial-state",
        default="",
        metavar="learned",
        show_default="zero",
        help="Train the state that sequences start with, of every GRU layer, too.",
    ),
    click.option(
        "--output",
        default="",
        metavar="logits",
        show_default="as the task asks",
        help="Answer logits in place of a class.",
    ),
)
@group(
    "Training",
    click.option(
        "--epochs",
        type=int,
        show_default="the task's own; for your data as many as make 4,000 updates",
        help="Number of epochs.",
    ),
    click.option("--lr", type=float, show_default="the task's own", help="Greatest learning rate."),
    click.option(
        "--batch", type=int, show_default="the task's own", help="Number of sequences in an update."
    ),
    click.option(
        "--weight-decay", type=float, show_default="the task's own", help="Weight decay of AdamW."
    ),
    click.option(
        "--label-smoothing",
        type=float,
        show_default="the task's own",
        help="Share of each label that is spread over all classes.",
    ),
    click.option(
        "--patience",
        type=int,
        default=0,
        show_default=True,
        help="Stop after so many epochs without a better validation accuracy and keep the best; "
        "0 trains all epochs and keeps the last.",
    ),
    seed_option(0, help="Seed of the split and of the training."),
)
@output_options(
    test_option, out_option("FILE", "build/TASK/seedN.safetensors", "Checkpoint to write.")
)
def train(task: str, out: str | None, test: bool, **recipe: Any) -> None:
    """Train a float network (needs torch).

    Writes a safetensors checkpoint that the other commands take with --checkpoint. Every option
    that is not given comes from the task's own recipe. Prints accuracy on the validation part. The
    same options give the same bytes on the same machine. After a stop the same command resumes from
    FILE.partial.
    """
    from ..model.checkpoints.recipe import recipe_for
    from ..training import run_training, sequences_of

    full = recipe_for(task, recipe, sequences_of(task, recipe["seed"]))
    with epochs_bar("epochs", full.epochs, "loss nan") as update:

        def tell(done: int, total: int, loss: float) -> None:
            update(completed=done, now=f"loss {loss:.4f}")

        checkpoint, path = run_training(task, full, out, tell, test)
    show({"written": str(path), **checkpoint.info}, lambda: print_training(checkpoint, path))


def print_training(checkpoint: Checkpoint, path: str | Path) -> None:
    """What ``genogate train`` made."""
    from .tables import accuracies, console, print_pairs

    scores = checkpoint.info["accuracy"]
    print_pairs(
        console(),
        [
            (
                checkpoint.info.get("measure", "accuracy"),
                accuracies(scores, checkpoint.info.get("measure", "")),
            ),
            ("again", checkpoint.info["command"]),
            ("written", str(path)),
        ],
    )
