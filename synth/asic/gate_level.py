"""A netlist held to the golden model over real sequences."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...hdl.gru.design import Design
from ...hdl.gru.loading import image
from ...model.errors import InputError
from ..cells.gates import Netlist
from ..integration.plain_bench import vectors
from ..yosys import Progress
from .mapping import Mapped
from .simulation import LANES, Activity, Runner

#: Clock cycles that a simulation takes by default, at most; sequences are cut to steps that fit.
CYCLES = 60_000
#: From so many cycles on it pays to let the compiler optimise.
LONG = 200_000


@dataclass(frozen=True)
class GateLevel:
    """Outcome of a comparison.

    sequences, steps : what was simulated; transfers : words compared
    mismatches : words that differ
    activity : of the first :data:`.simulation.LANES` sequences
    """

    sequences: int
    steps: int
    transfers: int
    mismatches: int
    activity: Activity

    def to_json(self) -> dict[str, Any]:
        return {
            "sequences": self.sequences,
            "steps": self.steps,
            "transfers": self.transfers,
            "mismatches": self.mismatches,
        }


def steps_for(design: Design, steps: int, cycles: int = CYCLES) -> int:
    """Steps of a sequence of `steps` that take no more than `cycles`; at least 2, if any."""
    return max(min(2, steps), min(steps, cycles // design.cycles_per_step))


def gate_level(
    mapped: Mapped, design: Design, codes: np.ndarray, progress: Progress | None = None
) -> GateLevel:
    """Run `codes` [sequences, steps, features] through the netlist of `design`, and compare every
    state, logit and class with the golden model. Weights that are loaded are loaded first.

    Raises :class:`InputError` without a C compiler, or where the netlist hangs.
    """
    if progress:
        progress("Compiling the netlist")
    ports = {name: name for name in mapped.module["ports"]}
    netlist = Netlist(mapped.document, mapped.library, ports, LANES)
    source, outputs = vectors(design, codes)
    count, steps, _ = codes.shape
    words = np.array(source.words, np.int64).reshape(count, -1)
    expected = {o.stream: np.array(o.words, np.int64).reshape(count, -1) for o in outputs}
    counts = {name: values.shape[1] for name, values in expected.items()}
    limit = 4 * design.cycles_per_sequence(steps) + 100_000
    idle = 4 * design.cycles_per_sequence(1) + 20_000
    first: Activity | None = None
    transfers = mismatches = 0
    loads = image(design).words if design.weights == "load" else ()
    work = (design.cycles_per_sequence(steps) + len(loads)) * -(-count // LANES)
    with Runner(netlist, list(expected), fast=work > LONG) as runner:
        for start in range(0, count, LANES):
            if progress:
                progress(f"Simulating the netlist: {start} of {count} sequences")
            activity = runner.run(words[start : start + LANES], counts, limit, idle, loads)
            first = first or activity
            for name, values in expected.items():
                got = activity.outputs[name]
                transfers += got.size
                mismatches += int((got != values[start : start + LANES]).sum())
    if first is None:
        raise InputError("no sequences to simulate the netlist with")
    return GateLevel(count, steps, transfers, mismatches, first)
