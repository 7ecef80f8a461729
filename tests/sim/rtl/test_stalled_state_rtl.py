"""A step reads no word of the state that the step before it has not written, however long its
outputs stall."""

import shutil

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit

pytestmark = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs Icarus Verilog")


@pytest.mark.parametrize(("hidden", "lanes"), [(3, 1), (6, 1)])
def test_units_that_wait_at_a_stalled_output_are_not_read_early(tmp_path, hidden, lanes):
    rng = np.random.default_rng(hidden * 10 + lanes)
    genome = Genome.uniform(int(rng.integers(2, 9)))
    model = random_model(rng, genome, 2, hidden, 2)
    codes = rng.integers(-128, 128, (3, 6, 2)).astype(np.int8)
    verilog = emit(Design.of(model, Lanes(1, lanes)))
    report = simulate(model, verilog, codes, out_dir=tmp_path, seed=hidden)
    assert report.passed, report.mismatches[:3]
