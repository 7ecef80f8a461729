"""A GRU node of an ONNX graph."""

from dataclasses import replace
from typing import Any

import numpy as np

from .chain import real
from .onnx_layers import as_layer, weight_of
from .onnx_reasons import RESET_BEFORE
from .onnx_values import Base, Joined, Obstacle, Operators, OtherStep, Value, View, whole


def gru_layer(
    operators: Operators, producer: str, node: Any, inputs: list[Value | None]
) -> list[Value]:
    """One GRU node; its rows z r h become r z n. producer : of the graph, for messages"""
    given = operators.attributes(node)
    operands = [*inputs, *[None] * 6][:6]
    x = operands[0]
    if not isinstance(x, View):
        raise Obstacle("its GRU does not take the input but a constant")
    where = f"GRU layer {len(x.base.chain.layers) + 1}"
    x = as_layer(x) if x.base.kind == "Sigmoid" else x
    if x.base.kind:
        raise Obstacle(f"{where} stands behind a {x.base.kind}")
    _check_form(producer, where, given)
    layout = int(given.get("layout", 0))
    if x.index.ndim != 3:
        raise Obstacle(f"{where} has an input of {x.index.ndim} axes")
    if layout:
        x = x.mapped(lambda array: array.swapaxes(0, 1))
    base, sequence, step = x.rows()
    _in_order(where, base, sequence, step)
    if operands[4] is not None and (
        not isinstance(operands[4], np.ndarray) or np.any(operands[4] != base.steps)
    ):
        raise Obstacle(f"{where} takes lengths of sequences: all have the task's length here")
    if isinstance(operands[5], View | Joined):
        raise Obstacle(f"{where} begins in a state that the network computes, not at zero")
    weights = _weights_of(where, operands)
    state = _first_state(where, operands[5], weights[1].shape[1], layout)
    chain = base.chain.gru(weights, state)
    states = replace(base, chain=chain)
    all_steps = whole(states).index  # [sequences, steps, units]
    last = all_steps[:, -1]
    if layout:
        shapes = [all_steps[:, :, None], last[:, None]]
    else:
        shapes = [all_steps.swapaxes(0, 1)[:, None], last[None]]
    return [View(states, np.ascontiguousarray(index)) for index in shapes]


def _check_form(producer: str, where: str, given: dict[str, Any]) -> None:
    """Raises :class:`Obstacle` for a form of GRU that the hardware has not."""
    if given.get("linear_before_reset", 0) != 1:
        if producer == "pytorch":
            raise Obstacle(
                f"{where} has linear_before_reset=0, which torch.nn.GRU never computes: a "
                "fault of torch's exporter (onnxscript 0.6.2); export it with a newer "
                "onnxscript or with dynamo=False, or import the state dict"
            )
        raise Obstacle(
            f"{where} has linear_before_reset=0: {RESET_BEFORE}, so train with "
            "linear_before_reset=1 (Keras: reset_after=True)"
        )
    direction = given.get("direction", b"forward").decode(errors="replace")
    if direction != "forward":
        raise Obstacle(f"{where} is {direction:.20}: hardware takes the steps forward")
    names = [name.decode(errors="replace").lower() for name in given.get("activations", [])]
    if names and names != ["sigmoid", "tanh"]:
        raise Obstacle(f"{where} has activations {names!s:.80}, sigmoid and tanh are needed")
    if "clip" in given:
        raise Obstacle(f"{where} clips its sums at {given['clip']}, which has no counterpart")


def _weights_of(where: str, operands: list[Value | None]) -> Any:
    w_ih, w_hh = (weight_of(value, f"the weight of {where}") for value in operands[1:3])
    shapes = f"{where} has weights of shape {w_ih.shape} and {w_hh.shape}"
    if w_ih.ndim != 3 or w_hh.ndim != 3 or len(w_ih) != 1 or len(w_hh) != 1:
        raise Obstacle(shapes)
    rows, hidden = w_hh.shape[1:]
    if rows != 3 * hidden or w_ih.shape[1] != rows or not hidden:
        raise Obstacle(shapes)
    bias = np.zeros((1, 2 * rows), np.float32)
    if operands[3] is not None:
        bias = weight_of(operands[3], f"the bias of {where}")
    if bias.shape != (1, 2 * rows):
        raise Obstacle(f"{where} has a bias of shape {bias.shape}")

    def torch_order(array: np.ndarray) -> np.ndarray:
        z, r, h = np.split(array, 3)
        return np.ascontiguousarray(np.concatenate([r, z, h]))

    return tuple(map(torch_order, (w_ih[0], w_hh[0], *np.split(bias[0], 2))))


def _in_order(where: str, base: Base, sequence: np.ndarray, step: np.ndarray) -> None:
    """Raises :class:`Obstacle` unless the rows [steps, sequences] are all steps, one by one."""
    steps, sequences = base.steps, base.sequences
    if np.any(sequence[:, 0] != sequence[0, 0]) or np.any(step[0] != step[0, 0]):
        raise Obstacle(
            f"{where} runs over the sequences instead of their steps: batch_first does not fit"
        )
    if sequence.shape[1] != sequences or np.any(sequence != np.arange(sequences)):
        raise Obstacle(f"{where} takes other sequences than {base.chain.place} has")
    order = step[:, 0]
    if len(order) == steps and np.array_equal(step, np.arange(steps)[:, None] + 0 * step):
        return
    if len(order) == steps and np.array_equal(order, np.arange(steps)[::-1]):
        raise Obstacle(f"{where} takes the steps backwards: hardware takes them forward")
    raise OtherStep(
        f"{where} does not see every step in order: it takes {len(order)} of {steps} steps, "
        f"{order[0] + 1} to {order[-1] + 1}, so its last state is another network's"
    )


def _first_state(where: str, value: Value | None, hidden: int, layout: int) -> np.ndarray | None:
    """The state [H] that sequences start with, of a GRU's constant input."""
    if value is None:
        return None
    array = real(value, f"the first state of {where}")
    if not array.any():
        return None
    array = array.swapaxes(0, 1) if layout and array.ndim == 3 else array
    if array.ndim != 3 or len(array) != 1 or array.shape[2] != hidden:
        raise Obstacle(f"{where} begins in a state of shape {array.shape}")
    if np.any(array != array[:, :1]):
        raise Obstacle(f"{where} begins in another state for each sequence, one for all is needed")
    return array[0, 0]
