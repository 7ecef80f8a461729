"""`genogate import`: models that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..model.checkpoints.floating import Checkpoint

from pathlib import Path

import click

from ..model.errors import shown
from .completion import tasks
from .help import Command, group
from .options import out_option, output_options, seed_option, test_option
from .terminal import progress, show


@click.command(
    "import",
    cls=Command,
    examples=(
        "genogate import mine.pt --task mine.npz --out mine.safetensors",
        "genogate import model.pt --task kws10 --gru encoder.gru --classifier head",
    ),
)
@click.argument("model", type=click.Path())
@group(
    "Model and data",
    click.option(
        "--task",
        required=True,
        metavar="NAME|FILE.npz",
        shell_complete=tasks,
        help="Data set that the model is for: a task by name, or a file with your own data.",
    ),
    seed_option(0, help="Seed of the task's split."),
    click.option(
        "--gru",
        metavar="NAME",
        show_default="the only one",
        help="Module of the GRU in a state dict.",
    ),
    click.option(
        "--classifier",
        metavar="NAME",
        show_default="by its shape",
        help="Module of the linear classifier in a state dict.",
    ),
    click.option(
        "--front",
        metavar="F,..",
        show_default="no layers",
        help="Activation of each linear layer in front of the GRU in a state dict: none, relu, "
        "sigmoid or tanh.",
    ),
    click.option(
        "--back",
        metavar="F,..",
        show_default="no layers",
        help="The same for linear layers between the GRU and the classifier.",
    ),
    test_option,
)
@output_options(out_option("FILE", "build/TASK/MODEL.safetensors", "Checkpoint to write."))
def import_(
    model: str,
    task: str,
    seed: int,
    gru: str | None,
    classifier: str | None,
    front: str | None,
    back: str | None,
    test: bool,
    out: str | None,
) -> None:
    """Turn a model trained elsewhere into a checkpoint.

    MODEL is a GRU with a linear classifier on its last state: a file of torch with a state dict
    (.pt, .ckpt, .bin ...), safetensors, an ONNX graph whose GRU has linear_before_reset=1, or a
    Keras 3 archive (.keras) whose GRU has reset_after=True; the content decides, not the suffix.
    Prints its float accuracy on the task.
    """
    from ..training import run_import

    with progress() as say:
        say("Reading and evaluating")
        checkpoint, path = run_import(model, task, seed, out, gru, classifier, test, front, back)
    show({"written": str(path), **checkpoint.info}, lambda: print_import(checkpoint, path))


def print_import(checkpoint: Checkpoint, path: str | Path) -> None:
    """What ``genogate import`` read."""
    from .tables import accuracies, console, print_pairs

    scores = checkpoint.info["accuracy"]
    units = ", ".join(str(checkpoint.hidden_size(k)) for k in range(checkpoint.layers))
    print_pairs(
        console(),
        [
            (
                "network",
                f"{checkpoint.input_size} inputs, {checkpoint.layers} GRU layers of {units} "
                f"units, {checkpoint.classes} "
                f"{'classes' if checkpoint.head.output == 'class' else 'outputs'}",
            ),
            (
                checkpoint.info.get("measure", "accuracy"),
                f"{accuracies(scores, checkpoint.info.get('measure', ''))} (float)",
            ),
            *_weights_row(checkpoint.info),
            *([] if checkpoint.head.plain else [("head", str(checkpoint.head))]),
            *_dense_rows(checkpoint),
            ("written", str(path)),
        ],
    )


def _dense_rows(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Dense layers around the GRU layers, and first states."""
    layers = [
        f"{name} {len(checkpoint.tensors[f'{name}.bias'])} {function}"
        for name, function in checkpoint.functions.items()
    ]
    rows = [("dense layers", ", ".join(layers))] if layers else []
    given = any(name.startswith("initial_state") for name in checkpoint.tensors)
    return [*rows, *([("states start", "as the model says")] if given else [])]


def _weights_row(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which weights were taken, of a file that holds several."""
    if not info.get("imported_not"):
        return []
    others = ", ".join(map(shown, info["imported_not"][:4]))
    place = shown(info["imported_part"]) if info.get("imported_part") else "the file itself"
    return [("weights", f"of {place}; the file has those of {others} too")]
