"""What an ONNX graph computes, node by node: GRU layers, affine maps, the step its output takes.

One long file: a function for each kind of node, all of them on the same table of values.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError
from .chain import Asked, Chain, normalisation, real
from .onnx_files import branch
from .onnx_values import CONSTANT, MOVES, Base, Joined, Obstacle, Operators, View, at, whole

#: What a Clip may change of a value behind a function: far less than half a code of 8 bits.
SLIGHT = 2e-4
#: Operators that compute a function of every value, by its name.
FUNCTIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
#: Last operators of a classifier; none of them changes which class is the greatest.
RESULTS = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
Value = np.ndarray | View | Joined

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


class Walk:
    """The values of a graph, for `sequences` sequences of `steps` steps.

    constants : initial values by name, not changed
    producer : name of the program that wrote the graph, for messages
    """

    def __init__(
        self, operators: Operators, constants: dict[str, np.ndarray], producer: str
    ) -> None:
        self.operators, self.producer = operators, producer
        self.values: dict[str, Value] = dict(constants)
        self.nodes: list[Any] = []

    def follow(self, nodes: list[Any]) -> None:
        """Compute every node's outputs. Raises :class:`Obstacle` at the first that cannot be.

        Leaves in ``nodes`` those that were computed, with the branch taken in place of an If.
        """
        for number, node in enumerate(nodes):
            try:
                for each in self._taken(node):
                    self._compute(each)
            except InputError as error:
                obstacle = error if isinstance(error, Obstacle) else Obstacle(str(error))
                obstacle.reached = number
                raise obstacle from None
            # Inputs and attributes of a damaged graph have any type and shape.
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
                text = " ".join(str(error).split())[:100]
                raise Obstacle(f"operator {node.op_type:.40} is malformed ({text})") from None

    def _compute(self, node: Any) -> None:
        outputs = self._node(node, [self._input(node, name) for name in node.input])
        self.nodes.append(node)
        for name, value in zip(node.output, outputs, strict=False):
            self.values[name] = value

    def _taken(self, node: Any) -> Iterator[Any]:
        """`node`; of an If whose condition is a constant the nodes of the branch that it takes.

        torch's older exporter writes a squeeze of a free axis so: whether to squeeze is shape
        arithmetic. Lazy, since the condition of an If within the branch is computed there.
        """
        condition = self._input(node, node.input[0]) if node.op_type == "If" else None
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            yield node
            return
        constants, nodes = branch(node, bool(condition.reshape(-1)[0]), self.operators.onnx)
        self.values.update(constants)
        for inner in nodes:
            yield from self._taken(inner)

    def _input(self, node: Any, name: str) -> Value | None:
        if name and name not in self.values:
            raise Obstacle(
                f"operator {node.op_type:.40} takes {name!r:.60}, which nothing computes"
            )
        return self.values[name] if name else None

    def _node(self, node: Any, inputs: list[Value | None]) -> list[Value]:
        kind = node.op_type
        if node.domain not in ("", "ai.onnx"):
            raise Obstacle(f"operator {node.domain:.40}.{kind:.40} is not one of ONNX' own")
        views = [value for value in inputs if isinstance(value, View)]
        if kind == "GRU":
            return gru_layer(self, node, inputs)
        joined = [value for value in inputs if isinstance(value, Joined)]
        if joined:
            return list(self._moved_joined(node, joined[0], inputs))
        if not views:
            if kind not in CONSTANT:
                raise self._unsupported(node, None)
            return list(self.operators.run(node, inputs))  # type: ignore[arg-type]
        first = views[0]
        if kind in ("Shape", "Size"):
            return list(self.operators.run(node, [first.index]))
        if kind in MOVES and isinstance(inputs[0], View) and len(views) == 1:
            return list(self._moved(node, first, inputs))
        if kind == "Concat":
            return [self._joined(node, inputs)]
        if kind in ("Cast", "CastLike"):
            return [self._cast(node, first)]
        if kind == "Dropout":
            return [self._dropout(node, first, inputs)]
        if kind == "Clip" and (clipped := self._clip(node, first, inputs)) is not None:
            return [clipped]
        if first.base.kind == "Sigmoid":
            # It was not the last operator after all.
            inputs = [_as_layer(value) if isinstance(value, View) else value for value in inputs]
            first = next(value for value in inputs if isinstance(value, View))
        if not first.base.kind:
            if kind in ("Add", "Sub", "Mul", "Div", "Neg"):
                return [self._elementwise(node, inputs)]
            if kind == "BatchNormalization":
                return [_normalised(self, node, first, inputs)]
            if kind in ("Gemm", "MatMul") and first is inputs[0] and len(views) == 1:
                return [self._linear(node, first, inputs)]
            if kind in RESULTS:
                return [_result_of(self, node, first)]
            if kind in FUNCTIONS:
                return [_function(FUNCTIONS[kind], first)]
        raise self._unsupported(node, first)

    def _unsupported(self, node: Any, view: View | None) -> Obstacle:
        kind = node.op_type
        if kind in ("Loop", "Scan", "If"):
            if kind == "Loop" and _resets_before(node):
                return Obstacle(
                    f"{RESET_BEFORE}: train Keras' GRU with reset_after=True, its default, and "
                    "import the model as .keras"
                )
            if "tf2onnx" in self.producer or "keras" in self.producer:
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
            axes = self.operators.attributes(node).get("axes", [])
            if list(axes) in ([-1], [view.index.ndim - 1]):
                reason = _BY_DATA
        reason = reason or (
            "only GRU layers in series, their last state, linear layers with ReLU, sigmoid or tanh "
            "and normalisation with constants can be imported"
        )
        return Obstacle(f"operator {kind:.40} is not supported behind {place}: {reason}")

    def _moved(self, node: Any, view: View, inputs: list[Value | None]) -> list[View]:
        others: list[Any] = [value for value in inputs[1:] if not isinstance(value, View)]
        index = self.operators.run(node, [view.index, *others])
        if view.scale is None or view.offset is None:
            return [View(view.base, part) for part in index]
        scale, offset = (
            self.operators.run(node, [array, *others]) for array in (view.scale, view.offset)
        )
        return [View(view.base, *parts) for parts in zip(index, scale, offset, strict=True)]

    def _moved_joined(self, node: Any, value: Joined, inputs: list[Value | None]) -> list[Value]:
        kind = node.op_type
        if kind in ("Shape", "Size"):
            return list(self.operators.run(node, [value.index]))
        if kind not in MOVES or value is not inputs[0]:
            places = sorted({view.base.chain.place for view in value.views})
            raise Obstacle(f"values of {' and of '.join(places)} are joined with others (Concat)")
        constants = [item for item in inputs[1:] if isinstance(item, np.ndarray) or item is None]
        parts = self.operators.run(node, [value.index, *constants])
        return [replace(value, index=part).settled() for part in parts]

    def _joined(self, node: Any, inputs: list[Value | None]) -> Value:
        views = tuple(value for value in inputs if isinstance(value, View))
        if len(views) != len(inputs):
            place = views[0].base.chain.place
            raise Obstacle(f"values of {place} are joined with constants (Concat)")
        starts = np.cumsum([0, *(view.index.size for view in views)])
        places = [
            np.arange(start, start + view.index.size).reshape(view.index.shape)
            for start, view in zip(starts[:-1], views, strict=True)
        ]
        joined = Joined(views, self.operators.run(node, list(places))[0])
        return joined.of_one_base() or joined

    def _cast(self, node: Any, view: View) -> View:
        to = self.operators.attributes(node).get("to", 1)
        floats = (1, 10, 11, 16)  # float32, float16, float64, bfloat16
        if node.op_type == "Cast" and to not in floats and view.base.kind != "ArgMax":
            raise Obstacle(f"values of {view.base.chain.place} are rounded to integers (Cast)")
        return view

    def _clip(self, node: Any, view: View, inputs: list[Value | None]) -> View | None:
        """A Clip that changes nothing behind its function, or is a ReLU; None for others."""
        given = self.operators.attributes(node)
        limits = [given.get("min"), given.get("max")]
        for place, value in enumerate(inputs[1:3]):
            if value is not None:
                limits[place] = float(self._weight(value, "a limit of its Clip").reshape(-1)[0])
        low, high = (
            end if limit is None else float(limit)
            for limit, end in zip(limits, (-np.inf, np.inf), strict=True)
        )
        function = "sigmoid" if view.base.kind == "Sigmoid" else view.base.chain.opened[1]
        ends = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf)}.get(function)
        if ends and view.scale is None and low <= ends[0] + SLIGHT and high >= ends[1] - SLIGHT:
            return view
        if (low, high) == (0, np.inf) and not view.base.kind:
            return _function("relu", view)
        return None

    def _dropout(self, node: Any, view: View, inputs: list[Value | None]) -> View:
        training = inputs[2] if len(inputs) > 2 else None
        if training is not None and np.any(np.asarray(training)):
            raise Obstacle("its Dropout is on: export the model after model.eval()")
        return view

    def _elementwise(self, node: Any, inputs: list[Value | None]) -> View:
        kind = node.op_type
        left, right = (*inputs, None)[:2]
        if isinstance(left, View) and isinstance(right, View):
            raise Obstacle(
                f"two computed values meet in {kind} behind {left.base.chain.place} (a residual "
                "connection or attention): only layers in series can be imported"
            )
        view = left if isinstance(left, View) else right
        assert isinstance(view, View)
        if kind == "Neg":
            return view.affine(-1.0, 0.0)
        constant = np.asarray(right if view is left else left, np.float64)
        if kind == "Add":
            return view.affine(1.0, constant)
        if kind == "Sub":
            return view.affine(1.0, -constant) if view is left else view.affine(-1.0, constant)
        if kind == "Mul":
            return view.affine(constant, 0.0)
        if view is not left:
            raise Obstacle(f"{view.base.chain.place} is what a constant is divided by (Div)")
        with np.errstate(all="ignore"):
            return view.affine(1.0 / constant, 0.0)

    def _weight(self, value: Value | None, what: str) -> np.ndarray:
        if isinstance(value, View | Joined):
            raise Obstacle(f"{what} is computed while the graph runs, a constant is needed")
        if value is None:
            raise Obstacle(f"{what} is missing")
        return real(value, what)

    def _linear(self, node: Any, view: View, inputs: list[Value | None]) -> View:
        given = self.operators.attributes(node)
        weight = self._weight(inputs[1] if len(inputs) > 1 else None, "a linear layer's weight")
        bias = None
        if node.op_type == "Gemm":
            if given.get("transA", 0):
                view = view.mapped(np.transpose)
            weight = weight if given.get("transB", 0) else weight.T
            if given.get("alpha", 1.0) != 1:
                weight = weight * np.float64(given["alpha"])
            if len(inputs) > 2 and inputs[2] is not None:
                bias = self._weight(inputs[2], "a linear layer's bias")
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


def _function(function: str, view: View) -> View:
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


def _as_layer(view: View) -> View:
    """A view of a sigmoid that other operators follow: a dense layer with that function."""
    base = view.base
    if base.kind != "Sigmoid":
        return view
    return replace(view, base=Base(base.chain.activated("sigmoid"), base.sequences, base.steps))


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


def view_bias(chain: Chain, bias: np.ndarray) -> Chain:
    """`chain` with a linear layer's bias behind it."""
    if chain.offset is None:
        return replace(chain, offset=bias)
    return chain.scaled(np.ones(chain.width), bias)


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
    raise Obstacle(
        f"{where} does not see every step in order: it takes {len(order)} of {steps} steps, "
        f"{order[0] + 1} to {order[-1] + 1}, so its last state is another network's"
    )


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
        raise Obstacle(
            f"it does not use the last state: its output takes step {taken[0] + 1} of {last + 1}"
        )
    if not np.array_equal(np.sort(sequence, axis=None), np.arange(base.sequences)):
        raise Obstacle("its output does not have one row for each sequence")
    return chain


def gru_layer(walk: "Walk", node: Any, inputs: list[Value | None]) -> list[Value]:
    """One GRU node; its rows z r h become r z n."""
    given = walk.operators.attributes(node)
    operands = [*inputs, *[None] * 6][:6]
    x = operands[0]
    if not isinstance(x, View):
        raise Obstacle("its GRU does not take the input but a constant")
    where = f"GRU layer {len(x.base.chain.layers) + 1}"
    x = _as_layer(x) if x.base.kind == "Sigmoid" else x
    if x.base.kind:
        raise Obstacle(f"{where} stands behind a {x.base.kind}")
    _check_form(walk, where, node, given)
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
    weights = _weights_of(walk, where, operands)
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


def _check_form(walk: "Walk", where: str, node: Any, given: dict[str, Any]) -> None:
    """Raises :class:`Obstacle` for a form of GRU that the hardware has not."""
    if given.get("linear_before_reset", 0) != 1:
        if walk.producer == "pytorch":
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


def _weights_of(walk: "Walk", where: str, operands: list[Value | None]) -> Any:
    w_ih, w_hh = (walk._weight(value, f"the weight of {where}") for value in operands[1:3])
    shapes = f"{where} has weights of shape {w_ih.shape} and {w_hh.shape}"
    if w_ih.ndim != 3 or w_hh.ndim != 3 or len(w_ih) != 1 or len(w_hh) != 1:
        raise Obstacle(shapes)
    rows, hidden = w_hh.shape[1:]
    if rows != 3 * hidden or w_ih.shape[1] != rows or not hidden:
        raise Obstacle(shapes)
    bias = np.zeros((1, 2 * rows), np.float32)
    if operands[3] is not None:
        bias = walk._weight(operands[3], f"the bias of {where}")
    if bias.shape != (1, 2 * rows):
        raise Obstacle(f"{where} has a bias of shape {bias.shape}")

    def torch_order(array: np.ndarray) -> np.ndarray:
        z, r, h = np.split(array, 3)
        return np.ascontiguousarray(np.concatenate([r, z, h]))

    return tuple(map(torch_order, (w_ih[0], w_hh[0], *np.split(bias[0], 2))))


def _normalised(walk: "Walk", node: Any, view: View, inputs: list[Value | None]) -> View:
    given = walk.operators.attributes(node)
    if given.get("training_mode", 0):
        raise Obstacle("its BatchNormalization is training: export the model after model.eval()")
    if len(inputs) < 5 or view.index.ndim < 2:
        raise Obstacle("its BatchNormalization has inputs that do not fit")
    gain, bias, mean, variance = (
        walk._weight(value, "BatchNormalization's constants") for value in inputs[1:5]
    )
    channels = (view.index.shape[1],)
    if any(array.shape != channels for array in (gain, bias, mean, variance)):
        raise Obstacle("its BatchNormalization has constants that do not fit")
    scale, offset = normalisation(mean, variance, gain, bias, given.get("epsilon", 1e-5))
    shape = (-1, *[1] * (view.index.ndim - 2))
    return view.affine(scale.reshape(shape), offset.reshape(shape))


def _result_of(walk: "Walk", node: Any, view: View) -> View:
    """Soft-max and the like, over the classes."""
    given, kind = walk.operators.attributes(node), node.op_type
    old = walk.operators.version < 13 and kind.endswith("Softmax")
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
