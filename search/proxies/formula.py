"""Proxies as values: graphs of primitives with a text that parses back, a readable formula, a
normal form, and a table of values over items and widths.

The text is an expression in function notation, ``negate(mean(product(square(error), hessian)))``;
what is used more than once is named first, ``x1 = abs(weight); sum(mean(x1), std(x1))``. Leaves are
those of :data:`~.primitives.LEAVES`, ``bits*weight`` among them.

A network's score is the mean over its items of the table's entries at the genome's widths, larger
meaning better. A result that is still a tensor counts with its mean.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from ...model.errors import InputError, shown
from .primitives import (
    BY_WIDTH,
    LEAVES,
    PRIMITIVES,
    SCALARS,
    SYMBOLS,
    TENSORS,
    Array,
    Inputs,
    Value,
    apply,
)

#: Nodes of a proxy at most, and characters of its text.
MAX_NODES = 200
MAX_TEXT = 20_000
#: Decimal digits of a table that its hash sees: more than rounding disturbs.
DIGITS = 8
STRUCTURES = ("sequential", "branched", "dag")
#: The tensor whose shape an input has: all but the activation have the weight's.
_SHAPES = {name: "activation" if name == "activation" else "weight" for name in TENSORS}


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
class Node:
    """A leaf (no arguments), or a primitive and the positions of its arguments before it."""

    name: str
    arguments: tuple[int, ...] = ()


class _Builder:
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

    def proxy(self) -> "Proxy":
        return Proxy(tuple(self.nodes))


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
        builder = _Builder()
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
        return _Parser(text).proxy()

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
        found: list[Value] = []
        with np.errstate(all="ignore"):
            for position, node in enumerate(self.nodes):
                if not node.arguments:
                    found.append(inputs.leaf(node.name))
                    continue
                value = apply(node.name, [found[k] for k in node.arguments], inputs.scalar)
                # One pass, and any infinity or NaN stays in the sum.
                if not math.isfinite(value.data.sum()):
                    raise self._invalid(position, value, inputs)
                found.append(value)
        return found

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
            return _Normal(self).proxy(oriented)
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


class _Parser:
    """Recursive descent over the text."""

    TOKEN = re.compile(r"\s*(?:(bits\s*\*\s*[a-z_]+)|([A-Za-z_][A-Za-z_0-9]*)|([(),;=])|(\S))")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InputError(f"proxy {shown(text)}: a text is needed")
        if len(text) > MAX_TEXT:
            raise InputError(f"proxy: {len(text)} characters, {MAX_TEXT} are the most")
        self.text, self.at, self.builder = text, 0, _Builder()
        self.tokens = [
            (
                re.sub(r"\s", "", next(filter(None, match.groups()))),
                match.start() + len(match.group()) - len(match.group().lstrip()),
            )
            for match in self.TOKEN.finditer(text)
        ]
        self.names: dict[str, int] = {}

    def fail(self, fault: str, remedy: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        position = self.tokens[at][1] if at < len(self.tokens) else len(self.text)
        near = self.text[position : position + 20].strip() or "the end"
        raise InputError(f"proxy, character {position + 1} ({near}): {fault}; {remedy}")

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def expect(self, token: str, remedy: str) -> None:
        if self.peek() != token:
            self.fail(f"{token} is missing", remedy)
        self.at += 1

    def proxy(self) -> Proxy:
        if not self.tokens:
            self.fail("nothing there", "write a formula such as negate(mean(square(error)))")
        while self.peek(1) == "=":
            name = self.peek()
            if name in LEAVES or name in PRIMITIVES or name in self.names or not name[0].isalpha():
                self.fail(f"{name} cannot be a name here", "use x1, x2, ..., each once")
            self.at += 2
            self.names[name] = self.expression(0)
            self.expect(";", "definitions end with a semicolon: x1 = abs(weight); mean(x1)")
        last = self.expression(0)
        if self.at < len(self.tokens):
            self.fail("the formula has ended before", "remove what follows, or a bracket")
        return Proxy(tuple(self.builder.nodes[: last + 1]))

    def expression(self, depth: int) -> int:
        token = self.peek()
        if depth > MAX_NODES:
            self.fail("too deep", f"{MAX_NODES} levels are the most")
        if not token or token in "(),;=":
            self.fail("an input or a primitive is missing", "e.g. mean(error)")
        if self.peek(1) != "(":
            if token in self.names:
                self.at += 1
                return self.names[token]
            if token in LEAVES:
                self.at += 1
                return self.builder.add(token)
            if token in PRIMITIVES:
                self.fail(f"{token} without arguments", f"write {token}(...)")
            known = ", ".join(SYMBOLS)
            self.fail(f"no input {shown(token)}", f"inputs are {known}, and bits*weight and so on")
        if token not in PRIMITIVES:
            import difflib

            near = difflib.get_close_matches(token, PRIMITIVES, 3, 0.4)
            self.fail(
                f"no primitive {shown(token)}",
                f"did you mean {' or '.join(near)}"
                if near
                else "`genogate proxy show` without a proxy lists them",
            )
        start, arity = self.at, PRIMITIVES[token].arity
        self.at += 2
        arguments = [self.expression(depth + 1)]
        while self.peek() == ",":
            self.at += 1
            arguments.append(self.expression(depth + 1))
        self.expect(")", f"close the bracket of {token}")
        if len(arguments) != arity:
            self.fail(f"{token} with {len(arguments)} arguments", f"it takes {arity}", start)
        return self.builder.add(token, *arguments)


#: Of these, f(-x) = f(x), and f(|x|) = f(x).
_EVEN = frozenset({"abs", "abslog", "log1p", "frobenius", "l1_norm", "row_max", "row_norm"})
#: Of these, f(-x) = f(x) alone.
_SYMMETRIC = frozenset({"std", "kurtosis"})
#: Of these, f(-x) = -f(x).
_ODD = frozenset(
    {
        "sign",
        "cbrt",
        "tanh",
        "centre",
        "mean",
        "total",
        "normalize",
        "share",
        "width_share",
        "double",
        "halve",
    }
)
#: Of these, f(2 x) = 2 f(x), to the last bit.
_HOMOGENEOUS = frozenset(
    {
        "abs",
        "relu",
        "leaky_relu",
        "centre",
        "mean",
        "total",
        "frobenius",
        "l1_norm",
        "std",
        "max",
        "min",
        "row_max",
        "row_norm",
    }
)
_COMMUTATIVE = frozenset({"maximum", "minimum", "hypot", "matmul", "cosine", "hamming"})
#: Addends or factors that are written side by side at most.
_SIDE_BY_SIDE = 64


@dataclass(frozen=True, eq=False, slots=True)
class _Term:
    """A node of a normal form; equal ones are one object. Sums and products have their arguments in
    order, and any number of them.

    key : unique text, the same however it came about
    single : one number an item and width, whatever the network
    plain : never below 0, whatever the network
    by_width : not the same at all widths
    shapes : tensors whose shape it may have, none for one number
    """

    name: str
    arguments: tuple["_Term", ...]
    key: str
    single: bool
    plain: bool
    by_width: bool
    shapes: frozenset[str]


def _alike(terms: Sequence[_Term]) -> bool:
    """Whether the terms surely have one shape, so that no meeting of means comes between."""
    return len(frozenset().union(*(term.shapes for term in terms))) <= 1


def _stripped(term: _Term) -> _Term:
    return term.arguments[0] if term.name == "negate" else term


class _Normal:
    """Rewriting, from the leaves to the result."""

    def __init__(self, proxy: Proxy) -> None:
        self.known: dict[tuple[str, ...], _Term] = {}
        terms: list[_Term] = []
        for node in proxy.nodes:
            terms.append(self.term(node.name, [terms[k] for k in node.arguments]))
        self.root = terms[-1]

    def make(self, name: str, arguments: Sequence[_Term] = ()) -> _Term:
        """The node as it is."""
        identity = (name, *(term.key for term in arguments))
        if identity in self.known:
            return self.known[identity]
        if not arguments:
            single, plain = name not in TENSORS, name in SCALARS
            width, key = name in BY_WIDTH, name
            # The error and what is derived from the weight have its shape.
            shapes = frozenset() if single else frozenset({_SHAPES[name]})
        else:
            primitive = PRIMITIVES[name]
            single = primitive.reduces or all(term.single for term in arguments)
            odd = arguments
            if name == "product":
                odd = [term for term, count in Counter(arguments).items() if count % 2]
            plain = primitive.sign == "+" or (
                primitive.sign == "~" and all(term.plain for term in odd)
            )
            width = any(term.by_width for term in arguments)
            key = f"{name}({','.join(term.key for term in arguments)})"
            if len(key) > 100:
                key = f"{name}:{hashlib.sha256(key.encode()).hexdigest()[:24]}"
            shapes = frozenset()
            if not single:
                shapes = shapes.union(*(term.shapes for term in arguments))
        term = _Term(name, tuple(arguments), key, single, plain, width, shapes)
        self.known[identity] = term
        return term

    def term(self, name: str, arguments: Sequence[_Term] = ()) -> _Term:
        """The node, rewritten; its arguments are normal already."""
        if not arguments:
            if name.startswith("bits*"):
                return self.term(
                    "product", [self.make("bits"), self.make(name.removeprefix("bits*"))]
                )
            return self.make(name)
        if len(arguments) == 1:
            return self.unary(name, arguments[0])
        return self.binary(name, arguments[0], arguments[1])

    def unary(self, name: str, x: _Term) -> _Term:
        inner = x.arguments[0] if len(x.arguments) == 1 else None
        if name == "no_op" or (x.plain and name in ("abs", "relu", "leaky_relu")):
            return x
        if inner is not None:
            if (name, x.name) in (("negate", "negate"), ("double", "halve"), ("halve", "double")):
                return inner
            if name in _EVEN and x.name in ("negate", "abs"):
                return self.unary(name, inner)
            if name in _SYMMETRIC and x.name == "negate":
                return self.unary(name, inner)
            if name in ("min", "max") and x.name == "negate":
                other = {"min": "max", "max": "min"}[name]
                return self.unary("negate", self.unary(other, inner))
            if name in _ODD and x.name == "negate":
                return self.unary("negate", self.unary(name, inner))
            if name in _HOMOGENEOUS and x.name in ("double", "halve"):
                return self.unary(x.name, self.unary(name, inner))
        if name in ("square", "cube"):
            square = self.binary("product", x, x)
            return square if name == "square" else self.binary("product", square, x)
        if (
            name == "sqrt"
            and x.name == "product"
            and len(x.arguments) == 2
            and (x.arguments[0] is x.arguments[1])
        ):
            return self.unary("abs", x.arguments[0])
        if x.single:
            if name in ("mean", "max", "min"):
                return x
            if name in ("l1_norm", "row_max", "row_norm"):
                return self.unary("abs", x)
            if name == "total":
                return self.binary("product", self.make("counts"), x)
        if name == "l1_norm":
            return self.unary("mean", self.unary("abs", x))
        if name in ("mean", "total") and x.name == "product":
            factors = [term for term in x.arguments if term.single]
            others = [term for term in x.arguments if not term.single]
            if factors and others:
                rest = self.unary(name, self.many("product", others))
                return self.many("product", [*factors, rest])
        return self.make(name, (x,))

    def binary(self, name: str, x: _Term, y: _Term) -> _Term:
        if name == "difference":
            return self.binary("sum", x, self.unary("negate", y))
        if name in ("mse", "l1_distance"):
            each = "square" if name == "mse" else "abs"
            return self.unary("mean", self.unary(each, self.binary("difference", x, y)))
        if name == "dot":
            return self.unary("total", self.binary("product", x, y))
        if name in ("product", "quotient", "matmul", "cosine"):
            # Signs come out of what is linear in both.
            if x.name == "negate":
                return self.unary("negate", self.binary(name, x.arguments[0], y))
            if y.name == "negate" and name != "quotient":
                return self.unary("negate", self.binary(name, x, y.arguments[0]))
        if name in ("product", "matmul"):
            if x.name in ("double", "halve"):
                return self.unary(x.name, self.binary(name, x.arguments[0], y))
            if y.name in ("double", "halve"):
                return self.unary(y.name, self.binary(name, x, y.arguments[0]))
        if x is y:
            if name in ("sum", "product"):
                return self.many(name, [x, y])
            if name in ("maximum", "minimum"):
                return x
        if name in ("sum", "product"):
            parts: list[_Term] = []
            for term in (x, y):
                negative = name == "sum" and term.name == "negate"
                part = term.arguments[0] if negative else term
                if part.name == name and _alike((x, y)):
                    parts += [
                        self.unary("negate", each) if negative else each for each in part.arguments
                    ]
                else:
                    parts.append(term)
            return self.many(name, parts if len(parts) <= _SIDE_BY_SIDE else [x, y])
        if name in _COMMUTATIVE and y.key < x.key:
            x, y = y, x
        return self.make(name, (x, y))

    def many(self, name: str, parts: Sequence[_Term]) -> _Term:
        """A sum or product of parts in order; a sum's first one is positive."""
        if len(parts) == 1:
            return parts[0]
        if name == "sum" and len(parts) == 2 and parts[0] is parts[1]:
            return self.unary("double", parts[0])
        if name == "product":
            parts = self.without_signs(parts)
        parts = sorted(parts, key=lambda term: (_stripped(term).key, term.name == "negate"))
        if name == "sum" and parts[0].name == "negate":
            return self.unary("negate", self.many(name, [self.unary("negate", p) for p in parts]))
        return self.make(name, parts)

    def without_signs(self, parts: Sequence[_Term]) -> list[_Term]:
        """Factors, where an absolute value that is there twice is the plain value twice."""
        kept: list[_Term] = []
        for part, count in Counter(parts).items():
            if part.name == "abs" and count > 1:
                inner = part.arguments[0]
                flat = inner.arguments if inner.name == "product" else (inner,)
                kept += [*flat] * (count // 2 * 2)
                count %= 2
            kept += [part] * count
        return kept

    def proxy(self, oriented: bool) -> Proxy:
        """The rest of the rewriting, which only the result allows; then as nodes."""
        term, negative = self.root, False
        while True:
            if term.name == "negate":
                negative = not negative
            elif term.name == "sum":
                kept = [part for part in term.arguments if part.by_width]
                if not kept or len(kept) == len(term.arguments) or not _alike(term.arguments):
                    break
                term = self.many("sum", kept)
                continue
            elif term.name not in ("mean", "double", "halve"):
                break
            term = term.arguments[0]
        builder = _Builder()
        last = self.emit(term, builder, {})
        if negative and oriented:
            last = builder.add("negate", last)
        return Proxy(tuple(builder.nodes[: last + 1]))

    def emit(self, term: _Term, builder: _Builder, done: dict[str, int]) -> int:
        if term.key not in done:
            places = [self.emit(each, builder, done) for each in term.arguments]
            if term.name == "product":
                # x * x is written as the square that it is.
                places = [
                    place
                    for each, count in Counter(places).items()
                    for place in [builder.add("square", each)] * (count // 2) + [each] * (count % 2)
                ]
            if term.name in ("sum", "product"):
                first, *rest = places
                for place in rest:
                    first = builder.add(term.name, first, place)
                done[term.key] = first
            else:
                done[term.key] = builder.add(term.name, *places)
        return done[term.key]


def by_width(proxy: Proxy) -> bool:
    """Whether anything in it knows the width."""
    return any(node.name in BY_WIDTH for node in proxy.nodes)


def named(proxies: Mapping[str, str], text: str) -> Proxy:
    """The proxy of that name among `proxies`, or the one that the text is."""
    return Proxy.parse(proxies.get(text, text))
