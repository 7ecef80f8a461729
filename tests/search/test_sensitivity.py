"""Sensitivity: profiles, the genomes that follow from them, and the greedy descent."""

from itertools import pairwise

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.evaluate import Setting, evaluate
from genogate.search.genomes.sensitivity import descent, ordered, profile

#: A network that anyone can see through: each operator loses a known share for every bit.
LOST = np.array([0.001 * (k % 5) for k in range(17)])
WEIGHT = np.array([10 + k for k in range(17)])


class Toy:
    """A judge that counts; accuracy and costs are sums over operators."""

    def __init__(self, silicon=True):
        self.asked, self.silicon = [], silicon

    def __call__(self, genomes):
        self.asked += genomes
        found = []
        for genome in genomes:
            bits = np.array(genome.genes)
            lost = np.tile(LOST, len(genome.layers)) @ (8 - bits) + 0.02 * (bits == 2).sum()
            result = {"accuracy": 0.9 - lost, "size": int(100 + bits.sum())}
            if self.silicon and lost < 0.05:
                result["cells"] = int(np.tile(WEIGHT, len(genome.layers)) @ bits)
            found.append(result)
        return found


@pytest.mark.parametrize("layers", [1, 2])
def test_a_profile_holds_each_operator_alone(layers):
    toy = Toy()
    found = profile(toy, layers)
    assert len(toy.asked) == len(set(toy.asked)) == 1 + 102 * layers
    assert all(sum(bits != 8 for bits in genome.genes) <= 1 for genome in toy.asked)
    assert found.accuracy.shape == (17 * layers, 7)
    assert found.accuracy[3, 7 - 2] == pytest.approx(0.9 - LOST[3])
    assert found.costs["size"][0, 0] == pytest.approx(
        (100 + 8 * 17 * layers - 6) / (100 + 8 * 17 * layers)
    )
    # Losses never fall towards fewer bits.
    assert (np.diff(found.loss, axis=1) <= 0).all()
    assert (found.loss[:, -1] == 0).all()


def test_gains_by_narrow_operators_are_taken_for_noise():
    def judge(genomes):
        return [{"accuracy": 0.9 + 0.01 * (g.genes[0] == 5), "size": sum(g.genes)} for g in genomes]

    assert (profile(judge).loss == 0).all()


def test_a_cost_that_is_not_known_is_that_of_the_next_wider():
    def judge(genomes):
        return [
            {"accuracy": 0.9, **({"cells": sum(g.genes)} if g.genes[4] > 3 else {})}
            for g in genomes
        ]

    cells = profile(judge).costs["cells"]
    assert cells[4, 0] == cells[4, 1] == cells[4, 2] == (17 * 8 - 4) / (17 * 8)
    assert cells[5, 0] == (17 * 8 - 6) / (17 * 8)


def test_the_chain_takes_bits_where_they_cost_least():
    found = profile(Toy(silicon=False))
    chain = ordered(found, ["size"], drop=1.0)
    assert chain[0] == Genome.uniform(8)
    assert chain[-1] == Genome.uniform(2)
    assert len(chain) == 1 + 17 * 6
    for before, after in pairwise(chain):
        steps = np.array(before.genes) - np.array(after.genes)
        assert sorted(steps) == [0] * 16 + [1]
    # Operators that lose nothing down to 3 bits come first, and nothing goes to 2 before that.
    free = np.flatnonzero(LOST == 0)
    early = np.array(chain[len(free) * 5].genes)
    assert (early[free] == 3).all()
    assert (early[LOST > 0] == 8).all()
    # Least steep first.
    taken = np.array(chain[2 * len(free) * 5 + 1].genes)
    assert (taken[LOST >= 0.003] == 8).all()


def test_the_chain_follows_the_cost_that_is_asked_for():
    found = profile(Toy())
    free = np.flatnonzero(LOST == 0)
    first = ordered(found, ["cells"], drop=1.0)[1]
    # Cells are saved most by the last of those that lose nothing.
    assert np.flatnonzero(np.array(first.genes) < 8).tolist() == [free[-1]]


@pytest.mark.parametrize("count", [1, 13, 40, 90])
@pytest.mark.parametrize("costs", [["size"], ["size", "cells"]])
def test_count_genomes_are_spread_over_the_chains(count, costs):
    found = profile(Toy())
    genomes = ordered(found, costs, count=count)
    assert len(genomes) == len(set(genomes)) == count
    assert genomes[0] == Genome.uniform(8)
    assert set(genomes) <= set(ordered(found, costs))
    assert ordered(found, costs, count=count) == genomes
    if count > 10:
        total = [sum(genome.genes) for genome in genomes]
        assert min(total) < 17 * 5
        assert len(set(total)) > count / 3


def test_the_chain_ends_where_too_much_is_lost():
    found = profile(Toy(silicon=False))
    short = ordered(found, ["size"], drop=0.05)
    assert 5 < len(short) < 103
    assert Toy()([short[-1]])[0]["accuracy"] >= 0.9 - 0.05 - 1e-9


@pytest.mark.parametrize(("costs", "count"), [(["beauty"], None), ([], None), (["size"], 0)])
def test_what_cannot_be_ordered_is_refused(costs, count):
    with pytest.raises(InputError, match="sensitivity: "):
        ordered(profile(Toy()), costs, count=count)


def test_the_descent_is_greedy_and_stays_in_its_budget():
    toy = Toy(silicon=False)
    found = descent(toy, budget=200)
    assert toy.asked == list(found.evaluated)
    assert len(toy.asked) == len(set(toy.asked)) == 200
    for before, after in pairwise(found.path):
        (gene,) = np.flatnonzero(np.array(before.genes) != np.array(after.genes))
        open_ = [k for k in range(17) if before.genes[k] > 3]
        assert LOST[gene] == min(LOST[k] for k in open_)
    assert descent(Toy(silicon=False), budget=200) == found


def test_the_descent_ends_below_the_useful_region():
    toy = Toy(silicon=False)
    found = descent(toy, budget=10_000, drop=0.03)
    assert len(toy.asked) < 1000
    accuracy = [found.evaluated[genome]["accuracy"] for genome in found.path]
    assert accuracy[-1] >= 0.87
    around = np.array(found.path[-1].genes)
    assert all(
        Toy()([Genome.from_genes([*around[:g], around[g] - 1, *around[g + 1 :]])])[0]["accuracy"]
        < 0.87
        for g in range(17)
        if around[g] > 2
    )


def test_the_descent_goes_down_once_for_each_weighting():
    found = descent(Toy(), budget=10_000, costs=["size", "cells"], drop=0.03)
    assert found.path.count(Genome.uniform(8)) == 3
    assert all("cells" in found.evaluated[genome] for genome in found.path)


def test_a_start_counts_as_evaluated():
    start = [Genome.uniform(bits) for bits in range(2, 9)]
    found = descent(Toy(), budget=7, start=start)
    assert set(found.evaluated) == set(start)
    assert found.path == [Genome.uniform(8)]


def test_a_real_network_has_operators_that_matter_and_some_that_do_not():
    """The sum of the candidate matters, the gates hardly."""
    setting = Setting("digits-row", Knobs(activation="table"), silicon=False)
    found = profile(lambda genomes: [result for _, result in evaluate(setting, genomes)])
    loss = dict(zip(GENES, found.loss[:, 0], strict=True))
    assert loss["s_n"] > 0.05 > loss["a_r"]
    assert found.costs["size"][GENES.index("w_hn"), 0] < 0.9 < found.costs["size"][16, 0]
