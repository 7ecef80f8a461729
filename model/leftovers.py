"""Temporary folders that name their owner, so that what a killed process left behind goes when the
next one starts.

The name holds the machine, the process and the time that it started: ``PREFIX`` + ``1a2b3c-4711-
8234567-`` + some letters. A folder is removed only where it is of this machine and no such process
lives; folders of other programs, and of processes that still run, stay.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

SCRATCH, STAGE = "genogate-", ".partial-"
_OWNER = re.compile(r"(?P<machine>[0-9a-f]{6})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})-")


@cache
def _machine() -> str:
    """Six digits for a machine and its table of processes (containers have their own)."""
    name = socket.gethostname()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def _start(pid: int) -> int | None:
    """When the process started, in ticks; 0 where that is not known; None where none lives."""
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (OSError, OverflowError):
        pass
    return 0


def owner() -> str:
    """What names this process in a folder's name."""
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_start(pid) or 0}-"


def _abandoned(rest: str) -> bool:
    match = _OWNER.match(rest)
    if match is None or match["machine"] != _machine():
        return False
    start = _start(int(match["pid"]))
    return start is None or (start != int(match["start"]) and 0 not in (start, int(match["start"])))


def abandoned(folder: str | os.PathLike[str], prefix: str) -> list[Path]:
    """What dead processes left in `folder` under `prefix`."""
    with suppress(OSError):
        return [
            Path(entry.path)
            for entry in os.scandir(folder)
            if entry.name.startswith(prefix) and _abandoned(entry.name[len(prefix) :])
        ]
    return []


def sweep(folder: str | os.PathLike[str], prefix: str) -> None:
    """Remove what dead processes left in `folder` under `prefix`."""
    for path in abandoned(folder, prefix):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder; those of dead processes beside it go."""
    sweep(tempfile.gettempdir(), SCRATCH)
    with tempfile.TemporaryDirectory(
        prefix=f"{SCRATCH}{owner()}", ignore_cleanup_errors=True
    ) as root:
        yield Path(root)


@contextmanager
def swept() -> Iterator[None]:
    """At the end the temporary folders of dead processes go: of workers that were killed."""
    try:
        yield
    finally:
        sweep(tempfile.gettempdir(), SCRATCH)


@cache
def scratch_of_process(name: str) -> Path:
    """A folder `name` for what libraries write, not made yet; it goes when the process ends."""
    folder = tempfile.gettempdir()
    sweep(folder, SCRATCH)
    path = Path(folder, f"{SCRATCH}{owner()}{name}")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def end_with_parent(parent: int) -> None:
    """In a worker process: end when the parent was killed, which leaves no time to say goodbye, and
    leave Ctrl-C to the parent.

    parent : its process number; who asks only now may find the one that inherits orphans
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def stops_deferred() -> Iterator[None]:
    """SIGINT and SIGTERM of this process wait until what is in here has ended: a worker that is
    half started is not known yet, would outlive it, and would say so. The mask is not enough, since
    a signal may come by another thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])
