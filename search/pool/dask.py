"""Workers of a Dask cluster."""

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ... import __version__
from ...model.errors import InputError, shown
from ..genomes.remedies import Resume
from .processes import interrupts_blocked
from .tasks import (
    ANSWER,
    DESERTED,
    KEPT,
    ONE_THREAD,
    Function,
    Outcome,
    Ticket,
    missing_library,
    short,
    task_ages,
    versions,
)


def dask_setup(worker: object) -> None:
    """What Dask calls in a worker of a cluster of our own, which is told to load this module."""
    # Blocked it was, but multiprocessing unblocks it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class DaskCluster:
    """A Dask cluster that runs, or one of processes on this machine."""

    def __init__(self, workers: int, address: str | None) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise missing_library("dask", error) from None
        # It logs what this module says in one line, and much else.
        for name in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._workers, self._address = workers, address
        # Untyped, as their library is for us: None only before the start and after the end.
        self._cluster: Any = None
        self._client: Any = None
        self._ended: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._start()

    def _start(self) -> None:
        """Start a cluster, unless one is there, and connect to it."""
        import dask
        from distributed import Client, LocalCluster

        self.address = self._address or "on this machine"
        self._deserted: float | None = None
        try:
            with interrupts_blocked(), dask.config.set({"logging.distributed": "critical"}):
                if self._address is None:
                    self._cluster = LocalCluster(
                        n_workers=self._workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        memory_limit=0,
                        silence_logs=logging.CRITICAL + 1,
                        env=ONE_THREAD,
                        preload=[__name__],
                    )
                    self.address = self._cluster.scheduler_address
                else:
                    _knock(self._address)
                self._client = Client(self.address, timeout=ANSWER, set_as_default=False)
            self._check()
        except InputError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise InputError(
                f"scheduler {shown(self.address)}: does not answer ({short(error)}); start one "
                "with `dask scheduler`, and name its address, as in --scheduler tcp://host:8786"
            ) from None
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        """Whether there are workers, and the same versions on all of them."""
        try:
            self._client.wait_for_workers(1, timeout=ANSWER)
        except Exception:
            raise InputError(
                f"scheduler {self.address}: no worker within {ANSWER:g} s; start some with "
                f"`dask worker {self.address} --nthreads 1`"
            ) from None
        self.slots = sum(self._client.ncores().values())
        answers = self._client.run(versions, on_error="return")
        for worker, theirs in answers.items():
            if isinstance(theirs, BaseException):
                raise InputError(
                    f"worker {worker}: cannot load genogate {__version__} ({short(theirs)}); "
                    "install the same version there"
                )
            if tuple(theirs) != versions():
                differing = [
                    f"{a}, not {b}" for a, b in zip(theirs, versions(), strict=True) if a != b
                ]
                raise InputError(
                    f"worker {worker}: {'; '.join(differing)}; install the same there, as results "
                    "could differ"
                )

    def submit(self, name: str, function: Function, item: Any) -> Ticket:
        try:
            future = self._client.submit(function, item, key=name, pure=False)
        except Exception:
            raise self._gone() from None
        future.add_done_callback(self._ended.put)
        return future

    def collect(self, tickets: Sequence[Ticket], seconds: float) -> list[tuple[Ticket, Any]]:
        from distributed import KilledWorker

        ours = {future.key for future in tickets}
        done = []
        try:
            done.append(self._ended.get(timeout=seconds))
            while True:
                done.append(self._ended.get_nowait())
        except queue.Empty:
            if not done:
                return [] if self._look() else [(future, None) for future in tickets]
        self._deserted = None
        ended: list[tuple[Ticket, Any]] = []
        finished = []
        for future in done:
            if future.key not in ours:
                continue
            if future.status == "finished":
                finished.append(future)
            elif future.status == "error":
                error = future.exception()
                text = short(error)
                if isinstance(error, KilledWorker):
                    text = "the death of its worker, again and again (killed, or out of memory?)"
                ended.append((future, Outcome("error", text)))
            else:
                raise self._gone()
        try:
            # All at once: a call each would cost milliseconds each.
            outcomes = self._client.gather(finished)
        except Exception:
            # A worker died with its results; what cannot be had shall be made again.
            ended += [(future, None) for future in finished]
        else:
            ended += zip(finished, outcomes, strict=True)
        return ended

    def _answer(self, call: Callable[[], Any], seconds: float = ANSWER) -> Any:
        """What a call of the client gives, within so many seconds."""

        async def ask() -> Any:
            return await call()

        return self._client.sync(ask, callback_timeout=seconds)

    def _look(self) -> bool:
        """When nothing comes: False if there were no workers, but there are new ones now."""
        try:
            threads = self._answer(self._client.ncores)
        except Exception:
            raise self._gone() from None
        if threads:
            self._deserted = None
            self.slots = sum(threads.values())
        elif self._deserted is None:
            self._deserted = time.monotonic()
        elif self._cluster is not None and time.monotonic() - self._deserted > DESERTED / 3:
            # A nanny whose worker dies just while it starts never starts another.
            self.close()
            self._start()
            return False
        elif time.monotonic() - self._deserted > DESERTED:
            raise InputError(
                f"scheduler {self.address}: its last worker went away; {KEPT}",
                Resume(f"start some with `dask worker {self.address} --nthreads 1`"),
            )
        return True

    def _gone(self) -> InputError:
        return InputError(f"scheduler {self.address}: went away; {KEPT}", Resume())

    def hanging(self, overdue: dict[Ticket, str], timeout: float) -> list[Ticket]:
        # A task may have waited behind another: what counts is when a worker began with it.
        hung = set()
        for worker, names in self._held().items():
            suspects = set(overdue.values()) & set(names)
            if not suspects:
                continue
            try:
                ask = partial(self._client.run, task_ages, workers=[worker])
                ages = self._answer(ask)[worker]
                hung |= {name for name in suspects if ages.get(name, 0) > 0.9 * timeout}
            except Exception:
                # It does not even answer.
                hung |= suspects
        return [ticket for ticket, name in overdue.items() if name in hung]

    def _held(self) -> dict[str, Sequence[str]]:
        """Worker: the tasks that the scheduler gave to it."""
        try:
            return dict(self._answer(self._client.processing))
        except Exception:
            raise self._gone() from None

    def stop(self, tickets: Sequence[Ticket], hung: Sequence[Ticket]) -> list[Ticket]:
        names = {future.key for future in hung}
        workers = [worker for worker, keys in self._held().items() if names & set(keys)]
        self._client.cancel(list(hung), force=True)
        for worker in workers:
            # It ends itself; a nanny, where it has one, starts it again.
            with contextlib.suppress(Exception):
                self._answer(partial(self._client.run, _end_soon, workers=[worker]))
        limit = time.monotonic() + ANSWER / 2
        while (left := set(workers) & set(self._held())) and time.monotonic() < limit:
            time.sleep(0.1)
        if left:
            # So stuck that only a nanny, if there is one, can end it.
            with contextlib.suppress(Exception):
                self._answer(
                    lambda: self._client.restart_workers(sorted(left), timeout=ANSWER), 3 * ANSWER
                )
        return list(hung)

    def forget(self, tickets: Sequence[Ticket]) -> None:
        with contextlib.suppress(Exception):
            self._client.cancel(list(tickets), force=True)

    def close(self) -> None:
        for part in (self._client, self._cluster):
            if part is not None:
                with contextlib.suppress(Exception):
                    part.close(timeout=ANSWER)
        self._client = self._cluster = None


def _knock(address: str) -> None:
    """Raise what is wrong with a Dask scheduler that does not answer.

    Before there is a client, which waits for ever where something accepts and says nothing, and
    complains at the end of the program of an address that it cannot read.
    """
    import asyncio

    from distributed import rpc

    async def ask() -> None:
        async with rpc(address, timeout=ANSWER) as scheduler:
            if (await scheduler.identity())["type"] != "Scheduler":
                raise ValueError("not a scheduler")

    def knock() -> None:
        try:
            asyncio.run(asyncio.wait_for(ask(), ANSWER))
            said.append(None)
        except Exception as error:
            said.append(error)

    said: list[Exception | None] = []
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(1.2 * ANSWER)
    error = said[0] if said else TimeoutError(f"nothing within {ANSWER:g} s")
    if error is not None:
        raise error


def _end_soon() -> None:
    # After the answer, so that nobody waits for one.
    threading.Timer(0.1, os._exit, [1]).start()
