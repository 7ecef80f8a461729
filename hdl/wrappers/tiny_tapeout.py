"""The network on the pins of a Tiny Tapeout tile."""

from amaranth import *
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from ..gru.design import Design
from ..gru.loading import refuse_loaded
from .byte_stream import ByteNetwork, byte_layout
from .packets import Slice

#: Bidirectional pins by bit: name, and whether they are outputs.
PINS = (
    ("in_valid", False),
    ("in_last", False),
    ("out_ready", False),
    ("in_ready", True),
    ("out_valid", True),
    ("out_last", True),
    ("busy", True),
    ("", False),
)


class TinyTapeoutNetwork(wiring.Component):
    """A network on 8 inputs, 8 outputs and 8 bidirectional pins: :class:`ByteNetwork` on wires.

    ``ui_in`` is a byte of a packet, ``uo_out`` a byte of the answer; ``uio`` has the handshakes,
    :data:`PINS`. A byte moves in each cycle of `clk` in which valid and ready are high. Inputs are
    taken synchronously to `clk`; the reset passes two flip-flops.

    Parameters
    ----------
    design : Design

    Members
    -------
    ui_in : In(8), uo_out : Out(8), uio_in : In(8), uio_out : Out(8), uio_oe : Out(8)
        `uio_oe` is 1 for outputs
    ena : In(1), high whenever the tile has power; unused
    clk, rst_n : In(1), clock, and reset, active low
    """

    def __init__(self, design: Design) -> None:
        refuse_loaded(design, "a tile has no pins for them")
        self.network = ByteNetwork(design)
        super().__init__(
            {
                "ui_in": In(8),
                "uo_out": Out(8),
                "uio_in": In(8),
                "uio_out": Out(8),
                "uio_oe": Out(8),
                "ena": In(1),
                "clk": In(1),
                "rst_n": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = domain = ClockDomain(local=True)
        m.d.comb += domain.clk.eq(self.clk)
        # Its flip-flops have no reset of their own.
        m.domains.raw = raw = ClockDomain(local=True, reset_less=True)
        m.d.comb += raw.clk.eq(self.clk)
        reset = Signal(init=1)
        m.submodules.reset = cdc.FFSynchronizer(~self.rst_n, reset, o_domain="raw", init=1)
        m.d.comb += domain.rst.eq(reset)
        m.submodules.network = network = self.network
        # Ready leaves from a register, so that no path runs from pin to pin.
        m.submodules.slice = slice_ = Slice(byte_layout())
        wiring.connect(m, slice_.o, network.i)
        pins = {name: bit for bit, (name, _) in enumerate(PINS) if name}
        busy = Signal()
        with m.If(slice_.i.valid & slice_.i.ready):
            m.d.sync += busy.eq(1)
        with m.Elif(network.o.valid & network.o.ready & network.o.payload.last):
            m.d.sync += busy.eq(0)
        m.d.comb += [
            slice_.i.payload.data.eq(self.ui_in),
            slice_.i.payload.last.eq(self.uio_in[pins["in_last"]]),
            slice_.i.valid.eq(self.uio_in[pins["in_valid"]]),
            network.o.ready.eq(self.uio_in[pins["out_ready"]]),
            self.uo_out.eq(network.o.payload.data),
            self.uio_out[pins["in_ready"]].eq(slice_.i.ready),
            self.uio_out[pins["out_valid"]].eq(network.o.valid),
            self.uio_out[pins["out_last"]].eq(network.o.payload.last),
            self.uio_out[pins["busy"]].eq(busy),
            self.uio_oe.eq(sum(1 << bit for bit, (_, out) in enumerate(PINS) if out)),
        ]
        return m
