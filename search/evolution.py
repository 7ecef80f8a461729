"""NSGA-II over bit-width genomes, as in arXiv 2402.12263, with silicon among the objectives.

Integer genes in [2, 8], simulated binary crossover, polynomial mutation, rank and crowding (pymoo).
A run is a function of its configuration and seed: what was evaluated before is read from the store,
so a run that was stopped, however, is the same run started again, and arrives at the same front.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..model.errors import InputError, shown
from ..model.files import read_json, write_json
from ..model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from .evaluate import OBJECTIVES, Say, Setting, evaluate, load, record
from .store import Store

Array = np.ndarray
METHODS = ("nsga2", "random")
#: The useful region, over which hypervolume is taken: at most so much less accuracy than INT8, and
#: no more of anything else.
USEFUL_DROP = 0.10


@dataclass(frozen=True)
class Config:
    """What a run is a function of.

    objectives : two or more of :data:`~.evaluate.OBJECTIVES`
    pop_size, generations : evaluations are at most their product, and the homogeneous genomes
    seeded : whether the homogeneous genomes are in the first population
    """

    objectives: tuple[str, ...] = ("accuracy", "size", "cells")
    method: str = "nsga2"
    pop_size: int = 40
    generations: int = 25
    seed: int = 0
    seeded: bool = True

    def __post_init__(self) -> None:
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise InputError(f"objective {shown(name)}: {', '.join(OBJECTIVES)} are known")
        if len(set(self.objectives)) != len(self.objectives) or len(self.objectives) < 2:
            raise InputError("objectives: two or more different ones are needed")
        if self.method not in METHODS:
            raise InputError(f"method {shown(self.method)}: {', '.join(METHODS)} are known")
        for name, low, high in (("pop_size", 4, 10_000), ("generations", 1, 100_000),
                                ("seed", 0, 2**31 - 1)):  # fmt: skip
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"{name}: {shown(value)} is not within {low} to {high}")

    @property
    def silicon(self) -> bool:
        """Whether any objective needs Yosys."""
        return bool({"cells", "memory", "silicon"} & set(self.objectives))


@dataclass(frozen=True)
class Point:
    """A genome and its results on the validation part."""

    genome: Genome
    result: Mapping[str, Any]


@dataclass
class Progress:
    """After a generation: how far a run is.

    hypervolume : share of the useful region that the front dominates
    fresh : evaluations of this run that were not in the store
    """

    generation: int
    generations: int
    evaluations: int
    fresh: int
    seconds: float
    hypervolume: float
    front: list[Point] = field(default_factory=list)


def cost(objectives: Sequence[str], result: Mapping[str, Any], int8: Mapping[str, Any]) -> Array:
    """Objective values float64, all to be minimised: wrong classes, all else relative to INT8."""
    return np.array([
        result[name] / int8[name] if OBJECTIVES[name][1] else 1 - result[name]
        for name in objectives
    ])  # fmt: skip


def non_dominated(costs: Array) -> list[int]:
    """Indices of rows [n, objectives] that no other row dominates; the first of equal ones."""
    kept: list[int] = []
    for k in np.lexsort(costs.T[::-1]):
        if not any((costs[j] <= costs[k]).all() for j in kept):
            kept.append(int(k))
    return sorted(kept)


def hypervolume(costs: Array, reference: Array) -> float:
    """Share of the box between 0 and `reference` that rows [n, objectives] dominate."""
    from pymoo.indicators.hv import HV

    inside = costs[(costs < reference).all(1)]
    if not len(inside):
        return 0.0
    return float(HV(ref_point=np.ones(len(reference)))(inside / reference))


def knee(costs: Array) -> int:
    """The row farthest below the plane through the extremes: where any more of one objective
    costs most of the others. Objectives are scaled to the front's own range."""
    low, high = costs.min(0), costs.max(0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    return int(scaled.sum(1).argmin())


def _algorithm(config: Config, genes: int, layers: int) -> tuple[Any, Any]:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    rng = np.random.default_rng([config.seed, 1])
    first = rng.integers(MIN_BITS, MAX_BITS + 1, (config.pop_size, genes))
    if config.seeded:
        uniform = [Genome.uniform(bits, layers).genes for bits in range(MIN_BITS, MAX_BITS + 1)]
        first[: len(uniform)] = np.array(uniform)[: config.pop_size]
    problem = Problem(n_var=genes, n_obj=len(config.objectives), xl=MIN_BITS, xu=MAX_BITS,
                      vtype=int)  # fmt: skip
    algorithm = NSGA2(
        pop_size=config.pop_size, sampling=first,
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=20, vtype=float, repair=RoundingRepair()), eliminate_duplicates=True,
    )  # fmt: skip
    algorithm.setup(problem, termination=("n_gen", config.generations), seed=config.seed,
                    verbose=False)  # fmt: skip
    return algorithm, problem


class Run:
    """A search in a folder: configuration, store, history and front.

    The folder holds ``config.json``, ``evaluations.sqlite``, ``history.json`` (hypervolume by
    generation), ``front.json``, and genome files ``knee``, ``smallest``, ``most-accurate`` and
    ``front-N``, which ``genogate gru --genome`` takes.
    """

    def __init__(self, folder: str | Path, setting: Setting, config: Config, *,
                 resume: bool = False) -> None:  # fmt: skip
        self.folder, self.setting, self.config = Path(folder), setting, config
        document = {"config": asdict(config), "setting": record(setting)}
        document = json.loads(json.dumps(document))
        path = self.folder / "config.json"
        if path.exists():
            if not resume:
                raise InputError(
                    f"{self.folder}: holds a run already; --resume to go on with it, or another "
                    "folder"
                )
            if (before := read_json(path)) != document:
                differing = [name for part in ("config", "setting") for name in document[part]
                             if before.get(part, {}).get(name) != document[part][name]]  # fmt: skip
                raise InputError(
                    f"{self.folder}: its run differs in {', '.join(differing) or 'its file'}; "
                    "use the same options, or another folder"
                )
        else:
            write_json(path, document)
        self.store = Store(self.folder / "evaluations.sqlite")
        self.layers = load(setting).layers
        self.points: dict[Genome, Point] = {}
        self.fresh = 0

    def evaluate(self, genomes: Sequence[Genome], workers: int, say: Say) -> list[Point]:
        """Points of `genomes`, from the store where they are known, else evaluated and kept."""
        wanted = [g for g in dict.fromkeys(genomes) if g not in self.points]
        keys = {genome: f"{self.setting.key} {genome}" for genome in wanted}
        known = self.store.load(keys.values())
        for genome in wanted:
            if keys[genome] in known:
                self.points[genome] = Point(genome, known[keys[genome]])
        new = [genome for genome in wanted if genome not in self.points]
        for genome, result in evaluate(self.setting, new, workers=workers, say=say):
            self.store.keep(keys[genome], str(genome), result)
            self.points[genome] = Point(genome, result)
            self.fresh += 1
        return [self.points[genome] for genome in genomes]

    def front(self) -> list[Point]:
        """The points that no other dominates, by the first objective."""
        points = list(self.points.values())
        costs = self.costs(points)
        kept = non_dominated(costs)
        return [points[k] for k in sorted(kept, key=lambda k: tuple(costs[k]))]

    def costs(self, points: Sequence[Point]) -> Array:
        """Objective values [points, objectives] (:func:`cost`)."""
        int8 = self.points[Genome.uniform(8, self.layers)].result
        return np.array([cost(self.config.objectives, p.result, int8) for p in points])

    @property
    def reference(self) -> Array:
        """The far corner of the useful region."""
        int8 = self.points[Genome.uniform(8, self.layers)].result
        error = 1 - int8["accuracy"] + USEFUL_DROP
        return np.array([1.0 if OBJECTIVES[n][1] else error for n in self.config.objectives])

    def go(self, *, workers: int = 1, say: Say = lambda text: None,
           tell: Callable[[Progress], None] = lambda progress: None) -> list[Point]:  # fmt: skip
        """Search to the end; the front. Files are written after every generation."""
        from pymoo.problems.static import StaticProblem

        started, config = time.perf_counter(), self.config
        uniform = [Genome.uniform(b, self.layers) for b in range(MIN_BITS, MAX_BITS + 1)]
        self.evaluate(uniform if config.seeded else uniform[-1:], workers, say)
        genes = len(GENES) * self.layers
        algorithm, problem = _algorithm(config, genes, self.layers)
        rng = np.random.default_rng([config.seed, 2])
        history = []
        for generation in range(1, config.generations + 1):
            if config.method == "random":
                rows = rng.integers(MIN_BITS, MAX_BITS + 1, (config.pop_size, genes))
                self.evaluate([Genome.from_genes(row) for row in rows], workers, say)
            else:
                asked = algorithm.ask()
                genomes = [Genome.from_genes(int(g) for g in row) for row in asked.get("X")]
                costs = self.costs(self.evaluate(genomes, workers, say))
                algorithm.evaluator.eval(StaticProblem(problem, F=costs), asked)
                algorithm.tell(infills=asked)
            front = self.front()
            share = hypervolume(self.costs(front), self.reference)
            history.append({"generation": generation, "evaluations": len(self.points),
                            "hypervolume": share, "front": len(front)})  # fmt: skip
            self.save(history, front)
            tell(Progress(generation, config.generations, len(self.points), self.fresh,
                          time.perf_counter() - started, share, front))  # fmt: skip
        return self.front()

    def save(self, history: Sequence[Mapping[str, Any]], front: Sequence[Point]) -> None:
        """Write history, front and the genomes worth a name."""
        costs = self.costs(front)
        # What is of no use shall not pull the knee its way.
        useful = np.flatnonzero((costs < self.reference).all(1))
        useful = useful if len(useful) else np.arange(len(front))
        named = {"knee": front[useful[knee(costs[useful])]]}
        for name, objective in (("most-accurate", "accuracy"), ("smallest", "size"),
                                ("fewest-cells", "cells")):  # fmt: skip
            if objective in self.config.objectives:
                named[name] = front[int(costs[:, self.config.objectives.index(objective)].argmin())]
        for number, point in enumerate(front):
            named[f"front-{number}"] = point
        for name, point in named.items():
            point.genome.save(self.folder / name)
        for path in self.folder.glob("front-*"):
            if path.name not in named:
                path.unlink()
        write_json(self.folder / "front.json", {
            "objectives": list(self.config.objectives),
            "points": [{"genome": list(p.genome.genes), "name": f"front-{k}",
                        **dict(sorted(p.result.items()))}
                       for k, p in enumerate(front)],
            "named": {name: list(p.genome.genes) for name, p in named.items()
                      if not name.startswith("front-")},
        })  # fmt: skip
        write_json(self.folder / "history.json", list(history))
