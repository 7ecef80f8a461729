"""``python -m tools.house``: how large and how well ordered the code is. Standard library only.

Counts files, lines, long functions and classes by room; import circles; imports against the order
of the rooms; and what the everyday commands load. ``--revision`` counts another commit of the
repository in the same way.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from .counts import ROOMS, HouseError, measure, modules_of

#: Everyday commands whose loaded modules are counted.
COMMANDS = {
    "gru": ["gru", "--genome", "int8"],
    "sim": ["sim", "--genome", "int8", "--sequences", "1"],
    "area": ["area", "--genome", "int8"],
}
#: Runs a command, then tells which modules it has loaded.
PROBE = """
import json, sys
sys.argv = ["genogate", *json.loads(sys.argv[1])]
from genogate.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
print("modules:" + json.dumps(files))
"""


def loads(root: Path) -> dict[str, dict[str, int]]:
    """Modules of all kinds, our modules, and lines of ours, that everyday commands load. Runs
    them, in an empty folder."""
    counts = {}
    lines = {os.path.realpath(module.path): module.lines for module in modules_of(root).values()}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "path" / "genogate"
        package.mkdir(parents=True)
        places = [*(root / "genogate").iterdir(), *(root / room for room in ROOMS[:-1])]
        for place in places:
            (package / place.name).symlink_to(place.resolve())
        environment = {**os.environ, "PYTHONPATH": str(package.parent)}
        for name, arguments in COMMANDS.items():
            call = [sys.executable, "-c", PROBE, json.dumps(arguments)]
            done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise HouseError(f"genogate {name}: {done.stderr.strip().splitlines()[-1:]}")
            files = json.loads(done.stdout.rpartition("modules:")[2])
            ours = {os.path.realpath(file) for file in files.values() if file} & lines.keys()
            counts[name] = {
                "modules": len(files),
                "ours": len(ours),
                "lines": sum(lines[file] for file in ours),
            }
    return counts


@contextmanager
def revision_tree(revision: str) -> Iterator[Path]:
    """The files of a commit of the repository around the current folder, in a temporary one."""
    done = subprocess.run(["git", "archive", revision], capture_output=True)
    if done.returncode:
        raise HouseError(f"revision {revision}: {done.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def measured(root: Path, commands: bool = False) -> dict[str, Any]:
    """All counts of the tree at `root`; with `commands` also what commands load."""
    return measure(root) | ({"loads": loads(root)} if commands else {})


def rows_of(counts: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and figures of what was measured, in the order in which they are shown."""
    rows = [
        (f"{name}/", f"{room['files']} files, {room['lines']:,} lines")
        for name, room in counts["rooms"].items()
    ]
    numbers = {
        "installed": f"{counts['files']} files, {counts['lines']:,} lines",
        "median file, lines": f"{counts['median']:g}",
        "files over 300 lines": len(counts["over_300"]),
        "files over 500 lines": len(counts["over_500"]),
        "functions over 60 lines": len(counts["functions_over_60"]),
        "classes over 250 lines": len(counts["classes_over_250"]),
        "import circles": len(counts["circles"]),
        "imports against the order": len(counts["arrows_against"]),
        "`fmt: skip`": counts["fmt_skip"],
        "vague names": len(counts["vague_names"]),
        "installed lines that only docs need": f"{counts['only_for_docs_lines']:,}",
    }
    rows += [(name, str(number)) for name, number in numbers.items()]
    return rows + [
        (
            f"loaded by `{name}`",
            "{modules:,} modules, {ours} ours of {lines:,} lines".format(**load),
        )
        for name, load in counts.get("loads", {}).items()
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.house", description=__doc__)
    parser.add_argument("--root", default=".", help="repository to count; the current folder")
    parser.add_argument("--revision", help="count this commit instead")
    parser.add_argument("--loads", action="store_true", help="run commands, count what they load")
    parser.add_argument("--list", action="store_true", help="name everything over a bound")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        if options.revision:
            with revision_tree(options.revision) as root:
                counts = measured(root, options.loads)
        else:
            counts = measured(Path(options.root), options.loads)
    except (HouseError, OSError, SyntaxError, UnicodeDecodeError) as error:
        print(f"house: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(counts, indent=1))
        return 0
    for name, figure in rows_of(counts):
        print(f"{name:<38}{figure}")
    if options.list:
        for key, names in counts.items():
            if isinstance(names, list) and names:
                print(f"\n{key}", *names, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
