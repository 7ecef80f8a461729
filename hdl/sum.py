"""The sums of the GRU: s_r, s_z, s_n and s_h."""

from dataclasses import dataclass
from functools import partial

from amaranth import *

from ..model import integer
from ..model.integer import code_range, half
from .arithmetic import interval, narrow, saturate, times, trailing_zeros
from .operator import Elementwise, Output, Part


@dataclass(frozen=True)
class SumPlan:
    """The constants of a sum as the hardware holds them.

    ``o = sat((m_a a + m_b b + constant) >> shift)``: both operand zero points, the rounding
    constant and the output's zero point are one constant. A power of two common to both multipliers
    leaves the sum and the shift.
    """

    a_bits: int
    b_bits: int
    out_bits: int
    m_a: int
    m_b: int
    shift: int
    constant: int

    @classmethod
    def of(cls, op: integer.Sum) -> "SumPlan":
        """Fold the constants of `op`."""
        common = min(trailing_zeros(op.multiplier_a), trailing_zeros(op.multiplier_b), op.shift)
        constant = half(op.shift) + (op.zero_point << op.shift)
        constant -= op.multiplier_a * op.a_zero_point + op.multiplier_b * op.b_zero_point
        # The operands' sum is a multiple of 2**common: what lies below cannot change the floor.
        return cls(
            op.a_bits,
            op.b_bits,
            op.out_bits,
            op.multiplier_a >> common,
            op.multiplier_b >> common,
            op.shift - common,
            constant >> common,
        )

    def identity(self, output: str) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return ("Sum", *vars(self).values(), output)


class Sum(Elementwise):
    """``o = sat(((m_a (a - Z_a) + m_b (b - Z_b) + half) >> n) + Z)``, bit-exact with golden.add.

    Computed as :class:`SumPlan` says. Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.Sum
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    a, b : In(stream.Signature(signed(a_bits))), In(stream.Signature(signed(b_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.Sum, output: Output = "wire") -> None:
        self.plan = SumPlan.of(op)
        super().__init__({"a": op.a_bits, "b": op.b_bits}, op.out_bits, output)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.plan.identity(self.output)

    @classmethod
    def part(cls, op: integer.Sum, output: Output = "wire") -> Part:
        """Deferred form of the component."""
        return Part(
            SumPlan.of(op).identity(output),
            f"Sum, {op.a_bits} + {op.b_bits} to {op.out_bits} bits",
            partial(cls, op, output),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        plan = self.plan
        a, b = operands
        m_a, m_b, shift, constant = plan.m_a, plan.m_b, plan.shift, plan.constant
        low_a, high_a = interval(m_a, *code_range(plan.a_bits))
        low_b, high_b = interval(m_b, *code_range(plan.b_bits))
        low, high = low_a + low_b + constant, high_a + high_b + constant
        # The constant goes to the operand whose low bits are 0: it passes through them.
        (near, less), (far, more) = sorted(((a, m_a), (b, m_b)), key=lambda pair: pair[1])
        total = narrow(m, "total", times(far, more) + constant + times(near, less), low, high)
        low, high = low >> shift, high >> shift
        value = narrow(m, "value", total >> shift, low, high)
        return saturate(value, low, high, plan.out_bits)
