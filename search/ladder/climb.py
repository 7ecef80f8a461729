"""The way up the ladder: which networks are worth a short training, and which a full one.

Starts are what can be computed: homogeneous genomes, and those ordered by the sensitivity of every
operator. From trained networks small steps to fewer bits are looked at by quantising the trained
weights; the most promising are trained briefly from these weights, so that a network narrows bit by
bit; at last the cheapest that promise to stay within the limit are trained fully from float
weights, as every network is that they are compared with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ..genomes import sensitivity
from .rungs import LEAST_BITS, Net, Result, Rungs

Array = np.ndarray
#: Short trainings of a round, at least, and parents.
TRAINED, PARENTS = 3, 2
#: Steps that are taken at once, spread of their order (of the logarithm of loss over saving), and
#: points that a step counts as at least.
AT_ONCE, SPREAD, SLIGHT = (2, 4, 7, 11), 0.6, 0.1
#: Shares of the budget after which the search for starts ends, and that of short trainings.
EXPLORED, CLIMBED = 0.25, 0.6
#: Points beyond the limit up to which a network may be a parent.
BEYOND = 1.5
#: What a point beyond the limit, and a turn as a parent, count as, in shares of the cost.
DEAR, AGAIN = 0.15, 0.06
#: Share of the points lost after a short training that a full one leaves, until trainings tell.
HOPE, HOPE_WEIGHT = 0.4, 4.0
#: Share of the points lost by quantisation that a short training leaves, until trainings tell.
PRIOR, PRIOR_WEIGHT = 0.3, 4.0


def row_of(net: Net) -> Array:
    """Genes, bits of input and classifier, and place of the checkpoint [20]."""
    return np.array([*net.genome.genes, net.input_bits, net.classifier_bits, net.size])


def net_of(row: Array) -> Net:
    """The other way."""
    genes = Genome.from_genes([int(v) for v in row[:-3]])
    return Net(int(row[-1]), genes, int(row[-3]), int(row[-2]))


def steps_down(net: Net) -> list[Net]:
    """`net` with a bit less of one gene, of the input or of the classifier, one after the other."""
    row = row_of(net)
    low = [MIN_BITS] * (len(row) - 3) + [LEAST_BITS] * 2
    return [
        net_of(np.array([*row[:k], row[k] - 1, *row[k + 1 :]]))
        for k, least in enumerate(low)
        if row[k] > least
    ]


def together(net: Net, steps: Sequence[Net]) -> Net:
    """`net` with all of the `steps` (:func:`steps_down`) at once."""
    row = row_of(net)
    return net_of(row + sum((row_of(step) - row for step in steps), np.zeros(len(row), int)))


@dataclass(frozen=True)
class Proposal:
    """A network near a trained one.

    rank : the least is the most promising
    loss : points that quantising the parent's weights for it loses
    """

    rank: float
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

    trained : short and full results, in the order in which they were made
    """

    rungs: Rungs
    short: int
    full: int
    base: float = 0.0
    trained: list[Result] = field(default_factory=list)
    finished: list[Result] = field(default_factory=list)
    used: dict[Net, int] = field(default_factory=dict)
    ratios: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = self.rungs.plan
        self.rng = np.random.default_rng([self.plan.seed, 11])
        self.sizes = len(self.plan.checkpoints)

    # Figures

    def lost(self, result: Result) -> float:
        """Points below INT8 of the first checkpoint, trained fully."""
        return 100 * (self.base - result.judged)

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

    @property
    def share_left(self) -> float:
        """Share of the points that a network loses after a short training that a full one leaves,
        by those that had both."""
        brief = {r.net: self.lost(r) for r in self.trained}
        both = [(brief[r.net], self.lost(r)) for r in self.finished if r.net in brief]
        before = sum(max(0.0, short) for short, _ in both)
        after = sum(max(0.0, full) for _, full in both)
        return (HOPE * HOPE_WEIGHT + after) / (HOPE_WEIGHT + before)

    def expected(self, lost: float) -> float:
        """Points that full training leaves of what a short one lost."""
        return lost * self.share_left if lost > 0 else lost

    # Stages

    def run(self) -> Iterator[str]:
        """All of it; what was done, after every batch."""
        yield from self._base()
        yield from self._starts()
        # What a full training leaves of a short one's losses is worth knowing early.
        yield from self._finals(1)
        yield from self._rounds()
        yield from self._finals()

    def _train(self, nets: list[tuple[Net, Result | None]], rung: str) -> list[Result]:
        epochs = self.full if rung == "full" else self.short
        results = self.rungs.trained(nets, rung, epochs)
        (self.finished if rung == "full" else self.trained).extend(results)
        return results

    def _base(self) -> Iterator[str]:
        int8 = Net(0, Genome.uniform(MAX_BITS, self.rungs.layers))
        (result,) = self._train([(int8, None)], "full")
        self.base = result.judged
        yield "INT8"

    def _starts(self) -> Iterator[str]:
        """Homogeneous genomes of every size, and some of the chain by sensitivity."""
        starts = [
            Net(size, Genome.uniform(bits, self.rungs.layers), bits, bits)
            for bits in range(MAX_BITS - 2, MIN_BITS, -1)
            for size in range(self.sizes)
        ]
        yield from self._begun(starts)
        if not self.spent(EXPLORED):
            chain = self._chain()
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

    def _chain(self) -> list[Genome]:
        """Three genomes ordered by the sensitivity of every operator."""

        def judge(genomes: list[Genome]) -> list[dict[str, float]]:
            nets = [Net(0, genome) for genome in genomes]
            results = self.rungs.quantised(nets)
            prices = self.rungs.priced(nets)
            return [
                {"accuracy": r.judged, self.plan.cost: p[self.plan.cost]}
                for r, p in zip(results, prices, strict=True)
            ]

        profile = sensitivity.profile(judge, self.rungs.layers)
        chain = sensitivity.ordered(profile, [self.plan.cost], count=24)
        return sensitivity.spread(chain[len(chain) // 3 :], 3)

    def parents(self) -> list[Result]:
        """The cheapest networks that are within or a little beyond the limit, those first that were
        parents less often."""
        limit = self.plan.drop + BEYOND
        able = [r for r in self.trained if self.expected(self.lost(r)) <= limit]
        able = able or sorted(self.trained, key=self.lost)[:PARENTS]

        def rank(result: Result) -> float:
            over = max(0.0, self.expected(self.lost(result)) - self.plan.drop)
            tries = self.used.get(result.net, 0)
            return self.cost(result.net) * (1 + DEAR * over) * (1 + AGAIN * tries)

        return sorted(able, key=rank)[:PARENTS]

    def _rounds(self) -> Iterator[str]:
        """Narrow trained networks, a few bits at a time."""
        seen = {r.net for r in self.trained}
        while not self.spent(CLIMBED):
            proposals: list[Proposal] = []
            for parent in self.parents():
                self.used[parent.net] = self.used.get(parent.net, 0) + 1
                proposals += [p for p in self._proposed(parent) if p.net not in seen]
            if not proposals:
                return
            best = sorted(proposals, key=lambda p: p.rank)
            chosen = list({p.net: p for p in reversed(best)}.values())[::-1][: self.batch]
            starts = [(p.net, p.parent if p.same_size else None) for p in chosen]
            for proposal, result in zip(chosen, self._train(starts, "short"), strict=True):
                seen.add(result.net)
                if proposal.same_size:
                    left = self.lost(result) - self.lost(proposal.parent)
                    self.ratios.append((proposal.loss, max(0.0, left)))
            yield "narrower"

    def _proposed(self, parent: Result) -> list[Proposal]:
        """Steps to fewer bits that lose least for what they save, several at once, and the same
        genome on other checkpoints."""
        steps = steps_down(parent.net)
        # The parent as its own weights quantise it, so that the difference is that of the step.
        own, *looked = self.rungs.quantised([parent.net, *steps], parent)
        cost, *prices = (p[self.plan.cost] for p in self.rungs.priced([parent.net, *steps]))
        losses = np.array([max(0.0, 100 * (own.judged - r.judged)) + SLIGHT for r in looked])
        saved = np.maximum(cost - np.array(prices), 1e-6 * cost)
        # A different order every time that a parent has its turn.
        order = np.argsort(losses / saved * np.exp(self.rng.normal(0, SPREAD, len(steps))))
        nets = [together(parent.net, [steps[k] for k in order[:n]]) for n in AT_ONCE]
        nets = [net for net in dict.fromkeys(nets) if net != parent.net and self.allowed(net)]
        results = self.rungs.quantised(nets, parent)
        found = [(r.net, max(0.0, 100 * (own.judged - r.judged))) for r in results]
        others = [replace(parent.net, size=k) for k in range(self.sizes) if k != parent.net.size]
        found += [(net, 0.0) for net in others if self.allowed(net)]
        rows = []
        for net, loss in found:
            after = self.expected(self.lost(parent) + self.kept_share * loss)
            over = max(0.0, after - self.plan.drop)
            rows.append(Proposal(self.cost(net) * (1 + DEAR * over), net, parent, loss))
        return rows

    def _finals(self, most: float = np.inf) -> Iterator[str]:
        """Train fully what promises to be the cheapest within the limit, in at most so many
        batches."""
        done = {r.net for r in self.finished}
        while most > 0:
            best, most = self.best(), most - 1
            price = self.cost(best.net) if best is not None else np.inf
            left = [r for r in self.trained if r.net not in done and self.cost(r.net) < price]
            # Few together, since every one of them says what to expect of the others.
            count = min(self.rungs.pool.workers, self._affordable())
            if not left or not count:
                return
            able = [r for r in left if self.expected(self.lost(r)) <= self.plan.drop]
            ordered = sorted(able, key=lambda r: self.cost(r.net))
            ordered += sorted((r for r in left if r not in able), key=self.lost)
            finalists = list(dict.fromkeys(r.net for r in ordered))[:count]
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
            r
            for r in self.finished
            if self.lost(r) <= self.plan.drop + 1e-9 and self.allowed(r.net)
        ]
        return min(able, key=lambda r: (self.cost(r.net), -r.judged), default=None)


assert len(GENES) + 3 == len(row_of(Net(0, Genome.uniform(MAX_BITS))))
