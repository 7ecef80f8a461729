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
COMMAND = "import sys; sys.argv[0] = 'genogate'; from genogate.cli import main; main()"
#: What is timed: a name, and the arguments of Python. Start-up of `gru` is all that it does before
#: it quantises: imports, checkpoint and data.
CASES = {
    "genogate --help": [COMMAND, "--help"],
    "start-up of genogate gru": [
        "import genogate.cli, genogate.synth.area, genogate.synth.verilog\n"
        "import genogate.model.quantize.quantize, genogate.model.quantize.calibrate\n"
        "from genogate.model import zoo\n"
        "from genogate.model.data.tasks import load_task\n"
        "zoo.load('digits-row'); load_task('digits-row', 0)"
    ],
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


def main() -> None:
    """Print a JSON document: for every case the seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revision", help="The commit to compare with.")
    parser.add_argument("--rounds", type=int, default=5, help="Runs of each; 5.")
    options = parser.parse_args()
    with revision_tree(options.revision) as old, tempfile.TemporaryDirectory() as root:
        sides = {}
        for name, source in (("before", old), ("now", ROOT)):
            Path(root, name, "work").mkdir(parents=True)
            sides[name] = installed(source, Path(root, name))
        report = {}
        for case, arguments in CASES.items():
            times: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(options.rounds + 1):
                for name, path in sides.items():
                    spent = seconds(arguments, path, Path(root, name, "work"))
                    if number:  # the first compiles, and fills the caches
                        times[name].append(spent)
            medians = {name: round(statistics.median(spent), 3) for name, spent in times.items()}
            report[case] = {**medians, "ratio": round(medians["now"] / medians["before"], 3)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    try:
        main()
    except (HouseError, subprocess.CalledProcessError) as error:
        # Also where the other commit has no such command or module.
        raise SystemExit(f"startup: {error}") from None
