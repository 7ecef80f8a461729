"""Post-training quantisation: a float checkpoint, a genome and knobs to an integer model.

Every combined scale ``M = S1 S2 / S3`` must be a number of few signed powers of two, so the scales
of the operators of a layer are linked. Five are chosen freely (the three pre-activation sums, r
and the state h'); every other scale follows from its neighbour through an allowed M, the one of
least calibrated error; the free five are those of least total error. Tables cut the links: their
input and output scales are free of each other. Equations: ``docs/numerics.md``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoints.floating import Checkpoint
from ..genome import GENES, Genome
from ..integer import (
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
    STEPS,
    Calibration,
    Curve,
    LayerCalibration,
    Tensor,
    Weights,
    calibrate,
    zero_tolerance,
)
from .scales import FREE_BITS, allowed, as_fixed_point

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
        return self.calibration.tensors[name].curves[self.widths.out[name]]

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
    ) -> np.ndarray:
        """Add the errors of dense outputs `names` fed into a sum of scale `base`, and of their
        weights; `state` is the scale of h."""
        for name in names:
            error, factor = _pick(self._curve(name), base, self.factors)
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
        for name in ("p_zn", "p_zh"):
            error, factor = _pick(self._curve(name), state, self.factors)
            found[name] = factor * state
            total = total + error
        for name, base, factors in (
            ("a_z", lambda: found["p_zh"] / state, self.factors),
            ("c_z", lambda: found["a_z"], 1 / self.factors),
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
            total = self._gate(
                self._curve(f"s_{gate}")(base), base, [f"w_i{gate}", f"w_h{gate}"], state, found
            )
            sides.append((total, found))
        # The candidate side has two free scales, s_n and r: all pairs along one axis.
        pairs = np.meshgrid(self._scan("s_n"), self._scan("a_r"), indexing="ij")
        base, reset = (p.ravel()[None] for p in pairs)
        found = {"s_n": base, "a_r": reset}
        total = self._curve("s_n")(base) + self._curve("a_r")(reset)
        total = self._gate(total, base, ["w_in"], state, found)
        error, factor = _pick(self._curve("p_rn"), base, self.factors)
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
    moved, total = moved[total % (1 << shift) == 0], total[total % (1 << shift) == 0]
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
) -> dict[str, Any]:
    """Weight codes, folded bias, channel shifts and proved accumulator bounds."""
    codes, channel, _ = weights.quantize(weight_bits, scale, granularity)
    row_scale = scale / 2.0 ** channel.astype(np.float64)
    # The mean error that rounded weights cause is known, so the bias takes it out.
    drift = ((codes * row_scale[:, None] - weights.matrix) * weights.mean).sum(1)
    real = (bias - drift) / (row_scale * in_scale)
    folded = np.floor(real + 0.5).astype(np.int64) - in_zero * codes.astype(np.int64).sum(1)
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
        stored = _dense(
            calibration.weights[name],
            calibration.biases[name],
            scale=scale[f"{name}.weight"],
            in_scale=operand,
            in_zero=in_zero if from_input else zero["s_h"],
            in_bits=in_bits if from_input else bits["s_h"],
            weight_bits=widths.weight[name],
            granularity=knobs.granularity,
        )
        m, n = _snap(scale[f"{name}.weight"] * operand / scale[name], terms)
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


@dataclass(frozen=True)
class Draft:
    """A quantised network whose activation units are still to be chosen.

    groups : for each activation of each layer, the units that may stand there
    """

    genome: Genome
    layers: tuple[Mapping[str, Operator], ...]
    groups: tuple[Sequence[Operator], ...]
    classifier: Classifier
    input_format: tuple[float, int]
    info: Mapping[str, object]

    def choose(self, indices: Sequence[int]) -> IntModel:
        """The integer model with that unit of each group."""
        units = iter(group[index] for group, index in zip(self.groups, indices, strict=True))
        layers = []
        for fixed in self.layers:
            ops = {**fixed, **{name: next(units) for name in ACTIVATIONS}}
            layers.append(Layer({name: ops[name] for name in SCHEDULE}))
        scale, zero = self.input_format
        return IntModel(
            genome=self.genome,
            layers=tuple(layers),
            classifier=self.classifier,
            input_scale=scale,
            input_zero_point=zero,
            info=dict(self.info),
        )


def _as_trained(model: IntModel) -> Draft:
    """A draft that leaves nothing to choose."""
    groups = [[layer.ops[name]] for layer in model.layers for name in ACTIVATIONS]
    first = model.input_scale, model.input_zero_point
    layers = tuple(layer.ops for layer in model.layers)
    return Draft(model.genome, layers, tuple(groups), model.classifier, first, model.info)


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
    weights = calibration.classifier
    stored = _dense(
        weights,
        calibration.classifier_bias,
        scale=weights.curves[8, "tensor"].best_scale,
        in_scale=in_scale,
        in_zero=in_zero,
        in_bits=in_bits,
        weight_bits=8,
        granularity="tensor",
    )
    del stored["channel_shift"]
    record = {**(info or {}), "knobs": knobs.to_json(), "scales": scales}
    return Draft(genome, tuple(layers), tuple(groups), Classifier(**stored), first, record)


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
        :func:`genogate.synth.area.cheapest`. Without one, the table is taken below 5 input bits
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
