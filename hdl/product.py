"""The element-wise products of the GRU: p_rn, p_zn and p_zh.

``o = sat(((multiplier (a - za) (b - zb) + half) >> shift) + zero_point)``: rounded half up,
as :func:`genogate.sim.golden.product` defines it.
"""

from dataclasses import dataclass
from functools import partial

from amaranth import *

from ..model import integer
from ..model.errors import index_within
from ..model.integer import code_range, half, signed_width
from .arithmetic import (
    interval,
    multiply,
    multiply_add,
    narrow,
    product_interval,
    saturate,
    times,
    trailing_zeros,
)
from .operator import Elementwise, Output, Part, integers_of
from .serial import Steps

#: Bits of an operand that a serial product may take a cycle; 0: all at once.
DIGITS = (0, 1, 2, 4)


@dataclass(frozen=True)
class ProductPlan:
    """The constants of a product as the hardware holds them.

    ``o = sat((factor a' b' + constant) >> shift)`` with ``a' = a - Z_a``, ``b' = b - Z_b``.

    bounds : name -> bounds of a' and b'
    serial, width : the operand that a serial product takes bit by bit, and the bits of
        ``factor`` times it; never negative where `low` is not
    """

    factor: int
    shift: int
    constant: int
    bounds: dict[str, tuple[int, int]]
    serial: str
    width: int
    low: int

    @classmethod
    def of(cls, op: integer.Product) -> "ProductPlan":
        """Fold the constants of `op`."""
        # Powers of two leave with the shift.
        common = min(trailing_zeros(op.multiplier), op.shift)
        factor = op.multiplier >> common
        bounds = {}
        for name, bits, zero in (
            ("a", op.a_bits, op.a_zero_point),
            ("b", op.b_bits, op.b_zero_point),
        ):
            least, greatest = code_range(bits)
            bounds[name] = (least - zero, greatest - zero)

        def width(name: str) -> int:
            low, high = interval(factor, *bounds[name])
            return high.bit_length() if low >= 0 else signed_width(low, high)

        # An operand that is never negative needs no subtraction in its last digit.
        serial = min("ab", key=lambda name: (width(name) + (bounds[name][0] < 0), name))
        constant = (half(op.shift) + (op.zero_point << op.shift)) >> common
        return cls(
            factor,
            op.shift - common,
            constant,
            bounds,
            serial,
            width(serial),
            factor * bounds[serial][0],
        )

    def digits(self, split: bool = False) -> tuple[int, ...]:
        """Bits a cycle that are worth trying, 0 for all at once; `split` changes nothing here."""
        return tuple(digit for digit in DIGITS if digit < self.width)

    def cycles(self, digit: int, split: bool = False) -> int:
        """Cycles of a serial product of `digit` bits a cycle; 0 for none. `split` changes nothing
        here, see :meth:`.piecewise_linear.PiecewisePlan.cycles`."""
        return -(-self.width // digit) if digit else 0

    def rows(self, digit: int, split: bool = False) -> float:
        """Rough cost in rows of partial products; what a serial unit needs besides is about two.
        `split` changes nothing here."""
        return digit + 2 if digit else self.width


class Product(Elementwise):
    """``o = sat(((m (a - Z_a) (b - Z_b) + half) >> n) + Z)``, bit-exact with golden.product.

    With ``digit = 0`` one array multiplier does it in no time (`output` wire) or one cycle. With
    ``digit = d`` an element-wise operator's many spare cycles are used instead: each cycle adds
    the product of d bits of one operand and all of the other, lowest bits first, and shifts
    right. `o` is valid :attr:`cycles` cycles after both operands are; they are taken when the
    result is (see ``hold`` in :data:`hdl.operator.Output`), so nothing is copied.

    Parameters
    ----------
    op : integer.Product
    digit : int
        0, or bits of the serial operand that a cycle processes.
    output : 'wire', 'register' or 'hold'
        For ``digit = 0`` only.

    Members
    -------
    a, b : In(stream.Signature(signed(a_bits))), In(stream.Signature(signed(b_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.Product, digit: int = 0, output: Output = "wire") -> None:
        index_within("digit", digit, 0, 32)
        self.op, self.digit = op, digit
        super().__init__({"a": op.a_bits, "b": op.b_bits}, op.out_bits, output)
        self.plan = ProductPlan.of(op)

    @property
    def cycles(self) -> int:
        """Cycles from valid operands to a valid result."""
        if self.digit:
            return self.plan.cycles(self.digit)
        return int(self.output != "wire")

    def centred(self, m: Module, name: str, code: Value) -> Signal:
        """``code - zero_point``; unsigned where it cannot be negative."""
        zero = self.op.a_zero_point if name == "a" else self.op.b_zero_point
        low, high = self.plan.bounds[name]
        shape = unsigned(high.bit_length()) if low >= 0 else signed(signed_width(low, high))
        value = Signal(shape, name=f"{name}_centred")
        m.d.comb += value.eq(code - zero)
        return value

    def finish(self, m: Module, total: Value, low: int, high: int, shift: int) -> Value:
        """Shift and saturate a total within `low` to `high`."""
        low, high = low >> shift, high >> shift
        value = narrow(m, "value", total >> shift, low, high)
        return saturate(value, low, high, self.op.out_bits)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.part(self.op, self.digit, self.output).identity

    @classmethod
    def part(cls, op: integer.Product, digit: int = 0, output: Output = "wire") -> Part:
        """Deferred form of the component."""
        return Part(
            ("Product", *integers_of(op), output, digit),
            f"Product, {op.a_bits} x {op.b_bits} to {op.out_bits} bits",
            partial(cls, op, digit, output),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        a, b = (self.centred(m, n, v) for n, v in zip("ab", operands, strict=True))
        low, high = product_interval(self.plan.bounds["a"], self.plan.bounds["b"])
        # Rows for the bits of the serial operand of a serial product: an unsigned one has fewer.
        factor, value = (a, b) if self.plan.serial == "a" else (b, a)
        exact = multiply(m, "product", factor, value, int(factor.shape().signed))
        product = narrow(m, "product", exact, low, high)
        low, high = (v * self.plan.factor + self.plan.constant for v in (low, high))
        total = narrow(m, "total", times(product, self.plan.factor) + self.plan.constant, low, high)
        return self.finish(m, total, low, high, self.plan.shift)

    def elaborate(self, platform) -> Module:
        if not self.digit:
            return super().elaborate(platform)
        m = Module()
        names = (self.plan.serial, "b" if self.plan.serial == "a" else "a")
        serial, parallel = (self.centred(m, n, getattr(self, n).payload) for n in names)
        parallel_bounds = self.plan.bounds[names[1]]
        digit, steps = self.digit, self.cycles
        width = digit * steps
        multiplied = Signal(unsigned(width) if self.plan.low >= 0 else signed(width))
        m.d.comb += multiplied.eq(times(serial, self.plan.factor))

        step = Steps(m, steps, self.a.valid & self.b.valid, self.o.ready)
        bits, last, done, taken = step.digit(m, multiplied, digit), step.last, step.done, step.taken
        digit_bounds = [(0, (1 << digit) - 1)] * steps
        if self.plan.low < 0:  # the last digit's top bit is the sign
            digit_bounds[-1] = code_range(digit)

        # total_0 = first; total = (total + ...) >> digit; rest is added to the last total. The
        # constant is all in `first` where that makes the adder at most two bits wider.
        widths = partial(_total_width, digit, digit_bounds, parallel_bounds)
        first = self.plan.constant & ((1 << width) - 1)
        if widths(self.plan.constant)[0] <= widths(first)[0] + 2:
            first = self.plan.constant
        rest = (self.plan.constant - first) >> width
        total_width, low, high = widths(first)
        total = Signal(signed(total_width), init=first)
        added = Signal(signed(total_width))
        sign = last if self.plan.low < 0 else 0
        m.d.comb += added.eq(multiply_add(m, "digit", total, bits, parallel, sign))
        below = max(0, width - self.plan.shift)  # product bits under 2**width that the result keeps
        kept = Signal(below, reset_less=True)
        with m.If(step.running):
            m.d.sync += total.eq(added >> digit)
            if below:
                m.d.sync += kept.eq(Cat(kept, added[:digit])[-below:])
        with m.Elif(taken):
            m.d.sync += total.eq(first)

        low, high = low + rest, high + rest
        upper = narrow(m, "upper", total + rest, low, high)
        if below:
            low, high = low << below, (high << below) + (1 << below) - 1
        whole = narrow(m, "whole", Cat(kept, upper).as_signed(), low, high)
        result = self.finish(m, whole, low, high, max(0, self.plan.shift - width))
        m.d.comb += [
            self.o.payload.eq(result),
            self.o.valid.eq(done),
            self.a.ready.eq(taken),
            self.b.ready.eq(taken),
        ]
        return m


def _total_width(
    digit: int,
    digit_bounds: list[tuple[int, int]],
    parallel_bounds: tuple[int, int],
    first: int,
) -> tuple[int, int, int]:
    """Bits of the running total of a serial product that starts with `first`, and the bounds of the
    last total."""
    low = high = first
    extremes = [first]
    for bounds in digit_bounds:
        least, greatest = product_interval(bounds, parallel_bounds)
        low, high = low + least, high + greatest
        extremes += [low, high]
        low, high = low >> digit, high >> digit
    return signed_width(min(extremes), max(extremes)), low, high
