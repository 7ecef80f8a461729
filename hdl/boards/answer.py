"""A board's answer as a frame of bytes (:mod:`.protocol`)."""

from typing import Any

from amaranth import *
from amaranth.lib.crc import Processor

from ...model.integer import IntModel
from .protocol import IDENTITY_LENGTH, LABEL_LENGTH, SYNC, Status

#: Bytes before the payload, and of the longest frame; it ends in two bytes of CRC.
_HEAD = 3
_LONGEST = _HEAD + IDENTITY_LENGTH + 2


def identity_of(model: IntModel, who: str) -> bytes:
    """What a board tells of itself: `who`, eight bytes in hex, then features and classes."""
    sizes = (model.input_size, model.classes)
    return bytes.fromhex(who) + b"".join(size.to_bytes(2, "little") for size in sizes)


def _byte_at(
    m: Module,
    place: Signal,
    head: tuple[Any, ...],
    status: Value,
    identity: bytes,
    values: list[Value],
) -> Signal:
    """The frame's byte at `place`: of `head`, status included, then of the identity, or of the
    label and its cycles."""
    byte = Signal(8)
    with m.Switch(place):
        for k, value in enumerate(head):
            with m.Case(k):
                m.d.comb += byte.eq(value)
        for k, number in enumerate(identity):
            with m.Case(len(head) + k):
                m.d.comb += byte.eq(number)
                if k < len(values):
                    with m.If(status == Status.LABEL):
                        m.d.comb += byte.eq(values[k])
    return byte


def send_answer(
    m: Module,
    o: Value,
    crc: Processor,
    *,
    active: Value,
    status: Value,
    label: Value,
    cycles: Value,
    identity: bytes,
) -> tuple[Value, Signal]:
    """Send a frame on the stream `o` while `active`.

    Parameters
    ----------
    crc : has to take the bytes that are `sent`, and to start anew before the frame
    status, label, cycles : what the answer is; what is not asked for by `status` is left out
    identity : of :func:`identity_of`

    Returns
    -------
    done : whether the frame's last byte leaves in this cycle
    sent : whether one leaves that counts for the CRC
    """
    place = Signal(range(_LONGEST))
    length = Signal(4)
    with m.Switch(status):
        with m.Case(Status.LABEL):
            m.d.comb += length.eq(LABEL_LENGTH)
        with m.Case(Status.IDENTITY):
            m.d.comb += length.eq(IDENTITY_LENGTH)
        with m.Default():
            m.d.comb += length.eq(1)
    values = [label[:8], label[8:], *(cycles.word_select(k, 8) for k in range(3))]
    byte = _byte_at(m, place, (SYNC, length, 0, status), status, identity, values)

    after = Signal(range(_LONGEST))
    m.d.comb += after.eq(length + _HEAD)
    checksum = Signal(16)
    in_crc, ends = Signal(), Signal()
    m.d.comb += [in_crc.eq(place >= after), ends.eq(place == after + 1)]
    m.d.comb += [
        o.valid.eq(active),
        o.payload.eq(Mux(in_crc, Mux(ends, checksum[:8], crc.crc[8:]), byte)),
    ]
    sent = Signal()
    moved = o.valid & o.ready
    m.d.comb += sent.eq(moved & (place != 0) & ~in_crc)
    with m.If(moved):
        m.d.sync += place.eq(place + 1)
        with m.If(in_crc & ~ends):
            m.d.sync += checksum.eq(crc.crc)
        with m.If(ends):
            m.d.sync += place.eq(0)
    return moved & ends, sent
