"""What a dense layer's hardware does in which cycle: no code passes through it."""

from functools import partial
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...operator import Part
from ..counters import Counter, Pipe, UnitCounter, one_lane
from ..layer import state_reader
from .plan import StagePlan


class StageControl(wiring.Component):
    """Stores input vectors, asks for words and weights, tells the datapath when.

    Words of an output are asked for in ``plan.pass_cycles`` cycles, its sum is complete a cycle
    after the last of them was accumulated; `done` holds it until `taken`.

    Parameters
    ----------
    plan : StagePlan

    Members
    -------
    i_valid, i_last : In(1); i_ready : Out(1), with a buffer
        The input stream without its codes. `i_last` ends a vector wherever it comes.
    x_write_enable : Out(lanes); x_write_address, x_read_enable, x_read_address : Out, of it
    reader : Out(:func:`~..layer.state_reader`), where the input is a state in a layer's memory
    advance : Out(1), words of weights are asked for in this cycle; address : Out, of them
    unit : Out, of which output; first_advance : Out(1), the first of it: its bias is asked for
    enable, first, done, next_digit, top, move : Out(1), see :class:`~hdl.dense.Dense`
    taken : In(1), the sum is taken; o_last : Out(1), beside the output
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        layer, words = plan.layer, plan.words
        bit_out = ("advance", "first_advance", "enable", "first", "done", "o_last")
        members: dict[str, Any] = {name: Out(1) for name in bit_out}
        members |= {
            "taken": In(1),
            "unit": Out(range(max(2, layer.output_size))),
            "address": Out(range(max(2, plan.cycles))),
        }
        if plan.pipeline:
            members["move"] = Out(1)
        if plan.chunks > 1:
            members |= {"next_digit": Out(1), "top": Out(1)}
        if plan.vectors == 0:
            members["reader"] = Out(state_reader(layer.in_bits, plan.lanes, words))
        else:
            depth = max(2, plan.vectors * words)
            members |= {
                "i_valid": In(1),
                "i_last": In(1),
                "i_ready": Out(1),
                "x_write_enable": Out(plan.lanes),
                "x_write_address": Out(range(depth)),
                "x_read_enable": Out(1),
                "x_read_address": Out(range(depth)),
            }
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.plan.identity

    @classmethod
    def part(cls, plan: StagePlan) -> Part:
        """Deferred form of the component."""
        return Part(plan.identity, f"StageControl, {plan.cycles} cycles", partial(cls, plan))

    def elaborate(self, platform) -> Module:
        m = Module()
        plan = self.plan
        ask = Signal()
        pipe = Pipe(m, ask, self.done & ~self.taken, plan.pipeline)
        advance, follow = pipe.advance, pipe.follow
        word = Counter(m, "word", plan.words, advance)
        digit = Counter(m, "digit", plan.chunks, advance & word.last)
        last = word.last & digit.last
        unit = Counter(m, "unit", plan.layer.output_size, advance & last)
        ends, start = last & unit.last, (word.value == 0) & (digit.value == 0)
        if plan.vectors == 0:
            final: Value = Const(1, 1)
            self._state(m, ask, pipe, word.value, ends)
        else:
            whole, final = self._inputs(m, advance, word.value, advance & ends)
            m.d.comb += ask.eq(whole)

        if all(n & (n - 1) == 0 for n in (plan.words, plan.chunks)):
            address: Value = Cat(word.value, digit.value, unit.value)
        else:
            address = Counter(m, "linear", plan.cycles, advance).value
        m.d.comb += [
            self.advance.eq(advance),
            self.first_advance.eq(advance & start),
            self.address.eq(address),
            self.unit.eq(unit.value),
            self.enable.eq(pipe.enable),
            self.first.eq(follow("first", start)),
        ]
        complete, ended = follow("last", last), follow("final", ends & final)
        with m.If(pipe.enable | self.taken):
            m.d.sync += self.done.eq(pipe.enable & complete)
        if plan.pipeline:
            m.d.comb += self.move.eq(pipe.move)
        if plan.slot:
            # The output's register is behind the sum's.
            summed = Signal(reset_less=True)
            with m.If(pipe.enable):
                m.d.sync += summed.eq(ended)
            with m.If(self.taken):
                m.d.sync += self.o_last.eq(summed)
        else:
            with m.If(pipe.enable):
                m.d.sync += self.o_last.eq(ended)
        if plan.chunks > 1:
            m.d.comb += [
                self.next_digit.eq(follow("next_digit", (word.value == 0) & (digit.value != 0))),
                # Multipliers are before the last register.
                self.top.eq(follow("top", digit.last, max(0, plan.pipeline - 1))),
            ]
        return m

    def _state(self, m: Module, ask: Signal, pipe: Pipe, word: Value, ends: Value) -> None:
        """Words of a state that stands until it is released."""
        reader = self.reader
        # The state stands for one cycle more when its last word was asked for.
        going = pipe.valid[0] & pipe.follow("ends", ends, 0)
        m.d.comb += [
            ask.eq(reader.stands & ~going),
            reader.read.eq(pipe.advance),
            reader.word.eq(self._asked(m, pipe, word)),
            reader.release.eq(pipe.leave & going),
        ]

    def _asked(self, m: Module, pipe: Pipe, word: Value) -> Value:
        """The word to read: that which waits in the memory's output again, where it would not stay
        there."""
        if not self.plan.again or self.plan.words == 1:
            return word
        asked = Signal.like(word, name="asked_word")
        with m.If(pipe.advance):
            m.d.sync += asked.eq(word)
        return Mux(pipe.valid[0] & ~pipe.leave, asked, word)

    def _inputs(
        self, m: Module, advance: Value, word: Value, step_end: Value
    ) -> tuple[Value, Value]:
        """Take features; whether a whole vector is there, and is the last of a sequence."""
        plan = self.plan
        taken = Signal(name="i_taken")
        # A `last` ends the vector wherever it comes, so that a sender that lost count is in step
        # again with the next sequence.
        size = plan.layer.input_size
        feature = UnitCounter(m, "feature", size, plan.lanes, taken, self.i_last)
        filled = taken & feature.last
        m.d.comb += [
            taken.eq(self.i_valid & self.i_ready),
            self.x_write_enable.eq(
                one_lane(feature.lane, plan.lanes) & taken.replicate(plan.lanes)
            ),
            self.x_read_enable.eq(advance),
        ]
        if plan.vectors == 1:
            whole, final = Signal(name="whole"), Signal(name="final", reset_less=True)
            if plan.finals:
                filled = filled & self.i_last
            m.d.comb += [
                self.i_ready.eq(~whole),
                self.x_write_address.eq(feature.word),
                self.x_read_address.eq(word),
            ]
            with m.If(filled | step_end):
                m.d.sync += whole.eq(filled)
            with m.If(filled):
                m.d.sync += final.eq(self.i_last)
            return whole, Const(1, 1) if plan.finals else final
        bank = Signal()  # that is read
        vectors = Signal(2)  # whole ones in the buffer: 0, 1, 2
        finals = Signal(2, name="vector_finals", reset_less=True)
        into = bank ^ vectors[0]
        m.d.comb += [
            self.i_ready.eq(~vectors[1]),
            self.x_write_address.eq(Cat(into, feature.word)),
            self.x_read_address.eq(Cat(bank, word)),
        ]
        with m.If(filled):
            m.d.sync += finals.bit_select(into, 1).eq(self.i_last)
        with m.If(step_end):
            m.d.sync += bank.eq(~bank)
        m.d.sync += vectors.eq(vectors + filled - step_end)
        return vectors != 0, finals.bit_select(bank, 1)
