"""How well scores rank accuracies: Spearman, also among the best, Kendall, the regret of a pick.

Ties are handled as SciPy does (average ranks, tau-b); a ranking of equal values is NaN there and
counts as 0 in a fitness.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ...model.errors import InputError, shown
from .formula import Proxy, scores
from .inputs import SAMPLE, Inputs
from .primitives import Array

#: Parts of a table, of which the last two rank nothing by "more bits".
SUBSETS = ("all", "equal-sum", "equal-size")
RATIOS = (0.2, 0.5, 1.0)
#: Shares of a table's sizes below which picks are made.
BUDGETS = (0.25, 0.5, 0.75)
#: Scores so near to each other, relative to the largest, differ by rounding alone.
SAME = 1e-12


class Measured(Protocol):
    """What is needed of a :class:`~.tables.Table`."""

    @property
    def name(self) -> str: ...
    @property
    def genomes(self) -> Array: ...
    @property
    def accuracy(self) -> Array: ...
    @property
    def sizes(self) -> Array: ...
    def subset(self, kind: str) -> Array: ...


def ranks(values: Array) -> Array:
    """Average ranks from 1 along the last axis: float64, the shape of `values`."""
    values = np.asarray(values, float)
    if values.ndim == 1:
        # The common case, several times faster.
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        result = np.empty(len(values))
        new = ordered[1:] != ordered[:-1]
        if new.all():
            result[order] = np.arange(1.0, len(values) + 1)
            return result
        group = np.concatenate([[0], np.cumsum(new)])
        counts = np.bincount(group)
        result[order] = (np.cumsum(counts) - (counts - 1) / 2)[group]
        return result
    flat = values.reshape(-1, values.shape[-1])
    order = np.argsort(flat, axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, 1)
    new = np.ones(flat.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    counts = np.bincount(group)
    middle = np.cumsum(counts) - (counts - 1) / 2
    result = np.empty(flat.shape)
    offset = np.arange(len(flat))[:, None] * flat.shape[1]
    np.put_along_axis(result, order, middle[group].reshape(flat.shape) - offset, 1)
    return result.reshape(values.shape)


def _pearson(x: Array, y: Array) -> Any:
    x = x - x.mean(-1, keepdims=True)
    y = y - y.mean(-1, keepdims=True)
    if x.ndim == y.ndim == 1:
        spread = math.sqrt((x @ x) * (y @ y))
        return float(x @ y) / spread if spread else math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def spearman(x: Array, y: Array) -> Any:
    """Rank correlation along the last axis of arrays [..., N] and [..., N]; NaN where one of them
    is constant, or fewer than two are compared."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape[-1] != y.shape[-1]:
        raise InputError(f"scores of {x.shape[-1]} genomes, accuracies of {y.shape[-1]}")
    if x.shape[-1] < 2:
        return np.full(np.broadcast_shapes(x.shape, y.shape)[:-1], np.nan)[()]
    return _pearson(ranks(x), ranks(y))


def _or_0(value: float) -> float:
    """A ranking of equal values ranks nothing."""
    return value if math.isfinite(value) else 0.0


def kendall(x: Array, y: Array) -> float:
    """Kendall's tau-b of two arrays [N]; NaN as :func:`spearman`."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) != len(y):
        raise InputError(f"scores of {len(x)} genomes, accuracies of {len(y)}")
    agree = of_x = of_y = 0.0
    # By blocks, as the signs of all pairs at once take N^2 bytes.
    for start in range(0, len(x), 1000):
        a = np.sign(x[start : start + 1000, None] - x).astype(np.int8)
        b = np.sign(y[start : start + 1000, None] - y).astype(np.int8)
        agree += float((a * b).sum(dtype=np.int64))
        of_x += float(np.count_nonzero(a))
        of_y += float(np.count_nonzero(b))
    return agree / (of_x * of_y) ** 0.5 if of_x and of_y else float("nan")


def top(values: Array, ratio: float) -> Array:
    """Indices of the greatest ``int(N * ratio)`` values, earlier ones first among equal ones."""
    if not 0 < ratio <= 1:
        raise InputError(f"top share {shown(ratio)}: not above 0 and at most 1")
    values = np.asarray(values, float)
    return np.argsort(-values, kind="stable")[: int(len(values) * ratio + 1e-9)]


def spearman_at(x: Array, y: Array, ratio: float, *, by: str = "score") -> float:
    """Spearman among the top share: by the score `x`, as EMQ has it, or by the true `y`."""
    if by not in ("score", "accuracy"):
        raise InputError(f"top by {shown(by)}: by score or accuracy")
    x, y = np.asarray(x, float), np.asarray(y, float)
    best = top(x if by == "score" else y, ratio)
    return float(spearman(x[best], y[best]))


def regret(x: Array, y: Array, sizes: Array, budget: float) -> float:
    """How much better the best within the budget is than the pick: the greatest `y` of sizes at
    most `budget`, less that of the greatest score `x` (the mean of equal picks). NaN where nothing
    is within it."""
    allowed = np.flatnonzero(np.asarray(sizes) <= budget)
    if not len(allowed):
        return float("nan")
    x, y = np.asarray(x, float)[allowed], np.asarray(y, float)[allowed]
    return float(y.max() - y[x == x.max()].mean())


def report(x: Array, y: Array, sizes: Array) -> dict[str, float]:
    """All figures of scores `x` against accuracies `y`.

    ``spearman``, ``kendall``, ``spearman@20`` and ``@50`` (top by score), ``@20 by accuracy`` and
    ``@50 by accuracy``, and ``regret`` in points of accuracy, the mean over :data:`BUDGETS`
    (quantiles of `sizes`).
    """
    figures = {"spearman": float(spearman(x, y)), "kendall": kendall(x, y)}
    for ratio in RATIOS[:-1]:
        percent = round(100 * ratio)
        figures[f"spearman@{percent}"] = spearman_at(x, y, ratio)
        figures[f"spearman@{percent} by accuracy"] = spearman_at(x, y, ratio, by="accuracy")
    picks = [regret(x, y, sizes, budget) for budget in np.quantile(sizes, BUDGETS)]
    figures["regret"] = 100 * float(np.mean(picks))
    return figures


@dataclass(frozen=True, eq=False)
class Bench:
    """A table and the statistics of its network, ready to judge proxies.

    columns : of the statistics' widths, int [N, items]
    parts : rows of each of :data:`SUBSETS`
    """

    name: str
    inputs: Inputs
    columns: Array
    accuracy: Array
    sizes: Array
    parts: Mapping[str, Array]

    @classmethod
    def of(
        cls,
        table: Measured,
        statistics: Any,
        sample: int | None = SAMPLE,
        *,
        rows: Array | None = None,
        truth: str = "accuracy",
    ) -> "Bench":
        """Of a table and a :class:`~.statistics.Statistics`.

        rows : those of the table that may be seen, for instance :func:`half`; all by default
        truth : ``accuracy``, or ``trained`` for the rows where that is known
        Raises :class:`InputError` for a table of another network, or with fewer than three rows.
        """
        inputs = Inputs.of(statistics, sample)
        accuracy = np.asarray(getattr(table, truth), float)
        seen = np.isfinite(accuracy)
        if rows is not None:
            of_rows = np.zeros(len(seen), bool)
            of_rows[rows] = True
            seen &= of_rows
        indices = np.flatnonzero(seen)
        if len(indices) < 3:
            raise InputError(f"table {table.name}: {len(indices)} rows with {truth}; 3 are needed")
        place = np.full(len(seen), -1)
        place[indices] = np.arange(len(indices))
        try:
            columns = inputs.columns(table.genomes[indices])
        except InputError as error:
            raise InputError(f"table {table.name}: {error}") from None
        parts = {}
        for kind in SUBSETS:
            try:
                members = place[np.asarray(table.subset(kind), int)]
            except InputError:  # that it has none matters to those who need it
                members = np.empty(0, int)
            parts[kind] = members[members >= 0]
        return cls(
            table.name, inputs, columns, accuracy[indices], np.asarray(table.sizes)[indices], parts
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that a fitness depends on."""
        digest = hashlib.sha256(self.name.encode())
        for name in sorted(self.inputs.leaves):
            digest.update(np.ascontiguousarray(self.inputs.leaves[name].data).tobytes())
        for array in (self.columns, self.accuracy, self.sizes, *self.parts.values()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def ranks(self) -> dict[str, Array]:
        """Of the accuracies within each part."""
        return {kind: ranks(self.accuracy[rows]) for kind, rows in self.parts.items()}

    def part(self, kind: str) -> Array:
        """Rows of a subset. Raises :class:`InputError` where it is empty."""
        if kind not in self.parts:
            raise InputError(f"subset {shown(kind)}: {', '.join(SUBSETS)} are known")
        if len(self.parts[kind]) < 3:
            raise InputError(
                f"table {self.name}: {len(self.parts[kind])} rows in its {kind} subset, "
                "3 are needed; another table, or without that subset"
            )
        return self.parts[kind]

    def scores(self, table: Array) -> Array:
        """Of a proxy's table [items, widths], for all rows; what differs by rounding is equal."""
        return self.rounded(scores(table, self.columns))

    @staticmethod
    def rounded(scores: Array) -> Array:
        """Scores where what differs by rounding is equal."""
        scale = np.abs(scores).max() * SAME
        return np.round(scores / scale) * scale if scale else scores

    def report(self, proxy: Proxy) -> dict[str, dict[str, float]]:
        """:func:`report` by subset, of those that have rows."""
        scores = self.scores(proxy.table(self.inputs))
        return {kind: self.judge(scores, kind) for kind in SUBSETS if len(self.parts[kind]) >= 3}

    def judge(self, scores: Array, kind: str = "all") -> dict[str, float]:
        """:func:`report` of scores of all rows, within a subset."""
        rows = self.part(kind)
        return report(scores[rows], self.accuracy[rows], self.sizes[rows])


def half(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Two halves of the rows of a table: to search on, and held out."""
    order = np.random.default_rng([seed, 7]).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


@dataclass(frozen=True)
class Objective:
    """What makes a proxy fit, larger being better; 1 at best.

    ratios, by : the mean of Spearman at these shares, top by ``score`` (EMQ), ``accuracy``, or the
        mean of ``both``
    equal_sum, equal_size : weights, of 1 in all, of Spearman on the subset where all genomes have
        the same sum of bits, or size
    worst : weight of the table with the least fitness beside the mean over tables
    parsimony : taken off for every primitive of the formula
    """

    ratios: tuple[float, ...] = RATIOS
    by: str = "score"
    equal_sum: float = 0.5
    equal_size: float = 0.0
    worst: float = 0.25
    parsimony: float = 0.0005

    def __post_init__(self) -> None:
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise InputError(f"ratios {shown(self.ratios)}: each above 0 and at most 1")
        if self.by not in ("score", "accuracy", "both"):
            raise InputError(f"top by {shown(self.by)}: score, accuracy or both")
        for name in ("equal_sum", "equal_size", "worst"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {shown(getattr(self, name))}: not within 0 to 1")
        if self.equal_sum + self.equal_size > 1:
            raise InputError("equal_sum and equal_size: more than 1 together")
        if not 0 <= self.parsimony < 1:
            raise InputError(f"parsimony {shown(self.parsimony)}: not from 0 to below 1")

    def check(self, bench: Bench) -> None:
        """Raises :class:`InputError` for a table without a subset that is needed."""
        bench.part("all")
        for kind, weight in (("equal-sum", self.equal_sum), ("equal-size", self.equal_size)):
            if weight:
                bench.part(kind)

    def one(self, bench: Bench, scores: Array, *, orient: bool = False) -> tuple[float, int]:
        """Fitness of scores on one table, and 1, or -1 where they are better turned round, which
        `orient` allows. NaN for scores that rank nothing at all."""

        def on(kind: str) -> float:
            return float(_pearson(ranks(scores[bench.part(kind)]), bench.ranks[kind]))

        rows = bench.part("all")
        x, y = scores[rows], bench.accuracy[rows]
        whole = on("all")
        if not math.isfinite(whole):
            return float("nan"), 1
        parts = [
            (weight, _or_0(on(kind)))
            for kind, weight in (("equal-sum", self.equal_sum), ("equal-size", self.equal_size))
            if weight
        ]
        rest = 1 - self.equal_sum - self.equal_size
        sign = 1
        if orient and rest * whole + sum(weight * value for weight, value in parts) < 0:
            sign, x, whole = -1, -x, -whole
        fitness = sum(weight * sign * float(value) for weight, value in parts)
        if rest:
            kinds = ("score", "accuracy") if self.by == "both" else (self.by,)
            at = [
                whole if ratio == 1 else spearman_at(x, y, ratio, by=by)
                for by in kinds
                for ratio in self.ratios
            ]
            fitness += rest * float(np.mean([_or_0(value) for value in at]))
        return fitness, sign

    def many(
        self,
        benches: Sequence[Bench],
        tables: Sequence[Array],
        size: int = 0,
        *,
        orient: bool = False,
    ) -> tuple[float, int]:
        """Fitness of a proxy by its tables, one for each of `benches`, and its best sign; NaN where
        it ranks nothing on one of them."""
        scores = [bench.scores(table) for bench, table in zip(benches, tables, strict=True)]
        pairs = [
            self.one(bench, x, orient=orient) for bench, x in zip(benches, scores, strict=True)
        ]
        sign = 1
        if orient:
            # One sign for all: where they disagree, that of the clearest.
            sign = 1 if sum(value * way for value, way in pairs) >= 0 else -1
            pairs = [
                pair if pair[1] == sign else self.one(bench, sign * x)
                for pair, bench, x in zip(pairs, benches, scores, strict=True)
            ]
        values = np.array([value for value, _ in pairs])
        if not np.isfinite(values).all():
            return float("nan"), 1
        mean = (1 - self.worst) * values.mean() + self.worst * values.min()
        return float(mean) - self.parsimony * size, sign
