"""Studies of the search: its rivals at equal evaluations, what it saves, and which objectives.

All runs of a study share one store, so that what two of them meet is evaluated once; evaluations
are counted for each run as if it were alone. A study that was stopped goes on where it was.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from genogate.model.data.tasks import Task
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.integer import IntModel
from genogate.model.knobs import Knobs
from genogate.model.quantize.drafts import draft
from genogate.model.quantize.quantize import without_synthesis
from genogate.search.genomes.candidate import USEFUL_DROP, Point, cost, useful_region
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, load, shifted
from genogate.search.genomes.pareto import hypervolume, non_dominated
from genogate.search.genomes.run import Run
from genogate.search.genomes.store import Store
from genogate.sim.fast import accuracy
from genogate.synth.recipes import script_hash
from genogate.synth.report import cheapest
from genogate.synth.yosys import find

Array = np.ndarray
Say = Callable[[str], None]
#: Where runs, and the store that they share, are kept until the study is done.
FOLDER = Path("build/studies")
CHECKPOINTS = ("digits-row", "digits-row-seed1", "digits-row-seed2")
OBJECTIVES = ("accuracy", "size", "cells")
#: Points of accuracy below INT8 that a chosen genome may lose.
ALLOWED = 0.5
#: What the figures of others are (``published``): size saved at about half a point.
PUBLISHED = "arXiv 2402.12263: 25-55 % of size; widths for each matrix after training: about 50 %"


@dataclass(frozen=True)
class Size:
    """How much the studies do.

    seeds : of every method that draws
    pop_size, generations : of every run; evaluations are at most their product
    checkpoints : of the study of savings, with `searches` seeds of the search each, and `longer`
        times as many generations; `plain` of the seeds also with searches that judge the validation
        part alone
    random : genomes of which the correlation of size and cells is computed
    """

    seeds: int = 5
    pop_size: int = 32
    generations: int = 15
    checkpoints: tuple[str, ...] = CHECKPOINTS
    searches: int = 3
    longer: int = 2
    plain: int = 1
    random: int = 40
    workers: int = 2
    knobs: Knobs = field(default_factory=Knobs)
    silicon: bool = True

    @property
    def objectives(self) -> tuple[str, ...]:
        return OBJECTIVES if self.silicon else OBJECTIVES[:2]

    def setting(self, checkpoint: str = CHECKPOINTS[0]) -> Setting:
        return Setting(checkpoint, self.knobs, self.silicon)


#: What two cores do in half an hour.
FULL = Size(searches=1, plain=0)
QUICK = Size(
    seeds=2,
    pop_size=8,
    generations=4,
    checkpoints=CHECKPOINTS[:1],
    searches=2,
    longer=1,
    random=10,
    workers=1,
    knobs=Knobs(activation="table"),
    silicon=False,
)


class _Bare(Run):
    """A run that leaves no genome files: of a study only the points are wanted."""

    def save(self, history: Sequence[Mapping[str, Any]], front: Sequence[Point]) -> None:
        pass


@dataclass
class Campaign:
    """Runs that share a store in `folder`."""

    folder: Path
    workers: int
    say: Say
    total: int
    done: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "evaluations.sqlite")

    def run(self, name: str, setting: Setting, config: Config) -> list[Point]:
        """All points of a run, in the order in which it asked for them."""
        self.done += 1
        about = json.dumps([asdict(config), setting.key], sort_keys=True)
        digest = hashlib.sha256(about.encode()).hexdigest()[:8]
        label = re.sub(r"\W+", "-", f"{name} {config.seed} {digest}")
        run = _Bare(self.folder / label, setting, config, resume=True)
        run.evaluator.store.close()
        run.evaluator.store = self.store
        head = f"{self.done} of {self.total}: {name}, seed {config.seed}"

        def tell(progress: Any) -> None:
            self.say(
                f"{head}, generation {progress.generation} of {progress.generations}, "
                f"hypervolume {progress.hypervolume:.4f}"
            )

        run.go(workers=self.workers, tell=tell)
        return list(run.points.values())


def int8_of(points: Iterable[Point]) -> Mapping[str, Any]:
    """The result of INT8 with the setting's own knobs."""
    for point in points:
        if set(point.genome.genes) == {MAX_BITS} and not point.candidate.knobs:
            return point.result
    raise ValueError("no INT8 among the points")


def costs_of(
    points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]
) -> tuple[list[int], Array]:
    """Indices of the points that have all objectives, and these [n, objectives], minimised."""
    kept = [k for k, p in enumerate(points) if all(name in p.result for name in objectives)]
    rows = [cost(objectives, points[k].result, int8) for k in kept]
    return kept, np.array(rows).reshape(len(rows), len(objectives))


def volume(points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]) -> float:
    """Share of the useful region that `points` dominate."""
    _, costs = costs_of(points, objectives, int8)
    reference = useful_region(objectives, int8)
    inside = costs[(costs < reference).all(1)] if len(costs) else costs
    return hypervolume(inside[non_dominated(inside)], reference) if len(inside) else 0.0


def front_of(
    points: Sequence[Point], objectives: Sequence[str], int8: Mapping[str, Any]
) -> list[Point]:
    """The points of the useful region that no other dominates."""
    kept, costs = costs_of(points, objectives, int8)
    inside = (
        np.flatnonzero((costs < useful_region(objectives, int8)).all(1))
        if kept
        else np.array([], int)
    )
    return [points[kept[inside[k]]] for k in non_dominated(costs[inside])] if len(inside) else []


def milestones(budget: int) -> list[int]:
    """Numbers of evaluations at which hypervolumes are compared."""
    return [max(1, round(budget * share)) for share in (0.125, 0.25, 0.5, 0.75, 1.0)]


# Statistics


def effect(a: Sequence[float], b: Sequence[float]) -> float:
    """A12 of Vargha and Delaney: the chance that a value of `a` is greater than one of `b`, equal
    ones half."""
    x, y = np.asarray(a, float)[:, None], np.asarray(b, float)
    return float(((x > y) + 0.5 * (x == y)).mean())


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for how many they are, by Holm's method."""
    order = np.argsort(p, kind="stable")
    corrected, worst = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[k]))
        corrected[k] = worst
    return corrected


def compared(
    reference: Sequence[float], others: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """`reference` against each of the others: Mann-Whitney U, two-sided and exact, p also after
    Holm, and the effect size of the reference over the other."""
    from scipy.stats import mannwhitneyu

    p = []
    for values in others.values():
        tied = len({*reference, *values}) < len(reference) + len(values)
        method = "asymptotic" if tied else "exact"
        p.append(
            1.0
            if len({*reference, *values}) == 1
            else float(mannwhitneyu(reference, values, method=method).pvalue)
        )
    return {
        name: {"p": p[k], "p_holm": corrected, "a12": effect(reference, others[name])}
        for k, (name, corrected) in enumerate(zip(others, holm(p), strict=True))
    }


def _about(size: Size, section: str) -> dict[str, Any]:
    """What every study records of how it was made."""
    return {
        "size": asdict(size),
        "yosys": find().version if size.silicon else None,
        "script": script_hash(),
        "command": f"python -m studies --only {section}",
    }


# Rivals and variants at equal evaluations

#: Share of the generations that explores in the default, before local search.
EXPLORE = 0.4
#: What is compared with the default: changes of :class:`Config`; a line is a variant. ``explore``
#: is the share of the generations before local search.
VARIANTS: dict[str, dict[str, Any]] = {
    "nsga2 (default)": {},
    "nsga2, no local search": {"explore": 1.0},
    "nsga2, homogeneous start": {"initial": "homogeneous"},
    "nsga2 as in the paper: random start, no local search": {"initial": "random", "explore": 1.0},
    "nsga2, no limit of drop": {"max_drop": None},
    "nsga2, knobs as genes": {"knob_genes": ("granularity", "multiplier_terms")},
    "random": {"method": "random", "explore": 1.0},
    "greedy": {"method": "greedy", "explore": 1.0},
}
REFERENCE = next(iter(VARIANTS))
#: Methods that draw nothing: they have one value.
DETERMINISTIC = ("greedy",)


def config_of(size: Size, variant: Mapping[str, Any], **fixed: Any) -> Config:
    """The configuration of a variant with the evaluations of `size`."""
    changes = dict(variant)
    explore = max(1, round(size.generations * changes.pop("explore", EXPLORE)))
    return Config(
        pop_size=size.pop_size,
        generations=explore,
        exploit=size.generations - explore,
        **{**fixed, **changes},
    )


def measure_baselines(
    say: Say,
    size: Size = FULL,
    folder: Path = FOLDER,
    variants: Mapping[str, Mapping[str, Any]] = VARIANTS,
) -> dict[str, Any]:
    """Hypervolume over evaluations of every variant and seed, with accuracy and size as objectives:
    random genomes bring so much new hardware that their cells would take hours. Activations are
    tables, which costs no cells here and is quick."""
    size = replace(size, silicon=False, knobs=replace(size.knobs, activation="table"))
    plan = [
        (name, seed)
        for name in variants
        for seed in range(1 if name in DETERMINISTIC else size.seeds)
    ]
    campaign = Campaign(Path(folder) / "search", size.workers, say, len(plan))
    setting, at = size.setting(), milestones(size.pop_size * size.generations)
    runs: list[dict[str, Any]] = []
    int8: Mapping[str, Any] = {}
    homogeneous: list[Point] = []
    for name, seed in plan:
        config = config_of(size, variants[name], seed=seed, objectives=size.objectives)
        points = campaign.run(name, setting, config)
        int8 = int8_of(points)
        runs.append(
            {
                "variant": name,
                "seed": seed,
                "evaluations": min(len(points), at[-1]),
                "hypervolume": [volume(points[:n], size.objectives, int8) for n in at],
                "front": len(front_of(points[: at[-1]], size.objectives, int8)),
            }
        )
        uniform = [p for p in points if len(set(p.genome.genes)) == 1 and not p.candidate.knobs]
        homogeneous = max(homogeneous, uniform, key=len)
    return {
        **_about(size, "search_baselines"),
        "objectives": list(size.objectives),
        "variants": {name: dict(changes) for name, changes in variants.items()},
        "at": at,
        "runs": runs,
        "int8": dict(int8),
        "useful_drop": USEFUL_DROP,
        "homogeneous": {
            "evaluations": len(homogeneous),
            "hypervolume": volume(homogeneous, size.objectives, int8),
        },
    }


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean and standard deviation; a single value as it is."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {stdev(values):.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table, and an empty one."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
    ]


def _made(data: Mapping[str, Any], seeds: str = "seeds") -> str:
    """How a study was made, as its last sentence; `seeds` names how many there were of them."""
    size = data["size"]
    count = size[seeds]
    tool = f"; {data['yosys']}, script {data['script']}" if data["yosys"] else ""
    drawn = f"seeds 0 to {count - 1}" if count > 1 else "seed 0"
    return (
        f"`{data['command']}`, {drawn}, populations of "
        f"{size['pop_size']}, {size['generations']} generations{tool}."
    )


def render_baselines(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in data["runs"]:
        runs.setdefault(run["variant"], []).append(run)
    final = {name: [run["hypervolume"][-1] for run in rows] for name, rows in runs.items()}
    drawn = {
        name: values
        for name, values in final.items()
        if name not in DETERMINISTIC and name != REFERENCE
    }
    tests = compared(final[REFERENCE], drawn)
    budget, best = data["at"][-1], max(final, key=lambda name: mean(final[name]))
    seeds = len(final[REFERENCE])
    rows = []
    for name, several in runs.items():
        if name in tests:
            test = tests[name]
            verdict = f"{test['p_holm']:.3f} ({test['p']:.3f})", f"{test['a12']:.2f}"
        else:
            below = sum(value > final[name][0] for value in final[REFERENCE])
            alone = name in DETERMINISTIC
            verdict = ("-", f"above it in {below} of {seeds} seeds" if alone else "-")
        shares = list(zip(*(run["hypervolume"] for run in several), strict=True))
        rows.append(
            (
                name,
                f"{mean(run['evaluations'] for run in several):,.0f}",
                *(spread(values) for values in shares),
                *verdict,
            )
        )
    uniform = data["homogeneous"]
    rows.append(
        (
            "homogeneous int2 ... int8",
            uniform["evaluations"],
            *[""] * (len(data["at"]) - 1),
            f"{uniform['hypervolume']:.4f}",
            "-",
            "-",
        )
    )
    least = 2.0 / _choose(2 * seeds, seeds)
    clear = [name for name, test in tests.items() if test["p_holm"] < 0.05]
    better = [name for name in clear if tests[name]["a12"] > 0.5]
    worse = [name for name in clear if tests[name]["a12"] < 0.5]
    what = ", ".join(data["objectives"])
    return [
        "## The search against its rivals, and what its options do",
        "",
        f"digits-row, objectives {what}; hypervolume is the share of the useful region (at most "
        f"{100 * data['useful_drop']:.0f} points below INT8, everything else at most that of INT8) "
        f"that a run dominates after so many evaluations, of {budget:,}; mean ± standard deviation "
        f"over {seeds} seeds. Evaluations that the first population needs count. Every variant is "
        "the default with something changed; local search takes its evaluations from those of "
        "NSGA-II. p: Mann-Whitney U against the default, two-sided, after Holm's correction for "
        f"{len(tests)} comparisons (before it); with {seeds} seeds each, no p before correction "
        f"can be below {least:.3f}. A12: chance that the default is better. Methods without chance "
        "have one value.",
        "",
        *table(("variant", "evaluations", *(f"at {n:,}" for n in data["at"]), "p", "A12"), rows),
        f"Highest mean: {best}. The default is better than {_list(better)} and worse than "
        f"{_list(worse)} (p < 0.05 after correction). Random search reaches "
        f"{_ratio(final, 'random')} of the default's hypervolume, greedy descent "
        f"{_ratio(final, 'greedy')}, the homogeneous genomes "
        f"{100 * uniform['hypervolume'] / mean(final[REFERENCE]):.1f} %.",
        "",
        _made(data),
        "",
    ]


def _choose(n: int, k: int) -> int:
    from math import comb

    return comb(n, k)


def _list(names: Sequence[str]) -> str:
    return "; ".join(names) if names else "none"


def _ratio(final: Mapping[str, Sequence[float]], name: str) -> str:
    if name not in final:
        return "-"
    return f"{100 * mean(final[name]) / mean(final[REFERENCE]):.1f} %"


# What is saved at half a point


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
    return {**_about(size, "search_reduction"), "allowed": ALLOWED, "runs": runs}


def _percent(values: Sequence[float]) -> str:
    return spread([100 * value for value in values], 1)


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
            _percent([c["size"] for c in several]),
            _percent([c["cells"] for c in several]) if "cells" in several[0] else "-",
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
                    _percent([c["size"] for c in several]),
                    _percent([c["cells"] for c in several]) if "cells" in several[0] else "-",
                    spread([c["test_drop"] for c in several], 2),
                )
            )
    best = groups[last, "size"]
    images = runs[0]["int8"]["images"]
    return [
        f"## What a search saves at {allowed:g} points",
        "",
        f"digits-row, quantised after training, {len({r['checkpoint'] for r in runs})} checkpoints "
        f"(a seed also cuts its split), {len(runs)} searches of "
        f"{mean(r['evaluations'] for r in runs):,.0f} evaluations. Of each search that point is "
        f"chosen that has least of the goal and loses at most {allowed:g} points against INT8 on "
        "the data that the rule names; the test part is looked at only then, and whatever it says "
        f"stands here ({images} images, {100 / images:.2f} points each). Saved against our own "
        "INT8, mean ± standard deviation over all searches. Shifted: every validation image moved "
        "by up to a pixel in both directions, as training augments; by these the searches judge, "
        f'but for those of "{PLAIN}".',
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
        f"Published for comparison: {PUBLISHED}. Here {_percent([c['size'] for c in best])} % of "
        f'size, chosen by "{last}".',
        "",
        _made(data, "searches"),
        "",
    ]


# Which objectives

#: The searches that are compared: on what they look.
VIEWS = {"size": ("accuracy", "size"), "cells": ("accuracy", "cells"), "both": OBJECTIVES}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, 0 where there is nothing to rank."""
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return 0.0
    return float(spearmanr(a, b).statistic)


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
        **_about(size, "search_objectives"),
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
            _percent([_least_at(run, data["int8"], column, 1.0) for run in several])
            for column in (2, 3)[: len(judges)]
        ]
        rows.append(row)
    lines = [
        "## Do size and cells choose different genomes?",
        "",
        "digits-row; searches at equal evaluations that look at "
        f"{', or at '.join(' and '.join(VIEWS[name]) for name in runs)}. Hypervolume of the front "
        'that a search returns, and "all": of everything that it evaluated, had one measured it '
        "afterwards; in "
        "either pair of objectives, mean ± standard deviation over "
        f"{len(next(iter(runs.values())))} seeds. "
        "Least: on the front, at most 1 point below INT8 (validation part), in percent of INT8.",
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
            f"Searching by {looked} alone loses {lost:.1f} % of the hypervolume in (accuracy, "
            f"{judge}) (p = {test['p']:.3f}, A12 = {test['a12']:.2f}); {later:.1f} % if {judge} "
            "were measured of all that it evaluated.",
            "",
        ]
    if {"size", "cells"} <= set(runs):
        shared = []
        for a, b in zip(runs["size"], runs["cells"], strict=True):
            one, two = ({row[0] for row in run["genomes"]} for run in (a, b))
            shared.append(len(one & two) / max(1, len(one | two)))
        lines += [
            f"Genomes that are on both fronts of a seed: {_percent(shared)} % of those on either. "
            "Mean bits of each operator on the fronts of all seeds together:",
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
        _made(data),
        "",
    ]
    return lines
