"""How a search within a budget goes on: steps, forecasts, and what is narrowed and chosen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.genome import Genome
from genogate.search.ladder import marks
from genogate.search.ladder.climb import Climb
from genogate.search.ladder.forecast import chance, effects, gain
from genogate.search.ladder.rungs import Net, Result
from genogate.search.ladder.steps import distance, net_of, row_of, steps_between, steps_down
from genogate.search.ladder.steptable import StepTable


def test_steps_down_are_single_bits():
    net = Net(0, Genome.from_genes([8] * 16 + [2]), 2, 3)
    steps = steps_down(net)
    # Neither the last gene nor the input can have fewer.
    assert len(steps) == 16 + 1
    assert steps[0] == Net(0, Genome.from_genes([7] + [8] * 15 + [2]), 2, 3)
    assert steps[-1] == replace(net, classifier_bits=2)
    assert [distance(net, step) for step in steps] == [1] * 17
    assert net_of(row_of(net)) == net


def test_fewer_units_are_steps_down_too_of_every_size():
    net = Net(1, Genome.uniform(2), 2, 2, cut=3)
    assert steps_down(net) == []
    (fewer,) = steps_down(net, 4)
    assert fewer == replace(net, cut=4)
    assert steps_down(fewer, 4) == []
    assert net_of(row_of(fewer)) == fewer
    first, second = (
        steps_between(replace(net, size=size, cut=0), replace(net, size=size)) for size in (0, 1)
    )
    assert list(first.values()) == list(second.values()) == [1, 1, 1]
    # The same part of another checkpoint's units is another step.
    assert not first.keys() & second.keys()
    assert fewer.key != net.key
    # Stores of before units were a gene know the others.
    assert replace(net, cut=0).key == f"1 {net.genome} 2 2"


def test_steps_between_networks_are_single_bits_down_or_up():
    net = Net(0, Genome.uniform(6), 6, 6)
    other = Net(0, Genome.from_genes([4] + [6] * 16), 7, 6)
    assert steps_between(net, other) == {(0, 4): 1, (0, 5): 1, (17, 6): -1}
    assert steps_between(other, net) == {(0, 4): -1, (0, 5): -1, (17, 6): 1}
    assert steps_between(net, net) == {}


def test_what_is_drawn_loses_little_for_what_it_saves():
    """Two places save as much as each other; narrowing the first loses much more."""
    net = Net(0, Genome.uniform(6), 6, 6)
    table = StepTable(rungs=None)
    for place, points in ((0, 50.0), (1, 0.0)):
        for ends in (5, 6):
            table.points[place, ends] = points
            table.saved[0, place, ends] = 100.0
    now = effects(table.points, list(table.points), [])
    near = table.neighbours(net, now, 60, np.random.default_rng(0))
    assert {distance(net, each.net) for each in near} <= {1, 2}
    rows = {each.net.genome.genes[:2]: each for each in near}
    assert rows[(5, 5)].saved == pytest.approx(200.0)
    # Taking back what loses much, for what loses little.
    assert rows[(7, 5)].saved == 0
    assert all(each.net.genome.genes[2:] == (6,) * 15 for each in near)
    assert (5, 7) not in rows


def test_units_are_removed_and_do_not_come_back():
    """A table of units alone, three parts of which may be removed."""
    net = Net(0, Genome.uniform(6), 6, 6, cut=1)

    def quantised(nets, start):
        return [Result(n, 0.9 - 0.01 * (n != net), n.key, "quantised") for n in nets]

    def priced(nets):
        return [{"um2": 1000.0 - 50 * n.cut} for n in nets]

    rungs = SimpleNamespace(
        plan=SimpleNamespace(cost="um2"),
        most_cut=lambda size: 3,
        quantised=quantised,
        priced=priced,
    )
    table = StepTable(rungs)
    table.look(Result(net, 0.9, "parent", "full"))
    place = len(row_of(net)) - 1
    units = {key: points for key, points in table.points.items() if key[0] == place}
    # What is beyond the next step was not looked at: it is thought to lose more.
    assert units == {(place, -2): pytest.approx(1.0), (place, -3): pytest.approx(1.5)}
    for key in [key for key in table.points if key[0] != place]:
        del table.points[key]
    now = effects(table.points, list(table.points), [])
    near = table.neighbours(net, now, 60, np.random.default_rng(0))
    assert {each.net.cut: each.saved for each in near} == {2: 50.0, 3: 100.0}
    assert all(each.net.genome == net.genome for each in near)
    # Looked at, it is what it is.
    table.look(Result(replace(net, cut=2), 0.9, "parent", "full"))
    assert table.points[place, -3] == pytest.approx(0.0)


def test_effects_of_steps_are_learned_from_trainings():
    step, other = (0, 5), (1, 5)
    looked = {step: 1.0, other: 1.0}
    before = effects(looked, list(looked), [])
    assert before.at({step: 1}) == before.at({other: 1})
    worse = effects(looked, list(looked), [({step: 1}, 1.5)] * 6)
    assert worse.at({step: 1})[0] > before.at({step: 1})[0] + 0.5
    assert worse.at({step: 1})[1] < before.at({step: 1})[1]
    # Of the other no more is known than that training alone does not lose so much.
    assert worse.at({other: 1})[0] < worse.at({step: 1})[0] - 0.4
    # A step up takes back what the step down loses.
    drift = worse.at({})[0]
    assert worse.at({step: -1})[0] - drift == pytest.approx(drift - worse.at({step: 1})[0])
    erring = [({step: 1}, 1.5 + error) for error in (-3, 3) * 4]
    assert effects(looked, list(looked), erring).noise > 1.5


def test_what_may_be_gained_is_what_is_saved_times_its_chance():
    assert chance(0.5, 0.6, 0.5) == pytest.approx(0.5)
    assert chance(-5.0, 0.6, 0.5) == pytest.approx(1.0)
    assert gain(100.0, 0.5, 0.6, 0.5) == pytest.approx(50.0)
    assert gain(-1.0, 0.0, 0.6, 0.5) == 0.0


def test_what_is_ended_with_has_an_error_to_spare():
    """Of two networks that lose as much the one that differs on more sequences is not taken."""
    plan = SimpleNamespace(drop=0.5, seed=0, checkpoints=("digits-row",), spare=1.0, limits=())
    plan.cost = "um2"
    prices = {8: 100.0, 5: 50.0, 4: 40.0}
    rungs = SimpleNamespace(
        plan=plan,
        own_measure=False,
        priced=lambda nets: [{"um2": prices[net.genome.genes[0]]} for net in nets],
    )
    climb = Climb(rungs, 1, 4)

    def result(bits, right):
        scores = np.array(right, float)
        return Result(Net(0, Genome.uniform(bits)), scores.mean(), str(bits), "full", 4, scores)

    base = [1] * 150 + [0] * 50
    near = [1] * 149 + [0] * 50 + [1]
    far = [1] * 130 + [0] * 20 + [1] * 20 + [0] * 30
    climb.finished = [result(8, base), result(5, near), result(4, far)]
    climb.base = climb.finished[0].judged
    assert [r.judged for r in climb.finished] == [0.75] * 3
    assert climb.error(climb.finished[0]) == 0
    assert climb.error(climb.finished[1]) == pytest.approx(100 * np.sqrt(2 / 199 / 200))
    assert climb.best().net.genome.genes[0] == 8
    plan.spare = 0.5
    assert climb.best().net.genome.genes[0] == 5
    plan.spare = 0.0
    assert climb.best().net.genome.genes[0] == 4


def test_copies_of_a_sequence_are_judged_as_one():
    scores = np.array([1, 0, 1, 1, 0, 0], float)
    assert list(marks.of_sequences(scores, 3)) == [1.0, 0.0, 0.5]
    assert list(marks.unpacked(marks.packed(np.array([0.5, 0.25])))) == [0.5, 0.25]
    assert marks.error(None, scores) == 0.0


def test_a_point_of_another_measure_is_what_makes_the_limit_half_of_one():
    """Forecasts of points of accuracy would let a limit of 0.1 dB pass everything or nothing."""

    def climb(own, drop):
        plan = SimpleNamespace(drop=drop, seed=0, checkpoints=("denoise",))
        made = Climb(SimpleNamespace(plan=plan, own_measure=own), 1, 5, base=0.06)
        return made, made.lost(Result(Net(0, Genome.uniform(4)), 0.059, "", "full"))

    accuracy, lost = climb(False, 0.1)
    assert (accuracy.drop, lost) == (0.1, pytest.approx(0.1))
    decibels, lost = climb(True, 0.1)
    # At the limit, in either.
    assert (decibels.drop, lost) == (pytest.approx(0.5), pytest.approx(0.5))
    assert climb(True, 0.0)[0].drop == 0.0


def rungs_of(plan, result):
    """Rungs without trainings: results of `result`, and the sum of a network's bits as its area."""
    return SimpleNamespace(
        plan=plan,
        own_measure=False,
        counts=(1, 0),
        seconds_of_full=[1.0],
        left=lambda: 100.0,
        most_cut=lambda size: 0,
        trained=lambda nets, rung, epochs: [result(net, rung, epochs) for net, _ in nets],
        quantised=lambda nets, start: [result(net, "quantised", 0) for net in nets],
        priced=lambda nets: [{"um2": float(sum(row_of(net)[:-1]))} for net in nets],
    )


def test_no_size_is_given_up_for_the_error_of_its_first_network():
    """With few sequences the error to spare is as much as a size may lose beyond the limit."""

    def narrowed(wrong, swapped, fewer=False):
        """Widths trained at the second size, whose networks are wrong on `wrong` of 200 sequences
        more than INT8, and right or wrong in turn on 2 * `swapped` others."""
        plan = SimpleNamespace(drop=0.5, seed=0, checkpoints=("large", "small"), spare=1.0)
        plan.fewer = fewer
        plan.limits, plan.cost = (), "um2"
        base = np.array([1.0] * 150 + [0.0] * 50)
        other = base.copy()
        other[: wrong + swapped], other[150 : 150 + swapped] = 0, 1

        def result(net, rung, epochs):
            scores = other if net.size else base
            return Result(net, scores.mean(), net.key, rung, epochs, scores)

        climb = Climb(rungs_of(plan, result), 1, 4)
        assert list(climb._base()) == ["INT8"]
        assert set(climb._homogeneous()) == {"starts"}
        small = [result for result in climb.finished if result.net.size == 1]
        assert climb.lost(small[0]) > 2.0
        return [result.net.genome.genes[0] for result in small]

    # 1.5 points below INT8, with an error of 1.6.
    assert narrowed(3, 4) == [6, 5, 4, 3]
    # 3 points are too much.
    assert narrowed(6, 0) == [6]
    # With units as a gene the first size leads there too, and what loses more than the limit by
    # more than its error is not narrowed.
    assert narrowed(3, 0)[:2] == [6, 5]
    assert narrowed(3, 0, fewer=True) == [6]
    assert narrowed(3, 4, fewer=True) == [6, 5, 4, 3]


def test_whether_homogeneous_networks_fail_is_asked_with_the_error_to_spare():
    """Of 200 sequences: 3 points in which two networks differ on 6 of them, and on 26."""
    plan = SimpleNamespace(drop=0.5, seed=0, checkpoints=("a",), spare=1.0, limits=())
    climb = Climb(SimpleNamespace(plan=plan, own_measure=False, counts=(1, 0)), 1, 4)

    def result(wrong, swapped):
        scores = np.array([1.0] * 150 + [0.0] * 50)
        scores[: wrong + swapped], scores[150 : 150 + swapped] = 0, 1
        return Result(Net(0, Genome.uniform(5)), scores.mean(), str(wrong), "full", 1, scores)

    climb.finished.append(int8 := result(0, 0))
    climb.base = int8.judged
    assert climb.below(result(6, 0)) == climb.below(result(6, 10)) == pytest.approx(3.0)
    assert climb._beyond(result(6, 0))
    assert not climb._beyond(result(6, 10))


def test_operators_that_lose_least_for_what_they_save_are_half_of_the_saving():
    table, net = StepTable(rungs=None), Net(0, Genome.uniform(6), 6, 6)
    for place, (points, saved) in {0: (0.2, 100.0), 1: (0.0, 30.0), 2: (9.0, 60.0)}.items():
        table.points[place, 5], table.saved[0, place, 5] = points, saved
    assert table.cheap_half(net) == [1, 0]


@pytest.mark.parametrize(("at_six", "wide"), [(0, 6), (3, 8)])
def test_where_homogeneous_networks_fail_those_of_two_widths_are_tried(at_six, wide):
    """INT5 loses 5 points, of which operators without effect on what is judged lose none; the
    others have the bits of INT6 only where it is within the limit."""
    plan = SimpleNamespace(
        drop=0.5, seed=0, checkpoints=("large",), spare=1.0, limits=(), cost="um2"
    )

    def result(net, rung, epochs):
        scores = np.ones(200)
        genes = net.genome.genes[:3]
        scores[: 10 * sum(bits < 6 for bits in genes) + at_six * (min(genes) < 8)] = 0
        return Result(net, scores.mean(), f"{net.key} {rung}", rung, epochs, scores)

    climb = Climb(rungs_of(plan, result), 1, 4)
    assert [*climb._base(), *climb._homogeneous()] == ["INT8", *["starts"] * 4]
    chain = [result.net.genome.genes for result in climb.finished]
    assert [set(genes) for genes in chain[:3]] == [{8}, {6}, {5}]
    for bits, genes in zip((4, 3), chain[3:], strict=True):
        assert set(genes) == {wide, bits}
        assert genes[:3] == (wide,) * 3
