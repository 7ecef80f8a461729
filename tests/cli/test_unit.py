"""genogate unit: softmax, normalisation and range-reduced functions from the command."""

import json
import re

import pytest


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("softmax", ["--length", 10, "--scale", 3]),
        ("rmsnorm", ["--length", 6, "--in-bits", 6]),
        ("reciprocal", ["--scale", 2, "--entries", 4]),
    ],
)
def test_unit_is_emitted_verified_and_measured(genogate, tmp_path, kind, options):
    outcome = genogate("unit", kind, *options, "--out", "given")
    assert outcome.code == 0, outcome
    folder = tmp_path / "given"
    assert {path.name for path in folder.iterdir()} == {"unit.v", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report["verified"]["passed"]
    assert report["verified"]["elements"] > 500
    assert re.search(rf"area +{report['area']['cells']:,} cells", outcome.out)
    assert f"{report['verified']['elements']:,} elements in Icarus" in outcome.out
    assert (folder / "unit.v").read_text().count("endmodule") >= 1


def test_a_difference_is_a_failure_with_exit_code_1(genogate, monkeypatch):
    from genogate.sim import golden_composites

    right = golden_composites.positive
    monkeypatch.setattr(golden_composites, "positive", lambda op, x: right(op, x) ^ (x == 77))
    outcome = genogate("unit", "rsqrt", "--out", "given")
    assert outcome.code == 1, outcome
    assert "rtl" in outcome.out
    assert "golden" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["softmin"], ["softmin", "softmax"]),
        (["softmax", "--length", 0], ["max_length", "0"]),
        (["softmax", "--length", 5000], ["5000"]),
        (["layernorm", "--length", 1], ["length", "1"]),
        (["rsqrt", "--in-bits", 99], ["in_bits", "99"]),
        (["rsqrt", "--entries", 0], ["entries", "0"]),
        (["softmax", "--scale", 99], ["scale", "99"]),
        (["softmax", "--out-bits", 1], ["out_bits", "1"]),
    ],
)
def test_bad_input_is_refused(genogate, tmp_path, arguments, words):
    genogate("unit", *arguments).refused(*words)
    assert list(tmp_path.iterdir()) == []
