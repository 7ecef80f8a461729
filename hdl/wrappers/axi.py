"""The network with AXI4-Stream ports."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..gru.design import Design
from ..gru.layer import code_layout
from .packets import Kind, PacketNetwork, Slice, check_byte_codes

#: Bits of an output word.
WORD = 32


class AxiNetwork(wiring.Component):
    """A network with an AXI4-Stream subordinate ``s_axis`` and manager ``m_axis``.

    A packet in is a sequence: a feature a byte, signed, low bits; ``tlast`` with its last feature.
    A packet out is its answer in words of 32 bits, signed: the logits, then the class with
    ``tlast``. A packet that is no whole number of steps is answered by one word 1 with ``tuser``
    high (:class:`.packets.PacketNetwork`). All outputs come from registers.

    Parameters
    ----------
    design : Design
    instance : whether the network is the module ``gru`` of another file

    Members
    -------
    aclk, aresetn : In(1), clock and synchronous reset, active low
    s_axis_tdata : In(8); s_axis_tlast, s_axis_tvalid : In(1); s_axis_tready : Out(1)
    m_axis_tdata : Out(32); m_axis_tlast, m_axis_tuser, m_axis_tvalid : Out(1)
    m_axis_tready : In(1)
    s_axis_weights_tdata, s_axis_weights_tvalid : In; s_axis_weights_tready : Out(1)
        Where weights are loaded: the words of the network's ``i_weights``, in whole bytes.
    loaded : Out(1), where weights are loaded: all words have been taken
    """

    def __init__(self, design: Design, *, instance: bool = False) -> None:
        check_byte_codes(design)
        self.design = design
        self.packets = PacketNetwork(design, instance=instance)
        loads = {}
        if design.weights == "load":
            loads = {
                "s_axis_weights_tdata": In(-(-design.load_shape[1] // 8) * 8),
                "s_axis_weights_tvalid": In(1),
                "s_axis_weights_tready": Out(1),
                "loaded": Out(1),
            }
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axis_tdata": In(8),
                "s_axis_tlast": In(1),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(WORD),
                "m_axis_tlast": Out(1),
                "m_axis_tuser": Out(1),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                **loads,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = domain = ClockDomain(local=True)
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn)]
        bits = self.design.model.in_bits
        word = data.StructLayout({"data": signed(WORD), "user": 1, "last": 1})
        m.submodules.packets = packets = self.packets
        m.submodules.slice_in = slice_in = Slice(code_layout(bits))
        m.submodules.slice_out = slice_out = Slice(word)
        wiring.connect(m, slice_in.o, packets.i)
        out, answer = slice_out.i, packets.o
        m.d.comb += [
            slice_in.i.payload.code.eq(self.s_axis_tdata[:bits].as_signed()),
            slice_in.i.payload.last.eq(self.s_axis_tlast),
            slice_in.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(slice_in.i.ready),
            out.payload.data.eq(answer.payload.value),
            out.payload.user.eq(answer.payload.kind == Kind.ERROR),
            out.payload.last.eq(answer.payload.last),
            out.valid.eq(answer.valid),
            answer.ready.eq(out.ready),
            self.m_axis_tdata.eq(slice_out.o.payload.data),
            self.m_axis_tuser.eq(slice_out.o.payload.user),
            self.m_axis_tlast.eq(slice_out.o.payload.last),
            self.m_axis_tvalid.eq(slice_out.o.valid),
            slice_out.o.ready.eq(self.m_axis_tready),
        ]
        if self.design.weights == "load":
            m.submodules.slice_weights = words = Slice(self.design.load_shape[1])
            wiring.connect(m, words.o, packets.i_weights)
            m.d.comb += [
                words.i.payload.eq(self.s_axis_weights_tdata),
                words.i.valid.eq(self.s_axis_weights_tvalid),
                self.s_axis_weights_tready.eq(words.i.ready),
                self.loaded.eq(packets.loaded),
            ]
        return m
