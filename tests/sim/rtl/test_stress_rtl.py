"""The protocol of the streams under stress, for each way to share hardware: random stalls, resets
at any moment, outputs held for 10,000 cycles, features offered and taken back."""

import os

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.regression import HOLD, STRESS, build_scenarios, simulate
from genogate.synth.verilog import emit

#: Icarus compiles at once; Verilator takes half a minute for each (GENOGATE_SIMULATOR=verilator).
SIMULATOR = os.environ.get("GENOGATE_SIMULATOR", "icarus")
CASES = {
    "none": (3, Head(), {}),
    "none, classes at every step": (2, Head("every"), {}),
    "pipeline": (6, Head(), {"pipeline": 2}),
    "gates": (3, Head(), {"share": "gates"}),
    "all": (2, Head(), {"share": "all", "lanes": Lanes(4, 4)}),
}


@pytest.mark.parametrize("name", CASES)
def test_streams_keep_their_rules_whatever_their_neighbours_do(tmp_path, name):
    hidden, head, hardware = CASES[name]
    rng = np.random.default_rng([2026, *name.encode()])
    model = random_model(rng, Genome.uniform(4), 2, hidden, 3, head=head)
    codes = rng.integers(-128, 128, (3, 4, 2))
    report = simulate(
        model,
        emit(Design.of(model, **hardware)),
        codes,
        out_dir=tmp_path,
        scenarios=("stalls", *STRESS),
        share=hardware.get("share", "none"),
        simulator=SIMULATOR,
    )
    assert report.passed, report.mismatches[:3]
    cycles = {scenario["name"]: scenario["cycles"] for scenario in report.scenarios}
    assert cycles["held"] > HOLD
    assert report.sequences == 3 + 4 * len(STRESS)


def test_resets_come_at_all_moments_and_a_whole_run_after_them():
    (scenario,) = build_scenarios(3, 4, 2, names=["resets"], seed=1)
    moments = [segment["reset_in"] for segment in scenario["segments"][:-1]]
    assert min(moments) < 20
    assert max(moments) > 500
    assert "reset_in" not in scenario["segments"][-1]
