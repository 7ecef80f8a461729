"""Costs of candidates that nobody has evaluated: told, fitted, or added up gene by gene."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...model.genome import MAX_BITS, MIN_BITS, Genome
from ..pool.backends import Pool
from .candidate import Candidate
from .config import Config
from .encoding import Encoding
from .evaluate import GENERIC, MEASURED, Say, Setting, costs_of
from .exploit import Linear
from .ledger import Ledger
from .pareto import Array
from .screening import plain

#: Points with known cells from which on a model of them tells those of others, not the estimate.
ENOUGH_CELLS = 60


class Costs:
    """Costs without running a network, relative to INT8 where an objective is.

    setting : with which candidates are evaluated now
    """

    def __init__(
        self, setting: Setting, config: Config, encoding: Encoding, ledger: Ledger
    ) -> None:
        self.setting, self.config = setting, config
        self.encoding, self.ledger = encoding, ledger
        self._known: dict[tuple[Setting, Candidate], dict[str, Any]] = {}
        self._by_gene: dict[str, Linear] = {}

    def told(
        self, candidates: Sequence[Candidate], setting: Setting, pool: Pool, say: Say
    ) -> list[dict[str, Any]]:
        """Costs without running anything."""
        new = [c for c in dict.fromkeys(candidates) if (setting, c) not in self._known]
        cases = [(setting, c.genome) for c in new]
        for done, (index, costs) in enumerate(pool.map(costs_of, cases), 1):
            say(f"Costs: {done} of {len(cases)} genomes")
            self._known[setting, new[index]] = costs
        return [self._known[setting, c] for c in candidates]

    def expected(self, candidates: Sequence[Candidate], pool: Pool, say: Say) -> Array:
        """Costs [n, objectives but accuracy], relative to INT8, without running anything: cells by
        a model of the points that have them, or where these are few, by estimate."""
        names = [name for name in self.config.objectives if name != "accuracy"]
        fitted = {name: self.fitted(name) for name in names}
        setting = plain(self.setting, any(m is None for n, m in fitted.items() if n in GENERIC))
        rows = self.told([*candidates, self.ledger.int8], setting, pool, say)
        codes = np.array([self.encoding.encode(c) for c in candidates])
        columns = [
            np.array([row[name] / (rows[-1][name] or 1) for row in rows[:-1]])
            if model is None
            else model(codes)
            for name, model in fitted.items()
        ]
        return np.array(columns).T.reshape(len(candidates), len(names))

    def fitted(self, name: str) -> Linear | None:
        """A cost relative to INT8 by a model of the points that have it; None where it is told
        without one, or too few points have it."""
        measured = [p for p in self.ledger.points.values() if name in p.result]
        if name not in MEASURED or len(measured) < ENOUGH_CELLS:
            return None
        x = np.array([self.encoding.encode(p.candidate) for p in measured])
        return Linear.fit(
            self.encoding.space,
            x,
            np.array(
                [
                    p.result[name] / (self.ledger.points[self.ledger.int8].result[name] or 1)
                    for p in measured
                ]
            ),
        )

    def steps(self, name: str, pool: Pool, say: Say) -> Linear:
        """A cost relative to INT8 as the sum of what each width of each gene alone costs."""
        if name not in self._by_gene:
            genes = self.ledger.int8.genome.genes
            alone = [
                Genome.from_genes((*genes[:k], bits, *genes[k + 1 :]))
                for k in range(len(genes))
                for bits in range(MIN_BITS, MAX_BITS + 1)
            ]
            told = self.told(
                [Candidate(genome) for genome in alone],
                plain(self.setting, name in GENERIC),
                pool,
                say,
            )
            costs = np.array([row[name] for row in told], float).reshape(len(genes), -1)
            costs /= costs[0, -1] or 1
            self._by_gene[name] = Linear(
                self.encoding.space, float(1 + (costs[:, 0] - 1).sum()), np.diff(costs).ravel()
            )
        return self._by_gene[name]
