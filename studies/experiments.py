"""The experiments in docs/results.md: all tables of every task."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
from genogate.model.errors import InputError
from genogate.model.genome import GENES
from genogate.search.experiment.summary import HEAD, HGQ2, PAPER, Found, digits_of, rows_of
from genogate.search.genomes.pareto import non_dominated

from studies.search import table
from studies.search_statistics import rank_correlation


def _front(found: Found) -> list[str]:
    """Accuracy against bits of weights on the first seed, beside what others reach."""
    task = found.plan["task"]
    seed = next(iter(found.int8.seeds))
    networks = [n for n in found.trained.values() if seed in n.seeds and "test" in n.seeds[seed]]
    # Chosen by validation accuracy, reported on test.
    costs = np.array([(-n.seeds[seed]["judged"], n.seeds[seed]["weights"]) for n in networks])
    front = sorted(
        (networks[k] for k in non_dominated(costs)), key=lambda n: -n.seeds[seed]["weights"]
    )
    body = []
    for network in front:
        numbers = network.seeds[seed]
        body.append(
            (
                f"{numbers['weights'] / 1000:.1f}",
                f"{100 * numbers['test']:.2f}",
                f"{100 * numbers['val']:.2f}",
                str(network.hidden),
                digits_of(network),
                f"{numbers['cells']:,}" if "cells" in numbers else "-",
                f"{numbers['memory']:,}" if "memory" in numbers else "-",
                f"{numbers['cycles']:,}",
            )
        )
    lines = [f"Front of {task} in validation accuracy and bits of weights, seed {seed}:", ""]
    head = (
        "weights, kbit",
        "test, %",
        "validation, %",
        "units",
        "genes (weights, rest)",
        "cells",
        "memory bits",
        "cycles/step",
    )
    lines += table(head, body)
    for percent, kbit in HGQ2.get(task, ()):
        better = [
            n
            for n in front
            if n.seeds[seed]["weights"] <= 1000 * kbit and 100 * n.seeds[seed]["test"] >= percent
        ]
        said = (
            f"dominated by {100 * better[-1].seeds[seed]['test']:.2f} % with "
            f"{better[-1].seeds[seed]['weights'] / 1000:.1f} kbit"
            if better
            else "not dominated"
        )
        lines.append(f"* HGQ2 {percent:.2f} % with {kbit} kbit: {said}.")
    return [*lines, ""] if HGQ2.get(task) else lines


def _equal_size(found: Found) -> list[tuple[str, ...]]:
    """Mixed networks beside homogeneous ones that are as large or larger, on the first seed."""
    seed = next(iter(found.int8.seeds))
    uniform = [n for n in found.trained.values() if n.homogeneous and seed in n.seeds]
    mixed = [n for n in found.trained.values() if not n.homogeneous and seed in n.seeds]
    rows: list[tuple[str, ...]] = []
    for rival in sorted(uniform, key=lambda n: -n.seeds[seed]["size"]):
        able = [n for n in mixed if n.seeds[seed]["size"] <= rival.seeds[seed]["size"]]
        if not able or "test" not in rival.seeds[seed]:
            continue
        best = max(able, key=lambda n: n.seeds[seed]["judged"])
        rows.append(
            (
                found.plan["task"],
                f"INT{rival.genes[0]}",
                f"{rival.seeds[seed]['size']:,}",
                f"{100 * rival.seeds[seed]['test']:.2f}",
                f"{best.seeds[seed]['size']:,}",
                str(best.hidden),
                digits_of(best),
                f"{100 * best.seeds[seed]['test']:.2f}",
            )
        )
    return rows


def _ways(found: Found) -> list[tuple[str, ...]]:
    """Mixed networks by quantisation, by weights for all, and trained: means, and ranks."""
    rows: list[tuple[str, ...]] = []
    networks = [n for n in found.trained.values() if not n.homogeneous]
    pairs: dict[str, list[tuple[float, float]]] = {"float": [], "any": []}
    both: list[tuple[float, float, float]] = []
    for network in networks:
        for seed, numbers in network.seeds.items():
            own = [found.quantised[kind].get(network.key) for kind in ("float", "any")]
            values = [o.seeds[seed] for o in own if o and seed in o.seeds]
            if len(values) == 2 and all("test" in v for v in (*values, numbers)):
                both.append((values[0]["test"], values[1]["test"], numbers["test"]))
                for kind, value in zip(pairs, values, strict=True):
                    pairs[kind].append((value["judged"], numbers["judged"]))
    if both:
        means = [f"{100 * mean(column):.2f}" for column in zip(*both, strict=True)]
        ranks = [f"{rank_correlation(*zip(*pairs[kind], strict=True)):.3f}" for kind in pairs]
        rows.append((found.plan["task"], str(len(both)), *means, *ranks))
    return rows


def _genes(found: Found) -> list[float] | None:
    """Mean bits of each operator over the useful part of the front on weights for all, at most a
    point below INT8."""
    base = next((s["int8"]["accuracy"] for s in found.searches if s["weights"] == "any"), None)
    rows = [
        p["genes"]
        for s in found.searches
        if s["weights"] == "any"
        for p in s["front"]
        if p["accuracy"] >= s["int8"]["accuracy"] - 0.01
    ]
    return None if base is None or not rows else list(np.mean(rows, 0))


def _about(found: Found) -> str:
    plan, data = found.plan, found.document["data"]
    number = len(found.int8.seeds)
    seeds = f"{number} seeds" if number > 1 else "one seed"
    times = ", ".join(
        f"{stage} {value:,.0f}" for stage, value in found.seconds.items() if value >= 0.5
    )
    count, for_all = plan["sequences"], plan.get("any_sequences") or plan["sequences"]
    return (
        f"networks of {found.hidden} units, {seeds}; also of "
        f"{', '.join(map(str, plan['hidden'])) or 'no other number of'} units. A genome is trained "
        f"for {plan['epochs']} epochs"
        + (f" of {count:,} sequences" if count else "")
        + f", the weights for all genomes for {plan['any_epochs']}"
        + (f" of {for_all:,}" if for_all else "")
        + "."
        + (
            f" The float network of {found.hidden} units teaches the other sizes."
            if plan.get("teacher") == "reference"
            else ""
        )
        + f" {data['sequences']['val']:,} validation and {data['sequences']['test']:,} test "
        f"sequences. CPU seconds: {times}."
    )


def _simulated(found: Found) -> str:
    simulation = found.document.get("simulation")
    if not simulation:
        return "Verilog: not simulated."
    if "skipped" in simulation:
        return f"Verilog: not simulated ({simulation['skipped']})."
    return (
        f"Verilog of `{''.join(map(str, simulation['genes']))}` ({simulation['hidden']} units) in "
        f"Icarus: {simulation['count']} test sequences, {simulation['steps_run']} of "
        f"{simulation['steps_of']} steps, {simulation['codes']:,} codes, "
        f"{simulation['mismatches']} mismatches."
    )


def _outcome(every: Sequence[Found]) -> str:
    """What the smallest networks save, in a sentence."""
    columns = HEAD.index("size saved, %"), HEAD.index("points below INT8: test")
    words = [
        "{} % ({}, {} points)".format(row[columns[0]].split()[0], found.plan["task"], lost)
        for found in every
        for row in rows_of(found)
        if row[0].startswith("least size within 0.5:")
        for lost in [row[columns[1]].split()[0]]
    ]
    return (
        "Result: the smallest networks within half a point, by validation accuracy, save so much "
        f"of INT8's size, and lose so many points on the test part: {', '.join(words)}. "
        f"The search of arXiv 2402.12263 saves {PAPER}."
    )


def render(data: Mapping[str, Any]) -> list[str]:
    """The section of docs/results.md from the documents of all tasks."""
    every = [Found(document) for document in data["tasks"]]
    lines = [
        "## The experiment on every task",
        "",
        "Asked: how small does a network become when every operator has a width of its own, and "
        "accuracy may fall by half a point or a point below INT8?",
        "",
        _outcome(every),
        "",
        "`make experiment TASK=... ARGS=--seed-patterns` does all of it. Two searches look for "
        "genomes: one on the float weights, one on weights that were trained for all genomes. "
        "Their first populations hold genomes written by hand. What they find is trained. Every "
        "choice is made by validation accuracy; then the test part is passed once.",
        "",
        "How to read the tables. Everything is relative to INT8 by quantisation, of the same seed; "
        "INT8 has whichever activation units take fewer cells, tables or piecewise-linear ones. "
        "Figures are means over the seeds, with their range. A seed of a keyword task also draws "
        "other validation speakers. Points below INT8 are lost accuracy; a negative figure is "
        "gained. `both`: on the sequences of test and validation part together. `judged by`: what "
        "choices look at, the validation part, and where that is small also shifted copies of it. "
        "`least size` (or cells) `within 0.5`: of the mixed networks trained on "
        "every seed, the smallest whose mean validation accuracy is within 0.5 points of INT8. "
        "`with an error to spare`: the points plus their standard error over the seeds (three or "
        "more) are within the limit.",
        "",
    ]
    for found in every:
        unfinished = "" if found.document.get("done") else " (not finished)"
        lines += [
            f"**{found.plan['task']}**{unfinished}: {_about(found)}",
            "",
            *table(HEAD, rows_of(found)),
            _simulated(found),
            "",
        ]
    parts: list[tuple[str, Sequence[str], Callable[[Found], list[tuple[str, ...]]]]] = [
        (
            "Mixed networks against homogeneous ones of the same size or larger. First seed, test "
            "accuracy; the mixed one was chosen by validation accuracy:",
            (
                "task",
                "homogeneous",
                "its bits",
                "its test, %",
                "mixed, bits",
                "units",
                "genes (weights, rest)",
                "test, %",
            ),
            _equal_size,
        ),
        (
            "The mixed networks by three routes: quantised from the float weights, quantised from "
            "the weights for all genomes, and trained one by one. The table gives mean test "
            "accuracy, and Spearman's rank correlation between the validation accuracies of a "
            "route and those after training. Read the ranks with care: the networks are few, of "
            "one seed, of several sizes, and were chosen for being good. With 12 networks (kws4) "
            "the standard error is about 0.3, so its 0.14 says nothing sure. The study of "
            "fidelities has random genomes:",
            (
                "task",
                "networks",
                "quantised, %",
                "weights for all, %",
                "trained, %",
                "rank, quantised",
                "rank, weights for all",
            ),
            _ways,
        ),
    ]
    for text, head, make in parts:
        rows = [row for found in every for row in make(found)]
        if rows:
            lines += [text, "", *table(head, rows)]
    for found in every:
        lines += _front(found)
    bits = {f.plan["task"]: genes for f in every if (genes := _genes(f)) is not None}
    if bits:
        lines += [
            "Which operators need bits? Mean width of each operator, over the points of the "
            "searches on weights for all genomes that lose at most a point:",
            "",
            *table(
                ("operator", *bits),
                [
                    (name, *(f"{genes[k]:.1f}" for genes in bits.values()))
                    for k, name in enumerate(GENES)
                ],
            ),
        ]
    return lines


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """The documents of all experiments that are done here. Raises :class:`InputError` for none."""
    from studies.transfer import experiments

    documents = [document for _, document in experiments()]
    if not documents:
        raise InputError("experiments: none is done in runs: genogate experiment --task TASK")
    return {"command": "python -m studies --only experiments", "documents": documents}
