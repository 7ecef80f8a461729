"""What a search that judges by folds starts from: a float network for every fold and size.

A checkpoint that was trained on a task's training part has seen most of every fold, so it cannot
start a network that the fold judges; its like is trained on the other folds.
"""

from pathlib import Path

import numpy as np

from ...model import zoo
from ...model.checkpoints.recipe import recipe_for
from ...model.data.folds import fold_name
from ...model.errors import InputError
from ..experiment.duration import seconds_of_update
from ..experiment.jobs import Float
from ..genomes.evaluate import Setting, load
from .plan import Plan

#: Share of a budget that the float networks may take.
SHARE = 0.5


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


def check_floats(jobs: list[list[Float]], plan: Plan) -> None:
    """Raises :class:`InputError` where the float networks that are still to be trained would take
    more than :data:`SHARE` of the budget."""
    seconds = 0.0
    task = load(Setting(plan.checkpoints[0], plan.knobs, False)).task
    sequences = round((len(task.y_train) + len(task.y_val)) * (1 - 1 / plan.folds))
    for number in range(len(plan.checkpoints)):
        missing = sum(not Path(row[number].path).exists() for row in jobs)
        if missing:
            recipe = recipe_for(task.name, {"hidden": jobs[0][number].hidden}, sequences)
            updates = recipe.epochs * -(-sequences // recipe.batch)
            seconds += missing * updates * seconds_of_update(task, recipe.hidden, recipe.batch)
    if seconds > SHARE * plan.budget:
        raise InputError(
            f"budget: the float networks of {plan.folds} folds take about {seconds / 60:.1f} CPU "
            f"minutes here, more than half of it: give --budget {int(np.ceil(seconds / 30))}m or "
            "more, or fewer --folds"
        )
