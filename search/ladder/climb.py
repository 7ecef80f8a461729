"""The way up the ladder: which networks are worth a short training, and which a full one.

Starts are what can be computed: homogeneous genomes, and those ordered by the sensitivity of every
operator. From trained networks small steps to fewer bits are looked at by quantising the trained
weights; the most promising are trained briefly from these weights, so that a network narrows bit by
bit. After every round of these the network is trained fully, from float weights as every network is
that it is compared with, that promises to save most against the best so far: what it would save,
times the chance that it is within the limit (:mod:`.forecast`). That may be one between the best
so far and a cheaper one that lost too much, which are bisected so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...model.genome import MAX_BITS, MIN_BITS, Genome
from ..genomes import sensitivity
from .forecast import FROM_FLOAT, FROM_TRAINED, Line, fitted, gain
from .rungs import Net, Result, Rungs
from .steps import between, steps_down, together

#: Short trainings of a round, at least, and parents.
TRAINED, PARENTS = 3, 2
#: Steps that are taken at once, spread of their order (of the logarithm of loss over saving), and
#: points that a step counts as at least.
AT_ONCE, SPREAD, SLIGHT = (1, 2, 4, 7, 11), 0.6, 0.1
#: Share of the budget after which the search for starts ends.
EXPLORED = 0.25
#: Points beyond the limit up to which a network may be a parent.
BEYOND = 1.5
#: What a point beyond the limit, and a turn as a parent, count as, in shares of the cost.
DEAR, AGAIN = 0.15, 0.06
#: Share of the points lost by quantisation that a short training leaves, until trainings tell.
PRIOR, PRIOR_WEIGHT = 0.3, 4.0
#: How much less certain a network is that was not trained at all.
UNSEEN = 1.3
#: Shares of the way from the best network to a cheaper one that lost too much, and networks that
#: are drawn at each.
SHARES, DRAWN = (0.25, 0.5, 0.75), 4
#: Points of accuracy that may usually be lost, for which the figures above were chosen.
USUAL = 0.5


@dataclass(frozen=True)
class Proposal:
    """A network near a trained one.

    gain : that a full training may have (:func:`.forecast.gain`)
    loss : points that quantising the parent's weights for it loses
    """

    gain: float
    net: Net
    parent: Result
    loss: float

    @property
    def same_size(self) -> bool:
        """Whether the parent's weights fit it."""
        return self.net.size == self.parent.net.size


@dataclass
class Climb:
    """A search in progress.

    trained : after short trainings, in the order in which they were made
    finished : after full ones
    near : those whose short training began with weights that had been trained fully
    """

    rungs: Rungs
    short: int
    full: int
    base: float = 0.0
    trained: list[Result] = field(default_factory=list)
    finished: list[Result] = field(default_factory=list)
    used: dict[Net, int] = field(default_factory=dict)
    ratios: list[tuple[float, float]] = field(default_factory=list)
    near: set[Net] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.plan = self.rungs.plan
        self.rng = np.random.default_rng([self.plan.seed, 11])
        self.sizes = len(self.plan.checkpoints)
        #: What a point is. Forecasts are made for points of accuracy of which half a one may be
        #: lost; in another measure a point is as much as makes the limit half of it.
        own = self.rungs.own_measure and self.plan.drop > 0
        self.point = self.plan.drop / USUAL if own else 1.0
        self.drop = self.plan.drop / self.point

    # Figures

    def lost(self, result: Result) -> float:
        """Points below INT8 of the first checkpoint, trained fully."""
        return 100 * (self.base - result.judged) / self.point

    def cost(self, net: Net) -> float:
        return self.rungs.priced([net])[0][self.plan.cost]

    def allowed(self, net: Net) -> bool:
        """Whether it keeps the limits."""
        prices = self.rungs.priced([net])[0]
        return all(prices[name] <= greatest for name, greatest in self.plan.limits)

    def spent(self, share: float) -> bool:
        """Whether that share of the budget is gone."""
        return self.rungs.spent >= share * self.plan.budget

    @property
    def kept_share(self) -> float:
        """Share of the points that quantisation adds that a short training leaves."""
        lost = sum(loss for loss, _ in self.ratios)
        left = sum(rest for _, rest in self.ratios)
        return float(np.clip((PRIOR * PRIOR_WEIGHT + left) / (PRIOR_WEIGHT + lost), 0.0, 1.0))

    def line(self, near: bool) -> Line:
        """What a short training says of a full one."""
        brief = {r.net: self.lost(r) for r in self.trained if (r.net in self.near) == near}
        pairs = [(brief[r.net], self.lost(r)) for r in self.finished if r.net in brief]
        return fitted(pairs, FROM_TRAINED if near else FROM_FLOAT)

    def forecast(self, result: Result) -> float:
        """Points that the network loses after a full training."""
        if result.rung == "full":
            return self.lost(result)
        line = self.line(result.net in self.near)
        return line.at(self.lost(result)) + self._missed(result.net.size)

    def _missed(self, size: int) -> float:
        """Points by which networks of a checkpoint lost more than was forecast, taken to be none
        before there are any: a small one may stay behind whatever its genome is."""
        brief = {r.net: self.lost(r) for r in self.trained}
        full = [r for r in self.finished if r.net.size == size and r.net in brief]
        more = [self.lost(r) - self.line(r.net in self.near).at(brief[r.net]) for r in full]
        return sum(more) / (1 + len(more))

    def gain(self, net: Net, points: float, unseen: bool = False) -> float:
        """What full training of it may save (:func:`.forecast.gain`)."""
        best = self.best()
        price = self.cost(best.net) if best else max(self.cost(r.net) for r in self.trained)
        spread = self.line(net in self.near).spread * (UNSEEN if unseen else 1.0)
        return gain(price - self.cost(net), points, spread, self.drop)

    def smaller_loses(self, size: int, other: int) -> float:
        """Points that the checkpoint `other` loses more than `size`, by genomes that both had."""
        by_size: list[dict[tuple[object, ...], float]] = [{}, {}]
        for k, number in enumerate((size, other)):
            for r in (*self.trained, *self.finished):
                if r.net.size == number and r.net not in self.near:
                    by_size[k][replace(r.net, size=0).key, r.rung] = self.lost(r)
        both = by_size[0].keys() & by_size[1].keys()
        if not both:
            return 0.0
        return float(np.median([by_size[1][key] - by_size[0][key] for key in sorted(both)]))

    # Stages

    def run(self) -> Iterator[str]:
        """All of it; what was done, after every batch."""
        yield from self._base()
        yield from self._starts()
        yield from self._finals(1)
        while self._affordable() > 1 and self._round():
            yield "narrower"
            yield from self._finals(1)
        yield from self._finals()

    def _train(self, nets: list[tuple[Net, Result | None]], rung: str) -> list[Result]:
        epochs = self.full if rung == "full" else self.short
        results = self.rungs.trained(nets, rung, epochs)
        (self.finished if rung == "full" else self.trained).extend(results)
        return results

    def _base(self) -> Iterator[str]:
        int8 = Net(0, Genome.uniform(MAX_BITS, *self.rungs.counts))
        (result,) = self._train([(int8, None)], "full")
        self.base = result.judged
        yield "INT8"

    def _starts(self) -> Iterator[str]:
        """Genomes that were given; homogeneous ones of every size, and some of the chain by
        sensitivity."""
        given = [Net(0, genome) for genome in self.plan.starts]
        if given:
            self._train([(net, None) for net in given if self.allowed(net)], "short")
            yield "starts"
            yield from self._finals(1)
        starts = [
            Net(size, Genome.uniform(bits, *self.rungs.counts), bits, bits)
            for bits in range(MAX_BITS - 2, MIN_BITS, -1)
            for size in range(self.sizes)
        ]
        yield from self._begun(starts)
        if not self.spent(EXPLORED):
            chain = _chain_of(self)
            yield from self._begun([Net(k, g) for g in chain for k in range(self.sizes)])

    def _begun(self, nets: Sequence[Net]) -> Iterator[str]:
        """Train `nets` briefly from float weights, as far as there is time; some in any case."""
        nets = [net for net in nets if self.allowed(net)]
        for start in range(0, len(nets), self.batch):
            if self.trained and self.spent(EXPLORED):
                return
            self._train([(net, None) for net in nets[start : start + self.batch]], "short")
            yield "starts"

    @property
    def batch(self) -> int:
        """Trainings that are asked for together."""
        return max(TRAINED, self.rungs.pool.workers)

    def parents(self) -> list[Result]:
        """The cheapest networks that are within or a little beyond the limit, those first that were
        parents less often."""
        limit = self.drop + BEYOND
        every = {r.net: r for r in (*self.trained, *self.finished)}
        points = {net: self.forecast(result) for net, result in every.items()}
        able = [net for net in every if points[net] <= limit]
        able = able or sorted(every, key=lambda net: points[net])[:PARENTS]

        def rank(net: Net) -> float:
            over = max(0.0, points[net] - self.drop)
            return self.cost(net) * (1 + DEAR * over) * (1 + AGAIN * self.used.get(net, 0))

        return [every[net] for net in sorted(able, key=rank)[:PARENTS]]

    def _round(self) -> bool:
        """Narrow trained networks, a few bits at a time; whether there was anything to try."""
        seen = {r.net for r in (*self.trained, *self.finished)}
        proposals: list[Proposal] = []
        for parent in self.parents():
            self.used[parent.net] = self.used.get(parent.net, 0) + 1
            proposals += [p for p in self._proposed(parent) if p.net not in seen]
        best = sorted(proposals, key=lambda p: -p.gain)
        chosen = list({p.net: p for p in reversed(best)}.values())[::-1][: self.batch]
        if not chosen:
            return False
        starts = [(p.net, p.parent if p.same_size else None) for p in chosen]
        trained = {p.net for p in chosen if p.parent.rung == "full" or p.parent.net in self.near}
        self.near |= {p.net for p in chosen if p.same_size and p.net in trained}
        for proposal, result in zip(chosen, self._train(starts, "short"), strict=True):
            if proposal.same_size:
                left = self.lost(result) - self.lost(proposal.parent)
                self.ratios.append((proposal.loss, max(0.0, left)))
        return True

    def _proposed(self, parent: Result) -> list[Proposal]:
        """Steps to fewer bits that lose least for what they save, several at once, and the same
        genome on other checkpoints."""
        steps = steps_down(parent.net)
        # The parent as its own weights quantise it, so that the difference is that of the step.
        own, *looked = self.rungs.quantised([parent.net, *steps], parent)
        cost, *prices = (p[self.plan.cost] for p in self.rungs.priced([parent.net, *steps]))
        losses = np.array([max(0.0, self.lost(r) - self.lost(own)) + SLIGHT for r in looked])
        saved = np.maximum(cost - np.array(prices), 1e-6 * cost)
        # A different order every time that a parent has its turn.
        order = np.argsort(losses / saved * np.exp(self.rng.normal(0, SPREAD, len(steps))))
        nets = [together(parent.net, [steps[k] for k in order[:n]]) for n in AT_ONCE]
        nets = [net for net in dict.fromkeys(nets) if net != parent.net and self.allowed(net)]
        results = self.rungs.quantised(nets, parent)
        found = [(r.net, max(0.0, self.lost(r) - self.lost(own))) for r in results]
        others = [replace(parent.net, size=k) for k in range(self.sizes) if k != parent.net.size]
        rows = []
        for net, loss in found:
            points = self.forecast(parent) + self.kept_share * loss
            rows.append(Proposal(self.gain(net, points, True), net, parent, loss))
        for net in filter(self.allowed, others):
            points = self.forecast(parent) + self.smaller_loses(parent.net.size, net.size)
            rows.append(Proposal(self.gain(net, points, True), net, parent, 0.0))
        return rows

    def _finals(self, most: float = np.inf) -> Iterator[str]:
        """Train fully what promises to save most, in at most so many batches."""
        done = {r.net for r in self.finished}
        while most > 0:
            most -= 1
            # Few together, since every one of them says what to expect of the others.
            count = min(self.rungs.pool.workers, self._affordable())
            gains = {r.net: self.gain(r.net, self.forecast(r)) for r in self.trained}
            gains |= _between_of(self)
            left = [net for net, value in gains.items() if net not in done and value > 0]
            if not left or not count:
                return
            finalists = sorted(left, key=lambda net: -gains[net])[:count]
            done |= set(finalists)
            self._train([(net, None) for net in finalists], "full")
            yield "finals"

    def _affordable(self) -> int:
        """Full trainings that the budget has left, by the mean of those that there were."""
        rows = self.rungs.seconds_of_full
        return max(0, int(self.rungs.left() // max(1e-9, float(np.mean(rows)))))

    def best(self) -> Result | None:
        """The cheapest network that is fully trained and within the limit; of equal ones the more
        accurate."""
        able = [
            r for r in self.finished if self.lost(r) <= self.drop + 1e-9 and self.allowed(r.net)
        ]
        return min(able, key=lambda r: (self.cost(r.net), -r.judged), default=None)


def _chain_of(climb: "Climb") -> list[Genome]:
    """Three genomes ordered by the sensitivity of every operator."""

    def judge(genomes: list[Genome]) -> list[dict[str, float]]:
        nets = [Net(0, genome) for genome in genomes]
        results = climb.rungs.quantised(nets)
        prices = climb.rungs.priced(nets)
        return [
            {"accuracy": r.judged, climb.plan.cost: p[climb.plan.cost]}
            for r, p in zip(results, prices, strict=True)
        ]

    profile = sensitivity.profile(judge, *climb.rungs.counts)
    chain = sensitivity.ordered(profile, [climb.plan.cost], count=24)
    return sensitivity.spread(chain[len(chain) // 3 :], 3)


def _between_of(climb: "Climb") -> dict[Net, float]:
    """Networks between the best and cheaper ones that lost too much, and what they may gain:
    points are taken to be lost as cost is saved."""
    best = climb.best()
    gains: dict[Net, float] = {}
    for failed in climb.finished if best is not None else ():
        assert best is not None
        saved = climb.cost(best.net) - climb.cost(failed.net)
        lost, more = max(0.0, climb.lost(best)), climb.lost(failed)
        if failed.net.size != best.net.size or saved <= 0 or more <= climb.drop:
            continue
        nets = [between(best.net, failed.net, s, climb.rng) for s in SHARES * DRAWN]
        for net in filter(climb.allowed, nets):
            share = (climb.cost(best.net) - climb.cost(net)) / saved
            gains[net] = climb.gain(net, lost + share * (more - lost))
    return gains
