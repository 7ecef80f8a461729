"""Networks as rows of numbers, their single steps to fewer bits, and how far they are apart."""

import numpy as np

from ...model.genome import MIN_BITS, Genome
from .rungs import LEAST_BITS, Net

Array = np.ndarray


#: More than the parts of its units that a network may have less.
_CUTS = 1000


def row_of(net: Net) -> Array:
    """Genes of all layers, bits of input and classifier, and a number for checkpoint and units, a
    lower one for fewer units [20 or more]."""
    place = units_number(net.size, net.cut)
    return np.array([*net.genome.genes, net.input_bits, net.classifier_bits, place])


def units_number(size: int, cut: int) -> int:
    """The last number of the row of a checkpoint's network without so many parts of its units."""
    return -(_CUTS * size + cut)


def net_of(row: Array) -> Net:
    """The other way."""
    genes = Genome.from_genes([int(v) for v in row[:-3]])
    size, cut = divmod(-int(row[-1]), _CUTS)
    return Net(size, genes, int(row[-3]), int(row[-2]), cut)


def steps_down(net: Net, most_cut: int = 0) -> list[Net]:
    """`net` with a bit less of one gene, of the input or of the classifier, or with fewer units,
    one after the other.

    most_cut : parts of the checkpoint's units that may be removed
    """
    row = row_of(net)
    low = [MIN_BITS] * (len(row) - 3) + [LEAST_BITS] * 2 + [units_number(net.size, most_cut)]
    return [
        net_of(np.array([*row[:k], row[k] - 1, *row[k + 1 :]]))
        for k, least in enumerate(low)
        if row[k] > least
    ]


def steps_between(net: Net, other: Net) -> dict[tuple[int, int], int]:
    """Steps from one network to another of its size: place in the row and the bits that the step
    down ends with (that of which a step up is the way back; for units the number of
    :func:`units_number`), and 1 or -1 for down or up."""
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
