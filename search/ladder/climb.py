"""The way up the ladder: networks inherit trained weights, and narrow from them.

INT8 is trained fully, and so is INT6 of every further size. From there homogeneous networks narrow
bit by bit, each trained for a share of the epochs from the weights of the one before, until a size
loses too much; where that is at INT5 already, only operators that lose little narrow. The cheapest
that holds is what a person would write down; around it single bits go down and up, and units go.
What a step costs in accuracy is looked at once by quantising trained weights (:mod:`.steptable`),
what training leaves of that is learned from the trainings of the search (:mod:`.forecast`), and of
many drawn networks the one is trained that is expected to save most against the best so far, for
its CPU time. A network that lost slightly too much may be trained once more.

A network that inherits has had more epochs than one that was trained from float weights; all of
them count as CPU time of the search.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...model.genome import MAX_BITS, MIN_BITS, Genome
from .forecast import Effects, Steps, effects, gain
from .marks import error
from .rungs import Net, Result, Rungs
from .steps import distance, net_of, row_of, steps_between
from .steptable import StepTable

#: Bits at which every size begins; of the first INT8 was trained as well.
ROOT_BITS = 6
#: Bits of the operators that narrow in networks of two widths.
NARROWED = (4, 3)
#: Points beyond the limit up to which a size narrows further, and a network may be a parent.
BEYOND = 1.5
#: What a point beyond the limit, and a turn as a parent, count as, in shares of the cost.
DEAR, AGAIN = 0.15, 0.03
#: Parents of a round, networks drawn from each, and those of them whose price is computed.
PARENTS, DRAWN, PRICED = 4, 120, 4
#: Share of a network's judged loss that counts against its forecast: the rest is luck.
TRUSTED = 0.6
#: Share of the best's cost that a network may save at once: at first and at least; and what a
#: success and a failure make of it: one success in five keeps it, as in evolution strategies
#: (Rechenberg 1973). A share that half of them kept soon left steps of a few per cent alone.
REACH, LEAST_REACH, FARTHER, NEARER = 0.3, 0.03, 1.5, 0.9
#: Error of a forecast for another size, in those of a training.
ELSEWHERE = 1.5
#: Trainings of one network, at most.
TURNS = 3
#: Points of accuracy that may usually be lost, for which the figures above were chosen.
USUAL = 0.5


@dataclass(frozen=True)
class Proposal:
    """A network near a trained one.

    gain : that training it may have (:func:`.forecast.gain`)
    parent : whose weights it inherits
    points, spread : forecast of what it loses after training, and its standard deviation
    """

    gain: float
    net: Net
    parent: Result
    points: float
    spread: float


def falling(ordered: Iterable[Result], points: Mapping[str, float], most: float) -> list[Result]:
    """Of results in the order of their cost those that lose less than all before them, and at
    most so many points."""
    front: list[Result] = []
    for result in ordered:
        lost = points[result.path]
        if lost <= most and (not front or lost < points[front[-1].path]):
            front.append(result)
    return front


def extra_loss(
    results: Sequence[Result], lost: Callable[[Result], float], size: int, other: int
) -> float:
    """Points that networks of size `other` lose more than those of `size`: the median over the
    genomes that both had, 0 without any."""
    by_size: list[dict[str, float]] = [{}, {}]
    for k, number in enumerate((size, other)):
        for result in reversed(results):
            if result.net.size == number:
                by_size[k][replace(result.net, size=0).key] = lost(result)
    both = sorted(by_size[0].keys() & by_size[1].keys())
    return float(np.median([by_size[1][key] - by_size[0][key] for key in both])) if both else 0.0


@dataclass
class Climb:
    """A search in progress.

    short, full : epochs of a training from inherited and from float weights
    inherit : False: networks near others are trained fully from float weights instead
    finished : networks that had as many epochs as a full training, in the order in which they
        were made
    reach : share of the best's cost that the next network may save (a trust region)
    believed : points that a network is thought to lose, by its path
    used, turns : how often a network was a parent, and was trained
    tried : steps from a parent, and the points that training with them left
    count : trainings by rung
    kept : CPU seconds that must be left when a network has become the best
    """

    rungs: Rungs
    short: int
    full: int
    inherit: bool = True
    base: float = 0.0
    reach: float = REACH
    finished: list[Result] = field(default_factory=list)
    believed: dict[str, float] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    turns: dict[Net, int] = field(default_factory=dict)
    tried: list[tuple[Steps, float]] = field(default_factory=list)
    starts: list[Result] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=lambda: {"full": 0, "short": 0})
    kept: Callable[[Result], float] | None = None

    def __post_init__(self) -> None:
        self.plan = self.rungs.plan
        self.rng = np.random.default_rng([self.plan.seed, 11])
        self.sizes = len(self.plan.checkpoints)
        #: What a point is. Forecasts are made for points of accuracy of which half a one may be
        #: lost; in another measure a point is as much as makes the limit half of it.
        scaled = self.rungs.own_measure and self.plan.drop > 0
        self.point = self.plan.drop / USUAL if scaled else 1.0
        self.drop = self.plan.drop / self.point
        self.table = StepTable(self.rungs, self.point)

    # Figures

    def lost(self, result: Result) -> float:
        """Points below INT8 of the first checkpoint, trained fully, with the standard errors that
        there must be to spare."""
        lost = self.below(result)
        if result.marks is not None:
            lost += self.plan.spare * self.error(result) / self.point
        return lost

    def below(self, result: Result) -> float:
        """The same points without an error to spare."""
        return 100 * (self.base - result.judged) / self.point

    def _beyond(self, result: Result) -> bool:
        """Whether a network loses more than the limit by more than the error to spare."""
        spare = self.lost(result) - self.below(result)
        return self.below(result) - spare > self.drop

    def error(self, result: Result) -> float:
        """Standard error of what it loses, in hundredths of the task's score."""
        return error(result.marks, self.finished[0].marks) if self.finished else 0.0

    def cost(self, net: Net) -> float:
        return self.rungs.priced([net])[0][self.plan.cost]

    def allowed(self, net: Net) -> bool:
        """Whether it keeps the limits."""
        prices = self.rungs.priced([net])[0]
        return all(prices[name] <= greatest for name, greatest in self.plan.limits)

    def effects(self) -> Effects:
        """What steps do to accuracy, after the trainings so far."""
        return effects(self.table.points, list(self.table.points), self.tried)

    def within(self) -> list[Result]:
        """Networks within the limit that keep those of cost."""
        return [
            r for r in self.finished if self.lost(r) <= self.drop + 1e-9 and self.allowed(r.net)
        ]

    def cheapest(self, results: Iterable[Result]) -> Result | None:
        """The cheapest of networks; of equal ones the more accurate."""
        return min(results, key=lambda r: (self.cost(r.net), -r.judged), default=None)

    def best(self) -> Result | None:
        """The cheapest network within the limit."""
        return self.cheapest(self.within())

    # Stages

    def run(self) -> Iterator[str]:
        """All of it; what was done, after every batch."""
        yield from self._base()
        yield from self._given()
        yield from self._homogeneous()
        while self._affordable("short" if self.inherit else "full"):
            if self._round():
                yield "narrower"
            elif self.reach < REACH:
                # Nothing is that near.
                self.reach = min(REACH, FARTHER * self.reach)
            else:
                return

    def _affordable(self, rung: str) -> bool:
        """Whether the budget has another such training left, by the mean of full ones."""
        whole = float(np.mean(self.rungs.seconds_of_full))
        share = self.short / self.full if rung == "short" else 1.0
        kept = self.kept(self.best() or self.finished[-1]) if self.kept else 0.0
        return self.rungs.left() - kept >= share * whole

    def _train(self, nets: list[tuple[Net, Result | None]]) -> list[Result]:
        """Train from the weights of a result, or fully from float ones."""
        rung = "full" if nets[0][1] is None else "short"
        epochs = self.full if rung == "full" else self.short
        results = self.rungs.trained(nets, rung, epochs)
        self.finished += results
        self.count[rung] += len(results)
        for result in results:
            self.turns[result.net] = self.turns.get(result.net, 0) + 1
            self.believed.setdefault(result.path, self.lost(result))
        return results

    def _base(self) -> Iterator[str]:
        int8 = Net(0, Genome.uniform(MAX_BITS, *self.rungs.counts))
        (result,) = self._train([(int8, None)])
        self.base = result.judged
        self.believed[result.path] = 0.0
        yield "INT8"

    def _given(self) -> Iterator[str]:
        """Genomes that were given, trained fully from float weights."""
        for genome in self.plan.starts:
            net = Net(0, genome)
            if self.allowed(net) and net not in self.turns:
                self.starts += self._train([(net, None)])
                yield "starts"

    def _homogeneous(self) -> Iterator[str]:
        """Homogeneous networks of every size, narrower and narrower."""
        for size in range(self.sizes):
            root = self._homogeneous_net(size, ROOT_BITS)
            if not self.allowed(root) and self.plan.fewer:
                yield from self._within_limits(size)
                continue
            parent = self.finished[0] if size == 0 and self.inherit else None
            for bits in range(ROOT_BITS, MIN_BITS, -1):
                net = self._homogeneous_net(size, bits)
                start, first = parent if self.inherit else None, parent is None
                if not self._affordable("full" if start is None else "short"):
                    return
                if not self.allowed(net):
                    continue
                (result,) = self._train([(net, start)])
                if start is not None:
                    self._learn(start, result)
                parent = result
                self.starts.append(result)
                yield "starts"
                # Networks of about as many units come from the first size too, part by part.
                if size and first and self.plan.fewer and self._beyond(result):
                    break
                if start is not None and bits == ROOT_BITS - 1 and self._beyond(result):
                    yield from self._two_widths(start)
                    break
                # Without an error to spare, which where few sequences judge is as much as this: no
                # size is given up because its first network cannot be told from INT8.
                if self.below(parent) > self.drop + BEYOND:
                    break

    def _homogeneous_net(self, size: int, bits: int, cut: int = 0) -> Net:
        return Net(size, Genome.uniform(bits, *self.rungs.counts), bits, bits, cut)

    def _within_limits(self, size: int) -> Iterator[str]:
        """Homogeneous networks of a size whose INT6 breaks a limit: each with as many units as keep
        it, trained fully, since weights of fewer units make no network of more."""
        for bits in range(ROOT_BITS, MIN_BITS, -1):
            cuts = range(self.rungs.most_cut(size) + 1)
            nets = (self._homogeneous_net(size, bits, cut) for cut in cuts)
            net = next(filter(self.allowed, nets), None)
            if not self._affordable("full"):
                return
            if net is not None:
                self.starts += self._train([(net, None)])
                yield "starts"

    def _two_widths(self, root: Result) -> Iterator[str]:
        """Networks of two widths, in place of homogeneous ones, where the first of these below
        `root` is beyond the limit: the operators whose next bit loses least for what it saves
        narrow, the others have the bits of `root`, or all bits where it is not within."""
        self.table.look(root)
        narrow, parent = self.table.cheap_half(root.net), root
        if not narrow:
            return
        row = row_of(root.net)
        if self.lost(root) > self.drop:
            row[:-1] = MAX_BITS
        for bits in NARROWED:
            row[narrow] = bits
            net = net_of(row)
            if not self._affordable("short"):
                return
            if not self.allowed(net):
                continue
            (result,) = self._train([(net, parent)])
            self._learn(parent, result)
            parent = result
            self.starts.append(result)
            yield "starts"
            if self.below(parent) > self.drop + BEYOND:
                return

    def parents(self) -> list[Result]:
        """Networks within or a little beyond the limit that no other beats in cost and in what it
        is thought to lose: the cheap ones, those first that were parents less often."""
        ordered = sorted(self.finished, key=lambda r: (self.cost(r.net), self.believed[r.path]))
        front = falling(ordered, self.believed, self.drop + BEYOND)
        front = front or sorted(self.finished, key=self.lost)[:1]

        def rank(result: Result) -> float:
            over = max(0.0, self.believed[result.path] - self.drop)
            used = self.used.get(result.path, 0)
            return self.cost(result.net) * (1 + DEAR * over) * (1 + AGAIN * used)

        return sorted(front, key=rank)[:PARENTS]

    def _round(self) -> bool:
        """Train what promises most; whether there was anything to try."""
        parents = self.parents()
        # Starts, too, so that steps up are known.
        for result in (*self.starts, *parents):
            self.table.look(result)
        now, proposals = self.effects(), list[Proposal]()
        for parent in parents:
            proposals += [*self._near(parent, now), *self._elsewhere(parent, now)]
        if self.inherit:
            proposals += self._again(now)
        ranked = sorted(
            (p for p in proposals if p.gain > 0), key=lambda p: -p.gain / self.rungs.pace(p.net)
        )
        batch = list({p.net: p for p in reversed(ranked)}.values())[::-1]
        batch = batch[: self.rungs.pool.workers]
        if not batch:
            return False
        starts = [(p.net, p.parent if self.inherit else None) for p in batch]
        for proposal, result in zip(batch, self._train(starts), strict=True):
            path = proposal.parent.path
            self.used[path] = self.used.get(path, 0) + 1
            self._learn(proposal.parent, result)
            luck = (1 - TRUSTED) * (proposal.points - self.lost(result))
            self.believed[result.path] = self.lost(result) + luck
            factor = FARTHER if self.lost(result) <= self.drop else NEARER
            self.reach = float(np.clip(self.reach * factor, LEAST_REACH, REACH))
        return True

    def _learn(self, parent: Result, result: Result) -> None:
        if parent.net.size == result.net.size:
            more = self.lost(result) - self.believed[parent.path]
            self.tried.append((steps_between(parent.net, result.net), more))

    def _gain(self, cost: float, points: float, spread: float) -> float:
        best = self.best()
        most = self.cost(best.net) if best else self._dearest()
        if most - cost > self.reach * most:
            return 0.0
        return gain(most - cost, points, spread, self.drop)

    def _dearest(self) -> float:
        """What a first network within the limits is measured against: a little more than the
        dearest that keeps those of cost, so that one as dear wins something too."""
        costs = [self.cost(r.net) for r in self.finished if self.allowed(r.net)]
        return (1 + DEAR) * max(costs or [self.cost(r.net) for r in self.finished])

    def _proposal(self, net: Net, parent: Result, points: float, spread: float) -> Proposal:
        gained = self._gain(self.cost(net), points, spread)
        return Proposal(gained, net, parent, points, spread)

    def _near(self, parent: Result, now: Effects) -> list[Proposal]:
        """Networks some steps away from `parent`, of many drawn ones those that promise most."""
        cost, believed = self.cost(parent.net), self.believed[parent.path]
        rows = []
        for near in self.table.neighbours(parent.net, now, DRAWN, self.rng):
            if near.net not in self.turns:
                points, spread = now.at(steps_between(parent.net, near.net))
                points += believed
                rows.append((self._gain(cost - near.saved, points, spread), near, points, spread))
        rows = sorted((row for row in rows if row[0] > 0), key=lambda row: -row[0])[:PRICED]
        return [
            self._proposal(near.net, parent, points, spread)
            for _, near, points, spread in rows
            if self.allowed(near.net)
        ]

    def _elsewhere(self, parent: Result, now: Effects) -> list[Proposal]:
        """The genome of `parent` on other sizes, from the weights of the network of that size that
        is least different; not of one that has fewer units than its checkpoint."""
        rows: list[Proposal] = []
        if parent.net.cut:
            return rows
        for size in range(self.sizes):
            net = replace(parent.net, size=size)
            there = [r for r in self.finished if r.net.size == size and not r.net.cut]
            if net in self.turns or not there or not self.allowed(net):
                continue
            start = min(there, key=lambda r: distance(r.net, net))
            more = extra_loss(self.finished, self.lost, parent.net.size, size)
            points = self.believed[parent.path] + more
            rows.append(self._proposal(net, start, points, ELSEWHERE * now.noise))
        return rows

    def _again(self, now: Effects) -> list[Proposal]:
        """Networks that are cheaper than the best and lost too much, to be trained once more."""
        last = {r.net: r for r in self.finished if self.turns[r.net] < TURNS}
        rows = []
        for net, result in last.items():
            drift, spread = now.at({})
            points = self.believed[result.path] + drift
            rows.append(self._proposal(net, result, points, spread))
        return rows
