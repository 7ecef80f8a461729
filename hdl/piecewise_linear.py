"""An activation as straight pieces: comparators, a slope and an intercept, one multiplier."""

from amaranth import *

from ..model import integer
from ..model.integer import code_range, half, signed_width
from .arithmetic import interval, multiply_add, narrow, saturate
from .operator import Elementwise, Output


class PiecewiseLinear(Elementwise):
    """``o = sat(((slopes[k] i + intercepts[k] + half) >> f) + Z)``, ``k = #{j: p_j <= i}``.

    Bit-exact with golden.activation. Break points, slopes and intercepts are constants: the
    comparators have one constant side, rounding and zero point are in the intercepts.
    Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.PiecewiseLinear
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.PiecewiseLinear, output: Output = "wire") -> None:
        self.op = op
        super().__init__({"i": op.a_bits}, op.out_bits, output)

    def compute(self, m: Module, *operands: Value) -> Value:
        op, i = self.op, operands[0]
        slopes = [int(v) for v in op.slopes]
        fold = half(op.fraction_bits) + (op.zero_point << op.fraction_bits)
        intercepts = [int(v) + fold for v in op.intercepts]
        points = [int(v) for v in op.breakpoints]
        least, greatest = code_range(op.a_bits)
        negative = min(slopes) < 0
        slope = Signal(signed_width(min(slopes), max(slopes)) if negative
                       else max(1, max(slopes).bit_length()))  # fmt: skip
        intercept = Signal(signed(signed_width(min(intercepts), max(intercepts))))
        reached = Signal(max(1, len(points)))
        for k, point in enumerate(points):
            m.d.comb += reached[k].eq(i >= point)
        m.d.comb += [slope.eq(slopes[0]), intercept.eq(intercepts[0])]
        for k in range(len(points)):
            with m.If(reached[k]):
                m.d.comb += [slope.eq(slopes[k + 1]), intercept.eq(intercepts[k + 1])]
        starts, ends = [least, *points], [*(p - 1 for p in points), greatest]
        # The bounds over what each piece really sees, not over all codes with all slopes.
        bounds = [(min(lo, hi) + c, max(lo, hi) + c)
                  for s, c, first, last in zip(slopes, intercepts, starts, ends, strict=True)
                  if first <= last for lo, hi in [interval(s, first, last)]]  # fmt: skip
        low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
        # A row of adders for each bit of the slope, which has fewer than the code.
        sloped = multiply_add(m, "sloped", intercept, slope, i, int(negative))
        total = narrow(m, "total", sloped, low, high)
        low, high = low >> op.fraction_bits, high >> op.fraction_bits
        value = narrow(m, "value", total >> op.fraction_bits, low, high)
        return saturate(value, low, high, op.out_bits)
