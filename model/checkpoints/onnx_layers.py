"""Layers of an ONNX graph, a function for each kind of node."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .chain import Chain, normalisation, real
from .onnx_values import Base, Joined, Obstacle, Operators, Value, View, at


def weight_of(value: Value | None, what: str) -> np.ndarray:
    """The constant `value` as real numbers; `what` it is, for messages."""
    if isinstance(value, View | Joined):
        raise Obstacle(f"{what} is computed while the graph runs, a constant is needed")
    if value is None:
        raise Obstacle(f"{what} is missing")
    return real(value, what)


def linear(operators: Operators, node: Any, view: View, inputs: list[Value | None]) -> View:
    """A Gemm or MatMul with a constant matrix."""
    given = operators.attributes(node)
    weight = weight_of(inputs[1] if len(inputs) > 1 else None, "a linear layer's weight")
    bias = None
    if node.op_type == "Gemm":
        if given.get("transA", 0):
            view = view.mapped(np.transpose)
        weight = weight if given.get("transB", 0) else weight.T
        if given.get("alpha", 1.0) != 1:
            weight = weight * np.float64(given["alpha"])
        if len(inputs) > 2 and inputs[2] is not None:
            bias = weight_of(inputs[2], "a linear layer's bias")
    else:
        weight = weight.reshape(weight.shape[-2:]) if weight.ndim > 2 else weight
        weight = weight.T
    if weight.ndim != 2:
        raise Obstacle(f"a linear layer's weight has shape {weight.shape}")
    base, sequence, step = view.rows()
    base = replace(base, chain=base.chain.dense(np.ascontiguousarray(weight), None))
    result = at(base, sequence, step)
    if bias is None:
        return result
    if bias.size == len(weight) and bias.shape[-1:] == (len(weight),):
        # Straight into the chain, so that an ordinary layer's bias stays bit for bit.
        plain = bias.reshape(-1) if given.get("beta", 1.0) == 1 else bias * given["beta"]
        return replace(result, base=replace(base, chain=view_bias(base.chain, plain)))
    return result.affine(1.0, bias * np.float64(given.get("beta", 1.0)))


def function_of(function: str, view: View) -> View:
    """`function` of every element of `view`."""
    for axis in range(view.index.ndim):
        # The values of a step lie along the last axis, or where the graph has put them.
        try:
            base, sequence, step = view.rows(-1 - axis)
        except Obstacle:
            if axis == view.index.ndim - 1:
                raise
            continue
        result = at(replace(base, chain=base.chain.activated(function)), sequence, step)
        return result.mapped(partial(np.moveaxis, source=-1, destination=-1 - axis))
    raise Obstacle(f"a single number of {view.base.chain.place} is taken, not all values")


def as_layer(view: View) -> View:
    """A view of a sigmoid that other operators follow: a dense layer with that function."""
    base = view.base
    if base.kind != "Sigmoid":
        return view
    return replace(view, base=Base(base.chain.activated("sigmoid"), base.sequences, base.steps))


def view_bias(chain: Chain, bias: np.ndarray) -> Chain:
    """`chain` with a linear layer's bias behind it."""
    if chain.offset is None:
        return replace(chain, offset=bias)
    return chain.scaled(np.ones(chain.width), bias)


def batch_normalised(
    operators: Operators, node: Any, view: View, inputs: list[Value | None]
) -> View:
    """A BatchNormalization with constants."""
    given = operators.attributes(node)
    if given.get("training_mode", 0):
        raise Obstacle("its BatchNormalization is training: export the model after model.eval()")
    if len(inputs) < 5 or view.index.ndim < 2:
        raise Obstacle("its BatchNormalization has inputs that do not fit")
    gain, bias, mean, variance = (
        weight_of(value, "BatchNormalization's constants") for value in inputs[1:5]
    )
    channels = (view.index.shape[1],)
    if any(array.shape != channels for array in (gain, bias, mean, variance)):
        raise Obstacle("its BatchNormalization has constants that do not fit")
    scale, offset = normalisation(mean, variance, gain, bias, given.get("epsilon", 1e-5))
    shape = (-1, *[1] * (view.index.ndim - 2))
    return view.affine(scale.reshape(shape), offset.reshape(shape))
