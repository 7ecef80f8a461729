"""Reading and writing files so that nothing is ever left half-written."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from .errors import InputError, Unreachable, one_line, shown
from .leftovers import STAGE, owner, sweep

#: No file of ours comes near this; a larger one is refused before it is read.
MAX_BYTES = 256 * 1024 * 1024


@contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        text = f"cannot {what} {path}: a file stands where a folder is needed"
        raise Unreachable(text) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"cannot {what} {path}: {error.strerror or error}") from error
    except OSError as error:
        raise Unreachable(f"cannot {what} {path}: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _sweep_once(folder: str) -> None:
    sweep(folder, STAGE)


def _replaceable(path: Path) -> None:
    """Raise :class:`InputError` for a pipe or a device: a rename would put a file in its place."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"cannot write {path}: it is a pipe or device, a file is needed")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it and a rename.

    A reader sees the old file or the new one, never a part; the folder is made when missing.
    Raises :class:`InputError` where the folder cannot be made or written, and for a pipe or a
    device.
    """
    path = Path(path)
    with _explained("write", path):
        _replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(str(path.parent.absolute()))
        handle, temporary = tempfile.mkstemp(prefix=f"{STAGE}{owner()}", dir=path.parent)
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


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise :class:`InputError` where :func:`write_bytes` could not write `path`, before the work
    whose result goes there is done; nothing is left behind."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder, a file is needed")
    with _explained("write", path):
        _replaceable(path)
    with staged(path.parent):
        pass


@contextmanager
def staged(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` together when the block ends well.

    When it ends badly nothing has moved, and `folder` is as it was before; also where one of the
    files cannot move. Use it around the whole work, so that a folder that cannot be written is
    known before the work is done. Stages of processes that were killed are removed.
    Raises :class:`InputError` where the folder cannot be made or written.
    """
    folder = Path(folder)
    with _explained("write", folder):
        new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, STAGE)
        stage = Path(tempfile.mkdtemp(prefix=f"{STAGE}{owner()}", dir=folder))
    try:
        yield stage
        with _explained("write", folder):
            _swap(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        # Only those that this call made and left empty.
        for path in new_folders:
            with suppress(OSError):
                path.rmdir()


def _swap(stage: Path, folder: Path) -> None:
    """Move the files of `stage` into `folder`, all or none; earlier ones wait in the stage."""
    # Reports come last: where they are, what they speak of is there too.
    names = sorted((path.name for path in stage.iterdir()), key=lambda n: (n.endswith(".json"), n))
    for name in names:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise InputError(f"cannot write {folder / name}: it is a folder, a file is needed")
        _replaceable(folder / name)
    before = Path(tempfile.mkdtemp(dir=stage))
    moved: list[str] = []
    try:
        for name in names:
            if os.path.lexists(folder / name):
                os.link(folder / name, before / name, follow_symlinks=False)
            moved.append(name)
            os.replace(stage / name, folder / name)
    except BaseException:
        for name in moved:
            if os.path.lexists(before / name):
                os.replace(before / name, folder / name)
            elif not os.path.lexists(stage / name):
                with suppress(OSError):
                    (folder / name).unlink()
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically (see :func:`write_bytes`)."""
    write_bytes(path, text.encode())


def json_text(value: Any) -> str:
    """`value` as indented JSON, with a line feed at its end."""
    return json.dumps(value, indent=1) + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically (see :func:`write_bytes`)."""
    write_text(path, json_text(value))


def regular_file(path: str | os.PathLike[str], most_bytes: int = MAX_BYTES) -> Path:
    """`path`, where it is a file that can be read whole. Raises :class:`InputError` for one that
    is missing, a folder, a pipe or a device (which may never end), or larger than `most_bytes`."""
    path = Path(path)
    with _explained("read", path):
        try:
            status = path.stat()
        except ValueError:
            raise InputError(f"cannot read {shown(str(path))}: no such file") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"cannot read {path}: it is a folder, a file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"cannot read {path}: it is a pipe or device, a file is needed")
    if status.st_size > most_bytes:
        raise InputError(f"cannot read {path}: larger than {most_bytes} bytes")
    return path


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file. Raises :class:`InputError` as :func:`regular_file`."""
    path = regular_file(path)
    with _explained("read", path):
        # What calls itself a file may have no size, as those of /proc: only a bounded read ends.
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"cannot read {path}: larger than {MAX_BYTES} bytes")
    return data


def read_array(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of a ``.npy`` file; mapped, so that a header that lies about its size allocates
    nothing. Raises :class:`InputError` for anything else."""
    path = regular_file(path, 1 << 62)
    with _explained("read", path), open(path, "rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        raise InputError(f"{path}: not a .npy array but an archive of several")
    if magic != b"\x93NUMPY":
        raise InputError(f"{path}: not a .npy array")
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    # NumPy raises many types for crafted headers; all mean the same to a user.
    except Exception as error:
        raise InputError(f"{path}: not a .npy array ({one_line(error, 120)})") from None
    return array


def read_archive(
    path: str | os.PathLike[str], most_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz`` file, which can hold nothing but data (no pickle is loaded).

    Raises :class:`InputError` where it is missing, damaged, or would need more than `most_bytes`.
    """
    import zipfile

    path = regular_file(path, most_bytes)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > most_bytes:
                raise InputError(f"{path}: larger than {most_bytes} bytes when unpacked")
        with np.load(path, allow_pickle=False) as arrays:
            members = {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    # zipfile and NumPy raise many types for crafted files; all mean the same to a user.
    except Exception as error:
        reason = one_line(error, 120)
        if "Object arrays" in reason:
            reason = (
                "one holds Python objects, such as a list of sequences: make it one array of "
                "numbers, NaN behind the end of a sequence"
            )
        raise InputError(f"{path}: not a whole .npz file of arrays ({reason})") from None
    for name, member in members.items():
        if not isinstance(member, np.ndarray):
            raise InputError(f"{path}: its member {shown(name)} is not an array")
    return members


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
    path = regular_file(path)
    try:
        with safe_open(str(path), framework="np") as file:
            header = file.metadata() or {}
            if header.get("kind") != kind:
                raise InputError(f"{path}: not a {kind} file (kind: {shown(header.get('kind'))})")
            metadata = json.loads(header["genogate"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    except PermissionError as error:
        raise Unreachable(f"cannot read {path}: {error.strerror or error}") from error
    # safetensors and NumPy raise many types for crafted headers; all mean the same to a user.
    except Exception as error:
        reason = one_line(error, 160)
        raise InputError(f"{path}: not a readable safetensors {kind} file ({reason})") from error
    return tensors, metadata
