"""A vector of codes in a memory: stored as it comes, then read as often as its owner asks."""

from typing import Any

from amaranth import *

from .memories import CodeBuffer


class VectorStore:
    """Stores the vector that comes over stream `i` and hands it on, element by element.

    The next vector comes in while this one is read for the last time, into the words already read.

    Parameters
    ----------
    i : stream with fields ``code`` and ``last``
    bits : width of a code
    depth : words, the greatest length
    fixed : all vectors have `depth` elements, and ``last`` is not looked at; else a vector ends
        with its ``last``, or with as many elements as there are words

    Members
    -------
    taken, first, code : an element comes in; it is a vector's first; its code
    full : a whole vector is stored
    accept : set in a cycle with `full`, before the first reading
    start : set to read the vector from its first element on; `release` with the last such time
    enable : moves the reading on
    word, valid, last : the element read, one `enable` after its address
    """

    def __init__(self, m: Module, i: Any, *, bits: int, depth: int, fixed: bool) -> None:
        m.submodules.store = memory = CodeBuffer(bits=bits, lanes=1, depth=depth)
        write, read = Signal(range(depth)), Signal(range(depth))
        reading, ended = Signal(), Signal()
        self.full, self.accept, self.start = Signal(name="full"), Signal(), Signal()
        self.release, self.enable = Signal(name="release"), Signal(name="enable")
        self.valid, self.last = Signal(name="valid1"), Signal(name="last1", reset_less=True)
        self.code, self.taken = i.payload.code, Signal(name="taken")
        self.first, self.word = write == 0, memory.data.as_signed()

        m.d.comb += ended.eq(write == depth - 1)
        end: Value = Const(depth - 1)
        if not fixed:
            m.d.comb += ended.eq(i.payload.last | (write == depth - 1))
            newest, end = (Signal(range(depth), reset_less=True) for _ in range(2))
            with m.If(self.taken):
                m.d.sync += newest.eq(write)
            with m.If(self.accept):
                m.d.sync += end.eq(newest)

        m.d.comb += [
            i.ready.eq(~self.full & (~reading | (write < read))),
            self.taken.eq(i.valid & i.ready),
            memory.write_enable.eq(self.taken),
            memory.write_address.eq(write),
            memory.write_code.eq(self.code),
            memory.read_enable.eq(self.enable),
            memory.read_address.eq(read),
        ]
        with m.If(self.taken):
            m.d.sync += write.eq(Mux(ended, 0, write + 1))
        with m.If(self.taken & ended):
            m.d.sync += self.full.eq(1)
        with m.If(self.release):
            m.d.sync += self.full.eq(0)
        with m.If(self.enable):
            m.d.sync += [self.valid.eq(reading), self.last.eq(read == end)]
            with m.If(reading):
                m.d.sync += [read.eq(read + 1), reading.eq(read != end)]
        with m.If(self.start):
            m.d.sync += [read.eq(0), reading.eq(1)]
