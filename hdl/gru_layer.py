"""One GRU layer: 17 operators, parameter memories, state, and the sequencer that feeds them."""

from typing import Literal

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..model.genome import GENES
from ..model.integer import Complement as ComplementOp
from ..model.integer import Layer, Operator
from ..model.integer import PiecewiseLinear as PiecewiseLinearOp
from ..model.integer import Product as ProductOp
from ..model.integer import Sum as SumOp
from ..model.integer import Table as TableOp
from .complement import Complement
from .dense import Dense
from .memories import CodeBuffer, Rom, bias_words, weight_words
from .operator import Elementwise, Output
from .piecewise_linear import PiecewiseLinear
from .product import Product
from .schedule import Schedule
from .sum import Sum
from .table import Table


def code_layout(bits: int) -> data.StructLayout:
    """The payload of a stream of codes: the code low, `last` above it."""
    return data.StructLayout({"code": signed(bits), "last": 1})


def component(op: Operator, *, output: Output = "wire", digit: int = 0) -> Elementwise:
    """The component of an element-wise operator."""
    if isinstance(op, SumOp):
        return Sum(op, output)
    if isinstance(op, ComplementOp):
        return Complement(op, output)
    if isinstance(op, ProductOp):
        return Product(op, digit, output)
    if isinstance(op, PiecewiseLinearOp):
        return PiecewiseLinear(op, digit, output)
    assert isinstance(op, TableOp)
    return Table(op, output)


class Counter:
    """A counter over `count` values that starts again after the last; no logic for one value."""

    def __init__(self, m: Module, name: str, count: int, step: Value) -> None:
        self.value = Signal(range(count), name=name)
        self.last = Signal(name=f"{name}_last")
        m.d.comb += self.last.eq(self.value == count - 1)
        with m.If(step):
            if count & (count - 1):
                m.d.sync += self.value.eq(Mux(self.last, 0, self.value + 1))
            else:
                m.d.sync += self.value.eq(self.value + 1)


class UnitCounter:
    """Counts `count` codes that are packed `lanes` to a word: `word`, `lane`, `last`."""

    def __init__(self, m: Module, name: str, count: int, lanes: int, step: Value) -> None:
        if lanes & (lanes - 1) == 0:
            flat = Counter(m, name, count, step)
            shift = lanes.bit_length() - 1
            self.word, self.lane, self.last = flat.value[shift:], flat.value[:shift], flat.last
            return
        words, rest = -(-count // lanes), (count - 1) % lanes
        lane, word = Signal(range(lanes), name=f"{name}_lane"), Signal(range(words), name=name)
        self.last = Signal(name=f"{name}_last")
        m.d.comb += self.last.eq((word == words - 1) & (lane == rest))
        with m.If(step):
            with m.If(self.last):
                m.d.sync += [lane.eq(0), word.eq(0)]
            with m.Elif(lane == lanes - 1):
                m.d.sync += [lane.eq(0), word.eq(word + 1)]
            with m.Else():
                m.d.sync += lane.eq(lane + 1)
        self.word, self.lane = word, lane


def one_lane(lane: Value, lanes: int) -> Value:
    """One-hot of `lane`."""
    return Cat(lane == k for k in range(lanes)) if lanes > 1 else Const(1, 1)


class GruLayer(wiring.Component):
    """A GRU layer in hardware, bit-exact with golden.run_layer.

    Submodules have the genes' names (``w_ir`` ... ``a_n``), each with its output stream `o`;
    beside them ``w_ir_weights``, ``w_ir_biases`` ..., ``x_buffer`` (two input vectors) and
    ``state`` (two state vectors).

    Units are computed one after the other. The x side and the h side of a unit run at the same
    time, :attr:`Schedule.pass_cycles` cycles; then s_r, s_z, w_in, w_hn and the old state are
    registered, and the other operators work on them while the dense operators go on to the next
    unit. They take their operands when the new state is taken, all at once, so that nothing in
    between needs a copy. Cycles per step: :func:`hdl.schedule.cycles_per_step`.

    Parameters
    ----------
    layer : integer.Layer
    lanes_x, lanes_h : int, products per cycle of each x-side and h-side dense operator, 1 to 64

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1)))
        One feature a transfer; `last` with the last feature of a sequence's last step. The next
        step is taken while one is computed.
    o : Out(stream.Signature(StructLayout(code=signed(state_bits), last=1)))
        One unit a transfer; `last` with the last unit of a sequence's last step.
    last_step : Out(1)
        While `o` is valid: it belongs to the last step of a sequence.
    """

    def __init__(self, layer: Layer, lanes_x: int = 1, lanes_h: int = 1) -> None:
        self.layer = layer
        self.schedule = Schedule.of(layer, lanes_x, lanes_h)
        self.lanes_x, self.lanes_h = int(lanes_x), int(lanes_h)
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(layer.in_bits))),
                "o": Out(stream.Signature(code_layout(layer.bits("h")))),
                "last_step": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layer, plan, ops = self.layer, self.schedule, self.layer.ops
        hidden, cycles = layer.hidden_size, plan.pass_cycles
        state_bits, zero = layer.bits("h"), layer.state_zero_point

        # Input: features go into the bank that is not being read.
        advance = Signal()  # the sequencer issues a word
        step_end = Signal()  # ... and it is the last of a time step
        bank = Signal()  # of x and h, read in this step
        vectors = Signal(2)  # whole input vectors in the buffer: 0, 1, 2
        finals = Signal(2)  # per bank: its vector is the last of a sequence
        m.submodules.x_buffer = x_buffer = CodeBuffer(
            bits=layer.in_bits, lanes=self.lanes_x, depth=2 * plan.x_words
        )
        i_taken = self.i.valid & self.i.ready
        feature = UnitCounter(m, "feature", layer.input_size, self.lanes_x, i_taken)
        filled = i_taken & feature.last
        into = bank ^ vectors[0]
        m.d.comb += [
            self.i.ready.eq(~vectors[1]),
            x_buffer.write_enable.eq(
                one_lane(feature.lane, self.lanes_x) & i_taken.replicate(self.lanes_x)
            ),
            x_buffer.write_address.eq(Cat(into, feature.word)),
            x_buffer.write_code.eq(self.i.payload.code),
        ]
        with m.If(filled):
            m.d.sync += finals.bit_select(into, 1).eq(self.i.payload.last)
        m.d.sync += vectors.eq(vectors + filled - step_end)

        # Sequencer: `beat` counts the cycles of a unit, `unit` the units of a step.
        beat = Counter(m, "beat", cycles, advance)
        unit = Counter(m, "unit", hidden, advance & beat.last)
        if self.lanes_h & (self.lanes_h - 1):
            place = UnitCounter(m, "own", hidden, self.lanes_h, advance & beat.last)
            own_word, own_lane = place.word, place.lane
        else:
            bits = self.lanes_h.bit_length() - 1
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

        sides, reads = {}, {}
        for side, words in (("i", plan.x_words), ("h", plan.h_words)):
            passes = max(plan.chunks[n] for n in GENES[:6] if n[2] == side)
            sides[side] = word(words, words * passes, f"{side}_word")
            # Beats past the last word must not read past the memory: simulators answer x, and
            # x times a weight of 0 is x.
            past = passes == 1 and words & (words - 1)
            reads[side] = advance & window(words) if past else advance
        x_word, h_word = sides["i"], sides["h"]
        m.submodules.state = state = CodeBuffer(
            bits=state_bits, lanes=self.lanes_h, depth=2 * plan.h_words
        )
        m.d.comb += [
            x_buffer.read_enable.eq(reads["i"]),
            x_buffer.read_address.eq(Cat(bank, x_word)),
            state.read_enable.eq(reads["h"]),
            state.read_address.eq(Cat(bank, h_word)),
        ]

        # One cycle later the words are there: multiply and accumulate.
        full = Signal()  # words are there
        done = Signal()  # the sums of a unit are complete
        taken = Signal()  # ... and are taken in this cycle
        enable = Signal()
        flags: dict[str, Signal] = {}

        def follow(name: str, value: Value) -> Signal:
            """`value`, of the cycle in which the words now there were asked for."""
            if name not in flags:
                flags[name] = Signal(len(value), name=name, reset_less=True)
                with m.If(advance):
                    m.d.sync += flags[name].eq(value)
            return flags[name]

        last = follow("last", beat.last)
        m.d.comb += enable.eq(full & (~done | taken))
        with m.If(advance | enable):
            m.d.sync += full.eq(advance)
        with m.If(enable | taken):
            m.d.sync += done.eq(enable & last)

        zero_state = follow("zero_state", start)
        code = Mux(zero_state, Const(zero, signed(state_bits)).as_unsigned(),
                   Const(0, state_bits))  # fmt: skip
        h_lanes = [
            (state.data.word_select(k, state_bits) & ~zero_state.replicate(state_bits)) | code
            for k in range(self.lanes_h)
        ]
        operand = {"i": x_buffer.data, "h": Cat(h_lanes)}

        dense = {}
        for name in GENES[:6]:
            op, side, chunks = layer.dense(name), name[2], plan.chunks[name]
            words = plan.x_words if side == "i" else plan.h_words
            lanes = self.lanes_x if side == "i" else self.lanes_h
            unit_out: Literal["register", "wire"] = (
                "register" if name in ("w_in", "w_hn") else "wire"
            )
            dense[name] = mac = Dense(op, lanes, chunks, unit_out)
            bias, bias_width, channel_width = bias_words(mac.bias_values, mac.channel_values)
            biases = Rom(bias, bias_width + channel_width)
            weights = Rom(weight_words(op.weight, op.weight_bits, lanes, chunks),
                          lanes * op.weight_bits // chunks)  # fmt: skip
            m.submodules[name] = mac
            m.submodules[f"{name}_weights"], m.submodules[f"{name}_biases"] = weights, biases
            used = words * chunks
            if used & (used - 1) == 0:
                address: Value = Cat(beat.value[: used.bit_length() - 1], unit.value)
            else:
                linear = f"address_{used}"
                if linear not in flags:
                    flags[linear] = Signal(range(used * hidden), name=linear)
                    with m.If(step_end):
                        m.d.sync += flags[linear].eq(0)
                    with m.Elif(advance & window(used)):
                        m.d.sync += flags[linear].eq(flags[linear] + 1)
                address = flags[linear]
            m.d.comb += [
                weights.address.eq(address),
                weights.enable.eq(advance),
                biases.address.eq(unit.value),
                biases.enable.eq(advance & (beat.value == 0)),
                mac.operand.eq(operand[side]),
                mac.weight.eq(weights.data),
                mac.bias.eq(biases.data[:bias_width].as_signed()),
                mac.enable.eq(enable),
                mac.first.eq(follow("first", beat.value == 0)),
                mac.done.eq(done),
            ]
            if used < cycles:
                m.d.comb += mac.enable.eq(enable & follow(f"within_{used}", window(used)))
            if channel_width:
                m.d.comb += mac.channel.eq(biases.data[bias_width:])
            if chunks > 1:
                again = (sides[side] == 0) & (beat.value != 0)
                top = beat.value >= words * (chunks - 1)
                m.d.comb += [
                    mac.next_digit.eq(follow(f"next_digit_{side}", again)),
                    mac.top.eq(follow(f"top_{words * (chunks - 1)}", top)),
                ]

        # The old state of the unit, caught as it passes by, then kept for p_zh.
        passing, old = Signal(state_bits, reset_less=True), Signal(state_bits, reset_less=True)
        catch = follow("catch", (h_word == own_word) & window(plan.h_words))
        old_lane = h_lanes[0]
        if self.lanes_h > 1:
            old_lane = Array(h_lanes)[follow("own_lane", own_lane)]
        with m.If(enable & catch):
            m.d.sync += passing.eq(old_lane)
        finals_done, finals_kept = Signal(reset_less=True), Signal(reset_less=True)
        final = follow("final_step", finals.bit_select(bank, 1))
        with m.If(enable & last):
            m.d.sync += finals_done.eq(final)
        with m.If(taken):
            m.d.sync += [old.eq(passing), finals_kept.eq(finals_done)]
        m.d.comb += self.last_step.eq(finals_kept)

        # The element-wise operators.
        parts: dict[str, Elementwise] = {}
        for name in GENES[6:]:
            output: Output = "wire"
            if name in ("s_r", "s_z"):
                output = "register"
            elif name == "s_n" and plan.hold:
                output = "hold"
            parts[name] = component(ops[name], output=output, digit=plan.digits.get(name, 0))
            m.submodules[name] = parts[name]
        p = parts
        for source, sink in (
            (dense["w_ir"], p["s_r"].a), (dense["w_hr"], p["s_r"].b),
            (dense["w_iz"], p["s_z"].a), (dense["w_hz"], p["s_z"].b),
            (p["s_r"], p["a_r"].i), (p["s_z"], p["a_z"].i),
            (p["a_r"], p["p_rn"].a), (dense["w_hn"], p["p_rn"].b),
            (dense["w_in"], p["s_n"].a), (p["p_rn"], p["s_n"].b), (p["s_n"], p["a_n"].i),
            (p["c_z"], p["p_zn"].a), (p["a_n"], p["p_zn"].b),
            (p["p_zn"], p["s_h"].a), (p["p_zh"], p["s_h"].b),
        ):  # fmt: skip
            wiring.connect(m, source.o, sink)
        # a_z goes to two operators; s_h takes both of their results in the same cycle.
        a_z, c_z, p_zh, s_h = p["a_z"].o, p["c_z"].i, p["p_zh"], p["s_h"].o
        busy = dense["w_hn"].o.valid
        m.d.comb += [
            c_z.payload.eq(a_z.payload),
            c_z.valid.eq(a_z.valid),
            p_zh.a.payload.eq(a_z.payload),
            p_zh.a.valid.eq(a_z.valid),
            a_z.ready.eq(c_z.ready & p_zh.a.ready),
            p_zh.b.payload.eq(old),
            p_zh.b.valid.eq(busy),
            taken.eq(dense["w_hn"].taken),
        ]

        # The new state, into the other bank and out.
        fired = s_h.valid & s_h.ready
        new = UnitCounter(m, "new", hidden, self.lanes_h, fired)
        new_bank = Signal(init=1)
        with m.If(fired & new.last):
            m.d.sync += new_bank.eq(~new_bank)
        m.d.comb += [
            self.o.payload.code.eq(s_h.payload),
            self.o.payload.last.eq(new.last & finals_kept),
            self.o.valid.eq(s_h.valid),
            s_h.ready.eq(self.o.ready),
            state.write_enable.eq(one_lane(new.lane, self.lanes_h) & fired.replicate(self.lanes_h)),
            state.write_address.eq(Cat(new_bank, new.word)),
            state.write_code.eq(s_h.payload),
        ]

        # Unit 0 may not read a word of the state that is not written yet.
        drained = ~((full & last) | done | busy)
        wait = (unit.value == 0) & (beat.value == plan.guard) & ~drained
        m.d.comb += advance.eq((vectors != 0) & ~wait & (~full | enable))
        return m
