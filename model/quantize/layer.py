"""Integer operators of one GRU layer: multipliers, zero points and codes at the scales chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..genome import GENES
from ..integer import MAX_ZERO, OPERANDS, Complement, Dense, Operator, Product, Sum
from ..knobs import Knobs
from .calibrate import LayerCalibration
from .error_curves import zero_tolerance
from .layer_scales import LayerScales, Widths
from .parts import activation_candidates, linear_operator, snap
from .scales import FREE_BITS


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


def _dense_operators(
    calibration: LayerCalibration,
    widths: Widths,
    knobs: Knobs,
    scale: Mapping[str, float],
    zero: Mapping[str, int],
    *,
    in_scale: float,
    in_zero: int,
    in_bits: int,
) -> dict[str, Operator]:
    """The six dense operators at the scales and zero points of the layer."""
    bits, terms = widths.out, knobs.multiplier_terms
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
    return ops


def _elementwise_operators(
    bits: Mapping[str, int],
    scale: Mapping[str, float],
    zero: Mapping[str, int],
    links: Mapping[str, tuple[Sequence[int], int]],
    terms: int | None,
) -> dict[str, Operator]:
    """Sums, products and the complement; `links` : multipliers and shift of each sum."""
    ops: dict[str, Operator] = {}
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
    return ops


def quantize_layer(
    calibration: LayerCalibration,
    widths: Widths,
    knobs: Knobs,
    *,
    in_scale: float,
    in_zero: int,
    in_bits: int,
) -> tuple[dict[str, Operator], list[list[Operator]], dict[str, float], dict[str, int]]:
    """Operators of a layer by name, candidates for each activation, scales and zero points."""
    scale = LayerScales(calibration, widths, knobs, in_scale).solve()
    bits, terms = widths.out, knobs.multiplier_terms
    zero = {name: calibration.tensors[name].zero_point(bits[name], scale[name]) for name in GENES}
    links = {
        name: _align([snap(scale[s] / scale[name], terms) for s in (a, b)], terms)
        for name, a, b in SUMS
    }
    for name, fixed, moved in (("s_r", 0, "w_hr"), ("s_z", 0, "w_hz"), ("s_n", 1, "w_in")):
        _balance(calibration, bits, scale, zero, name, fixed, moved, *links[name])
    ops = _dense_operators(
        calibration, widths, knobs, scale, zero, in_scale=in_scale, in_zero=in_zero, in_bits=in_bits
    )
    ops |= _elementwise_operators(bits, scale, zero, links, terms)
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
