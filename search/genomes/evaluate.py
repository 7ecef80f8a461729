"""What a genome is worth: accuracy by the compiled golden model, size, and silicon by Yosys.

Workers quantise and simulate; all hardware that no genome of a batch has had before goes to Yosys
together, from here, and is measured once ever (:func:`genogate.synth.area.measure`). A genome that
is too inaccurate to be of use is not measured at all.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...model import zoo
from ...model.checkpoints.floating import Checkpoint
from ...model.data.tasks import Task, is_own, load_task, may_have_moved, whole_of
from ...model.errors import InputError, shown
from ...model.genome import Genome
from ...model.integer import IntModel
from ...model.knobs import Knobs
from ...model.quantize.calibrate import Calibration, calibrate
from ...model.quantize.drafts import Draft, draft
from ...model.quantize.quantize import without_synthesis
from ...sim.fast import accuracy
from ...synth import estimate
from ...synth.recipes import script_hash
from ...synth.report import cheapest, totals
from ...synth.targets import prices
from ...synth.targets.figures import measure as measure_target
from ...synth.targets.figures import version as target_version
from ...synth.yosys import find
from ..pool.backends import Pool

#: What can be minimised: name -> (unit, whether the search divides it by that of homogeneous INT8).
OBJECTIVES = {
    "accuracy": ("share of wrong classes on the validation part, see Setting", False),
    "size": ("bits of all parameters", True),
    "weights": ("bits of the GRU's weight matrices alone", True),
    "cells": ("Yosys cells, summed over modules", True),
    "memory": ("memory bits", True),
    "cycles": ("cycles per time step", True),
    **{name: (unit, True) for name, unit in prices.UNITS.items()},
}
#: Objectives of no target that Yosys has to measure.
GENERIC = ("cells", "memory")
#: All objectives that have to be measured, or estimated.
MEASURED = (*GENERIC, *prices.UNITS)
#: What results of a target hold beside its figures.
SHARES = ("logic_um2", "rom_um2", "ram_um2")
Say = Callable[[str], None]
#: Validation sequences below which shifted copies are judged too.
SMALL = 1000
#: Genomes whose new hardware goes to Yosys together.
BATCH = 64


@dataclass(frozen=True)
class Setting:
    """Everything besides the genome that an evaluation depends on.

    checkpoint : name or file of a float checkpoint
    silicon : whether cells and memory bits are measured
    shifts : whether a small validation part (:data:`SMALL`) is judged together with its copies that
        are shifted as training may shift (``Task.max_shift``). On digits-row, with 189 validation
        images, that ranks genomes more as the test part does, and in finer steps
    estimate : whether hardware is not measured but estimated (:mod:`genogate.synth.estimate`)
    target : whose figures are in the results too; ``generic`` has none
    memories : what holds bits on sky130: ``flops``, ``latches`` or ``sram``
    """

    checkpoint: str
    knobs: Knobs
    silicon: bool = True
    shifts: bool = True
    estimate: bool = False
    target: str = "generic"
    memories: str = "flops"

    @property
    def hardware(self) -> bool:
        """Whether anything of the hardware is measured or estimated."""
        return self.silicon or self.target != "generic"

    @property
    def key(self) -> str:
        """A hash of all that results depend on, versions included."""
        return _key(self, find().version if self.hardware else "")


@lru_cache(maxsize=4096)
def _key(setting: Setting, yosys: str) -> str:
    material = load(setting)
    parts = [
        material.checkpoint_hash,
        material.task.name,
        material.task.split_hash,
        setting.knobs.identity,
        setting.silicon,
        setting.shifts,
        ["estimate", estimate.version()]
        if setting.silicon and setting.estimate
        else [yosys, script_hash()]
        if setting.silicon
        else None,
    ]
    if setting.target != "generic":
        parts.append([setting.target, setting.memories])
        parts.append(
            ["estimate", prices.version(), estimate.version()]
            if setting.estimate
            else [yosys, script_hash(), target_version(setting.target)]
        )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Material:
    """What a setting names, loaded: calibration made from the training part.

    layers, dense : numbers of GRU and dense layers
    x_shifted, y_shifted : the validation part and, where it is small, its shifted copies
    """

    checkpoint_hash: str
    layers: int
    dense: int
    task: Task
    calibration: Calibration
    x_shifted: np.ndarray
    y_shifted: np.ndarray

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of GRU and dense layers."""
        return self.layers, self.dense


def load(setting: Setting) -> Material:
    """Load and calibrate once per process. Raises :class:`InputError` as :mod:`~genogate.model.zoo`
    does."""
    return _material(setting.checkpoint)


def check_task(checkpoint: str, task: str | None) -> None:
    """Raises :class:`InputError` where `checkpoint` (a name or a file) says that it was trained on
    another task than `task`. No data is loaded for that; one's own may have been moved."""
    trained_on = zoo.load(checkpoint).info.get("task")
    if None in (trained_on, task) or trained_on == task:
        return
    if not may_have_moved(trained_on, task):
        raise InputError(
            f"checkpoint {checkpoint}: trained on {shown(trained_on)}, not on {task}; leave it "
            "out, or give one of that task"
        )


#: Remedy where one's own data is no longer where a checkpoint says.
MOVED = "say where its data is: genogate import {} --task FILE.npz --out NEW.safetensors"

#: Checkpoints of one task, or of a fold of it, share its data.
_task = lru_cache(maxsize=6)(load_task)


def _task_of(name: str, checkpoint: Checkpoint) -> Task:
    """The data of the checkpoint called `name`, where that says it is."""
    trained_on = checkpoint.info.get("task", "digits-row")
    try:
        return _task(trained_on, checkpoint.info.get("split_seed", 0))
    except InputError:
        path = whole_of(str(trained_on))
        if not is_own(path) or not checkpoint.info.get("split_hash") or Path(path).exists():
            raise
        raise InputError(
            f"{shown(path)}, the data of checkpoint {name}, is not there", MOVED.format(name)
        ) from None


@lru_cache(maxsize=16)
def _material(name: str) -> Material:
    checkpoint = zoo.load(name)
    task = _task_of(name, checkpoint)
    split_hash = checkpoint.info.get("split_hash", task.split_hash)
    if split_hash != task.split_hash:
        raise InputError(f"checkpoint {name}: trained on another split of {task.name}")
    calibration = calibrate(checkpoint, task.x_calibration)
    x, y = shifted(task) if len(task.y_val) < SMALL else task.scored("val")
    return Material(checkpoint.hash, *checkpoint.counts, task, calibration, x, y)


def shifted(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The validation part moved by up to the task's `max_shift` in time and features, zeros coming
    in, as training does: sequences and classes. The part itself where nothing may be moved."""
    up, aside = task.max_shift
    if task.max_shift == (0, 0):
        return task.scored("val")
    x = np.pad(task.x_val, ((0, 0), (up, up), (aside, aside)))
    steps, features = task.x_val.shape[1:]
    moved = [
        x[:, a : a + steps, b : b + features]
        for a in range(2 * up + 1)
        for b in range(2 * aside + 1)
    ]
    return np.concatenate(moved), np.tile(task.y_val, len(moved))


@dataclass(frozen=True)
class Case:
    """A genome to be evaluated.

    floor : accuracy below which its hardware is not measured
    """

    setting: Setting
    genome: Genome
    floor: float = 0.0


def draft_of(setting: Setting, genome: Genome) -> Draft:
    """A network of `setting` whose activation units are still to be chosen."""
    return draft(load(setting).calibration, genome, setting.knobs)


def _judge(case: tuple[Setting, IntModel]) -> dict[str, Any]:
    """Everything but the silicon of a model."""
    setting, model = case
    material = load(setting)
    task = material.task
    part = (material.x_shifted, material.y_shifted) if setting.shifts else task.scored("val")
    return {"accuracy": accuracy(model, *part), **_counted(model, setting.knobs)}


def _counted(model: IntModel, knobs: Knobs) -> dict[str, Any]:
    """What follows from the integers alone."""
    return {
        "size": model.size_bits,
        "weights": model.weight_bits,
        "cycles": Design.of(model, **knobs.hardware).cycles_per_step,
    }


def _begin(case: Case) -> tuple[Draft | None, dict[str, Any]]:
    """A network with activation units chosen without Yosys; nothing more of it where that one is
    below the floor, or no hardware is asked for, or an estimate of it."""
    setting, drafted = case.setting, draft_of(case.setting, case.genome)
    if setting.hardware and setting.estimate:
        model = drafted.choose(estimate.cheapest(drafted.groups))
        result = _judge((setting, model))
        if result["accuracy"] >= case.floor:
            result |= _estimated(model, setting)
        return None, result
    result = _judge((setting, drafted.choose(without_synthesis(drafted.groups))))
    measured = setting.hardware and result["accuracy"] >= case.floor
    return drafted if measured else None, result


def _estimated(model: IntModel, setting: Setting) -> dict[str, Any]:
    """Hardware by estimate."""
    design = Design.of(model, **setting.knobs.hardware)
    result: dict[str, Any] = {}
    if setting.silicon:
        area = estimate.total(design)
        result |= {"cells": area.cells, "memory": area.memory_bits}
    if setting.target != "generic":
        result |= prices.figures(setting.target, design, setting.memories)
    return result


def costs_of(case: tuple[Setting, Genome]) -> dict[str, Any]:
    """What is known of a genome without running it: ``size``, ``weights``, ``cycles``, and where
    hardware is asked for ``memory`` and, by estimate, ``cells``; figures of a target by estimate.
    """
    setting, genome = case
    drafted = draft_of(setting, genome)
    units = estimate.cheapest if setting.hardware else without_synthesis
    model = drafted.choose(units(drafted.groups))
    costs = _counted(model, setting.knobs)
    return costs | _estimated(model, setting) if setting.hardware else costs


def evaluate_cases(
    cases: Sequence[Case], pool: Pool, say: Say = lambda text: None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and result of each case, as they become known: ``accuracy`` (validation part),
    ``size``, ``weights``, ``cycles``, and ``cells``, ``memory`` and the figures of the target where
    hardware was measured. All cases have the same target.

    A case that is not below its floor has the same result in any company. Raises
    :class:`InputError` where workers or Yosys fail; what was yielded before that stands.
    """
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        drafts: dict[int, Draft] = {}
        results: dict[int, dict[str, Any]] = {}
        for done, (number, (drafted, result)) in enumerate(pool.map(_begin, batch), 1):
            say(f"Quantising: {done} of {len(batch)} genomes")
            if drafted is None:
                yield start + number, result
            else:
                drafts[number], results[number] = drafted, result
        if not drafts:
            continue
        order = sorted(drafts)
        # A cluster measures hardware too; beside this process there are only its own workers.
        where: dict[str, Any] = (
            {"remote": pool.map} if pool.backend in ("dask", "ray") else {"workers": pool.workers}
        )
        groups_of_all = [group for k in order for group in drafts[k].groups]
        choices = iter(cheapest(groups_of_all, say, **where))
        models, again = {}, []
        for number in order:
            groups = drafts[number].groups
            units = [next(choices) for _ in groups]
            models[number] = drafts[number].choose(units)
            if units != without_synthesis(groups):
                again.append(number)
        knobs = {k: batch[k].setting.knobs for k in order}
        designs = [Design.of(models[k], **knobs[k].hardware) for k in order]
        measured = _measured([batch[k].setting for k in order], designs, where, say)
        judged = pool.map(_judge, [(batch[k].setting, models[k]) for k in again])
        for done, (index, result) in enumerate(judged, 1):
            say(f"Accuracy: {done} of {len(again)} genomes")
            results[again[index]] = result
        for number, hardware in zip(order, measured, strict=True):
            yield start + number, results[number] | hardware


def _measured(
    settings: Sequence[Setting], designs: Sequence[Design], where: dict[str, Any], say: Say
) -> list[dict[str, Any]]:
    """Hardware of designs by Yosys. A target's figures are always measured on this machine."""
    rows: list[dict[str, Any]] = [{} for _ in designs]
    silicon, target, memories = (
        getattr(settings[0], name) for name in ("silicon", "target", "memories")
    )
    if silicon:
        for row, area in zip(rows, totals(designs, say, **where), strict=True):
            row.update(cells=area.cells, memory=area.memory_bits)
    if target != "generic":
        workers = where.get("workers")
        figures = measure_target(target, designs, memories, say, workers)
        for row, figure in zip(rows, figures, strict=True):
            row.update(figure)
    return rows


def evaluate(
    setting: Setting, genomes: Sequence[Genome], *, workers: int = 1, say: Say = lambda text: None
) -> Iterator[tuple[Genome, dict[str, Any]]]:
    """Results of `genomes` (:func:`evaluate_cases`) with the same setting, in their order."""
    with Pool("processes" if workers > 1 else "serial", workers) as pool:
        results = dict(evaluate_cases([Case(setting, genome) for genome in genomes], pool, say))
    for number, genome in enumerate(genomes):
        yield genome, results[number]


def record(setting: Setting) -> dict[str, Any]:
    """A JSON-able account of a setting."""
    material = load(setting)
    return {
        "checkpoint": setting.checkpoint,
        "checkpoint_hash": material.checkpoint_hash,
        "task": material.task.name,
        "split_hash": material.task.split_hash,
        "knobs": asdict(setting.knobs),
        "key": setting.key,
        "judged_on": len(material.y_shifted) if setting.shifts else len(material.task.y_val),
        "yosys": find().version if setting.hardware else None,
        "estimate": setting.estimate,
        "target": setting.target,
        "memories": setting.memories,
        **({} if setting.target == "generic" else {"prices": prices.errors(setting.target)}),
    }


def on_test(cases: Sequence[Case]) -> list[float]:
    """Accuracy of each on the test part, which no search has looked at. For reports alone."""
    drafts = [draft_of(case.setting, case.genome) for case in cases]
    groups = [group for drafted in drafts for group in drafted.groups]
    silicon = any(case.setting.hardware for case in cases)
    choices = iter(cheapest(groups) if silicon else without_synthesis(groups))
    shares = []
    for case, drafted in zip(cases, drafts, strict=True):
        task = load(case.setting).task
        model = drafted.choose([next(choices) for _ in drafted.groups])
        shares.append(accuracy(model, *task.scored("test")))
    return shares
