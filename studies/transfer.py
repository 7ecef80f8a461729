"""Do the genomes that are good on one task do well on another?

Of every pair of experiments that were run here, the front of one on the other's weights for all
genomes: how many of its points are useful there too, whether they are ranked alike, and what they
dominate beside the other task's own front.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.errors import InputError
from genogate.model.files import read_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.experiment.jobs import Look, look_at
from genogate.search.genomes.pareto import crowded, hypervolume, non_dominated

from .search import table
from .search_statistics import rank_correlation

Say = Callable[[str], None]
FOLDER = Path("runs")
#: Points of a front that are taken to other tasks, and points of accuracy below INT8 up to which
#: one is useful.
TAKEN, USEFUL = 24, 2.0


def experiments(folder: Path = FOLDER) -> list[tuple[Path, dict[str, Any]]]:
    """Folders and documents of the experiments that are done."""
    found = []
    for path in sorted(Path(folder).glob("experiment-*/experiment.json")):
        document = read_json(path)
        if isinstance(document, dict) and document.get("done"):
            found.append((path.parent, document))
    return found


def _front(document: dict[str, Any]) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Units of the first seed, a spread of its useful front on weights for all, and INT8's
    result."""
    row = next(
        r for r in document["numbers"] if r["stage"] == "search" and r["about"]["weights"] == "any"
    )
    found = row["found"]
    hidden = int(row["about"]["sources"][0][1:].split("-")[0])
    points = [
        p
        for p in found["front"]
        if p["hidden"] == hidden and p["accuracy"] >= found["int8"]["accuracy"] - USEFUL / 100
    ]
    costs = np.array([(-p["accuracy"], p["size"]) for p in points]).reshape(-1, 2)
    taken = [points[k] for k in crowded(costs, TAKEN)]
    return hidden, taken, found["int8"]


def _volume(rows: list[tuple[float, float]]) -> float:
    """Share of the useful region that points (drop in points, share of INT8's size) dominate."""
    costs = np.array(rows).reshape(-1, 2).clip(0)
    return hypervolume(costs[non_dominated(costs)], np.array([USEFUL, 1.0])) if len(rows) else 0.0


def measure(say: Say, folder: Path = FOLDER) -> dict[str, Any]:
    """All pairs. Raises :class:`InputError` for fewer than two experiments."""
    done = experiments(folder)
    if len(done) < 2:
        raise InputError(
            f"experiment_transfer: {len(done)} experiments are done in {folder}, two are needed: "
            "genogate experiment --task TASK"
        )
    rows = []
    for path, document in done:
        name, (hidden, own, int8) = document["plan"]["task"], _front(document)
        knobs = Knobs(**document["plan"]["knobs"])
        first = next(iter(document["data"]["splits"]))
        weights = path / "any" / f"h{hidden}-seed{first}.safetensors"
        mine = [(100 * (int8["accuracy"] - p["accuracy"]), p["size"] / int8["size"]) for p in own]
        for _, other in done:
            task, (_, taken, theirs) = other["plan"]["task"], _front(other)
            if task == name:
                continue
            say(f"{task} on {name}")
            there = []
            for point in taken:
                genome = Genome.from_genes(point["genes"])
                found = look_at(Look(str(weights), genome, knobs, ("judged",)))
                there.append(
                    (100 * (int8["accuracy"] - found["judged"]), found["size"] / int8["size"])
                )
            at_home = [100 * (theirs["accuracy"] - p["accuracy"]) for p in taken]
            rows.append(
                {
                    "from": task,
                    "to": name,
                    "genomes": len(taken),
                    "at_home": at_home,
                    "there": [drop for drop, _ in there],
                    "useful": sum(drop <= USEFUL for drop, _ in there),
                    "volume": _volume([row for row in there if row[0] < USEFUL]),
                    "volume_own": _volume([row for row in mine if row[0] < USEFUL]),
                    "rank": rank_correlation(at_home, [drop for drop, _ in there]),
                }
            )
    return {
        "command": "python -m studies --only experiment_transfer",
        "rows": rows,
        "useful_drop": USEFUL,
    }


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    return [
        "## Do genomes transfer from task to task?",
        "",
        "A search on one task gives a front of genomes, by points lost and size, at most "
        f"{data['useful_drop']:g} points below INT8. Each of its genomes is then judged on the "
        "other task. In both, one set of weights that was trained for all genomes is quantised. "
        "Hypervolume: share of that region that the genomes dominate on the other task, and in "
        "percent of what the other task's own front dominates. Rank: Spearman's correlation of "
        "the points lost on both. Validation parts.",
        "",
        *table(
            (
                "from",
                "to",
                "genomes",
                "useful there",
                "points lost at home",
                "there",
                "hypervolume there",
                "of its own front",
                "rank",
            ),
            [
                (
                    r["from"],
                    r["to"],
                    r["genomes"],
                    r["useful"],
                    f"{np.mean(r['at_home']):.2f}",
                    f"{np.mean(r['there']):.2f}",
                    f"{r['volume']:.3f}",
                    f"{r['volume_own']:.3f}",
                    f"{r['rank']:.2f}",
                )
                for r in data["rows"]
            ],
        ),
        f"`{data['command']}`.",
        "",
    ]
