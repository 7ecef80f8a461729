"""Where the elements of all items lie in one array, and reductions over an item.

A value is a float64 array [widths or 1, elements of all items one after the other], so that one
formula over all items and widths is a handful of NumPy calls. Where nothing depends on the width
the first axis stays 1. A scalar per item and width is the same with one element an item.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...model.aliases import Array


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the items' elements lie: item i is a matrix ``shapes[i]``, row by row.

    whole : elements of the item's whole tensor, of which these may be a sample
    """

    shapes: tuple[tuple[int, int], ...]
    whole: Array

    @property
    def items(self) -> int:
        return len(self.shapes)

    @cached_property
    def counts(self) -> Array:
        return np.array([rows * columns for rows, columns in self.shapes])

    @cached_property
    def starts(self) -> Array:
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    @cached_property
    def of(self) -> Array:
        """The item of each element."""
        return np.repeat(np.arange(self.items), self.counts)

    @cached_property
    def single(self) -> bool:
        """Whether every item is one number."""
        return bool((self.counts == 1).all())

    @cached_property
    def row_starts(self) -> Array:
        return np.concatenate(
            [
                start + np.arange(rows) * columns
                for start, (rows, columns) in zip(self.starts, self.shapes, strict=True)
            ]
        )

    @cached_property
    def rows(self) -> "Layout":
        """A layout of one number a row."""
        return Layout(tuple((rows, 1) for rows, _ in self.shapes), self.whole)

    @cached_property
    def columns(self) -> tuple[Array, Array, Array]:
        """For what runs down the rows: the order that puts columns one after the other, where each
        then starts, and the column of each element in the old order."""
        order = np.concatenate(
            [
                start + np.arange(rows * columns).reshape(rows, columns).T.ravel()
                for start, (rows, columns) in zip(self.starts, self.shapes, strict=True)
            ]
        )
        lengths = np.concatenate([np.full(columns, rows) for rows, columns in self.shapes])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        column = np.empty(len(order), int)
        column[order] = np.repeat(np.arange(len(lengths)), lengths)
        return order, starts, column


@dataclass(frozen=True, eq=False)
class Value:
    """What a node of a formula is: `data` float64 [widths or 1, elements]."""

    data: Array
    layout: Layout

    def means(self) -> Array:
        """Float64 [widths or 1, items]."""
        return item_means(self.data, self.layout)


def item_sums(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.add.reduceat(x, layout.starts, axis=1)


def item_means(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.add.reduceat(x, layout.starts, axis=1) / layout.counts


def item_maxima(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.maximum.reduceat(x, layout.starts, axis=1)


def item_minima(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.minimum.reduceat(x, layout.starts, axis=1)


def spread(scalars: Array, layout: Layout) -> Array:
    return scalars if layout.single else scalars[:, layout.of]
