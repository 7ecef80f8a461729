"""A quantised network whose activation units are still to be chosen.

Many genomes are drafted first, and the units of all of them are synthesised together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..genome import Genome
from ..head import Head
from ..integer import SCHEDULE, Classifier, IntModel, Layer, Operator, code_range
from ..knobs import Knobs
from .calibrate import Calibration
from .dense_layers import DenseCalibration, DenseDraft, quantize_dense_layer
from .layer import ACTIVATIONS, quantize_layer
from .layer_scales import Widths
from .parts import activation_candidates, linear_operator
from .refusals import refuse_lost
from .stage import StageDraft, draft_stage


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


#: Scale, zero point and width of the codes that go from layer to layer.
_Format = tuple[float, int, int]


def _dense_drafts(
    layers: Sequence[DenseCalibration],
    genes: Iterator[tuple[int, int]],
    knobs: Knobs,
    form: _Format,
) -> tuple[tuple[DenseDraft, ...], _Format]:
    """Dense layers in series, from the format of their input on; and that of their output."""
    drafts = []
    for layer in layers:
        in_scale, in_zero, in_bits = form
        widths = next(genes)
        dense = quantize_dense_layer(
            layer, widths, knobs, in_scale=in_scale, in_zero=in_zero, in_bits=in_bits
        )
        drafts.append(dense)
        form = dense.scale, dense.zero_point, widths[1]
    return tuple(drafts), form


def _gru_drafts(
    calibration: Calibration, genome: Genome, knobs: Knobs, form: _Format
) -> tuple[
    list[dict[str, Operator]],
    list[list[Operator]],
    list[dict[str, dict[str, float]]],
    list[np.ndarray | None],
    _Format,
]:
    """The GRU layers in series: operators, candidates for activations, scales and zero points, and
    codes of first states of each; and the format of the last one's state."""
    layers, groups, scales, initial = [], [], [], []
    states = calibration.initial or (None,) * len(calibration.layers)
    for layer, genes, state in zip(calibration.layers, genome.layers, states, strict=True):
        widths = Widths.of(genes, knobs)
        in_scale, in_zero, in_bits = form
        ops, units, scale, zero = quantize_layer(
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
        form = scale["s_h"], zero["s_h"], widths.out["s_h"]
        initial.append(None if state is None else state_codes(state, *form))
    return layers, groups, scales, initial, form


def _classifier(calibration: Calibration, knobs: Knobs, form: _Format) -> tuple[Classifier, float]:
    """The classifier behind codes of `form`, and the scale of its sums."""
    in_scale, in_zero, in_bits = form
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
    return Classifier(**stored), float(scale_of_weights * in_scale)


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
    first = calibration.input_format(knobs.input_bits)
    _check_dense(calibration, genome)
    dense_genes = iter(genome.dense)
    form: _Format = (*first, knobs.input_bits)
    front, form = _dense_drafts(calibration.front, dense_genes, knobs, form)
    layers, groups, scales, initial, form = _gru_drafts(calibration, genome, knobs, form)
    back, form = _dense_drafts(calibration.back, dense_genes, knobs, form)
    groups += [list(part.group) for part in (*front, *back) if part.group]
    classifier, acc_scale = _classifier(calibration, knobs, form)
    record = {
        **(info or {}),
        "knobs": knobs.to_json(),
        "scales": scales,
        "logit_scale": acc_scale,
    }
    if front or back:
        names = zip(calibration.dense_layers, (*front, *back), strict=True)
        record["dense_scales"] = {name: part.scales for name, part in names}
    head, stage = calibration.head, None
    if calibration.sums is not None:
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
