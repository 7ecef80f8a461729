"""Networks with dense layers around the GRU layers, in Verilog: every code, cycles as stated."""

from dataclasses import replace

import pytest
from genogate.hdl.gru.design import Design
from genogate.model.knobs import Lanes
from genogate.sim.rtl.network.campaign import run_case
from genogate.sim.rtl.network.cases import make_case
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit


def test_campaigns_draw_structures_of_all_kinds():
    cases = [make_case(2026, index, structures=True) for index in range(200)]
    assert {case.share for case in cases} == {"none", "gates", "all"}
    assert {len(case.front) for case in cases} == {len(case.back) for case in cases} == {0, 1, 2}
    assert {(case.at, case.initial_state) for case in cases if case.back} == {
        (at, given) for at in ("last", "every") for given in (False, True)
    }
    assert {case.output for case in cases} == {"class", "logits", "codes"}
    assert {len(case.genes) for case in cases} == {1, 2}
    plain = [make_case(2026, index) for index in range(300)]
    assert 20 < sum(bool(case.dense) for case in plain) < 80


@pytest.mark.parametrize("index", [1, 7])
def test_a_structure_equals_golden_in_the_cycles_stated(index, tmp_path):
    case = replace(make_case(2026, index, structures=True), batch=2, steps=3)
    record = run_case(case, tmp_path / "case")
    assert record["passed"], record["mismatches"]
    for name in ("cycles_per_step", "cycles_per_sequence"):
        assert record[name] == record[f"documented_{name}"]


def test_the_first_difference_names_the_dense_layer(tmp_path):
    case = replace(make_case(2026, 7, structures=True), batch=1, steps=2)
    model = case.model()
    codes = case.codes()
    lanes = Lanes(case.lanes_x, case.lanes_h)
    # The Verilog of another network with the same structure.
    other = type(case)(**{**vars(case), "index": 8}).model()
    text = emit(Design.of(other, lanes, case.share, case.pipeline))
    report = simulate(
        model, text, codes, out_dir=tmp_path, scenarios=["back-to-back"], waves_on_failure=False
    )
    assert report.mismatches[0].startswith("front0 step 0: ")
