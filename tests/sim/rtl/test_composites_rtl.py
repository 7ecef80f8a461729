"""Emitted Verilog of range reduction, softmax and normalisation in Icarus: equal to golden."""

import dataclasses

import numpy as np
import pytest
from genogate.model.tables.composites import layernorm_params, softmax_params
from genogate.model.tables.reduction import positive_unit, reduction
from genogate.sim.rtl.composites import Segment, campaign, segments_of, simulate, stated_cycles
from genogate.synth.composite_verilog import emit_composite

SEED = 2026


def affine(n):
    rng = np.random.default_rng(n)
    return {"gamma": rng.normal(1, 0.3, n), "beta": rng.normal(0, 0.5, n)}


@pytest.mark.parametrize("name", ["reciprocal", "rsqrt"])
def test_range_reduction_of_every_16_bit_integer(name):
    outcome = simulate(reduction(name, 16, 8, 9, 11), [Segment([np.arange(1 << 16)])])
    assert outcome.mismatches == []
    assert outcome.elements == 1 << 16
    # A result a cycle.
    assert outcome.cycles <= (1 << 16) + 10


@pytest.mark.parametrize("name", ["reciprocal", "rsqrt"])
def test_unit_on_every_8_bit_code_and_many_of_32_bits(name):
    every = np.arange(-128, 128)
    outcome = simulate(positive_unit(name, 8, 5), [Segment([every], (0.3, 0.3))])
    assert outcome.mismatches == []
    rng = np.random.default_rng(SEED)
    wide = rng.integers(-1 << 31, 1 << 31, 5000) >> rng.integers(0, 32, 5000)
    outcome = simulate(positive_unit(name, 32, 16, 16), [Segment([wide], (0.1, 0.1))])
    assert outcome.mismatches == []
    assert outcome.elements == 5000


OPS = {
    "softmax of 1 to 64": (softmax_params(4, 8, 64), 4000),
    "softmax of 4-bit codes": (softmax_params(1, 4, 5, in_bits=4, out_bits=6), 400),
    "layer normalisation of 64": (layernorm_params(64, **affine(64)), 2000),
    "layer normalisation of 3": (layernorm_params(3, 2), 300),
    "root mean square of 20": (layernorm_params(20, rms=True, in_zero_point=-9), 400),
}


@pytest.mark.parametrize("name", OPS)
def test_every_length_with_stalls_and_resets(name):
    op, elements = OPS[name]
    rng = np.random.default_rng(SEED)
    segments = segments_of(op, elements, rng)
    assert sum(segment.reset is not None for segment in segments) == 2
    outcome = simulate(op, segments, seed=SEED)
    assert outcome.mismatches == []
    assert outcome.elements >= 0.9 * elements
    assert len(outcome.periods) >= 5
    for before, n, cycles in outcome.periods:
        assert cycles == stated_cycles(op, before, n), f"{n} elements after {before}"


FAULTS = {
    "zero_point": lambda op: dataclasses.replace(op, zero_point=op.zero_point + 1),
    "multiplier": lambda op: dataclasses.replace(op, multiplier=op.multiplier + 8),
    "a table": lambda op: dataclasses.replace(
        op,
        exp=dataclasses.replace(
            op.exp, intercepts=op.exp.intercepts - (np.arange(8) == 5) * (16 << op.exp.shift)
        ),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    op = softmax_params(4, 8, 8)
    rng = np.random.default_rng(SEED)
    segments = [Segment([rng.integers(-20, 20, 8) for _ in range(60)])]
    outcome = simulate(FAULTS[name](op), segments, verilog=emit_composite(op), seed=7)
    assert outcome.mismatches[0].startswith("segment 0: o[")
    assert "!= golden" in outcome.mismatches[0]
    assert "(seed 7)" in outcome.mismatches[0]


def test_a_unit_that_stops_is_named():
    op = softmax_params(4, 8, 4)
    stopped = emit_composite(op).replace("assign i__ready =", "assign i__ready = 1'b0 &", 1)
    outcome = simulate(op, [Segment([np.arange(4)])], verilog=stopped)
    assert any("stuck" in text for text in outcome.mismatches)
    assert outcome.elements == 0


def test_the_header_says_what_the_ports_are():
    text = emit_composite(layernorm_params(64, **affine(64)))
    assert text.startswith("// Layer normalisation of 64 codes, gamma and beta; 71 cycles.")
    assert "//   i  [7:0] signed code, [8] last (not looked at)" in text
    assert "module normalise(" in text


def test_campaign_is_repeatable_and_clean():
    first, second = (campaign(1, 300, seed=5) for _ in range(2))
    assert first == second
    for kind in ("softmax", "normalise"):
        assert first[kind]["mismatches"] == []
        assert first[kind]["elements"] >= 200
        assert first[kind]["periods"] == first[kind]["periods_as_stated"] > 0
