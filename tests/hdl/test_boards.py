# amaranth: UnusedElaboratable=no
"""Frames of bytes, as fast as the rate of a board's serial port lets them come."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.boards.framed import FramedNetwork
from genogate.hdl.boards.protocol import SYNC, SYNC_WEIGHTS, Status
from genogate.hdl.gru.design import Design, Lanes
from genogate.hdl.gru.loading import image
from genogate.host import frame
from genogate.model.genome import Genome
from genogate.model.integer import acc_bounds
from genogate.sim import golden
from genogate.sim.random_model import random_model

SEED = 2099


def answers(design, frames, pause):
    """Payloads of the answers to `frames`, of which a byte comes every `pause` cycles, and of those
    with weights every 8."""
    dut = FramedNetwork(design, timeout=20 * pause, pace=pause)
    payloads = []

    async def receive(ctx, count):
        got = []
        while len(got) < count:
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                got.append(byte)
        return bytes(got)

    async def host(ctx):
        ctx.set(dut.o.ready, 1)
        for data in frames:
            gap = 8 if data[0] == SYNC_WEIGHTS else pause
            for byte in data[:-1]:
                ctx.set(dut.data, byte)
                ctx.set(dut.valid, 1)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                await ctx.tick().repeat(gap - 1)
            ctx.set(dut.data, data[-1])
            ctx.set(dut.valid, 1)
            await ctx.tick()
            ctx.set(dut.valid, 0)
            head = await receive(ctx, 3)
            assert head[0] == SYNC
            payloads.append(await receive(ctx, head[1]))
            await receive(ctx, 2)
            await ctx.tick().repeat(2)

    async def watchdog(ctx):
        await ctx.delay(0.2)  # Of a clock of 1 MHz.
        raise TimeoutError(f"{len(payloads)} of {len(frames)} frames were answered")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(host)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    return payloads


def fastest(design):
    """Cycles of a byte at the fastest rate that a board chooses: a step's features take a little
    longer than the step."""
    return int(1.05 * design.cycles_per_step / design.model.input_size) + 1


def labels(payloads):
    assert {payload[0] for payload in payloads} == {Status.LABEL}, payloads
    return [int.from_bytes(payload[1:3], "little") for payload in payloads]


@pytest.mark.parametrize(
    ("share", "features", "units", "lanes", "seed"),
    [
        # Two vectors of features in the buffer, and one where that would do for a stream.
        ("none", 8, 16, 1, 2062),
        ("none", 3, 18, 1, 2065),
        ("gates", 3, 4, 1, 2044),
        ("all", 3, 2, 2, 2060),
        ("all", 1, 2, 2, 2047),
    ],
)
def test_a_network_keeps_up_with_the_fastest_rate(share, features, units, lanes, seed):
    model = random_model(np.random.default_rng(seed), Genome.uniform(3), features, units, 4)
    design = Design.of(model, Lanes(lanes, lanes), share)
    codes = np.random.default_rng(seed).integers(-128, 128, (2, 3, features)).astype(np.int8)
    pause = fastest(design)
    # Or the step would be over before a second byte could be in the way.
    assert features == 1 or design.cycles_per_step > 2 * pause
    payloads = answers(design, [frame(one.tobytes()) for one in codes], pause)
    expected = golden.run(model, codes).classes.tolist()
    assert len(set(expected)) == 2
    assert labels(payloads) == expected


def opposite(op):
    """A dense operator with all bits of its weights inverted."""
    weight = -1 - op.weight
    low, high = acc_bounds(weight, op.bias, op.in_bits)
    return replace(op, weight=weight, acc_min=low, acc_max=high)


@pytest.mark.parametrize("share", ["gates", "all"])
def test_a_network_that_shares_takes_its_weights_and_others_after_them(share):
    model = random_model(np.random.default_rng(SEED), Genome.uniform(4), 3, 2, 4)
    first = Design.of(model, Lanes(2, 2), share, weights="load")
    ops = dict(model.layers[0].ops)
    ops |= {name: opposite(ops[name]) for name in ("w_ir", "w_in", "w_hn")}
    other = replace(first, model=replace(model, layers=(replace(model.layers[0], ops=ops),)))
    codes = np.random.default_rng(SEED).integers(-128, 128, (4, 2, 3)).astype(np.int8)[[1, 3]]
    sequences = [frame(one.tobytes()) for one in codes]
    frames = sequences[:1]
    for design in (first, other):
        loaded = image(design)
        assert loaded.hardware == image(first).hardware
        number = -(-loaded.width // 8)
        words = b"".join(word.to_bytes(number, "little") for word in loaded.words)
        frames += [frame(b"", SYNC_WEIGHTS), frame(words, SYNC_WEIGHTS), *sequences]
    expected = [golden.run(design.model, codes).classes.tolist() for design in (first, other)]
    assert expected[0] != expected[1]
    unloaded, *rest = answers(first, frames, fastest(first))
    assert unloaded == bytes([Status.UNLOADED])
    for k, classes in enumerate(expected):
        of_weights, of_codes = rest[4 * k : 4 * k + 2], rest[4 * k + 2 : 4 * k + 4]
        assert of_weights == [bytes([Status.LOADED])] * 2
        assert labels(of_codes) == classes
