"""What a network costs, by estimate: bits, cells, memory bits, and area in sky130, or what it takes
of an FPGA.

The area is that of :mod:`genogate.synth.targets.prices`: models fitted to measured parts, constants
as logic, state as flip-flops.
"""

from dataclasses import dataclass, replace
from typing import Any

from ...hdl.gru.design import Design
from ...model.errors import InputError
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
    "cycles": "cycles per time step",
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
    design = Design.of(model, **knobs.hardware)
    total = estimate.total(design)
    figures = prices.figures(target, design)
    return {
        **({"um2": round(figures["um2"], 1)} if target == TARGET else figures),
        "size": model.size_bits,
        "cells": total.cells,
        "memory": total.memory_bits,
        "cycles": design.cycles_per_step,
    }


@dataclass(frozen=True)
class Sharing:
    """Hardware that the price of a network chooses among, since all of it has the same bits of
    result: the cheapest `cost` that keeps the limits.

    shares : values of the knob; none for that of the network's knobs alone. One that no models of
        the target tell is left out, as Yosys would have to measure it for every network, and so is
        one that lanes or pipeline of the knobs rule out.
    limits : cost and greatest value of it
    """

    shares: tuple[str, ...] = ()
    cost: str = "um2"
    limits: tuple[tuple[str, float], ...] = ()

    def choose(self, model: IntModel, knobs: Knobs, target: str) -> dict[str, Any]:
        """Costs with the best of them, and under ``share`` which one that is."""
        rows: list[dict[str, Any]] = []
        for share in self.shares:
            try:
                sharing = replace(knobs, share=share)
            except InputError:  # With these lanes, or this pipeline, nothing is shared so.
                continue
            if prices.tells(target, Design.of(model, **sharing.hardware)):
                rows.append({**price(model, sharing, target), "share": share})
        if not rows:
            raise InputError(
                f"target {target}: no models tell hardware that is shared as "
                f"{', '.join(self.shares)}; give --share none"
            )
        able = [row for row in rows if all(row[name] <= most for name, most in self.limits)]
        # Of none that keeps them, the fastest: limits of cycles are what sharing misses.
        return min(able, key=lambda r: r[self.cost]) if able else min(rows, key=_cycles)


def _cycles(row: dict[str, Any]) -> float:
    return float(row["cycles"])


def price_of(
    case: tuple[str, Genome, Knobs], target: str = TARGET, sharing: Sharing | None = None
) -> dict[str, Any]:
    """Costs of a genome by quantising a checkpoint, which moves only the widths of accumulators.

    sharing : what the hardware may share; None: what the knobs say
    """
    checkpoint, genome, knobs = case
    drafted = draft(load(Setting(checkpoint, knobs, False)).calibration, genome, knobs)
    model = drafted.choose(estimate.cheapest(drafted.groups))
    if sharing is not None and sharing.shares:
        return sharing.choose(model, knobs, target)
    return price(model, knobs, target)
