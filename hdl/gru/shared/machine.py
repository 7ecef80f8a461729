"""The logic of a shared layer: one adder, its registers, and what steps through the program."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .adder import add
from .shape import Decoded, Shape, streams_of


class Machine(wiring.Component):
    """The logic of a shared layer: it runs the program of :mod:`.rows`.

    Between it and the memories of the layer are wires alone; every memory answers in the cycle
    after the address, which therefore is that of the next row.

    Members
    -------
    i, o, o_logits, o_class : streams as of :class:`SharedLayer`; the latter two with a classifier
    row, weight, x_code, h_code, initial, NAME_digit : In, what the memories answer
    row_address, weight_address, word, h_address, NAME_address, write_x, write_h, write_word,
    write_unit, code : Out
    written : Out(1), `code` is the result of the next operator, for test benches
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        members: dict[str, Any] = {
            **streams_of(shape),
            "row": In(shape.row_bits),
            "weight": In(shape.digit),
            "x_code": In(signed(shape.in_bits)),
            "h_code": In(signed(shape.state_bits)),
            "row_address": Out(range(max(2, shape.rows))),
            "weight_address": Out(range(max(2, shape.weights))),
            "x_address": Out(range(max(2, shape.inputs))),
            "h_address": Out(range(max(2, 2 * shape.hidden))),
            "write_x": Out(1),
            "write_h": Out(1),
            "x_write_address": Out(range(max(2, shape.inputs))),
            "h_write_address": Out(range(max(2, 2 * shape.hidden))),
            "code": Out(signed(8)),
            "written": Out(1),
        }
        if shape.given:
            members["initial"] = In(signed(shape.state_bits))
        for name, _, selector, length in shape.activations:
            members[f"{name}_digit"] = In(shape.digit)
            members[f"{name}_address"] = Out(range(max(2, length << selector)))
        super().__init__(members)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return ("Machine", *vars(self.shape).values())

    def elaborate(self, platform) -> Module:
        m = Module()
        shape = self.shape
        now = Now(Decoded(shape, self.row), shape)
        # The program's memory has its first word one cycle after a reset.
        m.d.sync += now.running.eq(1)
        load, emit = now.row.is_("kind", "load"), now.row.is_("kind", "emit")
        self._count(m, now, load, emit)
        self._go_on(m, now, emit)
        bank, unit, word_next = now.bank, now.unit, now.word_next
        m.d.comb += [
            self.x_address.eq(word_next),
            self.h_address.eq(Cat(bank, Mux(now.row.flag("own"), unit, word_next))),
            self.write_x.eq(now.advance & load),
            self.x_write_address.eq(now.word),
            self.write_h.eq(now.advance & emit),
            self.h_write_address.eq(Cat(~bank, unit)),
        ]
        self._activations(m, now)
        total, shifted = add(self, m, now)
        self._results(m, now, shifted, total)
        m.d.comb += [
            self.i.ready.eq(now.running & load),
            self.o.valid.eq(now.running & emit),
            self.o.payload.code.eq(self.code),
            self.o.payload.last.eq(now.final & now.last_unit),
        ]
        wait = (load & ~self.i.valid) | (emit & ~self.o.ready)
        if shape.classes:
            wait = wait | self._classes(m, now)
        m.d.comb += now.advance.eq(now.running & ~wait)
        return m

    def _count(self, m: Module, now: "Now", load: Value, emit: Value) -> None:
        """Words of a vector, units of a step or classes, and where a sequence is."""
        shape, row, advance, word, unit = self.shape, now.row, now.advance, now.word, now.unit
        of_x = load | row.is_("operand", "x")
        last_word = word == Mux(of_x, shape.inputs - 1, shape.hidden - 1)
        loop = row.flag("loop") | load
        m.d.comb += [
            now.done.eq(advance & (~loop | last_word | (load & self.i.payload.last))),
            now.word_next.eq(word),
        ]
        with m.If(advance & loop):
            m.d.comb += now.word_next.eq(Mux(now.done, 0, word + 1))
        m.d.sync += word.eq(now.word_next)

        logit = row.is_("kind", "logit")
        last: Value = Const(shape.hidden - 1)
        if shape.classes:
            last = Mux(logit, shape.classes - 1, shape.hidden - 1)
        m.d.comb += [
            now.last_unit.eq(unit == last),
            now.end.eq(advance & emit & now.last_unit),
        ]
        with m.If(advance & (emit | logit)):
            m.d.sync += unit.eq(Mux(now.last_unit, 0, unit + 1))
        with m.If(now.end):
            m.d.sync += now.bank.eq(~now.bank)
            # Classes are told by the state of the last step.
            m.d.sync += now.start.eq(0 if shape.classes else now.final)
        with m.If(advance & row.is_("kind", "class")):
            m.d.sync += now.start.eq(now.final if shape.every else 1)
        with m.If(self.write_x):
            m.d.sync += now.final.eq(self.i.payload.last)

    def _go_on(self, m: Module, now: "Now", emit: Value) -> None:
        """Addresses of the next row and of the next bit of a weight."""
        shape, row, advance = self.shape, now.row, now.advance
        to_classes: Value = now.final if shape.classes else Const(0, 1)
        if shape.every:
            to_classes = Const(1, 1)
        restart = (now.end & ~to_classes) | (advance & row.is_("kind", "class"))
        place = Signal(range(max(2, shape.rows)))
        with m.If(now.running):
            m.d.comb += self.row_address.eq(place + now.done)
            with m.If(now.done & emit & ~now.last_unit):
                m.d.comb += self.row_address.eq(shape.loop)
            if shape.classes:
                with m.If(now.done & row.is_("kind", "logit") & ~now.last_unit):
                    m.d.comb += self.row_address.eq(shape.classify)
            with m.If(restart):
                m.d.comb += self.row_address.eq(0)
        m.d.sync += place.eq(self.row_address)
        # Weights come in the order in which they are asked for.
        at = Signal(range(max(2, shape.weights)))
        with m.If(now.running & ~restart):
            m.d.comb += self.weight_address.eq(at + (advance & row.is_("factor", "rom")))
        m.d.sync += at.eq(self.weight_address)

    def _activations(self, m: Module, now: "Now") -> None:
        """Node of a search, index of a bit, and the addresses that they make."""
        shape, row, advance = self.shape, now.row, now.advance
        self.t0, self.t1, self.t2 = (
            Signal(signed(8), reset_less=True, name=name) for name in ("t0", "t1", "t2")
        )
        self.searched = Signal()
        levels = max((bits for _, table, bits, _ in shape.activations if not table), default=1)
        node, node_next = Signal(levels), Signal(levels)
        index = Signal(range(max(2, *(length for *_, length in shape.activations)) + 1))
        index_next = Signal.like(index)
        used: Value = Const(0, 1)
        for name, *_ in shape.activations:
            used = used | row.is_("factor", name)
        settle, ended = row.flag("settle"), ~row.is_("target", "")
        m.d.comb += [node_next.eq(node), index_next.eq(index)]
        with m.If(advance):
            m.d.comb += index_next.eq(Mux(settle | ended, 0, index + used))
            with m.If(ended):
                m.d.comb += node_next.eq(1)
            with m.Elif(settle):
                m.d.comb += node_next.eq(Cat(self.searched, node))
        m.d.sync += [node.eq(node_next), index.eq(index_next)]
        for name, table, bits, _ in shape.activations:
            selector = self.t0[:bits] if table else node_next[:bits]
            m.d.comb += getattr(self, f"{name}_address").eq(Cat(selector, index_next))

    def _results(self, m: Module, now: "Now", shifted: Value, total: Value) -> None:
        """Saturate to the width that the row says, and keep."""
        row, advance = now.row, now.advance
        widths, number = row.fields["bits"]
        sign = shifted[-1]
        size = max(len(shifted), 8)
        bits = Cat(shifted, sign.replicate(size - len(shifted)))
        inside = Signal(8)  # the bits below the sign of the code
        with m.Switch(number):
            for k, width in enumerate(widths):
                with m.Case(k):
                    m.d.comb += inside.eq((1 << max(0, width - 1)) - 1)
        over = Signal()
        m.d.comb += over.eq(
            ((bits ^ sign.replicate(size)) & ~Cat(inside, Const(0, size - 8))).any()
        )
        m.d.comb += self.code.eq(Mux(over, sign.replicate(8) ^ inside, bits[:8]))
        for name in ("t0", "t1", "t2"):
            target = getattr(self, name)
            if name == "t1" and self.shape.classes:
                shifts, shift = row.fields["shift"]
                with m.If(advance & row.flag("settle")), m.Switch(shift):
                    for k, amount in enumerate(shifts):
                        with m.Case(k):
                            if amount:
                                m.d.sync += target.eq(Cat(self.t1, total[:amount])[amount:])
            with m.If(advance & row.is_("target", name)):
                m.d.sync += target.eq(self.code)
        m.d.comb += self.written.eq(advance & (row.is_("kind", "emit") | ~row.is_("target", "")))

    def _classes(self, m: Module, now: "Now") -> Value:
        """Logits leave as they are summed; the greatest so far is kept. When it waits."""
        row, running, advance, unit, last_unit = (
            now.row,
            now.running,
            now.advance,
            now.unit,
            now.last_unit,
        )
        shape = self.shape
        is_logit, is_class = row.is_("kind", "logit"), row.is_("kind", "class")
        logit = Signal(signed(shape.logit_bits))
        m.d.comb += logit.eq(Cat(self.t1, self.p).as_signed())
        greatest = Signal(signed(shape.logit_bits), reset_less=True)
        label = Signal(max(1, (shape.classes - 1).bit_length()), reset_less=True)
        with m.If(advance & is_logit & ((unit == 0) | (logit > greatest))):
            m.d.sync += [greatest.eq(logit), label.eq(unit)]
        ends = last_unit & now.final if shape.every else last_unit
        answer = Cat(label, now.final) if shape.every else label
        m.d.comb += [
            self.o_logits.payload.logit.eq(logit),
            self.o_logits.payload.last.eq(ends),
            self.o_logits.valid.eq(running & is_logit),
            Value.cast(self.o_class.payload).eq(answer),
            self.o_class.valid.eq(running & is_class),
        ]
        return (is_logit & ~self.o_logits.ready) | (is_class & ~self.o_class.ready)


class Now:
    """What the parts of a :class:`Machine` know of a cycle.

    running : not in the first cycle after a reset; advance : nothing is waited for
    done : the row ends; end : the step ends
    word, word_next : of a vector; unit, last_unit : of a step, or class
    bank : of the old state; start : that counts as zero; final : the step is a sequence's last
    """

    def __init__(self, row: Decoded, shape: Shape) -> None:
        self.row = row
        self.running, self.advance, self.done, self.end = (
            Signal(name=name) for name in ("running", "advance", "done", "end")
        )
        self.word = Signal(range(max(2, shape.inputs, shape.hidden)))
        self.word_next = Signal.like(self.word)
        self.unit = Signal(range(max(2, shape.hidden, shape.classes)))
        self.last_unit, self.bank, self.final = (
            Signal(name=name) for name in ("last_unit", "bank", "final")
        )
        self.start = Signal(init=1)
