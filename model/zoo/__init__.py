"""Shipped float checkpoints, one safetensors file each; README.md has the commands."""

import difflib
import os
from pathlib import Path

from ..checkpoints.floating import Checkpoint
from ..errors import InputError

_FOLDER = Path(__file__).parent
_SUFFIX = ".safetensors"
#: Characters of names in an error line.
LISTED = 160


def names() -> list[str]:
    """The shipped checkpoints, by name."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}"))


def some(near: str) -> str:
    """As many names as a line takes, those like `near` first, and where to see all."""
    there = names()
    close = difflib.get_close_matches(near, there)
    length, most = 0, 0
    listed = [*close, *(name for name in there if name not in close)]
    while most < len(listed) and length + len(listed[most]) <= LISTED:
        length, most = length + len(listed[most]) + 2, most + 1
    if most == len(listed):
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most} more (genogate doctor lists all)"


def load(name_or_path: str | os.PathLike[str]) -> Checkpoint:
    """A shipped checkpoint by its name, or any checkpoint by its path.

    Raises :class:`InputError` where there is neither, or the file is no checkpoint.
    """
    if str(name_or_path) in names():
        return Checkpoint.load(_FOLDER / f"{name_or_path}{_SUFFIX}")
    try:
        # An empty name would be the current folder.
        exists = bool(str(name_or_path)) and Path(name_or_path).exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        name = str(name_or_path)[:80]
        raise InputError(
            f"checkpoint {name!r}: no such file, and the shipped ones are {some(name)}"
        )
    return Checkpoint.load(name_or_path)
