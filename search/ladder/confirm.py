"""Networks trained once more before one is chosen: the luck of their trainings, taken off.

A network that a search ends with is one of many, and the networks whose weights it inherited were
chosen too, all by the same sequences: where these are few it seems to lose less than it does. So it
is trained again from the float network on, along the same chain and with other random numbers, and
INT8 too. What differs between those two has chosen nothing before, and only a network within the
limit both times is chosen. One chain judges all networks on it: where the last is beyond the limit,
one of those before it may be within.
"""

from collections.abc import Iterator
from typing import TypeAlias

from .climb import Climb
from .marks import error
from .rungs import Net, Result

#: The networks whose weights one inherited, and itself, with the epochs of each.
Chain: TypeAlias = tuple[tuple[Net, int], ...]
#: Added to the seed of the search, so that no search of a neighbouring seed has these numbers.
OTHER = 1_000_003


class Confirmation:
    """Second trainings of the networks of a search.

    again : second trainings by the chain that they end
    """

    def __init__(self, climb: Climb) -> None:
        self.climb, self.rungs = climb, climb.rungs
        self.again: dict[Chain, Result] = {}

    def seconds(self, result: Result) -> float:
        """CPU seconds that the second trainings of a network and of INT8 are about to take."""
        chains = {chain[: k + 1] for chain in (result.chain, self._int8) for k in range(len(chain))}
        missing = [chain[-1] for chain in chains if chain not in self.again]
        return sum(epochs * self.rungs.pace(net) for net, epochs in missing)

    @property
    def _int8(self) -> Chain:
        return self.climb.finished[0].chain

    def _train(self, chain: Chain) -> None:
        last: Result | None = None
        for k, (net, epochs) in enumerate(chain, 1):
            if chain[:k] not in self.again:
                seed = self.climb.plan.seed + OTHER
                (result,) = self.rungs.trained([(net, last)], "again", epochs, seed=seed)
                self.again[chain[:k]] = result
            last = self.again[chain[:k]]

    def run(self) -> Iterator[str]:
        """Train again what would be chosen, then what is cheaper than what was chosen so far, while
        there is time; after every chain."""
        self._train(self._int8)
        first = True
        while (candidate := self._next(first)) is not None:
            self._train(candidate.chain)
            first = False
            yield "confirmed"

    def _next(self, first: bool) -> Result | None:
        """The cheapest network within the limit that was trained once and is cheaper than those
        that hold; the first whatever time is left, for which the search has kept some."""
        best = self.best()
        for result in sorted(self.climb.within(), key=lambda r: self.climb.cost(r.net)):
            if best is not None and self.climb.cost(result.net) >= self.climb.cost(best.net):
                return None
            if result.chain in self.again:
                continue
            if first or self.seconds(result) <= self.rungs.left():
                return result
        return None

    def lost(self, result: Result) -> tuple[float, float] | None:
        """What a network loses against INT8, both trained again, in hundredths of the task's score,
        and the standard error of that; None of one that was not."""
        again, int8 = self.again.get(result.chain), self.again.get(self._int8)
        if again is None or int8 is None:
            return None
        return 100 * (int8.judged - again.judged), error(again.marks, int8.marks)

    def best(self) -> Result | None:
        """The cheapest network that is within the limit both times."""
        return self.climb.cheapest(
            result
            for result in self.climb.within()
            if (again := self.lost(result)) and again[0] <= self.climb.plan.drop + 1e-9
        )
