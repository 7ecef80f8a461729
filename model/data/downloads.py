"""Files of data sets: where they are looked for, and the download of those that are not there.

A file is looked for in ``$GENOGATE_DATA``, then in the user's cache, and downloaded to the cache
from its official address, with a checksum, when it is in neither. ``GENOGATE_OFFLINE=1`` forbids
the download.
"""

import os
from contextlib import suppress
from pathlib import Path

from ..errors import InputError

#: The folder of the user's own copies, and what forbids downloads.
DATA_VARIABLE, OFFLINE_VARIABLE = "GENOGATE_DATA", "GENOGATE_OFFLINE"


def cache_folder() -> Path:
    """Where downloads and derived features are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("genogate") / "data"


def roots() -> list[Path]:
    """Folders that data sets are looked for in, the user's own first."""
    given = os.environ.get(DATA_VARIABLE)
    return [*([Path(given)] if given else []), cache_folder()]


def find(folders: tuple[str, ...], name: str) -> Path | None:
    """The first file or folder `name` in any of `folders`, in the order of trust."""
    for root in roots():
        for folder in folders:
            path = root / folder / name
            with suppress(OSError):
                if path.exists():
                    return path
    return None


def _missing(what: str, want: str, url: str, reason: str) -> InputError:
    given = os.environ.get(DATA_VARIABLE)
    where = f"in ${DATA_VARIABLE} ({given})" if given else f"(${DATA_VARIABLE} is not set)"
    return InputError(
        f"{what}: not found {where} nor in {cache_folder()}, {reason}: get {want} from {url} and "
        f"set {DATA_VARIABLE} to the folder that holds it"
    )


def download(what: str, want: str, url: str, sha256: str, target: Path) -> Path:
    """`url` as `target`, checked. Raises :class:`InputError` where that cannot be done."""
    if os.environ.get(OFFLINE_VARIABLE):
        raise _missing(what, want, url, f"and {OFFLINE_VARIABLE} forbids to download it")
    try:
        import pooch
        from requests import RequestException
    except ImportError:
        raise _missing(what, want, url, "and pooch, which downloads it, is not installed") from None
    try:
        pooch.retrieve(url, f"sha256:{sha256}", target.name, target.parent)
    except (RequestException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise _missing(what, want, url, f"and the download failed ({reason})") from None
    except ValueError:
        raise InputError(
            f"{what}: the download of {url} is corrupted (SHA-256 is not {sha256[:12]}...): try "
            f"again, or set {DATA_VARIABLE} to a folder with {want}"
        ) from None
    return target
