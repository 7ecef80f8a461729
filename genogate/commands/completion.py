"""Names that the shell completes: genomes, tasks, checkpoints, targets and boards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _names(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _names_or_files(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [*_names(names, incomplete), CompletionItem(incomplete, type="file")]


def genomes(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """``int2`` to ``int8``, and files."""
    return _names_or_files((f"int{bits}" for bits in range(2, 9)), incomplete)


def checkpoints(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shipped checkpoints, and files."""
    from ..model import zoo

    return _names_or_files(zoo.names(), incomplete)


def tasks(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The tasks, and files."""
    from ..model.data.tasks import TASKS

    return _names_or_files(TASKS, incomplete)


def targets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What ``--target`` takes."""
    from ..synth.targets.devices import TARGETS

    return _names(TARGETS, incomplete)


def boards(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What ``--board`` takes."""
    from ..synth.boards import BOARDS

    return _names(BOARDS, incomplete)


def functions(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The functions that have a name."""
    from ..model.tables.functions import FUNCTIONS

    return _names(FUNCTIONS, incomplete)
