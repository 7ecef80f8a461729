"""An asynchronous serial port: 8 data bits, no parity, one stop bit, lowest bit first."""

import operator

from amaranth import *
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError


def _divisor(divisor: int) -> int:
    divisor = operator.index(divisor)
    if not 4 <= divisor <= 1 << 20:
        raise InputError(f"divisor: {divisor} cycles a bit is not within 4 to {1 << 20}")
    return divisor


class UartReceiver(wiring.Component):
    """Bytes from a serial line.

    A byte is there for one cycle and gone in the next; whoever uses it has to be ready. One whose
    stop bit is low is dropped. The line is looked at in the middle of each bit.

    Parameters
    ----------
    divisor : int, clock cycles of a bit, 4 to 2**20

    Members
    -------
    rx : In(1), the line, high when idle; passes two flip-flops here
    data : Out(8); valid : Out(1), for one cycle with each byte
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = _divisor(divisor)
        super().__init__({"rx": In(1, init=1), "data": Out(8), "valid": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = cdc.FFSynchronizer(self.rx, line, init=1)
        wait, bit = Signal(range(self.divisor)), Signal(range(8))
        sample = Signal()
        m.d.comb += sample.eq(wait == 0)
        m.d.sync += [self.valid.eq(0), wait.eq(Mux(sample, self.divisor - 1, wait - 1))]
        with m.FSM():
            with m.State("idle"):
                m.d.sync += wait.eq(self.divisor // 2)
                with m.If(~line):
                    m.next = "start"
            with m.State("start"), m.If(sample):
                m.d.sync += bit.eq(0)
                # A start bit that is over already was a disturbance.
                m.next = "idle"
                with m.If(~line):
                    m.next = "data"
            with m.State("data"), m.If(sample):
                m.d.sync += [self.data.eq(Cat(self.data[1:], line)), bit.eq(bit + 1)]
                with m.If(bit == 7):
                    m.next = "stop"
            with m.State("stop"), m.If(sample):
                m.d.sync += self.valid.eq(line)
                m.next = "idle"
                # After a break the line has to come back first.
                with m.If(~line):
                    m.next = "break"
            with m.State("break"), m.If(line):
                m.next = "idle"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a serial line; 10 `divisor` cycles a byte, back-pressure honoured.

    Parameters
    ----------
    divisor : int, clock cycles of a bit, 4 to 2**20

    Members
    -------
    i : In(stream.Signature(8))
    tx : Out(1), the line, high when idle
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = _divisor(divisor)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        shift = Signal(9, init=0x1FF)
        wait, bits = Signal(range(self.divisor)), Signal(range(11))
        m.d.comb += [self.i.ready.eq(bits == 0), self.tx.eq(shift[0])]
        with m.If(bits == 0):
            with m.If(self.i.valid):
                m.d.sync += [
                    shift.eq(Cat(Const(0, 1), self.i.payload)),
                    bits.eq(10),
                    wait.eq(self.divisor - 1),
                ]
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Else():
            m.d.sync += [
                wait.eq(self.divisor - 1),
                shift.eq(Cat(shift[1:], Const(1, 1))),
                bits.eq(bits - 1),
            ]
        return m
