"""Campaigns: what they must contain, and that a killed one goes on where it was."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from genogate.model.errors import InputError
from genogate.model.genome import GENES
from genogate.model.knobs import SHARES
from genogate.sim.rtl.network.campaign import (
    RESULTS,
    SUMMARY,
    campaign,
    deciding_modules,
    read_results,
    run_case,
)
from genogate.sim.rtl.network.cases import make_case


def test_a_campaign_contains_what_it_must():
    cases = [make_case(2026, index) for index in range(300)]
    genomes = {case.genes for case in cases}
    for bits in (2, 8):
        assert ((bits,) * 17,) in genomes
    for position in range(len(GENES)):
        alone = [8] * 17
        alone[position] = 2
        assert (tuple(alone),) in genomes
    assert {len(case.genes) for case in cases} >= {1, 2}
    for lanes in range(1, 9):
        assert any(case.lanes_x == lanes for case in cases)
        assert any(case.lanes_h == lanes for case in cases)
    assert {case.terms for case in cases} == {1, 2, 3, None}
    assert {case.activation for case in cases} >= {"pwl", "table"}
    assert {case.channel for case in cases} == {True, False}
    assert any(case.input_size > case.hidden_size for case in cases)
    assert any(case.input_size < case.hidden_size for case in cases)
    assert any(case.hidden_size == 1 for case in cases)
    assert any(case.hidden_size == 32 for case in cases)
    loaded = [case for case in cases if case.weights == "load"]
    assert {(case.share, bool(case.dense)) for case in loaded} == {
        (share, dense) for share in SHARES for dense in (False, True)
    }
    with_bias = [case for case in cases[:40] if case.model().layers[0].dense("w_hn").bias.any()]
    assert len(with_bias) > 30


def test_a_case_is_a_function_of_seed_and_index():
    for index in (0, 5, 77):
        assert make_case(3, index) == make_case(3, index)
        assert make_case(3, index).model().hash == make_case(3, index).model().hash
    assert make_case(3, 200) != make_case(4, 200)


def test_results_stand_while_only_what_they_do_not_depend_on_changes():
    root = Path(__file__).resolve().parents[3]
    names = {path.relative_to(root).as_posix() for path in deciding_modules()}
    assert names >= {
        "hdl/product.py",
        "hdl/gru/shared/compiler.py",
        "model/integer/operators.py",
        "model/knobs.py",
        "sim/golden.py",
        "sim/random_model.py",
        "sim/rtl/network/bench.py",
        "synth/verilog.py",
    }
    others = ("search/", "studies/", "model/qat/", "model/checkpoints/", "model/data/mnist")
    assert not [name for name in names if name.startswith(others)]


def test_a_case_that_cannot_run_is_recorded_and_kept(tmp_path):
    case = make_case(164, 0)
    (tmp_path / "in-the-way").write_text("")
    record = run_case(case, tmp_path / "case")
    assert record["passed"], record["mismatches"]
    assert not (tmp_path / "case").exists()
    broken = run_case(
        type(case)(**{**vars(case), "entries": 0, "activation": "pwl"}), tmp_path / "broken"
    )
    assert not broken["passed"]
    assert len(broken["mismatches"]) == 1
    assert json.loads((tmp_path / "broken" / "case.json").read_text())["passed"] is False


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_campaign_goes_on_where_it_was(tmp_path):
    """Four small cases; killed without warning after the first, then finished by a second call."""
    program = (
        "from genogate.sim.rtl.network.campaign import campaign\n"
        f"campaign(4, out_dir={str(tmp_path)!r}, seed=31, workers=1, progress=False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    results, deadline = tmp_path / RESULTS, time.monotonic() + 600
    while not (results.exists() and results.read_bytes().count(b"\n") >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    # Its workers notice, and leave too; what they simulate ends within a case.
    while group_lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    finished = len(read_results(results))
    # What a kill in the middle of a write leaves, and results that belong to something else.
    with open(results, "ab") as file:
        file.write(json.dumps({"seed": 32, "index": 3, "sources": "other"}).encode() + b"\n")
        file.write(b'{"seed": 31, "index": 3, "pas')
    before = results.read_bytes()
    summary = campaign(4, out_dir=tmp_path, seed=31, workers=2, progress=False)
    assert 2 <= summary["resumed"] == finished < 4
    assert summary["cases"] == 4
    assert summary["failed_cases"] == summary["mismatches"] == 0
    assert summary["sequences"] > 4 * 5
    assert summary["codes"] > 4 * 17 * 5
    assert json.loads((tmp_path / SUMMARY).read_text()) == summary
    whole = before[: before.rfind(b"\n") + 1]
    assert results.read_bytes().startswith(whole)
    records = [r for r in read_results(results) if r["sources"] == summary["sources"]]
    assert sorted(record["index"] for record in records) == list(range(4))
    assert not any((tmp_path / "cases").iterdir())
    again = campaign(4, out_dir=tmp_path, seed=31, progress=False)
    assert again["resumed"] == 4
    assert {k: again[k] for k in ("cases", "codes", "cycles")} == {
        k: summary[k] for k in ("cases", "codes", "cycles")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "^campaign: n must be an integer from 1 on, not 0$"),
        ({"n": 2, "workers": 0}, "^campaign: workers must be an integer from 1 on, not 0$"),
        ({"n": 2, "seed": -1}, "^campaign: seed must be an integer from 0 on, not -1$"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        campaign(**arguments, out_dir=tmp_path)


def test_a_damaged_results_file_is_refused_and_kept(tmp_path):
    (tmp_path / RESULTS).write_text('{"seed": 5}\nnot json\n')
    with pytest.raises(InputError, match=r"results\.jsonl: line 2 is not a campaign record"):
        campaign(1, out_dir=tmp_path, progress=False)
    assert (tmp_path / RESULTS).read_text() == '{"seed": 5}\nnot json\n'


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"^cannot write .*file"):
        campaign(1, out_dir=tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_text() == "kept"
