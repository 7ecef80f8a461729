"""How well each fidelity of an evaluation ranks genomes as full training does.

Random genomes are quantised after training, quantised from weights for all genomes (with INT8 as
the inner teacher, and without), trained briefly, and trained fully with two seeds; the second seed
shows what rank correlation noise alone allows. Every number is kept as soon as it is known.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.files import read_json, write_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.qat.any_precision import AnyTuning, random_genome
from genogate.model.qat.recipe import Tuning
from genogate.search.budget import Budget
from genogate.search.experiment.jobs import (
    ForAll,
    ForOne,
    Look,
    look_at,
    train_for_all,
    train_for_one,
)

from .search import table
from .search_statistics import rank_correlation

Say = Callable[[str], None]
KNOBS = Knobs(activation="table")
FOLDER = Path("runs/rungs")
#: Points below the best fully trained genome within which a genome may be of use.
USEFUL = 3.0


@dataclass(frozen=True)
class Case:
    """What is compared on a task.

    short, full, for_all : epochs
    """

    checkpoint: str
    genomes: int = 40
    short: int = 4
    full: int = 20
    for_all: int = 30


FULL = (Case("digits-row"), Case("kws4", short=2, full=6, for_all=12))
QUICK = (Case("digits-row", genomes=3, short=1, full=1, for_all=1),)
#: Fidelities by name: title, and how a genome is judged.
TITLES = {
    "quantised": "quantised after training",
    "for all": "quantised from weights for all genomes",
    "sandwich": "the same, INT8 in every batch as the inner teacher",
    "short": "trained briefly",
    "again": "trained fully, another seed",
    "full": "trained fully",
}


class _Kept:
    """Numbers of a case by fidelity and genome, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers: dict[str, dict[str, Any]] = dict(read_json(path)) if path.exists() else {}

    def of(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of `key`, else what `make` gives."""
        if key not in self.numbers:
            start = time.process_time()
            found = make()
            seconds = round(time.process_time() - start, 2)
            part = {name: found[name] for name in ("judged", "val") if name in found}
            self.numbers[key] = {**part, "seconds": seconds}
            write_json(self.path, self.numbers)
        return self.numbers[key]


def _weights_for_all(case: Case, folder: Path, name: str, say: Say) -> str:
    path = str(folder / f"{case.checkpoint}-{name}.safetensors")
    say(f"{case.checkpoint}: weights for all genomes ({name})")
    recipe = AnyTuning(epochs=case.for_all, sandwich=name == "sandwich")
    train_for_all(ForAll(case.checkpoint, KNOBS, recipe, None, path))
    return path


def _row(
    case: Case, genome: Genome, name: str, weights: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    if name in ("quantised", "for all", "sandwich"):
        return look_at(Look(weights[name], genome, KNOBS))
    epochs = case.short if name == "short" else case.full
    recipe = Tuning(epochs=epochs, seed=int(name == "again"), keep="last")
    starts = (("float", case.checkpoint),)
    path = folder / f"{case.checkpoint}-training.safetensors"
    try:
        return train_for_one(
            ForOne(starts, case.checkpoint, genome, KNOBS, recipe, None, str(path))
        )
    finally:
        path.unlink(missing_ok=True)


def measure(
    say: Say,
    size: Sequence[Case] = FULL,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """``{"cases": [...]}``, of each the rows that fit into `budget`."""
    left, cases = Budget.of(budget), []
    folder.mkdir(parents=True, exist_ok=True)
    for case in size:
        kept = _Kept(folder / f"{case.checkpoint}.json")
        draw = np.random.default_rng([0, 2])
        layers = zoo.load(case.checkpoint).layers
        genomes: list[Genome] = []
        # A homogeneous genome may be drawn more than once.
        while len(genomes) < case.genomes:
            if (genome := random_genome(draw, layers)) not in genomes:
                genomes.append(genome)
        weights = {"quantised": case.checkpoint}
        done: dict[str, list[dict[str, Any]]] = {}
        for name in ("quantised", "for all", "full", "short", "sandwich", "again"):
            if name in ("for all", "sandwich"):
                label = name.replace(" ", "-")
                ready = (folder / f"{case.checkpoint}-{label}.safetensors").exists()
                if not ready and not left.allows(0):
                    continue
                weights[name] = _weights_for_all(case, folder, label, say)
            rows = []
            for number, genome in enumerate(genomes):
                key = f"{name} {genome}"
                if key not in kept.numbers and not left.allows(0):
                    break
                say(f"{case.checkpoint}: {TITLES[name]}, genome {number + 1} of {len(genomes)}")
                rows.append(kept.of(key, partial(_row, case, genome, name, weights, folder)))
            if len(rows) == len(genomes):
                done[name] = rows
        cases.append(
            {
                **asdict(case),
                "genes": [list(genome.genes) for genome in genomes],
                "fidelities": done,
                "for_all_seconds": {
                    name: zoo.load(path).info["seconds"]
                    for name, path in weights.items()
                    if name != "quantised"
                },
            }
        )
    return {"cases": cases}


def _ranks(case: Mapping[str, Any]) -> list[tuple[str, ...]]:
    full = np.array([row["judged"] for row in case["fidelities"]["full"]])
    near = full >= full.max() - USEFUL / 100
    body = []
    for name, title in TITLES.items():
        rows = case["fidelities"].get(name)
        if rows is None:
            continue
        judged = np.array([row["judged"] for row in rows])
        seconds = float(np.mean([row["seconds"] for row in rows]))
        once = case["for_all_seconds"].get(name)
        body.append(
            (
                title,
                f"{100 * judged.mean():.2f}",
                f"{rank_correlation(judged.tolist(), full.tolist()):.3f}",
                f"{rank_correlation(judged[near].tolist(), full[near].tolist()):.3f}",
                f"{seconds:.2f}" + (f", and {once:.0f} once" if once else ""),
            )
        )
    return body


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "## Fidelities: how a cheap evaluation ranks genomes",
        "",
        "Random genomes, judged on the validation part (with its shifted copies where it is small) "
        "at every fidelity; trainings have a fixed number of epochs and keep the last one. "
        "Spearman's rank correlation with full training over all genomes, and over those within "
        f"{USEFUL:g} points of the best, which is all that a search chooses among. Full training "
        "with another seed shows what noise allows: a fidelity that ranks as well as that is as "
        "good as can be told. Trainings of few epochs on few sequences, as those of kws4, are so "
        "noisy that no rank near the best says much.",
        "",
    ]
    for case in data["cases"]:
        if "full" not in case["fidelities"]:
            lines += [f"**{case['checkpoint']}**: not measured yet.", ""]
            continue
        full = np.array([row["judged"] for row in case["fidelities"]["full"]])
        near = int((full >= full.max() - USEFUL / 100).sum())
        lines += [
            f"**{case['checkpoint']}**, {len(full)} genomes, {near} of them near the best; "
            f"{case['short']} epochs briefly, {case['full']} fully, {case['for_all']} for all:",
            "",
            *table(
                ("fidelity", "mean, %", "rank, all", "rank, near the best", "CPU seconds a genome"),
                _ranks(case),
            ),
        ]
    return lines
