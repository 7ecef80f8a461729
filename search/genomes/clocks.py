"""The clock that networks of a search reach: FPGAs after place and route, sky130 by OpenSTA.

Nothing tells it while a search runs: it is measured for the networks that would be on the front in
the end, one after the other, and is a limit from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...hdl.gru.design import Design
from ...model.errors import InputError
from ...synth.report import cheapest
from ...synth.targets.devices import DEVICES
from ...synth.targets.report import fpga_report
from ...synth.targets.route import route
from .candidate import Point
from .evaluate import Say, Setting, draft_of
from .ledger import Ledger

#: What a result has of the clock: the least period, which is what is limited, and the frequency.
PERIOD, FREQUENCY = "period_ns", "fmax_mhz"
#: Least period of a network that does not fit its part, ns: beyond any limit.
NEVER = 1e9


def check_clock(clock: float | None, target: str, memories: str) -> None:
    """Raises :class:`InputError` where no clock can be asked of a target."""
    if clock is None:
        return
    if not 0.001 <= clock <= 10_000:
        raise InputError(f"clock: {clock:g} MHz is not within 0.001 to 10,000")
    if target == "generic":
        raise InputError("--clock: generic cells have no clock; --target names a part")
    if memories == "sram":
        raise InputError(
            "--clock: nothing here knows the delays of SRAM macros; give --memories flops"
        )


def check_tools(target: str) -> None:
    """Raises :class:`InputError` where what measures the clock of `target` is missing."""
    from ...synth.cells.silicon import find_sta
    from ...synth.targets import tools

    if target in DEVICES:
        tools.find(DEVICES[target].nextpnr)
    else:
        find_sta()


def clock_of(setting: Setting, point: Point, clock: float, say: Say) -> dict[str, Any]:
    """The clock that the network of `point` reaches: :data:`PERIOD`, :data:`FREQUENCY` (0 where it
    does not fit), and ``clock_by``, the tool. Routed and mapped netlists come from the cache."""
    setting = point.candidate.setting(setting)
    if point.beacon:
        setting = replace(setting, checkpoint=point.beacon)
    drafted = draft_of(setting, point.genome)
    model = drafted.choose(cheapest(drafted.groups, say, workers=1))
    design = Design.of(model, **setting.knobs.hardware)
    if setting.target in DEVICES:
        return _fpga(setting.target, design, say)
    return _sky130(design, setting.memories, clock, say)


def _figures(period: float, tool: str) -> dict[str, Any]:
    return {PERIOD: round(period, 3), FREQUENCY: round(1000 / period, 2), "clock_by": tool}


def _fpga(target: str, design: Design, say: Say) -> dict[str, Any]:
    if fpga_report(target, design, progress=say).fits:
        try:
            routed = route(DEVICES[target], design.component(), "the network", say)
        except InputError as error:
            # Some networks fit by their numbers, and the placer or router gives up nevertheless.
            say(f"Not routed: {error}")
        else:
            return _figures(1000 / routed.fmax_mhz, routed.version)
    return {PERIOD: NEVER, FREQUENCY: 0.0, "clock_by": "does not fit"}


def _sky130(design: Design, memories: str, clock: float, say: Say) -> dict[str, Any]:
    """By slack at `clock`: of a path through a port only a part is the network's."""
    from ...synth.asic.mapping import map_design
    from ...synth.asic.timing import timing
    from ...synth.cells import liberty
    from ...synth.cells.silicon import find_sta
    from ...synth.verilog import TOP, emit_rtlil

    mapped = map_design(
        emit_rtlil(design), TOP, liberty.find(), latches=memories == "latches", progress=say
    )
    outcome = timing(mapped, find_sta(), 1000 / clock)
    return _figures(outcome.clock_ns - outcome.slack_ns, outcome.version)


def measure_clocks(
    ledger: Ledger, setting: Setting, clock: float, most: int, say: Say
) -> dict[str, Any]:
    """Measure the clock of the front's networks, and of those that take the place of one that
    misses `clock` (MHz), `most` of them at most; whatever is not measured counts as missing it.

    Points of `ledger` get the figures. Returns what the front's file says of it.
    """
    measured: list[Point] = []
    while True:
        new = [p for p in ledger.front() if PERIOD not in p.result]
        if not new or len(measured) >= most:
            break
        for point in new[: most - len(measured)]:
            say(f"Clock: network {len(measured) + 1}")
            result = {**point.result, **clock_of(setting, point, clock, say)}
            ledger.points[point.candidate] = replace(point, result=result)
            measured.append(ledger.points[point.candidate])
        ledger.judge_again()
    for point in new:
        result = {**point.result, PERIOD: NEVER, FREQUENCY: 0.0, "clock_by": "not measured"}
        ledger.points[point.candidate] = replace(point, result=result)
    ledger.judge_again()
    return summary(measured, clock)


def summary(measured: Sequence[Point], clock: float) -> dict[str, Any]:
    """How many networks were measured and meet the clock, and the fastest of them."""
    rows: list[Mapping[str, Any]] = [point.result for point in measured]
    fastest = max(measured, key=lambda point: point.result[FREQUENCY], default=None)
    return {
        "mhz": clock,
        "measured": len(rows),
        "met": sum(row[PERIOD] <= 1000 / clock for row in rows),
        "fastest_mhz": fastest.result[FREQUENCY] if fastest else None,
        "fastest": str(fastest.candidate) if fastest else None,
        "by": sorted({row["clock_by"] for row in rows} - {"does not fit"}),
    }
