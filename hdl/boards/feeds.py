"""Bytes of a frame on to the network's streams, as they come."""

from amaranth import *
from amaranth.lib.fifo import SyncFIFOBuffered

from ..gru.network import Network


def feed_features(
    m: Module,
    network: Network,
    *,
    data: Value,
    feed: Value,
    last: Value,
    restart: Value,
    room: int = 1,
) -> tuple[Value, Signal]:
    """Hand features on, a byte each. Bytes wait until the network takes them: one in a register,
    more in a memory.

    Parameters
    ----------
    room : how many may wait
    data, feed, last : a byte, whether it is a feature that comes now, and the sequence's last
    restart : forget what waits

    Returns
    -------
    overrun : whether a feature that comes now would overwrite one that waits
    counting : from the last feature's taking until its class is taken
    """
    code, pending, ends = Signal(8), Signal(), Signal(name="last")
    counting = Signal()
    taken = pending & network.i.ready
    if room == 1:
        overrun = pending & ~taken
        with m.If(taken):
            m.d.sync += pending.eq(0)
        with m.If(feed):
            m.d.sync += [code.eq(data), ends.eq(last), pending.eq(1)]
        with m.If(restart):
            m.d.sync += pending.eq(0)
    else:
        waiting = SyncFIFOBuffered(width=9, depth=room)
        m.submodules.waiting = ResetInserter(restart)(waiting)
        overrun = ~waiting.w_rdy
        m.d.comb += [
            waiting.w_data.eq(Cat(data, last)),
            waiting.w_en.eq(feed),
            waiting.r_en.eq(taken),
            Cat(code, ends).eq(waiting.r_data),
            pending.eq(waiting.r_rdy),
        ]
    with m.If(taken & ends):
        m.d.sync += counting.eq(1)
    with m.If(network.o_class.valid & network.o_class.ready):
        m.d.sync += counting.eq(0)
    with m.If(restart):
        m.d.sync += counting.eq(0)
    m.d.comb += [
        network.i.payload.code.eq(code.as_signed()),
        network.i.payload.last.eq(ends),
        network.i.valid.eq(pending),
    ]
    return overrun, counting


def feed_words(
    m: Module, network: Network, *, data: Value, feed: Value, restart: Value
) -> tuple[Value, Value]:
    """Hand words of weights on, each in whole bytes, low first.

    Parameters
    ----------
    data, feed : a byte, and whether it is one of weights that comes now
    restart : forget the word

    Returns
    -------
    overrun : whether a byte that comes now comes while the word before it waits
    ends : whether it is a word's last
    """
    words = network.i_weights
    number = -(-len(words.payload) // 8)
    place, pending = Signal(range(max(2, number))), Signal(name="word_pending")
    word = Signal(8 * number, name="weight_word")
    ends = Signal(name="word_ends")
    m.d.comb += [
        ends.eq(place == number - 1),
        words.payload.eq(word),
        words.valid.eq(pending),
    ]
    with m.If(words.ready):
        m.d.sync += pending.eq(0)
    with m.If(feed):
        m.d.sync += [
            word.eq(Cat(word, data)[8:]),
            place.eq(Mux(ends, 0, place + 1)),
            pending.eq(ends),
        ]
    with m.If(restart):
        m.d.sync += [pending.eq(0), place.eq(0)]
    return pending & ~words.ready, ends
