"""Post-training quantisation: a float checkpoint, a genome and knobs to an integer model.

Every combined scale ``M = S1 S2 / S3`` must be a number of few signed powers of two, so the scales
of the operators of a layer are linked. Five are chosen freely (the three pre-activation sums, r
and the state h'); every other scale follows from its neighbour through an allowed M, the one of
least calibrated error; the free five are those of least total error. Tables cut the links: their
input and output scales are free of each other. Equations: ``docs/numerics.md``.
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
    acc_bounds,
    code_range,
)
from ..knobs import Knobs
from .activations import Fitting, exact_table, unit_codes
from .calibrate import (
    FUNCTIONS,
    MAX_LOSS,
    MAX_TOTAL_LOSS,
    SENSITIVE,
    STEPS,
    Calibration,
    Curve,
    LayerCalibration,
    Tensor,
    Weights,
    calibrate,
    zero_tolerance,
)
from .rounding import Format, Rounded
from .scales import FREE_BITS, KEPT_GATES, allowed, as_fixed_point, kept_format
from .stage import StageDraft, draft_stage

#: Given groups of interchangeable activation units, the index of the cheapest of each group.
Cheapest = Callable[[Sequence[Sequence[Operator]]], Sequence[int]]
#: A piecewise-linear unit holds its accuracy when no code is further off than this from the table.
PWL_MAX_ERROR = 1
#: ... and its squared error against the real function, weighted by the data, is at most so many
#: times that of the table, which only rounds: a code is little at 8 bits, and much at 4.
PWL_ERROR_GROWTH = {8: 3.0, 7: 2.0, 6: 1.5}
LEAST_ERROR_GROWTH = 1.1
#: Segments tried for ``activation="auto"``, beside the knob's own number.
AUTO_ENTRIES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
#: Units of fewest segments that compete with the table; more segments are hardly ever less cells.
AUTO_UNITS = 3
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


def _pick(curve: Curve, base: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least error over scales ``base * factors`` and the factor that gives it, shaped as `base`."""
    errors = curve(base[..., None] * factors)
    index = errors.argmin(-1)
    return np.take_along_axis(errors, index[..., None], -1)[..., 0], factors[index]


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
        return self.calibration.weights[name].curves[
            self.widths.weight[name], self.knobs.granularity
        ]

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
            error, factor = _pick(self._curve(name), base, factors)
            scales[name] = factor * base
            operand = self.input_scale if name[2] == "i" else state
            weight_error, factor = _pick(
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
            error, factor = _pick(self._curve(name), state, self._into(name, "s_h", terms))
            found[name] = factor * state
            total = total + error
        for name, base, factors in (
            ("a_z", lambda: found["p_zh"] / state, gates),
            ("c_z", lambda: found["a_z"], 1 / gates),
            ("a_n", lambda: found["p_zn"] / found["c_z"], self.factors),
        ):
            error, factor = _pick(self._curve(name), base(), factors)
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
        error, factor = _pick(
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


def _snap(ratio: float, terms: int | None) -> tuple[int, int]:
    """The allowed M nearest to `ratio`, as ``(m, n)``: undoes the rounding of float scales."""
    factors = allowed(terms)
    return as_fixed_point(float(factors[np.abs(np.log(factors / ratio)).argmin()]))


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
#: Largest magnitude of a bias code: no float32 bias has more digits.
MAX_BIAS = 1 << 39
#: Bias codes from which on it is looked for what the output does not show of them.
WIDE_BIAS = 1 << 20
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


def _within_output(
    codes: np.ndarray,
    bias: np.ndarray,
    in_bits: int,
    channel: np.ndarray,
    multiplier: int,
    shift: int,
    zero: int,
    bits: int,
) -> np.ndarray:
    """`bias`, of the units whose output code is the same for all inputs no larger than it takes to
    keep it the same: the accumulator need not be as wide as a bias that nobody sees."""
    low, high = code_range(in_bits)
    wide = codes.astype(np.int64)
    least = np.minimum(wide * low, wide * high).sum(1)
    most = np.maximum(wide * low, wide * high).sum(1)
    lowest, highest = code_range(bits)
    shifts = shift + channel.astype(np.int64)
    half = (1 << shifts) >> 1
    # The least accumulator that gives the highest code, and the greatest that gives the lowest.
    top = -((half - ((highest - zero) << shifts)) // multiplier)
    bottom = (((lowest - zero + 1) << shifts) - half - 1) // multiplier
    return np.maximum(
        np.minimum(bias, np.maximum(top - least, bottom - most)),
        np.minimum(bottom - most, top - least),
    )


def _dense(
    weights: Weights,
    bias: np.ndarray,
    *,
    scale: float,
    in_scale: float,
    in_zero: int,
    in_bits: int,
    weight_bits: int,
    granularity: str,
    output: tuple[int, int, int, int] | None = None,
) -> dict[str, Any]:
    """Weight codes, folded bias, channel shifts and proved accumulator bounds.

    output : multiplier, shift, zero point and bits of the requantised output, if it is
    """
    codes, channel, _ = weights.quantize(weight_bits, scale, granularity)
    row_scale = scale / 2.0 ** channel.astype(np.float64)
    # The mean error that rounded weights cause is known, so the bias takes it out.
    drift = ((codes * row_scale[:, None] - weights.matrix) * weights.mean).sum(1)
    real = np.clip((bias - drift) / (row_scale * in_scale), -MAX_BIAS, MAX_BIAS)
    folded = np.floor(real + 0.5).astype(np.int64) - in_zero * codes.astype(np.int64).sum(1)
    if output is not None and np.abs(folded).max() >= WIDE_BIAS:
        folded = _within_output(codes, folded, in_bits, channel, *output)
    low, high = acc_bounds(codes, folded, in_bits)
    return {
        "weight": codes,
        "bias": folded,
        "channel_shift": channel,
        "in_bits": in_bits,
        "weight_bits": weight_bits,
        "acc_min": low,
        "acc_max": high,
    }


def _activation_candidates(
    name: str,
    source: Tensor,
    *,
    a_bits: int,
    a_scale: float,
    a_zero: int,
    out_bits: int,
    scale: float,
    zero: int,
    knobs: Knobs,
) -> list[Operator]:
    """The units that may stand for activation `name`: what the knob says, or for ``auto`` the
    table and the first piecewise-linear units that hold its accuracy."""
    low, high = code_range(a_bits)
    codes = np.arange(low, high + 1)
    target = FUNCTIONS[f"s_{name[-1]}"]((codes - a_zero) * a_scale) / scale + zero
    table = exact_table(target, a_bits, out_bits)
    if knobs.activation == "table":
        return [table]
    # Half of the weight goes where the data are, half keeps the rest of the range honest.
    seen = np.clip(np.floor(source.centre / a_scale + 0.5) + a_zero, low, high).astype(int) - low
    mass = np.bincount(seen, source.mass, len(codes))
    weight = mass / mass.sum() + 1 / len(codes)
    fitting = Fitting(target, a_bits, out_bits, weight)
    if knobs.activation == "pwl":
        return [fitting.unit(knobs.entries)]
    found: list[Operator] = [table]
    limit = fitting.error(table.table) * PWL_ERROR_GROWTH.get(out_bits, LEAST_ERROR_GROWTH)
    for entries in sorted({*AUTO_ENTRIES, knobs.entries}):
        # Rounding to codes only adds to what the lines are off.
        if len(found) > AUTO_UNITS or fitting.unrounded(entries) > limit:
            continue
        chosen = unit_codes(unit := fitting.unit(entries))
        if np.abs(chosen - table.table).max() <= PWL_MAX_ERROR and fitting.error(chosen) <= limit:
            found.append(unit)
    return found


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
        name: _align([_snap(scale[s] / scale[name], terms) for s in (a, b)], terms)
        for name, a, b in SUMS
    }
    for name, fixed, moved in (("s_r", 0, "w_hr"), ("s_z", 0, "w_hz"), ("s_n", 1, "w_in")):
        _balance(calibration, bits, scale, zero, name, fixed, moved, *links[name])
    ops: dict[str, Operator] = {}
    for name in GENES[:6]:
        from_input = name[2] == "i"
        operand = in_scale if from_input else scale["s_h"]
        m, n = _snap(scale[f"{name}.weight"] * operand / scale[name], terms)
        stored = _dense(
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
        m, n = _snap(scale[a] * scale[b] / scale[name], terms)
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
    m, n = _snap(scale["a_z"] / scale["c_z"], terms)
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
            calibration.units[key] = _activation_candidates(
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
    size = calibration.classifier_scale(8)
    last = len(calibration.layers) - 1
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
        inside = {**calibration.layers[number].weights, "classifier": calibration.classifier}
        matrix = inside[name].matrix
        rows, columns = _spread(matrix, 1), _spread(matrix, 0)
        # Even weights round as well as 8 bits can; the network itself is then the sensitive part.
        if part <= MAX_LOSS or max(rows, columns) <= MAX_SPREAD:
            continue
        told = f"quantize: 8-bit weights of {name} of layer {number} change the logits by "
        told += f"{100 * part:.0f} % of their size: "
        if columns > rows and number == 0 and name in GENES[:3]:
            raise InputError(
                f"{told}its columns differ by {columns:,.0f} times, so the features do too; "
                "rescale them to similar sizes, and the columns of weight_ih_l0 by the inverse "
                "factors"
            )
        largest = np.abs(matrix).max(1)
        raise InputError(
            f"{told}the largest weights of its rows go from {largest.min():.4g} to "
            f"{largest.max():.4g} (row {int(largest.argmax())})"
        )


@dataclass(frozen=True)
class Draft:
    """A quantised network whose activation units are still to be chosen.

    groups : for each activation of each layer, and that of a head's codes, the units that may stand
        there
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

    def choose(self, indices: Sequence[int]) -> IntModel:
        """The integer model with that unit of each group."""
        units = iter(group[index] for group, index in zip(self.groups, indices, strict=True))
        layers = []
        for fixed in self.layers:
            ops = {**fixed, **{name: next(units) for name in ACTIVATIONS}}
            layers.append(Layer({name: ops[name] for name in SCHEDULE}))
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
        )


def _as_trained(model: IntModel) -> Draft:
    """A draft that leaves nothing to choose."""
    groups = [[layer.ops[name]] for layer in model.layers for name in ACTIVATIONS]
    first = model.input_scale, model.input_zero_point
    layers, stage = tuple(layer.ops for layer in model.layers), None
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
    layers, groups, scales = [], [], []
    for layer, genes in zip(calibration.layers, genome.layers, strict=True):
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
    weights, bits = calibration.classifier, knobs.classifier_bits
    scale_of_weights = calibration.classifier_scale(bits)
    stored = _dense(
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
    classifier, head, stage = Classifier(**stored), calibration.head, None
    if calibration.sums is not None:
        acc_scale = float(scale_of_weights * in_scale)
        stage, between = draft_stage(calibration.sums, head, classifier, acc_scale, knobs)
        if between is not None:
            name = "a_r" if head.activation == "sigmoid" else "a_n"
            sums = calibration.sums
            groups.append(_activation_candidates(name, sums, knobs=knobs, **vars(between)))
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
    )


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
        One layer of 17 genes per GRU layer.
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
