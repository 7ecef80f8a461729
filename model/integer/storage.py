"""How operators and layers are stored in a model's file: JSON and tensors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import InputError
from .layer import SCHEDULE, Layer
from .operators import (
    Classifier,
    Complement,
    Dense,
    Op,
    PiecewiseLinear,
    Product,
    Requantize,
    Sum,
    Table,
)
from .stages import DenseLayer, OutputStage

#: Tensor of a layer, where its initial state is given.
INITIAL_STATE = "initial_state"

_KINDS: dict[str, Any] = {
    c.kind: c
    for c in (
        Dense,
        Sum,
        Complement,
        Product,
        Table,
        PiecewiseLinear,
        Classifier,
        Requantize,
    )
}


def pack(prefix: str, op: Op, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    for name, array in op.arrays().items():
        # Break points of a one-segment table are empty; safetensors stores that as it is.
        tensors[f"{prefix}.{name}"] = array
    return {"kind": op.kind, **op.integers()}


def unpack(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> Any:
    if not isinstance(entry, dict) or entry.get("kind") not in _KINDS:
        raise InputError(f"{prefix}: unknown operator kind")
    cls = _KINDS[entry["kind"]]
    values: dict[str, Any] = {k: v for k, v in entry.items() if k != "kind"}
    for f in fields(cls):
        if f.type in (np.ndarray, "np.ndarray"):
            if f"{prefix}.{f.name}" not in tensors:
                raise InputError(f"{prefix}: tensor {f.name} is missing")
            values[f.name] = tensors[f"{prefix}.{f.name}"]
    if set(values) != {f.name for f in fields(cls)}:
        raise InputError(f"{prefix}: fields {sorted(values)} do not fit a {cls.kind}")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{prefix}: {error}") from None


def _pack_unit(
    prefix: str, unit: Table | PiecewiseLinear | None, tensors: dict[str, np.ndarray]
) -> dict[str, Any] | None:
    """The record of the activation of `prefix`, null where there is none."""
    return None if unit is None else pack(f"{prefix}.activation", unit, tensors)


def _unpack_unit(
    prefix: str, entry: Any, tensors: dict[str, np.ndarray]
) -> Table | PiecewiseLinear | None:
    """The activation in the record `entry` of `prefix`."""
    unit = entry["activation"]
    unit = None if unit is None else unpack(f"{prefix}.activation", unit, tensors)
    if not isinstance(unit, Table | PiecewiseLinear | None):
        raise InputError(f"{prefix}: wrong operator kind")
    return unit


def pack_stage(prefix: str, stage: OutputStage, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "requantize": pack(f"{prefix}.requantize", stage.requantize, tensors),
        "activation": _pack_unit(prefix, stage.activation, tensors),
        "scale": stage.scale,
        "zero_point": stage.zero_point,
    }


def unpack_stage(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> OutputStage:
    requantize = unpack(f"{prefix}.requantize", entry["requantize"], tensors)
    unit = _unpack_unit(prefix, entry, tensors)
    if not isinstance(requantize, Requantize):
        raise InputError(f"{prefix}: wrong operator kind")
    return OutputStage(requantize, unit, entry["scale"], entry["zero_point"])


def info_hash(info: Mapping[str, Any]) -> str:
    """SHA-256, 16 hex digits, of `info` as JSON text. JSON has no keys but text, hence twice."""
    text = json.dumps(json.loads(json.dumps(info)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pack_dense_layer(
    prefix: str, layer: DenseLayer, tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The JSON record of `layer`; its arrays are added to `tensors`."""
    return {
        "dense": pack(f"{prefix}.dense", layer.dense, tensors),
        "activation": _pack_unit(prefix, layer.activation, tensors),
        "function": layer.function,
        "scale": layer.scale,
        "zero_point": layer.zero_point,
    }


def unpack_dense_layer(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> DenseLayer:
    """The layer of a record of :func:`pack_dense_layer`."""
    dense = unpack(f"{prefix}.dense", entry["dense"], tensors)
    unit = _unpack_unit(prefix, entry, tensors)
    if not isinstance(dense, Dense):
        raise InputError(f"{prefix}: wrong operator kind")
    try:
        return DenseLayer(dense, unit, entry["function"], entry["scale"], entry["zero_point"])
    except InputError as error:
        raise InputError(f"{prefix}: {error}") from None


def pack_layer(prefix: str, layer: Layer, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The JSON record of a GRU layer; its arrays are added to `tensors`."""
    if layer.initial_state is not None:
        tensors[f"{prefix}.{INITIAL_STATE}"] = layer.initial_state
    return {name: pack(f"{prefix}.{name}", op, tensors) for name, op in layer.ops.items()}


def unpack_layer(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> Layer:
    """The layer of a record of :func:`pack_layer`."""
    if set(entry) != set(SCHEDULE):
        raise InputError(f"{prefix}: operators must be {' '.join(SCHEDULE)}")
    ops = {name: unpack(f"{prefix}.{name}", entry[name], tensors) for name in SCHEDULE}
    try:
        return Layer(ops, tensors.get(f"{prefix}.{INITIAL_STATE}"))
    except InputError as error:
        raise InputError(f"{prefix}: {error}") from None
