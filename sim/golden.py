"""The golden model: the one definition of every result bit (equations in ``docs/numerics.md``).

NumPy only, vectorised over the batch. Integer dot products run through float BLAS where every
partial sum provably stays below the mantissa (2**24 for float32, 2**53 for float64), so they are
exact.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..model.data.measures import Score, at_last, lengths_of, sequence_scores
from ..model.errors import InputError
from ..model.integer import (
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
    code_range,
    half,
)

Array = np.ndarray
#: Intermediate codes by place (number of a GRU layer, or name of a dense layer) and operator.
Trace = dict[tuple[int | str, str], np.ndarray]
#: Time steps, over all sequences, that :func:`accuracy` evaluates at once.
STEPS_AT_ONCE = 200_000


def saturate(value: Array, bits: int) -> Array:
    """Clip int64 `value` to the signed codes of `bits` bits."""
    return np.clip(value, *code_range(bits))


def round_shift(value: Array, shift: int) -> Array:
    """``floor(value / 2**shift + 1/2)``: add half, arithmetic shift right; ties go up."""
    return (np.asarray(value, np.int64) + half(shift)) >> shift


def requantize(acc: Array, *, multiplier: int, shift: int, zero_point: int, out_bits: int) -> Array:
    """``sat(((multiplier acc + half) >> shift) + zero_point)``: int64 codes of `out_bits` bits."""
    return saturate(
        round_shift(np.asarray(acc, np.int64) * multiplier, shift) + zero_point, out_bits
    )


def exact_matmul(weight: Array, in_bits: int) -> Callable[[Array], Array]:
    """A function ``x [batch, inputs] -> x @ weight.T`` in int64, exact.

    The element type is the fastest in which no partial sum can round.
    """
    bound = int(np.abs(weight.astype(np.int64)).sum(1).max()) << (in_bits - 1)
    for kind, limit in ((np.float32, 1 << 24), (np.float64, 1 << 53)):
        if bound <= limit:
            transposed = np.ascontiguousarray(weight.T.astype(kind))
            return lambda x: (x.astype(kind) @ transposed).astype(np.int64)
    wide = weight.T.astype(np.int64)
    return lambda x: x.astype(np.int64) @ wide


def dense_accumulate(op: Dense | Classifier, x: Array) -> Array:
    """``bias + weight @ x`` for int64 codes x [batch, inputs]: int64 [batch, outputs]."""
    return exact_matmul(op.weight, op.in_bits)(x) + op.bias


def dense(op: Dense, x: Array) -> Array:
    """Codes [batch, outputs] of a dense operator for codes x [batch, inputs]."""
    return dense_requantize(op, dense_accumulate(op, x))


def dense_requantize(op: Dense, acc: Array) -> Array:
    """Codes [batch, outputs] from accumulators: the shift of unit i is ``shift + k_i``."""
    shift = op.shift + op.channel_shift.astype(np.int64)
    rounded = (acc * op.multiplier + ((1 << shift) >> 1)) >> shift
    return saturate(rounded + op.zero_point, op.out_bits)


def add(op: Sum, a: Array, b: Array) -> Array:
    """Codes of a sum operator, any shape."""
    total = op.multiplier_a * (a - op.a_zero_point) + op.multiplier_b * (b - op.b_zero_point)
    return saturate(round_shift(total, op.shift) + op.zero_point, op.out_bits)


def complement(op: Complement, a: Array) -> Array:
    """Codes of ``1 - a``, any shape."""
    value = op.one - op.multiplier * (a - op.a_zero_point)
    return saturate(round_shift(value, op.shift) + op.zero_point, op.out_bits)


def product(op: Product, a: Array, b: Array) -> Array:
    """Codes of an element-wise product, any shape."""
    value = (a - op.a_zero_point) * (b - op.b_zero_point)
    return requantize(
        value,
        multiplier=op.multiplier,
        shift=op.shift,
        zero_point=op.zero_point,
        out_bits=op.out_bits,
    )


def activation(op: Table | PiecewiseLinear, a: Array) -> Array:
    """Codes of a table or piecewise-linear unit, any shape."""
    a = np.asarray(a, np.int64)
    if isinstance(op, Table):
        return op.table.astype(np.int64)[a + (1 << (op.a_bits - 1))]
    # side="right": a code on a break point belongs to the segment on its right.
    segment = np.searchsorted(op.breakpoints, a, side="right")
    value = op.slopes.astype(np.int64)[segment] * a + op.intercepts.astype(np.int64)[segment]
    return saturate(round_shift(value, op.fraction_bits) + op.zero_point, op.out_bits)


def requantized(op: Requantize, acc: Array) -> Array:
    """Codes of sums, any shape."""
    return requantize(
        acc,
        multiplier=op.multiplier,
        shift=op.shift,
        zero_point=op.zero_point,
        out_bits=op.out_bits,
    )


def output_stage(stage: OutputStage, acc: Array) -> Array:
    """Codes of the sums of a linear operator, any shape."""
    codes = requantized(stage.requantize, acc)
    return codes if stage.activation is None else activation(stage.activation, codes)


def dense_layer(layer: DenseLayer, x: Array, trace: dict[str, Array] | None = None) -> Array:
    """Codes [..., outputs] of a dense layer for codes x [..., inputs]. `trace` receives those of
    its requantised sums, ``w``, and of its output, ``o``."""
    sums = dense(layer.dense, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)
    codes = sums if layer.activation is None else activation(layer.activation, sums)
    if trace is not None:
        trace.update(w=sums, o=codes)
    return codes


def evaluate(op: Operator, *operands: Array) -> Array:
    """Codes of any operator from the codes of its operands."""
    if isinstance(op, Dense):
        return dense(op, *operands)
    if isinstance(op, Sum):
        return add(op, *operands)
    if isinstance(op, Complement):
        return complement(op, *operands)
    if isinstance(op, Product):
        return product(op, *operands)
    return activation(op, *operands)


@dataclass(frozen=True)
class Result:
    """What :func:`run` returns.

    hidden : int64 [batch, steps, units], states of the last layer after each step.
    logits : int64 [batch, classes], raw accumulators of the classifier;
        [batch, steps, classes] where the head answers at every step.
    classes : int64 [batch] or [batch, steps], index of the first greatest logit.
    codes : int64, shaped as the logits, where the head answers codes, else None.
    trace : (layer, operator) -> int64 [batch, steps, units], every intermediate code; empty
        unless asked for. ``(layer, "s_h")`` is the layer's state after each step. Of dense layers
        ``("front0", "w")`` and ``("front0", "o")``, requantised sums and output; those of
        ``back0`` ... have one step where the head answers after the last.
    """

    hidden: Array
    logits: Array
    classes: Array
    trace: Trace = field(default_factory=dict)
    codes: Array | None = None


def check_codes(model: IntModel, codes: Array) -> Array:
    """`codes` as int64 [batch, steps, features]. Raises :class:`InputError` when they are not."""
    codes = np.asarray(codes)
    features, bits = model.input_size, model.in_bits
    if codes.ndim != 3 or codes.shape[2] != features or 0 in codes.shape:
        raise InputError(f"input codes: shape {codes.shape}, [batch, steps, {features}] is needed")
    if codes.dtype.kind not in "iu":
        raise InputError(f"input codes: type {codes.dtype}, integers are needed")
    low, high = code_range(bits)
    if codes.min() < low or codes.max() > high:
        raise InputError(f"input codes: {codes.min()} to {codes.max()}, {low} to {high} is allowed")
    return codes.astype(np.int64)


def run_layer(layer: Layer, x: Array, trace: dict[str, Array] | None = None) -> Array:
    """States int64 [batch, steps, units] of one layer for codes x [batch, steps, inputs]."""
    batch, steps, _ = x.shape
    ops = layer.ops
    matmul = {
        name: exact_matmul(op.weight, op.in_bits)
        for name, op in ops.items()
        if isinstance(op, Dense)
    }
    states = np.empty((batch, steps, layer.hidden_size), np.int64)
    if trace is not None:
        trace.update({name: np.empty_like(states) for name in ops})
    h = np.repeat(layer.first_state[None], batch, 0)
    for step in range(steps):
        value = {"x": x[:, step], "h": h}
        for name, sources in OPERANDS.items():
            op = ops[name]
            operands = [value[source] for source in sources]
            if isinstance(op, Dense):
                value[name] = dense_requantize(op, matmul[name](operands[0]) + op.bias)
            else:
                value[name] = evaluate(op, *operands)
            if trace is not None:
                trace[name][:, step] = value[name]
        states[:, step] = h = value["s_h"]
    return states


def run(
    model: IntModel, codes: Array, *, trace: bool = False, lengths: Array | None = None
) -> Result:
    """Evaluate `model` on integer input codes [batch, steps, features].

    Every sequence starts from the zero state, or the one that a layer gives. With `trace` every
    intermediate code is kept. `lengths` [batch] are the steps of each sequence, where they differ:
    a head at the last step answers after so many.
    Raises :class:`InputError` for codes of a wrong shape, type or range.
    """
    x = check_codes(model, codes)
    states: Trace = {}
    x = dense_layers(model.front, "front", x, states if trace else None)
    for number, layer in enumerate(model.layers):
        taken: dict[str, Array] | None = {} if trace else None
        x = run_layer(layer, x, taken)
        states.update({(number, name): codes for name, codes in (taken or {}).items()})
    return answer(model, x, states if trace else None, lengths)


def dense_layers(
    layers: Sequence[DenseLayer], place: str, x: Array, trace: Trace | None = None
) -> Array:
    """Codes [..., outputs] of dense layers in series for codes x [..., inputs]."""
    for number, layer in enumerate(layers):
        taken: dict[str, Array] | None = None if trace is None else {}
        x = dense_layer(layer, x, taken)
        if trace is not None:
            trace.update({(f"{place}{number}", k): codes for k, codes in (taken or {}).items()})
    return x


def answer(
    model: IntModel,
    hidden: Array,
    trace: Trace | None = None,
    lengths: Array | None = None,
) -> Result:
    """What dense layers behind and the head make of the states int64 [batch, steps, units] of the
    last GRU layer."""
    seen = hidden if model.head.every else at_last(hidden, lengths)[:, None]
    seen = dense_layers(model.back, "back", seen, trace)
    seen = seen if model.head.every else seen[:, 0]
    flat = dense_accumulate(model.classifier, seen.reshape(-1, seen.shape[-1]))
    logits = flat.reshape(*seen.shape[:-1], model.classes)
    codes = None if model.stage is None else output_stage(model.stage, logits)
    return Result(hidden, logits, logits.argmax(-1), trace or {}, codes)


def answers(model: IntModel, result: Result) -> Array:
    """What a task's targets are compared with: classes, or the real values of the codes."""
    if model.stage is None or result.codes is None:
        return result.classes
    return model.stage.real(result.codes)


def score(model: IntModel, x: Array, y: Array, run: Callable[..., Result] = run) -> Score:
    """How good the answers of `model` are on real sequences x [batch, steps, features] with the
    targets y of a task.

    run : what evaluates, for twins of this model
    """
    total = Score()
    for part, given in _in_blocks(model, x, run):
        total.add(given, y[part])
    return total


def _in_blocks(
    model: IntModel, x: Array, run: Callable[..., Result]
) -> Iterator[tuple[slice, Array]]:
    """Places of sequences, and answers to them: all states of ten thousand long sequences would
    need gigabytes."""
    block = max(1, STEPS_AT_ONCE // x.shape[1])
    for start in range(0, len(x), block):
        part = slice(start, start + block)
        result = run(model, model.quantize_input(x[part]), lengths=lengths_of(x[part]))
        yield part, answers(model, result)


def scores(model: IntModel, x: Array, y: Array, run: Callable[..., Result] = run) -> Array:
    """:func:`score` by sequence: float64 [batch], whose mean it is
    (:func:`~genogate.model.data.measures.sequence_scores`)."""
    return sequence_scores(np.concatenate([a for _, a in _in_blocks(model, x, run)]), y)


def accuracy(model: IntModel, x: Array, y: Array, run: Callable[..., Result] = run) -> float:
    """:func:`score` as a number: for classes y [batch] the share that is right."""
    return score(model, x, y, run).value
