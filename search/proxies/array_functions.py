"""The array functions behind primitives that are no single call of NumPy."""

import numpy as np

from ...model.aliases import Array
from .layout import Layout, item_maxima, item_means, item_minima, item_sums, spread

#: Added before a logarithm or a division. EMQ has 1e-9, which would drown squared gradients.
TINY = 1e-12


def centred(x: Array, layout: Layout) -> Array:
    return x - spread(item_means(x, layout), layout)


def std(x: Array, layout: Layout) -> Array:
    return np.sqrt(item_means(centred(x, layout) ** 2, layout))


def normalize(x: Array, layout: Layout) -> Array:
    return centred(x, layout) / (spread(std(x, layout), layout) + TINY)


def min_max(x: Array, layout: Layout) -> Array:
    low = spread(item_minima(x, layout), layout)
    return (x - low) / (spread(item_maxima(x, layout), layout) - low + TINY)


def _down(x: Array, layout: Layout) -> tuple[Array, Array]:
    """What softmax over the rows of each column needs: exponents, and their sums by element."""
    if layout.single:
        return np.zeros_like(x), np.ones_like(x)
    order, starts, column = layout.columns
    largest = np.maximum.reduceat(x[:, order], starts, axis=1)[:, column]
    shifted = x - largest
    return shifted, np.add.reduceat(np.exp(shifted)[:, order], starts, axis=1)[:, column]


def softmax(x: Array, layout: Layout) -> Array:
    shifted, total = _down(x, layout)
    return np.exp(shifted) / total


def logsoftmax(x: Array, layout: Layout) -> Array:
    shifted, total = _down(x, layout)
    return shifted - np.log(total)


def rms(x: Array, layout: Layout) -> Array:
    return np.sqrt(item_means(x * x, layout))


def frobenius(x: Array, layout: Layout) -> Array:
    return np.sqrt(item_means(x * x, layout) * layout.whole)


def kurtosis(x: Array, layout: Layout) -> Array:
    square = centred(x, layout) ** 2
    return item_means(square * square, layout) / (item_means(square, layout) ** 2 + TINY)


def row_max(x: Array, layout: Layout) -> Array:
    if layout.single:
        return np.abs(x)
    return item_means(np.maximum.reduceat(np.abs(x), layout.row_starts, axis=1), layout.rows)


def row_norm(x: Array, layout: Layout) -> Array:
    if layout.single:
        return np.abs(x)
    return item_means(np.sqrt(np.add.reduceat(x * x, layout.row_starts, axis=1)), layout.rows)


def share(x: Array, layout: Layout) -> Array:
    means = item_means(x, layout)
    return means / (np.abs(means).sum(1, keepdims=True) + TINY)


def item_rank(x: Array, layout: Layout) -> Array:
    means = item_means(x, layout)
    below = (means[:, :, None] > means[:, None]).sum(2)
    equal = (means[:, :, None] == means[:, None]).sum(2)
    return (below + (equal + 1) / 2) / means.shape[1]


def width_share(x: Array, layout: Layout) -> Array:
    means = item_means(x, layout)
    return means / (np.abs(means).sum(0, keepdims=True) + TINY)


def matmul(x: Array, y: Array, layout: Layout) -> Array:
    # The mean over both axes of x^T y needs no product: only the sums of rows.
    if layout.single:
        return x * y
    left = np.add.reduceat(x, layout.row_starts, axis=1)
    right = np.add.reduceat(y, layout.row_starts, axis=1)
    columns = np.array([columns for _, columns in layout.shapes], float)
    return item_sums(left * right, layout.rows) / columns**2


def cosine(x: Array, y: Array, layout: Layout) -> Array:
    return item_means(x * y, layout) / (rms(x, layout) * rms(y, layout) + TINY)


def kl(x: Array, y: Array, layout: Layout) -> Array:
    p, q = np.abs(x) + TINY, np.abs(y) + TINY
    p, q = (each / spread(item_sums(each, layout), layout) for each in (p, q))
    return item_sums(p * np.log(p / q), layout)


def quotient(x: Array, y: Array, layout: Layout) -> Array:
    return x / np.where(y < 0, y - TINY, y + TINY)
