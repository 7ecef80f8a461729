"""Where the evaluations of a search run: in this process, in others beside it, or on a cluster.

The processes are those of joblib (its executor, loky); clusters are reached by the futures of Dask
and Ray. joblib's own `Parallel` cannot say which task it is that hangs or kills its worker, and its
Dask backend waits for ever for a task that Dask has given up (joblib 1.6, distributed 2026.8): the
one loop of :meth:`Pool.map` over four small engines can, and says the same of all of them.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...model.errors import InputError, integer_within, shown
from ..genomes.remedies import Resume
from .dask import DaskCluster
from .processes import Processes
from .ray import RayCluster
from .tasks import (
    DEATHS,
    KEPT,
    Engine,
    Function,
    Task,
    Ticket,
    guarded,
    item_name,
    value_of,
    versions,
)

BACKENDS = ("serial", "processes", "dask", "ray")


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
        self._engine: Engine | None = None
        if backend == "processes":
            self._engine = Processes(workers)
        elif backend == "dask":
            self._engine = DaskCluster(workers, scheduler)
        elif backend == "ray":
            self._engine = RayCluster(workers, scheduler)
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
                yield index, value_of(guarded(versions(), "", function, item), index, item)
            return
        self._maps += 1
        yield from self._map(self._engine, function, items)

    def _map(
        self, engine: Engine, function: Function, items: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        queue = _Queue(f"genogate-{os.getpid()}-{id(self):x}-{self._maps}", len(items))
        late: Counter[int] = Counter()
        deaths = 0
        try:
            while queue.missing:
                queue.submit(engine, function, items)
                ended = engine.collect(list(queue.at), queue.pause(self.timeout))
                failed = None
                for ticket, outcome in ended:
                    if outcome is None:
                        continue
                    index = queue.at.pop(ticket)
                    if outcome.kind == "result":
                        yield index, outcome.value
                    else:
                        failed = failed or (outcome, index)
                if failed:
                    value_of(failed[0], failed[1], items[failed[1]])
                lost = [ticket for ticket, outcome in ended if outcome is None]
                if lost:
                    deaths += 1
                    queue.again(lost)
                    if deaths > DEATHS:
                        raise InputError(
                            f"workers died {deaths} times (killed, or out of memory?): "
                            f"{queue.missing} of {len(items)} evaluations are missing; {KEPT}",
                            Resume(after="perhaps with fewer workers"),
                        )
                if not ended:
                    late.update(hung := self._stop_overdue(engine, queue))
                    for index in hung:
                        if late[index] > 1:
                            raise InputError(
                                f"{item_name(index, items[index])}: took longer than "
                                f"{self.timeout:g} s, twice; {queue.missing} of "
                                f"{len(items)} evaluations are missing; {KEPT}",
                                Resume(after="with a longer time limit if it needs one"),
                            )
        finally:
            engine.forget(list(queue.at))

    def _stop_overdue(self, engine: Engine, queue: "_Queue") -> list[int]:
        """Stop the workers whose task takes longer than the timeout; these tasks wait again."""
        overdue = queue.overdue(self.timeout)
        if not overdue:
            return []
        hung = engine.hanging(overdue, self.timeout)
        for ticket in overdue:
            queue.since[ticket] = time.monotonic()
        indices = [queue.at[ticket] for ticket in hung]
        queue.again(engine.stop(list(queue.at), hung) if hung else ())
        return indices


class _Queue:
    """Items that wait, and those that workers have.

    at : index of each task that was sent, in order of submission
    since : when a worker may have begun it
    """

    def __init__(self, prefix: str, count: int) -> None:
        self.prefix, self.versions = prefix, versions()
        self.waiting = deque(range(count))
        self.at: dict[Ticket, int] = {}
        self.since: dict[Ticket, float] = {}
        self.attempts: Counter[int] = Counter()

    @property
    def missing(self) -> int:
        """Items without a result."""
        return len(self.waiting) + len(self.at)

    def _name(self, index: int) -> str:
        return f"{self.prefix}-{index}-{self.attempts[index]}"

    def submit(self, engine: Engine, function: Function, items: Sequence[Any]) -> None:
        """Send a second task for each worker, so that none waits for this process."""
        while self.waiting and len(self.at) < 2 * engine.slots:
            index = self.waiting.popleft()
            name = self._name(index)
            task = Task(self.versions, name, function)
            self.at[engine.submit(name, task, items[index])] = index
        now = time.monotonic()
        for ticket in list(self.at)[: engine.slots]:
            self.since.setdefault(ticket, now)

    def pause(self, timeout: float) -> float:
        """Seconds to wait for results at most: until the oldest task is overdue, or one second."""
        oldest = min(self.since[ticket] for ticket in self.at if ticket in self.since)
        return min(1.0, max(0.0, oldest + timeout - time.monotonic()))

    def overdue(self, timeout: float) -> dict[Ticket, str]:
        """Names of the tasks that take longer."""
        now = time.monotonic()
        return {
            ticket: self._name(index)
            for ticket, index in self.at.items()
            if now - self.since.get(ticket, np.inf) > timeout
        }

    def again(self, lost: Iterable[Ticket]) -> None:
        """Let tasks wait once more, before all others."""
        indices = [self.at.pop(ticket) for ticket in lost]
        for index in indices:
            self.attempts[index] += 1
        self.waiting.extendleft(sorted(indices, reverse=True))
