"""Why a node of an ONNX graph cannot be imported, and what to do instead."""

from typing import Any

import numpy as np

from .onnx_values import Obstacle, Operators, View

RESET_BEFORE = (
    "it resets the state before the matrix, W_hn (r * h), which torch.nn.GRU and the generated "
    "hardware do after it, r * (W_hn h + b_hn); no weights make the two equal"
)
_BY_DATA = "its statistics come from the data while it runs, which no weights can replace"
_LAYER_NORM = (
    "its mean and spread are those of each vector while it runs, which no weights can replace; its "
    "gain and shift alone would fold into the next linear layer, but they act on the normalised "
    "vector"
)
_OVER_STEPS = "it combines the steps, where the generated hardware takes the last state"
_REASONS = {
    "LayerNormalization": _LAYER_NORM,
    "InstanceNormalization": _BY_DATA,
    "GroupNormalization": _BY_DATA,
    "ReduceMean": _OVER_STEPS,
    "ReduceMax": _OVER_STEPS,
    "ReduceSum": _OVER_STEPS,
    "GlobalAveragePool": _OVER_STEPS,
    "GlobalMaxPool": _OVER_STEPS,
    "LSTM": "a GRU is needed",
    "RNN": "a GRU is needed",
}


def _resets_before(loop: Any) -> bool:
    """Whether a Loop multiplies a matrix by a product of its own, as Keras' ``r * h``."""
    body = next((each.g for each in loop.attribute if each.name == "body"), None)
    if body is None:
        return False
    products = {name for node in body.node if node.op_type == "Mul" for name in node.output}
    return any(node.op_type == "MatMul" and node.input[0] in products for node in body.node)


def unsupported(operators: Operators, producer: str, node: Any, view: View | None) -> Obstacle:
    """Why `node` cannot be imported, with `view` among its inputs, or constants alone."""
    kind = node.op_type
    if kind in ("Loop", "Scan", "If"):
        if kind == "Loop" and _resets_before(node):
            return Obstacle(
                f"{RESET_BEFORE}: train Keras' GRU with reset_after=True, its default, and "
                "import the model as .keras"
            )
        if "tf2onnx" in producer or "keras" in producer:
            return Obstacle(
                f"its GRU is a {kind}, the form in which tf2onnx writes Keras' layers: import "
                "the model saved by Keras 3 as .keras instead (its GRU with reset_after=True)"
            )
        if kind == "If":
            return Obstacle(
                "an If decides while the graph runs: export it without, or import the weights"
            )
        return Obstacle(f"its steps are a {kind}, a GRU operator is needed: import the weights")
    if view is None:
        return Obstacle(f"operator {kind:.40} is not supported, even on constants")
    place = f"{view.base.kind} behind " * bool(view.base.kind) + view.base.chain.place
    reason = _REASONS.get(kind)
    if reason is _OVER_STEPS and np.any(np.diff(view.where()[1], axis=-1)) == 0:
        axes = operators.attributes(node).get("axes", [])
        if list(axes) in ([-1], [view.index.ndim - 1]):
            reason = _BY_DATA
    reason = reason or (
        "only GRU layers in series, their last state, linear layers with ReLU, sigmoid or tanh "
        "and normalisation with constants can be imported"
    )
    return Obstacle(f"operator {kind:.40} is not supported behind {place}: {reason}")
