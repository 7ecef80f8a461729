"""What fills the memories of weights that are loaded: the loader, and the ports of its memories."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..operator import Part
from .counters import Counter


def load_signature(count: int, addresses: int, width: int) -> wiring.Signature:
    """Ports through which `count` memories are filled, as their owner has them.

    enable : In(count), write into that memory; address : In; data : In(width)
    """
    return wiring.Signature({"enable": In(count), "address": In(addresses), "data": In(width)})


def fill(m: Module, port: Any, memories: Sequence[Any]) -> None:
    """Connect the write ports of `memories` to `port`, of :func:`load_signature`."""
    for number, memory in enumerate(memories):
        m.d.comb += [
            memory.write_enable.eq(port.enable[number]),
            memory.write_address.eq(port.address),
            memory.write_data.eq(port.data),
        ]


class Loader(wiring.Component):
    """Fills the parameter memories, and keeps features out meanwhile.

    After reset features wait until every word has been taken. A word that is offered later begins
    another load: features of the next sequence wait, the sequences in the network are answered,
    and then words are taken, all of them, before features are again. So no sequence is ever
    computed with weights of two loads.

    Parameters
    ----------
    depths : words of each memory
    width : bits of a word
    most : sequences in the network at most; the next one waits

    Members
    -------
    words : In(stream.Signature(width)), the words of all memories, in order
    enable : Out(len(depths)), address, data : Out; of :func:`load_signature`
    i_valid, i_last, i_ready : In(1), of the features outside, and the network's ready
    valid, ready : Out(1), of the features to the network, and the ready outside
    answered : In(1), the last word of a sequence's answer is taken
    loaded : Out(1), all words have been taken
    """

    def __init__(self, depths: Sequence[int], width: int, most: int) -> None:
        self.depths, self.width, self.most = tuple(depths), width, most
        super().__init__(
            {
                "words": In(stream.Signature(width)),
                "enable": Out(len(self.depths)),
                "address": Out(address_bits(self.depths)),
                "data": Out(width),
                **{name: In(1) for name in ("i_valid", "i_last", "i_ready", "answered")},
                **{name: Out(1) for name in ("valid", "ready", "loaded")},
            }
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "Loader", self.depths, self.width, self.most

    @classmethod
    def part(cls, depths: Sequence[int], width: int, most: int) -> Part:
        """Deferred form of the component."""
        depths = tuple(depths)
        return Part(
            ("Loader", depths, width, most),
            f"Loader of {sum(depths)} words of {width} bits",
            partial(cls, depths, width, most),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        words, count = self.words, len(self.depths)
        taken, full = Signal(), Signal()
        memory = Counter(m, "memory", count, taken & full)
        address = Signal(len(self.address))
        ends = [Const(depth - 1, len(address)) for depth in self.depths]
        # Verilog has no case of a value without bits.
        last = Array(ends)[memory.value] if count > 1 else ends[0]
        inside = Signal()  # a sequence has begun, and not ended
        pending = Signal(range(self.most + 1))  # sequences that ended and are not answered
        entered = self.valid & self.i_ready
        open_ = self.loaded & (inside | ~words.valid) & (pending != self.most)
        m.d.comb += [
            words.ready.eq(~self.loaded | (~inside & (pending == 0))),
            taken.eq(words.valid & words.ready),
            full.eq(address == last),
            self.enable.eq(taken.replicate(count) & (1 << memory.value)),
            self.address.eq(address),
            self.data.eq(words.payload),
            self.valid.eq(self.i_valid & open_),
            self.ready.eq(self.i_ready & open_),
        ]
        with m.If(taken):
            m.d.sync += [
                address.eq(Mux(full, 0, address + 1)),
                self.loaded.eq(full & memory.last),
            ]
        with m.If(entered):
            m.d.sync += inside.eq(~self.i_last)
        m.d.sync += pending.eq(pending + (entered & self.i_last) - self.answered)
        return m


def address_bits(depths: Sequence[int]) -> int:
    """Width of an address of memories of so many words."""
    return max(1, (max(depths) - 1).bit_length())
