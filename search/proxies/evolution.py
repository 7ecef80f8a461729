"""The evolution of proxies, after EMQ (arXiv 2307.10554), and random search through the same code.

A population of formulas, encoded as genes. Each step takes two parents from the best part of the
population, crosses and mutates them; a fresh random newcomer competes with the offspring
(diversity-prompting selection), the better one joins, and the worst member goes. Operations are
drawn by priority (operation sampling prioritisation), and a candidate is scored only when it passes
screening (:mod:`.screening`). All of it may be switched off.

A run is a function of its tables, configuration and seed. Its whole state, the random generator's
included, is written between steps: a run that was stopped, however, goes on to the same end.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError, integer_within, number_within, shown
from ...model.files import read_json, write_json
from .fitness import Bench, Objective, ranks
from .formula import STRUCTURES, InvalidProxy, Node, Proxy
from .primitives import BINARY, LEAVES, PRIMITIVES, UNARY, Array
from .screening import CHECKS, Screen

METHODS = ("evolution", "random")
#: Weights of the leaves in prioritised sampling: what knows the width, and tensors, first.
LEAF_PRIORITY = {
    "error": 4.0,
    "bits": 2.0,
    "elements": 0.5,
    "counts": 0.5,
    "macs": 0.5,
    "weight": 1.5,
    "gradient": 1.5,
    "squared_gradient": 1.5,
    "hessian": 1.5,
    "eigenvalue": 1.0,
}
#: Unary steps of a chain, of each of two branches, and after those meet; leaves and nodes of a DAG.
CHAIN, BRANCH, TAIL, DAG_LEAVES, DAG_NODES = 4, 2, 2, 3, 6
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
        for name, value, known in (
            ("structure", self.structure, (*STRUCTURES, "mixed")),
            ("method", self.method, METHODS),
        ):
            if value not in known:
                raise InputError(f"{name} {shown(value)}: {', '.join(known)} are known")
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
class Genotype:
    """Genes of a formula: of each position one of its choices."""

    structure: str
    genes: tuple[int, ...]

    def proxy(self) -> Proxy:
        """What they encode."""
        chosen = [
            position.choices[gene]
            for position, gene in zip(_positions(self.structure), self.genes, strict=True)
        ]
        nodes: list[Node] = []

        def chain(names: Sequence[str], start: Node | None = None) -> int:
            """Position of the last node of `names` one after the other."""
            if start is not None:
                nodes.append(start)
            for name in names:
                if name != "no_op":
                    nodes.append(Node(name, (len(nodes) - 1,)))
            return len(nodes) - 1

        if self.structure == "sequential":
            chain(chosen[1:], Node(chosen[0]))
        elif self.structure == "branched":
            first, second = chosen[: BRANCH + 1], chosen[BRANCH + 1 : 2 * BRANCH + 2]
            one, two = (chain(each[1:], Node(each[0])) for each in (first, second))
            nodes.append(Node(chosen[2 * BRANCH + 2], (one, two)))
            chain(chosen[2 * BRANCH + 3 :])
        else:
            nodes += [Node(name) for name in chosen[:DAG_LEAVES]]
            for k in range(DAG_LEAVES, len(chosen), 3):
                name, *references = chosen[k : k + 3]
                before = tuple(map(int, references[: PRIMITIVES[name].arity]))
                nodes.append(Node(name, before))
        return Proxy(tuple(nodes))


@dataclass(frozen=True)
class _Position:
    """A place in a genotype.

    weights : chances of the choices in prioritised sampling
    """

    choices: tuple[str, ...]
    weights: tuple[float, ...]

    def draw(self, rng: np.random.Generator, prioritise: bool) -> int:
        if prioritise:
            return int(
                np.searchsorted(
                    np.cumsum(self.weights) / sum(self.weights), rng.random(), side="right"
                )
            )
        return int(rng.integers(len(self.choices)))


@cache
def _positions(structure: str) -> tuple[_Position, ...]:
    def operations(names: Sequence[str]) -> _Position:
        return _Position(tuple(names), tuple(PRIMITIVES[name].priority for name in names))

    leaf = _Position(LEAVES, tuple(LEAF_PRIORITY.get(name, 1.0) for name in LEAVES))
    unary, binary = operations(UNARY), operations(BINARY)
    if structure == "sequential":
        return leaf, *[unary] * CHAIN
    if structure == "branched":
        branch = leaf, *[unary] * BRANCH
        return *branch, *branch, binary, *[unary] * TAIL
    places = [leaf] * DAG_LEAVES
    for k in range(DAG_NODES):
        # Later nodes read earlier ones more often than inputs, or most nodes would be idle.
        before = tuple(str(a) for a in range(DAG_LEAVES + k))
        weights = tuple(1.0 + 2.0 * (a == DAG_LEAVES + k - 1) for a in range(len(before)))
        reference = _Position(before, weights)
        places += [operations((*UNARY, *BINARY)), reference, reference]
    return tuple(places)


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


@dataclass(frozen=True)
class Progress:
    """How far a search is: of the seed that went on last, and of all evaluations of all seeds."""

    seed: int
    done: int
    total: int
    best: Member | None
    seconds: float


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
                position.draw(self.rng, self.config.prioritise)
                for position in _positions(structure)
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
                genes[k] = _positions(one.structure)[k].draw(rng, config.prioritise)
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
        found = [member for member in rivals if member is not None]
        if not found:
            self.exhausted = True
            return
        self._join(max(found, key=lambda member: member.fitness))

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


def shorten(
    proxy: Proxy, benches: Sequence[Bench], objective: Objective
) -> tuple[Proxy, float, int]:
    """A formula with parts left out as long as its fitness does not fall: it, its fitness, and how
    many were scored on the way. Where parsimony counts, what has no effect goes first.

    Raises :class:`~.formula.InvalidProxy` where the formula is not finite.
    """

    def fitness(each: Proxy) -> float:
        tables = [each.table(bench.inputs) for bench in benches]
        return objective.many(benches, tables, each.size)[0]

    best, tried = fitness(proxy), 1
    while True:
        rivals = []
        for k, node in enumerate(proxy.nodes):
            for argument in set(node.arguments):
                # All that reads the node reads its argument instead.
                nodes = [
                    replace(
                        other, arguments=tuple(argument if a == k else a for a in other.arguments)
                    )
                    for other in proxy.nodes
                ]
                rivals.append(Proxy(tuple(nodes[: argument + 1] if k == len(nodes) - 1 else nodes)))
        found = []
        for rival in rivals:
            tried += 1
            with suppress(InvalidProxy):
                value = fitness(rival)
                if value >= best:
                    found.append((value, -rival.size, str(rival), rival))
        if not found:
            return proxy, best, tried
        best, _, _, proxy = max(found, key=lambda row: row[:3])


@dataclass(frozen=True)
class Outcome:
    """What a search with one seed has found.

    short : the best formula without what it does not need (:func:`shorten`), and its fitness
    """

    seed: int
    best: tuple[Member, ...]
    history: tuple[tuple[int, float], ...]
    counts: dict[str, int]
    population: tuple[Member, ...]
    short: tuple[Proxy, float] | None = None

    @classmethod
    def of(cls, evolution: Evolution) -> "Outcome":
        counts, short = evolution.counts, None
        if evolution.done and evolution.best:
            proxy, value, counts["shortening"] = shorten(
                evolution.best[0].proxy, evolution.benches, evolution.config.objective
            )
            short = proxy, value
        return cls(
            evolution.seed,
            tuple(evolution.best),
            tuple(evolution.history),
            counts,
            tuple(evolution.population),
            short,
        )


def _restored(benches: Sequence[Bench], config: Config, seed: int, path: Path | None) -> Evolution:
    evolution = Evolution(benches, config, seed)
    if path is not None and path.exists():
        try:
            evolution.restore(read_json(path))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"{path}: not the state of a proxy search ({error}); remove it, and that seed "
                "starts again"
            ) from None
    return evolution


def _go(
    benches: Sequence[Bench], config: Config, seed: int, path: Path | None, until: int
) -> Outcome:
    evolution = _restored(benches, config, seed, path)
    evolution.run(until, path)
    return Outcome.of(evolution)


def document(benches: Sequence[Bench], config: Config) -> dict[str, Any]:
    """What a folder's searches depend on, but for their length."""
    return json.loads(
        json.dumps(
            {
                "version": 1,
                "config": asdict(config),
                "tables": {bench.name: bench.fingerprint for bench in benches},
            }
        )
    )


def _compare(folder: Path, before: Any, now: dict[str, Any], resume: bool) -> None:
    if (
        not isinstance(before, dict)
        or before.get("version") != now["version"]
        or not isinstance(before.get("config"), dict)
    ):
        raise InputError(f"{folder}: config.json is not that of a proxy search; another folder")
    if not resume:
        raise InputError(
            f"{folder}: holds a search already; --resume to go on with it, or another folder"
        )
    differing = [
        name
        for name, value in now["config"].items()
        if name != "evaluations" and before["config"].get(name) != value
    ]
    if before.get("tables") != now["tables"]:
        differing.append("tables")
    if differing:
        raise InputError(
            f"{folder}: its search differs in {', '.join(differing)}; use the same options, or "
            "another folder"
        )


def search(
    benches: Sequence[Bench],
    config: Config,
    seeds: Sequence[int] = (0,),
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
    chunk: int = 500,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> list[Outcome]:
    """Search once with each of `seeds`.

    folder : holds ``config.json``, a ``seed-N.json`` each with its whole state, and in the end
        ``found.json`` with the best formulas; what is there already is not searched again
    workers : processes, each with a seed; chunk : evaluations that one makes before it reports

    Raises :class:`InputError` for a folder of another search, and for tables that lack a subset
    that the objective needs.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise InputError("seeds: one or more different ones are needed")
    place = Path(folder) if folder is not None else None
    Evolution(benches, config, seeds[0])  # complains before anything is written
    if place is not None:
        now = document(benches, config)
        if (place / "config.json").exists():
            _compare(place, read_json(place / "config.json"), now, resume)
        write_json(place / "config.json", now)
    paths = {seed: place / f"seed-{seed}.json" if place is not None else None for seed in seeds}
    started = time.perf_counter()
    total = config.evaluations * len(seeds)
    done = dict.fromkeys(seeds, 0)

    def report(seed: int, evaluations: int, best: Member | None) -> None:
        done[seed] = evaluations
        tell(Progress(seed, sum(done.values()), total, best, time.perf_counter() - started))

    if workers == 1 or place is None:
        outcomes = []
        for seed in seeds:
            evolution = _restored(benches, config, seed, paths[seed])
            evolution.run(
                None,
                paths[seed],
                lambda e: report(e.seed, e.evaluations, e.best[0] if e.best else None),
            )
            outcomes.append(Outcome.of(evolution))
    else:
        from joblib import Parallel, delayed

        # A round's states are in the files, whoever goes on with them in the next.
        found: dict[int, Outcome] = {}
        with Parallel(n_jobs=workers, return_as="generator_unordered") as pool:
            for until in [*range(chunk, config.evaluations, chunk), config.evaluations]:
                for outcome in pool(
                    delayed(_go)(benches, config, seed, paths[seed], until) for seed in seeds
                ):
                    found[outcome.seed] = outcome
                    report(
                        outcome.seed,
                        outcome.counts["scored"],
                        outcome.best[0] if outcome.best else None,
                    )
        outcomes = [found[seed] for seed in seeds]
    if place is not None:
        write_json(
            place / "found.json",
            [
                {
                    "seed": outcome.seed,
                    "counts": outcome.counts,
                    "short": outcome.short
                    and {"proxy": str(outcome.short[0]), "fitness": outcome.short[1]},
                    "best": [member.to_json() for member in outcome.best],
                }
                for outcome in outcomes
            ],
        )
    return outcomes


def config_of(value: dict[str, Any]) -> Config:
    """A configuration as ``config.json`` holds it.

    Raises :class:`InputError` for what is none.
    """
    try:
        given = value["objective"]
        objective = Objective(**{**given, "ratios": tuple(given["ratios"])})
        known = {each.name for each in fields(Config)}
        rest = {name: each for name, each in value.items() if name in known}
        return Config(**{**rest, "screening": tuple(value["screening"]), "objective": objective})
    except (KeyError, TypeError) as error:
        raise InputError(f"configuration of a proxy search: {error}") from None


def validity(counts: dict[str, int]) -> float:
    """Share of the candidates that were drawn which had a ranking, and were new if that was
    checked."""
    return counts["valid"] / counts["drawn"] if counts["drawn"] else float("nan")


def curve(outcome: Outcome, at: Array) -> Array:
    """Best fitness after so many evaluations: float64, the shape of `at`; NaN before the first."""
    steps = np.array([step for step, _ in outcome.history], float)
    values = np.array([np.nan, *(value for _, value in outcome.history)])
    return values[np.searchsorted(steps, np.asarray(at, float), side="right")]
