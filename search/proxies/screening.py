"""Compatibility screening: what need not be scored, found before it is, and how often.

The checks, in their order:

``normal``
    the normal form was met before (:meth:`~.formula.Proxy.normal`);
``constant``
    a part of the formula, not only the whole, that reads a tensor gives the same number whatever is
    in the tensor, or the same at all items and widths. In EMQ's released winner one branch is the
    mean of a softmax, which is 1/C;
``invalid``
    not a number or overflow at any item and width;
``insensitive``
    the same at all widths, so that every genome scores alike;
``scale``
    beyond :data:`LARGEST`; one item's share of the score so large that the others' are lost; or a
    part added to one so much larger that it has no effect;
``output``
    ranks every genome as one met before does, by the hash of its tables
    (:func:`~.formula.output_hash`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...model.errors import InputError, shown
from .formula import InvalidProxy, Proxy, output_hash, result
from .inputs import SCALARS, Inputs
from .layout import Value
from .primitives import PRIMITIVES, Array

CHECKS = ("normal", "constant", "invalid", "insensitive", "scale", "output")
#: Values beyond it are taken for an accident.
LARGEST = 1e15
#: Relative differences below it are rounding.
SAME = 1e-9
#: Shares below it have no effect on a ranking of some hundred genomes.
WITHOUT_EFFECT = 1e-6
#: Means below it, relative to what they are of, are 0.
ROUNDING = 1e-12
_PROBES = 3


@cache
def _probes() -> tuple[Inputs, ...]:
    """Small networks that differ in nothing but what is in their tensors."""
    shapes = [(4, 6), (5, 3), (3, 8), (6, 6), (2, 5), (7, 4)]
    widths = (2, 4, 8)
    probes = []
    for seed in range(_PROBES):
        rng = np.random.default_rng([seed, 9])

        def draw(rng: np.random.Generator = rng) -> tuple[Array, ...]:
            return tuple(rng.normal(size=shape) * np.exp(rng.normal()) for shape in shapes)

        tensors = {name: draw() for name in ("weight", "gradient", "virtual_gradient")}
        tensors["activation"] = tuple(rng.normal(size=(rows, 5)) for rows, _ in shapes)
        tensors["hessian"] = tuple(np.abs(each) for each in draw())
        errors = tuple(
            {width: rng.uniform(-1, 1, w.shape) * np.abs(w).max() / 2**width for width in widths}
            for w in tensors["weight"]
        )
        probes.append(
            Inputs.of(
                SimpleNamespace(
                    names=tuple(map(str, range(len(shapes)))),
                    widths=widths,
                    tensors=tensors,
                    errors=errors,
                    elements=np.array([rows * columns for rows, columns in shapes]),
                    macs=np.array([rows * columns for rows, columns in shapes]),
                )
            )
        )
    return tuple(probes)


def _flat(table: Array) -> bool:
    """Whether all entries are the same but for rounding."""
    return bool(np.ptp(table) <= SAME * np.abs(table).max())


def _same(x: Array, y: Array) -> bool:
    return x.shape == y.shape and bool(np.abs(x - y).max() <= SAME * np.abs(x).max())


def _extent(parts: Sequence[Array]) -> float:
    return float(np.prod([np.abs(part).max() for part in parts]))


def _reads_tensors(proxy: Proxy) -> list[bool]:
    """Of every node, whether it depends on a tensor."""
    reads: list[bool] = []
    for node in proxy.nodes:
        reads.append(
            any(reads[k] for k in node.arguments) if node.arguments else node.name not in SCALARS
        )
    return reads


def constant_part(proxy: Proxy) -> str | None:
    """Text of a part that reads a tensor and does not depend on what is in it; None if there is
    none, or the formula is not finite on the small networks that it is tried on."""
    try:
        tried = [proxy.values(probe) for probe in _probes()]
    except InvalidProxy:
        return None
    reads = _reads_tensors(proxy)
    last = len(proxy.nodes) - 1
    for k, node in enumerate(proxy.nodes):
        if not node.arguments or not reads[k]:
            continue
        # The result counts with its mean, whatever shape it has.
        data = [values[k].means() if k == last else values[k].data for values in tried]
        if k == last or PRIMITIVES[node.name].reduces:
            # What remains of a mean that is 0 is rounding, and rounding is not constant.
            parts = [[values[a].data for a in node.arguments] for values in tried]
            if k == last:
                parts = [[values[k].data] for values in tried]
            data = [
                np.where(np.abs(each) > ROUNDING * _extent(those), each, 0)
                for each, those in zip(data, parts, strict=True)
            ]
        if all(_same(data[0], other) for other in data[1:]):
            return str(proxy.part(k))
    return None


def flat_parts(proxy: Proxy, values: Sequence[Value], inputs: Inputs) -> set[int]:
    """Nodes that read a tensor and are one number at all items and widths of this network."""
    reads, last = _reads_tensors(proxy), len(proxy.nodes) - 1
    flat = set()
    for k, (node, value) in enumerate(zip(proxy.nodes, values, strict=True)):
        single = value.layout is inputs.scalar or k == last
        if node.arguments and single and (reads[k] or k == last) and _flat(value.means()):
            flat.add(k)
    return flat


def insensitive(table: Array) -> bool:
    """Whether a table [items, widths] is the same at all widths."""
    return bool(np.ptp(table, axis=1).max() <= SAME * np.abs(table).max())


def out_of_scale(proxy: Proxy, values: Sequence[Value], table: Array) -> str | None:
    """Why the formula's parts are of unequal size, or None."""
    if np.abs(table).max() > LARGEST:
        return f"beyond {LARGEST:g}"
    swing = np.ptp(table, axis=1)
    if len(swing) > 1 and swing.max() > (1 - WITHOUT_EFFECT) * swing.sum():
        return "one item alone"
    for k, node in enumerate(proxy.nodes):
        if node.name in ("maximum", "minimum"):
            means = values[k].means()
            if any(
                _same(np.broadcast_to(values[a].means(), means.shape), means)
                for a in node.arguments
            ):
                return f"no effect of a part of {proxy.part(k)}"
        elif node.name in ("sum", "difference", "hypot"):
            first, second = (np.ptp(values[a].data) for a in node.arguments)
            if min(first, second) < WITHOUT_EFFECT * max(first, second):
                return f"no effect of a part of {proxy.part(k)}"
    return None


@dataclass
class Verdict:
    """What screening says: the check that failed, or None, why, and the tables where there are.

    A check that is switched off fails nothing: then a formula may have neither tables nor a reason.
    """

    check: str | None
    reason: str = ""
    tables: list[Array] | None = None


@dataclass
class Screen:
    """The checks that are switched on, what they met, and how often each failed.

    orient : whether a formula and its negative are the same, as the better one is taken
    counts : candidates by check that they failed, and ``passed``
    """

    inputs: Sequence[Inputs]
    checks: tuple[str, ...] = CHECKS
    orient: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    normals: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for check in self.checks:
            if check not in CHECKS:
                raise InputError(f"screening {shown(check)}: {', '.join(CHECKS)} are known")

    def __call__(self, proxy: Proxy) -> Verdict:
        """Judge a candidate, and remember it."""
        verdict = self._judge(proxy)
        key = verdict.check or "passed"
        self.counts[key] = self.counts.get(key, 0) + 1
        return verdict

    def _judge(self, proxy: Proxy) -> Verdict:
        on = self.checks
        if "normal" in on:
            normal = proxy.normal(oriented=not self.orient).digest
            if normal in self.normals:
                return Verdict("normal", "met before in other words")
            self.normals.add(normal)
        if "constant" in on and (part := constant_part(proxy)):
            return Verdict("constant", f"{part} does not depend on what it reads")
        tables, flat = [], None
        for inputs in self.inputs:
            try:
                values = proxy.values(inputs)
            except InvalidProxy as error:
                return Verdict("invalid" if "invalid" in on else None, str(error))
            table = result(values[-1], inputs)
            tables.append(table)
            if "constant" in on:
                these = flat_parts(proxy, values, inputs)
                flat = these if flat is None else flat & these
            if "insensitive" in on and insensitive(table):
                return Verdict("insensitive", "the same at all widths")
            if "scale" in on and (reason := out_of_scale(proxy, values, table)):
                return Verdict("scale", reason)
        if flat:
            part = str(proxy.part(min(flat)))
            return Verdict("constant", f"{part} is the same at all items and widths")
        if "output" in on:
            output = output_hash(tables, oriented=not self.orient)
            if output in self.outputs:
                return Verdict("output", "ranks as one that was met before")
            self.outputs.add(output)
        return Verdict(None, "", tables)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "counts": self.counts,
            "normals": sorted(self.normals),
            "outputs": sorted(self.outputs),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """What :meth:`state` gave."""
        self.counts = {str(key): int(count) for key, count in state["counts"].items()}
        self.normals, self.outputs = set(state["normals"]), set(state["outputs"])
