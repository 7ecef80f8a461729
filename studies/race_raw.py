"""The race in silicon as it was before a standard error had to be spared (:mod:`.race`).

Its entries were chosen by validation alone, with more epochs and on more seeds. Commit 01613ce
measured it; the rows are kept for that, and its page is made from them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from genogate.model.errors import InputError

from .race import task_lines

Say = Callable[[str], None]


def measure(say: Say) -> dict[str, Any]:
    """Raises :class:`InputError`: today's code chooses in another way."""
    raise InputError(
        "race_raw: commit 01613ce measured it, and today's search chooses in another way; measure "
        "race instead"
    )


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "## The race by validation alone",
        "",
        "Measured at commit 01613ce, with more epochs than [the race of today](race.md) and no "
        "error to spare: the entry of a contestant is the cheapest network that it trained "
        "within half a point of INT8 on validation. Many networks near the limit are judged by "
        "the same part, which flatters the one that is chosen: on JapaneseVowels one seed of "
        "this search lost 8 points on test. So entries have an error to spare since then. The "
        "constants of this search were set by validation accuracy on seed 0 of digits-row and "
        "of JapaneseVowels; on digits-row INT5 and INT6 by hand had a quarter more time than "
        "the others had.",
        "",
    ]
    for race in data["races"]:
        lines += task_lines(race, [row for row in data["rows"] if row["task"] == race["task"]])
    return lines
