"""Sizes and timing of a dense layer's hardware, and how those of a network are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....model.integer import Dense, DenseLayer, IntModel, PiecewiseLinear
from ....model.knobs import Lanes
from ...piecewise_linear import PiecewisePlan
from ..schedule import TOLERANCE, divisor_within

#: Share of a step that a stage may take, one over this: two stages in series fit into a step. A
#: layer that shares its gates takes its inputs before its units, so it waits for the stage.
SHARE, SHARE_OF_SERIAL = 2, 8


@dataclass(frozen=True, eq=False)
class StagePlan:
    """What shapes the hardware of a dense layer, beside its operator.

    lanes : products a cycle, and codes to a word of its input
    chunks : digits that a weight comes in, a divisor of its bits
    vectors : input vectors that its buffer holds; 0 where it reads the state in a layer's memory
    finals : whether only a sequence's last vector counts; the others are taken and dropped
    pipeline : registers in the multiply-accumulate, at most ``pass_cycles - 1``
    again : whether a layer's memory is read in every cycle, so that a word which has to wait is
        asked for again
    """

    layer: DenseLayer
    lanes: int
    chunks: int
    vectors: int
    finals: bool = False
    pipeline: int = 0
    again: bool = False

    @property
    def words(self) -> int:
        """Words of an input vector."""
        return -(-self.layer.input_size // self.lanes)

    @property
    def pass_cycles(self) -> int:
        """Cycles of an output: a word a cycle, as often as a weight has digits."""
        return self.words * self.chunks

    @cached_property
    def digit(self) -> int:
        """Bits of a slope that the unit of a sigmoid or tanh takes a cycle, where that is smaller
        and an output gives it time; 0 for all at once."""
        unit = self.layer.activation
        if not isinstance(unit, PiecewiseLinear):
            return 0
        plan = PiecewisePlan.of(unit)
        split = self.pipeline > 0

        def in_time(digit: int) -> bool:
            return not digit or plan.cycles(digit, split) + 2 <= self.pass_cycles

        fitting = filter(in_time, plan.digits(split))
        return min(fitting, key=lambda digit: plan.rows(digit, split))

    @cached_property
    def unit_cycles(self) -> int:
        """Cycles of that unit, 0 for one in one piece."""
        unit = self.layer.activation
        if not self.digit:
            return 0
        assert isinstance(unit, PiecewiseLinear)
        return PiecewisePlan.of(unit).cycles(self.digit, self.pipeline > 0)

    @property
    def slot(self) -> bool:
        """Whether a register stands between requantiser and unit: for a unit that takes its time,
        and for a higher clock."""
        return self.pipeline > 0 or self.digit > 0

    @property
    def cycles(self) -> int:
        """Cycles in which words of a vector are asked for, ``N ceil(I / lanes) chunks``."""
        return self.layer.output_size * self.pass_cycles

    @property
    def cycles_per_step(self) -> int:
        """Cycles from vector to vector with a feature a cycle, outputs always taken:
        ``max(I, cycles)`` with two vectors in the buffer, ``I + cycles`` with one."""
        inputs = self.layer.input_size
        if self.vectors == 0:
            # The state is released a cycle after its last word was asked for.
            return self.cycles + 1
        return max(inputs, self.cycles) if self.vectors == 2 else inputs + self.cycles

    @property
    def identity(self) -> tuple[object, ...]:
        """What shapes its control, see :class:`hdl.operator.Part`."""
        layer = self.layer
        return (
            "StageControl",
            layer.input_size,
            layer.output_size,
            self.lanes,
            self.chunks,
            self.vectors,
            self.finals,
            self.pipeline,
            layer.in_bits if self.vectors == 0 else 0,
            self.slot,
            self.again,
        )


def _chunks(layer: DenseLayer, lanes: int, cycles: int) -> int:
    """The most digits with which a vector takes `cycles` at most; 1 where none does."""
    whole = layer.output_size * -(-layer.input_size // lanes)
    return divisor_within(layer.dense.weight_bits, cycles // whole)


def _plan(
    layer: DenseLayer,
    lanes: int,
    pipeline: int,
    *,
    budget: int,
    vectors: int,
    finals: bool = False,
    again: bool = False,
) -> StagePlan:
    chunks = _chunks(layer, lanes, budget)
    depth = min(pipeline, -(-layer.input_size // lanes) * chunks - 1)
    return StagePlan(layer, lanes, chunks, vectors, finals, depth, again)


def _vectors(layer: DenseLayer, lanes: int, budget: int, step: int, fill: int) -> tuple[int, int]:
    """Vectors of a buffer that fills in `fill` cycles while none is read, and the cycles of the
    stage: one vector where both fit into a step."""
    chunks = _chunks(layer, lanes, budget)
    cycles = layer.output_size * -(-layer.input_size // lanes) * chunks
    return 1 if fill + cycles <= step * (1 + TOLERANCE) else 2, cycles


def front_plans(
    layers: Sequence[DenseLayer], lanes: Lanes, pipeline: int, step: int, share: str
) -> tuple[StagePlan, ...]:
    """Plans of the dense layers in front of a GRU that takes `step` cycles.

    `lanes.x` products a cycle; weights come in as many digits as half a step gives time for. The
    buffer holds one vector, or two where a step would be longer else.
    """
    plans, width = [], 1 if share == "all" else lanes.x
    fill = layers[0].input_size if layers else 0
    budget = step // (SHARE if share == "none" else SHARE_OF_SERIAL)
    for layer in layers:
        vectors, fill = _vectors(layer, width, budget, step, fill)
        vectors = vectors if share == "none" else 1
        plans.append(_plan(layer, width, pipeline, budget=budget, vectors=vectors))
    return tuple(plans)


def head_layer(model: IntModel) -> DenseLayer | None:
    """The last linear operator with what makes codes of its sums, as a dense layer; None for a head
    that answers class or logits."""
    op, stage = model.classifier, model.stage
    if stage is None:
        return None
    taken = stage.requantize
    dense = Dense(
        weight=op.weight,
        bias=op.bias,
        in_bits=op.in_bits,
        weight_bits=op.weight_bits,
        acc_min=op.acc_min,
        acc_max=op.acc_max,
        channel_shift=np.zeros(len(op.bias), np.uint8),
        out_bits=taken.out_bits,
        multiplier=taken.multiplier,
        shift=taken.shift,
        zero_point=taken.zero_point,
    )
    function = "none" if stage.activation is None else model.head.activation
    return DenseLayer(dense, stage.activation, function)


def back_plans(
    model: IntModel, lanes: Lanes, pipeline: int, step: int, share: str
) -> tuple[StagePlan, ...]:
    """Plans of the dense layers behind a GRU that takes `step` cycles.

    `lanes.h` products a cycle. Where the head answers at the last step the first of them reads the
    state in the last layer, as a classifier does; the machine of ``share all`` lends it to nobody,
    so there it is copied. Where the head answers codes the last linear operator is one of them.
    """
    plans: list[StagePlan] = []
    width = 1 if share == "all" else lanes.h
    budget, fill = step // SHARE, step
    head = head_layer(model) if model.back else None
    layers = (*model.back, *([] if head is None else [head]))
    for number, layer in enumerate(layers):
        vectors, fill = _vectors(layer, width, budget, step, fill)
        last = not model.head.every
        if last or share != "none":
            vectors = 1
        finals = last and number == 0
        if finals and share != "all":
            vectors, finals = 0, False
        again = share == "gates" and vectors == 0
        plans.append(
            _plan(
                layer,
                width,
                pipeline,
                budget=budget,
                vectors=vectors,
                finals=finals,
                again=again,
            )
        )
    return tuple(plans)
