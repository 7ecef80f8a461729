"""The serial multiplier of a layer with shared gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import *

from ...arithmetic import add_or_subtract

if TYPE_CHECKING:
    from .machine import GatesMachine


def multiply(machine: GatesMachine, m: Module) -> Value:
    """Products of codes less their zero points, or of a slope and a code, bit by bit."""
    shape = machine.shape
    width, bits = shape.multiplicand, shape.multiplier
    machine.intercepts = {}
    firsts, seconds = {}, {}
    pieces = dict(shape.pieces)
    for k, step in machine.steps("multiply"):
        if step.name in pieces:
            slope = _piece(machine, m, step.name)
            firsts[k], seconds[k] = machine.t[step.a], slope
        else:
            firsts[k] = machine.t[step.a] - step.zeros[0]
            seconds[k] = machine.t[step.b] - step.zeros[1]
    first = machine.by_step(m, "multiplicand", signed(width), firsts)
    second = machine.by_step(m, "multiplier", signed(bits), seconds)
    low = Signal(bits, reset_less=True, name="product_low")
    high = Signal(signed(width + 1), reset_less=True, name="product_high")
    row = Signal(signed(width + 2))
    m.d.comb += row.eq(
        add_or_subtract(high, Mux(low[0], first, 0), machine.count == bits)  # the last is the sign
    )
    with m.If(machine.active("multiply")):
        with m.If(machine.count == 0):
            m.d.sync += [low.eq(second), high.eq(0)]
        with m.Else():
            m.d.sync += [low.eq(Cat(low[1:], row[0])), high.eq(row >> 1)]
    return Cat(low, high).as_signed()


def _piece(machine: GatesMachine, m: Module, name: str) -> Signal:
    """Slope of the piece that t0 is in; its intercept for the requantiser."""
    plan = dict(machine.shape.pieces)[name]
    slope = Signal(signed(machine.shape.multiplier), name=f"{name}_slope")
    machine.intercepts[name] = intercept = Signal(
        signed(machine.shape.total_bits + 1), name=f"{name}_intercept"
    )
    m.d.comb += [slope.eq(plan.slopes[0]), intercept.eq(plan.intercepts[0])]
    source = next(s.a for _, s in machine.steps("multiply") if s.name == name)
    for k, point in enumerate(plan.points, 1):
        with m.If(machine.t[source] >= point):
            m.d.comb += [slope.eq(plan.slopes[k]), intercept.eq(plan.intercepts[k])]
    return slope
