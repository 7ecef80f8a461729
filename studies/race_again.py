"""The race by folds, searched once more: how much a result owes to chance.

The same search on the same seeds in a folder of its own. Float networks are trained anew, and where
that is done by another processor, or other versions of libraries, their weights differ in the last
bits, so that the trainings that follow take other ways.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genogate.search.budget import Budget

from .contestants import COST, HAND_NAME, SEARCHES, Race, run_one, slug
from .race_folds import FOLDER as FIRST
from .race_folds import RACES
from .search import table
from .spread import percent_below, with_error

Say = Callable[[str], None]
FOLDER = Path("runs/race-again")
TASKS = ("digits-row", "JapaneseVowels", "ItalyPowerDemand")
SEARCH = SEARCHES[0]


def _row(race: Race, seed: int, first: Path, folder: Path, say: Say) -> dict[str, Any]:
    """The best by hand, and what both searches ended with."""
    hand = run_one(race, seed, HAND_NAME, first, say)
    before = run_one(race, seed, SEARCH, first, say)
    place = folder / race.task / f"seed{seed}"
    place.mkdir(parents=True, exist_ok=True)
    # What it cost by hand gives the second search its budget, too.
    shutil.copy(first / race.task / f"seed{seed}" / f"{slug(HAND_NAME)}.json", place)
    again = run_one(race, seed, SEARCH, folder, say)
    runs = [
        {name: row["best"][name] for name in (COST, "lost", "error")}
        | {"tested": 100 * (row["int8"]["test"] - row["best"]["test"])}
        for row in (before, again)
    ]
    return {"task": race.task, "seed": seed, "by_hand": hand["best"][COST], "runs": runs}


def measure(
    say: Say,
    tasks: Sequence[str] = TASKS,
    races: Sequence[Race] = RACES,
    first: Path = FIRST,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """Every task on every seed; after `budget` no other begins, and the next call goes on.

    first : folder of the race by folds, which is run where it was not
    """
    left, rows, missing = Budget.of(budget), [], 0
    for race in (race for race in races if race.task in tasks):
        for seed in race.seeds:
            done = (folder / race.task / f"seed{seed}" / f"{slug(SEARCH)}.json").exists()
            if done or left.seconds is None or left.left() > 1:
                rows.append(_row(race, seed, first, folder, say))
            else:
                missing += 1
    return {"rows": rows, "missing": missing}


def _below(rows: Sequence[Mapping[str, Any]], run: int) -> str:
    own, hand = [row["runs"][run][COST] for row in rows], [row["by_hand"] for row in rows]
    return f"{percent_below(own, hand):+.0f} %"


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows, body, means = data["rows"], [], []
    for row in rows:
        for k, run in enumerate(row["runs"]):
            body.append(
                (
                    row["task"],
                    str(row["seed"]),
                    ("first", "again")[k],
                    _below([row], k),
                    f"{run['lost']:+.2f} ± {run['error']:.2f}",
                    f"{run['tested']:+.2f}",
                )
            )
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task]
        for k, name in enumerate(("first", "again")):
            runs = [row["runs"][k] for row in of]
            means.append(
                (
                    task,
                    str(len(of)),
                    name,
                    _below(of, k),
                    with_error([run["lost"] for run in runs]),
                    with_error([run["tested"] for run in runs]),
                )
            )
    lines = [
        "## The race by folds once more",
        "",
        "[The search of the race](race_folds.md) on the same seeds, run twice: float networks of "
        "the folds are trained anew, and on another processor their weights differ in the last "
        "bits, so the trainings that follow take other ways. What differs between the two runs is "
        "chance. Points lost on validation (four folds) with the standard error of the difference "
        "to INT8; on the test part by the mean over the networks of the folds.",
        "",
    ]
    if data["missing"]:
        lines += [f"Not measured: {data['missing']} tasks and seeds.", ""]
    said = ("below the best by hand", "lost on validation", "lost on test")
    lines += ["Means over the seeds ± one standard error:", ""]
    lines += table(("task", "seeds", "run", *said), means)
    return [*lines, "Each:", "", *table(("task", "seed", "run", *said), body)]
