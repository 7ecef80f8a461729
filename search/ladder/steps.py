"""Networks near others: a bit less here and there, and what lies between two of them."""

from collections.abc import Sequence

import numpy as np

from ...model.genome import MIN_BITS, Genome
from .rungs import LEAST_BITS, Net

Array = np.ndarray


def row_of(net: Net) -> Array:
    """Genes of all layers, bits of input and classifier, place of the checkpoint [20 or more]."""
    return np.array([*net.genome.genes, net.input_bits, net.classifier_bits, net.size])


def net_of(row: Array) -> Net:
    """The other way."""
    genes = Genome.from_genes([int(v) for v in row[:-3]])
    return Net(int(row[-1]), genes, int(row[-3]), int(row[-2]))


def steps_down(net: Net) -> list[Net]:
    """`net` with a bit less of one gene, of the input or of the classifier, one after the other."""
    row = row_of(net)
    low = [MIN_BITS] * (len(row) - 3) + [LEAST_BITS] * 2
    return [
        net_of(np.array([*row[:k], row[k] - 1, *row[k + 1 :]]))
        for k, least in enumerate(low)
        if row[k] > least
    ]


def together(net: Net, steps: Sequence[Net]) -> Net:
    """`net` with all of the `steps` (:func:`steps_down`) at once."""
    row = row_of(net)
    return net_of(row + sum((row_of(step) - row for step in steps), np.zeros(len(row), int)))


def between(net: Net, other: Net, share: float, draw: np.random.Generator) -> Net:
    """`net` with so many of the single bits in which `other`, of the same size, differs; at least
    one of them, and not all."""
    start, end = row_of(net), row_of(other)
    bits = np.repeat(np.arange(len(start)), np.abs(end - start))
    count = int(np.clip(round(share * len(bits)), 1, max(1, len(bits) - 1)))
    chosen = np.bincount(draw.permutation(bits)[:count], minlength=len(start))
    return net_of(start + np.sign(end - start) * chosen)
