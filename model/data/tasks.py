"""Tasks: data sets, named or the user's own, cut into the same three parts every time by a seed."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, integer_within
from ..files import read_archive
from . import mnist, speech_commands
from .folds import cut_fold, fold_of, whole_of
from .own import check_classes, part_of, targets_in_common
from .task import Task

#: Shares of the data: 30 % test; 15 % of the rest validation.
TEST_SHARE, VALIDATION_SHARE = 0.30, 0.15
#: The task that every command takes when none is named.
DEFAULT_TASK = "digits-row"
#: Seeds are what a frozen NumPy generator accepts.
MAX_SEED = 2**32 - 1
#: MNIST: training images kept from training, per class.
MNIST_HELD_OUT = 500
#: Of those, sequences in the validation part, so that judging a genome takes a second or two.
MNIST_VALIDATION = {"mnist-row": 5000, "mnist-pixel14": 2000, "mnist-pixel": 1000}
#: Cepstral coefficients of a frame.
COEFFICIENTS = 10
#: Words of the keyword tasks.
KEYWORD_TASKS = {
    "kws4": speech_commands.KEYWORDS[:4],
    "kws10": speech_commands.KEYWORDS,
    "kws12": speech_commands.WORDS,
}
#: What a data set of one's own may take, unpacked.
OWN_MAX_BYTES = 4 << 30


def _split(y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted indices of the training, validation and test parts, stratified by class."""
    # RandomState, because NumPy promises that its stream never changes: a shipped checkpoint must
    # meet the same test part years later.
    draw = np.random.RandomState(seed)
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for label in np.unique(y):
        members = draw.permutation(np.flatnonzero(y == label))
        test = round(len(members) * TEST_SHARE)
        validation = round((len(members) - test) * VALIDATION_SHARE)
        cut = np.split(members, [test, test + validation])
        for part, indices in zip(parts, (cut[2], cut[1], cut[0]), strict=True):
            part.append(indices)
    train, val, test_part = (np.sort(np.concatenate(part)) for part in parts)
    return train, val, test_part


def _digits_row(name: str, seed: int) -> Task:
    """scikit-learn's bundled UCI digits, 1,797 images of 8 x 8: a row of pixels is a step."""
    images, labels = digits()
    x, y = (images / 16).astype(np.float32), labels.astype(np.int64)
    return _cut(name, seed, x, y, max_shift=(1, 1))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images float64 [1797, 8, 8], 0 to 16, and labels of scikit-learn's digits.

    Read from its file: importing scikit-learn takes forty times as long.
    """
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.exists():
            with gzip.open(path, "rt") as file:
                rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def _cut(name: str, seed: int, x: np.ndarray, y: np.ndarray, **more: Any) -> Task:
    # Where there is no class to a sequence, parts are drawn from all.
    train, val, test = _split(y if y.ndim == 1 else np.zeros(len(y), np.int64), seed)
    outputs = int(y.max()) + 1 if y.dtype.kind == "i" else y.shape[-1]
    return Task(name, seed, x[train], y[train], x[val], y[val], x[test], y[test], outputs, **more)


def _held_out(y: np.ndarray, seed: int, counts: np.ndarray) -> np.ndarray:
    """Indices, drawn at random, of ``counts[label]`` members of every class; classes in turn, so
    that the first N are balanced as well."""
    draw = np.random.RandomState(seed)
    members = [
        draw.permutation(np.flatnonzero(y == label))[:count] for label, count in enumerate(counts)
    ]
    most = max(map(len, members))
    turns = [part[k] for k in range(most) for part in members if k < len(part)]
    return np.array(turns, np.int64)


def _mnist(name: str, seed: int) -> Task:
    """MNIST: 500 training images of each class are drawn for validation; the test part is the
    official one. ``mnist-row``: a row of pixels is a step; ``mnist-pixel``: a pixel;
    ``mnist-pixel14``: a pixel of the image averaged to 14 x 14."""
    parts = mnist.mnist()
    (images, labels), (test_images, test_labels) = parts["train"], parts["t10k"]

    def sequences(pixels: np.ndarray) -> np.ndarray:
        count = len(pixels)
        if name == "mnist-row":
            return pixels.astype(np.float32) * np.float32(1 / 255)
        if name == "mnist-pixel14":
            pixels = pixels.reshape(count, 14, 2, 14, 2).sum((2, 4), dtype=np.uint16)
            return pixels.reshape(count, -1, 1).astype(np.float32) * np.float32(1 / 1020)
        return pixels.reshape(count, -1, 1).astype(np.float32) * np.float32(1 / 255)

    y, y_test = labels.astype(np.int64), test_labels.astype(np.int64)
    # A small file of the same form has fewer to give away.
    counts = np.minimum(MNIST_HELD_OUT, np.bincount(y, minlength=10) // 4)
    held = _held_out(y, seed, counts)
    train = np.delete(np.arange(len(y)), held)
    val = held[: MNIST_VALIDATION[name]]
    # Of a row of pixels as a step the image may move by one in both directions; the sequences of
    # single pixels would have to move by whole rows.
    max_shift = (1, 1) if name == "mnist-row" else (0, 0)
    return Task(
        name,
        seed,
        sequences(images[train]),
        y[train],
        sequences(images[val]),
        y[val],
        sequences(test_images),
        y_test,
        10,
        max_shift,
    )


def cepstra(x: np.ndarray) -> np.ndarray:
    """Cepstral coefficients float32 [clips, 49, 10] of log-mel bytes [clips, 49, 40]: the first
    rows of an orthonormal DCT-II over the bands, in steps of 1/64, so that every machine gets the
    same numbers whatever its FFT does with the last bit."""
    from scipy.fft import dct

    energies = speech_commands.FEATURE_OFFSET + speech_commands.FEATURE_STEP * x.astype(np.float64)
    return _steps(dct(energies, norm="ortho", axis=-1)[..., :COEFFICIENTS])


def _steps(value: np.ndarray) -> np.ndarray:
    return (np.rint(value * 64) / 64).astype(np.float32)


def _speech_parts(clips: speech_commands.Clips, seed: int) -> np.ndarray:
    """Part of every clip. Seed 0: the split that comes with the data. Any other: the same speakers
    are tested, and others of the rest drawn for validation."""
    if seed == 0:
        return clips.part
    tested = clips.part == speech_commands.PARTS.index("test")
    spoken = clips.speaker >= 0
    rest = np.unique(clips.speaker[spoken & ~tested])
    order = np.random.RandomState(seed).permutation(rest)
    keyword = spoken & (clips.label < len(speech_commands.KEYWORDS))
    said = np.array([np.sum(keyword & (clips.speaker == who)) for who in order])
    before = np.concatenate([[0], np.cumsum(said)[:-1]])
    validation = order[before < speech_commands.SPEECH_VALIDATION * keyword.sum()]
    part = np.where(np.isin(clips.speaker, validation) & spoken, 1, 0)
    # Where nobody speaks, clips are as good as speakers.
    silent = np.flatnonzero(~spoken & ~tested)
    share = speech_commands.SPEECH_VALIDATION / (1 - speech_commands.SPEECH_TEST)
    part[np.random.RandomState(seed).permutation(silent)[: round(share * len(silent))]] = 1
    return np.where(tested, 2, part)


def _keywords(name: str, seed: int) -> Task:
    """Speech Commands: 49 frames of 10 cepstral coefficients, each with mean 0 and deviation 1 over
    the training part; no speaker is in two parts. A speaker-disjoint re-split of the published test
    clips, so not comparable with published accuracies."""
    clips = speech_commands.speech()
    words = KEYWORD_TASKS[name]
    labelled = clips.label < len(words)
    part, y = _speech_parts(clips, seed)[labelled], clips.label[labelled]
    x = cepstra(clips.x[labelled])
    training = x[part == 0]
    mean = _steps(training.mean((0, 1), dtype=np.float64))
    deviation = np.maximum(_steps(training.std((0, 1), dtype=np.float64)), np.float32(1 / 64))
    x = (x - mean) / deviation
    parts = [np.flatnonzero(part == index) for index in range(3)]
    if not all(len(indices) for indices in parts):
        raise InputError(f"task {name}: a part without any clip, more speakers are needed")
    train, val, test = parts
    notes = {
        "classes": list(words),
        "features": "first 10 coefficients of the orthonormal DCT-II of 40 log-mel energies, "
        "in steps of 1/64, less mean, over deviation",
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "split": "speaker-disjoint re-split of the Speech Commands v0.02 test clips",
    }
    return Task(
        name,
        seed,
        x[train],
        y[train],
        x[val],
        y[val],
        x[test],
        y[test],
        len(words),
        max_shift=(5, 0),
        stretch=0.2,
        noise=0.3,
        offset=0.3,
        notes=notes,
        speakers=_speakers(clips.speaker[labelled][np.concatenate([train, val])]),
    )


def _speakers(speaker: np.ndarray) -> np.ndarray:
    """Speakers, where nobody speaks a number of its own."""
    alone = -1 - np.arange(len(speaker))
    return np.where(speaker >= 0, speaker, alone).astype(np.int64)


def _denoise(name: str, seed: int) -> Task:
    from ..denoise.task import denoise

    return denoise(name, seed)


_LOADERS: dict[str, Callable[[str, int], Task]] = {
    "digits-row": _digits_row,
    **dict.fromkeys(MNIST_VALIDATION, _mnist),
    **dict.fromkeys(KEYWORD_TASKS, _keywords),
    "denoise": _denoise,
}
#: Names that :func:`load_task` knows.
TASKS = tuple(_LOADERS)
#: Random changes of one's own data: name, and its size where none is given.
CHANGES = {"shift": 0.05, "stretch": 0.1, "noise": 0.1, "offset": 0.1}


def changing(task: Task, text: str) -> Task:
    """`task` whose training sequences may be changed at random as `text` says, which are changes
    with commas between: ``shift``, ``noise=0.2`` and so on.

    ``shift``: along the steps, at most this share of them (one step at least). ``stretch``: speed,
    by up to this share. ``noise``: normal noise on every value; ``offset``: one number for each
    feature of a sequence; deviations in those of the training part's values. Sizes of
    :data:`CHANGES` where `text` gives none. Raises :class:`InputError` for other words or sizes,
    and for a task that is no file of one's own.
    """
    if not text:
        return task
    if not is_own(task.name):
        raise InputError(f"augment: {task.name} has changes of its own; it is for a file NAME.npz")
    sizes: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in CHANGES:
            raise InputError(f"augment {name[:40]!r}: {', '.join(CHANGES)} are known")
        try:
            sizes[name] = float(number) if number else CHANGES[name]
        except ValueError:
            sizes[name] = float("nan")
        if not 0 <= sizes[name] <= 1:
            raise InputError(f"augment {name}: {number[:40]!r} is not a number from 0 to 1")
    if not task.plain and {"shift", "stretch"} & set(sizes):
        raise InputError(
            "augment: shift and stretch are for sequences of one length with a class each: leave "
            "noise and offset"
        )
    deviation = float(np.nanstd(task.x_train, dtype=np.float64))
    steps = round(sizes.get("shift", 0) * task.steps)
    return replace(
        task,
        max_shift=(max(1, steps) if sizes.get("shift") else 0, 0),
        stretch=sizes.get("stretch", 0.0),
        noise=sizes.get("noise", 0.0) * deviation,
        offset=sizes.get("offset", 0.0) * deviation,
    )


def is_own(name: str) -> bool:
    """Whether `name` means a file with the user's own data, or a fold of it."""
    return whole_of(name).endswith(".npz")


def may_have_moved(trained_on: object, name: object) -> bool:
    """Whether both tasks are files of one's own, so that one may be the other in another place:
    the hash of the split tells."""
    return all(isinstance(each, str) and is_own(each) for each in (trained_on, name))


def check_name(name: str) -> None:
    """Raises :class:`InputError` unless `name` is a task's, or may be a file of one's own data, or
    a fold of one of these."""
    if not isinstance(name, str) or (whole_of(name) not in _LOADERS and not is_own(name)):
        raise InputError(
            f"task {name!r:.60}: unknown, the tasks are {', '.join(TASKS)}; a data set of your own "
            "is a file NAME.npz"
        )


def load_task(name: str = DEFAULT_TASK, split_seed: int = 0) -> Task:
    """The task `name`, its parts drawn with `split_seed`; or the user's own data in `name`.npz.

    A file holds ``x`` [sequences, steps, features] and ``y`` [sequences], cut here as digits-row is
    (30 % test, 15 % of the rest validation, by class), or ``x_train``, ``y_train``, ``x_test`` and
    ``y_test``, and with them ``x_val`` and ``y_val``, else 15 % of the training part. Other forms
    of ``y``, and sequences of different length: :mod:`.own`. ``NAME#1of4`` is the first of four
    folds of a task (:mod:`.folds`). Raises :class:`InputError` for an
    unknown name, a seed that is no integer from 0 to 2**32-1, data that is missing, damaged, or not
    of that form.
    """
    check_name(name)
    integer_within("seed", split_seed, 0, MAX_SEED)
    if fold := fold_of(name):
        return cut_fold(load_task(fold[0], split_seed), *fold[1:])
    return _LOADERS.get(name, _own)(name, split_seed)


#: Arrays of a file that is cut by its author.
_PART_ARRAYS = {
    f"{what}_{part}" for what in ("x", "y", "lengths") for part in ("train", "val", "test")
}


def _own(path: str, seed: int) -> Task:
    """The user's own arrays (see :func:`load_task`)."""
    if not Path(path).exists():
        # A network remembers the path that it was trained with, which may be relative.
        raise InputError(f"cannot read {path}: No such file or directory; give --task its place")
    arrays = read_archive(path, OWN_MAX_BYTES)

    def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
        for axis in "xy":
            if axis + name not in arrays:
                raise InputError(
                    f"{path}: array {axis + name!r} is missing; x and y are needed, "
                    "or x_train, y_train, x_test and y_test"
                )
        lengths = arrays.get(f"lengths{name}")
        return part_of(path, name, arrays[f"x{name}"], arrays[f"y{name}"], lengths)

    if "x" in arrays or "y" in arrays:
        if parts := sorted(name for name in arrays if name in _PART_ARRAYS):
            raise InputError(
                f"{path}: {parts[0]!r} beside x and y, which are cut into all three parts: give "
                "x_train, y_train, x_test and y_test in their place"
            )
        return _cut_in_three(path, seed, *pair(""))
    train, test = pair("_train"), pair("_test")
    if "x_val" in arrays or "y_val" in arrays:
        val = pair("_val")
    else:
        train, val = _held_apart(path, seed, *train)
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = train, val, test
    for name, other in (("x_val", x_val), ("x_test", x_test)):
        if other.shape[1:] != x_train.shape[1:]:
            raise InputError(
                f"{path}: {name} has {other.shape[1:]} steps and features, x_train "
                f"{x_train.shape[1:]}"
            )
    targets_in_common(path, y_train, y_val, y_test)
    if y_train.dtype.kind == "f":
        outputs = y_train.shape[-1]
        return Task(path, seed, x_train, y_train, x_val, y_val, x_test, y_test, outputs)
    check_classes(path, np.array([y_train.max(), y_val.max(), y_test.max()]))
    classes = int(max(y_train.max(), y_val.max(), y_test.max())) + 1
    if absent := sorted(set(range(classes)) - set(np.unique(y_train).tolist())):
        raise InputError(f"{path}: class {absent[0]} of {classes} is not in y_train")
    return Task(path, seed, x_train, y_train, x_val, y_val, x_test, y_test, classes)


def _cut_in_three(path: str, seed: int, x: np.ndarray, y: np.ndarray) -> Task:
    """Sequences that are to be cut into the three parts, with their targets."""
    check_classes(path, y)
    if y.ndim > 1:
        if len(x) < 10:
            raise InputError(
                f"{path}: {len(x)} sequences; 10 or more are needed to cut them in three "
                "parts, or give x_train, x_val, x_test"
            )
        return _cut(path, seed, x, y)
    counts = np.bincount(y)
    rarest = int(counts.argmin())
    if counts[rarest] < 5:
        start = " (classes count from 0)" if counts[0] == 0 else ""
        raise InputError(
            f"{path}: class {rarest} has {counts[rarest]} sequences{start}; 5 or more are "
            "needed to cut them in three parts, or give x_train, x_val, x_test"
        )
    return _cut(path, seed, x, y)


def _held_apart(
    path: str, seed: int, x: np.ndarray, y: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and validation part of sequences that have no validation part."""
    labels = y if y.ndim == 1 else np.zeros(len(y), np.int64)
    counts = np.rint(np.bincount(labels) * VALIDATION_SHARE).astype(np.int64)
    held = np.sort(_held_out(labels, seed, counts))
    if not len(held):
        raise InputError(
            f"{path}: too few sequences to take {VALIDATION_SHARE:.0%} of each "
            "class for validation: give x_val and y_val"
        )
    return (np.delete(x, held, 0), np.delete(y, held, 0)), (x[held], y[held])
