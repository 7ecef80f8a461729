"""The study of table searches: what it stores, what it renders, and LUT-APP's own limit."""

from pathlib import Path

import pytest
from genogate.model.files import read_json
from genogate.model.tables.functions import FUNCTIONS

from studies import tables as study_tables
from studies import tables_holdout

DATA = Path(__file__).parents[2] / "docs" / "data"


@pytest.mark.parametrize(
    ("name", "eight", "sixteen"),
    [
        ("gelu", 1.26e-5, 2.92e-6),
        ("hswish", 9.07e-5, 4.48e-6),
        ("silu", 1.78e-5, 4.14e-6),
        ("sigmoid", 1.55e-5, 2.15e-6),
        ("tanh", 3.02e-5, 4.31e-6),
    ],
)
def test_the_limit_of_the_lut_app_format_is_the_known_one(name, eight, sixteen):
    for entries, wanted in ((8, eight), (16, sixteen)):
        found = study_tables.lut_app_limit(FUNCTIONS[name], entries)
        assert f"{found:.2e}" == f"{wanted:.2e}"


def test_stored_tables_are_complete_and_rendered():
    data = read_json(DATA / "tables.json")
    assert {(row["function"], row["entries"]) for row in data["limits"]} == {
        (name, entries) for name in FUNCTIONS for entries in (8, 16)
    }
    for row in data["drawn"]:
        assert len(row["R"]) == len(row["A"]) == len(data["seeds"]) == 5
        assert min(row["ratio"]) >= 1.0
        if row["method"] == "gqa, least squares":
            assert max(row["ratio"]) <= 1.1
    for row in data["limits"]:
        errors = row["errors"]
        assert row["real"] <= errors["dynamic"][0] * (1 + 1e-9)
        assert errors["one a scale"][0] <= errors["shared"][0] <= errors["shared, guard"][0]
    lines = study_tables.render(data)
    assert lines[0].startswith("## ")
    rows = [line for line in lines if line.startswith("| gelu | 8 ")]
    assert len(rows) == 4
    columns = {line.count("|") for line in lines if line.startswith("|")}
    assert len(columns) == 3, "one width a table"


def test_stored_speeds_are_complete_and_rendered():
    data = read_json(DATA / "tables_speed.json")
    assert max(row["seconds"] for row in data["exact"]) < 2
    for row in data["rows"]:
        assert len(row["seconds"]) == len(row["evaluations"]) == 3
        if row["method"].startswith("gqa"):
            assert max(row["seconds"]) < 5
    lines = study_tables.render_speed(data)
    assert lines[0].startswith("## ")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(data["rows"])
    assert len({line.count("|") for line in table}) == 1


def test_stored_hold_outs_are_complete_and_near_the_optimum():
    data = read_json(DATA / "tables_holdout.json")
    assert data["rule"] == "best"
    assert [(row["function"], row["entries"]) for row in data["rows"]] == [
        (text, entries) for text in tables_holdout.HOLD_OUTS for entries in (8, 16)
    ]
    for row in data["rows"]:
        assert set(row["ratio"]) == {"gqa", "gade"}
        for ratios in row["ratio"].values():
            assert len(ratios) == len(data["seeds"]) == 5
            assert 1 <= min(ratios) <= max(ratios) <= 1.02
    data["rows"][-1]["ratio"]["gade"][3] = 1.25
    lines = tables_holdout.render(data)
    assert lines[-1].endswith("| 1.000 | 1.000 | 1.000 | 1.250 |")
    assert "the worst ends 25 % above it." in lines[4]
