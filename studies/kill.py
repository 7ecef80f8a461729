"""Searches that are killed at random moments, and end as if nobody had touched them.

The real command runs in a process group of its own, which is killed whole (SIGKILL) again and
again, each time resumed. What is left at the end is compared with an uninterrupted run.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genogate.model.errors import InputError
from genogate.model.files import read_json

from .search import table

Say = Callable[[str], None]
FOLDER = Path("build/studies/kill")
#: Seconds that the command may take at most.
PATIENCE = 1800
#: Said of a measurement from before cells were estimated by default.
UNTIL_ESTIMATES = (
    "Measured when a search synthesised every network: `genogate search` does so with `--exact` "
    "today, and estimates cells without it."
)
#: Files that must be equal byte by byte, besides all genome files.
FILES = ("config.json", "front.json", "history.json")


@dataclass(frozen=True)
class Size:
    """How often, and what is killed.

    kills : at least so many altogether; runs follow each other until there were so many
    options : of ``genogate search``; the seed is that of the run
    """

    kills: int = 20
    seed: int = 0
    options: tuple[str, ...] = (
        "--objectives",
        "accuracy,size,cells",
        "--pop",
        "12",
        "--generations",
        "4",
        "--exploit",
        "3",
        "--exact",
        "--activation",
        "table",
        "--workers",
        "2",
    )


FULL = Size()
QUICK = Size(
    kills=3,
    options=(
        "--objectives",
        "accuracy,size",
        "--pop",
        "6",
        "--generations",
        "3",
        "--exploit",
        "1",
        "--initial",
        "homogeneous",
        "--activation",
        "table",
        "--workers",
        "1",
    ),
)


def begin(size: Size, seed: int, folder: Path, cache: Path) -> "subprocess.Popen[str]":
    """Start, or resume, the command in a group of its own."""
    command = [
        sys.executable,
        "-c",
        "from genogate.cli import main; main()",
        "search",
        *size.options,
        "--seed",
        str(seed),
        "--out",
        str(folder),
        "--resume",
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not a pipe: one that nobody reads stops its writer when it is full.
    with open(_messages(folder), "w") as messages:
        return subprocess.Popen(
            command,
            start_new_session=True,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env={**os.environ, "GENOGATE_CACHE": str(cache.resolve())},
        )


def _messages(folder: Path) -> Path:
    """Where the command's messages go, beside its folder."""
    return folder.with_name(f"{folder.name}.txt")


def _check(process: "subprocess.Popen[str]", folder: Path) -> None:
    if process.returncode:
        lines = _messages(folder).read_text().strip().splitlines() or ["no message"]
        raise InputError(f"the search failed: {lines[-1][:300]}")


def rows_of(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Row number, genome and result in the store, by key; empty before there is one."""
    path = folder / "evaluations.sqlite"
    if not path.exists():
        return {}
    # Read like any other process would: the log that a kill left is taken in.
    with closing(sqlite3.connect(path, timeout=30)) as db:
        try:
            found = db.execute("SELECT key, rowid, genome, result FROM evaluations").fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return {}
            raise
        if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise InputError(f"{path}: damaged by a kill")
    return {row[0]: tuple(row[1:]) for row in found}


def finish(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Wait for the end. Raises :class:`InputError` where it is not a good one."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        raise InputError(f"the search did not end within {PATIENCE} s") from None
    _check(process, folder)


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the whole group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def differences(folder: Path, reference: Path) -> list[str]:
    """What differs between two runs that should have come to the same: names of files, and
    evaluations lost, invented, or of another result."""
    found = []
    names = {p.name for each in (folder, reference) for p in each.iterdir() if p.is_file()}
    # Neither is part of what was found: the lock, and the files of SQLite, which are looked into.
    names -= {"lock"} | {name for name in names if name.startswith("evaluations.sqlite")}
    for name in sorted(names | set(FILES)):
        a, b = folder / name, reference / name
        if not (a.exists() and b.exists() and a.read_bytes() == b.read_bytes()):
            found.append(name)
    mine, theirs = rows_of(folder), rows_of(reference)
    changed = {key for key in mine.keys() & theirs.keys() if mine[key][1:] != theirs[key][1:]}
    for what, keys in (
        ("lost", theirs.keys() - mine.keys()),
        ("added", mine.keys() - theirs.keys()),
        ("of another result", changed),
    ):
        if keys:
            found.append(f"{len(keys)} evaluations {what}")
    return found


def measure_kill(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """Kill, resume, compare, until there were enough kills."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    draw = random.Random(size.seed)
    kills: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    while len(kills) < size.kills:
        seed = size.seed + len(runs)
        whole, broken = folder / f"whole-{seed}", folder / f"killed-{seed}"
        say(f"Run {seed} as a whole")
        started = time.monotonic()
        process = begin(size, seed, whole, folder / f"cache-whole-{seed}")
        while process.poll() is None and not (whole / "evaluations.sqlite").exists():
            time.sleep(0.02)
        # From the start of the command until it begins to work.
        start_up = time.monotonic() - started
        finish(process, whole)
        seconds = time.monotonic() - started
        known: dict[str, tuple[Any, ...]] = {}
        before, redone, missing = len(kills), 0, 0
        while True:
            process = begin(size, seed, broken, folder / f"cache-killed-{seed}")
            # One in four before it begins to work, the others while it is at it.
            work = draw.uniform(0, 0.35 * max(seconds - start_up, 1.0))
            moment = draw.uniform(0, start_up) if draw.random() < 0.25 else start_up + work
            if len(kills) >= size.kills:
                finish(process, broken)
                break
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                kill(process)
            else:
                _check(process, broken)
                break
            rows = rows_of(broken)
            missing += len(known.keys() - rows.keys())
            # An evaluation that is made again gets another row.
            redone += sum(rows[key] != row for key, row in known.items() if key in rows)
            known = rows
            kills.append({"run": seed, "seconds": round(moment, 3), "kept": len(rows)})
            say(f"Kill {len(kills)} of {size.kills}: after {moment:.1f} s, {len(rows)} evaluations")
        rows = rows_of(broken)
        redone += sum(rows.get(key) != row for key, row in known.items())
        history = read_json(broken / "history.json")
        runs.append(
            {
                "seed": seed,
                "kills": len(kills) - before,
                "evaluations": len(rows_of(whole)),
                "counted": history[-1]["evaluations"],
                "seconds": round(seconds, 2),
                "lost": missing,
                "made_again": redone,
                "differences": differences(broken, whole),
            }
        )
    return {
        "size": asdict(size),
        "kills": kills,
        "runs": runs,
        "command": "python -m studies --only search_kill",
    }


def render_kill(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    runs, kills = data["runs"], data["kills"]
    kept = [k["kept"] for k in kills]
    wrong = [f"run {r['seed']}: {', '.join(r['differences'])}" for r in runs if r["differences"]]
    exact = "--exact" in data["size"]["options"]
    same = "equal in every run" if not wrong else f"NOT equal: {'; '.join(wrong)}"
    return [
        "## Searches that are killed",
        "",
        f"`genogate search {' '.join(data['size']['options'])}`, whose whole process group is "
        "killed (SIGKILL) at random moments, a quarter of them before it begins to work, and "
        "resumed, until it ends. Then its front, history, genome files and stored evaluations are "
        "compared with those of an uninterrupted run, which had a cache of its own."
        + ("" if exact else f" {UNTIL_ESTIMATES}"),
        "",
        f"{len(kills)} kills in {len(runs)} runs, after {min(k['seconds'] for k in kills):.2f} to "
        f"{max(k['seconds'] for k in kills):.2f} s, {sum(k == 0 for k in kept)} of them before the "
        f"first evaluation: all files byte by byte {same}; "
        f"{sum(r['lost'] for r in runs)} evaluations lost, "
        f"{sum(r['made_again'] for r in runs)} made again.",
        "",
        *table(
            (
                "run (seed)",
                "kills",
                "evaluations",
                "counted by the history",
                "seconds uninterrupted",
            ),
            [
                (r["seed"], r["kills"], r["evaluations"], r["counted"], f"{r['seconds']:.0f}")
                for r in runs
            ],
        ),
        f"`{data['command']}`, moments drawn with seed {data['size']['seed']}.",
        "",
    ]
