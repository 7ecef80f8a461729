"""Counting the steps of an operator that takes an operand digit by digit."""

from amaranth import *


class Steps:
    """`steps` cycles from valid operands to a result, which then waits until it is taken.

    Members are combinational values: `running` in the cycles of the steps, `first` and `last` in
    the first and last of them, `done` while the result is valid, `taken` when it goes.
    """

    def __init__(self, m: Module, steps: int, valid: Value, ready: Value) -> None:
        # The count ends in its top bit, so that `done` costs nothing.
        width = (steps - 1).bit_length()
        self.steps, self.start = steps, (1 << width) - steps
        self.count = count = Signal(width + 1, init=self.start, name="step")
        self.done: Value = count[-1]
        self.taken = self.done & ready
        self.running = valid & ~self.done
        self.first = count == self.start
        self.last: Value = count[:-1].all() if width else Const(1, 1)
        with m.If(self.running):
            m.d.sync += count.eq(count + 1)
        with m.Elif(self.taken):
            m.d.sync += count.eq(self.start)

    def digit(self, m: Module, value: Value, bits: int) -> Signal:
        """The digit of `value` of this step, lowest first; it has ``steps * bits`` bits."""
        digit = Signal(bits, name="digit")
        if self.steps == 1:
            m.d.comb += digit.eq(value)
            return digit
        with m.Switch(self.count[:-1]):
            for step in range(self.steps):
                with m.Case(step + self.start):
                    m.d.comb += digit.eq(value[step * bits : (step + 1) * bits])
            with m.Default():
                m.d.comb += digit.eq(0)
        return digit
