"""Tables of the races in silicon (:mod:`.race`, :mod:`.race_folds`) for the page of results."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .contestants import COST, HAND_NAME, NARROWED, RULES, SEARCHES, USUAL, Rule, cheapest
from .search import table
from .spread import percent_below, with_error

Rows = Sequence[Mapping[str, Any]]
AGAINST_HAND = (
    "task",
    "judged by",
    "seeds",
    "by hand, area below INT8",
    "this search",
    "below the best by hand",
    "cells below INT8",
    "bits below INT8",
    "points lost on test, by hand",
    "this search",
)
BY_OTHER_RULES = (
    "task",
    "judged by",
    "made small",
    "errors to spare",
    "seeds",
    "by hand, below INT8",
    "this search",
    "below the best by hand",
    "points lost on test, by hand",
    "this search",
)
#: How costs are called in a table.
COST_NAMES = {COST: "area", "cells": "cells", "size": "bits"}
#: Rivals of the search, and how they are called in a head.
RIVALS = {
    SEARCHES[0]: "this search",
    SEARCHES[1]: "no weights inherited",
    SEARCHES[2]: "units kept",
    NARROWED: "by hand, weights inherited",
    "random": "random",
    "greedy": "greedy",
    "NSGA-II on size": "NSGA-II on size",
}
#: Rivals that train no more than what they have found, and the share of their time below which that
#: is told.
BY_FRONT, EARLY = ("greedy", "NSGA-II on size"), 0.9
AGAINST_RIVALS = ("task", "judged by", "seeds", *RIVALS.values())


def of_before(rows: Rows) -> list[str]:
    """Tasks on which this search ran before units were a gene."""
    own = [row for row in rows if row["contestant"] == SEARCHES[0]]
    return list(dict.fromkeys(row["task"] for row in own if "fewer" not in row))


def told_before(rows: Rows) -> list[str]:
    """A paragraph on them; nothing where there are none."""
    if not (tasks := of_before(rows)):
        return []
    return [
        "This search as it was before units were a gene, and inherited weights were trained more "
        f"slowly: {', '.join(tasks)}.",
        "",
    ]


def ended_early(rows: Rows) -> list[str]:
    """A paragraph on contestants that had nothing left to train before their time was up; nothing
    where there are none."""
    early: dict[str, list[str]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task]
        for contestant in BY_FRONT:
            own = _of(of, contestant, _seeds(of, contestant))
            given = sum(r["spent"] for r in _of(of, HAND_NAME, _seeds(of, contestant)))
            share = sum(row["spent"] for row in own) / given if own and given else 1.0
            if share < EARLY:
                early.setdefault(contestant, []).append(f"{task} after {100 * share:.0f} % of it")
    if not early:
        return []
    told = "; ".join(f"{contestant}, on {', '.join(of)}" for contestant, of in early.items())
    return [f"All that they had found was trained before their time was up: {told}.", ""]


TRAINED_TWICE = (
    "task",
    "seeds",
    "chosen by one training: lost then",
    "lost again",
    "chosen by two: lost at first",
    "lost again",
    "lost on test",
)


def trained_twice(rows: Rows) -> list[str]:
    """What networks lose that were trained once more with other random numbers; nothing where there
    are none."""
    body = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task and "tried" in row]
        once = [
            min(filter(USUAL.holds, row["tried"]), key=lambda entry: (entry[COST], entry["lost"]))
            for row in of
        ]
        told = [
            with_error([training["lost"] for training in trainings])
            for entries in (once, [row["best"] for row in of])
            for trainings in (entries, [entry["again"] for entry in entries])
        ]
        if of:
            body.append((task, str(len(of)), *told, _tested(of)))
    if not body:
        return []
    return [
        "Trained twice (`--confirm`): what the search would have chosen is trained once more along "
        "the same chain of inherited weights, with other random numbers and within the same time, "
        "and INT8 too; chosen is the cheapest network of the chain that is within half a point "
        "again. The difference between the two trainings of what one training chooses is luck. "
        "Means over the seeds ± one standard error, points:",
        "",
        *table(TRAINED_TWICE, body),
    ]


def _of(rows: Rows, contestant: str, seeds: Sequence[int]) -> Rows:
    return [row for row in rows if row["contestant"] == contestant and row["seed"] in seeds]


def _seeds(rows: Rows, contestant: str) -> list[int]:
    """Seeds that a contestant ran on."""
    return sorted({row["seed"] for row in rows if row["contestant"] == contestant})


def _saved(rows: Rows, cost: str) -> float:
    """Per cent of a cost that entries are below INT8 of their seed, of the means."""
    entries, int8 = ([row[name][cost] for row in rows] for name in ("best", "int8"))
    return percent_below(entries, int8)


def _tested(rows: Rows) -> str:
    return with_error([100 * (row["int8"]["test"] - row["best"]["test"]) for row in rows])


def _below(rows: Rows, hand: Rows, cost: str = COST) -> str:
    """How much less of a cost entries have than those by hand."""
    own, rivals = ([row["best"][cost] for row in of] for of in (rows, hand))
    # As a whole number, so that a little above is no "-0".
    return f"{round(percent_below(own, rivals)):+d} %"


def against_hand(task: str, judge: str, rows: Rows) -> list[tuple[str, ...]]:
    """This search against the best by hand, on the seeds of both."""
    seeds = _seeds(rows, SEARCHES[0])
    hand, own = _of(rows, HAND_NAME, seeds), _of(rows, SEARCHES[0], seeds)
    if not own:
        return []
    return [
        (
            task,
            judge,
            str(len(seeds)),
            f"{_saved(hand, COST):.0f} %",
            f"{_saved(own, COST):.0f} %",
            _below(own, hand),
            f"{_saved(own, 'cells'):.0f} %",
            f"{_saved(own, 'size'):.0f} %",
            _tested(hand),
            _tested(own),
        )
    ]


def by_rule(rows: Rows, rule: Rule, seeds: Sequence[int]) -> Rows:
    """Rows by hand with the network that a rule chooses among theirs, each of them trained once."""
    hand, rule = _of(rows, HAND_NAME, seeds), replace(rule, confirm=False)
    return [{**row, "best": cheapest(row["all"], rule)} for row in hand]


def by_other_rules(task: str, judge: str, rows: Rows) -> list[tuple[str, ...]]:
    """Searches that made another cost small, or had more errors to spare, against the best by hand
    by the same rule."""
    body = []
    for contestant, rule in RULES.items():
        if not (seeds := _seeds(rows, contestant)):
            continue
        hand, own = by_rule(rows, rule, seeds), _of(rows, contestant, seeds)
        body.append(
            (
                task,
                judge,
                COST_NAMES[rule.cost],
                f"{rule.spare:g}" + (", trained twice" if rule.confirm else ""),
                str(len(seeds)),
                f"{_saved(hand, rule.cost):.0f} %",
                f"{_saved(own, rule.cost):.0f} %",
                _below(own, hand, rule.cost),
                _tested(hand),
                _tested(own),
            )
        )
    return body


def against_rivals(task: str, judge: str, rows: Rows) -> list[tuple[str, ...]]:
    """Area of every contestant against the best by hand of the same seeds, where there are any
    rivals of this search."""
    most = len(_seeds(rows, SEARCHES[0]))
    cells = []
    for contestant in RIVALS:
        seeds = _seeds(rows, contestant)
        below = _below(_of(rows, contestant, seeds), _of(rows, HAND_NAME, seeds)) if seeds else "-"
        # Seeds of a task differ much, so a figure of fewer of them says so.
        cells.append(f"{below} (of {len(seeds)})" if 0 < len(seeds) < most else below)
    if set(cells[1:]) == {"-"}:
        return []
    return [(task, judge, str(most), *cells)]
