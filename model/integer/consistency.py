"""Whether the parts of a network fit together."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import InputError
from ..genome import GENES
from .operators import Dense

if TYPE_CHECKING:
    from .model import IntModel
    from .stages import DenseLayer


def _ports(name: str, layer: DenseLayer) -> tuple[str, int, int, int, int]:
    """Name of a dense layer, its inputs and their width, its outputs and their width."""
    return name, layer.input_size, layer.in_bits, layer.output_size, layer.out_bits


def check_series(model: IntModel) -> None:
    """Every part takes what the part before it gives: as many values, as wide."""
    parts: list[tuple[str, int, int, int, int]] = [
        *(_ports(f"front{k}", layer) for k, layer in enumerate(model.front)),
        *(
            (f"layer {k}", g.input_size, g.in_bits, g.hidden_size, g.bits("h"))
            for k, g in enumerate(model.layers)
        ),
        *(_ports(f"back{k}", layer) for k, layer in enumerate(model.back)),
    ]
    linear = model.classifier
    parts.append(("the classifier", linear.weight.shape[1], linear.in_bits, 0, 0))
    for (below, *_, size, bits), (name, inputs, in_bits, *_) in pairwise(parts):
        if (inputs, in_bits) != (size, bits):
            raise InputError(
                f"model: {name} takes {inputs} values of {in_bits} bits, "
                f"{below} gives {size} of {bits}"
            )


def check_genes(model: IntModel) -> None:
    for number, (layer, genes) in enumerate(zip(model.layers, model.genome.layers, strict=True)):
        for name, bits in zip(GENES, genes, strict=True):
            op = layer.ops[name]
            width = op.weight_bits if isinstance(op, Dense) else op.out_bits
            if width != bits:
                raise InputError(f"layer {number}, {name}: {width} bits, its gene says {bits}")
    if len(model.dense_layers) != len(model.genome.dense):
        raise InputError("model: genome and dense layers differ in number")
    for (name, dense), pair in zip(model.dense_layers.items(), model.genome.dense, strict=True):
        if dense.genes != pair:
            raise InputError(
                f"{name}: weights of {dense.genes[0]} and output of {dense.genes[1]} bits, "
                f"its genes say {pair[0]} and {pair[1]}"
            )


def check_head(model: IntModel) -> None:
    if (model.stage is not None) != (model.head.output == "codes"):
        raise InputError(f"model: a head of {model.head} and its output stage do not fit")
    if model.stage is None:
        return
    sums, taken = model.classifier, model.stage.requantize
    if (sums.acc_min, sums.acc_max) != (taken.acc_min, taken.acc_max):
        raise InputError("model: the output stage takes other sums than the classifier gives")
    curved = model.head.activation in ("sigmoid", "tanh")
    if curved != (model.stage.activation is not None):
        raise InputError(f"model: a head of {model.head} and its activation do not fit")
