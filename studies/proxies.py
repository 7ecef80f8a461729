"""The study of proxies: how well each ranks the configurations of every table and subset.

Handcrafted ones, the shipped evolved ones, and two anchors: a network pass for each configuration,
and the same configurations judged again with other calibration data (the noise ceiling).
"""

import platform
import statistics as averages
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from genogate.model.errors import InputError
from genogate.model.files import read_json
from genogate.search.proxies import handcrafted, tables, use
from genogate.search.proxies.fitness import report, spearman
from genogate.search.proxies.formula import InvalidProxy, Proxy, scores
from genogate.search.proxies.inputs import Inputs
from genogate.search.proxies.networks import output_kl, statistics_of
from genogate.search.proxies.tables import SUBSETS, Table
from genogate.search.proxies.use import FOUND

from .search import table as lines_of

Array = np.ndarray
Say = Callable[[str], None]
#: Genomes of a table that the network passes are made for.
PASSES = 300
#: Genomes of a subset that must have been judged again for a ceiling.
LEAST = 10
#: Genomes that must have been trained for before a ranking of them says anything.
LEAST_TRAINED = 30
CEILING, ANCHOR = "noise ceiling", "output-kl"
#: EMQ's published row and HAWQ-V2 on MQ-Bench-101 (ResNet-18, ImageNet): another table.
PUBLISHED = (
    "Published, on another table (MQ-Bench-101, ResNet-18 on ImageNet, not public): EMQ 0.43 at "
    "20 %, 0.57 at 50 %, 0.79 at 100 %; HAWQ-V2 0.75 at 100 %."
)
_FIGURES = (
    "kendall",
    "spearman@20",
    "spearman@50",
    "spearman@20 by accuracy",
    "spearman@50 by accuracy",
    "regret",
)


def ceiling(table: Table, subset: str) -> dict[str, float]:
    """:func:`genogate.search.proxies.fitness.report` of every repetition against the table's own
    accuracies, averaged; empty where there are hardly any."""
    rows = table.subset(subset)
    rows = rows[rows < table.repeated]
    if len(rows) < LEAST:
        return {}
    found = [
        report(again[rows], table.accuracy[rows], table.sizes[rows]) for again in table.repeats
    ]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _clean(found: Mapping[str, float]) -> dict[str, float | None]:
    """Rounded; None where a ranking of equal values has no figure."""
    return {k: None if not np.isfinite(v) else round(float(v), 4) for k, v in found.items()}


def _judged(table: Table, found: Array, known: int | None = None) -> dict[str, Any]:
    """Reports of scores of the first `known` genomes, by subset."""
    reports = {}
    for subset in SUBSETS:
        rows = table.subset(subset)
        rows = rows if known is None else rows[rows < known]
        reports[subset] = _clean(report(found[rows], table.accuracy[rows], table.sizes[rows]))
    trained = np.flatnonzero(np.isfinite(table.trained[: len(found)]))
    if len(trained) >= LEAST_TRAINED:
        value = float(spearman(found[trained], table.trained[trained]))
        reports["trained"] = _clean({"spearman": value})
    return reports


def _about(table: Table) -> dict[str, Any]:
    trained = np.flatnonzero(np.isfinite(table.trained))
    return {
        "genomes": len(table.genomes),
        "items": len(table.items),
        "subsets": {s: len(table.subset(s)) for s in SUBSETS},
        "accuracy": {
            s: [
                round(float(v), 4)
                for v in np.quantile(table.accuracy[table.subset(s)], (0, 0.5, 1))
            ]
            for s in SUBSETS
        },
        "repeats": list(table.repeats.shape),
        "judged_on": table.about["judged_on"],
        "task": table.about["task"],
        "checkpoint_hash": table.about["checkpoint_hash"],
        "trained": len(trained),
        "trained_against_untrained": None
        if len(trained) < LEAST_TRAINED
        else round(float(spearman(table.trained[trained], table.accuracy[trained])), 4),
        "fingerprint": tables.fingerprint(table),
    }


def measure(say: Say = lambda text: None, names: Sequence[str] = tables.NAMES) -> dict[str, Any]:
    """Reports of every proxy on every table, by subset, and the seconds that scoring took."""
    rows: list[dict[str, Any]] = []
    about, seconds = {}, []
    evolved = {name: Proxy.parse(text) for name, text in use.found().items()}
    for name in names:
        say(f"{name}: statistics")
        table, of = tables.load(name), statistics_of(name, say=say)
        about[name] = _about(table)
        say(f"{name}: scores")
        count = len(table.genomes)
        for proxy in (*handcrafted.TABLES, "bops"):
            begin = time.perf_counter()
            found = handcrafted.scores(proxy, of, table.genomes)
            seconds.append((time.perf_counter() - begin) / count)
            rows.append(
                {
                    "table": name,
                    "proxy": proxy,
                    "kind": "handcrafted",
                    "reports": _judged(table, found),
                }
            )
        inputs = Inputs.of(of)
        columns = inputs.columns(table.genomes)
        for proxy, formula in evolved.items():
            try:
                reports = _judged(table, scores(formula.table(inputs), columns))
            except InvalidProxy:
                reports = {}
            rows.append({"table": name, "proxy": proxy, "kind": "evolved", "reports": reports})
        say(f"{name}: {PASSES} network passes")
        begin = time.perf_counter()
        found = output_kl(name, table.genomes[:PASSES])
        about[name]["seconds of a pass"] = (time.perf_counter() - begin) / len(found)
        rows.append(
            {
                "table": name,
                "proxy": ANCHOR,
                "kind": "anchor",
                "reports": _judged(table, found, PASSES),
            }
        )
        rows.append(
            {
                "table": name,
                "proxy": CEILING,
                "kind": "anchor",
                "reports": {s: _clean(ceiling(table, s)) for s in SUBSETS},
            }
        )
    return {
        "rows": rows,
        "tables": about,
        "passes": PASSES,
        "seconds": {"median": averages.median(seconds), "longest": max(seconds)},
        "versions": {**tables.versions(), "python": platform.python_version()},
    }


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mean(values: Sequence[float | None]) -> float:
    """A ranking of equal values ranks nothing: it counts as 0."""
    return averages.mean(value or 0.0 for value in values) if values else float("nan")


def _searched(names: list[str]) -> tuple[list[str], list[str]]:
    """The tables that the shipped evolved proxies were searched on, and the others."""
    searched = {t for entry in read_json(FOUND).values() for t in entry["searched_on"]}
    return [n for n in names if n in searched], [n for n in names if n not in searched]


def _mean_cell(reports: list[dict[str, Any]]) -> str:
    """Mean rank correlation over the tables that were measured."""
    measured = [report["spearman"] for report in reports if report]
    return f"{_mean(measured):.3f}" if measured else "-"


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    names = list(data["tables"])
    if not names:
        raise InputError("docs/data/proxies.json: without tables; measure the section again")
    reports: dict[str, dict[str, Any]] = {}
    kinds = {}
    for row in data["rows"]:
        reports.setdefault(row["proxy"], {})[row["table"]] = row["reports"]
        kinds[row["proxy"]] = row["kind"]
    lines = [
        "## Proxies: ranking genomes without training",
        "",
        "A proxy ranks genomes by statistics of the float network, taken once, without "
        "quantising or training them. It is judged on tables: genomes, each with its validation "
        "accuracy after quantisation. For a GRU, genomes are widths of 2 to 8 bits of 17 "
        "operators; for a CNN, 2, 3, 4 or 8 bits of every layer's weights. Each table has random "
        "genomes, genomes of one sum of bits, and genomes of one size; the last two cannot be "
        "ranked by counting bits. Accuracies in this table: least, median, greatest.",
        "",
    ]
    rows = []
    for name, about in data["tables"].items():
        spread = [" ".join(f"{100 * v:.1f}" for v in about["accuracy"][s]) for s in SUBSETS]
        rows.append(
            [
                name,
                *(
                    f"{about['subsets'][s]}: {text}"
                    for s, text in zip(SUBSETS, spread, strict=True)
                ),
                about["judged_on"],
                f"{about['repeats'][1]} x {about['repeats'][0]}",
                about["trained"] or "-",
            ]
        )
    lines += lines_of(
        [
            "table",
            "random: accuracy, %",
            "equal sum",
            "equal size",
            "judged on",
            "judged again",
            "trained too",
        ],
        rows,
    )
    searched, unseen = _searched(names)
    shown = [f"{name}, searched" if name in searched else name for name in (*unseen, *searched)]
    names = [*unseen, *searched]
    lines += [
        "The evolved proxies were searched on one half of the tables marked so; what they are "
        "worth is told by the unseen ones, which come first and which rows are ordered by. There "
        "the evolved proxy is no better than `hawq-v2`, whose formula (error times curvature) "
        "evolution found again.",
        "",
    ]
    for subset, title in zip(
        SUBSETS, ("random genomes", "equal sum of bits", "equal size"), strict=True
    ):
        ordered = sorted(
            reports,
            key=lambda p: (
                kinds[p] == "anchor",
                -_mean(
                    [
                        reports[p][n].get(subset, {}).get("spearman")
                        for n in unseen
                        if n in reports[p]
                    ]
                ),
            ),
        )
        rows = []
        for proxy in ordered:
            found = [reports[proxy].get(name, {}).get(subset, {}) for name in names]
            # What was not measured on a table is no part of a mean; what ranks nothing is.
            known = [one for one in found if one]
            label = f"**{proxy}**" if kinds[proxy] == "evolved" else proxy
            rows.append(
                [
                    label,
                    _mean_cell(found[: len(unseen)]),
                    _mean_cell(found[len(unseen) :]),
                    *(_cell(one.get("spearman")) for one in found),
                    *(f"{_mean([one.get(figure) for one in known]):.2f}" for figure in _FIGURES),
                ]
            )
        lines += [
            f"Spearman, {title}; then means over all tables (@20, @50: Spearman among the best 20 "
            "% and 50 % by score, and by true accuracy; regret: points of accuracy that the pick "
            "within a size loses, mean of three budgets):",
            "",
        ]
        lines += lines_of(
            [
                "proxy",
                "mean, unseen",
                "mean, searched",
                *shown,
                *("Kendall", "@20", "@50", "@20 true", "@50 true", "regret"),
            ],
            rows,
        )
    trained = [name for name in names if data["tables"][name]["trained"] >= LEAST_TRAINED]
    for name in trained:
        about = data["tables"][name]
        best = sorted(
            (
                (reports[p][name].get("trained", {}).get("spearman") or 0.0, p)
                for p in reports
                if kinds[p] != "anchor"
            ),
            reverse=True,
        )[:5]
        lines += [
            f"{about['trained']} genomes of {name} were trained as well. Rank correlation with "
            "their trained accuracy: accuracy without training "
            f"{_cell(about['trained_against_untrained'])}, "
            + ", ".join(f"{proxy} {value:.2f}" for value, proxy in best)
            + ".",
            "",
        ]
    seconds = data["seconds"]
    passes = averages.median(about["seconds of a pass"] for about in data["tables"].values())
    lines += [
        "The last two rows are no proxies. output-kl passes a batch through each quantised "
        f"network (the first {data['passes']} genomes of a table); the noise ceiling is the "
        "accuracy of the same genomes, judged again with other calibration data. A proxy takes "
        f"{1e6 * seconds['median']:.1f} us a genome (median over proxies; the slowest "
        f"{1e6 * seconds['longest']:.0f} us), a pass through the network {1e3 * passes:.0f} ms, "
        f"{passes / seconds['median']:,.0f} times as long. {PUBLISHED}",
        "",
    ]
    return lines
