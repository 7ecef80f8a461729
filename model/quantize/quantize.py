"""Post-training quantisation: a float checkpoint, a genome and knobs to an integer model.

Every combined scale ``M = S1 S2 / S3`` must be a number of few signed powers of two, so the scales
of the operators of a layer are linked. Five are chosen freely (the three pre-activation sums, r
and the state h'); every other scale follows from its neighbour through an allowed M, the one of
least calibrated error; the free five are those of least total error. Tables cut the links: their
input and output scales are free of each other. Equations: ``docs/numerics.md``.

One long file: the scales of a layer are linked, so that no step of their choice stands alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checkpoints.floating import Checkpoint
from ..errors import InputError
from ..genome import GENES, Genome
from ..head import Head
from ..integer import (
    MAX_ZERO,
    OPERANDS,
    SCHEDULE,
    Classifier,
    Complement,
    Dense,
    IntModel,
    Layer,
    Operator,
    Product,
    Sum,
    Table,
    code_range,
)
from ..knobs import Knobs
from .calibrate import (
    MAX_LOSS,
    MAX_TOTAL_LOSS,
    SENSITIVE,
    Calibration,
    LayerCalibration,
    calibrate,
)
from .dense_layers import DenseCalibration, DenseDraft, quantize_dense_layer
from .error_curves import STEPS, Curve, zero_tolerance
from .parts import activation_candidates, linear_operator, pick, snap
from .rounding import Format, Rounded
from .scales import FREE_BITS, KEPT_GATES, allowed, kept_format
from .stage import StageDraft, draft_stage

#: Given groups of interchangeable activation units, the index of the cheapest of each group.
Cheapest = Callable[[Sequence[Sequence[Operator]]], Sequence[int]]
#: Octaves scanned around each free scale's own optimum, and the grid step there.
SCAN_OCTAVES, SCAN_STEP = 0.75, {1: 2}


@dataclass(frozen=True)
class _Widths:
    """Output and weight widths of one layer's operators."""

    out: dict[str, int]
    weight: dict[str, int]

    @classmethod
    def of(cls, genes: Sequence[int], knobs: Knobs) -> "_Widths":
        bits = dict(zip(GENES, genes, strict=True))
        weight = {name: bits[name] for name in GENES[:6]}
        if knobs.dense_output == "8":
            bits.update(dict.fromkeys(weight, 8))
        return cls(bits, weight)


class _LayerScales:
    """Chooses the scales of one layer (see the module text)."""

    def __init__(
        self, calibration: LayerCalibration, widths: _Widths, knobs: Knobs, input_scale: float
    ) -> None:
        self.calibration, self.widths, self.knobs = calibration, widths, knobs
        self.input_scale = input_scale
        self.factors = allowed(knobs.multiplier_terms)

    def _curve(self, name: str) -> Curve:
        return self.calibration.tensors[name].curve(self.widths.out[name])

    def _into(self, child: str, total: str, terms: int | None) -> np.ndarray:
        """The combined scales of so many terms that operand `child` of sum `total` may have."""
        bits, of_sum = self.widths.out[child], self.widths.out[total]
        lowest, highest = -SUM_REACH - bits, SUM_REACH + max(0, of_sum - bits)
        return allowed(terms, lowest, highest)

    def _weight_curve(self, name: str) -> Curve:
        return self.calibration.weights[name].curve(
            self.widths.weight[name], self.knobs.granularity
        )

    def _scan(self, name: str) -> np.ndarray:
        step = SCAN_STEP.get(self.knobs.multiplier_terms or 0, 4)
        reach = int(SCAN_OCTAVES * STEPS) // step * step
        offsets = np.arange(-reach, reach + 1, step)
        return self._curve(name).best_scale * 2.0 ** (offsets / STEPS)

    def _gate(
        self,
        total: np.ndarray,
        base: np.ndarray,
        names: Sequence[str],
        state: np.ndarray,
        scales: dict[str, np.ndarray],
        into: str | None = None,
    ) -> np.ndarray:
        """Add the errors of dense outputs `names` whose scales are allowed multiples of `base`,
        the scale of the sum `into` if that is what they are operands of, and the errors of their
        weights; `state` is the scale of h."""
        for name in names:
            factors = self._into(name, into, self.knobs.multiplier_terms) if into else self.factors
            error, factor = pick(self._curve(name), base, factors)
            scales[name] = factor * base
            operand = self.input_scale if name[2] == "i" else state
            weight_error, factor = pick(
                self._weight_curve(name), scales[name] / operand, self.factors
            )
            scales[f"{name}.weight"] = factor * scales[name] / operand
            total = total + error + weight_error
        return total

    def _state_chain(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Behind the state: h' <- p_zn, p_zh; z <- p_zh; 1-z <- z; n <- p_zn, 1-z."""
        found: dict[str, np.ndarray] = {"s_h": state}
        total = self._curve("s_h")(state)
        # A kept scale is reached exactly over powers of two alone.
        kept = any(kept_format(name, self.widths.out[name]) for name in KEPT_GATES)
        gates = allowed(1) if kept else self.factors
        for name in ("p_zn", "p_zh"):
            terms = 1 if kept and name == "p_zh" else self.knobs.multiplier_terms
            error, factor = pick(self._curve(name), state, self._into(name, "s_h", terms))
            found[name] = factor * state
            total = total + error
        for name, base, factors in (
            ("a_z", lambda: found["p_zh"] / state, gates),
            ("c_z", lambda: found["a_z"], 1 / gates),
            ("a_n", lambda: found["p_zn"] / found["c_z"], self.factors),
        ):
            error, factor = pick(self._curve(name), base(), factors)
            found[name] = factor * base()
            total = total + error
        return total, found

    def solve(self) -> dict[str, float]:
        """Scales by operator name, and ``w_ir.weight`` ... of the weights; all M are allowed."""
        state = self._scan("s_h")[:, None]
        sides = [self._state_chain(state)]
        for gate in "rz":
            # What does not depend on the state's scale is one row, not one for each.
            base = self._scan(f"s_{gate}")[None]
            found = {f"s_{gate}": base}
            names, error = [f"w_i{gate}", f"w_h{gate}"], self._curve(f"s_{gate}")(base)
            total = self._gate(error, base, names, state, found, f"s_{gate}")
            sides.append((total, found))
        # The candidate side has two free scales, s_n and r: all pairs along one axis.
        pairs = np.meshgrid(self._scan("s_n"), self._scan("a_r"), indexing="ij")
        base, reset = (p.ravel()[None] for p in pairs)
        found = {"s_n": base, "a_r": reset}
        total = self._curve("s_n")(base) + self._curve("a_r")(reset)
        total = self._gate(total, base, ["w_in"], state, found, "s_n")
        error, factor = pick(
            self._curve("p_rn"), base, self._into("p_rn", "s_n", self.knobs.multiplier_terms)
        )
        found["p_rn"] = factor * base
        total = self._gate(total + error, found["p_rn"] / reset, ["w_hn"], state, found)
        sides.append((total, found))

        at = int(sum(total.min(1) for total, _ in sides).argmin())
        chosen: dict[str, float] = {}
        for total, found in sides:
            where = int(total[at].argmin())
            chosen.update(
                {
                    name: float(np.broadcast_to(value, total.shape)[at, where])
                    for name, value in found.items()
                }
            )
        return chosen


def _align(pairs: Sequence[tuple[int, int]], terms: int | None) -> tuple[list[int], int]:
    """Several ``(m, n)`` over one shift n. A free M0 keeps 16 bits: the smaller ones round."""
    shift = max(n for _, n in pairs)
    if terms is None:
        top = max(m / 2**n for m, n in pairs)
        shift = max(0, FREE_BITS - 1 - int(np.floor(np.log2(top))))
    return [max(1, round(m * 2.0 ** (shift - n))) for m, n in pairs], shift


#: The sums and their operands.
SUMS = (
    ("s_r", "w_ir", "w_hr"),
    ("s_z", "w_iz", "w_hz"),
    ("s_n", "w_in", "p_rn"),
    ("s_h", "p_zn", "p_zh"),
)
#: The operators of which there may be several to choose from.
ACTIVATIONS = ("a_r", "a_z", "a_n")
#: Octaves by which all codes of a sum's operand may stay below the sum's step, and by which they
#: may pass its range. Both operands share one shift, so this bounds their multipliers.
SUM_REACH = 3
#: Factor between rows, or columns, of a matrix from which on it is the cause of what 8 bits lose.
MAX_SPREAD = 64.0
#: How far, in codes, a zero point may move to save a sum its constant.
BALANCE_REACH = 12


def _balance(
    calibration: LayerCalibration,
    bits: dict[str, int],
    scale: dict[str, float],
    zero: dict[str, int],
    name: str,
    fixed: int,
    b: str,
    multipliers: list[int],
    shift: int,
) -> None:
    """Move the zero points of a sum and of its dense operand `b` so that the constant it adds,
    ``Z 2**n - m_a Z_a - m_b Z_b``, vanishes, where that costs little calibrated error. `fixed` is
    the position, 0 or 1, of the operand that stays.

    Both move for free: one is folded into a bias, the other into an activation.
    """
    out, operand = calibration.tensors[name], calibration.tensors[b]
    moved = zero[b] + np.arange(-BALANCE_REACH, BALANCE_REACH + 1)
    total = multipliers[fixed] * zero[OPERANDS[name][fixed]] + multipliers[1 - fixed] * moved
    whole = (total % (1 << shift) == 0) & (np.abs(total >> shift) <= MAX_ZERO)
    moved, total = moved[whole], total[whole]
    if not len(moved):
        return

    def error(of_operand: np.ndarray, of_sum: np.ndarray) -> np.ndarray:
        return operand.errors(bits[b], np.array(scale[b]), of_operand) + out.errors(
            bits[name], np.array(scale[name]), of_sum
        )

    errors = error(moved, total >> shift)
    now = float(error(np.array(zero[b]), np.array(zero[name])))
    at = int(errors.argmin())
    if errors[at] <= now * (1 + zero_tolerance(bits[name])):
        zero[b], zero[name] = int(moved[at]), int(total[at] >> shift)


def _quantize_layer(
    calibration: LayerCalibration,
    widths: _Widths,
    knobs: Knobs,
    *,
    in_scale: float,
    in_zero: int,
    in_bits: int,
) -> tuple[dict[str, Operator], list[list[Operator]], dict[str, float], dict[str, int]]:
    """Operators of a layer by name, candidates for each activation, scales and zero points."""
    scale = _LayerScales(calibration, widths, knobs, in_scale).solve()
    bits, terms = widths.out, knobs.multiplier_terms
    zero = {name: calibration.tensors[name].zero_point(bits[name], scale[name]) for name in GENES}
    links = {
        name: _align([snap(scale[s] / scale[name], terms) for s in (a, b)], terms)
        for name, a, b in SUMS
    }
    for name, fixed, moved in (("s_r", 0, "w_hr"), ("s_z", 0, "w_hz"), ("s_n", 1, "w_in")):
        _balance(calibration, bits, scale, zero, name, fixed, moved, *links[name])
    ops: dict[str, Operator] = {}
    for name in GENES[:6]:
        from_input = name[2] == "i"
        operand = in_scale if from_input else scale["s_h"]
        m, n = snap(scale[f"{name}.weight"] * operand / scale[name], terms)
        stored = linear_operator(
            calibration.weights[name],
            calibration.biases[name],
            scale=scale[f"{name}.weight"],
            in_scale=operand,
            in_zero=in_zero if from_input else zero["s_h"],
            in_bits=in_bits if from_input else bits["s_h"],
            weight_bits=widths.weight[name],
            granularity=knobs.granularity,
            output=(m, n, zero[name], bits[name]),
        )
        ops[name] = Dense(
            **stored, out_bits=bits[name], multiplier=m, shift=n, zero_point=zero[name]
        )
    for name, a, b in SUMS:
        (ma, mb), n = links[name]
        ops[name] = Sum(
            a_bits=bits[a],
            b_bits=bits[b],
            out_bits=bits[name],
            a_zero_point=zero[a],
            b_zero_point=zero[b],
            multiplier_a=ma,
            multiplier_b=mb,
            shift=n,
            zero_point=zero[name],
        )
    for name, a, b in (("p_rn", "a_r", "w_hn"), ("p_zn", "c_z", "a_n"), ("p_zh", "a_z", "s_h")):
        m, n = snap(scale[a] * scale[b] / scale[name], terms)
        ops[name] = Product(
            a_bits=bits[a],
            b_bits=bits[b],
            out_bits=bits[name],
            a_zero_point=zero[a],
            b_zero_point=zero[b],
            multiplier=m,
            shift=n,
            zero_point=zero[name],
        )
    m, n = snap(scale["a_z"] / scale["c_z"], terms)
    ops["c_z"] = Complement(
        a_bits=bits["a_z"],
        out_bits=bits["c_z"],
        a_zero_point=zero["a_z"],
        multiplier=m,
        one=int(np.floor(2**n / scale["c_z"] + 0.5)),
        shift=n,
        zero_point=zero["c_z"],
    )
    groups = []
    for name in ACTIVATIONS:
        source = f"s_{name[-1]}"
        between: dict[str, Any] = {
            "a_bits": bits[source],
            "a_scale": scale[source],
            "a_zero": zero[source],
            "out_bits": bits[name],
            "scale": scale[name],
            "zero": zero[name],
        }
        key = (name, *between.values(), knobs.activation, knobs.entries)
        if key not in calibration.units:
            calibration.units[key] = activation_candidates(
                name, calibration.tensors[source], knobs=knobs, **between
            )
        groups.append(calibration.units[key])
    return ops, groups, scale, zero


def _spread(matrix: np.ndarray, axis: int) -> float:
    """Largest over smallest, of the largest weights along `axis`; zeros do not count."""
    largest = np.abs(matrix).max(axis)
    used = largest[largest > 0]
    return float(used.max() / used.min()) if len(used) else 1.0


def refuse_lost(calibration: Calibration) -> None:
    """Raise :class:`InputError` for a network that 8 bits cannot hold, naming what they lose.

    Three things are compared with float, at the scales that INT8 gets: the error in the new state
    that each tensor's codes cause (calibrated, first order); the logits of the float network with
    weights rounded to codes, on the first sequences of the calibration data; and where those
    change, the logits with all operators rounded as well, which show errors that grow from step to
    step.
    """
    knobs, genome = Knobs(), Genome.uniform(8, len(calibration.layers))
    source = in_scale, _ = calibration.input_format(8)
    rounded: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
    formats: dict[tuple[int, str], Format] = {}
    last = len(calibration.layers) - 1

    def add_dense(
        number: int, place: str, layers: Sequence[DenseCalibration], in_scale: float
    ) -> float:
        """Round the dense layers at `place`; the scale of their output."""
        for k, layer in enumerate(layers):
            name = f"{place}{k}"
            scale, zero, size = layer.scales((8, 8), in_scale, knobs)
            rounded[number, name] = layer.weights.rounded(size, layer.bias)
            if layer.curved:
                scale, zero = layer.output.format(8)
            formats[number, name] = 8, scale, zero
            in_scale = scale
        return in_scale

    in_scale = add_dense(0, "front", calibration.front, in_scale)
    for number, (layer, genes) in enumerate(zip(calibration.layers, genome.layers, strict=True)):
        scale = _LayerScales(layer, _Widths.of(genes, knobs), knobs, in_scale).solve()
        state = layer.tensors["s_h"]
        limit = MAX_LOSS**2 * float(state.centre**2 @ state.mass)
        for name in GENES:
            tensor = layer.tensors[name]
            zero = tensor.zero_point(8, scale[name])
            formats[number, name] = 8, scale[name], zero
            error = tensor.errors(8, np.array(scale[name]), np.array(zero))
            if error > limit and calibration.reads_state(number):
                raise InputError(
                    f"quantize: 8 bits cannot hold {name} of layer {number}: its values, "
                    f"{tensor.low:.4g} to {tensor.high:.4g}, are too far apart for what the new "
                    f"state needs of them (large biases or weights that cancel each other?)"
                )
        for name, weights in layer.weights.items():
            size = scale[f"{name}.weight"]
            rounded[number, name] = weights.rounded(size, layer.biases[name])
        in_scale = scale["s_h"]
        if number == last:
            in_scale = add_dense(number, "back", calibration.back, in_scale)
    size = calibration.classifier_scale(8)
    rounded[last, "classifier"] = calibration.classifier.rounded(size, calibration.classifier_bias)
    loss = calibration.probe.loss(rounded)
    if loss > MAX_LOSS:
        _refuse_uneven(calibration, rounded)
    if loss > SENSITIVE:
        _refuse_unstable(
            calibration.probe.rounded_loss(rounded, formats, (8, *source)), calibration
        )


def _refuse_unstable(loss: float, calibration: Calibration) -> None:
    """Refuse a network in which `loss` of the logits is lost though all its matrices are even."""
    if loss <= MAX_TOTAL_LOSS:
        return
    tensors = calibration.probe.checkpoint.tensors
    sums = [
        float(np.abs(tensors[f"weight_hh_l{k}"]).sum(1).max())
        for k in range(len(calibration.layers))
    ]
    layer = int(np.argmax(sums))
    raise InputError(
        f"quantize: 8 bits change the logits by {100 * loss:.0f} % of their size: the recurrence "
        f"of layer {layer} amplifies rounding errors from step to step (rows of weight_hh_l{layer} "
        f"sum up to {sums[layer]:.4g} in magnitude); train it with smaller recurrent weights "
        "(weight decay)"
    )


def _refuse_uneven(calibration: Calibration, rounded: Rounded) -> None:
    """Refuse a network for one matrix, whose rows or columns are too far apart for 8 bits."""
    for (number, name), pair in rounded.items():
        part = calibration.probe.loss({(number, name): pair})
        inside = {
            **calibration.layers[number].weights,
            **{each: layer.weights for each, layer in calibration.dense_layers.items()},
            "classifier": calibration.classifier,
        }
        matrix = inside[name].matrix
        rows, columns = _spread(matrix, 1), _spread(matrix, 0)
        # Even weights round as well as 8 bits can; the network itself is then the sensitive part.
        if part <= MAX_LOSS or max(rows, columns) <= MAX_SPREAD:
            continue
        where = f"{name} of layer {number}" if name in GENES else name
        told = f"quantize: 8-bit weights of {where} change the logits by "
        told += f"{100 * part:.0f} % of their size: "
        first = calibration.probe.checkpoint.first_weight
        reading = ("front0",) if calibration.front else GENES[:3]
        if columns > rows and number == 0 and name in reading:
            raise InputError(
                f"{told}its columns differ by {columns:,.0f} times, so the features do too; "
                f"rescale them to similar sizes, and the columns of {first} by the inverse factors"
            )
        largest = np.abs(matrix).max(1)
        raise InputError(
            f"{told}the largest weights of its rows go from {largest.min():.4g} to "
            f"{largest.max():.4g} (row {int(largest.argmax())})"
        )


@dataclass(frozen=True)
class Draft:
    """A quantised network whose activation units are still to be chosen.

    groups : for each activation of each GRU layer, those of dense layers, and that of a head's
        codes, the units that may stand there
    stage : of a head that answers codes
    """

    genome: Genome
    layers: tuple[Mapping[str, Operator], ...]
    groups: tuple[Sequence[Operator], ...]
    classifier: Classifier
    input_format: tuple[float, int]
    info: Mapping[str, object]
    head: Head = field(default_factory=Head)
    stage: StageDraft | None = None
    input_shifts: tuple[int, ...] = ()
    front: tuple[DenseDraft, ...] = ()
    back: tuple[DenseDraft, ...] = ()
    #: Of each GRU layer the codes of the state that sequences start with, None where that is zero.
    initial: tuple[np.ndarray | None, ...] = ()

    def choose(self, indices: Sequence[int]) -> IntModel:
        """The integer model with that unit of each group."""
        units = iter(group[index] for group, index in zip(self.groups, indices, strict=True))
        layers = []
        for fixed, state in zip(
            self.layers, self.initial or [None] * len(self.layers), strict=True
        ):
            ops = {**fixed, **{name: next(units) for name in ACTIVATIONS}}
            layers.append(Layer({name: ops[name] for name in SCHEDULE}, state))
        front, back = (
            tuple(part.choose(next(units) if part.group else None) for part in row)
            for row in (self.front, self.back)
        )
        scale, zero = self.input_format
        stage = None
        if self.stage is not None:
            stage = self.stage.choose(next(units) if self.stage.curved else None)
        return IntModel(
            genome=self.genome,
            layers=tuple(layers),
            classifier=self.classifier,
            input_scale=scale,
            input_zero_point=zero,
            input_shifts=self.input_shifts,
            info=dict(self.info),
            head=self.head,
            stage=stage,
            front=front,
            back=back,
        )


def _as_trained(model: IntModel) -> Draft:
    """A draft that leaves nothing to choose."""
    groups = [[layer.ops[name]] for layer in model.layers for name in ACTIVATIONS]
    first = model.input_scale, model.input_zero_point
    layers, stage = tuple(layer.ops for layer in model.layers), None
    scales = model.info.get("dense_scales", {})
    front, back = (
        tuple(DenseDraft.fixed(layer, scales.get(f"{place}{k}", {})) for k, layer in enumerate(row))
        for place, row in (("front", model.front), ("back", model.back))
    )
    groups += [list(part.group) for part in (*front, *back) if part.group]
    if model.stage is not None:
        unit = model.stage.activation
        groups += [[unit]] if unit is not None else []
        stage = StageDraft(
            model.stage.requantize, unit is not None, model.stage.scale, model.stage.zero_point
        )
    return Draft(
        model.genome,
        layers,
        tuple(groups),
        model.classifier,
        first,
        model.info,
        model.head,
        stage,
        front=front,
        back=back,
        initial=tuple(layer.initial_state for layer in model.layers),
    )


def draft(
    calibration: Calibration,
    genome: Genome,
    knobs: Knobs | None = None,
    info: Mapping[str, object] | None = None,
) -> Draft:
    """Everything of :func:`quantize` but the choice of activation units, for many genomes whose
    units are to be synthesised together.

    A checkpoint that was trained for just this genome and these knobs gives what was trained.
    """
    knobs = knobs or Knobs()
    if calibration.trained is not None and calibration.trained.fits(genome, knobs):
        return _as_trained(calibration.trained.model(info, knobs))
    if not calibration.held:
        refuse_lost(calibration)
        calibration.held.append(True)
    in_bits = knobs.input_bits
    first = in_scale, in_zero = calibration.input_format(in_bits)
    _check_dense(calibration, genome)
    dense_genes = iter(genome.dense)

    def dense_drafts(layers: Sequence[DenseCalibration]) -> tuple[DenseDraft, ...]:
        """The dense layers in series, from the format of their input on."""
        nonlocal in_scale, in_zero, in_bits
        drafts = []
        for layer in layers:
            drafts.append(
                quantize_dense_layer(
                    layer,
                    genes := next(dense_genes),
                    knobs,
                    in_scale=in_scale,
                    in_zero=in_zero,
                    in_bits=in_bits,
                )
            )
            in_scale, in_zero, in_bits = drafts[-1].scale, drafts[-1].zero_point, genes[1]
        return tuple(drafts)

    front = dense_drafts(calibration.front)
    layers, groups, scales, initial = [], [], [], []
    states = calibration.initial or (None,) * len(calibration.layers)
    for layer, genes, state in zip(calibration.layers, genome.layers, states, strict=True):
        widths = _Widths.of(genes, knobs)
        ops, units, scale, zero = _quantize_layer(
            layer, widths, knobs, in_scale=in_scale, in_zero=in_zero, in_bits=in_bits
        )
        layers.append(ops)
        groups += units
        scales.append(
            {
                name: {"scale": value, "zero_point": zero.get(name, 0)}
                for name, value in scale.items()
            }
        )
        in_scale, in_zero, in_bits = scale["s_h"], zero["s_h"], widths.out["s_h"]
        initial.append(None if state is None else state_codes(state, in_scale, in_zero, in_bits))
    back = dense_drafts(calibration.back)
    groups += [list(part.group) for part in (*front, *back) if part.group]
    weights, bits = calibration.classifier, knobs.classifier_bits
    scale_of_weights = calibration.classifier_scale(bits)
    stored = linear_operator(
        weights,
        calibration.classifier_bias,
        scale=scale_of_weights,
        in_scale=in_scale,
        in_zero=in_zero,
        in_bits=in_bits,
        weight_bits=bits,
        granularity="tensor",
    )
    del stored["channel_shift"]
    record = {
        **(info or {}),
        "knobs": knobs.to_json(),
        "scales": scales,
        "logit_scale": float(scale_of_weights * in_scale),
    }
    if front or back:
        names = zip(calibration.dense_layers, (*front, *back), strict=True)
        record["dense_scales"] = {name: part.scales for name, part in names}
    classifier, head, stage = Classifier(**stored), calibration.head, None
    if calibration.sums is not None:
        acc_scale = float(scale_of_weights * in_scale)
        stage, between = draft_stage(calibration.sums, head, classifier, acc_scale, knobs)
        if between is not None:
            name = "a_r" if head.activation == "sigmoid" else "a_n"
            sums = calibration.sums
            groups.append(activation_candidates(name, sums, knobs=knobs, **vars(between)))
    return Draft(
        genome,
        tuple(layers),
        tuple(groups),
        classifier,
        first,
        record,
        head,
        stage,
        calibration.input_shifts,
        front,
        back,
        tuple(initial),
    )


def _check_dense(calibration: Calibration, genome: Genome) -> None:
    if len(genome.dense) != len(calibration.dense_layers):
        raise InputError(
            f"genome: genes of {len(genome.dense)} dense layers given, the network has "
            f"{len(calibration.dense_layers)}"
        )


def state_codes(state: np.ndarray, scale: float, zero: int, bits: int) -> np.ndarray:
    """Codes int8 [H] of the state that sequences start with."""
    codes = np.floor(state.astype(np.float64) / scale + 0.5) + zero
    return np.clip(codes, *code_range(bits)).astype(np.int8)


def quantize(
    source: Checkpoint | Calibration,
    genome: Genome,
    knobs: Knobs | None = None,
    calibration_x: np.ndarray | None = None,
    *,
    cheapest: Cheapest | None = None,
    info: Mapping[str, object] | None = None,
) -> IntModel:
    """Quantise a float network after training.

    Parameters
    ----------
    source : Checkpoint, or a Calibration made once with :func:`~.calibrate.calibrate`
        With a checkpoint, `calibration_x` [batch, steps, features] is needed.
    genome : Genome
        One layer of 17 genes per GRU layer, two genes per dense layer.
    cheapest : callable, optional
        Decides ``activation="auto"`` among units that hold their accuracy, normally
        :func:`genogate.synth.report.cheapest`. Without one, the table is taken below 5 input bits
        and the piecewise-linear unit above, where it holds.
    info : mapping, optional
        Provenance to keep with the model.
    """
    if isinstance(source, Checkpoint):
        if calibration_x is None:
            raise ValueError("quantize: a checkpoint needs calibration_x")
        source = calibrate(source, calibration_x)
    made = draft(source, genome, knobs, info)
    return made.choose((cheapest or without_synthesis)(made.groups))


def without_synthesis(groups: Sequence[Sequence[Operator]]) -> list[int]:
    """A rule of thumb in place of measured cells: small tables, else the shortest linear unit."""
    return [
        1 if len(group) > 1 and isinstance(group[0], Table) and group[0].a_bits > 4 else 0
        for group in groups
    ]
