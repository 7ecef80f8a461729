"""Distillation of a denoiser (the third question of arXiv 2402.12263): does a teacher help?

One genome, trained for equal epochs without a teacher, taught by the float network that it starts
from, and taught by a larger one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.data.tasks import load_task
from genogate.model.genome import Genome
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.tune import tune
from genogate.search.experiment.jobs import Float, Look, look_at, train_float

from .denoise import FOLDER, GENOMES, KNOBS, LAYERS, NAME, float_network
from .kept import Case, rows_of
from .spread import with_error

Say = Callable[[str], None]
#: The genome that loses most without training, and units of the larger teacher.
GENOME, LARGER = "INT4", 96
#: Epochs of every training for the genome; float networks train as the task has it.
EPOCHS = 4
SEEDS = (0, 1, 2)
TEACHERS = ("none", "float", "larger")
#: What they are called in the table.
LABELS = {
    "none": "no teacher",
    "float": "the float network it starts from",
    "larger": f"a float network of {LARGER} units",
}
#: Teachers themselves, in float, of seed 0.
THEMSELVES = {
    "the float network itself": "the network that training starts from",
    "the larger one itself": f"the network of {LARGER} units",
}


def larger_network(seed: int, folder: Path, epochs: int | None = None) -> str:
    """The float network of more units, trained where it is not there.

    Every seed has its own: the test part of one is in the training part of another.
    """
    file = folder / f"float-{LARGER}-units-seed{seed}.safetensors"
    if not file.exists():
        train_float(Float(NAME, seed, LARGER, epochs, str(file)))
    return str(file)


def taught(
    teacher: str,
    seed: int,
    folder: Path,
    epochs: int = EPOCHS,
    float_epochs: int | None = None,
) -> str:
    """The file of the network trained for :data:`GENOME` with that teacher."""
    genome = Genome((GENOMES[GENOME],) * LAYERS)
    source = float_network(seed, folder, float_epochs)
    file = folder / f"taught-{epochs}-epochs-seed{seed}-{teacher}.safetensors"
    if not file.exists():
        floating = zoo.load(source)
        recipe = Tuning(epochs=epochs, seed=seed, keep="last", distil=0.5 * (teacher != "none"))
        state = file.with_suffix(".state")
        larger = None
        if teacher == "larger":
            larger = zoo.load(larger_network(seed, folder, float_epochs))
        task = load_task(NAME, floating.info.get("split_seed", 0))
        tuned = tune(task, floating, genome, KNOBS, recipe, state=state, teacher=larger)
        tuned.checkpoint.save(file)
        state.unlink(missing_ok=True)
    return str(file)


def _row(
    seed: int, teacher: str, folder: Path, epochs: int, float_epochs: int | None
) -> dict[str, Any]:
    """Scores of the network of a teacher and a seed, or of a teacher itself."""
    if teacher in LABELS:
        path = taught(teacher, seed, folder, epochs, float_epochs)
    elif teacher == "the larger one itself":
        path = larger_network(seed, folder, float_epochs)
    else:
        path = float_network(seed, folder, float_epochs)
    # As it was trained; teachers themselves in float.
    scores = look_at(Look(path, None, KNOBS, ("val", "test")))
    row = {"seed": seed, "teacher": teacher}
    return row | {part: 100 * scores[part] for part in ("val", "test")}


def measure(
    say: Say,
    quick: Mapping[str, Any] | None = None,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """Every teacher and seed that the budget has time for: ``{"rows": [...], "missing": n}``."""
    given = quick or {}
    epochs, float_epochs = given.get("epochs", EPOCHS), given.get("epochs")
    pairs = [(seed, teacher) for seed in given.get("seeds", SEEDS) for teacher in TEACHERS]
    cases = (
        Case(
            folder / f"distil-{seed}-{teacher.replace(' ', '-')}.json",
            f"distillation, seed {seed}: {LABELS.get(teacher, teacher)}",
            partial(_row, seed, teacher, folder, epochs, float_epochs),
        )
        for seed, teacher in [*pairs, *((0, itself) for itself in THEMSELVES)]
    )
    rows, missing = rows_of(cases, say, budget)
    recipe = asdict(Tuning())
    return {"rows": rows, "missing": missing, "epochs": epochs, "distil": recipe["distil"]}


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = [row for row in data["rows"] if row["teacher"] in LABELS]
    lines = [
        "## Speech enhancement: distillation",
        "",
        f"The denoiser of the [study of few bits](denoise.md) trained for {GENOME}, "
        f"{data['epochs']} epochs from the same float weights, the last kept, without a teacher "
        f"and with one: {100 * data['distil']:.0f} % of the loss is the distance to the teacher's "
        "gains then, the rest to the ideal ones. SI-SDR gain of the test part from the spectra, as "
        "the task scores; difference to training without a teacher by seeds that have both.",
        "",
    ]
    if data["missing"]:
        lines += [f"{data['missing']} networks are not trained yet.", ""]
    lines += [
        "| teacher | seeds | SI-SDR gain, dB | to no teacher, dB | on validation, dB |",
        "|---|---|---:|---:|---:|",
    ]
    alone = {row["seed"]: row for row in rows if row["teacher"] == "none"}
    for teacher, label in LABELS.items():
        mine = [row for row in rows if row["teacher"] == teacher]
        if not mine:
            continue
        change = "" if teacher == "none" else _change(mine, alone)
        seeds = ", ".join(str(row["seed"]) for row in mine)
        cells = [label, seeds, f"{_mean(mine, 'test'):.2f}", change, f"{_mean(mine, 'val'):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    teachers = {row["teacher"]: row["test"] for row in data["rows"] if row["teacher"] in THEMSELVES}
    if teachers:
        gains = ", ".join(f"{THEMSELVES[name]} {gain:.2f} dB" for name, gain in teachers.items())
        lines += ["", f"Teachers themselves, in float, seed 0: {gains}."]
    return [*lines, ""]


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _change(rows: Sequence[Mapping[str, Any]], alone: Mapping[int, Mapping[str, Any]]) -> str:
    return with_error(
        [row["test"] - alone[row["seed"]]["test"] for row in rows if row["seed"] in alone]
    )
