"""The race in silicon on the first page of results: seeds in common, shares of means."""

from studies import race_tables
from studies.contestants import NARROWED, SEARCHES


def entry(um2, cells=50.0, size=500.0, lost=0.0, test=0.9):
    costs = {"um2": um2, "cells": cells, "size": size}
    return {**costs, "lost": lost, "error": 0.2, "judged": 0.9, "test": test}


def row(contestant, seed, best):
    return {"contestant": contestant, "seed": seed, "int8": INT8, "best": best, "all": NETWORKS}


INT8 = entry(1000.0, 100.0, 1000.0)
#: By hand: INT8, the least area, and the fewest bits.
NETWORKS = [INT8, entry(600.0), entry(700.0, size=200.0)]
ROWS = [
    row("by hand", 0, NETWORKS[1]),
    row("by hand", 1, NETWORKS[1]),
    row(SEARCHES[0], 0, entry(450.0, 40.0, 300.0, test=0.895)),
    row(NARROWED, 1, entry(300.0)),
    row("this search, for size", 1, entry(900.0, size=100.0)),
]


def test_this_search_is_told_against_the_best_by_hand_of_its_seeds():
    ((task, judge, seeds, hand, own, below, cells, bits, lost_by_hand, lost),) = (
        race_tables.against_hand("t", "four folds", ROWS)
    )
    assert (task, judge, seeds) == ("t", "four folds", "1")
    assert (hand, own, below) == ("40 %", "55 %", "+25 %")
    assert (cells, bits) == ("60 %", "70 %")
    assert (lost_by_hand, lost) == ("+0.00", "+0.50")
    assert race_tables.against_hand("t", "four folds", ROWS[:2]) == []


def test_other_rules_are_told_against_the_best_by_hand_by_the_same_rule():
    spared = row("this search, two errors to spare", 0, entry(750.0))
    # The two networks by hand that are smaller than INT8 have less than two errors to spare.
    losing = [INT8, *({**network, "lost": 0.2} for network in NETWORKS[1:])]
    rows = [{**row, "all": losing} for row in [*ROWS, spared]]
    (two_errors, bits) = race_tables.by_other_rules("t", "folds", rows)
    assert two_errors[2:8] == ("area", "2", "1", "0 %", "25 %", "+25 %")
    assert bits[2:8] == ("bits", "1", "1", "80 %", "90 %", "+50 %")
    assert race_tables.by_other_rules("t", "folds", ROWS[:4]) == []


def test_rivals_are_told_on_their_own_seeds_and_left_out_where_there_are_none():
    ((_, _, seeds, own, *others),) = race_tables.against_rivals("t", "folds", ROWS)
    assert (seeds, own) == ("1", "+25 %")
    assert others == ["-", "-", "+50 %", "-", "-", "-"]
    assert race_tables.against_rivals("t", "folds", ROWS[:3]) == []


def test_a_rival_of_fewer_seeds_says_so():
    both = [*ROWS, row(SEARCHES[0], 1, entry(450.0))]
    ((_, _, seeds, own, *others),) = race_tables.against_rivals("t", "folds", both)
    assert (seeds, own) == ("2", "+25 %")
    assert others == ["-", "-", "+50 % (of 1)", "-", "-", "-"]


def test_searches_of_before_units_were_a_gene_are_named():
    rows = [{**row, "task": "t"} for row in ROWS]
    (line, _) = race_tables.told_before(rows)
    assert line.endswith(": t.")
    today = [{**row, "task": "u", "fewer": True} for row in ROWS]
    assert race_tables.told_before([*rows, *today]) == [line, ""]
    assert race_tables.told_before(today) == []


def test_rivals_that_end_before_their_time_are_named_with_the_share_of_it():
    rows = [{**r, "task": "t", "spent": 100.0} for r in ROWS]
    rivals = [
        {**row(name, 1, entry(700.0)), "task": "t", "spent": spent}
        for name, spent in (("greedy", 95.0), ("NSGA-II on size", 45.0))
    ]
    (line, _) = race_tables.ended_early([*rows, *rivals])
    assert line.endswith("time was up: NSGA-II on size, on t after 45 % of it.")
    assert race_tables.ended_early([*rows, rivals[0]]) == []


def test_what_one_training_chooses_is_told_beside_what_two_choose():
    def tried(um2, lost, again):
        return {**entry(um2, lost=lost), "again": {"lost": again, "error": 0.1}}

    both = [tried(900.0, 0.0, 0.0), tried(700.0, 0.1, 0.4), tried(500.0, 0.2, 1.0)]
    both.append(tried(300.0, 0.9, 0.1))
    chosen = {**both[1], "test": 0.894}
    rows = [{**row("this search, confirmed", 0, chosen), "task": "t", "tried": both}]
    assert "| t | 1 | +0.20 | +1.00 | +0.10 | +0.40 | +0.60 |" in race_tables.trained_twice(rows)
    assert race_tables.trained_twice([{**r, "task": "t"} for r in ROWS]) == []
