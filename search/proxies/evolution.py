"""The evolution of proxies, after EMQ (arXiv 2307.10554), and random search through the same code.

A population of formulas, encoded as genes. Each step takes two parents from the best part of the
population, crosses and mutates them; a fresh random newcomer competes with the offspring
(diversity-prompting selection), the better one joins, and the worst member goes. Operations are
drawn by priority (operation sampling prioritisation), and a candidate is scored only when it passes
screening (:mod:`.screening`). All of it may be switched off.

A run is a function of its tables, configuration and seed. Its whole state, the random generator's
included, is written between steps: a run that was stopped, however, goes on to the same end.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...model.aliases import Array
from ...model.errors import InputError, integer_within, number_within, shown
from ...model.files import write_json
from .fitness import Bench, Objective, ranks
from .formula import STRUCTURES, Proxy
from .genotype import Genotype, positions
from .nodes import Node
from .screening import CHECKS, Screen

METHODS = ("evolution", "random")
#: Fitness of what cannot be ranked.
FAILED = -1.0
#: Seconds between two writings of a state.
EVERY = 2.0
#: Candidates that are drawn for one place before a search counts as exhausted.
PATIENCE = 5000
#: Best formulas that a run keeps.
KEPT = 20


@dataclass(frozen=True)
class Config:
    """What a search is a function of, beside its tables and seed.

    structure : ``sequential``, ``branched``, ``dag``, or ``mixed`` for all three
    method : ``evolution``, or ``random`` at as many evaluations
    population, pool : members, and the share of them, the best, that parents come from
    evaluations : candidates to score in all (one more where the last step is a competition); what
        screening stops is not scored
    crossover, mutation : chances of either for an offspring, and gene_rate : of each gene then
    diversity : whether a random newcomer competes with every offspring
    crowding : members whose scores correlate beyond it take one place, that of the fitter; 1 for
        none, as in EMQ, where a population soon holds one formula in twenty spellings
    prioritise : whether operations are drawn by priority
    screening : checks that are made, of :data:`~.screening.CHECKS`
    orient : take the better one of a formula and its negative
    objective : what makes a proxy fit
    """

    structure: str = "branched"
    method: str = "evolution"
    population: int = 20
    evaluations: int = 2000
    pool: float = 0.5
    crossover: float = 0.5
    mutation: float = 0.8
    gene_rate: float = 0.25
    diversity: bool = False
    crowding: float = 0.98
    prioritise: bool = True
    screening: tuple[str, ...] = CHECKS
    orient: bool = True
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self) -> None:
        for name, value, values in (
            ("structure", self.structure, (*STRUCTURES, "mixed")),
            ("method", self.method, METHODS),
        ):
            if value not in values:
                raise InputError(f"{name} {shown(value)}: {', '.join(values)} are known")
        for name, low, high in (("population", 2, 10_000), ("evaluations", 1, 10**9)):
            integer_within(name, getattr(self, name), low, high)
        for name in ("pool", "crossover", "mutation", "gene_rate", "crowding"):
            number_within(name, getattr(self, name), 0, 1)
        if not self.pool:
            raise InputError("pool: 0 leaves no parents")
        for check in self.screening:
            if check not in CHECKS:
                raise InputError(f"screening {shown(check)}: {', '.join(CHECKS)} are known")


@dataclass(frozen=True)
class Member:
    """A candidate that was scored. Its fitness is :data:`FAILED` where it ranks nothing.

    ranks : of the genomes of all tables, scaled so that a product of two is their correlation
    """

    genotype: Genotype
    proxy: Proxy
    fitness: float
    ranks: Array | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "structure": self.genotype.structure,
            "genes": list(self.genotype.genes),
            "proxy": str(self.proxy),
            "fitness": self.fitness,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Member":
        return cls(
            Genotype(value["structure"], tuple(value["genes"])),
            Proxy.parse(value["proxy"]),
            float(value["fitness"]),
        )


class Evolution:
    """One search, step by step.

    best : the fittest formulas, best first, at most :data:`KEPT`
    history : evaluations and the best fitness then, whenever that rose
    counts : ``drawn``, ``scored``, ``valid`` candidates, and what screening stopped by check; of a
        search that has ended also ``shortening``, what :func:`shorten` has scored
    """

    def __init__(self, benches: Sequence[Bench], config: Config, seed: int = 0) -> None:
        if not benches:
            raise InputError("proxy search: no table; one or more are needed")
        for bench in benches:
            config.objective.check(bench)
        self.benches, self.config, self.seed = tuple(benches), config, seed
        self.rng = np.random.default_rng([seed, 8])
        self.screen = Screen([bench.inputs for bench in benches], config.screening, config.orient)
        self.population: list[Member] = []
        self.best: list[Member] = []
        self.history: list[tuple[int, float]] = []
        self.evaluations = self.valid = 0
        self.exhausted = False

    @property
    def done(self) -> bool:
        return self.exhausted or self.evaluations >= self.config.evaluations

    @property
    def counts(self) -> dict[str, int]:
        stopped = {check: self.screen.counts.get(check, 0) for check in CHECKS}
        return {
            "drawn": sum(self.screen.counts.values()),
            "scored": self.evaluations,
            "valid": self.valid,
        } | stopped

    # Candidates

    def newcomer(self) -> Genotype:
        """Random genes."""
        structure = self.config.structure
        if structure == "mixed":
            structure = STRUCTURES[int(self.rng.integers(len(STRUCTURES)))]
        return Genotype(
            structure,
            tuple(
                position.draw(self.rng, self.config.prioritise) for position in positions(structure)
            ),
        )

    def offspring(self) -> Genotype:
        """Of two members of the parent pool."""
        config, rng = self.config, self.rng
        pool = self.population[: max(2, math.ceil(config.pool * len(self.population)))]
        one, two = (pool[int(k)].genotype for k in rng.integers(len(pool), size=2))
        genes = list(one.genes)
        if rng.random() < config.crossover and one.structure == two.structure:
            swap = rng.random(len(genes)) < 0.5
            genes = [b if s else a for a, b, s in zip(genes, two.genes, swap, strict=True)]
        if rng.random() < config.mutation:
            hit = rng.random(len(genes)) < config.gene_rate
            hit[int(rng.integers(len(genes)))] = True
            for k in np.flatnonzero(hit):
                genes[k] = positions(one.structure)[k].draw(rng, config.prioritise)
        return Genotype(one.structure, tuple(genes))

    def score(self, genotype: Genotype) -> Member | None:
        """Screen and score a candidate; None for one that screening stops. Whatever goes wrong with
        it, the search goes on."""
        try:
            proxy = genotype.proxy()
            verdict = self.screen(proxy)
        except (ArithmeticError, InputError) as error:
            self.screen.counts["invalid"] = self.screen.counts.get("invalid", 0) + 1
            del error
            return None
        if verdict.check:
            return None
        self.evaluations += 1
        fitness = float("nan")
        if verdict.tables is not None:
            with np.errstate(all="ignore"):
                fitness, sign = self.config.objective.many(
                    self.benches, verdict.tables, proxy.size, orient=self.config.orient
                )
            if sign < 0:
                proxy = _negated(proxy)
        if not math.isfinite(fitness) or verdict.tables is None:
            return self._seen(Member(genotype, proxy, FAILED))
        self.valid += 1
        ranked = sign * self._ranks(verdict.tables) if self.config.crowding < 1 else None
        return self._seen(Member(genotype, proxy, fitness, ranked))

    def _ranks(self, tables: Sequence[Array]) -> Array:
        parts = []
        for bench, table in zip(self.benches, tables, strict=True):
            part = ranks(bench.scores(table))
            part -= part.mean()
            parts.append(part / (math.sqrt(float(part @ part)) or 1.0))
        return np.concatenate(parts) / math.sqrt(len(parts))

    def _seen(self, member: Member) -> Member:
        if member.fitness > FAILED and all(member.proxy != other.proxy for other in self.best):
            if not self.best or member.fitness > self.best[0].fitness:
                self.history.append((self.evaluations, member.fitness))
            self.best = sorted([*self.best, member], key=lambda m: -m.fitness)[:KEPT]
        return member

    def _one(self, make: Callable[[], Genotype], patience: int) -> Member | None:
        """The first of the candidates that `make` gives which screening lets pass."""
        for _ in range(patience):
            if (member := self.score(make())) is not None:
                return member
        return None

    def _join(self, member: Member) -> None:
        """Let a member in, and out the worst, or the worse of two that are the same."""
        others = self.population
        if member.ranks is not None:
            like = [
                k
                for k, other in enumerate(others)
                if other.ranks is not None
                and float(member.ranks @ other.ranks) > self.config.crowding
            ]
            if like and others[like[0]].fitness >= member.fitness:
                return
            others = [other for k, other in enumerate(others) if k not in like]
        joined = sorted([*others, member], key=lambda m: -m.fitness)
        self.population = joined[: self.config.population]

    def step(self) -> None:
        """One candidate more: a member of the first population, or an offspring's competition."""
        full = len(self.population) >= self.config.population
        if self.config.method == "random" or not full:
            member = self._one(self.newcomer, PATIENCE)
            if member is None:
                self.exhausted = True
                return
            self._join(member)
            return
        # An offspring must be something new; where none is found, a newcomer steps in.
        rivals = [self._one(self.offspring, 50)]
        if self.config.diversity or rivals[0] is None:
            rivals.append(self._one(self.newcomer, PATIENCE))
        passed = [member for member in rivals if member is not None]
        if not passed:
            self.exhausted = True
            return
        self._join(max(passed, key=lambda member: member.fitness))

    # State

    def state(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "seed": self.seed,
            "evaluations": self.evaluations,
            "valid": self.valid,
            "exhausted": self.exhausted,
            "rng": self.rng.bit_generator.state,
            "population": [member.to_json() for member in self.population],
            "best": [member.to_json() for member in self.best],
            "history": [list(row) for row in self.history],
            "screen": self.screen.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """What :meth:`state` gave."""
        self.evaluations, self.valid = int(state["evaluations"]), int(state["valid"])
        self.exhausted = bool(state["exhausted"])
        self.rng.bit_generator.state = state["rng"]
        self.population = [self._ranked(Member.from_json(each)) for each in state["population"]]
        self.best = [Member.from_json(each) for each in state["best"]]
        self.history = [(int(a), float(b)) for a, b in state["history"]]
        self.screen.restore(state["screen"])

    def _ranked(self, member: Member) -> Member:
        """A member as it was: its ranks are not in the state, being a function of the rest."""
        if self.config.crowding == 1 or member.fitness <= FAILED:
            return member
        tables = [member.proxy.table(bench.inputs) for bench in self.benches]
        return replace(member, ranks=self._ranks(tables))

    def run(
        self,
        until: int | None = None,
        path: Path | None = None,
        tell: Callable[["Evolution"], None] = lambda evolution: None,
        every: float = EVERY,
    ) -> None:
        """Go on to `until` evaluations (by default to the end), the state kept in `path`.

        every : seconds between two writings, and two tellings
        """
        until = self.config.evaluations if until is None else until
        written = time.monotonic()
        while not self.done and self.evaluations < until:
            self.step()
            if time.monotonic() - written >= every:
                if path is not None:
                    write_json(path, self.state())
                tell(self)
                written = time.monotonic()
        if path is not None:
            write_json(path, self.state())
        tell(self)


def _negated(proxy: Proxy) -> Proxy:
    *rest, last = proxy.nodes
    if last.name == "negate":
        return Proxy(proxy.nodes[: last.arguments[0] + 1])
    return Proxy((*rest, last, Node("negate", (len(rest),))))
