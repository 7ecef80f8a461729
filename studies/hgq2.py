"""HGQ2 beside the networks of the race: accuracy at weight bits and at EBOPs, on digits-row.

HGQ2 is no dependency. It runs in a process of its own with the packages of a folder::

    pip install --target ~/hgq HGQ2==0.2.0 keras jax
    GENOGATE_HGQ=~/hgq python -m studies --only hgq2

Its networks have the hidden units, data, split, seeds and batches of ours, and as many epochs as
ours by hand had in all (float training and training for the genome). EBOPs are counted as HGQ2
counts them, for the two matrices of the GRU: bits of data times bits of weights without the sign.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.checkpoints.training import recipe_for
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.files import read_json

from . import race
from .search import table

TASK, HIDDEN, SEEDS = "digits-row", 32, (0,)
#: Strength of the pressure on bits; bits of weights that they begin with, without the sign.
BETAS, BITS = (3e-7, 3e-6, 3e-5), 2
RATE, BATCH = 5e-3, 32
FOLDER = Path("runs/hgq")
#: The variable that names the folder of packages.
VARIABLE = "GENOGATE_HGQ"


def epochs() -> int:
    """Epochs of a network by hand: of its float training and of that for its genome."""
    train = next(r for r in race.FULL if r.task == TASK).epochs
    count = len(load_task(TASK, 0).x_train)
    return int(recipe_for(TASK, {}, count).epochs) + train


def _trained(jobs: Sequence[Mapping[str, Any]], say: race.Say) -> list[dict[str, Any]]:
    """Rows of the worker, one for every job; from the folder where they are known."""
    path = FOLDER / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {json.dumps({name: row[name] for name in jobs[0]}): row for row in rows}
    missing = [job for job in jobs if json.dumps(job) not in known]
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for seed in {job["seed"] for job in missing}:
                task = load_task(TASK, seed)
                names = [f"{array}_{part}" for array in "xy" for part in ("train", "val", "test")]
                arrays = {name: getattr(task, name) for name in names}
                np.savez(Path(folder) / f"{seed}.npz", **arrays)
            with path.open("a") as out:
                for row in _worker(folder, missing):
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    known[json.dumps({name: row[name] for name in jobs[0]})] = row
                    say(f"HGQ2: {len(known)} trainings of {len(jobs)}")
    return [known[json.dumps(job)] for job in jobs]


def _worker(folder: str, jobs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows as they come. Raises :class:`InputError` where HGQ2 is not there, or fails."""
    packages = os.environ.get(VARIABLE, "")
    if not packages or not Path(packages, "hgq").is_dir():
        raise InputError(
            f"{VARIABLE}: no folder with HGQ2: pip install --target DIR HGQ2==0.2.0 keras jax, "
            f"and set {VARIABLE}=DIR"
        )
    worker = Path(__file__).with_name("hgq2_worker.py")
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, str(worker), folder, json.dumps(jobs)],
            env={**os.environ, "PYTHONPATH": packages},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
        if process.wait():
            errors.seek(0)
            raise InputError(f"HGQ2 failed: {(errors.read().strip() or '?').splitlines()[-1]}")


def ours(row: Mapping[str, Any]) -> dict[str, float]:
    """Weight bits with signs, and EBOPs of the matrices, of an entry of the race."""
    hidden, bits = row["hidden"], row["genes"][:6]
    inputs, classes = 8, 10
    state, data = row["genes"][10], row["input_bits"]
    gates = [(inputs, data)] * 3 + [(hidden, state)] * 3
    return {
        "weight_bits": sum(hidden * n * b for (n, _), b in zip(gates, bits, strict=True))
        + hidden * classes * row["classifier_bits"],
        "ebops_matrices": sum(
            hidden * n * (b - 1) * width for (n, width), b in zip(gates, bits, strict=True)
        ),
    }


def measure(say: race.Say) -> dict[str, Any]:
    """All betas on all seeds, and the networks of the race (its stored data)."""
    jobs = [
        {
            "hidden": HIDDEN,
            "beta": beta,
            "bits": BITS,
            "epochs": epochs(),
            "seed": seed,
            "lr": RATE,
            "batch": BATCH,
        }
        for beta in BETAS
        for seed in SEEDS
    ]
    rows = _trained(jobs, say)
    path = Path(__file__).parents[1] / "docs" / "data" / "race.json"
    of = [row for row in read_json(path)["rows"] if row["task"] == TASK]
    entries = [
        {"name": name, "seed": row["seed"], "test": entry["test"], **ours(entry)}
        for row in of
        for name, entry in _named(row)
    ]
    return {"task": TASK, "rows": rows, "ours": entries}


def _named(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Networks of the race to show: those by hand of :data:`HIDDEN` units, and the search's."""
    if row["contestant"] == "this search":
        return [("this search, its entry of the race", row["best"])]
    if row["contestant"] != race.CONTESTANTS[0]:
        return []
    shown = []
    for scheme in race.HAND:
        net = race.by_hand(scheme, 0)
        like = (list(net.genome.genes), HIDDEN, net.input_bits, net.classifier_bits)
        shown += [
            (scheme, e)
            for e in row["all"][1:]
            if (e["genes"], e["hidden"], e["input_bits"], e["classifier_bits"]) == like
        ]
    return shown


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _line(name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    tests = [100 * row["test"] for row in rows]
    error = np.std(tests, ddof=1) / np.sqrt(len(tests)) if len(tests) > 1 else 0.0
    return (
        name,
        str(len(rows)),
        f"{np.mean(tests):.2f} ± {error:.2f}",
        f"{_mean(rows, 'weight_bits') / 1000:.1f}",
        f"{_mean(rows, 'ebops_matrices') / 1000:.1f}",
    )


HEAD = ("network", "seeds", "test, %", "weight kbit", "EBOPs of the matrices, thousands")


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    first = data["rows"][0]
    lines = []
    for beta in dict.fromkeys(row["beta"] for row in data["rows"]):
        rows = [row for row in data["rows"] if row["beta"] == beta]
        state = f"state {_mean(rows, 'mean_state'):.1f}, input {_mean(rows, 'mean_input'):.1f} bits"
        lines.append(_line(f"HGQ2, beta {beta:g}: {state}", rows))
    for name in dict.fromkeys(row["name"] for row in data["ours"]):
        lines.append(_line(name, [row for row in data["ours"] if row["name"] == name]))
    seconds = _mean(data["rows"], "seconds")
    return [
        "## HGQ2 beside the networks of the race",
        "",
        f"{data['task']}: HGQ2 0.2.0 (JAX, hard sigmoid and tanh, a width for every weight and "
        f"every element of data, beginning with {first['bits']} bits and a sign) with "
        f"{first['hidden']} units, {first['epochs']} epochs from scratch, {seconds:.0f} CPU "
        "seconds each; ours by hand have as many epochs, the search's entry more "
        "([the race](race.md)) and its own number of units. Nothing was chosen by the test part. "
        "Weight bits have signs and the classifier's; EBOPs are HGQ2's, of the two matrices of "
        "the GRU. Widths of its own for every element suit an unrolled circuit; ours have one "
        "width for each operator, as a shared multiplier needs it.",
        "",
        *table(HEAD, lines),
        "On mnist-row HGQ2 was measured elsewhere with this network's size (64 units, 20 epochs, "
        "one seed): 98.79 % at 46.5 kbit of weights, 98.45 % at 37.8 and 98.05 % at 27.6.",
        "",
    ]
