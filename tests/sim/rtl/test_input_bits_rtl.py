"""Networks with input codes of few bits: the emitted Verilog equals golden, code by code."""

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.data.tasks import load_task
from genogate.model.genome import Genome
from genogate.model.integer import code_range
from genogate.model.knobs import Knobs, Lanes
from genogate.model.quantize.quantize import quantize
from genogate.model.zoo import load
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.cases import make_case
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit

SEED = 31


@pytest.mark.parametrize(("bits", "lanes"), [(1, (3, 2)), (2, (1, 1))])
def test_random_networks(tmp_path, bits, lanes):
    rng = np.random.default_rng([SEED, bits])
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    model = random_model(rng, genome, 5, 4, 3, channel=True, terms=2, input_bits=bits)
    codes = rng.integers(*code_range(bits), (3, 4, 5), endpoint=True)
    text = emit(Design.of(model, Lanes(*lanes)))
    assert f"i (in)       [{bits - 1}:0] feature code, [{bits}] last" in text
    report = simulate(model, text, codes, out_dir=tmp_path, seed=SEED)
    assert report.passed, report.mismatches[:3]


def test_a_calibrated_network_on_real_sequences(tmp_path):
    bits, checkpoint, task = 2, load("digits-row"), load_task("digits-row", 0)
    knobs = Knobs(activation="table", input_bits=bits)
    model = quantize(checkpoint, Genome.uniform(3), knobs, task.x_calibration)
    codes = model.quantize_input(task.x_test[:2])
    assert len(np.unique(codes)) == 1 << bits
    report = simulate(
        model, emit(Design.of(model)), codes, out_dir=tmp_path, seed=SEED, scenarios=("stalls",)
    )
    assert report.passed, report.mismatches[:3]


def test_campaigns_draw_the_width():
    widths = [make_case(SEED, index).input_bits for index in range(300)]
    assert set(widths) == set(range(1, 9))
    for index in (40, 60, 90, 100):
        case = make_case(SEED, index)
        codes = case.codes()
        low, high = code_range(case.input_bits)
        assert low <= codes.min() <= codes.max() <= high
        assert case.model().in_bits == case.input_bits
