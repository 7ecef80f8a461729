"""OpenSTA: delay and power of a mapped netlist."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...model.errors import InputError
from ...model.leftovers import scratch

HEAD = """read_liberty cells.lib
read_verilog net.v
link_design top
create_clock -name clk -period {clock} {port}
set_input_delay 0 -clock clk [all_inputs]
set_output_delay 0 -clock clk [all_outputs]
"""
POWER = """proc show {{name activity}} {{
  set_power_activity -global -activity $activity -duty 0.5
  puts "== $name"
  report_power -instances [get_cells *] -digits 7
  report_power -digits 7
}}
show still 0
show busy 1
foreach gate {{{gates}}} {{ set_disable_timing [get_cells $gate] }}
show off 0
"""
_OPENSTA = "apt-get install opensta, or set STA to it"


@dataclass(frozen=True)
class Power:
    """Milliwatts."""

    internal: float
    switching: float
    leakage: float

    @property
    def total(self) -> float:
        return self.internal + self.switching + self.leakage

    def __add__(self, other: "Power") -> "Power":
        return Power(
            self.internal + other.internal,
            self.switching + other.switching,
            self.leakage + other.leakage,
        )

    def times(self, factor: float) -> "Power":
        return Power(self.internal * factor, self.switching * factor, self.leakage * factor)


@dataclass(frozen=True)
class Sta:
    """An OpenSTA that runs. path : the program; version : goes beside every number"""

    path: str
    version: str


@lru_cache
def _sta(path: str, modified: int) -> Sta:
    try:
        answer = subprocess.run(
            [path, "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
        version = answer.stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{path}: OpenSTA does not run ({error}); {_OPENSTA}") from None
    if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version):
        raise InputError(f"{path}: not an OpenSTA (it says {version[:60]!r}); {_OPENSTA}")
    return Sta(path, f"OpenSTA {version}")


def find_sta() -> Sta:
    """OpenSTA as ``$STA`` or ``sta`` names it. Raises :class:`InputError` when there is none."""
    name = os.environ.get("STA", "").strip() or "sta"
    path = shutil.which(name)
    if path is None:
        raise InputError(f"OpenSTA not found ({name}), without it no delay and power: {_OPENSTA}")
    return _sta(path, os.stat(path).st_mtime_ns)


def run_sta(sta: Sta, script: str, library: Path, verilog: str) -> str:
    with scratch() as root:
        try:
            Path(root, "cells.lib").symlink_to(library)
            Path(root, "net.v").write_text(verilog)
            Path(root, "script.tcl").write_text(script)
            done = subprocess.run(
                [sta.path, "-no_init", "-no_splash", "-exit", "script.tcl"],
                cwd=root,
                timeout=600,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise InputError(f"cannot run {sta.version}: {error.strerror or error}") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"{sta.version} took more than 600 s, it was stopped") from None
    # It goes on after errors and ends well.
    errors = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.startswith("Error") or ("not found" in line and "script.tcl" in line)
    ]
    if done.returncode or errors:
        reason = errors[0][:200] if errors else f"exit status {done.returncode}"
        raise InputError(f"{sta.version} failed: {reason}")
    return done.stdout


#: OpenSTA 2.0 charges the energies of a rise and of a fall for each transition: a cell of 0.01 and
#: 0.03 pJ that toggles at 100 MHz takes 4 uW there, and 2 uW in truth.
DOUBLED = "OpenSTA 2.0."
_FIGURES = r"\s+".join([r"(-?\d\S*)"] * 4)
_INSTANCE = re.compile(rf"^\s*{_FIGURES}\s+(\S+)\s*$", re.MULTILINE)
_TOTAL = re.compile(rf"^Total\s+{_FIGURES}\s+100\.0%$", re.MULTILINE)


def energies_of(sta: Sta, text: str, names: Sequence[str]) -> dict[str, dict[str, Power]]:
    """Power of every instance in each of the reports of `POWER`, checked against its total."""
    reports: dict[str, dict[str, Power]] = {}
    share = 0.5 if sta.version.startswith(DOUBLED) else 1.0
    for name, body in re.findall(r"^== (\w+)$(.*?)(?=^== |\Z)", text, re.MULTILINE | re.DOTALL):
        rows = {
            row[4].replace("\\", ""): tuple(1e3 * float(v) for v in row[:4])
            for row in _INSTANCE.findall(body)
        }
        total = _TOTAL.search(body)
        sums = [sum(row[k] for row in rows.values()) for k in range(4)]
        total_mw = [1e3 * float(v) for v in total.groups()] if total else []
        if (
            set(rows) != set(names)
            or not total_mw
            or any(abs(a - b) > 1e-3 * total_mw[3] for a, b in zip(sums, total_mw, strict=True))
            or abs(sum(sums[:3]) - sums[3]) > 1e-3 * sums[3]
        ):
            raise InputError(f"{sta.version} wrote a report of power that does not add up")
        reports[name] = {
            instance: Power(row[0] * share, *row[1:3]) for instance, row in rows.items()
        }
    if set(reports) != {"still", "busy", "off"}:
        raise InputError(f"{sta.version} wrote no report of power that can be read")
    return reports
