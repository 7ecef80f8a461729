"""A call that runs in a worker: what it gives back, and what its failure says."""

import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ... import __version__
from ...model.errors import InputError, shown

#: How often one map may lose workers before it gives up.
DEATHS = 5
#: Seconds without any worker after which a cluster is given up: a nanny needs some to start one.
DESERTED = 60.0
#: Seconds for a scheduler to answer, and for a first worker to be there.
ANSWER = 10.0
#: Workers are as many as are wanted; a second thread in one would only take another's core.
ONE_THREAD = {
    f"{name}_NUM_THREADS": "1"
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB", "NUMEXPR", "NUMBA")
}
#: Ends the message of an error whose remedy is to go on.
KEPT = "what is done is kept"
Function = Callable[[Any], Any]
Ticket = Any


def versions() -> tuple[str, ...]:
    """What must be the same wherever the evaluations of one search run."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"genogate {__version__}", f"Python {python}", f"NumPy {np.__version__}"


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its result, or one line about why there is none.

    kind : "result"; "input" (the value is the :class:`InputError`); "error" (anything else, raised
        by the function); "versions" (the worker is another than this process); "fatal" (no use to
        go on)
    detail : the traceback of an "error"
    """

    kind: str
    value: Any
    detail: str = ""


#: Since when this process has been at which task. A cluster is asked for it when one is overdue.
_at_work: dict[str, float] = {}


def guarded(expected: tuple[str, ...], name: str, function: Function, item: Any) -> Outcome:
    """Run in a worker. Nothing is raised, so that every engine treats faults alike."""
    here = versions()
    if here != expected:
        differing = [f"{a}, not {b}" for a, b in zip(here, expected, strict=True) if a != b]
        return Outcome("versions", f"worker on {platform.node()}: {'; '.join(differing)}")
    _at_work[name] = time.monotonic()
    try:
        return Outcome("result", function(item))
    except InputError as error:
        # As what every process can make again of what was sent to it.
        return Outcome("input", InputError(error.message, error.remedy))
    except (Exception, SystemExit) as error:
        return Outcome("error", one_line(error), traceback.format_exc())
    finally:
        _at_work.pop(name, None)


def one_line(error: BaseException) -> str:
    """Kind, text and place of an exception."""
    text = " ".join(str(error).split())[:200]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


class _WorkerError(Exception):
    """Carries the traceback of a worker as the cause of an :class:`InputError`."""


class Engine(Protocol):
    """What a map needs of a place where tasks run."""

    #: Tasks that run at once; those that were submitted first, run first.
    slots: int

    def submit(self, name: str, function: Function, item: Any) -> Ticket:
        """Start a task soon."""

    def collect(self, tickets: Sequence[Ticket], seconds: float) -> list[tuple[Ticket, Any]]:
        """Tasks that ended, after at most so many seconds: an :class:`Outcome`, or None for one
        that was lost with its worker and must be submitted again."""

    def hanging(self, overdue: dict[Ticket, str], timeout: float) -> list[Ticket]:
        """Those of the tasks (ticket: name) that have indeed run for `timeout` seconds."""

    def stop(self, tickets: Sequence[Ticket], hung: Sequence[Ticket]) -> list[Ticket]:
        """Stop the workers of `hung`; which of `tickets` were lost by it."""

    def forget(self, tickets: Sequence[Ticket]) -> None:
        """Nobody waits for these any more."""

    def close(self) -> None:
        """End all workers that are this process's own."""


@dataclass(frozen=True)
class Task:
    """What is sent to a worker: small, and by reference."""

    versions: tuple[str, ...]
    name: str
    function: Function

    def __call__(self, item: Any) -> Outcome:
        return guarded(self.versions, self.name, self.function, item)


def item_name(index: int, item: Any) -> str:
    return f"evaluation {index} ({shown(item)})"


def value_of(outcome: Outcome, index: int, item: Any) -> Any:
    """The result, or the one error line."""
    if outcome.kind == "result":
        return outcome.value
    if outcome.kind == "input":
        raise outcome.value
    if outcome.kind == "fatal":
        raise InputError(outcome.value)
    if outcome.kind == "versions":
        raise InputError(f"{outcome.value}; install the same there, as results could differ")
    cause = _WorkerError(outcome.detail) if outcome.detail else None
    raise InputError(f"{item_name(index, item)}: failed with {outcome.value}") from cause


def missing_library(library: str, error: ImportError) -> InputError:
    return InputError(
        f"--backend {library}: {error.name or library} is not installed: "
        f"pip install 'genogate[{library}]'"
    )


def task_ages() -> dict[str, float]:
    now = time.monotonic()
    return {name: now - began for name, began in list(_at_work.items())}


def short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or f"nothing within {ANSWER:g} s"
    return f"{type(error).__name__}: {text}"[:160]
