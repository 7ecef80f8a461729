"""An activation as a full table in logic: one output code for every input code."""

from amaranth import *

from ..model import integer
from .operator import Elementwise, Output


class Table(Elementwise):
    """``o = table[i + 2**(a_bits-1)]``, bit-exact with golden.activation.

    Logic, not memory: a case statement of constants (Yosys: ``proc -norom``).
    Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.Table
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.Table, output: Output = "wire") -> None:
        self.op = op
        super().__init__({"i": op.a_bits}, op.out_bits, output)

    def compute(self, m: Module, *operands: Value) -> Value:
        op = self.op
        result = Signal(signed(op.out_bits))
        entries = len(op.table)
        with m.Switch(operands[0].as_unsigned()):
            for pattern in range(entries):
                # Codes are two's complement: pattern 0 is code 0, in the middle of the table.
                code = int(op.table[(pattern + entries // 2) % entries])
                with m.Case(pattern) if pattern < entries - 1 else m.Default():
                    m.d.comb += result.eq(code)
        return result
