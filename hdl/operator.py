"""What the element-wise operators share: streams, and the ways to hand a result on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..model.errors import InputError
from ..model.integer import Operator, Requantize

#: ``wire``: combinational, the result is valid with the operands and taken with them.
#: ``register``: operands are taken into an output register (latency 1, one result per cycle).
#: ``hold``: an output register, but the operands are only taken when the result is; whoever
#: drives them keeps them until then, so nothing needs a copy (latency 1, a result every 2 cycles).
#: ``slot``: operands are taken into an output register that is empty, so that their ready depends
#: on no other ready (latency 1, a result every 2 cycles).
Output = Literal["wire", "register", "hold", "slot"]


@dataclass(frozen=True)
class Part:
    """A component that is not built yet.

    identity : all that shapes its circuit, its kind first: two with equal ones are the same but
        for what their memories hold. A component that was built has it as an attribute.
    about : a few words for messages, e.g. ``Product, 8 x 7 to 6 bits``
    build : makes the component; can be sent to another process
    contents : gives the words and the width of each constant memory in it
    """

    identity: tuple[object, ...]
    about: str = field(compare=False)
    build: Callable[[], wiring.Component] = field(compare=False, repr=False)
    contents: Callable[[], list[tuple[list[int], int]]] = field(
        default=list, compare=False, repr=False
    )


def build_into(m: Module, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Build `parts` as submodules of `m`, by their names."""
    components: dict[str, Any] = {name: part.build() for name, part in parts.items()}
    for name, component in components.items():
        m.submodules[name] = component
    return components


def integers_of(op: Operator | Requantize) -> tuple[object, ...]:
    """All integers of `op`, for an identity (see :class:`Part`)."""
    return tuple(
        tuple(value.tolist()) if isinstance(value, np.ndarray) else value
        for value in vars(op).values()
    )


class Elementwise(wiring.Component):
    """Base of the operators with one (`i`) or two (`a`, `b`) operands and a result `o`.

    All streams carry one signed code a transfer. Subclasses say what to compute in
    :meth:`compute`; handshakes are made here. An operand is ready only in a cycle in which it
    and its partner are valid and taken, so that a stream may be forked to two operators
    that both fire in the same cycle.
    """

    def __init__(self, operands: dict[str, int], out_bits: int, output: Output) -> None:
        if output not in ("wire", "register", "hold", "slot"):
            raise InputError(f"output must be 'wire', 'register', 'hold' or 'slot', not {output!r}")
        self.output = output
        self.operands = tuple(operands)
        members = {name: In(stream.Signature(signed(bits))) for name, bits in operands.items()}
        super().__init__({**members, "o": Out(stream.Signature(signed(out_bits)))})

    def compute(self, m: Module, *operands: Value) -> Value:
        """The result code of the operand codes; may add logic to `m`."""
        raise NotImplementedError

    def elaborate(self, platform) -> Module:
        m = Module()
        ports = [getattr(self, name) for name in self.operands]
        result = self.compute(m, *(port.payload for port in ports))
        valid = ports[0].valid
        for port in ports[1:]:
            valid = valid & port.valid
        if self.output == "wire":
            m.d.comb += [self.o.payload.eq(result), self.o.valid.eq(valid)]
            taken = valid & self.o.ready
        else:
            # No reset: the payload is only looked at where the valid flag, which has one, is set.
            code = Signal(self.o.payload.shape(), reset_less=True)
            full = Signal()
            m.d.comb += [self.o.payload.eq(code), self.o.valid.eq(full)]
            if self.output in ("register", "slot"):
                free = ~full | self.o.ready if self.output == "register" else ~full
                taken = valid & free
                with m.If(~full | self.o.ready):
                    m.d.sync += full.eq(taken)
                with m.If(taken):
                    m.d.sync += code.eq(result)
            else:
                taken = full & self.o.ready
                m.d.sync += full.eq(valid & ~taken)
                # The operands stay until they are taken, and so does what is computed of them.
                m.d.sync += code.eq(result)
        m.d.comb += [port.ready.eq(taken) for port in ports]
        return m
