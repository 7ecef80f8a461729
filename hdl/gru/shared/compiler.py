"""Compiling a layer to the program of a shared machine (:mod:`.rows`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....model.integer import (
    Classifier,
    Dense,
    Layer,
    PiecewiseLinear,
    Table,
    code_range,
    signed_width,
)
from ...piecewise_linear import PiecewisePlan
from .order import ORDER
from .rows import (
    Activation,
    Op,
    Program,
    Row,
    codes_from_zero,
    dense_op,
    elementwise_op,
    piecewise_op,
)


def _ops_of(layer: Layer, digit: int, loaded: bool) -> dict[str, Op]:
    """What the operators of a layer without a table or lines take."""
    ops = {}
    for name, sources, _ in ORDER:
        op = layer.ops[name]
        if isinstance(op, Dense):
            ops[name] = dense_op(op, sources[0], digit, loaded)
        elif not isinstance(op, Table | PiecewiseLinear):
            ops[name] = elementwise_op(op, sources, digit)
    return ops


class Compiler:
    """Makes the :class:`Program` of a layer, with the classifier where it is the last.

    Where weights are `loaded` it is that of any weights: only their words differ.
    """

    def __init__(
        self,
        layer: Layer,
        classifier: Classifier | None,
        digit: int = 1,
        loaded: bool = False,
    ) -> None:
        self.layer, self.classifier, self.digit = layer, classifier, digit
        self.loaded = loaded
        self.words = {"x": layer.input_size, "h": layer.hidden_size}
        self.program = Program()
        ops = self.ops = _ops_of(layer, digit, loaded)
        self.pieces = {
            name: PiecewisePlan.of(op)
            for name, op in layer.ops.items()
            if isinstance(op, PiecewiseLinear)
        }
        self.levels = {
            name: (len(plan.slopes) - 1).bit_length() for name, plan in self.pieces.items()
        }
        for name, plan in self.pieces.items():
            segments = [min(k, len(plan.slopes) - 1) for k in range(1 << self.levels[name])]
            ops[name] = piecewise_op(plan, name, segments, digit)
        self.guard = max(op.guard for op in ops.values())
        self.low = self.high = 0
        #: Bits that a unit takes of the weights' memory, int [units, n] in order.
        self.bits: list[np.ndarray] = []

    def compile(self) -> Program:
        """The whole program."""
        program = self.program
        program.guard, program.digit = self.guard, self.digit
        program.rows.append(Row(kind="load"))
        program.loop = 1
        for name, sources, target in ORDER:
            self._operator(name, sources, target)
        program.rows.append(Row(kind="emit", bits=self.layer.bits("h")))
        self._flush()
        program.weights_of_step = len(program.weights)
        program.unit_cycles = self._cycles(program.rows[1:])
        if self.classifier is not None:
            program.classify = len(program.rows)
            self._classify(self.classifier)
            self._flush()
        places = [row.place for row in program.rows if row.operand == "imm"]
        codes = [8, self.layer.in_bits]
        program.operand_bits = max(*codes, max(places) + 2)
        self._seen(-(1 << (program.operand_bits + self.digit - 2 + self.guard)), 0)
        program.width = signed_width(self.low, self.high)
        return program

    def _cycles(self, rows: Sequence[Row]) -> int:
        return sum(self.words[row.operand] if row.loop else 1 for row in rows)

    def _flush(self) -> None:
        if self.bits:
            self.program.weights += np.concatenate(self.bits, 1).ravel().tolist()
        self.bits = []

    def _seen(self, low: Any, high: Any) -> None:
        self.low = min(self.low, int(np.min(low)))
        self.high = max(self.high, int(np.max(high)))

    def _operator(self, name: str, sources: Sequence[str], target: str) -> None:
        op, rows = self.layer.ops[name], self.program.rows
        if name == "p_zh":
            # The state of the unit, into t1.
            rows[-1] = replace(rows[-1], own=True)
            rows += self._plain(Row("h", "one", first=True), *([Row(shift=1)] * self.guard))
            rows[-1] = replace(rows[-1], target="t1", bits=self.layer.bits("h"))
        if isinstance(op, Table):
            self._table(name, op)
        elif isinstance(op, PiecewiseLinear):
            self._piecewise(name)
        else:
            self._planes(self.ops[name], "rom", self.bits)
        if target:
            rows[-1] = replace(rows[-1], target=target, bits=op.out_bits)

    def _plain(self, *rows: Row) -> list[Row]:
        low, high = codes_from_zero(8)
        self._seen(low << self.guard, high << self.guard)
        return list(rows)

    def _planes(self, op: Op, source: str, digits: list[np.ndarray]) -> None:
        """Rows of an operator, lowest plane first, then ``drop + guard`` shifts in all.

        A constant that is an array comes from a memory, the factor `source`, as other digits of
        the operator may; they are added to `digits` in the order in which they are read.
        """
        e, n = self.guard, op.drop
        constant: Any = op.constant + op.ones
        from_rom = isinstance(constant, np.ndarray)
        rest: Any
        if from_rom:
            # The top bit of the rest is negative, which adds -1 besides.
            top = 1 << (self.digit - 1)
            rest = (constant >> n) + top
            ends = rest if op.ends is None else (np.array(op.ends) + op.ones >> n) + top
            wide = signed_width(int(np.min(ends)), int(np.max(ends)))
        else:
            rest = constant >> n
        units = len(constant) if from_rom else 1
        low, high = np.zeros(units, np.int64), np.zeros(units, np.int64)
        first = True
        total = n + e
        v = 0
        while True:
            step = self._step(op, constant, v)
            rows: list[Row] = []
            bounds: list[tuple[object, object]] = []
            for number, row in enumerate(op.planes.get(v, ())):
                rows.append(row)
                bounds.append(op.bounds[v][number])
                if row.factor == source:
                    digits.append(op.bits[v][number])
            if v < n and from_rom:
                rows.append(Row(factor=source))
                bounds.append((0, (1 << step) - 1))
                digits.append(((constant >> v) & ((1 << step) - 1))[:, None])
            if v == n and from_rom:
                more = _rest_in_memory(self, rest, wide, source, digits)
            elif v == n:
                more = _rest_of_constant(self, rest)
            if v == n:
                rows += [row for row, _, _ in more]
                bounds += [(low, high) for _, low, high in more]
            carry = not from_rom and v >= e and v - e < n and bool(constant >> (v - e) & 1)
            if v == total:
                # Nothing is left below P, and all is added.
                assert not carry
                if rows:
                    self._append(rows, bounds, low, high, first, 0, e)
                return
            if not rows:
                rows, bounds = [Row()], [(0, 0)]
            # Loops are of dense operators, whose constants come from the memory.
            rows[0] = replace(rows[0], carry=carry)
            low, high = self._append(rows, bounds, low, high, first, step, e)
            first = False
            v += step

    def _step(self, op: Op, constant: int | np.ndarray, v: int) -> int:
        """By how many bits P moves after plane `v`: a digit, where nothing is in between."""
        after = range(v + 1, v + self.digit)
        events = {*op.planes, op.drop, op.drop + self.guard}
        if not isinstance(constant, np.ndarray):
            low = constant & ((1 << op.drop) - 1)
            events |= {k + self.guard for k in range(op.drop) if low >> k & 1}
        return 1 if events & {*after} or v >= op.drop + self.guard else self.digit

    def _append(
        self,
        rows: list[Row],
        bounds: list[tuple[object, object]],
        low: np.ndarray,
        high: np.ndarray,
        first: bool,
        shift: int,
        e: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Append the rows of a plane; the last one shifts. A loop cannot start afresh, nor shift
        or keep a result, which are done once."""
        if first and rows[0].loop:
            rows = [Row(first=True), *rows]
            bounds = [(0, 0), *bounds]
        elif first:
            rows[0] = replace(rows[0], first=True)
        if rows[-1].loop:
            rows.append(Row())
            bounds.append((0, 0))
        for row, (least, greatest) in zip(rows, bounds, strict=True):
            low = low + (np.asarray(least) << e)
            high = high + (np.asarray(greatest) << e) + row.carry
            self._seen(low, high)
        if shift:
            rows[-1] = replace(rows[-1], shift=shift)
            low, high = low >> shift, high >> shift
        self.program.rows += rows
        return low, high

    def _table(self, name: str, op: Table) -> None:
        """A table's code bit by bit; it is asked for one row after its operand is there."""
        e, bits = self.guard, op.out_bits
        unit = Activation(True, op.a_bits)
        # The negative bit of the sign adds ones besides.
        d = self.digit
        codes = np.roll(op.table.astype(np.int64), len(op.table) // 2) + (1 << (d - 1))
        places = range(0, signed_width(int(codes.min()), int(codes.max())), d)
        unit.length = len(places)
        unit.words = [int(v) for k in places for v in (codes >> k) & ((1 << d) - 1)]
        self.program.activations[name] = unit
        rows = [Row(first=True)]
        rows += [Row(factor=name, place=k, negative=k == places[-1]) for k in places]
        self._seen(-(4 << (bits + d)) << e, (4 << (bits + d)) << e)
        self.program.rows += rows + [Row(shift=1)] * e

    def _piecewise(self, name: str) -> None:
        """Search for the segment, then slope times code plus intercept."""
        plan, levels, d = self.pieces[name], self.levels[name], self.digit
        low, high = code_range(plan.in_bits)
        points = [*plan.points, *([high] * ((1 << levels) - 1 - len(plan.points)))]
        # Less a break point, and what the negative bit of its sign adds besides.
        values = [(1 << (d - 1)) - point for point in points]
        wide = signed_width(min(values, default=0), max(values, default=0))
        places = range(0, wide, d)
        lists: list[list[int]] = [[] for _ in range(2 << levels)]
        for node in range(1, 1 << levels):
            depth = node.bit_length() - 1
            order = ((2 * (node - (1 << depth)) + 1) << (levels - depth - 1)) - 1
            lists[node] = [values[order] >> k & ((1 << d) - 1) for k in places]
        search = [Row("t0", "one", first=True)]
        search += [Row(factor=name, place=k, negative=k == places[-1]) for k in places]
        search[-1] = replace(search[-1], settle=True)
        self.program.rows += search * levels
        self._seen((4 * low - (1 << d)) << self.guard, (4 * -low + (1 << d)) << self.guard)
        taken: list[np.ndarray] = []
        self._planes(self.ops[name], name, taken)
        for segment in range(1 << levels):
            lists[(1 << levels) + segment] = [int(column[segment, 0]) for column in taken]
        unit = Activation(False, levels)
        unit.length = max(len(column) for column in lists)
        unit.words = [
            column[k] if k < len(column) else 0 for k in range(unit.length) for column in lists
        ]
        self.program.activations[name] = unit

    def _classify(self, op: Classifier) -> None:
        """Logits, one after the other; their lowest bits go from P to t1."""
        rows_of_classes = dense_op(op, "h", self.digit, self.loaded)
        start = len(self.program.rows)
        # Nothing of the state is read in the first row: its last unit was only just written.
        self.program.rows.append(Row(first=True))
        self._planes(rows_of_classes, "rom", self.bits)
        rows = self.program.rows
        rows[start:] = [replace(row, settle=bool(row.shift)) for row in rows[start:]]
        self.program.rows.append(Row(kind="logit"))
        self.program.class_cycles = self._cycles(self.program.rows[start:])
        self.program.rows.append(Row(kind="class"))


def _rest_in_memory(
    compiler: "Compiler", rest: np.ndarray, wide: int, source: str, digits: list[np.ndarray]
) -> list[tuple[Row, object, object]]:
    """Rows that add what of constants in a memory lies above the bits that are dropped."""
    rows: list[tuple[Row, object, object]] = []
    d = compiler.digit
    for k in range(0, wide, d):
        digits.append(((rest >> k) & ((1 << d) - 1))[:, None])
        top = k + d >= wide
        greatest = ((1 << d) - 1) << k
        bounds = (-greatest - (1 << (d - 1)), greatest) if top else (0, greatest)
        rows.append((Row(factor=source, place=k, negative=top), *bounds))
    return rows


def _rest_of_constant(compiler: "Compiler", rest: int) -> list[tuple[Row, object, object]]:
    """The same of one constant."""
    value = int(rest)
    rows: list[tuple[Row, object, object]] = []
    if value < 0:
        top = (~value).bit_length()
        value += (1 << top) + 1
        rows.append((Row(factor="one", place=top, negative=True), -(1 << top) - 1, 0))
    for k in range(value.bit_length()):
        if value >> k & 1:
            rows.append((Row(factor="one", place=k), 0, 1 << k))
    return rows
