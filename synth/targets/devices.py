"""The parts that a network can be measured for: their sizes, and how to synthesise for them."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...model.errors import InputError


@dataclass(frozen=True)
class Device:
    """An FPGA.

    name : as ``--target`` takes it
    part : what it is called by its maker
    family : ``ice40``, ``ecp5`` or ``gowin``
    synth : the Yosys command that maps to it
    limits : resource -> how many there are: lut, ff, ram (block RAMs), dsp (of Gowin's, multipliers
        of 9 x 9 bits)
    ram_bits : bits of a block RAM
    nextpnr, nextpnr_options : the tool that places and routes, and the options that name the part
    pins : pins for a clock, a reset, an input and an output, where the tool does not choose some
    """

    name: str
    part: str
    family: str
    synth: str
    limits: Mapping[str, int]
    ram_bits: int
    nextpnr: str
    nextpnr_options: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()


_ICE40 = "synth_ice40 -device {} -dsp -top top"
_ICE40_HX = "synth_ice40 -device {} -top top"

_DEVICES = (
    Device(
        "ice40-up5k",
        "iCE40UP5K-SG48",
        "ice40",
        _ICE40.format("u"),
        {"lut": 5280, "ff": 5280, "ram": 30, "dsp": 8},
        4096,
        "nextpnr-ice40",
        ("--up5k", "--package", "sg48"),
    ),
    Device(
        "ice40-hx1k",
        "iCE40HX1K-TQ144",
        "ice40",
        _ICE40_HX.format("hx"),
        {"lut": 1280, "ff": 1280, "ram": 16, "dsp": 0},
        4096,
        "nextpnr-ice40",
        ("--hx1k", "--package", "tq144"),
    ),
    Device(
        "ice40-hx8k",
        "iCE40HX8K-CT256",
        "ice40",
        _ICE40_HX.format("hx"),
        {"lut": 7680, "ff": 7680, "ram": 32, "dsp": 0},
        4096,
        "nextpnr-ice40",
        ("--hx8k", "--package", "ct256"),
    ),
    Device(
        "ecp5-25k",
        "LFE5U-25F-6BG256",
        "ecp5",
        "synth_ecp5 -top top",
        {"lut": 24288, "ff": 24288, "ram": 56, "dsp": 28},
        18432,
        "nextpnr-ecp5",
        ("--25k", "--package", "CABGA256", "--speed", "6"),
    ),
    Device(
        "ecp5-85k",
        "LFE5U-85F-6BG381",
        "ecp5",
        "synth_ecp5 -top top",
        {"lut": 83640, "ff": 83640, "ram": 208, "dsp": 156},
        18432,
        "nextpnr-ecp5",
        ("--85k", "--package", "CABGA381", "--speed", "6"),
    ),
    Device(
        "gowin-gw1n-9",
        "GW1NR-LV9QN88PC6/I5 (Tang Nano 9K)",
        "gowin",
        "synth_gowin -family gw1n -top top",
        {"lut": 8640, "ff": 6480, "ram": 26, "dsp": 40},
        18432,
        "nextpnr-himbaechel",
        ("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
        ("52", "4", "18", "17"),
    ),
    Device(
        "gowin-gw2a-18",
        "GW2A-LV18PG256C8/I7 (Tang Primer 20K)",
        "gowin",
        "synth_gowin -family gw2a -top top",
        {"lut": 20736, "ff": 15552, "ram": 46, "dsp": 96},
        18432,
        "nextpnr-himbaechel",
        ("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18"),
        ("H11", "T10", "T13", "M11"),
    ),
)

#: FPGAs by their name.
DEVICES = {device.name: device for device in _DEVICES}
#: All that ``--target`` takes.
TARGETS = ("generic", *DEVICES, "sky130")


def check_target(name: str) -> str:
    """`name`, if it is a target. Raises :class:`InputError` otherwise."""
    if name not in TARGETS:
        raise InputError(f"target {name!r:.40}: not one of {' '.join(TARGETS)}")
    return name
