"""Networks as rows of numbers, their single steps to fewer bits, and how far they are apart."""

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


def steps_between(net: Net, other: Net) -> dict[tuple[int, int], int]:
    """Steps from one network to another of its size: place in the row and the bits that the step
    down ends with (that of which a step up is the way back), and 1 or -1 for down or up."""
    start, end = row_of(net), row_of(other)
    steps = {}
    for place in np.flatnonzero(start != end):
        low, high = sorted((int(start[place]), int(end[place])))
        sign = 1 if start[place] > end[place] else -1
        steps.update({(int(place), bits): sign for bits in range(low, high)})
    return steps


def distance(net: Net, other: Net) -> int:
    """Bits in which two networks of one size differ."""
    return int(np.abs(row_of(net) - row_of(other))[:-1].sum())
