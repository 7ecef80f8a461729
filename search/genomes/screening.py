"""A training-free proxy in the search: it ranks genomes before, or instead of, the golden model.

The proxy (:mod:`genogate.search.proxies`) looks at statistics of the float network, made once and
cached; a genome then costs a look-up. It knows the widths alone: knobs and other checkpoints it
cannot tell apart.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...model.genome import MAX_BITS, MIN_BITS, Genome
from ..proxies.formula import Proxy
from ..proxies.gru.statistics import of_gru
from ..proxies.use import Ranker, resolve
from .evaluate import Say, Setting, load
from .pareto import Array, crowded, gains, non_dominated

#: Genomes that scores are told apart by.
SAMPLE = 500
#: Share of those kept that is drawn blindly, so that what a proxy thinks little of is met too.
BLIND = 0.1
#: Candidates whose gain of hypervolume is computed, for each that is wanted.
SHORTLIST = 3
#: Points with known accuracy from which on scores are translated into accuracies.
ENOUGH = 20
#: How far above the best known accuracy lies what cannot be lost.
HEADROOM = 0.02


def canonical(proxy: str | Proxy) -> str:
    """The text that a run keeps: a shipped name may mean another formula one day. Raises
    :class:`~genogate.model.errors.InputError` for what is no proxy, or needs the network."""
    resolved = resolve(proxy)
    Ranker(resolved, None)  # refuses what runs the network
    return str(resolved)


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
        :class:`~genogate.model.errors.InputError`, as is a proxy without a finite value here."""
        from ...model import zoo

        material = load(setting)
        statistics = of_gru(zoo.load(setting.checkpoint), material.task, say=say)
        prescreen = cls(Ranker(proxy, statistics), material.layers)
        prescreen.ends  # noqa: B018 - to complain now
        return prescreen

    def scores(self, genomes: Sequence[Genome] | Array) -> Array:
        """Float64 [n] of genomes, or of genes [n, 17 layers]."""
        if not len(genomes):
            return np.zeros(0)
        rows = (
            genomes
            if isinstance(genomes, np.ndarray)
            else np.array([genome.genes for genome in genomes])
        )
        return self.ranker(rows.astype(np.uint8))

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
        scores = self.scores([Genome.from_genes(row) for row in rows])
        return np.unique(np.concatenate([scores, self.ends]))

    def loss(self, genomes: Sequence[Genome] | Array) -> Array:
        """Float64 [n], 0 to 1: the share of a fixed sample with a better score. A ranking without a
        scale becomes an objective that crowding can work with."""
        sample = self._sample
        return 1 - np.interp(self.scores(genomes), sample, np.linspace(0, 1, len(sample)))

    def damage(self, genomes: Sequence[Genome]) -> Array:
        """Float64 [n]: what the score loses against INT8, in units of what INT2 loses."""
        low, high = self.ends
        return (high - self.scores(genomes)) / ((high - low) or 1.0)


class Forecast:
    """Accuracies of genomes, by those of some: what a score stands for on this network, and where
    the proxy is wrong.

    A Gaussian process over the proxy's score and the steps that widths quantise by, 2^-bits: near
    genomes are alike, and a bit less matters the more, the fewer there are. It tells the logarithm
    of what is lost, which the operators' shares come nearer to adding up in. Amplitude, length and
    noise are those of greatest likelihood.

    Parameters
    ----------
    genes : int64 [n, 17 layers]
    accuracy : float64 [n], 0 to 1
    """

    def __init__(self, screen: Prescreen, genes: Array, accuracy: Array) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        self.screen, self.top = screen, float(accuracy.max()) + HEADROOM
        # What lost half of it all says little about what is of use.
        near = accuracy >= self.top - np.maximum(0.5, np.sort(self.top - accuracy)[ENOUGH - 1])
        genes, accuracy = genes[near], accuracy[near]
        scores = screen.scores(genes)
        self.centre, self.spread = float(scores.mean()), float(scores.std()) or 1.0
        targets = self._logarithm(accuracy)
        self.mean, self.scale = float(targets.mean()), float(targets.std()) or 1.0
        kernel = ConstantKernel(1.0) * RBF(5.0, (0.3, 100.0)) + WhiteKernel(0.1, (1e-3, 10.0))
        self.process = GaussianProcessRegressor(kernel)
        with warnings.catch_warnings():
            # A parameter at its bound is as good as it gets.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.process.fit(self._features(genes), (targets - self.mean) / self.scale)

    def _logarithm(self, accuracy: Array) -> Array:
        return np.log(self.top - accuracy)

    def _features(self, genes: Array) -> Array:
        steps = 4 * np.exp2(MIN_BITS - np.asarray(genes, float))
        score = 3 * (self.screen.scores(genes) - self.centre) / self.spread
        return np.column_stack([steps, score])

    def __call__(self, genes: Array) -> Array:
        """Float64 [n] of genes [n, 17 layers]."""
        predictions = self.process.predict(self._features(genes))
        return self.top - np.exp(self.mean + self.scale * predictions)


def select(
    rng: np.random.Generator,
    losses: Array,
    costs: Array,
    count: int,
    *,
    useful: Array,
    front: Array | None = None,
    reference: Array | None = None,
) -> list[int]:
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
        margin = margins(values, front, reference)
        order = np.argsort(-margin, kind="stable")[: SHORTLIST * count]
        left = [int(k) for k in order if margin[k] > 0 and useful[k] and k not in taken]
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


def margins(values: Array, front: Array, reference: Array) -> Array:
    """Float64 [n]: by how much each row could get worse until a point of `front` dominates it."""
    return ((front[None] - values[:, None]) / reference).max(2).min(1)


def shortlist(
    rng: np.random.Generator, values: Array, front: Array | None, reference: Array, count: int
) -> list[int]:
    """Indices of `count` rows of `values` [n, objectives] to be looked at closely: those with the
    greatest margin to `front`, or where none is known, whole layers; :data:`BLIND` of them drawn
    from all."""
    blind = rng.permutation(len(values))[: int(BLIND * count)]
    if front is None:
        order: list[int] = []
        rest = np.arange(len(values))
        while len(rest) and len(order) < count:
            layer = non_dominated(values[rest])
            order += [int(k) for k in rest[layer]]
            rest = np.delete(rest, layer)
    else:
        order = [int(k) for k in np.argsort(-margins(values, front, reference), kind="stable")]
    return list(dict.fromkeys([*(int(k) for k in blind), *order]))[:count]


def plain(setting: Setting, silicon: bool) -> Setting:
    """The setting by which costs are told without running anything: activation units as tables,
    whose choice takes no time; sizes are the same with any, cells are an estimate."""
    return replace(
        setting, knobs=replace(setting.knobs, activation="table"), silicon=silicon, estimate=True
    )
