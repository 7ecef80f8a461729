"""A training-free proxy in the search: it ranks genomes before, or instead of, the golden model.

The proxy (:mod:`.proxies`) looks at statistics of the float network, made once and cached; a genome
then costs a look-up. It knows the widths alone: knobs and other checkpoints it cannot tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..model.genome import MAX_BITS, MIN_BITS, Genome
from .evaluate import Say, Setting, load
from .pareto import Array, crowded, gains, non_dominated
from .proxies import statistics
from .proxies.formula import Proxy
from .proxies.use import Ranker, resolve

#: Genomes that scores are told apart by.
SAMPLE = 500
#: Share of those kept that is drawn blindly, so that what a proxy thinks little of is met too.
BLIND = 0.1
#: Candidates whose gain of hypervolume is computed, for each that is wanted.
SHORTLIST = 3
#: Points with known accuracy from which on scores are translated into accuracies.
ENOUGH = 20


def canonical(proxy: str | Proxy) -> str:
    """The text that a run keeps: a shipped name may mean another formula one day. Raises
    :class:`~..model.errors.InputError` for what is no proxy, or needs the network."""
    chosen = resolve(proxy)
    Ranker(chosen, None)  # refuses what runs the network
    return str(chosen)


@dataclass(frozen=True, eq=False)
class Prescreen:
    """A proxy on the network of a search.

    ranker : scores of genomes, larger meaning better
    layers : of the network
    """

    ranker: Ranker
    layers: int

    @classmethod
    def of(cls, proxy: str, setting: Setting, say: Say = lambda text: None) -> "Prescreen":
        """Statistics are taken from the cache; else torch makes them, and its absence is an
        :class:`~..model.errors.InputError`, as is a proxy without a finite value here."""
        from ..model import zoo

        material = load(setting)
        made = statistics.of_gru(zoo.load(setting.checkpoint), material.task, say=say)
        found = cls(Ranker(proxy, made), material.layers)
        found.ends  # noqa: B018 - to complain now
        return found

    def scores(self, genomes: Sequence[Genome]) -> Array:
        """Float64 [n]."""
        if not genomes:
            return np.zeros(0)
        return self.rank(np.array([genome.genes for genome in genomes]))

    def rank(self, rows: Array) -> Array:
        """Scores float64 [n] of genes [n, 17 layers]."""
        return self.ranker(np.asarray(rows, np.uint8))

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Scores of INT2 and INT8."""
        low, high = self.scores([Genome.uniform(b, self.layers) for b in (MIN_BITS, MAX_BITS)])
        return float(low), float(high)

    @cached_property
    def _sample(self) -> Array:
        """Ascending scores of genomes of all widths, every one near to some width."""
        rng = np.random.default_rng(2307)
        genes = self.layers * 17
        centres = rng.integers(MIN_BITS, MAX_BITS + 1, (SAMPLE, 1))
        rows = np.clip(centres + rng.integers(-2, 3, (SAMPLE, genes)), MIN_BITS, MAX_BITS)
        found = self.scores([Genome.from_genes(row) for row in rows])
        return np.unique(np.concatenate([found, self.ends]))

    def loss(self, genomes: Sequence[Genome]) -> Array:
        """Float64 [n], 0 to 1: the share of a fixed sample with a better score. A ranking without a
        scale becomes an objective that crowding can work with."""
        sample = self._sample
        return 1 - np.interp(self.scores(genomes), sample, np.linspace(0, 1, len(sample)))

    def damage(self, genomes: Sequence[Genome]) -> Array:
        """Float64 [n]: what the score loses against INT8, in units of what INT2 loses."""
        low, high = self.ends
        return (high - self.scores(genomes)) / ((high - low) or 1.0)


def isotonic(x: Array, y: Array) -> tuple[Array, Array]:
    """The non-decreasing step function of least squares through points (`x`, `y`): abscissae and
    values, for interpolation."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(x, kind="stable")
    return np.asarray(x, float)[order], isotonic_regression(np.asarray(y, float)[order]).x


def select(
    rng: np.random.Generator, losses: Array, costs: Array, count: int, *, useful: Array,
    front: Array | None = None, reference: Array | None = None,
) -> list[int]:  # fmt: skip
    """Indices of at most `count` candidates to evaluate, ascending.

    One after the other that of the `useful` ones which adds most to the hypervolume of `front` and
    of those taken, where that is known. Then the layers of those that no other is better than in
    loss and all costs, the useful ones first, the last layer spread evenly. :data:`BLIND` of them
    are drawn from all.

    Parameters
    ----------
    losses : float64 [n], to be minimised
    costs : float64 [n, costs], to be minimised
    useful : bool [n]
    front, reference : float64 [points, 1 + costs] in the units of `losses` and `costs`, and the far
        corner where hypervolume counts
    """
    if len(losses) <= count:
        return list(range(len(losses)))
    taken = [int(k) for k in rng.permutation(len(losses))[: int(BLIND * count)]]
    values = np.column_stack([losses, costs])
    if front is not None and reference is not None:
        left = [k for k in _shortlist(values, front, reference, SHORTLIST * count)
                if useful[k] and k not in taken]  # fmt: skip
        while left and len(taken) < count:
            gain = gains(front, np.maximum(values[left], 0.0), reference)
            best = int(gain.argmax())
            if not gain[best] > 0:
                break
            taken.append(left[best])
            front = np.vstack([front, values[left[best]]])
            left = [k for k, more in zip(left, gain, strict=True) if more > 0 and k != left[best]]
    for group in (useful, ~useful):
        rest = np.array([k for k in np.flatnonzero(group) if k not in taken], int)
        while len(rest) and len(taken) < count:
            layer = non_dominated(values[rest])
            picked = crowded(values[rest[layer]], count - len(taken))
            taken += [int(rest[layer[k]]) for k in picked]
            rest = np.delete(rest, layer)
    return sorted(taken)


def _shortlist(values: Array, front: Array, reference: Array, count: int) -> list[int]:
    """Indices of the `count` rows that could get worst until a point of `front` dominates them."""
    margin = ((front[None] - values[:, None]) / reference).max(2).min(1)
    order = np.argsort(-margin, kind="stable")
    return [int(k) for k in order[:count] if margin[k] > 0]


def plain(setting: Setting, silicon: bool) -> Setting:
    """The setting by which costs are told without running anything: activation units as tables,
    whose choice takes no time; sizes are the same with any, cells are an estimate."""
    return replace(setting, knobs=replace(setting.knobs, activation="table"), silicon=silicon,
                   estimate=True)  # fmt: skip
