"""The race in silicon and the studies beside it: who trains what, and what their pages say."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.genome import Genome
from genogate.search.ladder.plan import SHORT
from genogate.search.ladder.rungs import Net, Result

from studies import contestants, few_bits, patterns, race, race_folds, rungs


class Rungs:
    """Trainings of a second each: a genome of fewer bits loses more."""

    updates = 1000

    def __init__(self, budget):
        self.plan = SimpleNamespace(spare=1.0)
        self.seconds_of_full, self.spent, self.budget = [], 0.0, budget

    def trained(self, nets, rung, epochs):
        seconds = 1.0 if rung == "full" else SHORT
        self.spent += seconds * len(nets)
        self.seconds_of_full += [1.0] * len(nets) if rung == "full" else []
        return [
            Result(
                net,
                0.9 + net.genome.genes[0] / 220 + (0.001 if start and start.net == net else 0),
                "",
                rung,
                epochs + (start.epochs if start else 0),
            )
            for net, start in nets
        ]

    def priced(self, nets):
        return [{"um2": 100.0 * (net.genome.genes[0] - net.size)} for net in nets]

    def left(self):
        return self.budget - self.spent


def track_of(budget):
    return contestants._Track(Rungs(budget), 1)


def test_networks_by_hand_are_what_their_names_say():
    net = contestants.by_hand("INT4, input 4", 1)
    assert net == Net(1, Genome.uniform(4), 4, 8)
    assert contestants.by_hand("weights 2, rest 8", 0).genome.genes == (2,) * 6 + (8,) * 11
    assert contestants.by_hand("INT5, input and classifier 5", 0).classifier_bits == 5


def test_bisection_finds_the_cheapest_within_the_limit_in_few_trainings():
    """A bit is 0.45 points: 7 bits are within the limit, 6 are not."""
    track = track_of(5)
    track.bisect([Net(0, Genome.uniform(bits)) for bits in (8, 7, 6, 5, 4, 3, 2)])
    trained = [result.net.genome.genes[0] for result in track.finished[1:]]
    assert trained[:3] == [5, 7, 6]
    assert len(track.finished) == 5
    assert not track.more()


def test_random_networks_are_trained_while_there_is_time():
    track = track_of(4)
    contestants._random(track, 2, 0)
    assert len(track.finished) == 4
    assert len({result.net for result in track.finished}) == 4


def test_networks_by_hand_narrow_along_a_chain_within_the_time():
    """Two full trainings, and a quarter for each of the others, again where it may help."""
    track = track_of(6)
    track.epochs = 8
    contestants._narrowed(track, 2)
    assert track.rungs.spent == pytest.approx(6.0)
    assert [r.rung for r in track.finished].count("full") == 2
    first = [r.net for r in track.finished[1:7]]
    assert [net.genome.genes[0] for net in first] == [6, 5, 4, 4, 4, 3]
    assert [r.epochs for r in track.finished[:7]] == [1, 3, 5, 7, 9, 11, 13]
    assert track.finished[-1].net in {r.net for r in track.finished[:-1]}


def test_the_table_tells_area_against_the_best_by_hand():
    fpga = {"fpga_lut": 1234.4, "fpga_ebr": 9}

    def row(contestant, um2, lost):
        entry = {"um2": um2, "cells": um2 / 4, "lost": lost, "test": 0.96, "epochs": 24} | fpga
        int8 = {"um2": 1000.0, "cells": 300.0, "test": 0.965, "lost": 0.0} | fpga
        return {"contestant": contestant, "best": entry, "int8": int8}

    rows = [row("by hand", 800.0, 0.2), row("this search", 600.0, 0.4)]
    rows += [row("by hand", 800.0, 0.4), row("this search", 600.0, 0.0)]
    text = "\n".join(race.contestants_table(rows))
    assert (
        "| this search | 2 | 600 | 40.0 % | +25.0 % | 50.0 % | - | 1,234 | 9 | +0.20 ± 0.20 "
        "| +0.50 ± 0.00 |" in text
    )
    assert "| the best by hand | 2 | 800 | 20.0 % | +0.0 % |" in text


def test_another_rule_has_a_table_of_its_own():
    """By hand the same networks are chosen from again; the search has run by that rule."""

    def entry(um2, lost, error=0.3):
        return {"um2": um2, "lost": lost, "error": error, "judged": 0.9, "test": 0.9}

    int8 = entry(1000.0, 0.0, 0.0)
    networks = [int8, entry(800.0, -0.2), entry(600.0, 0.1)]
    hand = {"contestant": "by hand", "seed": 0, "int8": int8, "best": networks[2], "all": networks}
    strict = {"contestant": "this search, two errors to spare", "seed": 0, "int8": int8}
    strict["best"] = entry(700.0, -0.3)
    assert contestants.cheapest(networks)["um2"] == 600.0
    text = "\n".join(race.other_rules([hand, strict]))
    assert "| the best by hand | 1 | 800 | 20.0 % | +0.0 % |" in text
    assert "| this search | 1 | 700 | 30.0 % | +12.5 % |" in text
    assert race.other_rules([hand]) == []
    # By bits the other network is the best by hand, and what is told against it are bits.
    sized = [entry | {"size": 2000.0 - entry["um2"]} for entry in networks]
    best = sized[2] | {"size": 600.0}
    small = {"contestant": "this search, for size", "seed": 0, "int8": sized[0], "best": best}
    text = "\n".join(race.other_rules([hand | {"int8": sized[0], "all": sized[1:]}, small]))
    assert "| the best by hand | 1 | 800 | 20.0 % | +0.0 % |" in text
    assert "| this search | 1 | 600 | 40.0 % | +50.0 % |" in text
    assert "700" not in "\n".join(race.contestants_table([hand, strict]))


def test_seeds_that_were_not_measured_are_named():
    races = [{"task": "t", "seeds": [0, 1]}, {"task": "u", "seeds": [0]}]
    rows = [
        {"task": task, "seed": seed, "contestant": contestant}
        for task, seed, contestant in (
            ("t", 0, "this search"),
            ("t", 1, "by hand"),
            ("u", 0, "this search"),
        )
    ]
    said = race.not_measured({"races": races, "rows": rows})
    assert said[0] == "Not measured: t, seed 1."
    assert race.not_measured({"races": races[1:], "rows": rows}) == []


def test_a_network_narrows_by_way_of_widths_in_between():
    assert few_bits.halfway(Genome.from_genes([2, 8, 5] + [3] * 14)).genes[:4] == (5, 8, 7, 6)
    stages = few_bits._stages("bit by bit", Genome.uniform(3), 24, 0)
    assert [stage[0].genes[0] for stage in stages] == [8, 6, 3]
    assert sum(stage[2].epochs for stage in stages) == 24
    ((_, _, plain),) = few_bits._stages("plain", Genome.uniform(3), 24, 0)
    assert (plain.epochs, plain.keep) == (24, "last")


def test_gains_are_paired_by_seed():
    rows = [
        {"variant": v, "network": "INT3", "seed": s, "test": 0.9 + gain / 100}
        for v, s, gain in (("plain", 0, 0), ("plain", 1, 1), ("no teacher", 1, 3))
    ]
    assert few_bits.gains(rows, "no teacher", "INT3", "test") == pytest.approx([2.0])


def test_ranks_are_of_all_genomes_and_of_those_near_the_best():
    full = [{"judged": v, "seconds": 2.0} for v in (0.95, 0.94, 0.93, 0.5)]
    short = [{"judged": v, "seconds": 1.0} for v in (0.7, 0.8, 0.9, 0.1)]
    case = {"fidelities": {"full": full, "short": short}, "for_all_seconds": {}}
    brief = next(row for row in rungs._ranks(case) if row[0] == rungs.TITLES["short"])
    assert brief[2:] == ("0.200", "-1.000", "1.00")


def test_the_page_of_patterns_counts_what_was_planted():
    smallest = {str(limit): {"saved": 0.5, "by_hand": True} for limit in patterns.LIMITS}
    row = {"seed": 0, "kind": "float", "planted": True, "hypervolume": 0.4, "smallest": smallest}
    size = {"checkpoints": ["a"], "pop_size": 8, "generations": 1, "exploit": 0}
    text = "\n".join(patterns.render({"size": size, "rows": [row]}))
    assert "| quantised after training | on | 40.0 | 50.0 % | 50.0 % | 50.0 % | 3 of 3 |" in text


def test_prices_of_a_row_are_those_of_now(monkeypatch):
    """The best by hand is chosen again by them, with a standard error to spare."""
    monkeypatch.setattr(contestants, "networks_of", lambda *about: ("digits-row", "digits-row"))

    def price(case, target="sky130"):
        if target != "sky130":
            return {"lut": 1000.0, "ebr": 12.0}
        return {"um2": 100.0 * case[1].genes[0] - case[2].input_bits}

    monkeypatch.setattr(contestants, "price_of", price)

    def entry(bits, lost, error):
        return {
            "hidden": 24 if bits == 4 else 32,
            "genes": [bits] * 17,
            "input_bits": 8,
            "classifier_bits": 8,
            "judged": 0.9,
            "lost": lost,
            "error": error,
            "um2": 1.0,
        }

    row = {
        "task": "digits-row",
        "seed": 0,
        "int8": entry(8, 0.0, 0.0),
        "best": entry(8, 0.0, 0.0),
        "all": [entry(8, 0.0, 0.0), entry(5, 0.2, 0.3), entry(4, 0.4, 0.3), entry(3, 0.9, 0.0)],
    }
    priced = race._priced_now(contestants.FULL, row)
    assert priced["int8"]["um2"] == 792.0
    assert priced["best"]["genes"][0] == 5
    assert (priced["best"]["fpga_lut"], priced["best"]["fpga_ebr"]) == (1000.0, 12.0)
    assert priced["all"][2]["um2"] == 392.0


def test_the_entry_is_the_cheapest_with_an_error_to_spare():
    def entry(um2, lost, error, judged=0.9):
        return {"um2": um2, "lost": lost, "error": error, "judged": judged}

    entries = [entry(100.0, 0.0, 0.0), entry(60.0, -0.2, 0.6), entry(50.0, 0.3, 0.4)]
    assert contestants.cheapest(entries)["um2"] == 60.0
    assert contestants.cheapest([*entries, entry(60.0, -0.2, 0.6, 0.95)])["judged"] == 0.95


def test_the_test_score_of_an_entry_is_the_mean_over_its_folds(monkeypatch):
    scores = {"a": 0.9, "b": 0.8, "c": 0.7}
    monkeypatch.setattr(contestants, "look_at", lambda look: {"test": scores[look.checkpoint]})
    monkeypatch.setattr(contestants, "case_of", lambda *about: ("", None, contestants.KNOBS))
    monkeypatch.setattr(contestants, "prices_of", lambda case: {"um2": 5.0})
    entry = {"um2": 4.0, "lost": 0.1, "networks": ["a", "b", "c"], "network": "a", "folds": ["a"]}
    shown = contestants._shown(contestants.FULL[0], 0, entry)
    assert shown == {"um2": 5.0, "lost": 0.1, "test": pytest.approx(0.8)}
    # All judge by the folds of one cut, from the same float networks.
    for race_ in race_folds.RACES:
        assert race_.folds == race_folds.FOLDS
    monkeypatch.setattr(contestants, "networks_of", lambda *about: ("digits-row",))
    plans = [
        contestants._plan(race_folds.RACES[0], seed, 60.0, {}, contestants.USUAL)
        for seed in (0, 0, 1)
    ]
    assert plans[0].floats == plans[1].floats != plans[2].floats
    assert plans[0].folds == race_folds.FOLDS
    # All are charged by the pace of the trainings by hand.
    paced = contestants._plan(
        race_folds.RACES[0],
        0,
        60.0,
        {
            "pace": [0.5, 0.4],
            "look": 0.1,
            "spent": 60.0,
            "all": [{"hidden": 32, "epochs": 12}, {"hidden": 24, "epochs": 12}],
        },
        contestants.Rule("size", 2.0),
    )
    assert (paced.pace, paced.look, paced.spare, paced.cost) == ((0.5, 0.4), 0.1, 2.0, "size")
    # What is left of the time by hand went to the float networks of the folds.
    assert paced.floats_pace == pytest.approx(60.0 - 12 * 0.9)
    assert paced.fewer
