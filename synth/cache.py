"""Results on disk by content: never wrong, never half-written, never needed."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from ..model.errors import InputError
from ..model.files import write_text


def folder() -> Path:
    """Where results are kept: ``$GENOGATE_CACHE``, else the user's cache folder."""
    named = os.environ.get("GENOGATE_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("genogate", appauthor=False)


def load(key: str, names: tuple[str, ...]) -> dict[str, int] | None:
    """The integers `names` of an entry; None when it is missing or in any way damaged."""
    try:
        entry = json.loads(_path(key).read_text())
        if entry["key"] != key:
            return None
        values = {name: entry[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return values if all(type(v) is int and v >= 0 for v in values.values()) else None


def store(key: str, values: Mapping[str, Any]) -> None:
    """Keep an entry. Where the folder cannot be written nothing is kept, and nothing else fails."""
    with suppress(InputError):
        write_text(_path(key), json.dumps({"key": key, **values}, sort_keys=True) + "\n")


def _path(key: str) -> Path:
    return folder() / "area" / key[:2] / f"{key}.json"
