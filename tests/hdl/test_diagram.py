"""Decision diagrams: every code of a function, in as few multiplexers as its equal parts allow."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator
from genogate.hdl.diagram import Diagram, diagram_identity


def outputs(codes, bits):
    """Output codes of all input codes, least first."""
    count = len(codes)
    m, code, out = Module(), Signal(signed((count - 1).bit_length())), Signal(signed(bits))
    m.d.comb += out.eq(Diagram(codes, bits).build(m, code))
    got = []

    async def bench(ctx):
        for value in range(-count // 2, count // 2):
            ctx.set(code, value)
            got.append(ctx.get(out))

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    return got


@pytest.mark.parametrize("seed", range(4))
def test_every_code_of_a_random_function(seed):
    rng = np.random.default_rng([seed, 41])
    bits, inputs = int(rng.integers(1, 6)), int(rng.integers(1, 7))
    codes = rng.integers(-(1 << bits - 1), 1 << bits - 1, 1 << inputs).tolist()
    assert outputs(codes, bits) == codes


def test_equal_parts_are_shared():  # worked by hand
    # Of three input bits the low one alone: a multiplexer a level in the place of seven.
    assert Diagram([0, -1] * 4, 1).size == 3
    # The exclusive or of two bits: the low one and its complement below the high one.
    assert Diagram([0, -1, -1, 0], 1).size == 3
    # Both output bits are the same function.
    assert Diagram([0, -1, -1, 0], 2).size == 3


def test_a_constant_needs_no_multiplexer():
    assert Diagram([5] * 16, 4).size == 0
    assert outputs([-3] * 8, 4) == [-3] * 8


def test_functions_that_differ_in_one_code_have_different_identities():
    a, b = [0, 1, 2, 3], [0, 1, 2, 2]
    assert diagram_identity(a, 3, "wire") == diagram_identity(list(a), 3, "wire")
    assert diagram_identity(a, 3, "wire") != diagram_identity(b, 3, "wire")
    assert diagram_identity(a, 3, "wire") != diagram_identity(a, 3, "register")
