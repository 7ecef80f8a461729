"""What an experiment says: its networks with their numbers, and the short table of the command."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np

from ...model.genome import Genome

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
        tests = {
            json.dumps(row["about"], sort_keys=True): row["found"]["test"]
            for row in document["numbers"]
            if row["stage"] == "test"
        }
        hardware = {
            json.dumps(row["about"]): row["found"]
            for row in document["numbers"]
            if row["stage"] == "hardware"
        }
        self.floats: dict[tuple[str, str], Numbers] = {}
        self.trained: dict[str, Network] = {}
        self.quantised: dict[str, dict[str, Network]] = {"float": {}, "any": {}}
        self.searches: list[Numbers] = []
        self.seconds: dict[str, float] = {}
        for row in document["numbers"]:
            stage, what, entry = row["stage"], row["about"], dict(row["found"])
            self.seconds[stage] = self.seconds.get(stage, 0) + entry.get("seconds", 0)
            if stage == "search":
                self.seconds["search (wall)"] = self.seconds.get("search (wall)", 0) + entry.get(
                    "wall_seconds", 0
                )
                self.searches.append({**what, **entry})
            if stage not in ("float", "trained", "quantised"):
                continue
            test = tests.get(json.dumps({stage: what}, sort_keys=True))
            if test is not None:
                entry["test"] = test
            if stage == "float":
                self.floats[what["source"], what["weights"]] = entry
                continue
            into = self.trained if stage == "trained" else self.quantised[what["weights"]]
            key = _key(what["hidden"], what["genes"], what["knobs"])
            one = into.setdefault(key, Network(what["hidden"], tuple(what["genes"]), what["knobs"]))
            entry |= hardware.get(json.dumps(entry.get("model_hash")), {})
            one.seeds[what["seed"]] = entry
        int8 = next(n for n in self.quantised["float"].values() if set(n.genes) == {8})
        self.hidden, self.int8 = int8.hidden, int8
        for seed, numbers in int8.seeds.items():
            int8_hardware = [
                hardware.get(json.dumps(f"int8 h{int8.hidden}-seed{seed} {kind}"))
                for kind in (self.plan["knobs"]["activation"], "auto")
            ]
            # The better INT8 is what all is relative to.
            numbers |= min((o for o in int8_hardware if o), key=lambda o: o["cells"], default={})

    def drop(self, network: Network, part: str) -> list[float]:
        """Points below INT8 on a part of the data, by seed."""
        return [
            100 * (self.int8.seeds[seed][part] - numbers[part])
            for seed, numbers in network.seeds.items()
            if part in numbers
        ]

    def both(self, network: Network) -> list[float]:
        """Points below INT8 on the sequences of the validation and the test part together."""
        counts = self.document["data"]["sequences"]
        share = counts["test"] / (counts["test"] + counts["val"])
        return [
            share * test + (1 - share) * val
            for test, val in zip(
                self.drop(network, "test"), self.drop(network, "val"), strict=False
            )
        ]

    def saved(self, network: Network, name: str) -> list[float]:
        """Percent less than INT8, by seed."""
        return [
            100 * (1 - numbers[name] / self.int8.seeds[seed][name])
            for seed, numbers in network.seeds.items()
            if name in numbers and name in self.int8.seeds[seed]
        ]

    def chosen(self, choice: Mapping[str, Any] | None) -> Network | None:
        if choice is None:
            return None
        return self.trained.get(_key(choice["hidden"], choice["genes"], choice["knobs"]))

    def uniform(self, bits: int, hidden: int | None = None) -> Network | None:
        """The homogeneous network that was trained."""
        return self.trained.get(_key(hidden or self.hidden, [bits] * len(self.int8.genes), {}))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, and the range where there are several; a dash for none."""
    if not values:
        return "-"
    text = f"{mean(values):.{digits}f}"
    return (
        text if len(values) < 2 else f"{text} ({min(values):.{digits}f}..{max(values):.{digits}f})"
    )


def digits_of(network: Network) -> str:
    text = "".join(map(str, network.genes))
    knobs = " ".join(f"{name}={value}" for name, value in network.knobs.items())
    return f"`{text[:6]} {text[6:]}`{' ' + knobs if knobs else ''}"


HEAD = (
    "network",
    "units",
    "seeds",
    "test, %",
    "validation, %",
    "points below INT8: test",
    "validation",
    "both",
    "judged by",
    "size saved, %",
    "weights, kbit",
    "cells saved, %",
    "memory bits",
    "cycles/step",
)


def row_of(results: Found, name: str, network: Network | None) -> tuple[str, ...]:
    if network is None:
        return (name, *["-"] * (len(HEAD) - 2), "none")
    memory, cycles = network.mean("memory"), network.mean("cycles")
    tests = [100 * n["test"] for n in network.seeds.values() if "test" in n]
    return (
        name,
        str(network.hidden),
        str(len(network.seeds)),
        spread(tests),
        spread([100 * n["val"] for n in network.seeds.values()]),
        spread(results.drop(network, "test")),
        spread(results.drop(network, "val")),
        spread(results.both(network)),
        spread(results.drop(network, "judged")),
        spread(results.saved(network, "size"), 1),
        f"{(network.mean('weights') or 0) / 1000:.1f}",
        spread(results.saved(network, "cells"), 1),
        "-" if memory is None else f"{memory:,.0f}",
        "-" if cycles is None else f"{cycles:,.0f}",
    )


def rows_of(results: Found) -> list[tuple[str, ...]]:
    """The main table of an experiment."""
    from .plan import scheme_genome

    int8 = Genome.from_genes(results.int8.genes)
    plan = results.plan
    seeds = list(results.int8.seeds)
    labels = [f"h{results.hidden}-seed{seed}" for seed in seeds]
    floats = [
        results.floats[label, "float"] for label in labels if (label, "float") in results.floats
    ]
    rows = [
        (
            "float",
            str(results.hidden),
            str(len(seeds)),
            spread([100 * f["test"] for f in floats if "test" in f]),
            spread([100 * f["val"] for f in floats if "val" in f]),
            *["-"] * (len(HEAD) - 5),
        )
    ]
    rows.append(row_of(results, "INT8, quantised", results.int8))
    for name in plan["baselines"]:
        genes = list(scheme_genome(name, len(int8.layers), len(int8.dense)).genes)
        shown = name.upper() if name.startswith("int") else name
        rows.append(
            row_of(
                results, f"{shown}, trained", results.trained.get(_key(results.hidden, genes, {}))
            )
        )
    choices = results.document.get("choices", {})
    for kind, more in (("least", ""), ("least with an error to spare", ", with an error to spare")):
        for aim, choice in choices.get(kind, {}).items():
            goal, limit = aim.split()
            network = results.chosen(choice)
            label = f"least {goal} within {limit}{more}"
            rows.append(
                row_of(results, f"{label}: {digits_of(network)}" if network else label, network)
            )
    return rows


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """The main table as text, for a terminal."""
    rows = [HEAD, *rows_of(Found(document))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    return [
        "  ".join(
            cell.ljust(width) if not k else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
