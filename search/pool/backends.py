"""Where the evaluations of a search run: in this process, in others beside it, or on a cluster.

The processes are those of joblib (its executor, loky); clusters are reached by the futures of Dask
and Ray. joblib's own `Parallel` cannot say which task it is that hangs or kills its worker, and its
Dask backend waits for ever for a task that Dask has given up (joblib 1.6, distributed 2026.8): the
one loop of :meth:`Pool.map` over four small engines can, and says the same of all of them.
"""

import contextlib
import logging
import os
import platform
import queue
import signal
import socket
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from ... import __version__
from ...model.errors import InputError, integer_within, shown

BACKENDS = ("serial", "processes", "dask", "ray")
#: How often one map may lose workers before it gives up.
DEATHS = 5
#: Seconds for a scheduler to answer, and for a first worker to be there.
ANSWER = 10.0
#: Seconds without any worker after which a cluster is given up: a nanny needs some to start one.
DESERTED = 60.0
#: Workers are as many as are wanted; a second thread in one would only take another's core.
ONE_THREAD = {
    f"{name}_NUM_THREADS": "1"
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB", "NUMEXPR", "NUMBA")
}
RESUME = "what is done is kept: start again with --resume"
Function = Callable[[Any], Any]
Ticket = Any


def versions() -> tuple[str, ...]:
    """What must be the same wherever the evaluations of one search run."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"genogate {__version__}", f"Python {python}", f"NumPy {np.__version__}"


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its result, or one line about why there is none.

    kind : "result"; "input" (an :class:`InputError`); "error" (anything else, raised by the
        function); "versions" (the worker is another than this process); "fatal" (no use to go on)
    detail : the traceback of an "error"
    """

    kind: str
    value: Any
    detail: str = ""


#: Since when this process has been at which task. A cluster is asked for it when one is overdue.
_at_work: dict[str, float] = {}


def _guarded(wanted: tuple[str, ...], name: str, function: Function, item: Any) -> Outcome:
    """Run in a worker. Nothing is raised, so that every engine treats faults alike."""
    here = versions()
    if here != wanted:
        differing = [f"{a}, not {b}" for a, b in zip(here, wanted, strict=True) if a != b]
        return Outcome("versions", f"worker on {platform.node()}: {'; '.join(differing)}")
    _at_work[name] = time.monotonic()
    try:
        return Outcome("result", function(item))
    except InputError as error:
        return Outcome("input", str(error))
    except (Exception, SystemExit) as error:
        return Outcome("error", _one_line(error), traceback.format_exc())
    finally:
        _at_work.pop(name, None)


def _one_line(error: BaseException) -> str:
    """Kind, text and place of an exception."""
    text = " ".join(str(error).split())[:200]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


class _WorkerError(Exception):
    """Carries the traceback of a worker as the cause of an :class:`InputError`."""


class _Engine(Protocol):
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


class Pool:
    """Workers that apply a function to items. A context manager; keeps its workers between maps.

    Parameters
    ----------
    backend : str
        ``serial`` (in this process; no limit on time), ``processes`` (on this machine), ``dask`` or
        ``ray`` (a cluster).
    workers : int
        How many processes; a cluster that runs already has its own number.
    scheduler : str, optional
        Address of a cluster: ``tcp://host:8786`` of a Dask scheduler, ``host:6379`` or
        ``ray://host:10001`` of Ray. Without it, a cluster of `workers` processes is started here.
    timeout : float
        Seconds that one task may take.

    Raises :class:`InputError` for what is not installed, does not answer or differs in version.
    """

    def __init__(
        self,
        backend: str = "processes",
        workers: int = 2,
        scheduler: str | None = None,
        timeout: float = 600,
    ) -> None:
        if backend not in BACKENDS:
            raise InputError(f"backend {shown(backend)}: {', '.join(BACKENDS)} are known")
        integer_within("workers", workers, 1, 1024)
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise InputError(f"timeout: {shown(timeout)} is not a number of seconds above 0")
        if scheduler is not None and backend not in ("dask", "ray"):
            raise InputError(f"scheduler {shown(scheduler)}: only for --backend dask or ray")
        self.backend, self.workers, self.timeout = backend, workers, float(timeout)
        self._engine: _Engine | None = None
        if backend == "processes":
            self._engine = _Processes(workers)
        elif backend == "dask":
            self._engine = _Dask(workers, scheduler)
        elif backend == "ray":
            self._engine = _Ray(workers, scheduler)
        self._maps = 0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are at. A cluster that ran before goes on running."""
        if self._engine is not None:
            self._engine.close()

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """``(index, function(item))`` as they finish, in any order, each index exactly once.

        A task whose worker dies runs again; one that takes longer than the timeout, once again.
        `function` is a function of a module, or a `functools.partial` of one.

        Raises :class:`InputError`: the one that `function` raised, or one line that names the item
        and what went wrong. What was finished by then has been yielded before.
        """
        items = list(items)
        if self._engine is None:
            for index, item in enumerate(items):
                yield index, _value(_guarded(versions(), "", function, item), index, item)
            return
        self._maps += 1
        yield from self._map(self._engine, function, items)

    def _map(
        self, engine: _Engine, function: Function, items: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        wanted = versions()
        waiting = deque(range(len(items)))
        at: dict[Ticket, int] = {}  # in order of submission
        since: dict[Ticket, float] = {}
        attempts: Counter[int] = Counter()
        late: Counter[int] = Counter()
        deaths = 0

        def name(index: int) -> str:
            return f"genogate-{os.getpid()}-{id(self):x}-{self._maps}-{index}-{attempts[index]}"

        def again(lost: Iterable[Ticket]) -> None:
            indices = [at.pop(ticket) for ticket in lost]
            for index in indices:
                attempts[index] += 1
            waiting.extendleft(sorted(indices, reverse=True))

        try:
            while waiting or at:
                # A second task for each worker, so that none waits for this process.
                while waiting and len(at) < 2 * engine.slots:
                    index = waiting.popleft()
                    task = _Task(wanted, name(index), function)
                    at[engine.submit(name(index), task, items[index])] = index
                now = time.monotonic()
                for ticket in list(at)[: engine.slots]:
                    since.setdefault(ticket, now)
                oldest = min(since[ticket] for ticket in at if ticket in since)
                pause = min(1.0, max(0.0, oldest + self.timeout - now))
                ended = engine.collect(list(at), pause)
                failed = None
                for ticket, outcome in ended:
                    if outcome is None:
                        continue
                    index = at.pop(ticket)
                    if outcome.kind == "result":
                        yield index, outcome.value
                    else:
                        failed = failed or (outcome, index)
                if failed:
                    _value(failed[0], failed[1], items[failed[1]])
                lost = [ticket for ticket, outcome in ended if outcome is None]
                if lost:
                    deaths += 1
                    again(lost)
                    if deaths > DEATHS:
                        raise InputError(
                            f"workers died {deaths} times (killed, or out of memory?): "
                            f"{len(waiting) + len(at)} of {len(items)} evaluations are missing; "
                            f"{RESUME}, perhaps with fewer workers"
                        )
                overdue = {
                    ticket: name(index)
                    for ticket, index in at.items()
                    if time.monotonic() - since.get(ticket, np.inf) > self.timeout
                }
                if overdue and not ended:
                    hung = engine.hanging(overdue, self.timeout)
                    for ticket in overdue:
                        since[ticket] = time.monotonic()
                    indices = [at[ticket] for ticket in hung]
                    late.update(indices)
                    again(engine.stop(list(at), hung) if hung else ())
                    for index in indices:
                        if late[index] > 1:
                            raise InputError(
                                f"{_item(index, items[index])}: took longer than "
                                f"{self.timeout:g} s, twice; {len(waiting) + len(at)} of "
                                f"{len(items)} evaluations are missing; {RESUME}, with a longer "
                                "time limit if it needs one"
                            )
        finally:
            engine.forget(list(at))


@dataclass(frozen=True)
class _Task:
    """What is sent to a worker: small, and by reference."""

    wanted: tuple[str, ...]
    name: str
    function: Function

    def __call__(self, item: Any) -> Outcome:
        return _guarded(self.wanted, self.name, self.function, item)


def _item(index: int, item: Any) -> str:
    return f"evaluation {index} ({shown(item)})"


def _value(outcome: Outcome, index: int, item: Any) -> Any:
    """The result, or the one error line."""
    if outcome.kind == "result":
        return outcome.value
    if outcome.kind == "input" or outcome.kind == "fatal":
        raise InputError(outcome.value)
    if outcome.kind == "versions":
        raise InputError(f"{outcome.value}; install the same there, as results could differ")
    cause = _WorkerError(outcome.detail) if outcome.detail else None
    raise InputError(f"{_item(index, item)}: failed with {outcome.value}") from cause


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
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


def dask_setup(worker: object) -> None:
    """What Dask calls in a worker of a cluster of our own, which is told to load this module."""
    # Blocked it was, but multiprocessing unblocks it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent() -> None:
    """In a worker: end when the parent was killed, which leaves no time to say goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Processes:
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
        raise InputError(f"workers die as soon as they start (out of memory?); {RESUME}")

    def _start(self) -> Any:
        """New processes, when all of them are there: starting is not a task's time."""
        from concurrent.futures import wait

        from joblib.externals.loky import ProcessPoolExecutor

        with _interrupts_blocked():
            # Not joblib's shared executor, which another user of it may resize, or find killed.
            executor = ProcessPoolExecutor(self.slots, env=ONE_THREAD, initializer=_end_with_parent)
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
                ended.append((future, Outcome("error", _one_line(error))))
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


def _missing(library: str, error: ImportError) -> InputError:
    return InputError(
        f"--backend {library}: {error.name or library} is not installed: "
        f"pip install 'genogate[{library}]'"
    )


class _Dask:
    """A Dask cluster that runs, or one of processes on this machine."""

    def __init__(self, workers: int, address: str | None) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise _missing("dask", error) from None
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
            with _interrupts_blocked(), dask.config.set({"logging.distributed": "critical"}):
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
                f"scheduler {shown(self.address)}: does not answer ({_short(error)}); start one "
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
        found = self._client.run(versions, on_error="return")
        for worker, theirs in found.items():
            if isinstance(theirs, BaseException):
                raise InputError(
                    f"worker {worker}: cannot load genogate {__version__} ({_short(theirs)}); "
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

        known = {future.key for future in tickets}
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
            if future.key not in known:
                continue
            if future.status == "finished":
                finished.append(future)
            elif future.status == "error":
                error = future.exception()
                text = _short(error)
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
                f"scheduler {self.address}: its last worker went away; start some with "
                f"`dask worker {self.address} --nthreads 1`; {RESUME}"
            )
        return True

    def _gone(self) -> InputError:
        return InputError(f"scheduler {self.address}: went away; {RESUME}")

    def hanging(self, overdue: dict[Ticket, str], timeout: float) -> list[Ticket]:
        # A task may have waited behind another: what counts is when a worker began with it.
        found = set()
        for worker, names in self._held().items():
            suspects = set(overdue.values()) & set(names)
            if not suspects:
                continue
            try:
                ask = partial(self._client.run, _ages, workers=[worker])
                ages = self._answer(ask)[worker]
                found |= {name for name in suspects if ages.get(name, 0) > 0.9 * timeout}
            except Exception:
                # It does not even answer.
                found |= suspects
        return [ticket for ticket, name in overdue.items() if name in found]

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


def _ages() -> dict[str, float]:
    now = time.monotonic()
    return {name: now - began for name, began in list(_at_work.items())}


def _end_soon() -> None:
    # After the answer, so that nobody waits for one.
    threading.Timer(0.1, os._exit, [1]).start()


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or f"nothing within {ANSWER:g} s"
    return f"{type(error).__name__}: {text}"[:160]


class _Ray:
    """A Ray cluster that runs, or one on this machine."""

    def __init__(self, workers: int, address: str | None) -> None:
        # What starts here inherits these: no word to the makers of Ray, or to the terminal.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise _missing("ray", error) from None
        self._ray, self.address = ray, address or "on this machine"
        about: dict[str, Any] = (
            {"address": address}
            if address
            else {"address": "local", "num_cpus": workers, "include_dashboard": False}
        )
        if address:
            self._reach(address)
        try:
            with _interrupts_blocked():
                ray.init(
                    **about,
                    logging_level=logging.CRITICAL + 1,
                    log_to_driver=False,
                    runtime_env={"env_vars": ONE_THREAD},
                )
        except Exception as error:
            raise InputError(
                f"scheduler {shown(self.address)}: does not answer ({_short(error)}); start one "
                "with `ray start --head`, and name its address, as in --scheduler host:6379"
            ) from None
        self.slots = max(1, int(ray.cluster_resources().get("CPU", 0)))
        # What a death loses is counted and made again by the map, as everywhere.
        self._remote = ray.remote(num_cpus=1, max_retries=0)(_call)
        # Starting its processes is not a task's time.
        first = [self._remote.remote(_ages_of, 0) for _ in range(self.slots)]
        ray.wait(first, num_returns=len(first), timeout=DESERTED)

    def _reach(self, address: str) -> None:
        """Ray itself would try for minutes."""
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            if address != "auto":
                socket.create_connection((host, int(port)), timeout=ANSWER).close()
        except (OSError, ValueError, OverflowError) as error:
            raise InputError(
                f"scheduler {shown(address)}: does not answer ({_short(error)}); start one with "
                "`ray start --head`, and name its address, as in --scheduler host:6379"
            ) from None

    def submit(self, name: str, function: Function, item: Any) -> Ticket:
        return self._remote.remote(function, item)

    def collect(self, tickets: Sequence[Ticket], seconds: float) -> list[tuple[Ticket, Any]]:
        ray = self._ray
        done, _ = ray.wait(list(tickets), num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(list(tickets), num_returns=len(tickets), timeout=0)
        ended: list[tuple[Ticket, Any]] = []
        for ticket in done:
            try:
                ended.append((ticket, ray.get(ticket, timeout=ANSWER)))
            except ray.exceptions.WorkerCrashedError:
                ended.append((ticket, None))
            except ray.exceptions.RayError as error:
                ended.append((ticket, Outcome("error", _short(error))))
        return ended

    def hanging(self, overdue: dict[Ticket, str], timeout: float) -> list[Ticket]:
        return list(overdue)

    def stop(self, tickets: Sequence[Ticket], hung: Sequence[Ticket]) -> list[Ticket]:
        self.forget(hung)
        return list(hung)

    def forget(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            with contextlib.suppress(Exception):
                self._ray.cancel(ticket, force=True)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def _ages_of(item: Any) -> dict[str, float]:
    return _ages()


def _call(function: Function, item: Any) -> Any:
    return function(item)
