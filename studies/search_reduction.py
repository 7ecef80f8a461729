"""What a search saves at half a point, on checkpoints that it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from genogate.model.data.tasks import Task
from genogate.model.genome import MAX_BITS
from genogate.model.integer import IntModel
from genogate.model.quantize.drafts import draft
from genogate.model.quantize.quantize import without_synthesis
from genogate.search.genomes.candidate import Point
from genogate.search.genomes.evaluate import Setting, load, shifted
from genogate.sim.fast import accuracy
from genogate.synth.report import cheapest

from .search import (
    FOLDER,
    FULL,
    Campaign,
    Size,
    config_of,
    made_how,
    percent,
    recorded_size,
    spread,
    table,
)
from .search import QUICK as QUICK

Array = np.ndarray
Say = Callable[[str], None]
#: Points of accuracy below INT8 that a chosen genome may lose.
ALLOWED = 0.5
#: What the figures of others are (``published``): size saved at about half a point.
PUBLISHED = "arXiv 2402.12263: 25-55 % of size; widths for each matrix after training: about 50 %"


def parts_of(task: Task) -> dict[str, tuple[Array, Array]]:
    """What a choice may be made by, and the test part."""
    return {
        "validation": (task.x_val, task.y_val),
        "validation, shifted": shifted(task),
        "training and validation": (
            np.concatenate([task.x_train, task.x_val]),
            np.concatenate([task.y_train, task.y_val]),
        ),
        "test": (task.x_test, task.y_test),
    }


#: Ways to choose: what must be within :data:`ALLOWED` of INT8. The last is stricter than any.
RULES = {
    "validation": ("validation",),
    "validation, shifted": ("validation, shifted",),
    "training and validation": ("training and validation",),
    "all of them": ("validation", "validation, shifted", "training and validation"),
}
#: The choice of a search that judges the validation part as it is itself.
PLAIN = "validation, by the search too"
#: What is to be least among those that may be chosen.
GOALS = {"size": ("size",), "cells": ("cells",), "size and cells": ("size", "cells")}


def models_of(setting: Setting, points: Sequence[Point]) -> list[IntModel]:
    """The integer models of points, as the search had them."""
    settings = [point.candidate.setting(setting) for point in points]
    drafts = [
        draft(load(each).calibration, point.genome, each.knobs)
        for each, point in zip(settings, points, strict=True)
    ]
    groups = [group for made in drafts for group in made.groups]
    units = iter(cheapest(groups) if setting.silicon else without_synthesis(groups))
    return [made.choose([next(units) for _ in made.groups]) for made in drafts]


class Judged:
    """Accuracies of points on parts of the data, each computed once."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.parts = setting, parts_of(load(setting).task)
        self._models: dict[Any, IntModel] = {}
        self._known: dict[tuple[Any, str], float] = {}

    def __call__(self, point: Point, part: str) -> float:
        """Share of right classes of `point` on `part`."""
        key = point.candidate, part
        if key not in self._known:
            if point.candidate not in self._models:
                (self._models[point.candidate],) = models_of(self.setting, [point])
            model, (x, y) = self._models[point.candidate], self.parts[part]
            self._known[key] = accuracy(model, x, y)
        return self._known[key]


def chosen_by(
    judged: Judged, points: Sequence[Point], parts: Sequence[str], goal: Sequence[str]
) -> Point:
    """The point of least cost that loses at most :data:`ALLOWED` on every one of `parts`."""
    int8 = next(p for p in points if set(p.genome.genes) == {MAX_BITS} and not p.candidate.knobs)
    floor = {part: judged(int8, part) - ALLOWED / 100 - 1e-9 for part in parts}
    able = [p for p in points if all(name in p.result for name in goal)]
    able.sort(key=lambda p: sum(p.result[name] / int8.result[name] for name in goal))
    # What is far off on the validation part would hold on no other: spare its evaluation.
    near = int8.result["accuracy"] - 0.04
    for point in able:
        if point.result["accuracy"] >= near and all(judged(point, n) >= floor[n] for n in parts):
            return point
    return int8


def measure_reduction(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """Searches on every checkpoint and seed; choices by every rule; then the test part, once.

    Besides, searches that judge the validation part without its shifted copies themselves.
    """
    plan = [
        (name, seed, shifts)
        for shifts in (True, False)
        for name in size.checkpoints
        for seed in range(size.searches if shifts else size.plain)
    ]
    size = replace(size, generations=size.generations * size.longer)
    campaign = Campaign(Path(folder) / "search", size.workers, say, len(plan))
    runs = []
    goals = {n: g for n, g in GOALS.items() if size.silicon or g == ("size",)}
    for checkpoint, seed, shifts in plan:
        setting = replace(size.setting(checkpoint), shifts=shifts)
        rules = RULES if shifts else {PLAIN: ("validation",)}
        config = config_of(size, {}, seed=seed, objectives=size.objectives)
        points = campaign.run(f"{checkpoint} saved", setting, config)
        say(f"Choosing: {checkpoint}, seed {seed}")
        judged = Judged(setting)
        int8 = next(p for p in points if set(p.genome.genes) == {MAX_BITS})
        # Choices first, all of them; the test part after that.
        choices = [
            (rule, goal, chosen_by(judged, points, parts, names))
            for rule, parts in rules.items()
            for goal, names in goals.items()
        ]
        base = judged(int8, "test")
        runs.append(
            {
                "checkpoint": checkpoint,
                "seed": seed,
                "evaluations": len(points),
                "int8": {**int8.result, "test": base, "images": len(judged.parts["test"][1])},
                "choices": [
                    {
                        "rule": rule,
                        "goal": goal,
                        "genome": list(point.genome.genes),
                        "size": 1 - point.result["size"] / int8.result["size"],
                        **(
                            {"cells": 1 - point.result["cells"] / int8.result["cells"]}
                            if size.silicon
                            else {}
                        ),
                        "test_drop": round(100 * (base - judged(point, "test")), 4),
                    }
                    for rule, goal, point in choices
                ],
            }
        )
    return {**recorded_size(size, "search_reduction"), "allowed": ALLOWED, "runs": runs}


def render_reduction(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    runs, allowed = data["runs"], data["allowed"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        for choice in run["choices"]:
            groups.setdefault((choice["rule"], choice["goal"]), []).append(choice)
    holds = {
        key: sum(c["test_drop"] <= allowed + 1e-6 for c in several)
        for key, several in groups.items()
    }
    rows = [
        (
            rule,
            goal,
            percent([c["size"] for c in several]),
            percent([c["cells"] for c in several]) if "cells" in several[0] else "-",
            spread([c["test_drop"] for c in several], 2),
            f"{holds[rule, goal]} of {len(several)}",
        )
        for (rule, goal), several in groups.items()
    ]
    by_seed = []
    last = list(RULES)[1]
    for name in dict.fromkeys(run["checkpoint"] for run in runs):
        for goal in dict.fromkeys(goal for rule, goal in groups if rule == last):
            several = [
                c
                for run in runs
                if run["checkpoint"] == name
                for c in run["choices"]
                if (c["rule"], c["goal"]) == (last, goal)
            ]
            by_seed.append(
                (
                    name,
                    goal,
                    percent([c["size"] for c in several]),
                    percent([c["cells"] for c in several]) if "cells" in several[0] else "-",
                    spread([c["test_drop"] for c in several], 2),
                )
            )
    best = groups[last, "size"]
    images = runs[0]["int8"]["images"]
    return [
        f"## What a search saves at {allowed:g} points",
        "",
        f"digits-row, quantised after training, {len({r['checkpoint'] for r in runs})} "
        f"checkpoints (each with a split of its own), {len(runs)} searches of "
        f"{mean(r['evaluations'] for r in runs):,.0f} evaluations. Of each search one genome is "
        "chosen: the one with least size, cells, or both, among those that lose at most "
        f"{allowed:g} points against INT8. The first column says on which data that loss is "
        "judged. The test part is looked at afterwards, once, and its result stands here "
        f"whatever it is ({images} images, {100 / images:.2f} points each). Savings are against "
        "our own INT8, mean ± standard deviation over all searches. *Shifted* means that every "
        "validation image is also moved by up to a pixel in both directions, as in training. "
        "Searches themselves judge by shifted images, except those "
        f'of "{PLAIN}".',
        "",
        *table(
            (
                "chosen by",
                "least",
                "size saved, %",
                "cells saved, %",
                "test: points lost",
                f"within {allowed:g} on test",
            ),
            rows,
        ),
        f'For each checkpoint, chosen by "{last}":',
        "",
        *table(
            ("checkpoint", "least", "size saved, %", "cells saved, %", "test: points lost"), by_seed
        ),
        f"Published for comparison: {PUBLISHED}. Here {percent([c['size'] for c in best])} % of "
        f'size, chosen by "{last}".',
        "",
        made_how(data, "searches"),
        "",
    ]
