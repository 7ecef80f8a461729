"""The search against its rivals at equal evaluations, and what its options do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from genogate.search.genomes.candidate import USEFUL_DROP, Point

from .search import (
    FOLDER,
    FULL,
    Campaign,
    Size,
    config_of,
    front_of,
    int8_of,
    made_how,
    milestones,
    recorded_size,
    spread,
    table,
    volume,
)
from .search import QUICK as QUICK
from .search_statistics import compared

Say = Callable[[str], None]
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
        **recorded_size(size, "search_baselines"),
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
        f"digits-row, objectives {what}, {seeds} seeds; mean ± standard deviation. Figures are "
        "hypervolumes: the share of the useful region that a run dominates after so many "
        f"evaluations, of {budget:,} in all. The region ends {100 * data['useful_drop']:.0f} "
        "points below INT8, and at INT8's own figure of every other objective. Every variant is "
        "the default with one thing changed. Evaluations of the first population count, and "
        "local search takes its share from those of NSGA-II. p: Mann-Whitney U test against the "
        f"default, two-sided, after Holm's correction for {len(tests)} comparisons, and before it "
        f"in brackets; with {seeds} seeds each it cannot be below {least:.3f} before correction. "
        "A12: chance that a run of the default is better than one of the variant. Greedy descent "
        "draws nothing, so it has one run.",
        "",
        *table(("variant", "evaluations", *(f"at {n:,}" for n in data["at"]), "p", "A12"), rows),
        f"Highest mean: {best}. The default is better than {_list(better)} and worse than "
        f"{_list(worse)} (p < 0.05 after correction). Random search reaches "
        f"{_ratio(final, 'random')} of the default's hypervolume, greedy descent "
        f"{_ratio(final, 'greedy')}, the homogeneous genomes "
        f"{100 * uniform['hypervolume'] / mean(final[REFERENCE]):.1f} %.",
        "",
        made_how(data),
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
