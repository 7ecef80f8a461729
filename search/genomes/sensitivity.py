"""How much each operator alone minds few bits, and the genomes that follow from it.

A profile costs 6 evaluations for each operator. From it come genomes without any further evaluation
(:func:`ordered`), for a search to start from, and :func:`descent` is the greedy rival of searches,
which looks at all its neighbours before each step.

A `judge` is anything that takes genomes and gives a result for each: ``accuracy`` as a share, and
costs such as ``size`` and ``cells``; a result may lack costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ...model.errors import InputError
from ...model.genome import MAX_BITS, MIN_BITS, Genome

Array = np.ndarray
Item = TypeVar("Item")
Judge = Callable[[list[Genome]], Sequence[Mapping[str, Any]]]
#: Widths of the columns of a profile.
WIDTHS = tuple(range(MIN_BITS, MAX_BITS + 1))
#: Accuracy that is added to the loss of every bit, so that of steps that lose nothing that comes
#: first which saves most; about half an image of the validation part of digits-row.
SLIGHT = 0.0025


@dataclass(frozen=True)
class Profile:
    """What it does to INT8 when one operator alone has fewer bits.

    Columns are the widths 2 to 8 (:data:`WIDTHS`); the last is INT8 itself.

    accuracy : float64 [genes, 7]
    costs : name to float64 [genes, 7], relative to INT8
    """

    accuracy: Array
    costs: Mapping[str, Array]

    @property
    def loss(self) -> Array:
        """Accuracy lost [genes, 7], never less at fewer bits, and nowhere negative: what a narrow
        operator seems to gain is noise."""
        lost = self.accuracy[:, -1:] - self.accuracy
        return np.maximum.accumulate(lost[:, ::-1], axis=1)[:, ::-1]


def profile(judge: Judge, layers: int = 1, dense: int = 0) -> Profile:
    """Evaluate INT8, and each operator alone at 2 to 7 bits: 1 + 102 evaluations a GRU layer and 12
    a dense layer.

    A cost that a result lacks is taken from the next wider width that has it.
    """
    top = list(Genome.uniform(MAX_BITS, layers, dense).genes)
    rows = [[*top[:g], bits, *top[g + 1 :]] for g in range(len(top)) for bits in WIDTHS[:-1]]
    int8, *results = judge([Genome.from_genes(row) for row in [top, *rows]])
    shape = len(top), len(WIDTHS) - 1

    def column(name: str) -> Array:
        values = np.reshape([float(r.get(name, np.nan)) for r in results], shape)
        return np.hstack([values, np.full((len(top), 1), float(int8[name]))])

    costs = {}
    for name, value in int8.items():
        if name == "accuracy" or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not value > 0:
            continue
        shares = column(name) / value
        for k in range(shape[1] - 1, -1, -1):
            shares[:, k] = np.where(np.isnan(shares[:, k]), shares[:, k + 1], shares[:, k])
        costs[name] = shares
    return Profile(column("accuracy"), costs)


def _chain(profile: Profile, weights: Mapping[str, float], drop: float) -> list[Genome]:
    """From INT8 downwards, one bit a step: that of the operator that loses least for what it saves,
    looking ahead over all its widths below. Losses are taken to add up, and end it beyond `drop`.
    """
    loss = profile.loss
    cost = np.sum([weight * profile.costs[name] for name, weight in weights.items()], axis=0)
    bits = np.full(len(loss), len(WIDTHS) - 1)
    chain, lost = [Genome.from_genes(bits + MIN_BITS)], 0.0
    # The best price of what may come next of every operator at every width; no saving is no step.
    price = np.full(loss.shape, np.inf)
    for k in range(1, loss.shape[1]):
        saved = cost[:, k : k + 1] - cost[:, :k]
        asked = loss[:, :k] - loss[:, k : k + 1] + SLIGHT * np.arange(k, 0, -1)
        ratio = np.where(saved > 0, asked / np.where(saved > 0, saved, 1.0), 1e9 * (1 + asked))
        price[:, k] = ratio.min(1)
    while True:
        prices = price[np.arange(len(bits)), bits]
        gene = int(prices.argmin())
        if not np.isfinite(prices[gene]):
            return chain
        lost += loss[gene, bits[gene] - 1] - loss[gene, bits[gene]]
        if lost > drop:
            return chain
        bits[gene] -= 1
        chain.append(Genome.from_genes(bits + MIN_BITS))


def mixes(costs: Sequence[str]) -> list[dict[str, float]]:
    """Weightings of `costs` that a front needs: each alone, then all together."""
    alone = [{name: 1.0} for name in costs]
    return alone if len(alone) < 2 else [*alone, dict.fromkeys(costs, 1.0)]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` different ones of `items`, evenly over their order, both ends among them."""
    items = list(dict.fromkeys(items))
    if count >= len(items):
        return items
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def ordered(
    profile: Profile,
    costs: Sequence[str] = ("size",),
    *,
    count: int | None = None,
    drop: float = 0.3,
) -> list[Genome]:
    """Genomes from INT8 downwards, each with one bit less than the one before, at the operator that
    loses least accuracy for what it saves; no evaluations.

    costs : of the profile; with several there is a chain for each and one for their sum, and
        genomes are taken from them evenly
    count : at most so many, spread over each chain; all when None
    drop : where the losses of single operators, added up, exceed it, the chain ends

    The genomes are different from each other, the first is INT8.
    Raises :class:`InputError` for a cost that the profile has not.
    """
    for name in costs:
        if name not in profile.costs:
            raise InputError(
                f"sensitivity: no cost {name!r}, the profile has {', '.join(profile.costs)}"
            )
    if not costs or (count is not None and count < 1):
        raise InputError("sensitivity: a cost and a count of 1 or more are needed")
    chains = [_chain(profile, weights, drop) for weights in mixes(costs)]
    if count is None:
        return list(dict.fromkeys(genome for chain in chains for genome in chain))
    # What two chains share leaves room for more of both.
    for share in range(-(-count // len(chains)), count + len(chains) + 1):
        picked = [spread(chain, share) for chain in chains]
        merged = list(dict.fromkeys(genome for chain in picked for genome in chain))
        if len(merged) >= count:
            break
    return spread(merged, count)


@dataclass(frozen=True)
class Descent:
    """What :func:`descent` did.

    path : the genomes it stood on, INT8 first, over all weightings
    evaluated : all genomes it asked for with their results, in that order, each once
    """

    path: list[Genome]
    evaluated: dict[Genome, Mapping[str, Any]]


class _Spent(Exception):
    pass


def _narrower(genes: Sequence[int]) -> list[Genome]:
    """The genomes with one bit less in one operator."""
    return [
        Genome.from_genes([*genes[:g], genes[g] - 1, *genes[g + 1 :]])
        for g in range(len(genes))
        if genes[g] > MIN_BITS
    ]


def descent(
    judge: Judge,
    layers: int = 1,
    dense: int = 0,
    *,
    costs: Sequence[str] = ("size",),
    budget: int = 1000,
    drop: float = 0.10,
    start: Sequence[Genome] = (),
) -> Descent:
    """Greedy sensitivity descent from INT8, evaluating all neighbours (one operator, one bit less)
    before each step, and taking that which loses least accuracy for its relative saving.

    Ends where every neighbour is more than `drop` below INT8, or `budget` different genomes were
    evaluated. One descent for each weighting of `costs` (:func:`mixes`), one after another within
    the same budget. A neighbour whose result lacks a cost is no choice.

    start : genomes that are evaluated before, and count
    """
    results: dict[Genome, Mapping[str, Any]] = {}
    path: list[Genome] = []

    def look(genomes: Sequence[Genome]) -> None:
        new = [genome for genome in dict.fromkeys(genomes) if genome not in results]
        room = budget - len(results)
        if room > 0 and new:
            results.update(zip(new[:room], judge(new[:room]), strict=True))
        if len(new) > room:
            raise _Spent

    try:
        int8 = Genome.uniform(MAX_BITS, layers, dense)
        look([int8, *start])
        best = results[int8]["accuracy"]
        for weights in mixes(costs):
            at: Genome | None = int8
            while at is not None:
                path.append(at)
                genes, here, at = at.genes, results[at], None
                around = _narrower(genes)
                look(around)
                least = (np.inf, np.inf)
                for genome in around:
                    there = results[genome]
                    if there["accuracy"] < best - drop or any(c not in there for c in weights):
                        continue
                    saved = sum(
                        weight * (here[c] - there[c]) / (results[int8][c] or 1)
                        for c, weight in weights.items()
                    )
                    lost = max(0.0, here["accuracy"] - there["accuracy"]) + SLIGHT
                    price = lost / saved if saved > 0 else 1e9 * (1 + lost)
                    if (price, -there["accuracy"]) < least:
                        least, at = (price, -there["accuracy"]), genome
    except _Spent:
        pass
    return Descent(path, results)
