"""What goes onto a board: a serial port, frames, the network, and a light."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..gru.design import Design
from .framed import FramedNetwork
from .uart import UartReceiver, UartTransmitter


class SerialNetwork(wiring.Component):
    """A network on a serial line.

    Parameters
    ----------
    design : the network's hardware
    divisor : int, clock cycles of a bit on the line
    timeout : int, cycles without a byte after which a frame is given up

    Members
    -------
    rx : In(1), tx : Out(1), the line, high when idle
    busy : Out(1), a frame is worked on, for a light
    """

    def __init__(self, design: Design, *, divisor: int, timeout: int) -> None:
        self.receiver, self.transmitter = UartReceiver(divisor), UartTransmitter(divisor)
        self.framed = FramedNetwork(design, timeout=timeout, pace=10 * divisor)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.transmitter = transmitter = self.transmitter
        m.submodules.framed = framed = self.framed
        m.d.comb += [
            receiver.rx.eq(self.rx),
            framed.data.eq(receiver.data),
            framed.valid.eq(receiver.valid),
            self.tx.eq(transmitter.tx),
            self.busy.eq(framed.busy),
        ]
        wiring.connect(m, framed.o, transmitter.i)
        return m


class BoardTop(Elaboratable):
    """:class:`SerialNetwork` on the pins of an Amaranth platform: its UART 0 and its first LED."""

    def __init__(self, inner: SerialNetwork) -> None:
        self.inner = inner

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.serial = inner = self.inner
        uart = platform.request("uart", 0)
        m.d.comb += [inner.rx.eq(uart.rx.i), uart.tx.o.eq(inner.tx)]
        if ("led", 0) in platform.resources:
            m.d.comb += platform.request("led", 0).o.eq(inner.busy)
        return m
