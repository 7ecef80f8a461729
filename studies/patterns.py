"""What planting genomes written by hand does to a search: the same search with them and without.

Three seeds of digits-row, at two fidelities: quantised after training, and quantised from weights
that were trained for all genomes, where 2-bit weights are worth something.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.knobs import Knobs
from genogate.model.qat.any_precision import AnyTuning
from genogate.search.budget import Budget
from genogate.search.experiment.jobs import ForAll, train_for_all
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.pareto import hypervolume
from genogate.search.genomes.patterns import patterns
from genogate.search.genomes.run import Run

from .search import table

Say = Callable[[str], None]
KNOBS = Knobs(activation="table")
FOLDER = Path("runs/patterns")
KINDS = {"float": "quantised after training", "all": "from weights for all genomes"}
#: Points below INT8 within which the smallest genome is asked for.
LIMITS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Size:
    """checkpoints : one a seed; epochs : of weights for all genomes; the rest : of a search"""

    checkpoints: tuple[str, ...] = ("digits-row", "digits-row-seed1", "digits-row-seed2")
    epochs: int = 30
    pop_size: int = 32
    generations: int = 8
    exploit: int = 4


FULL, QUICK = Size(), Size(("digits-row",), 1, 8, 1, 0)


def _searched(
    folder: Path, checkpoint: str, seed: int, planted: bool, size: Size
) -> dict[str, Any]:
    config = Config(
        ("accuracy", "size"),
        pop_size=size.pop_size,
        generations=size.generations,
        exploit=size.exploit,
        seed=seed,
        knob_genes=("input_bits", "classifier_bits"),
        seed_patterns=planted,
    )
    run = Run(folder, Setting(checkpoint, KNOBS, False), config, resume=True)
    front = run.go()
    int8 = run.points[run.int8].result
    by_hand = set(patterns())
    smallest = {}
    for limit in LIMITS:
        able = [p for p in front if 100 * (int8["accuracy"] - p.result["accuracy"]) <= limit]
        best = min(able, key=lambda p: p.result["size"])
        smallest[str(limit)] = {
            "saved": 1 - best.result["size"] / int8["size"],
            "by_hand": best.genome in by_hand,
        }
    return {
        "evaluations": len(run.points),
        "hypervolume": hypervolume(run.ledger.costs(front), run.ledger.reference),
        "smallest": smallest,
        "of_front_by_hand": sum(p.genome in by_hand for p in front),
        "front": len(front),
    }


def measure(
    say: Say, size: Size = FULL, folder: Path = FOLDER, budget: str | None = None
) -> dict[str, Any]:
    """Every search, with and without."""
    left, rows = Budget.of(budget), []
    for seed, checkpoint in enumerate(size.checkpoints):
        if not left.allows(0):
            break
        path = folder / f"{checkpoint}-all.safetensors"
        say(f"{checkpoint}: weights for all genomes")
        train_for_all(ForAll(checkpoint, KNOBS, AnyTuning(epochs=size.epochs), None, str(path)))
        for kind, source in (("float", checkpoint), ("all", str(path))):
            for planted in (False, True):
                say(f"{checkpoint}: {KINDS[kind]}, patterns {'on' if planted else 'off'}")
                place = folder / f"{checkpoint}-{kind}-{'on' if planted else 'off'}"
                row = _searched(place, source, seed, planted, size)
                rows.append({"seed": seed, "kind": kind, "planted": planted, **row})
    return {"size": asdict(size), "rows": rows}


def _mean(values: list[float], scale: float = 100.0, sign: str = "") -> str:
    values = [scale * value for value in values]
    text = f"{np.mean(values):{sign}.1f}"
    if len(values) < 2:
        return text
    return f"{text} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.1f}"


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    size, rows = data["size"], data["rows"]
    lines = [
        "## Genomes by hand in the first population: with and without",
        "",
        f"digits-row, {len(size['checkpoints'])} seeds, NSGA-II of {size['pop_size']} genomes, "
        f"{size['generations']} generations and {size['exploit']} of local search, on accuracy and "
        "size, input and classifier bits as genes; no network is trained for its genome. With "
        "`--seed-patterns` half of the first population are genomes written by hand. Means over "
        "the seeds, ± one standard error.",
        "",
    ]
    body = []
    for kind, title in KINDS.items():
        for planted in (False, True):
            of = [row for row in rows if (row["kind"], row["planted"]) == (kind, planted)]
            if not of:
                continue
            saved = [
                _mean([row["smallest"][str(limit)]["saved"] for row in of]) + " %"
                for limit in LIMITS
            ]
            hand = sum(row["smallest"][str(limit)]["by_hand"] for row in of for limit in LIMITS)
            body.append(
                (
                    title,
                    "on" if planted else "off",
                    _mean([row["hypervolume"] for row in of]),
                    *saved,
                    f"{hand} of {len(of) * len(LIMITS)}",
                )
            )
    head = (
        "fidelity",
        "patterns",
        "hypervolume, %",
        *(f"saved within {limit:g}" for limit in LIMITS),
        "of these by hand",
    )
    return lines + table(head, body)
