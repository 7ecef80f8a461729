"""The memories inside parts, with what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ...hdl.operator import Part
from .memories import ram_features, rom_features


@dataclass(frozen=True)
class Store:
    """A memory inside a part. words : its contents, None for one that is written"""

    words: Sequence[int] | None
    depth: int
    width: int

    @property
    def features(self) -> list[float]:
        """As :mod:`.memories` has them."""
        if self.words is None:
            return ram_features(self.depth, self.width)
        return rom_features(self.words, self.width)


def memories_of(part: Part) -> list[Store]:
    """The memories of a part, with what they hold."""
    stores = [Store(words, len(words), width) for words, width in part.contents()]
    kind, *rest = cast(tuple[Any, ...], part.identity)
    if kind in ("CodeBuffer", "StateMemory"):
        bits, lanes, depth, *_ = rest
        stores.append(Store(None, depth, bits * lanes))
    elif kind == "StateCopy":
        stores.append(Store(None, rest[1], rest[0]))
    elif kind == "WeightMemory":
        stores.append(Store(None, *rest))
    elif kind == "Classifier" and rest[-1] == "load":
        (classes, inputs), _, digit, _, bias, _, _, chunks, *_ = rest
        stores += [Store(None, classes * inputs * chunks, digit), Store(None, classes, bias)]
    return stores
