"""The float network: dense layers, GRU layers, dense layers and a linear classifier, in NumPy.

PyTorch's convention (``torch.nn.GRU``), so that any trained model can be brought here:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)      z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))   h' = (1 - z) * n + z * h

Dense layers, ``f(W x + b)``, stand in front of the first GRU layer or behind the last one's state.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.measures import Score, at_last, filled, lengths_of
from ..errors import COPY, InputError, shown
from ..files import read_tensors, write_tensors
from ..genome import MAX_DENSE
from ..head import ACTIVATIONS, Head
from ..integer import MAX_SIZE

KIND, VERSION = "genogate-float-checkpoint", 1
#: Key in ``info`` of the record that makes a trained integer network again
#: (:mod:`genogate.model.quantize.trained`).
RECORD = "trained"
#: Key in ``info`` of weights that were trained for all genomes
#: (:mod:`genogate.model.qat.any_precision`).
FOR_ALL = "any_precision"
#: Key in ``info`` of what a network of fewer units was cut from
#: (:mod:`genogate.model.checkpoints.pruning`).
PRUNED = "pruned"
_GATES = ("r", "z", "n")
#: Time steps, over all sequences, that :func:`accuracy` holds in memory.
STEPS_AT_ONCE = 32_768


#: Places of dense layers, in the order of their genes.
PLACES = ("front", "back")


def layer_names(layer: int) -> tuple[str, str, str, str]:
    """Tensor names of `layer`, as ``torch.nn.GRU`` calls them: both weights, then both biases."""
    return (f"weight_ih_l{layer}", f"weight_hh_l{layer}", f"bias_ih_l{layer}", f"bias_hh_l{layer}")


@dataclass(frozen=True)
class Checkpoint:
    """A trained float network.

    Parameters
    ----------
    tensors : name -> float32 array
        For every layer ``k``: ``weight_ih_l{k}`` [3 H, inputs], ``weight_hh_l{k}`` [3 H, H],
        ``bias_ih_l{k}`` and ``bias_hh_l{k}`` [3 H], rows in the order r, z, n; and
        ``classifier.weight`` [classes, H], ``classifier.bias`` [classes]. Of dense layers
        ``front0.weight`` [outputs, inputs], ``front0.bias`` ..., ``back0.weight`` ...; of a layer
        whose state does not start at zero ``initial_state_l{k}`` [H].
    info : dict
        JSON-able provenance: task, seed, split hash, command, accuracy. Of it only the record of a
        trained integer network (:data:`RECORD`), a head other than the usual one (``head``, see
        :class:`~genogate.model.head.Head`), and the functions of dense layers (``front`` and
        ``back``: lists of "none", "relu", "sigmoid" or "tanh") are part of the hash.

    Raises :class:`InputError` for a missing or extra tensor, a shape that does not fit, a type
    that is not float32, or a value that is not finite.
    """

    tensors: Mapping[str, np.ndarray]
    info: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _ = self.head
        names = set(self.tensors)
        layers = self.layers
        expected = [name for k in range(layers) for name in layer_names(k)]
        expected += [f"{layer}.{what}" for layer in self.functions for what in ("weight", "bias")]
        expected += ["classifier.weight", "classifier.bias"]
        if not layers:
            raise InputError("checkpoint: tensor weight_ih_l0 is missing")
        if missing := sorted(set(expected) - names):
            raise InputError(f"checkpoint: tensor {missing[0]} is missing")
        states = {f"initial_state_l{k}" for k in range(layers)} & names
        if extra := sorted(names - set(expected) - states):
            raise InputError(f"checkpoint: tensor {extra[0]:.60} is not one of a GRU's")
        for name in (*expected, *sorted(states)):
            self._check_values(name)
        inputs = self._check_dense("front", self.input_size)
        for k in range(layers):
            hidden = self.tensors[f"weight_hh_l{k}"].shape[-1]
            shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
            for name, shape in zip(layer_names(k), shapes, strict=True):
                self._check_shape(name, shape)
            if f"initial_state_l{k}" in states:
                self._check_shape(f"initial_state_l{k}", (hidden,))
            inputs = hidden
        inputs = self._check_dense("back", inputs)
        self._check_shape("classifier.weight", (self.classes, inputs))
        self._check_shape("classifier.bias", (self.classes,))

    def _check_dense(self, place: str, inputs: int) -> int:
        """Check the dense layers there, which take `inputs` values, and return how many they
        give."""
        for layer in self.functions:
            if layer.startswith(place):
                outputs = self.tensors[f"{layer}.weight"].shape[0]
                self._check_shape(f"{layer}.weight", (outputs, inputs))
                self._check_shape(f"{layer}.bias", (outputs,))
                inputs = outputs
        return inputs

    def _check_values(self, name: str) -> None:
        array = self.tensors[name]
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise InputError(f"checkpoint: {name} is not a float32 array")
        if array.ndim not in (1, 2) or 0 in array.shape or max(array.shape) > 3 * MAX_SIZE:
            raise InputError(f"checkpoint: {name} has the impossible shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"checkpoint: {name} holds a value that is not finite")

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if self.tensors[name].shape != shape:
            raise InputError(
                f"checkpoint: {name} has shape {self.tensors[name].shape}, not {shape}"
            )

    @property
    def head(self) -> Head:
        """What the network answers, and when."""
        return Head.of(self.info.get("head"))

    @property
    def layers(self) -> int:
        """Number of GRU layers."""
        layers = 0
        while f"weight_ih_l{layers}" in self.tensors:
            layers += 1
        return layers

    @property
    def functions(self) -> dict[str, str]:
        """Functions of the dense layers by name, in the order of their genes: ``front0`` ..., then
        ``back0`` ... Raises :class:`InputError` where ``info`` does not hold lists of functions."""
        functions: dict[str, str] = {}
        for place in PLACES:
            entries = self.info.get(place, [])
            if not isinstance(entries, list | tuple) or len(entries) > MAX_DENSE:
                raise InputError(f"checkpoint: {place} is not a list of at most {MAX_DENSE}")
            for number, function in enumerate(entries):
                if not isinstance(function, str) or function not in ACTIVATIONS:
                    raise InputError(
                        f"checkpoint: {place}{number}: {shown(function)} is not one of "
                        f"{ACTIVATIONS}"
                    )
                functions[f"{place}{number}"] = function
        if len(functions) > MAX_DENSE:
            raise InputError(f"checkpoint: {len(functions)} dense layers, at most {MAX_DENSE}")
        return functions

    @property
    def structure(self) -> dict[str, Any]:
        """What of ``info`` says how the tensors belong together: head, and functions of dense
        layers."""
        return {key: self.info[key] for key in ("head", *PLACES) if self.info.get(key)}

    @property
    def dense_layers(self) -> int:
        """Number of dense layers, the classifier not counted."""
        return len(self.functions)

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of GRU and of dense layers, as genomes take them."""
        return self.layers, self.dense_layers

    @property
    def plain(self) -> bool:
        """Whether it has neither dense layers nor given initial states."""
        return not self.functions and not any(k.startswith("initial_state") for k in self.tensors)

    def need_plain(self, what: str) -> None:
        """Raise :class:`InputError` where the network has dense layers or given initial states,
        which `what` does not know."""
        if not self.plain:
            parts = [*self.functions] or ["given initial states"]
            raise InputError(
                f"{what} knows GRU layers and a classifier alone, the network has "
                f"{', '.join(parts)} besides"
            )

    @property
    def first_weight(self) -> str:
        """Name of the matrix that takes the features."""
        return "front0.weight" if "front0" in self.functions else "weight_ih_l0"

    @property
    def input_size(self) -> int:
        return self.tensors[self.first_weight].shape[-1]

    def initial_state(self, layer: int) -> np.ndarray:
        """State [H] that sequences start with in `layer`."""
        name = f"initial_state_l{layer}"
        return self.tensors.get(name, np.zeros(self.hidden_size(layer), np.float32))

    def hidden_size(self, layer: int = -1) -> int:
        """Units of `layer`; of the last one by default."""
        return self.tensors[f"weight_hh_l{layer % self.layers}"].shape[1]

    @property
    def classes(self) -> int:
        return self.tensors["classifier.bias"].shape[0]

    def operator(self, layer: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Weight [H, inputs] and bias [H] of the dense operator `name` (``w_ir`` ... ``w_hn``)."""
        side, gate = name[2], name[3]
        hidden = self.hidden_size(layer)
        rows = slice(_GATES.index(gate) * hidden, (_GATES.index(gate) + 1) * hidden)
        return (
            self.tensors[f"weight_{side}h_l{layer}"][rows],
            self.tensors[f"bias_{side}h_l{layer}"][rows],
        )

    @property
    def hash(self) -> str:
        """SHA-256, 16 hex digits, over every weight, and the record of a trained integer network
        where there is one: equal hashes give equal integers."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            array = self.tensors[name]
            digest.update(f"{name} {array.shape} ".encode() + array.astype("<f4").tobytes())
        if self.info.get(RECORD) is not None:
            digest.update(json.dumps(self.info[RECORD], sort_keys=True).encode())
        if not self.head.plain:
            digest.update(str(self.head).encode())
        if functions := self.functions:
            digest.update(json.dumps(functions).encode())
        return digest.hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically; equal checkpoints give equal bytes. The hash is in
        it, so that a change of a weight on the disk is noticed."""
        tensors = {name: self.tensors[name] for name in sorted(self.tensors)}
        document = {"version": VERSION, "info": self.info, "hash": self.hash}
        write_tensors(path, tensors, document, KIND)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read and check a file written by :meth:`save`; files of before hold no hash, and are
        taken as they are. Raises :class:`InputError`."""
        tensors, document = read_tensors(path, KIND)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            version = document.get("version") if isinstance(document, dict) else None
            raise InputError(f"{path}: version {version!r:.40}, this program reads {VERSION}")
        info = document.get("info", {})
        if not isinstance(info, dict):
            raise InputError(f'{path}: "info" is not a JSON object')
        try:
            checkpoint = cls(tensors, info)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if document.get("hash", checkpoint.hash) != checkpoint.hash:
            raise InputError(
                f"{path}: damaged, its weights are not those that were written (hash "
                f"{checkpoint.hash}, {shown(document['hash'])} was recorded)",
                COPY,
            )
        return checkpoint


#: Outputs by place (number of a GRU layer, or name of a dense layer) and operator.
Trace = dict[tuple[int | str, str], np.ndarray]


@dataclass(frozen=True)
class FloatResult:
    """What :func:`forward` returns.

    hidden : [batch, steps, H], states of the last layer after each step.
    logits : [batch, classes]; [batch, steps, classes] where the head answers at every step.
    classes : int64 [batch] or [batch, steps], index of the first greatest logit.
    values : shaped as the logits, behind the activation of a head that answers codes.
    trace : (layer, operator) -> [batch, steps, H], the output of every operator, by gene name
        (a dense operator's is ``W x + b``); of dense layers ``("front0", "w")``, the sums, and
        ``("front0", "o")``; those of ``back0`` ... have one step where the head answers after the
        last. Empty unless asked for.
    """

    hidden: np.ndarray
    logits: np.ndarray
    classes: np.ndarray
    trace: Trace = field(default_factory=dict)
    values: np.ndarray | None = None


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))`` without overflow, any shape."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


#: Functions of a head, and of dense layers, by name.
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


def forward(
    checkpoint: Checkpoint, x: np.ndarray, trace: bool = False, dtype: Any = np.float64
) -> FloatResult:
    """Evaluate `checkpoint` on real inputs `x` [batch, steps, features], in `dtype`.

    Every sequence starts from the zero state, or the initial one of a layer, and ends where `x` is
    NaN. Equal to torch's layers within 1e-5.
    Raises :class:`InputError` for inputs of another shape.
    """
    lengths = lengths_of(x)
    value = filled(np.asarray(x, dtype))
    if value.ndim != 3 or value.shape[2] != checkpoint.input_size or 0 in value.shape:
        raise InputError(
            f"inputs: shape {value.shape}, [batch, steps, {checkpoint.input_size}] is needed"
        )
    states: Trace | None = {} if trace else None
    value = _forward_dense(checkpoint, "front", value, states)
    for layer in range(checkpoint.layers):
        value, taken = _forward_layer(checkpoint, layer, value, trace)
        if states is not None:
            states.update({(layer, name): array for name, array in taken.items()})
    head = checkpoint.head
    weight = checkpoint.tensors["classifier.weight"].astype(dtype)
    seen = value if head.every else at_last(value, lengths)[:, None]
    seen = _forward_dense(checkpoint, "back", seen, states)
    seen = seen if head.every else seen[:, 0]
    logits = seen @ weight.T + checkpoint.tensors["classifier.bias"].astype(dtype)
    values = FUNCTIONS[head.activation](logits) if head.output == "codes" else None
    return FloatResult(value, logits, logits.argmax(-1), states or {}, values)


def _forward_dense(
    checkpoint: Checkpoint, place: str, x: np.ndarray, trace: Trace | None
) -> np.ndarray:
    """Outputs [..., units] of the dense layers at `place` for x [..., inputs]."""
    for name, function in checkpoint.functions.items():
        if not name.startswith(place):
            continue
        weight, bias = (
            checkpoint.tensors[f"{name}.{k}"].astype(x.dtype) for k in ("weight", "bias")
        )
        sums = x @ weight.T + bias
        x = FUNCTIONS[function](sums)
        if trace is not None:
            trace[name, "w"], trace[name, "o"] = sums, x
    return x


def _forward_layer(
    checkpoint: Checkpoint, layer: int, x: np.ndarray, trace: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """States [batch, steps, H] of one layer, and its operators' outputs where `trace` asks."""
    w_ih, w_hh, b_ih, b_hh = (
        checkpoint.tensors[name].astype(x.dtype) for name in layer_names(layer)
    )
    hidden = w_hh.shape[1]
    batch, steps, _ = x.shape
    states = np.empty((batch, steps, hidden), x.dtype)
    taken: dict[str, np.ndarray] = {}
    h = np.repeat(checkpoint.initial_state(layer).astype(x.dtype)[None], batch, 0)
    # The input side does not wait for the state: all steps at once.
    inputs = x @ w_ih.T + b_ih
    for step in range(steps):
        w_ir, w_iz, w_in = np.split(inputs[:, step], 3, axis=1)
        w_hr, w_hz, w_hn = np.split(h @ w_hh.T + b_hh, 3, axis=1)
        s_r, s_z = w_ir + w_hr, w_iz + w_hz
        a_r, a_z = sigmoid(s_r), sigmoid(s_z)
        p_rn = a_r * w_hn
        s_n = w_in + p_rn
        a_n = np.tanh(s_n)
        c_z = 1 - a_z
        p_zn, p_zh = c_z * a_n, a_z * h
        h = s_h = p_zn + p_zh
        states[:, step] = h
        if trace:
            outputs = {
                "w_ir": w_ir,
                "w_iz": w_iz,
                "w_in": w_in,
                "w_hr": w_hr,
                "w_hz": w_hz,
                "w_hn": w_hn,
                "s_r": s_r,
                "s_z": s_z,
                "s_n": s_n,
                "c_z": c_z,
                "s_h": s_h,
                "p_rn": p_rn,
                "p_zn": p_zn,
                "p_zh": p_zh,
                "a_r": a_r,
                "a_z": a_z,
                "a_n": a_n,
            }
            for name, output in outputs.items():
                if name not in taken:
                    taken[name] = np.empty_like(states)
                taken[name][:, step] = output
    return states, taken


def accuracy(checkpoint: Checkpoint, x: np.ndarray, y: np.ndarray) -> float:
    """Score of `checkpoint` on `x` [batch, steps, features] with the targets `y`, by
    :class:`~genogate.model.data.measures.Score`: for classes [batch] the share that is right."""
    # In blocks: all states of a large data set at once would need gigabytes.
    block, score = max(1, STEPS_AT_ONCE // max(1, np.shape(x)[1])), Score()
    for start in range(0, len(x), block):
        result = forward(checkpoint, x[start : start + block])
        answers = result.classes if result.values is None else result.values
        score.add(answers, y[start : start + block])
    return score.value
