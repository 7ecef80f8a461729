"""genogate front: units from the smallest to the most accurate, from the command."""

import json
from itertools import pairwise

import numpy as np
import pytest
from genogate.model.integer import PiecewiseLinear
from genogate.model.tables.functions import FUNCTIONS
from genogate.sim import golden

SMALL = ("--in-bits", 6, "--out-bits", 6, "--scale", 3, "--pop", 8, "--generations", 1)


@pytest.mark.parametrize("name", ["tanh", "exp"])
def test_front_is_a_front_of_verified_units(name, genogate, tmp_path):
    """Of a function with equal halves, and of one whose domain ends at 0."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "unit-99.v").write_text("of a longer front")
    outcome = genogate("front", name, *SMALL, "--out", "given")
    assert outcome.code == 0, outcome
    record = json.loads((tmp_path / "given" / "front.json").read_text())
    units = record["units"]
    assert len(units) >= 2
    assert not (tmp_path / "given" / "unit-99.v").exists()
    for smaller, better in pairwise(units):
        assert smaller["cells"] < better["cells"]
        assert smaller["mse"] > better["mse"]
    asked = range(-32, 32) if name == "tanh" else range(-32, 1)
    assert record["verified"]["codes"] == 64 * len(units)
    for unit in units:
        about = {name: unit.pop(name) for name in ("file", "form", "mse", "cells")}
        op = PiecewiseLinear(
            **{name: np.array(v) if isinstance(v, list) else v for name, v in unit.items()}
        )
        assert (tmp_path / "given" / about["file"]).read_text().count("endmodule") >= 1
        # What it says of its error is what it does over the codes in the range.
        q = np.array(asked)
        y = FUNCTIONS[name](q / 8)
        found = [
            (((golden.activation(op, q) - op.zero_point) * 2.0**-k - y) ** 2).mean()
            for k in range(8)
        ]
        assert min(abs(mse - about["mse"]) for mse in found) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gallu"], ["gallu"]),
        (["tanh", "--in-bits", 3], ["3"]),
        (["tanh", "--pop", 1], ["pop_size", "1"]),
        (["tanh", "--scale", 99], ["99"]),
        (["x * x"], ["--range"]),
    ],
)
def test_bad_input_is_refused(genogate, tmp_path, arguments, words):
    genogate("front", *arguments).refused(*words)
    assert list(tmp_path.iterdir()) == []
