"""The hardware of a model, planned once: schedules, parts, cycles and the component."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...model.errors import InputError
from ...model.genome import GENES
from ...model.integer import IntModel
from ...model.knobs import Lanes, check_share
from ..operator import Part
from ..requantize import Requantize
from .classifier import Classifier, classifier_chunks
from .layer import GruLayer, component_part, layer_parts
from .network import Fork, Network
from .schedule import Schedule
from .shared.layer import SharedLayer, SharedPlan, chain_cycles


@dataclass(frozen=True, eq=False)
class Design:
    """What :func:`~genogate.synth.verilog.emit` writes and :func:`~genogate.synth.area.area_report`
    measures. Everything that follows from model and lanes is computed on first use, once.

    Parameters
    ----------
    model : IntModel
    lanes : Lanes
    share : what shares hardware, a value of the knob
    """

    model: IntModel
    lanes: Lanes
    share: str

    @classmethod
    def of(cls, model: IntModel, lanes: Lanes | None = None, share: str = "none") -> Design:
        """The design of `model`; one lane a side if `lanes` are not given. Raises
        :class:`InputError` for lanes that `share` cannot have."""
        lanes = lanes or Lanes()
        check_share(share, lanes)
        if share == "all" and not model.head.plain:
            raise InputError(
                f"share all: the shared adder answers a class at the last step, this network "
                f"{model.head}: give --share none"
            )
        return cls(model, lanes, share)

    @cached_property
    def shared(self) -> tuple[SharedPlan, ...]:
        """Programs of the layers, where everything is shared."""
        layers, classifier = self.model.layers, self.model.classifier
        lasts = [*([None] * (len(layers) - 1)), classifier]
        return tuple(SharedPlan.of(*of, self.lanes.x) for of in zip(layers, lasts, strict=True))

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The timing of each layer."""
        return tuple(Schedule.of(layer, self.lanes) for layer in self.model.layers)

    @cached_property
    def layers(self) -> tuple[dict[str, Part], ...]:
        """The parts of each layer by name."""
        if self.share == "all":
            return tuple(plan.parts() for plan in self.shared)
        return tuple(
            layer_parts(layer, schedule, self.lanes)
            for layer, schedule in zip(self.model.layers, self.schedules, strict=True)
        )

    @cached_property
    def rest(self) -> dict[str, Part]:
        """The parts beside the layers: ``classifier`` and ``fork``, and where the head answers
        codes ``requantize`` and ``activation``; none where all is shared."""
        if self.share == "all":
            return {}
        op, stage = self.model.classifier, self.model.stage
        parts = {
            "classifier": Classifier.part(op, self.classifier_chunks, self.model.head),
            "fork": Part(Fork.identity, "Fork", Fork),
        }
        if stage is not None:
            parts["requantize"] = Requantize.part(stage.requantize)
            if stage.activation is not None:
                parts["activation"] = component_part(stage.activation)
        return parts

    @property
    def classifier_chunks(self) -> int:
        """Digits in which the classifier takes a weight."""
        cycles = self.schedules[-1].pass_cycles
        return classifier_chunks(self.model.classifier, cycles, self.model.head)

    @property
    def answer_cycles(self) -> int:
        """Cycles that the classifier is busy with an answer:
        ``C H chunks + (H - 1) K + 1 - max(0, K - drain)``. It multiplies C H weights in so many
        digits, after it has stored the H units of the step, which come every K cycles (the second
        one as soon as the first has left, with H > 1)."""
        classes, hidden = self.model.classifier.weight.shape
        top = self.schedules[-1]
        storing = (hidden - 1) * top.pass_cycles + 1
        if hidden > 1:
            storing -= max(0, top.pass_cycles - top.drain)
        return classes * hidden * self.classifier_chunks + storing

    @property
    def serves(self) -> dict[str, tuple[str, ...]]:
        """Whom a shared part works for, by its name in reports, e.g. ``layer0.machine``."""
        if self.share == "none":
            return {}
        top = len(self.shared) - 1
        return {
            f"layer{k}.{name}": (*GENES, *["classifier"] * (k == top))
            for k in range(len(self.shared))
            for name in ("machine", "program")
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
        that comes in. The slowest layer decides. Where everything is shared: ``I + H U``, U cycles
        a unit (:class:`~.shared.layer.SharedLayer`); for layers in series
        :func:`~.shared.layer.chain_cycles`. A head at every step takes :attr:`answer_cycles` a
        step, where that is more.
        """
        if self.share == "all":
            return chain_cycles(self.shared)
        cycles = max(schedule.cycles_per_step for schedule in self.schedules)
        return max(cycles, self.answer_cycles) if self.model.head.every else cycles

    def cycles_per_sequence(self, steps: int) -> int:
        """Cycles between sequences of `steps` that follow back to back, no side ever stalling.

        ``max(T S, A)``: T steps of S cycles, or the A cycles that the classifier takes for an
        answer (:attr:`answer_cycles`) where that is more. Where everything is shared the
        classifier's cycles come after the steps. A head at every step adds nothing to its steps.
        """
        cycles = steps * self.cycles_per_step
        if self.share == "all":
            return cycles + self.model.classes * self.shared[-1].program.class_cycles + 1
        return cycles if self.model.head.every else max(cycles, self.answer_cycles)

    @property
    def ideal_cycles_per_step(self) -> int:
        """``H max(ceil(I / lanes.x), ceil(H / lanes.h))`` of the slowest layer: no lane ever idle
        on the longer side; where everything is shared, the cycles in which bits of weights are
        added. Utilisation is ideal over actual."""
        if self.share == "all":
            return max(plan.layer.hidden_size * plan.weight_cycles for plan in self.shared)
        return max(schedule.hidden_size * schedule.pass_cycles for schedule in self.schedules)

    def layer_components(self) -> list[GruLayer] | list[SharedLayer]:
        """The layers, new ones at each call."""
        if self.share == "all":
            return [SharedLayer(*of) for of in zip(self.shared, self.layers, strict=True)]
        return [
            GruLayer(*of) for of in zip(self.model.layers, self.schedules, self.layers, strict=True)
        ]

    def component(self) -> Network:
        """The whole network as one component, a new one at each call."""
        return Network(self)
