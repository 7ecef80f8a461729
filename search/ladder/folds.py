"""What a search that judges by folds starts from: a float network for every fold and size.

A checkpoint that was trained on a task's training part has seen most of every fold, so it cannot
start a network that the fold judges; its like is trained on the other folds.
"""

from pathlib import Path

import numpy as np

from ...model import zoo
from ...model.checkpoints.floating import Checkpoint
from ...model.data.folds import cut_fold, fold_name
from ...model.errors import InputError
from ...model.qat.trainer import trained_with
from ..experiment.duration import seconds_of_update
from ..experiment.jobs import Float, float_recipe, structure_of
from ..genomes.evaluate import Setting, load
from .plan import Plan

#: Share of a budget that the float networks may take.
SHARE = 0.5


def check_layers(name: str) -> None:
    """Raises :class:`InputError` for a checkpoint that no float network is trained like."""
    checkpoint = zoo.load(name)
    if len({checkpoint.hidden_size(number) for number in range(checkpoint.layers)}) > 1:
        raise InputError(
            f"folds: the layers of {name} have different numbers of units, and no network is "
            "trained like that; leave it out"
        )


def fold_floats(folder: Path, plan: Plan) -> list[list[Float]]:
    """Trainings of float networks, by fold and size: as the task's are, of the layers that the
    plan's checkpoints have."""
    place = Path(plan.floats) if plan.floats is not None else folder / "float"
    jobs = []
    for fold in range(1, plan.folds + 1):
        row = []
        for size, name in enumerate(plan.checkpoints):
            task, checkpoint = load(Setting(name, plan.knobs, False)).task, zoo.load(name)
            path = str(place / f"{size}-fold{fold}of{plan.folds}.safetensors")
            own = fold_name(task.name, fold, plan.folds)
            row.append(Float(own, task.split_seed, checkpoint.hidden_size(), None, path, name))
        jobs.append(row)
    return jobs


def remove_others(jobs: list[list[Float]], plan: Plan) -> None:
    """Remove float networks that are not those of the jobs: a search that ended before INT8 was
    trained leaves its own in the folder, and the next there may be another."""
    whole = load(Setting(plan.checkpoints[0], plan.knobs, False)).task
    for fold, row in enumerate(jobs, 1):
        there = [job for job in row if Path(job.path).exists()]
        split = cut_fold(whole, fold, plan.folds).split_hash if there else ""
        for job in there:
            network, like = zoo.load(job.path), zoo.load(str(job.like))
            data = [network.info.get(name) for name in ("task", "split_seed", "split_hash")]
            if data != [job.task, job.seed, split] or _form(network) != _form(like):
                Path(job.path).unlink()


def _form(checkpoint: Checkpoint) -> object:
    """What a float network that is trained like another has of it."""
    augment = trained_with(checkpoint, "augment", str)
    return checkpoint.hidden_size(), structure_of(checkpoint), augment


def check_floats(jobs: list[list[Float]], plan: Plan) -> None:
    """Raises :class:`InputError` where the float networks that are still to be trained would take
    more than :data:`SHARE` of the budget."""
    seconds = 0.0
    task = load(Setting(plan.checkpoints[0], plan.knobs, False)).task
    sequences = round((len(task.y_train) + len(task.y_val)) * (1 - 1 / plan.folds))
    for number in range(len(plan.checkpoints)):
        missing = sum(not Path(row[number].path).exists() for row in jobs)
        if missing:
            recipe = float_recipe(jobs[0][number], sequences)
            updates = recipe.epochs * -(-sequences // recipe.batch)
            seconds += missing * updates * seconds_of_update(task, recipe.hidden, recipe.batch)
    if plan.floats_pace is None and seconds > SHARE * plan.budget:
        raise InputError(
            f"budget: the float networks of {plan.folds} folds take about {seconds / 60:.1f} CPU "
            f"minutes here, more than half of it: give --budget {int(np.ceil(seconds / 30))}m or "
            "more, or fewer --folds"
        )
