"""The hardware of a model, planned once: schedules, parts, cycles and the component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...model.genome import GENES
from ...model.integer import IntModel
from ...model.knobs import Lanes, check_share
from ..operator import Part
from ..requantize import Requantize
from . import cycles
from .classifier import (
    Classifier,
    StateCopy,
    classifier_chunks,
    classifier_cycles,
    copied_chunks,
)
from .gates.layer import GatesLayer, GatesPlan
from .layer import GruLayer, component_part, layer_parts
from .loader import Loader, address_bits
from .loading import envelope, loaded_part, stores
from .network import Fork, Network
from .schedule import Schedule, divisor_within
from .serial import SerialPlan, chain_cycles
from .shared.layer import SharedLayer, SharedPlan
from .stages import timeline
from .stages.plan import StagePlan, back_plans, front_plans
from .stages.stage import DenseStage, stage_parts


@dataclass(frozen=True, eq=False)
class Design:
    """What :func:`~genogate.synth.verilog.emit` writes and :func:`~genogate.synth.area.area_report`
    measures. Everything that follows from model and lanes is computed on first use, once.

    Parameters
    ----------
    model : IntModel
    lanes : Lanes
    share : what shares hardware, a value of the knob
    pipeline : registers in each multiply-accumulate, a value of the knob
    weights : whether weights are constants or loaded, a value of the knob
    """

    model: IntModel
    lanes: Lanes
    share: str
    pipeline: int
    weights: str = "rom"

    @classmethod
    def of(
        cls,
        model: IntModel,
        lanes: Lanes | None = None,
        share: str = "none",
        pipeline: int = 0,
        weights: str = "rom",
    ) -> Design:
        """The design of `model`; one lane a side if `lanes` are not given. Raises
        :class:`InputError` for lanes and a pipeline that `share` cannot have."""
        lanes = lanes or Lanes()
        check_share(share, lanes, pipeline)
        return cls(model, lanes, share, pipeline, weights)

    @cached_property
    def planned(self) -> IntModel:
        """The model that widths follow: `model`, or its :func:`~.loading.envelope` where other
        weights may be loaded."""
        return envelope(self.model) if self.weights == "load" else self.model

    @cached_property
    def shared(self) -> tuple[SharedPlan, ...]:
        """Programs of the layers, where everything is shared."""
        layers, classifier = self.model.layers, self.model.classifier
        # Where weights are loaded logits are as wide as any weights make them.
        bits = self.planned.classifier.acc_width if self.weights == "load" else None
        # Behind dense layers the classifier stands alone.
        lasts = [*([None] * (len(layers) - 1)), None if self.model.back else classifier]
        every = self.model.head.every
        return tuple(
            SharedPlan.of(*of, self.lanes.x, every, bits) for of in zip(layers, lasts, strict=True)
        )

    @cached_property
    def gates(self) -> tuple[GatesPlan, ...]:
        """Plans of the layers, where gates share units."""
        layers = self.planned.layers
        return tuple(
            GatesPlan.of(layer, self.lanes.x, self._reads(k)) for k, layer in enumerate(layers)
        )

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The timing of each layer."""
        return tuple(
            Schedule.of(
                layer, self.lanes, self.pipeline, lowest=number == 0 and not self.model.front
            )
            for number, layer in enumerate(self.planned.layers)
        )

    @cached_property
    def layers(self) -> tuple[dict[str, Part], ...]:
        """The parts of each layer by name."""
        if self.share != "none":
            layers = [plan.parts() for plan in self.sharing_plans]
        else:
            layers = [
                layer_parts(layer, schedule, self.lanes, classified=self._reads(number))
                for number, (layer, schedule) in enumerate(
                    zip(self.planned.layers, self.schedules, strict=True)
                )
            ]
        if self.weights == "load":
            layers = [_loaded(parts) for parts in layers]
        return tuple(layers)

    @cached_property
    def rest(self) -> dict[str, Part]:
        """The parts beside the layers: ``classifier``, ``copy`` and ``fork`` where it answers at
        every step, and where the head answers codes ``requantize`` and ``activation``, which are
        all where everything is shared; ``loader`` where weights are loaded."""
        return _parts_beside_layers(self)

    @cached_property
    def load_shape(self) -> tuple[tuple[int, ...], int]:
        """Words of each parameter memory that is loaded, and bits of the widest."""
        memories = stores(self)
        return tuple(store.depth for store in memories), max(store.width for store in memories)

    @property
    def ends_in_stage(self) -> bool:
        """Whether the last linear operator is a dense layer behind others."""
        return bool(self.model.back) and self.model.stage is not None

    @property
    def classifier_alone(self) -> bool:
        """Whether the classifier is a part of its own: neither the last layer's machine answers,
        nor the last stage."""
        return not self.ends_in_stage and (self.share != "all" or bool(self.model.back))

    @cached_property
    def front(self) -> tuple[StagePlan, ...]:
        """Plans of the dense layers in front."""
        return front_plans(
            self.planned.front, self.lanes, self.pipeline, self._layers_step, self.share
        )

    @cached_property
    def back(self) -> tuple[StagePlan, ...]:
        """Plans of the dense layers behind."""
        return back_plans(self.planned, self.lanes, self.pipeline, self._layers_step, self.share)

    @cached_property
    def stages(self) -> dict[str, dict[str, Part]]:
        """The parts of the dense layers, ``front0``, ..., ``back0``, ..., by name; ``classifier``
        where it is one behind others, which answers codes."""
        names = [f"front{k}" for k in range(len(self.front))]
        names += [f"back{k}" for k in range(len(self.model.back))]
        names += ["classifier"] * self.ends_in_stage
        rows = [stage_parts(plan) for plan in (*self.front, *self.back)]
        if self.weights == "load":
            rows = [_loaded(parts) for parts in rows]
        return dict(zip(names, rows, strict=True))

    @property
    def places(self) -> dict[str, dict[str, Part]]:
        """The parts of all layers by name, in the order of the data: ``front0``, ..., ``layer0``,
        ..., ``back0``, ...; ``classifier`` where it is in :attr:`stages`."""
        front = [name for name in self.stages if name.startswith("front")]
        layers = {f"layer{k}": parts for k, parts in enumerate(self.layers)}
        return {name: self.stages[name] for name in front} | layers | self.stages

    def stage_components(self) -> dict[str, DenseStage]:
        """The dense layers by name, new ones at each call."""
        plans = (*self.front, *self.back)
        return {
            name: DenseStage(plan, parts, load=self.load_port)
            for plan, (name, parts) in zip(plans, self.stages.items(), strict=True)
        }

    @property
    def _layers_step(self) -> int:
        """Cycles of a step of the slowest GRU layer, nothing around them."""
        if self.share != "none":
            return chain_cycles(self.sharing_plans)
        return max(schedule.cycles_per_step for schedule in self.schedules)

    @cached_property
    def chain(self) -> timeline.Chain | None:
        """What a network with dense layers is followed by; None without them."""
        if not (self.front or self.back):
            return None
        busy = 0
        if self.classifier_alone:
            busy = classifier_cycles(self.model.classifier, *self.classifier_plan)
        layers = self.schedules if self.share == "none" else self.sharing_plans
        return timeline.Chain(self.front, layers, self.back, busy, self.model.head.every)

    def mean_cycles(self, lengths: Sequence[int]) -> tuple[float | None, float | None]:
        """Of a network with dense layers :func:`.stages.timeline.mean_cycles` of sequences of so
        many steps; of others :attr:`cycles_per_step` alone."""
        if self.chain is None:
            return self.cycles_per_step, None
        return timeline.mean_cycles(self.chain, lengths)

    @property
    def load_port(self) -> tuple[int, int] | None:
        """Widths of address and data where weights are loaded."""
        if self.weights != "load":
            return None
        depths, width = self.load_shape
        return address_bits(depths), width

    @property
    def classifier_plan(self) -> tuple[int, int]:
        """Digits of the classifier's weights, and registers in its multiply-accumulate."""
        return _classifier_plan(self)

    @property
    def serves(self) -> dict[str, tuple[str, ...]]:
        """Whom a shared part works for, by its name in reports, e.g. ``layer0.machine``."""
        if self.share == "none":
            return {}
        top, every = len(self.model.layers) - 1, self.share == "all"
        answers = every and not self.model.back
        return {
            f"layer{k}.{name}": (*GENES, *["classifier"] * (answers and k == top))
            for k in range(top + 1)
            for name in ("machine", *["program"] * every)
        }

    @property
    def sharing_plans(self) -> tuple[SerialPlan, ...]:
        """Of the layers that share."""
        return self.gates if self.share == "gates" else self.shared

    @property
    def parts(self) -> list[Part]:
        """All parts; together they hold all logic and memories, each once."""
        rows = (*self.layers, *self.stages.values(), self.rest)
        return [part for row in rows for part in row.values()]

    @property
    def takes_ahead(self) -> bool:
        """Whether features of the next step are taken at any time during a step, into the second
        vector of the first layer's buffer."""
        if self.front:
            return self.front[0].vectors == 2
        return self.share == "none" and self.schedules[0].vectors == 2

    @property
    def cycles_per_step(self) -> int:
        """Cycles between time steps of long sequences (:func:`.cycles.cycles_per_step`)."""
        return cycles.cycles_per_step(self)

    def cycles_per_sequence(self, steps: int) -> int:
        """Cycles between sequences of `steps` (:func:`.cycles.cycles_per_sequence`)."""
        return cycles.cycles_per_sequence(self, steps)

    @property
    def ideal_cycles_per_step(self) -> int:
        """The same with no lane ever idle (:func:`.cycles.ideal_cycles_per_step`)."""
        return cycles.ideal_cycles_per_step(self)

    def layer_components(self) -> list[GruLayer] | list[GatesLayer] | list[SharedLayer]:
        """The layers, new ones at each call."""
        return _layer_components(self)

    def _reads(self, layer: int) -> bool:
        """Whether the classifier reads the state in the memory of a layer."""
        return layer == len(self.model.layers) - 1 and not self.model.head.every

    def component(self) -> Network:
        """The whole network as one component, a new one at each call."""
        return Network(self)


def _classifier_plan(design: Design) -> tuple[int, int]:
    op, head, step = design.model.classifier, design.model.head, design._layers_step
    if design.model.back:
        return copied_chunks(op, step, head, design.pipeline)
    if design.share == "gates":
        classes, hidden = op.weight.shape
        if head.every:
            # The first unit of the next step waits for it.
            last = design.gates[-1]
            spare = (last.layer.input_size + last.unit_cycles) // classes - 2
            return divisor_within(op.weight_bits, max(0, spare) // hidden), 0
        # The next step waits for it: an eighth of a step's time at most.
        return divisor_within(op.weight_bits, step // (8 * classes * hidden)), 0
    top = design.schedules[-1]
    chunks = classifier_chunks(op, top, head)
    return chunks, min(top.pipeline, op.weight.shape[1] * chunks - 1)


def _layer_components(design: Design) -> list[GruLayer] | list[GatesLayer] | list[SharedLayer]:
    if design.share == "gates":
        gates = zip(design.gates, design.layers, strict=True)
        return [GatesLayer(*of, load=design.load_port) for of in gates]
    if design.share == "all":
        shared = zip(design.shared, design.layers, strict=True)
        return [SharedLayer(*of, load=design.load_port) for of in shared]
    layers = zip(design.planned.layers, design.schedules, design.layers, strict=True)
    return [
        GruLayer(*of, classified=design._reads(k), load=design.load_port)
        for k, of in enumerate(layers)
    ]


def _loaded(parts: dict[str, Part]) -> dict[str, Part]:
    """The parts of a layer with memories that are loaded."""
    return {name: loaded_part(name, part) for name, part in parts.items()}


def _loader(design: Design) -> dict[str, Part]:
    """What fills the memories, where weights are loaded."""
    if design.weights != "load":
        return {}
    depths, width = design.load_shape
    places = len(design.model.layers) + len(design.stages)
    return {"loader": Loader.part(depths, width, 4 * places + 3)}


def _parts_beside_layers(design: Design) -> dict[str, Part]:
    """See :attr:`Design.rest`."""
    back = design.model.back
    op, stage, head = design.planned.classifier, design.planned.stage, design.model.head
    outputs: dict[str, Part] = {}
    if stage is not None:
        outputs["requantize"] = Requantize.part(stage.requantize)
        if stage.activation is not None:
            outputs["activation"] = component_part(stage.activation)
    if design.share == "all" and not back:
        return outputs | _loader(design)
    fork = {"fork": Part(Fork.identity, "Fork", Fork)}
    fork = fork if head.every or (back and design.share == "all") else {}
    if design.ends_in_stage:
        return fork | _loader(design)
    chunks, depth = design.classifier_plan
    lanes = 1 if head.every or back else design.lanes.h
    loaded = design.weights == "load"
    parts = {"classifier": Classifier.part(op, lanes, chunks, depth, head, loaded)}
    if head.every or back:
        parts["copy"] = StateCopy.part(op.in_bits, op.weight.shape[1])
    return parts | fork | outputs | _loader(design)
