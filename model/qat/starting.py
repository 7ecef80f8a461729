"""The integers that a quantisation-aware training starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..genome import GENES, Genome
from ..integer import Dense, IntModel, Layer, Operator
from ..knobs import Knobs
from ..quantize.calibrate import Calibration, LayerCalibration
from ..quantize.drafts import draft, state_codes
from ..quantize.quantize import Cheapest, without_synthesis
from ..quantize.scales import allowed, as_fixed_point
from .learned_scales import LearnedLayer, Projected, choose_units, keep_state

#: Channel shifts that are tried for ternary weights, as many as quantisation tries.
CHANNEL_SHIFTS = 4


def _ternary(
    layer: LayerCalibration, op: Dense, name: str, base: float, knobs: Knobs
) -> tuple[Dense, float]:
    """A 2-bit dense operator, its weight scale chosen again for codes -1 to 1; `base` is output
    scale over operand scale, so that the weight scale is an allowed M times it."""
    weights = layer.weights[name]
    spread = CHANNEL_SHIFTS if knobs.granularity == "channel" else 1
    factors = allowed(knobs.multiplier_terms)
    largest = float(np.abs(weights.matrix).max()) + 1e-30
    factors = factors[(factors * base < 2 * largest) & (factors * base > largest / 64)]
    scale = (base * factors)[:, None, None, None] / 2.0 ** np.arange(spread)[:, None, None]
    codes = np.clip(np.floor(weights.matrix / scale + 0.5), -1, 1)
    errors = ((codes * scale - weights.matrix) ** 2 * weights.sensitivity).sum(-1)
    at = int(errors.min(1).sum(-1).argmin())
    m, n = as_fixed_point(float(factors[at]))
    shift = errors[at].argmin(0).astype(np.uint8)
    return replace(op, multiplier=m, shift=n, channel_shift=shift), float(base * factors[at])


def starting_model(
    calibration: Calibration,
    genome: Genome,
    knobs: Knobs,
    *,
    narrow: bool,
    cheapest: Cheapest | None = None,
    info: Mapping[str, object] | None = None,
    keep: bool = False,
) -> tuple[IntModel, float]:
    """The integers that training starts from, with the weights of quantisation, and the scale of
    the classifier's weights.

    keep : whether narrow gates get codes that keep the state (:func:`.learned_scales.keep_state`)
    """
    cheapest = cheapest or without_synthesis
    drafted = draft(calibration, genome, knobs, info)
    model = drafted.choose(cheapest(drafted.groups))
    if keep:
        model = _keeping(model, calibration, knobs, cheapest)
    layers, records = [], []
    in_scale = model.layer_format[0]
    for layer, statistics, scales in zip(
        model.layers, calibration.layers, model.info["scales"], strict=True
    ):
        ops: dict[str, Operator] = dict(layer.ops)
        scales = {name: dict(entry) for name, entry in scales.items()}
        for name in GENES[:6]:
            op = layer.dense(name)
            if narrow and op.weight_bits == 2:
                operand = in_scale if name[2] == "i" else scales["s_h"]["scale"]
                base = scales[name]["scale"] / operand
                ops[name], scale = _ternary(statistics, op, name, base, knobs)
                scales[f"{name}.weight"]["scale"] = scale
        layers.append(Layer(ops, layer.initial_state))
        records.append(scales)
        in_scale = scales["s_h"]["scale"]
    model = replace(model, layers=tuple(layers), info={**model.info, "scales": records})
    return model, calibration.classifier_scale(knobs.classifier_bits)


def _keeping(
    model: IntModel, calibration: Calibration, knobs: Knobs, cheapest: Cheapest
) -> IntModel:
    """`model` with gates that can keep the state."""
    given = zip(model.layers, model.info["scales"], strict=True)
    learned = [LearnedLayer(None, *one, knobs.multiplier_terms) for one in given]
    if not keep_state(learned):
        return model

    def projected() -> list[Projected]:
        projections, in_scale = [], model.layer_format[0]
        for layer in learned:
            projections.append(layer.project(layer.start, in_scale))
            in_scale = projections[-1].scales["s_h"]["scale"]
        return projections

    if knobs.activation != "table":
        choose_units(learned, projected(), calibration, knobs, cheapest)
    projections = projected()
    states = with_states(calibration.initial, projections)
    layers = tuple(
        Layer(one.ops(layer), state)
        for layer, one, state in zip(model.layers, projections, states, strict=True)
    )
    info = {**model.info, "scales": [one.scales for one in projections]}
    return replace(model, layers=layers, info=info)


def with_states(
    initial: Sequence[np.ndarray | None], layers: Sequence[Projected]
) -> list[np.ndarray | None]:
    """Codes of the states that sequences start with, at the scales of `layers`; None where they
    are zero."""
    codes: list[np.ndarray | None] = []
    for state, one in zip(initial or [None] * len(layers), layers, strict=True):
        codes.append(first_codes(state, one.scales["s_h"], one.others["s_h"].out_bits))
    return codes


def first_codes(state: np.ndarray | None, form: Mapping[str, Any], bits: int) -> np.ndarray | None:
    """Codes int8 [H] of a real state that sequences start with, at the scale and zero point of
    `form`; None where it is zero."""
    return None if state is None else state_codes(state, form["scale"], form["zero_point"], bits)
