"""What a GRU layer does in which cycle: the sequencer of its memories and dense operators."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...model.genome import GENES
from ..operator import Part
from .counters import Counter, Pipe, UnitCounter, one_lane
from .schedule import Schedule


class Sequencer(wiring.Component):
    """Controls a layer; no code passes through it, so only sizes and the schedule shape it.

    A unit's words are asked for in ``plan.pass_cycles`` cycles, the sum is complete one cycle after
    the last of them, and ``plan.pipeline`` more; `done` holds it until `taken`. Words of a new time
    step are not asked for before the state that they need is written.

    The state of a sequence's last step stays where it is until the classifier has read it: the
    next step, the first of a sequence, reads no state, so that the port is free, and writes into
    the other bank; the one after it waits.

    Parameters
    ----------
    plan : Schedule
    input_lanes, state_lanes : int, codes to a word of the input and of the state
    classified : bool, whether a classifier reads the state
    given : bool, whether the state before a sequence is in a memory of its own

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
    move, leave : Out(1), with a pipeline: its registers go on; the last word of a unit leaves the
        memories
    enable_N : Out(1), for the operators that use fewer than ``pass_cycles`` words
    next_digit_i, next_digit_h, top_N : Out(1), where weights come in digits
    zero_state : Out(1), the word of the state now there counts as real zero
    catch : Out(1), it holds the old state of the unit; own_lane : Out, in this lane
    taken : In(1), the sums are taken; busy : In(1), a unit is in the element-wise operators
    o_valid, o_ready : In(1), of the new state; o_last : Out(1), beside it
    initial_enable, initial_address : Out, with `given`: the word of the given state to read
    stands : Out(1), a state waits for the classifier; read, word : In, it asks for a word of it;
        release : In(1), it has got the last one
    """

    def __init__(
        self,
        plan: Schedule,
        input_lanes: int,
        state_lanes: int,
        classified: bool,
        given: bool = False,
    ) -> None:
        self.plan, self.input_lanes, self.state_lanes = plan, input_lanes, state_lanes
        self.classified, self.given = classified, given
        super().__init__(_members(plan, input_lanes, state_lanes, classified, given))

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        lanes = self.input_lanes, self.state_lanes
        return _identity(self.plan, *lanes, self.classified, self.given)

    @classmethod
    def part(
        cls,
        plan: Schedule,
        input_lanes: int,
        state_lanes: int,
        classified: bool,
        *,
        given: bool = False,
    ) -> Part:
        """Deferred form of the component."""
        return Part(
            _identity(plan, input_lanes, state_lanes, classified, given),
            f"Sequencer, {plan.pass_cycles} cycles a unit",
            partial(cls, plan, input_lanes, state_lanes, classified, given),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        plan, hidden, cycles = self.plan, self.plan.hidden_size, self.plan.pass_cycles

        ask = Signal()
        pipe = Pipe(m, ask, self.done & ~self.taken, plan.pipeline)
        advance, done, enable = self.advance, self.done, self.enable
        m.d.comb += [advance.eq(pipe.advance), enable.eq(pipe.enable)]
        step_end = Signal()  # `advance`, and it is the last word of a time step
        bank = Signal()  # of the state, read in this step; and of two input vectors
        #: Per bank of the state: it is, or will be, that of a sequence's last step.
        finals = Signal(2, init=0b01)
        stored, final = _take_features(self, m, bank, step_end)

        # `beat` counts the cycles of a unit, `unit` the units of a step.
        early = plan.pipeline > 0
        beat = Counter(m, "beat", cycles, advance, early=early)
        unit = Counter(m, "unit", hidden, advance & beat.last, early=early)
        own_word, own_lane = _own_place(self, m, beat, unit)
        m.d.comb += step_end.eq(advance & beat.last & unit.last)
        start = Signal()  # the state is zero: a sequence's first step
        m.d.comb += start.eq(finals.bit_select(bank, 1))
        with m.If(step_end):
            m.d.sync += [bank.eq(~bank), finals.bit_select(~bank, 1).eq(final)]

        words_of = _ask_for_words(self, m, beat, unit, bank)

        # Later the words are there: multiply and accumulate.
        follow = pipe.follow
        _strobes(self, m, beat, pipe, start)
        _weight_ports(self, m, beat, unit, follow, words_of, step_end)

        # The old state of the unit, caught as it passes by.
        catch = follow(
            "catch", (words_of["h"] == own_word) & _window(beat, plan.h_words, cycles), 0
        )
        m.d.comb += self.catch.eq(pipe.leave & catch)
        if self.state_lanes > 1:
            m.d.comb += self.own_lane.eq(follow("own_lane", own_lane, 0))

        new_bank, fired = _store_state(self, m, finals)

        wait, begun = _wait_for_state(self, m, beat, unit, pipe.holds("last", beat.last) | done)
        if self.classified:
            standing = _standing_states(self, m, new_bank, fired & self.o_last)
            # This step would write over a state that waits.
            wait = wait | (begun & standing.bit_select(~bank, 1))
            # Words that a first step asks for are not looked at, and others are not asked for.
            with m.If(self.stands):
                m.d.comb += [
                    self.h_read_enable.eq(self.read),
                    self.h_read_address.eq(Cat(self.standing_bank, self.word)),
                ]
        m.d.comb += ask.eq(stored & ~wait)
        return m


def _identity(
    plan: Schedule, input_lanes: int, state_lanes: int, classified: bool, given: bool
) -> tuple[object, ...]:
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
        plan.vectors,
        plan.pipeline,
        input_lanes,
        state_lanes,
        classified,
        *["given"] * given,
    )


def _take_features(
    control: "Sequencer", m: Module, bank: Value, step_end: Value
) -> tuple[Value, Value]:
    """Take features; whether a whole vector is there, and is the last of a sequence."""
    plan = control.plan
    i_taken = control.i_valid & control.i_ready
    # A `last` ends the vector wherever it comes, so that a sender that lost count is in step
    # again with the next sequence.
    feature = UnitCounter(
        m, "feature", plan.input_size, control.input_lanes, i_taken, control.i_last
    )
    filled = i_taken & feature.last
    m.d.comb += control.x_write_enable.eq(
        one_lane(feature.lane, control.input_lanes) & i_taken.replicate(control.input_lanes)
    )
    if plan.vectors == 1:
        whole, final = Signal(name="whole"), Signal(name="final", reset_less=True)
        m.d.comb += [control.i_ready.eq(~whole), control.x_write_address.eq(feature.word)]
        with m.If(filled | step_end):
            m.d.sync += whole.eq(filled)
        with m.If(filled):
            m.d.sync += final.eq(control.i_last)
        return whole, final
    # Features go into the bank that is not being read.
    vectors = Signal(2)  # whole input vectors in the buffer: 0, 1, 2
    finals = Signal(2, name="vector_finals", reset_less=True)  # the last of a sequence, per bank
    into = bank ^ vectors[0]
    m.d.comb += [
        control.i_ready.eq(~vectors[1]),
        control.x_write_address.eq(Cat(into, feature.word)),
    ]
    with m.If(filled):
        m.d.sync += finals.bit_select(into, 1).eq(control.i_last)
    m.d.sync += vectors.eq(vectors + filled - step_end)
    return vectors != 0, finals.bit_select(bank, 1)


def _own_place(
    control: "Sequencer", m: Module, beat: Counter, unit: Counter
) -> tuple[Value, Value]:
    """Word and lane of the unit's own old state."""
    lanes = control.state_lanes
    if lanes & (lanes - 1):
        hidden = control.plan.hidden_size
        place = UnitCounter(m, "own", hidden, lanes, control.advance & beat.last)
        return place.word, place.lane
    bits = lanes.bit_length() - 1
    return unit.value[bits:], unit.value[:bits]


def _word_index(
    m: Module, beat: Counter, advance: Value, words: int, used: int, name: str
) -> Value:
    """Index of the word to read when `words` are read over and over for `used` beats."""
    if words == used or words & (words - 1) == 0:
        return beat.value[: (words - 1).bit_length()]
    index = Signal(range(words), name=name)
    with m.If(advance):
        again = beat.last | (index == words - 1)
        m.d.sync += index.eq(Mux(again, 0, index + 1))
    return index


def _ask_for_words(
    control: "Sequencer", m: Module, beat: Counter, unit: Counter, bank: Value
) -> dict[str, Value]:
    """Read the buffers of both sides, input ``i`` and state ``h``. Returns the indices of words."""
    plan, advance = control.plan, control.advance
    words_of, reads = {}, {}
    for side, words in (("i", plan.x_words), ("h", plan.h_words)):
        passes = max(plan.chunks[n] for n in GENES[:6] if n[2] == side)
        words_of[side] = _word_index(m, beat, advance, words, words * passes, f"{side}_word")
        # Beats past the last word must not read past the memory: simulators answer x, and
        # x times a weight of 0 is x.
        past = passes == 1 and words & (words - 1)
        reads[side] = advance & _window(beat, words, plan.pass_cycles) if past else advance
    m.d.comb += [
        control.x_read_enable.eq(reads["i"]),
        control.x_read_address.eq(Cat(bank, words_of["i"]) if plan.vectors > 1 else words_of["i"]),
        control.h_read_enable.eq(reads["h"]),
        control.h_read_address.eq(Cat(bank, words_of["h"])),
        control.unit.eq(unit.value),
        control.first_advance.eq(advance & (beat.value == 0)),
    ]
    if control.given:
        # Not the state's own port: a classifier may read the state of the sequence before.
        m.d.comb += [
            control.initial_enable.eq(reads["h"]),
            control.initial_address.eq(words_of["h"]),
        ]
    return words_of


def _store_state(control: "Sequencer", m: Module, finals: Signal) -> tuple[Signal, Value]:
    """The new state, into the other bank and out. Returns that bank, and that a unit goes."""
    lanes = control.state_lanes
    fired = control.o_valid & control.o_ready
    new = UnitCounter(m, "new", control.plan.hidden_size, lanes, fired)
    new_bank = Signal(init=1)
    with m.If(fired & new.last):
        m.d.sync += new_bank.eq(~new_bank)
    m.d.comb += [
        control.o_last.eq(new.last & finals.bit_select(new_bank, 1)),
        control.h_write_enable.eq(one_lane(new.lane, lanes) & fired.replicate(lanes)),
        control.h_write_address.eq(Cat(new_bank, new.word)),
    ]
    return new_bank, fired


def _wait_for_state(
    control: "Sequencer", m: Module, beat: Counter, unit: Counter, summing: Value
) -> tuple[Value, Value]:
    """Unit 0 may not read a word of the state that is not written yet: whether it waits for that
    while sums of the last step are `summing`; and whether a step begins."""
    plan = control.plan
    drained = ~(summing | control.busy | control.o_valid)
    if plan.late:
        drained_before = Signal(init=1)
        m.d.sync += drained_before.eq(drained)
        drained = drained_before
    guarded = (unit.value == 0) & (beat.value == plan.guard)
    begun = (unit.value == 0) & (beat.value == 0)
    if plan.late:
        guarded, begun = Signal(name="guarded"), Signal(name="begun", init=1)
        with m.If(control.advance):
            m.d.sync += [
                guarded.eq((unit.value == 0) & (beat.value == plan.guard - 1)),
                begun.eq(beat.last & unit.last),
            ]
    return guarded & ~drained, begun


def _standing_states(control: "Sequencer", m: Module, new_bank: Value, ended: Value) -> Value:
    """Per bank: its state waits for the classifier, which reads that of `standing_bank`."""
    standing, turn = Signal(2, name="standing"), Signal(name="standing_bank")
    control.standing_bank = turn
    now = standing.bit_select(turn, 1)
    with m.If(control.release):
        m.d.sync += standing.bit_select(turn, 1).eq(0)
    with m.If(ended):
        m.d.sync += standing.bit_select(new_bank, 1).eq(1)
    with m.If(ended & (control.release | ~now)):
        m.d.sync += turn.eq(new_bank)
    with m.Elif(control.release & standing.bit_select(~turn, 1)):
        m.d.sync += turn.eq(~turn)
    m.d.comb += control.stands.eq(now)
    return standing


def _strobes(control: "Sequencer", m: Module, beat: Counter, pipe: Pipe, start: Value) -> None:
    """What the multiply-accumulates are told, when the words are there: first and last of a unit,
    and that the state is zero, from `start` on."""
    follow = pipe.follow
    last = follow("last", beat.last)
    complete = Signal()
    with m.If(control.enable | control.taken):
        m.d.sync += complete.eq(control.enable & last)
    m.d.comb += [
        control.done.eq(complete),
        control.first.eq(follow("first", beat.value == 0)),
        control.zero_state.eq(follow("zero_state", start, 0)),
    ]
    if control.plan.pipeline:
        m.d.comb += [
            control.move.eq(pipe.move),
            control.leave.eq(pipe.leave & follow("last", beat.last, 0)),
        ]


def _weight_ports(
    control: "Sequencer",
    m: Module,
    beat: Counter,
    unit: Counter,
    follow: Callable[..., Value],
    words_of: Mapping[str, Value],
    step_end: Value,
) -> None:
    """Addresses of the weights, and what the multipliers of narrow or serial weights are told."""
    plan, hidden, cycles = control.plan, control.plan.hidden_size, control.plan.pass_cycles
    advance, enable = control.advance, control.enable

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
                with m.Elif(advance & _window(beat, used, cycles)):
                    m.d.sync += value.eq(value + 1)
            m.d.comb += getattr(control, address).eq(value)
            if used < cycles:
                within = follow(f"within_{used}", _window(beat, used, cycles))
                m.d.comb += getattr(control, f"enable_{used}").eq(enable & within)
        if chunks > 1:
            again = (words_of[side] == 0) & (beat.value != 0)
            top = plan.top(name)
            for port, flag, stage in (
                (f"next_digit_{side}", again, plan.pipeline),
                # Multipliers are before the last register.
                (f"top_{top}", beat.value >= top, max(0, plan.pipeline - 1)),
            ):
                if port not in driven:
                    driven.add(port)
                    m.d.comb += getattr(control, port).eq(follow(port, flag, stage))


def _window(beat: Counter, count: int, cycles: int) -> Value:
    """The first `count` of the beats of a unit."""
    return Const(1, 1) if count == cycles else beat.value < count


def _members(
    plan: Schedule, input_lanes: int, state_lanes: int, classified: bool, given: bool
) -> dict[str, Any]:
    """The ports, as :class:`Sequencer` explains them."""
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
    )
    members = {name: In(1) for name in bit_in} | {name: Out(1) for name in bit_out}
    if plan.pipeline:
        members |= {"move": Out(1), "leave": Out(1)}
    if classified:
        members |= {"stands": Out(1), "read": In(1), "release": In(1)}
        members["word"] = In(range(max(2, plan.h_words)))
    x_depth, h_depth = max(2, plan.vectors * plan.x_words), 2 * plan.h_words
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
    if given:
        members |= {
            "initial_enable": Out(1),
            "initial_address": Out(range(max(2, plan.h_words))),
        }
    for name in GENES[:6]:
        used, chunks = plan.used(name), plan.chunks[name]
        members[f"address_{used}"] = Out(range(max(2, used * plan.hidden_size)))
        if used < plan.pass_cycles:
            members[f"enable_{used}"] = Out(1)
        if chunks > 1:
            members[f"next_digit_{name[2]}"] = Out(1)
            members[f"top_{plan.top(name)}"] = Out(1)
    return members
