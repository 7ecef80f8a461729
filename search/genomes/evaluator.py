"""Evaluation of a run's candidates: from the store, by workers, with the weights of beacons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...synth.targets.prices import figures_of
from ..pool.backends import Pool
from .beacons import Beacons
from .candidate import Candidate, Point
from .config import Config
from .costs import Costs
from .evaluate import MEASURED, SHARES, Case, Say, Setting, evaluate_cases
from .ledger import Ledger
from .screening import Prescreen
from .store import Store


class Evaluator:
    """Enters points in the ledger.

    fresh : evaluations of this process that were not in the store
    setting : with which candidates are evaluated now
    """

    def __init__(
        self,
        setting: Setting,
        config: Config,
        ledger: Ledger,
        costs: Costs,
        store: Path,
        beacons: Beacons | None,
    ) -> None:
        self.setting, self.config, self.ledger, self.costs = setting, config, ledger, costs
        self.store, self.beacons = Store(store), beacons
        self.screen: Prescreen | None = None
        self.fresh = 0

    def _cases(self, candidate: Candidate) -> list[tuple[str, str | None, Case]]:
        """Key in the store, beacon, and case: with the setting's weights, and those of every beacon
        that is near."""
        setting = candidate.setting(self.setting)
        cases: list[tuple[str | None, Setting]] = [(None, setting)]
        if self.beacons:
            cases += [
                (b.checkpoint, replace(setting, checkpoint=b.checkpoint))
                for b in self.beacons.lit
                if b.near(candidate.genome, self.config.beacon_distance, candidate.checkpoint)
            ]
        return [
            (
                f"{each.key} {candidate.genome}",
                beacon,
                Case(each, candidate.genome, self.ledger.floor),
            )
            for beacon, each in cases
        ]

    def _is_complete(self, result: Mapping[str, Any]) -> bool:
        """Whether it has what the objectives need, and hardware was measured where it should have
        been. Results of before there were ``weights`` lack them."""
        if not set(self.config.objectives) - set(MEASURED) <= result.keys():
            return False
        if not self.setting.hardware:
            return True
        needed = ("cells",) if self.setting.silicon else figures_of(self.setting.target)[:1]
        measured = all(name in result for name in needed)
        if result["accuracy"] >= self.ledger.floor:
            return measured
        # Yosys, if it was asked by a run without a floor, may have chosen other units.
        return not measured or self.setting.estimate or self.setting.knobs.activation != "auto"

    def evaluate(
        self, candidates: Sequence[Candidate], pool: Pool, say: Say = lambda text: None
    ) -> list[Point]:
        """Points of `candidates`, from the store where they are known, else evaluated and kept."""
        if self.ledger.blind:
            return self._guess(candidates, pool, say)
        to_evaluate = [c for c in dict.fromkeys(candidates) if c not in self.ledger.points]
        cases = {c: self._cases(c) for c in to_evaluate}
        stored = self.store.load(key for rows in cases.values() for key, _, _ in rows)
        stored = {key: result for key, result in stored.items() if self._is_complete(result)}
        new = [
            (key, candidate, case)
            for candidate, rows in cases.items()
            for key, _, case in rows
            if key not in stored
        ]
        done = 0

        def told(text: str) -> None:
            say(f"{done} of {len(new)} genomes evaluated; {text[0].lower()}{text[1:]}")

        for index, result in evaluate_cases([case for _, _, case in new], pool, told):
            key, candidate, _ = new[index]
            self.store.keep(key, str(candidate), result)
            stored[key] = result
            self.fresh += 1
            done += 1
        for candidate in to_evaluate:
            # The first of equals: without a beacon where that is as good.
            key, beacon, _ = max(cases[candidate], key=lambda row: stored[row[0]]["accuracy"])
            result = dict(stored[key])
            if result["accuracy"] < self.ledger.floor:
                # As if it had not been measured, whoever asked for it since: a run that goes on
                # must see what it saw.
                hidden = (*MEASURED, *SHARES)
                result = {n: value for n, value in result.items() if n not in hidden}
            self.ledger.points[candidate] = Point(candidate, result, beacon)
        return [self.ledger.points[candidate] for candidate in candidates]

    def _guess(self, candidates: Sequence[Candidate], pool: Pool, say: Say) -> list[Point]:
        """Points whose accuracy is 1 less the proxy's loss, with costs as they are without running
        anything."""
        new = [c for c in dict.fromkeys(candidates) if c not in self.ledger.points]
        estimates = self.costs.told(new, replace(self.setting, estimate=True), pool, say)
        losses = self.proxy.loss([c.genome for c in new])
        for candidate, costs, loss in zip(new, estimates, losses, strict=True):
            self.ledger.points[candidate] = Point(candidate, costs | {"accuracy": 1 - float(loss)})
        return [self.ledger.points[candidate] for candidate in candidates]

    @property
    def proxy(self) -> Prescreen:
        """The run's proxy. It must have one."""
        if self.screen is None:
            assert self.config.prescreen is not None
            self.screen = Prescreen.of(self.config.prescreen, self.setting)
        return self.screen

    def light_beacon(self, pool: Pool, say: Say) -> bool:
        """Light the next beacon where one is wanted; whether it was."""
        if not self.beacons or len(self.beacons.lit) >= self.config.beacons:
            return False
        useful = [
            p
            for p in self.ledger.front()
            if (self.ledger.costs([p])[0] < self.ledger.reference).all()
        ]
        lit = self.beacons.next(
            [(p.genome, p.candidate.checkpoint) for p in useful], self.config.beacon_distance
        )
        if lit is None:
            return False
        say(f"Retraining beacon {len(self.beacons.lit)}")
        beacon = self.beacons.light(*lit)
        near = [
            c
            for c in self.ledger.points
            if beacon.near(c.genome, self.config.beacon_distance, c.checkpoint)
        ]
        self.ledger.forget(near)
        self.evaluate(near, pool, say)
        self.ledger.judge_again()
        return True
