"""An activation as a full table in logic: one output code for every input code."""

from functools import partial

from amaranth import *

from ..model import integer
from .diagram import Diagram, diagram_identity
from .operator import Elementwise, Output, Part


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

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.part(self.op, self.output).identity

    @classmethod
    def part(cls, op: integer.Table, output: Output = "wire") -> Part:
        """Deferred form of the component."""
        return Part(
            diagram_identity(op.table.tolist(), op.out_bits, output),
            f"Table, {op.a_bits} to {op.out_bits} bits",
            partial(cls, op, output),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        return Diagram(self.op.table.tolist(), self.op.out_bits).build(m, operands[0])
