"""`genogate import`: models that were trained elsewhere."""

from __future__ import annotations

import click

from .options import test_option
from .terminal import progress


@click.command("import")
@click.argument("model")
@click.option("--task", required=True, help="Data set that it is for, or a file NAME.npz.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the task's split.")
@click.option("--gru", metavar="NAME", help="The GRU's module, if there are several.")
@click.option("--classifier", metavar="NAME", help="The linear layer, if shapes do not tell.")
@test_option
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/MODEL.safetensors.")
def import_(
    model: str,
    task: str,
    seed: int,
    gru: str | None,
    classifier: str | None,
    test: bool,
    out: str | None,
) -> None:
    """Make a checkpoint of a model trained elsewhere.

    MODEL is a torch.nn.GRU with a linear classifier on its last state: a state dict (.pt, .pth,
    .safetensors) or an ONNX graph (.onnx) whose GRU has linear_before_reset=1. Prints its float
    accuracy on the task.
    """
    from ..flow import run_import
    from ..printing import print_import

    with progress() as say:
        say("Reading and evaluating")
        checkpoint, path = run_import(model, task, seed, out, gru, classifier, test)
    print_import(checkpoint, path)
