"""Random changes of training sequences that keep their class."""

import numpy as np

from ..data.tasks import Task


def shifted(x: np.ndarray, most: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    """`x` [batch, steps, features], each sequence shifted at random, zeros moving in.

    `most` bounds the shift along steps and along features.
    """
    batch, steps, features = x.shape
    down, right = most
    padded = np.pad(x, ((0, 0), (down, down), (right, right)))
    top = draw.integers(0, 2 * down + 1, (batch, 1, 1)) + np.arange(steps)[:, None]
    left = draw.integers(0, 2 * right + 1, (batch, 1, 1)) + np.arange(features)
    return padded[np.arange(batch)[:, None, None], top, left]


def stretched(x: np.ndarray, most: float, draw: np.random.Generator) -> np.ndarray:
    """`x` [batch, steps, features], each sequence faster or slower by up to the share `most`.

    The first step stays where it is; past its end a slow reader meets the last step again.
    """
    batch, steps, _ = x.shape
    speed = np.exp2(draw.uniform(-np.log2(1 + most), np.log2(1 + most), (batch, 1)))
    position = np.minimum(np.arange(steps) * speed, steps - 1)
    below = np.minimum(position.astype(np.int64), steps - 2)
    share = (position - below).astype(np.float32)[..., None]
    row = np.arange(batch)[:, None]
    return x[row, below] * (1 - share) + x[row, below + 1] * share


def augmented(task: Task, index: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Training sequences `index` of `task`, changed at random in the ways that keep their class."""
    x = task.x_train[index]
    if task.stretch:
        x = stretched(x, task.stretch, draw)
    x = shifted(x, task.max_shift, draw)
    if task.offset:
        shape = (len(x), 1, x.shape[2])
        x = x + np.float32(task.offset) * draw.standard_normal(shape, np.float32)
    if task.noise:
        x = x + np.float32(task.noise) * draw.standard_normal(x.shape, np.float32)
    return x
