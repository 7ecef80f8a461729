"""The right-sized baseline: which size it is, and that its study goes on where it was stopped."""

import json

import pytest
from genogate.model.errors import InputError
from genogate.search.budget import Budget, seconds_of

from studies import baselines


def rows(**losses):
    """Networks of 32 units at 97 %, and of others with points lost seed by seed."""
    made = [{"task": "t", "hidden": 32, "seed": s, "judged": 0.97} for s in range(3)]
    for name, lost in losses.items():
        made += [
            {"task": "t", "hidden": int(name[1:]), "seed": s, "judged": 0.97 - points / 100}
            for s, points in enumerate(lost)
        ]
    return made


def test_the_smallest_within_the_limit_with_an_error_to_spare_is_the_right_size():
    assert baselines.right_size(rows(h24=(0.1, 0.2, 0.3), h16=(2, 2, 2)), "t") == 24
    # Within the limit in the mean, but not with a standard error.
    assert baselines.right_size(rows(h24=(-0.6, 0.3, 1.2)), "t") == 32
    assert baselines.right_size(rows(h24=(-0.6, 0.3, 1.2)), "t", spare=False) == 24
    # A lucky size below one that fails does not count.
    assert baselines.right_size(rows(h24=(1, 1, 1), h16=(0, 0, 0)), "t") == 32
    assert baselines.right_size([], "t") is None


def test_a_budget_ends_it_and_what_is_there_is_kept(tmp_path, monkeypatch):
    trained = []

    def network(task, hidden, seed, epochs, folder):
        trained.append(hidden)
        row = {"task": task, "hidden": hidden, "seed": seed, "seconds": 1.0}
        (folder / f"{task}-h{hidden}-seed{seed}.json").write_text(json.dumps(row))
        return row

    monkeypatch.setattr(baselines, "_network", network)
    quick = {"sizes": {"digits-row": (4, 8, 16)}, "seeds": (0,)}
    first = baselines.measure(lambda _: None, quick, tmp_path)
    assert (trained, first["missing"]) == ([16, 8, 4], 0)
    (tmp_path / "digits-row-h4-seed0.json").unlink()
    monkeypatch.setattr(Budget, "allows", lambda self, seconds: False)
    again = baselines.measure(lambda _: None, quick, tmp_path, budget="1s")
    assert [row["hidden"] for row in again["rows"]] == [16, 8]
    assert again["missing"] == 1


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("60m", 3600), ("1.5h", 5400)])
def test_budgets_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "m", "-5m", "0m", "5 d", "9999h", "1e3s"])
def test_texts_that_are_no_budget_are_refused(text):
    with pytest.raises(InputError, match=r"^budget "):
        seconds_of(text)
