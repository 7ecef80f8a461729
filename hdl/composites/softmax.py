"""Softmax of a vector of codes: greatest, sum of exponentials, reciprocal, products."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.integer import half
from ...model.tables import composites
from ..arithmetic import narrow, saturate, times
from ..gru.layer import code_layout
from ..vector_store import VectorStore
from .range_reduction import line_of, line_result, normalised, rounded_shift


class Softmax(wiring.Component):
    """``softmax`` of 1 to ``max_length`` codes, as :func:`genogate.sim.golden_composites.softmax`.

    One exponential unit, one multiplier (it also makes the reciprocal), one memory of max_length
    codes. The greatest code is known when the last one is stored; then the vector is read twice,
    for the sum and for the results, and the next one is stored behind the second reading. Vectors
    of n elements take :meth:`cycles` each, back to back; back-pressure is honoured on both sides.
    Largest error found against the real softmax, 8-bit codes, all lengths: 1.14 codes with 8
    entries, 1.02 with 16, of which half a code is rounding.

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1)))
        `last` ends a vector; so does its element number max_length.
    o : Out(stream.Signature(StructLayout(code=signed(out_bits), last=1)))
    """

    def __init__(self, op: composites.Softmax) -> None:
        self.op = op
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(op.in_bits))),
                "o": Out(stream.Signature(code_layout(op.out_bits))),
            }
        )

    @staticmethod
    def cycles(n: int, before: int | None = None) -> int:
        """Cycles from the first result of a vector of `before` elements to that of the next, of
        `n`, inputs there in time and results taken; by default both have n."""
        return n + max(n if before is None else before, n - 1) + 7

    @staticmethod
    def latency(n: int) -> int:
        """Cycles from the transfer of the last of `n` elements to that of the first result."""
        return n + 9

    def elaborate(self, platform) -> Module:
        m = Module()
        op, table, inverse = self.op, self.op.exp, self.op.reciprocal
        depth = op.max_length
        store = VectorStore(m, self.i, bits=op.in_bits, depth=depth, fixed=False)
        newest = self._newest(m, store)
        greatest = Signal(signed(op.in_bits), reset_less=True)
        exp, whole = self._exponential(m, greatest, store.word)

        # Second stage: sum, or product. Its register also takes the mantissa of the sum.
        left_bits = max(table.bounds[1].bit_length(), inverse.fraction + 2)
        left = Signal(left_bits, reset_less=True)
        down = Signal(max(1, len(whole)), reset_less=True)
        valid, last = Signal(), Signal(reset_less=True)
        total = Signal(op.sum_bits, reset_less=True)
        right = Signal(inverse.pieces.bounds[1].bit_length(), reset_less=True)
        extended = Cat(total, Const(0, inverse.in_bits - len(total)))
        mantissa, place = normalised(m, inverse, extended, certain=True)
        exponent = Signal.like(place, name="exponent", reset_less=True)
        slope, intercept = line_of(m, "reciprocal", inverse.pieces, left)
        term = (left << (op.sum_fraction - table.fraction_bits)) >> down

        giving, inverting = Signal(), Signal()
        factor = Signal(max(len(right), len(slope)))
        product = Signal(len(left) + len(factor))
        m.d.comb += [factor.eq(Mux(inverting, slope, right)), product.eq(left * factor)]
        with m.If(store.enable):
            m.d.sync += [valid.eq(store.valid), last.eq(store.last), left.eq(exp), down.eq(whole)]

        # The result, behind a register.
        quotient = rounded_shift(product, op.out_shift, down + exponent)
        code = self._saturated(m, quotient + op.zero_point)
        free = ~self.o.valid | self.o.ready
        m.d.comb += store.enable.eq(free | ~giving)
        self._give(m, free, code, giving & valid, last)

        with m.FSM():
            with m.State("wait"):
                m.d.sync += [greatest.eq(newest), total.eq(0)]
                with m.If(store.full):
                    m.d.comb += [store.accept.eq(1), store.start.eq(1)]
                    m.next = "sum"
            with m.State("sum"):
                with m.If(valid):
                    m.d.sync += total.eq(total + term)
                with m.If(valid & last):
                    m.next = "mantissa"
            with m.State("mantissa"):
                m.d.sync += [left.eq(mantissa), exponent.eq(place)]
                m.next = "reciprocal"
            with m.State("reciprocal"):
                m.d.comb += [inverting.eq(1), store.start.eq(1), store.release.eq(1)]
                line = line_result(m, "reciprocal", inverse.pieces, intercept, product)
                m.d.sync += right.eq(line)
                m.next = "give"
            with m.State("give"):
                m.d.comb += giving.eq(1)
                with m.If(free & valid & last):
                    m.next = "wait"
        return m

    def _exponential(self, m: Module, greatest: Signal, code: Value) -> tuple[Value, Value]:
        """First stage: the exponential of the difference of `code` from the greatest, as a
        fraction, and the power of two that it is to be divided by."""
        op, table = self.op, self.op.exp
        most = (((1 << op.in_bits) - 1) * op.multiplier + half(op.shift)) >> op.shift
        difference, power = Signal(op.in_bits), Signal(most.bit_length())
        m.d.comb += [
            difference.eq(greatest - code),
            power.eq((times(difference, op.multiplier) + half(op.shift)) >> op.shift),
        ]
        part, whole = power[: op.exp_fraction], power[op.exp_fraction :]
        slope, intercept = line_of(m, "exp", table, part)
        return line_result(m, "exp", table, intercept, slope * part), whole

    def _newest(self, m: Module, store: VectorStore) -> Signal:
        """The greatest code so far of the vector that comes in."""
        newest = Signal(signed(self.op.in_bits), reset_less=True)
        with m.If(store.taken & (store.first | (store.code > newest))):
            m.d.sync += newest.eq(store.code)
        return newest

    def _give(self, m: Module, free: Value, code: Value, valid: Value, last: Value) -> None:
        """A code into the register of the output, where that is `free`."""
        result = Signal(self.o.payload.shape(), reset_less=True)
        m.d.comb += self.o.payload.eq(result)
        with m.If(free):
            m.d.sync += [self.o.valid.eq(valid), result.code.eq(code), result.last.eq(last)]

    def _saturated(self, m: Module, value: Value) -> Value:
        """`value` as a code of the output; nothing is below its zero point."""
        op = self.op
        _, exp_most = op.exp.bounds
        _, inverse_most = op.reciprocal.pieces.bounds
        high = ((exp_most * inverse_most) >> op.out_shift) + 1 + op.zero_point
        return saturate(
            narrow(m, "value", value, op.zero_point, high), op.zero_point, high, op.out_bits
        )
