"""Random integer models: valid in every field, arbitrary in every value.

They exercise the hardware where calibrated models do not go: odd zero points, multipliers that no
calibration would choose, saturating units, tables without a shape. Scales are drawn so that most
codes of most operators stay off the rails, else mismatches could hide behind saturation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.genome import GENES, Genome
from ..model.head import Head
from ..model.integer import (
    MAX_SHIFT,
    OPERANDS,
    Classifier,
    Complement,
    Dense,
    DenseLayer,
    IntModel,
    Layer,
    Operator,
    OutputStage,
    PiecewiseLinear,
    Product,
    Requantize,
    Sum,
    Table,
    acc_bounds,
    code_range,
)
from .golden import evaluate, requantized

Array = np.ndarray
Generator = np.random.Generator


def signed_terms(value: float, terms: int | None) -> int:
    """A positive integer near `value` that is a sum of at most `terms` signed powers of two.

    Greedy nearest powers; ``None`` rounds to the nearest integer; at least 1.
    """
    if terms is None:
        return max(1, round(value))
    total, rest = 0, value
    for _ in range(terms):
        if abs(rest) < 0.5:
            break
        power = 1 << max(0, round(np.log2(abs(rest))))
        total += power if rest > 0 else -power
        rest = value - total
    return max(1, int(total))


def _multipliers(rng: Generator, scales: list[float], terms: int | None) -> tuple[list[int], int]:
    """Integers m and one shift n with ``m / 2**n`` near each positive scale."""
    precision = {None: 12, 1: 3, 2: 5, 3: 8}[terms]
    if len(scales) == 1 and terms == 1:
        precision = 0
    shift = precision - int(np.floor(np.log2(max(scales)))) - int(rng.integers(0, 2))
    shift = int(np.clip(shift, 0, MAX_SHIFT))
    return [signed_terms(scale * 2.0**shift, terms) for scale in scales], shift


def _operand_zero(rng: Generator, bits: int) -> int:
    """Zero point of an operand: often 0 or the lowest code as in calibrated models, or any."""
    low, high = code_range(bits)
    return int(rng.choice([0, low, int(rng.integers(low, high + 1))]))


def _spread(value: Array) -> float:
    """Where nearly all of `value` lies about its median, plus and minus."""
    return max(0.5, float(np.percentile(np.abs(value - np.median(value)), 90)))


def _output_zero(rng: Generator, value: Array, bits: int, code: bool) -> int:
    """A zero point that brings the requantised `value` near the middle of the output codes.

    One in five is any code instead; always a code where `code` is set.
    """
    low, high = code_range(bits)
    if rng.random() < 0.2:
        return int(rng.integers(low, high + 1))
    zero = int(round(-float(np.median(value))) + rng.integers(low // 4, high // 4 + 1))
    return int(np.clip(zero, low, high)) if code else zero


def _dense(
    rng: Generator,
    outputs: int,
    x: Array,
    in_bits: int,
    weight_bits: int,
    out_bits: int,
    channel: bool,
    terms: int | None,
) -> Dense:
    low, high = code_range(weight_bits)
    weight = rng.integers(low, high + 1, (outputs, x.shape[1])).astype(np.int8)
    raw = x @ weight.astype(np.int64).T
    bias = np.rint(rng.normal(0, _spread(raw), outputs) - np.median(raw, 0)).astype(np.int64)
    shifts = rng.integers(0, 4 if channel else 1, outputs).astype(np.uint8)
    acc = (raw + bias) >> shifts
    (multiplier,), shift = _multipliers(
        rng, [2 ** (out_bits - 1) / _spread(acc) * rng.uniform(0.5, 1.1)], terms
    )
    zero = _output_zero(rng, (acc * multiplier) >> shift, out_bits, False)
    low, high = acc_bounds(weight, bias, in_bits)
    return Dense(
        weight=weight,
        bias=bias,
        channel_shift=shifts,
        in_bits=in_bits,
        weight_bits=weight_bits,
        out_bits=out_bits,
        multiplier=multiplier,
        shift=shift,
        zero_point=zero,
        acc_min=low,
        acc_max=high,
    )


def _sum(
    rng: Generator,
    a: Array,
    b: Array,
    a_bits: int,
    b_bits: int,
    out_bits: int,
    terms: int | None,
    code: bool,
) -> Sum:
    scales = [2 ** (out_bits - 1) / _spread(v) * rng.uniform(0.2, 0.7) for v in (a, b)]
    (m_a, m_b), shift = _multipliers(rng, scales, terms)
    z_a, z_b = _operand_zero(rng, a_bits), _operand_zero(rng, b_bits)
    zero = _output_zero(rng, (m_a * (a - z_a) + m_b * (b - z_b)) >> shift, out_bits, code)
    return Sum(a_bits, b_bits, out_bits, z_a, z_b, m_a, m_b, shift, zero)


def _product(
    rng: Generator, a: Array, b: Array, a_bits: int, b_bits: int, out_bits: int, terms: int | None
) -> Product:
    z_a, z_b = _operand_zero(rng, a_bits), _operand_zero(rng, b_bits)
    value = (a - z_a) * (b - z_b)
    (m,), shift = _multipliers(
        rng, [2 ** (out_bits - 1) / _spread(value) * rng.uniform(0.5, 1)], terms
    )
    zero = _output_zero(rng, (m * value) >> shift, out_bits, False)
    return Product(a_bits, b_bits, out_bits, z_a, z_b, m, shift, zero)


def _complement(
    rng: Generator, a: Array, a_bits: int, out_bits: int, terms: int | None
) -> Complement:
    (m,), shift = _multipliers(rng, [2 ** (out_bits - 1) / _spread(a) * rng.uniform(0.4, 1)], terms)
    z_a, zero = _operand_zero(rng, a_bits), _operand_zero(rng, out_bits)
    # The middle of the operand goes near the middle of the output.
    one = m * (int(np.median(a)) - z_a) - (zero << shift) + int(rng.integers(-8, 9))
    return Complement(a_bits, out_bits, z_a, m, one, shift, zero)


def _curve(rng: Generator, name: str, a_bits: int, out_bits: int) -> np.ndarray:
    """Real output codes, unrounded, of a sigmoid or tanh over all input codes, in order."""
    low, high = code_range(a_bits)
    real = (np.arange(low, high + 1) - rng.normal(0, 0.1 * high)) * rng.uniform(3, 9) / high
    if name in ("a_n", "tanh"):
        return np.tanh(real / 2) * 2 ** (out_bits - 1)
    return 2**out_bits / (1 + np.exp(-real)) - 2 ** (out_bits - 1)


def _activation(
    rng: Generator, name: str, a_bits: int, out_bits: int, kind: str, entries: int
) -> Operator:
    if kind == "mix":
        kind = str(rng.choice(["pwl", "table"]))
    curve, (low, high) = _curve(rng, name, a_bits, out_bits), code_range(a_bits)
    arbitrary = rng.random() < 0.2
    if kind == "table":
        table = np.clip(np.floor(curve + 0.5), *code_range(out_bits))
        if arbitrary:
            table = rng.integers(*code_range(out_bits), table.size, endpoint=True)
        return Table(a_bits, out_bits, table.astype(np.int8))
    entries = min(entries, 1 << a_bits)
    points = np.sort(rng.choice(np.arange(low + 1, high + 1), entries - 1, replace=False))
    fraction, zero_point = int(rng.integers(3, 8)), int(rng.integers(-5, 6))
    ends = np.concatenate([[low], points, [high + 1]])
    values = np.append(curve, curve[-1])[ends - low] - zero_point
    slopes = np.rint(np.diff(values) / np.diff(ends) * 2**fraction).astype(np.int64)
    if arbitrary:
        slopes = rng.integers(-40, 41, entries)
    intercepts = np.rint(values[:-1] * 2**fraction - slopes * ends[:-1]).astype(np.int64)
    return PiecewiseLinear(
        a_bits,
        out_bits,
        fraction,
        zero_point,
        points.astype(np.int16),
        slopes.astype(np.int32),
        intercepts,
    )


def _layer(
    rng: Generator,
    genes: dict[str, int],
    in_bits: int,
    inputs: int,
    hidden: int,
    channel: bool,
    terms: int | None,
    activation: str,
    entries: int,
    dense_output: str,
) -> Layer:
    bits = {**genes, "x": in_bits, "h": genes["s_h"]}
    # Codes that the operators see, carried along to choose the next operator's constants.
    value = {
        "x": rng.integers(*code_range(in_bits), (64, inputs), endpoint=True),
        "h": rng.integers(*code_range(bits["h"]), (64, hidden), endpoint=True),
    }
    for name in GENES[:6]:
        wide = dense_output == "8" or (dense_output == "mix" and rng.random() < 0.5)
        bits[name] = 8 if wide else genes[name]
    ops: dict[str, Operator] = {}
    for name, sources in OPERANDS.items():
        operands = [value[s] for s in sources]
        a, b, a_bits, b_bits = operands[0], operands[-1], bits[sources[0]], bits[sources[-1]]
        op: Operator
        if name[0] == "w":
            op = _dense(rng, hidden, a, a_bits, genes[name], bits[name], channel, terms)
        elif name[0] == "s":
            op = _sum(rng, a, b, a_bits, b_bits, bits[name], terms, name == "s_h")
        elif name[0] == "c":
            op = _complement(rng, a, a_bits, bits[name], terms)
        elif name[0] == "p":
            op = _product(rng, a, b, a_bits, b_bits, bits[name], terms)
        else:
            op = _activation(rng, name, a_bits, bits[name], activation, entries)
        ops[name], value[name] = op, evaluate(op, *operands)
    return Layer(ops)


def _stage(
    rng: Generator,
    classifier: Classifier,
    function: str,
    acc: Array,
    out_bits: int,
    terms: int | None,
    activation: str,
    entries: int,
) -> OutputStage:
    """An output stage for sums of which `acc` [samples, outputs] are some."""
    unit = function in ("sigmoid", "tanh")
    bits = int(rng.integers(3, 9)) if unit else out_bits
    (multiplier,), shift = _multipliers(
        rng, [2 ** (bits - 1) / _spread(acc) * rng.uniform(0.5, 1.1)], terms
    )
    zero = code_range(bits)[0]
    if function != "relu":
        zero = _output_zero(rng, (acc * multiplier) >> shift, bits, False)
    op = Requantize(classifier.acc_min, classifier.acc_max, bits, multiplier, shift, zero)
    curve = _activation(rng, function, bits, out_bits, activation, entries) if unit else None
    assert curve is None or isinstance(curve, Table | PiecewiseLinear)
    return OutputStage(op, curve, 1 / 128, int(np.median(requantized(op, acc))))


def _dense_layer(
    rng: Generator,
    genes: tuple[int, int],
    function: str,
    inputs: int,
    outputs: int,
    in_bits: int,
    channel: bool,
    terms: int | None,
    activation: str,
    entries: int,
) -> DenseLayer:
    """A dense layer of `outputs` units that computes `function` behind its sums."""
    unit = function in ("sigmoid", "tanh")
    bits = int(rng.integers(3, 9)) if unit else genes[1]
    x = rng.integers(*code_range(in_bits), (64, inputs), endpoint=True)
    op = _dense(rng, outputs, x, in_bits, genes[0], bits, channel, terms)
    if function == "relu":
        op = replace(op, zero_point=code_range(bits)[0])
    curve = _activation(rng, function, bits, genes[1], activation, entries) if unit else None
    assert curve is None or isinstance(curve, Table | PiecewiseLinear)
    zero = int(np.clip(op.zero_point, *code_range(genes[1])))
    return DenseLayer(op, curve, function, 1 / 64, zero)


def random_model(
    rng: Generator,
    genome: Genome,
    input_size: int,
    hidden_size: int,
    classes: int,
    *,
    channel: bool = False,
    terms: int | None = 2,
    activation: str = "mix",
    entries: int = 8,
    dense_output: str = "mix",
    input_bits: int = 8,
    classifier_bits: int = 8,
    head: Head | None = None,
    head_bits: int = 8,
    front: Sequence[tuple[str, int]] = (),
    back: Sequence[tuple[str, int]] = (),
    initial_state: bool = False,
) -> IntModel:
    """A random :class:`~genogate.model.integer.IntModel` of ``len(genome.layers)`` layers.

    Parameters
    ----------
    rng : everything is drawn from it: the same state gives the same model
    input_size, hidden_size, classes : features, units of every layer, logits
    channel : draw a shift 0 to 3 for every output channel of the dense operators
    terms : 1, 2 or 3 signed powers of two that a multiplier may have; None: any integer of 12 bits
        or so
    activation : 'pwl', 'table' or 'mix'
    entries : segments of a piecewise-linear unit; fewer where the input has fewer codes
    dense_output : width of the dense operators' output codes, 'gene', '8' or 'mix'
    input_bits, classifier_bits : widths of input codes, 1 to 8, and of the classifier's weights,
        2 to 8
    head, head_bits : by default a class after the last step; width of the codes of one that
        answers codes
    front, back : (function, units) of dense layers in front of and behind the GRU layers, functions
        of :data:`~genogate.model.head.ACTIVATIONS`; their widths are ``genome.dense``
    initial_state : draw the codes that the states start with
    """
    head = head or Head()
    knobs = channel, terms, activation, entries
    genes = iter(genome.dense)
    before, in_bits, inputs = _dense_stack(rng, front, genes, input_size, input_bits, knobs)
    layers = _layers(rng, genome, in_bits, inputs, hidden_size, knobs, dense_output, initial_state)
    in_bits, inputs = layers[-1].bits("h"), hidden_size
    behind, in_bits, inputs = _dense_stack(rng, back, genes, inputs, in_bits, knobs)
    classifier = _classifier(rng, classes, inputs, in_bits, classifier_bits)
    stage = None
    if head.output == "codes":
        acc = _sums(rng, classifier)
        stage = _stage(rng, classifier, head.activation, acc, head_bits, terms, activation, entries)
    provenance = {"random": True}
    return IntModel(
        genome, layers, classifier, 1 / 128, 0, provenance, head, stage, front=before, back=behind
    )


def _layers(
    rng: Generator,
    genome: Genome,
    in_bits: int,
    inputs: int,
    hidden: int,
    knobs: tuple[bool, int | None, str, int],
    dense_output: str,
    initial_state: bool,
) -> tuple[Layer, ...]:
    """The GRU layers, which begin with any state where `initial_state` is set."""
    layers = []
    for row in genome.layers:
        genes = dict(zip(GENES, row, strict=True))
        layers.append(_layer(rng, genes, in_bits, inputs, hidden, *knobs, dense_output))
        in_bits, inputs = genes["s_h"], hidden
    if initial_state:
        layers = [replace(layer, initial_state=_state(rng, layer)) for layer in layers]
    return tuple(layers)


def _sums(rng: Generator, classifier: Classifier) -> Array:
    """Sums of a classifier for some inputs."""
    shape = 64, classifier.weight.shape[1]
    x = rng.integers(*code_range(classifier.in_bits), shape, endpoint=True)
    sums: Array = x @ classifier.weight.astype(np.int64).T + classifier.bias
    return sums


def _dense_stack(
    rng: Generator,
    layers: Sequence[tuple[str, int]],
    genes: Iterator[tuple[int, int]],
    inputs: int,
    in_bits: int,
    knobs: tuple[Any, ...],
) -> tuple[tuple[DenseLayer, ...], int, int]:
    """Dense layers one behind the other, and width and number of the last one's codes."""
    stack: list[DenseLayer] = []
    for function, units in layers:
        widths = next(genes)
        stack.append(_dense_layer(rng, widths, function, inputs, units, in_bits, *knobs))
        in_bits, inputs = widths[1], units
    return tuple(stack), in_bits, inputs


def _state(rng: Generator, layer: Layer) -> Array:
    """Codes that the state of a layer may start with."""
    low, high = code_range(layer.bits("h"))
    return rng.integers(low, high, layer.hidden_size, endpoint=True).astype(np.int8)


def _classifier(
    rng: Generator, classes: int, inputs: int, in_bits: int, weight_bits: int
) -> Classifier:
    """Weights over their whole range, and biases of thousands."""
    least, most = code_range(weight_bits)
    weight = rng.integers(least, most + 1, (classes, inputs)).astype(np.int8)
    bias = rng.integers(-5000, 5001, classes).astype(np.int64)
    low, high = acc_bounds(weight, bias, in_bits)
    return Classifier(
        weight=weight,
        bias=bias,
        in_bits=in_bits,
        weight_bits=weight_bits,
        acc_min=low,
        acc_max=high,
    )
