"""ONNX files: the graph, and weights inside the file or in others beside it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, shown
from ..files import MAX_BYTES


def parse(path: Path, raw: bytes, onnx: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The model in `raw`, whose file is `path`, and its initial values by name.

    Raises :class:`InputError` for anything else, and for weights that lie outside the file's folder
    or are not there.
    """
    try:
        model = onnx.load_model_from_string(raw)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    # protobuf raises its own types, and the inliner others.
    except Exception as error:
        raise InputError(f"not an ONNX model ({_plain(error)})") from None
    if not model.graph.node or not model.graph.output:
        raise InputError("not an ONNX model (there is no graph in it)")
    graph = model.graph
    names = [item.name for part in (graph.initializer, graph.input, graph.output) for item in part]
    inner = [each for node in graph.node for each in subgraphs(node)]
    for node in (*graph.node, *inner):
        names += [node.op_type, node.domain, *node.input, *node.output]
    # What is not UTF-8 comes as bytes.
    if not all(isinstance(name, str) for name in (*names, model.producer_name)):
        raise InputError("not an ONNX model (a name in it is not text)")
    _read_external(path, model, onnx)
    try:
        constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
    except Exception as error:
        raise InputError(f"a weight cannot be read ({_plain(error)})") from None
    return model, constants


def _bodies(node: Any) -> Iterator[Any]:
    """Graphs within `node` and within those: branches of an If, bodies of a Loop."""
    for item in node.attribute:
        for body in (item.g, *item.graphs) if item.HasField("g") else item.graphs:
            yield body
            for inner in body.node:
                yield from _bodies(inner)


def subgraphs(node: Any) -> Iterator[Any]:
    """Nodes of the graphs within `node`."""
    return (inner for body in _bodies(node) for inner in body.node)


def branch(node: Any, condition: bool, onnx: Any) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Initial values and nodes of the branch that an If takes; the last nodes give its outputs."""
    branch_name = "then_branch" if condition else "else_branch"
    body = next((item.g for item in node.attribute if item.name == branch_name), None)
    if body is None or len(body.output) != len(node.output):
        raise InputError(f"operator If has no {branch_name} that fits")
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in body.initializer}
    ends = [
        onnx.helper.make_node("Identity", [inside.name], [outside])
        for inside, outside in zip(body.output, node.output, strict=True)
    ]
    return constants, [*body.node, *ends]


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _read_external(path: Path, model: Any, onnx: Any) -> None:
    """Put into `model` the weights that lie in files beside it."""
    bodies = [body for node in model.graph.node for body in _bodies(node)]
    tensors = []
    for graph in (model.graph, *bodies):
        tensors += graph.initializer
        for node in graph.node:
            tensors += [item.t for item in node.attribute if item.HasField("t")]
    total = 0
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {item.key: item.value for item in tensor.external_data}
        data = _external(path, tensor.name, place)
        total += len(data)
        if total > MAX_BYTES:
            raise InputError(f"its weights in other files are larger than {MAX_BYTES} bytes")
        tensor.raw_data = data
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _external(path: Path, name: str, place: dict[str, str]) -> bytes:
    """Bytes of one tensor of another file, which must lie in the folder of `path` or below it."""
    location = place.get("location", "")
    try:
        offset, length = (
            int(place.get(key) or default) for key, default in (("offset", 0), ("length", -1))
        )
    except ValueError:
        raise InputError(f"weight {shown(name)} has no readable place in its file") from None
    folder = path.parent.resolve()
    try:
        file = (folder / location).resolve()
        inside = location and file.is_relative_to(folder)
        regular = file.is_file()
    except (OSError, ValueError, RuntimeError):
        inside = regular = False
    if not inside:
        raise InputError(f"its weights are in {shown(location)}, outside the folder of the model")
    if not regular:
        raise InputError(
            f"its weights are in '{location:.200}', which is not beside it: copy that file into "
            "the same folder, or save the model as one file (external_data=False)"
        )
    size = os.path.getsize(file)
    length = size - offset if length < 0 else length
    if offset < 0 or length < 0 or offset + length > size or length > MAX_BYTES:
        raise InputError(
            f"weight {shown(name)} is not within {shown(location)}, which has {size} bytes: the "
            "two files do not belong together"
        )
    try:
        with open(file, "rb") as handle:
            handle.seek(offset)
            return handle.read(length)
    except OSError as error:
        raise InputError(f"cannot read {shown(location)}: {error.strerror or error}") from None
