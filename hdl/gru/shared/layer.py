"""A layer in which one adder does everything (``share`` all): plan, component and timing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ....model.integer import Classifier, Layer
from ...memories import CodeBuffer, Rom
from ...operator import Part, build_into
from ..layer import initial_part
from ..loader import fill, load_signature
from ..loading import loaded_names
from ..serial import SerialPlan
from .compiler import Compiler
from .machine import Machine
from .rows import Program
from .shape import Shape, streams_of


@dataclass(frozen=True)
class SharedPlan(SerialPlan):
    """A shared layer: its program, its parts and its timing.

    Parameters
    ----------
    layer, unit_cycles : as of :class:`~..serial.SerialPlan`
    classifier : of the network, for its last layer, else None
    every : whether it answers at every step
    """

    classifier: Classifier | None
    program: Program
    shape: Shape
    every: bool = False

    @classmethod
    def of(
        cls,
        layer: Layer,
        classifier: Classifier | None,
        digit: int,
        every: bool = False,
        logit_bits: int | None = None,
    ) -> "SharedPlan":
        """Compile the program of `layer` for weights that come in digits of `digit` bits; with
        `logit_bits`, the width of any logit, for weights that are loaded."""
        program = Compiler(layer, classifier, digit, logit_bits is not None).compile()
        shape = Shape.of(layer, classifier, program, every, logit_bits)
        return cls(layer, program.unit_cycles, classifier, program, shape, shape.every)

    @property
    def answer_cycles(self) -> int:
        """Cycles of an answer, where this layer gives one: ``C K + 1``."""
        if self.classifier is None:
            return 0
        return len(self.classifier.bias) * self.program.class_cycles + 1

    @property
    def weight_cycles(self) -> int:
        rows = self.program.rows[self.program.loop : self.program.classify]
        sizes = {"x": self.layer.input_size, "h": self.layer.hidden_size}
        return sum(sizes[row.operand] for row in rows if row.loop)

    def parts(self) -> dict[str, Part]:
        program, shape = self.program, self.shape
        serves = "all operators" + (", classifier" if self.classifier else "")
        parts = {
            "machine": Part(
                ("Machine", *vars(shape).values()),
                f"Machine for {serves}, {shape.rows} rows",
                partial(Machine, shape),
            ),
            "program": Rom.part(shape.rows, shape.row_bits, self._program_words),
            "weights": Rom.part(
                len(program.weights), program.digit, partial(list, program.weights)
            ),
        }
        for name, unit in program.activations.items():
            digits: partial[list[int]] = partial(list, unit.words)
            parts[f"{name}_digits"] = Rom.part(len(unit.words), shape.digit, digits)
        parts["x_buffer"] = CodeBuffer.part(bits=shape.in_bits, lanes=1, depth=shape.inputs)
        parts["state"] = CodeBuffer.part(bits=shape.state_bits, lanes=1, depth=2 * shape.hidden)
        return parts | initial_part(self.layer, 1)

    def _program_words(self) -> list[int]:
        return [self.shape.encode(row) for row in self.program.rows]


class SharedLayer(wiring.Component):
    """A layer, and the classifier where it is the last, with one adder for all; bit-exact with
    golden.run_layer.

    Submodules ``machine`` (all logic), ``program``, ``weights`` (a digit a word), ``a_r_digits``
    and so on, ``x_buffer`` (one input vector) and ``state`` (two state vectors);
    between them are wires alone. Units are computed one after the other, and so are operators. A
    step takes ``I + H U`` cycles, U being :attr:`SharedPlan.unit_cycles`; a sequence ``C K + 1``
    more in the last layer, K being :attr:`.rows.Program.class_cycles`.

    Parameters
    ----------
    plan : SharedPlan
    parts : its parts

    Members
    -------
    i, o : as of :class:`~..layer.GruLayer`; the next step is taken when one has ended
    o_logits, o_class : Out, with a classifier, as of :class:`~..classifier.Classifier`
    load : as of :class:`~..layer.GruLayer`
    """

    def __init__(
        self, plan: SharedPlan, parts: Mapping[str, Part], *, load: tuple[int, int] | None = None
    ) -> None:
        self.plan, self.parts = plan, parts
        members = streams_of(plan.shape)
        self.streams = tuple(members)
        self.loaded = loaded_names(parts) if load else []
        if load:
            members["load"] = Out(load_signature(len(self.loaded), *load))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = build_into(m, self.parts)
        machine, x, state = p["machine"], p["x_buffer"], p["state"]
        for name in self.streams:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(machine, name))
        pairs = [("program", "row"), ("weights", "weight")]
        pairs += [(f"{name}_digits", f"{name}_digit") for name, *_ in self.plan.shape.activations]
        for memory, port in pairs:
            address = port.removesuffix("_digit") + "_address"
            m.d.comb += [
                p[memory].address.eq(getattr(machine, address)),
                p[memory].enable.eq(1),
                getattr(machine, port).eq(p[memory].data),
            ]
        for memory, side in ((x, "x"), (state, "h")):
            m.d.comb += [
                memory.write_enable.eq(getattr(machine, f"write_{side}")),
                memory.write_address.eq(getattr(machine, f"{side}_write_address")),
                memory.read_enable.eq(1),
                memory.read_address.eq(getattr(machine, f"{side}_address")),
                getattr(machine, f"{side}_code").eq(memory.data),
            ]
        m.d.comb += [
            x.write_code.eq(machine.i.payload.code),
            state.write_code.eq(machine.code),
        ]
        if "initial" in p:
            # The lowest bit of a state's address is its bank.
            m.d.comb += [
                p["initial"].address.eq(machine.h_address[1:]),
                p["initial"].enable.eq(1),
                machine.initial.eq(p["initial"].data),
            ]
        if self.loaded:
            fill(m, self.load, [p[name] for name in self.loaded])
        return m
