"""Functions of few bits as shared decision diagrams."""

from collections.abc import Sequence

from amaranth import *


def diagram_identity(codes: Sequence[int], bits: int, output: str) -> tuple[object, ...]:
    """Of an element-wise operator that is nothing but a diagram (see :class:`hdl.operator.Part`):
    whatever its constants are, the function is its circuit."""
    return ("Diagram", tuple(codes), bits, output)


class Diagram:
    """Output codes of all input codes, each output bit a decision diagram, the sign first.

    Equal parts are shared between and within bits, so `size` multiplexers are left.

    Parameters
    ----------
    codes : one output code for every input code, least input code first; ``2**n`` of them
    bits : int, width of an output code
    """

    def __init__(self, codes: Sequence[int], bits: int) -> None:
        entries = len(codes)
        self.levels = (entries - 1).bit_length()
        # Codes are two's complement: pattern 0 is code 0, in the middle.
        patterns = [int(codes[(k + entries // 2) % entries]) for k in range(entries)]
        #: Values over a level's inputs -> those for the level's bit low and high; inner ones first.
        self.nodes: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.roots = [tuple(pattern >> bit & 1 for pattern in patterns) for bit in range(bits)]
        for root in self.roots:
            self._visit(root)

    def _visit(self, values: tuple[int, ...]) -> None:
        if len(set(values)) > 1 and values not in self.nodes:
            middle = len(values) // 2
            self._visit(values[:middle])
            self._visit(values[middle:])
            self.nodes[values] = values[:middle], values[middle:]

    @property
    def size(self) -> int:
        """Multiplexers."""
        return len(self.nodes)

    def build(self, m: Module, code: Value) -> Value:
        """The signed output code of input `code`."""
        built: dict[tuple[int, ...], Value] = {}

        def value(values: tuple[int, ...]) -> Value:
            return built[values] if len(set(values)) > 1 else Const(values[0], 1)

        for number, (values, (low, high)) in enumerate(self.nodes.items()):
            built[values] = node = Signal(name=f"node{number}")
            level = len(values).bit_length() - 2
            m.d.comb += node.eq(Mux(code[level], value(high), value(low)))
        return Cat(value(root) for root in self.roots).as_signed()
