"""`genogate golden`: the golden model on codes from a file."""

from __future__ import annotations

import click


@click.command()
@click.argument("model")
@click.argument("inputs")
@click.argument("outputs")
def golden(model: str, inputs: str, outputs: str) -> None:
    """Evaluate integer codes exactly as the hardware does.

    MODEL is a model.safetensors of `genogate gru`; INPUTS a .npy array of input codes, integers
    [batch, steps, features] from -128 to 127, or of as many bits as --input-bits said; OUTPUTS a
    .npz file that receives the arrays hidden [batch, steps, units], logits [batch, classes] and
    classes [batch], so that you can check our Verilog with your own simulator. If OUTPUTS ends in
    .npy it receives the hidden states, and NAME.logits.npy beside it the logits.
    """
    from ..flow import run_golden

    for name, shape in run_golden(model, inputs, outputs).items():
        click.echo(f"{name} {list(shape)}")
