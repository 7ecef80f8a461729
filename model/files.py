"""Reading and writing files so that nothing is ever left half-written."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import InputError, shown

#: No file of ours comes near this; a larger one is refused before it is read.
MAX_BYTES = 256 * 1024 * 1024


@contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"cannot {what} {path}: a file stands where a folder is needed") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot {what} {path}: {reason}") from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it and a rename.

    A reader sees the old file or the new one, never a part; the folder is made when missing.
    Raises :class:`InputError` where the folder cannot be made or written.
    """
    path = Path(path)
    with _explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextmanager
def staged(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` together when the block ends well.

    When it ends badly nothing has moved, and `folder` is as it was before. Use it around the whole
    work, so that a folder that cannot be written is known before the work is done.
    Raises :class:`InputError` where the folder cannot be made or written.
    """
    folder = Path(folder)
    with _explained("write", folder):
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        yield stage
        with _explained("write", folder):
            # Reports come last: where they are, what they speak of is there too.
            for path in sorted(stage.iterdir(), key=lambda path: (path.suffix == ".json", path)):
                os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        # Only those that this call made and left empty.
        for path in made:
            with suppress(OSError):
                path.rmdir()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically (see :func:`write_bytes`)."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically (see :func:`write_bytes`)."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file. Raises :class:`InputError` when missing, unreadable or absurdly large."""
    path = Path(path)
    with _explained("read", path):
        if path.is_dir():
            raise InputError(f"cannot read {path}: it is a folder, a file is needed")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"cannot read {path}: larger than {MAX_BYTES} bytes")
        # A device has no size: only a bounded read ends.
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"cannot read {path}: larger than {MAX_BYTES} bytes")
    return data


def read_json(path: str | os.PathLike[str]) -> Any:
    """The parsed JSON file. Raises :class:`InputError` when missing or not JSON."""
    raw = read_bytes(path)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Any, kind: str
) -> None:
    """Write a safetensors file whose metadata holds ``kind`` and `metadata` as JSON, atomically."""
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    raw = save(plain, metadata={"kind": kind, "genogate": json.dumps(metadata)})
    # safetensors writes its metadata in a random order; sorted, equal content is equal bytes.
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.dumps(json.loads(raw[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    write_bytes(path, len(header).to_bytes(8, "little") + header + raw[end:])


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], Any]:
    """Tensors and metadata of a file written by :func:`write_tensors` with the same `kind`.

    Raises :class:`InputError` for a missing, truncated or foreign file.
    """
    path = Path(path)
    with _explained("read", path):
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"cannot read {path}: it is a folder, a file is needed")
        if size > MAX_BYTES:
            raise InputError(f"cannot read {path}: larger than {MAX_BYTES} bytes")
    try:
        with safe_open(str(path), framework="np") as file:
            header = file.metadata() or {}
            if header.get("kind") != kind:
                raise InputError(f"{path}: not a {kind} file (kind: {shown(header.get('kind'))})")
            metadata = json.loads(header["genogate"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    # safetensors and NumPy raise many types for crafted headers; all mean the same to a user.
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not a readable safetensors {kind} file ({reason})") from error
    return tensors, metadata
