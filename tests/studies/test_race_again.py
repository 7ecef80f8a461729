"""The race by folds once more: two runs beside each other, and what is still missing."""

import json

import pytest

pytest.importorskip("torch")

from studies import race_again
from studies.contestants import Race

RACE = Race("t", (8,), 2, seeds=(0, 1), folds=4)


def write(folder, seed, name, um2, test):
    place = folder / "t" / f"seed{seed}"
    place.mkdir(parents=True, exist_ok=True)
    best = {"um2": um2, "lost": 0.1, "error": 0.2, "test": test}
    row = {"seed": seed, "int8": {"um2": 900.0, "test": 0.9}, "best": best, "spent": 60.0}
    (place / f"{name}.json").write_text(json.dumps(row))


@pytest.fixture
def measured(tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    for seed in RACE.seeds:
        write(first, seed, "by-hand", 600.0, 0.9)
        write(first, seed, "this-search", 300.0, 0.89)
    write(again, 0, "this-search", 450.0, 0.895)
    options = {"tasks": ("t",), "races": (RACE,), "first": first, "folder": again}
    return race_again.measure(lambda text: None, budget="1s", **options)


def test_runs_are_told_against_the_same_networks_by_hand(measured):
    assert measured["missing"] == 1
    (row,) = measured["rows"]
    assert (row["by_hand"], [run["um2"] for run in row["runs"]]) == (600.0, [300.0, 450.0])
    page = "\n".join(race_again.render(measured))
    assert "Not measured: 1 tasks and seeds." in page
    assert "| t | 0 | first | +50 % | +0.10 ± 0.20 | +1.00 |" in page
    assert "| t | 0 | again | +25 % | +0.10 ± 0.20 | +0.50 |" in page
