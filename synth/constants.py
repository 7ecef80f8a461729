"""RTLIL of components, with the contents of large constant memories written as text.

Amaranth makes an object of every bit of a memory's contents: a GRU layer of 512 units and inputs
took 28 s of processor time, and takes 1.6 s. So constants are left out while it works, and put into
the text.
"""

import re
from collections.abc import Sequence
from typing import Any

from amaranth import unsigned
from amaranth.back import rtlil
from amaranth.hdl import MemoryData
from amaranth.lib import memory

#: Attribute of a memory that is to be filled: its number.
_MARK = "genogate_constants"
_MARKED = re.compile(rf"^ *attribute \\{_MARK} (\d+)\n", re.M)
_DATA = re.compile(r"(?<=connect \\DATA )\{ +\}|(?<=connect \\DATA )0'(?=\n)")


class Constants:
    """A platform whose constant memories are filled in the text.

    :meth:`constant_memory` is what :class:`~hdl.memories.Rom` asks for.
    """

    def __init__(self) -> None:
        self._contents: list[tuple[Sequence[int], int]] = []

    def constant_memory(self, words: Sequence[int], width: int) -> memory.Memory:
        """A memory of so many words, without them."""
        data = MemoryData(shape=unsigned(width), depth=len(words), init=[])
        data.name = "memory"
        # What Amaranth 0.5 writes the contents from.
        contents: Any = data.init
        contents._raw = []
        self._contents.append((words, width))
        return memory.Memory(data, attrs={_MARK: len(self._contents) - 1})

    def filled(self, text: str) -> str:
        """RTLIL with the contents in their places."""
        pieces, at = [], 0
        for mark in _MARKED.finditer(text):
            words, width = self._contents[int(mark[1])]
            place = _DATA.search(text, mark.end())
            assert place is not None
            bits = "".join(f"{word:0{width}b}" for word in reversed(words))
            pieces += [text[at : mark.start()], text[mark.end() : place.start()]]
            pieces.append(f"{len(words) * width}'{bits}")
            at = place.end()
        return "".join([*pieces, text[at:]])


def to_rtlil(component: Any, name: str) -> str:
    """RTLIL text of an Amaranth `component`, top module `name`."""
    platform = Constants()
    return platform.filled(rtlil.convert(component, name=name, platform=platform, emit_src=False))
