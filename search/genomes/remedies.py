"""How to get back what is damaged in the folder of a search or of an experiment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...model.errors import COPY, InputError, Unreachable


@dataclass(frozen=True)
class Resume:
    """The remedy of an :class:`~genogate.model.errors.InputError` to go on with a search.

    first : what to do before, as in "remove it"
    after : what is to be known of it, as in "which writes it again"
    options : what it goes on with
    command : the command that goes on when it is given again, where that is none with --resume
    """

    first: str = ""
    after: str = ""
    options: str = "the options of before"
    command: str = ""

    def __str__(self) -> str:
        if not self.command:
            how = f"--resume the search with {self.options}"
        elif self.options == Resume.options:
            how = f"give {self.command} again"
        else:
            how = f"give {self.command} again with {self.options}"
        text = f"{self.first}, and {how}" if self.first else how
        return f"{text}, {self.after}" if self.after else text


#: Of any file that a search makes: what was evaluated is in the store, what was trained beside it.
AGAIN = Resume("remove it", "which writes it again")
#: Commands that go on with an experiment, as its own errors and those of others call it.
SAME, EXPERIMENT = "the same command", "the experiment's command"
#: What a search or an experiment writes into its folder, which it makes again.
_MADE = (
    "config.json",
    "evaluations.sqlite",
    "experiment.json",
    "front.json",
    "history.json",
    "ladder.json",
    "any/",
    "float/",
    "networks/",
    "one/",
    "search/",
)


def experiment_of(run: Path) -> Path | None:
    """The folder of the experiment that the search in `run` belongs to, where there is one."""
    for folder in (run.parent, run.parent.parent):
        if (folder / "search") in (run, run.parent) and (folder / "experiment.json").exists():
            return folder
    return None


def _is_damaged(error: InputError, folder: Path | str) -> bool:
    """Whether an error that knows no remedy of its own is about a file that was made in `folder`,
    which is not as it was made. Files of the user are not made again."""
    if isinstance(error, Unreachable) or error.remedy not in (None, COPY):
        return False
    made = "|".join(map(re.escape, _MADE))
    place = re.escape(f"{folder}{os.sep}")
    return bool(re.match(rf"(cannot (read|write) )?{place}({made})", error.message))


@contextmanager
def with_remedies(folder: Path | str, command: str = "") -> Iterator[None]:
    """Errors about a file in `folder` say how to get it back, whoever has read it.

    command : what goes on there when it is given again, where that is none with --resume
    """
    try:
        yield
    except InputError as error:
        if _is_damaged(error, folder):
            error.remedy = AGAIN
        # One that names its command knows better.
        if isinstance(error.remedy, Resume) and not error.remedy.command:
            error.remedy = replace(error.remedy, command=command)
        raise
