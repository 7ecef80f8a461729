"""The work of an experiment that a process may do alone.

Each is a function of its argument, leaves a checkpoint, and goes on where it was stopped.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...model import zoo
from ...model.checkpoints.floating import Checkpoint
from ...model.checkpoints.floating import accuracy as float_accuracy
from ...model.checkpoints.provenance import UNSEEN, unseen_after
from ...model.checkpoints.pruning import pruned
from ...model.checkpoints.recipe import Recipe, recipe_for
from ...model.checkpoints.training import train
from ...model.data.tasks import Task, is_own, load_task
from ...model.errors import InputError
from ...model.genome import Genome
from ...model.integer import IntModel
from ...model.knobs import Knobs
from ...model.qat.any_precision import AnyTuning, tune_any
from ...model.qat.recipe import Tuning
from ...model.qat.trainer import trained_with
from ...model.qat.tune import tune
from ...model.quantize.drafts import draft
from ...model.quantize.quantize import without_synthesis
from ...model.quantize.trained import Trained
from ...synth.report import cheapest
from ..genomes.evaluate import Setting, accuracy, load

Array = np.ndarray


@dataclass(frozen=True)
class Float:
    """A float network to be trained.

    like : checkpoint whose layers it has, in other sizes; None: those of the task's recipe
    """

    task: str
    seed: int
    hidden: int
    epochs: int | None
    path: str
    like: str | None = None


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
class Fewer:
    """A network of a checkpoint with fewer units, not trained.

    units : of every GRU layer
    """

    checkpoint: str
    units: tuple[int, ...]
    path: str


def is_gone(job: object, read_again: tuple[type[Float | ForAll | ForOne | Fewer], ...]) -> bool:
    """Whether weights are not there that a job leaves, if it is of a kind whose weights are read
    again."""
    return isinstance(job, read_again) and not Path(job.path).exists()


@dataclass(frozen=True)
class Look:
    """A network to be quantised and judged, without training.

    part : ``judged`` (:class:`~genogate.search.genomes.evaluate.Setting`), ``val`` or ``test``
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


def kept_info(path: Path) -> dict[str, Any]:
    """Info of a checkpoint that an earlier stage left, its ``seconds`` among it.
    Raises :class:`InputError` for a damaged one; what to do is known where its folder is
    (:mod:`~genogate.search.genomes.remedies`)."""
    info = dict(zoo.load(path).info)
    if not isinstance(info.get("seconds"), int | float):
        raise InputError(f"{path}: not a checkpoint that was trained here")
    return info


def _kept(
    path: Path, make: Callable[[Path], Checkpoint], task: Task, sources: Sequence[Checkpoint] = ()
) -> dict[str, Any]:
    """Info of the checkpoint at `path`; where there is none, of what `make` gives, saved.

    task : the whole of it, of which `make` may have used fewer training sequences
    sources : the checkpoints that it comes from or was taught by
    """
    if not path.exists():
        start = time.process_time()
        state = path.with_name(f"{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        result = make(state)
        info = {
            **result.info,
            "task": task.name,
            "split_seed": task.split_seed,
            "split_hash": task.split_hash,
            UNSEEN: unseen_after(task, sources),
            "seconds": round(time.process_time() - start, 1),
        }
        Checkpoint(result.tensors, info).save(path)
        state.unlink(missing_ok=True)
    return kept_info(path)


def part_of(checkpoint: str, part: str) -> tuple[Array, Array]:
    """Sequences and classes of a part of a checkpoint's task."""
    material = load(Setting(checkpoint, Knobs(), False))
    if part == "judged":
        return material.x_shifted, material.y_shifted
    return material.task.scored(part)


def _quantised(checkpoint: str, genome: Genome, knobs: Knobs) -> IntModel:
    drafted = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    auto = knobs.activation == "auto"
    return drafted.choose((cheapest if auto else without_synthesis)(drafted.groups))


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
    return {
        "size": model.size_bits,
        "weights": model.weight_bits,
        "cycles": Design.of(model, **knobs.hardware).cycles_per_step,
        "model_hash": model.hash,
    }


def structure_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Fields of a recipe that make layers like those of `checkpoint`."""
    settings: dict[str, Any] = {"layers": checkpoint.layers}
    for place in ("front", "back"):
        parts = [
            f"{function}:{len(checkpoint.tensors[f'{name}.weight'])}"
            for name, function in checkpoint.functions.items()
            if name.startswith(place)
        ]
        if parts:
            settings[place] = ",".join(parts)
    if any(name.startswith("initial_state") for name in checkpoint.tensors):
        settings["initial_state"] = "learned"
    head = checkpoint.head
    if head.output == "codes":
        settings["activation"] = head.activation
    elif head.output != "class":
        settings["output"] = head.output
    return settings


def float_recipe(job: Float, sequences: int) -> Recipe:
    """How its network is trained, on so many sequences: like a checkpoint with its layers, and by
    batches and with random changes as that was."""
    given: dict[str, Any] = {"seed": job.seed, "hidden": job.hidden, "epochs": job.epochs}
    if job.like is not None:
        like = zoo.load(job.like)
        given |= structure_of(like)
        given |= {"batch": trained_with(like, "batch", int)}
        if is_own(job.task):
            given |= {"augment": trained_with(like, "augment", str)}
    return recipe_for(job.task, given, sequences)


def train_float(job: Float) -> dict[str, Any]:
    """Train, or read what was trained."""
    task = load_task(job.task, job.seed)
    recipe = float_recipe(job, len(task.x_train))
    info = _kept(Path(job.path), lambda state: train(task, recipe, state=state), task)
    return {"recipe": asdict(recipe), "seconds": info["seconds"]}


def cut(job: Fewer) -> dict[str, Any]:
    """Remove units, by states of training sequences, or read what was left."""
    source = zoo.load(job.checkpoint)
    task = load(Setting(job.checkpoint, Knobs(), False)).task
    info = _kept(Path(job.path), lambda _: pruned(source, job.units, task.x_train), task, [source])
    return {"seconds": info["seconds"]}


def train_for_all(job: ForAll) -> dict[str, Any]:
    """Train for all genomes, or read what was trained."""
    task = load(Setting(job.checkpoint, job.knobs, False)).task
    source = zoo.load(job.checkpoint)
    info = _kept(
        Path(job.path),
        lambda state: tune_any(
            _fewer(task, job.sequences),
            source,
            job.knobs,
            job.recipe,
            state=state,
        ),
        task,
        [source],
    )
    return {"seconds": info["seconds"]}


def train_for_one(job: ForOne) -> dict[str, Any]:
    """Train for a genome from the weights that are better for it before, judged by validation."""
    before = {
        kind: accuracy(
            _quantised(checkpoint, job.genome, job.knobs), *part_of(checkpoint, "judged")
        )
        for kind, checkpoint in job.starts
    }
    start, checkpoint = max(job.starts, key=lambda each: before[each[0]])
    info, model = train_from(checkpoint, job)
    scores = {part: accuracy(model, *part_of(checkpoint, part)) for part in ("judged", "val")}
    return {
        **scores,
        **_about_model(model, job.knobs),
        "start": start,
        "before": before,
        "best_epoch": info["best_epoch"],
        "seconds": info["seconds"],
    }


def train_from(checkpoint: str, job: ForOne) -> tuple[dict[str, Any], IntModel]:
    """Train for a genome from the weights of a checkpoint: what is known of the training, and the
    network."""
    task = load(Setting(job.starts[0][1], job.knobs, False)).task
    choose = cheapest if job.knobs.activation == "auto" else None
    source, teacher = zoo.load(checkpoint), zoo.load(job.teacher)

    def make(state: Path) -> Checkpoint:
        return tune(
            _fewer(task, job.sequences),
            source,
            job.genome,
            job.knobs,
            job.recipe,
            cheapest=choose,
            state=state,
            teacher=teacher,
        ).checkpoint

    info = _kept(Path(job.path), make, task, [source, teacher])
    return info, _trained_model(job.path, job.knobs)


def look_at(look: Look) -> dict[str, Any]:
    """Accuracy of an integer model, or of the float network where no genome and no record is."""
    start = time.process_time()
    checkpoint = zoo.load(look.checkpoint)
    if look.genome is None and Trained.of(checkpoint) is None:
        scores = {
            part: float_accuracy(checkpoint, *part_of(look.checkpoint, part)) for part in look.parts
        }
    else:
        model = model_of(look)
        scores = {part: accuracy(model, *part_of(look.checkpoint, part)) for part in look.parts}
        scores |= _about_model(model, look.knobs)
    return {**scores, "seconds": round(time.process_time() - start, 1)}
