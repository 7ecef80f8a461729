"""What every strategy is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....model.genome import Genome
from ...pool.backends import Pool
from ..candidate import Candidate, Point
from ..config import Config
from ..costs import Costs
from ..encoding import Encoding
from ..evaluate import GENERIC, Say
from ..ledger import Ledger
from ..screening import Prescreen, plain


@dataclass
class Context:
    """A run as its strategies see it.

    evaluate : enters the points of candidates in the ledger
    light_beacon : retrains a genome where one should be; whether points have changed by it
    proxy : the training-free proxy that the run was given, if any
    """

    config: Config
    ledger: Ledger
    encoding: Encoding
    costs: Costs
    pool: Pool
    say: Say
    evaluate: Callable[[Sequence[Candidate]], list[Point]]
    light_beacon: Callable[[], bool]
    proxy: Prescreen | None

    @property
    def screening(self) -> bool:
        """Whether offspring is screened by the proxy before it is evaluated."""
        return self.config.prescreen is not None and not self.ledger.blind

    def judge(self, genomes: list[Genome]) -> list[Mapping[str, Any]]:
        """Results of genomes (:data:`..sensitivity.Judge`)."""
        return [p.result for p in self.evaluate([Candidate(g) for g in genomes])]

    def judge_by_proxy(self, genomes: list[Genome]) -> list[Mapping[str, Any]]:
        """What genomes are worth by the proxy, which takes no evaluations."""
        assert self.proxy is not None
        silicon = bool(set(GENERIC) & set(self.config.objectives))
        told = self.costs.told(
            [Candidate(g) for g in genomes], plain(self.costs.setting, silicon), self.pool, self.say
        )
        damage = self.proxy.damage(genomes)
        return [c | {"accuracy": 1 - float(d)} for c, d in zip(told, damage, strict=True)]
