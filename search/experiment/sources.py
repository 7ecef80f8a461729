"""The float networks of an experiment."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...model import zoo
from ...model.aliases import Say
from ...model.checkpoints.floating import Checkpoint
from ...model.checkpoints.recipe import recipe_for
from ...model.data.tasks import Task, load_task, may_have_moved
from ...model.errors import InputError, shown
from ...model.qat.any_precision import AnyTuning
from ...synth.recipes import script_hash
from ...synth.yosys import find
from ..genomes.candidate import CHECKPOINT, Candidate
from ..genomes.evaluate import MOVED
from ..pool.backends import Pool
from .jobs import ForOne
from .plan import Plan
from .record import VERSION, Record, as_begun, changed


@dataclass(frozen=True)
class Source:
    """A float network of the experiment: hidden size, seed of its split, where it is."""

    hidden: int
    seed: int
    checkpoint: str

    @property
    def label(self) -> str:
        return f"h{self.hidden}-seed{self.seed}"


class Sources:
    """The float networks of an experiment, their weights, and what names a network in the record.

    say : told what is being done; note : told what nobody would expect

    Raises :class:`InputError` for a folder with another experiment.
    """

    def __init__(
        self,
        folder: str | Path,
        plan: Plan,
        *,
        workers: int = 1,
        say: Say = lambda text: None,
        note: Say = lambda text: None,
    ) -> None:
        self.folder, self.workers, self.say, self.note = Path(folder), workers, say, note
        self.plan = as_begun(self.folder, plan)
        self.silicon = self.plan.config.silicon
        self.pool: Pool
        #: By the path of a network that is trained for its genome: how it is named, and made.
        self.made: dict[str, tuple[dict[str, Any], ForOne]] = {}
        #: Names of networks by their key in the record.
        self.names: dict[str, str] = {}

    def _made_for(self, task: Task) -> dict[str, Any]:
        """What a record must have been made for, to go on with it."""
        plan, tool = self.plan, find().version if self.silicon else None
        return {
            "version": VERSION,
            "plan": json.loads(json.dumps(asdict(plan))),
            "data": {
                "splits": {
                    str(s.seed): load_task(plan.task, s.seed).split_hash for s in self.seeds
                },
                "recipes": [asdict(self.plan.tuning), asdict(self.for_all())],
                "steps": task.steps,
                "features": task.features,
                "classes": task.classes,
                "sequences": {
                    part: len(getattr(task, f"y_{part}")) for part in ("train", "val", "test")
                },
                "yosys": tool,
                "script": script_hash(),
            },
        }

    def prepare(self) -> None:
        """The seeds, and what the record must have been made for."""
        plan = self.plan
        self.seeds: list[Source] = []
        self.given: list[Source] = []
        seeds: dict[str, int] = {}
        checkpoints: dict[str, Checkpoint] = {}
        for name in plan.checkpoints:
            seed_name = re.fullmatch(r"seed(\d+)", name)
            if seed_name:
                recipe = recipe_for(plan.task, {})
                path = self.folder / "float" / f"h{recipe.hidden}-seed{seed_name[1]}.safetensors"
                seeds[name] = int(seed_name[1])
                self.seeds.append(Source(recipe.hidden, seeds[name], str(path)))
                continue
            checkpoint = zoo.load(name)
            trained_task = checkpoint.info.get("task")
            if trained_task != plan.task:
                moved = may_have_moved(trained_task, plan.task)
                raise InputError(
                    f"checkpoint {name}: trained on {shown(trained_task)}, not on {plan.task}",
                    MOVED.format(name) if moved else "leave it out, or give one of that task",
                )
            checkpoints[name] = checkpoint
            seeds[name] = checkpoint.info.get("split_seed", 0)
            source = Source(checkpoint.hidden_size(0), seeds[name], name)
            if not self.seeds or source.hidden == self.seeds[0].hidden:
                self.seeds.append(source)
                continue
            if source.hidden not in plan.hidden:
                raise InputError(
                    f"checkpoint {name}: {source.hidden} units, the first has "
                    f"{self.seeds[0].hidden}; other sizes are those of --hidden, "
                    f"{', '.join(map(str, plan.hidden)) or 'none'}"
                )
            self.given.append(source)
        first = self.seeds[0]
        known: dict[tuple[int, int], Source] = {}
        for source in (*self.seeds, *self.given):
            other = known.setdefault((source.hidden, source.seed), source)
            if other is not source:
                raise InputError(
                    f"checkpoint {source.checkpoint}: of the same size and split as "
                    f"{other.checkpoint}; leave one out"
                )
        self.counts = self._structure(checkpoints)
        self.task = task = load_task(plan.task, first.seed)
        task.only_plain("an experiment")
        self.record = Record(self.folder / "experiment.json", self._made_for(task), seeds)
        self.record.load()

    def _structure(self, checkpoints: Mapping[str, Checkpoint]) -> tuple[int, int]:
        """Numbers of GRU and dense layers. Networks that are trained here have the layers of
        :attr:`like`, the first that was given, or those of the task's recipe."""
        self.like = next(iter(checkpoints), None)
        recipe = recipe_for(self.plan.task, {})
        shapes = {name: (c.layers, tuple(c.functions.items())) for name, c in checkpoints.items()}
        for name, shape in shapes.items():
            if shape != shapes[str(self.like)]:
                raise InputError(
                    f"checkpoint {name}: other layers than {self.like}; an experiment is for "
                    "networks that differ in their units"
                )
        if self.like is not None:
            return checkpoints[self.like].counts
        return recipe.layers, 0

    def sized(self, hidden: int, seed: int) -> Source:
        """The source of a size and seed: one of the seeds, or one that is trained here."""
        for source in (*self.seeds, *self.given):
            if (source.hidden, source.seed) == (hidden, seed):
                return source
        path = self.folder / "float" / f"h{hidden}-seed{seed}.safetensors"
        return Source(hidden, seed, str(path))

    def any_path(self, source: Source) -> str:
        return str(self.folder / "any" / f"{source.label}.safetensors")

    def kinds(self, source: Source) -> list[tuple[str, str]]:
        """Kinds of weights that there are of a source, and their checkpoints."""
        paths = [("float", source.checkpoint)]
        if source.seed == self.first.seed or self.plan.any_seeds:
            paths.append(("any", self.any_path(source)))
        return paths

    @cached_property
    def first(self) -> Source:
        return self.seeds[0]

    @cached_property
    def units(self) -> dict[str, int]:
        """Units by the path of weights for all."""
        return {
            self.any_path(self.sized(hidden, self.first.seed)): hidden
            for hidden in self.plan.hidden
        }

    def plain(self, candidate: Candidate) -> tuple[int, Candidate]:
        """Units of a candidate of a search, and the candidate without its checkpoint."""
        knobs = tuple((name, value) for name, value in candidate.knobs if name != CHECKPOINT)
        hidden = self.units.get(candidate.checkpoint or "", self.first.hidden)
        return hidden, replace(candidate, knobs=knobs)

    def placed(self, hidden: int, candidate: Candidate) -> Candidate:
        """The other way, for the search on weights for all."""
        if hidden == self.first.hidden:
            return candidate
        path = self.any_path(self.sized(hidden, self.first.seed))
        return replace(candidate, knobs=(*candidate.knobs, (CHECKPOINT, path)))

    def for_all(self) -> AnyTuning:
        return AnyTuning(epochs=self.plan.any_epochs, seed=self.plan.seed)

    def teacher(self, source: Source) -> Source:
        """Whose answers teach the networks of a source."""
        if self.plan.teacher == "own":
            return source
        return self.sized(self.first.hidden, source.seed)

    def untrained(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        """What identifies a network that quantisation alone makes in the record."""
        return {
            "hidden": source.hidden,
            "seed": source.seed,
            "genes": list(candidate.genome.genes),
            "knobs": dict(candidate.knobs),
        }

    def about(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        """The same of a trained one."""
        taught = {} if self.teacher(source) == source else {"teacher": self.plan.teacher}
        return {
            **self.untrained(source, candidate),
            "recipe": changed(self.plan.tuning),
            "sequences": self.plan.sequences,
            **taught,
        }

    def one_path(self, source: Source, candidate: Candidate) -> str:
        key = Record.key("one", self.about(source, candidate))
        return str(self.folder / "one" / f"{source.label}-{key[:10]}.safetensors")
