# amaranth: UnusedElaboratable=no
"""Bitstreams: a network with its serial port, for boards that amaranth-boards describes."""

import importlib
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..hdl.boards.top import BoardTop, SerialNetwork
from ..hdl.gru.design import Design
from ..model.errors import InputError
from .targets import tools
from .targets.devices import DEVICES
from .targets.report import fpga_report
from .targets.route import Routed, parse_report
from .yosys import Job, Progress
from .yosys import find as find_yosys
from .yosys import run as run_yosys

#: Rates that every operating system offers, the fastest first, bit/s.
BAUDS = (115200, 57600, 38400, 19200, 9600, 4800, 2400, 1200)
#: A frame is given up when the line has been idle for so long, s.
TIMEOUT = 0.1
#: A receiver tolerates a rate that is off by this much.
_TOLERANCE = 0.02
_SEED = 1


@dataclass(frozen=True)
class Board:
    """A board.

    module, platform : where amaranth-boards has it
    target : the FPGA on it, as ``--target`` names it
    pins : connector, rx and tx of a serial adapter, for a board without a UART of its own
    """

    module: str
    platform: str
    target: str
    pins: tuple[str, str, str] | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)


#: Boards by the name that ``--board`` takes.
BOARDS = {
    "icebreaker": Board(
        "icebreaker", "ICEBreakerPlatform", "ice40-up5k", overrides={"synth_opts": "-dsp"}
    ),
    "icesugar": Board(
        "icesugar", "ICESugarPlatform", "ice40-up5k", overrides={"synth_opts": "-dsp"}
    ),
    "ice40-hx8k-evn": Board("ice40_hx8k_b_evn", "ICE40HX8KBEVNPlatform", "ice40-hx8k"),
    "ulx3s-25f": Board("ulx3s", "ULX3S_25F_Platform", "ecp5-25k"),
    "ulx3s-85f": Board("ulx3s", "ULX3S_85F_Platform", "ecp5-85k"),
    # Its USB is the FPGA's own; a serial adapter goes to the pins 0 (rx) and 1 (tx).
    "orangecrab": Board(
        "orangecrab_r0_2", "OrangeCrabR0_2_25FPlatform", "ecp5-25k", pins=("io", "0", "1")
    ),
    "tang-nano-9k": Board("tang_nano_9k", "TangNano9kPlatform", "gowin-gw1n-9"),
}


@dataclass(frozen=True)
class Bitstream:
    """What was built. name : of the file, its ending is the family's; baud : of the serial line"""

    name: str
    data: bytes
    baud: int
    clock_mhz: float
    routed: Routed
    versions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "bitstream": self.name,
            "baud": self.baud,
            "clock_mhz": self.clock_mhz,
            **self.routed.to_json(),
            "tools": list(self.versions),
        }


def check_board(name: str) -> Board:
    """The board `name`. Raises :class:`InputError` for one that is not known."""
    if name not in BOARDS:
        raise InputError(f"board {name!r:.40}: not one of {' '.join(BOARDS)}")
    return BOARDS[name]


def serial_rate(clock_hz: float, features: int, step_cycles: int) -> tuple[int, int]:
    """Rate in bit/s and clock cycles of a bit: the fastest at which a network keeps up.

    A step's features must not come faster than the network takes a step, `step_cycles`.
    Raises :class:`InputError` where even the slowest rate is too fast.
    """
    for baud in BAUDS:
        divisor = round(clock_hz / baud)
        fits = divisor >= 4 and abs(clock_hz / divisor / baud - 1) <= _TOLERANCE
        if fits and features * 10 * divisor > 1.05 * step_cycles:
            return baud, divisor
    raise InputError(
        f"a step takes {step_cycles} cycles at {clock_hz / 1e6:g} MHz, longer than its {features} "
        f"features at {BAUDS[-1]} bit/s: give more lanes"
    )


def _platform(board: Board) -> Any:
    try:
        module = importlib.import_module(f"amaranth_boards.{board.module}")
        resources = importlib.import_module("amaranth_boards.resources")
    except ImportError:
        raise InputError("amaranth-boards not found: pip install 'genogate[fpga]'") from None
    platform = getattr(module, board.platform)()
    if board.pins:
        from amaranth.build import Attrs

        connector, rx, tx = board.pins
        attributes = Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
        uart = resources.UARTResource(0, rx=rx, tx=tx, conn=(connector, 0), attrs=attributes)
        platform.add_resources([uart])
    return platform


def _commands(plan: Any, family: str) -> list[tuple[str, list[str]]]:
    """Tool and arguments of each step after Yosys, as Amaranth's script has them."""
    if family == "gowin":
        # Amaranth 0.5 writes for nextpnr-gowin, which became nextpnr-himbaechel.
        from_script = dict(_lines(plan))
        arguments = from_script["NEXTPNR_GOWIN"]
        device = arguments[arguments.index("--device") + 1]
        part = arguments[arguments.index("--family") + 1]
        route = ["--device", device, "--json", "top.syn.json", "--write", "top.pnr.json"]
        route += ["--vopt", f"family={part}", "--vopt", "cst=top.cst"]
        route += ["--report", "report.json", "--seed", str(_SEED)]
        return [("nextpnr-himbaechel", route), ("gowin_pack", from_script["GOWIN_PACK"])]
    names = {"NEXTPNR_ICE40": "nextpnr-ice40", "NEXTPNR_ECP5": "nextpnr-ecp5"}
    names |= {"ICEPACK": "icepack", "ECPPACK": "ecppack"}
    return [(names[name], arguments) for name, arguments in _lines(plan) if name in names]


def _text(plan: Any, name: str) -> str:
    content = plan.files[name]
    return content.decode() if isinstance(content, bytes) else content


def _lines(plan: Any) -> list[tuple[str, list[str]]]:
    """Variable and arguments of each command of the build script."""
    rows = []
    for line in _text(plan, "build_top.sh").splitlines():
        if line.startswith('"$'):
            first, *arguments = shlex.split(line)
            rows.append((first[1:], arguments))
    return rows


def _fits(target: str, design: Design, failure: InputError) -> InputError:
    """Why a design did not place: by the report of the network, where that says it."""
    report = fpga_report(target, design)
    if report.fits:
        return failure
    return InputError(f"it does not fit {report.device.part}: {'; '.join(report.advice())}")


def build(design: Design, board_name: str, *, progress: Progress | None = None) -> Bitstream:
    """The bitstream of `design` behind a serial port for a board.

    Raises :class:`InputError` for an unknown board, a design that does not fit or is too slow for
    the board's clock, or when a tool is missing or fails.
    """
    board = check_board(board_name)
    platform, device = _platform(board), DEVICES[board.target]
    clock = platform.default_clk_frequency
    features = design.model.input_size
    baud, divisor = serial_rate(clock, features, design.cycles_per_step)
    top = BoardTop(SerialNetwork(design, divisor=divisor, timeout=round(TIMEOUT * clock)))
    options = {"nextpnr_opts": f"--report report.json --seed {_SEED}", **board.overrides}
    plan = platform.prepare(top, "top", **options)
    commands = _commands(plan, device.family)
    programs = {tool: tools.find(tool) for tool, _ in commands}
    if progress:
        progress(f"Synthesising for {device.part}")
    net = "top.syn.json" if device.family == "gowin" else "top.json"
    yosys = find_yosys()
    job = Job(
        "the board's design", {"top.il": _text(plan, "top.il")}, _text(plan, "top.ys"), (net,)
    )
    netlist = run_yosys(yosys, [job])[0][net]
    subject = f"the design for {board_name}"
    with tempfile.TemporaryDirectory(prefix="genogate-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        (folder / net).write_text(netlist)
        for name in ("top.pcf", "top.lpf", "top.cst"):
            if name in plan.files:
                (folder / name).write_text(_text(plan, name))
        for number, (tool, arguments) in enumerate(commands):
            if progress:
                progress(f"Running {tool}")
            try:
                tools.run(programs[tool], arguments, folder, about=subject)
            except InputError as error:
                if number == 0:
                    raise _fits(board.target, design, error) from None
                raise
        version = programs[commands[0][0]].version
        routed = parse_report(
            (folder / "report.json").read_text(), version, "serial.framed.network."
        )
        suffix = {"ice40": "bin", "ecp5": "bit", "gowin": "fs"}[device.family]
        data = (folder / f"top.{suffix}").read_bytes()
    versions = (yosys.version, *(program.version for program in programs.values()))
    return Bitstream(f"{board_name}.{suffix}", data, baud, clock / 1e6, routed, versions)
