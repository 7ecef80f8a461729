"""An activation as straight pieces: comparators, a slope and an intercept, one multiplier."""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from amaranth import *

from ..model import integer
from ..model.errors import index_within
from ..model.integer import code_range, half, signed_width
from .arithmetic import multiply_add, narrow, saturate
from .diagram import Diagram, diagram_identity
from .operator import Elementwise, Output, Part
from .serial import Steps

#: Narrowest codes for which a serial unit is smaller than one in one piece.
SERIAL_BITS = 8
#: Bits of the slope a cycle, beside one, that are tried for a higher clock.
SPLIT_DIGITS = (4, 2)


@dataclass(frozen=True)
class PiecewisePlan:
    """The constants of a piecewise-linear unit as the hardware holds them.

    ``o = sat((slopes[k] i + intercepts[k]) >> fraction_bits)``: the rounding constant and the
    output's zero point are in the intercepts.

    width : bits of a slope; signed where `negative`
    in_bits, out_bits : bits of the code and of the result
    shift : fraction_bits
    """

    slopes: tuple[int, ...]
    intercepts: tuple[int, ...]
    points: tuple[int, ...]
    negative: bool
    width: int
    in_bits: int
    out_bits: int
    shift: int

    @classmethod
    def of(cls, op: integer.PiecewiseLinear) -> "PiecewisePlan":
        """Fold the constants of `op`; what no code can reach is left out."""
        fold = half(op.fraction_bits) + (op.zero_point << op.fraction_bits)
        slopes, points = op.slopes.tolist(), op.breakpoints.tolist()
        intercepts = [v + fold for v in op.intercepts.tolist()]
        if points and points[0] == code_range(op.a_bits)[0]:
            slopes, intercepts, points = slopes[1:], intercepts[1:], points[1:]
        negative = min(slopes) < 0
        width = signed_width(min(slopes), max(slopes)) if negative else max(slopes).bit_length()
        return cls(
            tuple(slopes),
            tuple(intercepts),
            tuple(points),
            negative,
            max(1, width),
            op.a_bits,
            op.out_bits,
            op.fraction_bits,
        )

    @property
    def inputs(self) -> np.ndarray:
        """All codes that come in, ascending."""
        low, high = code_range(self.in_bits)
        return np.arange(low, high + 1)

    @property
    def pieces(self) -> np.ndarray:
        """The segment of each of them."""
        return np.searchsorted(self.points, self.inputs, side="right")

    def totals(self) -> np.ndarray:
        """Of each, what is shifted and saturated."""
        slopes, intercepts = np.array(self.slopes), np.array(self.intercepts)
        return slopes[self.pieces] * self.inputs + intercepts[self.pieces]

    def diagram(self) -> tuple[tuple[int, ...], Diagram] | None:
        """The codes of the whole function and their diagram, where a unit in one piece is smaller
        as that."""
        codes = np.clip(self.totals() >> self.shift, *code_range(self.out_bits)).tolist()
        diagram = Diagram(codes, self.out_bits)
        # Cells, as Yosys counts them: a multiplexer of a diagram 1.4, an adder's bit 5.
        if 1.4 * diagram.size < 5 * self.width * self.in_bits + 5 * len(self.points):
            return tuple(codes), diagram
        return None

    def identity(self, digit: int, output: str, split: bool = False) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        codes = None if digit else _diagram_codes(self)
        if codes is not None:
            return diagram_identity(codes, self.out_bits, output)
        late = bool(digit) and split
        return ("PiecewiseLinear", *vars(self).values(), digit, output, *["split"] * late)

    def cycles(self, digit: int, split: bool = False) -> int:
        """Cycles of a serial unit of `digit` bits a cycle, one more with `split`; 0 for none."""
        return -(-self.width // digit) + split if digit else 0

    def digits(self, split: bool = False) -> tuple[int, ...]:
        """Bits of the slope a cycle that are worth trying, 0 for all at once, the best one last.

        Below 8 bits a unit in one piece is the smaller one (INT7: about 150 cells against 200,
        INT5: 40 against 150), and more than one bit a cycle is never smaller; with `split` it is
        tried where one bit takes too long, because one piece would be the longest path.
        """
        if self.in_bits < SERIAL_BITS or self.width == 1:
            return (0,)
        wider = tuple(digit for digit in SPLIT_DIGITS if split and digit < self.width)
        return (0, *wider, 1)

    def rows(self, digit: int, split: bool = False) -> float:
        """Rough cost in rows of partial products, beyond what every unit needs.

        Without digits a diagram is never much more than two; with `split` a multiplier in one piece
        counts all its rows, for they are in one path.
        """
        if digit:
            return digit + 0.5
        return self.width if split and _diagram_codes(self) is None else min(self.width, 2)


@lru_cache(maxsize=1 << 14)
def _diagram_codes(plan: PiecewisePlan) -> tuple[int, ...] | None:
    diagram = plan.diagram()
    return diagram[0] if diagram else None


class PiecewiseLinear(Elementwise):
    """``o = sat(((slopes[k] i + intercepts[k] + half) >> f) + Z)``, ``k = #{j: p_j <= i}``.

    Bit-exact with golden.activation. Break points, slopes and intercepts are constants.

    With ``digit = d`` comparators choose slope and intercept, and each cycle adds the product of d
    bits of the slope and the code, lowest bits first: `o` is valid :attr:`cycles` cycles after the
    operand, which is taken when the result is (``hold`` in :data:`hdl.operator.Output`).
    With ``digit = 0`` an array multiplier does it in no time (`output` wire) or one cycle, or a
    decision diagram of the whole function where that is estimated to be smaller.

    Parameters
    ----------
    op : integer.PiecewiseLinear
    digit : int
        0, or bits of the slope that a cycle processes.
    output : 'wire', 'register' or 'hold'
        For ``digit = 0`` only.
    split : bool
        With a digit: slope and intercept are chosen in a cycle of their own, for a higher clock.

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(
        self,
        op: integer.PiecewiseLinear,
        digit: int = 0,
        output: Output = "wire",
        split: bool = False,
    ) -> None:
        index_within("digit", digit, 0, 32)
        self.op, self.digit, self.plan = op, digit, PiecewisePlan.of(op)
        self.split = split
        super().__init__({"i": op.a_bits}, op.out_bits, output)
        # All inputs are few: bounds are those of the codes themselves.
        self.totals = self.plan.totals()

    @property
    def cycles(self) -> int:
        """Cycles from a valid operand to a valid result."""
        if self.digit:
            return self.plan.cycles(self.digit, self.split)
        return int(self.output != "wire")

    def choose(self, m: Module, i: Value) -> tuple[Signal, Signal]:
        """Slope (bits; the last counts negative where the plan says so) and intercept of a code."""
        plan = self.plan
        slope = Signal(plan.width)
        intercept = Signal(signed(signed_width(min(plan.intercepts), max(plan.intercepts))))
        m.d.comb += [slope.eq(plan.slopes[0]), intercept.eq(plan.intercepts[0])]
        for k, point in enumerate(plan.points, 1):
            with m.If(i >= point):
                m.d.comb += [slope.eq(plan.slopes[k]), intercept.eq(plan.intercepts[k])]
        return slope, intercept

    def _chosen_before(self, m: Module, *values: Signal) -> list[Signal]:
        """Registers of what was chosen; the operand stays, so they may take it in every cycle."""
        registers = [Signal.like(value, name_suffix="_before", reset_less=True) for value in values]
        m.d.sync += [register.eq(v) for register, v in zip(registers, values, strict=True)]
        return registers

    def finish(self, m: Module, total: Value, lost: int) -> Value:
        """Shift and saturate a total of which `lost` low bits are gone."""
        shift = self.op.fraction_bits
        low, high = int(self.totals.min()) >> lost, int(self.totals.max()) >> lost
        total = narrow(m, "total", total, low, high)
        low, high = low >> (shift - lost), high >> (shift - lost)
        value = narrow(m, "value", total >> (shift - lost), low, high)
        return saturate(value, low, high, self.op.out_bits)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return self.plan.identity(self.digit, self.output, self.split)

    @classmethod
    def part(
        cls,
        op: integer.PiecewiseLinear,
        digit: int = 0,
        output: Output = "wire",
        split: bool = False,
    ) -> Part:
        """Deferred form of the component."""
        return Part(
            PiecewisePlan.of(op).identity(digit, output, split),
            f"PiecewiseLinear, {op.a_bits} to {op.out_bits} bits, {len(op.slopes)} lines",
            partial(cls, op, digit, output, split),
        )

    def compute(self, m: Module, *operands: Value) -> Value:
        i, diagram = operands[0], self.plan.diagram()
        if diagram:
            return diagram[1].build(m, i)
        slope, intercept = self.choose(m, i)
        total = multiply_add(m, "sloped", intercept, slope, i, int(self.plan.negative))
        return self.finish(m, total, 0)

    def elaborate(self, platform) -> Module:
        if not self.digit:
            return super().elaborate(platform)
        m = Module()
        plan, digit, shift = self.plan, self.digit, self.op.fraction_bits
        steps = plan.cycles(digit)
        i = self.i.payload
        slope, intercept = self.choose(m, i)
        valid: Value = self.i.valid
        if self.split:
            ready = Signal()
            slope, intercept = self._chosen_before(m, slope, intercept)
            valid = valid & ready
        step = Steps(m, steps, valid, self.o.ready)
        if self.split:
            m.d.sync += ready.eq(self.i.valid & ~step.taken)
        width = steps * digit
        extended = Cat(slope, (slope[-1] & plan.negative).replicate(width - plan.width))
        bits = step.digit(m, extended, digit)

        # The running totals of every code, to know their width.
        inputs, piece = plan.inputs, plan.pieces
        total = np.array(plan.intercepts)[piece]
        extremes = [*plan.intercepts]
        for number in range(steps):
            part = np.array(plan.slopes)[piece] >> (number * digit)
            total = total + (part if number == steps - 1 else part & ((1 << digit) - 1)) * inputs
            extremes += [int(total.min()), int(total.max())]
            total = total >> digit
        shape = signed(signed_width(min(extremes), max(extremes)))
        running, start, added = Signal(shape, reset_less=True), Signal(shape), Signal(shape)
        sign = step.last if plan.negative else 0
        m.d.comb += [
            start.eq(Mux(step.first, intercept, running)),
            added.eq(multiply_add(m, "digit", start, bits, i, sign)),
        ]
        below = max(0, width - shift)
        kept = Signal(below, reset_less=True)
        with m.If(step.running):
            m.d.sync += running.eq(added >> digit)
            if below:
                m.d.sync += kept.eq(Cat(kept, added[:digit])[-below:])
        m.d.comb += [
            self.o.payload.eq(self.finish(m, Cat(kept, running).as_signed(), width - below)),
            self.o.valid.eq(step.done),
            self.i.ready.eq(step.taken),
        ]
        return m
