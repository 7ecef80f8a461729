# amaranth: UnusedElaboratable=no
"""RangeReduction and PositiveUnit against golden: all inputs, and with stalls."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.composites.range_reduction import PositiveUnit, RangeReduction
from genogate.model.tables.reduction import mantissa_pieces, positive_unit, reduction
from genogate.sim import golden_composites as golden
from genogate.sim.rtl.streams import run_operator, run_streams

NAMES = ("reciprocal", "rsqrt")


def settled(dut, values, read):
    """What `read` sees for each value at the input of a combinational component."""
    got = []

    async def bench(ctx):
        for value in values:
            ctx.set(dut.i.payload, int(value))
            got.append(read(ctx))

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
    return np.array(got)


def assert_reduced(op, x):
    dut = RangeReduction(op)
    got = settled(
        dut, x, lambda ctx: (ctx.get(dut.o.payload.mantissa), ctx.get(dut.o.payload.exponent))
    )
    np.testing.assert_array_equal(got, np.stack(golden.reduce(op, x), 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bits", "least", "fraction"),
    [(1, 0, 4), (2, 0, 3), (3, 2, 2), (7, 0, 6), (8, 6, 5), (9, 0, 9), (10, 4, 4), (11, 0, 5)],
)
def test_every_input_up_to_11_bits(name, bits, least, fraction):
    """The 16 bits are driven through the Verilog in ``tests/sim/rtl``."""
    assert_reduced(reduction(name, bits, 4, fraction, 6, least), np.arange(1 << bits))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("bits", "least"), [(32, 0), (40, 0), (31, 16)])
def test_wide_inputs(name, bits, least):
    rng = np.random.default_rng([bits, least])
    powers = 1 << np.arange(bits)
    # Around every power of two, and of every magnitude.
    x = np.concatenate(
        [
            [0],
            powers,
            powers - 1,
            np.minimum(powers + 1, (1 << bits) - 1),
            rng.integers(0, 1 << bits, 300) >> rng.integers(0, bits, 300),
        ]
    )
    assert_reduced(reduction(name, bits, 8, 9, 11, least), x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0, 3, 6])
@pytest.mark.parametrize(("in_bits", "out_bits"), [(8, 8), (9, 16), (5, 4), (8, 3)])
def test_every_code_of_the_unit(name, scale, in_bits, out_bits):
    for more in (0, 3, 30):
        op = positive_unit(name, in_bits, scale, out_bits, zero_point=-more)
        # Finer outputs saturate; far finer ones shift left.
        op = positive_unit(
            name,
            in_bits,
            scale,
            out_bits,
            zero_point=-more,
            out_scale=more + 2,
            pieces=op.reduction.pieces,
        )
        q = np.arange(-1 << (in_bits - 1), 1 << (in_bits - 1))
        dut = PositiveUnit(op)
        got = settled(dut, q, lambda ctx, dut=dut: ctx.get(dut.o.payload))
        np.testing.assert_array_equal(got, golden.positive(op, q))


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_stalls(registered, pause):
    op = reduction("rsqrt", 20, 8)
    x = np.random.default_rng(3).integers(0, 1 << 20, 300) >> np.arange(300) % 20
    out = run_streams(RangeReduction(op, registered), {"i": x}, {"o": len(x)}, pause=pause)["o"]
    got = np.array([(o.mantissa, o.exponent) for o in out])
    np.testing.assert_array_equal(got, np.stack(golden.reduce(op, x), 1))
    unit = positive_unit("reciprocal", pieces=mantissa_pieces("reciprocal", 4, 6))
    q = np.random.default_rng(4).integers(-128, 128, 300)
    dut = PositiveUnit(unit, "register" if registered else "wire")
    got = run_operator(dut, {"i": q}, pause=pause)
    np.testing.assert_array_equal(got, golden.positive(unit, q))
