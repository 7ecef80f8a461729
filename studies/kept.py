"""Rows of a study of many trainings: each is kept as soon as it is there, within a budget."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genogate.model.files import read_json, write_json
from genogate.search.budget import Budget

Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """A row that is to be made.

    file : where it is kept
    title : said when it is begun
    make : makes it
    kind : rows of a kind take about as long as each other
    """

    file: Path
    title: str
    make: Callable[[], dict[str, Any]]
    kind: str = ""


def rows_of(
    cases: Iterable[Case], say: Say, budget: str | None
) -> tuple[list[dict[str, Any]], int]:
    """The rows that are kept, or are made in `budget`; and how many are missing.

    No row is begun that does not fit into what is left, by the longest of its kind.
    """
    left, rows, missing = Budget.of(budget), [], 0
    longest: dict[str, float] = {}
    for case in cases:
        if not case.file.exists():
            if not left.allows(longest.get(case.kind, 0.0)):
                missing += 1
                continue
            say(case.title)
            start = time.monotonic()
            case.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(case.file, case.make())
            longest[case.kind] = max(longest.get(case.kind, 0.0), time.monotonic() - start)
        rows.append(dict(read_json(case.file)))
    return rows, missing
