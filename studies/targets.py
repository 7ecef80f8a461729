"""Networks in real parts: what they take, how well estimates rank them, and what a search by the
wrong price costs in the right one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.files import read_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.candidate import USEFUL_DROP
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, costs_of
from genogate.search.genomes.pareto import hypervolume, non_dominated
from genogate.search.genomes.run import Run
from genogate.synth.targets import prices
from genogate.synth.yosys import find as find_yosys

from . import part_tables
from .part_tables import FOLDER, UP5K, Pieces, table, words

#: Objectives beside accuracy of the searches that are compared, and the target of each.
SEARCHES = {
    "cells": (("cells",), "generic"),
    "um2": (("um2",), "sky130"),
    "LUT and block RAM": (("lut", "ebr"), UP5K),
}
SEEDS, POP, GENERATIONS, EXPLOIT = (0, 1, 2), 12, 6, 4
PAGE = Path("docs/data/targets.json")

Say = Callable[[str], None]


class _Estimated(Run):
    """A search that ends with its estimates: what it found is priced in every way afterwards."""

    def _measure(self, pool: Any, say: Any) -> Iterator[None]:
        yield


def _search(name: str, seed: int, knob_genes: tuple[str, ...], say: Say) -> list[dict[str, Any]]:
    """Front of a search by estimates: genomes, knobs and accuracies."""
    objectives, target = SEARCHES[name]
    config = Config(
        objectives=("accuracy", *objectives),
        target=target,
        pop_size=POP,
        generations=GENERATIONS,
        exploit=EXPLOIT,
        initial="homogeneous",
        knob_genes=knob_genes,
        seed=seed,
    )
    setting = Setting(
        "digits-row", Knobs(activation="table"), config.silicon, estimate=True, target=target
    )
    folder = FOLDER / _label(name, seed, knob_genes)
    run = _Estimated(folder, setting, config, resume=(folder / "config.json").exists())
    front = run.go(workers=1, say=say)
    share = [dict(point.candidate.knobs) for point in front]
    return [
        {
            "genes": list(point.genome.genes),
            "knobs": knobs,
            "accuracy": point.result["accuracy"],
            "cycles": point.result["cycles"],
        }
        for point, knobs in zip(front, share, strict=True)
    ]


def _label(name: str, seed: int, knob_genes: tuple[str, ...] = ()) -> str:
    share = "-share" * bool(knob_genes)
    return f"search-{name.replace(' ', '-')}-{seed}{share}-{prices.version()}"


def _front(
    pieces: Pieces, name: str, seed: int, knob_genes: tuple[str, ...] = ()
) -> list[dict[str, Any]] | None:
    """The front of a search with its prices, or None where the budget has no time for it."""
    found: list[dict[str, Any]] | None = pieces.get(
        f"front-{_label(name, seed, knob_genes)}",
        lambda: [_priced(point) for point in _search(name, seed, knob_genes, pieces.say)],
    )
    return found


def _priced(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point with its cells, area and LUTs by estimate."""
    knobs = replace(Knobs(activation="table"), **point["knobs"])
    genome = Genome.from_genes(point["genes"])
    figures: dict[str, Any] = dict(point)
    for target in ("generic", "sky130", UP5K):
        setting = Setting("digits-row", knobs, target == "generic", estimate=True, target=target)
        figures |= costs_of((setting, genome))
    return figures


def _volume(points: Sequence[Mapping[str, Any]], name: str, int8: Mapping[str, Any]) -> float:
    """Share of the useful region of accuracy and one price that points dominate."""
    costs = np.array([[1 - p["accuracy"], p[name] / int8[name]] for p in points])
    reference = np.array([1 - int8["accuracy"] + USEFUL_DROP, 1.0])
    return round(hypervolume(costs[non_dominated(costs)], reference), 4)


def _compared(pieces: Pieces) -> dict[str, Any] | None:
    """Fronts by each price, and what each is worth in the others; None where any is missing."""
    fronts: dict[str, list[dict[str, Any]]] = {}
    volumes: dict[str, dict[str, list[float]]] = {name: {} for name in SEARCHES}
    int8: dict[str, Any] | None = None
    found = [(name, _front(pieces, name, seed)) for seed in SEEDS for name in SEARCHES]
    for name, points in found:
        if points is None:
            return None
        if int8 is None:
            best = max(points, key=lambda p: (p["genes"] == [8] * 17, p["accuracy"]))
            int8 = _priced({"genes": [8] * 17, "knobs": {}, "accuracy": best["accuracy"]})
        fronts.setdefault(name, []).extend(points)
        for price in ("cells", "um2", "lut"):
            volumes[name].setdefault(price, []).append(_volume(points, price, int8))
    assert int8 is not None
    least = {
        name: {
            price: min(
                (p[price] for p in points if p["accuracy"] >= int8["accuracy"] - 0.01),
                default=None,
            )
            for price in ("cells", "um2", "lut", "ebr")
        }
        for name, points in fronts.items()
    }
    return {"int8": int8, "volumes": volumes, "least": least}


def _shared(int8: Mapping[str, Any], pieces: Pieces) -> dict[str, Any] | None:
    """A search with sharing as a gene, and its least area within a point measured."""
    points = _front(pieces, "um2", 0, ("share",))
    if points is None:
        return None
    near = [p for p in points if p["accuracy"] >= int8["accuracy"] - 0.01] or points
    least = min(near, key=lambda p: p["um2"])
    return {
        "points": len(points),
        "shared": sum(p["knobs"].get("share", "none") != "none" for p in points),
        "least": least,
        "saved_percent": round(100 * (1 - least["um2"] / int8["um2"]), 1),
    }


def measure(say: Say, budget: str | None = None) -> dict[str, Any]:
    """Tables, errors and searches; what was measured before stays as it is in :data:`FOLDER`.
    Searches that the budget has no time for stay those of the page before.

    Raises :class:`InputError` without Yosys, nextpnr, cells, OpenSTA or a C compiler."""
    document = read_json(prices.FILE)["targets"]
    pieces = Pieces(FOLDER, budget, say)
    tables = part_tables.measure(pieces)
    compared = _compared(pieces)
    shared = compared and _shared(compared["int8"], pieces)
    before = read_json(PAGE)
    return {
        **tables,
        "errors": {
            target: {"error": models["error"], "parts": models.get("parts")}
            for target, models in document.items()
        },
        "rom": document["sky130"].get("rom", {}),
        "searches": compared or before["searches"] | {"older": True},
        "shared": shared or before["shared"] | {"older": True},
        "missing": len(pieces.missing),
        "yosys": find_yosys().version,
    }


def _range(volumes: Sequence[float]) -> str:
    return f"{np.mean(volumes):.3f} ({min(volumes):.3f} to {max(volumes):.3f})"


def _errors(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for target, models in data["errors"].items():
        for figure, row in models["error"].items():
            rows.append(
                (
                    target,
                    figure,
                    models["parts"],
                    row["genomes"],
                    f"{row['median_percent']} %",
                    f"{row['worst_percent']} %",
                    row.get("rank_correlation"),
                    f"{row.get('ranked')} of {row.get('ranked_network')}",
                )
            )
    lines = [
        "### How well estimates rank networks",
        "",
        "The parts of networks are cut into five shares. Each share is estimated by models that "
        "were fitted to the four others, so no part is estimated by a model that has seen it. The "
        "parts of a network are added up and compared with what Yosys makes. Rank correlation "
        "(Spearman's) says whether estimates order networks as measurements do; 1 is the same "
        "order.",
        "",
        *table(
            (
                *("target", "figure", "parts measured", "genomes", "off, median", "off, worst"),
                *("rank correlation", "of genomes"),
            ),
            rows,
        ),
    ]
    if data["rom"]:
        lines += [
            "Constants as logic are estimated from a memory's words, width and entropy. How far "
            "off that is when the model was fitted to the memories of all other networks:",
            "",
            *table(
                ("network", "memories", "off, median of a memory", "off, sum of all"),
                [
                    (n, r["memories"], f"{r['median_percent']} %", f"{r['sum_percent']:+} %")
                    for n, r in data["rom"].items()
                ],
            ),
        ]
    return lines


def _verdict(volumes: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """What a search by cells costs in the other prices, in words."""
    words = []
    for name, price, unit in (("um2", "um2", "um^2"), ("LUT and block RAM", "lut", "LUTs")):
        cells, own = volumes["cells"][price], volumes[name][price]
        apart = max(cells) < min(own) or max(own) < min(cells)
        told = "More" if apart else "No more"
        words.append(
            f"In {unit} the search by cells has {np.mean(cells) / np.mean(own):.0%} of the volume "
            f"of the search by {name}. {told} than seeds differ by."
        )
    return " ".join(words)


def _searches(data: Mapping[str, Any]) -> list[str]:
    searches, int8 = data["searches"], data["searches"]["int8"]
    count = POP * (GENERATIONS + EXPLOIT)
    rows = []
    for name in SEARCHES:
        volumes, least = searches["volumes"][name], searches["least"][name]
        rows.append(
            (
                name,
                *(_range(volumes[price]) for price in ("cells", "um2", "lut")),
                *(words(least[price]) for price in ("cells", "um2", "lut", "ebr")),
            )
        )
    rows.append(
        ("(INT8)", "", "", "", *(words(int8[price]) for price in ("cells", "um2", "lut", "ebr")))
    )
    shared = data["shared"]
    least = shared["least"]
    genes = ",".join(map(str, least["genes"]))
    return [
        "### A search by the wrong price",
        "",
        "Does it matter which price a search works with? Searches of digits-row by one price each, "
        f"with equal evaluations (at most {count}), seeds {', '.join(map(str, SEEDS))}, accuracy "
        "after quantisation without training. All prices are estimates. The first columns give the "
        "hypervolume of accuracy and one price, that is the share of the plane that a front "
        "dominates, more is better: what each search found, priced in every way (mean, and range "
        "over the seeds). The others give the least price within a point of INT8's accuracy, over "
        "all seeds."
        + " The searches were made with earlier models than those on this page."
        * bool(searches.get("older")),
        "",
        *table(
            (
                *("search by", "volume in cells", "in um^2", "in LUTs"),
                *("least cells", "least um^2", "least LUTs", "least block RAMs"),
            ),
            rows,
        ),
        _verdict(searches["volumes"]),
        "",
        "`share` may be a gene too: whether operators share hardware (`genogate search --target "
        "sky130 --objectives accuracy,um2 --knob-genes share`). Of the front's "
        f"{shared['points']} networks {shared['shared']} share hardware. The least area within a "
        f"point of INT8 is {least['um2']:,.0f} um^2, {shared['saved_percent']} % less than INT8 "
        "with a unit for each operator. This network has share "
        f"{least['knobs'].get('share', 'none')}, the genes {genes}, and takes {least['cycles']:,} "
        "cycles a step.",
        "",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    kws = {r["genome"]: r[UP5K]["ebr"] for r in data["rows"] if r["task"] == "kws10"}
    limits = prices.limits(UP5K)
    fits = sum(all(r[UP5K][name] <= most for name, most in limits.items()) for r in data["rows"])
    worst = max(
        row["median_percent"]
        for models in data["errors"].values()
        for row in models["error"].values()
    )
    lines = [
        "## Networks in real parts",
        "",
        "Asked: what does a network take of a real part, does it fit, how fast is it, and how well "
        "do the estimates that a search works with rank networks?",
        "",
        f"Result: {fits} of {len(data['rows'])} networks fit an iCE40UP5K. kws10 at INT8 does not: "
        f"it needs {kws['INT8']:.0f} block RAMs of {prices.limits(UP5K)['ebr']}. With mixed widths "
        f"it needs {kws['mixed']:.0f} and fits. Estimates are off by {worst:.1f} % in the median "
        "at most, in any resource of any target.",
        "",
        f"Measured by {data['yosys']}, with one multiplier a layer and side (one lane). No board "
        "was measured and no layout made. [Targets](../targets.md) says what the columns count. "
        "Mixed: a genome with a width of its own for each operator, below.",
        "",
    ]
    return [*lines, *part_tables.render(data), *_errors(data), *_searches(data)]
