"""Formulas without the parts that they do not need."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from .fitness import Bench, Objective
from .formula import InvalidProxy, Proxy


def shorten(
    proxy: Proxy, benches: Sequence[Bench], objective: Objective
) -> tuple[Proxy, float, int]:
    """A formula with parts left out as long as its fitness does not fall: it, its fitness, and how
    many were scored on the way. Where parsimony counts, what has no effect goes first.

    Raises :class:`~.formula.InvalidProxy` where the formula is not finite.
    """

    def fitness(each: Proxy) -> float:
        tables = [each.table(bench.inputs) for bench in benches]
        return objective.many(benches, tables, each.size)[0]

    best, tried = fitness(proxy), 1
    while True:
        rivals = []
        for k, node in enumerate(proxy.nodes):
            for argument in set(node.arguments):
                # All that reads the node reads its argument instead.
                nodes = [
                    replace(
                        other, arguments=tuple(argument if a == k else a for a in other.arguments)
                    )
                    for other in proxy.nodes
                ]
                rivals.append(Proxy(tuple(nodes[: argument + 1] if k == len(nodes) - 1 else nodes)))
        shorter = []
        for rival in rivals:
            tried += 1
            with suppress(InvalidProxy):
                value = fitness(rival)
                if value >= best:
                    shorter.append((value, -rival.size, str(rival), rival))
        if not shorter:
            return proxy, best, tried
        best, _, _, proxy = max(shorter, key=lambda row: row[:3])
