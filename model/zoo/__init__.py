"""Shipped float checkpoints, one safetensors file each; README.md has the commands."""

import os
from pathlib import Path

from ..checkpoints.floating import Checkpoint
from ..errors import InputError

_FOLDER = Path(__file__).parent
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """The shipped checkpoints, by name."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}"))


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
        raise InputError(
            f"checkpoint {str(name_or_path)[:80]!r}: no such file, and the shipped ones are "
            f"{', '.join(names())}"
        )
    return Checkpoint.load(name_or_path)
