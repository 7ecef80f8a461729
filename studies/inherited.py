"""What a training begins with: weights of another network at several learning rates, and of fewer
units.

Both decide how far a search within a budget gets (:mod:`genogate.search.ladder`), which trains most
networks for a few epochs from the weights of another one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint, accuracy
from genogate.model.checkpoints.pruning import pruned
from genogate.model.data.tasks import load_task
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.qat.layer_pass import LONG
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.trainer import LONG_RATE
from genogate.search.experiment.jobs import ForOne, Look, look_at, train_from
from genogate.search.ladder.plan import SHORT_RATE
from genogate.search.ladder.rungs import PARTS

from .baselines import shipped
from .kept import Case, rows_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
FOLDER = Path("runs/inherited")
SEEDS = (0, 1, 2)
#: Epochs of a full and of a short training, and training sequences of an epoch, by task: as in the
#: race.
TASKS: dict[str, tuple[int, int, int | None]] = {
    "digits-row": (12, 6, None),
    "kws4": (8, 8, None),
    "mnist-row": (4, 1, 24_000),
    "mnist-pixel14": (8, 8, 2_000),
}
#: Shares of the usual learning rate.
SHARES = (1.0, SHORT_RATE, 0.2)
#: Widths that are trained from float weights, and for each share those that go on from there.
ROOT, CHAIN = 6, (6, 5, 4)
#: Parts of the units that are removed.
FEWER = (1, 2, 4, 8)


def _float_network(task: str, seed: int) -> str:
    """The name of the float network that is shipped for a task, of the reference's size."""
    name = shipped(task, seed, 32 if task == "digits-row" else 64)
    assert name is not None
    return name


def _trained(
    task: str, seed: int, bits: int, begin: str, share: float, path: Path, epochs: int
) -> float:
    """Train a homogeneous network from the weights at `begin`; its validation accuracy."""
    source = _float_network(task, seed)
    begin = begin or source
    recipe = Tuning(epochs=epochs, seed=seed, keep="last", lr=share * Tuning().lr)
    knobs = Knobs(activation="table", input_bits=bits, classifier_bits=bits)
    starts = (("start", begin),)
    train_from(
        begin,
        ForOne(starts, source, Genome.uniform(bits), knobs, recipe, TASKS[task][2], str(path)),
    )
    return float(look_at(Look(str(path), None, knobs, ("judged",)))["judged"])


def _chains(task: str, seed: int, folder: Path) -> dict[str, Any]:
    """INT8 from float weights, and the chain for every share."""
    full, short, _ = TASKS[task]
    place = folder / f"{task}-seed{seed}"
    int8 = _trained(task, seed, 8, "", 1.0, place / "int8.safetensors", full)
    root = place / f"int{ROOT}.safetensors"
    rooted = _trained(task, seed, ROOT, "", 1.0, root, full)
    chains = []
    for share in SHARES:
        begin, judged = root, []
        for bits in CHAIN:
            path = place / f"share{share:g}-int{bits}.safetensors"
            judged.append(_trained(task, seed, bits, str(begin), share, path, short))
            begin = path
        chains.append({"share": share, "judged": judged})
    return {"task": task, "seed": seed, "int8": int8, "root": rooted, "chains": chains}


def _smallest(checkpoint: Checkpoint, units: int) -> Checkpoint:
    """`checkpoint` without the units whose weights in all that reads them are smallest."""
    outer, recurrent = (checkpoint.tensors[n] for n in ("classifier.weight", "weight_hh_l0"))
    size = (outer**2).sum(0) + (recurrent**2).sum(0)
    keep = np.sort(np.argsort(-size)[:units])
    rows = np.concatenate([gate * checkpoint.hidden_size() + keep for gate in range(3)])
    tensors = {
        "classifier.weight": outer[:, keep],
        "classifier.bias": checkpoint.tensors["classifier.bias"],
        "weight_hh_l0": recurrent[rows][:, keep],
    }
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        tensors[name] = checkpoint.tensors[name][rows]
    return Checkpoint(tensors, checkpoint.info)


def _cut(task: str, seed: int) -> dict[str, Any]:
    """Validation accuracy of a float network with fewer units, without training."""
    checkpoint, data = zoo.load(_float_network(task, seed)), load_task(task, seed)
    part, units = data.scored("val"), checkpoint.hidden_size()
    left = [units - fewer * units // PARTS for fewer in FEWER]
    return {
        "task": task,
        "seed": seed,
        "units": [units, *left],
        "whole": accuracy(checkpoint, *part),
        "regression": [
            accuracy(pruned(checkpoint, [count], data.x_calibration), *part) for count in left
        ],
        "smallest": [accuracy(_smallest(checkpoint, count), *part) for count in left],
    }


def measure(
    say: Say,
    tasks: Sequence[str] = tuple(TASKS),
    seeds: Sequence[int] = SEEDS,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """Every task on every seed; after `budget` no other begins, and the next call goes on."""
    fewer = [
        Case(folder / f"{t}-seed{s}-units.json", f"{t}, seed {s}: units", partial(_cut, t, s), "u")
        for t in tasks
        for s in seeds
    ]
    chains = [
        Case(
            folder / f"{t}-seed{s}-rates.json",
            f"{t}, seed {s}: learning rates",
            partial(_chains, t, s, folder),
            t,
        )
        for t in tasks
        for s in seeds
    ]
    units, _ = rows_of(fewer, say, None)
    rates, missing = rows_of(chains, say, budget)
    return {"units": units, "rates": rates, "missing": missing}


def _rates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    body = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task]
        for k, share in enumerate(row["share"] for row in of[0]["chains"]):
            lost = [
                with_error([100 * (row["int8"] - row["chains"][k]["judged"][step]) for row in of])
                for step in range(len(CHAIN))
            ]
            body.append((task, str(len(of)), f"{share:g}", *lost))
    head = ("task", "seeds", "share of the rate", *(f"INT{bits}" for bits in CHAIN))
    return table(head, body)


def _units(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    body = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task]
        for k, units in enumerate(of[0]["units"][1:]):
            lost = [
                with_error([100 * (row["whole"] - row[name][k]) for row in of])
                for name in ("regression", "smallest")
            ]
            body.append((task, str(len(of)), f"{units} of {of[0]['units'][0]}", *lost))
    return table(("task", "seeds", "units", "by regression", "smallest weights"), body)


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "## What a training begins with",
        "",
        "A search within a budget trains most networks for a few epochs from the weights of "
        "another network. Points of validation accuracy (with shifted copies where the part is "
        "small) lost against INT8 that was trained as long as a full training, means over the "
        "seeds ± one standard error; epochs as in [the race](race.md).",
        "",
        "**The learning rate.** INT6 is trained fully from float weights; from it a short training "
        "goes on with INT6 itself, with INT5, and from that with INT4, at shares of the usual "
        f"rate. The search takes {SHORT_RATE:g} of it, and all of it for sequences of more than "
        f"{LONG} steps, whose rate is {LONG_RATE:g} of the others' already: on "
        "mnist-pixel14 INT4 alone tells the shares apart. Epochs of kws4 and mnist-pixel14 have so "
        "few updates that a short training is as long as a full one.",
        "",
    ]
    if data["missing"]:
        lines += [f"Not measured: {data['missing']} tasks and seeds.", ""]
    lines += [
        *_rates(data["rates"]),
        "",
        "**Fewer units.** Points that float networks lose without any training when units are "
        "removed: those that the others replace best, their states folded into the others' "
        "weights by linear regression (`model/checkpoints/pruning.py`), and those whose weights, "
        "in all that reads them, have the least squares. From the first of these trainings begin "
        "where a search removes units.",
        "",
    ]
    return [*lines, *_units(data["units"])]
