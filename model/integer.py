"""The integer model: every integer that the hardware holds, and nothing that it does not.

An :class:`IntModel` is what quantisation makes, what :mod:`genogate.sim.golden` evaluates and what
:mod:`genogate.hdl` turns into Verilog. The equations are in ``docs/numerics.md``. All codes are
signed: a code of width ``b`` lies in ``[-2**(b-1), 2**(b-1) - 1]`` and stands for
``scale * (code - zero_point)``. Scales are documentation here; no result depends on them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from .errors import InputError, integer_within, shown
from .files import read_tensors, write_tensors
from .genome import GENES, MAX_BITS, MIN_BITS, Genome
from .head import Head

KIND, VERSION = "genogate-integer-model", 3
#: Versions of what :attr:`IntModel.hash` covers, of networks that give the class after the last
#: step and of others: so a network keeps its hash. Files of these versions have no ``info_hash``.
CONTENT_VERSION, HEAD_VERSION = 1, 2
#: Bounds of what the hardware generator accepts; far beyond what calibration chooses.
MAX_SHIFT, MAX_MULTIPLIER, MAX_ZERO, MAX_SIZE, MAX_CHANNEL_SHIFT = 40, 1 << 20, 1 << 16, 4096, 7
#: Octaves that a feature may be divided or multiplied by before it becomes a code.
MAX_OCTAVES = 120


def code_range(bits: int) -> tuple[int, int]:
    """Smallest and largest signed code of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def signed_width(low: int, high: int) -> int:
    """Least width, bits, of a two's complement number that holds `low` to `high`."""
    return (
        max(
            int(low).bit_length() if low >= 0 else int(~low).bit_length(),
            int(high).bit_length() if high >= 0 else int(~high).bit_length(),
        )
        + 1
    )


def common_power(limit: int, *arrays: np.ndarray) -> int:
    """The greatest k up to `limit` such that ``2**k`` divides all integers of `arrays`."""
    every = int(np.bitwise_or.reduce(np.abs(np.concatenate(arrays))))
    return min(limit, (every & -every).bit_length() - 1) if every else limit


def half(shift: int) -> int:
    """The rounding constant ``2**(shift-1)`` of a right shift; 0 where nothing is dropped."""
    return (1 << shift) >> 1


def _check_array(name: str, array: Any, ndim: int, low: int, high: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise InputError(f"{name}: an integer array is needed")
    # NumPy makes floats of uint64 and int64 together.
    if array.dtype == np.uint64:
        raise InputError(f"{name}: an array of at most 63 bits is needed, not uint64")
    if array.ndim != ndim or 0 in array.shape or max(array.shape) > MAX_SIZE:
        raise InputError(f"{name}: shape {array.shape} is not {ndim}-D with 1 to {MAX_SIZE} each")
    if array.min() < low or array.max() > high:
        raise InputError(
            f"{name}: values {array.min()} to {array.max()} are not within {low} to {high}"
        )


@dataclass(frozen=True)
class _Op:
    """What all operators share: checks of widths and constants on construction."""

    kind: ClassVar[str]

    def _integers(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type in (int, "int")}

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }

    def __post_init__(self) -> None:
        for name, value in self._integers().items():
            where = f"{self.kind}.{name}"
            if name == "in_bits":
                # Input codes may be single bits; what has a gene may not.
                integer_within(where, value, 1, MAX_BITS)
            elif name.endswith("bits") and name != "fraction_bits":
                integer_within(where, value, MIN_BITS, MAX_BITS)
            elif name in ("shift", "fraction_bits"):
                integer_within(where, value, 0, MAX_SHIFT)
            elif name.startswith("multiplier"):
                integer_within(where, value, 1, MAX_MULTIPLIER)
            elif name.endswith("zero_point"):
                integer_within(where, value, -MAX_ZERO, MAX_ZERO)
            elif name == "one":
                integer_within(where, value, -(1 << 48), 1 << 48)
            else:
                integer_within(where, value, -(1 << 62), 1 << 62)


def acc_bounds(weight: np.ndarray, bias: np.ndarray, in_bits: int) -> tuple[int, int]:
    """Interval arithmetic: least and greatest ``bias + weight @ x`` over all codes ``x``."""
    low, high = code_range(in_bits)
    wide = weight.astype(np.int64)
    least = bias + np.minimum(wide * low, wide * high).sum(1)
    greatest = bias + np.maximum(wide * low, wide * high).sum(1)
    return int(least.min()), int(greatest.max())


@dataclass(frozen=True, kw_only=True)
class _Linear(_Op):
    """``acc = bias + weight @ x``, what :class:`Dense` and :class:`Classifier` share."""

    weight: np.ndarray
    bias: np.ndarray
    in_bits: int
    weight_bits: int
    acc_min: int
    acc_max: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_array(f"{self.kind}.weight", self.weight, 2, *code_range(self.weight_bits))
        _check_array(f"{self.kind}.bias", self.bias, 1, -(1 << 40), 1 << 40)
        if len(self.weight) != len(self.bias):
            raise InputError(f"{self.kind}: weight and bias differ in outputs")
        if (self.acc_min, self.acc_max) != acc_bounds(self.weight, self.bias, self.in_bits):
            raise InputError(f"{self.kind}: acc_min and acc_max are not the bounds of its weights")

    @property
    def acc_width(self) -> int:
        """Width of ``acc``, bits. Wrap-around of partial sums is harmless: only the end counts."""
        return signed_width(self.acc_min, self.acc_max)

    @property
    def size_bits(self) -> int:
        """Stored bits: weights, and biases at their least common width."""
        bias = len(self.bias) * signed_width(int(self.bias.min()), int(self.bias.max()))
        return self.weight.size * self.weight_bits + bias


@dataclass(frozen=True, kw_only=True)
class Dense(_Linear):
    """``acc = bias + weight @ x``; ``o = sat(((m acc + half) >> (n + k_i)) + zero_point)``.

    Parameters
    ----------
    weight : int8 array [outputs, inputs], codes of `weight_bits` bits, zero point 0.
    bias : int64 array [outputs], accumulator units; holds the float bias and the folded zero
        point of the input, ``round(b / (S_w S_x)) - Z_x sum_j w_ij``.
    channel_shift : uint8 array [outputs], ``k_i``, 0 to 7; all 0 where granularity is per tensor.
    in_bits, weight_bits, out_bits, multiplier (``m``), shift (``n``), zero_point : int
    acc_min, acc_max : int
        The proof: bounds of ``acc`` by interval arithmetic over all input codes.
    """

    kind: ClassVar[str] = "dense"
    channel_shift: np.ndarray
    out_bits: int
    multiplier: int
    shift: int
    zero_point: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_array("dense.channel_shift", self.channel_shift, 1, 0, MAX_CHANNEL_SHIFT)
        if len(self.channel_shift) != len(self.bias):
            raise InputError("dense: bias and channel_shift differ in outputs")

    @property
    def size_bits(self) -> int:
        """Stored bits: weights, biases at their least common width, and channel shifts."""
        return super().size_bits + len(self.bias) * int(self.channel_shift.max()).bit_length()


@dataclass(frozen=True)
class Sum(_Op):
    """``o = sat(((m_a (a - Z_a) + m_b (b - Z_b) + half) >> n) + Z)``; one rounding for both."""

    kind: ClassVar[str] = "sum"
    a_bits: int
    b_bits: int
    out_bits: int
    a_zero_point: int
    b_zero_point: int
    multiplier_a: int
    multiplier_b: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Complement(_Op):
    """``o = sat(((one - m (a - Z_a) + half) >> n) + Z)``; ``one = round(2**n / S_o)``."""

    kind: ClassVar[str] = "complement"
    a_bits: int
    out_bits: int
    a_zero_point: int
    multiplier: int
    one: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Product(_Op):
    """``o = sat(((m (a - Z_a) (b - Z_b) + half) >> n) + Z)``."""

    kind: ClassVar[str] = "product"
    a_bits: int
    b_bits: int
    out_bits: int
    a_zero_point: int
    b_zero_point: int
    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Table(_Op):
    """``o = table[a + 2**(a_bits-1)]``: one output code for every input code."""

    kind: ClassVar[str] = "table"
    a_bits: int
    out_bits: int
    table: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_array("table.table", self.table, 1, *code_range(self.out_bits))
        if len(self.table) != 1 << self.a_bits:
            raise InputError(f"table: {len(self.table)} entries, {1 << self.a_bits} are needed")


@dataclass(frozen=True)
class PiecewiseLinear(_Op):
    """``k = #{j: breakpoints[j] <= a}``;
    ``o = sat(((slopes[k] a + intercepts[k] + half) >> fraction_bits) + zero_point)``.

    N segments have N - 1 strictly increasing break points; a code on a break point belongs to
    the segment on its right (arXiv 2403.19591, the trainer's rule).
    """

    kind: ClassVar[str] = "pwl"
    a_bits: int
    out_bits: int
    fraction_bits: int
    zero_point: int
    breakpoints: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_array("pwl.slopes", self.slopes, 1, -(1 << 24), 1 << 24)
        _check_array("pwl.intercepts", self.intercepts, 1, -(1 << 40), 1 << 40)
        if len(self.slopes) > 1:
            _check_array("pwl.breakpoints", self.breakpoints, 1, *code_range(self.a_bits))
        if len(self.breakpoints) != len(self.slopes) - 1 or len(self.slopes) != len(
            self.intercepts
        ):
            raise InputError("pwl: N slopes and N intercepts need N - 1 breakpoints")
        steps = np.diff(self.breakpoints.astype(np.int64))
        if (steps <= 0).any():
            j = int(np.argmax(steps <= 0))
            raise InputError(
                f"pwl: breakpoint {j + 1} ({self.breakpoints[j + 1]}) is not above "
                f"breakpoint {j} ({self.breakpoints[j]})"
            )


@dataclass(frozen=True)
class Requantize(_Op):
    """``o = sat(((m a + half) >> n) + Z)`` of a sum ``a`` within `acc_min` to `acc_max`."""

    kind: ClassVar[str] = "requantize"
    acc_min: int
    acc_max: int
    out_bits: int
    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class OutputStage:
    """What makes codes of the sums of a linear operator: a requantiser, and an activation or none.

    ReLU needs no unit: the requantiser's lowest code stands for zero, and it saturates there.

    Parameters
    ----------
    requantize : Requantize
    activation : Table, PiecewiseLinear or None
    scale, zero_point
        A code stands for ``scale * (code - zero_point)``; no result depends on them.
    """

    requantize: Requantize
    activation: Table | PiecewiseLinear | None
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        _check_scale("output stage: scale", self.scale)
        integer_within("output stage: zero_point", self.zero_point, -MAX_ZERO, MAX_ZERO)
        if self.activation is not None and self.activation.a_bits != self.requantize.out_bits:
            raise InputError(
                f"output stage: the activation takes {self.activation.a_bits} bits, "
                f"the requantiser gives {self.requantize.out_bits}"
            )

    @property
    def out_bits(self) -> int:
        """Width of the codes."""
        return (self.activation or self.requantize).out_bits

    def real(self, codes: np.ndarray) -> np.ndarray:
        """What `codes` stand for, float64."""
        return self.scale * (np.asarray(codes, np.float64) - self.zero_point)


def _check_scale(name: str, scale: Any) -> None:
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e30:
        raise InputError(f"{name} {shown(scale)} is not a positive number")


Operator = Dense | Sum | Complement | Product | Table | PiecewiseLinear
#: The operator classes allowed under each gene name.
CLASSES: dict[str, tuple[type, ...]] = {
    name: {
        "w": (Dense,),
        "s": (Sum,),
        "c": (Complement,),
        "p": (Product,),
        "a": (Table, PiecewiseLinear),
    }[name[0]]
    for name in GENES
}
#: Where each operator's operands come from: operator names, or "x" (input) and "h" (old state).
OPERANDS: dict[str, tuple[str, ...]] = {
    "w_ir": ("x",),
    "w_iz": ("x",),
    "w_in": ("x",),
    "w_hr": ("h",),
    "w_hz": ("h",),
    "w_hn": ("h",),
    "s_r": ("w_ir", "w_hr"),
    "s_z": ("w_iz", "w_hz"),
    "a_r": ("s_r",),
    "a_z": ("s_z",),
    "p_rn": ("a_r", "w_hn"),
    "s_n": ("w_in", "p_rn"),
    "a_n": ("s_n",),
    "c_z": ("a_z",),
    "p_zn": ("c_z", "a_n"),
    "p_zh": ("a_z", "h"),
    "s_h": ("p_zn", "p_zh"),
}
#: An order in which the operators of a step can be evaluated.
SCHEDULE = tuple(OPERANDS)


@dataclass(frozen=True)
class Layer:
    """The 17 operators of one GRU layer, by gene name.

    ``in_bits`` is the width of the input codes; the state has the width and zero point of
    ``s_h``, and starts a sequence at ``h = state_zero_point`` (real zero).
    """

    ops: Mapping[str, Operator]

    def __post_init__(self) -> None:
        if tuple(self.ops) != SCHEDULE:
            raise InputError(f"layer: operators must be {' '.join(SCHEDULE)}")
        for name, op in self.ops.items():
            if not isinstance(op, CLASSES[name]):
                raise InputError(f"{name}: a {op.kind} operator cannot stand here")
        hidden, inputs = self.hidden_size, self.input_size
        for name in GENES[:6]:
            shape = self.dense(name).weight.shape
            if shape != (wanted := (hidden, inputs if name[2] == "i" else hidden)):
                raise InputError(f"{name}: weight shape {shape}, {wanted} is needed")
        for name, sources in OPERANDS.items():
            op = self.ops[name]
            widths = [op.in_bits] if isinstance(op, Dense) else [op.a_bits]
            if isinstance(op, Sum | Product):
                widths.append(op.b_bits)
            for source, width in zip(sources, widths, strict=True):
                actual = self.in_bits if source == "x" else self.bits(source)
                if width != actual:
                    raise InputError(f"{name}: operand {source} has {actual} bits, not {width}")
        low, high = code_range(self.bits("h"))
        if not low <= self.state_zero_point <= high:
            raise InputError(
                f"s_h: zero point {self.state_zero_point} is no code; the initial state is zero"
            )

    def dense(self, name: str) -> Dense:
        """Operator `name`, known to be dense."""
        op = self.ops[name]
        assert isinstance(op, Dense)
        return op

    def bits(self, name: str) -> int:
        """Width of the output code of operator `name` (``h``: of the state)."""
        return self.ops["s_h" if name == "h" else name].out_bits

    @property
    def input_size(self) -> int:
        return self.dense("w_ir").weight.shape[1]

    @property
    def hidden_size(self) -> int:
        return self.dense("w_hr").weight.shape[0]

    @property
    def in_bits(self) -> int:
        return self.dense("w_ir").in_bits

    @property
    def state_zero_point(self) -> int:
        op = self.ops["s_h"]
        assert isinstance(op, Sum)
        return op.zero_point


@dataclass(frozen=True, kw_only=True)
class Classifier(_Linear):
    """Dense on the last state, weights of 2 to 8 bits; logits are the raw accumulators, the class
    is the first greatest."""

    kind: ClassVar[str] = "classifier"


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


def _pack(prefix: str, op: _Op, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    for name, array in op._arrays().items():
        # Break points of a one-segment table are empty; safetensors stores that as it is.
        tensors[f"{prefix}.{name}"] = array
    return {"kind": op.kind, **op._integers()}


def _unpack(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> Any:
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


def _pack_stage(prefix: str, stage: OutputStage, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    unit = stage.activation
    return {
        "requantize": _pack(f"{prefix}.requantize", stage.requantize, tensors),
        "activation": None if unit is None else _pack(f"{prefix}.activation", unit, tensors),
        "scale": stage.scale,
        "zero_point": stage.zero_point,
    }


def _unpack_stage(prefix: str, entry: Any, tensors: dict[str, np.ndarray]) -> OutputStage:
    requantize = _unpack(f"{prefix}.requantize", entry["requantize"], tensors)
    unit = entry["activation"]
    unit = None if unit is None else _unpack(f"{prefix}.activation", unit, tensors)
    if not isinstance(requantize, Requantize) or not isinstance(
        unit, Table | PiecewiseLinear | None
    ):
        raise InputError(f"{prefix}: wrong operator kind")
    return OutputStage(requantize, unit, entry["scale"], entry["zero_point"])


@dataclass(frozen=True)
class IntModel:
    """A whole network: layers in series, then the classifier.

    Parameters
    ----------
    genome : Genome
    layers : tuple of Layer
    classifier : Classifier
        The last linear operator, whatever the head makes of its sums.
    input_scale, input_zero_point
        ``code = clip(round(x / input_scale) + input_zero_point)``, codes of :attr:`in_bits` bits:
        how a user makes codes.
    info : dict
        JSON-able provenance: task, knobs, scales, checkpoint hash. Not part of :attr:`hash`, which
        names the integers; a file has a hash of it as well.
    head : Head
        What the network answers, and when.
    input_shifts : tuple of int
        Of every feature, ``x / 2**shift`` stands in the place of x; empty where all are 0. The
        hardware does not see them.
    stage : OutputStage, where the head answers codes, else None
    """

    genome: Genome
    layers: tuple[Layer, ...]
    classifier: Classifier
    input_scale: float
    input_zero_point: int
    info: dict[str, Any] = field(default_factory=dict, compare=False)
    head: Head = field(default_factory=Head)
    stage: OutputStage | None = None
    input_shifts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.genome.layers):
            raise InputError("model: genome and layers differ in number")
        _check_scale("model: input_scale", self.input_scale)
        integer_within("model.input_zero_point", self.input_zero_point, -MAX_ZERO, MAX_ZERO)
        if self.input_shifts and len(self.input_shifts) != self.layers[0].input_size:
            raise InputError("model: input_shifts and features differ in number")
        for number, shift in enumerate(self.input_shifts):
            integer_within(f"model.input_shifts[{number}]", shift, -MAX_OCTAVES, MAX_OCTAVES)
        for number, (layer, genes) in enumerate(zip(self.layers, self.genome.layers, strict=True)):
            if number:
                below = self.layers[number - 1]
                if (layer.input_size, layer.in_bits) != (below.hidden_size, below.bits("h")):
                    raise InputError(f"model: layer {number} does not fit the layer below it")
            for name, bits in zip(GENES, genes, strict=True):
                op = layer.ops[name]
                width = op.weight_bits if isinstance(op, Dense) else op.out_bits
                if width != bits:
                    raise InputError(f"layer {number}, {name}: {width} bits, its gene says {bits}")
        top = self.layers[-1]
        if self.classifier.weight.shape[1] != top.hidden_size:
            raise InputError("model: the classifier does not fit the last layer")
        if self.classifier.in_bits != top.bits("h"):
            raise InputError("model: the classifier's input width is not the last state's")
        self._check_head()

    def _check_head(self) -> None:
        if (self.stage is not None) != (self.head.output == "codes"):
            raise InputError(f"model: a head of {self.head} and its output stage do not fit")
        if self.stage is None:
            return
        sums, taken = self.classifier, self.stage.requantize
        if (sums.acc_min, sums.acc_max) != (taken.acc_min, taken.acc_max):
            raise InputError("model: the output stage takes other sums than the classifier gives")
        curved = self.head.activation in ("sigmoid", "tanh")
        if curved != (self.stage.activation is not None):
            raise InputError(f"model: a head of {self.head} and its activation do not fit")

    @property
    def in_bits(self) -> int:
        """Width of the input codes."""
        return self.layers[0].in_bits

    @property
    def classes(self) -> int:
        """Sums of the last linear operator: classes, logits or codes of an answer."""
        return len(self.classifier.bias)

    @property
    def weight_bits(self) -> int:
        """Bits of the weight matrices of the GRU layers alone: what rivals report."""
        dense = (layer.dense(name) for layer in self.layers for name in GENES[:6])
        return sum(op.weight.size * op.weight_bits for op in dense)

    @property
    def size_bits(self) -> int:
        """Stored parameter bits: weights, biases, channel shifts, classifier included."""
        dense = sum(layer.dense(n).size_bits for layer in self.layers for n in GENES[:6])
        return dense + self.classifier.size_bits

    @cached_property
    def _content(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors: dict[str, np.ndarray] = {}
        document: dict[str, Any] = {
            "version": CONTENT_VERSION if self.head.plain else HEAD_VERSION,
            "genome": [list(layer) for layer in self.genome.layers],
            "input": {"scale": self.input_scale, "zero_point": self.input_zero_point},
            "layers": [
                {name: _pack(f"layers.{k}.{name}", op, tensors) for name, op in layer.ops.items()}
                for k, layer in enumerate(self.layers)
            ],
            "classifier": _pack("classifier", self.classifier, tensors),
        }
        if self.input_shifts:
            document["input"]["shifts"] = list(self.input_shifts)
        if not self.head.plain:
            document["head"] = self.head.to_json()
        if self.stage is not None:
            document["stage"] = _pack_stage("stage", self.stage, tensors)
        return tensors, document

    @property
    def hash(self) -> str:
        """SHA-256, 16 hex digits, over every integer of the model."""
        tensors, document = self._content
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
        for name in sorted(tensors):
            array = tensors[name]
            digest.update(f"{name} {array.shape} ".encode() + array.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Input codes of :attr:`in_bits` bits, int64, of real inputs of any shape; of 0 where a
        sequence has ended (NaN)."""
        x = np.asarray(x, np.float64)
        if np.isnan(x).any():
            x = np.nan_to_num(x, nan=0.0)
        scale: Any = self.input_scale
        if self.input_shifts:
            scale = scale * 2.0 ** np.array(self.input_shifts)
        codes = np.floor(x / scale + 0.5)
        return np.clip(codes + self.input_zero_point, *code_range(self.in_bits)).astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically: tensors, and JSON metadata with the rest."""
        tensors, document = self._content
        hashes = {"hash": self.hash, "info_hash": _info_hash(self.info)}
        write_tensors(
            path, tensors, {**document, "version": VERSION, **hashes, "info": self.info}, KIND
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "IntModel":
        """Read and check a file written by :meth:`save`. Raises :class:`InputError`."""
        tensors, document = read_tensors(path, KIND)
        try:
            version = document["version"]
            if isinstance(version, bool) or version not in (1, 2, VERSION):
                raise InputError(f"version {shown(version)}, this program reads 1 to {VERSION}")
            layers = []
            for k, entry in enumerate(document["layers"]):
                if set(entry) != set(SCHEDULE):
                    raise InputError(f"layer {k}: operators must be {' '.join(SCHEDULE)}")
                layers.append(
                    Layer(
                        {
                            name: _unpack(f"layers.{k}.{name}", entry[name], tensors)
                            for name in SCHEDULE
                        }
                    )
                )
            classifier = _unpack("classifier", document["classifier"], tensors)
            if not isinstance(classifier, Classifier):
                raise InputError("classifier: wrong operator kind")
            model = cls(
                genome=Genome(tuple(tuple(layer) for layer in document["genome"])),
                layers=tuple(layers),
                classifier=classifier,
                input_scale=document["input"]["scale"],
                input_zero_point=document["input"]["zero_point"],
                input_shifts=tuple(document["input"].get("shifts", ())),
                info=document.get("info", {}),
                head=Head.of(document.get("head")),
                stage=_unpack_stage("stage", document["stage"], tensors)
                if "stage" in document
                else None,
            )
            if not isinstance(model.info, dict):
                raise InputError(f"info: {shown(model.info)} is not an object")
            if model.hash != document.get("hash"):
                raise InputError("its hash does not fit its content: the file was altered")
            if version == VERSION and _info_hash(model.info) != document["info_hash"]:
                raise InputError("info_hash does not fit info (scales): the file was altered")
            return model
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise InputError(f"{path}: not a whole {KIND} file ({error!r:.100})") from None


def _info_hash(info: Mapping[str, Any]) -> str:
    """SHA-256, 16 hex digits, of `info` as JSON text. JSON has no keys but text, hence twice."""
    text = json.dumps(json.loads(json.dumps(info)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_op(model: IntModel, layer: int, name: str, op: Operator) -> IntModel:
    """A copy of `model` in which operator `name` of `layer` is `op`."""
    ops = {**model.layers[layer].ops, name: op}
    layers = list(model.layers)
    layers[layer] = Layer({key: ops[key] for key in SCHEDULE})
    return replace(model, layers=tuple(layers))
