"""The race in silicon judged by folds: every sequence of training and validation part judges.

As :mod:`.race`, with an error of half as much or less. Each network is trained once for every fold,
so a contestant takes as many times the CPU time; float networks of the folds are those of all
contestants, and count as CPU time of each.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .contestants import (
    CONTESTANTS,
    FULL_ONLY,
    HAND_NAME,
    NARROWED,
    RULES,
    SEARCHES,
    UNITS_KEPT,
    Race,
)
from .race import PACE, not_measured, task_lines
from .race import measure as run_races
from .race_tables import ended_early, told_before, trained_twice

Say = Callable[[str], None]
FOLDER = Path("runs/race-folds")
FOLDS = 4
#: By hand, with weights inherited, and this search, without units as a gene too.
NAMES = (HAND_NAME, NARROWED, SEARCHES[0], UNITS_KEPT, *RULES)
#: The keyword tasks are judged by folds alone, so the other searches run here.
ALL = tuple(name for name in CONTESTANTS if name != FULL_ONLY)
RACES = (
    Race("digits-row", (32, 24), 12, contestants=NAMES, folds=FOLDS),
    Race("JapaneseVowels", (32, 24), 48, contestants=NAMES, folds=FOLDS),
    Race("ItalyPowerDemand", (32, 16), 20, contestants=NAMES, folds=FOLDS),
    Race("kws4", (64, 32), 8, contestants=ALL, folds=FOLDS),
    Race("kws10", (64, 48), 8, contestants=ALL, folds=FOLDS),
)


def measure(say: Say, folder: Path = FOLDER, budget: str | None = None) -> dict[str, Any]:
    """All contestants on all seeds; after `budget` no other begins, and the next call goes on."""
    return {"folds": FOLDS, **run_races(say, RACES, folder, budget)}


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    trained = [row["trainings"] for row in data["rows"] if row["contestant"] == SEARCHES[0]]
    of = f"the {min(trained)} to {max(trained)}" if trained else "many"
    lines = [
        "## The race judged by folds",
        "",
        f"As [the race by the validation part](race.md), by the rule with an error to spare, but "
        f"every network is judged by {data['folds']} folds (`genogate search --budget 60m "
        f"--folds {data['folds']}`): training and validation part are cut anew, each sequence is "
        "judged by a network that was trained on the other folds, and no speaker is in two of "
        "them. A network so takes as many trainings, and the error of a difference is that of "
        "all these sequences together. The test part belongs to no fold; points lost on test are "
        "means over the networks of the folds.",
        "",
        "Every contestant has the CPU time that training all networks by hand on all folds took, "
        f"with that of the float networks. {PACE} A training from inherited "
        "weights has a quarter of the epochs, and 180 updates or more, at two fifths of the "
        "learning rate, since these tasks have no more than 64 steps (`search/ladder/plan.py`).",
        "",
        "What was tuned on what: those 180 updates on seed 0 of digits-row; when a size is given "
        "up, and how far a network may be from the best, on seed 0 of JapaneseVowels "
        "(`search/ladder/climb.py`); that networks of two widths are tried where INT5 is beyond "
        "the limit, on kws10 and on mnist-pixel14; the learning rate of inherited weights on seed "
        "1 of kws4 and of mnist-row and on seed 0 of digits-row, and the steps in which units are "
        "removed on seed 0 of these three; that INT6 of the first size goes on from INT8, on seed "
        "2 of kws4.",
        "",
        f"A search ends at the edge of the rule by which it chooses, and of {of} networks that it "
        "trains the one that is chosen is likely to have been lucky: it loses more on test than on "
        "validation, the more so the fewer sequences judge. Of kws4's 1,311 clips the error is "
        "half a point, as much as may be lost: a network of any width must seem to lose nothing to "
        "be within, and which one does is in part luck, by hand too. An epoch of kws4 has so few "
        "updates that a training from inherited weights is as long as a full one.",
        "",
    ]
    if any(row["contestant"] in RULES for row in data["rows"]):
        lines += [
            "Tables of their own have this search where it made cells, or bits, small in place of "
            "area, had two errors to spare, or trained twice; the best by hand is chosen by the "
            "same rule then, but for the second training.",
            "",
        ]
    lines += not_measured(data) + told_before(data["rows"]) + ended_early(data["rows"])
    lines += trained_twice(data["rows"])
    for race in data["races"]:
        rows = [row for row in data["rows"] if row["task"] == race["task"]]
        if rows:
            lines += task_lines(race, rows)
    return lines
