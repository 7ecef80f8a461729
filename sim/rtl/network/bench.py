"""The cocotb bench: drives ``gru`` through its streams and compares every transfer with golden.

Runs inside the simulator, started by :mod:`.regression`. The environment variable
``GENOGATE_JOB`` names a JSON file:

    {"model": "model.safetensors", "codes": "codes.npy", "seed": 2026, "result": "result.json",
     "scenarios": [{"name": "stalls", "stall": 0.3,
                    "segments": [{"sequences": [[0, 8], [1, 8]], "reset_after": null}]}]}

A segment starts with a reset; ``sequences`` are pairs (index, steps). With ``reset_after`` N the
bench resets the design at a random moment after N states have come out, with ``reset_in`` N after N
cycles. ``stall`` is the chance that an idle gap follows a transfer or a ready period, on both
sides. ``hold`` N: every output is held once for N cycles, from a random moment on (the logarithm of
its cycle is even). ``withdraw`` is the chance that in a cycle without ready another word is
offered, which is gone when ready comes. The bench stops at the first scenario that fails and writes
what it found to ``result``; the test fails with the first message.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import First, Timer

from ....model.integer import IntModel, code_range
from .harness import JOB_VARIABLE, LOG, PERIOD, output_ports, transfers
from .transcript import Comparison, Expectation, Segment, read_log

#: Random moments lie within 2 to the power of this many cycles.
MOMENTS = 12


class Stalls:
    """Random waiting times, in cycles; mostly short, now and then enough to fill a pipeline."""

    def __init__(self, chance: float, long: int, seed: str) -> None:
        self.chance, self.long, self.random = chance, long, random.Random(seed)

    def gap(self) -> int:
        """Idle cycles before the next transfer is offered, or while ready is low."""
        if self.random.random() >= self.chance:
            return 0
        if self.random.random() < 0.05:
            return self.random.randint(1, self.long)
        return min(self.long, 1 + int(self.random.expovariate(1.0)))

    def run(self) -> int:
        """Cycles during which a sink stays ready."""
        return 1 + int(self.random.expovariate(self.chance))


def cycles(number: int) -> Timer:
    """Wait for `number` clock cycles."""
    return Timer(number * PERIOD, unit="ns")


async def drive_input(dut: Any, words: list[int], stalls: Stalls) -> None:
    """Offer `words` on stream `i`, one after the other."""
    for word in words:
        if gap := stalls.gap():
            dut.i_valid.value = 0
            await cycles(gap)
        dut.i_payload.value = word
        dut.i_valid.value = 1
        await dut.taken.value_change
    dut.i_valid.value = 0


async def withdraw_input(dut: Any, words: list[int], chance: float, chooser: random.Random) -> None:
    """Offer `words` on stream `i`; while it is not ready, offer others now and then and take them
    back before they are taken."""
    high = max(words)
    # Between two edges, where ready is what it will be at the next one.
    for word in words:
        while not int(dut.i_ready.value):
            dut.i_valid.value = int(chooser.random() < chance)
            dut.i_payload.value = chooser.randint(0, high)
            await cycles(1)
        dut.i_payload.value = word
        dut.i_valid.value = 1
        await cycles(1)
    dut.i_valid.value = 0


async def take_output(ready: Any, stalls: Stalls, hold: tuple[int, int] = (0, 0)) -> None:
    """Be ready, with stalls, for ever; `hold`: not for the second number of cycles, after the
    first."""
    ready.value = 1
    if hold[1]:
        await cycles(hold[0])
        ready.value = 0
        await cycles(hold[1])
        ready.value = 1
    while stalls.chance:
        await cycles(stalls.run())
        if gap := stalls.gap():
            ready.value = 0
            await cycles(gap)
            ready.value = 1


class Bench:
    """One simulation: the design, the golden results and the job."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        self.dut, self.seed = dut, job["seed"]
        self.model = IntModel.load(job["model"])
        self.codes = np.load(job["codes"])
        self.note = f"genome {self.model.genome.id}, seed {self.seed}"
        self.expectation = Expectation(self.model, self.codes, self.note)
        self.offset, self.cycles = 0, 0
        sizes = [(layer.input_size, layer.hidden_size) for layer in self.model.layers]
        dense = (*self.model.front, *self.model.back)
        sizes += [(layer.input_size, layer.output_size) for layer in dense]
        # One lane is the slowest design; nothing in it may take longer than a few whole steps.
        self.operand = max(max(pair) for pair in sizes)
        self.step = max(hidden * max(inputs, hidden) for inputs, hidden in sizes)
        self.limit = 8 * (self.step + self.operand * self.model.classes) + 20000

    def words(self, segment: Segment) -> list[int]:
        """Payloads of stream `i`: the code in the low bits, `last` above it."""
        bits = self.model.in_bits
        words = []
        for sequence, steps in segment.sequences:
            flat = self.codes[sequence, :steps].ravel() & (2 * code_range(bits)[1] + 1)
            flat[-1] |= 1 << bits
            words.extend(flat.tolist())
        return words

    async def read(self) -> np.ndarray:
        """The rows logged since the last call."""
        self.dut.flush.value = 1
        await Timer(1, unit="ns")
        self.dut.flush.value = 0
        rows, self.offset = read_log(Path(LOG), self.offset)
        return rows

    def start(self, segment: Segment, scenario: dict[str, Any], seed: str) -> list[Any]:
        """Begin to drive the streams of a segment; returns the tasks that do."""
        dut, stall, chooser = self.dut, scenario["stall"], random.Random(f"{seed} streams")
        words, chance = self.words(segment), scenario.get("withdraw")
        stalls = Stalls(stall, 2 * self.operand, f"{seed} i")
        tasks = [
            cocotb.start_soon(
                withdraw_input(dut, words, chance, chooser)
                if chance
                else drive_input(dut, words, stalls)
            )
        ]
        for port in output_ports(self.model):
            ready = getattr(dut, f"{port}_ready")
            # The classifier is only felt upstream when it waits for a whole step.
            long = max(4 * self.operand, self.step if port != "o_h" else 0)
            stalls = Stalls(stall, long, f"{seed} {port}")
            hold = (int(2 ** chooser.uniform(0, MOMENTS)), scenario.get("hold", 0))
            tasks.append(cocotb.start_soon(take_output(ready, stalls, hold)))
        return tasks

    async def run_segment(
        self, segment: Segment, entry: dict[str, Any], scenario: dict[str, Any], name: str
    ) -> tuple[Comparison, np.ndarray]:
        """Reset the design, put the sequences through, and compare."""
        dut, ports = self.dut, output_ports(self.model)
        after, moment = entry["reset_after"], entry.get("reset_in")
        # Each part draws its own numbers, so one part can be repeated alone.
        seed = f"{self.seed} {name}"
        chooser = random.Random(seed)
        dut.i_valid.value = 0
        for port in ports:
            getattr(dut, f"{port}_ready").value = 0
        dut.rst.value = 1
        for port in ports:
            count = sum(transfers(self.model, port, steps) for _, steps in segment.sequences)
            getattr(dut, f"want_{port.removeprefix('o_')}").value = count
        dut.limit.value = self.limit
        dut.mark.value = 0xFFFFFFFF if after is None else after
        await cycles(chooser.randint(1, 3))
        dut.rst.value = 0
        start = int(dut.cycle.value)
        tasks = self.start(segment, scenario, seed)
        # Levels, not edges, decide: a wire may have settled before the wait began.
        if moment is not None:
            await cycles(moment)
        elif after is not None:
            if not int(dut.marked.value):
                await First(dut.marked.rising_edge, dut.stuck.rising_edge)
            await cycles(chooser.randint(1, 2 * self.operand))
        elif not int(dut.done.value):
            await First(dut.done.rising_edge, dut.stuck.rising_edge)
        stuck = int(dut.stuck.value)
        self.cycles += int(dut.cycle.value) - start
        if after is None and moment is None:
            # Whatever comes beyond the expected transfers comes now.
            await cycles(self.operand + 50)
        for task in tasks:
            task.cancel()
        dut.rst.value = 1
        await cycles(1)
        rows = await self.read()
        outcome = self.expectation.compare(rows, segment, name)
        if stuck:
            # What is missing first in dataflow order tells where it hangs.
            first = f"; {outcome.mismatches.pop(0)}" if outcome.mismatches else ""
            note = first or f" ({name}, {self.note})"
            outcome.mismatches.insert(0, f"deadlock: no port moved for {self.limit} cycles{note}")
        return outcome, rows

    async def run_scenario(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """All segments of a scenario, up to the first that fails."""
        transfers: dict[str, int] = {}
        report: dict[str, Any] = {
            "name": scenario["name"],
            "sequences": 0,
            "steps": 0,
            "transfers": transfers,
            "mismatches": [],
            "cycles_per_step": None,
            "cycles_per_sequence": None,
        }
        before = self.cycles
        for number, entry in enumerate(scenario["segments"]):
            cut = entry["reset_after"] is not None or entry.get("reset_in") is not None
            segment = Segment(tuple(map(tuple, entry["sequences"])), cut)
            name = scenario["name"] + (f" part {number}" if number else "")
            outcome, rows = await self.run_segment(segment, entry, scenario, name)
            for label, count in outcome.transfers.items():
                transfers[label] = transfers.get(label, 0) + count
            report["mismatches"] += outcome.mismatches
            if outcome.mismatches:
                break
            if not cut:
                report["sequences"] += len(segment.sequences)
                report["steps"] += sum(steps for _, steps in segment.sequences)
            if scenario["name"] == "back-to-back":
                step, sequence = self.expectation.cycles_per_step(rows, segment)
                report["cycles_per_step"] = None if np.isnan(step) else step
                report["cycles_per_sequence"] = None if np.isnan(sequence) else sequence
        report["cycles"] = self.cycles - before
        return report


@cocotb.test()
async def every_transfer_equals_golden(dut: Any) -> None:
    """Run the scenarios of the job; fail with the first mismatch."""
    job = json.loads(Path(os.environ[JOB_VARIABLE]).read_text())
    bench = Bench(dut, job)
    # Off the clock edge for good, so that no drive can race with it.
    await Timer(1, unit="ns")
    reports = []
    for scenario in job["scenarios"]:
        reports.append(await bench.run_scenario(scenario))
        if reports[-1]["mismatches"]:
            break
    # Written only when the whole job ran: its absence means that the bench itself broke.
    Path(job["result"]).write_text(json.dumps({"scenarios": reports}))
    mismatches = reports[-1]["mismatches"]
    assert not mismatches, mismatches[0]
