"""What a training begins with: what the study measures, and what its page says."""

import numpy as np
import pytest

from studies import inherited


def test_units_that_others_replace_lose_less_than_the_smallest():
    row = inherited._cut("digits-row", 0)
    assert row["units"] == [32, 30, 28, 24, 16]
    assert np.mean(row["regression"]) > np.mean(row["smallest"]) + 0.05
    text = "\n".join(inherited.render({"units": [row], "rates": [], "missing": 1}))
    assert "Not measured: 1 tasks and seeds." in text
    lost = 100 * (row["whole"] - row["regression"][1])
    assert f"| digits-row | 1 | 28 of 32 | {lost:+.2f} |" in text


def test_points_are_lost_against_int8_of_the_same_seed():
    rows = [
        {
            "task": "t",
            "seed": seed,
            "int8": int8,
            "root": int8,
            "chains": [
                {"share": share, "judged": [int8, int8 - 0.01 * share, int8 - 0.02]}
                for share in inherited.SHARES
            ],
        }
        for seed, int8 in enumerate((0.9, 0.95))
    ]
    text = "\n".join(inherited.render({"units": [], "rates": rows, "missing": 0}))
    assert "| t | 2 | 1 | +0.00 ± 0.00 | +1.00 ± 0.00 | +2.00 ± 0.00 |" in text
    assert "| t | 2 | 0.2 | +0.00 ± 0.00 | +0.20 ± 0.00 | +2.00 ± 0.00 |" in text
    assert "Not measured" not in text


@pytest.mark.parametrize("task", list(inherited.TASKS))
def test_epochs_are_those_of_the_race(task):
    from studies.race import FULL
    from studies.race_folds import RACES

    race = next(race for race in (*FULL, *RACES) if race.task == task)
    full, _, sequences = inherited.TASKS[task]
    assert (full, sequences) == (race.epochs, race.sequences)
