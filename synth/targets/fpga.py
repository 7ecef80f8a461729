"""Resources of a network on an FPGA: every operator and every memory apart, and the whole.

Yosys maps each part to the cells of a family (``synth_ice40``, ``synth_ecp5``, ``synth_gowin``);
what it wrote as JSON is counted. A part is measured once: the cache's key is its RTLIL with the
contents of its memories, the command, and the version of Yosys.
"""

import gc
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.lib import wiring

from ...hdl.operator import Part
from ...model.errors import InputError
from .. import cache
from ..constants import to_rtlil
from ..rtlil import Design, memory_sizes
from ..yosys import Job, Progress, Tool, run
from ..yosys import find as find_yosys
from .devices import Device

#: Order of the figures of a part: 4-input LUTs (those of carry chains and LUT RAM among them),
#: flip-flops, carry cells, block RAMs, DSP blocks, and bits of the memories in block RAM.
FIGURES = ("lut", "ff", "carry", "ram", "dsp", "memory_bits")

#: How much of each figure a cell takes, by family; what is not here takes nothing.
_CELLS: Mapping[str, tuple[tuple[str, dict[str, int]], ...]] = {
    "ice40": (
        ("SB_LUT4", {"lut": 1}),
        ("SB_DFF.*", {"ff": 1}),
        ("SB_CARRY", {"carry": 1}),
        ("SB_RAM40_4K.*", {"ram": 1}),
        ("SB_MAC16", {"dsp": 1}),
    ),
    "ecp5": (
        ("LUT4", {"lut": 1}),
        ("CCU2C", {"lut": 2, "carry": 1}),
        # A 16 x 4 memory: four LUTs that hold it, and two for its write port.
        ("TRELLIS_DPR16X4", {"lut": 6}),
        ("TRELLIS_FF", {"ff": 1}),
        ("DP16KD|PDPW16KD", {"ram": 1}),
        ("MULT18X18D", {"dsp": 1}),
    ),
    "gowin": (
        ("LUT[1-4]", {"lut": 1}),
        ("ALU", {"lut": 1, "carry": 1}),
        ("RAM16SDP4|RAM16S4", {"lut": 4}),
        ("RAM16SDP2|RAM16S2", {"lut": 2}),
        ("RAM16SDP1|RAM16S1", {"lut": 1}),
        ("DFF.*", {"ff": 1}),
        ("SP|SPX9|SDPB|SDPX9B|DPB|DPX9B|pROM|pROMX9", {"ram": 1}),
        ("MULT9X9", {"dsp": 1}),
        ("MULT18X18", {"dsp": 2}),
        ("MULT36X36", {"dsp": 8}),
    ),
}
#: Cells that are neither logic nor memory: buffers of pins, constants, multiplexers that belong
#: to a pair of LUTs, notes about hierarchy.
_FREE = re.compile(
    r"\$scopeinfo|GND|VCC|GSR|IBUF|OBUF|IOBUF|TBUF|INV|MUX2_LUT\d|MUX2_MUX\d|MUX2|PFUMX|L6MUX21"
)

_SCRIPT = """read_rtlil unit.il
hierarchy -check -top top
{synth}
opt_clean -purge
tee -q -o stat.json stat -json
"""


@dataclass(frozen=True)
class Resources:
    """What a part takes of an FPGA; see :data:`FIGURES`."""

    lut: int = 0
    ff: int = 0
    carry: int = 0
    ram: int = 0
    dsp: int = 0
    memory_bits: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*(getattr(self, f) + getattr(other, f) for f in FIGURES))


def command(device: Device) -> str:
    """The Yosys command that maps to `device` without buffers for pins."""
    return device.synth + (" -noiopads" if device.family == "gowin" else "")


def part_text(part: Part | wiring.Component) -> str:
    """Comparable RTLIL of a part, contents of its memories included."""
    collects = gc.isenabled()
    gc.disable()
    try:
        component = part.build() if isinstance(part, Part) else part
        design = Design(to_rtlil(component, "top"))
        return design.unit(design.top, contents=True)
    finally:
        if collects:
            gc.enable()


def _memory_bits(text: str) -> int:
    """Bits of all memories of a part that has one module more than once nowhere."""
    return sum(words * width for words, width in memory_sizes(text.splitlines()))


def _key(tool: Tool, device: Device, text: str) -> str:
    words = ("fpga", tool.version, command(device), _SCRIPT, repr(_CELLS[device.family]), text)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def version(device: Device) -> str:
    """Changes whenever figures may for the same Yosys."""
    words = (command(device), _SCRIPT, repr(_CELLS[device.family]))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:10]


def count(tool: Tool, device: Device, statistics: str, bits: int = 0) -> Resources:
    """Resources by what ``stat -json`` wrote. `bits` : those of the memories of the part."""
    try:
        types = json.loads(statistics)["design"]["num_cells_by_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{tool.version} wrote no statistic that can be read ({error})") from None
    total = dict.fromkeys(FIGURES, 0)
    for cell, number in types.items():
        weights = next((w for p, w in _CELLS[device.family] if re.fullmatch(p, cell)), None)
        if weights is None and not _FREE.fullmatch(cell):
            raise InputError(f"{tool.version} left a cell that {device.name} does not have: {cell}")
        for figure, weight in (weights or {}).items():
            total[figure] += weight * int(number)
    if total["ram"]:
        total["memory_bits"] = bits
    return Resources(**total)


def recall(device: Device, texts: Sequence[str]) -> list[Resources | None]:
    """Resources of texts (:func:`part_text`) that were measured before, None for the others."""
    tool = find_yosys()
    rows = [cache.load(_key(tool, device, text), FIGURES) for text in texts]
    return [None if row is None else Resources(**row) for row in rows]


def measure(
    device: Device,
    parts: Sequence[Part | wiring.Component | str],
    names: Sequence[str],
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Resources]:
    """Resources of each part (or of its text, see :func:`part_text`) on `device`.

    `names` are for messages. Raises :class:`InputError` where Yosys is missing or fails.
    """
    tool = find_yosys()
    texts = [part if isinstance(part, str) else part_text(part) for part in parts]
    places: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        places.setdefault(_key(tool, device, text), []).append(number)
    results: dict[str, Resources] = {}
    jobs, keys = [], []
    for key, (first, *_) in places.items():
        values = cache.load(key, FIGURES)
        if values is not None:
            results[key] = Resources(**values)
            continue
        keys.append(key)
        jobs.append(
            Job(
                names[first],
                {"unit.il": texts[first]},
                _SCRIPT.format(synth=command(device)),
                ("stat.json",),
            )
        )

    def done(number: int, outputs: dict[str, str]) -> None:
        key = keys[number]
        bits = _memory_bits(texts[places[key][0]])
        results[key] = count(tool, device, outputs["stat.json"], bits)
        cache.store(key, vars(results[key]))

    run(tool, jobs, progress=progress, done=done, workers=workers)
    order = {number: key for key, numbers in places.items() for number in numbers}
    return [results[order[number]] for number in range(len(texts))]
