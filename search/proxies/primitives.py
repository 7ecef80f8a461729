"""The primitives that proxies are made of, on a stacked representation of a network's statistics.

A value is a float64 array [widths or 1, elements of all items one after the other], so that one
formula over all items and widths is a handful of NumPy calls. Where nothing depends on the width
the first axis stays 1. A scalar per item and width is the same with one element an item.

:data:`PRIMITIVES` is the one table of all 56, with arity, formula and domain guard.
:func:`documentation` prints it. EMQ (arXiv 2307.10554) names 56 operations, of which some 43 are
known; those keep their names where ours do the same, and the note says where ours differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from ...model.errors import InputError

Array = np.ndarray
#: Added before a logarithm or a division. EMQ has 1e-9, which would drown squared gradients.
TINY = 1e-12
#: Inputs that are tensors, with the symbol that a formula shows.
TENSORS = {
    "weight": "W",
    "activation": "A",
    "gradient": "G",
    "virtual_gradient": "V",
    "hessian": "H",
    "squared_gradient": "F",
    "error": "D",
}
#: Inputs that are one number an item: its width, its elements, those of a whole batch (of a
#: weight the same), its multiply-accumulates.
SCALARS = {"bits": "b", "elements": "n", "counts": "N", "macs": "m"}
#: One number an item that is measured: the eigenvalue of largest size of its Hessian block.
SPECTRAL = {"eigenvalue": "lambda"}
SYMBOLS = TENSORS | SCALARS | SPECTRAL
#: A tensor times the width, as EMQ lets the width enter; the error has its width already.
SCALED = tuple(f"bits*{name}" for name in TENSORS if name != "error")
#: Everything that a formula may start from.
LEAVES = (*SYMBOLS, *SCALED)
#: Leaves that are not the same at all widths.
BY_WIDTH = frozenset({"bits", "error", *SCALED})
#: Elements an item that :meth:`Inputs.of` keeps in the evolution.
SAMPLE = 512


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the items' elements lie: item i is a matrix ``shapes[i]``, row by row.

    whole : elements of the item's whole tensor, of which these may be a sample
    """

    shapes: tuple[tuple[int, int], ...]
    whole: Array

    @property
    def items(self) -> int:
        return len(self.shapes)

    @cached_property
    def counts(self) -> Array:
        return np.array([rows * columns for rows, columns in self.shapes])

    @cached_property
    def starts(self) -> Array:
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    @cached_property
    def of(self) -> Array:
        """The item of each element."""
        return np.repeat(np.arange(self.items), self.counts)

    @cached_property
    def single(self) -> bool:
        """Whether every item is one number."""
        return bool((self.counts == 1).all())

    @cached_property
    def row_starts(self) -> Array:
        return np.concatenate(
            [
                start + np.arange(rows) * columns
                for start, (rows, columns) in zip(self.starts, self.shapes, strict=True)
            ]
        )

    @cached_property
    def rows(self) -> "Layout":
        """A layout of one number a row."""
        return Layout(tuple((rows, 1) for rows, _ in self.shapes), self.whole)

    @cached_property
    def columns(self) -> tuple[Array, Array, Array]:
        """For what runs down the rows: the order that puts columns one after the other, where each
        then starts, and the column of each element in the old order."""
        order = np.concatenate(
            [
                start + np.arange(rows * columns).reshape(rows, columns).T.ravel()
                for start, (rows, columns) in zip(self.starts, self.shapes, strict=True)
            ]
        )
        lengths = np.concatenate([np.full(columns, rows) for rows, columns in self.shapes])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        column = np.empty(len(order), int)
        column[order] = np.repeat(np.arange(len(lengths)), lengths)
        return order, starts, column


@dataclass(frozen=True, eq=False)
class Value:
    """What a node of a formula is: `data` float64 [widths or 1, elements]."""

    data: Array
    layout: Layout

    def means(self) -> Array:
        """Float64 [widths or 1, items]."""
        return _mean(self.data, self.layout)


@dataclass(frozen=True, eq=False)
class Inputs:
    """A network's statistics as formulas take them: the leaves by name.

    names, widths : items (genes or layers), and bit widths of the columns
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    leaves: Mapping[str, Value]
    scalar: Layout

    @classmethod
    def of(
        cls, statistics: Any, sample: int | None = SAMPLE, *, seed: int = 0, normalise: bool = True
    ) -> "Inputs":
        """Of a :class:`~.statistics.Statistics`.

        sample : elements an item at most, the same rows and columns of every tensor; None for all
        normalise : give every tensor the root mean square 1 over the network (the error is in
            units of the weight), so that guards and exponentials mean the same in every network.
            A constant factor of a tensor ranks nothing differently in a formula without them.
        Raises :class:`InputError` for statistics that are incomplete or not finite.
        """
        names, widths = tuple(statistics.names), tuple(int(w) for w in statistics.widths)
        elements = np.asarray(statistics.elements, float)
        # Outputs are quantised at every sample and step of the batch.
        whole = np.asarray(getattr(statistics, "counts", elements), float)
        if not names or not widths:
            raise InputError("statistics: no items or no widths in them")
        rng = np.random.default_rng([seed, 6])
        layouts: dict[Any, tuple[Layout, list[tuple[Array, Array]]]] = {}
        leaves: dict[str, Value] = {}
        scale: dict[str, float] = {}
        tensors: dict[str, list[list[Array]]] = {
            name: [[np.asarray(tensor, float)] for tensor in given]
            for name, given in statistics.tensors.items()
            if name in TENSORS
        }
        if "squared_gradient" not in tensors and "gradient" in tensors:
            tensors["squared_gradient"] = [[each**2] for (each,) in tensors["gradient"]]
        batch = float(getattr(statistics, "about", {}).get("batch", 1))
        for item, size in enumerate(getattr(statistics, "parameters", ())):
            # An output belongs to one sample: its sum over the batch is to be a mean, too.
            if not size and item < len(tensors.get("squared_gradient", ())):
                tensors["squared_gradient"][item] = [
                    each / batch for each in tensors["squared_gradient"][item]
                ]
        try:
            tensors["error"] = [
                [np.asarray(error[width], float) for width in widths] for error in statistics.errors
            ]
        except KeyError as error:
            raise InputError(f"statistics: no quantisation error at {error} bits") from None
        for name in TENSORS:
            if len(tensors.get(name, ())) != len(names):
                raise InputError(
                    f"statistics: {name} has {len(tensors.get(name, ()))} items, "
                    f"{len(names)} are named"
                )
            arrays = tensors[name]
            shapes = tuple(each[0].shape for each in arrays)
            if any(len(shape) != 2 or 0 in shape for shape in shapes):
                raise InputError(f"statistics: {name} needs matrices that are not empty")
            if shapes not in layouts:
                kept = [_chosen(shape, sample, rng) for shape in shapes]
                small = Layout(tuple((len(r), len(c)) for (r, c) in kept), whole)
                layouts[shapes] = small, kept
            layout, kept = layouts[shapes]
            data = np.stack(
                [
                    np.concatenate(
                        [
                            each[width][np.ix_(*chosen)].ravel()
                            for each, chosen in zip(arrays, kept, strict=True)
                        ]
                    )
                    for width in range(len(arrays[0]))
                ]
            )
            if not np.isfinite(data).all():
                raise InputError(f"statistics: {name} holds values that are not finite")
            scale[name] = float(np.sqrt((data**2).mean())) or 1.0
            leaves[name] = Value(
                data / (scale["weight" if name == "error" else name] if normalise else 1.0), layout
            )
        single = Layout(((1, 1),) * len(names), whole)
        bits = np.repeat(np.array(widths, float)[:, None], len(names), 1)
        leaves["bits"] = Value(bits, single)
        leaves["elements"] = Value(elements[None], single)
        leaves["counts"] = Value(whole[None], single)
        leaves["macs"] = Value(np.asarray(statistics.macs, float)[None], single)
        vectors = getattr(statistics, "vectors", {})
        if "eigenvalue" in vectors:
            eigenvalue = np.asarray(vectors["eigenvalue"], float)[None]
        else:  # of a diagonal matrix it is the largest entry
            eigenvalue = _largest(leaves["hessian"].data, leaves["hessian"].layout)
        size = float(np.sqrt((eigenvalue**2).mean())) or 1.0
        leaves["eigenvalue"] = Value(eigenvalue / (size if normalise else 1.0), single)
        # Scaled leaves are made when they are asked for: most formulas need none.
        return cls(names, widths, leaves, single)

    def leaf(self, name: str) -> Value:
        """The value of a leaf."""
        if name in self.leaves:
            return self.leaves[name]
        plain = self.leaves[name.removeprefix("bits*")]
        value = Value(plain.data * np.array(self.widths, float)[:, None], plain.layout)
        self._scaled[name] = value
        return value

    @cached_property
    def _scaled(self) -> dict[str, Value]:
        return {}

    def columns(self, genomes: Array) -> Array:
        """Column of every gene's width: int [N, items].

        Raises :class:`InputError` for genomes of another network.
        """
        genomes = np.asarray(genomes)
        if genomes.ndim != 2 or genomes.shape[1] != len(self.names):
            raise InputError(
                f"genomes {list(genomes.shape)}: the statistics have {len(self.names)} items; "
                "both must be of one network"
            )
        place = np.full(max(*self.widths, int(genomes.max(initial=0))) + 1, -1)
        place[list(self.widths)] = np.arange(len(self.widths))
        columns = place[genomes.astype(int)]
        if (columns < 0).any():
            row, item = np.argwhere(columns < 0)[0]
            raise InputError(
                f"genome {row}, item {item} ({self.names[item]}): {int(genomes[row, item])} bits, "
                f"the statistics have {', '.join(map(str, self.widths))}"
            )
        return columns


def _chosen(
    shape: tuple[int, int], sample: int | None, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Rows and columns to keep of a matrix, about as many of both as its shape has."""
    rows, columns = shape
    if sample is None or rows * columns <= sample:
        return np.arange(rows), np.arange(columns)
    few = int(np.clip(round((sample * rows / columns) ** 0.5), 1, rows))
    some = max(1, min(columns, sample // few))
    few = max(1, min(rows, sample // some))
    return (
        np.sort(rng.choice(rows, few, replace=False)),
        np.sort(rng.choice(columns, some, replace=False)),
    )


def _total(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.add.reduceat(x, layout.starts, axis=1)


def _mean(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.add.reduceat(x, layout.starts, axis=1) / layout.counts


def _largest(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.maximum.reduceat(x, layout.starts, axis=1)


def _least(x: Array, layout: Layout) -> Array:
    return x if layout.single else np.minimum.reduceat(x, layout.starts, axis=1)


def _spread(scalars: Array, layout: Layout) -> Array:
    return scalars if layout.single else scalars[:, layout.of]


def _centred(x: Array, layout: Layout) -> Array:
    return x - _spread(_mean(x, layout), layout)


def _std(x: Array, layout: Layout) -> Array:
    return np.sqrt(_mean(_centred(x, layout) ** 2, layout))


def _normalize(x: Array, layout: Layout) -> Array:
    return _centred(x, layout) / (_spread(_std(x, layout), layout) + TINY)


def _min_max(x: Array, layout: Layout) -> Array:
    low = _spread(_least(x, layout), layout)
    return (x - low) / (_spread(_largest(x, layout), layout) - low + TINY)


def _down(x: Array, layout: Layout) -> tuple[Array, Array]:
    """What softmax over the rows of each column needs: exponents, and their sums by element."""
    if layout.single:
        return np.zeros_like(x), np.ones_like(x)
    order, starts, column = layout.columns
    largest = np.maximum.reduceat(x[:, order], starts, axis=1)[:, column]
    shifted = x - largest
    return shifted, np.add.reduceat(np.exp(shifted)[:, order], starts, axis=1)[:, column]


def _softmax(x: Array, layout: Layout) -> Array:
    shifted, total = _down(x, layout)
    return np.exp(shifted) / total


def _logsoftmax(x: Array, layout: Layout) -> Array:
    shifted, total = _down(x, layout)
    return shifted - np.log(total)


def _rms(x: Array, layout: Layout) -> Array:
    return np.sqrt(_mean(x * x, layout))


def _frobenius(x: Array, layout: Layout) -> Array:
    return np.sqrt(_mean(x * x, layout) * layout.whole)


def _kurtosis(x: Array, layout: Layout) -> Array:
    square = _centred(x, layout) ** 2
    return _mean(square * square, layout) / (_mean(square, layout) ** 2 + TINY)


def _row_max(x: Array, layout: Layout) -> Array:
    if layout.single:
        return np.abs(x)
    return _mean(np.maximum.reduceat(np.abs(x), layout.row_starts, axis=1), layout.rows)


def _row_norm(x: Array, layout: Layout) -> Array:
    if layout.single:
        return np.abs(x)
    return _mean(np.sqrt(np.add.reduceat(x * x, layout.row_starts, axis=1)), layout.rows)


def _share(x: Array, layout: Layout) -> Array:
    means = _mean(x, layout)
    return means / (np.abs(means).sum(1, keepdims=True) + TINY)


def _item_rank(x: Array, layout: Layout) -> Array:
    means = _mean(x, layout)
    below = (means[:, :, None] > means[:, None]).sum(2)
    equal = (means[:, :, None] == means[:, None]).sum(2)
    return (below + (equal + 1) / 2) / means.shape[1]


def _width_share(x: Array, layout: Layout) -> Array:
    means = _mean(x, layout)
    return means / (np.abs(means).sum(0, keepdims=True) + TINY)


def _matmul(x: Array, y: Array, layout: Layout) -> Array:
    # The mean over both axes of x^T y needs no product: only the sums of rows.
    if layout.single:
        return x * y
    left = np.add.reduceat(x, layout.row_starts, axis=1)
    right = np.add.reduceat(y, layout.row_starts, axis=1)
    columns = np.array([columns for _, columns in layout.shapes], float)
    return _total(left * right, layout.rows) / columns**2


def _cosine(x: Array, y: Array, layout: Layout) -> Array:
    return _mean(x * y, layout) / (_rms(x, layout) * _rms(y, layout) + TINY)


def _kl(x: Array, y: Array, layout: Layout) -> Array:
    p, q = np.abs(x) + TINY, np.abs(y) + TINY
    p, q = (each / _spread(_total(each, layout), layout) for each in (p, q))
    return _total(p * np.log(p / q), layout)


def _quotient(x: Array, y: Array, layout: Layout) -> Array:
    return x / np.where(y < 0, y - TINY, y + TINY)


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
    _unary("within", "normalize", "zscore({x})", _normalize, _EPS + " to the deviation", "", 0.5),
    _unary("within", "min_max", "minmax({x})", _min_max, _EPS + " to the range", "+", 0.5),
    _unary("within", "centre", "{x!} - mean({x})", _centred, "", "", 0.5),
    _unary("within", "softmax", "softmax({x})", _softmax, "over the rows of each column", "+", 0.3),
    _unary(
        "within",
        "logsoftmax",
        "logsoftmax({x})",
        _logsoftmax,
        "over the rows of each column",
        "",
        0.3,
    ),
    # Unary, to one number.
    _unary("reduce", "mean", "mean({x})", _mean, sign="~", priority=2.0),
    _unary(
        "reduce",
        "total",
        "sum({x})",
        lambda x, layout: _mean(x, layout) * layout.whole,
        "mean times the whole tensor's elements, as these are a sample",
        "~",
        1.5,
    ),
    _unary("reduce", "frobenius", "||{x}||", _frobenius, "as total", "+"),
    _unary("reduce", "l1_norm", "mean|{x}|", lambda x, layout: _mean(np.abs(x), layout), sign="+"),
    _unary("reduce", "std", "std({x})", _std, sign="+"),
    _unary("reduce", "max", "max({x})", _largest, sign="~", priority=0.5),
    _unary("reduce", "min", "min({x})", _least, sign="~", priority=0.5),
    _unary("reduce", "kurtosis", "kurtosis({x})", _kurtosis, _EPS, "+", 0.3),
    _unary("reduce", "row_max", "mean over rows of max|{x}|", _row_max, sign="+", priority=0.5),
    _unary("reduce", "row_norm", "mean over rows of ||{x}||", _row_norm, sign="+", priority=0.5),
    # Unary, across items or widths.
    _unary(
        "across",
        "share",
        "share({x})",
        _share,
        "mean over the sum of all items' absolute means, " + _EPS,
        "~",
    ),
    _unary(
        "across",
        "item_rank",
        "rank({x})",
        _item_rank,
        "rank of the mean among the items at that width, 1/items to 1, equal ones share",
        "+",
        0.5,
    ),
    _unary(
        "across",
        "width_share",
        "share_b({x})",
        _width_share,
        "mean over the sum of absolute means at all widths, " + _EPS,
        "~",
    ),
    # Binary, elementwise.
    _both("elementwise", "sum", "{x!} + {y!}", lambda x, y, layout: x + y, sign="~", priority=4.0),
    _both("elementwise", "difference", "{x!} - {y!}", lambda x, y, layout: x - y, priority=2.0),
    _both(
        "elementwise", "product", "{x!} * {y!}", lambda x, y, layout: x * y, sign="~", priority=6.0
    ),
    _both("elementwise", "quotient", "{x!} / {y!}", _quotient, _EPS + " away from 0", "~", 3.0),
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
    _both("reduce", "matmul", "mean({x!}^T {y!})", _matmul, "mean over both axes", "~", 0.5),
    _both(
        "reduce",
        "dot",
        "sum({x!} * {y!})",
        lambda x, y, layout: _mean(x * y, layout) * layout.whole,
        "as total",
        "~",
        2.0,
    ),
    _both(
        "reduce",
        "l1_distance",
        "mean|{x!} - {y!}|",
        lambda x, y, layout: _mean(np.abs(x - y), layout),
        sign="+",
        priority=0.5,
    ),
    _both(
        "reduce",
        "mse",
        "mean(({x!} - {y!})^2)",
        lambda x, y, layout: _mean((x - y) ** 2, layout),
        sign="+",
        priority=0.5,
    ),
    _both("reduce", "cosine", "cosine({x}, {y})", _cosine, _EPS, "~", 0.5),
    _both(
        "reduce", "kl", "KL({x}, {y})", _kl, "of the absolute values as shares, " + _EPS, "", 0.3
    ),
    _both(
        "reduce",
        "hamming",
        "mean[sign {x!} != sign {y!}]",
        lambda x, y, layout: _mean((np.sign(x) != np.sign(y)).astype(float), layout),
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
            layout, left, right = x.layout, x.data, _spread(y.data, x.layout)
        elif x.layout is scalar:
            layout, left, right = y.layout, _spread(x.data, y.layout), y.data
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
