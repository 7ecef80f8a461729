"""The experiment on a task: searches on quantised weights, training of what they find, one test.

Stages, in this order; every number is kept in ``experiment.json`` of the run's folder as soon as it
is known, so an experiment that was stopped, however, goes on when it is started again:

1. float networks: the shipped ones of the task (several seeds), and other hidden sizes;
2. of each, weights trained for all genomes at once (:mod:`genogate.model.qat.any_precision`);
3. NSGA-II on the float weights, and on the weights for all of every hidden size;
4. homogeneous networks of every seed, and what the searches found, trained one by one on the first
   seed: in rounds, each chosen by what the rounds before say about how much training wins back;
5. the best of them on the other seeds, since one seed's validation part flatters what it chose;
6. hardware by Yosys; then the choices, by validation accuracy; the test part once, after all that.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...model.files import check_place, read_json
from ...model.genome import Genome
from ...synth.report import totals
from ..genomes.candidate import Candidate
from ..genomes.evaluate import Setting
from ..genomes.folder import alone
from ..genomes.pareto import non_dominated
from ..pool.backends import Pool
from .choice import ALLOWED, GOALS
from .jobs import Look, look_at, model_of
from .plan import by_hand, scheme_genome
from .record import Record
from .searches import Searches

#: A training is no evaluation: it may take a day.
LONGEST = 24 * 3600.0
#: Seeds from which on their spread is an estimate of a mean's error.
TELLING = 3


class Experiment(Searches):
    """An experiment in a folder. Raises :class:`InputError` for a folder with another one."""

    def go(self, begin: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """All stages but the simulation; the document.

        begin : called once the plan is known to fit, before any work
        """
        check_place(self.folder / "experiment.json")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            alone(self.folder),
            Pool(
                "processes" if self.workers > 1 else "serial", self.workers, timeout=LONGEST
            ) as self.pool,
        ):
            self.prepare()
            begin()
            plan, first = self.plan, self.first
            sizes = [first, *(self.sized(h, first.seed) for h in plan.hidden)]
            self.need([*self.seeds, *sizes[1:]])
            schemes = [
                (name, Candidate(scheme_genome(name, *self.counts))) for name in plan.baselines
            ]
            baselines = [(s, name, c) for s in self.seeds for name, c in schemes]
            self.quantised(baselines)
            self.trained_many(baselines, "Training homogeneous networks")
            self.searched("float", sizes[:1])
            trained = self.rounds(self.searched("any", sizes), schemes)
            if not plan.every_seed:
                self.trained_on(self.finalists(trained), self.seeds, "Training on every seed")
            self.quantised(
                [(self.sized(e.hidden, first.seed), "found", e.candidate) for e, _ in trained]
            )
            self.hardware()
            self.record.more["choices"] = self.choices()
            self.record.save()
            self.test()
            self.record.save(done=True)
        return dict(read_json(self.record.path))

    def hardware(self) -> None:
        """Cells and memory bits of everything trained, and of INT8 by quantisation."""
        plan, looks = self.plan, []
        if not self.silicon:
            return
        for row in self.record.of("trained"):
            key = row["about"]
            source = self.sized(key["hidden"], key["seed"])
            candidate = Candidate(Genome.from_genes(key["genes"]), tuple(key["knobs"].items()))
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            looks.append(
                (row["found"]["model_hash"], Look(self.one_path(source, candidate), None, knobs))
            )
        for source in self.seeds:
            for knobs in (plan.knobs, replace(plan.knobs, activation="auto")):
                look = Look(source.checkpoint, Genome.uniform(8, *self.counts), knobs)
                looks.append((f"int8 {source.label} {knobs.activation}", look))
        missing = [(key, look) for key, look in looks if self.record.get("hardware", key) is None]
        self.need_trained(look for _, look in missing)
        self.say(f"Hardware: {len(missing)} networks")
        step = 8
        for k in range(0, len(missing), step):
            part = missing[k : k + step]
            models = [model_of(look) for _, look in part]
            areas = totals(
                [
                    Design.of(model, **look.knobs.hardware)
                    for model, (_, look) in zip(models, part, strict=True)
                ],
                lambda text: self.say(f"Hardware: {text}"),
                workers=self.workers,
            )
            for (key, _), area in zip(part, areas, strict=True):
                self.record.put("hardware", key, {"cells": area.cells, "memory": area.memory_bits})

    def groups(self) -> list[dict[str, Any]]:
        """Trained networks by genome, the numbers of all their seeds together."""
        groups: dict[str, dict[str, Any]] = {}
        base = {source.seed: self.int8_judged(source) for source in self.seeds}
        for row in self.record.of("trained"):
            key_parts = row["about"]
            key = Record.key("group", [key_parts["hidden"], key_parts["genes"], key_parts["knobs"]])
            group = groups.setdefault(
                key,
                {
                    "hidden": key_parts["hidden"],
                    "genes": key_parts["genes"],
                    "knobs": key_parts["knobs"],
                    "name": self.names.get(Record.key("trained", key_parts), "found"),
                    "seeds": {},
                },
            )
            row_found = dict(row["found"])
            hardware = self.record.get("hardware", row_found["model_hash"]) or {}
            group["seeds"][str(key_parts["seed"])] = {
                "judged": row_found["judged"],
                "drop": round(100 * (base[key_parts["seed"]] - row_found["judged"]), 4),
                **{n: row_found[n] for n in ("size", "weights", "cycles")},
                **hardware,
            }
        return list(groups.values())

    def choices(self) -> dict[str, Any]:
        """By validation accuracy: the least of every cost within every limit, over all seeds; the
        same with a standard error of the mean over seeds to spare, since what is least is often so
        by luck; and the front of the first seed in accuracy and weight bits."""
        groups, first = self.groups(), str(self.first.seed)

        def name(group: Mapping[str, Any]) -> dict[str, Any]:
            return {n: group[n] for n in ("hidden", "genes", "knobs", "name")}

        whole = [g for g in groups if len(g["seeds"]) == len(self.seeds)]
        mixed = [g for g in whole if len(set(g["genes"])) > 1]
        if not self.plan.seed_patterns:
            mixed = [g for g in mixed if not by_hand(Genome.from_genes(g["genes"]), g["knobs"])]
        aims = [
            (goal, limit) for limit in ALLOWED for goal in GOALS if self.silicon or goal == GOALS[0]
        ]

        def least(errors: int) -> dict[str, Any]:
            smallest: dict[str, Any] = {}
            for goal, limit in aims:
                able = []
                for group in mixed:
                    drops = [s["drop"] for s in group["seeds"].values()]
                    error = np.std(drops, ddof=1) / np.sqrt(len(drops)) if errors else 0.0
                    if np.mean(drops) + errors * error <= limit + 1e-9:
                        able.append((np.mean([s[goal] for s in group["seeds"].values()]), group))
                best = min(able, key=lambda pair: pair[0], default=None)
                smallest[f"{goal} {limit:g}"] = None if best is None else name(best[1])
            return smallest

        on_first = [g for g in groups if first in g["seeds"]]
        costs = np.array(
            [(g["seeds"][first]["drop"], g["seeds"][first]["weights"]) for g in on_first]
        )
        spare = {"least with an error to spare": least(1)} if len(self.seeds) >= TELLING else {}
        return {
            "least": least(0),
            **spare,
            "front": [name(on_first[k]) for k in non_dominated(costs)],
        }

    def test(self) -> None:
        """The test part, for everything that is reported: nothing is chosen after it."""
        plan, jobs = self.plan, []
        for row in self.record.of("float"):
            identity = row["about"]
            hidden, seed = (int(n) for n in re.findall(r"\d+", identity["source"]))
            source = self.sized(hidden, seed)
            path = source.checkpoint if identity["weights"] == "float" else self.any_path(source)
            jobs.append(({"float": identity}, Look(path, None, plan.knobs, ("test",))))
        for row in self.record.of("quantised"):
            identity = row["about"]
            source = self.sized(identity["hidden"], identity["seed"])
            candidate = Candidate(
                Genome.from_genes(identity["genes"]), tuple(identity["knobs"].items())
            )
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            path = source.checkpoint if identity["weights"] == "float" else self.any_path(source)
            jobs.append(({"quantised": identity}, Look(path, candidate.genome, knobs, ("test",))))
        for row in self.record.of("trained"):
            identity = row["about"]
            source = self.sized(identity["hidden"], identity["seed"])
            candidate = Candidate(
                Genome.from_genes(identity["genes"]), tuple(identity["knobs"].items())
            )
            knobs = candidate.setting(Setting("", plan.knobs, False)).knobs
            jobs.append(
                (
                    {"trained": identity},
                    Look(self.one_path(source, candidate), None, knobs, ("test",)),
                )
            )
        self.run_jobs("test", "Test part", jobs, look_at)
