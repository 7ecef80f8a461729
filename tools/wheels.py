"""``python -m tools.wheels``: the wheel, in empty environments. Minutes for each Python.

Builds the wheel from the files that git tracks, makes an environment for every Python named, and
does there, in an empty folder and without the repository, what a user does: the core alone first
(:data:`CORE`; commands whose extra is missing say so), then, with the extras, the tutorial as
printed. Standard library only.
"""

from __future__ import annotations

import argparse
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


def check(
    python: str, wheel: Path, folder: Path, pip_options: Sequence[str], core_only: bool
) -> str:
    """Everything in one environment. Returns its version of Python. Raises :class:`Failed`."""
    venv, work = folder / "venv", folder / "empty"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    work.mkdir()
    environment = environment_of(venv / "bin")
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "-q", *pip_options]

    def run(command: str) -> str:
        start = time.monotonic()
        done = call(command, work, environment)
        print(f"  {time.monotonic() - start:6.1f} s  {done.returncode}  {command}", flush=True)
        if done.returncode:
            raise Failed(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    subprocess.run([*pip, str(wheel)], check=True)
    for command in CORE:
        run(command)
    for command, extra in REFUSED.items():
        done = call(command, work, environment)
        said = done.stderr.strip()
        if done.returncode != 2 or "\n" in said or f"genogate[{extra}]" not in said:
            raise Failed(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        print(f"            2  {command}: {said}", flush=True)
    if core_only:
        return call("python --version", work, environment).stdout.strip()
    subprocess.run([*pip, f"{wheel}[{EXTRAS}]"], check=True)
    program, commands = tutorial((ROOT / "docs/tutorial.md").read_text())
    (work / "train.py").write_text(program)
    for command in commands:
        run(command)
    return call("python --version", work, environment).stdout.strip()


def main() -> int:
    """Exit code 0 where everything held for every Python."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("pythons", nargs="*", default=PYTHONS, help="Interpreters to try.")
    parser.add_argument("--pip", default="", help='Options for pip, as in --pip="-c FILE".')
    parser.add_argument("--core", action="store_true", help="Only the core: no tutorial.")
    options = parser.parse_args()
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
                print(f"ok: {check(python, wheel, folder, pip, options.core)}", flush=True)
            except (Failed, subprocess.CalledProcessError, OSError) as error:
                print(f"FAILED: {python}: {error}", flush=True)
                failed += 1
            shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
