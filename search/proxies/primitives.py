"""The primitives that proxies are made of: :data:`PRIMITIVES`, the one table of all 56, with arity,
formula and domain guard.

:func:`documentation` prints it. EMQ (arXiv 2307.10554) names 56 operations, of which some 43 are
known; those keep their names where ours do the same, and the note says where ours differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from ...model.aliases import Array
from . import array_functions as arrays
from .array_functions import TINY
from .layout import Layout, Value, item_maxima, item_means, item_minima, spread


@dataclass(frozen=True)
class Primitive:
    """An operation of formulas.

    kind : ``elementwise``; ``within`` an item's tensor; ``reduce`` to one number an item and width;
        ``across`` items or widths, which reduces to the means first
    formula : with ``{x}`` and ``{y}``; arguments that are not names come in brackets where the
        formula says ``{x!}``
    guard : where it would not be defined, and what is done
    apply : of arrays [widths or 1, elements] and their layout
    sign : ``+`` where no value is below 0, ``~`` where that holds for arguments not below 0
    priority : weight in operation sampling prioritisation
    """

    name: str
    arity: int
    kind: str
    formula: str
    guard: str
    apply: Callable[..., Array] = field(repr=False)
    sign: str = ""
    priority: float = 1.0

    @property
    def reduces(self) -> bool:
        return self.kind in ("reduce", "across")


def _unary(
    kind: str,
    name: str,
    formula: str,
    apply: Callable[..., Array],
    guard: str = "",
    sign: str = "",
    priority: float = 1.0,
) -> Primitive:
    return Primitive(name, 1, kind, formula, guard, apply, sign, priority)


def _each(
    name: str,
    formula: str,
    apply: Callable[[Array], Array],
    guard: str = "",
    sign: str = "",
    priority: float = 1.0,
) -> Primitive:
    return _unary("elementwise", name, formula, lambda x, layout: apply(x), guard, sign, priority)


def _both(
    kind: str,
    name: str,
    formula: str,
    apply: Callable[..., Array],
    guard: str = "",
    sign: str = "",
    priority: float = 1.0,
) -> Primitive:
    return Primitive(name, 2, kind, formula, guard, apply, sign, priority)


_NAN = "below 0 no number: invalid"
_OVER = "overflow: invalid"
_EPS = f"{TINY:g} added"
_TABLE: Sequence[Primitive] = (
    # Unary, elementwise.
    _each("no_op", "{x}", lambda x: x, sign="~", priority=2.0),
    _each("negate", "-{x!}", np.negative),
    _each("abs", "|{x}|", np.abs, sign="+"),
    _each("sign", "sign({x})", np.sign, priority=0.3),
    _each("square", "{x!}^2", np.square, _OVER, "+", 2.0),
    _each("cube", "{x!}^3", lambda x: x * x * x, _OVER, "~", 0.5),
    _each("sqrt", "sqrt({x})", lambda x: np.sqrt(np.maximum(x, 0)), "below 0 taken as 0", "+", 1.5),
    _each("cbrt", "cbrt({x})", np.cbrt, sign="~"),
    _each(
        "invert", "1/{x!}", lambda x: 1 / (x + TINY), _EPS + "; at its negative invalid", "~", 0.5
    ),
    _each("double", "2 {x!}", lambda x: 2 * x, sign="~", priority=0.5),
    _each("halve", "{x!}/2", lambda x: x / 2, sign="~", priority=0.5),
    _each("exp", "exp({x})", np.exp, _OVER, "+", 0.5),
    _each("exp2", "2^{x!}", np.exp2, _OVER, "+"),
    _each("log", "log({x})", lambda x: np.log(x + TINY), _EPS + "; " + _NAN, "", 0.5),
    _each("abslog", "log|{x}|", lambda x: np.log(np.abs(x) + TINY), _EPS, "", 1.5),
    _each("log1p", "log(1 + |{x}|)", lambda x: np.log1p(np.abs(x)), sign="+"),
    _each("relu", "max({x}, 0)", lambda x: np.maximum(x, 0), sign="+"),
    _each(
        "leaky_relu", "leaky({x})", lambda x: np.where(x < 0, 0.01 * x, x), sign="~", priority=0.3
    ),
    _each("sigmoid", "sigmoid({x})", expit, sign="+", priority=0.5),
    _each("tanh", "tanh({x})", np.tanh, sign="~", priority=0.5),
    _each("softplus", "softplus({x})", lambda x: np.logaddexp(x, 0), sign="+", priority=0.3),
    _each("swish", "swish({x})", lambda x: x * expit(x), sign="~", priority=0.3),
    _each("mish", "mish({x})", lambda x: x * np.tanh(np.logaddexp(x, 0)), sign="~", priority=0.3),
    # Unary, within an item's tensor.
    _unary(
        "within", "normalize", "zscore({x})", arrays.normalize, _EPS + " to the deviation", "", 0.5
    ),
    _unary("within", "min_max", "minmax({x})", arrays.min_max, _EPS + " to the range", "+", 0.5),
    _unary("within", "centre", "{x!} - mean({x})", arrays.centred, "", "", 0.5),
    _unary(
        "within",
        "softmax",
        "softmax({x})",
        arrays.softmax,
        "over the rows of each column",
        "+",
        0.3,
    ),
    _unary(
        "within",
        "logsoftmax",
        "logsoftmax({x})",
        arrays.logsoftmax,
        "over the rows of each column",
        "",
        0.3,
    ),
    # Unary, to one number.
    _unary("reduce", "mean", "mean({x})", item_means, sign="~", priority=2.0),
    _unary(
        "reduce",
        "total",
        "sum({x})",
        lambda x, layout: item_means(x, layout) * layout.whole,
        "mean times the whole tensor's elements, as these are a sample",
        "~",
        1.5,
    ),
    _unary("reduce", "frobenius", "||{x}||", arrays.frobenius, "as total", "+"),
    _unary(
        "reduce", "l1_norm", "mean|{x}|", lambda x, layout: item_means(np.abs(x), layout), sign="+"
    ),
    _unary("reduce", "std", "std({x})", arrays.std, sign="+"),
    _unary("reduce", "max", "max({x})", item_maxima, sign="~", priority=0.5),
    _unary("reduce", "min", "min({x})", item_minima, sign="~", priority=0.5),
    _unary("reduce", "kurtosis", "kurtosis({x})", arrays.kurtosis, _EPS, "+", 0.3),
    _unary(
        "reduce", "row_max", "mean over rows of max|{x}|", arrays.row_max, sign="+", priority=0.5
    ),
    _unary(
        "reduce", "row_norm", "mean over rows of ||{x}||", arrays.row_norm, sign="+", priority=0.5
    ),
    # Unary, across items or widths.
    _unary(
        "across",
        "share",
        "share({x})",
        arrays.share,
        "mean over the sum of all items' absolute means, " + _EPS,
        "~",
    ),
    _unary(
        "across",
        "item_rank",
        "rank({x})",
        arrays.item_rank,
        "rank of the mean among the items at that width, 1/items to 1, equal ones share",
        "+",
        0.5,
    ),
    _unary(
        "across",
        "width_share",
        "share_b({x})",
        arrays.width_share,
        "mean over the sum of absolute means at all widths, " + _EPS,
        "~",
    ),
    # Binary, elementwise.
    _both("elementwise", "sum", "{x!} + {y!}", lambda x, y, layout: x + y, sign="~", priority=4.0),
    _both("elementwise", "difference", "{x!} - {y!}", lambda x, y, layout: x - y, priority=2.0),
    _both(
        "elementwise", "product", "{x!} * {y!}", lambda x, y, layout: x * y, sign="~", priority=6.0
    ),
    _both(
        "elementwise", "quotient", "{x!} / {y!}", arrays.quotient, _EPS + " away from 0", "~", 3.0
    ),
    _both(
        "elementwise", "maximum", "max({x}, {y})", lambda x, y, layout: np.maximum(x, y), sign="~"
    ),
    _both(
        "elementwise", "minimum", "min({x}, {y})", lambda x, y, layout: np.minimum(x, y), sign="~"
    ),
    _both(
        "elementwise",
        "hypot",
        "hypot({x}, {y})",
        lambda x, y, layout: np.hypot(x, y),
        sign="+",
        priority=0.5,
    ),
    _both(
        "elementwise",
        "less",
        "[{x!} < {y!}]",
        lambda x, y, layout: (x < y).astype(float),
        sign="+",
        priority=0.2,
    ),
    # Binary, to one number.
    _both("reduce", "matmul", "mean({x!}^T {y!})", arrays.matmul, "mean over both axes", "~", 0.5),
    _both(
        "reduce",
        "dot",
        "sum({x!} * {y!})",
        lambda x, y, layout: item_means(x * y, layout) * layout.whole,
        "as total",
        "~",
        2.0,
    ),
    _both(
        "reduce",
        "l1_distance",
        "mean|{x!} - {y!}|",
        lambda x, y, layout: item_means(np.abs(x - y), layout),
        sign="+",
        priority=0.5,
    ),
    _both(
        "reduce",
        "mse",
        "mean(({x!} - {y!})^2)",
        lambda x, y, layout: item_means((x - y) ** 2, layout),
        sign="+",
        priority=0.5,
    ),
    _both("reduce", "cosine", "cosine({x}, {y})", arrays.cosine, _EPS, "~", 0.5),
    _both(
        "reduce",
        "kl",
        "KL({x}, {y})",
        arrays.kl,
        "of the absolute values as shares, " + _EPS,
        "",
        0.3,
    ),
    _both(
        "reduce",
        "hamming",
        "mean[sign {x!} != sign {y!}]",
        lambda x, y, layout: item_means((np.sign(x) != np.sign(y)).astype(float), layout),
        sign="+",
        priority=0.2,
    ),
)
#: All primitives by name.
PRIMITIVES: Mapping[str, Primitive] = {each.name: each for each in _TABLE}
UNARY = tuple(each.name for each in _TABLE if each.arity == 1)
BINARY = tuple(each.name for each in _TABLE if each.arity == 2)


def apply(name: str, arguments: Sequence[Value], scalar: Layout) -> Value:
    """A primitive on values.

    Two tensors of one shape meet element by element; a scalar meets every element; tensors of
    different shapes meet as their means, as all do in EMQ.
    """
    primitive = PRIMITIVES[name]
    if primitive.arity == 1:
        (value,) = arguments
        data, layout = primitive.apply(value.data, value.layout), value.layout
    else:
        x, y = arguments
        if x.layout is y.layout:
            layout, left, right = x.layout, x.data, y.data
        elif y.layout is scalar:
            layout, left, right = x.layout, x.data, spread(y.data, x.layout)
        elif x.layout is scalar:
            layout, left, right = y.layout, spread(x.data, y.layout), y.data
        else:
            layout, left, right = scalar, x.means(), y.means()
        if len(left) != len(right):
            rows = max(len(left), len(right))
            left, right = (np.broadcast_to(each, (rows, each.shape[1])) for each in (left, right))
        data = primitive.apply(left, right, layout)
    return Value(data, scalar if primitive.reduces else layout)


def documentation() -> str:
    """The table of primitives as Markdown: name, arity, kind, formula, domain guard."""
    rows = ["| name | arguments | kind | formula | domain |", "|---|---|---|---|---|"]
    rows += [
        f"| `{p.name}` | {p.arity} | {p.kind} | "
        f"`{p.formula.replace('!', '').format(x='x', y='y')}` | {p.guard or 'everywhere'} |"
        for p in _TABLE
    ]
    return "\n".join(rows)
