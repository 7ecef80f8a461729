"""The hardware of a model, planned once: schedules, parts, cycles and the component."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...model.integer import IntModel
from ...model.knobs import Lanes
from ..operator import Part
from .classifier import Classifier, classifier_chunks
from .layer import layer_parts
from .network import Fork, Network
from .schedule import Schedule


@dataclass(frozen=True, eq=False)
class Design:
    """What :func:`~genogate.synth.verilog.emit` writes and :func:`~genogate.synth.area.area_report`
    measures. Everything that follows from model and lanes is computed on first use, once.

    Parameters
    ----------
    model : IntModel
    lanes : Lanes
    """

    model: IntModel
    lanes: Lanes

    @classmethod
    def of(cls, model: IntModel, lanes: Lanes | None = None) -> Design:
        """The design of `model`; one lane a side if `lanes` are not given."""
        return cls(model, lanes or Lanes())

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The timing of each layer."""
        return tuple(Schedule.of(layer, self.lanes) for layer in self.model.layers)

    @cached_property
    def layers(self) -> tuple[dict[str, Part], ...]:
        """The parts of each layer by name."""
        return tuple(
            layer_parts(layer, schedule, self.lanes)
            for layer, schedule in zip(self.model.layers, self.schedules, strict=True)
        )

    @cached_property
    def rest(self) -> dict[str, Part]:
        """The parts beside the layers: ``classifier`` and ``fork``."""
        op = self.model.classifier
        chunks = classifier_chunks(op, self.schedules[-1].pass_cycles)
        return {
            "classifier": Classifier.part(op, chunks),
            "fork": Part(Fork.identity, "Fork", Fork),
        }

    @property
    def parts(self) -> list[Part]:
        """All parts; together they hold all logic and memories, each once."""
        return [part for row in (*self.layers, self.rest) for part in row.values()]

    @property
    def cycles_per_step(self) -> int:
        """Cycles between time steps of long sequences, inputs always there, outputs always taken.

        Per layer ``max(H * K + max(0, drain + 2 - guard), I)`` with
        ``K = max(ceil(I / lanes.x), ceil(H / lanes.h))``: H units of K cycles, the wait of unit 0
        for the last unit of the step before as far as nothing hides it, and the one feature a cycle
        that comes in. The slowest layer decides.
        """
        return max(schedule.cycles_per_step for schedule in self.schedules)

    @property
    def ideal_cycles_per_step(self) -> int:
        """``H max(ceil(I / lanes.x), ceil(H / lanes.h))`` of the slowest layer: no lane ever idle
        on the longer side. Utilisation is ideal over actual."""
        return max(schedule.hidden_size * schedule.pass_cycles for schedule in self.schedules)

    def component(self) -> Network:
        """The whole network as one component, a new one at each call."""
        return Network(self)
