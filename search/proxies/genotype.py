"""Formulas as genes: of each position of a structure one of its choices."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from .formula import Proxy
from .inputs import LEAVES
from .nodes import Node
from .primitives import BINARY, PRIMITIVES, UNARY

#: Weights of the leaves in prioritised sampling: what knows the width, and tensors, first.
LEAF_PRIORITY = {
    "error": 4.0,
    "bits": 2.0,
    "elements": 0.5,
    "counts": 0.5,
    "macs": 0.5,
    "weight": 1.5,
    "gradient": 1.5,
    "squared_gradient": 1.5,
    "hessian": 1.5,
    "eigenvalue": 1.0,
}
#: Unary steps of a chain, of each of two branches, and after those meet; leaves and nodes of a DAG.
CHAIN, BRANCH, TAIL, DAG_LEAVES, DAG_NODES = 4, 2, 2, 3, 6


@dataclass(frozen=True)
class Genotype:
    """Genes of a formula: of each position one of its choices."""

    structure: str
    genes: tuple[int, ...]

    def proxy(self) -> Proxy:
        """What they encode."""
        choices = [
            position.choices[gene]
            for position, gene in zip(positions(self.structure), self.genes, strict=True)
        ]
        nodes: list[Node] = []

        def chain(names: Sequence[str], start: Node | None = None) -> int:
            """Position of the last node of `names` one after the other."""
            if start is not None:
                nodes.append(start)
            for name in names:
                if name != "no_op":
                    nodes.append(Node(name, (len(nodes) - 1,)))
            return len(nodes) - 1

        if self.structure == "sequential":
            chain(choices[1:], Node(choices[0]))
        elif self.structure == "branched":
            first, second = choices[: BRANCH + 1], choices[BRANCH + 1 : 2 * BRANCH + 2]
            one, two = (chain(each[1:], Node(each[0])) for each in (first, second))
            nodes.append(Node(choices[2 * BRANCH + 2], (one, two)))
            chain(choices[2 * BRANCH + 3 :])
        else:
            nodes += [Node(name) for name in choices[:DAG_LEAVES]]
            for k in range(DAG_LEAVES, len(choices), 3):
                name, *references = choices[k : k + 3]
                before = tuple(map(int, references[: PRIMITIVES[name].arity]))
                nodes.append(Node(name, before))
        return Proxy(tuple(nodes))


@dataclass(frozen=True)
class _Position:
    """A place in a genotype.

    weights : chances of the choices in prioritised sampling
    """

    choices: tuple[str, ...]
    weights: tuple[float, ...]

    def draw(self, rng: np.random.Generator, prioritise: bool) -> int:
        if prioritise:
            return int(
                np.searchsorted(
                    np.cumsum(self.weights) / sum(self.weights), rng.random(), side="right"
                )
            )
        return int(rng.integers(len(self.choices)))


@cache
def positions(structure: str) -> tuple[_Position, ...]:
    def operations(names: Sequence[str]) -> _Position:
        return _Position(tuple(names), tuple(PRIMITIVES[name].priority for name in names))

    leaf = _Position(LEAVES, tuple(LEAF_PRIORITY.get(name, 1.0) for name in LEAVES))
    unary, binary = operations(UNARY), operations(BINARY)
    if structure == "sequential":
        return leaf, *[unary] * CHAIN
    if structure == "branched":
        branch = leaf, *[unary] * BRANCH
        return *branch, *branch, binary, *[unary] * TAIL
    places = [leaf] * DAG_LEAVES
    for k in range(DAG_NODES):
        # Later nodes read earlier ones more often than inputs, or most nodes would be idle.
        before = tuple(str(a) for a in range(DAG_LEAVES + k))
        weights = tuple(1.0 + 2.0 * (a == DAG_LEAVES + k - 1) for a in range(len(before)))
        reference = _Position(before, weights)
        places += [operations((*UNARY, *BINARY)), reference, reference]
    return tuple(places)
