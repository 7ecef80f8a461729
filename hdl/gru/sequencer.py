"""What a GRU layer does in which cycle: the sequencer of its memories and dense operators."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...model.genome import GENES
from ..operator import Part
from .counters import Counter, UnitCounter, one_lane
from .schedule import Schedule


class Sequencer(wiring.Component):
    """Controls a layer; no code passes through it, so only sizes and the schedule shape it.

    A unit's words are asked for in ``plan.pass_cycles`` cycles, the sum is complete one cycle after
    the last of them; `done` holds it until `taken`. Words of a new time step are not asked for
    before the state that they need is written.

    Parameters
    ----------
    plan : Schedule
    input_lanes, state_lanes : int, codes to a word of the input and of the state

    Members
    -------
    i_valid, i_last : In(1); i_ready : Out(1)
        The layer's input stream without its codes. `i_last` ends a vector wherever it comes.
    x_write_enable : Out(input_lanes); x_write_address, x_read_enable, x_read_address : Out
    h_write_enable : Out(state_lanes); h_write_address, h_read_enable, h_read_address : Out
    advance : Out(1), words of weights are asked for in this cycle
    unit : Out, whose; first_advance : Out(1), the first of the unit: its bias is asked for
    address_N : Out, of the weights of the operators that use N words a unit
    enable, first, done : Out(1), see :class:`~hdl.dense.Dense`
    enable_N : Out(1), for the operators that use fewer than ``pass_cycles`` words
    next_digit_i, next_digit_h, top_N : Out(1), where weights come in digits
    zero_state : Out(1), the word of the state now there counts as real zero
    catch : Out(1), it holds the old state of the unit; own_lane : Out, in this lane
    taken : In(1), the sums are taken; busy : In(1), a unit is in the element-wise operators
    o_valid, o_ready : In(1), of the new state; o_last, last_step : Out(1), beside it
    """

    def __init__(self, plan: Schedule, input_lanes: int, state_lanes: int) -> None:
        self.plan, self.input_lanes, self.state_lanes = plan, input_lanes, state_lanes
        bit_in = ("i_valid", "i_last", "taken", "busy", "o_valid", "o_ready")
        bit_out = (
            "i_ready",
            "x_read_enable",
            "h_read_enable",
            "advance",
            "first_advance",
            "enable",
            "first",
            "done",
            "zero_state",
            "catch",
            "o_last",
            "last_step",
        )
        members = {name: In(1) for name in bit_in} | {name: Out(1) for name in bit_out}
        x_depth, h_depth = 2 * plan.x_words, 2 * plan.h_words
        members |= {
            "x_write_enable": Out(input_lanes),
            "h_write_enable": Out(state_lanes),
            "x_write_address": Out(range(x_depth)),
            "x_read_address": Out(range(x_depth)),
            "h_write_address": Out(range(h_depth)),
            "h_read_address": Out(range(h_depth)),
            "unit": Out(range(max(2, plan.hidden_size))),
        }
        if state_lanes > 1:
            members["own_lane"] = Out(range(state_lanes))
        for name in GENES[:6]:
            used, chunks = plan.used(name), plan.chunks[name]
            members[f"address_{used}"] = Out(range(max(2, used * plan.hidden_size)))
            if used < plan.pass_cycles:
                members[f"enable_{used}"] = Out(1)
            if chunks > 1:
                members[f"next_digit_{name[2]}"] = Out(1)
                members[f"top_{plan.top(name)}"] = Out(1)
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return _identity(self.plan, self.input_lanes, self.state_lanes)

    @classmethod
    def part(cls, plan: Schedule, input_lanes: int, state_lanes: int) -> Part:
        """The component, not built yet."""
        return Part(
            _identity(plan, input_lanes, state_lanes),
            f"Sequencer, {plan.pass_cycles} cycles a unit",
            partial(cls, plan, input_lanes, state_lanes),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        plan, hidden, cycles = self.plan, self.plan.hidden_size, self.plan.pass_cycles

        # Input: features go into the bank that is not being read.
        advance, done, enable = self.advance, self.done, self.enable
        step_end = Signal()  # `advance`, and it is the last word of a time step
        bank = Signal()  # of x and h, read in this step
        vectors = Signal(2)  # whole input vectors in the buffer: 0, 1, 2
        finals = Signal(2)  # per bank: its vector is the last of a sequence
        i_taken = self.i_valid & self.i_ready
        # A `last` ends the vector wherever it comes, so that a sender that lost count is in step
        # again with the next sequence.
        feature = UnitCounter(m, "feature", plan.input_size, self.input_lanes, i_taken, self.i_last)
        filled = i_taken & feature.last
        into = bank ^ vectors[0]
        m.d.comb += [
            self.i_ready.eq(~vectors[1]),
            self.x_write_enable.eq(
                one_lane(feature.lane, self.input_lanes) & i_taken.replicate(self.input_lanes)
            ),
            self.x_write_address.eq(Cat(into, feature.word)),
        ]
        with m.If(filled):
            m.d.sync += finals.bit_select(into, 1).eq(self.i_last)
        m.d.sync += vectors.eq(vectors + filled - step_end)

        # `beat` counts the cycles of a unit, `unit` the units of a step.
        beat = Counter(m, "beat", cycles, advance)
        unit = Counter(m, "unit", hidden, advance & beat.last)
        if self.state_lanes & (self.state_lanes - 1):
            place = UnitCounter(m, "own", hidden, self.state_lanes, advance & beat.last)
            own_word, own_lane = place.word, place.lane
        else:
            bits = self.state_lanes.bit_length() - 1
            own_word, own_lane = unit.value[bits:], unit.value[:bits]
        m.d.comb += step_end.eq(advance & beat.last & unit.last)
        start = Signal(init=1)  # the state is zero: a sequence's first step
        with m.If(step_end):
            m.d.sync += [bank.eq(~bank), start.eq(finals.bit_select(bank, 1))]

        def window(count: int) -> Value:
            """The first `count` beats."""
            return Const(1, 1) if count == cycles else beat.value < count

        def word(words: int, used: int, name: str) -> Value:
            """Index of the word to read when `words` are read over and over for `used` beats."""
            if words == used or words & (words - 1) == 0:
                return beat.value[: (words - 1).bit_length()]
            index = Signal(range(words), name=name)
            with m.If(advance):
                again = beat.last | (index == words - 1)
                m.d.sync += index.eq(Mux(again, 0, index + 1))
            return index

        words_of, reads = {}, {}
        for side, words in (("i", plan.x_words), ("h", plan.h_words)):
            passes = max(plan.chunks[n] for n in GENES[:6] if n[2] == side)
            words_of[side] = word(words, words * passes, f"{side}_word")
            # Beats past the last word must not read past the memory: simulators answer x, and
            # x times a weight of 0 is x.
            past = passes == 1 and words & (words - 1)
            reads[side] = advance & window(words) if past else advance
        m.d.comb += [
            self.x_read_enable.eq(reads["i"]),
            self.x_read_address.eq(Cat(bank, words_of["i"])),
            self.h_read_enable.eq(reads["h"]),
            self.h_read_address.eq(Cat(bank, words_of["h"])),
            self.unit.eq(unit.value),
            self.first_advance.eq(advance & (beat.value == 0)),
        ]

        # One cycle later the words are there: multiply and accumulate.
        full = Signal()  # words are there
        flags: dict[str, Signal] = {}

        def follow(name: str, value: Value) -> Signal:
            """`value`, of the cycle in which the words now there were asked for."""
            if name not in flags:
                flags[name] = Signal(len(value), name=f"{name}_now", reset_less=True)
                with m.If(advance):
                    m.d.sync += flags[name].eq(value)
            return flags[name]

        last = follow("last", beat.last)
        m.d.comb += enable.eq(full & (~done | self.taken))
        complete = Signal()
        with m.If(advance | enable):
            m.d.sync += full.eq(advance)
        with m.If(enable | self.taken):
            m.d.sync += complete.eq(enable & last)
        m.d.comb += [
            done.eq(complete),
            self.first.eq(follow("first", beat.value == 0)),
            self.zero_state.eq(follow("zero_state", start)),
        ]

        driven: set[str] = set()
        for name in GENES[:6]:
            used, chunks, side = plan.used(name), plan.chunks[name], name[2]
            address = f"address_{used}"
            if address not in driven:
                driven.add(address)
                if used & (used - 1) == 0:
                    value: Value = Cat(beat.value[: used.bit_length() - 1], unit.value)
                else:
                    value = Signal(range(used * hidden), name=f"linear_{used}")
                    with m.If(step_end):
                        m.d.sync += value.eq(0)
                    with m.Elif(advance & window(used)):
                        m.d.sync += value.eq(value + 1)
                m.d.comb += getattr(self, address).eq(value)
                if used < cycles:
                    within = follow(f"within_{used}", window(used))
                    m.d.comb += getattr(self, f"enable_{used}").eq(enable & within)
            if chunks > 1:
                again = (words_of[side] == 0) & (beat.value != 0)
                top = plan.top(name)
                for port, flag in (
                    (f"next_digit_{side}", again),
                    (f"top_{top}", beat.value >= top),
                ):
                    if port not in driven:
                        driven.add(port)
                        m.d.comb += getattr(self, port).eq(follow(port, flag))

        # The old state of the unit, caught as it passes by.
        catch = follow("catch", (words_of["h"] == own_word) & window(plan.h_words))
        m.d.comb += self.catch.eq(enable & catch)
        if self.state_lanes > 1:
            m.d.comb += self.own_lane.eq(follow("own_lane", own_lane))
        finals_done, finals_kept = Signal(reset_less=True), Signal(reset_less=True)
        final = follow("final_step", finals.bit_select(bank, 1))
        with m.If(enable & last):
            m.d.sync += finals_done.eq(final)
        with m.If(self.taken):
            m.d.sync += finals_kept.eq(finals_done)

        # The new state, into the other bank and out.
        fired = self.o_valid & self.o_ready
        new = UnitCounter(m, "new", hidden, self.state_lanes, fired)
        new_bank = Signal(init=1)
        with m.If(fired & new.last):
            m.d.sync += new_bank.eq(~new_bank)
        m.d.comb += [
            self.last_step.eq(finals_kept),
            self.o_last.eq(new.last & finals_kept),
            self.h_write_enable.eq(
                one_lane(new.lane, self.state_lanes) & fired.replicate(self.state_lanes)
            ),
            self.h_write_address.eq(Cat(new_bank, new.word)),
        ]

        # Unit 0 may not read a word of the state that is not written yet.
        drained = ~((full & last) | done | self.busy)
        wait = (unit.value == 0) & (beat.value == plan.guard) & ~drained
        m.d.comb += advance.eq((vectors != 0) & ~wait & (~full | enable))
        return m


def _identity(plan: Schedule, input_lanes: int, state_lanes: int) -> tuple[object, ...]:
    chunks = tuple(plan.chunks[name] for name in GENES[:6])
    return (
        "Sequencer",
        plan.x_words,
        plan.h_words,
        plan.pass_cycles,
        chunks,
        plan.guard,
        plan.hidden_size,
        plan.input_size,
        input_lanes,
        state_lanes,
    )
