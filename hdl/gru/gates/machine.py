"""The logic of a layer with shared gates: a step counter, and one of each unit."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...dense import Accumulator
from ..counters import UnitCounter, one_lane
from ..layer import code_layout, state_reader
from .multiplier import multiply
from .plan import Shape, Step
from .requantise import requantise


class GatesMachine(wiring.Component):
    """The logic of a layer with shared gates; between it and the memories are wires alone.

    Members
    -------
    i, o : streams, as of :class:`~..layer.GruLayer`
    reader : In(:func:`~..layer.state_reader`), with a classifier
    x_data, h_data, weight, bias, initial : In, what the memories show
    x_write_enable, x_write_address, h_write_enable, h_write_address, x_read_address,
    h_read_address, weight_address, bias_address, code : Out
    written : Out(1), `code` is the result of the next operator, for test benches
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        #: Intercepts of piecewise-linear units, by name; made with the multiplier.
        self.intercepts: dict[str, Signal] = {}
        s = shape
        members: dict[str, Any] = {
            "i": In(stream.Signature(code_layout(s.in_bits))),
            "o": Out(stream.Signature(code_layout(s.state_bits))),
            "x_data": In(s.lanes * s.in_bits),
            "h_data": In(s.lanes * s.state_bits),
            "weight": In(s.lanes * s.weight_bits),
            "bias": In(s.bias_bits + s.channel_bits),
            "weight_address": Out(range(max(2, s.weight_words * s.hidden))),
            "bias_address": Out(range(6 * s.hidden)),
            "code": Out(signed(8)),
            "written": Out(1),
        }
        for side in "xh":
            words = s.words(side)
            depth = words * (2 if side == "h" else 1)
            members |= {
                f"{side}_write_enable": Out(s.lanes),
                f"{side}_write_address": Out(range(max(2, depth))),
                f"{side}_read_address": Out(range(max(2, depth))),
            }
        if s.classified:
            members["reader"] = In(state_reader(s.state_bits, s.lanes, s.words("h")))
        if s.given:
            members["initial"] = In(s.lanes * s.state_bits)
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return ("GatesMachine", *vars(self.shape).values())

    def elaborate(self, platform) -> Module:
        m = Module()
        shape = self.shape
        self.step = Signal(range(len(shape.steps)))
        self.count = Signal(range(max(shape.cycles(step) for step in shape.steps)))
        self.t = {
            name: Signal(signed(8), reset_less=True, name=name) for name in ("t0", "t1", "t2")
        }
        self.start, self.final = Signal(init=1), Signal()
        self.advance, self.last_count = Signal(), Signal()
        stands = Signal()
        loading = Signal(init=1)
        self._inputs(m, loading)
        step_end, new, bank = self._units(m, loading, stands)
        self._memories(m, bank, new, step_end)
        acc, channel = self._accumulate(m)
        product = multiply(self, m)
        requantise(self, m, acc, product, channel, new)
        emit = self.active("emit")
        m.d.comb += [
            self.o.valid.eq(emit & ~loading & ~stands),
            self.o.payload.code.eq(self.t["t0"]),
            self.o.payload.last.eq(self.final & new.last),
            self.advance.eq(~loading & ~stands & (~emit | self.o.ready)),
        ]
        if shape.classified:
            m.d.comb += self.reader.stands.eq(stands)
            with m.If(step_end & self.final):
                m.d.sync += stands.eq(1)
            with m.If(self.reader.release):
                m.d.sync += stands.eq(0)
            m.d.comb += self.reader.data.eq(self.h_data)
            with m.If(stands):
                m.d.comb += self.h_read_address.eq(Cat(bank, self.reader.word))
        return m

    def steps(self, *kinds: str) -> list[tuple[int, Step]]:
        return [(k, step) for k, step in enumerate(self.shape.steps) if step.kind in kinds]

    def active(self, *kinds: str) -> Value:
        """Whether it is the turn of a step of these kinds."""
        return Cat(self.step == k for k, _ in self.steps(*kinds)).any()

    def by_step(self, m: Module, name: str, width: Any, values: dict[int, Any]) -> Signal:
        """A signal by the step; steps that are not in `values` do not look at it."""
        signal = Signal(width, name=name)
        if len({repr(value) for value in values.values()}) == 1:
            m.d.comb += signal.eq(next(iter(values.values())))
            return signal
        with m.Switch(self.step):
            for number, (k, value) in enumerate(values.items(), 1):
                with m.Case(k) if number < len(values) else m.Default():
                    m.d.comb += signal.eq(value)
        return signal

    def _inputs(self, m: Module, loading: Signal) -> None:
        """Features come in before the step that they belong to."""
        shape, taken = self.shape, Signal(name="i_taken")
        feature = UnitCounter(m, "feature", shape.inputs, shape.lanes, taken, self.i.payload.last)
        m.d.comb += [
            self.i.ready.eq(loading),
            taken.eq(self.i.valid & loading),
            self.x_write_enable.eq(
                one_lane(feature.lane, shape.lanes) & taken.replicate(shape.lanes)
            ),
            self.x_write_address.eq(feature.word),
        ]
        with m.If(taken & feature.last):
            m.d.sync += [loading.eq(0), self.final.eq(self.i.payload.last)]

    def _units(self, m: Module, loading: Signal, stands: Value) -> tuple[Value, UnitCounter, Value]:
        """Steps of a unit, units of a time step."""
        shape, emit = self.shape, Signal(name="emitted")
        m.d.comb += emit.eq(self.advance & self.active("emit"))
        lasts = {k: shape.cycles(step) - 1 for k, step in enumerate(shape.steps)}
        m.d.comb += self.last_count.eq(
            self.count == self.by_step(m, "last", len(self.count), lasts)
        )
        with m.If(self.advance):
            m.d.sync += self.count.eq(Mux(self.last_count, 0, self.count + 1))
            with m.If(self.last_count):
                m.d.sync += self.step.eq(Mux(self.active("emit"), 0, self.step + 1))
        new = UnitCounter(m, "new", shape.hidden, shape.lanes, emit)
        bank, step_end = Signal(), Signal()
        m.d.comb += step_end.eq(emit & new.last)
        with m.If(step_end):
            m.d.sync += [bank.eq(~bank), self.start.eq(self.final), loading.eq(1)]
        m.d.comb += [
            self.h_write_enable.eq(one_lane(new.lane, shape.lanes) & emit.replicate(shape.lanes)),
            self.h_write_address.eq(Cat(~bank, new.word)),
        ]
        return step_end, new, bank

    def _memories(self, m: Module, bank: Value, new: UnitCounter, step_end: Value) -> None:
        """Addresses: a word is there in the cycle after. Weights and biases come in the order in
        which they are asked for."""
        shape = self.shape
        word = Mux(self.active("read"), new.word, self.count)
        m.d.comb += [
            self.x_read_address.eq(self.count),
            self.h_read_address.eq(Cat(bank, word[: max(1, (shape.words("h") - 1).bit_length())])),
        ]
        summing = self.advance & self.active("sum")
        for address, step in (
            (self.weight_address, summing & ~self.last_count),
            (self.bias_address, summing & self.last_count),
        ):
            place = Signal.like(address, name="place")
            m.d.comb += address.eq(place)
            with m.If(step_end):
                m.d.sync += place.eq(0)
            with m.Elif(step):
                m.d.sync += place.eq(place + 1)

    def _accumulate(self, m: Module) -> tuple[Value, Value]:
        """Sums of the dense operators; the shift of the output's channel."""
        shape = self.shape
        digit, bias_bits = shape.weight_bits, shape.bias_bits
        in_bits = max(shape.in_bits, shape.state_bits)
        m.submodules.accumulator = mac = Accumulator(
            width=max(shape.acc_bits, bias_bits),
            digit=digit,
            in_bits=in_bits,
            bias_width=bias_bits,
            lanes=shape.lanes,
            chunks=1,
            keep=0,
        )

        def lanes(value: Value, bits: int, to: int) -> Value:
            return Cat(_wide(value.word_select(k, bits), to) for k in range(shape.lanes))

        zero = Const(shape.zero, signed(shape.state_bits)).as_unsigned().replicate(shape.lanes)
        first: Value = self.initial if shape.given else zero
        state = Cat(
            Mux(
                self.start,
                first.word_select(k, shape.state_bits),
                self.h_data.word_select(k, shape.state_bits),
            )
            for k in range(shape.lanes)
        )
        operands = {
            "x": lanes(self.x_data, shape.in_bits, in_bits),
            "h": lanes(state, shape.state_bits, in_bits),
        }
        by_step = {k: operands[step.a] for k, step in self.steps("sum")}
        m.d.comb += [
            mac.weight.eq(self.weight),
            mac.bias.eq(self.bias[:bias_bits].as_signed()),
            mac.operand.eq(self.by_step(m, "operand", shape.lanes * in_bits, by_step)),
            mac.enable.eq(self.advance & self.active("sum") & (self.count != 0)),
            mac.first.eq(self.count == 1),
        ]
        # The bias of the next sum is there in the cycle after, its channel is kept till then.
        channel = Signal(shape.channel_bits)
        if shape.channel_bits:
            kept = Signal(shape.channel_bits, reset_less=True)
            with m.If(self.active("sum") & (self.count == 1)):
                m.d.sync += kept.eq(self.bias[bias_bits:])
            dense = Cat(self.step == k for k, step in self.steps("code") if step.a == "acc").any()
            m.d.comb += channel.eq(kept & dense.replicate(shape.channel_bits))
        self.state = state
        return mac.acc, channel


def _wide(value: Value, bits: int) -> Value:
    """A signed code in as many bits."""
    return Cat(value, value[-1].replicate(bits - len(value))) if bits > len(value) else value
