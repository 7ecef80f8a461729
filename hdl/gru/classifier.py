"""The classifier: sums of the last state, or of every state, and the greatest of them."""

from functools import partial
from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model import integer
from ...model.head import Head
from ...model.integer import signed_width
from ..dense import Accumulation, Accumulator
from ..memories import CodeBuffer, Rom, WeightMemory, bias_words, weight_words
from ..operator import Part
from .counters import Counter, Pipe, UnitCounter
from .layer import code_layout, state_reader
from .loader import address_bits, fill, load_signature
from .schedule import Schedule, divisor_within


def logit_layout(bits: int) -> data.StructLayout:
    """The payload of the logits' stream: the logit low, `last` above it."""
    return data.StructLayout({"logit": signed(bits), "last": 1})


def class_layout(classes: int, head: Head) -> data.StructLayout | Shape:
    """The payload of the stream of classes: the class; `last` above it where the head answers at
    every step."""
    label = unsigned(max(1, (classes - 1).bit_length()))
    return data.StructLayout({"label": label, "last": 1}) if head.every else label


class Classifier(wiring.Component):
    """``logit = bias + weight @ h``, raw; class = index of the first greatest.

    One multiplier for weights in digits: a sequence takes ``C (H chunks + 2)`` cycles, beside the
    layers. The state is read where it is, in the layer's memory or a :class:`StateCopy`, which
    keeps it until then.

    Parameters
    ----------
    op : integer.Classifier
    lanes : int, codes to a word of the state
    chunks : int, digits of a weight, a divisor of ``op.weight_bits``
    pipeline : int, registers in the multiply-accumulate, see :class:`~hdl.dense.Accumulator`
    head : Head, when it answers, and whether the greatest sum is looked for
    loaded : bool, weights and biases are written through `load`, weights first

    Members
    -------
    state : Out(:func:`~.layer.state_reader`)
    final : In(1), of a head at every step: the state is that of a sequence's last step
    o_logits : Out(stream.Signature(StructLayout(logit=signed(acc_width), last=1)))
        One logit a transfer, class 0 first; `last` with the last one of a sequence.
    o_class : Out(stream.Signature(class_layout(classes, head))), of a head that answers classes
        One per sequence, after its last logit; or one per step, `last` with that of the last step.
    load : Out(:func:`~.loader.load_signature`), where weights are loaded
    """

    def __init__(
        self,
        op: integer.Classifier,
        lanes: int = 1,
        chunks: int = 1,
        pipeline: int = 0,
        head: Head | None = None,
        loaded: bool = False,
    ) -> None:
        self.op, self.lanes, self.chunks, self.pipeline = op, lanes, chunks, pipeline
        self.head, self.loaded = head or Head(), loaded
        bias = op.bias.tolist()
        self.need = Accumulation.of(op.weight, bias, op.in_bits, op.weight_bits, chunks)
        self.bias, self.bias_width, _ = bias_words(bias, [0] * len(bias))
        words = -(-op.weight.shape[1] // lanes)
        members: dict[str, Any] = {
            "state": Out(state_reader(op.in_bits, lanes, words)),
            "o_logits": Out(stream.Signature(logit_layout(op.acc_width))),
        }
        if self.head.every:
            members["final"] = In(1)
        if self.head.output == "class":
            members["o_class"] = Out(stream.Signature(class_layout(len(bias), self.head)))
        self.depths = op.weight.size * chunks, len(bias)
        if loaded:
            width = max(self.need.digit, self.bias_width)
            members["load"] = Out(load_signature(2, address_bits(self.depths), width))
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`. Weights are not in it."""
        shape = _identity(self.op, self.need, self.lanes, self.chunks, self.pipeline, self.head)
        return (*shape, *["load"] * self.loaded)

    @classmethod
    def part(
        cls,
        op: integer.Classifier,
        lanes: int = 1,
        chunks: int = 1,
        pipeline: int = 0,
        head: Head | None = None,
        loaded: bool = False,
    ) -> Part:
        """Deferred form of the component."""
        need = Accumulation.of(op.weight, op.bias.tolist(), op.in_bits, op.weight_bits, chunks)
        outputs, inputs = op.weight.shape
        head = head or Head()
        return Part(
            (*_identity(op, need, lanes, chunks, pipeline, head), *["load"] * loaded),
            f"Classifier, {inputs} codes of {op.in_bits} bits, {outputs} classes",
            partial(cls, op, lanes, chunks, pipeline, head, loaded),
            list if loaded else partial(_contents, op, need.digit, chunks),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        op, chunks, depth = self.op, self.chunks, self.pipeline
        classes, hidden = op.weight.shape
        need, bias_width, state = self.need, self.bias_width, self.state
        m.submodules.mac = mac = Accumulator(
            width=need.width,
            digit=need.digit,
            in_bits=op.in_bits,
            bias_width=bias_width,
            lanes=1,
            chunks=chunks,
            keep=need.dropped,
            pipeline=depth,
        )
        weights, biases = self._memories(m)

        # The sum of a class is taken before words of the next are asked for.
        done, taken, ask = Signal(), Signal(), Signal()
        pipe = Pipe(m, ask, Const(0, 1), depth)
        advance, follow = pipe.advance, pipe.follow
        unit = UnitCounter(m, "unit", hidden, self.lanes, advance)
        digit = Counter(m, "digit", chunks, advance & unit.last)
        label = Counter(m, "label", classes, taken)
        start = (unit.word == 0) & (unit.lane == 0)
        last = unit.last & digit.last
        m.d.comb += ask.eq(state.stands & ~done & ~pipe.holds("last", last))
        with m.If(pipe.enable | taken):
            m.d.sync += done.eq(pipe.enable & follow("last", last))

        address = self._address(m, unit, digit, label, advance)
        operand: Value = state.data
        if self.lanes > 1:
            lane = follow("lane", unit.lane, 0)
            operand = state.data.word_select(lane, op.in_bits)
        m.d.comb += [
            state.read.eq(advance),
            state.word.eq(unit.word),
            state.release.eq(taken & label.last),
            weights.address.eq(address),
            weights.enable.eq(advance),
            biases.address.eq(label.value),
            biases.enable.eq(advance),
            mac.operand.eq(operand),
            mac.weight.eq(weights.data),
            mac.bias.eq(biases.data.as_signed()),
            mac.enable.eq(pipe.enable),
            mac.first.eq(follow("first", start & (digit.value == 0))),
        ]
        if depth:
            m.d.comb += mac.move.eq(pipe.move)
        if chunks > 1:
            m.d.comb += [
                mac.next_digit.eq(follow("next_digit", start & (digit.value != 0))),
                # Multipliers are before the last register.
                mac.top.eq(follow("top", digit.last, max(0, depth - 1))),
            ]

        self._give(m, mac.acc[: op.acc_width].as_signed(), label, done, taken)
        return m

    def _memories(self, m: Module) -> tuple[Any, Any]:
        """Memories of the weights and the biases."""
        weights: Any
        biases: Any
        if self.loaded:
            weights, biases = map(WeightMemory, self.depths, (self.need.digit, self.bias_width))
            fill(m, self.load, (weights, biases))
        else:
            words = weight_words(self.op.weight, self.op.weight_bits, 1, self.chunks)
            weights, biases = Rom(words, self.need.digit), Rom(self.bias, self.bias_width)
        m.submodules.weights, m.submodules.biases = weights, biases
        return weights, biases

    def _address(
        self, m: Module, unit: UnitCounter, digit: Counter, label: Counter, advance: Value
    ) -> Value:
        """Place of a digit of a weight; a counter where it is no concatenation."""
        classes, hidden = self.op.weight.shape
        if all(n & (n - 1) == 0 for n in (hidden, self.chunks, self.lanes)):
            return Cat(unit.lane, unit.word, digit.value, label.value)
        return Counter(m, "linear", classes * hidden * self.chunks, advance).value

    def _give(self, m: Module, logit: Value, label: Counter, done: Signal, taken: Signal) -> None:
        """Logits leave as they are summed; a head of classes waits with the next sequence until
        the class is taken."""
        final: Value = label.last & self.final if self.head.every else label.last
        # Named as they have always been in the Verilog: not at all, and by its variable.
        known, chosen = Signal(), Signal()
        classified = self.head.output == "class"
        m.d.comb += [
            self.o_logits.payload.logit.eq(logit),
            self.o_logits.payload.last.eq(final),
            self.o_logits.valid.eq(done & ~known if classified else done),
            taken.eq(self.o_logits.valid & self.o_logits.ready),
        ]
        if classified:
            self._greatest(m, logit, label, (known, chosen), taken)

    def _greatest(
        self, m: Module, logit: Value, label: Counter, flags: tuple[Signal, Signal], taken: Value
    ) -> None:
        """Keep the greatest logit so far. `flags`: the class is known, and taken."""
        known, chosen = flags
        op = self.op
        greatest = Signal(signed(op.acc_width), reset_less=True)
        place = Signal(class_bits(op), reset_less=True)
        better = (label.value == 0) | (logit > greatest)
        payload: Value = place
        if self.head.every:
            final = Signal()
            with m.If(taken & label.last):
                m.d.sync += final.eq(self.o_logits.payload.last)
            payload = Cat(place, final)
        m.d.comb += [
            chosen.eq(known & self.o_class.ready),
            Value.cast(self.o_class.payload).eq(payload),
            self.o_class.valid.eq(known),
        ]
        with m.If(taken & better):
            m.d.sync += [greatest.eq(logit), place.eq(label.value)]
        with m.If((taken & label.last) | chosen):
            m.d.sync += known.eq(~known)


class StateCopy(wiring.Component):
    """A copy of each step's state, for a head that answers at every step.

    Units are taken until they are a whole state, which then stands until it is released.

    Parameters
    ----------
    bits, units : int, width of a code and codes of a state

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(bits), last=1))), the units of the last layer
    reader : In(:func:`~.layer.state_reader`); final : Out(1), the state is a sequence's last
    """

    def __init__(self, bits: int, units: int) -> None:
        self.bits, self.units = bits, units
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(bits))),
                "reader": In(state_reader(bits, 1, units)),
                "final": Out(1),
            }
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "StateCopy", self.bits, self.units

    @classmethod
    def part(cls, bits: int, units: int) -> Part:
        """Deferred form of the component."""
        about = f"StateCopy, {units} codes of {bits} bits"
        return Part(("StateCopy", bits, units), about, partial(cls, bits, units))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.codes = codes = CodeBuffer(bits=self.bits, lanes=1, depth=self.units)
        whole, stored, reader = Signal(), Signal(), self.reader
        place = Counter(m, "place", self.units, stored)
        m.d.comb += [
            self.i.ready.eq(~whole),
            stored.eq(self.i.valid & ~whole),
            codes.write_enable.eq(stored),
            codes.write_address.eq(place.value),
            codes.write_code.eq(self.i.payload.code),
            codes.read_enable.eq(reader.read),
            codes.read_address.eq(reader.word),
            reader.data.eq(codes.data),
            reader.stands.eq(whole),
        ]
        with m.If(stored & place.last | reader.release):
            m.d.sync += whole.eq(~whole)
        with m.If(stored):
            m.d.sync += self.final.eq(self.i.payload.last)
        return m


def _identity(
    op: integer.Classifier, need: Accumulation, lanes: int, chunks: int, pipeline: int, head: Head
) -> tuple[object, ...]:
    # Only widths: what the accumulator may hold is known to nothing after it.
    bias_width = signed_width(int(op.bias.min()), int(op.bias.max()))
    return (
        "Classifier",
        op.weight.shape,
        need.width,
        need.digit,
        op.in_bits,
        bias_width,
        op.acc_width,
        lanes,
        chunks,
        pipeline,
        *(() if head.plain else (head.at, head.output == "class")),
    )


def _contents(op: integer.Classifier, digit: int, chunks: int) -> list[tuple[list[int], int]]:
    """Weights and biases as the memories hold them."""
    bias, bias_width, _ = bias_words(op.bias.tolist(), [0] * len(op.bias))
    return [(weight_words(op.weight, op.weight_bits, 1, chunks), digit), (bias, bias_width)]


def class_bits(op: integer.Classifier) -> int:
    """Width of a class index, at least 1."""
    return max(1, (len(op.bias) - 1).bit_length())


def classifier_cycles(op: integer.Classifier, chunks: int, pipeline: int) -> int:
    """Cycles from the first word that is asked for to the last logit, none of them waiting."""
    classes, hidden = op.weight.shape
    return classes * (hidden * chunks + 1 + pipeline + 1)


def classifier_chunks(op: integer.Classifier, schedule: Schedule, head: Head) -> int:
    """Digits that the classifier takes a weight in: as many as the first step of the next sequence
    gives it time for; whole weights where every step waits for it."""
    if head.every:
        return 1
    classes, hidden = op.weight.shape
    # From the end of a step to its last unit, and back to what waits for the classifier.
    time = schedule.cycles_per_step - schedule.drain - 2 - schedule.pipeline
    return divisor_within(op.weight_bits, max(0, time // classes - 2 - schedule.pipeline) // hidden)


def copied_chunks(op: integer.Classifier, step: int, head: Head, pipeline: int) -> tuple[int, int]:
    """Digits that a classifier behind dense layers takes a weight in, of a network whose layers
    take `step` cycles: as many as half of them give time for; and registers in its
    multiply-accumulate."""
    classes, inputs = op.weight.shape
    time = max(0, step // 2 // classes - 2 - pipeline)
    chunks = 1 if head.every else divisor_within(op.weight_bits, time // inputs)
    return chunks, min(pipeline, inputs * chunks - 1)
