"""The network behind two streams of bytes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..gru.design import Design
from .packets import Kind, PacketNetwork, check_byte_codes, weight_ports

#: First byte of an answer.
LABEL, BAD_LENGTH = 0, 1


def byte_layout() -> data.StructLayout:
    """The payload of a stream of bytes: `data`, and `last` above it."""
    return data.StructLayout({"data": 8, "last": 1})


class ByteNetwork(wiring.Component):
    """A network that takes a byte a feature and answers in bytes.

    A packet in is a sequence: features in order, signed, in the low bits of a byte; `last` with the
    last feature. Its answer: 0, then the class (low byte first where there are more than 256
    classes), `last` with the last byte. A packet that is no whole number of steps is answered by
    the single byte 1 (:class:`.packets.PacketNetwork`). Logits are dropped.

    Parameters
    ----------
    design : Design
    instance : whether the network is the module ``gru`` of another file

    Members
    -------
    i, o : In, Out(stream.Signature(byte_layout()))
        `o` comes from registers; ``i.ready`` depends on the network alone.
    i_weights, loaded : where weights are loaded, see :class:`~hdl.gru.network.Network`
    """

    def __init__(self, design: Design, *, instance: bool = False) -> None:
        check_byte_codes(design)
        self.design = design
        self.packets = PacketNetwork(design, instance=instance)
        super().__init__(
            {
                "i": In(stream.Signature(byte_layout())),
                "o": Out(stream.Signature(byte_layout())),
                **weight_ports(design),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.packets = packets = self.packets
        if self.design.weights == "load":
            wiring.connect(m, wiring.flipped(self.i_weights), packets.i_weights)
            m.d.comb += self.loaded.eq(packets.loaded)
        answer, bits = packets.o, self.design.model.in_bits
        m.d.comb += [
            packets.i.payload.code.eq(self.i.payload.data[:bits].as_signed()),
            packets.i.payload.last.eq(self.i.payload.last),
            packets.i.valid.eq(self.i.valid),
            self.i.ready.eq(packets.i.ready),
        ]
        # The status byte goes out as a class comes; then the class itself, byte after byte.
        number = -(-max(1, (self.design.model.classes - 1).bit_length()) // 8)
        label = Signal(8 * number)
        left = Signal(range(number + 1))
        m.d.comb += answer.ready.eq(
            Mux(answer.payload.kind == Kind.LOGIT, 1, ~self.o.valid & (left == 0))
        )
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(left != 0):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(label[:8]),
                    self.o.payload.last.eq(left == 1),
                    label.eq(label >> 8),
                    left.eq(left - 1),
                ]
        failed = answer.payload.kind == Kind.ERROR
        with m.If(answer.valid & answer.ready & (answer.payload.kind != Kind.LOGIT)):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.data.eq(Mux(failed, BAD_LENGTH, LABEL)),
                self.o.payload.last.eq(failed),
                label.eq(answer.payload.value.as_unsigned()),
                left.eq(Mux(failed, 0, number)),
            ]
        return m
