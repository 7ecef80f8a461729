# amaranth: UnusedElaboratable=no
# (A loadable unit says which words it wants without being built.)
"""Table units whose constants are loaded, selected, or fixed and pipelined.

A unit cuts its codes at break points and gives ``slope code + intercept`` of the segment, rounded
half up and saturated. :class:`hdl.piecewise_linear.PiecewiseLinear` is the one with fixed constants
in one piece; here are the other storage styles.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import data

from ...model import integer
from ...model.errors import InputError, index_within
from ...model.integer import code_range, half, signed_width
from ...sim.golden_lut import Contents
from ..arithmetic import multiply_add, narrow, saturate, signed_digits, trailing_zeros
from ..piecewise_linear import PiecewisePlan
from .stages import Field, Loaded, Staged, Values, at_least, choose_one, offset, one_hot, wire

#: A constant, or the bounds of a register.
Setting = int | tuple[int, int]


def contents(op: integer.PiecewiseLinear) -> Contents:
    """The constants of a fixed unit, as a loadable one may hold them."""
    return Contents(
        tuple(op.breakpoints.tolist()),
        tuple(op.slopes.tolist()),
        tuple(op.intercepts.tolist()),
        0,
        op.fraction_bits,
        op.zero_point,
    )


def _bounds(setting: Setting) -> tuple[int, int]:
    return (setting, setting) if isinstance(setting, int) else setting


def _check_fits(what: str, values: Sequence[int], bits: int) -> None:
    low, high = code_range(bits)
    for k, value in enumerate(values):
        if not low <= value <= high:
            raise InputError(
                f"{what} {k} ({value}) is not within {low} to {high}: the unit holds {bits} bits"
            )


class LoadableUnit(Loaded):
    """``o = sat(((slopes[k] i + (intercepts[k] << align) + half) >> shift) + zero_point)``.

    The law is :class:`~genogate.sim.golden_lut.Contents`. Break points, slopes, intercepts (and
    `align`, `shift`, `zero_point` where they are registers) come over `load` into one chain of
    registers: a word shifts in behind the one before, so that no address is decoded and one
    enable serves all. :meth:`words` gives them in order.

    A load is atomic. Operands taken before its first word see the old table, those taken after its
    last word the new one, and in between none is taken. The first word waits until no operand is
    inside that the change could reach; `i` waits while a word is offered.

    Latency `stages`: 0 is combinational, 1 has a register at the output, 2 one more after the
    selection, 3 one more after the multiply-add. One result a cycle.

    Why an intercept is shifted: a table that several scales share has the same 8-bit intercepts at
    each, in other places. Held at full length (15 bits) an INT8 unit of 8 entries is larger.

    Parameters
    ----------
    in_bits, out_bits : int
        Widths of the signed codes, 2 to 64.
    entries : int
        Segments, 2 to 256.
    slope_bits, intercept_bits : int
        Widths of the signed constants, 2 to 64.
    shift : int or (int, int)
        Fraction bits dropped: a constant of at least 0, or the bounds of a register; the lower
        one may be negative.
    align : int or (0, int)
        Left shift of the intercepts: a constant, or the bounds of a register.
    zero_point : bool
        Whether there is a register for one. Without it, it has to fit into the intercepts.
    stages : int, 0 to 3
    slope_digits : int, 0 to 2
        0 for a multiplier. 1 or 2 for none: slopes are sums of at most so many signed powers of
        two, each held as its exponent and sign, by which the code is shifted.

    Members
    -------
    i : In(stream.Signature(signed(in_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    load : In(stream.Signature({data: word_bits, last: 1}))
        Until the first load the contents are undefined.
    """

    def __init__(
        self,
        in_bits: int = 8,
        out_bits: int = 8,
        entries: int = 8,
        slope_bits: int = 8,
        intercept_bits: int = 8,
        shift: Setting = (-1, 6),
        align: Setting = (0, 7),
        zero_point: bool = True,
        stages: int = 1,
        slope_digits: int = 0,
    ) -> None:
        for name, value, low, high in (
            ("slope_digits", slope_digits, 0, 2),
            ("in_bits", in_bits, 2, 64),
            ("out_bits", out_bits, 2, 64),
            ("entries", entries, 2, 256),
            ("slope_bits", slope_bits, 2, 64),
            ("intercept_bits", intercept_bits, 2, 64),
            (
                "shift",
                _bounds(shift)[0],
                0 if isinstance(shift, int) else -16,
                slope_bits + in_bits,
            ),
            (
                "shift",
                _bounds(shift)[1],
                _bounds(shift)[0] + (not isinstance(shift, int)),
                slope_bits + in_bits,
            ),
            ("align", _bounds(align)[0], 0, 64 if isinstance(align, int) else 0),
            ("align", _bounds(align)[1], _bounds(align)[0] + (not isinstance(align, int)), 64),
        ):
            index_within(name, value, low, high)
        self.in_bits, self.out_bits, self.entries = int(in_bits), int(out_bits), int(entries)
        self.slope_bits, self.intercept_bits = int(slope_bits), int(intercept_bits)
        self.shift, self.align, self.zero_point = shift, align, bool(zero_point)
        self.slope_digits = int(slope_digits)
        # An exponent, the sign, and whether there is anything.
        self._digit_bits = (self.slope_bits - 1).bit_length() + 2
        held_slope = self._digit_bits * self.slope_digits or self.slope_bits
        fields = [
            *(Field(f"intercept{k}", self.intercept_bits) for k in range(self.entries)),
            *(Field(f"slope{k}", held_slope) for k in range(self.entries)),
            *(Field(f"point{k}", self.in_bits) for k in range(self.entries - 1)),
        ]
        if self.zero_point:
            fields.append(Field("zero_point", self.out_bits))
        for name, setting in (("align", align), ("shift", shift)):
            if not isinstance(setting, int):
                fields.append(Field(name, (setting[1] - setting[0]).bit_length()))
        super().__init__(fields, signed(self.in_bits), signed(self.out_bits), stages, (2, 0, 1))

    @property
    def _folds(self) -> bool:
        """Whether the rounding constant is in the intercepts, or free bits below them."""
        return isinstance(self.shift, int) and isinstance(self.align, int)

    def fit(self, table: Contents | integer.PiecewiseLinear) -> Contents:
        """The same function as this unit holds it: all N entries, within its widths.

        Entries too many repeat the last segment. Raises :class:`InputError` naming what does not
        fit: too many segments, break points out of order, a constant too wide, a shift.
        """
        if isinstance(table, integer.PiecewiseLinear):
            for name, bits, unit_bits in (
                ("input", table.a_bits, self.in_bits),
                ("output", table.out_bits, self.out_bits),
            ):
                if bits != unit_bits:
                    raise InputError(f"{name} codes: {bits} bits, the unit's have {unit_bits}")
            table = contents(table)
        missing = self.entries - len(table.slopes)
        if missing < 0:
            raise InputError(
                f"entries: {len(table.slopes)} segments, the unit holds {self.entries}"
            )
        if not len(table.slopes) == len(table.intercepts) == len(table.breakpoints) + 1:
            raise InputError("table: N slopes and N intercepts need N - 1 breakpoints")
        _check_fits("breakpoint", table.breakpoints, self.in_bits)
        for k, (a, b) in enumerate(zip(table.breakpoints, table.breakpoints[1:], strict=False)):
            if a > b:
                raise InputError(f"breakpoint {k + 1} ({b}) is below breakpoint {k} ({a})")
        low, high = _bounds(self.shift)
        # The unit's own shift first, then those at which constants are smallest.
        near = min(max(table.shift, low), high)
        failed: InputError | None = None
        for shift in sorted(range(low, high + 1), key=lambda s: (abs(s - near), s)):
            try:
                slopes, intercepts, align, zero = self._at(table, shift)
            except InputError as error:
                failed = failed or error
                continue
            last = code_range(self.in_bits)[1]
            return Contents(
                (*table.breakpoints, *[last] * missing),
                (*slopes, *slopes[-1:] * missing),
                (*intercepts, *intercepts[-1:] * missing),
                align,
                shift,
                zero,
            )
        assert failed is not None
        raise failed

    def _at(self, table: Contents, shift: int) -> tuple[list[int], list[int], int, int]:
        """Slopes, intercepts, align and zero point at `shift`; :class:`InputError` if not."""
        more = shift - table.shift
        slopes = [int(v) for v in table.slopes]
        intercepts = [int(v) << table.align for v in table.intercepts]
        if more < 0:
            for name, values in (("slope", slopes), ("intercept", intercepts)):
                for k, value in enumerate(values):
                    if value % (1 << -more):
                        raise InputError(
                            f"{name} {k} ({value}) has {table.shift} fraction bits, "
                            f"the unit at most {shift}"
                        )
        scaled = [
            [v << more if more > 0 else v >> -more for v in vs] for vs in (slopes, intercepts)
        ]
        slopes, intercepts = scaled
        zero = int(table.zero_point)
        if not self.zero_point:
            if shift < 0 and zero % (1 << -shift):
                raise InputError(
                    f"zero_point: {zero} does not fit into intercepts at shift {shift}"
                )
            folded = zero << shift if shift >= 0 else zero >> -shift
            intercepts, zero = [v + folded for v in intercepts], 0
        else:
            _check_fits("zero_point", [zero], self.out_bits)
        _check_fits("slope", slopes, self.slope_bits)
        for k, value in enumerate(slopes):
            self._slope_code(k, value)
        low, high = _bounds(self.align)
        align = max(low, min([high, *(trailing_zeros(abs(v)) for v in intercepts if v)]))
        for k, value in enumerate(intercepts):
            if value % (1 << align):
                raise InputError(f"intercept {k} ({value}) is no multiple of {1 << align}")
        intercepts = [v >> align for v in intercepts]
        _check_fits("intercept", self._stored(intercepts, align, shift), self.intercept_bits)
        return slopes, intercepts, align, zero

    def _slope_code(self, k: int, slope: int) -> int:
        """What the register of slope `k` holds: the slope, or its digits."""
        if not self.slope_digits:
            return slope
        powers = signed_digits(abs(slope))
        if len(powers) > self.slope_digits:
            most = "a power" if self.slope_digits == 1 else "a sum of two powers"
            raise InputError(
                f"slope {k} ({slope}) is not {most} of two: the unit has no multiplier"
            )
        code = 0
        for place, (power, sign) in enumerate(powers):
            negative = (sign < 0) != (slope < 0)
            digit = power << 2 | negative << 1 | 1
            code |= digit << self._digit_bits * place
        return code

    def _product(self, m: Module, slope: Value, q: Value) -> Value:
        """``slope q`` by shifts, of a slope's register: exact for slopes that fit."""
        terms: list[Value] = []
        for number in range(self.slope_digits):
            digit = slope.word_select(number, self._digit_bits)
            code = Mux(digit[0], q, 0).as_signed()
            shifted = wire(m, f"shifted{number}", (code << digit[2:]))
            terms += [shifted.as_unsigned() ^ digit[1].replicate(len(shifted)), digit[1]]
        total = terms[0].as_signed() + terms[1]
        for term, carry in zip(terms[2::2], terms[3::2], strict=True):
            total = total + term.as_signed() + carry
        return total[: self.slope_bits + self.in_bits].as_signed()

    def _stored(self, intercepts: Sequence[int], align: int, shift: int) -> list[int]:
        """Intercepts as registers hold them: with the rounding constant, where it is folded."""
        fold = half(shift) >> align if self._folds else 0
        return [value + fold for value in intercepts]

    def words(self, table: Contents | integer.PiecewiseLinear) -> list[int]:
        """What to send over `load`, first word first; `last` goes with the last one.

        Errors as :meth:`fit`.
        """
        table = self.fit(table)
        stored = self._stored(table.intercepts, table.align, table.shift)
        values = {
            **{f"intercept{k}": v for k, v in enumerate(stored)},
            **{f"slope{k}": self._slope_code(k, v) for k, v in enumerate(table.slopes)},
            **{f"point{k}": v for k, v in enumerate(table.breakpoints)},
            "zero_point": table.zero_point,
            "align": table.align,
            "shift": table.shift - _bounds(self.shift)[0],
        }
        return self.pack(values)

    def steps(self):
        return [self._select, self._multiply, self._finish]

    def _select(self, m: Module, values: Values) -> Values:
        q, held = values["i"], self.held
        reached = [
            at_least(m, f"compare{k}", offset(q), offset(held[f"point{k}"]))
            for k in range(self.entries - 1)
        ]
        selects = one_hot(m, reached)
        slopes = [held[f"slope{k}"] for k in range(self.entries)]
        intercepts = [held[f"intercept{k}"] for k in range(self.entries)]
        slope, intercept = choose_one(selects, slopes), choose_one(selects, intercepts)
        return {
            "q": q,
            "slope": wire(m, "slope", slope if self.slope_digits else slope.as_signed()),
            "intercept": wire(m, "intercept", intercept.as_signed()),
        }

    def _multiply(self, m: Module, values: Values) -> Values:
        intercept, slope, q = values["intercept"], values["slope"], values["q"]
        if isinstance(self.align, int):
            # The rounding constant takes bits that are zero, or is in the intercept already.
            low = half(_bounds(self.shift)[0]) % (1 << self.align) if self._folds else 0
            intercept = Cat(Const(low, self.align), intercept).as_signed()
        else:
            intercept = intercept << self.held["align"]
        product = self._product(m, slope, q) if self.slope_digits else slope * q
        return {"total": wire(m, "total", product + intercept)}

    def _finish(self, m: Module, values: Values) -> Values:
        total = values["total"]
        if self._folds:
            value = wire(m, "value", total[self.shift :].as_signed())
            return {"o": saturate(value, *code_range(len(value)), self.out_bits)}
        low = _bounds(self.shift)[0]
        # One bit below the result stays: it is what rounding adds.
        wide = (Cat(Const(0, 1 - low), total) if low < 1 else total[low - 1 :]).as_signed()
        if not isinstance(self.shift, int):
            wide = wide >> self.held["shift"]
        wide = wire(m, "wide", wide)
        # One bit more than a code is enough before a zero point is added.
        value = saturate(wide[1:].as_signed(), *code_range(len(wide) - 1), self.out_bits + 1)
        zero = self.held["zero_point"].as_signed() if self.zero_point else 0
        value = wire(m, "value", wire(m, "clipped", value) + zero + wide[0])
        return {"o": saturate(value, *code_range(len(value)), self.out_bits)}


def integer_unit(bits: int, entries: int = 8, stages: int = 1) -> LoadableUnit:
    """The loadable unit of INT8, INT16 or INT32, as compared in the results.

    INT8 holds the tables of every scale and of every output scale and zero point that fit, so it
    has registers for align, shift and zero point. The wide ones shift by constants: slopes have
    ``bits - 2`` fraction bits (s1.6 becomes s1.30), intercepts count output codes, which is finer
    than any 8-bit table needs, and a zero point is in them. That makes them smaller, so that
    what INT8 saves is not overstated.
    """
    if bits == 8:
        return LoadableUnit(entries=entries, stages=stages)
    return LoadableUnit(
        bits,
        bits,
        entries,
        bits,
        bits,
        shift=bits - 2,
        align=bits - 2,
        zero_point=False,
        stages=stages,
    )


class _Fixed(Staged):
    """Units of constants, one chosen by `select`: what the two classes below share."""

    def __init__(self, units: Sequence[integer.PiecewiseLinear], i: object, stages: int) -> None:
        self.plans = [PiecewisePlan.of(op) for op in units]
        self.shifts = [op.fraction_bits for op in units]
        self.out_bits = units[0].out_bits
        low, high = code_range(units[0].a_bits)
        codes = np.arange(low, high + 1)
        # What no code can give needs no bits: bounds of slope code + intercept, and shifted.
        totals = []
        for plan in self.plans:
            piece = np.searchsorted(plan.points, codes, side="right")
            totals.append(np.array(plan.slopes)[piece] * codes + np.array(plan.intercepts)[piece])
        values = [total >> shift for total, shift in zip(totals, self.shifts, strict=True)]
        self.total_bounds = int(min(t.min() for t in totals)), int(max(t.max() for t in totals))
        self.value_bounds = int(min(v.min() for v in values)), int(max(v.max() for v in values))
        # Units of fewer segments repeat their last one.
        entries = max(len(plan.slopes) for plan in self.plans)
        self.points, self.slopes, self.intercepts = [], [], []
        for plan in self.plans:
            missing = entries - len(plan.slopes)
            self.points.append([*plan.points, *[*plan.points, high][-1:] * missing])
            self.slopes.append([*plan.slopes, *plan.slopes[-1:] * missing])
            self.intercepts.append([*plan.intercepts, *plan.intercepts[-1:] * missing])
        super().__init__(i, signed(self.out_bits), stages, (2, 0, 1))

    def steps(self):
        return [self._select, self._multiply, self._finish]

    def _split(self, i: Any) -> tuple[Value, Value]:
        """Code and select of an operand."""
        raise NotImplementedError

    def _each(self, m: Module, name: str, select: Value, values: Sequence[int], width: int):
        """The constant of the selected unit, `width` bits, signed."""
        if len(set(values)) == 1:
            return Const(values[0], signed(width))
        chosen = Signal(signed(width), name=name)
        with m.Switch(select):
            for number, value in enumerate(values[:-1]):
                with m.Case(number):
                    m.d.comb += chosen.eq(value)
            with m.Default():
                m.d.comb += chosen.eq(values[-1])
        return chosen

    def _column(
        self, m: Module, name: str, select: Value, rows: Sequence[Sequence[int]]
    ) -> list[Value]:
        """Constants of the selected unit, one a segment, all of the least width that holds them."""
        width = max(signed_width(min(row), max(row)) for row in rows)
        return [
            self._each(m, f"{name}{k}", select, column, width)
            for k, column in enumerate(zip(*rows, strict=True))
        ]

    def _select(self, m: Module, values: Values) -> Values:
        code, select = self._split(values["i"])
        points = self._column(m, "point", select, self.points) if self.points[0] else []
        selects = one_hot(m, [code >= point for point in points])
        constants = {
            name: wire(m, name, choose_one(selects, self._column(m, f"{name}_of", select, rows)))
            for name, rows in (("slope", self.slopes), ("intercept", self.intercepts))
        }
        return {"code": code, "select": select, **constants}

    def _multiply(self, m: Module, values: Values) -> Values:
        negative = any(plan.negative for plan in self.plans)
        # The sign of a slope that is never negative is no bit worth multiplying by.
        slope = values["slope"] if negative else values["slope"][:-1]
        total = multiply_add(
            m, "sloped", values["intercept"].as_signed(), slope, values["code"], int(negative)
        )
        return {"select": values["select"], "total": narrow(m, "total", total, *self.total_bounds)}

    def _finish(self, m: Module, values: Values) -> Values:
        total = values["total"].as_signed()
        shifted = narrow(m, "value", total >> self.shifts[-1], *self.value_bounds)
        if len(set(self.shifts)) > 1:
            shifted = Signal.like(shifted, name="shifted")
            with m.Switch(values["select"]):
                for shift in sorted(set(self.shifts)):
                    with m.Case(*[k for k, each in enumerate(self.shifts) if each == shift]):
                        m.d.comb += shifted.eq(total >> shift)
                with m.Default():
                    m.d.comb += shifted.eq(total >> self.shifts[-1])
        return {"o": saturate(shifted, *self.value_bounds, self.out_bits)}

    def elaborate(self, platform) -> Module:
        m = Module()
        self.chain(m)
        return m


class PipelinedUnit(_Fixed):
    """``o = sat(((slopes[k] i + intercepts[k] + half) >> f) + Z)``: constants, with registers.

    Bit-exact with golden.activation. :class:`~genogate.hdl.piecewise_linear.PiecewiseLinear` is the
    same without registers, or with one, and may then be smaller.

    Latency `stages`: 0 is combinational, 1 has a register at the output, 2 one more after the
    selection, 3 one more after the multiply-add. One result a cycle.

    Parameters
    ----------
    op : integer.PiecewiseLinear
    stages : int, 0 to 3

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, op: integer.PiecewiseLinear, stages: int = 2) -> None:
        super().__init__([op], signed(op.a_bits), stages)

    def _split(self, i: Any) -> tuple[Value, Value]:
        return i, Const(0, 0)


class SelectUnit(_Fixed):
    """Several piecewise-linear units in one; each operand says which it is for.

    Functions, or scales of one function. Break points, slopes and intercepts are a small decoded
    table; comparators, multiplier and saturation are shared. Bit-exact with golden.activation of
    the selected unit; a `select` past the last unit means the last one.

    Latency as :class:`PipelinedUnit`. One result a cycle, whatever the order of selects.

    Parameters
    ----------
    units : 1 to 64 integer.PiecewiseLinear, all with the same widths of codes
    stages : int, 0 to 3

    Members
    -------
    i : In(stream.Signature({code: signed(a_bits), select: select_bits}))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(self, units: Sequence[integer.PiecewiseLinear], stages: int = 1) -> None:
        index_within("units", len(units), 1, 64)
        for k, op in enumerate(units):
            widths = (op.a_bits, op.out_bits)
            if widths != (units[0].a_bits, units[0].out_bits):
                raise InputError(
                    f"unit {k}: codes of {widths[0]} and {widths[1]} bits, unit 0 has "
                    f"{units[0].a_bits} and {units[0].out_bits}"
                )
        self.select_bits = max(1, (len(units) - 1).bit_length())
        layout = {"code": signed(units[0].a_bits), "select": self.select_bits}
        super().__init__(units, data.StructLayout(layout), stages)

    def _split(self, i: Any) -> tuple[Value, Value]:
        return i.code, i.select
