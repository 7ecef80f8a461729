"""Networks that are trained once more before one is chosen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.genome import Genome
from genogate.search.ladder.climb import Climb
from genogate.search.ladder.confirm import OTHER, Confirmation
from genogate.search.ladder.ladder import search
from genogate.search.ladder.page import markdown
from genogate.search.ladder.plan import Plan
from genogate.search.ladder.rungs import Net, Result

NETS = {bits: Net(0, Genome.uniform(bits)) for bits in (8, 6, 5, 4)}


class Rungs:
    """Trainings of a second an epoch; those with other random numbers lose what `lost` says."""

    def __init__(self, lost, left):
        self.plan = SimpleNamespace(spare=0.0, drop=0.5, seed=3, limits=(), checkpoints=("a",))
        self.own_measure, self.lost, self.seconds_left = False, lost, left
        self.trainings = []

    def left(self):
        return self.seconds_left

    def pace(self, net):
        return 1.0

    def priced(self, nets):
        return [{"um2": float(net.genome.genes[0])} for net in nets]

    def trained(self, nets, rung, epochs, rate=None, seed=None):
        ((net, start),) = nets
        self.seconds_left -= epochs
        self.trainings.append((net.genome.genes[0], start and start.net.genome.genes[0], seed))
        chain = (*(start.chain if start else ()), (net, epochs))
        return [trained(net, self.lost[net.genome.genes[0]], chain)]


def trained(net, lost, chain):
    marks = np.full(10, 0.9 - lost / 100)
    return Result(net, 0.9 - lost / 100, str(net.key), "short", marks=marks, chain=chain)


def confirmed(lost, left=100.0):
    """INT8, and a chain of INT6, INT5 and INT4 that seem to lose nothing."""
    rungs = Rungs(lost, left)
    rungs.plan.cost = "um2"
    climb, chain = Climb(rungs, 2, 8), ((NETS[8], 8),)
    climb.base = 0.9
    climb.finished = [trained(NETS[8], 0.0, chain)]
    for bits in (6, 5, 4):
        chain = (*chain, (NETS[bits], 2))
        climb.finished.append(trained(NETS[bits], 0.0, chain))
    confirmation = Confirmation(climb)
    before = confirmation.seconds(climb.finished[-1])
    stages = list(confirmation.run())
    return confirmation, rungs, before, stages


def test_the_cheapest_that_is_within_again_is_chosen_along_one_chain():
    confirmation, rungs, before, stages = confirmed({8: 0.0, 6: 0.1, 5: 0.4, 4: 0.9})
    assert before == 8 + 2 + 2 + 2
    # Each once, from the second training of the one before, with other random numbers.
    assert rungs.trainings == [(b, a, 3 + OTHER) for b, a in ((8, None), (6, 8), (5, 6), (4, 5))]
    assert stages == ["confirmed"]
    assert confirmation.best().net == NETS[5]
    lost, error = confirmation.lost(confirmation.best())
    assert (lost, error) == (pytest.approx(0.4), pytest.approx(0, abs=1e-9))


def test_what_is_not_within_again_leaves_int8():
    confirmation, *_ = confirmed({8: 0.0, 6: 0.6, 5: 0.7, 4: 0.9})
    assert confirmation.best().net == NETS[8]


def test_the_first_chain_is_trained_whatever_is_left_and_no_other_beyond_the_time():
    lost = {8: 0.0, 6: 0.1, 5: 0.2, 4: 0.9}
    confirmation, rungs, _, stages = confirmed(lost, left=1.0)
    assert stages == ["confirmed"]
    assert confirmation.best().net == NETS[5]
    # A cheaper one that none of the trained chains has.
    other = ((NETS[8], 8), (NETS[4], 4))
    climb = confirmation.climb
    climb.finished.append(trained(NETS[4], 0.0, other))
    assert confirmation._next(first=False) is None
    rungs.seconds_left = 4.0
    assert confirmation._next(first=False).chain == other


def test_a_search_that_confirms_ends_with_what_holds_and_goes_on_the_same(tmp_path):
    plan = Plan(("digits-row",), budget=6.0, epochs=1, sequences=200, drop=20.0, pace=(0.5,))
    plan = replace(plan, confirm=True)
    document = search(tmp_path / "a", plan)
    again = [entry for entry in document["finished"] if "again" in entry]
    assert again[0]["again"] == {"lost": 0.0, "error": 0.0}
    best = document["best"]
    assert best["lost"] + best["error"] <= 20
    assert best["again"]["lost"] <= 20
    assert best["um2"] == min(e["um2"] for e in again if e["again"]["lost"] <= 20)
    text = markdown(document)
    assert f"{len(again)} networks, INT8 among them, were trained once more" in text
    assert (tmp_path / "a" / "page.md").read_text() == text
    assert search(tmp_path / "a", plan, resume=True) == document
