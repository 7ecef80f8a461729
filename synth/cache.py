"""Results on disk by content: never wrong, never half-written, never needed.

One small file an entry, whole or not there, so that any number of processes may read and write at
once. An entry holds a checksum of its numbers; one that does not fit is measured again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs


@lru_cache(maxsize=8)
def _folder(named: str | None) -> str:
    return named or str(platformdirs.user_cache_path("genogate", appauthor=False))


def folder() -> Path:
    """Where results are kept: ``$GENOGATE_CACHE``, else the user's cache folder."""
    return Path(_folder(os.environ.get("GENOGATE_CACHE")))


def _check(key: str, values: Mapping[str, Any]) -> str:
    text = json.dumps([key, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(key: str, names: tuple[str, ...]) -> dict[str, int] | None:
    """The integers `names` of an entry; None when it is missing or in any way damaged or altered.
    Entries of versions that wrote no checksum are none."""
    try:
        with open(_path(key), encoding="utf-8") as file:
            entry = json.load(file)
        check, stored_key = entry.pop("check"), entry.pop("key")
        if stored_key != key or check != _check(key, entry):
            return None
        values = {name: entry[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return values if all(type(v) is int and v >= 0 for v in values.values()) else None


def store(key: str, values: Mapping[str, Any]) -> None:
    """Keep an entry. Where the folder cannot be written nothing is kept, and nothing else fails."""
    path = _path(key)
    entry = {"key": key, **values, "check": _check(key, values)}
    # Nothing waits for the disk: what a power failure leaves of a file fails its check.
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{key}.", dir=os.path.dirname(path))
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(entry, sort_keys=True) + "\n")
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _path(key: str) -> str:
    return os.path.join(_folder(os.environ.get("GENOGATE_CACHE")), "area", key[:2], f"{key}.json")


def load_text(key: str) -> str | None:
    """A text that was stored; None when it is missing or damaged."""
    try:
        with open(_path(key), encoding="utf-8") as file:
            entry = json.load(file)
        text = entry["text"]
        if entry["key"] != key or entry["check"] != _check(key, {"text": text}):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def store_text(key: str, text: str) -> None:
    """Keep a text, as :func:`store` keeps numbers."""
    store(key, {"text": text})
