"""The adder of a shared layer: operand times digit, added to what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import *

from .shape import Decoded

if TYPE_CHECKING:
    from .machine import Machine, Now


def add(machine: Machine, m: Module, now: Now) -> tuple[Signal, Signal]:
    """The adder: the sum of a row, and what P becomes."""
    shape, row, advance = machine.shape, now.row, now.advance
    operand = Signal(signed(shape.operand_bits))
    zero: Value = Const(shape.zero, signed(shape.state_bits))
    zero = machine.initial if shape.given else zero
    values: dict[str, Value] = {
        "imm": Cat(row.is_("place", k) for k in range(shape.operand_bits - 1)),
        "x": machine.x_code,
        "h": Mux(now.start, zero, machine.h_code),
        "t0": machine.t0,
        "t1": machine.t1,
        "t2": machine.t2,
    }
    present, number = row.fields["operand"]
    with m.Switch(number):
        for k, name in enumerate(present):
            with m.Case(k):
                m.d.comb += operand.eq(values[name])
    term = _term(machine, m, row, operand)
    p = Signal(signed(shape.width), reset_less=True)
    left, total, shifted = (Signal(signed(shape.width)) for _ in range(3))
    shifts, shift = row.fields["shift"]
    m.d.comb += [
        left.eq(Mux(row.flag("first"), 0, p)),
        # The carry in enters the adder below its lowest bit.
        total.eq(
            (
                Cat(1, left).as_signed()
                + Cat(row.flag("carry"), Const(0, shape.guard), term).as_signed()
            )[1:]
        ),
        machine.searched.eq(~total[-1]),
    ]
    with m.Switch(shift):
        for k, amount in enumerate(shifts):
            with m.Case(k):
                m.d.comb += shifted.eq(total >> amount)
    with m.If(advance):
        m.d.sync += p.eq(shifted)
    machine.p = p
    return total, shifted


def _term(machine: Machine, m: Module, row: Decoded, operand: Value) -> Value:
    """Operand times digit, less the ones of a negative row."""
    digit, width = machine.shape.digit, machine.shape.operand_bits
    factor, negative = _factor(machine, m, row), row.flag("negative")
    alone = row.is_("factor", "one") | row.is_("factor", "zero")
    term: Value = Const(0)
    for k in range(digit):
        # Of a digit the top bit is negative, of a bit alone the bit itself.
        sign: Value = Const(0, 1)
        if digit == 1:
            sign = negative
        elif k in (0, digit - 1):
            sign = negative & (~alone if k else alone)
        part = Signal(signed(width), name=f"term{k}")
        m.d.comb += part.eq((operand & factor[k].replicate(width)) ^ sign.replicate(width))
        term = term + (part << k) if k else part
    return term


def _factor(machine: Machine, m: Module, row: Decoded) -> Signal:
    """The digit that the operand is multiplied by."""
    places, place = row.fields["place"]
    factor = Signal(machine.shape.digit)
    present, number = row.fields["factor"]
    with m.Switch(number):
        for k, name in enumerate(present):
            with m.Case(k):
                if name == "zero":
                    m.d.comb += factor.eq(0)
                elif name == "one":
                    m.d.comb += factor.eq(1)
                elif name == "rom":
                    m.d.comb += factor.eq(machine.weight)
                elif name == "serial":
                    with m.Switch(place):
                        for index, value in enumerate(places):
                            if value < 8:
                                with m.Case(index):
                                    m.d.comb += factor.eq(machine.t1 >> value)
                else:
                    m.d.comb += factor.eq(getattr(machine, f"{name}_digit"))
    return factor
