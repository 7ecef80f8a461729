# amaranth: UnusedElaboratable=no
"""The dense datapath against golden, digit by digit and lane by lane."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.dense import Dense, digit_planes
from genogate.hdl.memories import bias_words, weight_words
from genogate.model import integer
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import acc_bounds, code_range
from genogate.sim import golden
from genogate.sim.random_model import random_model


def run_dense(op, lanes, chunks, vectors, output="wire", gaps=None):
    """Codes [len(vectors), outputs] of the datapath, fed as by the sequencer; `gaps` pauses it."""
    dut = Dense(op, lanes, chunks, output)
    words = weight_words(op.weight, op.weight_bits, lanes, chunks)
    biases, bias_width, _ = bias_words(dut.bias_values, dut.channel_values)
    outputs, inputs = op.weight.shape
    steps, mask = -(-inputs // lanes), (1 << op.in_bits) - 1
    got = np.zeros((len(vectors), outputs), np.int64)

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        for row, vector in enumerate(vectors):
            padded = [*(int(v) & mask for v in vector), *([mask] * (steps * lanes - inputs))]
            for unit in range(outputs):
                for beat in range(steps * chunks):
                    while gaps is not None and gaps.random() < 0.3:
                        await ctx.tick()
                    step, digit = beat % steps, beat // steps
                    lane_codes = padded[step * lanes : (step + 1) * lanes]
                    ctx.set(
                        dut.operand, sum(c << (k * op.in_bits) for k, c in enumerate(lane_codes))
                    )
                    ctx.set(dut.weight, words[(unit * chunks + digit) * steps + step])
                    bias = biases[unit] & ((1 << bias_width) - 1)
                    ctx.set(dut.bias, bias - ((bias >> (bias_width - 1)) << bias_width))
                    if dut.channel_width:
                        ctx.set(dut.channel, biases[unit] >> bias_width)
                    ctx.set(dut.first, beat == 0)
                    if chunks > 1:
                        ctx.set(dut.next_digit, step == 0 and digit > 0)
                        ctx.set(dut.top, digit == chunks - 1)
                    ctx.set(dut.enable, 1)
                    await ctx.tick()
                    ctx.set(dut.enable, 0)
                ctx.set(dut.done, 1)
                if output == "register":
                    assert ctx.get(dut.taken)
                    await ctx.tick()
                    ctx.set(dut.done, 0)
                assert ctx.get(dut.o.valid)
                got[row, unit] = ctx.get(dut.o.payload)
                ctx.set(dut.done, 0)
                if output == "register":
                    await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return got


@pytest.mark.parametrize("seed", range(24))
def test_dense_equals_golden(seed):
    rng = np.random.default_rng([seed, 1])
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    model = random_model(
        rng,
        genome,
        int(rng.integers(1, 7)),
        5,
        2,
        channel=seed % 3 == 0,
        terms=[1, 2, 3, None][seed % 4],
    )
    op = model.layers[0].dense(["w_ir", "w_iz", "w_in", "w_hr", "w_hz", "w_hn"][seed % 6])
    divisors = [d for d in range(1, 9) if op.weight_bits % d == 0]
    chunks = int(rng.choice(divisors))
    x = rng.integers(*code_range(op.in_bits), (6, op.weight.shape[1]), endpoint=True)
    x[0], x[1] = code_range(op.in_bits)
    lanes = int(rng.integers(1, 8))
    got = run_dense(op, lanes, chunks, x, ["wire", "register"][seed % 2], rng)
    np.testing.assert_array_equal(got, golden.dense(op, x), err_msg=f"{lanes=} {chunks=}")


@pytest.mark.parametrize("chunks", [1, 2, 4, 8])
def test_extreme_weights_and_inputs_do_not_wrap(chunks):
    """Every weight and input at its end, in all sign combinations, full INT8."""
    weight = np.array([[-128] * 4, [127] * 4, [-128, 127, -128, 127]], np.int8)
    bias = np.array([-70000, 70000, 1], np.int64)
    low, high = acc_bounds(weight, bias, 8)
    op = integer.Dense(
        weight=weight,
        bias=bias,
        channel_shift=np.zeros(3, np.uint8),
        in_bits=8,
        weight_bits=8,
        out_bits=8,
        multiplier=1,
        shift=10,
        zero_point=20,
        acc_min=low,
        acc_max=high,
    )
    x = np.array([[-128] * 4, [127] * 4, [-128, 127, 127, -128], [0, 0, 0, 0], [1, -1, 5, 9]])
    np.testing.assert_array_equal(run_dense(op, 1, chunks, x), golden.dense(op, x))


def test_digits_give_the_weight():
    codes = np.arange(-128, 128, dtype=np.int8).reshape(1, -1)
    for chunks in (1, 2, 4, 8):
        planes = digit_planes(codes, 8, chunks)
        total = sum(p << (j * 8 // chunks) for j, p in enumerate(planes))
        np.testing.assert_array_equal(total, codes)


def test_impossible_lanes_and_chunks_are_refused():
    rng = np.random.default_rng(0)
    op = random_model(rng, Genome.uniform(8), 2, 2, 2).layers[0].dense("w_ir")
    for lanes in (0, 65, -3):
        with pytest.raises(InputError, match=f"lanes: {lanes} is not within 1 to 64"):
            Dense(op, lanes)
    with pytest.raises(InputError, match="chunks: 3 does not divide 8"):
        Dense(op, 1, 3)
