"""What table units share: steps with registers after some of them, a load chain, selection."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.errors import index_within

#: A step makes named values of named values.
Values = dict[str, Value]
Step = Callable[[Module, Values], Values]


def check_stages(stages: int, most: int) -> int:
    """`stages` as an int within 0 to `most`."""
    return index_within("stages", stages, 0, most)


def wire(m: Module, name: str, value: Value) -> Signal:
    """A signal driven by `value`: Amaranth writes an expression out once for each use."""
    signal = Signal.like(value, name=name)
    m.d.comb += signal.eq(value)
    return signal


def at_least(m: Module, name: str, a: Value, b: Value, equal: Value | int = 1) -> Signal:
    """``a >= b`` of unsigned bits (``a > b`` where `equal` is 0), as a chain of majorities.

    A fifth smaller at 32 bits than the prefix adder that synthesis makes of ``>=``.
    """
    carry: Value = Const(equal, 1) if isinstance(equal, int) else equal
    for k in range(len(a)):
        carry = wire(m, f"{name}_{k}", (a[k] & ~b[k]) | ((a[k] | ~b[k]) & carry))
    return carry


def offset(code: Value) -> Value:
    """Unsigned bits in the order of a signed `code`: its sign turned over."""
    return Cat(code[:-1], ~code[-1])


def choose_one(selects: Sequence[Value], values: Sequence[Value]) -> Value:
    """The one of `values` whose select is 1: an OR of ANDs, half a tree of multiplexers."""
    total: Value = Const(0, len(values[0]))
    for select, value in zip(selects, values, strict=True):
        total = total | (value.as_unsigned() & select.replicate(len(value)))
    return total


def one_hot(m: Module, reached: Sequence[Value]) -> list[Value]:
    """Segment selects from a thermometer: `reached` [N-1], break points not descending."""
    steps = [
        Const(1),
        *(wire(m, f"reached{k}", value) for k, value in enumerate(reached)),
        Const(0),
    ]
    return [wire(m, f"select{k}", steps[k] & ~steps[k + 1]) for k in range(len(steps) - 1)]


class Staged(wiring.Component):
    """Base of units that take `i` through steps to `o`; both streams may stall in any cycle.

    Latency is `stages` cycles, one transfer a cycle. With 0 stages `o` follows `i` in the same
    cycle. Registers hold until the next one is free; payloads have no reset, only valids do.

    Parameters
    ----------
    i, o : shapes of the payloads
    stages : int, 0 to the number of registers in `order`
    order : numbers of the steps that get a register after them, the first with 1 stage and so on
    members : further ports
    """

    def __init__(
        self, i: object, o: object, stages: int, order: Sequence[int], members: dict | None = None
    ) -> None:
        self.stages = check_stages(stages, len(order))
        self._cuts = frozenset(order[: self.stages])
        super().__init__(
            {"i": In(stream.Signature(i)), "o": Out(stream.Signature(o)), **(members or {})}
        )

    def steps(self) -> Sequence[Step]:
        """The steps in order; the first sees ``i``, the last gives ``o``."""
        raise NotImplementedError

    def chain(self, m: Module, gate: Value | int = 1) -> list[Signal]:
        """Build everything; operands are taken only where `gate` is 1. The valids of the stages."""
        values: Values = {"i": self.i.payload}
        valid = self.i.valid & gate
        fulls: list[Signal] = []
        frees: list[Signal] = []
        for number, step in enumerate(self.steps()):
            values = step(m, values)
            if number not in self._cuts:
                continue
            full, free = Signal(name=f"full{number}"), Signal(name=f"free{number}")
            held = {
                name: Signal.like(value, name=f"{name}{number}", reset_less=True)
                for name, value in values.items()
            }
            with m.If(free):
                m.d.sync += full.eq(valid)
            with m.If(free & valid):
                m.d.sync += [held[name].eq(value) for name, value in values.items()]
            fulls.append(full)
            frees.append(free)
            values, valid = dict(held), full
        for k, (full, free) in enumerate(zip(fulls, frees, strict=True)):
            after = frees[k + 1] if k + 1 < len(frees) else self.o.ready
            m.d.comb += free.eq(~full | after)
        m.d.comb += [
            self.o.payload.eq(values["o"]),
            self.o.valid.eq(valid),
            self.i.ready.eq((frees[0] if frees else self.o.ready) & gate),
        ]
        return fulls


@dataclass(frozen=True)
class Field:
    """A register of a load chain: what it is, and its bits."""

    name: str
    width: int


class Loaded(Staged):
    """Base of units whose constants come over `load` into one chain of registers.

    A word shifts in behind the one before, so that no address is decoded and one enable serves
    all registers. A load is atomic: operands taken before its first word see the old constants,
    those taken after its last word the new ones, and in between none is taken. The first word
    waits until no operand is inside that the change could reach; `i` waits while a word is offered.

    Members
    -------
    load : In(stream.Signature({data: word_bits, last: 1}))
        Until the first load the constants are undefined.
    """

    def __init__(
        self, fields: Sequence[Field], i: object, o: object, stages: int, order: Sequence[int]
    ) -> None:
        #: From the head of the chain to its end. The widest first: a word passes through all
        #: registers before its own.
        self.fields = tuple(sorted(fields, key=lambda field: -field.width))
        self.word_bits = self.fields[0].width
        word = data.StructLayout({"data": self.word_bits, "last": 1})
        super().__init__(i, o, stages, order, {"load": In(stream.Signature(word))})

    def pack(self, values: Mapping[str, int]) -> list[int]:
        """The words of a load, first one first, from the values of all fields."""
        return [values[field.name] & ((1 << field.width) - 1) for field in reversed(self.fields)]

    def elaborate(self, platform) -> Module:
        m = Module()
        load = self.load
        self.held = {f.name: Signal(f.width, name=f.name, reset_less=True) for f in self.fields}
        loading = Signal()
        if self.stages:
            inside = self.chain(m, ~loading & ~load.valid)[:-1]
            m.d.comb += load.ready.eq(~Cat(inside).any() if inside else 1)
        else:
            # An operand that waits must see the same result until it is taken.
            self.chain(m, ~loading)
            m.d.comb += load.ready.eq(loading | ~self.i.valid | self.o.ready)
        with m.If(load.valid & load.ready):
            m.d.sync += loading.eq(~load.payload.last)
            word: Value = load.payload.data
            for field in self.fields:
                m.d.sync += self.held[field.name].eq(word)
                word = self.held[field.name]
        return m
