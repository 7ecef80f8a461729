"""The emitted Verilog in Icarus: a `last` that comes too early ends its sequence alone.

Bench and runner in one file: pytest starts it, and the simulator loads it as its test.
"""

import os

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.synth.verilog import emit

cocotb = pytest.importorskip("cocotb")

INPUTS, UNITS, CLASSES, STEPS = 3, 2, 3, 2


def network(share):
    """A random network and five sequences of two steps for it."""
    rng = np.random.default_rng(2026)
    genome = Genome.uniform(2 if share == "all" else 5)
    model = random_model(rng, genome, INPUTS, UNITS, CLASSES)
    return model, rng.integers(-128, 128, (5, STEPS, INPUTS))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def sequences_after_a_broken_one_are_right(dut):
    from cocotb.clock import Clock
    from cocotb.triggers import FallingEdge

    model, codes = network(os.environ["SHARE"])
    expected, bits = golden.run(model, codes), model.layers[0].in_bits
    words = []
    for number, flat in enumerate(codes.reshape(5, -1)):
        transfers = (flat & (1 << bits) - 1).tolist()
        transfers[-1] |= 1 << bits
        if number % 2:  # one feature lost, of the first step and of the second
            del transfers[number]
        words += transfers
    dut.rst.value, dut.i__valid.value = 1, 0
    for port in ("o_h", "o_logits", "o_class"):
        getattr(dut, f"{port}__ready").value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    dut.rst.value, dut.i__valid.value = 0, 1
    logits, classes = [], []
    while len(classes) < 5:
        dut.i__payload.value = words[0] if words else 0
        dut.i__valid.value = int(bool(words))
        # What is steady now is taken at the next rising edge; no ready depends on a valid of `i`.
        if dut.o_class__valid.value == 1:
            classes.append(int(dut.o_class__payload.value))
        if dut.o_logits__valid.value == 1:
            payload = dut.o_logits__payload.value.to_unsigned()
            width = model.classifier.acc_width
            logit = payload & (1 << width) - 1
            logits.append(logit - (logit >> width - 1 << width))
        if words and dut.i__ready.value == 1:
            words.pop(0)
        await FallingEdge(dut.clk)
    for number in (0, 2, 4):
        of_sequence = logits[number * CLASSES : (number + 1) * CLASSES]
        assert of_sequence == expected.logits[number].tolist(), f"sequence {number}"
        assert classes[number] == expected.classes[number], f"sequence {number}"


@pytest.mark.parametrize("share", ["none", "all"])
def test_verilog(tmp_path, share):
    from cocotb_tools.runner import get_runner

    model, _ = network(share)
    source = tmp_path / "gru.v"
    source.write_text(emit(Design.of(model, share=share)))
    runner = get_runner("icarus")
    runner.build(sources=[source], hdl_toplevel="gru", build_dir=tmp_path, timescale=("1ns", "1ps"))
    runner.test(
        hdl_toplevel="gru", test_module=__name__, build_dir=tmp_path, extra_env={"SHARE": share}
    )
