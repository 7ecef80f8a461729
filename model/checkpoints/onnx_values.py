"""Values of an ONNX graph while it is read: constants, and views of what the network computes.

A view says of every element where it comes from: which sequence, step and value of the input or of
a GRU's states, times a scale plus an offset. Operators that move elements (Transpose, Gather,
Slice, Reshape, ...) are run on these arrays, so that the step an output takes is known, not guessed
from numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .chain import Chain

#: Elements of one array; a graph that asks for more is refused before it gets them.
MAX_ELEMENTS = 1 << 24

#: Operators that only move the elements of their first input.
MOVES = frozenset(
    (
        *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"),
        *("Slice", "Gather", "GatherElements", "GatherND", "Split", "Expand", "Tile", "Identity"),
    )
)
#: Operators that may compute constants: shapes, initial states, weights.
CONSTANT = MOVES | frozenset(
    (
        *("Constant", "ConstantOfShape", "Shape", "Size", "Concat", "Cast", "CastLike", "Range"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Sign", "Floor", "Ceil"),
        *("Sqrt", "Pow", "Exp", "Reciprocal", "MatMul", "Gemm", "Dropout", "Where", "Min", "Max"),
        *("Tanh", "Sigmoid", "Relu"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not"),
        *("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"),
    )
)


class Obstacle(InputError):
    """Why a graph cannot be imported; `reached` nodes were understood before it."""

    reached = 0


class OtherStep(Obstacle):
    """The graph can be computed, but takes other steps than the hardware does."""


@dataclass(frozen=True)
class Base:
    """A value of the network, [sequences, steps, chain.width].

    chain : what computes it from the input
    kind : "" for a linear value, else what the output is: Softmax, LogSoftmax, Sigmoid, ArgMax
    logits : for the latter the view that went in, and its name in the graph
    """

    chain: Chain
    sequences: int
    steps: int
    kind: str = ""
    logits: "tuple[str, View] | None" = None


@dataclass(frozen=True)
class View:
    """Elements of a base, any shape: ``scale * base.flat[index] + offset``.

    index : int64 array
    scale, offset : float64 arrays of the same shape, or None for 1 and 0
    """

    base: Base
    index: np.ndarray
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None

    def affine(self, scale: Any, offset: Any) -> "View":
        """``scale * self + offset``, broadcast as NumPy does."""
        scale, offset = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
        shape = np.broadcast_shapes(self.index.shape, scale.shape, offset.shape)
        bounded(math.prod(shape))
        with np.errstate(all="ignore"):
            before = 1.0 if self.scale is None else self.scale
            return replace(
                self,
                index=np.broadcast_to(self.index, shape),
                scale=np.broadcast_to(before * scale, shape),
                offset=np.broadcast_to(
                    (0.0 if self.offset is None else self.offset * scale) + offset, shape
                ),
            )

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> "View":
        """`function`, which only moves elements, on every array of the view."""
        scale = None if self.scale is None else function(self.scale)
        offset = None if self.offset is None else function(self.offset)
        return View(self.base, function(self.index), scale, offset)

    def where(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sequence, step and value of every element."""
        shape = (self.base.sequences, self.base.steps, self.base.chain.width)
        sequence, step, value = np.unravel_index(self.index, shape)
        return sequence, step, value

    def rows(self, axis: int = -1) -> tuple[Base, np.ndarray, np.ndarray]:
        """What the vectors along `axis` are: a base with their values, and sequence and step of
        each vector. Raises :class:`Obstacle` where they are no such vectors."""
        if self.index.ndim == 0:
            raise Obstacle(f"a single number of {self.base.chain.place} is taken, not all values")
        view = self.mapped(lambda array: np.moveaxis(array, axis, -1))
        if not view.index.size:
            raise Obstacle(f"an empty part of {self.base.chain.place} is taken")
        sequence, step, value = view.where()
        scale, offset = view.scale, view.offset
        first = (0,) * (view.index.ndim - 1)
        if np.any(sequence != sequence[..., :1]) or np.any(step != step[..., :1]):
            raise Obstacle(
                f"values of different steps or sequences of {self.base.chain.place} are mixed"
            )
        for part, what in ((value, "takes other values"), (scale, "scales"), (offset, "shifts")):
            if part is not None and np.any(part != part[first]):
                raise Obstacle(
                    f"the graph {what} at different steps or for different sequences, behind "
                    f"{self.base.chain.place}"
                )
        chain = self.base.chain.picked(value[first])
        if scale is not None and offset is not None:
            chain = chain.scaled(scale[first], offset[first])
        return replace(self.base, chain=chain), sequence[..., 0], step[..., 0]


@dataclass(frozen=True)
class Joined:
    """Elements of several views, such as the last states of all layers in one tensor.

    index : int64 array, places in the views' elements one behind the other
    """

    views: tuple[View, ...]
    index: np.ndarray

    def of_one_base(self) -> View | None:
        """A view, where all views have the same base."""
        views = self.views
        if any(view.base is not views[0].base for view in views):
            return None
        index = np.concatenate([view.index.reshape(-1) for view in views])
        if all(view.scale is None for view in views):
            return View(views[0].base, index[self.index])
        scale, offset = (
            np.concatenate(
                [
                    np.broadcast_to(plain if array is None else array, view.index.shape).reshape(-1)
                    for view in views
                    for array in [getattr(view, name)]
                ]
            )
            for name, plain in (("scale", 1.0), ("offset", 0.0))
        )
        return View(views[0].base, *(array[self.index] for array in (index, scale, offset)))

    def settled(self) -> "View | Joined":
        """A view, where all elements are of one of the views."""
        ends = np.cumsum([view.index.size for view in self.views])
        numbers = np.unique(np.searchsorted(ends, self.index, side="right"))
        if len(numbers) != 1:
            return self
        number = int(numbers[0])
        place = self.index - (ends[number] - self.views[number].index.size)
        return self.views[number].mapped(lambda array: array.reshape(-1)[place])


def bounded(elements: float) -> None:
    """Raises :class:`Obstacle` for an array that is too large to be one of a GRU's."""
    if not elements <= MAX_ELEMENTS:
        raise Obstacle(f"the graph makes an array of {elements:.3g} elements")


def whole(base: Base) -> View:
    """Every element of `base`, as it lies."""
    shape = (base.sequences, base.steps, base.chain.width)
    bounded(math.prod(shape))
    return View(base, np.arange(math.prod(shape)).reshape(shape))


def at(base: Base, sequence: np.ndarray, step: np.ndarray) -> View:
    """The vectors of `base` at `sequence` and `step` (equal shapes), on a new last axis."""
    row = (sequence * base.steps + step) * base.chain.width
    bounded(row.size * base.chain.width)
    return View(base, row[..., None] + np.arange(base.chain.width))


class Operators:
    """Runs single nodes, of the graph's own version of the operators, on NumPy arrays."""

    def __init__(self, model: Any, onnx: Any, evaluator: Any) -> None:
        self.onnx, self._evaluator = onnx, evaluator
        self._opset = list(model.opset_import)
        versions = {item.domain: item.version for item in model.opset_import}
        self.version = versions.get("", versions.get("ai.onnx", 1))

    def attributes(self, node: Any) -> dict[str, Any]:
        """By name. Raises :class:`Obstacle` for one of another type than ONNX says."""
        try:
            schema = self.onnx.defs.get_schema(node.op_type, self.version, "").attributes
        except self.onnx.defs.SchemaError:
            schema = {}
        for item in node.attribute:
            if item.name in schema and item.type != schema[item.name].type.value:
                raise Obstacle(f"attribute {item.name} of {node.op_type:.40} has the wrong type")
        return {item.name: self.onnx.helper.get_attribute_value(item) for item in node.attribute}

    def run(self, node: Any, inputs: list[np.ndarray | None]) -> list[np.ndarray]:
        """Outputs of `node`. Raises :class:`Obstacle` where it cannot be run."""
        onnx = self.onnx
        bounded(self._elements(node, [array for array in inputs if array is not None]))
        pairs = zip(node.input, inputs, strict=True)
        feeds = {name: array for name, array in pairs if name and array is not None}
        named = [onnx.ValueInfoProto(name=name) for name in feeds]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", named, results)
        model = onnx.helper.make_model(graph, opset_imports=self._opset)
        try:
            with np.errstate(all="ignore"):
                values = self._evaluator(model).run(None, feeds)
        # The evaluator raises nearly anything for inputs that do not fit.
        except Exception as error:
            text = " ".join(str(error).split())[:100]
            raise Obstacle(f"operator {node.op_type:.40} cannot be computed ({text})") from None
        return [np.asarray(value) for value in values]

    def _elements(self, node: Any, inputs: list[np.ndarray]) -> float:
        """Elements of the largest output of `node`, at most."""
        kind, largest = node.op_type, float(max((array.size for array in inputs), default=0))
        try:
            if kind == "ConstantOfShape":
                return math.prod(float(size) for size in inputs[0].reshape(-1))
            if kind == "Expand":
                sizes = tuple(int(size) for size in inputs[1].reshape(-1))
                return float(math.prod(np.broadcast_shapes(inputs[0].shape, sizes)))
            if kind == "Tile":
                return largest * math.prod(float(times) for times in inputs[1].reshape(-1))
            if kind == "Range":
                start, limit, delta = (float(array) for array in inputs)
                return abs((limit - start) / delta)
            if kind == "Gather":
                length = inputs[0].shape[self.attributes(node).get("axis", 0)]
                return float(inputs[1].size) * inputs[0].size / max(1, length)
            if kind in ("MatMul", "Gemm"):
                # Each element of the one meets a row or column of the other.
                return float(inputs[0].size) * max(inputs[1].shape, default=1)
            if kind == "Concat":
                return float(sum(array.size for array in inputs))
            if kind in MOVES or len(inputs) < 2:
                return largest
            return float(math.prod(np.broadcast_shapes(*(array.shape for array in inputs))))
        except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return largest  # it does not fit, and the evaluator says how


#: What an input of a node may be.
Value = np.ndarray | View | Joined
