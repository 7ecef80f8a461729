"""Worker processes of this machine."""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from ...model.errors import InputError
from ...model.leftovers import end_with_parent, stops_deferred
from ..genomes.remedies import Resume
from .tasks import (
    ANSWER,
    DEATHS,
    DESERTED,
    KEPT,
    ONE_THREAD,
    Function,
    Outcome,
    Ticket,
    one_line,
    versions,
)


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes and threads started in here never see Ctrl-C: this process ends them, in order.

    The signal mask is inherited, so not even a worker that is still importing prints a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Processes:
    """Processes on this machine, by joblib's executor."""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._executor: Any = None

    def submit(self, name: str, function: Function, item: Any) -> Ticket:
        from concurrent.futures.process import BrokenProcessPool

        for _ in range(DEATHS):
            with contextlib.suppress(BrokenProcessPool):
                self._executor = self._executor or self._start()
                return self._executor.submit(function, item)
            # One died idle, or while it started.
            self.close()
        raise InputError(f"workers die as soon as they start (out of memory?): {KEPT}", Resume())

    def _start(self) -> Any:
        """New processes, when all of them are there: starting is not a task's time."""
        from concurrent.futures import wait

        from joblib.externals.loky import ProcessPoolExecutor

        with interrupts_blocked(), stops_deferred():
            # Not joblib's shared executor, which another user of it may resize, or find killed.
            executor = ProcessPoolExecutor(
                self.slots,
                env=ONE_THREAD,
                initializer=end_with_parent,
                initargs=(os.getpid(),),
            )
            # Kept at once, so that an interrupt finds it.
            self._executor = executor
            first = [executor.submit(versions) for _ in range(self.slots)]
        wait(first, DESERTED)
        return executor

    def collect(self, tickets: Sequence[Ticket], seconds: float) -> list[tuple[Ticket, Any]]:
        from concurrent.futures import FIRST_COMPLETED, wait
        from concurrent.futures.process import BrokenProcessPool

        done, _ = wait(tickets, seconds, FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            # One death breaks the executor; what others finished in the meantime counts.
            self.close()
            done, _ = wait(tickets, ANSWER)
        ended: list[tuple[Ticket, Any]] = []
        for future in tickets:
            if future not in done:
                continue
            error = future.exception()
            if error is None:
                ended.append((future, future.result()))
            elif isinstance(error, BrokenProcessPool):
                ended.append((future, None))
            else:
                ended.append((future, Outcome("error", one_line(error))))
        return ended

    def hanging(self, overdue: dict[Ticket, str], timeout: float) -> list[Ticket]:
        return list(overdue)

    def stop(self, tickets: Sequence[Ticket], hung: Sequence[Ticket]) -> list[Ticket]:
        from concurrent.futures import wait

        self.close()
        wait(tickets, ANSWER)
        # What ended at the last moment is collected in the next round.
        return [t for t in tickets if not t.done() or t.cancelled() or t.exception() is not None]

    def forget(self, tickets: Sequence[Ticket]) -> None:
        for future in tickets:
            future.cancel()

    def close(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)
