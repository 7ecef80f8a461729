"""Memories on a target before anything is synthesised: block RAMs by the family's geometry, and
what shapes a memory in logic (word count, width, entropy of the contents)."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Blocks:
    """Block RAMs of a family as Yosys' ``memory_libmap`` sees them.

    modes : width of a word -> words
    cost : what a block counts for against :data:`LOGIC_ROM` and `ram` a bit
    ram : cost of a bit of a memory that is written, outside block RAM: as flip-flops 1, as LUT RAM
        4 for 16 words of 4 bits
    """

    modes: Mapping[int, int]
    cost: float
    ram: float


#: Cost of a constant bit in logic.
LOGIC_ROM = 1 / 16
_KBIT_16 = Blocks({1: 16384, 2: 8192, 4: 4096, 9: 2048, 18: 1024, 36: 512}, 128, 1 / 16)
#: By family, from the memory libraries of Yosys 0.70.
BLOCKS = {
    "ice40": Blocks({2: 2048, 4: 1024, 8: 512, 16: 256}, 64, 1.0),
    "ecp5": _KBIT_16,
    "gowin": _KBIT_16,
}


@lru_cache(maxsize=4096)
def _least(family: str, words: int, width: int) -> int:
    """Fewest blocks that hold a memory: its words are cut into slices, several of which may lie
    side by side in a word of a block."""
    return min(
        math.ceil(width / piece) * math.ceil(words / (depth * (wide // piece)))
        for wide, depth in BLOCKS[family].modes.items()
        for piece in range(1, min(wide, width) + 1)
    )


def block_rams(family: str, words: int, width: int, *, written: bool) -> int:
    """Block RAMs that Yosys gives to a memory; 0 where logic, or LUT RAM, is cheaper."""
    blocks, number = BLOCKS[family], _least(family, words, width)
    if not written:
        logic = words * width * LOGIC_ROM
    elif family == "ice40":
        logic = words * width * blocks.ram
    else:
        logic = 4.0 * math.ceil(words / 16) * math.ceil(width / 4)
    return number if logic > number * blocks.cost else 0


def entropy(words: Sequence[int]) -> float:
    """Bits of Shannon's entropy of a word."""
    count = len(words)
    return -sum(n / count * math.log2(n / count) for n in Counter(words).values()) if count else 0.0


def rom_features(words: Sequence[int], width: int) -> list[float]:
    """What the logic of a ROM depends on: bits, entropy, and size of the decoder."""
    count = len(words)
    address = max(1.0, math.log2(count))
    information = entropy(words)
    return [
        1.0,
        width,
        count * width,
        count * information,
        count * information / address,
        count,
        width * address,
        (count * width) ** 0.5,
    ]


def ram_features(words: int, width: int) -> list[float]:
    """What a RAM depends on."""
    return [1.0, width, words * width, words, max(1.0, math.log2(words)) * width]


@cache
def _flip_flop_coefficients() -> tuple[float, ...]:
    document = json.loads(Path(__file__).with_name("prices.json").read_text())
    return tuple(document["targets"]["sky130"]["coefficients"]["um2"]["ram"])


def flip_flop_um2(words: int, width: int) -> float:
    """Area on sky130 of a memory that is written, as flip-flops, by the model of
    :mod:`.prices`."""
    pairs = zip(_flip_flop_coefficients(), ram_features(words, width), strict=True)
    return max(0.0, sum(coefficient * feature for coefficient, feature in pairs))
