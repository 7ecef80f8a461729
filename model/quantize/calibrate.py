"""Calibration: how the quantisation error of every tensor depends on width and scale.

Separable, so it is done once per model for all seven widths: the error of a tensor at a width and
scale depends on that tensor's float statistics alone, and a genome's quantisation only picks.
Errors of all tensors are measured in one unit, the squared error that they cause in the new state
h' of the same step (first order, through the local derivatives of the GRU equations), so they can
be added up when linked scales are chosen together. A pre-activation sum is measured behind its
sigmoid or tanh: clipping it where the activation is flat costs nothing.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..checkpoints.floating import FUNCTIONS as OF_LAYER
from ..checkpoints.floating import Checkpoint, forward
from ..data.features import feature_shifts
from ..data.measures import at_last, filled, lengths_of
from ..genome import GENES
from ..head import Head
from .dense_layers import DenseCalibration
from .error_curves import Tensor, Weights
from .ranges import merged_biases, natural_reach, visible
from .rounding import Format, Rounded, rounded_logits
from .stage import SUMS
from .trained import Trained

#: Share of the state, and of the logits, that INT8 may lose in a network that is not refused. A
#: network with ordinary statistics loses 2 %.
MAX_LOSS = 0.15
#: Share of the logits that INT8, all operators rounded, may lose; the shipped networks lose 1 to
#: 32 % (mnist-pixel, 784 steps). Looked at where rounded weights alone change more than SENSITIVE.
MAX_TOTAL_LOSS, SENSITIVE = 0.35, 0.05
#: Sequences of the calibration data that a network is compared with itself on.
PROBED = 64


@dataclass(frozen=True)
class Probe:
    """The float network and some inputs [batch, steps, features], to see what a change does."""

    checkpoint: Checkpoint
    x: np.ndarray

    def _compared(self, logits: np.ndarray) -> np.ndarray:
        """Logits [answers, classes]; of classes only their differences count."""
        logits = logits.reshape(-1, logits.shape[-1])
        if self.checkpoint.head.output == "codes":
            return logits
        return logits - logits.mean(1, keepdims=True)

    @cached_property
    def _logits(self) -> np.ndarray:
        return self._compared(forward(self.checkpoint, self.x).logits)

    @cached_property
    def constant(self) -> bool:
        """Whether the logits hardly depend on the inputs: by a thousandth of the bias."""
        tensors = self.checkpoint.tensors
        bias = max(float(np.abs(tensors["classifier.bias"]).max()), 1e-30)
        return bool(np.ptp(self._logits, axis=0).max() <= 1e-3 * bias)

    def loss(self, dense: Mapping[tuple[int, str], tuple[np.ndarray, np.ndarray]]) -> float:
        """By how much of their size the differences of the logits change with other weights and
        biases, by layer and operator (``classifier`` and dense layers too, of any layer)."""
        tensors = {name: value.copy() for name, value in self.checkpoint.tensors.items()}
        for (layer, name), pair in dense.items():
            for what, value in zip(("weight", "bias"), pair, strict=True):
                if name not in GENES:
                    tensors[f"{name}.{what}"] = value.astype(np.float32)
                else:
                    hidden = len(value)
                    first = "rzn".index(name[3]) * hidden
                    tensors[f"{what}_{name[2]}h_l{layer}"][first : first + hidden] = value
        changed = Checkpoint(tensors, dict(self.checkpoint.info))
        return self._change(forward(changed, self.x).logits)

    def rounded_loss(
        self, dense: Rounded, formats: Mapping[tuple[int, str], Format], source: Format
    ) -> float:
        """The same, with the outputs of all operators rounded too (:func:`.rounded_logits`)."""
        return self._change(rounded_logits(self.checkpoint, self.x, dense, formats, source))

    def _change(self, logits: np.ndarray) -> float:
        change = self._compared(logits) - self._logits
        size = float((self._logits**2).mean())
        return float(np.sqrt((change**2).mean() / size)) if size else 0.0


@dataclass(frozen=True)
class LayerCalibration:
    """Tensors by gene name (17 outputs), weight matrices by dense gene name, and their biases.

    units : activation units that quantisation made, by scales and widths, so that the next genome
        with the same ones does not search them again
    """

    tensors: dict[str, Tensor]
    weights: dict[str, Weights]
    biases: dict[str, np.ndarray]
    units: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Calibration:
    """What quantisation needs of a checkpoint and its calibration data.

    trained : what the checkpoint was trained as, if it was trained quantised
    head : what the network answers, and when
    sums : of a head that answers codes, its sums (before the activation) in real units
    """

    layers: tuple[LayerCalibration, ...]
    input: Tensor
    classifier_bias: np.ndarray
    #: Logit error per squared weight error, [classes, hidden], and the mean last state.
    classifier: Weights
    probe: Probe
    trained: Trained | None = None
    head: Head = field(default_factory=Head)
    sums: Tensor | None = None
    #: Dense layers in front of and behind the GRU layers.
    front: tuple[DenseCalibration, ...] = ()
    back: tuple[DenseCalibration, ...] = ()
    #: Of each GRU layer the state [H] that sequences start with, None where that is zero.
    initial: tuple[np.ndarray | None, ...] = ()
    #: Powers of two that the features were divided by, see :func:`~..data.features.feature_shifts`.
    input_shifts: tuple[int, ...] = ()
    #: Not empty once the network is known to be one that 8 bits can hold.
    held: list[bool] = field(default_factory=list, compare=False, repr=False)
    _formats: dict[int, tuple[float, int]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def dense_layers(self) -> dict[str, DenseCalibration]:
        """Dense layers by name, in the order of their genes."""
        return {
            **{f"front{k}": layer for k, layer in enumerate(self.front)},
            **{f"back{k}": layer for k, layer in enumerate(self.back)},
        }

    def reads_state(self, number: int) -> bool:
        """Whether logits change much if what follows layer `number` does not see its state."""
        if number + 1 < len(self.layers):
            layer, readers = self.layers[number + 1], ("w_ir", "w_iz", "w_in")
            pairs = {
                (number + 1, name): (0 * layer.weights[name].matrix, layer.biases[name])
                for name in readers
            }
        elif self.back:
            reader = self.back[0]
            pairs = {(number, "back0"): (0 * reader.weights.matrix, reader.bias)}
        else:
            pairs = {(number, "classifier"): (0 * self.classifier.matrix, self.classifier_bias)}
        return self.probe.loss(pairs) > MAX_LOSS

    def classifier_scale(self, bits: int) -> float:
        """Scale of the classifier's weights of `bits` bits."""
        best = self.classifier.curve(bits, "tensor").best_scale
        # A state that is nearly always zero tells nothing of the weights: no step beyond them, or
        # the biases, which are counted in it, would be lost.
        weights, biases = (
            float(np.abs(a).max()) for a in (self.classifier.matrix, self.classifier_bias)
        )
        largest = max(2 * weights / ((1 << (bits - 1)) - 1), biases * 2.0**-14)
        return min(best, largest or best)

    def input_format(self, bits: int) -> tuple[float, int]:
        """Scale and zero point of the network's input codes of `bits` bits."""
        if bits not in self._formats:
            self._formats[bits] = self.input.format(bits)
        return self._formats[bits]


#: Answers at most, of a head at every step, that the classifier is calibrated with.
ANSWERS = 20_000


def _logit_reach(products: np.ndarray, bias: np.ndarray) -> float:
    """Size that logits are told apart at: that of their products, or a 2**-14th of the biases."""
    return max(float(np.abs(products).max()), float(np.abs(bias).max()) * 2.0**-14) or 1.0


def _shifted(
    checkpoint: Checkpoint, x: np.ndarray
) -> tuple[Checkpoint, np.ndarray, tuple[int, ...]]:
    """An equal network for features of similar size, these, and the powers of two between."""
    shifts = feature_shifts(x) if x.ndim == 3 and x.shape[-1] == checkpoint.input_size else ()
    if not shifts:
        return checkpoint, x, ()
    factor, name = 2.0 ** np.array(shifts), checkpoint.first_weight
    weight = (checkpoint.tensors[name] * factor).astype(np.float32)
    tensors = {**checkpoint.tensors, name: weight}
    return Checkpoint(tensors, checkpoint.info), x / factor, shifts


def _sensitivities(t: Mapping[str, np.ndarray], h_old: np.ndarray) -> dict[str, np.ndarray]:
    """Of every operator, the square of what the new state changes by its result; `t` : results by
    operator [batch, steps, units]."""
    r, z, n, c = t["a_r"], t["a_z"], t["a_n"], t["c_z"]
    slope_n = c * (1 - n**2)
    to_r = slope_n * t["w_hn"]
    to_z = h_old - n
    # d h' / d tensor, squared; a pre-activation sum is measured behind its activation.
    weight = {
        "s_h": np.ones_like(r),
        "p_zn": np.ones_like(r),
        "p_zh": np.ones_like(r),
        "c_z": n**2,
        "a_n": c**2,
        "a_z": to_z**2,
        "a_r": to_r**2,
        "s_n": c**2,
        "s_z": to_z**2,
        "s_r": to_r**2,
        "w_in": slope_n**2,
        "p_rn": slope_n**2,
        "w_hn": (slope_n * r) ** 2,
        "w_ir": (to_r * r * (1 - r)) ** 2,
        "w_iz": (to_z * z * (1 - z)) ** 2,
    }
    weight["w_hr"], weight["w_hz"] = weight["w_ir"], weight["w_iz"]
    return weight


def _calibrated_layer(
    checkpoint: Checkpoint,
    number: int,
    t: Mapping[str, np.ndarray],
    operands: Mapping[str, np.ndarray],
    h_old: np.ndarray,
    first: np.ndarray,
) -> LayerCalibration:
    """Statistics of GRU layer `number`: `t` as for :func:`_sensitivities`, operands of the sides
    ``i`` and ``h``, and the state that each sequence starts with."""
    weight = _sensitivities(t, h_old)
    weights, biases = {}, {}
    sizes = {f"w_h{gate}": 1.0 for gate in "rzn"}
    for name in sizes:
        matrix, bias = checkpoint.operator(number, name)
        sizes[name] = float((np.abs(matrix).sum(1) + np.abs(bias)).max())
    seen = visible(t)
    reach = natural_reach(seen, sizes)
    for name in GENES[:6]:
        operand = operands[name[2]]
        matrix, bias = checkpoint.operator(number, name)
        flat = weight[name].reshape(-1, weight[name].shape[-1])
        inputs = operand.reshape(-1, operand.shape[-1])
        weights[name], biases[name] = Weights(matrix, inputs, flat, reach[name]), bias
    tensors = {name: Tensor(name, seen[name], weight[name], reach[name]) for name in GENES}
    if first.any():
        # The state needs codes for where it starts, too.
        every = np.concatenate([seen["s_h"], first[: len(seen["s_h"])]], 1)
        tensors["s_h"] = Tensor("s_h", every, np.ones_like(every), reach["s_h"])
    return LayerCalibration(tensors, weights, biases)


def _last_states(
    checkpoint: Checkpoint, states: np.ndarray, counts: np.ndarray | None, lengths: Any
) -> np.ndarray:
    """The states [n, units] that the head reads, at most :data:`ANSWERS` or so."""
    if not checkpoint.head.every:
        return at_last(states, lengths)
    read = states.reshape(-1, states.shape[-1]) if counts is None else states[counts]
    # More of them tell nothing more.
    return read[:: max(1, len(read) // ANSWERS)]


def _output_sums(checkpoint: Checkpoint, real: np.ndarray) -> Tensor | None:
    """Statistics of the sums `real` of a head that answers codes."""
    head = checkpoint.head
    if head.output != "codes":
        return None
    real = np.maximum(real, 0) if head.activation == "relu" else real
    return Tensor(SUMS[head.activation], real, np.ones(real.shape))


def calibrate(checkpoint: Checkpoint, x: np.ndarray, fold: bool = True) -> Calibration:
    """Run the float network on `x` [batch, steps, features] and collect its statistics.

    fold : whether features of very different size are divided by powers of two; not where training
        goes on from the calibration, whose weights belong to the features as they are

    Raises :class:`InputError` where the checkpoint's record of training is of another version.
    """
    # Threads of BLAS add in another order, and one unit in the last place is enough for another
    # code: the same network whatever the process has, and the one of the commands, which have one.
    with threadpool_limits(1):
        return _calibrated_network(checkpoint, x, fold)


def _calibrated_network(checkpoint: Checkpoint, x: np.ndarray, fold: bool) -> Calibration:
    trained, checkpoint = Trained.of(checkpoint), merged_biases(checkpoint)
    shifts: tuple[int, ...] = ()
    if fold and trained is None:
        checkpoint, x, shifts = _shifted(checkpoint, np.asarray(x))
    result = forward(checkpoint, x, trace=True)
    layers = []
    lengths = lengths_of(x)
    below, counts = filled(np.asarray(x, np.float64)), counted(x)
    front, below = _calibrated(checkpoint, "front", below, counts)
    for number in range(checkpoint.layers):
        t = {name: result.trace[number, name].astype(np.float64) for name in GENES}
        states = t["s_h"]
        first = np.broadcast_to(checkpoint.initial_state(number), states[:, :1].shape)
        h_old = np.concatenate([first, states[:, :-1]], 1)
        operands = {"i": below, "h": h_old}
        if counts is not None:
            # Steps that count, as if all were of one sequence: nothing below looks further back.
            t = {name: value[counts][None] for name, value in t.items()}
            h_old = h_old[counts][None]
            operands = {side: value[counts][None] for side, value in operands.items()}
        layers.append(_calibrated_layer(checkpoint, number, t, operands, h_old, first))
        below = states
    matrix = checkpoint.tensors["classifier.weight"]
    bias = checkpoint.tensors["classifier.bias"]
    last = _last_states(checkpoint, below, counts, lengths)
    back, last = _calibrated(checkpoint, "back", last, None)
    inputs = np.asarray(x) if counts is None else np.asarray(x)[counts]
    sums = _output_sums(checkpoint, last @ matrix.T + bias)
    return Calibration(
        tuple(layers),
        Tensor("x", inputs, np.ones(inputs.shape)),
        bias.astype(np.float64),
        Weights(matrix, last, np.ones((len(last), len(bias))), _logit_reach(last @ matrix.T, bias)),
        Probe(checkpoint, np.asarray(x)[:PROBED]),
        trained,
        checkpoint.head,
        sums,
        front,
        back,
        tuple(checkpoint.tensors.get(f"initial_state_l{k}") for k in range(checkpoint.layers)),
        shifts,
    )


def _calibrated(
    checkpoint: Checkpoint, place: str, value: np.ndarray, counts: np.ndarray | None
) -> tuple[tuple[DenseCalibration, ...], np.ndarray]:
    """Statistics of the dense layers at `place`, and their outputs [..., units], for inputs `value`
    [..., inputs]; counts : mask of what counts of these."""
    names, layers = [name for name in checkpoint.functions if name.startswith(place)], []
    behind = "weight_ih_l0" if place == "front" else "classifier.weight"
    for name, reader in pairwise([*names, behind]):
        reader = reader if reader == behind else f"{reader}.weight"
        weight, bias = (checkpoint.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        function = checkpoint.functions[name]
        inputs = value.reshape(-1, value.shape[-1]) if counts is None else value[counts]
        read = checkpoint.tensors[reader]
        layers.append(DenseCalibration.of(function, weight, bias, inputs, read))
        value = OF_LAYER[function](value @ weight.T.astype(np.float64) + bias)
    return tuple(layers), value


def counted(x: np.ndarray) -> np.ndarray | None:
    """Mask [batch, steps] of the steps before the ends of sequences; None where all are."""
    lengths = lengths_of(x)
    return None if lengths is None else np.arange(np.shape(x)[1]) < lengths[:, None]
