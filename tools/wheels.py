"""``python -m tools.wheels``: the wheel, in empty environments. Minutes for each Python.

Builds the wheel from the files that git tracks, makes an environment for every Python named, and
does there, in an empty folder and without the repository, what a user does: the core alone first
(:data:`CORE`; commands whose extra is missing say so), then, with the extras, the tutorial as
printed. ``--record`` keeps what was measured, for docs/results/wheels.md. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
#: What the tutorial says is needed.
EXTRAS = "train,search,sim"
#: Commands that the core alone can do.
CORE = (
    "genogate --version",
    "genogate doctor",
    "genogate gru --genome int8",
    "genogate area --genome int4 --json",
)
#: Commands that need an extra, and that extra: one line, exit code 2.
REFUSED = {
    "genogate train": "train",
    "genogate qat": "train",
    "genogate search": "search",
    "genogate sim --sequences 1": "sim",
    "genogate report nothing": "search",
}


def tutorial(text: str) -> tuple[str, list[str]]:
    """The program ``train.py`` and the commands of docs/tutorial.md, in their order."""
    (program,) = re.findall(r"```python\n# train\.py\n(.*?)```", text, re.DOTALL)
    return program, re.findall(r"^    ((?:python|genogate) .*)$", text, re.MULTILINE)


def call(
    command: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command line in `folder`, output captured."""
    return subprocess.run(
        shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True
    )


def environment_of(programs: Path) -> dict[str, str]:
    """Environment variables under which the programs in the folder `programs` come first."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    hidden = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**hidden, "PATH": path, "OMP_NUM_THREADS": "1"}


def build(folder: Path) -> Path:
    """The wheel, from a copy of what git tracks."""
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)],
        check=True,
    )
    return next(folder.glob("genogate-*.whl"))


class Failed(Exception):
    """A check did not hold."""


class Visit:
    """An empty environment of one interpreter, and what its commands took.

    steps : of every command, in order: command line, seconds and exit code
    """

    def __init__(self, python: str, folder: Path, pip_options: Sequence[str]) -> None:
        self.venv, self.work = folder / "venv", folder / "empty"
        subprocess.run([python, "-m", "venv", str(self.venv)], check=True)
        self.work.mkdir()
        self.environment = environment_of(self.venv / "bin")
        self.pip = [str(self.venv / "bin/python"), "-m", "pip", "install", "-q", *pip_options]
        self.steps: list[dict[str, Any]] = []

    def install(self, wheel: str) -> float:
        """Seconds that pip takes for `wheel`, a file with extras in brackets."""
        start = time.monotonic()
        subprocess.run([*self.pip, wheel], check=True)
        return round(time.monotonic() - start, 1)

    def run(self, command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command line, which must exit with `code`. Raises :class:`Failed`."""
        start = time.monotonic()
        done = call(command, self.work, self.environment)
        seconds = time.monotonic() - start
        print(f"  {seconds:6.1f} s  {done.returncode}  {command}", flush=True)
        if done.returncode != code:
            raise Failed(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        self.steps.append({"command": command, "seconds": round(seconds, 1), "code": code})
        return done

    def megabytes(self) -> int:
        """Size of the environment's packages."""
        packages = self.venv.rglob("site-packages/**/*")
        return sum(p.stat().st_size for p in packages if p.is_file()) // 1_000_000


def check(
    python: str, wheel: Path, folder: Path, pip_options: Sequence[str], core_only: bool
) -> dict[str, Any]:
    """Everything in one environment. Returns its record. Raises :class:`Failed`."""
    visit = Visit(python, folder, pip_options)
    record: dict[str, Any] = {"core_install_s": visit.install(str(wheel))}
    record["core_mb"] = visit.megabytes()
    for command in CORE:
        visit.run(command)
    for command, extra in REFUSED.items():
        message = visit.run(command, 2).stderr.strip()
        if "\n" in message or f"genogate[{extra}]" not in message:
            raise Failed(f"{command}: {message}")
    if not core_only:
        record["install_s"] = visit.install(f"{wheel}[{EXTRAS}]")
        record["mb"] = visit.megabytes()
        program, commands = tutorial((ROOT / "docs/tutorial.md").read_text())
        (visit.work / "train.py").write_text(program)
        record["tutorial_from"] = len(visit.steps)
        for command in commands:
            visit.run(command)
        versions = "import torch, numpy; print(torch.__version__, numpy.__version__)"
        record["torch"], record["numpy"] = visit.run(f'python -c "{versions}"').stdout.split()
        visit.steps.pop()
    record["python"] = visit.run("python --version").stdout.split()[-1]
    visit.steps.pop()
    return {**record, "steps": visit.steps}


def keep(path: Path, wheel: str, record: Mapping[str, Any]) -> None:
    """Add the record of one environment to the file, in the place of an older one of that Python's
    minor version."""
    records = json.loads(path.read_text())["environments"] if path.exists() else {}
    minor = ".".join(record["python"].split(".")[:2])
    ordered = sorted({**records, minor: record}.items())
    text = json.dumps({"wheel": wheel, "environments": dict(ordered)}, indent=1)
    path.write_text(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where everything held for every Python."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("pythons", nargs="*", default=PYTHONS, help="Interpreters to try.")
    parser.add_argument("--pip", default="", help='Options for pip, as in --pip="-c FILE".')
    parser.add_argument("--core", action="store_true", help="Only the core: no tutorial.")
    parser.add_argument("--record", type=Path, metavar="FILE", help="Add what was measured.")
    options = parser.parse_args(arguments)
    pip = shlex.split(options.pip)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="wheels-") as root:
        wheel = build(Path(root))
        print(wheel.name, flush=True)
        for python in options.pythons:
            print(python, flush=True)
            folder = Path(root, Path(python).name)
            folder.mkdir()
            try:
                record = check(python, wheel, folder, pip, options.core)
                print(f"ok: Python {record['python']}", flush=True)
                if options.record is not None:
                    keep(options.record, wheel.name, record)
            except (Failed, subprocess.CalledProcessError, OSError) as error:
                print(f"FAILED: {python}: {error}", flush=True)
                failed += 1
            shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
