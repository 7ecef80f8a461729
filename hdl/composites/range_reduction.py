"""Reciprocal and reciprocal square root of any positive number: leading one, table, exponent."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.integer import code_range, half
from ...model.tables import reduction
from ...model.tables.reduction import Pieces
from ..arithmetic import narrow, saturate
from ..operator import Elementwise, Output


def rounded_shift(value: Value, base: int, exponent: Value) -> Value:
    """``floor(value / 2**(base + exponent) + 1/2)``; `base` may be negative."""
    # Twice the value, so that the bit that decides the rounding is the last one left.
    twice = (value << (1 + max(0, -base))) >> max(0, base)
    return ((twice >> exponent) + 1) >> 1


def normalised(
    m: Module, op: reduction.Reduction, x: Value, certain: bool = False
) -> tuple[Signal, Signal]:
    """Mantissa code and exponent, less the least exponent, of unsigned `x`.

    certain : x is known to be ``2**least`` at least, or else nobody looks at the result
    """
    step, least, last = op.step, op.least, op.places[-1]
    if not certain:
        small = ~x[least:].any()
        x = Cat(x[:least] & ~small.replicate(least), x[least] | small, x[least + 1 :])
    x = Cat(x, Const(0, last + step - op.in_bits))
    # The leading one goes to the top by halving steps; bits that cannot reach the upper
    # `top_bits` any more are not looked at.
    top_bits, count = step + op.fraction + 1, []
    stages = (len(op.places) - 1).bit_length()
    for j in reversed(range(stages)):
        amount = step << j
        zero = Signal(name=f"zero{amount}")
        shifted = Signal(min(len(x), top_bits + amount - step), name=f"shifted{amount}")
        up = Cat(Const(0, amount), x[:-amount])
        m.d.comb += [
            zero.eq(~x[-amount:].any()),
            shifted.eq(Mux(zero, up, x)[len(x) - len(shifted) :]),
        ]
        count.append(zero)
        x = shifted
    x = Cat(Const(0, max(0, top_bits - len(x))), x)[-top_bits:]
    mantissa = Signal(step + op.fraction + 1, name="mantissa_code")
    exponent = Signal(max(1, stages), name="place")
    m.d.comb += [mantissa.eq(x[1:] + x[0]), exponent.eq(len(op.places) - 1 - Cat(reversed(count)))]
    return mantissa, exponent


def line_of(m: Module, name: str, op: Pieces, q: Value) -> tuple[Signal, Signal]:
    """Slope without its sign, and intercept with the rounding constant, of unsigned code `q`."""
    slopes = [-int(v) for v in op.slopes]
    intercepts = [int(v) + half(op.shift) for v in op.intercepts]
    slope = Signal(max(1, max(slopes).bit_length()), name=f"{name}_slope")
    intercept = Signal(max(intercepts).bit_length(), name=f"{name}_intercept")
    m.d.comb += [slope.eq(slopes[0]), intercept.eq(intercepts[0])]
    for k, point in enumerate(op.breakpoints.tolist(), 1):
        with m.If(q >= point):
            m.d.comb += [slope.eq(slopes[k]), intercept.eq(intercepts[k])]
    return slope, intercept


def line_result(m: Module, name: str, op: Pieces, intercept: Value, product: Value) -> Value:
    """What the line gives, from the product of slope and code."""
    _, most = op.bounds
    total = Signal(((most + 1) << op.shift).bit_length(), name=f"{name}_total")
    m.d.comb += total.eq(intercept - product)
    return total[op.shift :][: most.bit_length()]


def _reduced(m: Module, op: reduction.Reduction, x: Value, certain: bool) -> tuple[Value, Signal]:
    code, exponent = normalised(m, op, x, certain)
    slope, intercept = line_of(m, "line", op.pieces, code)
    return line_result(m, "line", op.pieces, intercept, slope * code), exponent


class RangeReduction(wiring.Component):
    """``f(x) = mantissa 2**-(pieces.fraction_bits + exponent)`` of an unsigned integer x.

    The law is :func:`genogate.sim.golden_composites.reduce`; largest relative error with the tables
    of :func:`genogate.model.tables.reduction.reduction`, 9 fraction bits: 2.4e-3 (8 entries),
    1.4e-3 (16, reciprocal) and 1.1e-3 (16, rsqrt). Combinational, or with an output register
    (latency 1, a result a cycle); back-pressure honoured.

    Members
    -------
    i : In(stream.Signature(unsigned(in_bits)))
    o : Out(stream.Signature(StructLayout(mantissa=unsigned, exponent=unsigned)))
    """

    def __init__(self, op: reduction.Reduction, registered: bool = False) -> None:
        self.op, self.registered = op, registered
        layout = data.StructLayout(
            {
                "mantissa": unsigned(op.pieces.bounds[1].bit_length()),
                "exponent": unsigned(max(1, op.exponents[-1].bit_length())),
            }
        )
        super().__init__(
            {"i": In(stream.Signature(unsigned(op.in_bits))), "o": Out(stream.Signature(layout))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        mantissa, place = _reduced(m, self.op, self.i.payload, False)
        now = [
            self.o.payload.mantissa.eq(mantissa),
            self.o.payload.exponent.eq(place + self.op.exponents[0]),
        ]
        if not self.registered:
            m.d.comb += [
                *now,
                self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.i.valid & self.o.ready),
            ]
            return m
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), *now]
        return m


class PositiveUnit(Elementwise):
    """Reciprocal or reciprocal square root of a signed code, as a saturated code.

    ``o = sat(round(f(q)) + zero_point)``; zero and negative codes give the greatest code. The
    law is :func:`genogate.sim.golden_composites.positive`; off by half a code and 0.23 % at most
    with 16 entries. `output` as in :class:`~genogate.hdl.operator.Elementwise`.
    """

    def __init__(self, op: reduction.PositiveUnit, output: Output = "wire") -> None:
        super().__init__({"i": op.in_bits}, op.out_bits, output)
        self.op = op

    def compute(self, m: Module, *operands: Value) -> Value:
        op, q = self.op, operands[0]
        x = Cat(Const(0, op.doubled), q[:-1])
        mantissa, exponent = _reduced(m, op.reduction, x, True)
        most = (op.reduction.pieces.bounds[1] << max(0, -op.shift)) >> max(0, op.shift)
        low, high = op.zero_point, most + 1 + op.zero_point
        value = rounded_shift(mantissa, op.shift, exponent) + op.zero_point
        code = saturate(narrow(m, "value", value, low, high), low, high, op.out_bits)
        return Mux(q > 0, code, code_range(op.out_bits)[1])
