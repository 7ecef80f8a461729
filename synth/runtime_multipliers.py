# amaranth: UnusedElaboratable=no
"""What constant multipliers save: the scalings of a network with run-time multipliers."""

from collections.abc import Sequence

from amaranth import Const, Module, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..hdl.arithmetic import interval, narrow, product_interval, saturate, times
from ..hdl.gru.design import Design
from ..model.integer import (
    Complement,
    Dense,
    Operator,
    Product,
    Sum,
    code_range,
    half,
    signed_width,
)
from .area import measure
from .report import area_report
from .yosys import Progress


class _Scaling(wiring.Component):
    """``o = sat((sum_k m_k v_k + constant) >> shift)``: the requantiser of an operator alone.

    Parameters
    ----------
    values : bounds of each operand v_k
    multipliers : constants m_k >= 0, or None for ports of 16 bits, unsigned
    """

    def __init__(
        self,
        values: Sequence[tuple[int, int]],
        multipliers: Sequence[int] | None,
        *,
        constant: int,
        shift: int,
        out_bits: int,
    ) -> None:
        self.values, self.multipliers = values, multipliers
        self.constant, self.shift, self.out_bits = constant, shift, out_bits
        members = {f"v{k}": In(signed(signed_width(*v))) for k, v in enumerate(values)}
        if multipliers is None:
            members |= {f"m{k}": In(16) for k in range(len(values))}
        super().__init__({**members, "o": Out(signed(out_bits))})

    def elaborate(self, platform) -> Module:
        m = Module()
        total: Value = Const(self.constant)
        low = high = self.constant
        for k, bounds in enumerate(self.values):
            value = getattr(self, f"v{k}")
            if self.multipliers is None:
                total = total + value * getattr(self, f"m{k}")
                least, greatest = product_interval(bounds, (0, (1 << 16) - 1))
            else:
                total = total + times(value, self.multipliers[k])
                least, greatest = interval(self.multipliers[k], *bounds)
            low, high = low + least, high + greatest
        whole = narrow(m, "whole", total, low, high)
        low, high = low >> self.shift, high >> self.shift
        code = narrow(m, "code", whole >> self.shift, low, high)
        m.d.comb += self.o.eq(saturate(code, low, high, self.out_bits))
        return m


def _scalings(op: Operator) -> list[_Scaling]:
    """The requantiser of `op` with its constants, and with factors of 16 bits at run time."""
    if isinstance(op, Dense):
        values, factors, offset = [(op.acc_min, op.acc_max)], [op.multiplier], 0
    elif isinstance(op, Product):
        a, b = (
            (code_range(bits)[0] - zero, code_range(bits)[1] - zero)
            for bits, zero in ((op.a_bits, op.a_zero_point), (op.b_bits, op.b_zero_point))
        )
        values, factors, offset = [product_interval(a, b)], [op.multiplier], 0
    elif isinstance(op, Sum):
        # Zero points go into the constant; at run time they would need another port.
        values, factors = [code_range(op.a_bits), code_range(op.b_bits)], []
        factors = [op.multiplier_a, op.multiplier_b]
        offset = -op.multiplier_a * op.a_zero_point - op.multiplier_b * op.b_zero_point
    elif isinstance(op, Complement):
        low, high = code_range(op.a_bits)
        # The sign of 1 - a costs an inversion on either side; what is compared is the factor.
        values, factors, offset = [(-high, -low)], [op.multiplier], op.one
        offset += op.multiplier * op.a_zero_point
    else:
        return []
    constant = offset + half(op.shift) + (op.zero_point << op.shift)
    # A factor that is a power of two lets the constant go into the bias of a dense operator.
    factor = max(factors)
    folded = 0 if isinstance(op, Dense) and factor & (factor - 1) == 0 else constant
    # At run time a factor uses all of its 16 bits.
    more = 16 - factor.bit_length()
    return [
        _Scaling(values, factors, constant=folded, shift=op.shift, out_bits=op.out_bits),
        _Scaling(
            values,
            None,
            constant=constant << more if more > 0 else constant >> -more,
            shift=max(0, op.shift + more),
            out_bits=op.out_bits,
        ),
    ]


def runtime_multiplier_cells(design: Design, progress: Progress | None = None) -> tuple[int, int]:
    """Cells of the network, and of the same with requantisers that take 16-bit factors at run time.

    The first is the sum of :func:`area_report`. For the second, each operator's requantiser is
    measured alone twice, with its constants and with ports of 16 bits in their place, and the
    difference is added; registers or memories that would hold the factors are not counted.
    """
    constant = area_report(design, flat=False, progress=progress).total.cells
    layers = design.model.layers
    pairs = [part for layer in layers for op in layer.ops.values() for part in _scalings(op)]
    areas = measure(pairs, progress)
    return constant, constant + sum(
        runtime.cells - fixed.cells for fixed, runtime in zip(areas[::2], areas[1::2], strict=True)
    )
