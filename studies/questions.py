"""Three questions that arXiv 2402.12263 leaves open, answered with figures of the other studies.

Nothing is trained here: the figures are those of docs/data, so they are measured again there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.files import read_json

from .few_bits import gains

DOCS = Path(__file__).parents[1] / "docs"
DEFAULT, NO_LOCAL = "nsga2 (default)", "nsga2, no local search"
NO_LIMIT, PAPER = "nsga2, no limit of drop", "nsga2 as in the paper: random start, no local search"


def _data(name: str) -> dict[str, Any]:
    return dict(read_json(DOCS / "data" / f"{name}.json"))


def _volumes(baselines: Mapping[str, Any], variant: str) -> dict[str, list[float]]:
    """Hypervolume in percent, by evaluations, over the seeds."""
    runs = [run["hypervolume"] for run in baselines["runs"] if run["variant"] == variant]
    return {
        str(at): [100 * run[k] for run in runs if len(run) > k]
        for k, at in enumerate(baselines["at"])
    }


def measure(say: Any) -> dict[str, Any]:
    """The figures that the answers need, from the data of other studies."""
    baselines, few, qat = (_data(name) for name in ("search_baselines", "few_bits", "qat"))
    networks = list(dict.fromkeys(row["network"] for row in few["rows"]))
    taught = [
        {
            "checkpoint": row["checkpoint"],
            "scheme": row["scheme"],
            "gain": 100 * (row["qat"]["test"] - row["untaught"]["test"]),
        }
        for row in qat["homogeneous"]
        if row.get("untaught")
    ]
    return {
        "at": baselines["at"],
        "volumes": {v: _volumes(baselines, v) for v in (DEFAULT, NO_LOCAL, NO_LIMIT, PAPER)},
        "no_teacher": {n: gains(few["rows"], "no teacher", n, "judged") for n in networks},
        "no_teacher_test": {n: gains(few["rows"], "no teacher", n, "test") for n in networks},
        "taught": taught,
    }


def _about(values: Sequence[float], digits: int = 2, sign: bool = False) -> str:
    center = round(float(np.mean(values)), digits) + 0
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{center:{'+' if sign else ''}.{digits}f} ± {error:.{digits}f}"


def _difference(first: Sequence[float], second: Sequence[float]) -> str:
    """Paired by seed."""
    pairs = [a - b for a, b in zip(first, second, strict=True)]
    return _about(pairs, 2, True)


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    last, middle = str(data["at"][-1]), str(data["at"][-2])
    volumes = {name: data["volumes"][name] for name in data["volumes"]}
    default = volumes[DEFAULT]
    taught: dict[str, list[float]] = {}
    for row in data["taught"]:
        taught.setdefault(row["scheme"], []).append(row["gain"])
    lines = [
        "## Three open questions of arXiv 2402.12263",
        "",
        "Means over seeds, ± one standard error. The paper's search is NSGA-II on accuracy and "
        "size; it names these as what might be tried next.",
        "",
        "**An exploitation phase.** Part of the evaluations goes to local search, from "
        "the points of the front. Hypervolume after "
        f"{last} evaluations of digits-row (percent of the useful region): {_about(default[last])} "
        f"with it, {_about(volumes[NO_LOCAL][last])} without: "
        f"{_difference(default[last], volumes[NO_LOCAL][last])} points, by seed; at {middle} "
        f"the difference is {_difference(default[middle], volumes[NO_LOCAL][middle])}. So it "
        "helps, a little: five seeds tell it alone, and not among six comparisons. What the first "
        "population is matters more: the paper's random start without local search ends at "
        f"{_about(volumes[PAPER][last])}. ([Baselines](search_baselines.md).) The search "
        "within a budget does nothing else after its homogeneous starts.",
        "",
        "**Constrained objectives.** Accuracy as a constraint as well: genomes more than 10 points "
        "below INT8 are of no use, and their hardware is not measured. Hypervolume "
        f"{_about(default[last])} with the constraint, {_about(volumes[NO_LIMIT][last])} without: "
        f"{_difference(default[last], volumes[NO_LIMIT][last])} points, which five seeds do not "
        "tell from nothing. So the front is no better for it; what it saves is the measurement of "
        "genomes that nobody wants. Within a budget accuracy is a constraint alone (`--max-drop`): "
        "the cheapest network within it is all that is searched ([the race](race.md)).",
        "",
        "**Distillation.** Half of the loss is the distance to the float network's answers. "
        "Without the teacher digits-row of 24 units gains on validation "
        + "; ".join(f"{n} {_about(v, 2, True)}" for n, v in data["no_teacher"].items())
        + ", and on test "
        + "; ".join(f"{n} {_about(v, 2, True)}" for n, v in data["no_teacher_test"].items())
        + " points ([few bits](few_bits.md)). Over all checkpoints where both were trained, the "
        "teacher is worth on test "
        + "; ".join(f"{n} {_about(v, 2, True)}" for n, v in taught.items())
        + " points ([training](qat.md)). So it may be worth something at INT3, where one study "
        "sees it and the other does not, and little elsewhere. A larger teacher is no better, nor "
        "is one that was trained as INT8.",
        "",
    ]
    return lines
