"""The code's own figures: rooms, long files, import order, what commands load; before and after."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genogate.model.errors import InputError

from tools.counts import HouseError
from tools.house import measured, revision_tree, rows_of
from tools.startup import compared

from .search import table

#: The last commit before the rooms were built.
BEFORE = "1c39fab"
#: Runs of each command whose start-up is timed.
ROUNDS = 3


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Counts of the commit :data:`BEFORE` and of this tree."""
    say(f"commit {BEFORE}")
    try:
        with revision_tree(BEFORE) as root:
            before = measured(root, commands=True)
        say("this tree")
        after = measured(Path.cwd(), commands=True)
        say("start-up of both, in turn")
        startup = compared(BEFORE, ROUNDS)
    except (HouseError, subprocess.CalledProcessError) as error:
        raise InputError(f"house: {error}") from None
    return {"commit": BEFORE, "before": before, "after": after, "startup": startup}


def render(data: dict[str, Any]) -> list[str]:
    """The page: one row a figure, and what is over a bound today."""
    after = data["after"]
    lines = [
        "## The house: size and order of the code",
        "",
        f"Before: commit `{data['commit']}`; after: the tree that this page was made from. "
        "`python -m tools.house` prints the figures of a tree, `--list` names what is over a "
        "bound, "
        "`--revision COMMIT` counts another commit. Lines include docstrings and comments; the "
        "median leaves out files of one line. Circles and order count imports inside functions "
        "too.",
        "",
        "| | before | after |",
        "|---|---|---|",
    ]
    pairs = zip(rows_of(data["before"]), rows_of(after), strict=True)
    lines += [f"| {name} | {old} | {new} |" for (name, old), (_, new) in pairs]
    if "earlier" in data:
        lines += ["", data["earlier"]]
    if "startup" in data:
        lines += [
            "",
            f"Start-up, by `python -m tools.startup {data['commit']}`: processor seconds, medians "
            f"of {ROUNDS} runs, both trees in turn in the same Python. The start-up of "
            "`genogate gru` is what it does before it quantises: modules, checkpoint and data.",
            "",
            *table(
                ("", "before, s", "after, s", "ratio"),
                [
                    (f"`{case}`", row["before"], row["now"], row["ratio"])
                    for case, row in data["startup"].items()
                ],
            )[:-1],
        ]
    for key, title in (("over_500", "Files over 500 lines"), ("classes_over_250", "Long classes")):
        names = "; ".join(f"`{name}`" for name in after[key])
        lines += ["", f"{title}: {names or 'none'}."]
    return [*lines, ""]
