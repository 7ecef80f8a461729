# amaranth: UnusedElaboratable=no
"""One GRU layer: 17 operators, parameter memories, state, and the wires between them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.genome import GENES
from ...model.integer import Complement as ComplementOp
from ...model.integer import Dense as DenseOp
from ...model.integer import Layer, Operator
from ...model.integer import PiecewiseLinear as PiecewiseLinearOp
from ...model.integer import Product as ProductOp
from ...model.integer import Sum as SumOp
from ...model.integer import Table as TableOp
from ...model.knobs import Lanes
from ..complement import Complement
from ..dense import Dense, DensePlan, Folded, Way
from ..memories import CodeBuffer, Rom, bias_words, weight_words
from ..operator import Output, Part, build_into
from ..piecewise_linear import PiecewiseLinear
from ..product import Product
from ..sum import Sum
from ..table import Table
from .loader import fill, load_signature
from .loading import loaded_names
from .schedule import Schedule
from .sequencer import Sequencer


def code_layout(bits: int) -> data.StructLayout:
    """The payload of a stream of codes: the code low, `last` above it."""
    return data.StructLayout({"code": signed(bits), "last": 1})


def state_reader(bits: int, lanes: int, words: int) -> wiring.Signature:
    """Ports of whoever reads a state that stands until it is released, as the reader has them.

    stands : In(1), a whole state is there; data : In(lanes * bits), the word asked for
    read : Out(1), ask for word `word`; release : Out(1), in the cycle in which the last is there
    """
    return wiring.Signature(
        {
            "stands": In(1),
            "data": In(lanes * bits),
            "read": Out(1),
            "word": Out(range(max(2, words))),
            "release": Out(1),
        }
    )


def component_part(
    op: Operator, *, output: Output = "wire", digit: int = 0, split: bool = False
) -> Part:
    """Deferred form of the component of an element-wise operator."""
    if isinstance(op, SumOp):
        return Sum.part(op, output)
    if isinstance(op, ComplementOp):
        return Complement.part(op, output)
    if isinstance(op, ProductOp):
        return Product.part(op, digit, output)
    if isinstance(op, PiecewiseLinearOp):
        return PiecewiseLinear.part(op, digit, output, split)
    assert isinstance(op, TableOp)
    return Table.part(op, output)


class StateMemory(wiring.Component):
    """The two state vectors of a layer, and the old state of the unit that is worked on.

    Parameters
    ----------
    bits, lanes, words : width of a code, codes to a word, words of a vector
    zero : int, the code that stands for real zero, the state before a sequence
    ahead : bool, whether the word of the next unit may pass by before `taken`
    given : bool, whether the state before a sequence is given, and comes from a memory beside it

    Members
    -------
    write_enable, write_address, write_code, read_enable, read_address
        See :class:`~hdl.memories.CodeBuffer`.
    zero_state : In(1), `data` shall be `zero` in every lane, or `initial`
    initial : In(lanes * bits), with `given`: the word of the state before a sequence
    data : Out(lanes * bits), the word read last, lane 0 lowest, or zeros
    word : Out(lanes * bits), the word read last
    leave : In(1), with `ahead`: the last word of the unit goes
    catch : In(1), keep the code of `data` in lane `own_lane`, at `taken` in :attr:`old`
    old : Out(signed(bits))
    """

    def __init__(
        self,
        *,
        bits: int,
        lanes: int,
        words: int,
        zero: int,
        ahead: bool = False,
        given: bool = False,
    ) -> None:
        self.bits, self.lanes, self.zero, self.ahead = bits, lanes, zero, ahead
        self.given = given
        self.buffer = CodeBuffer(bits=bits, lanes=lanes, depth=2 * words)
        members = {
            **{
                name: In(getattr(self.buffer, name).shape())
                for name in (
                    "write_enable",
                    "write_address",
                    "write_code",
                    "read_enable",
                    "read_address",
                )
            },
            "zero_state": In(1),
            "catch": In(1),
            "taken": In(1),
            "data": Out(lanes * bits),
            "word": Out(lanes * bits),
            "old": Out(signed(bits)),
        }
        if lanes > 1:
            members["own_lane"] = In(range(lanes))
        if ahead:
            members["leave"] = In(1)
        if given:
            members["initial"] = In(lanes * bits)
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        sizes = self.bits, self.lanes, self.buffer.depth
        return "StateMemory", *sizes, self.zero, self.ahead, *["given"] * self.given

    @classmethod
    def part(
        cls, *, bits: int, lanes: int, words: int, zero: int, ahead: bool, given: bool = False
    ) -> Part:
        """Deferred form of the component."""
        # Where the state is given nothing of zero is in the logic.
        zero = 0 if given else zero
        args = {"bits": bits, "lanes": lanes, "words": words, "zero": zero}
        return Part(
            ("StateMemory", bits, lanes, 2 * words, zero, ahead, *["given"] * given),
            f"StateMemory, {2 * words} words of {lanes} codes of {bits} bits",
            partial(cls, **args, ahead=ahead, given=given),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.buffer = buffer = self.buffer
        for name in ("write_enable", "write_address", "write_code", "read_enable", "read_address"):
            m.d.comb += getattr(buffer, name).eq(getattr(self, name))
        if self.given:
            word = Mux(self.zero_state, self.initial, buffer.data)
            lanes = [word.word_select(k, self.bits) for k in range(self.lanes)]
        else:
            code = Mux(
                self.zero_state,
                Const(self.zero, signed(self.bits)).as_unsigned(),
                Const(0, self.bits),
            )
            lanes = [
                (buffer.data.word_select(k, self.bits) & ~self.zero_state.replicate(self.bits))
                | code
                for k in range(self.lanes)
            ]
        # Caught as it passes by, then kept for p_zh.
        passing, old = Signal(self.bits, reset_less=True), Signal(self.bits, reset_less=True)
        caught = Array(lanes)[self.own_lane] if self.lanes > 1 else lanes[0]
        with m.If(self.catch):
            m.d.sync += passing.eq(caught)
        waiting = passing
        if self.ahead:
            waiting = Signal(self.bits, reset_less=True)
            with m.If(self.leave):
                code = Mux(self.catch, caught, passing)
                m.d.sync += waiting.eq(code)
        with m.If(self.taken):
            m.d.sync += old.eq(waiting)
        m.d.comb += [
            self.data.eq(Cat(lanes)),
            self.word.eq(buffer.data),
            self.old.eq(old),
        ]
        return m


def _bias_words(folded: Folded) -> list[int]:
    return bias_words(folded.biases, folded.channels)[0]


def dense_parts(
    name: str, op: DenseOp, lanes: int, chunks: int, output: Way, pipeline: int
) -> dict[str, Part]:
    """A dense operator and its memories."""
    folded = Folded.of(op)
    outputs, inputs = op.weight.shape
    plan = DensePlan.of(op, folded, lanes, chunks, output, pipeline)
    return {
        name: Dense.part(op, lanes, chunks, output, plan),
        f"{name}_weights": Rom.part(
            outputs * chunks * -(-inputs // lanes),
            lanes * plan.digit,
            partial(weight_words, op.weight, op.weight_bits, lanes, chunks),
        ),
        f"{name}_biases": Rom.part(
            outputs,
            plan.bias_width + plan.channel_width,
            partial(_bias_words, folded),
        ),
    }


def _initial_words(state: np.ndarray, bits: int, lanes: int) -> list[int]:
    return weight_words(state[None], bits, lanes, 1)


def initial_part(layer: Layer, lanes: int) -> dict[str, Part]:
    """The memory ``initial`` of the state that a sequence starts with, `lanes` codes to a word;
    none where that is zero."""
    state, bits = layer.initial_state, layer.bits("h")
    if state is None:
        return {}
    words = partial(_initial_words, state, bits, lanes)
    return {"initial": Rom.part(-(-len(state) // lanes), lanes * bits, words)}


def layer_parts(
    layer: Layer, plan: Schedule, lanes: Lanes, *, classified: bool = False
) -> dict[str, Part]:
    """The submodules of a :class:`GruLayer` by name, deferred; `classified` with a classifier that
    reads the state."""
    parts: dict[str, Part] = {}
    register: Literal["register", "slot"] = "slot" if plan.slot else "register"
    for name in GENES[:6]:
        side = lanes.x if name[2] == "i" else lanes.h
        way: Way = register if name in ("w_in", "w_hn") else "wire"
        op = layer.dense(name)
        parts |= dense_parts(name, op, side, plan.chunks[name], way, plan.pipeline)
    for name in GENES[6:]:
        output: Output = "wire"
        if name in ("s_r", "s_z"):
            output = register
        elif name == "s_h":
            # A new unit every cycle needs a register that is emptied and filled at once.
            output = "slot" if plan.pass_cycles > 1 else "register"
        elif (name == "s_n" and plan.hold) or (name == "c_z" and plan.pipeline):
            output = "hold"
        parts[name] = component_part(
            layer.ops[name],
            output=output,
            digit=plan.digits.get(name, 0),
            split=plan.pipeline > 0,
        )
    parts["x_buffer"] = CodeBuffer.part(
        bits=layer.in_bits, lanes=lanes.x, depth=plan.vectors * plan.x_words
    )
    parts["state"] = StateMemory.part(
        bits=layer.bits("h"),
        lanes=lanes.h,
        words=plan.h_words,
        zero=layer.state_zero_point,
        ahead=plan.pipeline > 0,
        given=layer.initial_state is not None,
    )
    parts |= initial_part(layer, lanes.h)
    parts["control"] = Sequencer.part(plan, lanes.x, lanes.h, classified, given="initial" in parts)
    return parts


class GruLayer(wiring.Component):
    """A GRU layer in hardware, bit-exact with golden.run_layer.

    Submodules have the genes' names (``w_ir`` ... ``a_n``), each with its output stream `o`;
    beside them ``w_ir_weights``, ``w_ir_biases`` ..., ``x_buffer`` (:attr:`Schedule.vectors` input
    vectors), ``state`` (two state vectors) and ``initial`` (the given state before a sequence).

    Units are computed one after the other. The x side and the h side of a unit run at the same
    time, :attr:`Schedule.pass_cycles` cycles; then s_r, s_z, w_in, w_hn and the old state are
    registered, and the other operators work on them while the dense operators go on to the next
    unit. They take their operands when the new state is taken, all at once, so that nothing in
    between needs a copy. The new state leaves through a register of s_h; that and the registers
    after the dense operators are filled when they are empty, so that no ready of `o` reaches an
    accumulator in the same cycle (:attr:`Schedule.slot`). Cycles per step:
    :attr:`Schedule.cycles_per_step`.

    Parameters
    ----------
    layer : integer.Layer
    schedule : Schedule
    parts : :func:`layer_parts` of the two

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1)))
        One feature a transfer; `last` with the last feature of a sequence's last step. The next
        step is taken while one is computed, or after it where the buffer holds one vector.
    o : Out(stream.Signature(StructLayout(code=signed(state_bits), last=1)))
        One unit a transfer; `last` with the last unit of a sequence's last step.
    reader : In(:func:`state_reader`), with `classified`
        Whoever reads the state of a sequence's last step before the layer goes on.
    load : Out(:func:`~.loader.load_signature`), where weights are loaded: `load` has the widths of
        its address and data
    """

    def __init__(
        self,
        layer: Layer,
        schedule: Schedule,
        parts: Mapping[str, Part],
        *,
        classified: bool = False,
        load: tuple[int, int] | None = None,
    ) -> None:
        self.layer, self.schedule, self.parts = layer, schedule, parts
        self.classified = classified
        members = {
            "i": In(stream.Signature(code_layout(layer.in_bits))),
            "o": Out(stream.Signature(code_layout(layer.bits("h")))),
        }
        if classified:
            _, bits, lanes, *_ = cast(Any, parts["state"].identity)
            members["reader"] = In(state_reader(bits, lanes, schedule.h_words))
        self.loaded = loaded_names(parts) if load else []
        if load:
            members["load"] = Out(load_signature(len(self.loaded), *load))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        # Between the submodules are wires alone: all logic is in one of them.
        p = build_into(m, self.parts)
        plan, control, state, x_buffer = self.schedule, p["control"], p["state"], p["x_buffer"]
        m.d.comb += [
            control.i_valid.eq(self.i.valid),
            control.i_last.eq(self.i.payload.last),
            self.i.ready.eq(control.i_ready),
            x_buffer.write_code.eq(self.i.payload.code),
        ]
        for memory, side in ((x_buffer, "x"), (state, "h")):
            for port in ("write_enable", "write_address", "read_enable", "read_address"):
                m.d.comb += getattr(memory, port).eq(getattr(control, f"{side}_{port}"))

        self._connect_dense(m, p)
        self._connect_elementwise(m, p)
        m.d.comb += [
            control.busy.eq(p["w_hn"].o.valid),
            control.taken.eq(p["w_hn"].taken),
            state.taken.eq(p["w_hn"].taken),
            state.zero_state.eq(control.zero_state),
            state.catch.eq(control.catch),
            state.write_code.eq(p["s_h"].o.payload),
            control.o_valid.eq(p["s_h"].o.valid),
            control.o_ready.eq(self.o.ready),
            p["s_h"].o.ready.eq(self.o.ready),
            self.o.valid.eq(p["s_h"].o.valid),
            self.o.payload.code.eq(p["s_h"].o.payload),
            self.o.payload.last.eq(control.o_last),
        ]
        if plan.pipeline:
            m.d.comb += state.leave.eq(control.leave)
        if self.classified:
            reader = self.reader
            m.d.comb += [
                reader.stands.eq(control.stands),
                reader.data.eq(state.word),
                control.read.eq(reader.read),
                control.word.eq(reader.word),
                control.release.eq(reader.release),
            ]
        if state.lanes > 1:
            m.d.comb += state.own_lane.eq(control.own_lane)
        if "initial" in p:
            m.d.comb += [
                p["initial"].address.eq(control.initial_address),
                p["initial"].enable.eq(control.initial_enable),
                state.initial.eq(p["initial"].data),
            ]
        if self.loaded:
            fill(m, self.load, [p[name] for name in self.loaded])
        return m

    def _connect_dense(self, m: Module, p: Mapping[str, Any]) -> None:
        """Operands, weights, biases and strobes of the dense operators among the submodules `p`."""
        plan, control, state, x_buffer = self.schedule, p["control"], p["state"], p["x_buffer"]
        for name in GENES[:6]:
            mac, weights, biases = p[name], p[f"{name}_weights"], p[f"{name}_biases"]
            used, width = plan.used(name), len(mac.bias)
            enable = f"enable_{used}" if used < plan.pass_cycles else "enable"
            m.d.comb += [
                weights.address.eq(getattr(control, f"address_{used}")),
                weights.enable.eq(control.advance),
                biases.address.eq(control.unit),
                biases.enable.eq(control.first_advance),
                mac.operand.eq(x_buffer.data if name[2] == "i" else state.data),
                mac.weight.eq(weights.data),
                mac.bias.eq(biases.data[:width].as_signed()),
                mac.first.eq(control.first),
                mac.done.eq(control.done),
                mac.enable.eq(getattr(control, enable)),
            ]
            if mac.channel_width:
                m.d.comb += mac.channel.eq(biases.data[width:])
            if plan.pipeline:
                m.d.comb += mac.move.eq(control.move)
            if plan.chunks[name] > 1:
                m.d.comb += [
                    mac.next_digit.eq(getattr(control, f"next_digit_{name[2]}")),
                    mac.top.eq(getattr(control, f"top_{plan.top(name)}")),
                ]

    @staticmethod
    def _connect_elementwise(m: Module, p: Mapping[str, Any]) -> None:
        """The streams between the operators, but for the new state that leaves `s_h`."""
        for source, sink in (
            (p["w_ir"], p["s_r"].a),
            (p["w_hr"], p["s_r"].b),
            (p["w_iz"], p["s_z"].a),
            (p["w_hz"], p["s_z"].b),
            (p["s_r"], p["a_r"].i),
            (p["s_z"], p["a_z"].i),
            (p["a_r"], p["p_rn"].a),
            (p["w_hn"], p["p_rn"].b),
            (p["w_in"], p["s_n"].a),
            (p["p_rn"], p["s_n"].b),
            (p["s_n"], p["a_n"].i),
            (p["c_z"], p["p_zn"].a),
            (p["a_n"], p["p_zn"].b),
            (p["p_zn"], p["s_h"].a),
            (p["p_zh"], p["s_h"].b),
        ):
            wiring.connect(m, source.o, sink)
        # a_z goes to two operators; s_h takes both of their results in the same cycle, so both
        # are ready in the same cycles.
        a_z, c_z, p_zh = p["a_z"].o, p["c_z"].i, p["p_zh"]
        m.d.comb += [
            c_z.payload.eq(a_z.payload),
            c_z.valid.eq(a_z.valid),
            p_zh.a.payload.eq(a_z.payload),
            p_zh.a.valid.eq(a_z.valid),
            a_z.ready.eq(p_zh.a.ready),
            p_zh.b.payload.eq(p["state"].old),
            p_zh.b.valid.eq(p["w_hn"].o.valid),
        ]
