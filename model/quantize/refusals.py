"""Refusal of networks that 8 bits cannot hold, with the part that is to blame."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ..checkpoints.floating import FOR_ALL, PRUNED
from ..errors import InputError
from ..genome import GENES, Genome
from ..knobs import Knobs
from .calibrate import MAX_LOSS, MAX_TOTAL_LOSS, SENSITIVE, Calibration
from .dense_layers import DenseCalibration
from .layer_scales import LayerScales, Widths
from .rounding import Format, Rounded

#: Factor between rows, or columns, of a matrix from which on it is the cause of what 8 bits lose.
MAX_SPREAD = 64.0


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
    if PRUNED in calibration.probe.checkpoint.info:
        # It is to be trained, or was, for what quantising makes of it.
        return
    knobs, genome = Knobs(), Genome.uniform(8, len(calibration.layers))
    source = in_scale, _ = calibration.input_format(8)
    rounded: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
    formats: dict[tuple[int, str], Format] = {}
    last = len(calibration.layers) - 1

    add_dense = partial(_round_dense, knobs, rounded, formats)
    in_scale = add_dense(0, "front", calibration.front, in_scale)
    for number, (layer, genes) in enumerate(zip(calibration.layers, genome.layers, strict=True)):
        scale = LayerScales(layer, Widths.of(genes, knobs), knobs, in_scale).solve()
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
    _refuse_far_apart(calibration, rounded, formats, source)
    if loss > SENSITIVE:
        _refuse_unstable(
            calibration.probe.rounded_loss(rounded, formats, (8, *source)), calibration
        )


def _round_dense(
    knobs: Knobs,
    rounded: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]],
    formats: dict[tuple[int, str], Format],
    number: int,
    place: str,
    layers: Sequence[DenseCalibration],
    in_scale: float,
) -> float:
    """Add the dense layers at `place` to what is `rounded`; returns the scale of their output."""
    for k, layer in enumerate(layers):
        name = f"{place}{k}"
        scale, zero, size = layer.scales((8, 8), in_scale, knobs)
        rounded[number, name] = layer.weights.rounded(size, layer.bias)
        if layer.curved:
            scale, zero = layer.output.format(8)
        formats[number, name] = 8, scale, zero
        in_scale = scale
    return in_scale


def _refuse_far_apart(
    calibration: Calibration,
    rounded: Rounded,
    formats: Mapping[tuple[int, str], Format],
    source: tuple[float, int],
) -> None:
    """Refuse a network for a dense layer whose outputs are too far apart for 8 bits."""

    def fine(form: Format) -> Format:
        return 24, form[1] / 2**16, form[2] << 16

    exact = {key: fine(form) for key, form in formats.items()}
    for key in formats:
        if key[1] in calibration.dense_layers:
            one = {**exact, key: formats[key]}
            loss = calibration.probe.rounded_loss(rounded, one, fine((8, *source)))
            if loss > MAX_LOSS and not calibration.probe.constant:
                raise InputError(
                    f"quantize: 8 bits cannot hold the outputs of {key[1]}: the steps between "
                    f"their codes, {formats[key][1]:.4g}, change the logits by {100 * loss:.0f} % "
                    "of their size (a large bias, or units of very different size?)"
                )


def _refuse_unstable(loss: float, calibration: Calibration) -> None:
    """Refuse a network in which `loss` of the logits is lost though all its matrices are even; not
    weights that were trained for all genomes."""
    if loss <= MAX_TOTAL_LOSS:
        return
    if calibration.probe.constant:
        raise InputError(
            "quantize: the network gives nearly the same logits for every sequence: nothing of its "
            "input reaches them (a gate that never opens, or weights of 0?)"
        )
    if FOR_ALL in calibration.probe.checkpoint.info:
        # What was trained is what quantising makes of them; the float network with these weights
        # was not, and over hundreds of steps it may be far from that.
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
