"""Layer normalisation of a vector of codes: sums, variance, reciprocal square root, products."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.integer import code_range, half, signed_width
from ...model.tables import composites
from ..arithmetic import narrow, saturate, times
from ..gru.layer import code_layout
from ..memories import Rom
from ..vector_store import VectorStore
from .range_reduction import line_of, line_result, normalised, rounded_shift


def _total_max(op: composites.Normalise) -> int:
    """Bound of the size of the elements' sum, 0 where there is none."""
    return op.length * max(abs(v - op.in_zero_point) for v in code_range(op.in_bits)) * op.centre


def _digits(op: composites.Normalise) -> int:
    return -(-_total_max(op).bit_length() // op.rsqrt.pieces.bounds[1].bit_length())


def normalise_cycles(op: composites.Normalise) -> int:
    """Cycles of :class:`Normalise` for each vector, inputs there in time and results taken."""
    return op.length + 5 + _digits(op)


class Normalise(wiring.Component):
    """``gamma (x - mean) / sqrt(var + eps) + beta`` of vectors of `length` codes, or by their root
    mean square, as :func:`genogate.sim.golden_composites.normalise`.

    Sums are made while a vector is stored; it is read once, and the next one is stored behind that
    reading: an element a cycle, and :func:`normalise_cycles` for each vector. One multiplier
    squares the sum, makes the reciprocal square root and the products; another one is for gamma.
    Back-pressure is honoured on both sides. Off by less than 0.8 codes of 8 bits (8 entries, every
    length).

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1)))
        `last` is not looked at: a vector ends with its element number `length`.
    o : Out(stream.Signature(StructLayout(code=signed(out_bits), last=1)))
    """

    def __init__(self, op: composites.Normalise) -> None:
        self.op = op
        low, high = (code - op.in_zero_point for code in code_range(op.in_bits))
        self.elements = low, high
        self.total_max = _total_max(op)
        self.right_bits = op.rsqrt.pieces.bounds[1].bit_length()
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(op.in_bits))),
                "o": Out(stream.Signature(code_layout(op.out_bits))),
            }
        )

    @property
    def digits(self) -> int:
        """Cycles to square the sum: digits of it, each as wide as the multiplier."""
        return _digits(self.op)

    @property
    def left_bits(self) -> int:
        """Width of the multiplier's first operand: a difference, the sum, or a mantissa."""
        op, most = self.op, self.op.difference_max
        return max(
            signed_width(-most, most), signed_width(0, self.total_max), op.rsqrt.fraction + 4
        )

    @property
    def cycles(self) -> int:
        """Cycles for each vector, inputs there in time and results taken."""
        return normalise_cycles(self.op)

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a vector's last element to that of its first result."""
        return 7 + self.digits + (self.op.gamma is not None)

    def elaborate(self, platform) -> Module:
        m = Module()
        op, pieces, n = self.op, self.op.rsqrt.pieces, self.op.length
        low, high = self.elements
        store = VectorStore(m, self.i, bits=op.in_bits, depth=n, fixed=True)

        squares, newest = self._sums(m, store)
        mean: Value = Const(0, signed(1))
        if op.centre:
            mean = Signal(newest.shape(), name="mean", reset_less=True)

        # First stage: the difference from the mean, times n. Second: its product.
        word = narrow(m, "word", store.word - op.in_zero_point, low, high)
        width = self.left_bits
        left = Signal(signed(width), reset_less=True)
        right = Signal(self.right_bits, reset_less=True)
        valid, last = Signal(), Signal(reset_less=True)
        variance = Signal(op.rsqrt.in_bits, reset_less=True)
        certain = 1 << op.rsqrt.least <= op.epsilon
        mantissa, place = normalised(m, op.rsqrt, variance, certain)
        exponent = Signal.like(place, name="exponent", reset_less=True)
        code = left[: len(mantissa)]
        slope, intercept = line_of(m, "rsqrt", pieces, code)

        giving, rooting, free = Signal(), Signal(), Signal()
        factor = Signal(max(len(right), len(slope)))
        product = Signal(signed(width + len(factor)))
        m.d.comb += [
            factor.eq(Mux(rooting, slope, right)),
            product.eq(left * factor),
            store.enable.eq(free | ~giving),
        ]
        with m.If(store.enable):
            m.d.sync += [valid.eq(store.valid), last.eq(store.last), left.eq(times(word, n) - mean)]
        self._finish(m, product, exponent, giving & valid, last, free)

        with m.FSM():
            with m.State("wait"):
                m.d.sync += variance.eq((times(squares, n) << op.variance_shift) + op.epsilon)
                if op.centre:
                    # The size of the sum waits in `left`, its lowest digit in `right`.
                    size = Mux(newest < 0, -newest, newest)[: self.total_max.bit_length()]
                    m.d.sync += [mean.eq(newest), left.eq(size), right.eq(size)]
                with m.If(store.full):
                    m.d.comb += store.accept.eq(1)
                    m.next = "square0" if op.centre else "mantissa"
            self._square_states(m, product, variance, left, right)
            with m.State("mantissa"):
                m.d.sync += [left.eq(mantissa), exponent.eq(place)]
                m.next = "root"
            with m.State("root"):
                m.d.comb += [rooting.eq(1), store.start.eq(1), store.release.eq(1)]
                m.d.sync += right.eq(line_result(m, "rsqrt", pieces, intercept, product[:-1]))
                m.next = "give"
            with m.State("give"):
                m.d.comb += giving.eq(1)
                with m.If(free & valid & last):
                    m.next = "wait"
        return m

    def _sums(self, m: Module, store: VectorStore) -> tuple[Signal, Signal]:
        """Sums of the squares and, where the mean is taken away, of the elements, as they come."""
        (low, high), n = self.elements, self.op.length
        element = narrow(m, "element", store.code - self.op.in_zero_point, low, high)
        squares = Signal((n * max(low * low, high * high)).bit_length(), reset_less=True)
        with m.If(store.taken):
            m.d.sync += squares.eq(Mux(store.first, 0, squares) + element * element)
        newest = Signal(signed(signed_width(n * low, n * high)), reset_less=True)
        if self.op.centre:
            with m.If(store.taken):
                m.d.sync += newest.eq(Mux(store.first, 0, newest) + element)
        return squares, newest

    def _square_states(
        self, m: Module, product: Signal, variance: Signal, left: Signal, right: Signal
    ) -> None:
        """Take the square of the sum in `left` from the variance, a digit a cycle."""
        for digit in range(self.digits):
            with m.State(f"square{digit}"):
                at = digit * self.right_bits
                square = product.as_unsigned() << (at + self.op.variance_shift)
                m.d.sync += [
                    variance.eq(variance - square),
                    right.eq(left[at + self.right_bits :]),
                    left.eq(left),
                ]
                m.next = f"square{digit + 1}" if digit + 1 < self.digits else "mantissa"

    def _finish(
        self,
        m: Module,
        product: Signal,
        exponent: Signal,
        valid: Value,
        last: Value,
        free: Signal,
    ) -> None:
        """From the product to `o`: shift, gamma and beta, saturation, registers."""
        op, most = self.op, self.op.norm_max
        shift = op.norm_shift + op.rsqrt.exponents[0]
        norm = narrow(m, "norm", rounded_shift(product, shift, exponent), -most, most)
        result = Signal(self.o.payload.shape(), reset_less=True)
        m.d.comb += [free.eq(~self.o.valid | self.o.ready), self.o.payload.eq(result)]
        value, low, high = norm, -most, most
        if op.gamma is not None and op.beta is not None:
            gamma, beta = op.gamma.tolist(), op.beta.tolist()
            every = int(abs(op.beta).max()) and min((b & -b).bit_length() - 1 for b in beta if b)
            widths = [
                signed_width(min(values), max(values))
                for values in (gamma, [b >> every for b in beta])
            ]
            mask, above = (1 << widths[0]) - 1, (1 << widths[1]) - 1
            m.submodules.constants = rom = Rom(
                [
                    (g & mask) | (((b >> every) & above) << widths[0])
                    for g, b in zip(gamma, beta, strict=True)
                ],
                sum(widths),
            )
            element = Signal(range(op.length))
            norm_, valid_, last_ = Signal.like(norm), Signal(), Signal(reset_less=True)
            m.d.comb += [rom.address.eq(element), rom.enable.eq(free)]
            with m.If(free & valid):
                m.d.sync += element.eq(Mux(last, 0, element + 1))
            with m.If(free):
                m.d.sync += [norm_.eq(norm), valid_.eq(valid), last_.eq(last)]
            g, b = rom.data[: widths[0]].as_signed(), rom.data[widths[0] :].as_signed()
            ends = [
                (s * most * g + b + half(op.shift)) >> op.shift
                for g, b in zip(gamma, beta, strict=True)
                for s in (-1, 1)
            ]
            low, high = min(ends), max(ends)
            scaled = (norm_ * g + (b << every) + half(op.shift)) >> op.shift
            value, valid, last = narrow(m, "scaled", scaled, low, high), valid_, last_
        low, high = low + op.zero_point, high + op.zero_point
        code = saturate(
            narrow(m, "value", value + op.zero_point, low, high), low, high, op.out_bits
        )
        with m.If(free):
            m.d.sync += [self.o.valid.eq(valid), result.code.eq(code), result.last.eq(last)]
