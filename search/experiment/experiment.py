"""The experiment on a task: searches on quantised weights, training of what they find, one test.

Stages, in this order; every number is kept in ``experiment.json`` of the run's folder as soon as it
is known, so an experiment that was stopped, however, goes on when it is started again:

1. float networks: the shipped ones of the task (several seeds), and other hidden sizes;
2. of each, weights trained for all genomes at once (:mod:`genogate.model.qat.any_precision`);
3. NSGA-II on the float weights, and on the weights for all of every hidden size;
4. homogeneous networks of every seed, and what the searches found, trained one by one on the first
   seed: in rounds, each chosen by what the rounds before say about how much training wins back;
5. the best of them on the other seeds, since one seed's validation part flatters what it chose;
6. hardware by Yosys; then the choices, by validation accuracy; the test part once, after all that.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...model import zoo
from ...model.checkpoints.training import recipe_for
from ...model.data.tasks import load_task
from ...model.errors import InputError, shown
from ...model.files import read_json, write_json
from ...model.genome import Genome
from ...model.knobs import Knobs
from ...model.qat.any_precision import AnyTuning
from ...model.qat.tune import Tuning
from ...synth.recipes import script_hash
from ...synth.report import totals
from ...synth.yosys import find
from ..genomes.candidate import CHECKPOINT, Candidate, Point
from ..genomes.evaluate import Setting
from ..genomes.exploit import steps
from ..genomes.folder import alone
from ..genomes.pareto import non_dominated
from ..genomes.patterns import patterns
from ..genomes.run import Run
from ..pool.backends import Pool
from .choice import ALLOWED, GOALS, Entry, predicted, proposals
from .jobs import (
    Float,
    ForAll,
    ForOne,
    Look,
    look_at,
    model_of,
    train_float,
    train_for_all,
    train_for_one,
)
from .plan import BASELINES, Plan, by_hand, scheme_genome

Array = np.ndarray
Say = Callable[[str], None]
VERSION = 1
#: A training is no evaluation: it may take a day.
LONGEST = 24 * 3600.0
#: Steps from each network that is worth it that are looked at in a round.
NEIGHBOURS = 24
#: Networks whose neighbours are looked at in a round.
PARENTS = 8
#: Points that a network has to spare on the first seed to be tried on the others.
SPARE = (0.0, 0.3)
#: Seeds from which on their spread is an estimate of a mean's error.
TELLING = 3


def changed(recipe: Tuning) -> dict[str, Any]:
    """The kind of a recipe, and what of it is not as its kind has it by default; scales where they
    are learned, whatever the default."""
    default = type(recipe)()
    found = {
        f.name: getattr(recipe, f.name)
        for f in fields(recipe)
        if getattr(recipe, f.name) != getattr(default, f.name)
    }
    found.pop("scales", None)
    if recipe.scales == "learned":
        found["scales"] = recipe.scales
    return {"kind": type(recipe).__name__, "epochs": recipe.epochs, **found}


def continues(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], seeds: Mapping[str, int]
) -> bool:
    """Whether an experiment may go on with `name` of its plan or data as it is now: what it had
    done stays what it was, and more follows.

    seeds : of the checkpoints of the new plan
    """
    if name == "rounds":
        return bool(old.get(name, 0) <= new[name])
    if name == "splits":
        return bool(old.get(name, {}).items() <= new[name].items())
    if name == "checkpoints" and not new["every_seed"]:
        # Rounds look at the first seed only, so further ones change nothing of what was chosen.
        before = old.get(name, [])
        added = {seeds[one] for one in new[name] if one not in before}
        return (
            before[:1] == new[name][:1]
            and set(before) <= set(new[name])
            and not added & {seeds[one] for one in before}
        )
    return bool(name in old and old[name] == new[name])


class Record:
    """Numbers by what they are of: a file that is whole at any time.

    seeds : of the checkpoints of the plan
    """

    def __init__(self, path: Path, head: dict[str, Any], seeds: Mapping[str, int]) -> None:
        self.path, self.head, self.seeds = path, head, seeds
        self.numbers: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.more: dict[str, Any] = {}

    @staticmethod
    def key(stage: str, about: Any) -> str:
        text = json.dumps([stage, about], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def load(self) -> None:
        """What an earlier process left. Raises :class:`InputError` where that is another
        experiment's, or no experiment's at all."""
        if not self.path.exists():
            return
        before = read_json(self.path)
        where = self.path.parent
        if not isinstance(before, dict) or not isinstance(before.get("numbers"), list):
            raise InputError(f"{self.path}: not that of an experiment; use another folder")
        if before.get("version") != VERSION:
            raise InputError(
                f"{where}: an experiment of version {shown(before.get('version'))}, "
                f"this program makes {VERSION}; use another folder"
            )
        mine = json.loads(json.dumps(self.head))
        if isinstance(before.get("plan"), dict):
            # What a plan did not know when that was made, it had as it is by default.
            before["plan"] = {
                "any_sequences": Plan.any_sequences,
                "teacher": Plan.teacher,
                # Before there was a choice, they were always there.
                "seed_patterns": True,
                **before["plan"],
            }
            _recipes_as_made(before)
            knobs = before["plan"].get("knobs")
            if isinstance(knobs, dict):
                before["plan"]["knobs"] = Knobs().to_json() | knobs
        for part in ("plan", "data"):
            old = before.get(part)
            try:
                names = [
                    n
                    for n in mine[part]
                    if not isinstance(old, dict) or not continues(n, old, mine[part], self.seeds)
                ]
            except (TypeError, AttributeError):
                raise InputError(f"{self.path}: damaged; use another folder") from None
            if names:
                raise InputError(
                    f"{where}: its experiment differs in {', '.join(names)}; use the "
                    "same options, or another folder (--out)"
                )
        # The only number that is not made here.
        self.more = {name: before[name] for name in ("simulation",) if name in before}
        for row in before["numbers"]:
            try:
                if row["stage"] == "search":
                    # Its configuration, which follows from the plan, has got new fields since.
                    row["about"].pop("config", None)
                self.numbers[self.key(row["stage"], row["about"])] = row
            except (KeyError, TypeError, AttributeError):
                raise InputError(f"{self.path}: damaged; use another folder") from None

    def get(self, stage: str, about: Any) -> dict[str, Any] | None:
        key = self.key(stage, about)
        if key in self.numbers and key not in self.order:
            self.order.append(key)
        row = self.numbers.get(key)
        return None if row is None else row["found"]

    def put(self, stage: str, about: Any, found: dict[str, Any]) -> None:
        key = self.key(stage, about)
        self.numbers[key] = {"stage": stage, "about": about, "found": json.loads(json.dumps(found))}
        if key not in self.order:
            self.order.append(key)
        self.save()

    def save(self, done: bool = False) -> None:
        """In the order of the plan once all is there, whatever was ready first."""
        keys = (
            self.order if done else [*self.order, *(k for k in self.numbers if k not in self.order)]
        )
        write_json(
            self.path,
            {
                **self.head,
                "done": done,
                **self.more,
                "numbers": [self.numbers[key] for key in keys],
            },
        )

    def of(self, stage: str) -> list[dict[str, Any]]:
        return [self.numbers[key] for key in self.order if self.numbers[key]["stage"] == stage]


def _recipes_as_made(before: Mapping[str, Any]) -> None:
    """Give recipes of an older record what they did not say: which epoch was kept."""
    recipes = before["data"].get("recipes") if isinstance(before.get("data"), dict) else None
    if (
        isinstance(recipes, list)
        and len(recipes) == 2
        and all(isinstance(r, dict) for r in recipes)
    ):
        recipes[0].setdefault("keep", Tuning.keep)
        recipes[1].setdefault("keep", AnyTuning.keep)
        recipes[1].setdefault("sandwich", AnyTuning.sandwich)


def _as_begun(folder: Path, plan: Plan) -> Plan:
    """`plan` with patterns by hand where the experiment in `folder` was begun with them, before
    there was a choice."""
    path = folder / "experiment.json"
    before = read_json(path) if path.exists() else None
    begun = before.get("plan") if isinstance(before, dict) else None
    if isinstance(begun, dict) and "seed_patterns" not in begun:
        return replace(plan, seed_patterns=True)
    return plan


@dataclass(frozen=True)
class Source:
    """A float network of the experiment: hidden size, seed of its split, where it is."""

    hidden: int
    seed: int
    checkpoint: str

    @property
    def label(self) -> str:
        return f"h{self.hidden}-seed{self.seed}"


class Experiment:
    """An experiment in a folder. Raises :class:`InputError` for a folder with another one."""

    def __init__(
        self, folder: str | Path, plan: Plan, *, workers: int = 1, say: Say = lambda text: None
    ) -> None:
        self.folder, self.workers, self.say = Path(folder), workers, say
        self.plan = _as_begun(self.folder, plan)
        self.silicon = self.plan.config.silicon
        self.pool: Pool

    # Jobs

    def _run(
        self,
        stage: str,
        what: str,
        jobs: Sequence[tuple[Any, Any]],
        function: Callable[[Any], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Numbers of `jobs` (about, argument), from the record where they are known."""
        missing = [(about, job) for about, job in jobs if self.record.get(stage, about) is None]
        missing = list({Record.key(stage, about): (about, job) for about, job in missing}.values())
        known = len(jobs) - len(missing)
        self.say(f"{what}: {known} of {len(jobs)}")
        for done, (index, found) in enumerate(
            self.pool.map(function, [job for _, job in missing]), 1
        ):
            self.record.put(stage, missing[index][0], found)
            self.say(f"{what}: {known + done} of {len(jobs)}")
        rows = []
        for about, _ in jobs:
            found = self.record.get(stage, about)
            assert found is not None
            rows.append(found)
        # The order of the plan, not that in which they ended.
        keys = [Record.key(stage, about) for about, _ in jobs]
        self.record.order = [k for k in self.record.order if k not in keys]
        self.record.order += list(dict.fromkeys(keys))
        return rows

    # Stages

    def prepare(self) -> None:
        """The seeds, and what the record must have been made for."""
        plan = self.plan
        self.seeds: list[Source] = []
        self.given: list[Source] = []
        seeds: dict[str, int] = {}
        for name in plan.checkpoints:
            made = re.fullmatch(r"seed(\d+)", name)
            if made:
                recipe = recipe_for(plan.task, {})
                path = self.folder / "float" / f"h{recipe.hidden}-seed{made[1]}.safetensors"
                seeds[name] = int(made[1])
                self.seeds.append(Source(recipe.hidden, seeds[name], str(path)))
                continue
            checkpoint = zoo.load(name)
            about = checkpoint.info.get("task")
            if about != plan.task:
                raise InputError(
                    f"checkpoint {name}: trained on {shown(about)}, not on {plan.task}"
                )
            if checkpoint.layers != 1:
                raise InputError(
                    f"checkpoint {name}: {checkpoint.layers} layers; experiments are for one layer"
                )
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
        everything = [(source.hidden, source.seed) for source in (*self.seeds, *self.given)]
        if len(set(everything)) < len(everything):
            raise InputError("checkpoints: two of the same size and split")
        self.task = task = load_task(plan.task, first.seed)
        task.only_plain("an experiment")
        tool = find().version if self.silicon else None
        self.record = Record(
            self.folder / "experiment.json",
            {
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
            },
            seeds,
        )
        self.record.load()

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
        found = [("float", source.checkpoint)]
        if source.seed == self.first.seed or self.plan.any_seeds:
            found.append(("any", self.any_path(source)))
        return found

    def need(self, sources: Sequence[Source]) -> None:
        """All weights of `sources`."""
        plan = self.plan
        own = [s for s in sources if Path(s.checkpoint).is_relative_to(self.folder)]
        self._run(
            "float training",
            "Float networks",
            [
                (s.label, Float(plan.task, s.seed, s.hidden, plan.float_epochs, s.checkpoint))
                for s in own
            ],
            train_float,
        )
        recipe, count = self.for_all(), plan.any_sequences or plan.sequences
        self._run(
            "training for all",
            "Training for all genomes",
            [
                (
                    {"source": s.label, "recipe": changed(recipe), "sequences": count},
                    ForAll(s.checkpoint, plan.knobs, recipe, count, path),
                )
                for s in sources
                for kind, path in self.kinds(s)
                if kind == "any"
            ],
            train_for_all,
        )
        self._run(
            "float",
            "Float accuracy",
            [
                ({"source": s.label, "weights": kind}, Look(path, None, plan.knobs))
                for s in sources
                for kind, path in self.kinds(s)
            ],
            look_at,
        )

    def searched(self, kind: str, sources: Sequence[Source]) -> Run:
        """A search to its end: `kind` of weights, float or any, of one source or of several. What
        is given back knows all points as the search saw them, and evaluates more in its way."""
        paths = [dict(self.kinds(source))[kind] for source in sources]
        config = replace(self.plan.config, checkpoints=tuple(paths[1:]))
        setting = Setting(
            paths[0], self.plan.knobs, self.silicon, estimate=self.silicon and self.plan.estimate
        )
        run = Run(self.folder / "search" / kind, setting, config, resume=True)
        # Not CPU seconds: those of workers and of Yosys end elsewhere.
        head, start = f"Search on {kind} weights", time.monotonic()

        def tell(progress: Any) -> None:
            self.say(f"{head}: {progress.generation} of {progress.generations}")

        run.go(workers=self.workers, tell=tell, say=lambda text: self.say(f"{head}: {text}"))
        about = {"weights": kind, "sources": [source.label for source in sources]}
        if self.record.get("search", about) is None:
            rows = []
            for point in run.front():
                hidden, candidate = self.plain(point.candidate)
                rows.append(
                    {
                        "hidden": hidden,
                        "genes": list(candidate.genome.genes),
                        "knobs": dict(candidate.knobs),
                        **dict(sorted(point.result.items())),
                    }
                )
            self.record.put(
                "search",
                about,
                {
                    "evaluations": len(run.estimated or run.points),
                    "front": rows,
                    "int8": dict(run.points[run.int8].result),
                    "wall_seconds": round(time.monotonic() - start, 1),
                },
            )
        run.evaluator.store.close()
        looker = Run(run.folder, setting, config, resume=True)
        looker.evaluate(list(run.estimated or run.points), self.pool)
        return looker

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

    @cached_property
    def units(self) -> dict[str, int]:
        """Units by the path of weights for all."""
        return {
            self.any_path(self.sized(hidden, self.first.seed)): hidden
            for hidden in self.plan.hidden
        }

    def entries(self, points: Iterable[Point]) -> list[Entry]:
        """Points of the search on weights for all."""
        rows = []
        for point in points:
            hidden, candidate = self.plain(point.candidate)
            result = point.result
            rows.append(
                Entry(
                    hidden,
                    candidate,
                    result["accuracy"],
                    result["size"],
                    result.get("cells", 0),
                    result["weights"],
                )
            )
        return rows

    def schemes(self) -> list[Candidate]:
        """Genomes by hand, in every size; none without `seed_patterns`."""
        if not self.plan.seed_patterns:
            return []
        genomes = [*patterns(), *(scheme_genome(name, 1) for name in BASELINES)]
        return [
            self.placed(hidden, Candidate(genome))
            for hidden in (self.first.hidden, *self.plan.hidden)
            for genome in dict.fromkeys(genomes)
        ]

    def neighbours(self, run: Run, parents: Sequence[Candidate], number: int) -> list[Candidate]:
        """Small steps from each parent to fewer bits, in one variable or two."""
        rng = np.random.default_rng([self.plan.seed, 7, number])
        found: list[Candidate] = []
        for parent in parents:
            row = run.encoding.encode(parent)
            near = steps(rng, run.encoding.space, row)
            ordered = np.delete(near - row, run.encoding.space.categories, axis=1)
            down = near[ordered.sum(1) < 0]
            chosen = rng.permutation(len(down))[:NEIGHBOURS]
            found += [run.encoding.decode(each) for each in down[np.sort(chosen)]]
        return found

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

    def trained_many(
        self, wanted: Sequence[tuple[Source, str, Candidate]], what: str = "Training"
    ) -> list[dict[str, Any]]:
        jobs = []
        for source, _, candidate in wanted:
            knobs = candidate.setting(Setting("", self.plan.knobs, False)).knobs
            job = ForOne(
                tuple(self.kinds(source)),
                self.teacher(source).checkpoint,
                candidate.genome,
                knobs,
                self.plan.tuning,
                self.plan.sequences,
                self.one_path(source, candidate),
            )
            jobs.append((self.about(source, candidate), job))
        rows = self._run("trained", what, jobs, train_for_one)
        for source, name, candidate in wanted:
            self.names.setdefault(Record.key("trained", self.about(source, candidate)), name)
        return rows

    def quantised(self, wanted: Sequence[tuple[Source, str, Candidate]]) -> list[dict[str, Any]]:
        """Numbers of networks as quantisation alone makes them of float weights, and of those for
        all."""
        jobs = []
        for source, _, candidate in wanted:
            knobs = candidate.setting(Setting("", self.plan.knobs, False)).knobs
            for kind, path in self.kinds(source):
                about = {**self.untrained(source, candidate), "weights": kind}
                jobs.append((about, Look(path, candidate.genome, knobs)))
        return self._run("quantised", "Quantising", jobs, look_at)

    @cached_property
    def first(self) -> Source:
        return self.seeds[0]

    def int8_judged(self, source: Source) -> float:
        """Accuracy of INT8 by quantisation alone, at the reference's size."""
        about = {**self.untrained(source, Candidate(Genome.uniform(8))), "weights": "float"}
        found = self.record.get("quantised", about)
        assert found is not None
        return float(found["judged"])

    def go(self, begin: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """All stages but the simulation; the document.

        begin : called once the plan is known to fit, before any work
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names: dict[str, str] = {}
        with (
            alone(self.folder),
            Pool(
                "processes" if self.workers > 1 else "serial", self.workers, timeout=LONGEST
            ) as self.pool,
        ):
            self.prepare()
            begin()
            plan, first = self.plan, self.first
            sizes = [first, *(self.sized(h, first.seed) for h in plan.hidden)]
            self.need([*self.seeds, *sizes[1:]])
            schemes = [(name, Candidate(scheme_genome(name, 1))) for name in plan.baselines]
            baselines = [(s, name, c) for s in self.seeds for name, c in schemes]
            self.quantised(baselines)
            self.trained_many(baselines, "Training homogeneous networks")
            self.searched("float", sizes[:1])
            known = self.rounds(self.searched("any", sizes), schemes)
            if not plan.every_seed:
                self.trained_on(self.finalists(known), self.seeds, "Training on every seed")
            self.quantised(
                [(self.sized(e.hidden, first.seed), "found", e.candidate) for e, _ in known]
            )
            self.hardware()
            self.record.more["choices"] = self.choices()
            self.record.save()
            self.test()
            self.record.save(done=True)
        return dict(read_json(self.record.path))

    def trained_on(
        self, entries: Sequence[Entry], seeds: Sequence[Source], what: str
    ) -> list[float]:
        """Train `entries` on `seeds`; of each, the mean of points below the INT8 of these."""
        wanted = [
            (self.sized(e.hidden, s.seed), "found", e.candidate) for e in entries for s in seeds
        ]
        self.need(list(dict.fromkeys(source for source, _, _ in wanted)))
        rows = self.trained_many(wanted, what)
        base = [self.int8_judged(s) for s in seeds] * len(entries)
        drops = 100 * (np.array(base) - [row["judged"] for row in rows])
        return [float(d) for d in drops.reshape(len(entries), len(seeds)).mean(1)]

    def rounds(
        self, run: Run, baselines: Sequence[tuple[str, Candidate]]
    ) -> list[tuple[Entry, float]]:
        """Train what searches found, round by round; entries and points below INT8."""
        plan, first = self.plan, self.first
        seeds = self.seeds if plan.every_seed else [first]

        def evaluated(candidates: Sequence[Candidate], what: str) -> list[Entry]:
            return self.entries(
                run.evaluate(candidates, self.pool, lambda text: self.say(f"{what}: {text}"))
            )

        evaluated(self.schemes(), "Starting points")
        base = self.int8_judged(first)
        (whole,) = self.entries([run.points[run.int8]])
        int8 = {
            "accuracy": base,
            "size": whole.size,
            "cells": whole.cells,
            "weights": whole.weights,
        }
        goals = [name for name in GOALS if name != "cells" or self.silicon]
        rivals = [c for _, c in baselines]
        # Of other sizes too: few bits on many units, or more on fewer.
        rivals += [
            self.placed(hidden, Candidate(scheme_genome(name, 1)))
            for hidden in plan.hidden
            for name in plan.small
        ]
        own = evaluated(rivals, "Homogeneous networks")
        known = list(zip(own, self.trained_on(own, seeds, "Homogeneous networks"), strict=True))
        if not plan.seed_patterns:
            # Rivals by hand are trained and reported, but nothing is searched around them.
            known = [(e, d) for e, d in known if not by_hand(e.candidate.genome, e.candidate.knobs)]
        for number in range(plan.rounds):
            useful = sorted((d, k) for k, (_, d) in enumerate(known) if d <= 1.5 * ALLOWED[-1])
            parents = [
                self.placed(known[k][0].hidden, known[k][0].candidate) for _, k in useful[:PARENTS]
            ]
            evaluated(self.neighbours(run, parents, number), "Neighbours")
            entries = self.entries(run.points.values())
            chosen = proposals(entries, known, int8, plan.trained, goals)
            guesses = predicted(chosen, known, base)
            drops = self.trained_on(
                chosen, seeds, f"Training what was found, round {number + 1} of {plan.rounds}"
            )
            self.record.put(
                "round",
                {"round": number + 1},
                {
                    "chosen": [
                        {
                            "hidden": e.hidden,
                            "genes": list(e.candidate.genome.genes),
                            "knobs": dict(e.candidate.knobs),
                            "predicted": round(float(guess), 3),
                            "left": round(drop, 3),
                        }
                        for e, guess, drop in zip(chosen, guesses, drops, strict=True)
                    ]
                },
            )
            known += zip(chosen, drops, strict=True)
        return known

    def finalists(self, known: Sequence[tuple[Entry, float]]) -> list[Entry]:
        """The least networks of every cost and limit on the first seed, and with some points to
        spare, since what is least there is often there by luck."""
        found: dict[str, Entry] = {}
        goals = [name for name in GOALS if name != "cells" or self.silicon]
        for limit in ALLOWED:
            for spare in SPARE:
                for goal in goals:
                    able = [e for e, drop in known if drop <= limit - spare and getattr(e, goal)]
                    costs = [getattr(e, goal) for e in able]
                    if able:
                        best = able[int(np.argmin(costs))]
                        found[best.key] = best
        return list(found.values())

    def hardware(self) -> None:
        """Cells and memory bits of everything trained, and of INT8 by quantisation."""
        plan, wanted = self.plan, []
        if not self.silicon:
            return
        for row in self.record.of("trained"):
            about = row["about"]
            source = self.sized(about["hidden"], about["seed"])
            candidate = Candidate(Genome.from_genes(about["genes"]), tuple(about["knobs"].items()))
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            wanted.append(
                (row["found"]["model_hash"], Look(self.one_path(source, candidate), None, knobs))
            )
        for source in self.seeds:
            for knobs in (plan.knobs, replace(plan.knobs, activation="auto")):
                look = Look(source.checkpoint, Genome.uniform(8), knobs)
                wanted.append((f"int8 {source.label} {knobs.activation}", look))
        missing = [
            (about, look) for about, look in wanted if self.record.get("hardware", about) is None
        ]
        self.say(f"Hardware: {len(missing)} networks")
        step = 8
        for k in range(0, len(missing), step):
            part = missing[k : k + step]
            models = [model_of(look) for _, look in part]
            areas = totals(
                [
                    Design.of(model, **look.knobs.hardware)
                    for model, (_, look) in zip(models, part, strict=True)
                ],
                lambda text: self.say(f"Hardware: {text}"),
                workers=self.workers,
            )
            for (about, _), area in zip(part, areas, strict=True):
                self.record.put(
                    "hardware", about, {"cells": area.cells, "memory": area.memory_bits}
                )

    # Choices and the test part

    def groups(self) -> list[dict[str, Any]]:
        """Trained networks by genome, the numbers of all their seeds together."""
        found: dict[str, dict[str, Any]] = {}
        base = {source.seed: self.int8_judged(source) for source in self.seeds}
        for row in self.record.of("trained"):
            about = row["about"]
            key = Record.key("group", [about["hidden"], about["genes"], about["knobs"]])
            group = found.setdefault(
                key,
                {
                    "hidden": about["hidden"],
                    "genes": about["genes"],
                    "knobs": about["knobs"],
                    "name": self.names.get(Record.key("trained", about), "found"),
                    "seeds": {},
                },
            )
            row_found = dict(row["found"])
            hardware = self.record.get("hardware", row_found["model_hash"]) or {}
            group["seeds"][str(about["seed"])] = {
                "judged": row_found["judged"],
                "drop": round(100 * (base[about["seed"]] - row_found["judged"]), 4),
                **{n: row_found[n] for n in ("size", "weights", "cycles")},
                **hardware,
            }
        return list(found.values())

    def choices(self) -> dict[str, Any]:
        """By validation accuracy: the least of every cost within every limit, over all seeds; the
        same with a standard error of the mean over seeds to spare, since what is least is often so
        by luck; and the front of the first seed in accuracy and weight bits."""
        groups, first = self.groups(), str(self.first.seed)

        def name(group: Mapping[str, Any]) -> dict[str, Any]:
            return {n: group[n] for n in ("hidden", "genes", "knobs", "name")}

        whole = [g for g in groups if len(g["seeds"]) == len(self.seeds)]
        mixed = [g for g in whole if len(set(g["genes"])) > 1]
        if not self.plan.seed_patterns:
            mixed = [g for g in mixed if not by_hand(Genome.from_genes(g["genes"]), g["knobs"])]
        aims = [
            (goal, limit) for limit in ALLOWED for goal in GOALS if self.silicon or goal == GOALS[0]
        ]

        def least(errors: int) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for goal, limit in aims:
                able = []
                for group in mixed:
                    drops = [s["drop"] for s in group["seeds"].values()]
                    error = np.std(drops, ddof=1) / np.sqrt(len(drops)) if errors else 0.0
                    if np.mean(drops) + errors * error <= limit + 1e-9:
                        able.append((np.mean([s[goal] for s in group["seeds"].values()]), group))
                best = min(able, key=lambda pair: pair[0], default=None)
                found[f"{goal} {limit:g}"] = None if best is None else name(best[1])
            return found

        on_first = [g for g in groups if first in g["seeds"]]
        costs = np.array(
            [(g["seeds"][first]["drop"], g["seeds"][first]["weights"]) for g in on_first]
        )
        spare = {"least with an error to spare": least(1)} if len(self.seeds) >= TELLING else {}
        return {
            "least": least(0),
            **spare,
            "front": [name(on_first[k]) for k in non_dominated(costs)],
        }

    def test(self) -> None:
        """The test part, for everything that is reported: nothing is chosen after it."""
        plan, jobs = self.plan, []
        for row in self.record.of("float"):
            about = row["about"]
            hidden, seed = (int(n) for n in re.findall(r"\d+", about["source"]))
            source = self.sized(hidden, seed)
            path = source.checkpoint if about["weights"] == "float" else self.any_path(source)
            jobs.append(({"float": about}, Look(path, None, plan.knobs, ("test",))))
        for row in self.record.of("quantised"):
            about = row["about"]
            source = self.sized(about["hidden"], about["seed"])
            candidate = Candidate(Genome.from_genes(about["genes"]), tuple(about["knobs"].items()))
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            path = source.checkpoint if about["weights"] == "float" else self.any_path(source)
            jobs.append(({"quantised": about}, Look(path, candidate.genome, knobs, ("test",))))
        for row in self.record.of("trained"):
            about = row["about"]
            source = self.sized(about["hidden"], about["seed"])
            candidate = Candidate(Genome.from_genes(about["genes"]), tuple(about["knobs"].items()))
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            jobs.append(
                ({"trained": about}, Look(self.one_path(source, candidate), None, knobs, ("test",)))
            )
        self._run("test", "Test part", jobs, look_at)
