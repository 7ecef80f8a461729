"""A part of a data set of one's own: inputs, targets and lengths, checked.

Forms of ``y``, T being the steps of ``x`` [sequences, T, features]:

* integers [sequences]: a class for each sequence (False and True are the classes 0 and 1);
* integers [sequences, T]: a class at every step, -1 where none counts;
* real numbers [sequences, K]: K values for each sequence;
* real numbers [sequences, T, K]: K values at every step, NaN where none counts.

Sequences of different length come with ``lengths`` [sequences], or end in steps of NaN.
"""

import numpy as np

from ..errors import InputError
from ..integer import MAX_SIZE
from .measures import lengths_of


def part_of(
    path: str, name: str, x: np.ndarray, y: np.ndarray, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`x` as float32 that ends in NaN where a sequence ends, and `y` as int64 or float32, without
    targets there. Raises :class:`InputError`; `name` tells which part it is."""
    x = _inputs(path, name, x)
    given = _lengths(path, name, x, lengths)
    y = _targets(path, name, x, y)
    if given is not None:
        over = np.arange(x.shape[1]) >= given[:, None]
        x[over] = np.nan
        if y.ndim > 1 and y.shape[:2] == x.shape[:2]:
            y[over] = -1 if y.dtype.kind == "i" else np.nan
    counted = y >= 0 if y.dtype.kind == "i" else ~np.isnan(y)
    if not counted.any():
        raise InputError(f"{path}: y{name} holds no target that counts")
    if y.dtype.kind == "f" and (counted.any(-1) != counted.all(-1)).any():
        raise InputError(f"{path}: y{name} holds NaN in some of the values of a target")
    return x, y


def _inputs(path: str, name: str, x: np.ndarray) -> np.ndarray:
    if x.ndim != 3 or 0 in x.shape:
        raise InputError(
            f"{path}: x{name} has shape {x.shape}, [sequences, steps, features] with "
            "none of them 0 is needed"
        )
    if x.dtype.kind not in "fiub":
        raise InputError(f"{path}: x{name} holds {x.dtype}, real numbers are needed")
    if x.shape[2] > MAX_SIZE:
        raise InputError(f"{path}: {x.shape[2]} features, at most {MAX_SIZE} are possible")
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def _lengths(path: str, name: str, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray | None:
    """Steps of each sequence, or None where all are of one length."""
    batch, steps, _ = x.shape
    if lengths is not None:
        if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
            raise InputError(
                f"{path}: lengths{name} must be {batch} integers, the steps of each sequence"
            )
        if int(lengths.min()) < 1 or int(lengths.max()) > steps:
            raise InputError(
                f"{path}: lengths{name} go from {lengths.min()} to {lengths.max()}, "
                f"1 to {steps} steps are possible"
            )
    ends = lengths if lengths is not None else lengths_of(x)
    odd = ~np.isfinite(x)
    if ends is not None:
        odd &= (np.arange(steps) < np.asarray(ends)[:, None])[..., None]
    if odd.any() or (ends is not None and int(ends.min()) < 1):
        raise InputError(
            f"{path}: x{name} holds a value that is not finite in float32"
            + ("" if ends is None else ", before the end of its sequence")
            + _first_odd(x, odd)
        )
    return None if ends is None else ends.astype(np.int64)


def _first_odd(x: np.ndarray, odd: np.ndarray) -> str:
    """Where the first value is that is `odd`, and what NaN is for."""
    if not odd.any():
        return ""
    place = tuple(int(k) for k in np.argwhere(odd)[0])
    text = (
        f" ({x[place]} in sequence {place[0]}, step {place[1]}, feature {place[2]}, counted from 0)"
    )
    if np.isnan(x[odd]).all():
        text += ": NaN fills all features of the steps after a sequence's end, and nothing else"
    return text


def _targets(path: str, name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    every = y.ndim > 1 and y.shape[:2] == x.shape[:2]
    if y.dtype.kind == "b" and y.ndim == (2 if every else 1):
        y = y.astype(np.int64)
    if y.dtype.kind == "f" and y.ndim in (2, 3):
        if y.shape[0] != len(x) or (y.ndim == 3 and not every) or not 0 < y.shape[-1] <= MAX_SIZE:
            raise InputError(
                f"{path}: y{name} has shape {y.shape}; real values are [sequences, values] or "
                f"[sequences, steps, values], x{name} has {len(x)} sequences of {x.shape[1]} steps"
            )
        with np.errstate(over="ignore"):
            y = y.astype(np.float32)
        if np.isinf(y).any() or (y.ndim == 2 and np.isnan(y).any()):
            raise InputError(f"{path}: y{name} holds a value that is not finite in float32")
        return y
    if y.shape != x.shape[: 2 if every else 1]:
        raise InputError(
            f"{path}: y{name} has shape {y.shape}, a class for each of the {len(x)} "
            f"sequences of x{name}, or for each of their {x.shape[1]} steps, is needed"
            + ("; several answers of yes and no: y.astype(np.float32)" if _yes_and_no(y) else "")
        )
    least = -1 if every else 0
    if y.dtype.kind not in "iu" or int(y.min()) < least or int(y.max()) >= MAX_SIZE:
        raise InputError(
            f"{path}: y{name} must hold integers from 0 to {MAX_SIZE - 1}, one for each class"
            + (" (-1: the step does not count)" if every else "")
            + ("; real values need a last axis, y[..., None]" if y.dtype.kind == "f" else "")
        )
    return y.astype(np.int64)


def _yes_and_no(y: np.ndarray) -> bool:
    """Whether `y` [..., K] holds several answers of yes and no: real values to a network."""
    return y.dtype.kind == "b" and y.ndim in (2, 3)


def check_classes(path: str, y: np.ndarray) -> None:
    """Raises :class:`InputError` where all targets `y` that count are one class."""
    if y.dtype.kind == "i" and int(y.max()) == 0:
        raise InputError(f"{path}: y holds class 0 alone, there is nothing to tell apart")


def target_warnings(y: np.ndarray) -> list[str]:
    """A line where real targets `y` are what is mostly meant as classes: one of K values is 1."""
    if y.dtype.kind != "f" or y.shape[-1] < 2:
        return []
    counted = y[~np.isnan(y).any(-1)]
    if not np.isin(counted, (0, 1)).all() or (counted.sum(-1) != 1).any():
        return []
    return ["y is one-hot and is learned as real values: for classes save y.argmax(-1)"]


def targets_in_common(path: str, *parts: np.ndarray) -> None:
    """Raises :class:`InputError` where the targets of the parts are not of one form."""
    forms = {(y.dtype.kind, y.ndim, y.shape[-1] if y.dtype.kind == "f" else 0) for y in parts}
    if len(forms) > 1:
        raise InputError(f"{path}: y_train, y_val and y_test are not targets of one form")
