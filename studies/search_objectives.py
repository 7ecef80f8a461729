"""Whether searches for size and for cells end with different genomes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.search.genomes.candidate import Point
from genogate.search.genomes.evaluate import load

from .search import (
    FOLDER,
    FULL,
    OBJECTIVES,
    Campaign,
    Size,
    config_of,
    front_of,
    int8_of,
    made_how,
    percent,
    recorded_size,
    spread,
    table,
    volume,
)
from .search import QUICK as QUICK
from .search_statistics import compared, rank_correlation

Say = Callable[[str], None]
#: The searches that are compared: on what they look.
VIEWS = {"size": ("accuracy", "size"), "cells": ("accuracy", "cells"), "both": OBJECTIVES}


def measure_objectives(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """Searches on (accuracy, size) and on (accuracy, cells), each judged in the objectives of the
    other."""
    from genogate.search.genomes.evaluate import evaluate

    views = {n: v for n, v in VIEWS.items() if n != "both"}
    if not size.silicon:
        views = {"size": VIEWS["size"], "both": VIEWS["size"]}
    judges = {n: v for n, v in views.items() if n != "both"}
    plan = [(name, seed) for name in views for seed in range(size.seeds)]
    campaign = Campaign(Path(folder) / "search", size.workers, say, len(plan))
    setting = size.setting()
    runs: list[dict[str, Any]] = []
    fronts: dict[str, list[list[Point]]] = {name: [] for name in views}
    int8: Mapping[str, Any] = {}
    for name, seed in plan:
        # Cells are measured in all of them, but only seen by those that look at cells.
        config = config_of(size, {}, seed=seed, objectives=views[name])
        points = campaign.run(f"by {name}", setting, config)[: size.pop_size * size.generations]
        int8 = int8_of(points)
        front = front_of(points, views[name], int8)
        fronts[name].append(front)
        runs.append(
            {
                "by": name,
                "seed": seed,
                "evaluations": len(points),
                "front": len(front),
                "hypervolume": {n: volume(front, v, int8) for n, v in judges.items()},
                "hypervolume_all": {n: volume(points, v, int8) for n, v in judges.items()},
                "genomes": [
                    [
                        str(p.candidate),
                        p.result["accuracy"],
                        p.result["size"],
                        p.result.get("cells", 0),
                    ]
                    for p in front
                ],
            }
        )
    rng = np.random.default_rng(size.seeds)
    layers = load(setting).layers
    rows = rng.integers(MIN_BITS, MAX_BITS + 1, (size.random, layers * len(GENES)))
    drawn = [Genome.from_genes(row) for row in rows]
    found = [result for _, result in evaluate(setting, drawn, workers=size.workers, say=say)]
    other = "cells" if size.silicon else "cycles"
    pooled = {
        name: front_of([p for front in several for p in front], views[name], int8)
        for name, several in fronts.items()
    }
    together = [p.result for front in pooled.values() for p in front]
    return {
        **recorded_size(size, "search_objectives"),
        "int8": dict(int8),
        "runs": runs,
        "genes": {
            name: np.mean([p.genome.genes for p in front], 0).round(3).tolist()
            for name, front in pooled.items()
        },
        "pooled": {name: len(front) for name, front in pooled.items()},
        "spearman_random": rank_correlation([r["size"] for r in found], [r[other] for r in found]),
        "spearman_fronts": rank_correlation(
            [r["size"] for r in together], [r[other] for r in together]
        ),
        "random": len(found),
    }


def _least_at(run: Mapping[str, Any], int8: Mapping[str, Any], column: int, drop: float) -> float:
    """The least cost (2: size, 3: cells) on the front of a run at so few points below INT8, as a
    share of INT8's."""
    name = {2: "size", 3: "cells"}[column]
    able = [row[column] for row in run["genomes"] if row[1] >= int8["accuracy"] - drop / 100 - 1e-9]
    return min(able, default=int8[name]) / int8[name]


def render_objectives(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in data["runs"]:
        runs.setdefault(run["by"], []).append(run)
    judges = list(data["runs"][0]["hypervolume"])
    rows = []
    for name, several in runs.items():
        row: list[str] = [" and ".join(VIEWS[name])]
        for judge in judges:
            row += [
                spread([run["hypervolume"][judge] for run in several]),
                spread([run["hypervolume_all"][judge] for run in several]),
            ]
        row += [
            percent([_least_at(run, data["int8"], column, 1.0) for run in several])
            for column in (2, 3)[: len(judges)]
        ]
        rows.append(row)
    lines = [
        "## Do size and cells choose different genomes?",
        "",
        "digits-row; searches with equal numbers of evaluations, by "
        f"{', or by '.join(' and '.join(VIEWS[name]) for name in runs)}. Each is judged in both "
        "pairs "
        'of objectives: by the hypervolume of the front that it returns, and ("all") of everything '
        "that it evaluated, as if the other objective had been measured afterwards. Mean ± "
        f"standard deviation over {len(next(iter(runs.values())))} seeds. Least: the smallest on "
        "the front that loses at most 1 point against INT8 on the validation part, in percent of "
        "INT8.",
        "",
        *table(
            (
                "search by",
                *(part for j in judges for part in (f"hypervolume by {j}", "all")),
                *(f"least {j}, %" for j in judges),
            ),
            rows,
        ),
    ]
    for looked, judge in (("size", "cells"), ("cells", "size")):
        if looked not in runs or judge not in runs or judge not in judges:
            continue
        own = [run["hypervolume"][judge] for run in runs[judge]]
        theirs = [run["hypervolume"][judge] for run in runs[looked]]
        everything = [run["hypervolume_all"][judge] for run in runs[looked]]
        test = compared(own, {looked: theirs})[looked]
        lost, later = (100 * (1 - mean(v) / mean(own)) for v in (theirs, everything))
        lines += [
            f"A search by {looked} loses {lost:.1f} % of the hypervolume in accuracy and {judge} "
            f"against a search by {judge} (p = {test['p']:.3f}, A12 = {test['a12']:.2f}). If "
            f"{judge} were measured afterwards, of everything that it evaluated, it would lose "
            f"{later:.1f} %.",
            "",
        ]
    if {"size", "cells"} <= set(runs):
        shared = []
        for a, b in zip(runs["size"], runs["cells"], strict=True):
            one, two = ({row[0] for row in run["genomes"]} for run in (a, b))
            shared.append(len(one & two) / max(1, len(one | two)))
        lines += [
            f"Of the genomes on either front of a seed, {percent(shared)} % are on both. Mean "
            "bits of each operator, over the fronts of all seeds:",
            "",
        ]
    genes = data["genes"]
    count = len(next(iter(genes.values()))) // len(GENES)
    names = [f"{g}{f' ({layer})' if count > 1 else ''}" for layer in range(count) for g in GENES]
    lines += table(
        ("operator", *(f"by {name}" for name in genes)),
        [
            (operator, *(f"{genes[name][k]:.1f}" for name in genes))
            for k, operator in enumerate(names)
        ],
    )
    lines += [
        f"Rank correlation of size and cells: {data['spearman_random']:.3f} over {data['random']} "
        f"random genomes, {data['spearman_fronts']:.3f} over the genomes of the fronts.",
        "",
        made_how(data),
        "",
    ]
    return lines
