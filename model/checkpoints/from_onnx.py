"""ONNX graphs: dense layers and GRU layers in series, and what answers, read as data.

What the graph computes is reasoned from its nodes (:mod:`.onnx_graph`); then its linear output is
computed by ONNX' reference implementation and compared with what was read.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, shown
from ..files import read_bytes
from ..head import Head
from .chain import Asked, Chain
from .floating import Checkpoint, forward
from .onnx_answer import classifier
from .onnx_files import parse, subgraphs
from .onnx_graph import Walk
from .onnx_values import (
    MAX_ELEMENTS,
    Base,
    Joined,
    Obstacle,
    Operators,
    OtherStep,
    Value,
    View,
    whole,
)

#: Sequences of the task on which a graph is compared with what was read from it.
COMPARED = 16
#: Steps over all of them, at most: the reference implementation is slow.
COMPARED_STEPS = 65_536
#: Largest difference, as a share of the spread of the logits.
TOLERANCE = 1e-3


def _import_onnx(path: Path) -> tuple[Any, Any]:
    try:
        import onnx
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        raise InputError(
            f"{path}: needs onnx, which is not installed: pip install 'genogate[onnx]'"
        ) from None
    return onnx, ReferenceEvaluator


def from_onnx(
    path: str | os.PathLike[str],
    example: np.ndarray,
    classes: int | None = None,
    asked: Asked | None = None,
) -> Checkpoint:
    """Dense layers, GRU layers in series and the linear classifier behind them, in an ONNX graph.

    example : float [sequences, steps, features], of the task. The graph's linear output must equal
        that of what was read, relative to the spread of the logits.
    classes : of the task; a single logit ``w`` becomes the logits 0 and w of two classes
    asked : by the task, if not a class after the last step; real values may come through a Sigmoid

    Affine maps with constants (batch normalisation, Sub, Div, Gemm without activation) before,
    between and behind the GRU layers go into the weights; with ReLU, sigmoid or tanh behind them
    they are dense layers. Weights may lie in a file beside it.

    Raises :class:`InputError` for a file that is no ONNX model, and for a graph that computes
    something else, with its first operator that has no counterpart.
    """
    path = Path(path)
    raw = read_bytes(path)
    onnx, evaluator = _import_onnx(path)
    try:
        graph = Graph(path, raw, onnx, evaluator, asked or Asked())
        graph.understand(example.shape[1], example.shape[2])
        checkpoint = graph.chain.ended(classes, graph.asked, graph.kind == "Sigmoid")
        if checkpoint.input_size == example.shape[2]:  # else the caller says so, with the task
            graph.compare(example)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return checkpoint


def _needed(graph: Any, output: str) -> list[Any]:
    """Nodes that `output` depends on, in the order of the graph."""
    names, nodes = {output}, []
    for node in reversed(graph.node):
        if names.intersection(node.output):
            nodes.append(node)
            names.update(node.input)
            names.update(name for inner in subgraphs(node) for name in inner.input)
    return nodes[::-1]


def _arranged(array: np.ndarray, layout: str) -> np.ndarray:
    """`array` [sequences, steps, features] with the axes of `layout`; a lacking one has size 1."""
    lacking = [axis for axis in "btf" if axis not in layout]
    array = array.transpose(["btf".index(axis) for axis in (*lacking, *layout)])
    return array.reshape(array.shape[len(lacking) :])


@dataclass(frozen=True)
class Reading:
    """What a graph computes at one length: the network, what its output goes through, name and view
    of its linear output, every value by name, and the nodes that were computed."""

    chain: Chain
    kind: str
    name: str
    view: View
    values: dict[str, Value]
    nodes: list[Any]


class Graph:
    """An ONNX file, and what was understood of it.

    layout : meaning of the input's axes, of b (sequences), t (steps) and f (features)
    sizes : of these axes, as the graph was followed
    chain : the network
    kind : what its output goes through, "" or Softmax, Sigmoid ...
    """

    layout: str
    sizes: dict[str, int]
    chain: Chain
    kind: str

    def __init__(self, path: Path, raw: bytes, onnx: Any, evaluator: Any, asked: Asked) -> None:
        self.onnx, self.evaluator, self.asked = onnx, evaluator, asked
        self.model, self.constants = parse(path, raw, onnx)
        self.operators = Operators(self.model, onnx, evaluator)

    def understand(self, steps: int, features: int) -> None:
        """Find the output, and the layout of the input, with which the graph is GRU layers and a
        classifier. Raises :class:`InputError` where there are none."""
        first: Obstacle | None = None
        for output in self.model.graph.output:
            self.output = output.name
            self.nodes = _needed(self.model.graph, output.name)
            self._find_input()
            try:
                return self._choose_layout(steps, features)
            except Obstacle as error:
                first = first or error
        assert first is not None
        raise first

    def _find_input(self) -> None:
        used = {name for node in self.nodes for name in node.input}
        inputs = [value for value in self.model.graph.input if value.name not in self.constants]
        inputs = [value for value in inputs if value.name in used] or inputs
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs[:4])
            raise InputError(
                f"{len(inputs)} inputs ({names:.80}), one is needed: the sequences; the state "
                "begins at zero"
            )
        self.input = inputs[0]
        kinds = {node.op_type for node in self.nodes}
        if kinds.isdisjoint(("GRU", "Loop", "Scan", "If")):
            other = next((f"an {kind}, not" for kind in ("LSTM", "RNN") if kind in kinds), "no")
            hint = "" if other != "no" else " (a GRUCell is exported as single operations)"
            raise InputError(f"there is {other} GRU in its graph{hint}: a GRU operator is needed")

    def _declared(self) -> list[int] | None:
        """Sizes of the input's axes, 0 where they are free; None where nothing is declared."""
        kind = self.input.type.tensor_type
        if not kind.HasField("shape"):
            return None
        return [max(0, int(axis.dim_value)) for axis in kind.shape.dim]

    def _choose_layout(self, steps: int, features: int) -> None:
        declared = self._declared()
        layouts = ["btf", "tbf", "bft"]
        if declared is not None and len(declared) == 2:
            layouts = ["tf", "bt", "tb"] if features == 1 else ["tf"]
        elif declared is not None and len(declared) != 3:
            raise InputError(
                f"its input {shown(self.input.name)} has {len(declared)} axes: sequences, steps "
                "and features are needed"
            )
        furthest: Obstacle | None = None
        for layout in layouts:
            fixed = dict(zip(layout, declared or [0] * 3, strict=True))
            self.layout = layout
            self.sizes = {
                "b": fixed.get("b", 1) or 2,
                "t": steps,
                "f": fixed.get("f", 1) or features,
            }
            try:
                reading = self._walk(fixed.get("t", 0) or steps)
                self.chain, self.kind = reading.chain, reading.kind
                return
            except Obstacle as error:
                if furthest is None or error.reached > furthest.reached:
                    furthest = error
        assert furthest is not None
        raise furthest

    def _walk(self, fixed: int) -> Reading:
        """:meth:`_follow` at the task's length; where the graph has another one that it alone
        takes, the message says so."""
        steps = self.sizes["t"]
        try:
            return self._follow(steps)
        except Obstacle:
            if fixed == steps:
                raise
            self._follow(fixed)  # its own obstacle comes first
            other = Obstacle(
                f"its graph is fixed at {fixed} steps, the task's sequences have {steps}: export "
                "it for that length, or import the state dict"
            )
            # At its own length everything is understood: with another layout it would not be.
            other.reached = len(self.nodes) + 1
            raise other from None

    def _follow(self, steps: int) -> Reading:
        """What the graph computes at `steps` steps."""
        sizes = self.sizes
        if sizes["b"] * steps * sizes["f"] > MAX_ELEMENTS:
            raise Obstacle(
                f"its graph is fixed at {sizes['b']} sequences at a time, too many to follow over "
                f"{steps} steps: export it with a batch of 1"
            )
        base = Base(Chain(sizes["f"]), sizes["b"], steps)
        walk = Walk(self.operators, self.constants, self.model.producer_name.lower())
        walk.values[self.input.name] = View(base, _arranged(whole(base).index, self.layout))
        walk.follow(self.nodes)
        name, view = self.output, walk.values.get(self.output)
        try:
            if not isinstance(view, View):
                raise Obstacle("its output does not depend on its input")
            chain, kind = classifier(view, self.asked), view.base.kind
        except InputError as error:
            obstacle = error if isinstance(error, Obstacle) else Obstacle(str(error))
            obstacle.reached = len(self.nodes)
            raise obstacle from None
        while view.base.logits is not None:
            name, view = view.base.logits
        return Reading(chain, kind, name, view, walk.values, walk.nodes)

    def compare(self, example: np.ndarray) -> None:
        """Raises :class:`InputError` unless the graph's linear output is what was read, on
        sequences of several lengths where the graph takes them."""
        steps = example.shape[1]
        count = max(1, min(COMPARED, COMPARED_STEPS // steps))
        declared = dict(zip(self.layout, self._declared() or [], strict=False)).get("t", 0)
        for length in dict.fromkeys((steps, (steps + 1) // 2, min(steps, 3))):
            try:
                reading = self._follow(length)
            except OtherStep as error:
                if declared == steps:
                    continue
                raise InputError(
                    f"its graph is right at {steps} steps only: at {length} {error}; declare that "
                    "its input has this length alone, or export what takes the last step of any"
                ) from None
            except Obstacle:
                continue  # a graph of one length
            self._compare_linear(reading, example[:count, :length])

    def _compare_linear(self, reading: Reading, example: np.ndarray) -> None:
        view = reading.view
        checkpoint = view.base.chain.checkpoint(head=Head("every", "logits"))
        batch = view.base.sequences
        expected, actual = [], []
        numbers = np.resize(np.arange(len(example)), -(-len(example) // batch) * batch)
        for part in numbers.reshape(-1, batch):
            x = example[part].astype(np.float32).astype(np.float64)
            values = forward(checkpoint, x).logits.reshape(-1)[view.index]
            if view.scale is not None:
                values = values * view.scale + view.offset
            expected.append(values)
            try:
                with np.errstate(all="ignore"):
                    run = self._reference(reading)
                    result = run.run(None, {self.input.name: _arranged(x, self.layout)})
                actual.append(np.asarray(result[0], np.float64))
            # The evaluator raises nearly anything.
            except Exception as error:
                text = " ".join(str(error).split())[:120]
                raise InputError(f"its graph cannot be run ({text})") from None
        _check_equal(np.stack(expected), actual)

    def _reference(self, reading: Reading) -> Any:
        """ONNX' reference implementation of what depends on the input, up to the linear output.

        In float64, so that rounding, which long sequences may amplify, is not part of the
        comparison; the implementation takes one type throughout.
        """
        onnx, values = self.onnx, reading.values
        nodes = []
        for node in reading.nodes:
            if any(isinstance(values.get(name), View | Joined) for name in node.output):
                nodes += self._in_float64(node, values)
        constants = []
        for name in sorted({name for node in nodes for name in node.input}):
            value = values.get(name)
            if isinstance(value, np.ndarray):
                floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
                value = value.astype(np.float64) if floating else value
                constants.append(onnx.numpy_helper.from_array(value, name))
        # Without types: they would be float32.
        ends = [onnx.ValueInfoProto(name=name) for name in (self.input.name, reading.name)]
        graph = onnx.helper.make_graph(nodes, "logits", ends[:1], ends[1:], constants)
        opsets = list(self.model.opset_import)
        return self.evaluator(onnx.helper.make_model(graph, opset_imports=opsets))

    def _in_float64(self, node: Any, values: dict[str, Any]) -> list[Any]:
        """`node` as the reference implementation computes it right."""
        onnx = self.onnx
        node = onnx.NodeProto.FromString(node.SerializeToString())
        if node.op_type == "Cast":
            node.attribute[0].i = onnx.TensorProto.DOUBLE
        if node.op_type != "BatchNormalization" or self.operators.version >= 14:
            return [node]
        # Before version 14 the implementation takes every one for training.
        x, gain, bias, mean, variance = node.input[:5]
        epsilon = self.operators.attributes(node).get("epsilon", 1e-5)
        y, make = node.output[0], onnx.helper.make_node
        dims = np.array([-1, *[1] * (values[x].index.ndim - 2)])  # along axis 1
        constants = {"epsilon": np.array(epsilon, np.float64), "shape": dims}
        nodes = [
            make("Constant", [], [f"{y}.{name}"], value=onnx.numpy_helper.from_array(value))
            for name, value in constants.items()
        ]
        named = {"mean": mean, "variance": variance, "gain": gain, "bias": bias}
        for name, operand in named.items():
            nodes.append(make("Reshape", [operand, f"{y}.shape"], [f"{y}.{name}"]))
        steps = [
            ("Sub", x, f"{y}.mean", f"{y}.centred"),
            ("Add", f"{y}.variance", f"{y}.epsilon", f"{y}.sum"),
            ("Div", f"{y}.centred", f"{y}.deviation", f"{y}.unit"),
            ("Mul", f"{y}.unit", f"{y}.gain", f"{y}.scaled"),
            ("Add", f"{y}.scaled", f"{y}.bias", y),
        ]
        for kind, left, right, result in steps:
            nodes.append(make(kind, [left, right], [result]))
            if result.endswith(".sum"):
                nodes.append(make("Sqrt", [result], [f"{y}.deviation"]))
        return nodes


def _check_equal(expected: np.ndarray, results: list[np.ndarray]) -> None:
    if any(result.shape != expected.shape[1:] for result in results):
        raise InputError(
            f"its graph computes something else: an output of shape {results[0].shape}, "
            f"{expected.shape[1:]} was expected"
        )
    difference = float(np.abs(np.stack(results) - expected).max())
    spread = float(np.ptp(expected))
    # NaN must not pass, and logits that are all alike have no spread.
    if not difference <= TOLERANCE * spread + 1e-6 * float(np.abs(expected).max()):
        raise InputError(
            "its graph computes something else than GRU layers, their last state and a linear "
            f"layer: on {len(expected)} batches its logits differ by up to {difference:.3g}, where "
            f"they spread over {spread:.3g}"
        )
