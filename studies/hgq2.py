"""Beside HGQ2, which learns the widths of every weight and value by gradient (arXiv 2405.00645).

On each task HGQ2 trains from random weights for as many epochs as our networks had in all: those of
the float network and those for the genome. Both have the same parts of the data and three seeds;
what is compared are means over the seeds.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.checkpoints.recipe import recipe_for
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.files import read_json
from genogate.model.genome import GENES, Genome
from genogate.model.qat.recipe import Tuning
from genogate.search.experiment.jobs import ForOne, Look, look_at, train_from
from genogate.search.experiment.summary import Found
from genogate.search.ladder.ladder import search
from genogate.search.ladder.plan import Plan

from .contestants import FLOATS, KNOBS, Race, networks_of
from .kept import Case, rows_of
from .part_tables import table
from .registry import path_of

Say = Callable[[str], None]
FOLDER = Path("runs/hgq2")
#: Names the Python of an environment with ``pip install hgq2==0.2.0 jax==0.10.2``.
PYTHON = "GENOGATE_HGQ2"
SEEDS = (0, 1, 2)
#: What is compared beside accuracy: names, and those of the rows.
COSTS = {"weights": "bits", "EBOPs": "ebops"}


@dataclass(frozen=True)
class Beside:
    """HGQ2's trainings on a task.

    betas : weights of EBOPs in its loss
    bits : that weights begin with, without sign
    sizes, drops, budget : of our searches for the smallest network, one for each of the points that
        may be lost; none: our networks are those of the task's experiment
    plain : bits of weights and of all else, of networks that are trained for what the float
        network leaves of the epochs, the last one kept
    """

    task: str
    units: int
    epochs: int
    batch: int
    lr: float
    betas: tuple[float, ...]
    bits: tuple[int, ...]
    sizes: tuple[int, ...] = ()
    drops: tuple[float, ...] = ()
    budget: float = 0.0
    plain: tuple[tuple[int, int], ...] = ()


FULL = (
    Beside(
        "JapaneseVowels",
        units=32,
        epochs=200,
        batch=32,
        lr=0.005,
        betas=(1e-6, 1e-5, 3e-5),
        bits=(2, 5),
        sizes=(32, 24),
        drops=(0.5, 2.0),
        budget=180,
        plain=((2, 8), (2, 6), (2, 4), (3, 6)),
    ),
    Beside("mnist-row", 64, 20, 128, 0.005, (3e-7, 1e-6), (2,)),
)


def _arrays(task: str, seed: int) -> Path:
    """The parts of a task, for another Python."""
    path = FOLDER / f"{task}-seed{seed}.npz"
    if not path.exists():
        data = load_task(path_of(task), seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = {
            f"{a}_{p}": getattr(data, f"{a}_{p}") for a in "xy" for p in ("train", "val", "test")
        }
        np.savez(path, **parts)
    return path


def _trained(beside: Beside, seed: int, beta: float, bits: int) -> dict[str, Any]:
    """A training by HGQ2."""
    python = os.environ.get(PYTHON)
    if not python:
        raise InputError(
            f"{PYTHON}: not set, the Python of an environment with hgq2 and jax is needed"
        )
    data = _arrays(beside.task, seed)
    classes = int(np.load(data)["y_train"].max()) + 1
    setting = {
        "seed": seed,
        "beta": beta,
        "start": bits,
        "classes": classes,
        **{name: getattr(beside, name) for name in ("units", "epochs", "batch", "lr")},
    }
    program = Path(__file__).with_name("hgq2_train.py")
    done = subprocess.run(
        [python, str(program), str(data), json.dumps(setting)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{PYTHON}: {done.stderr.strip().splitlines()[-1]:.200}")
    return {"task": beside.task, **setting, **json.loads(done.stdout.splitlines()[-1])}


def ebops(genes: Sequence[int], units: int, features: int, input_bits: int) -> int:
    """Products of bits as HGQ2 counts them, of a GRU's matrices and products: weights without their
    sign. r is multiplied with a sum of ``w_hn``, which has the width of every matrix's sums."""
    bits = dict(zip(GENES, genes, strict=True))
    r, z, n, h = (bits[name] for name in ("a_r", "a_z", "a_n", "s_h"))
    sides = ((genes[:3], features, input_bits), (genes[3:6], units, h))
    matrices = sum(count * units * (w - 1) * data for ws, count, data in sides for w in ws)
    return matrices + units * (r * int(KNOBS.dense_output) + z * (n + h))


def _row(beside: Beside, seed: int, network: str, of: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a network of ours. of : its hidden units, genes and input bits"""
    features = load_task(path_of(beside.task), seed).features
    genes, units = of["genes"], of["hidden"]
    sides = ((genes[:3], features), (genes[3:6], units))
    scores = look_at(Look(network, None, KNOBS, ("val", "test")))
    return {
        "task": beside.task,
        "seed": seed,
        **{name: of[name] for name in ("hidden", "genes", "input_bits")},
        "val": scores["val"],
        "test": scores["test"],
        "bits": sum(count * units * w for ws, count in sides for w in ws),
        "ebops": ebops(genes, units, features, of["input_bits"]),
    }


def _plain(beside: Beside, seed: int, bits: tuple[int, int]) -> dict[str, Any]:
    """A network of one width for weights and one for all else."""
    weights, rest = bits
    genome = Genome.from_genes([weights] * 6 + [rest] * 11)
    knobs = replace(KNOBS, input_bits=rest, classifier_bits=rest)
    (source,) = networks_of(Race(beside.task, (beside.units,), 0), seed, FLOATS)
    path = FOLDER / f"{beside.task}-{weights}-{rest}-seed{seed}.safetensors"
    sequences = len(load_task(path_of(beside.task), seed).x_train)
    epochs = beside.epochs - recipe_for(path_of(beside.task), {}, sequences).epochs
    recipe = Tuning(epochs=epochs, seed=seed, keep="last")
    train_from(source, ForOne((("float", source),), source, genome, knobs, recipe, None, str(path)))
    of = {"hidden": beside.units, "genes": list(genome.genes), "input_bits": rest}
    return {**_row(beside, seed, str(path), of), "plain": f"weights {weights}, rest {rest}"}


def _ours(beside: Beside, seed: int, drop: float, say: Say) -> dict[str, Any]:
    """The smallest network that a search finds within so many points."""
    race = Race(beside.task, beside.sizes, 0)
    plan = Plan(
        networks_of(race, seed, FLOATS),
        cost="size",
        drop=drop,
        budget=beside.budget,
        seed=seed,
        knobs=KNOBS,
        spare=0.0,
    )
    place = FOLDER / f"{beside.task}-ours-seed{seed}-{drop:g}"
    best = search(place, plan, resume=True, say=say)["best"]
    row = _row(beside, seed, str(place / best["network"]), best)
    return {**row, "drop": drop, "epochs": best["epochs"], "size": best["size"]}


def _cases(say: Say) -> list[Case]:
    cases = []
    for beside in FULL:
        for drop in beside.drops:
            for seed in SEEDS:
                name = f"{beside.task}, ours within {drop:g} points, seed {seed}"
                file = FOLDER / f"{beside.task}-ours-seed{seed}-{drop:g}.json"
                make = partial(_ours, beside, seed, drop, say)
                cases.append(Case(file, name, make, f"{beside.task} ours"))
        for bits in beside.plain:
            for seed in SEEDS:
                name = f"{beside.task}-{bits[0]}-{bits[1]}-seed{seed}"
                make = partial(_plain, beside, seed, bits)
                cases.append(Case(FOLDER / f"{name}.json", name, make, f"{beside.task} plain"))
        for beta in beside.betas:
            for start in beside.bits:
                for seed in SEEDS:
                    name = f"{beside.task}-{beta:g}-{start}-seed{seed}"
                    make = partial(_trained, beside, seed, beta, start)
                    cases.append(Case(FOLDER / f"{name}.json", name, make, f"{beside.task} hgq2"))
    return cases


def measure(say: Say, budget: str | None = None) -> dict[str, Any]:
    """All trainings, as far as the budget goes. Raises :class:`InputError` without HGQ2's Python,
    named by the environment variable :data:`PYTHON`."""
    rows, missing = rows_of(_cases(say), say, budget)
    return {"rows": rows, "missing": missing}


def _of_experiment(task: str) -> list[dict[str, Any]]:
    """Networks of an experiment that were trained on every seed, by their means."""
    found = Found(read_json(Path("docs/data") / f"experiment-{task}.json"))
    features = zoo.load(task).input_size
    rows = []
    for network in found.trained.values():
        test, val, bits = (network.mean(name) for name in ("test", "val", "weights"))
        if len(network.seeds) != len(SEEDS) or test is None:
            continue
        inputs = int(network.knobs.get("input_bits", 8))
        rows.append(
            {
                "what": f"{network.hidden}: `{_digits(network.genes)}`",
                "test": test,
                "val": val,
                "bits": bits,
                "ebops": ebops(network.genes, network.hidden, features, inputs),
            }
        )
    return rows


def _digits(genes: Sequence[int]) -> str:
    return "".join(map(str, genes[:6])) + " " + "".join(map(str, genes[6:]))


def _means(rows: Sequence[Mapping[str, Any]], what: str) -> dict[str, Any]:
    names = ("test", "val", "bits", "ebops")
    return {"what": what, "seeds": len(rows), **{n: mean(r[n] for r in rows) for n in names}}


def _dominated(row: Mapping[str, Any], others: Sequence[Mapping[str, Any]], cost: str) -> bool:
    """Whether another is as good on test at no more of `cost`."""
    return any(o["test"] >= row["test"] and o[cost] <= row[cost] for o in others)


def _by_setting(data: Mapping[str, Any], beside: Beside) -> tuple[list[Any], list[Any]]:
    """Means over the seeds: HGQ2's by setting, and ours."""
    rows = [row for row in data["rows"] if row["task"] == beside.task]
    theirs, ours = dict[str, list[Any]](), dict[str, list[Any]]()
    for row in rows:
        if "plain" in row:
            ours.setdefault(f"ours, {row['plain']}", []).append(row)
        elif "drop" in row:
            ours.setdefault(f"ours, within {row['drop']:g} points", []).append(row)
        else:
            what = f"HGQ2, beta {row['beta']:g}, from {row['start']} bits"
            theirs.setdefault(what, []).append(row)
    mine = [_means(same, what) for what, same in ours.items()]
    return (
        [_means(same, what) for what, same in theirs.items()],
        mine if beside.drops else _of_experiment(beside.task),
    )


def _task_lines(data: Mapping[str, Any], beside: Beside) -> list[str]:
    theirs, ours = _by_setting(data, beside)
    if not theirs:
        return []
    body = []
    for mine, rows, others in ((False, theirs, ours), (True, ours, theirs)):
        for row in sorted(rows, key=lambda r: -r["bits"]):
            beaten = [name for name, cost in COSTS.items() if _dominated(row, others, cost)]
            body.append(
                (
                    row["what"],
                    row.get("seeds", len(SEEDS)),
                    f"{100 * row['val']:.2f}",
                    f"{100 * row['test']:.2f}",
                    f"{row['bits'] / 1000:.1f}",
                    f"{row['ebops'] / 1000:,.1f}",
                    f"by {'HGQ2' if mine else 'ours'} in {' and '.join(beaten)}" if beaten else "-",
                )
            )
    head = (
        *("network", "seeds", "validation, %", "test, %"),
        *("weights, kbit", "EBOPs, thousand", "dominated"),
    )
    source = (
        f"Ours: the smallest that `genogate search --budget {beside.budget / 60:g}m --objectives "
        "size` found within the points of INT8, of "
        f"{' and '.join(map(str, beside.sizes))} units, on each seed; and networks of "
        f"{beside.units} units with one width for weights and one for all else, the epochs of the "
        "float network among theirs, the last epoch kept."
        if beside.drops
        else "Ours: networks of the task's [experiment](experiments.md), trained on all seeds "
        "(15 epochs of float training and 4 for the genome); units: genes."
    )
    by_ours = [sum(_dominated(row, ours, cost) for row in theirs) for cost in COSTS.values()]
    by_theirs = [sum(_dominated(row, theirs, cost) for row in ours) for cost in COSTS.values()]
    counts = "; ".join(
        f"in {name} ours dominate {mine} of {len(theirs)} settings of HGQ2, which dominates "
        f"{its} of our {len(ours)} networks"
        for name, mine, its in zip(COSTS, by_ours, by_theirs, strict=True)
    )
    return [
        f"### {beside.task}",
        "",
        f"HGQ2: {beside.units} units, {beside.epochs} epochs. {source}",
        "",
        f"{counts[0].upper()}{counts[1:]}.",
        "",
        *table(head, body),
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "## Beside HGQ2",
        "",
        "HGQ2 0.2.0 learns a width for every weight and every value of a GRU by gradient "
        "(arXiv 2405.00645); ours has one for each operator, which is what one multiplier with a "
        "memory of words needs: widths per weight save bits of a memory only with an index. Its "
        "trainings begin with random weights, with its own hard activations and a constant beta, "
        "Adam with a cosine from the same learning rate, and all epochs; the last one counts.",
        "",
        "Weights: bits of the GRU's matrices, signs among them. EBOPs: products of bits of "
        "matrices and gates as HGQ2 counts them, without the signs of weights, biases left out. "
        "All are means over the seeds. A row is dominated where another's mean test accuracy is as "
        "high and its mean cost as low. The environment variable GENOGATE_HGQ2 names the Python of "
        "an environment with `pip install hgq2==0.2.0 jax==0.10.2`.",
        "",
    ]
    if data["missing"]:
        lines += [f"{data['missing']} trainings were not made.", ""]
    for beside in FULL:
        lines += _task_lines(data, beside)
    return lines
