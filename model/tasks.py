"""Tasks: named data sets, cut into the same three parts every time by a seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import InputError

#: Shares of the data: 30 % test; 15 % of the rest validation.
TEST_SHARE, VALIDATION_SHARE = 0.30, 0.15
#: The task that every command takes when none is named.
DEFAULT_TASK = "digits-row"
#: Seeds are what a frozen NumPy generator accepts.
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Task:
    """Sequences with a class each, in three stratified parts.

    The validation part is for choices (calibration, selection, early stopping); no choice may see
    the test part, and only the test part is reported.

    Parameters
    ----------
    name : str
    split_seed : int
        What the parts were drawn with.
    x_train, x_val, x_test : float32 [sequences, steps, features]
    y_train, y_val, y_test : int64 [sequences], 0 to ``classes - 1``
    classes : int
    max_shift : (int, int)
        Shifts by up to so many steps and features leave the class as it is (training may use it).
    """

    name: str
    split_seed: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    max_shift: tuple[int, int] = (0, 0)

    @property
    def steps(self) -> int:
        return self.x_test.shape[1]

    @property
    def features(self) -> int:
        return self.x_test.shape[2]

    @cached_property
    def split_hash(self) -> str:
        """SHA-256, 16 hex digits, over the three parts: equal only where every value is equal."""
        digest = hashlib.sha256()
        for name in ("train", "val", "test"):
            for part, kind in ((f"x_{name}", "<f4"), (f"y_{name}", "<i8")):
                array = getattr(self, part)
                digest.update(f"{part} {array.shape} ".encode() + array.astype(kind).tobytes())
        return digest.hexdigest()[:16]


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


def _digits_row() -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """scikit-learn's bundled UCI digits, 1,797 images of 8 x 8: a row of pixels is a step."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64), (1, 1)


_LOADERS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, tuple[int, int]]]] = {
    "digits-row": _digits_row,
}
#: Names that :func:`load_task` knows.
TASKS = tuple(_LOADERS)


def load_task(name: str = DEFAULT_TASK, split_seed: int = 0) -> Task:
    """The task `name`, its parts drawn with `split_seed`.

    Raises :class:`InputError` for an unknown name or a seed that is no integer from 0 to 2**32-1.
    """
    if name not in _LOADERS:
        raise InputError(f"task {name!r:.60}: unknown, the tasks are {', '.join(TASKS)}")
    if isinstance(split_seed, bool) or not isinstance(split_seed, int):
        raise InputError(f"seed: {split_seed!r:.60} is not an integer")
    if not 0 <= split_seed <= MAX_SEED:
        raise InputError(f"seed: {split_seed} is not within 0 to {MAX_SEED}")
    x, y, max_shift = _LOADERS[name]()
    train, val, test = _split(y, split_seed)
    return Task(
        name=name,
        split_seed=split_seed,
        x_train=x[train],
        y_train=y[train],
        x_val=x[val],
        y_val=y[val],
        x_test=x[test],
        y_test=y[test],
        classes=int(y.max()) + 1,
        max_shift=max_shift,
    )
