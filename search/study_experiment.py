"""The experiment on a task: searches on quantised weights, training of what they find, one test.

Stages, in this order; every number is kept in ``experiment.json`` of the run's folder as soon as it
is known, so an experiment that was stopped, however, goes on when it is started again:

1. float networks: the shipped ones of the task (several seeds), and other hidden sizes;
2. of each, weights trained for all genomes at once (:mod:`..model.anyprecision`);
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
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..hdl.schedule import cycles_per_step
from ..model import zoo
from ..model.anyprecision import AnyTuning, tune_any
from ..model.errors import InputError, index_within, shown
from ..model.files import read_json, write_json
from ..model.floating import Checkpoint
from ..model.floating import accuracy as float_accuracy
from ..model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ..model.integer import IntModel
from ..model.knobs import Knobs
from ..model.qat import Tuning, tune
from ..model.quantize import draft, without_synthesis
from ..model.tasks import Task, load_task
from ..model.trained import Trained
from ..model.training import recipe_for, train
from ..synth.area import cheapest, script_hash, totals
from ..synth.yosys import find
from .backends import Pool
from .evaluate import Setting, accuracy, load
from .evolution import CHECKPOINT, Candidate, Config, Point, Run, _alone
from .local import steps
from .pareto import hypervolume, non_dominated

Array = np.ndarray
Say = Callable[[str], None]
VERSION = 1
#: A training is no evaluation: it may take a day.
LONGEST = 24 * 3600.0
#: Homogeneous networks, and those whose weights alone are narrow: the rivals of what is found.
BASELINES: dict[str, tuple[int, int]] = {
    "int8": (8, 8), "int4": (4, 4), "int3": (3, 3), "int2": (2, 2),
    "weights 3, rest 8": (3, 8), "weights 2, rest 8": (2, 8),
}  # fmt: skip
#: Weights (r, z, n of both sides) and the rest, that searches start from besides their own.
WEIGHT_PATTERNS = ((2, 2, 2), (2, 2, 3), (3, 3, 3), (2, 2, 4), (3, 3, 4))
REST_WIDTHS = (8, 7, 6, 5, 4)
#: Points below INT8 at which the smallest network is asked for, and of which costs.
ALLOWED = (0.5, 1.0)
GOALS = ("size", "cells")
#: Steps from each network that is worth it that are looked at in a round.
NEIGHBOURS = 24
#: Networks whose neighbours are looked at in a round.
PARENTS = 8
#: How far from the predicted drop a network may be that is tried for a limit, in points.
MARGIN = 0.2
#: Points that a network has to spare on the first seed to be tried on the others.
SPARE = (0.0, 0.3)
TEACHERS = ("own", "reference")
#: Share of the points lost without training that training leaves, until trainings say otherwise.
PRIOR = 0.4


@dataclass(frozen=True)
class Plan:
    """All that an experiment is a function of, besides the data.

    checkpoints : names or files; the first is the reference, others of its size are further seeds,
        and those of other sizes stand for networks of `hidden` that need no training then
    hidden : further hidden sizes, trained by the task's recipe
    epochs, any_epochs : of training for one genome, from the better of the weights that there
        are by validation, and for all
    baselines, small : of :data:`BASELINES`, trained at the reference's size, and at the others
    sequences : of the training part that an epoch sees (evenly spread); None: all
    any_sequences : likewise, of training for all; None: as `sequences`
    estimate : whether searches estimate cells (:mod:`..synth.estimate`); Yosys measures their
        fronts and all that is trained in any case
    initial, pop_size, generations, exploit : of every search
    scales : fixed or learned, of the networks trained for their genome; None: as training has it
    teacher : whose answers teach a network that is trained for its genome, "own", the float network
        of its size, or "reference", that of the reference's size and its seed
    any_seeds : whether further seeds get weights for all too; else they train from float weights
    knob_genes : of every search, besides the widths
    rounds, trained : rounds of training what was found, and networks of each
    every_seed : whether rounds train on every seed (what validation parts are too small to tell
        from one), or on the first, and the best of each cost and limit on the others afterwards
    sim_sequences, sim_steps : of the test part, simulated as Verilog; None: all steps
    """

    task: str
    checkpoints: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()
    knobs: Knobs = field(default_factory=lambda: Knobs(activation="table"))
    objectives: tuple[str, ...] = ("accuracy", "size", "cells")
    baselines: tuple[str, ...] = tuple(BASELINES)
    small: tuple[str, ...] = ("int4", "weights 2, rest 8")
    knob_genes: tuple[str, ...] = ("input_bits",)
    seed: int = 0
    float_epochs: int | None = None
    epochs: int = 30
    scales: str | None = None
    teacher: str = "own"
    any_epochs: int = 50
    any_seeds: bool = False
    sequences: int | None = None
    any_sequences: int | None = None
    estimate: bool = True
    initial: str = "sensitivity"
    pop_size: int = 24
    generations: int = 5
    exploit: int = 5
    rounds: int = 3
    trained: int = 6
    every_seed: bool = True
    sim_sequences: int = 20
    sim_steps: int | None = None

    def __post_init__(self) -> None:
        for name, low, most in (
            ("epochs", 1, 100_000), ("any_epochs", 1, 100_000), ("rounds", 0, 100),
            ("trained", 1, 1000), ("sim_sequences", 0, 100_000),
            ("seed", 0, 2**31 - 1), ("sequences", 1, 1 << 30),
            ("any_sequences", 1, 1 << 30), ("sim_steps", 1, 1 << 30),
            ("float_epochs", 1, 100_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None:
                index_within(name, value, low, most)
        if len(set(self.hidden)) != len(self.hidden) or any(h < 1 for h in self.hidden):
            raise InputError(f"hidden: {shown(self.hidden)}: different sizes from 1 up are needed")
        if len(set(self.checkpoints)) != len(self.checkpoints):
            raise InputError("checkpoints: each once")
        if self.teacher not in TEACHERS:
            raise InputError(f"teacher {shown(self.teacher)}: {', '.join(TEACHERS)} are known")
        for name in (*self.baselines, *self.small):
            if name not in BASELINES:
                raise InputError(f"baseline {shown(name)}: {', '.join(BASELINES)} are known")
        # What a search or a training would refuse, before anything is done.
        assert self.config
        assert self.tuning

    @cached_property
    def tuning(self) -> Tuning:
        """How a network is trained for its genome."""
        own: dict[str, Any] = {"scales": self.scales} if self.scales else {}
        return Tuning(epochs=self.epochs, seed=self.seed, **own)

    @cached_property
    def config(self) -> Config:
        """The configuration of every search."""
        return Config(objectives=self.objectives, pop_size=self.pop_size, seed=self.seed,
                      generations=self.generations, exploit=self.exploit,
                      knob_genes=self.knob_genes, initial=self.initial)  # fmt: skip


#: What differs from the defaults of :class:`Plan`, by task: what two cores do in a quarter of an
#: hour (digits-row, keywords) or less than an hour.
_SPEECH = {"hidden": (48, 32), "epochs": 20, "any_epochs": 24, "trained": 4}
_PIXELS = {"hidden": (), "float_epochs": 4, "epochs": 3, "any_epochs": 6, "sequences": 8000,
           "pop_size": 16, "generations": 3, "exploit": 3, "rounds": 2, "trained": 3,
           "every_seed": False, "baselines": ("int8", "int4", "int3", "weights 2, rest 8"),
           "sim_steps": 16}  # fmt: skip
FULL: dict[str, dict[str, Any]] = {
    "digits-row": {"hidden": (24, 20), "epochs": 20, "any_epochs": 30, "rounds": 9, "trained": 4},
    "kws4": _SPEECH,
    "kws10": _SPEECH,
    "kws12": _SPEECH,
    "mnist-row": {"hidden": (48, 32), "epochs": 4, "any_epochs": 5,
                  "rounds": 2, "trained": 5, "every_seed": False},
    "mnist-pixel14": _PIXELS,
    "mnist-pixel": {**_PIXELS, "float_epochs": 2, "sequences": 2500, "epochs": 2, "any_epochs": 3,
                    "rounds": 1, "trained": 4},
}  # fmt: skip
#: A look, for a task whose trainings take seconds.
QUICK: dict[str, Any] = {
    "hidden": (24,), "float_epochs": 2, "initial": "homogeneous", "epochs": 1, "any_epochs": 1,
    "pop_size": 8, "generations": 1, "exploit": 1, "rounds": 2, "trained": 2,
    "baselines": ("int8", "int3"), "small": ("int4",), "sequences": 400, "sim_sequences": 2,
    "sim_steps": 4, "objectives": ("accuracy", "size"),
}  # fmt: skip
BUDGETS = ("full", "quick")


def plan_for(task: str, budget: str, given: Mapping[str, Any]) -> Plan:
    """The plan of `task`, with what `given` sets (None: not set). Raises :class:`InputError`."""
    if budget not in BUDGETS:
        raise InputError(f"budget {shown(budget)}: {', '.join(BUDGETS)} are known")
    chosen = {name: value for name, value in given.items() if value is not None}
    own = FULL.get(task, {}) if budget == "full" else QUICK
    plan = Plan(task, **{**own, **chosen})
    if not plan.checkpoints:
        shipped = shipped_of(task)
        if budget == "quick":
            shipped = shipped[:2]
        shipped += shipped_of(task, plan.hidden)
        plan = replace(plan, checkpoints=shipped or ("seed0",))
    return plan


def shipped_of(task: str, hidden: Sequence[int] | None = None) -> tuple[str, ...]:
    """Names of the shipped checkpoints of a task: the default one, and its further seeds; or those
    of other sizes."""
    names = zoo.names()
    if hidden is not None:
        return tuple(name for name in names if name in {f"{task}-h{h}" for h in hidden})
    if task not in names:
        return ()
    return (task, *(name for name in names if re.fullmatch(rf"{task}-seed\d+", name)))


def scheme_genome(scheme: str, layers: int) -> Genome:
    """The genome of one of :data:`BASELINES`."""
    weights, rest = BASELINES[scheme]
    return Genome(((weights,) * 6 + (rest,) * 11,) * layers)


def changed(recipe: Tuning) -> dict[str, Any]:
    """The kind of a recipe, and what of it is not as its kind has it by default; scales where they
    are learned, whatever the default."""
    default = type(recipe)()
    found = {f.name: getattr(recipe, f.name) for f in fields(recipe)
             if getattr(recipe, f.name) != getattr(default, f.name)}  # fmt: skip
    found.pop("scales", None)
    if recipe.scales == "learned":
        found["scales"] = recipe.scales
    return {"kind": type(recipe).__name__, "epochs": recipe.epochs, **found}


# Work that a process may do alone: each is a function of its argument, leaves a checkpoint, and
# goes on where it was stopped.


@dataclass(frozen=True)
class Float:
    """A float network to be trained."""

    task: str
    seed: int
    hidden: int
    epochs: int | None
    path: str


@dataclass(frozen=True)
class ForAll:
    """Weights to be trained for all genomes, from a float network's."""

    checkpoint: str
    knobs: Knobs
    recipe: AnyTuning
    sequences: int | None
    path: str


@dataclass(frozen=True)
class ForOne:
    """A network to be trained for its genome, from the better of some weights.

    starts : kind of weights and checkpoint; teacher : checkpoint
    """

    starts: tuple[tuple[str, str], ...]
    teacher: str
    genome: Genome
    knobs: Knobs
    recipe: Tuning
    sequences: int | None
    path: str


@dataclass(frozen=True)
class Look:
    """A network to be quantised and judged, without training.

    part : ``judged`` (:class:`~.evaluate.Setting`), ``val`` or ``test``
    """

    checkpoint: str
    genome: Genome | None
    knobs: Knobs
    parts: tuple[str, ...] = ("judged", "val")


def _fewer(task: Task, count: int | None) -> Task:
    """`task` with so many of its training sequences, evenly spread."""
    if count is None or count >= len(task.x_train):
        return task
    at = np.linspace(0, len(task.x_train) - 1, count).astype(np.int64)
    return replace(task, x_train=task.x_train[at], y_train=task.y_train[at])


def _kept(path: Path, make: Callable[[Path], Checkpoint], task: Task) -> dict[str, Any]:
    """Info of the checkpoint at `path`; where there is none, of what `make` gives, saved."""
    if not path.exists():
        start = time.process_time()
        state = path.with_name(f"{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make(state)
        info = {**made.info, "task": task.name, "split_seed": task.split_seed,
                "split_hash": task.split_hash,
                "seconds": round(time.process_time() - start, 1)}  # fmt: skip
        Checkpoint(made.tensors, info).save(path)
        state.unlink(missing_ok=True)
    return dict(zoo.load(path).info)


def part_of(checkpoint: str, part: str) -> tuple[Array, Array]:
    """Sequences and classes of a part of a checkpoint's task."""
    material = load(Setting(checkpoint, Knobs(), False))
    if part == "judged":
        return material.x_shifted, material.y_shifted
    task = material.task
    return getattr(task, f"x_{part}"), getattr(task, f"y_{part}")


def _quantised(checkpoint: str, genome: Genome, knobs: Knobs) -> IntModel:
    made = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    auto = knobs.activation == "auto"
    return made.choose((cheapest if auto else without_synthesis)(made.groups))


def _trained_model(path: str, knobs: Knobs) -> IntModel:
    trained = Trained.of(zoo.load(path))
    if trained is None:
        raise InputError(f"{path}: not a network that was trained for its genome")
    return trained.model(knobs=knobs)


def model_of(look: Look) -> IntModel:
    """The integer model that is looked at: the trained one where the checkpoint has it."""
    if look.genome is None:
        return _trained_model(look.checkpoint, look.knobs)
    return _quantised(look.checkpoint, look.genome, look.knobs)


def _about_model(model: IntModel, knobs: Knobs) -> dict[str, Any]:
    return {"size": model.size_bits, "weights": model.weight_bits,
            "cycles": cycles_per_step(model, knobs.lanes_x, knobs.lanes_h),
            "model_hash": model.hash}  # fmt: skip


def train_float(job: Float) -> dict[str, Any]:
    """Train, or read what was trained."""
    task = load_task(job.task, job.seed)
    recipe = recipe_for(job.task, {"seed": job.seed, "hidden": job.hidden, "epochs": job.epochs})
    info = _kept(Path(job.path), lambda state: train(task, recipe, state=state), task)
    return {"recipe": asdict(recipe), "seconds": info["seconds"]}


def train_for_all(job: ForAll) -> dict[str, Any]:
    """Train for all genomes, or read what was trained."""
    task = load(Setting(job.checkpoint, job.knobs, False)).task
    info = _kept(Path(job.path), lambda state: tune_any(
        _fewer(task, job.sequences), zoo.load(job.checkpoint), job.knobs, job.recipe, state=state
    ), task)  # fmt: skip
    return {"seconds": info["seconds"]}


def train_for_one(job: ForOne) -> dict[str, Any]:
    """Train for a genome from the weights that are better for it before, judged by validation."""
    task = load(Setting(job.starts[0][1], job.knobs, False)).task
    before = {kind: accuracy(_quantised(checkpoint, job.genome, job.knobs),
                             *part_of(checkpoint, "judged"))
              for kind, checkpoint in job.starts}  # fmt: skip
    start, checkpoint = max(job.starts, key=lambda each: before[each[0]])
    choose = cheapest if job.knobs.activation == "auto" else None

    def make(state: Path) -> Checkpoint:
        return tune(_fewer(task, job.sequences), zoo.load(checkpoint), job.genome, job.knobs,
                    job.recipe, cheapest=choose, state=state,
                    teacher=zoo.load(job.teacher)).checkpoint  # fmt: skip

    info = _kept(Path(job.path), make, task)
    model = _trained_model(job.path, job.knobs)
    found = {part: accuracy(model, *part_of(checkpoint, part)) for part in ("judged", "val")}
    return {**found, **_about_model(model, job.knobs), "start": start, "before": before,
            "best_epoch": info["best_epoch"], "seconds": info["seconds"]}  # fmt: skip


def look_at(look: Look) -> dict[str, Any]:
    """Accuracy of an integer model, or of the float network where no genome and no record is."""
    start = time.process_time()
    checkpoint = zoo.load(look.checkpoint)
    if look.genome is None and Trained.of(checkpoint) is None:
        found = {part: float_accuracy(checkpoint, *part_of(look.checkpoint, part))
                 for part in look.parts}  # fmt: skip
    else:
        model = model_of(look)
        found = {part: accuracy(model, *part_of(look.checkpoint, part)) for part in look.parts}
        found |= _about_model(model, look.knobs)
    return {**found, "seconds": round(time.process_time() - start, 1)}


# What is chosen to be trained


@dataclass(frozen=True)
class Entry:
    """A network that may be trained, as the weights for all have it.

    hidden : units; size, cells (0: not measured), weights : bits, Yosys cells, bits
    """

    hidden: int
    candidate: Candidate
    accuracy: float
    size: float
    cells: float
    weights: float

    @property
    def key(self) -> str:
        return f"h{self.hidden} {self.candidate}"

    def features(self, drop: float, most: int) -> list[float]:
        """What the points that training leaves may depend on; drop in points."""
        genes = np.array(self.candidate.genome.genes).reshape(-1, len(GENES))
        few = (MAX_BITS - genes) / (MAX_BITS - MIN_BITS)
        return [1.0, drop / 10, *few[:, :6].mean(0)[[0, 2, 3, 5]], float(few[:, 6:].mean()),
                float(few[:, [8, 10, 12, 13]].mean()), 1 - self.hidden / most]  # fmt: skip


def predicted(entries: Sequence[Entry], known: Sequence[tuple[Entry, float]], int8: float) -> Array:
    """Points below INT8 that training is thought to leave of each entry.

    known : entries that were trained, and what training left of them

    A share of what is lost without training, corrected by ridge regression on what is known.
    """
    most = max((e.hidden for e in [*entries, *(e for e, _ in known)]), default=1)

    def drops(some: Sequence[Entry]) -> Array:
        return 100 * (int8 - np.array([e.accuracy for e in some]))

    def rows(some: Sequence[Entry]) -> Array:
        return np.array([e.features(d, most) for e, d in zip(some, drops(some), strict=True)])

    base = PRIOR * drops(entries)
    if not known or not len(entries):
        return base
    trained = [e for e, _ in known]
    left = np.array([drop for _, drop in known]) - PRIOR * drops(trained)
    # What is far off tells little about what is near.
    trust = 1 / (1 + np.maximum(0.0, np.array([drop for _, drop in known])))
    x = rows(trained) * trust[:, None]
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ (left * trust))
    return base + rows(entries) @ weights


def proposals(
    entries: Sequence[Entry], known: Sequence[tuple[Entry, float]], int8: Mapping[str, float],
    count: int, goals: Sequence[str] = GOALS,
) -> list[Entry]:  # fmt: skip
    """`count` entries to train next: in turn the least of every cost that may stay within each
    limit, and what adds most to the front of points lost and weight bits.

    int8 : accuracy, size, cells, weights
    """
    taken = {e.key for e, _ in known}
    pool = [e for e in entries if e.key not in taken]
    drops = predicted(pool, known, int8["accuracy"])
    aims: list[tuple[str, float] | None] = [(g, limit) for limit in ALLOWED for g in goals]
    # A wider look besides the limits, every third.
    aims = [aim for k, one in enumerate(aims) for aim in ((one, None) if k % 2 else (one,))]
    chosen: list[Entry] = []
    corner = np.array([8.0, int8["weights"]])
    front = [(max(0.0, drop), e.weights) for e, drop in known]
    for turn in range(4 * count):
        left = [k for k, e in enumerate(pool) if all(_differ(e, c) for c in chosen)]
        if len(chosen) >= count or not left:
            break
        aim = aims[turn % len(aims)]
        if aim is None:
            costs = np.array([(max(0.0, drops[k]), pool[k].weights) for k in left])
            base = np.array(front).reshape(-1, 2)
            before = hypervolume(base, corner) if len(base) else 0.0
            gain = [hypervolume(np.vstack([base, row]), corner) - before for row in costs]
            best = left[int(np.argmax(gain))]
        else:
            goal, limit = aim
            able = [k for k in left if getattr(pool[k], goal) > 0
                    and drops[k] <= limit + MARGIN]  # fmt: skip
            held = [getattr(e, goal) for e, drop in known if drop <= limit and getattr(e, goal)]
            able = [k for k in able if getattr(pool[k], goal) < min(held, default=np.inf)]
            if not able:
                continue
            # A little less of the cost is not worth much more risk.
            best = min(able, key=lambda k: (getattr(pool[k], goal) / int8[goal]
                                            + 0.05 * max(0.0, float(drops[k]))))  # fmt: skip
        chosen.append(pool[best])
        front.append((max(0.0, float(drops[best])), pool[best].weights))
    return chosen


def _differ(a: Entry, b: Entry) -> bool:
    """Whether two entries are worth a training each."""
    if a.hidden != b.hidden or a.candidate.knobs != b.candidate.knobs:
        return True
    return int(np.abs(np.subtract(a.candidate.genome.genes, b.candidate.genome.genes)).sum()) > 1


# The experiment


class Record:
    """Numbers by what they are of: a file that is whole at any time."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self.head = path, head
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
            raise InputError(f"{where}: an experiment of version {shown(before.get('version'))}, "
                             f"this program makes {VERSION}; use another folder")  # fmt: skip
        mine = json.loads(json.dumps(self.head))
        if isinstance(before.get("plan"), dict):
            # What a plan did not know when that was made, it had as it is by default.
            before["plan"] = {"any_sequences": Plan.any_sequences, "teacher": Plan.teacher,
                              **before["plan"]}  # fmt: skip
        for part in ("plan", "data"):
            old = before.get(part)
            # More rounds make it longer; those that it had stay what they were.
            names = [n for n in mine[part] if not isinstance(old, dict) or (
                         old.get(n, 0) > mine[part][n] if n == "rounds"
                         else old.get(n) != mine[part][n])]  # fmt: skip
            if names:
                raise InputError(f"{where}: its experiment differs in {', '.join(names)}; use the "
                                 "same options, or another folder (--out)")  # fmt: skip
        # The only number that is not made here.
        self.more = {name: before[name] for name in ("simulation",) if name in before}
        for row in before["numbers"]:
            try:
                self.numbers[self.key(row["stage"], row["about"])] = row
            except (KeyError, TypeError):
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
        keys = self.order if done else [*self.order, *(k for k in self.numbers
                                                      if k not in self.order)]  # fmt: skip
        write_json(self.path, {**self.head, "done": done, **self.more,
                               "numbers": [self.numbers[key] for key in keys]})  # fmt: skip

    def of(self, stage: str) -> list[dict[str, Any]]:
        return [self.numbers[key] for key in self.order if self.numbers[key]["stage"] == stage]


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

    def __init__(self, folder: str | Path, plan: Plan, *, workers: int = 1,
                 say: Say = lambda text: None) -> None:  # fmt: skip
        self.folder, self.plan, self.workers, self.say = Path(folder), plan, workers, say
        self.silicon = plan.config.silicon
        self.pool: Pool

    # Jobs

    def _run(self, stage: str, what: str, jobs: Sequence[tuple[Any, Any]],
             function: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:  # fmt: skip
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
        for name in plan.checkpoints:
            made = re.fullmatch(r"seed(\d+)", name)
            if made:
                recipe = recipe_for(plan.task, {})
                path = self.folder / "float" / f"h{recipe.hidden}-seed{made[1]}.safetensors"
                self.seeds.append(Source(recipe.hidden, int(made[1]), str(path)))
                continue
            checkpoint = zoo.load(name)
            about = checkpoint.info.get("task")
            if about != plan.task:
                raise InputError(f"checkpoint {name}: trained on {shown(about)}, not on "
                                 f"{plan.task}")  # fmt: skip
            if checkpoint.layers != 1:
                raise InputError(f"checkpoint {name}: {checkpoint.layers} layers; experiments are "
                                 "for one layer")  # fmt: skip
            source = Source(checkpoint.hidden_size(0), checkpoint.info.get("split_seed", 0), name)
            if not self.seeds or source.hidden == self.seeds[0].hidden:
                self.seeds.append(source)
                continue
            if source.hidden not in plan.hidden:
                raise InputError(f"checkpoint {name}: {source.hidden} units, the first has "
                                 f"{self.seeds[0].hidden}; other sizes are those of --hidden, "
                                 f"{', '.join(map(str, plan.hidden)) or 'none'}")  # fmt: skip
            self.given.append(source)
        first = self.seeds[0]
        everything = [(source.hidden, source.seed) for source in (*self.seeds, *self.given)]
        if len(set(everything)) < len(everything):
            raise InputError("checkpoints: two of the same size and split")
        self.task = task = load_task(plan.task, first.seed)
        tool = find().version if self.silicon else None
        self.record = Record(self.folder / "experiment.json", {
            "version": VERSION, "plan": json.loads(json.dumps(asdict(plan))),
            "data": {
                "splits": {str(s.seed): load_task(plan.task, s.seed).split_hash
                           for s in self.seeds},
                "recipes": [asdict(self.plan.tuning), asdict(self.for_all())],
                "steps": task.steps, "features": task.features, "classes": task.classes,
                "sequences": {part: len(getattr(task, f"y_{part}"))
                              for part in ("train", "val", "test")},
                "yosys": tool, "script": script_hash(),
            },
        })  # fmt: skip
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
        self._run("float training", "Float networks", [
            (s.label, Float(plan.task, s.seed, s.hidden, plan.float_epochs, s.checkpoint))
            for s in own], train_float)  # fmt: skip
        recipe, count = self.for_all(), plan.any_sequences or plan.sequences
        self._run("training for all", "Training for all genomes", [
            ({"source": s.label, "recipe": changed(recipe), "sequences": count},
             ForAll(s.checkpoint, plan.knobs, recipe, count, path))
            for s in sources for kind, path in self.kinds(s) if kind == "any"
        ], train_for_all)  # fmt: skip
        self._run("float", "Float accuracy", [
            ({"source": s.label, "weights": kind}, Look(path, None, plan.knobs))
            for s in sources for kind, path in self.kinds(s)
        ], look_at)  # fmt: skip

    def searched(self, kind: str, sources: Sequence[Source]) -> Run:
        """A search to its end: `kind` of weights, float or any, of one source or of several. What
        is given back knows all points as the search saw them, and evaluates more in its way."""
        paths = [dict(self.kinds(source))[kind] for source in sources]
        config = replace(self.plan.config, checkpoints=tuple(paths[1:]))
        setting = Setting(paths[0], self.plan.knobs, self.silicon,
                          estimate=self.silicon and self.plan.estimate)  # fmt: skip
        run = Run(self.folder / "search" / kind, setting, config, resume=True)
        # Not CPU seconds: those of workers and of Yosys end elsewhere.
        head, start = f"Search on {kind} weights", time.monotonic()

        def tell(progress: Any) -> None:
            self.say(f"{head}: {progress.generation} of {progress.generations}")

        run.go(workers=self.workers, tell=tell, say=lambda text: self.say(f"{head}: {text}"))
        about = {"weights": kind, "sources": [source.label for source in sources],
                 "config": asdict(self.plan.config)}  # fmt: skip
        if self.record.get("search", about) is None:
            rows = []
            for point in run.front():
                hidden, candidate = self.plain(point.candidate)
                rows.append({"hidden": hidden, "genes": list(candidate.genome.genes),
                             "knobs": dict(candidate.knobs),
                             **dict(sorted(point.result.items()))})  # fmt: skip
            self.record.put("search", about, {
                "evaluations": len(run.estimated or run.points), "front": rows,
                "int8": dict(run.points[run.int8].result),
                "wall_seconds": round(time.monotonic() - start, 1),
            })  # fmt: skip
        run.store.close()
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
        return {self.any_path(self.sized(hidden, self.first.seed)): hidden
                for hidden in self.plan.hidden}  # fmt: skip

    def entries(self, points: Iterable[Point]) -> list[Entry]:
        """Points of the search on weights for all."""
        rows = []
        for point in points:
            hidden, candidate = self.plain(point.candidate)
            result = point.result
            rows.append(Entry(hidden, candidate, result["accuracy"], result["size"],
                              result.get("cells", 0), result["weights"]))  # fmt: skip
        return rows

    def schemes(self) -> list[Candidate]:
        """Starting points of a structure that searches seldom meet, in every size."""
        rows = [(*2 * pattern, *[rest] * 11) for pattern in WEIGHT_PATTERNS
                for rest in REST_WIDTHS]  # fmt: skip
        rows += [scheme_genome(name, 1).genes for name in BASELINES]
        return [self.placed(hidden, Candidate(Genome.from_genes(row)))
                for hidden in (self.first.hidden, *self.plan.hidden)
                for row in dict.fromkeys(rows)]  # fmt: skip

    def neighbours(self, run: Run, parents: Sequence[Candidate], number: int) -> list[Candidate]:
        """Small steps from each parent to fewer bits, in one variable or two."""
        rng = np.random.default_rng([self.plan.seed, 7, number])
        found: list[Candidate] = []
        for parent in parents:
            row = run.encode(parent)
            near = steps(rng, run.space, row)
            ordered = np.delete(near - row, run.space.categories, axis=1)
            down = near[ordered.sum(1) < 0]
            chosen = rng.permutation(len(down))[:NEIGHBOURS]
            found += [run.decode(each) for each in down[np.sort(chosen)]]
        return found

    def for_all(self) -> AnyTuning:
        return AnyTuning(epochs=self.plan.any_epochs, seed=self.plan.seed)

    def teacher(self, source: Source) -> Source:
        """Whose answers teach the networks of a source."""
        if self.plan.teacher == "own":
            return source
        return self.sized(self.first.hidden, source.seed)

    def about(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        """What identifies a trained network in the record."""
        taught = {} if self.teacher(source) == source else {"teacher": self.plan.teacher}
        return {"hidden": source.hidden, "seed": source.seed,
                "genes": list(candidate.genome.genes), "knobs": dict(candidate.knobs),
                "recipe": changed(self.plan.tuning), "sequences": self.plan.sequences,
                **taught}  # fmt: skip

    def untrained(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        """The same of a network that quantisation alone makes."""
        whole = self.about(source, candidate)
        return {name: whole[name] for name in ("hidden", "seed", "genes", "knobs")}

    def one_path(self, source: Source, candidate: Candidate) -> str:
        key = Record.key("one", self.about(source, candidate))
        return str(self.folder / "one" / f"{source.label}-{key[:10]}.safetensors")

    def trained_many(
        self, wanted: Sequence[tuple[Source, str, Candidate]], what: str = "Training"
    ) -> list[dict[str, Any]]:  # fmt: skip
        jobs = []
        for source, _, candidate in wanted:
            knobs = candidate.setting(Setting("", self.plan.knobs, False)).knobs
            job = ForOne(tuple(self.kinds(source)), self.teacher(source).checkpoint,
                         candidate.genome, knobs, self.plan.tuning, self.plan.sequences,
                         self.one_path(source, candidate))  # fmt: skip
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

    def go(self) -> dict[str, Any]:
        """All stages but the simulation; the document."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names: dict[str, str] = {}
        with (
            _alone(self.folder),
            Pool(
                "processes" if self.workers > 1 else "serial", self.workers, timeout=LONGEST
            ) as self.pool,
        ):
            self.prepare()
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
            self.quantised([(self.sized(e.hidden, first.seed), "found", e.candidate)
                            for e, _ in known])  # fmt: skip
            self.hardware()
            self.record.more["choices"] = self.choices()
            self.record.save()
            self.test()
            self.record.save(done=True)
        return dict(read_json(self.record.path))

    def trained_on(
        self, entries: Sequence[Entry], seeds: Sequence[Source], what: str
    ) -> list[float]:  # fmt: skip
        """Train `entries` on `seeds`; of each, the mean of points below the INT8 of these."""
        wanted = [(self.sized(e.hidden, s.seed), "found", e.candidate)
                  for e in entries for s in seeds]  # fmt: skip
        self.need(list(dict.fromkeys(source for source, _, _ in wanted)))
        rows = self.trained_many(wanted, what)
        base = [self.int8_judged(s) for s in seeds] * len(entries)
        drops = 100 * (np.array(base) - [row["judged"] for row in rows])
        return [float(d) for d in drops.reshape(len(entries), len(seeds)).mean(1)]

    def rounds(
        self, run: Run, baselines: Sequence[tuple[str, Candidate]]
    ) -> list[tuple[Entry, float]]:  # fmt: skip
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
        int8 = {"accuracy": base, "size": whole.size, "cells": whole.cells,
                "weights": whole.weights}  # fmt: skip
        goals = [name for name in GOALS if name != "cells" or self.silicon]
        rivals = [c for _, c in baselines]
        # Of other sizes too: few bits on many units, or more on fewer.
        rivals += [self.placed(hidden, Candidate(scheme_genome(name, 1)))
                   for hidden in plan.hidden for name in plan.small]  # fmt: skip
        own = evaluated(rivals, "Homogeneous networks")
        known = list(zip(own, self.trained_on(own, seeds, "Homogeneous networks"), strict=True))
        for number in range(plan.rounds):
            useful = sorted((d, k) for k, (_, d) in enumerate(known) if d <= 1.5 * ALLOWED[-1])
            parents = [self.placed(known[k][0].hidden, known[k][0].candidate)
                       for _, k in useful[:PARENTS]]  # fmt: skip
            evaluated(self.neighbours(run, parents, number), "Neighbours")
            entries = self.entries(run.points.values())
            chosen = proposals(entries, known, int8, plan.trained, goals)
            guesses = predicted(chosen, known, base)
            drops = self.trained_on(chosen, seeds, f"Training what was found, round {number + 1} "
                                                   f"of {plan.rounds}")  # fmt: skip
            self.record.put("round", {"round": number + 1}, {"chosen": [
                {"hidden": e.hidden, "genes": list(e.candidate.genome.genes),
                 "knobs": dict(e.candidate.knobs), "predicted": round(float(guess), 3),
                 "left": round(drop, 3)}
                for e, guess, drop in zip(chosen, guesses, drops, strict=True)
            ]})  # fmt: skip
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
            wanted.append((row["found"]["model_hash"],
                           Look(self.one_path(source, candidate), None, knobs)))  # fmt: skip
        for source in self.seeds:
            for knobs in (plan.knobs, replace(plan.knobs, activation="auto")):
                look = Look(source.checkpoint, Genome.uniform(8), knobs)
                wanted.append((f"int8 {source.label} {knobs.activation}", look))
        missing = [(about, look) for about, look in wanted
                   if self.record.get("hardware", about) is None]  # fmt: skip
        self.say(f"Hardware: {len(missing)} networks")
        step = 8
        for k in range(0, len(missing), step):
            part = missing[k : k + step]
            models = [model_of(look) for _, look in part]
            areas = totals([(m, look.knobs.lanes_x, look.knobs.lanes_h)
                            for m, (_, look) in zip(models, part, strict=True)],
                           lambda text: self.say(f"Hardware: {text}"),
                           workers=self.workers)  # fmt: skip
            for (about, _), area in zip(part, areas, strict=True):
                self.record.put("hardware", about, {
                    "cells": area.cells, "memory": area.memory_bits})  # fmt: skip

    # Choices and the test part

    def groups(self) -> list[dict[str, Any]]:
        """Trained networks by genome, the numbers of all their seeds together."""
        found: dict[str, dict[str, Any]] = {}
        base = {source.seed: self.int8_judged(source) for source in self.seeds}
        for row in self.record.of("trained"):
            about = row["about"]
            key = Record.key("group", [about["hidden"], about["genes"], about["knobs"]])
            group = found.setdefault(key, {
                "hidden": about["hidden"], "genes": about["genes"], "knobs": about["knobs"],
                "name": self.names.get(Record.key("trained", about), "found"), "seeds": {},
            })  # fmt: skip
            row_found = dict(row["found"])
            hardware = self.record.get("hardware", row_found["model_hash"]) or {}
            group["seeds"][str(about["seed"])] = {
                "judged": row_found["judged"],
                "drop": round(100 * (base[about["seed"]] - row_found["judged"]), 4),
                **{n: row_found[n] for n in ("size", "weights", "cycles")}, **hardware,
            }  # fmt: skip
        return list(found.values())

    def choices(self) -> dict[str, Any]:
        """By validation accuracy: the least of every cost within every limit, over all seeds; and
        the front of the first seed in accuracy and weight bits."""
        groups, first = self.groups(), str(self.first.seed)

        def name(group: Mapping[str, Any]) -> dict[str, Any]:
            return {n: group[n] for n in ("hidden", "genes", "knobs", "name")}

        whole = [g for g in groups if len(g["seeds"]) == len(self.seeds)]
        mixed = [g for g in whole if len(set(g["genes"])) > 1]
        least = {}
        for limit in ALLOWED:
            for goal in GOALS if self.silicon else GOALS[:1]:
                able = [g for g in mixed if np.mean([s["drop"] for s in g["seeds"].values()])
                        <= limit + 1e-9]  # fmt: skip
                able.sort(key=lambda g: np.mean([s[goal] for s in g["seeds"].values()]))
                least[f"{goal} {limit:g}"] = name(able[0]) if able else None
        on_first = [g for g in groups if first in g["seeds"]]
        costs = np.array([(g["seeds"][first]["drop"], g["seeds"][first]["weights"])
                          for g in on_first])  # fmt: skip
        return {"least": least, "front": [name(on_first[k]) for k in non_dominated(costs)]}

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
            jobs.append(({"trained": about}, Look(self.one_path(source, candidate), None, knobs,
                                                  ("test",))))  # fmt: skip
        self._run("test", "Test part", jobs, look_at)


assert {f.name for f in fields(Plan)} >= set(QUICK)
