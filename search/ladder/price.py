"""What a network costs, by estimate: bits, cells, memory bits, and area in sky130, or what it takes
of an FPGA.

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
#: The target where none is asked for, and the cost that is made small, by default, of a target.
TARGET = "sky130"
FPGA_COST = "lut"
#: Version of the prices, in the keys of what is kept.
PRICES = [prices.version(), estimate.version()]


def costs_of(target: str) -> dict[str, str]:
    """Costs by name, with their units, of networks for a target."""
    if target == TARGET:
        return COSTS
    rest = {name: unit for name, unit in COSTS.items() if name != "um2"}
    figures = prices.figures_of(target)
    return {name: f"{prices.UNITS[name]} of {target}, estimated" for name in figures} | rest


def price(model: IntModel, knobs: Knobs, target: str = TARGET) -> dict[str, float]:
    """Costs (:func:`costs_of`) of a model."""
    design = Design.of(model, knobs.lanes, knobs.share)
    total = estimate.total(design)
    figures = prices.figures(target, design)
    return {
        **({"um2": round(figures["um2"], 1)} if target == TARGET else figures),
        "size": model.size_bits,
        "cells": total.cells,
        "memory": total.memory_bits,
    }


def price_of(case: tuple[str, Genome, Knobs], target: str = TARGET) -> dict[str, float]:
    """Costs of a genome by quantising a checkpoint, which moves only the widths of accumulators."""
    checkpoint, genome, knobs = case
    drafted = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    return price(drafted.choose(estimate.cheapest(drafted.groups)), knobs, target)
