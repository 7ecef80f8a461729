"""Whether a network keeps up with the steps that come in, at a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .model.errors import InputError, number_within

if TYPE_CHECKING:
    from .network import Network


def period_ns(clock_mhz: float) -> float:
    """Period, ns, of a clock in MHz. Raises :class:`InputError` where it is none."""
    number_within("clock", clock_mhz, 1e-3, 1e5)
    return 1e3 / clock_mhz


def clock_text(clock_ns: float) -> str:
    """Frequency and period of a clock, for a report: ``50 MHz, 20 ns``."""
    return f"{1e3 / clock_ns:g} MHz, {clock_ns:g} ns"


@dataclass(frozen=True)
class Pace:
    """What a user demands; nothing where both are None.

    steps_per_second : time steps that come in
    clock_mhz : of the hardware
    """

    steps_per_second: float | None = None
    clock_mhz: float | None = None

    def check(self) -> None:
        """Raises :class:`InputError` for one number without the other, and for numbers that are
        none."""
        if (self.steps_per_second is None) != (self.clock_mhz is None):
            raise InputError("--steps-per-second and --clock belong together: give both, or none")
        if self.steps_per_second is not None:
            number_within("steps-per-second", self.steps_per_second, 1e-6, 1e9)
            number_within("clock", self.clock_mhz, 1e-6, 1e5)

    def document(self, network: Network) -> dict[str, Any]:
        """``pace`` for a report: the demand, and how many times as fast the network is, answers
        included; empty without a demand. Raises :class:`InputError` where it is too slow."""
        self.check()
        if self.steps_per_second is None or self.clock_mhz is None:
            return {}
        design, steps = network.design, network.task.x_test.shape[1]
        cycles = max(design.cycles_per_step, design.cycles_per_sequence(steps) / steps)
        given = self.clock_mhz * 1e6 / self.steps_per_second
        if cycles > given:
            least = math.ceil(cycles * self.steps_per_second / 1e3) / 1e3
            share, lanes = network.knobs.share, network.knobs.option_texts()["lanes"]
            raise InputError(
                f"steps-per-second: share {share} with lanes {lanes} takes {cycles:,.0f} cycles a "
                f"step, {self.clock_mhz:g} MHz gives {given:,.0f} at {self.steps_per_second:g} "
                f"steps a second, {cycles / given:.2f} times too few: give --clock {least:g}, more "
                "--lanes, or less --share"
            )
        return {
            "pace": {
                "steps_per_second": self.steps_per_second,
                "clock_mhz": self.clock_mhz,
                "cycles": round(cycles, 1),
                "real_time": round(given / cycles, 2),
            }
        }


def pace_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The row of a printed report; none without a demand."""
    if "pace" not in report:
        return []
    pace = report["pace"]
    text = (
        f"{pace['real_time']:g} times as fast as {pace['steps_per_second']:g} steps a second, at "
        f"{pace['clock_mhz']:g} MHz"
    )
    return [("real time", text)]
