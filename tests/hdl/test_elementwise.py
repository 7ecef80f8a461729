# amaranth: UnusedElaboratable=no
"""Sum, Complement, Product, Table, PiecewiseLinear against golden, with stalls."""

import numpy as np
import pytest
from amaranth import *
from amaranth.sim import Simulator
from genogate.hdl.complement import Complement
from genogate.hdl.piecewise_linear import PiecewiseLinear
from genogate.hdl.product import Product
from genogate.hdl.sum import Sum
from genogate.hdl.table import Table
from genogate.model import integer
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.integer import code_range
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_operator

COMPONENTS = {
    integer.Sum: Sum,
    integer.Complement: Complement,
    integer.Product: Product,
    integer.Table: Table,
    integer.PiecewiseLinear: PiecewiseLinear,
}
NAMES = [name for name in GENES if name[0] != "w"]


def random_ops(seed, **knobs):
    """The element-wise operators of a random one-layer model with random genes."""
    rng = np.random.default_rng(seed)
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    terms = [1, 2, 3, None][seed % 4]
    return random_model(rng, genome, 3, 4, 2, terms=terms, **knobs).layers[0].ops


def operands_of(op, rng, count=None):
    """All pairs (or codes) of the operands, or `count` random ones with the corners first."""
    widths = [op.a_bits] + ([op.b_bits] if hasattr(op, "b_bits") else [])
    grids = np.meshgrid(*(np.arange(code_range(w)[0], code_range(w)[1] + 1) for w in widths))
    codes = [axis.ravel() for axis in grids]
    if count is not None and codes[0].size > count:
        corners = [
            k
            for k in range(codes[0].size)
            if all(c[k] in code_range(w) for c, w in zip(codes, widths, strict=True))
        ]
        pick = np.concatenate([corners, rng.integers(0, codes[0].size, count)])
        codes = [axis[pick] for axis in codes]
    return codes


def evaluate_wire(dut, codes):
    """Codes of a combinational component: settled values, no clock."""
    names = "ab" if len(codes) == 2 else "i"
    got = []

    async def bench(ctx):
        for row in zip(*codes, strict=True):
            for name, code in zip(names, row, strict=True):
                ctx.set(getattr(dut, name).payload, int(code))
            got.append(ctx.get(dut.o.payload))

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
    return np.array(got)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", NAMES)
def test_combinational_equals_golden(name, seed):
    rng = np.random.default_rng([seed, 7])
    op = random_ops(seed)[name]
    codes = operands_of(op, rng, 400)
    got = evaluate_wire(COMPONENTS[type(op)](op), codes)
    np.testing.assert_array_equal(got, golden.evaluate(op, *codes), err_msg=f"{op}")


@pytest.mark.parametrize("output", ["wire", "register", "hold"])
@pytest.mark.parametrize("pause", [0, 0.4])
@pytest.mark.parametrize("name", ["s_n", "c_z", "p_rn", "a_r"])
def test_streams_keep_order_under_stalls(name, pause, output):
    rng = np.random.default_rng(11)
    op = random_ops(5)[name]
    codes = operands_of(op, rng, 60)
    named = dict(zip("ab" if len(codes) == 2 else "i", codes, strict=True))
    got = run_operator(COMPONENTS[type(op)](op, output=output), named, pause=pause, seed=3)
    np.testing.assert_array_equal(got, golden.evaluate(op, *codes))


@pytest.mark.parametrize("digit", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(10))
def test_serial_product_equals_golden(seed, digit):
    rng = np.random.default_rng([seed, digit])
    op = random_ops(seed)[["p_rn", "p_zn", "p_zh"][seed % 3]]
    codes = operands_of(op, rng, 60)
    named = dict(zip("ab", codes, strict=True))
    dut = Product(op, digit)
    got = run_operator(dut, named, pause=0.3 * (seed % 2), seed=seed)
    np.testing.assert_array_equal(got, golden.evaluate(op, *codes), err_msg=f"{op}")


@pytest.mark.parametrize("digit", [1, 2, 4])
@pytest.mark.parametrize("seed", range(10))
def test_serial_piecewise_linear_equals_golden(seed, digit):
    rng = np.random.default_rng([seed, digit])
    op = random_ops(seed, activation="pwl")[["a_r", "a_n"][seed % 2]]
    codes = operands_of(op, rng, 60)
    dut = PiecewiseLinear(op, digit)
    got = run_operator(dut, {"i": codes[0]}, pause=0.3 * (seed % 2), seed=seed)
    np.testing.assert_array_equal(got, golden.evaluate(op, *codes), err_msg=f"{op}")


@pytest.mark.parametrize("digit", [1, 2])
def test_serial_product_int8_corners(digit):
    """Signed by signed and unsigned by signed at full width, results in the middle and clipped."""
    for z_a, shift, zero in ((0, 7, 0), (-128, 8, -3), (5, 3, 100), (127, 10, 0), (-128, 0, 0)):
        op = integer.Product(8, 8, 8, z_a, 3, 1, shift, zero)
        codes = operands_of(op, np.random.default_rng(shift), 60)
        got = run_operator(Product(op, digit), dict(zip("ab", codes, strict=True)))
        np.testing.assert_array_equal(got, golden.evaluate(op, *codes), err_msg=f"{op}")


def test_serial_product_latency_is_as_stated():
    op = integer.Product(8, 8, 8, -128, 0, 1, 8, 0)
    dut = Product(op, 1)
    assert dut.cycles == 8
    waited = []

    async def bench(ctx):
        ctx.set(dut.a.valid, 1)
        ctx.set(dut.b.valid, 1)
        ctx.set(dut.o.ready, 1)
        for _ in range(3):
            count = 0
            while not ctx.get(dut.o.valid):
                await ctx.tick()
                count += 1
            waited.append(count)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert waited == [8, 8, 8]


def test_rounding_is_half_up_and_saturates():  # worked by hand
    op = integer.Sum(4, 4, 3, 0, 0, 1, 1, 1, 0)
    codes = ([1, -1, -3, 7, -8, 2], [0, 0, 0, 7, -8, 1])
    assert evaluate_wire(Sum(op), codes).tolist() == [1, 0, -1, 3, -4, 2]
    op = integer.Complement(4, 4, -8, 1, 15, 1, 0)  # (15 - (z + 8) + 1) >> 1
    assert evaluate_wire(Complement(op), ([-8, 7, 0, -7],)).tolist() == [7, 0, 4, 7]


def test_unknown_output_is_refused():
    with pytest.raises(InputError, match=r"output must be .* not 'later'"):
        Sum(integer.Sum(4, 4, 3, 0, 0, 1, 1, 1, 0), output="later")
    with pytest.raises(InputError, match="digit: -1"):
        Product(integer.Product(4, 4, 4, 0, 0, 1, 1, 0), digit=-1)
    with pytest.raises(InputError, match="digit: 33"):
        PiecewiseLinear(random_ops(0, activation="pwl")["a_r"], digit=33)
