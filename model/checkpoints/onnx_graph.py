"""What an ONNX graph computes, node by node.

:class:`Walk` has the table of values and decides what a node is; layers are in :mod:`.onnx_gru` and
:mod:`.onnx_layers`, what the output answers in :mod:`.onnx_answer`, and what cannot be imported,
with the reasons, in :mod:`.onnx_reasons`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from .onnx_answer import result_of
from .onnx_files import branch
from .onnx_gru import gru_layer
from .onnx_layers import as_layer, batch_normalised, function_of, linear, weight_of
from .onnx_reasons import unsupported
from .onnx_values import CONSTANT, MOVES, Joined, Obstacle, Operators, Value, View

#: What a Clip may change of a value behind a function: far less than half a code of 8 bits.
SLIGHT = 2e-4
#: Operators that compute a function of every value, by its name.
FUNCTIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
#: Last operators of a classifier; none of them changes which class is the greatest.
RESULTS = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")


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
            return gru_layer(self.operators, self.producer, node, inputs)
        joined = [value for value in inputs if isinstance(value, Joined)]
        if joined:
            return list(self._moved_joined(node, joined[0], inputs))
        if not views:
            if kind not in CONSTANT:
                raise unsupported(self.operators, self.producer, node, None)
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
            inputs = [as_layer(value) if isinstance(value, View) else value for value in inputs]
            first = next(value for value in inputs if isinstance(value, View))
        if not first.base.kind:
            if kind in ("Add", "Sub", "Mul", "Div", "Neg"):
                return [self._elementwise(node, inputs)]
            if kind == "BatchNormalization":
                return [batch_normalised(self.operators, node, first, inputs)]
            if kind in ("Gemm", "MatMul") and first is inputs[0] and len(views) == 1:
                return [linear(self.operators, node, first, inputs)]
            if kind in RESULTS:
                return [result_of(self.operators, node, first)]
            if kind in FUNCTIONS:
                return [function_of(FUNCTIONS[kind], first)]
        raise unsupported(self.operators, self.producer, node, first)

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
                limits[place] = float(weight_of(value, "a limit of its Clip").reshape(-1)[0])
        low, high = (
            end if limit is None else float(limit)
            for limit, end in zip(limits, (-np.inf, np.inf), strict=True)
        )
        function = "sigmoid" if view.base.kind == "Sigmoid" else view.base.chain.opened[1]
        ends = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf)}.get(function)
        if ends and view.scale is None and low <= ends[0] + SLIGHT and high >= ends[1] - SLIGHT:
            return view
        if (low, high) == (0, np.inf) and not view.base.kind:
            return function_of("relu", view)
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
