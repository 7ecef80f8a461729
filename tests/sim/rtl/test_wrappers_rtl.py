# amaranth: UnusedElaboratable=no
"""The emitted wrappers around the emitted network, under cocotb: AXI4-Stream by cocotbext-axi."""

import itertools
import os
import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout
from cocotb_tools.runner import get_runner
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource
from genogate.hdl.gru.design import Design
from genogate.hdl.gru.loading import image
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.synth.integration.wrapper import wrapper_verilog
from genogate.synth.verilog import emit

INPUTS = 3
#: What the simulation is of: seed, sharing and chance of a stall.
CASE = "GENOGATE_TEST_CASE"


def subject(seed, share, weights="rom"):
    """A design, and packets: whole sequences, and two of a wrong length."""
    rng = np.random.default_rng(seed)
    genome = Genome((tuple(int(v) for v in rng.integers(2, 9, 17)),))
    model = random_model(rng, genome, INPUTS, 4, 5)
    packets = [rng.integers(-128, 128, n) for n in (6, 3, 5, 9, 3, 1, 3)]
    lanes = Lanes(2, 1) if share == "none" else None
    return Design.of(model, lanes, share, weights=weights), packets


def answer(model, packet):
    """Logits and class, or None for a packet of a wrong length."""
    if len(packet) % INPUTS:
        return None
    result = golden.run(model, packet.reshape(1, -1, INPUTS))
    return result.logits[0].tolist(), int(result.classes[0])


def case():
    """Design, packets, chance of a stall, and seed."""
    seed, share, weights, stall = os.environ[CASE].split()
    return *subject(int(seed), share, weights), float(stall), int(seed)


def stalls(chance, seed):
    rng = random.Random(seed)
    return (rng.random() < chance for _ in itertools.count())


@cocotb.test(skip="GENOGATE_TEST_CASE" not in os.environ, timeout_time=20, timeout_unit="ms")
async def axi_answers_equal_golden(dut):
    if not hasattr(dut, "aclk"):
        return
    design, packets, stall, seed = case()
    Clock(dut.aclk, 10, unit="ns").start()
    dut.aresetn.value = 0
    bus = [AxiStreamBus.from_prefix(dut, name) for name in ("s_axis", "m_axis")]
    source = AxiStreamSource(bus[0], dut.aclk, dut.aresetn, reset_active_level=False, byte_lanes=1)
    # The words of an answer are numbers of 32 bits.
    sink = AxiStreamSink(bus[1], dut.aclk, dut.aresetn, reset_active_level=False, byte_lanes=1)
    await ClockCycles(dut.aclk, 3)
    dut.aresetn.value = 1
    if stall:
        source.set_pause_generator(stalls(stall, seed))
        sink.set_pause_generator(stalls(stall, seed + 1))
    if design.weights == "load":
        dut.s_axis_weights_tvalid.value = 0
        loading = ("s_axis_weights_tdata", "s_axis_weights_tvalid", "s_axis_weights_tready")
        cocotb.start_soon(load(dut, dut.aclk, loading, design, seed))
    for packet in packets:
        await source.send(AxiStreamFrame([int(v) & 255 for v in packet]))
    for number, packet in enumerate(packets):
        frame = await sink.recv()
        words = [int(v) - ((int(v) >> 31) << 32) for v in frame.tdata]
        expected = answer(design.model, packet)
        flat = [1] if expected is None else [*expected[0], expected[1]]
        assert words == flat, f"packet {number}: {words} != {flat} (seed {seed})"
        users = frame.tuser if isinstance(frame.tuser, list) else [frame.tuser] * len(words)
        assert [int(user) for user in users] == [int(expected is None)] * len(words)
    await ClockCycles(dut.aclk, 200)
    assert sink.empty()


async def load(dut, clock, names, design, seed):
    """Load the weights after a while in which packets have to wait, and again among packets."""
    payload, valid, ready = (getattr(dut, name) for name in names)
    rng = random.Random(seed + 2)
    await ClockCycles(clock, 50)
    assert dut.loaded.value == 0
    for again in range(2):
        for word in image(design).words:
            while rng.random() < 0.3:
                await FallingEdge(clock)
            payload.value, valid.value = word, 1
            taken = 0
            while not taken:
                await RisingEdge(clock)
                taken = int(ready.value)
                await FallingEdge(clock)
            valid.value = 0
        if not again:
            await ClockCycles(clock, 200)
            assert dut.loaded.value == 1


async def send_bytes(dut, packets, stall, rng):
    for packet in packets:
        for place, code in enumerate(packet):
            while rng.random() < stall:
                await FallingEdge(dut.clk)
            dut.i__payload.value = (int(code) & 255) | (place == len(packet) - 1) << 8
            dut.i__valid.value = 1
            taken = 0
            while not taken:
                await RisingEdge(dut.clk)
                taken = int(dut.i__ready.value)
                await FallingEdge(dut.clk)
            dut.i__valid.value = 0


async def receive_bytes(dut, stall, rng):
    got = []
    while not got or not got[-1] >> 8:
        dut.o__ready.value = ready = rng.random() >= stall
        await RisingEdge(dut.clk)
        if ready and int(dut.o__valid.value):
            got.append(int(dut.o__payload.value))
        await FallingEdge(dut.clk)
    dut.o__ready.value = 0
    return [byte & 255 for byte in got]


@cocotb.test(skip="GENOGATE_TEST_CASE" not in os.environ, timeout_time=20, timeout_unit="ms")
async def byte_answers_equal_golden(dut):
    if hasattr(dut, "aclk"):
        return
    design, packets, stall, seed = case()
    dut.rst.value, dut.i__valid.value, dut.o__ready.value = 1, 0, 0
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    if design.weights == "load":
        dut.i_weights__valid.value = 0
        loading = ("i_weights__payload", "i_weights__valid", "i_weights__ready")
        cocotb.start_soon(load(dut, dut.clk, loading, design, seed))
    rng = random.Random(seed)
    sender = cocotb.start_soon(send_bytes(dut, packets, stall, random.Random(seed + 1)))
    for number, packet in enumerate(packets):
        got = await receive_bytes(dut, stall, rng)
        expected = answer(design.model, packet)
        flat = [1] if expected is None else [0, expected[1]]
        assert got == flat, f"packet {number}: {got} != {flat} (seed {seed})"
    await with_timeout(sender, 1, "us")


@pytest.mark.parametrize(
    ("wrapper", "share", "weights", "stall"),
    [
        ("axi", "none", "rom", 0),
        ("axi", "none", "rom", 0.4),
        ("axi", "none", "load", 0.4),
        ("bytes", "none", "rom", 0.4),
        ("bytes", "all", "rom", 0.3),
        ("bytes", "gates", "load", 0.3),
        ("bytes", "none", "load", 0),
        ("bytes", "all", "load", 0.2),
    ],
)
def test_a_wrapper_answers_as_golden_does(tmp_path, wrapper, share, weights, stall):
    design, _ = subject(2026, share, weights)
    (tmp_path / "gru.v").write_text(emit(design))
    (tmp_path / "wrapper.v").write_text(wrapper_verilog(design, wrapper))
    runner = get_runner("icarus")
    top = f"gru_{wrapper}"
    runner.build(
        sources=[tmp_path / "wrapper.v", tmp_path / "gru.v"],
        hdl_toplevel=top,
        build_dir=tmp_path,
        timescale=("1ns", "1ps"),
    )
    runner.test(
        hdl_toplevel=top,
        test_module=__name__,
        build_dir=tmp_path,
        seed=1,
        extra_env={CASE: f"2026 {share} {weights} {stall}"},
    )


def test_an_unknown_wrapper_is_refused():
    design, _ = subject(1, "none")
    with pytest.raises(InputError, match=r"^wrapper 'wishbone': not one of axi bytes$"):
        wrapper_verilog(design, "wishbone")
