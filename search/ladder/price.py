"""What a network costs, by estimate: bits, cells, memory bits, and area in sky130.

The area is that of :mod:`genogate.synth.targets.prices`: models fitted to measured parts, constants
as logic, state as flip-flops.
"""

from ...hdl.gru.design import Design
from ...model.genome import Genome
from ...model.integer import IntModel
from ...model.knobs import Knobs
from ...model.quantize.drafts import draft
from ...synth import estimate
from ...synth.targets import prices
from ..genomes.evaluate import Setting, load

#: Costs by name, with their units.
COSTS = {
    "um2": "um^2 of sky130, estimated",
    "size": "bits of all parameters",
    "cells": "Yosys cells, estimated",
    "memory": "memory bits",
}
#: The target of the area.
TARGET = "sky130"
#: Version of the prices, in the keys of what is kept.
PRICES = [prices.version(), estimate.version()]


def price(model: IntModel, knobs: Knobs) -> dict[str, float]:
    """Costs (:data:`COSTS`) of a model."""
    design = Design.of(model, knobs.lanes, knobs.share)
    total = estimate.total(design)
    return {
        "um2": round(prices.figures(TARGET, design)["um2"], 1),
        "size": model.size_bits,
        "cells": total.cells,
        "memory": total.memory_bits,
    }


def price_of(case: tuple[str, Genome, Knobs]) -> dict[str, float]:
    """Costs of a genome by quantising a checkpoint, which moves only the widths of accumulators."""
    checkpoint, genome, knobs = case
    drafted = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    return price(drafted.choose(estimate.cheapest(drafted.groups)), knobs)
