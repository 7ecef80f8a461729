"""Compiling a layer to the program of a shared machine (:mod:`.rows`)."""

from collections.abc import Sequence
from dataclasses import replace

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
from .rows import (
    ORDER,
    Activation,
    Op,
    Program,
    Row,
    codes_from_zero,
    dense_op,
    elementwise_op,
)


class Compiler:
    """Makes the :class:`Program` of a layer, with the classifier where it is the last."""

    def __init__(self, layer: Layer, classifier: Classifier | None) -> None:
        self.layer, self.classifier = layer, classifier
        self.words = {"x": layer.input_size, "h": layer.hidden_size}
        self.program = Program()
        ops = {}
        for name, sources, _ in ORDER:
            op = layer.ops[name]
            if isinstance(op, Dense):
                ops[name] = dense_op(op, sources[0])
            elif not isinstance(op, Table | PiecewiseLinear):
                ops[name] = elementwise_op(op, sources)
        self.ops = ops
        self.pieces = {
            name: PiecewisePlan.of(op)
            for name, op in layer.ops.items()
            if isinstance(op, PiecewiseLinear)
        }
        guards = [op.guard for op in ops.values()]
        guards += [max(0, plan.width - plan.shift) for plan in self.pieces.values()]
        self.guard = max(guards)
        self.low = self.high = 0
        #: Bits that a unit takes of the weights' memory, int [units, n] in order.
        self.bits: list[np.ndarray] = []

    def compile(self) -> Program:
        """The whole program."""
        program = self.program
        program.guard = self.guard
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
        self._seen(-(1 << (program.operand_bits - 1 + self.guard)), 0)
        program.width = signed_width(self.low, self.high)
        return program

    def _cycles(self, rows: Sequence[Row]) -> int:
        return sum(self.words[row.operand] if row.loop else 1 for row in rows)

    def _flush(self) -> None:
        if self.bits:
            self.program.weights += np.concatenate(self.bits, 1).ravel().tolist()
        self.bits = []

    def _seen(self, low: object, high: object) -> None:
        self.low = min(self.low, int(np.min(low)))
        self.high = max(self.high, int(np.max(high)))

    def _operator(self, name: str, sources: Sequence[str], target: str) -> None:
        op, rows = self.layer.ops[name], self.program.rows
        if name == "p_zh":
            # The state of the unit, into t1.
            rows[-1] = replace(rows[-1], own=True)
            rows += self._plain(Row("h", "one", first=True), *([Row(shift=True)] * self.guard))
            rows[-1] = replace(rows[-1], target="t1", bits=self.layer.bits("h"))
        if isinstance(op, Table):
            self._table(name, op)
        elif isinstance(op, PiecewiseLinear):
            self._piecewise(name)
        else:
            self._planes(self.ops[name])
        if target:
            rows[-1] = replace(rows[-1], target=target, bits=op.out_bits)

    def _plain(self, *rows: Row) -> list[Row]:
        low, high = codes_from_zero(8)
        self._seen(low << self.guard, high << self.guard)
        return list(rows)

    def _planes(self, op: Op) -> None:
        """Rows of an operator, lowest plane first, then ``drop + guard`` shifts in all."""
        e, n = self.guard, op.drop
        constant = op.constant + op.ones
        from_rom = isinstance(constant, np.ndarray)
        rest: object
        if from_rom:
            # The top bit of the rest is a negative row, which adds -1 besides.
            rest = (constant >> n) + 1
            wide = signed_width(int(np.min(rest)), int(np.max(rest)))
        else:
            rest = constant >> n
        units = len(constant) if from_rom else 1
        low, high = np.zeros(units, np.int64), np.zeros(units, np.int64)
        first = True
        total = n + e
        for v in range(total + 1):
            rows: list[Row] = []
            bounds: list[tuple[object, object]] = []
            for number, row in enumerate(op.planes.get(v, ())):
                rows.append(row)
                bounds.append(op.bounds[v][number])
                if row.factor == "rom":
                    self.bits.append(op.bits[v][number])
            if v < n and from_rom:
                rows.append(Row(factor="rom"))
                bounds.append((0, 1))
                self.bits.append(((constant >> v) & 1)[:, None])
            if v == n:
                more = self._rest(rest, wide if from_rom else 0)
                rows += [row for row, _, _ in more]
                bounds += [(low, high) for _, low, high in more]
            carry = not from_rom and v >= e and v - e < n and bool(constant >> (v - e) & 1)
            if v == total:
                # Nothing is left below P, and all is added.
                assert not carry
                if rows:
                    self._append(rows, bounds, low, high, first, False, e)
                return
            if not rows:
                rows, bounds = [Row()], [(0, 0)]
            rows[0] = replace(rows[0], carry=carry) if not rows[0].loop else rows[0]
            if carry and rows[0].loop:
                raise AssertionError("a constant's bit in a loop")
            low, high = self._append(rows, bounds, low, high, first, True, e)
            first = False

    def _append(
        self,
        rows: list[Row],
        bounds: list[tuple[object, object]],
        low: np.ndarray,
        high: np.ndarray,
        first: bool,
        shift: bool,
        e: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Append the rows of a plane; the last one shifts. A loop cannot start afresh."""
        if first and rows[0].loop:
            rows = [Row(first=True), *rows]
            bounds = [(0, 0), *bounds]
        elif first:
            rows[0] = replace(rows[0], first=True)
        if shift and rows[-1].loop:
            rows.append(Row())
            bounds.append((0, 0))
        for row, (least, greatest) in zip(rows, bounds, strict=True):
            low = low + (np.asarray(least) << e)
            high = high + (np.asarray(greatest) << e) + row.carry
            self._seen(low, high)
        if shift:
            rows[-1] = replace(rows[-1], shift=True)
            low, high = low >> 1, high >> 1
        self.program.rows += rows
        return low, high

    def _rest(self, rest: object, wide: int) -> list[tuple[Row, object, object]]:
        """Rows that add what of a constant lies above the bits that are dropped."""
        if wide:
            assert isinstance(rest, np.ndarray)
            rows: list[tuple[Row, object, object]] = []
            for k in range(wide):
                self.bits.append(((rest >> k) & 1)[:, None])
                top = k == wide - 1
                bounds = (-(1 << k) - 1, -1) if top else (0, 1 << k)
                rows.append((Row(factor="rom", place=k, negative=top), *bounds))
            return rows
        value = int(rest)  # type: ignore[call-overload]
        rows = []
        if value < 0:
            top = (~value).bit_length()
            value += (1 << top) + 1
            rows.append((Row(factor="one", place=top, negative=True), -(1 << top) - 1, 0))
        for k in range(value.bit_length()):
            if value >> k & 1:
                rows.append((Row(factor="one", place=k), 0, 1 << k))
        return rows

    def _table(self, name: str, op: Table) -> None:
        """A table's code bit by bit; it is asked for one row after its operand is there."""
        e, bits = self.guard, op.out_bits
        unit = Activation(True, op.a_bits)
        # The negative row of the sign adds -1 besides.
        codes = np.roll(op.table.astype(np.int64), len(op.table) // 2) + 1
        wide = bits + 1
        unit.length = wide
        unit.words = [int(v) for k in range(wide) for v in (codes >> k) & 1]
        self.program.activations[name] = unit
        rows = [Row(first=True)]
        rows += [Row(factor=name, place=k, negative=k == wide - 1) for k in range(wide)]
        self._seen(-(2 << bits) << e, (2 << bits) << e)
        self.program.rows += rows + [Row(shift=True)] * e

    def _piecewise(self, name: str) -> None:
        """Search for the segment, then slope times code plus intercept."""
        plan, e = self.pieces[name], self.guard
        levels = (len(plan.slopes) - 1).bit_length()
        low, high = code_range(plan.in_bits)
        points = [*plan.points, *([high] * ((1 << levels) - 1 - len(plan.points)))]
        compared = plan.in_bits + 1
        lists: list[list[int]] = [[] for _ in range(2 << levels)]
        for node in range(1, 1 << levels):
            depth = node.bit_length() - 1
            order = ((2 * (node - (1 << depth)) + 1) << (levels - depth - 1)) - 1
            value = 1 - points[order]
            lists[node] = [value >> k & 1 for k in range(compared)]
        rows: list[Row] = []
        for _ in range(levels):
            rows.append(Row("t0", "one", first=True))
            rows += [Row(factor=name, place=k, negative=k == compared - 1) for k in range(compared)]
            rows[-1] = replace(rows[-1], settle=True)
        self._seen((4 * low) << e, (4 * -low) << e)
        segments = [min(k, len(plan.slopes) - 1) for k in range(1 << levels)]
        slopes = np.array(plan.slopes, np.int64)[segments]
        # Sign rows of slope and intercept add ones, which the intercept makes up for.
        planes, n = plan.width, plan.shift
        intercepts = np.array(plan.intercepts, np.int64)[segments]
        intercepts = intercepts + ((1 << (planes - 1)) if plan.negative else 0)
        rest = (intercepts >> n) + 1
        wide = signed_width(int(rest.min()), int(rest.max()))
        taken: list[np.ndarray] = []
        self.program.rows += rows
        least, greatest = np.zeros(len(segments), np.int64), np.zeros(len(segments), np.int64)
        first = True
        for v in range(n + e + 1):
            group: list[Row] = []
            bounds: list[tuple[object, object]] = []
            if v < planes:
                top = plan.negative and v == planes - 1
                group.append(Row("t0", name, negative=top))
                bounds.append((-high - 1, -low - 1) if top else (low, high))
                if top:
                    bounds[-1] = (min(-high - 1, -1), max(-low - 1, -1))
                taken.append(slopes >> v & 1)
            if v < n:
                group.append(Row(factor=name))
                bounds.append((0, 1))
                taken.append(intercepts >> v & 1)
            if v == n:
                for k in range(wide):
                    top = k == wide - 1
                    group.append(Row(factor=name, place=k, negative=top))
                    bounds.append((-(1 << k) - 1, -1) if top else (0, 1 << k))
                    taken.append(rest >> k & 1)
            if v == n + e:
                if group:
                    self._append(group, bounds, least, greatest, first, False, e)
                break
            if not group:
                group, bounds = [Row()], [(0, 0)]
            least, greatest = self._append(group, bounds, least, greatest, first, True, e)
            first = False
        for segment in range(1 << levels):
            lists[(1 << levels) + segment] = [int(column[segment]) for column in taken]
        unit = Activation(False, levels)
        unit.length = max(len(column) for column in lists)
        unit.words = [
            column[k] if k < len(column) else 0 for k in range(unit.length) for column in lists
        ]
        self.program.activations[name] = unit

    def _classify(self, op: Classifier) -> None:
        """Logits, one after the other; their lowest bits go from P to t1."""
        made = dense_op(op, "h")
        start = len(self.program.rows)
        # Nothing of the state is read in the first row: its last unit was only just written.
        self.program.rows.append(Row(first=True))
        self._planes(made)
        rows = self.program.rows
        rows[start:] = [replace(row, settle=row.shift) for row in rows[start:]]
        self.program.rows.append(Row(kind="logit"))
        self.program.class_cycles = self._cycles(self.program.rows[start:])
        self.program.rows.append(Row(kind="class"))
