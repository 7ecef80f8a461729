"""What all table units share: a chain of steps with registers after some of them."""

from collections.abc import Callable, Sequence

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..model.errors import InputError

#: A step makes named values of named values.
Values = dict[str, Value]
Step = Callable[[Module, Values], Values]


def check_stages(stages: int, most: int) -> int:
    """`stages` as an int within 0 to `most`."""
    if isinstance(stages, bool) or int(stages) != stages or not 0 <= stages <= most:
        raise InputError(f"stages: {stages} is not within 0 to {most}")
    return int(stages)


def wire(m: Module, name: str, value: Value) -> Signal:
    """A signal driven by `value`: Amaranth writes an expression out once for each use."""
    signal = Signal.like(value, name=name)
    m.d.comb += signal.eq(value)
    return signal


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
