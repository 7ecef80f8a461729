"""The requantiser of a layer with shared gates: one adder and shifter, and what registers get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth import *

from ....model.integer import code_range
from ...arithmetic import add_or_subtract, signed_digits
from ...diagram import Diagram
from ..counters import UnitCounter

if TYPE_CHECKING:
    from .machine import GatesMachine


def requantise(
    machine: GatesMachine, m: Module, acc: Value, product: Value, channel: Value, new: UnitCounter
) -> None:
    """One adder and shifter for every operator, and what the registers get."""
    shape = machine.shape
    width = signed(shape.total_bits)
    codes = machine.steps("code")
    sources: dict[str, Any] = {"acc": acc, "product": product, **machine.t}
    a = machine.by_step(m, "operand_a", width, {k: sources[step.a] for k, step in codes})
    total: Value = _constant(machine, m, channel)
    total = _times(machine, m, "a", total, a, {k: step.factor_a for k, step in codes})
    second = {k: step for k, step in codes if step.b}
    b = machine.by_step(m, "operand_b", signed(8), {k: machine.t[s.b] for k, s in second.items()})
    factors = {k: step.factor_b for k, step in codes}
    total = _times(machine, m, "b", total, b, factors)
    amount = machine.by_step(
        m, "shift", max(s.shift for _, s in codes).bit_length(), {k: s.shift for k, s in codes}
    )
    value = Signal(signed(shape.value_bits))
    m.d.comb += value.eq(total >> amount)
    if shape.channel_bits:
        shifted = Signal.like(value, name="shifted")
        m.d.comb += shifted.eq(value >> channel)
        value = shifted
    code = _saturated(machine, m, value)
    old = _old(machine, m, new)
    with m.Switch(machine.step):
        for k, step in machine.steps("look"):
            with m.Case(k):
                table = dict(shape.looks)[step.name]
                operand = machine.t[step.a][: (len(table) - 1).bit_length()]
                m.d.comb += machine.code.eq(Diagram(table, step.bits).build(m, operand))
        for k, _ in machine.steps("read"):
            with m.Case(k):
                m.d.comb += machine.code.eq(old)
        with m.Case(*(k for k, _ in machine.steps("emit"))):
            m.d.comb += machine.code.eq(machine.t["t0"])
        with m.Default():
            m.d.comb += machine.code.eq(code)
    for name, register in machine.t.items():
        given = [k for k, step in enumerate(shape.steps) if step.target == name]
        with m.If(
            machine.last_count & machine.advance & Cat(machine.step == k for k in given).any()
        ):
            m.d.sync += register.eq(machine.code)
    m.d.comb += machine.written.eq(
        machine.advance & machine.last_count & machine.active("code", "look", "read")
    )


def _constant(machine: GatesMachine, m: Module, channel: Value) -> Signal:
    """What the step adds: its constant, that of the piece, or that of the channel's shift."""
    total = Signal(signed(machine.shape.total_bits), name="constant")
    with m.Switch(machine.step):
        for k, step in machine.steps("code"):
            with m.Case(k):
                if len({amount for _, amount in step.rests}) > 1:
                    with m.Switch(channel):
                        for shift, amount in step.rests:
                            with m.Case(shift):
                                m.d.comb += total.eq(amount)
                elif step.rests:
                    m.d.comb += total.eq(step.rests[0][1])
                else:
                    m.d.comb += total.eq(machine.intercepts.get(step.name, step.constant))
    return total


def _times(
    machine: GatesMachine, m: Module, name: str, total: Value, value: Value, factors: dict[int, int]
) -> Value:
    """``total + factor * value``, a term for each signed digit of the factors of all steps."""
    digits = {k: signed_digits(abs(factor)) for k, factor in factors.items()}
    for number in range(max(map(len, digits.values()))):
        shifts, minus, there = {}, {}, {}
        for k, of in digits.items():
            there[k] = int(number < len(of))
            if there[k]:
                shifts[k] = of[number][0]
                minus[k] = int(of[number][1] * (1 if factors[k] > 0 else -1) < 0)
        amount = machine.by_step(
            m, f"up_{name}{number}", max(1, max(shifts.values()).bit_length()), shifts
        )
        term = Signal(signed(machine.shape.total_bits), name=f"term_{name}{number}")
        m.d.comb += term.eq(value << amount)
        if not all(there.values()):
            here = machine.by_step(m, f"there_{name}{number}", 1, there)
            gated = Signal.like(term, name=f"gated_{name}{number}")
            m.d.comb += gated.eq(Mux(here, term, 0))
            term = gated
        result = Signal(signed(machine.shape.total_bits), name=f"total_{name}{number}")
        if any(minus.values()):
            sign = machine.by_step(m, f"minus_{name}{number}", 1, minus)
            m.d.comb += result.eq(add_or_subtract(total, term, sign))
        else:
            m.d.comb += result.eq(total + term)
        total = result
    return total


def _saturated(machine: GatesMachine, m: Module, value: Signal) -> Value:
    """`value` as a code of as many bits as the step has."""
    limits = {k: code_range(step.bits)[1] for k, step in machine.steps("code")}
    high = machine.by_step(m, "high", 7, limits)
    sign, size = value[-1], max(len(value), 8)
    bits = Cat(value, sign.replicate(size - len(value)))
    over = Signal()
    inside = Cat(high, Const(0, size - 7))
    m.d.comb += over.eq(((bits ^ sign.replicate(size)) & ~inside).any())
    limit = Cat(high, Const(0, 1)) ^ sign.replicate(8)
    return Mux(over, limit, bits[:8]).as_signed()


def _old(machine: GatesMachine, m: Module, new: UnitCounter) -> Value:
    """The old state of the unit, in its lane."""
    shape = machine.shape
    if len(new.lane) == 0:
        return machine.state[: shape.state_bits].as_signed()
    old = Signal(signed(shape.state_bits), name="old")
    with m.Switch(new.lane):
        for k in range(shape.lanes):
            with m.Case(k):
                m.d.comb += old.eq(machine.state.word_select(k, shape.state_bits))
    return old
