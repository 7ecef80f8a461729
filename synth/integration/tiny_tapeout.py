"""A project folder as Tiny Tapeout takes it: sources, information, documentation, a cocotb test."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...hdl.gru.design import Design
from ...hdl.wrappers.tiny_tapeout import PINS, TinyTapeoutNetwork
from ...model.errors import InputError
from ...sim.golden import run
from ..asic.models import cell_models
from ..cells.latches import latch_cells
from ..cells.liberty import Library
from ..cells.register_files import as_latches
from ..cells.roms import grouped
from ..verilog import to_verilog

#: A tile, um, and the share of it that cells may take.
TILE_UM = (160.0, 100.0)
DENSITY = 0.6
#: Shapes that projects may have, columns x rows, the smallest first.
SHAPES = ("1x1", "1x2", "2x2", "3x2", "4x2", "6x2", "8x2")
_NAME = re.compile(r"tt_um_[a-z][a-z0-9_]{0,50}")


@dataclass(frozen=True)
class Project:
    """What the user says of a project. top : module name; clock_ns : the period"""

    top: str
    title: str
    author: str
    clock_ns: float

    def check(self) -> None:
        """Raises :class:`InputError` for what Tiny Tapeout would not take."""
        if not _NAME.fullmatch(self.top):
            raise InputError(
                f"name {self.top!r:.60}: it must be tt_um_ and lower-case letters, digits or _"
            )
        for what, text in (("title", self.title), ("author", self.author)):
            if not text.strip() or not text.isprintable():
                raise InputError(f"{what} {text!r:.60}: it must be a line of text")
        if not 5 <= self.clock_ns <= 1e6:
            raise InputError(f"clock: {1e3 / self.clock_ns:g} MHz is not within 0.001 to 200")


def tiles_for(area_um2: float) -> int:
    """Tiles whose cells, at :data:`DENSITY`, have `area_um2`. An estimate, no layout."""
    return math.ceil(area_um2 / (DENSITY * TILE_UM[0] * TILE_UM[1]))


def shape_for(area_um2: float) -> str:
    """The smallest shape with so many tiles. Raises :class:`InputError` where the largest is too
    small."""
    tiles = tiles_for(area_um2)
    for shape in SHAPES:
        if math.prod(map(int, shape.split("x"))) >= tiles:
            return shape
    raise InputError(
        f"{area_um2:,.0f} um2 of cells need {tiles} tiles at {DENSITY:.0%} density, a project has "
        "16 at most: give fewer bits, fewer units or --share all"
    )


def info_yaml(project: Project, shape: str, description: str) -> str:
    """``info.yaml``, version 6 of its format."""
    # JSON strings are YAML strings.
    pins = [f'  ui[{k}]: "in_data[{k}]"' for k in range(8)]
    pins += [f'  uo[{k}]: "out_data[{k}]"' for k in range(8)]
    pins += [f'  uio[{k}]: "{name}"' for k, (name, _) in enumerate(PINS)]
    return "\n".join(
        [
            "# The shape is an estimate from the area of the cells, without a layout.",
            "project:",
            f"  title: {json.dumps(project.title)}",
            f"  author: {json.dumps(project.author)}",
            '  discord: ""',
            f"  description: {json.dumps(description)}",
            '  language: "Amaranth"',
            f"  clock_hz: {round(1e9 / project.clock_ns)}",
            f'  tiles: "{shape}"',
            f'  top_module: "{project.top}"',
            "  source_files:",
            '    - "project.v"',
            "pinout:",
            *pins,
            "yaml_version: 6",
            "",
        ]
    )


def config_json(clock_ns: float) -> str:
    """``src/config.json``: settings of the hardening flow that a tile needs."""
    settings = {
        "PL_TARGET_DENSITY_PCT": round(100 * DENSITY),
        "CLOCK_PERIOD": clock_ns,
        "CLOCK_PORT": "clk",
        "PL_RESIZER_HOLD_SLACK_MARGIN": 0.1,
        "GRT_RESIZER_HOLD_SLACK_MARGIN": 0.05,
        "RUN_LINTER": 1,
        "LINTER_INCLUDE_PDK_MODELS": 1,
        "RUN_KLAYOUT_XOR": 0,
        "RUN_KLAYOUT_DRC": 0,
        "DESIGN_REPAIR_BUFFER_OUTPUT_PORTS": 0,
        "TOP_MARGIN_MULT": 1,
        "BOTTOM_MARGIN_MULT": 1,
        "LEFT_MARGIN_MULT": 6,
        "RIGHT_MARGIN_MULT": 6,
        "FP_SIZING": "absolute",
        "GRT_ALLOW_CONGESTION": 1,
        "FP_IO_HLENGTH": 2,
        "FP_IO_VLENGTH": 2,
        "FP_PDN_VPITCH": 38.87,
        "RUN_CTS": 1,
        "FP_PDN_MULTILAYER": 0,
    }
    return json.dumps(settings, indent=2) + "\n"


_INFO = """\
## How it works

{description}. Features go in step by
step, and the network keeps a state between steps. It computes with integers; all weights are
constants. The bit widths of its operators are genome `{genome}` of Genogate, whose golden model
gives the same bits (model hash `{hash}`).

A packet of bytes is a sequence: {features} features a step, signed, in the low {bits} bits of a
byte, steps in order, and `in_last` with the last byte. The answer is a packet of two bytes: 0, then
the class (with more than 256 classes three bytes, low byte first). A packet that is no whole number
of steps gets the single byte 1, and leaves no trace. A step takes {cycles:,} clock cycles.

## How to test

A byte moves on a rising edge of `clk` with both `valid` and `ready` high.

| pins | meaning |
|---|---|
| `ui[7:0]` | byte of the packet |
| `uio[0]` | `in_valid`, input |
| `uio[1]` | `in_last`, input |
| `uio[3]` | `in_ready`, output |
| `uo[7:0]` | byte of the answer |
| `uio[4]` | `out_valid`, output |
| `uio[5]` | `out_last`, output |
| `uio[2]` | `out_ready`, input |
| `uio[6]` | `busy`, output, from the first byte of a packet to the last of its answer |

Hold `rst_n` low for 4 cycles first. `test/vectors.json` holds packets and the answers to them;
`make -C test` runs them, with random pauses.

## External hardware

None but what sends the features: a microcontroller with enough pins.
"""

_LATCHES = """
## Latches

Input and state are kept in latches (`project.v` instantiates the cells `{latch}` and
`{gate}`), which are smaller than flip-flops. A word is written in the low phase of `clk`; its pulse
is the NOR of `clk` and a decoder that settles while `clk` is high.
"""

_TB = """\
`default_nettype none
`timescale 1ns / 1ps
// Instance of the project for the cocotb test; driven from test.py.
module tb ();
  reg clk = 0, rst_n = 0, ena = 1;
  reg [7:0] ui_in = 0, uio_in = 0;
  wire [7:0] uo_out, uio_out, uio_oe;
  {top} user_project (
`ifdef USE_POWER_PINS
    .VPWR(1'b1), .VGND(1'b0),
`endif
    .ui_in(ui_in), .uo_out(uo_out), .uio_in(uio_in), .uio_out(uio_out), .uio_oe(uio_oe),
    .ena(ena), .clk(clk), .rst_n(rst_n));
endmodule
"""

_MAKEFILE = """\
# make            the source
# make GATES=yes  gate_level_netlist.v, with the PDK's cells; CELLS=cells.v gives others
SIM ?= icarus
TOPLEVEL_LANG ?= verilog
PDK ?= sky130A
CELL_MODELS = $(PDK_ROOT)/$(PDK)/libs.ref/sky130_fd_sc_hd/verilog

ifneq ($(GATES),yes)
SIM_BUILD = sim_build/rtl
VERILOG_SOURCES += $(CURDIR)/../src/project.v
# Models of the cells that the source instantiates, where it has latches.
VERILOG_SOURCES += $(wildcard $(CURDIR)/latch_cells.v)
else
SIM_BUILD = sim_build/gl
ifeq ($(CELLS),)
COMPILE_ARGS += -DGL_TEST -DFUNCTIONAL -DUSE_POWER_PINS -DSIM -DUNIT_DELAY=\\#1
VERILOG_SOURCES += $(CELL_MODELS)/primitives.v $(CELL_MODELS)/sky130_fd_sc_hd.v
else
VERILOG_SOURCES += $(CELLS)
endif
VERILOG_SOURCES += $(CURDIR)/gate_level_netlist.v
endif

VERILOG_SOURCES += $(CURDIR)/tb.v
TOPLEVEL = tb
COCOTB_TEST_MODULES = test
# The name of the same before cocotb 2.
MODULE = test

include $(shell cocotb-config --makefiles)/Makefile.sim
"""

_TEST = '''\
"""Packets through the pins: every answer must be the golden model's."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

PERIOD_NS = {period}
VALID, LAST, READY = 1, 2, 4
OUT_READY, OUT_VALID, OUT_LAST = 8, 16, 32
CASES = json.loads((Path(__file__).parent / "vectors.json").read_text())["cases"]


class Pins:
    """The clock, and what moves in a cycle."""

    def __init__(self, dut, stall):
        self.dut, self.stall, self.random = dut, stall, random.Random(2026)
        self.bytes, self.answer = [], []

    async def cycle(self):
        """One clock cycle; a byte may go in, and one may come out."""
        dut, controls = self.dut, 0
        offered = bool(self.bytes) and (self.held or self.random.random() >= self.stall)
        if offered:
            data, last = self.bytes[0]
            dut.ui_in.value = data
            controls |= VALID | (LAST if last else 0)
        taking = self.random.random() >= self.stall
        dut.uio_in.value = controls | (READY if taking else 0)
        await Timer(PERIOD_NS / 2, unit="ns")
        out = int(dut.uio_out.value)
        if offered and out & OUT_READY:
            self.bytes.pop(0)
        self.held = offered and not out & OUT_READY
        if taking and out & OUT_VALID:
            self.answer.append((int(dut.uo_out.value), bool(out & OUT_LAST)))
        dut.clk.value = 1
        await Timer(PERIOD_NS / 2, unit="ns")
        dut.clk.value = 0

    async def reset(self):
        self.held = False
        self.dut.ena.value, self.dut.clk.value, self.dut.rst_n.value = 1, 0, 0
        for _ in range(8):
            await self.cycle()
        self.dut.rst_n.value = 1
        for _ in range(4):
            await self.cycle()
        self.answer.clear()

    async def ask(self, codes):
        """The answer to a packet."""
        self.bytes = [(code & 255, k == len(codes) - 1) for k, code in enumerate(codes)]
        self.answer.clear()
        for _ in range({limit}):
            await self.cycle()
            if self.answer and self.answer[-1][1]:
                return [byte for byte, _ in self.answer]
        raise AssertionError("no answer")


@cocotb.test()
async def every_answer_is_right(dut):
    for stall in (0, 0.3):
        pins = Pins(dut, stall)
        await pins.reset()
        for number, case in enumerate(CASES):
            got = await pins.ask(case["packet"])
            assert got == case["answer"], f"case {{number}}: {{got}} != {{case['answer']}}"
    assert int(dut.uio_oe.value) == {oe}
'''


def packet_cases(design: Design, codes: np.ndarray) -> list[dict[str, list[int]]]:
    """Packets and their answers: sequences [batch, steps, features], with a broken packet between
    the first and the others."""
    model = design.model
    labels = run(model, codes).classes
    size = -(-max(1, (model.classes - 1).bit_length()) // 8)
    cases = [
        {
            "packet": sequence.ravel().tolist(),
            "answer": [0, *int(label).to_bytes(size, "little")],
        }
        for sequence, label in zip(codes, labels, strict=True)
    ]
    if model.input_size > 1:
        cases.insert(1, {"packet": cases[0]["packet"][:-1], "answer": [1]})
    return cases


def describe(design: Design) -> str:
    """The network in a few words."""
    layers = [str(layer.hidden_size) for layer in design.model.layers]
    return (
        f"A GRU network of {' and '.join(layers)} units that tells {design.model.classes} classes "
        f"of sequences from each other"
    )


def project_files(
    project: Project,
    design: Design,
    shape: str,
    codes: np.ndarray,
    latches: Library | None = None,
) -> Mapping[str, str]:
    """Path -> text of the project.

    codes : int [batch, steps, features], sequences for the test
    latches : the library whose latches hold input and state; None for flip-flops

    Raises :class:`InputError` for a network that the interface does not take.
    """
    project.check()
    model = design.model
    text = _INFO.format(
        description=describe(design),
        genome=design.model.genome.id,
        hash=design.model.hash,
        features=model.input_size,
        bits=model.in_bits,
        cycles=design.cycles_per_step,
    )
    outputs = sum(1 << k for k, (_, out) in enumerate(PINS) if out)
    test = _TEST.format(
        period=project.clock_ns,
        limit=8 * design.cycles_per_sequence(codes.shape[1]) + 20_000,
        oe=outputs,
    )
    replaced: list[Callable[[str], tuple[str, str]]] = [grouped]
    more = {}
    if latches is not None:
        cells = latch_cells(latches)
        replaced.append(partial(as_latches, cells=cells))
        more["test/latch_cells.v"] = cell_models(latches, [cells.latch, cells.gate])
        text += _LATCHES.format(latch=cells.latch, gate=cells.gate)
    return {
        "info.yaml": info_yaml(project, shape, describe(design)),
        "docs/info.md": text,
        "src/project.v": to_verilog(TinyTapeoutNetwork(design), project.top, replaced),
        "src/config.json": config_json(project.clock_ns),
        "test/Makefile": _MAKEFILE,
        "test/tb.v": _TB.format(top=project.top),
        "test/test.py": test,
        "test/vectors.json": json.dumps({"cases": packet_cases(design, codes)}) + "\n",
        "test/requirements.txt": "cocotb>=2.0\n",
        **more,
    }


def steps_within(design: Design, steps: int, cycles: int = 20_000) -> int:
    """Steps of a sequence that a simulator takes in seconds, 1 or more."""
    return max(1, min(steps, cycles // design.cycles_per_step))


def names(parts: Sequence[str]) -> str:
    """A module name from words."""
    return "tt_um_" + "_".join(
        re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts
    )
