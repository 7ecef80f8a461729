"""How to get back what is damaged in the folder of a search or of an experiment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...model.errors import InputError

#: Of any file that a search makes: what was evaluated is in the store, what was trained beside it.
AGAIN = "remove it, and --resume the search with the options of before, which writes it again"
#: How errors say that a search goes on.
_RESUME = re.compile(
    r"(?P<link>,? (?:then|and) |(?<=;) |: start again with )--resume"
    r"(?: the search| the run)?(?: with the options of before)?"
)
#: In an error that says what to do already, and in one that is no damage.
_TOLD = ("again", "another folder", "remove it", "move it", "--resume", "can be written")
_WHOLE = ("ermission denied", "cannot write", "No space")
#: What a search or an experiment writes into its folder, which it makes again.
_MADE = (
    "config.json",
    "evaluations.sqlite",
    "experiment.json",
    "front.json",
    "history.jsonl",
    "ladder.json",
    "any/",
    "float/",
    "networks/",
    "one/",
    "search/",
)


def by_same_command(text: str, command: str = "the same command") -> str:
    """An error of a search that an experiment has begun, which has no --resume: giving `command`
    again resumes it."""

    def told(match: re.Match[str]) -> str:
        link = match["link"].lstrip(",").split()[0:1]
        before = {"then": ", and ", "and": ", and ", ":": ": "}.get(link[0] if link else "", " ")
        return f"{before}give {command} again"

    return _RESUME.sub(told, text)


def experiment_of(run: Path) -> Path | None:
    """The folder of the experiment that the search in `run` belongs to, where there is one."""
    for folder in (run.parent, run.parent.parent):
        if (folder / "search") in (run, run.parent) and (folder / "experiment.json").exists():
            return folder
    return None


def as_part_of(run: Path, text: str) -> str:
    """An error about the search in `run`, as one of a part of its experiment where it is one."""
    return by_same_command(text, "the experiment's command") if experiment_of(run) else text


@contextmanager
def with_remedies(folder: Path, *, experiment: bool = False) -> Iterator[None]:
    """Errors about a file in `folder` say how to get it back, whoever has read it.

    experiment : whether that is the same command again, not --resume
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        # A full disk or a missing right is no damage, and files of the user are not made again.
        folders = "it is a folder" in text or "Is a directory" in text
        damaged = folders or not any(word in text for word in _WHOLE)
        made = "|".join(map(re.escape, _MADE))
        ours = re.search(rf"(?<![\w./-]){re.escape(f'{folder}{os.sep}')}({made})", text)
        if ours and damaged and not any(word in text for word in _TOLD):
            text = f"{text}; {AGAIN}"
        raise InputError(by_same_command(text) if experiment else text) from None
