"""Workers of a Ray cluster."""

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from ...model.errors import InputError, shown
from .processes import interrupts_blocked
from .tasks import (
    ANSWER,
    DESERTED,
    ONE_THREAD,
    Function,
    Outcome,
    Ticket,
    missing_library,
    short,
    task_ages,
)


class RayCluster:
    """A Ray cluster that runs, or one on this machine."""

    def __init__(self, workers: int, address: str | None) -> None:
        # What starts here inherits these: no word to the makers of Ray, or to the terminal.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise missing_library("ray", error) from None
        self._ray, self.address = ray, address or "on this machine"
        options: dict[str, Any] = (
            {"address": address}
            if address
            else {"address": "local", "num_cpus": workers, "include_dashboard": False}
        )
        if address:
            self._reach(address)
        try:
            with interrupts_blocked():
                ray.init(
                    **options,
                    logging_level=logging.CRITICAL + 1,
                    log_to_driver=False,
                    runtime_env={"env_vars": ONE_THREAD},
                )
        except Exception as error:
            raise InputError(
                f"scheduler {shown(self.address)}: does not answer ({short(error)}); start one "
                "with `ray start --head`, and name its address, as in --scheduler host:6379"
            ) from None
        self.slots = max(1, int(ray.cluster_resources().get("CPU", 0)))
        # What a death loses is counted and made again by the map, as everywhere.
        self._remote = ray.remote(num_cpus=1, max_retries=0)(_call)
        # Starting its processes is not a task's time.
        first = [self._remote.remote(task_ages_of, 0) for _ in range(self.slots)]
        ray.wait(first, num_returns=len(first), timeout=DESERTED)

    def _reach(self, address: str) -> None:
        """Ray itself would try for minutes."""
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            if address != "auto":
                socket.create_connection((host, int(port)), timeout=ANSWER).close()
        except (OSError, ValueError, OverflowError) as error:
            raise InputError(
                f"scheduler {shown(address)}: does not answer ({short(error)}); start one with "
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
                ended.append((ticket, Outcome("error", short(error))))
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


def task_ages_of(item: Any) -> dict[str, float]:
    return task_ages()


def _call(function: Function, item: Any) -> Any:
    return function(item)
