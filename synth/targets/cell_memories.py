"""What holds a network's bits in standard cells: flip-flops, latches, or macros of static RAM."""

import math
from dataclasses import dataclass

from ...model.errors import InputError


@dataclass(frozen=True)
class Macro:
    """A static RAM of one read-write and one read port. area_um2 : width times height in its LEF"""

    name: str
    words: int
    width: int
    area_um2: float


#: OpenRAM's macros for sky130: the SIZE lines of the LEF files that
#: https://github.com/VLSIDA/sky130_sram_macros publishes, one folder a macro.
MACROS = (
    Macro("sky130_sram_1kbyte_1rw1r_8x1024_8", 1024, 8, 455.3 * 446.46),
    Macro("sky130_sram_1kbyte_1rw1r_32x256_8", 256, 32, 479.78 * 397.5),
    Macro("sky130_sram_2kbyte_1rw1r_32x512_8", 512, 32, 683.1 * 416.54),
)


def macros_for(words: int, width: int) -> tuple[int, Macro]:
    """Number and kind of the macros that hold a memory in the least area."""

    def number(macro: Macro) -> int:
        return math.ceil(words / macro.words) * math.ceil(width / macro.width)

    best = min(MACROS, key=lambda macro: number(macro) * macro.area_um2)
    return number(best), best


#: Bits of a written memory above which its flip-flops are told by :mod:`.prices`: synthesis of
#: thousands takes minutes.
LARGE = 2048
#: What holds the bits of a network: constants as logic and state as flip-flops; state as latches;
#: or everything in macros.
MEMORIES = ("flops", "latches", "sram")
#: um^2 of cells of sky130_fd_sc_hd: flip-flop, multiplexer, latch, clock gate (``dfxtp_1``,
#: ``mux2_1``, ``dlxtp_1``, ``dlclkp_1``).
FLOP, _MUX, _LATCH, _GATE = 20.0192, 11.2608, 15.0144, 17.5168


def check_memories(target: str, memories: str) -> None:
    """Raises :class:`InputError` for what is no kind of memory, or not the target's."""
    if memories not in MEMORIES:
        raise InputError(f"memories {memories!r:.40}: not one of {' '.join(MEMORIES)}")
    if memories != "flops" and target != "sky130":
        raise InputError(
            f"--memories {memories}: for --target sky130; on {target} memories are what Yosys "
            "makes of them"
        )


def latch_um2(words: int, width: int, flops_um2: float) -> float:
    """Estimate of the area of a RAM as latches, from its area as flip-flops: a latch in place of
    every flip-flop and the multiplexer before it, and a clock gate a word."""
    saved = words * width * (FLOP + _MUX - _LATCH)
    return max(words * width * _LATCH, flops_um2 - saved + words * _GATE)
