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

    MODEL is a GRU with a linear classifier on its last state: a file of torch with a state dict
    (.pt, .ckpt, .bin ...), safetensors, an ONNX graph whose GRU has linear_before_reset=1, or a
    Keras 3 archive (.keras) whose GRU has reset_after=True; the content decides, not the suffix.
    Prints its float accuracy on the task.
    """
    from ..flow import run_import
    from ..printing import print_import

    with progress() as say:
        say("Reading and evaluating")
        checkpoint, path = run_import(model, task, seed, out, gru, classifier, test)
    print_import(checkpoint, path)
