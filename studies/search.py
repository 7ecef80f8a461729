"""Runs of searches, as studies make and measure them.

All runs of a study share one store, so that what two of them meet is evaluated once; evaluations
are counted for each run as if it were alone. A study that was stopped goes on where it was.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from genogate.model.genome import MAX_BITS
from genogate.model.knobs import Knobs
from genogate.search.genomes.candidate import Point, cost, useful_region
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.pareto import hypervolume, non_dominated
from genogate.search.genomes.run import Run
from genogate.search.genomes.store import Store
from genogate.synth.recipes import script_hash
from genogate.synth.yosys import find

Array = np.ndarray
Say = Callable[[str], None]
#: Where runs, and the store that they share, are kept until the study is done.
FOLDER = Path("build/studies")
CHECKPOINTS = ("digits-row", "digits-row-seed1", "digits-row-seed2")
OBJECTIVES = ("accuracy", "size", "cells")


@dataclass(frozen=True)
class Size:
    """How much the studies do.

    seeds : of every method that draws
    pop_size, generations : of every run; evaluations are at most their product
    checkpoints : of the study of savings, with `searches` seeds of the search each, and `longer`
        times as many generations; `plain` of the seeds also with searches that judge the validation
        part alone
    random : genomes of which the correlation of size and cells is computed
    """

    seeds: int = 5
    pop_size: int = 32
    generations: int = 15
    checkpoints: tuple[str, ...] = CHECKPOINTS
    searches: int = 3
    longer: int = 2
    plain: int = 1
    random: int = 40
    workers: int = 2
    knobs: Knobs = field(default_factory=Knobs)
    silicon: bool = True

    @property
    def objectives(self) -> tuple[str, ...]:
        return OBJECTIVES if self.silicon else OBJECTIVES[:2]

    def setting(self, checkpoint: str = CHECKPOINTS[0]) -> Setting:
        return Setting(checkpoint, self.knobs, self.silicon)


#: What two cores do in half an hour.
FULL = Size(searches=1, plain=0)
QUICK = Size(
    seeds=2,
    pop_size=8,
    generations=4,
    checkpoints=CHECKPOINTS[:1],
    searches=2,
    longer=1,
    random=10,
    workers=1,
    knobs=Knobs(activation="table"),
    silicon=False,
)


class _Bare(Run):
    """A run that leaves no genome files: of a study only the points are wanted."""

    def save(self, history: Sequence[Mapping[str, Any]], front: Sequence[Point]) -> None:
        pass


@dataclass
class Campaign:
    """Runs that share a store in `folder`."""

    folder: Path
    workers: int
    say: Say
    total: int
    done: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "evaluations.sqlite")

    def run(self, name: str, setting: Setting, config: Config) -> list[Point]:
        """All points of a run, in the order in which it asked for them."""
        self.done += 1
        about = json.dumps([asdict(config), setting.key], sort_keys=True)
        digest = hashlib.sha256(about.encode()).hexdigest()[:8]
        label = re.sub(r"\W+", "-", f"{name} {config.seed} {digest}")
        run = _Bare(self.folder / label, setting, config, resume=True)
        run.evaluator.store.close()
        run.evaluator.store = self.store
        head = f"{self.done} of {self.total}: {name}, seed {config.seed}"

        def tell(progress: Any) -> None:
            self.say(
                f"{head}, generation {progress.generation} of {progress.generations}, "
                f"hypervolume {progress.hypervolume:.4f}"
            )

        run.go(workers=self.workers, tell=tell)
        return list(run.points.values())


def int8_of(points: Iterable[Point]) -> Mapping[str, Any]:
    """The result of INT8 with the setting's own knobs."""
    for point in points:
        if set(point.genome.genes) == {MAX_BITS} and not point.candidate.knobs:
            return point.result
    raise ValueError("no INT8 among the points")


def costs_of(
    points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]
) -> tuple[list[int], Array]:
    """Indices of the points that have all objectives, and these [n, objectives], minimised."""
    kept = [k for k, p in enumerate(points) if all(name in p.result for name in objectives)]
    rows = [cost(objectives, points[k].result, int8) for k in kept]
    return kept, np.array(rows).reshape(len(rows), len(objectives))


def volume(points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]) -> float:
    """Share of the useful region that `points` dominate."""
    _, costs = costs_of(points, objectives, int8)
    reference = useful_region(objectives, int8)
    inside = costs[(costs < reference).all(1)] if len(costs) else costs
    return hypervolume(inside[non_dominated(inside)], reference) if len(inside) else 0.0


def front_of(
    points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]
) -> list[Point]:
    """The points of the useful region that no other dominates."""
    kept, costs = costs_of(points, objectives, int8)
    inside = (
        np.flatnonzero((costs < useful_region(objectives, int8)).all(1))
        if kept
        else np.array([], int)
    )
    return [points[kept[inside[k]]] for k in non_dominated(costs[inside])] if len(inside) else []


def milestones(budget: int) -> list[int]:
    """Numbers of evaluations at which hypervolumes are compared."""
    return [max(1, round(budget * share)) for share in (0.125, 0.25, 0.5, 0.75, 1.0)]


#: Share of the generations that explores in the default, before local search.
EXPLORE = 0.4


def config_of(size: Size, variant: Mapping[str, Any], **fixed: Any) -> Config:
    """The configuration of a variant with the evaluations of `size`."""
    changes = dict(variant)
    explore = max(1, round(size.generations * changes.pop("explore", EXPLORE)))
    return Config(
        pop_size=size.pop_size,
        generations=explore,
        exploit=size.generations - explore,
        **{**fixed, **changes},
    )


def recorded_size(size: Size, section: str) -> dict[str, Any]:
    """What every study records of how it was made."""
    return {
        "size": asdict(size),
        "yosys": find().version if size.silicon else None,
        "script": script_hash(),
        "command": f"python -m studies --only {section}",
    }


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean and standard deviation; a single value as it is."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {stdev(values):.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table, and an empty one."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
    ]


def percent(values: Sequence[float]) -> str:
    return spread([100 * value for value in values], 1)


def made_how(data: Mapping[str, Any], seeds: str = "seeds") -> str:
    """How a study was made, as its last sentence; `seeds` names how many there were of them."""
    size = data["size"]
    count = size[seeds]
    tool = f"; {data['yosys']}, script {data['script']}" if data["yosys"] else ""
    drawn = f"seeds 0 to {count - 1}" if count > 1 else "seed 0"
    return (
        f"`{data['command']}`, {drawn}, populations of "
        f"{size['pop_size']}, {size['generations']} generations{tool}."
    )
