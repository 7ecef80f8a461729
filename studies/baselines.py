"""The right-sized baseline: INT8 networks of several sizes, trained as the reference is.

A network may be smaller than INT8 of the reference because of its genome, or because the reference
has more units than the task needs. Here is the smallest INT8 network that loses at most half a
point on validation, with a standard error over the seeds to spare; savings are told against it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.experiment.jobs import Float, Look, look_at, train_float

from .kept import Case, rows_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
#: Hidden sizes of every task; the last is that of the shipped networks.
SIZES: dict[str, tuple[int, ...]] = {
    "digits-row": (8, 12, 16, 20, 24, 28, 32),
    "kws4": (24, 32, 48, 64),
    "mnist-row": (24, 32, 40, 48, 64),
    "kws10": (24, 32, 48, 64),
    "mnist-pixel14": (32, 48, 64),
    "mnist-pixel": (48, 64),
}
SEEDS = (0, 1, 2)
#: Seeds besides, of the sizes that these three cannot tell apart.
MORE: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "digits-row": ((24, 28, 32), (3, 4, 5)),
}
#: Points of validation accuracy that the smallest network may lose.
LIMIT = 0.5
KNOBS = Knobs(activation="table")
FOLDER = Path("runs/baselines")
#: One seed of two sizes of the quick task.
QUICK: dict[str, Any] = {"sizes": {"digits-row": (4, 32)}, "seeds": (0,), "epochs": 1}


def shipped(task: str, seed: int, hidden: int) -> str | None:
    """Name of the shipped network of a seed with so many units; None where there is none."""
    name = f"{task}-seed{seed}" if seed else task
    ours = {name, f"{name}-h{hidden}"} & set(zoo.names())
    return next((name for name in sorted(ours) if zoo.load(name).hidden_size() == hidden), None)


def _network(task: str, hidden: int, seed: int, epochs: int | None, folder: Path) -> dict[str, Any]:
    """Figures of the INT8 network of a size and a seed; trains its float network where needed."""
    source, seconds = shipped(task, seed, hidden), 0.0
    if source is None:
        source = str(folder / f"{task}-h{hidden}-seed{seed}.safetensors")
        seconds = train_float(Float(task, seed, hidden, epochs, source))["seconds"]
    parts = ("judged", "val", "test")
    int8 = look_at(Look(source, Genome.uniform(8), KNOBS, parts))
    floating = look_at(Look(source, None, KNOBS, parts))
    return {
        "task": task,
        "hidden": hidden,
        "seed": seed,
        "seconds": seconds,
        "float": {part: floating[part] for part in parts},
        **{name: int8[name] for name in (*parts, "size", "weights", "cycles")},
    }


def _order(
    sizes: Mapping[str, Sequence[int]], seeds: Sequence[int]
) -> Iterator[tuple[str, int, int]]:
    """Task, size and seed of every network, in the order in which they are trained: the tasks by
    what a training takes, each whole before the next."""
    for task, of in sizes.items():
        for seed in seeds:
            for hidden in sorted(of, reverse=True):
                yield task, hidden, seed
        close, further = MORE.get(task, ((), ())) if tuple(seeds) == SEEDS else ((), ())
        for seed in further:
            for hidden in sorted(close, reverse=True):
                yield task, hidden, seed


def measure(
    say: Say,
    quick: Mapping[str, Any] | None = None,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """Train what is missing and look at all: ``{"rows": [...], "missing": n}``.

    Goes on where it was stopped; no training begins that does not fit into `budget`, by what the
    last one of its task took, and the rows are those that there are.
    """
    given = quick or {}
    sizes, seeds = given.get("sizes", SIZES), given.get("seeds", SEEDS)
    cases = (
        Case(
            folder / f"{task}-h{hidden}-seed{seed}.json",
            f"INT8 of {task} with {hidden} units, seed {seed}",
            partial(_network, task, hidden, seed, given.get("epochs"), folder),
            task,
        )
        for task, hidden, seed in _order(sizes, seeds)
    )
    rows, missing = rows_of(cases, say, budget)
    return {"rows": rows, "missing": missing, "limit": LIMIT}


def losses(rows: Sequence[Mapping[str, Any]], task: str, hidden: int, part: str) -> list[float]:
    """Points that INT8 of so many units loses against INT8 of the most units, seed by seed."""
    of = {(row["hidden"], row["seed"]): row[part] for row in rows if row["task"] == task}
    most = max(size for size, _ in of)
    seeds = sorted(seed for size, seed in of if size == hidden and (most, seed) in of)
    return [100 * (of[most, seed] - of[hidden, seed]) for seed in seeds]


def upper(values: Sequence[float]) -> float:
    """Mean loss and one standard error over the seeds; the loss itself of one seed."""
    if len(values) < 2:
        return float(np.mean(values))
    return float(np.mean(values) + np.std(values, ddof=1) / np.sqrt(len(values)))


def right_size(
    rows: Sequence[Mapping[str, Any]], task: str, limit: float = LIMIT, spare: bool = True
) -> int | None:
    """Units of the smallest INT8 network within the limit; None for a task without rows. No size
    below one that fails counts.

    spare : whether with a standard error to spare. Where seeds differ much that asks for more
        units than the task may need, so without it comparisons with the baseline are stricter
    """
    every = {row["hidden"] for row in rows if row["task"] == task}
    # One seed of a size says too little.
    sizes = [h for h in sorted(every, reverse=True) if len(losses(rows, task, h, "judged")) > 1]
    if len(sizes) < 2:
        return None
    smallest = sizes[0]
    for hidden in sizes[1:]:
        lost = losses(rows, task, hidden, "judged")
        if (upper(lost) if spare else float(np.mean(lost))) > limit:
            break
        smallest = hidden
    return smallest


def mean_of(rows: Sequence[Mapping[str, Any]], task: str, hidden: int, part: str) -> float:
    """Mean over the seeds of a figure."""
    return float(np.mean([r[part] for r in rows if (r["task"], r["hidden"]) == (task, hidden)]))


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    tasks = [task for task in SIZES if any(row["task"] == task for row in rows)]
    lines = [
        "## The right-sized baseline: INT8 of several sizes",
        "",
        "Every network is trained as the reference of its task is (`genogate train --hidden N`) "
        "and quantised to INT8 after training. Points lost against INT8 of the reference's size, "
        "± one standard error over the seeds, each seed against itself. Right-sized: the smallest "
        f"that loses at most {data['limit']:g} points on validation with a standard error to "
        "spare, chosen by validation (with its shifted copies where it is small) alone.",
        "",
    ]
    if data["missing"]:
        lines += [f"{data['missing']} networks are not trained yet.", ""]
    for task in tasks:
        best, least = right_size(rows, task), right_size(rows, task, spare=False)
        sizes = sorted({row["hidden"] for row in rows if row["task"] == task})
        most = mean_of(rows, task, sizes[-1], "size")
        body = [
            (
                f"**{hidden}**" * (hidden in (best, least)) or str(hidden),
                str(len(losses(rows, task, hidden, "judged"))),
                f"{mean_of(rows, task, hidden, 'size'):,.0f}",
                f"{100 * (1 - mean_of(rows, task, hidden, 'size') / most):.1f} %",
                f"{100 * mean_of(rows, task, hidden, 'judged'):.2f}",
                with_error(losses(rows, task, hidden, "judged")),
                f"{100 * mean_of(rows, task, hidden, 'test'):.2f}",
                with_error(losses(rows, task, hidden, "test")),
            )
            for hidden in sizes
        ]
        head = (
            "units",
            "seeds",
            "bits",
            "smaller",
            "validation, %",
            "points lost on validation",
            "test, %",
            "points lost on test",
        )
        if best is None or least is None:
            said = "Too few seeds for a choice."
        else:
            said = f"Right-sized: {best} units; by the mean alone, without the margin: {least}."
        lines += [f"### {task}", "", *table(head, body), said, ""]
    return lines
