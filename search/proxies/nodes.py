"""The nodes of a formula."""

from dataclasses import dataclass

#: Nodes of a proxy at most, and characters of its text.
MAX_NODES = 200


@dataclass(frozen=True)
class Node:
    """A leaf (no arguments), or a primitive and the positions of its arguments before it."""

    name: str
    arguments: tuple[int, ...] = ()


class Builder:
    """Nodes in order, each kind once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.place: dict[Node, int] = {}

    def add(self, name: str, *arguments: int) -> int:
        node = Node(name, arguments)
        if node not in self.place:
            self.place[node] = len(self.nodes)
            self.nodes.append(node)
        return self.place[node]
