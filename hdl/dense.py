"""The dense operators w_ir ... w_hn: multiply-accumulate, requantise."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..model import integer
from ..model.errors import InputError, index_within
from ..model.integer import half, signed_width
from ..model.knobs import MAX_LANES
from .arithmetic import (
    add_or_subtract,
    beyond,
    clip,
    multiply_add,
    product_of,
    resized,
    times,
    trailing_zeros,
)
from .operator import Part

#: How a dense operator hands its result on, see :data:`hdl.operator.Output`.
Way = Literal["wire", "register", "slot"]


def digit_planes(weight: np.ndarray, bits: int, chunks: int) -> list[np.ndarray]:
    """int64 digits of codes, lowest first: ``sum(plane[j] << (j bits/chunks)) == weight``.

    All are non-negative but the last, which is signed.
    """
    width = bits // chunks
    wide = weight.astype(np.int64)
    planes = [(wide >> (j * width)) & ((1 << width) - 1) for j in range(chunks - 1)]
    return [*planes, wide >> ((chunks - 1) * width)]


@dataclass(frozen=True)
class Accumulation:
    """What an accumulator needs that takes `chunks` digits of each weight, lowest digits first.

    Between digits it shifts right by `digit` bits, so it holds ``floor(acc / 2**dropped)`` in the
    end.

    low, high : int, bounds of the whole sum ``bias + weight @ x``
    width : int, bits of the accumulating register; each digit's end value fits
    digit, dropped : int, bits of a digit; ``digit (chunks - 1)``
    """

    low: int
    high: int
    width: int
    digit: int
    dropped: int

    @classmethod
    def of(
        cls, weight: np.ndarray, bias: list[int], in_bits: int, weight_bits: int, chunks: int
    ) -> "Accumulation":
        """Bounds by interval arithmetic over all input codes of `in_bits` bits."""
        if chunks < 1 or weight_bits % chunks:
            raise InputError(f"chunks: {chunks} does not divide {weight_bits} weight bits")
        digit = weight_bits // chunks
        low = high = np.array(bias, np.int64)
        least, greatest = [], []
        for number, plane in enumerate(digit_planes(weight, weight_bits, chunks)):
            if number:
                low, high = low >> digit, high >> digit
            negative, positive = np.minimum(plane, 0).sum(1), np.maximum(plane, 0).sum(1)
            smallest, largest = -(1 << (in_bits - 1)), (1 << (in_bits - 1)) - 1
            low = low + positive * smallest + negative * largest
            high = high + positive * largest + negative * smallest
            least.append(int(low.min()))
            greatest.append(int(high.max()))
        dropped = digit * (chunks - 1)
        width = signed_width(min(*least, *bias), max(*greatest, *bias))
        return cls(
            least[-1] << dropped,
            (greatest[-1] << dropped) + (1 << dropped) - 1,
            width,
            digit,
            dropped,
        )


class Accumulator(wiring.Component):
    """``acc = bias + weight @ x``, `lanes` products a cycle, weights in `chunks` digits.

    A weight of b bits comes as `chunks` digits of ``b / chunks`` bits: all lowest digits of an
    output first. With ``chunks > 1`` the multipliers are that much smaller.
    One cycle after the enabled cycle with the last word, `acc` is the sum, until the next
    enabled cycle.

    Parameters
    ----------
    width, digit : int, of :class:`Accumulation`
    in_bits, bias_width, lanes, chunks : int
    keep : int
        Bits of `acc` needed below ``2**(digit (chunks - 1))``.
    pipeline : int
        Registers in the way: 1 between multipliers and adder, 2 one more before the multipliers.

    Members
    -------
    operand : In(lanes * in_bits), signed codes, lane 0 lowest
    weight : In(lanes * digit), digits, lane 0 lowest
    bias : In(signed(bias_width)), read where `first` is set
    enable, first : In(1), accumulate in this cycle; start with the bias
    next_digit, top : In(1), where chunks > 1: first word of a further digit; words of the signed
        digit
    move : In(1), with a pipeline: its registers go on. `enable`, `first` and `next_digit` then come
        `pipeline` such cycles after the operands, `top` one such cycle before them
    acc : Out(signed), the sum shifted right by ``digit (chunks - 1) - keep``
    """

    def __init__(
        self,
        *,
        width: int,
        digit: int,
        in_bits: int,
        bias_width: int,
        lanes: int,
        chunks: int,
        keep: int,
        pipeline: int = 0,
    ) -> None:
        self.width, self.digit, self.in_bits, self.lanes = width, digit, in_bits, lanes
        self.chunks, self.keep, self.pipeline = chunks, keep, pipeline
        members = {
            "operand": In(lanes * in_bits),
            "weight": In(lanes * digit),
            "bias": In(signed(bias_width)),
            "enable": In(1),
            "first": In(1),
            "acc": Out(signed(width + keep)),
        }
        if chunks > 1:
            members |= {"next_digit": In(1), "top": In(1)}
        if pipeline:
            members["move"] = In(1)
        super().__init__(members)

    def _products(self, m: Module) -> tuple[Signal, Value | int]:
        """The sum of a word's products behind its register, and whether it is subtracted."""
        digit, operand, weight = self.digit, self.operand, self.weight
        if self.pipeline > 1:
            operand, weight = (Signal.like(v, reset_less=True) for v in (operand, weight))
            with m.If(self.move):
                m.d.sync += [operand.eq(self.operand), weight.eq(self.weight)]
        sign: Value | int = self.top if self.chunks > 1 else 1
        minus: Value | int = 0
        total: Value = Const(0)
        for lane in range(self.lanes):
            x = operand.word_select(lane, self.in_bits).as_signed()
            bits = weight.word_select(lane, digit)
            if digit == 1:
                total = total + Mux(bits, x, 0)
            else:
                total = total + product_of(m, f"lane{lane}", bits, x, sign)
        if digit == 1:
            minus = Signal(reset_less=True)
            with m.If(self.move):
                m.d.sync += minus.eq(sign)
        product = Signal(signed(len(total)), reset_less=True)
        with m.If(self.move):
            m.d.sync += product.eq(total)
        return product, minus

    def elaborate(self, platform) -> Module:
        m = Module()
        digit = self.digit
        acc = Signal(signed(self.width), reset_less=True)
        start = Signal(signed(self.width))
        # With a pipeline `enable`, which comes late in a cycle, holds the register alone.
        used = Const(1, 1) if self.pipeline else self.enable
        m.d.comb += start.eq(Mux(self.first & used, self.bias, acc))
        if self.chunks > 1:
            with m.If(self.next_digit & used):
                m.d.comb += start.eq(acc >> digit)
        if self.pipeline:
            product, minus = self._products(m)
            with m.If(self.enable):
                m.d.sync += acc.eq(
                    start + product
                    if isinstance(minus, int)
                    else add_or_subtract(start, product, minus)
                )
            self._lowest(m, acc)
            return m
        total: Value = start
        for lane in range(self.lanes):
            x = self.operand.word_select(lane, self.in_bits).as_signed()
            # Outside enabled cycles 0 is added: fewer gates than a register that can hold.
            bits = Signal(digit, name=f"weight{lane}")
            m.d.comb += bits.eq(Mux(self.enable, self.weight.word_select(lane, digit), 0))
            sign = self.top if self.chunks > 1 else 1
            total = multiply_add(m, f"lane{lane}", total, bits, x, sign)
        m.d.sync += acc.eq(total)
        self._lowest(m, acc)
        return m

    def _lowest(self, m: Module, acc: Signal) -> None:
        """The sum with the bits that were shifted out of the accumulator, as far as needed."""
        if self.keep:
            kept = Signal(self.keep, reset_less=True)
            with m.If(self.enable & self.next_digit):
                m.d.sync += kept.eq(Cat(kept, acc[: self.digit])[-self.keep :])
            m.d.comb += self.acc.eq(Cat(kept, acc))
        else:
            m.d.comb += self.acc.eq(acc)


@dataclass(frozen=True)
class Folded:
    """The constants of a dense operator as the hardware holds them.

    ``o = sat(((factor acc' + rest[k]) >> shift >> k) + Z)``, where the sum acc' starts with
    `biases` and k is the channel's shift beyond the common one.

    channels : k of each output
    biases : with the rounding constant and the zero point folded in, as far as `factor` divides
    """

    factor: int
    shift: int
    channels: list[int]
    rest: dict[int, int]
    biases: list[int]

    @classmethod
    def of(cls, op: integer.Dense) -> "Folded":
        """Fold the constants of `op`."""
        shifts = op.channel_shift.tolist()
        extra = min(shifts)
        channels = [k - extra for k in shifts]
        shift = op.shift + extra
        common = min(trailing_zeros(op.multiplier), shift)
        factor = op.multiplier >> common
        folded, rest = {}, {}
        for k in dict.fromkeys(channels):
            constant = half(shift + k) + (op.zero_point << (shift + k))
            folded[k], rest[k] = divmod(constant >> common, factor)
        biases = [value + folded[k] for value, k in zip(op.bias.tolist(), channels, strict=True)]
        return cls(factor, shift - common, channels, rest, biases)


@dataclass(frozen=True)
class DensePlan:
    """All that shapes the datapath of a dense operator; weights and biases are elsewhere.

    width, digit : of :class:`Accumulation`
    keep : bits of the sum that are needed below the accumulator
    factor, shift, rest : ``o = clip((factor acc + rest[k]) >> shift >> k)``
    total, value : widths before and after the shift
    below, above : whether saturation is needed at that end
    """

    in_bits: int
    out_bits: int
    lanes: int
    chunks: int
    output: str
    width: int
    digit: int
    keep: int
    bias_width: int
    channel_width: int
    factor: int
    shift: int
    rest: tuple[tuple[int, int], ...]
    total: int
    value: int
    below: bool
    above: bool
    pipeline: int = 0

    @classmethod
    def of(
        cls,
        op: integer.Dense,
        folded: Folded,
        lanes: int,
        chunks: int,
        output: str,
        pipeline: int = 0,
    ) -> "DensePlan":
        """Widths are the least that the operator's own weights and biases can need."""
        index_within("lanes", lanes, 1, MAX_LANES)
        need = Accumulation.of(op.weight, folded.biases, op.in_bits, op.weight_bits, chunks)
        # A shift by powers of two only looks at what lies above it; a multiplier needs all bits.
        unused = folded.shift if folded.factor == 1 else 0
        keep = max(0, need.dropped - unused)
        lost = need.dropped - keep
        shift = folded.shift - lost
        low = folded.factor * (need.low >> lost)
        high = folded.factor * (need.high >> lost) + max(folded.rest.values())
        total = signed_width(low, high)
        low, high = low >> shift, high >> shift
        return cls(
            op.in_bits,
            op.out_bits,
            lanes,
            chunks,
            output,
            need.width,
            need.digit,
            keep,
            signed_width(min(folded.biases), max(folded.biases)),
            max(folded.channels).bit_length(),
            folded.factor,
            shift,
            tuple(folded.rest.items()),
            total,
            signed_width(low, high),
            *beyond(low, high, op.out_bits),
            pipeline,
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        *values, pipeline = vars(self).values()
        return ("Dense", *values, *[pipeline] * bool(pipeline))


class Dense(wiring.Component):
    """Datapath of a dense operator: ``o = sat(((m acc + half) >> (n + k_i)) + Z)``.

    Bit-exact with golden.dense. The rounding constant and the output's zero point are folded into
    the bias as far as the multiplier divides them (for a power of two wholly), so what follows
    the accumulator is a shift and a saturation, and shift-adds for other multipliers.

    Weights and biases come from memories outside (:func:`hdl.memories.weight_words`,
    :func:`hdl.memories.bias_words` of :attr:`bias_values` and :attr:`channel_values`); only widths
    and the requantiser's constants shape this logic. `done` says that the sum is complete, and is
    the valid of the result: `o` in the same cycle (`output` wire) or through a register.

    Parameters
    ----------
    op : integer.Dense
    lanes : int, products per cycle, 1 to 64
    chunks : int, digits of a weight, a divisor of ``op.weight_bits``
    output : 'wire', 'register' or 'slot', see :data:`hdl.operator.Output`
    pipeline : int, see :class:`Accumulator`

    Members
    -------
    operand, weight, bias, enable, first, next_digit, top, move
        See :class:`Accumulator`.
    channel : In(channel_width), where channels differ in shift: read in enabled cycles
    done : In(1)
    taken : Out(1), the sum may be overwritten after this cycle
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(
        self,
        op: integer.Dense,
        lanes: int,
        chunks: int = 1,
        output: Way = "wire",
        pipeline: int = 0,
    ) -> None:
        folded = Folded.of(op)
        #: Shifts of the outputs beyond the common one.
        self.channel_values = folded.channels
        #: The biases with the constants folded in.
        self.bias_values = folded.biases
        self.plan = plan = DensePlan.of(op, folded, lanes, chunks, output, pipeline)
        self.channel_width = plan.channel_width
        members = {
            "operand": In(lanes * op.in_bits),
            "weight": In(lanes * plan.digit),
            "bias": In(signed(plan.bias_width)),
            "enable": In(1),
            "first": In(1),
            "done": In(1),
            "taken": Out(1),
            "o": Out(stream.Signature(signed(op.out_bits))),
        }
        if self.channel_width:
            members["channel"] = In(self.channel_width)
        if chunks > 1:
            members |= {"next_digit": In(1), "top": In(1)}
        if pipeline:
            members["move"] = In(1)
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`. Weights are not in it."""
        return self.plan.identity

    @classmethod
    def part(
        cls,
        op: integer.Dense,
        lanes: int,
        chunks: int = 1,
        output: Way = "wire",
        plan: DensePlan | None = None,
    ) -> Part:
        """Deferred form of the component; `plan` is computed unless given."""
        plan = plan or DensePlan.of(op, Folded.of(op), lanes, chunks, output)
        return Part(
            plan.identity,
            f"Dense, {op.in_bits} x {op.weight_bits} to {op.out_bits} bits, {lanes} lanes",
            partial(cls, op, lanes, chunks, output, plan.pipeline),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        plan = self.plan
        m.submodules.accumulator = acc = Accumulator(
            width=plan.width,
            digit=plan.digit,
            in_bits=plan.in_bits,
            bias_width=plan.bias_width,
            lanes=plan.lanes,
            chunks=plan.chunks,
            keep=plan.keep,
            pipeline=plan.pipeline,
        )
        for name in acc.signature.members:
            if name != "acc":
                m.d.comb += getattr(acc, name).eq(getattr(self, name))
        channel = Signal(plan.channel_width, reset_less=True)
        if plan.channel_width:
            # With a pipeline the memory is ahead: it may show the next unit's before the last word.
            with m.If(self.enable & self.first if plan.pipeline else self.enable):
                m.d.sync += channel.eq(self.channel)
        rests = {amount for _, amount in plan.rest}
        rest = Signal(max(1, max(rests).bit_length()))
        if len(rests) == 1:
            m.d.comb += rest.eq(next(iter(rests)))
        else:
            with m.Switch(channel):
                for number, (k, amount) in enumerate(plan.rest, 1):
                    with m.Case(k) if number < len(plan.rest) else m.Default():
                        m.d.comb += rest.eq(amount)
        total = resized(m, "total", times(acc.acc, plan.factor) + rest, plan.total)
        value: Value = resized(m, "value", total >> plan.shift, plan.value)
        if plan.channel_width:
            value = resized(m, "shifted", value >> channel, plan.value)
        code = clip(value, plan.below, plan.above, plan.out_bits)
        if plan.output == "wire":
            m.d.comb += [
                self.o.payload.eq(code),
                self.o.valid.eq(self.done),
                self.taken.eq(self.done & self.o.ready),
            ]
        else:
            full, held = Signal(), Signal(signed(plan.out_bits), reset_less=True)
            free = ~full if plan.output == "slot" else ~full | self.o.ready
            m.d.comb += [
                self.o.payload.eq(held),
                self.o.valid.eq(full),
                self.taken.eq(self.done & free),
            ]
            with m.If(~full | self.o.ready):
                m.d.sync += full.eq(self.taken)
            with m.If(self.taken):
                m.d.sync += held.eq(code)
        return m
