"""Networks with narrow classifiers: the emitted Verilog equals golden, code by code."""

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit

SEED = 47


@pytest.mark.parametrize(("bits", "lanes", "share"), [(2, (1, 1), "none"), (3, (2, 2), "all")])
def test_random_networks(tmp_path, bits, lanes, share):
    rng = np.random.default_rng([SEED, bits])
    genome = Genome.from_genes(rng.integers(2, 9, 17))
    model = random_model(rng, genome, 3, 4, 5, terms=2, classifier_bits=bits)
    codes = rng.integers(-128, 128, (3, 3, 3))
    text = emit(Design.of(model, Lanes(*lanes), share))
    report = simulate(model, text, codes, out_dir=tmp_path, seed=SEED, share=share)
    assert report.passed, report.mismatches[:3]
