"""What a genome is worth: accuracy by the compiled golden model, size, and silicon by Yosys.

Workers quantise and simulate; all hardware that no genome of a batch has had before goes to Yosys
together, from here, and is measured once ever (:func:`genogate.synth.area.measure`).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from ..hdl.schedule import cycles_per_step
from ..model import zoo
from ..model.calibrate import Calibration, calibrate
from ..model.errors import InputError
from ..model.genome import Genome
from ..model.integer import IntModel
from ..model.knobs import Knobs
from ..model.quantize import Draft, draft, without_synthesis
from ..model.tasks import Task, load_task
from ..sim import fast
from ..synth.area import area_report, cheapest, prepare, script_hash
from ..synth.yosys import find

#: What can be minimised: name -> (unit, whether the search divides it by that of homogeneous INT8).
OBJECTIVES = {
    "accuracy": ("share of wrong classes on the validation part", False),
    "size": ("bits of all parameters", True),
    "cells": ("Yosys cells, summed over modules", True),
    "memory": ("memory bits", True),
    "cycles": ("cycles per time step", True),
    "silicon": ("cells + k memory bits", True),
}
#: Cells that a memory bit counts as in ``silicon``: a 6-transistor cell against some 7.8
#: transistors a cell (INT8 core of digits-row: 32,222 transistors in 4,133 cells).
BIT_WEIGHT = 0.75
Say = Callable[[str], None]
#: Genomes whose new hardware goes to Yosys together.
BATCH = 64


@dataclass(frozen=True)
class Setting:
    """Everything besides the genome that an evaluation depends on.

    checkpoint : name or file of a float checkpoint
    silicon : whether hardware is measured
    """

    checkpoint: str
    knobs: Knobs
    silicon: bool = True

    @property
    def key(self) -> str:
        """A hash of all that results depend on, versions included."""
        material = load(self)
        about = [
            material.checkpoint_hash, material.task.name, material.task.split_hash,
            self.knobs.to_json(), self.silicon,
            [find().version, script_hash()] if self.silicon else None,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Material:
    """What a setting names, loaded: calibration made from the training part."""

    checkpoint_hash: str
    layers: int
    task: Task
    calibration: Calibration


@lru_cache(maxsize=2)
def load(setting: Setting) -> Material:
    """Load and calibrate once per process. Raises :class:`InputError` as :mod:`.zoo` does."""
    checkpoint = zoo.load(setting.checkpoint)
    task = load_task(
        checkpoint.info.get("task", "digits-row"), checkpoint.info.get("split_seed", 0)
    )
    known = checkpoint.info.get("split_hash", task.split_hash)
    if known != task.split_hash:
        raise InputError(
            f"checkpoint {setting.checkpoint}: trained on another split of {task.name}"
        )
    return Material(checkpoint.hash, checkpoint.layers, task, calibrate(checkpoint, task.x_train))


def accuracy(model: IntModel, x: np.ndarray, y: np.ndarray) -> float:
    """Share of right classes, by the compiled twin of the golden model."""
    return float((fast.run(model, model.quantize_input(x)).classes == y).mean())


def _draft(setting: Setting, genome: Genome) -> Draft:
    return draft(load(setting).calibration, genome, setting.knobs)


def _judge(setting: Setting, model: IntModel) -> dict[str, Any]:
    """Everything but the silicon of a model."""
    task = load(setting).task
    return {
        "accuracy": accuracy(model, task.x_val, task.y_val),
        "size": model.size_bits,
        "cycles": cycles_per_step(model, setting.knobs.lanes_x, setting.knobs.lanes_h),
    }


def evaluate(
    setting: Setting, genomes: Sequence[Genome], *, workers: int = 1, say: Say = lambda text: None
) -> Iterator[tuple[Genome, dict[str, Any]]]:
    """Results of `genomes`, each as soon as it is known: ``accuracy`` (validation part), ``size``,
    ``cycles``, and with silicon ``cells``, ``memory``, ``silicon``.

    The order is that of the genomes; the same genome always has the same result.
    """
    pool = Parallel(n_jobs=workers, return_as="generator")
    lanes = setting.knobs.lanes_x, setting.knobs.lanes_h
    for start in range(0, len(genomes), BATCH):
        batch = genomes[start : start + BATCH]
        drafts = list(pool(delayed(_draft)(setting, genome) for genome in batch))
        if setting.silicon:
            groups = [group for made in drafts for group in made.groups]
            chosen = iter(cheapest(groups, say))
            models = [made.choose([next(chosen) for _ in made.groups]) for made in drafts]
            prepare([(model, *lanes) for model in models], say)
        else:
            models = [made.choose(without_synthesis(made.groups)) for made in drafts]
        judged = pool(delayed(_judge)(setting, model) for model in models)
        for genome, model, result in zip(batch, models, judged, strict=True):
            if setting.silicon:
                area = area_report(model, *lanes, flat=False).total
                result |= {"cells": area.cells, "memory": area.memory_bits,
                           "silicon": area.cells + BIT_WEIGHT * area.memory_bits}  # fmt: skip
            yield genome, result


def record(setting: Setting) -> dict[str, Any]:
    """A JSON-able account of a setting."""
    material = load(setting)
    return {
        "checkpoint": setting.checkpoint, "checkpoint_hash": material.checkpoint_hash,
        "task": material.task.name, "split_hash": material.task.split_hash,
        "knobs": asdict(setting.knobs), "key": setting.key,
        "yosys": find().version if setting.silicon else None,
    }  # fmt: skip


def on_test(setting: Setting, genomes: Sequence[Genome]) -> list[float]:
    """Accuracy of `genomes` on the test part, which no search has looked at. For reports alone."""
    material = load(setting)
    choose = cheapest if setting.silicon else without_synthesis
    drafts = [_draft(setting, genome) for genome in genomes]
    x, y = material.task.x_test, material.task.y_test
    return [accuracy(made.choose(choose(made.groups)), x, y) for made in drafts]
