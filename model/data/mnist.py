"""MNIST: its four files, read with nothing of them trusted."""

import gzip
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError, shown
from ..files import MAX_BYTES
from . import downloads

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
#: SHA-256 of the four files, as their authors compressed them.
MNIST_FILES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_FOLDERS = ("mnist", "MNIST/raw", ".")


def _exactly(file: IO[bytes] | gzip.GzipFile, count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise InputError(
            f"{path}: truncated, {count} bytes were announced and {len(data)} are there"
        )
    return data


def read_idx(path: str | os.PathLike[str], dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, plain or gzip, of so many dimensions.

    Format: big-endian magic 0x0000 08 D, D sizes as uint32, then the bytes. Raises
    :class:`InputError` for another magic, sizes that make no sense, or too few or too many bytes.
    """
    path = Path(path)
    try:
        with open(path, "rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain) if packed else plain as file:
                magic = int.from_bytes(_exactly(file, 4, path), "big")
                if magic != 0x0800 + dimensions:
                    raise InputError(
                        f"{path}: magic number {magic:#010x} is not {0x0800 + dimensions:#010x} "
                        f"(IDX, bytes, {dimensions} dimensions)"
                    )
                sizes = np.frombuffer(_exactly(file, 4 * dimensions, path), ">u4").astype(object)
                count = int(sizes.prod())
                if not 1 <= count <= MAX_BYTES:
                    raise InputError(f"{path}: the impossible shape {shown(tuple(sizes))}")
                data = _exactly(file, count, path)
                if file.read(1):
                    raise InputError(f"{path}: longer than its shape {shown(tuple(sizes))} says")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}), get it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return np.frombuffer(data, np.uint8).reshape(tuple(int(size) for size in sizes))


def _mnist_file(name: str) -> Path:
    for form in (name, f"{name}.gz"):
        if path := downloads.find(MNIST_FOLDERS, form):
            return path
    target = downloads.cache_folder() / "mnist" / f"{name}.gz"
    want = f"{name}.gz and the three files beside it"
    return downloads.download("MNIST", want, f"{MNIST_URL}{name}.gz", MNIST_FILES[name], target)


def mnist_is_here() -> bool:
    """Whether all files of MNIST are found without a download."""
    return all(
        any(downloads.find(MNIST_FOLDERS, form) for form in (name, f"{name}.gz"))
        for name in MNIST_FILES
    )


def mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``train`` and ``t10k``: images uint8 [count, 28, 28] and labels uint8 [count], 0 to 9.

    Raises :class:`InputError` where a file is missing, damaged or does not fit its partner.
    """
    parts = {}
    for part in ("train", "t10k"):
        image_file = _mnist_file(f"{part}-images-idx3-ubyte")
        label_file = _mnist_file(f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
        if images.shape[1:] != (28, 28):
            raise InputError(f"{image_file}: images of {images.shape[1:]} pixels, not (28, 28)")
        if len(images) != len(labels):
            raise InputError(f"{label_file}: {len(labels)} labels for {len(images)} images")
        if labels.max() > 9:
            raise InputError(f"{label_file}: label {labels.max()} is not within 0 to 9")
        parts[part] = images, labels
    return parts
