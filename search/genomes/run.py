"""A search in a folder, from its first population to the genome files at its end.

NSGA-II over bit-width genomes, as in arXiv 2402.12263, with silicon among the objectives: integer
genes in [2, 8], simulated binary crossover, polynomial mutation, rank and crowding (pymoo). Beyond
the paper: constraints, knobs as genes, first populations that know how much each operator minds few
bits, local search around the front at the end (:mod:`.exploit`), beacons (:mod:`.beacons`), and a
training-free proxy that discards offspring, or takes the place of accuracy (:mod:`.screening`).

A run is a function of its configuration and seed: what was evaluated before is read from the store,
so a run that was stopped, however, is the same run started again, and arrives at the same front.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...model.errors import InputError
from ...model.genome import MAX_BITS, MIN_BITS, Genome
from ...synth.targets.prices import UNITS, over
from ..pool.backends import Pool
from .beacons import Beacons, Retrain
from .candidate import Candidate, Point
from .clocks import check_tools, measure_clocks
from .config import Config
from .costs import Costs
from .encoding import Encoding
from .evaluate import Say, Setting, check_task, costs_of, load, record
from .evaluator import Evaluator
from .folder import VERSIONS, Folder, alone
from .ledger import Ledger
from .pareto import hypervolume
from .refresh import REFRESHES, corrected, estimate_errors
from .screening import Prescreen
from .strategies.context import Context
from .strategies.exploit import exploit
from .strategies.measure import promising
from .strategies.nsga2 import explore
from .strategies.rivals import descend, sample

#: Exploration by the method's name.
STRATEGIES = {"nsga2": explore, "random": sample, "greedy": descend}


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


def further_checkpoints(setting: Setting, config: Config) -> dict[str, str]:
    """The further checkpoints' hashes. Raises :class:`InputError` where one does not go with the
    setting's."""
    material, hashes = load(setting), {}
    names = {material.checkpoint_hash: setting.checkpoint}
    for name in config.checkpoints:
        if name == setting.checkpoint:
            raise InputError(f"checkpoint {name}: it is the first one already; leave it out")
        check_task(name, material.task.name)
        other = load(replace(setting, checkpoint=name))
        if (same := names.setdefault(other.checkpoint_hash, name)) != name:
            raise InputError(f"checkpoint {name}: the same network as {same}; leave it out")
        for what, mine, its in (
            # The data count: one's own file may have been moved.
            ("task", material.task.name, other.task.name),
            ("split", material.task.split_hash, other.task.split_hash),
        ):
            if material.task.split_hash != other.task.split_hash and mine != its:
                raise InputError(
                    f"checkpoint {name}: its {what} is {its}, that of "
                    f"{setting.checkpoint} {mine}; all must have the same"
                )
        for kind, first, further in (
            ("layers", material.layers, other.layers),
            ("dense layers", material.dense, other.dense),
        ):
            if further != first:
                raise InputError(
                    f"checkpoint {name}: {further} {kind}, {setting.checkpoint} has {first}; all "
                    "must have as many"
                )
        hashes[name] = other.checkpoint_hash
    return hashes


class Run:
    """A search in a folder (:class:`.folder.Folder`): its phases and its history.

    ledger : what is known by now; evaluator : how more becomes known
    estimated : what was evaluated before the front was measured, where a search by estimates or a
        proxy has ended

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
        if config.beacons and retrain is None:
            raise InputError("beacons: a way to retrain is needed (--beacon COMMAND)")
        material = load(setting)
        document = {
            "version": VERSIONS[-1],
            "config": asdict(config),
            "setting": record(setting) | {"also": further_checkpoints(setting, config)},
        }
        self.files = Folder(self.folder)
        self.files.begin(json.loads(json.dumps(document)), resume)
        self.int8 = Candidate(Genome.uniform(MAX_BITS, material.layers, material.dense))
        self.estimated: dict[Candidate, Point] = {}
        self.encoding = Encoding(setting, config, material.layers, material.dense)
        self.ledger = Ledger(config.objectives, config.bounds, self.int8, blind=config.proxy_only)
        self.costs = Costs(setting, config, self.encoding, self.ledger)
        beacons = Beacons(self.folder, retrain) if retrain else None
        self.evaluator = Evaluator(
            setting, config, self.ledger, self.costs, self.files.store, beacons
        )
        self.front = self.ledger.front
        self.evaluate = self.evaluator.evaluate

    @property
    def points(self) -> dict[Candidate, Point]:
        """Everything evaluated, in the order in which it was asked for."""
        return self.ledger.points

    @property
    def fresh(self) -> int:
        """Evaluations of this process that were not in the store."""
        return self.evaluator.fresh

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
        last = int(self.setting.estimate or config.proxy_only)
        self._check_fit()
        if config.clock is not None:
            check_tools(config.target)
        total = config.generations + config.exploit + last
        history: list[dict[str, Any]] = []

        def now(text: str) -> None:
            say(f"generation {len(history) + 1} of {total}: {text}")

        with alone(self.folder), Pool(where, workers, scheduler) as pool:
            context = self._context(pool, now)
            self._relative_to_int8(pool, now)
            phases = [
                ("explore", STRATEGIES[config.method](context), config.generations),
                ("exploit", exploit(context), config.exploit),
                ("measure", self._measure(pool, now), last),
            ]
            for phase, steps, count in phases:
                for _ in range(count):
                    next(steps, None)
                    tell(self._generation(history, total, phase, time.perf_counter() - started))
        return self.front()

    def _check_fit(self) -> None:
        """Raises :class:`InputError` where not even two bits everywhere fit the part."""
        if not self.config.fit or self.encoding.choices:
            return
        least = Genome.uniform(MIN_BITS, self.encoding.layers, self.encoding.dense)
        figures = costs_of((replace(self.setting, silicon=False, estimate=True), least))
        excess = over(self.config.target, figures)
        if excess:
            bounds = dict(self.config.bounds)
            words = ", ".join(
                f"{figures[name]:,.0f} of {bounds[name]:,} {UNITS[name]}" for name in excess
            )
            raise InputError(
                f"--fit: not even two bits everywhere fit {self.config.target} ({words}, by "
                "estimate): fewer units (--also a smaller checkpoint), --share all, fewer lanes, "
                "or a larger part"
            )

    def _context(self, pool: Pool, say: Say) -> Context:
        if self.config.prescreen is not None:
            self.evaluator.screen = Prescreen.of(self.config.prescreen, self.setting, say)
        return Context(
            self.config,
            self.ledger,
            self.encoding,
            self.costs,
            pool,
            say,
            lambda candidates: self.evaluate(candidates, pool, say),
            partial(self.evaluator.light_beacon, pool, say),
            self.evaluator.screen,
        )

    def _relative_to_int8(self, pool: Pool, say: Say) -> None:
        """Evaluate INT8, and set the floor that follows from it."""
        ((int8),) = self.evaluate([self.int8], pool, say)
        if self.config.max_drop is not None and not self.ledger.blind:
            self.ledger.floor = int8.result["accuracy"] - self.config.max_drop / 100

    def _generation(
        self, history: list[dict[str, Any]], total: int, phase: str, seconds: float
    ) -> Progress:
        """Add a row to `history` and write all files after a generation."""
        ledger, front = self.ledger, self.front()
        share = hypervolume(ledger.costs(front), ledger.reference)
        count = len(self.estimated or self.points)
        # By a proxy nothing is evaluated, and no volume known.
        evaluated = len(self.points) if self.config.proxy_only else count
        history.append(
            {
                "generation": len(history) + 1,
                "phase": phase,
                "evaluations": 0 if ledger.blind else evaluated,
                "hypervolume": 0.0 if ledger.blind else share,
                "front": len(front),
            }
        )
        self.save(history, front)
        return Progress(
            len(history),
            total,
            count,
            self.fresh,
            seconds,
            share,
            front,
            phase,
            ledger.blind,
            self.config.pop_size,
        )

    def _measure(self, pool: Pool, say: Say) -> Iterator[None]:
        """Ends a search by estimates, or by a proxy: what is promising is measured, and nothing
        else counts. What was measured corrects the estimates, and what is promising by these is
        measured too."""
        estimates, blind = self.ledger, self.ledger.blind
        candidates = promising(estimates, self.config.pop_size)
        self.setting = replace(self.setting, estimate=False)
        self.evaluator.setting = self.costs.setting = self.setting
        self.estimated = self.ledger.start_again()
        self._relative_to_int8(pool, say)
        self.evaluate(candidates, pool, say)
        if self.config.target != "generic" and not blind:
            for _ in range(REFRESHES):
                again = corrected(self.ledger, self.estimated)
                more = [c for c in promising(again, self.config.pop_size) if c not in self.points]
                if not more:
                    break
                self.evaluate(more[: self.config.pop_size], pool, say)
        self.files.estimates = estimate_errors(self.ledger, self.estimated)
        if self.config.clock is not None:
            most = 2 * self.config.pop_size
            self.files.clock = measure_clocks(
                self.ledger, self.setting, self.config.clock, most, say
            )
        yield

    def save(self, history: Sequence[Mapping[str, Any]], front: Sequence[Point]) -> None:
        """Write history, front and the genomes worth a name; by a proxy there is no front yet."""
        if not self.ledger.blind:
            self.files.save_front(self.ledger, front, self.setting)
        self.files.save_history(history)
