"""What the output of an ONNX graph answers: its last operator, and the steps that it takes."""

from dataclasses import replace
from typing import Any

import numpy as np

from .chain import Asked, Chain
from .onnx_values import Obstacle, Operators, OtherStep, View, at


def classifier(view: View, asked: Asked | None = None) -> Chain:
    """The chain whose last state gives the output `view`, or whose state at every step does where
    that is `asked`.

    Raises :class:`Obstacle` where the output takes other steps, or is no answer to what is asked.
    """
    base, asked = view.base, asked or Asked()
    if asked.real and base.kind not in ("", "Sigmoid"):
        raise Obstacle(f"its output goes through {base.kind}, where the task asks for real values")
    if not base.chain.layers:
        raise Obstacle("there is no GRU in its graph")
    if base.chain.matrix is None and not base.chain.back and not base.kind:
        raise Obstacle("its output is the GRU's states: a linear layer to the classes is needed")
    if base.kind == "ArgMax":
        sequence, step, _ = view.where()
        chain = base.chain
    else:
        if base.chain.width == 1 and view.index.shape[-1:] != (1,):
            view = view.mapped(lambda array: array[..., None])
        rows, sequence, step = view.rows()
        chain = rows.chain
    last = base.steps - 1
    taken = np.unique(step)
    if asked.every:
        places = np.sort(sequence * base.steps + step, axis=None)
        if np.array_equal(places, np.arange(base.sequences * base.steps)):
            return chain
        raise Obstacle(
            f"it answers at {len(taken)} of {base.steps} steps, where the task asks for an answer "
            "at every step of every sequence"
        )
    if len(taken) > 1:
        raise Obstacle(
            f"it gives logits at {len(taken)} steps, where one decision is needed, from the last "
            "(a task with a target at every step takes it)"
        )
    if taken[0] != last:
        raise OtherStep(
            f"it does not use the last state: its output takes step {taken[0] + 1} of {last + 1}"
        )
    if not np.array_equal(np.sort(sequence, axis=None), np.arange(base.sequences)):
        raise Obstacle("its output does not have one row for each sequence")
    return chain


def result_of(operators: Operators, node: Any, view: View) -> View:
    """Soft-max and the like, over the classes."""
    given, kind = operators.attributes(node), node.op_type
    old = operators.version < 13 and kind.endswith("Softmax")
    axis = given.get("axis", 0 if kind == "ArgMax" else 1 if old else -1)
    if kind == "Sigmoid":
        axis = -1
    if not -view.index.ndim <= axis < view.index.ndim:
        raise Obstacle(f"its {kind} has axis {axis}")
    if old and view.index.ndim != 2 and axis != view.index.ndim - 1:
        raise Obstacle(f"its {kind} runs over more than the classes")
    try:
        base, sequence, step = view.rows(axis)
    except Obstacle:
        raise Obstacle(f"its {kind} runs over another axis than the classes") from None
    result = replace(base, kind=kind, logits=(node.input[0], view))
    if kind == "ArgMax":
        flat = at(result, sequence, step).index[..., 0]
        return View(result, np.expand_dims(flat, axis) if given.get("keepdims", 1) else flat)
    return at(result, sequence, step).mapped(lambda array: np.moveaxis(array, -1, axis))
