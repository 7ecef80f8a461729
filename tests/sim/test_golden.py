"""Each golden operator against plain Python integers, worked from the equations."""

import random
from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import (
    Classifier,
    Complement,
    Dense,
    PiecewiseLinear,
    Product,
    Sum,
    Table,
    acc_bounds,
)
from genogate.sim import golden
from genogate.sim.random_model import random_model

WIDTHS = range(2, 9)


def codes(bits):
    return range(-(2 ** (bits - 1)), 2 ** (bits - 1))


def rescale(value, shift, zero_point, bits):
    """Divide by 2**shift, nearest, ties up; add the zero point; saturate. No shifts, no NumPy."""
    nearest = floor(Fraction(value, 2**shift) + Fraction(1, 2))
    return max(codes(bits)[0], min(codes(bits)[-1], nearest + zero_point))


def drawn(rng, *, a_bits=None):
    """Constants that leave some results inside the output range and saturate others."""
    a_bits = a_bits or rng.choice(WIDTHS)
    shift = rng.choice([0, 1, 3, 7, 12])
    return {
        "a_bits": a_bits,
        "shift": shift,
        "m": lambda: max(1, int(2**shift * rng.choice([0.1, 0.4, 1, 2.3]) * rng.uniform(0.8, 1.2))),
        "zero": lambda: rng.choice([0, -1, 5, -20, 300, rng.randrange(-128, 128)]),
    }


def make_dense(rng, weight_bits, out_bits, *, channel):
    inputs, outputs = rng.randrange(1, 20), rng.randrange(1, 6)
    in_bits, constants = rng.choice(WIDTHS), drawn(rng)
    weight = np.array(
        [[rng.choice(codes(weight_bits)) for _ in range(inputs)] for _ in range(outputs)], np.int8
    )
    bias = np.array([rng.randrange(-3000, 3000) for _ in range(outputs)], np.int64)
    shifts = np.array([rng.randrange(8) if channel else 0 for _ in range(outputs)], np.uint8)
    low, high = acc_bounds(weight, bias, in_bits)
    return Dense(
        weight=weight,
        bias=bias,
        channel_shift=shifts,
        in_bits=in_bits,
        weight_bits=weight_bits,
        out_bits=out_bits,
        multiplier=constants["m"](),
        shift=constants["shift"],
        zero_point=constants["zero"](),
        acc_min=low,
        acc_max=high,
    )


@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("weight_bits", WIDTHS)
@pytest.mark.parametrize("out_bits", WIDTHS)
def test_dense(weight_bits, out_bits, channel):
    rng = random.Random(f"dense {weight_bits} {out_bits} {channel}")
    op = make_dense(rng, weight_bits, out_bits, channel=channel)
    x = [[rng.choice(codes(op.in_bits)) for _ in range(op.weight.shape[1])] for _ in range(40)]
    got = golden.dense(op, np.array(x))
    for row, outputs in zip(x, got.tolist(), strict=True):
        for unit, output in enumerate(outputs):
            acc = int(op.bias[unit])
            for w, v in zip(op.weight[unit].tolist(), row, strict=True):
                acc += w * v
            assert op.acc_min <= acc <= op.acc_max
            shift = op.shift + int(op.channel_shift[unit])
            assert output == rescale(op.multiplier * acc, shift, op.zero_point, out_bits)


def pairs(rng, op):
    """All operand pairs where they are few, else a thousand of them."""
    every = [(a, b) for a in codes(op.a_bits) for b in codes(op.b_bits)]
    return every if len(every) <= 1000 else rng.sample(every, 1000)


@pytest.mark.parametrize("b_bits", WIDTHS)
@pytest.mark.parametrize("out_bits", WIDTHS)
@pytest.mark.parametrize("operator", ["sum", "product"])
def test_two_operands(operator, b_bits, out_bits):
    rng = random.Random(f"{operator} {b_bits} {out_bits}")
    c = drawn(rng)
    zeros = c["zero"](), c["zero"]()
    if operator == "sum":
        op = Sum(c["a_bits"], b_bits, out_bits, *zeros, c["m"](), c["m"](), c["shift"], c["zero"]())
    else:
        op = Product(c["a_bits"], b_bits, out_bits, *zeros, c["m"](), c["shift"], c["zero"]())
    operands = pairs(rng, op)
    a, b = np.array(operands).T
    got = golden.add(op, a, b) if operator == "sum" else golden.product(op, a, b)
    for (x, y), output in zip(operands, got.tolist(), strict=True):
        x, y = x - op.a_zero_point, y - op.b_zero_point
        value = (
            op.multiplier_a * x + op.multiplier_b * y
            if operator == "sum"
            else op.multiplier * x * y
        )
        assert output == rescale(value, op.shift, op.zero_point, out_bits), (x, y, op)


@pytest.mark.parametrize("a_bits", WIDTHS)
@pytest.mark.parametrize("out_bits", WIDTHS)
def test_one_operand(a_bits, out_bits):
    """Complement, table and piecewise-linear units over all their input codes."""
    rng = random.Random(f"one {a_bits} {out_bits}")
    c, inputs = drawn(rng, a_bits=a_bits), list(codes(a_bits))
    one = rng.randrange(-(2 ** (c["shift"] + 7)), 2 ** (c["shift"] + 7))
    op = Complement(a_bits, out_bits, c["zero"](), c["m"](), one, c["shift"], c["zero"]())
    assert golden.complement(op, np.array(inputs)).tolist() == [
        rescale(one - op.multiplier * (a - op.a_zero_point), op.shift, op.zero_point, out_bits)
        for a in inputs
    ]
    entries = [rng.choice(codes(out_bits)) for _ in inputs]
    table = Table(a_bits, out_bits, np.array(entries, np.int8))
    assert golden.activation(table, np.array(inputs)).tolist() == entries

    segments = rng.randrange(1, min(9, len(inputs)))
    points = sorted(rng.sample(inputs, segments - 1))
    slopes = [rng.randrange(-60, 61) for _ in range(segments)]
    intercepts = [rng.randrange(-4000, 4001) for _ in range(segments)]
    unit = PiecewiseLinear(
        a_bits,
        out_bits,
        rng.randrange(0, 8),
        rng.randrange(-9, 10),
        np.array(points, np.int16),
        np.array(slopes, np.int32),
        np.array(intercepts, np.int64),
    )
    for a, output in zip(inputs, golden.activation(unit, np.array(inputs)).tolist(), strict=True):
        k = sum(point <= a for point in points)
        value = slopes[k] * a + intercepts[k]
        assert output == rescale(value, unit.fraction_bits, unit.zero_point, out_bits)


def test_ties_go_up():
    """Worked by hand: 1.5, 0.5, -0.5, -1.5, -2.5 in quarters, and neighbours that are no ties."""
    assert golden.round_shift([6, 2, -2, -6, -10], 2).tolist() == [2, 1, 0, -1, -2]
    assert golden.round_shift([5, 1, -1, -3, -7], 2).tolist() == [1, 0, 0, -1, -2]
    assert golden.round_shift([7, -7], 0).tolist() == [7, -7]


def test_saturation_is_the_last_thing():
    """126.5 rounds to 127; a zero point beyond the codes is added before the clip."""
    kept = {"multiplier": 1, "out_bits": 8}
    assert golden.requantize([253, 255, -257], shift=1, zero_point=0, **kept).tolist() == [
        127,
        127,
        -128,
    ]
    assert golden.requantize([-100, 100], shift=0, zero_point=200, **kept).tolist() == [100, 127]
    two = {"multiplier": 1, "shift": 0, "out_bits": 2}
    assert golden.requantize([-3, -2, 1, 2], zero_point=0, **two).tolist() == [-2, -2, 1, 1]


def plain_dot(weight, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]


@pytest.mark.parametrize("inputs", [1023, 1024, 1025, 2048, 4096])
def test_float_dot_products_are_exact_around_the_bound(inputs):
    """1,024 products of -128 by -128 make 2**24, the last integer before float32 skips odd ones."""
    rng = random.Random(inputs)
    weight = [[-128] * inputs, [127] * inputs, [rng.choice([-128, 127]) for _ in range(inputs)]]
    rows = [[-128] * inputs, [127] * inputs, [-127] * (inputs - 1) + [-126]]
    # Odd totals near the greatest magnitude.
    rows += [[-128 if w < 0 else 127 for w in weight[2]], [-128] * (inputs - 1) + [-127]]
    got = golden.exact_matmul(np.array(weight, np.int8), 8)(np.array(rows))
    assert got.dtype == np.int64
    assert got.tolist() == [plain_dot(weight, row) for row in rows]


def test_dot_products_beyond_float64_are_exact():
    weight = np.array([[2**49 + 1, 3]])
    assert golden.exact_matmul(weight, 8)(np.array([[127, -1]])).tolist() == [
        [127 * (2**49 + 1) - 3]
    ]


def apply(op, *operands):
    """One code of any operator, in plain integers."""
    if isinstance(op, Table):
        return int(op.table[operands[0] + 2 ** (op.a_bits - 1)])
    a = operands[0]
    if isinstance(op, PiecewiseLinear):
        k = sum(int(point) <= a for point in op.breakpoints)
        value, shift = int(op.slopes[k]) * a + int(op.intercepts[k]), op.fraction_bits
    elif isinstance(op, Complement):
        value, shift = op.one - op.multiplier * (a - op.a_zero_point), op.shift
    else:
        a, b = a - op.a_zero_point, operands[1] - op.b_zero_point
        value = (
            op.multiplier_a * a + op.multiplier_b * b
            if isinstance(op, Sum)
            else op.multiplier * a * b
        )
        shift = op.shift
    return rescale(value, shift, op.zero_point, op.out_bits)


def matrix_vector(op, x):
    """Codes of a dense operator for one input vector."""
    acc = [b + d for b, d in zip(op.bias.tolist(), plain_dot(op.weight.tolist(), x), strict=True)]
    if isinstance(op, Classifier):
        return acc
    return [
        rescale(op.multiplier * v, op.shift + int(k), op.zero_point, op.out_bits)
        for v, k in zip(acc, op.channel_shift, strict=True)
    ]


def gru_step(ops, x, h):
    """PyTorch's GRU equations, unit after unit, with a rounding after every operator."""
    ir, iz, xn = (matrix_vector(ops[name], x) for name in ("w_ir", "w_iz", "w_in"))
    hr, hz, hn = (matrix_vector(ops[name], h) for name in ("w_hr", "w_hz", "w_hn"))
    new = []
    for j, old in enumerate(h):
        r = apply(ops["a_r"], apply(ops["s_r"], ir[j], hr[j]))
        z = apply(ops["a_z"], apply(ops["s_z"], iz[j], hz[j]))
        n = apply(ops["a_n"], apply(ops["s_n"], xn[j], apply(ops["p_rn"], r, hn[j])))
        kept = apply(ops["p_zh"], z, old)
        new.append(apply(ops["s_h"], apply(ops["p_zn"], apply(ops["c_z"], z), n), kept))
    return new


@pytest.mark.parametrize("seed", range(6))
def test_network_equals_loops(seed):
    rng = np.random.default_rng(seed)
    genome = Genome.from_genes(rng.integers(2, 9, 34))
    model = random_model(rng, genome, 3, 4, 3, channel=seed % 2 == 0, terms=None)
    inputs = rng.integers(-128, 128, (3, 5, 3))
    result = golden.run(model, inputs, trace=True)
    for k, sequence in enumerate(inputs.tolist()):
        states = [[layer.state_zero_point] * 4 for layer in model.layers]
        for step, x in enumerate(sequence):
            for number, layer in enumerate(model.layers):
                x = states[number] = gru_step(layer.ops, x, states[number])
                assert result.trace[number, "s_h"][k, step].tolist() == x, (seed, k, step, number)
            assert result.hidden[k, step].tolist() == x
        logits = matrix_vector(model.classifier, states[-1])
        assert result.logits[k].tolist() == logits
        assert result.classes[k] == logits.index(max(logits))
    assert set(result.trace) == {(n, name) for n in (0, 1) for name in model.layers[0].ops}


def test_the_first_of_equal_logits_wins():
    rng = np.random.default_rng(1)
    model = random_model(rng, Genome.uniform(4), 2, 3, 4)
    top = model.classifier
    weight, bias = np.zeros_like(top.weight), np.array([5, 7, 7, -1])
    bounds = acc_bounds(weight, bias, top.in_bits)
    flat = replace(top, weight=weight, bias=bias, acc_min=bounds[0], acc_max=bounds[1])
    result = golden.run(replace(model, classifier=flat), np.zeros((2, 3, 2), np.int64))
    assert result.classes.tolist() == [1, 1]


def test_sequences_of_a_batch_do_not_meet():
    """Every sequence gives what it gives alone."""
    rng = np.random.default_rng(3)
    model = random_model(rng, Genome.uniform(5), 4, 6, 3)
    inputs = rng.integers(-128, 128, (5, 4, 4))
    together = golden.run(model, inputs)
    for k in range(5):
        alone = golden.run(model, inputs[k : k + 1])
        np.testing.assert_array_equal(alone.hidden[0], together.hidden[k])
        np.testing.assert_array_equal(alone.logits[0], together.logits[k])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((2, 3), np.int64), r"^input codes: shape \(2, 3\), \[batch, steps, 2\] is"),
        (np.zeros((2, 3, 5), np.int64), r"^input codes: shape \(2, 3, 5\), \[batch"),
        (np.zeros((0, 3, 2), np.int64), r"^input codes: shape \(0, 3, 2\)"),
        (np.zeros((2, 3, 2)), r"^input codes: type float64, integers are needed$"),
        (np.full((2, 3, 2), 128), r"^input codes: 128 to 128, -128 to 127 is allowed$"),
    ],
)
def test_wrong_codes_are_refused(inputs, message):
    model = random_model(np.random.default_rng(1), Genome.uniform(4), 2, 3, 4)
    with pytest.raises(InputError, match=message):
        golden.run(model, inputs)
