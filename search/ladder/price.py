"""What a network costs, by estimate: bits, cells, memory, and area in a standard-cell process.

Prices of sky130 at 1.8 V, measured on emitted networks: um^2 of a Yosys cell, of a constant bit (as
logic), and of a bit of state (a flip-flop with what reads and writes it).
"""

from ...hdl.gru.design import Design
from ...model.genome import Genome
from ...model.integer import IntModel
from ...model.knobs import Knobs
from ...model.quantize.quantize import draft
from ...synth import estimate
from ..genomes.evaluate import Setting, load

#: um^2 of a cell, of a constant bit, and of a bit of state.
CELL, CONSTANT, STATE = 6.6, 1.0, 40.0
#: Costs by name, with their units.
COSTS = {
    "um2": "um^2 of sky130, estimated",
    "size": "bits of all parameters",
    "cells": "Yosys cells, estimated",
    "memory": "memory bits",
}


def memories(design: Design) -> tuple[int, int]:
    """Bits of constants and of state."""
    constant = state = 0
    for part in design.parts:
        kind, *rest = part.identity
        if kind in ("CodeBuffer", "StateMemory"):
            state += int(rest[0] * rest[1] * rest[2])
        elif kind == "Classifier":
            (_, inputs), in_bits = rest[0], rest[3]
            state += int(inputs * in_bits)
            constant += estimate.memory_bits(part.identity) - int(inputs * in_bits)
        else:
            constant += estimate.memory_bits(part.identity)
    return constant, state


def price(model: IntModel, knobs: Knobs) -> dict[str, float]:
    """Costs (:data:`COSTS`) of a model."""
    design = Design.of(model, knobs.lanes, knobs.share)
    constant, state = memories(design)
    cells = estimate.total(design).cells
    return {
        "um2": round(CELL * cells + CONSTANT * constant + STATE * state, 1),
        "size": model.size_bits,
        "cells": cells,
        "memory": constant + state,
    }


def price_of(case: tuple[str, Genome, Knobs]) -> dict[str, float]:
    """Costs of a genome by quantising a checkpoint, which moves only the widths of accumulators."""
    checkpoint, genome, knobs = case
    made = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    return price(made.choose(estimate.cheapest(made.groups)), knobs)
