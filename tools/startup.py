"""``python -m tools.startup REVISION``: start-up of the commands, beside that of another commit.

Both run in turn, so that whatever else the machine does slows both alike; figures are medians of
processor seconds, which other processes hardly change. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .counts import ROOMS, HouseError
from .house import revision_tree

ROOT = Path(__file__).resolve().parents[1]
#: An editable installation of this repository must not answer for modules that the other has not.
ALONE = "import sys; sys.meta_path = [f for f in sys.meta_path if 'Editable' not in str(f)]\n"
COMMAND = ALONE + "sys.argv[0] = 'genogate'; from genogate.cli import main; main()"
#: Start-up of `gru` is all that it does before it quantises, and the modules that it needs later:
#: the modules, checkpoint and data. Alternatives are names of a module, today's first.
START = (
    ALONE
    + """
from importlib import import_module
def first(*names):
    for name in names:
        try:
            return import_module("genogate." + name)
        except ModuleNotFoundError as error:
            if not ("genogate." + name).startswith(error.name):
                raise
    raise SystemExit("start-up: no module " + " or ".join(names))
first("cli"), first("outputs", "flow"), first("synth.area")
first("synth.verilog", "hdl.emit")
first("model.quantize.quantize", "model.quantize")
first("model.quantize.calibrate", "model.calibrate")
first("model.zoo").load("digits-row")
first("model.data.tasks", "model.tasks").load_task("digits-row", 0)
"""
)
#: What is timed: a name, and the arguments of Python.
CASES = {
    "python -c pass": ["pass"],
    "genogate --help": [COMMAND, "--help"],
    "start-up of genogate gru": [START],
    "genogate gru --genome int8": [COMMAND, "gru", "--genome", "int8"],
}


def installed(source: Path, folder: Path) -> Path:
    """A folder for ``PYTHONPATH`` with the package of the repository at `source`."""
    package = folder / "path" / "genogate"
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source / "genogate", package, ignore=unwanted)
    for room in (room for room in ROOMS if room != "genogate"):
        shutil.copytree(source / room, package / room, ignore=unwanted)
    return package.parent


def seconds(arguments: list[str], path: Path, work: Path) -> float:
    """Processor seconds of a fresh Python with the package in `path`."""
    before = os.times()
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=work,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    return after.children_user + after.children_system - before[2] - before[3]


def compared(revision: str, rounds: int) -> dict[str, dict[str, float]]:
    """For every case the medians of both trees, and their ratio. Raises :class:`HouseError`, or
    ``subprocess.CalledProcessError`` where the other commit has no such command or module."""
    with revision_tree(revision) as old, tempfile.TemporaryDirectory() as root:
        sides = {}
        for name, source in (("before", old), ("now", ROOT)):
            Path(root, name, "work").mkdir(parents=True)
            sides[name] = installed(source, Path(root, name))
        report = {}
        for case, arguments in CASES.items():
            times: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(rounds + 1):
                for name, path in sides.items():
                    spent = seconds(arguments, path, Path(root, name, "work"))
                    if number:  # the first compiles, and fills the caches
                        times[name].append(spent)
            medians = {name: round(statistics.median(spent), 3) for name, spent in times.items()}
            report[case] = {**medians, "ratio": round(medians["now"] / medians["before"], 3)}
    return report


def main() -> None:
    """Print a JSON document: for every case the seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revision", help="The commit to compare with.")
    parser.add_argument("--rounds", type=int, default=5, help="Runs of each; 5.")
    options = parser.parse_args()
    print(json.dumps(compared(options.revision, options.rounds), indent=1))


if __name__ == "__main__":
    try:
        main()
    except (HouseError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"startup: {error}") from None
