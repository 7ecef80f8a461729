"""An activation as a full table in logic: one output code for every input code."""

from amaranth import *

from ..model import integer
from .operator import Elementwise, Output


class Table(Elementwise):
    """``o = table[i + 2**(a_bits-1)]``, bit-exact with golden.activation.

    Logic, not memory: each output bit is a decision diagram over the input bits, the sign first,
    and equal parts are shared. A smooth table of 256 entries has 249 cells so, 444 as a case
    statement, which Yosys may take for a memory besides.
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
        op, code = self.op, operands[0]
        entries = len(op.table)
        nodes: dict[tuple[int, ...], Value] = {}

        def decide(values: tuple[int, ...], level: int) -> Value:
            """The function of the lowest `level` input bits with these `values`, in order."""
            if len(set(values)) == 1:
                return Const(values[0], 1)
            if values not in nodes:
                middle = len(values) // 2
                low, high = decide(values[:middle], level - 1), decide(values[middle:], level - 1)
                nodes[values] = node = Signal(name=f"node{len(nodes)}")
                m.d.comb += node.eq(Mux(code[level - 1], high, low))
            return nodes[values]

        # Codes are two's complement: pattern 0 is code 0, in the middle of the table.
        patterns = [int(op.table[(k + entries // 2) % entries]) for k in range(entries)]
        return Cat(
            decide(tuple(pattern >> bit & 1 for pattern in patterns), op.a_bits)
            for bit in range(op.out_bits)
        ).as_signed()
