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
        "Every part is told by models that were not fitted to it (five shares of the parts, each "
        "told by the four others), and the parts of a network are added up.",
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
            "A ROM as logic by word count, width and entropy, told by the ROMs of all other "
            "networks:",
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
        told = "which is outside" if apart else "which is within"
        words.append(
            f"in {unit} a search by cells has {np.mean(cells) / np.mean(own):.0%} of the volume of "
            f"the search by {name}, {told} what seeds differ by"
        )
    return f"So {'; '.join(words)}."


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
        f"Searches of digits-row with equal evaluations (at most {count}), seeds "
        f"{', '.join(map(str, SEEDS))}, accuracy after quantisation without training. Hypervolume "
        "of accuracy and one price (mean, and range of the seeds): what each search found, priced "
        "in every way; then the least of each price within a point of INT8's accuracy, of all "
        "seeds. All by estimate."
        + " The searches were made with models of before those on this page."
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
        "With `share` as a gene (`genogate search --target sky130 --objectives accuracy,um2 "
        f"--knob-genes share`): {shared['shared']} of the {shared['points']} points of the front "
        f"share hardware; the least area within a point of INT8 is {least['um2']:,.0f} um^2, "
        f"{shared['saved_percent']} % less than INT8 with a unit for each operator, with share "
        f"{least['knobs'].get('share', 'none')} and genes {genes}, {least['cycles']:,} cycles a "
        "step.",
        "",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    kws = {r["genome"]: r[UP5K]["ebr"] for r in data["rows"] if r["task"] == "kws10"}
    lines = [
        "## Networks in real parts",
        "",
        f"Measured by {data['yosys']}, one lane. No board was measured, no layout made. "
        "[Targets](../targets.md) says what the columns count.",
        "",
        f"kws10 at INT8 does not fit an iCE40UP5K: {kws['INT8']:.0f} of "
        f"{prices.limits(UP5K)['ebr']} "
        f"block RAMs. The mixed network takes {kws['mixed']:.0f} and fits.",
        "",
    ]
    return [*lines, *part_tables.render(data), *_errors(data), *_searches(data)]
