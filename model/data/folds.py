"""Folds: a task's training and validation part, cut anew so that every sequence is validated once.

A small validation part cannot tell half a point. Of K folds each is the validation part of one
network, trained on the others; the scores of all sequences together have the error of the whole.
The test part stays what it is.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..errors import InputError, integer_within
from .task import Task

#: A task's name with the fold that is its validation part.
NAME = re.compile(r"(.+)#([1-9][0-9]?)of([1-9][0-9]?)")
#: Folds, at most: with more a network costs more than it tells.
MOST = 20


def check_folds(folds: int) -> None:
    """Raises :class:`InputError` unless so many folds can be."""
    integer_within("folds", folds, 2, MOST)


def fold_name(task: str, fold: int, folds: int) -> str:
    """The name of `task` with fold number `fold`, from 1, as its validation part."""
    return f"{task}#{fold}of{folds}"


def fold_of(name: str) -> tuple[str, int, int] | None:
    """Task, fold and folds of such a name; None for any other."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    task, fold, folds = match[1], int(match[2]), int(match[3])
    return (task, fold, folds) if fold <= folds <= MOST and folds > 1 else None


def whole_of(name: str) -> str:
    """The task that `name` is, or is a fold of."""
    fold = fold_of(name)
    return fold[0] if fold else name


def cut_fold(task: Task, fold: int, folds: int) -> Task:
    """`task` with fold number `fold`, from 1, as its validation part and the others to train on.

    Every fold has its share of every class, and all sequences of a speaker, where these are known.
    Features stay as they are: those that were scaled by the training part still are. Raises
    :class:`InputError` for a task whose parts cannot be cut anew, or with too few sequences.
    """
    if task.targets is not None:
        raise InputError(
            f"folds: the parts of {task.name:.60} share no speaker and no noise, and cannot be cut "
            "anew; leave it out"
        )
    x = np.concatenate([task.x_train, task.x_val])
    y = np.concatenate([task.y_train, task.y_val])
    train, val = list(_cuts(task, y, folds))[fold - 1]
    return replace(
        task,
        name=fold_name(task.name, fold, folds),
        x_train=x[train],
        y_train=y[train],
        x_val=x[val],
        y_val=y[val],
        speakers=None,
    )


def _cuts(task: Task, y: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sorted indices of the training and validation part of every fold."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    check_folds(folds)
    name, who, by_class = f"{task.name:.60}", task.speakers, not (task.real or task.every)
    if by_class:
        fewest = int(np.bincount(y, minlength=task.classes).min())
        _check_enough(folds, fewest, f"a class of {name}", "sequences")
    _check_enough(folds, len(y), name, "sequences")
    if who is not None:
        _check_enough(folds, len(np.unique(who)), name, "speakers")
    random = {"shuffle": True, "random_state": task.split_seed}
    if who is None:
        return (StratifiedKFold if by_class else KFold)(folds, **random).split(y, y)
    return (StratifiedGroupKFold if by_class else GroupKFold)(folds, **random).split(y, y, who)


def _check_enough(folds: int, count: int, whose: str, what: str) -> None:
    if count < folds:
        remedy = f"give {count} or fewer" if count > 1 else "leave it out"
        raise InputError(
            f"folds: {folds}, and {whose} has {count} {what} beside the test part; {remedy}"
        )
