"""The classifier: sums of the last state, or of every state, and the greatest of them."""

from functools import partial

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model import integer
from ...model.head import Head
from ...model.integer import signed_width
from ..dense import Accumulation, Accumulator
from ..memories import CodeBuffer, Rom, bias_words, weight_words
from ..operator import Part
from .counters import Counter
from .layer import code_layout
from .schedule import divisor_within


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

    One multiplier for weights in digits: a sequence takes ``C H chunks`` cycles and a few, beside
    the layers. The state is taken while it arrives; while its logits are computed, no other
    state of a last step is taken, others pass. A head at every step takes the state of every step.

    Parameters
    ----------
    op : integer.Classifier
    chunks : int, digits of a weight, a divisor of ``op.weight_bits``
    head : Head, when it answers, and whether the greatest sum is looked for

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1)))
        The units of the last layer; `last` as there.
    last_step : In(1), of a head at the last step
        While `i` is valid: it belongs to the last step of a sequence. Others are dropped.
    o_logits : Out(stream.Signature(StructLayout(logit=signed(acc_width), last=1)))
        One logit a transfer, class 0 first; `last` with the last one of a sequence.
    o_class : Out(stream.Signature(class_layout(classes, head))), of a head that answers classes
        One per sequence, after its last logit; or one per step, `last` with that of the last step.
    """

    def __init__(self, op: integer.Classifier, chunks: int = 1, head: Head | None = None) -> None:
        self.op, self.chunks, self.head = op, chunks, head or Head()
        bias = op.bias.tolist()
        self.need = Accumulation.of(op.weight, bias, op.in_bits, op.weight_bits, chunks)
        self.bias, self.bias_width, _ = bias_words(bias, [0] * len(bias))
        members = {
            "i": In(stream.Signature(code_layout(op.in_bits))),
            "last_step": In(1),
            "o_logits": Out(stream.Signature(logit_layout(op.acc_width))),
            "o_class": Out(stream.Signature(class_layout(len(bias), self.head))),
        }
        if self.head.every:
            del members["last_step"]
        if self.head.output != "class":
            del members["o_class"]
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`. Weights are not in it."""
        return _identity(self.op, self.need, self.chunks, self.head)

    @classmethod
    def part(cls, op: integer.Classifier, chunks: int = 1, head: Head | None = None) -> Part:
        """The component, not built yet."""
        need = Accumulation.of(op.weight, op.bias.tolist(), op.in_bits, op.weight_bits, chunks)
        outputs, inputs = op.weight.shape
        head = head or Head()
        return Part(
            _identity(op, need, chunks, head),
            f"Classifier, {inputs} codes of {op.in_bits} bits, {outputs} classes",
            partial(cls, op, chunks, head),
            partial(_contents, op, need.digit, chunks),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        op, chunks = self.op, self.chunks
        classes, hidden = op.weight.shape
        need, bias, bias_width = self.need, self.bias, self.bias_width
        m.submodules.mac = mac = Accumulator(
            width=need.width,
            digit=need.digit,
            in_bits=op.in_bits,
            bias_width=bias_width,
            lanes=1,
            chunks=chunks,
            keep=need.dropped,
        )
        m.submodules.weights = weights = Rom(
            weight_words(op.weight, op.weight_bits, 1, chunks), need.digit
        )
        m.submodules.biases = biases = Rom(bias, bias_width)
        m.submodules.state = state = CodeBuffer(bits=op.in_bits, lanes=1, depth=hidden)

        # One counter for the units: of the state coming in, then of the sums.
        working = Signal()
        advance, stored = Signal(), Signal()
        if self.head.every:
            m.d.comb += [stored.eq(self.i.valid & ~working), self.i.ready.eq(~working)]
        else:
            m.d.comb += stored.eq(self.i.valid & self.last_step & ~working)
            m.d.comb += self.i.ready.eq(~self.last_step | ~working)
        unit = Counter(m, "unit", hidden, advance | stored)
        digit = Counter(m, "digit", chunks, advance & unit.last)
        label = Counter(m, "label", classes, advance & unit.last & digit.last)
        with m.If(stored & unit.last):
            m.d.sync += working.eq(1)
        with m.If(advance & unit.last & digit.last & label.last):
            m.d.sync += working.eq(0)

        full, done, enable, taken = Signal(), Signal(), Signal(), Signal()
        first, last, next_digit = Signal(), Signal(), Signal()
        top = Signal()
        m.d.comb += enable.eq(full & (~done | taken))
        m.d.comb += advance.eq(working & (~full | enable))
        with m.If(advance | enable):
            m.d.sync += full.eq(advance)
        with m.If(advance):
            m.d.sync += [
                first.eq((unit.value == 0) & (digit.value == 0)),
                next_digit.eq((unit.value == 0) & (digit.value != 0)),
                top.eq(digit.last),
                last.eq(unit.last & digit.last),
            ]
        with m.If(enable | taken):
            m.d.sync += done.eq(enable & last)

        if hidden & (hidden - 1) == 0 and chunks & (chunks - 1) == 0:
            address: Value = Cat(unit.value, digit.value, label.value)
        else:
            linear = Counter(m, "linear", classes * hidden * chunks, advance)
            address = linear.value
        m.d.comb += [
            state.write_enable.eq(stored),
            state.write_address.eq(unit.value),
            state.write_code.eq(self.i.payload.code),
            state.read_enable.eq(advance),
            state.read_address.eq(unit.value),
            weights.address.eq(address),
            weights.enable.eq(advance),
            biases.address.eq(label.value),
            biases.enable.eq(advance),
            mac.operand.eq(state.data),
            mac.weight.eq(weights.data),
            mac.bias.eq(biases.data.as_signed()),
            mac.enable.eq(enable),
            mac.first.eq(first),
        ]
        if chunks > 1:
            m.d.comb += [mac.next_digit.eq(next_digit), mac.top.eq(top)]

        logit = mac.acc[: op.acc_width].as_signed()
        out = Counter(m, "out", classes, taken)
        final = self._final(m, out.last, stored, advance, enable)
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
            self._greatest(m, logit, out, (known, chosen), taken)
        return m

    def _final(self, m: Module, last: Value, stored: Value, advance: Value, enable: Value) -> Value:
        """Whether the sum that leaves, perhaps the `last` of an answer, is the last of a
        sequence."""
        if not self.head.every:
            return last
        # States of the next step come in while sums of this one still leave.
        flags = [Signal(name=f"final{k}") for k in range(3)]
        steps = (stored, advance, enable)
        sources = (self.i.payload.last, *flags)
        for step, flag, source in zip(steps, flags, sources, strict=False):
            with m.If(step):
                m.d.sync += flag.eq(source)
        return last & flags[-1]

    def _greatest(
        self, m: Module, logit: Value, out: Counter, flags: tuple[Signal, Signal], taken: Value
    ) -> None:
        """Logits leave as they are summed; the greatest so far is kept. `flags`: it is known, and
        taken."""
        known, chosen = flags
        op = self.op
        greatest = Signal(signed(op.acc_width), reset_less=True)
        place = Signal(class_bits(op), reset_less=True)
        better = (out.value == 0) | (logit > greatest)
        payload: Value = place
        if self.head.every:
            final = Signal()
            with m.If(taken & out.last):
                m.d.sync += final.eq(self.o_logits.payload.last)
            payload = Cat(place, final)
        m.d.comb += [
            chosen.eq(known & self.o_class.ready),
            Value.cast(self.o_class.payload).eq(payload),
            self.o_class.valid.eq(known),
        ]
        with m.If(taken & better):
            m.d.sync += [greatest.eq(logit), place.eq(out.value)]
        with m.If((taken & out.last) | chosen):
            m.d.sync += known.eq(~known)


def _identity(
    op: integer.Classifier, need: Accumulation, chunks: int, head: Head
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
        chunks,
        *(() if head.plain else (head.at, head.output == "class")),
    )


def _contents(op: integer.Classifier, digit: int, chunks: int) -> list[tuple[list[int], int]]:
    """Weights and biases as the memories hold them."""
    bias, bias_width, _ = bias_words(op.bias.tolist(), [0] * len(op.bias))
    return [(weight_words(op.weight, op.weight_bits, 1, chunks), digit), (bias, bias_width)]


def class_bits(op: integer.Classifier) -> int:
    """Width of a class index, at least 1."""
    return max(1, (len(op.bias) - 1).bit_length())


#: Time steps that the classifier may take for a sequence; shorter sequences wait for it.
PATIENCE = 2


def classifier_chunks(op: integer.Classifier, pass_cycles: int, head: Head) -> int:
    """Digits that the classifier takes a weight in: as many as :data:`PATIENCE` steps allow; whole
    weights where every step waits for it."""
    if head.every:
        return 1
    return divisor_within(op.weight_bits, PATIENCE * pass_cycles // len(op.bias))
