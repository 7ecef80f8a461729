"""The integer model, and the float weights, of a network that was trained."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..genome import GENES
from ..integer import IntModel, Table, with_op
from ..knobs import Knobs
from ..quantize.layer import ACTIVATIONS
from ..quantize.trained import Trained, record
from .network import Network
from .structure import Structure


def export(network: Network, structure: Structure, tensors: Mapping[str, np.ndarray]) -> IntModel:
    """The integer model that `structure` with latent values `tensors` is."""
    latents = {name: network.torch.from_numpy(value) for name, value in tensors.items()}
    model = structure.model_of(tensors)
    view = structure.view(latents)
    for number, layer in enumerate(model.layers):
        ops = dict(layer.ops)
        codes = network.tables(structure, view, latents, number).numpy()
        for k, name in enumerate(ACTIVATIONS):
            if f"{name}.{number}" in tensors:
                old = ops[name]
                assert isinstance(old, Table)
                table = codes[k, : len(old.table)].astype(old.table.dtype)
                model = with_op(model, number, name, replace(old, table=table))
    scale = structure.scale_of_classifier(tensors)
    plan = record(model, Knobs(**model.info["knobs"]), scale, structure.narrow)
    return Trained(tensors, plan).unchecked(model.info)


def real_weights(model: IntModel, classifier_scale: float) -> dict[str, np.ndarray]:
    """The weights and biases that the codes of `model` stand for, float32, as a checkpoint's."""
    tensors: dict[str, np.ndarray] = {}
    tensors |= _real_dense(model, "front", (model.input_scale, model.input_zero_point))
    operand = model.layer_format
    for number, layer in enumerate(model.layers):
        scales = model.info["scales"][number]
        state = scales["s_h"]["scale"], layer.state_zero_point
        for names, (scale, zero), weight_name, bias_name in (
            (GENES[:3], operand, f"weight_ih_l{number}", f"bias_ih_l{number}"),
            (GENES[3:6], state, f"weight_hh_l{number}", f"bias_hh_l{number}"),
        ):
            weights, biases = [], []
            for name in names:
                op = layer.dense(name)
                row = scales[f"{name}.weight"]["scale"] / 2.0 ** op.channel_shift.astype(float)
                weights.append(op.weight * row[:, None])
                biases.append((op.bias + zero * op.weight.astype(np.int64).sum(1)) * row * scale)
            tensors[weight_name] = np.concatenate(weights).astype(np.float32)
            tensors[bias_name] = np.concatenate(biases).astype(np.float32)
        if layer.initial_state is not None:
            codes = layer.initial_state.astype(np.float64) - layer.state_zero_point
            tensors[f"initial_state_l{number}"] = (codes * state[0]).astype(np.float32)
        operand = state
    tensors |= _real_dense(model, "back", operand)
    if model.back:
        operand = model.back[-1].scale, model.back[-1].zero_point
    head, (scale, zero) = model.classifier, operand
    tensors["classifier.weight"] = (head.weight * classifier_scale).astype(np.float32)
    folded = head.bias + zero * head.weight.astype(np.int64).sum(1)
    tensors["classifier.bias"] = (folded * classifier_scale * scale).astype(np.float32)
    return tensors


def _real_dense(model: IntModel, place: str, operand: tuple[float, int]) -> dict[str, np.ndarray]:
    """The same of the dense layers at `place`; `operand` : format of what the first takes."""
    tensors: dict[str, np.ndarray] = {}
    scale, zero = operand
    for name, layer in model.dense_layers.items():
        if name.startswith(place):
            op = layer.dense
            row = model.info["dense_scales"][name]["weight"]["scale"]
            row = row / 2.0 ** op.channel_shift.astype(float)
            folded = op.bias + zero * op.weight.astype(np.int64).sum(1)
            tensors[f"{name}.weight"] = (op.weight * row[:, None]).astype(np.float32)
            tensors[f"{name}.bias"] = (folded * row * scale).astype(np.float32)
            scale, zero = layer.scale, layer.zero_point
    return tensors
