"""Emitted Verilog in Icarus: every code of every operator equals golden, and faults are named."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import GENES, Genome
from genogate.model.integer import PiecewiseLinear, Table, acc_bounds, with_op
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit

SEED = 2026


def network(genes, inputs, hidden, classes=3, **knobs):
    """A random model and the same one's input codes [3, 4, inputs]."""
    rng = np.random.default_rng([SEED, len(genes), inputs, hidden])
    model = random_model(rng, Genome.from_genes(genes), inputs, hidden, classes, **knobs)
    return model, rng.integers(-128, 128, (3, 4, inputs))


CASES = {
    "int8, one lane, piecewise linear": (
        ([8] * 17, 5, 8, 3),
        {"activation": "pwl", "terms": 2, "dense_output": "gene"},
        (1, 1),
    ),
    "int2, eight lanes, tables": (
        ([2] * 17, 9, 6, 2),
        {"activation": "table", "terms": 1, "dense_output": "8"},
        (8, 8),
    ),
    "two layers, three lanes, channel shifts": (
        ([4, 6, 3, 5, 8, 2, 7, 4, 6, 5, 4, 3, 8, 6, 5, 7, 4] * 2, 7, 5, 4),
        {"channel": True, "terms": 3},
        (3, 3),
    ),
    "unlike lanes, wide multipliers": (
        ([6, 5, 8, 7, 3, 4, 5, 8, 6, 2, 7, 5, 4, 8, 3, 6, 5], 2, 11, 5),
        {"terms": None, "channel": True},
        (1, 4),
    ),
    "one input, one unit, two classes": (([5] * 17, 1, 1, 2), {"activation": "pwl"}, (1, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_verilog_equals_golden(tmp_path, name):
    shape, knobs, lanes = CASES[name]
    model, codes = network(*shape, **knobs)
    (tmp_path / "network.v").write_text(emit(Design.of(model, Lanes(*lanes))))
    report = simulate(model, tmp_path / "network.v", codes, out_dir=tmp_path / "sim", seed=SEED)
    assert report.mismatches == []
    assert report.passed
    # Back to back 3, stalls 3, one after the resets, lengths 4.
    assert report.sequences == 11
    units, layers = model.layers[0].hidden_size, len(model.layers)
    steps = report.steps * units
    for layer in range(layers):
        for gene in GENES:
            # Sequences cut by a reset add to those that were finished.
            assert report.transfers[f"layer{layer}.{gene}"] >= steps
    assert report.transfers["o_h"] >= steps
    assert report.transfers["o_logits"] >= 11 * model.classes
    assert report.transfers["o_class"] >= 11
    assert report.waveform is None
    assert report.cycles_per_step == Design.of(model, Lanes(*lanes)).cycles_per_step


def test_cycles_per_step_are_the_documented_ones(tmp_path):
    """At 16 units and one lane at least 95 % of the cycles multiply."""
    model, codes = network([4] * 17, 6, 16)
    report = simulate(
        model, emit(Design.of(model)), codes, out_dir=tmp_path, scenarios=["back-to-back"]
    )
    assert report.mismatches == []
    assert report.cycles_per_step == Design.of(model).cycles_per_step
    assert 16 * 16 / report.cycles_per_step >= 0.95


@pytest.fixture(scope="module")
def sound():
    """A model, the Verilog emitted from it, and codes; the faults go into the golden model."""
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(6, 2), 3, 6, 3, channel=True)
    return model, emit(Design.of(model, Lanes(2, 2))), rng.integers(-128, 128, (2, 4, 3))


def rounding(op):
    """Half a unit less before the shift: rounds down."""
    if isinstance(op, PiecewiseLinear):
        return replace(op, intercepts=op.intercepts - (1 << op.fraction_bits >> 1))
    return replace(op, table=np.roll(op.table, 1))


def zero_point(op):
    return replace(op, zero_point=op.zero_point + 1)


def multiplier(op):
    return replace(op, multiplier=op.multiplier + max(1, op.multiplier // 4))


def bias(op):
    changed = op.bias.copy()
    changed[3] += 1 << (op.shift + 3)
    low, high = acc_bounds(op.weight, changed, op.in_bits)
    return replace(op, bias=changed, acc_min=low, acc_max=high)


FAULTS = [
    (0, "w_in", zero_point),
    (1, "w_hr", multiplier),
    (0, "w_hz", bias),
    (1, "s_n", zero_point),
    (0, "c_z", zero_point),
    (1, "p_zh", multiplier),
    (0, "a_r", rounding),
    (1, "a_n", rounding),
]


@pytest.mark.parametrize(("layer", "gene", "fault"), FAULTS)
def test_the_wrong_operator_is_named(tmp_path, sound, layer, gene, fault):
    model, verilog, codes = sound
    other = with_op(model, layer, gene, fault(model.layers[layer].ops[gene]))
    want = golden.run(other, codes, trace=True).trace[layer, gene]
    have = golden.run(model, codes, trace=True).trace[layer, gene]
    # The first code in order of sequence, step and unit in which the two models differ.
    sequence, step, unit = np.argwhere(want != have)[0]
    report = simulate(
        other,
        verilog,
        codes,
        out_dir=tmp_path,
        seed=5,
        scenarios=["back-to-back"],
        waves_on_failure=gene == "w_in",
    )
    where = sequence, step, unit
    assert report.mismatches[0] == (
        f"layer {layer} step {step}: {gene}[{unit}] rtl {have[where]} != golden {want[where]} "
        f"(sequence {sequence}, back-to-back, genome {model.genome.id}, seed 5)"
    )
    assert not report.passed
    assert (report.waveform is not None) == (gene == "w_in")
    assert (tmp_path / "failure.fst").exists() == (gene == "w_in")


def test_swapped_gates_are_named(tmp_path, sound):
    model, verilog, codes = sound
    ops = model.layers[0].ops
    other = with_op(with_op(model, 0, "a_r", ops["a_z"]), 0, "a_z", ops["a_r"])
    report = simulate(other, verilog, codes, out_dir=tmp_path, waves_on_failure=False)
    assert " a_r[" in report.mismatches[0] or " a_z[" in report.mismatches[0]


def test_a_table_entry_matters(tmp_path):
    """One wrong entry of one table is found by the first sequence that uses it."""
    model, codes = network([5] * 17, 3, 6, activation="table")
    verilog = emit(Design.of(model, Lanes(1, 2)))
    used = golden.run(model, codes, trace=True).trace[0, "s_z"]
    table = model.layers[0].ops["a_z"]
    assert isinstance(table, Table)
    entries = table.table.copy()
    entries[used[0, 1, 2] + 16] ^= 1
    other = with_op(model, 0, "a_z", replace(table, table=entries))
    report = simulate(other, verilog, codes, out_dir=tmp_path, waves_on_failure=False)
    assert " a_z[" in report.mismatches[0]
