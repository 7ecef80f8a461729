"""Parameter memories: what they hold, and in which order the sequencer reads it."""

from collections.abc import Callable
from functools import partial

import numpy as np
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..model.integer import signed_width
from .operator import Part


def weight_words(weight: np.ndarray, bits: int, lanes: int, chunks: int) -> list[int]:
    """Memory words of codes [outputs, inputs]: output-major, then digit, then input.

    A word is `lanes` digits of ``bits / chunks`` bits, lane 0 lowest; the lowest digits of an
    output's weights come first. Lanes past the last input hold 0.
    """
    outputs, inputs = weight.shape
    width, steps = bits // chunks, -(-inputs // lanes)
    codes = np.zeros((outputs, chunks, steps * lanes), np.int64)
    for digit in range(chunks):
        codes[:, digit, :inputs] = (weight.astype(np.int64) >> (digit * width)) & ((1 << width) - 1)
    # Words may be wider than NumPy's integers.
    words = codes.reshape(-1, lanes).astype(np.int64 if lanes * width < 63 else object)
    return [int(word) for word in (words << (np.arange(lanes) * width).astype(words.dtype)).sum(1)]


def bias_words(bias: list[int], channel: list[int], width: int = 0) -> tuple[list[int], int, int]:
    """Words ``{shift, bias}``, and the widths of bias (signed, at least `width`) and shift (may be
    0)."""
    bias_width = max(width, signed_width(min(bias), max(bias)))
    shift_width = max(channel).bit_length()
    mask = (1 << bias_width) - 1
    words = [(b & mask) | (k << bias_width) for b, k in zip(bias, channel, strict=True)]
    return words, bias_width, shift_width


class Rom(wiring.Component):
    """A read-only memory with one synchronous read port.

    `data` shows the word of the `address` of the last cycle in which `enable` was set.

    Members
    -------
    address : In(range(depth))
    enable : In(1)
    data : Out(width)
    """

    def __init__(self, words: list[int], width: int) -> None:
        self.words, self.width = words, width
        super().__init__(
            {"address": In(range(max(2, len(words)))), "enable": In(1), "data": Out(width)}
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "Rom", len(self.words), self.width

    @classmethod
    def part(cls, depth: int, width: int, words: Callable[[], list[int]]) -> Part:
        """The component, not built yet; `words` gives its `depth` words when it is."""
        return Part(
            ("Rom", depth, width),
            f"Rom, {depth} words of {width} bits",
            partial(cls._made, words, width),
            partial(cls._contents, words, width),
        )

    @staticmethod
    def _contents(words: Callable[[], list[int]], width: int) -> list[tuple[list[int], int]]:
        return [(words(), width)]

    @classmethod
    def _made(cls, words: Callable[[], list[int]], width: int) -> "Rom":
        return cls(words(), width)

    def elaborate(self, platform) -> Module:
        m = Module()
        if hasattr(platform, "constant_memory"):
            mem = platform.constant_memory(self.words, self.width)
        else:
            shape = unsigned(self.width)
            mem = memory.Memory(shape=shape, depth=len(self.words), init=self.words)
        m.submodules.memory = mem
        port = mem.read_port()
        m.d.comb += [port.en.eq(self.enable), self.data.eq(port.data)]
        if len(self.words) > 1:
            m.d.comb += port.addr.eq(self.address)
        return m


class WeightMemory(wiring.Component):
    """A memory of parameters that is read as a :class:`Rom` is, and written word by word.

    Parameters
    ----------
    depth, width : int, words and bits of a word

    Members
    -------
    address, enable, data
        See :class:`Rom`.
    write_enable : In(1); write_address : In(range(depth)); write_data : In(width)
    """

    def __init__(self, depth: int, width: int) -> None:
        self.depth, self.width = depth, width
        addresses = range(max(2, depth))
        super().__init__(
            {
                "address": In(addresses),
                "enable": In(1),
                "data": Out(width),
                "write_enable": In(1),
                "write_address": In(addresses),
                "write_data": In(width),
            }
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "WeightMemory", self.depth, self.width

    @classmethod
    def part(cls, depth: int, width: int) -> Part:
        """Deferred form of the component."""
        return Part(
            ("WeightMemory", depth, width),
            f"WeightMemory, {depth} words of {width} bits",
            partial(cls, depth, width),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(self.width), depth=self.depth, init=[]
        )
        write, read = mem.write_port(), mem.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.data.eq(self.write_data),
            read.en.eq(self.enable),
            self.data.eq(read.data),
        ]
        if self.depth > 1:
            m.d.comb += [write.addr.eq(self.write_address), read.addr.eq(self.address)]
        return m


class CodeBuffer(wiring.Component):
    """A memory of `depth` words of `lanes` codes, written code by code, read word by word.

    Members
    -------
    write_enable : In(lanes), one per lane
    write_address, write_code : In
    read_enable, read_address : In
    data : Out, the word read in the last cycle in which `read_enable` was set, lane 0 lowest
    """

    def __init__(self, *, bits: int, lanes: int, depth: int) -> None:
        self.bits, self.lanes, self.depth = bits, lanes, depth
        super().__init__(
            {
                "write_enable": In(lanes),
                "write_address": In(range(max(2, depth))),
                "write_code": In(bits),
                "read_enable": In(1),
                "read_address": In(range(max(2, depth))),
                "data": Out(lanes * bits),
            }
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "CodeBuffer", self.bits, self.lanes, self.depth

    @classmethod
    def part(cls, *, bits: int, lanes: int, depth: int) -> Part:
        """The component, not built yet."""
        return Part(
            ("CodeBuffer", bits, lanes, depth),
            f"CodeBuffer, {depth} words of {lanes} codes of {bits} bits",
            partial(cls, bits=bits, lanes=lanes, depth=depth),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(self.lanes * self.bits), depth=self.depth, init=[]
        )
        # Amaranth's granularity is what one bit of the enable writes.
        write = mem.write_port(granularity=self.bits) if self.lanes > 1 else mem.write_port()
        read = mem.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.data.eq(Cat(self.write_code for _ in range(self.lanes))),
            read.en.eq(self.read_enable),
            self.data.eq(read.data),
        ]
        if self.depth > 1:
            m.d.comb += [write.addr.eq(self.write_address), read.addr.eq(self.read_address)]
        return m
