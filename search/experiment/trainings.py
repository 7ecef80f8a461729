"""Trainings of an experiment."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...model.genome import Genome
from ..genomes.candidate import Candidate
from ..genomes.evaluate import Setting
from .choice import Entry
from .jobs import (
    Float,
    ForAll,
    ForOne,
    Look,
    is_gone,
    look_at,
    train_float,
    train_for_all,
    train_for_one,
)
from .record import Record, changed
from .sources import Source, Sources

#: Searches and trainings begin with these. What is trained for its genome is read seldom, once its
#: numbers are known.
READ_AGAIN = (Float, ForAll)


class Trainings(Sources):
    """Jobs of an experiment: weights of sources, networks trained for their genome or quantised."""

    def run_jobs(
        self,
        stage: str,
        what: str,
        jobs: Sequence[tuple[Any, Any]],
        function: Callable[[Any], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Numbers of `jobs` (request, argument), from the record where it has them."""
        missing = [
            (request, job)
            for request, job in jobs
            if self.record.get(stage, request) is None or is_gone(job, READ_AGAIN)
        ]
        self._tell_gone(
            [job.path for request, job in missing if self.record.get(stage, request) is not None]
        )
        self.need_trained(job for _, job in missing if isinstance(job, Look))
        missing = list(
            {Record.key(stage, request): (request, job) for request, job in missing}.values()
        )
        recorded = len(jobs) - len(missing)
        self.say(f"{what}: {recorded} of {len(jobs)}")
        for done, (index, numbers) in enumerate(
            self.pool.map(function, [job for _, job in missing]), 1
        ):
            self.record.put(stage, missing[index][0], numbers)
            self.say(f"{what}: {recorded + done} of {len(jobs)}")
        rows = []
        for request, _ in jobs:
            numbers = self.record.get(stage, request)
            assert numbers is not None
            rows.append(numbers)
        # The order of the plan, not that in which they ended.
        keys = [Record.key(stage, request) for request, _ in jobs]
        self.record.order = [k for k in self.record.order if k not in keys]
        self.record.order += list(dict.fromkeys(keys))
        return rows

    def _tell_gone(self, paths: Sequence[str]) -> None:
        if paths:
            self.note(
                f"Gone from {Path(paths[0]).parent}, needed and trained again: "
                f"{', '.join(Path(path).name for path in paths)}."
            )

    def need_trained(self, looks: Iterable[Look]) -> None:
        """Networks trained for their genome that `looks` read: one that is gone is trained again.
        Of others that are gone, the record tells all that is asked for."""
        gone = [
            path
            for path in dict.fromkeys(look.checkpoint for look in looks)
            if path in self.made and not Path(path).exists()
        ]
        self._tell_gone(gone)
        jobs = [self.made[path] for path in gone]
        for index, numbers in self.pool.map(train_for_one, [job for _, job in jobs]):
            self.record.put("trained", jobs[index][0], numbers)

    def need(self, sources: Sequence[Source]) -> None:
        """All weights of `sources`."""
        plan = self.plan
        trained_here = [s for s in sources if Path(s.checkpoint).is_relative_to(self.folder)]
        self.run_jobs(
            "float training",
            "Float networks",
            [
                (
                    s.label,
                    Float(plan.task, s.seed, s.hidden, plan.float_epochs, s.checkpoint, self.like),
                )
                for s in trained_here
            ],
            train_float,
        )
        recipe, count = self.for_all(), plan.any_sequences or plan.sequences
        self.run_jobs(
            "training for all",
            "Training for all genomes",
            [
                (
                    {"source": s.label, "recipe": changed(recipe), "sequences": count},
                    ForAll(s.checkpoint, plan.knobs, recipe, count, path),
                )
                for s in sources
                for kind, path in self.kinds(s)
                if kind == "any"
            ],
            train_for_all,
        )
        self.run_jobs(
            "float",
            "Float accuracy",
            [
                ({"source": s.label, "weights": kind}, Look(path, None, plan.knobs))
                for s in sources
                for kind, path in self.kinds(s)
            ],
            look_at,
        )

    def trained_many(
        self, networks: Sequence[tuple[Source, str, Candidate]], what: str = "Training"
    ) -> list[dict[str, Any]]:
        jobs = []
        for source, _, candidate in networks:
            knobs = candidate.setting(Setting("", self.plan.knobs, False)).knobs
            job = ForOne(
                tuple(self.kinds(source)),
                self.teacher(source).checkpoint,
                candidate.genome,
                knobs,
                self.plan.tuning,
                self.plan.sequences,
                self.one_path(source, candidate),
            )
            jobs.append((self.about(source, candidate), job))
        self.made |= {job.path: (about, job) for about, job in jobs}
        rows = self.run_jobs("trained", what, jobs, train_for_one)
        for source, name, candidate in networks:
            self.names.setdefault(Record.key("trained", self.about(source, candidate)), name)
        return rows

    def quantised(self, networks: Sequence[tuple[Source, str, Candidate]]) -> list[dict[str, Any]]:
        """Numbers of networks as quantisation alone makes them of float weights, and of those for
        all."""
        jobs = []
        for source, _, candidate in networks:
            knobs = candidate.setting(Setting("", self.plan.knobs, False)).knobs
            for kind, path in self.kinds(source):
                request = {**self.untrained(source, candidate), "weights": kind}
                jobs.append((request, Look(path, candidate.genome, knobs)))
        return self.run_jobs("quantised", "Quantising", jobs, look_at)

    def int8_judged(self, source: Source) -> float:
        """Accuracy of INT8 by quantisation alone, at the reference's size."""
        request = {
            **self.untrained(source, Candidate(Genome.uniform(8, *self.counts))),
            "weights": "float",
        }
        numbers = self.record.get("quantised", request)
        assert numbers is not None
        return float(numbers["judged"])

    def trained_on(
        self, entries: Sequence[Entry], seeds: Sequence[Source], what: str
    ) -> list[float]:
        """Train `entries` on `seeds`; of each, the mean of points below the INT8 of these."""
        networks = [
            (self.sized(e.hidden, s.seed), "found", e.candidate) for e in entries for s in seeds
        ]
        self.need(list(dict.fromkeys(source for source, _, _ in networks)))
        rows = self.trained_many(networks, what)
        base = [self.int8_judged(s) for s in seeds] * len(entries)
        drops = 100 * (np.array(base) - [row["judged"] for row in rows])
        return [float(d) for d in drops.reshape(len(entries), len(seeds)).mean(1)]
