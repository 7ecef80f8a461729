"""Searches of an experiment, and rounds of training what they find."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..genomes.candidate import Candidate, Point
from ..genomes.evaluate import Setting
from ..genomes.exploit import steps
from ..genomes.patterns import patterns
from ..genomes.run import Run
from .choice import ALLOWED, GOALS, Entry, predicted, proposals
from .plan import BASELINES, by_hand, scheme_genome
from .sources import Source
from .trainings import Trainings

#: Steps from each network that is worth it that are looked at in a round.
NEIGHBOURS = 24
#: Networks whose neighbours are looked at in a round.
PARENTS = 8
#: Points that a network has to spare on the first seed to be tried on the others.
SPARE = (0.0, 0.3)


class Searches(Trainings):
    """Searches of an experiment, and rounds of training what they find."""

    def searched(self, kind: str, sources: Sequence[Source]) -> Run:
        """A search to its end: `kind` of weights, float or any, of one source or of several. What
        is given back knows all points as the search saw them, and evaluates more in its way."""
        paths = [dict(self.kinds(source))[kind] for source in sources]
        config = replace(self.plan.config, checkpoints=tuple(paths[1:]))
        setting = Setting(
            paths[0], self.plan.knobs, self.silicon, estimate=self.silicon and self.plan.estimate
        )
        run = Run(self.folder / "search" / kind, setting, config, resume=True)
        # Not CPU seconds: those of workers and of Yosys end elsewhere.
        head, start = f"Search on {kind} weights", time.monotonic()

        def tell(progress: Any) -> None:
            self.say(f"{head}: {progress.generation} of {progress.generations}")

        run.go(workers=self.workers, tell=tell, say=lambda text: self.say(f"{head}: {text}"))
        what = {"weights": kind, "sources": [source.label for source in sources]}
        if self.record.get("search", what) is None:
            rows = []
            for point in run.front():
                hidden, candidate = self.plain(point.candidate)
                rows.append(
                    {
                        "hidden": hidden,
                        "genes": list(candidate.genome.genes),
                        "knobs": dict(candidate.knobs),
                        **dict(sorted(point.result.items())),
                    }
                )
            self.record.put(
                "search",
                what,
                {
                    "evaluations": len(run.estimated or run.points),
                    "front": rows,
                    "int8": dict(run.points[run.int8].result),
                    "wall_seconds": round(time.monotonic() - start, 1),
                },
            )
        run.evaluator.store.close()
        looker = Run(run.folder, setting, config, resume=True)
        looker.evaluate(list(run.estimated or run.points), self.pool)
        return looker

    def entries(self, points: Iterable[Point]) -> list[Entry]:
        """Points of the search on weights for all."""
        rows = []
        for point in points:
            hidden, candidate = self.plain(point.candidate)
            result = point.result
            rows.append(
                Entry(
                    hidden,
                    candidate,
                    result["accuracy"],
                    result["size"],
                    result.get("cells", 0),
                    result["weights"],
                )
            )
        return rows

    def schemes(self) -> list[Candidate]:
        """Genomes by hand, in every size; none without `seed_patterns`."""
        if not self.plan.seed_patterns:
            return []
        genomes = [
            *patterns(*self.counts),
            *(scheme_genome(name, *self.counts) for name in BASELINES),
        ]
        return [
            self.placed(hidden, Candidate(genome))
            for hidden in (self.first.hidden, *self.plan.hidden)
            for genome in dict.fromkeys(genomes)
        ]

    def neighbours(self, run: Run, parents: Sequence[Candidate], number: int) -> list[Candidate]:
        """Small steps from each parent to fewer bits, in one variable or two."""
        rng = np.random.default_rng([self.plan.seed, 7, number])
        candidates: list[Candidate] = []
        for parent in parents:
            row = run.encoding.encode(parent)
            near = steps(rng, run.encoding.space, row)
            ordered = np.delete(near - row, run.encoding.space.categories, axis=1)
            down = near[ordered.sum(1) < 0]
            drawn = rng.permutation(len(down))[:NEIGHBOURS]
            candidates += [run.encoding.decode(each) for each in down[np.sort(drawn)]]
        return candidates

    def _rivals(self, baselines: Sequence[tuple[str, Candidate]]) -> list[Candidate]:
        """Homogeneous networks: of INT8's size, and of others."""
        rivals = [c for _, c in baselines]
        # Of other sizes too: few bits on many units, or more on fewer.
        rivals += [
            self.placed(hidden, Candidate(scheme_genome(name, *self.counts)))
            for hidden in self.plan.hidden
            for name in self.plan.small
        ]
        return rivals

    def _record_round(
        self,
        number: int,
        proposed: Sequence[Entry],
        guesses: Iterable[float],
        drops: Sequence[float],
    ) -> None:
        """Keep which networks a round trained, and how far each was from what was predicted."""
        self.record.put(
            "round",
            {"round": number + 1},
            {
                "chosen": [
                    {
                        "hidden": e.hidden,
                        "genes": list(e.candidate.genome.genes),
                        "knobs": dict(e.candidate.knobs),
                        "predicted": round(float(guess), 3),
                        "left": round(drop, 3),
                    }
                    for e, guess, drop in zip(proposed, guesses, drops, strict=True)
                ]
            },
        )

    def rounds(
        self, run: Run, baselines: Sequence[tuple[str, Candidate]]
    ) -> list[tuple[Entry, float]]:
        """Train what searches found, round by round; entries and points below INT8."""
        plan, first = self.plan, self.first
        seeds = self.seeds if plan.every_seed else [first]

        def evaluated(candidates: Sequence[Candidate], what: str) -> list[Entry]:
            return self.entries(
                run.evaluate(candidates, self.pool, lambda text: self.say(f"{what}: {text}"))
            )

        evaluated(self.schemes(), "Starting points")
        base = self.int8_judged(first)
        (whole,) = self.entries([run.points[run.int8]])
        int8 = {
            "accuracy": base,
            "size": whole.size,
            "cells": whole.cells,
            "weights": whole.weights,
        }
        goals = [name for name in GOALS if name != "cells" or self.silicon]
        rival_entries = evaluated(self._rivals(baselines), "Homogeneous networks")
        trained_drops = list(
            zip(
                rival_entries,
                self.trained_on(rival_entries, seeds, "Homogeneous networks"),
                strict=True,
            )
        )
        if not plan.seed_patterns:
            # Rivals by hand are trained and reported, but nothing is searched around them.
            trained_drops = [
                (e, d)
                for e, d in trained_drops
                if not by_hand(e.candidate.genome, e.candidate.knobs)
            ]
        for number in range(plan.rounds):
            useful = sorted(
                (d, k) for k, (_, d) in enumerate(trained_drops) if d <= 1.5 * ALLOWED[-1]
            )
            parents = [
                self.placed(trained_drops[k][0].hidden, trained_drops[k][0].candidate)
                for _, k in useful[:PARENTS]
            ]
            evaluated(self.neighbours(run, parents, number), "Neighbours")
            entries = self.entries(run.points.values())
            proposed = proposals(entries, trained_drops, int8, plan.trained, goals)
            guesses = predicted(proposed, trained_drops, base)
            drops = self.trained_on(
                proposed, seeds, f"Training what was found, round {number + 1} of {plan.rounds}"
            )
            self._record_round(number, proposed, guesses, drops)
            trained_drops += zip(proposed, drops, strict=True)
        return trained_drops

    def finalists(self, trained_drops: Sequence[tuple[Entry, float]]) -> list[Entry]:
        """The least networks of every cost and limit on the first seed, and with some points to
        spare, since what is least there is often there by luck."""
        finalists: dict[str, Entry] = {}
        goals = [name for name in GOALS if name != "cells" or self.silicon]
        for limit in ALLOWED:
            for spare in SPARE:
                for goal in goals:
                    able = [
                        e for e, drop in trained_drops if drop <= limit - spare and getattr(e, goal)
                    ]
                    costs = [getattr(e, goal) for e in able]
                    if able:
                        best = able[int(np.argmin(costs))]
                        finalists[best.key] = best
        return list(finalists.values())
