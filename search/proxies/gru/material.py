"""Shipped GRUs, calibrated, and the accuracy of their genomes without training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ....model import zoo
from ....model.aliases import Array
from ....model.checkpoints.floating import Checkpoint, forward
from ....model.data.tasks import Task, load_task
from ....model.genome import Genome
from ....model.knobs import Knobs
from ....model.quantize.calibrate import Calibration, calibrate
from ....model.quantize.drafts import draft
from ....model.quantize.quantize import without_synthesis
from ....sim import fast
from ...genomes.evaluate import SMALL, accuracy, shifted
from ..collection import balanced
from ..divergence import COMPARED, kl

#: Sequences that a GRU's genome is judged by, at most.
JUDGED = 2000
#: Activation units are tables, so that no figure depends on the choice of piecewise-linear ones.
KNOBS = Knobs(activation="table")


@dataclass(frozen=True)
class Material:
    """A shipped GRU with its data, calibrated; `x` and `y` are what genomes are judged by."""

    task: Task
    checkpoint: Checkpoint
    calibration: Calibration
    x: Array
    y: Array


def calibration_draw(task: Task, number: int) -> Array:
    """Sequences that calibration `number` looks at: 0 is the task's own; any other is drawn from
    the training part with that seed, as many, and at most half of it."""
    if number == 0:
        return task.x_calibration
    count = min(len(task.x_calibration), len(task.x_train) // 2)
    order = np.random.default_rng([number, 101]).permutation(len(task.x_train))
    return task.x_train[np.sort(order[:count])]


@lru_cache(maxsize=4)
def material(name: str, number: int = 0) -> Material:
    """A shipped GRU by its name, calibrated on draw `number` (:func:`calibration_draw`)."""
    checkpoint = zoo.load(name)
    info = checkpoint.info
    task = load_task(info.get("task", "digits-row"), info.get("split_seed", 0))
    task.only_plain("a training-free proxy")
    x, y = shifted(task) if len(task.y_val) < SMALL else (task.x_val, task.y_val)
    indices = np.linspace(0, len(y) - 1, min(JUDGED, len(y))).astype(np.int64)
    calibration = calibrate(checkpoint, calibration_draw(task, number))
    return Material(task, checkpoint, calibration, x[indices], y[indices])


def judge(name: str, number: int, genes: Sequence[int]) -> tuple[float, int]:
    """Validation accuracy and size in bits of a genome of the shipped GRU `name`, with calibration
    data `number` (:func:`calibration_draw`)."""
    of = material(name, number)
    drafted = draft(of.calibration, Genome.from_genes(genes), KNOBS)
    model = drafted.choose(without_synthesis(drafted.groups))
    return accuracy(model, of.x, of.y), model.size_bits


def output_kl(name: str, genomes: Array, *, seed: int = 0) -> Array:
    """As :func:`~..networks.output_kl`, of the shipped GRU `name`."""
    of = material(name)
    x = of.task.x_train[balanced(of.task.y_train, COMPARED, seed)]
    plain = forward(of.checkpoint, x).logits
    head = of.calibration.classifier.curve(8, "tensor").best_scale
    divergences = []
    for row in np.asarray(genomes):
        drafted = draft(of.calibration, Genome.from_genes(row), KNOBS)
        model = drafted.choose(without_synthesis(drafted.groups))
        state = model.info["scales"][-1]["s_h"]["scale"]
        logits = fast.run(model, model.quantize_input(x)).logits * (head * state)
        divergences.append(-kl(plain, logits))
    return np.array(divergences)
