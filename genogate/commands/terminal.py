"""What a command prints: its report on stdout, and progress on stderr while it works."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..model.aliases import Say

#: Generations whose time tells that of the ones to come.
RECENT = 5
#: Seconds between two lines about work in progress where stderr is no terminal.
QUIET = 15.0


def switched(name: str) -> bool:
    """Whether the command that runs was given ``--json`` or ``--quiet``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(f"genogate.{name}"))


def show(record: Any, table: Callable[[], None]) -> None:
    """Print the report: `record` as JSON with ``--json``, nothing with ``--quiet``, else `table`.

    record : JSON-able; what the file on disk holds, where there is one
    """
    if switched("json"):
        from ..model.files import json_text

        click.echo(json_text(record), nl=False)
    elif not switched("quiet"):
        table()


def note(text: str) -> None:
    """A line on stderr about what a command does that nobody might expect."""
    if not switched("quiet"):
        click.echo(text, err=True)


def tell_if_new(folder: Path, resume: bool) -> Callable[[], None]:
    """What a command with ``--resume`` calls once its search has begun in `folder`: a line on
    stderr where there is nothing there yet to go on with. A script may always give ``--resume``;
    whoever mistyped the folder is to see it at once."""
    from ..search.genomes.folder import is_begun

    if not resume or click.get_current_context(silent=True) is None or is_begun(folder):
        return lambda: None
    return partial(note, f"Nothing to resume in {folder}: a new search begins there.")


@contextmanager
def progress() -> Iterator[Say]:
    """A spinner that says what is being done; silent where stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or switched("quiet"):
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(f"{text} ...")


@contextmanager
def epochs_bar(text: str, total: int | None = None, now: str = "") -> Iterator[Callable[..., None]]:
    """A bar of epochs where stderr is a terminal; takes what changes: ``description``, ``total``,
    ``completed``, ``now``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
        TextColumn("{task.fields[now]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal or switched("quiet"),
    ) as bar:
        yield partial(bar.update, bar.add_task(text, total=total, now=now))


class TimeLeft:
    """Seconds until a search ends, from the generations that it did work in.

    The first generation evaluates more than the others, and fills the caches; what a resumed run
    finds in its store takes no time. Neither tells how long the rest takes, so the median of the
    last generations counts, and before there are two the time of an evaluation.
    """

    def __init__(self) -> None:
        self.before: tuple[float, int] = (0.0, 0)
        self.spans: list[float] = []

    def __call__(self, progress: Any) -> float | None:
        """The estimate after a generation; None while nothing was evaluated."""
        seconds, fresh = self.before
        if progress.fresh > fresh:
            self.spans.append(progress.seconds - seconds)
        self.before = progress.seconds, progress.fresh
        to_come = progress.generations - progress.generation
        if not to_come:
            return 0.0
        if len(self.spans) > 1:
            # The first of this process is none of the ordinary ones.
            return statistics.median(self.spans[1:][-RECENT:]) * to_come
        if not progress.fresh:
            return None
        return progress.seconds / progress.fresh * progress.per_generation * to_come


def duration(seconds: float) -> str:
    """Seconds as a reader takes them in: ``50 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def search_progress() -> Iterator[tuple[Callable[[str], None], Callable[[Any], None]]]:
    """What ``genogate search`` says on the way, on stderr: a line a generation, and what is being
    done now; where stderr is no terminal only now and then."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)

    estimate = TimeLeft()

    def line(progress: Any) -> str:
        left = estimate(progress)
        until = "time left unknown" if left is None else f"about {duration(left)} left"
        speed = progress.fresh / progress.seconds if progress.seconds else 0.0
        best = max((p.result["accuracy"] for p in progress.front), default=0.0)
        judged = "by proxy" if progress.by_proxy else f"best accuracy {best:.4f}"
        return (
            f"{progress.phase} {progress.generation}/{progress.generations}  "
            f"{progress.evaluations} genomes  hypervolume {progress.hypervolume:.4f}  "
            f"front {len(progress.front)}  {judged}  "
            f"{speed:.2f} evaluations/s  {until}"
        )

    if switched("quiet"):
        yield (lambda text: None), (lambda progress: None)
        return
    if not console.is_terminal:
        said = time.monotonic()

        def now(text: str) -> None:
            nonlocal said
            if time.monotonic() - said > QUIET:
                said = time.monotonic()
                console.print(f"  {text} ...")

        yield now, (lambda progress: console.print(line(progress)))
        return
    with console.status("") as status:
        yield (lambda text: status.update(f"{text} ...")), lambda p: console.print(line(p))


@contextmanager
def saying() -> Iterator[Callable[[str], None]]:
    """What long work is doing, on stderr; a line now and then where that is no terminal."""
    with search_progress() as (say, _):
        yield say
