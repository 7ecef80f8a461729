"""`genogate golden`: the golden model on codes from a file."""

from __future__ import annotations

import click

from .help import Command
from .options import output_options
from .terminal import show


@click.command(
    cls=Command, examples=("genogate golden build/digits-row/int8/model.safetensors x.npy y.npz",)
)
@click.argument("model", type=click.Path())
@click.argument("inputs", type=click.Path())
@click.argument("outputs", type=click.Path())
@output_options()
def golden(model: str, inputs: str, outputs: str) -> None:
    """Evaluate integer codes exactly as the hardware does.

    MODEL is a model.safetensors of `genogate gru`; INPUTS a .npy array of input codes, integers
    [batch, steps, features] from -128 to 127, or of fewer bits if --input-bits said so; OUTPUTS a
    .npz file that receives the arrays hidden [batch, steps, units], logits [batch, classes] and
    classes [batch], so that you can check the Verilog with your own simulator. If OUTPUTS ends in
    .npy it receives the hidden states, and NAME.logits.npy beside it the logits.
    """
    from ..evaluation import run_golden

    def table() -> None:
        for name, shape in shapes.items():
            click.echo(f"{name} {list(shape)}")

    shapes = run_golden(model, inputs, outputs)
    show({name: list(shape) for name, shape in shapes.items()}, table)
