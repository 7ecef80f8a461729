"""The requantiser behind a linear operator whose sums leave as codes."""

from functools import partial

from amaranth import *

from ..model import integer
from ..model.integer import half, signed_width
from .arithmetic import interval, narrow, saturate, times, trailing_zeros
from .operator import Elementwise, Output, Part, integers_of


class Requantize(Elementwise):
    """``o = sat(((m i + half) >> n) + Z)``, bit-exact with golden.requantized.

    The zero point is added before the shift, with the rounding constant; widths are the least that
    hold what the sums can be.
    Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.Requantize
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    i : In(stream.Signature(signed(width of acc_min to acc_max)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.Requantize, output: Output = "wire") -> None:
        self.op = op
        super().__init__({"i": signed_width(op.acc_min, op.acc_max)}, op.out_bits, output)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.part(self.op, self.output).identity

    @classmethod
    def part(cls, op: integer.Requantize, output: Output = "wire") -> Part:
        """Deferred form of the component."""
        return Part(
            ("Requantize", *integers_of(op), output),
            f"Requantize, {signed_width(op.acc_min, op.acc_max)} to {op.out_bits} bits",
            partial(cls, op, output),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        op = self.op
        common = min(trailing_zeros(op.multiplier), op.shift)
        factor, shift = op.multiplier >> common, op.shift - common
        constant = (half(op.shift) + (op.zero_point << op.shift)) >> common
        low, high = interval(factor, op.acc_min, op.acc_max)
        low, high = low + constant, high + constant
        total = narrow(m, "total", times(operands[0], factor) + constant, low, high)
        low, high = low >> shift, high >> shift
        value = narrow(m, "value", total >> shift, low, high)
        return saturate(value, low, high, op.out_bits)
