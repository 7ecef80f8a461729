"""The complement of the update gate: c_z = 1 - z."""

from functools import partial

from amaranth import *

from ..model import integer
from ..model.integer import code_range, half
from .arithmetic import interval, narrow, saturate, times, trailing_zeros
from .operator import Elementwise, Output, Part, integers_of


class Complement(Elementwise):
    """``o = sat(((one - m (i - Z_a) + half) >> n) + Z)``, bit-exact with golden.complement.

    Computed as ``sat((m ~i + C) >> n)``: ``-i = ~i + 1`` costs inverters only, and all constants
    are one.

    Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.Complement
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.Complement, output: Output = "wire") -> None:
        self.op = op
        super().__init__({"i": op.a_bits}, op.out_bits, output)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.part(self.op, self.output).identity

    @classmethod
    def part(cls, op: integer.Complement, output: Output = "wire") -> Part:
        """Deferred form of the component."""
        return Part(
            ("Complement", *integers_of(op), output),
            f"Complement, {op.a_bits} to {op.out_bits} bits",
            partial(cls, op, output),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        op = self.op
        common = min(trailing_zeros(op.multiplier), op.shift)
        factor, shift = op.multiplier >> common, op.shift - common
        constant = op.one + op.multiplier * (op.a_zero_point + 1)
        constant += half(op.shift) + (op.zero_point << op.shift)
        constant >>= common
        low, high = interval(factor, *code_range(op.a_bits))  # of ~i: the same codes
        low, high = low + constant, high + constant
        total = narrow(m, "total", times(~operands[0], factor) + constant, low, high)
        low, high = low >> shift, high >> shift
        value = narrow(m, "value", total >> shift, low, high)
        return saturate(value, low, high, op.out_bits)
