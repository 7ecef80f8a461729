"""A vector in a memory: read as often as its owner asks, while the next one comes in."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from genogate.hdl.vector_store import VectorStore

SEED = 2026


class Reader(Component):
    """Reads every vector so many times, and shows each element for one cycle."""

    def __init__(self, depth, fixed, times):
        self.depth, self.fixed, self.times = depth, fixed, times
        layout = data.StructLayout({"code": 8, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "pause": In(1),
                "word": Out(8),
                "valid": Out(1),
                "last": Out(1),
                "full": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        store = VectorStore(m, self.i, bits=8, depth=self.depth, fixed=self.fixed)
        reads, busy = Signal(range(self.times + 1)), Signal()
        begin = store.full & ~busy
        ended = store.valid & store.last & store.enable
        again = ended & (reads != self.times - 1)
        m.d.comb += [
            store.enable.eq(~self.pause),
            store.accept.eq(begin & store.enable),
            store.start.eq((begin | again) & store.enable),
            store.release.eq(again & (reads == self.times - 2) if self.times > 1 else store.start),
            self.word.eq(store.word),
            self.valid.eq(store.valid & store.enable),
            self.last.eq(store.last),
            self.full.eq(store.full),
        ]
        with m.If(begin & store.enable):
            m.d.sync += [busy.eq(1), reads.eq(0)]
        with m.Elif(again):
            m.d.sync += reads.eq(reads + 1)
        with m.Elif(ended):
            m.d.sync += busy.eq(0)
        return m


def readings(vectors, depth, fixed, times, pause):
    """Elements and last flags in the order in which they are read."""
    dut = Reader(depth, fixed, times)
    rng = np.random.default_rng(SEED)
    got, total = [], times * sum(map(len, vectors))

    async def source(ctx):
        for vector in vectors:
            for number, code in enumerate(vector):
                while rng.random() < pause:
                    await ctx.tick()
                ctx.set(dut.i.payload, {"code": code, "last": number == len(vector) - 1})
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        for _ in range(40 * total + 200):
            ctx.set(dut.pause, rng.random() < pause)
            _, _, valid, word, last = await ctx.tick().sample(dut.valid, dut.word, dut.last)
            if valid:
                got.append((word, last))
            if len(got) == total:
                return
        raise TimeoutError(f"{len(got)} of {total} elements were read")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source, background=True)
    sim.add_testbench(sink)
    sim.run()
    return got


@pytest.mark.parametrize("pause", [0, 0.4])
@pytest.mark.parametrize(("times", "fixed"), [(1, False), (3, False), (2, True)])
def test_every_vector_is_read_whole_as_often_as_asked(times, fixed, pause):
    rng = np.random.default_rng([SEED, times])
    lengths = [5] * 4 if fixed else [1, 5, 2, 4, 5]
    vectors = [rng.integers(0, 256, n).tolist() for n in lengths]
    expected = [
        (code, int(number == len(vector) - 1))
        for vector in vectors
        for _ in range(times)
        for number, code in enumerate(vector)
    ]
    assert readings(vectors, 5, fixed, times, pause) == expected


def test_a_vector_without_last_ends_at_the_greatest_length():
    dut = Reader(3, False, 1)
    fulls = []

    async def bench(ctx):
        ctx.set(dut.pause, 1)
        for code in (1, 2, 3):
            fulls.append(ctx.get(dut.full))
            ctx.set(dut.i.payload, {"code": code, "last": 0})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        fulls.append(ctx.get(dut.full))
        # Nothing more is taken before it is read.
        assert not ctx.get(dut.i.ready)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert fulls == [0, 0, 0, 1]
