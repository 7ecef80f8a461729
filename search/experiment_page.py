"""What the experiments say: tables of docs/results.md, and the short one of the command."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np

from ..model.errors import InputError
from ..model.genome import GENES
from .pareto import non_dominated
from .study_search import rank_correlation, table

#: What was published for the paper's search on a task, and for others beside us on the same data.
PAPER = "25-55 %"
#: Test accuracy in percent and kbit of weights of HGQ2 0.2.0 (widths by gradient; 64 units, 20
#: epochs, one seed), run once beside this project; its state takes 2-4 bits, its input 1-2.
HGQ2 = {"mnist-row": ((98.79, 46.5), (98.45, 37.8), (98.05, 27.6))}
Numbers = dict[str, Any]


@dataclass
class Network:
    """A genome with its numbers by seed.

    seeds : of each: judged, val, test (shares), size, weights (bits), cycles, cells, memory
    """

    hidden: int
    genes: tuple[int, ...]
    knobs: dict[str, Any]
    seeds: dict[int, Numbers] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return _key(self.hidden, self.genes, self.knobs)

    @property
    def homogeneous(self) -> bool:
        return len(set(self.genes)) == 1

    def mean(self, name: str) -> float | None:
        """Mean over the seeds that have it, None where one lacks it."""
        values = [numbers[name] for numbers in self.seeds.values() if name in numbers]
        return float(np.mean(values)) if values and len(values) == len(self.seeds) else None


def _key(hidden: int, genes: Sequence[int], knobs: Mapping[str, Any]) -> str:
    return json.dumps([hidden, list(genes), dict(knobs)], sort_keys=True)


class Found:
    """The numbers of an experiment's document, by what they are of."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document, self.plan = document, document["plan"]
        tests = {json.dumps(row["about"], sort_keys=True): row["found"]["test"]
                 for row in document["numbers"] if row["stage"] == "test"}  # fmt: skip
        hardware = {json.dumps(row["about"]): row["found"]
                    for row in document["numbers"] if row["stage"] == "hardware"}  # fmt: skip
        self.floats: dict[tuple[str, str], Numbers] = {}
        self.trained: dict[str, Network] = {}
        self.quantised: dict[str, dict[str, Network]] = {"float": {}, "any": {}}
        self.searches: list[Numbers] = []
        self.seconds: dict[str, float] = {}
        for row in document["numbers"]:
            stage, about, found = row["stage"], row["about"], dict(row["found"])
            self.seconds[stage] = self.seconds.get(stage, 0) + found.get("seconds", 0)
            if stage == "search":
                self.seconds["search (wall)"] = (self.seconds.get("search (wall)", 0)
                                                 + found.get("wall_seconds", 0))  # fmt: skip
                self.searches.append({**about, **found})
            if stage not in ("float", "trained", "quantised"):
                continue
            test = tests.get(json.dumps({stage: about}, sort_keys=True))
            if test is not None:
                found["test"] = test
            if stage == "float":
                self.floats[about["source"], about["weights"]] = found
                continue
            into = self.trained if stage == "trained" else self.quantised[about["weights"]]
            key = _key(about["hidden"], about["genes"], about["knobs"])
            one = into.setdefault(key, Network(about["hidden"], tuple(about["genes"]),
                                               about["knobs"]))  # fmt: skip
            found |= hardware.get(json.dumps(found.get("model_hash")), {})
            one.seeds[about["seed"]] = found
        int8 = next(n for n in self.quantised["float"].values() if set(n.genes) == {8})
        self.hidden, self.int8 = int8.hidden, int8
        for seed, numbers in int8.seeds.items():
            own = [hardware.get(json.dumps(f"int8 h{int8.hidden}-seed{seed} {kind}"))
                   for kind in (self.plan["knobs"]["activation"], "auto")]  # fmt: skip
            # The better INT8 is what all is relative to.
            numbers |= min((o for o in own if o), key=lambda o: o["cells"], default={})

    def drop(self, network: Network, part: str) -> list[float]:
        """Points below INT8 on a part of the data, by seed."""
        return [100 * (self.int8.seeds[seed][part] - numbers[part])
                for seed, numbers in network.seeds.items() if part in numbers]  # fmt: skip

    def both(self, network: Network) -> list[float]:
        """Points below INT8 on the sequences of the validation and the test part together."""
        counts = self.document["data"]["sequences"]
        share = counts["test"] / (counts["test"] + counts["val"])
        return [share * test + (1 - share) * val for test, val in zip(
            self.drop(network, "test"), self.drop(network, "val"), strict=False)]  # fmt: skip

    def saved(self, network: Network, name: str) -> list[float]:
        """Percent less than INT8, by seed."""
        return [100 * (1 - numbers[name] / self.int8.seeds[seed][name])
                for seed, numbers in network.seeds.items()
                if name in numbers and name in self.int8.seeds[seed]]  # fmt: skip

    def chosen(self, choice: Mapping[str, Any] | None) -> Network | None:
        if choice is None:
            return None
        return self.trained.get(_key(choice["hidden"], choice["genes"], choice["knobs"]))

    def uniform(self, bits: int, hidden: int | None = None) -> Network | None:
        """The homogeneous network that was trained."""
        return self.trained.get(_key(hidden or self.hidden, [bits] * len(GENES), {}))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, and the range where there are several; a dash for none."""
    if not values:
        return "-"
    text = f"{mean(values):.{digits}f}"
    return (
        text if len(values) < 2 else f"{text} ({min(values):.{digits}f}..{max(values):.{digits}f})"
    )


def _digits(network: Network) -> str:
    text = "".join(map(str, network.genes))
    knobs = " ".join(f"{name}={value}" for name, value in network.knobs.items())
    return f"`{text[:6]} {text[6:]}`{' ' + knobs if knobs else ''}"


HEAD = (
    "network", "units", "seeds", "test, %", "validation, %", "points below INT8: test",
    "validation", "both", "judged by",
    "size saved, %", "weights, kbit", "cells saved, %", "memory bits", "cycles/step",
)  # fmt: skip


def _row(found: Found, name: str, network: Network | None) -> tuple[str, ...]:
    if network is None:
        return (name, *["-"] * (len(HEAD) - 2), "none")
    memory, cycles = network.mean("memory"), network.mean("cycles")
    tests = [100 * n["test"] for n in network.seeds.values() if "test" in n]
    return (
        name, str(network.hidden), str(len(network.seeds)), spread(tests),
        spread([100 * n["val"] for n in network.seeds.values()]),
        spread(found.drop(network, "test")), spread(found.drop(network, "val")),
        spread(found.both(network)), spread(found.drop(network, "judged")),
        spread(found.saved(network, "size"), 1), f"{(network.mean('weights') or 0) / 1000:.1f}",
        spread(found.saved(network, "cells"), 1),
        "-" if memory is None else f"{memory:,.0f}", "-" if cycles is None else f"{cycles:,.0f}",
    )  # fmt: skip


def rows_of(found: Found) -> list[tuple[str, ...]]:
    """The main table of an experiment."""
    from .experiment_plan import BASELINES

    plan = found.plan
    seeds = list(found.int8.seeds)
    labels = [f"h{found.hidden}-seed{seed}" for seed in seeds]
    floats = [found.floats[label, "float"] for label in labels
              if (label, "float") in found.floats]  # fmt: skip
    rows = [("float", str(found.hidden), str(len(seeds)),
             spread([100 * f["test"] for f in floats if "test" in f]),
             spread([100 * f["val"] for f in floats if "val" in f]),
             *["-"] * (len(HEAD) - 5))]  # fmt: skip
    rows.append(_row(found, "INT8, quantised", found.int8))
    for name in plan["baselines"]:
        weights, rest = BASELINES[name]
        genes = [weights] * 6 + [rest] * 11
        shown = name.upper() if name.startswith("int") else name
        rows.append(_row(found, f"{shown}, trained",
                         found.trained.get(_key(found.hidden, genes, {}))))  # fmt: skip
    choices = found.document.get("choices", {})
    for kind, more in (("least", ""), ("least with an error to spare", ", with an error to spare")):
        for aim, choice in choices.get(kind, {}).items():
            goal, limit = aim.split()
            network = found.chosen(choice)
            label = f"least {goal} within {limit}{more}"
            rows.append(_row(found, f"{label}: {_digits(network)}" if network else label, network))
    return rows


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """The main table as text, for a terminal."""
    rows = [HEAD, *rows_of(Found(document))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) if not k else cell.rjust(width)
                      for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in rows]  # fmt: skip


def _front(found: Found) -> list[str]:
    """Accuracy against bits of weights on the first seed, beside what others reach."""
    task = found.plan["task"]
    seed = next(iter(found.int8.seeds))
    networks = [n for n in found.trained.values() if seed in n.seeds and "test" in n.seeds[seed]]
    # Chosen by validation accuracy, reported on test.
    costs = np.array([(-n.seeds[seed]["judged"], n.seeds[seed]["weights"]) for n in networks])
    front = sorted((networks[k] for k in non_dominated(costs)),
                   key=lambda n: -n.seeds[seed]["weights"])  # fmt: skip
    body = []
    for network in front:
        numbers = network.seeds[seed]
        body.append((
            f"{numbers['weights'] / 1000:.1f}", f"{100 * numbers['test']:.2f}",
            f"{100 * numbers['val']:.2f}", str(network.hidden), _digits(network),
            f"{numbers['cells']:,}" if "cells" in numbers else "-",
            f"{numbers['memory']:,}" if "memory" in numbers else "-", f"{numbers['cycles']:,}",
        ))  # fmt: skip
    lines = [f"Front of {task} in validation accuracy and bits of weights, seed {seed}:", ""]
    head = ("weights, kbit", "test, %", "validation, %", "units", "genes (weights, rest)", "cells",
            "memory bits", "cycles/step")  # fmt: skip
    lines += table(head, body)
    for percent, kbit in HGQ2.get(task, ()):
        better = [n for n in front if n.seeds[seed]["weights"] <= 1000 * kbit
                  and 100 * n.seeds[seed]["test"] >= percent]  # fmt: skip
        said = (f"dominated by {100 * better[-1].seeds[seed]['test']:.2f} % with "
                f"{better[-1].seeds[seed]['weights'] / 1000:.1f} kbit" if better
                else "not dominated")  # fmt: skip
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
        rows.append((
            found.plan["task"], f"INT{rival.genes[0]}", f"{rival.seeds[seed]['size']:,}",
            f"{100 * rival.seeds[seed]['test']:.2f}", f"{best.seeds[seed]['size']:,}",
            str(best.hidden), _digits(best), f"{100 * best.seeds[seed]['test']:.2f}",
        ))  # fmt: skip
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
    rows = [p["genes"] for s in found.searches if s["weights"] == "any"
            for p in s["front"] if p["accuracy"] >= s["int8"]["accuracy"] - 0.01]  # fmt: skip
    return None if base is None or not rows else list(np.mean(rows, 0))


def _about(found: Found) -> str:
    plan, data = found.plan, found.document["data"]
    seconds = ", ".join(f"{stage} {value:,.0f}" for stage, value in found.seconds.items()
                        if value >= 0.5)  # fmt: skip
    count, for_all = plan["sequences"], plan.get("any_sequences") or plan["sequences"]
    return (
        f"{len(found.int8.seeds)} seed(s) of {found.hidden} units, also "
        f"{', '.join(map(str, plan['hidden'])) or 'no other'} units; {plan['epochs']} epochs for a "
        "genome"
        + (f" of {count:,} sequences" if count else "")
        + f", {plan['any_epochs']} for all"
        + (f" of {for_all:,}" if for_all else "")
        + ("; the reference teaches the other sizes" if plan.get("teacher") == "reference" else "")
        + f"; {data['sequences']['val']:,} validation and {data['sequences']['test']:,} test "
        f"sequences. CPU seconds: {seconds}."
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


def render(data: Mapping[str, Any]) -> list[str]:
    """The section of docs/results.md from the documents of all tasks."""
    every = [Found(document) for document in data["tasks"]]
    lines = [
        "## The experiment on every task",
        "",
        "`make experiment TASK=...`: searches on the float weights and on weights trained for all "
        "genomes, training of what they find, every choice by validation accuracy, then one pass "
        "over the test part. Judged by: the validation part, where it is small together with its "
        "shifted copies, which all choices look at. Both: points on the sequences of both parts "
        "together. All is relative to INT8 by quantisation of the same seed, whose "
        "cells are the fewer of those with tables and with piecewise-linear units. Mean and range "
        "over seeds; a seed of a keyword task also draws other validation "
        f"speakers. The search of arXiv 2402.12263 saves {PAPER} of size. Least: of the mixed "
        "networks that were trained on every seed, the one with least of that cost whose mean "
        "validation accuracy is within so many points of INT8; with an error to spare: the points "
        "and their standard error over the seeds (three or more) are within them.",
        "",
    ]
    for found in every:
        unfinished = "" if found.document.get("done") else " (not finished)"
        lines += [f"**{found.plan['task']}**{unfinished}: {_about(found)}", "",
                  *table(HEAD, rows_of(found)), _simulated(found), ""]  # fmt: skip
    parts: list[tuple[str, Sequence[str], Callable[[Found], list[tuple[str, ...]]]]] = [
        ("Mixed against homogeneous of the same size or larger (first seed, test; the mixed one "
         "chosen by validation):",
         ("task", "homogeneous", "its bits", "its test, %", "mixed, bits", "units",
          "genes (weights, rest)", "test, %"), _equal_size),
        ("The mixed networks by three routes: quantised from the float weights, quantised from the "
         "weights for all, and trained one by one; mean test accuracy, and Spearman's rank "
         "correlation of validation accuracies with the last:",
         ("task", "networks", "quantised, %", "weights for all, %", "trained, %", "rank, quantised",
          "rank, weights for all"), _ways),
    ]  # fmt: skip
    for text, head, make in parts:
        rows = [row for found in every for row in make(found)]
        if rows:
            lines += [text, "", *table(head, rows)]
    for found in every:
        lines += _front(found)
    bits = {f.plan["task"]: genes for f in every if (genes := _genes(f)) is not None}
    if bits:
        lines += [
            "Which operators need bits: mean genes over the points of the searches on weights for "
            "all that lose at most a point:",
            "",
            *table(("operator", *bits), [
                (name, *(f"{genes[k]:.1f}" for genes in bits.values()))
                for k, name in enumerate(GENES)
            ]),
        ]  # fmt: skip
    return lines


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """The documents of all experiments that are done here. Raises :class:`InputError` for none."""
    from .study_transfer import experiments

    documents = [document for _, document in experiments()]
    if not documents:
        raise InputError("experiments: none is done in runs: genogate experiment --task TASK")
    return {"command": "genogate results --only experiments", "documents": documents}
