"""NSGA-II over bit-width genomes, as in arXiv 2402.12263, with silicon among the objectives.

Integer genes in [2, 8], simulated binary crossover, polynomial mutation, rank and crowding (pymoo).
Beyond the paper: constraints, knobs as genes, first populations that know how much each operator
minds few bits, local search around the front at the end (:mod:`.exploit`), beacons
(:mod:`.beacons`), and a training-free proxy that discards offspring, or takes the place of accuracy
(:mod:`.screening`).

A run is a function of its configuration and seed: what was evaluated before is read from the store,
so a run that was stopped, however, is the same run started again, and arrives at the same front.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...model.errors import InputError, integer_within, shown
from ...model.files import read_json, write_json
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.knobs import Knobs, check_genes, fields_of, knob_genes
from ..pool.backends import Pool
from . import sensitivity
from .beacons import Beacons, Retrain
from .conclusion import PATTERNS, within
from .evaluate import (
    BIT_WEIGHT,
    MEASURED,
    OBJECTIVES,
    Case,
    Say,
    Setting,
    costs_of,
    evaluate_cases,
    load,
    record,
)
from .exploit import Linear, Space, propose
from .pareto import Array, crowded, hypervolume, knee, non_dominated
from .screening import ENOUGH, Forecast, Prescreen, canonical, plain, select, shortlist
from .store import Store

METHODS = ("nsga2", "random", "greedy")
INITIAL = ("sensitivity", "homogeneous", "random")
#: The useful region, over which hypervolume is taken: at most so much less accuracy than INT8, and
#: no more of anything else.
USEFUL_DROP = 0.10
#: Knobs that may be genes, with the values that they then take.
KNOB_GENES = knob_genes()
#: What a candidate's knobs call one of the run's further checkpoints.
CHECKPOINT = "checkpoint"
#: Versions of config.json that can be gone on with; the last is what is written.
VERSIONS = (2, 3, 4)
#: Costs that may be limited, in their own units.
LIMITS = ("size", "cells", "memory", "cycles", "weights")
#: Stands for an objective that was not measured, in what NSGA-II sees; never compared, since such
#: points violate a constraint.
UNKNOWN = 10.0
#: Of a search by estimates: by how much a point's may be too high, as a share, to be measured with
#: the front in the end, and how many such points there may be for each of the front.
ESTIMATE_SLACK, ESTIMATE_MORE = 0.02, 1.0
#: Points with known cells from which on a model of them tells those of others, not the estimate.
ENOUGH_CELLS = 60
#: In local search at most so many candidates are proposed for each that prescreening keeps.
EXPLOIT_FACTOR = 2
#: Populations of the search by a proxy's word within a generation, in those of the run.
GROWN = 4
#: Candidates whose costs are looked at closely, for each that is evaluated.
SHORTLIST = 4
#: Chance that mutation draws a category anew: steps along its values would mean nothing.
CATEGORY_MUTATION = 0.1


@dataclass(frozen=True)
class Config:
    """What a run is a function of.

    objectives : two or more of :data:`~.evaluate.OBJECTIVES`
    method : ``nsga2``, or a rival at as many evaluations: ``random``, ``greedy``
        (:func:`.sensitivity.descent`)
    pop_size, generations : evaluations are at most their product, and those of `initial`
    exploit : generations of local search around the front after that
    initial : the first population: ``random``; with the ``homogeneous`` genomes (the default of the
        rivals); or these and genomes ordered by ``sensitivity``, which evaluates 102 genomes a
        layer first (the default of ``nsga2``, and for it alone)
    knob_genes : of :data:`KNOB_GENES`; the setting's knobs are what the other knobs are, and INT8
        with the setting's knobs is what everything is relative to
    checkpoints : names or files of checkpoints besides the setting's, of the same task, split and
        number of layers: of other sizes, or with other weights. Which one is a gene then; INT8 of
        the setting's is what everything is relative to
    max_drop : points of accuracy below INT8 beyond which a genome is of no use, and its hardware is
        not measured; None for no such limit
    limits : cost and greatest value, of :data:`LIMITS`
    bit_weight : cells that a memory bit counts as in ``silicon``
    prescreen : a proxy (name or text, :mod:`genogate.search.proxies`): between two evaluations of
    `pop_size`
        genomes NSGA-II looks at `prescreen_factor` times as many by its word, put right by what is
        known (:class:`~.screening.Forecast`), and by costs that are told without running anything;
        the first population and sensitivities likewise
    proxy_only : the proxy is the accuracy objective, and no genome is run before the end; then at
        most `pop_size` of the front are evaluated, and nothing else counts
    beacons, beacon_distance : genomes to retrain at most, and the mean bits by which a genome may
        differ from one to be evaluated with its weights
    """

    objectives: tuple[str, ...] = ("accuracy", "size", "cells")
    method: str = "nsga2"
    pop_size: int = 40
    generations: int = 25
    seed: int = 0
    initial: str | None = None
    exploit: int = 0
    knob_genes: tuple[str, ...] = ()
    max_drop: float | None = 10.0
    limits: tuple[tuple[str, float], ...] = ()
    bit_weight: float = BIT_WEIGHT
    beacons: int = 0
    beacon_distance: float = 1.0
    checkpoints: tuple[str, ...] = ()
    prescreen: str | None = None
    prescreen_factor: int = 50
    proxy_only: bool = False

    def __post_init__(self) -> None:
        if self.initial is None:
            usual = "sensitivity" if self.method == "nsga2" else "homogeneous"
            object.__setattr__(self, "initial", usual)
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise InputError(f"objective {shown(name)}: {', '.join(OBJECTIVES)} are known")
        if len(set(self.objectives)) != len(self.objectives) or len(self.objectives) < 2:
            raise InputError("objectives: two or more different ones are needed")
        if "accuracy" not in self.objectives:
            raise InputError("objectives: accuracy must be one of them")
        choices: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
            ("method", self.method, METHODS),
            ("initial", self.initial, INITIAL),
        )
        for what, chosen, known in choices:
            if chosen not in known:
                raise InputError(f"{what} {shown(chosen)}: {', '.join(known)} are known")
        for name, low, high in (
            ("pop_size", 4, 10_000),
            ("generations", 1, 100_000),
            ("exploit", 0, 100_000),
            ("seed", 0, 2**31 - 1),
            ("beacons", 0, 1000),
            ("prescreen_factor", 2, 10_000),
        ):
            integer_within(name, getattr(self, name), low, high)
        for name in self.knob_genes:
            if name not in KNOB_GENES:
                raise InputError(f"knob {shown(name)}: {', '.join(KNOB_GENES)} may be genes")
        if len(set(self.knob_genes)) != len(self.knob_genes):
            raise InputError("knobs as genes: each once")
        if self.initial == "sensitivity" and self.method != "nsga2":
            raise InputError(f"initial sensitivity: for nsga2, not for {self.method}")
        if len(set(self.checkpoints)) != len(self.checkpoints):
            raise InputError("further checkpoints: each once")
        if self.knob_genes and self.method == "greedy":
            raise InputError("method greedy: it has no knobs as genes")
        if self.checkpoints and self.method == "greedy":
            raise InputError("method greedy: it has no further checkpoints")
        self._check_proxy()
        for what, number in (
            ("max_drop", self.max_drop),
            ("bit_weight", self.bit_weight),
            ("beacon_distance", self.beacon_distance),
        ):
            if number is not None and not 0 <= number < 1e6:
                raise InputError(f"{what}: {shown(number)} is not a number from 0 up")
        for name, greatest in self.limits:
            if name not in LIMITS:
                raise InputError(f"limit {shown(name)}: {', '.join(LIMITS)} are known")
            if not greatest > 0:
                raise InputError(f"limit of {name}: {shown(greatest)} is not above 0")

    def _check_proxy(self) -> None:
        if self.prescreen is None:
            if self.proxy_only:
                raise InputError("proxy-only: --prescreen PROXY says by which proxy")
            return
        if self.method != "nsga2":
            raise InputError(f"prescreen: for method nsga2, not for {self.method}")
        # What a proxy cannot tell apart would be free for it.
        if self.knob_genes or self.checkpoints:
            raise InputError(
                "prescreen: a proxy knows the widths of one network alone; without "
                "knobs as genes and further checkpoints"
            )
        if self.proxy_only and self.beacons:
            raise InputError("proxy-only: nothing is evaluated that a beacon could help")
        object.__setattr__(self, "prescreen", canonical(self.prescreen))

    @property
    def silicon(self) -> bool:
        """Whether anything needs Yosys."""
        return bool(set(MEASURED) & {*self.objectives, *(name for name, _ in self.limits)})


@dataclass(frozen=True)
class Candidate:
    """What is evaluated: a genome, and the knobs in which it differs from the setting's.

    knobs : name and value, in the order of :data:`KNOB_GENES`; at last, for one of the run's
        further checkpoints, :data:`CHECKPOINT` and its name
    """

    genome: Genome
    knobs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        # A file may have any name.
        knobs = " ".join(f"{name}={quote(str(value))}" for name, value in self.knobs)
        return f"{self.genome} | {knobs}" if knobs else str(self.genome)

    @property
    def checkpoint(self) -> str | None:
        """Which of the run's further checkpoints it goes with; None for the setting's own."""
        found: str | None = dict(self.knobs).get(CHECKPOINT)
        return found

    def setting(self, base: Setting) -> Setting:
        """The setting that it is evaluated with."""
        if not self.knobs:
            return base
        changes = dict(self.knobs)
        checkpoint = changes.pop(CHECKPOINT, base.checkpoint)
        knobs = replace(base.knobs, **fields_of(changes))
        return replace(base, checkpoint=checkpoint, knobs=knobs)


@dataclass(frozen=True)
class Point:
    """A candidate and its results on the validation part.

    beacon : file of the checkpoint with which it is best, None for the setting's own
    """

    candidate: Candidate
    result: Mapping[str, Any]
    beacon: str | None = None

    @property
    def genome(self) -> Genome:
        return self.candidate.genome


@dataclass
class Progress:
    """After a generation: how far a run is.

    fresh : evaluations of this process that were not in the store
    seconds : of this process
    hypervolume : share of the useful region that the front dominates
    phase : ``explore`` or ``exploit``; ``measure`` where cells were estimated, or accuracies
        replaced by a proxy, until then
    per_generation : candidates that a generation evaluates at most
    by_proxy : whether accuracies of the front, and so hypervolume, are a proxy's ranks and no
        accuracies
    """

    generation: int
    generations: int
    evaluations: int
    fresh: int
    seconds: float
    hypervolume: float
    front: list[Point] = field(default_factory=list)
    phase: str = "explore"
    by_proxy: bool = False
    per_generation: int = 0


def cost(objectives: Sequence[str], result: Mapping[str, Any], int8: Mapping[str, Any]) -> Array:
    """Objective values float64, all to be minimised: wrong classes, all else relative to INT8; NaN
    where a result lacks one."""
    return np.array(
        [
            result.get(name, np.nan) / int8[name] if OBJECTIVES[name][1] else 1 - result[name]
            for name in objectives
        ]
    )


def useful_region(objectives: Sequence[str], int8: Mapping[str, Any]) -> Array:
    """The far corner of the useful region, as :func:`cost` counts."""
    error = 1 - int8["accuracy"] + USEFUL_DROP
    return np.array([1.0 if OBJECTIVES[name][1] else error for name in objectives])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process may search in a folder. The lock goes with the process, however it ends."""
    path = folder / "lock"
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: another process searches there; wait for it, or use another folder"
            ) from None
        yield


class Run:
    """A search in a folder: configuration, store, history and front.

    The folder holds ``config.json``, ``evaluations.sqlite``, ``history.json`` (hypervolume by
    generation), ``front.json``, and genome files ``knee``, ``smallest``, ``most-accurate``,
    ``fewest-weights``, ``fewest-cells``, ``within-0.5-smallest``, ``within-0.5-fewest-cells`` (and
    1.0) and ``front-N``, which ``genogate gru --genome`` takes;
    they name checkpoint and knobs too.

    Raises :class:`InputError` for a folder that holds another run, or is no run's.
    """

    def __init__(
        self,
        folder: str | Path,
        setting: Setting,
        config: Config,
        *,
        resume: bool = False,
        retrain: Retrain | Mapping[str | None, Retrain] | None = None,
    ) -> None:
        self.folder, self.setting, self.config = Path(folder), setting, config
        check_genes(config.knob_genes, setting.knobs)
        if config.beacons and retrain is None:
            raise InputError("beacons: a way to retrain is needed (--beacon COMMAND)")
        self.layers = load(setting).layers
        document = json.loads(
            json.dumps(
                {
                    "version": VERSIONS[-1],
                    "config": asdict(config),
                    "setting": record(setting) | {"also": self._also()},
                }
            )
        )
        path = self.folder / "config.json"
        store = self.folder / "evaluations.sqlite"
        # A run that ended before its first evaluation is none.
        if path.exists() and (resume or not store.exists() or len(Store(store))):
            self._compare(read_json(path), document, resume)
        write_json(path, document)
        self.store = Store(store)
        self.int8 = Candidate(Genome.uniform(MAX_BITS, self.layers))
        self.points: dict[Candidate, Point] = {}
        #: What was evaluated before the front was measured, where a search by estimates has ended.
        self.estimated: dict[Candidate, Point] = {}
        self.fresh = 0
        self.beacons = Beacons(self.folder, retrain) if retrain else None
        self.screen: Prescreen | None = None
        #: Whether accuracies of points are, until the front is measured, ranks by the proxy.
        self.blind = config.proxy_only
        self._told: dict[tuple[Setting, Candidate], dict[str, Any]] = {}
        self._by_gene: dict[str, Linear] = {}
        self._floor = 0.0
        self._front: list[Point] = []
        self._judged: set[Candidate] = set()

    def _also(self) -> dict[str, str]:
        """The further checkpoints' hashes. Raises :class:`InputError` where one does not go with
        the setting's."""
        own, found = load(self.setting), {}
        for name in self.config.checkpoints:
            if name == self.setting.checkpoint:
                raise InputError(f"checkpoint {name}: it is the first one already")
            other = load(replace(self.setting, checkpoint=name))
            for what, mine, its in (
                # The data count: one's own file may have been moved.
                ("task", own.task.name, other.task.name),
                ("split", own.task.split_hash, other.task.split_hash),
            ):
                if own.task.split_hash != other.task.split_hash and mine != its:
                    raise InputError(
                        f"checkpoint {name}: its {what} is {its}, that of "
                        f"{self.setting.checkpoint} {mine}; all must have the same"
                    )
            if other.layers != self.layers:
                raise InputError(
                    f"checkpoint {name}: {other.layers} layers, {self.setting.checkpoint} has "
                    f"{self.layers}; all must have as many"
                )
            found[name] = other.checkpoint_hash
        return found

    def _compare(self, before: Any, document: dict[str, Any], resume: bool) -> None:
        if not isinstance(before, dict) or not all(
            isinstance(before.get(part), dict) for part in ("config", "setting")
        ):
            raise InputError(f"{self.folder}: config.json is not that of a run; use another folder")
        if before.get("version") not in VERSIONS:
            raise InputError(
                f"{self.folder}: a run of version {shown(before.get('version', 1))}, this program "
                f"makes {document['version']}; use another folder"
            )
        if not resume:
            raise InputError(
                f"{self.folder}: holds a run already; --resume to go on with it, or another folder"
            )
        # Of what an earlier version did not know, it did what is the default now.
        knobs = before["setting"].get("knobs")
        before = {
            "config": {
                "checkpoints": [],
                "prescreen": None,
                "proxy_only": False,
            }
            | before["config"],
            "setting": {"also": {}, "estimate": False} | before["setting"],
        }
        if isinstance(knobs, dict):
            before["setting"]["knobs"] = Knobs().to_json() | knobs
        if before["config"]["prescreen"] is None:
            # It had no meaning there.
            before["config"]["prescreen_factor"] = document["config"]["prescreen_factor"]
        # A run may be made longer: what it does first stays the same.
        differing = [
            name
            for part in ("config", "setting")
            for name in document[part]
            if name not in ("generations", "exploit")
            and before[part].get(name) != document[part][name]
        ]
        if differing:
            raise InputError(
                f"{self.folder}: its run differs in {', '.join(differing)}; use the same options, "
                "or another folder"
            )

    def _cases(self, candidate: Candidate) -> list[tuple[str, str | None, Case]]:
        """Key in the store, beacon, and case: with the setting's weights, and those of every beacon
        that is near."""
        setting = candidate.setting(self.setting)
        cases: list[tuple[str | None, Setting]] = [(None, setting)]
        if self.beacons:
            cases += [
                (b.checkpoint, replace(setting, checkpoint=b.checkpoint))
                for b in self.beacons.lit
                if b.near(candidate.genome, self.config.beacon_distance, candidate.checkpoint)
            ]
        return [
            (f"{each.key} {candidate.genome}", beacon, Case(each, candidate.genome, self._floor))
            for beacon, each in cases
        ]

    def _whole(self, result: Mapping[str, Any]) -> bool:
        """Whether it has what the objectives need, and hardware was measured where it should have
        been. Results of before there were ``weights`` lack them."""
        if not set(self.config.objectives) - set(MEASURED) <= result.keys():
            return False
        if not self.setting.silicon or result["accuracy"] >= self._floor:
            return not self.setting.silicon or "cells" in result
        # Yosys, if it was asked by a run without a floor, may have chosen other units.
        return (
            "cells" not in result
            or self.setting.estimate
            or self.setting.knobs.activation != "auto"
        )

    def evaluate(
        self, candidates: Sequence[Candidate], pool: Pool, say: Say = lambda text: None
    ) -> list[Point]:
        """Points of `candidates`, from the store where they are known, else evaluated and kept."""
        if self.blind:
            return self._guess(candidates, pool, say)
        wanted = [c for c in dict.fromkeys(candidates) if c not in self.points]
        cases = {c: self._cases(c) for c in wanted}
        known = self.store.load(key for rows in cases.values() for key, _, _ in rows)
        known = {key: result for key, result in known.items() if self._whole(result)}
        new = [
            (key, candidate, case)
            for candidate, rows in cases.items()
            for key, _, case in rows
            if key not in known
        ]
        done = 0

        def told(text: str) -> None:
            say(f"{done} of {len(new)} genomes evaluated; {text[0].lower()}{text[1:]}")

        for index, result in evaluate_cases([case for _, _, case in new], pool, told):
            key, candidate, _ = new[index]
            self.store.keep(key, str(candidate), result)
            known[key] = result
            self.fresh += 1
            done += 1
        for candidate in wanted:
            # The first of equals: without a beacon where that is as good.
            key, beacon, _ = max(cases[candidate], key=lambda row: known[row[0]]["accuracy"])
            result = dict(known[key])
            if result["accuracy"] < self._floor:
                # As if it had not been measured, whoever asked for it since: a run that goes on
                # must see what it saw.
                result = {n: value for n, value in result.items() if n not in ("cells", "memory")}
            if "cells" in result:
                result["silicon"] = result["cells"] + self.config.bit_weight * result["memory"]
            self.points[candidate] = Point(candidate, result, beacon)
        return [self.points[candidate] for candidate in candidates]

    def _guess(self, candidates: Sequence[Candidate], pool: Pool, say: Say) -> list[Point]:
        """Points whose accuracy is 1 less the proxy's loss, with costs as they are without running
        anything."""
        wanted = [c for c in dict.fromkeys(candidates) if c not in self.points]
        found = self._costs_told(wanted, replace(self.setting, estimate=True), pool, say)
        losses = self._proxy.loss([c.genome for c in wanted])
        for candidate, costs, loss in zip(wanted, found, losses, strict=True):
            self.points[candidate] = Point(candidate, costs | {"accuracy": 1 - float(loss)})
        return [self.points[candidate] for candidate in candidates]

    @property
    def _proxy(self) -> Prescreen:
        """The run's proxy. It must have one."""
        if self.screen is None:
            assert self.config.prescreen is not None
            self.screen = Prescreen.of(self.config.prescreen, self.setting)
        return self.screen

    def _costs_told(
        self, candidates: Sequence[Candidate], setting: Setting, pool: Pool, say: Say
    ) -> list[dict[str, Any]]:
        """Costs without running anything, ``silicon`` included where there are cells."""
        new = [c for c in dict.fromkeys(candidates) if (setting, c) not in self._told]
        cases = [(setting, c.genome) for c in new]
        for done, (index, found) in enumerate(pool.map(costs_of, cases), 1):
            say(f"Costs: {done} of {len(cases)} genomes")
            if "cells" in found:
                found["silicon"] = found["cells"] + self.config.bit_weight * found["memory"]
            self._told[setting, new[index]] = found
        return [self._told[setting, c] for c in candidates]

    def _expected(self, candidates: Sequence[Candidate], pool: Pool, say: Say) -> Array:
        """Costs [n, objectives but accuracy], relative to INT8, without running anything: cells by
        a model of the points that have them, or where these are few, by estimate."""
        names = [name for name in self.config.objectives if name != "accuracy"]
        fitted = {name: self._fitted(name) for name in names}
        setting = plain(self.setting, any(m is None for n, m in fitted.items() if n in MEASURED))
        rows = self._costs_told([*candidates, self.int8], setting, pool, say)
        wanted = np.array([self.encode(c) for c in candidates])
        columns = [
            np.array([row[name] / rows[-1][name] for row in rows[:-1]])
            if model is None
            else model(wanted)
            for name, model in fitted.items()
        ]
        return np.array(columns).T.reshape(len(candidates), len(names))

    def _fitted(self, name: str) -> Linear | None:
        """A cost relative to INT8 by a model of the points that have it; None where it is told
        without one, or too few points have it."""
        known = [p for p in self.points.values() if name in p.result]
        if name not in MEASURED or len(known) < ENOUGH_CELLS:
            return None
        x = np.array([self.encode(p.candidate) for p in known])
        return Linear.fit(
            self.space,
            x,
            np.array([p.result[name] / self.points[self.int8].result[name] for p in known]),
        )

    def _steps(self, name: str, pool: Pool, say: Say) -> Linear:
        """A cost relative to INT8 as the sum of what each width of each gene alone costs."""
        if name not in self._by_gene:
            genes = self.int8.genome.genes
            alone = [
                Genome.from_genes((*genes[:k], bits, *genes[k + 1 :]))
                for k in range(len(genes))
                for bits in range(MIN_BITS, MAX_BITS + 1)
            ]
            told = self._costs_told(
                [Candidate(genome) for genome in alone],
                plain(self.setting, name in MEASURED),
                pool,
                say,
            )
            costs = np.array([row[name] for row in told], float).reshape(len(genes), -1)
            costs /= costs[0, -1]
            self._by_gene[name] = Linear(
                self.space, float(1 + (costs[:, 0] - 1).sum()), np.diff(costs).ravel()
            )
        return self._by_gene[name]

    def _screened(
        self, rng: np.random.Generator, rows: Array, count: int, pool: Pool, say: Say
    ) -> Array:
        """At most `count` of `rows`, or of what NSGA-II makes of them by the proxy's word, that are
        worth an evaluation."""
        say("Prescreening")
        early = len(self.points) < ENOUGH
        accuracy = self._by_rank if early else self._translation()
        front = None if early else self.costs(self.front())
        column = self.config.objectives.index("accuracy")
        costs = [
            self._fitted(name) or self._steps(name, pool, say)
            for name in self.config.objectives
            if name != "accuracy"
        ]

        def values(rows: Array) -> Array:
            """Losses and costs [n, objectives], accuracy first."""
            return np.column_stack([1 - accuracy(rows), *(of(rows) for of in costs)])

        order = [column, *(k for k in range(len(self.config.objectives)) if k != column)]
        reference = self.reference[order]
        if front is not None:
            front = front[:, order]
        rows = self._grown(rng, rows, values, reference)
        rows = rows[[self.decode(row) not in self.points for row in rows]]
        if len(rows) > SHORTLIST * count:
            rows = rows[shortlist(rng, values(rows), front, reference, SHORTLIST * count)]
        if len(rows) <= count:
            return rows
        candidates = [self.decode(row) for row in rows]
        losses = 1 - accuracy(rows)
        useful = losses < reference[0] if not early else np.ones(len(rows), bool)
        told = self._costs_told(candidates, plain(self.setting, False), pool, say)
        for name, limit in self.config.limits:
            useful &= [costs.get(name, 0) <= limit for costs in told]
        return rows[
            select(
                rng,
                losses,
                self._expected(candidates, pool, say),
                count,
                useful=useful,
                front=front,
                reference=reference,
            )
        ]

    def _grown(
        self,
        rng: np.random.Generator,
        rows: Array,
        values: Callable[[Array], Array],
        reference: Array,
    ) -> Array:
        """All rows that NSGA-II meets from `rows` and the front on, as many as the run looks at
        for a generation, when objectives are `values`."""
        from pymoo.problems.static import StaticProblem

        size = max(len(rows), GROWN * self.config.pop_size)
        front = [self.encode(point.candidate) for point in self.front()]
        first = np.unique(np.vstack([*front, rows]), axis=0)
        seed = int(rng.integers(1 << 31))
        algorithm, problem = self._algorithm(first, size, size, seed)
        met = [first]
        for _ in range(-(-self.config.pop_size * self.config.prescreen_factor // size)):
            asked = algorithm.ask()
            if asked is None or not len(asked):
                break
            found = asked.get("X")
            met.append(found)
            told = values(found)
            beyond = np.zeros((len(found), problem.n_ieq_constr))
            beyond[:, 0] = (told / reference).max(1) - 1
            algorithm.evaluator.eval(StaticProblem(problem, F=told, G=beyond), asked)
            algorithm.tell(infills=asked)
        return np.unique(np.vstack(met), axis=0)

    def _by_rank(self, rows: Array) -> Array:
        """Stands for accuracies until enough are known."""
        genes = len(GENES) * self.layers
        return 1 - self._proxy.loss(rows[:, :genes])

    def _translation(self) -> Callable[[Array], Array]:
        """Accuracies that the proxy's scores of rows stand for, by all points."""
        points = self.points.values()
        told = Forecast(
            self._proxy,
            np.array([p.genome.genes for p in points]),
            np.array([p.result["accuracy"] for p in points]),
        )
        genes = len(GENES) * self.layers
        return lambda rows: told(rows[:, :genes])

    def violations(self, point: Point) -> Array:
        """How far a point is beyond each constraint, float64, 0 or less where it is not."""
        excess = [self._floor - point.result["accuracy"]]
        for name, limit in self.config.limits:
            # Not measured, since it violates the first already.
            excess.append(point.result[name] / limit - 1 if name in point.result else 0.0)
        return np.array(excess)

    def front(self) -> list[Point]:
        """The points within the constraints that no other dominates, by the first objective."""
        new = [p for c, p in self.points.items() if c not in self._judged]
        self._judged.update(p.candidate for p in new)
        points = self._front + [p for p in new if (self.violations(p) <= 0).all()]
        costs = self.costs(points)
        kept = non_dominated(costs) if len(points) else []
        self._front = [points[k] for k in sorted(kept, key=lambda k: tuple(costs[k]))]
        return self._front

    def costs(self, points: Sequence[Point]) -> Array:
        """Objective values [points, objectives] (:func:`cost`)."""
        int8 = self.points[self.int8].result
        rows = [cost(self.config.objectives, p.result, int8) for p in points]
        return np.array(rows).reshape(len(rows), len(self.config.objectives))

    @cached_property
    def reference(self) -> Array:
        """:func:`useful_region` of this run; of a proxy's ranks everything."""
        if self.blind:
            return np.ones(len(self.config.objectives))
        return useful_region(self.config.objectives, self.points[self.int8].result)

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The values of what may differ besides the genes; of checkpoints the setting's first."""
        found = {name: KNOB_GENES[name] for name in self.config.knob_genes}
        if self.config.checkpoints:
            found[CHECKPOINT] = (self.setting.checkpoint, *self.config.checkpoints)
        return found

    @cached_property
    def space(self) -> Space:
        """Variables: the genes in bits, then an index for each of :attr:`choices`."""
        genes = len(GENES) * self.layers
        choices = [len(values) - 1 for values in self.choices.values()]
        return Space(
            np.array([MIN_BITS] * genes + [0] * len(choices)),
            np.array([MAX_BITS] * genes + choices),
            tuple(genes + k for k, name in enumerate(self.choices) if name == CHECKPOINT),
        )

    def decode(self, row: Array) -> Candidate:
        """The candidate of a row of variables (:attr:`space`)."""
        genes = len(GENES) * self.layers
        choices = zip(self.choices.items(), row[genes:], strict=True)
        values = {name: of[int(index)] for (name, of), index in choices}
        default = {
            name: values[0] if len(set(values)) == 1 else None
            for name, values in self.setting.knobs.by_option().items()
        } | {CHECKPOINT: self.setting.checkpoint}
        # What is as in the setting is no difference, so that INT8 is one point and not several.
        knobs = tuple(
            (name, values[name])
            for name in (*KNOB_GENES, CHECKPOINT)
            if name in values and values[name] != default[name]
        )
        return Candidate(Genome.from_genes(int(g) for g in row[:genes]), knobs)

    def encode(self, candidate: Candidate) -> Array:
        """The row of variables of a candidate; a knob value that is no choice becomes the first."""
        values = {
            **{name: values[0] for name, values in self.setting.knobs.by_option().items()},
            CHECKPOINT: self.setting.checkpoint,
            **dict(candidate.knobs),
        }
        indices = [
            of.index(values[name]) if values[name] in of else 0 for name, of in self.choices.items()
        ]
        return np.array([*candidate.genome.genes, *indices])

    def _first(self, pool: Pool, say: Say) -> Array:
        """The first population [pop_size, variables]; evaluates what it needs to know."""
        config, space = self.config, self.space
        rng = np.random.default_rng([config.seed, 1])
        screening = config.prescreen is not None and not self.blind
        size = config.pop_size * (GROWN if screening else 1)
        rows = rng.integers(space.low, space.high + 1, (size, len(space.low)))
        known: list[Genome] = []
        if config.initial != "random":
            known = [Genome.uniform(b, self.layers) for b in range(MIN_BITS, MAX_BITS + 1)]
            self.evaluate([Candidate(genome) for genome in known], pool, say)
        if config.initial == "sensitivity":
            judge = self._judge if config.prescreen is None else self._judge_by_proxy
            found = sensitivity.profile(judge(pool, say), self.layers)
            costs = [n for n in config.objectives if n in found.costs] or ["size"]
            room = config.pop_size // 2 - len(known)
            chain = sensitivity.ordered(found, costs, count=config.pop_size)
            known += sensitivity.spread([g for g in chain if g not in known], max(1, room))
            # The others are the chain's genomes with a third of the genes a bit off: as spread as
            # random ones, but near to where good ones are.
            for k in range(min(len(known), config.pop_size), size):
                near = chain[int(rng.integers(len(chain)))].genes
                off = rng.choice([-1, 0, 1], len(near), p=(0.2, 0.6, 0.2))
                rows[k, : len(near)] = np.clip(np.add(near, off), MIN_BITS, MAX_BITS)
        for k, genome in enumerate(known[: config.pop_size]):
            rows[k] = self.encode(Candidate(genome))
            for variable in space.categories:
                # What is a good genome with one checkpoint may be one with each of them.
                rows[k, variable] = k % (space.high[variable] + 1)
        if screening:
            first = min(len(known), config.pop_size)
            rng = np.random.default_rng([config.seed, 4])
            rest = self._screened(rng, rows[first:], config.pop_size - first, pool, say)
            rows = np.vstack([rows[:first], rest])
        return rows

    def _judge(self, pool: Pool, say: Say) -> sensitivity.Judge:
        def judge(genomes: list[Genome]) -> list[Mapping[str, Any]]:
            return [p.result for p in self.evaluate([Candidate(g) for g in genomes], pool, say)]

        return judge

    def _judge_by_proxy(self, pool: Pool, say: Say) -> sensitivity.Judge:
        """What a genome is worth by the proxy, which takes no evaluations."""
        silicon = bool(set(MEASURED) & set(self.config.objectives))

        def judge(genomes: list[Genome]) -> list[Mapping[str, Any]]:
            told = self._costs_told(
                [Candidate(g) for g in genomes], plain(self.setting, silicon), pool, say
            )
            damage = self._proxy.damage(genomes)
            return [c | {"accuracy": 1 - float(d)} for c, d in zip(told, damage, strict=True)]

        return judge

    def _algorithm(self, first: Array, size: int, offspring: int, seed: int) -> tuple[Any, Any]:
        """NSGA-II with a first population, and its problem."""
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair

        config, space = self.config, self.space

        class Mutation(PM):
            """Moves by small steps, and a category to any of its values."""

            def _do(
                self, problem: Any, X: Array, *args: Any, random_state: Any = None, **kwargs: Any
            ) -> Array:
                moved = super()._do(problem, X, *args, random_state=random_state, **kwargs)
                for k in space.categories:
                    changed = random_state.random(len(moved)) < CATEGORY_MUTATION
                    drawn = random_state.integers(space.low[k], space.high[k] + 1, len(moved))
                    moved[changed, k] = drawn[changed]
                return moved

        problem = Problem(
            n_var=len(space.low),
            n_obj=len(config.objectives),
            n_ieq_constr=1 + len(config.limits),
            xl=space.low,
            xu=space.high,
            vtype=int,
        )
        algorithm = NSGA2(
            pop_size=size,
            sampling=first,
            n_offsprings=offspring,
            crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
            mutation=Mutation(eta=20, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=True,
        )
        algorithm.setup(problem, termination=("n_gen", 10**9), seed=seed, verbose=False)
        return algorithm, problem

    def _seen(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """Objectives and violations as NSGA-II gets them."""
        costs = np.nan_to_num(self.costs(points), nan=UNKNOWN)
        return costs, np.array([self.violations(point) for point in points])

    def _explore(self, pool: Pool, say: Say) -> Iterator[None]:
        """A generation of NSGA-II between any two yields."""
        from pymoo.core.population import Population
        from pymoo.problems.static import StaticProblem

        size, seed = self.config.pop_size, self.config.seed
        screening = self.config.prescreen is not None and not self.blind
        algorithm, problem = self._algorithm(
            self._first(pool, say), size, size * (GROWN if screening else 1), seed
        )
        rng = np.random.default_rng([seed, 5])
        while True:
            asked = algorithm.ask()
            if asked is None or not len(asked):
                # Nothing new can be made of this population.
                yield
                continue
            if len(asked) > size:
                asked = Population.new("X", self._screened(rng, asked.get("X"), size, pool, say))
                if not len(asked):
                    yield
                    continue
            points = self.evaluate([self.decode(row) for row in asked.get("X")], pool, say)
            costs, excess = self._seen(points)
            algorithm.evaluator.eval(StaticProblem(problem, F=costs, G=excess), asked)
            algorithm.tell(infills=asked)
            if self._light(pool, say):
                # What a beacon changed, the population has to know.
                pop = algorithm.pop
                costs, excess = self._seen([self.points[self.decode(r)] for r in pop.get("X")])
                pop.set("F", costs, "G", excess)
            yield

    def _sample(self, pool: Pool, say: Say) -> Iterator[None]:
        """A generation of random rows between any two yields."""
        rng, space = np.random.default_rng([self.config.seed, 2]), self.space
        self._first(pool, say)
        while True:
            shape = self.config.pop_size, len(space.low)
            rows = rng.integers(space.low, space.high + 1, shape)
            self.evaluate([self.decode(row) for row in rows], pool, say)
            yield

    def _descend(self, pool: Pool, say: Say) -> Iterator[None]:
        """Greedy descent, with as many evaluations a generation as the others have at most."""
        costs = [n for n in self.config.objectives if n not in ("accuracy", "cycles")]
        drop = USEFUL_DROP if self.config.max_drop is None else self.config.max_drop / 100
        self._first(pool, say)
        for generation in range(1, self.config.generations + 1):
            # Started again it finds all that it did before among the points.
            sensitivity.descent(
                self._judge(pool, say),
                self.layers,
                costs=costs,
                drop=drop,
                budget=self.config.pop_size * generation,
            )
            yield

    def _exploit(self, pool: Pool, say: Say) -> Iterator[None]:
        """A round of local search between any two yields."""
        rng = np.random.default_rng([self.config.seed, 3])
        sieve = np.random.default_rng([self.config.seed, 6])
        screening = self.config.prescreen is not None and not self.blind
        factor = EXPLOIT_FACTOR if screening else 1
        while True:
            front = [p.candidate for p in self.front()]
            everything = list(self.points)
            rows = np.array([self.encode(candidate) for candidate in everything])
            costs = self.costs(list(self.points.values()))
            # Accuracy first, as the model of it tells what is useful.
            order = np.argsort(
                [name != "accuracy" for name in self.config.objectives], kind="stable"
            )
            place = {candidate: k for k, candidate in enumerate(everything)}
            starts = [place[c] for c in front]
            useful = [k for k in starts if (costs[k] < self.reference).all()]
            found = propose(
                rng,
                self.space,
                rows,
                costs[:, order],
                useful or starts,
                self.reference[order],
                factor * self.config.pop_size,
            )
            if screening:
                found = self._screened(sieve, found, self.config.pop_size, pool, say)
            self.evaluate([self.decode(row) for row in found], pool, say)
            self._light(pool, say)
            yield

    def _light(self, pool: Pool, say: Say) -> bool:
        """Light the next beacon where one is wanted; whether it was."""
        if not self.beacons or len(self.beacons.lit) >= self.config.beacons:
            return False
        useful = [p for p in self.front() if (self.costs([p])[0] < self.reference).all()]
        found = self.beacons.next(
            [(p.genome, p.candidate.checkpoint) for p in useful], self.config.beacon_distance
        )
        if found is None:
            return False
        say(f"Retraining beacon {len(self.beacons.lit)}")
        beacon = self.beacons.light(*found)
        near = [
            c
            for c in self.points
            if beacon.near(c.genome, self.config.beacon_distance, c.checkpoint)
        ]
        for candidate in near:
            del self.points[candidate]
        self.evaluate(near, pool, say)
        self._front, self._judged = [], set()
        return True

    def go(
        self,
        *,
        workers: int = 1,
        backend: str | None = None,
        scheduler: str | None = None,
        say: Say = lambda text: None,
        tell: Callable[[Progress], None] = lambda progress: None,
    ) -> list[Point]:
        """Search to the end; the front. Files are written after every generation.

        backend, scheduler : where evaluations run (:class:`~genogate.search.pool.backends.Pool`)
        """
        started, config = time.perf_counter(), self.config
        where = backend or ("processes" if workers > 1 else "serial")
        method = {"nsga2": self._explore, "random": self._sample, "greedy": self._descend}
        last = int(self.setting.estimate or config.proxy_only)
        total = config.generations + config.exploit + last
        history: list[dict[str, Any]] = []
        say_plainly = say

        def say(text: str) -> None:
            say_plainly(f"generation {len(history) + 1} of {total}: {text}")

        with _alone(self.folder), Pool(where, workers, scheduler) as pool:
            if config.prescreen is not None:
                self.screen = Prescreen.of(config.prescreen, self.setting, say)
            ((int8),) = self.evaluate([self.int8], pool, say)
            if config.max_drop is not None and not self.blind:
                self._floor = int8.result["accuracy"] - config.max_drop / 100
            phases = [
                ("explore", method[config.method](pool, say), config.generations),
                ("exploit", self._exploit(pool, say), config.exploit),
                ("measure", self._measure(pool, say), last),
            ]
            for phase, steps, count in phases:
                for _ in range(count):
                    next(steps, None)
                    front = self.front()
                    share = hypervolume(self.costs(front), self.reference)
                    count = len(self.estimated or self.points)
                    # By a proxy nothing is evaluated, and no volume known.
                    run = 0 if self.blind else len(self.points) if config.proxy_only else count
                    history.append(
                        {
                            "generation": len(history) + 1,
                            "phase": phase,
                            "evaluations": run,
                            "hypervolume": 0.0 if self.blind else share,
                            "front": len(front),
                        }
                    )
                    self.save(history, front)
                    tell(
                        Progress(
                            len(history),
                            total,
                            count,
                            self.fresh,
                            time.perf_counter() - started,
                            share,
                            front,
                            phase,
                            self.blind,
                            config.pop_size,
                        )
                    )
        return self.front()

    def _promising(self) -> list[Candidate]:
        """The front, and what would be on it if its estimates were a little too high."""
        front = self.front()
        if not front:
            return []
        if self.blind:
            kept = crowded(self.costs(front), self.config.pop_size)
            return [front[k].candidate for k in kept]
        taken = {p.candidate for p in front}
        others = [
            p
            for p in self.points.values()
            if p.candidate not in taken and (self.violations(p) <= 0).all()
        ]
        if not others:
            return list(taken)
        estimated = np.array([name in ("cells", "silicon") for name in self.config.objectives])
        wall, costs = self.costs(front), self.costs(others)
        margins = []
        for row in costs:
            # The least share by which all estimates must fall until no point of the front is as
            # good in everything.
            worse = (wall <= row).all(1)
            need = 1 - wall[worse][:, estimated] / row[estimated]
            margins.append(need.min(1).max() if worse.any() and estimated.any() else 0.0)
        order = np.argsort(margins, kind="stable")[: int(ESTIMATE_MORE * len(front))]
        near = [others[k].candidate for k in order if margins[k] <= ESTIMATE_SLACK]
        return [p.candidate for p in front] + near

    def _measure(self, pool: Pool, say: Say) -> Iterator[None]:
        """Ends a search by estimates, or by a proxy: what is promising is measured, and nothing
        else counts."""
        chosen = self._promising()
        self.blind = False
        self.estimated, self.points = self.points, {}
        self.setting = replace(self.setting, estimate=False)
        self._front, self._judged = [], set()
        self.__dict__.pop("reference", None)
        ((int8),) = self.evaluate([self.int8], pool, say)
        if self.config.max_drop is not None:
            self._floor = int8.result["accuracy"] - self.config.max_drop / 100
        self.evaluate(chosen, pool, say)
        yield

    def _write_genome(self, name: str, point: Point) -> None:
        setting = point.candidate.setting(self.setting)
        checkpoint = point.beacon or setting.checkpoint
        if Path(checkpoint).exists():
            # Beside the genome, or wherever it is: the file may be used from any folder.
            inside = Path(checkpoint).resolve().is_relative_to(self.folder.resolve())
            checkpoint = (
                os.path.relpath(checkpoint, self.folder)
                if inside
                else str(Path(checkpoint).resolve())
            )
        point.genome.save(self.folder / name, checkpoint=checkpoint, knobs=setting.knobs.changes)

    def names(self, front: Sequence[Point]) -> dict[int, list[str]]:
        """Names of genome files by the index of their points in the front."""
        costs, objectives = self.costs(front), self.config.objectives
        names: dict[int, list[str]] = {k: [] for k in range(len(front))}
        if not len(front):
            return names
        # Exclude points outside the useful region from the knee.
        useful = np.flatnonzero((costs < self.reference).all(1))
        useful = useful if len(useful) else np.arange(len(front))
        names[int(useful[knee(costs[useful])])].append("knee")
        for name, objective in (
            ("most-accurate", "accuracy"),
            ("smallest", "size"),
            ("fewest-weights", "weights"),
            ("fewest-cells", "cells"),
        ):
            if objective in objectives:
                names[int(costs[:, objectives.index(objective)].argmin())].append(name)
        int8 = self.points[self.int8].result
        for name, k in within([p.result for p in front], int8).items():
            names[k].append(name)
        for k in names:
            names[k].append(f"front-{k}")
        return names

    def save(self, history: Sequence[Mapping[str, Any]], front: Sequence[Point]) -> None:
        """Write history, front and the genomes worth a name; by a proxy there is no front yet."""
        if self.blind:
            write_json(self.folder / "history.json", list(history))
            return
        named = {name: front[k] for k, names in self.names(front).items() for name in names}
        for name, point in named.items():
            self._write_genome(name, point)
        for pattern in PATTERNS:
            for path in self.folder.glob(pattern):
                if path.name not in named:
                    path.unlink()
        write_json(
            self.folder / "front.json",
            {
                "objectives": list(self.config.objectives),
                "points": [
                    {
                        "genome": list(p.genome.genes),
                        "name": f"front-{k}",
                        **({"knobs": dict(p.candidate.knobs)} if p.candidate.knobs else {}),
                        **({"beacon": Path(p.beacon).name} if p.beacon else {}),
                        **dict(sorted(p.result.items())),
                    }
                    for k, p in enumerate(front)
                ],
                "named": {
                    name: list(p.genome.genes)
                    for name, p in named.items()
                    if not name.startswith("front-")
                },
            },
        )
        write_json(self.folder / "history.json", list(history))
