"""The normal form of formulas: one for many that rank networks alike.

What it knows to be equal: order and brackets of sums and products, negations and factors of two
wherever they come out, absolute values and means that change nothing; and of the result, what
shifts or scales the scores of all genomes alike.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .inputs import BY_WIDTH, SCALARS, TENSORS
from .nodes import Builder, Node
from .primitives import PRIMITIVES

#: The tensor whose shape an input has: all but the activation have the weight's.
_SHAPES = {name: "activation" if name == "activation" else "weight" for name in TENSORS}
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


class NormalForm:
    """Rewriting, from the leaves to the result."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.known: dict[tuple[str, ...], _Term] = {}
        terms: list[_Term] = []
        for node in nodes:
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
        factors: list[_Term] = []
        for part, count in Counter(parts).items():
            if part.name == "abs" and count > 1:
                inner = part.arguments[0]
                flat = inner.arguments if inner.name == "product" else (inner,)
                factors += [*flat] * (count // 2 * 2)
                count %= 2
            factors += [part] * count
        return factors

    def normal_nodes(self, oriented: bool) -> tuple[Node, ...]:
        """The rest of the rewriting, which only the result allows; then as nodes."""
        term, negative = self.root, False
        while True:
            if term.name == "negate":
                negative = not negative
            elif term.name == "sum":
                varying = [part for part in term.arguments if part.by_width]
                if not varying or len(varying) == len(term.arguments) or not _alike(term.arguments):
                    break
                term = self.many("sum", varying)
                continue
            elif term.name not in ("mean", "double", "halve"):
                break
            term = term.arguments[0]
        builder = Builder()
        last = self.emit(term, builder, {})
        if negative and oriented:
            last = builder.add("negate", last)
        return tuple(builder.nodes[: last + 1])

    def emit(self, term: _Term, builder: Builder, done: dict[str, int]) -> int:
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
