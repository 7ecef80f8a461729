"""Proxies as values: graphs of primitives with a text that parses back, a readable formula, a
normal form, and a table of values over items and widths.

The text is an expression in function notation, ``negate(mean(product(square(error), hessian)))``;
what is used more than once is named first, ``x1 = abs(weight); sum(mean(x1), std(x1))``. Leaves are
those of :data:`~.inputs.LEAVES`, ``bits*weight`` among them.

A network's score is the mean over its items of the table's entries at the genome's widths, larger
meaning better. A result that is still a tensor counts with its mean.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...model.aliases import Array
from ...model.errors import InputError, shown
from .inputs import BY_WIDTH, LEAVES, SYMBOLS, Inputs
from .layout import Value
from .nodes import MAX_NODES, Builder, Node
from .normal_form import NormalForm
from .parser import Parser
from .primitives import PRIMITIVES, apply

#: Decimal digits of a table that its hash sees: more than rounding disturbs.
DIGITS = 8
STRUCTURES = ("sequential", "branched", "dag")


class InvalidProxy(InputError):
    """A formula that has no finite value on a network.

    reason : ``not a number`` or ``overflow``
    node : text of the part that it comes from
    """

    def __init__(self, reason: str, node: str, where: str) -> None:
        short = node if len(node) <= 80 else f"{node[:77]}..."
        super().__init__(
            f"proxy: {short} is {reason} at {where}; use another proxy, or guard it "
            "(abslog, sqrt, sigmoid)"
        )
        self.reason, self.node = reason, node


@dataclass(frozen=True)
class Proxy:
    """A formula, the last node being its result. Equal formulas are equal values: nodes that do not
    matter are dropped, equal ones are one, and their order is that of a walk from the result.

    Raises :class:`InputError` for nodes that are none.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InputError("proxy: no nodes")
        for position, node in enumerate(self.nodes):
            if not node.arguments and node.name in LEAVES:
                continue
            primitive = PRIMITIVES.get(node.name)
            if primitive is None:
                raise InputError(f"proxy: {shown(node.name)} is no primitive and no input")
            if primitive.arity != len(node.arguments) or not all(
                0 <= k < position for k in node.arguments
            ):
                raise InputError(
                    f"proxy: node {position} ({node.name}) needs {primitive.arity} nodes before it"
                )
        object.__setattr__(self, "nodes", self._ordered())
        if len(self.nodes) > MAX_NODES:
            raise InputError(f"proxy: {len(self.nodes)} nodes, {MAX_NODES} are the most")

    def _ordered(self) -> tuple[Node, ...]:
        builder = Builder()
        done: dict[int, int] = {}
        waiting = [len(self.nodes) - 1]
        while waiting:
            k = waiting[-1]
            node = self.nodes[k]
            missing = [a for a in node.arguments if a not in done]
            if missing:
                waiting += missing[::-1]
            else:
                waiting.pop()
                done[k] = builder.add(node.name, *(done[a] for a in node.arguments))
        return tuple(builder.nodes)

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """Of its text. Raises :class:`InputError` that names the position and the remedy."""
        return cls(Parser(text).nodes())

    def _uses(self) -> list[int]:
        uses = [0] * len(self.nodes)
        for node in self.nodes:
            for k in node.arguments:
                uses[k] += 1
        return uses

    @property
    def structure(self) -> str:
        """``sequential`` (a chain), ``branched`` (a tree), or ``dag`` (something is used twice)."""
        uses = self._uses()
        if any(count > 1 and node.arguments for node, count in zip(self.nodes, uses, strict=True)):
            return "dag"
        if any(len(node.arguments) > 1 for node in self.nodes):
            return "branched"
        return "sequential"

    @property
    def size(self) -> int:
        """Primitives in it that do something."""
        return sum(bool(node.arguments) and node.name != "no_op" for node in self.nodes)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The inputs that it reads, sorted."""
        return tuple(sorted({node.name for node in self.nodes if not node.arguments}))

    @cached_property
    def _text(self) -> str:
        uses, names = self._uses(), 0
        parts: list[str] = []
        texts: list[str] = []
        for node, count in zip(self.nodes, uses, strict=True):
            text = node.name
            if node.arguments:
                text += f"({', '.join(texts[k] for k in node.arguments)})"
                if count > 1:
                    names += 1
                    parts.append(f"x{names} = {text}")
                    text = f"x{names}"
            texts.append(text)
        return "; ".join([*parts, texts[-1]])

    def __str__(self) -> str:
        return self._text

    def part(self, position: int) -> "Proxy":
        """The formula of one node."""
        return Proxy(self.nodes[: position + 1])

    @property
    def formula(self) -> str:
        """Readable, with the symbols of EMQ: W weight, A activation, G gradient, V virtual
        gradient, H Hessian diagonal, D quantisation error, b bits, n elements, m
        multiply-accumulates; beside these F, the mean square of the samples' gradients, lambda,
        the eigenvalue of largest size of the Hessian block, and N, elements of a batch."""
        symbols = SYMBOLS
        uses = self._uses()
        parts: list[str] = []
        texts: list[tuple[str, bool]] = []  # and whether brackets are needed inside another
        for node, count in zip(self.nodes, uses, strict=True):
            if not node.arguments:
                plain = node.name.removeprefix("bits*")
                scaled = plain != node.name
                texts.append((f"b*{symbols[plain]}" if scaled else symbols[plain], scaled))
                continue
            form = PRIMITIVES[node.name].formula
            for letter, k in zip("xy", node.arguments, strict=False):
                text, composite = texts[k]
                form = form.replace(f"{{{letter}!}}", f"({text})" if composite else text)
                form = form.replace(f"{{{letter}}}", text)
            composite = re.match(r"^(\w*\(|\|)", form) is None or not _closes_at_end(form)
            if count > 1:
                parts.append(f"x{len(parts) + 1} = {form}")
                form, composite = f"x{len(parts)}", False
            texts.append((form, composite))
        return "; ".join([*parts, texts[-1][0]])

    def values(self, inputs: Inputs) -> list[Value]:
        """Of every node. Raises :class:`InvalidProxy` for the first that is not finite."""
        values: list[Value] = []
        with np.errstate(all="ignore"):
            for position, node in enumerate(self.nodes):
                if not node.arguments:
                    values.append(inputs.leaf(node.name))
                    continue
                value = apply(node.name, [values[k] for k in node.arguments], inputs.scalar)
                # One pass, and any infinity or NaN stays in the sum.
                if not math.isfinite(value.data.sum()):
                    raise self._invalid(position, value, inputs)
                values.append(value)
        return values

    def _invalid(self, position: int, value: Value, inputs: Inputs) -> InvalidProxy:
        bad = np.argwhere(~np.isfinite(value.data))
        # The sum alone may have overflown.
        row, element = bad[0] if len(bad) else (0, 0)
        reason = "not a number" if len(bad) and np.isnan(value.data[row, element]) else "overflow"
        where = inputs.names[value.layout.of[element]]
        if len(value.data) > 1:
            where += f", {inputs.widths[row]} bits"
        return InvalidProxy(reason, str(self.part(position)), where)

    def table(self, inputs: Inputs) -> Array:
        """Float64 [items, widths]. Raises :class:`InvalidProxy` where it is not finite."""
        return result(self.values(inputs)[-1], inputs)

    def scores(self, inputs: Inputs, genomes: Array) -> Array:
        """Of genomes [N, items]: float64 [N]. Raises :class:`InputError` for genomes of another
        network, :class:`InvalidProxy` where the formula is not finite."""
        return scores(self.table(inputs), inputs.columns(genomes))

    def normal(self, *, oriented: bool = True) -> "Proxy":
        """A formula that ranks networks alike, and is the same for many that do.

        What it knows to be equal: order and brackets of sums and products, negations and factors
        of two wherever they come out, absolute values and means that change nothing; and of the
        result, what shifts or scales the scores of all genomes alike (a positive factor, an addend
        that no width changes). A last logarithm is not among them: the score is a mean over items.

        oriented : whether a last negation counts
        """
        try:
            return Proxy(NormalForm(self.nodes).normal_nodes(oriented))
        except InputError:  # written out it has too many nodes
            return self

    @property
    def digest(self) -> str:
        """A hash of its text."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]


def result(value: Value, inputs: Inputs) -> Array:
    """The table [items, widths] of a last value."""
    means = value.means()
    return np.ascontiguousarray(np.broadcast_to(means, (len(inputs.widths), means.shape[1])).T)


def scores(table: Array, columns: Array) -> Array:
    """Mean over items of a table [items, widths] at columns [N, items]: float64 [N]."""
    return table[np.arange(len(table)), columns].mean(1)


def output_hash(tables: Sequence[Array], *, oriented: bool = True) -> str:
    """What tables [items, widths] rank, as a hash: equal for tables that differ in a shift of an
    item at all widths, or a positive factor, as neither changes any ranking.

    oriented : whether a factor of -1 counts
    """
    digest = hashlib.sha256()
    for table in tables:
        moved = table - table.mean(1, keepdims=True)
        largest = np.abs(moved).max()
        # Rounding of what should be equal at all widths is no information.
        moved = moved / largest if largest > 1e-12 * np.abs(table).max() else np.zeros_like(moved)
        if not oriented:
            moved = moved * (1 if moved.flat[np.abs(moved).argmax()] > 0 else -1)
        # Adding 0 turns -0 into 0.
        digest.update((np.round(moved, DIGITS) + 0.0).tobytes())
    return digest.hexdigest()[:16]


def _closes_at_end(text: str) -> bool:
    """Whether the first bracket of `text` closes at its end."""
    if text.startswith("|"):
        return text.count("|") == 2 and text.endswith("|")
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and not depth:
            return position == len(text) - 1
    return False


def by_width(proxy: Proxy) -> bool:
    """Whether anything in it knows the width."""
    return any(node.name in BY_WIDTH for node in proxy.nodes)


def named(proxies: Mapping[str, str], text: str) -> Proxy:
    """The proxy of that name among `proxies`, or the one that the text is."""
    return Proxy.parse(proxies.get(text, text))
