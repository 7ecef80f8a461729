# amaranth: UnusedElaboratable=no
"""Table units of constants: one that is pipelined, one that selects among several tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import data

from ...model import integer
from ...model.errors import InputError, index_within
from ...model.integer import code_range, signed_width
from ..arithmetic import multiply_add, narrow, saturate
from ..piecewise_linear import PiecewisePlan
from .stages import Staged, Values, choose_one, one_hot, wire


class _Fixed(Staged):
    """Units of constants, one chosen by `select`: what the two classes below share."""

    def __init__(self, units: Sequence[integer.PiecewiseLinear], i: object, stages: int) -> None:
        self.plans = [PiecewisePlan.of(op) for op in units]
        self.shifts = [op.fraction_bits for op in units]
        self.out_bits = units[0].out_bits
        low, high = code_range(units[0].a_bits)
        codes = np.arange(low, high + 1)
        # What no code can give needs no bits: bounds of slope code + intercept, and shifted.
        totals = []
        for plan in self.plans:
            piece = np.searchsorted(plan.points, codes, side="right")
            totals.append(np.array(plan.slopes)[piece] * codes + np.array(plan.intercepts)[piece])
        values = [total >> shift for total, shift in zip(totals, self.shifts, strict=True)]
        self.total_bounds = int(min(t.min() for t in totals)), int(max(t.max() for t in totals))
        self.value_bounds = int(min(v.min() for v in values)), int(max(v.max() for v in values))
        # Units of fewer segments repeat their last one.
        entries = max(len(plan.slopes) for plan in self.plans)
        self.points, self.slopes, self.intercepts = [], [], []
        for plan in self.plans:
            missing = entries - len(plan.slopes)
            self.points.append([*plan.points, *[*plan.points, high][-1:] * missing])
            self.slopes.append([*plan.slopes, *plan.slopes[-1:] * missing])
            self.intercepts.append([*plan.intercepts, *plan.intercepts[-1:] * missing])
        super().__init__(i, signed(self.out_bits), stages, (2, 0, 1))

    def steps(self):
        return [self._select, self._multiply, self._finish]

    def _split(self, i: Any) -> tuple[Value, Value]:
        """Code and select of an operand."""
        raise NotImplementedError

    def _each(self, m: Module, name: str, select: Value, values: Sequence[int], width: int):
        """The constant of the selected unit, `width` bits, signed."""
        if len(set(values)) == 1:
            return Const(values[0], signed(width))
        chosen = Signal(signed(width), name=name)
        with m.Switch(select):
            for number, value in enumerate(values[:-1]):
                with m.Case(number):
                    m.d.comb += chosen.eq(value)
            with m.Default():
                m.d.comb += chosen.eq(values[-1])
        return chosen

    def _column(
        self, m: Module, name: str, select: Value, rows: Sequence[Sequence[int]]
    ) -> list[Value]:
        """Constants of the selected unit, one a segment, all of the least width that holds them."""
        width = max(signed_width(min(row), max(row)) for row in rows)
        return [
            self._each(m, f"{name}{k}", select, column, width)
            for k, column in enumerate(zip(*rows, strict=True))
        ]

    def _select(self, m: Module, values: Values) -> Values:
        code, select = self._split(values["i"])
        points = self._column(m, "point", select, self.points) if self.points[0] else []
        selects = one_hot(m, [code >= point for point in points])
        constants = {
            name: wire(m, name, choose_one(selects, self._column(m, f"{name}_of", select, rows)))
            for name, rows in (("slope", self.slopes), ("intercept", self.intercepts))
        }
        return {"code": code, "select": select, **constants}

    def _multiply(self, m: Module, values: Values) -> Values:
        negative = any(plan.negative for plan in self.plans)
        # The sign of a slope that is never negative is no bit worth multiplying by.
        slope = values["slope"] if negative else values["slope"][:-1]
        total = multiply_add(
            m, "sloped", values["intercept"].as_signed(), slope, values["code"], int(negative)
        )
        return {"select": values["select"], "total": narrow(m, "total", total, *self.total_bounds)}

    def _finish(self, m: Module, values: Values) -> Values:
        total = values["total"].as_signed()
        shifted = narrow(m, "value", total >> self.shifts[-1], *self.value_bounds)
        if len(set(self.shifts)) > 1:
            shifted = Signal.like(shifted, name="shifted")
            with m.Switch(values["select"]):
                for shift in sorted(set(self.shifts)):
                    with m.Case(*[k for k, each in enumerate(self.shifts) if each == shift]):
                        m.d.comb += shifted.eq(total >> shift)
                with m.Default():
                    m.d.comb += shifted.eq(total >> self.shifts[-1])
        return {"o": saturate(shifted, *self.value_bounds, self.out_bits)}

    def elaborate(self, platform) -> Module:
        m = Module()
        self.chain(m)
        return m


class PipelinedUnit(_Fixed):
    """``o = sat(((slopes[k] i + intercepts[k] + half) >> f) + Z)``: constants, with registers.

    Bit-exact with golden.activation. :class:`~genogate.hdl.piecewise_linear.PiecewiseLinear` is the
    same without registers, or with one, and may then be smaller.

    Latency `stages`: 0 is combinational, 1 has a register at the output, 2 one more after the
    selection, 3 one more after the multiply-add. One result a cycle.

    Parameters
    ----------
    op : integer.PiecewiseLinear
    stages : int, 0 to 3

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.PiecewiseLinear, stages: int = 2) -> None:
        super().__init__([op], signed(op.a_bits), stages)

    def _split(self, i: Any) -> tuple[Value, Value]:
        return i, Const(0, 0)


class SelectUnit(_Fixed):
    """Several piecewise-linear units in one; each operand says which it is for.

    Functions, or scales of one function. Break points, slopes and intercepts are a small decoded
    table; comparators, multiplier and saturation are shared. Bit-exact with golden.activation of
    the selected unit; a `select` past the last unit means the last one.

    Latency as :class:`PipelinedUnit`. One result a cycle, whatever the order of selects.

    Parameters
    ----------
    units : 1 to 64 integer.PiecewiseLinear, all with the same widths of codes
    stages : int, 0 to 3

    Members
    -------
    i : In(stream.Signature({code: signed(a_bits), select: select_bits}))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, units: Sequence[integer.PiecewiseLinear], stages: int = 1) -> None:
        index_within("units", len(units), 1, 64)
        for k, op in enumerate(units):
            widths = (op.a_bits, op.out_bits)
            if widths != (units[0].a_bits, units[0].out_bits):
                raise InputError(
                    f"unit {k}: codes of {widths[0]} and {widths[1]} bits, unit 0 has "
                    f"{units[0].a_bits} and {units[0].out_bits}"
                )
        self.select_bits = max(1, (len(units) - 1).bit_length())
        layout = {"code": signed(units[0].a_bits), "select": self.select_bits}
        super().__init__(units, data.StructLayout(layout), stages)

    def _split(self, i: Any) -> tuple[Value, Value]:
        return i.code, i.select
