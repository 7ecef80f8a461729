# amaranth: UnusedElaboratable=no
"""What table units share: steps with registers in between, a load chain, selection."""

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Const, Module, Signal
from amaranth.sim import Simulator
from combinational import outputs
from genogate.hdl.units.stages import Field, Loaded, Staged, at_least, choose_one, offset, one_hot
from genogate.model.errors import InputError
from genogate.sim.rtl.streams import run_streams

SEED = 2026


@pytest.mark.parametrize("equal", [0, 1])
def test_at_least_compares_every_pair(equal):
    m, a, b, o = Module(), Signal(3), Signal(3), Signal()
    m.d.comb += o.eq(at_least(m, "carry", a, b, equal))
    rows = [(p, q) for p in range(8) for q in range(8)]
    assert outputs(m, [a, b], rows, o) == [int(p >= q if equal else p > q) for p, q in rows]


def test_offset_codes_are_in_the_order_of_the_signed_ones():
    m, code, o = Module(), Signal(4), Signal(4)
    m.d.comb += o.eq(offset(code))
    got = outputs(m, [code], [(value & 15,) for value in range(-8, 8)], o)
    assert got == list(range(16))


def test_a_thermometer_selects_one_segment_and_its_value():
    m, reached, hot, o = Module(), Signal(3), Signal(4), Signal(6)
    selects = one_hot(m, list(reached))
    m.d.comb += [hot.eq(sum(s << k for k, s in enumerate(selects)))]
    m.d.comb += o.eq(choose_one(selects, [Const(value, 6) for value in (11, 22, 33, 44)]))
    rows = [(0b000,), (0b001,), (0b011,), (0b111,)]
    assert outputs(m, [reached], rows, hot) == [1, 2, 4, 8]
    assert outputs(m, [reached], rows, o) == [11, 22, 33, 44]


class Chain(Staged):
    """((i + 1) * 2) ^ 5, a step each."""

    def __init__(self, stages):
        super().__init__(6, 8, stages, order=(1, 0, 2))

    def steps(self):
        return (
            lambda m, values: {"a": values["i"] + 1},
            lambda m, values: {"b": values["a"] * 2},
            lambda m, values: {"o": values["b"] ^ 5},
        )

    def elaborate(self, platform):
        m = Module()
        self.chain(m)
        return m


@pytest.mark.parametrize("pause", [0, 0.4])
@pytest.mark.parametrize("stages", range(4))
def test_steps_keep_order_under_stalls_with_any_number_of_registers(stages, pause):
    codes = np.random.default_rng([SEED, stages]).integers(0, 64, 40).tolist()
    got = run_streams(Chain(stages), {"i": codes}, {"o": len(codes)}, pause=pause, seed=SEED)
    assert got["o"] == [(code + 1) * 2 ^ 5 for code in codes]


@pytest.mark.parametrize("stages", range(4))
def test_the_latency_is_the_number_of_registers(stages):
    dut = Chain(stages)
    waited = []

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.payload, 9)
        ctx.set(dut.i.valid, 1)
        for cycle in range(6):
            if ctx.get(dut.o.valid):
                waited.append((cycle, ctx.get(dut.o.payload)))
                return
            await ctx.tick()
            ctx.set(dut.i.valid, 0)

    top = Module()
    top.submodules.dut = dut
    top.domains += ClockDomain("sync")
    sim = Simulator(top)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert waited == [(stages, 20 ^ 5)]


def test_more_registers_than_steps_are_refused():
    with pytest.raises(InputError, match=r"^stages: 4 is not within 0 to 3"):
        Chain(4)


class Affine(Loaded):
    """``i * factor + addend`` with both loaded."""

    def __init__(self, stages):
        fields = [Field("addend", 5), Field("factor", 3)]
        super().__init__(fields, 4, 8, stages, order=(1, 0))

    def steps(self):
        return (
            lambda m, values: {"product": values["i"] * self.held["factor"]},
            lambda m, values: {"o": values["product"] + self.held["addend"]},
        )


def test_fields_load_widest_last_and_narrow_values_are_cut():
    dut = Affine(0)
    assert [field.name for field in dut.fields] == ["addend", "factor"]
    assert dut.pack({"addend": 33, "factor": 9}) == [1, 1]
    assert dut.word_bits == 5


@pytest.mark.parametrize("pause", [0, 0.3])
@pytest.mark.parametrize("stages", range(3))
def test_operands_see_one_whole_set_of_constants(stages, pause):
    """A load and operands at once: every result is by old constants, then every one by new ones."""
    rng = np.random.default_rng([SEED, stages])
    old, new = {"addend": 3, "factor": 2}, {"addend": 20, "factor": 7}
    dut, codes = Affine(stages), rng.integers(0, 16, 30).tolist()
    words = [(w, k == 1) for s in (old, new) for k, w in enumerate(dut.pack(s))]
    loads = [{"data": word, "last": int(last)} for word, last in words]

    got = run_streams(
        dut, {"load": loads, "i": codes}, {"o": len(codes)}, pause=pause, seed=SEED + stages
    )["o"]
    by = [[code * s["factor"] + s["addend"] for code in codes] for s in (old, new)]
    # What came before the first load is by whatever the registers held.
    start = next(
        k
        for k in range(len(codes) + 1)
        if all(got[n] in (by[0][n], by[1][n]) for n in range(k, len(codes)))
    )
    assert start <= 2
    kinds = [got[n] == by[1][n] and got[n] != by[0][n] for n in range(start, len(codes))]
    assert kinds[-1]
    assert sorted(kinds) == kinds
