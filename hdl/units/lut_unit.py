# amaranth: UnusedElaboratable=no
"""Table units whose constants are loaded.

A unit cuts its codes at break points and gives ``slope code + intercept`` of the segment, rounded
half up and saturated. :class:`hdl.piecewise_linear.PiecewiseLinear` is the one with fixed constants
in one piece, :mod:`.fixed_units` has those that are selected or pipelined.
"""

from amaranth import *

from ...model import integer
from ...model.integer import code_range, half
from ...sim.golden_lut import Contents
from ..arithmetic import saturate
from .stages import Loaded, Values, at_least, choose_one, offset, one_hot, wire
from .table_format import Setting, TableFormat, bounds


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
        form = self.format = TableFormat(
            in_bits,
            out_bits,
            entries,
            slope_bits,
            intercept_bits,
            shift,
            align,
            bool(zero_point),
            slope_digits,
        )
        self.in_bits, self.out_bits, self.entries = form.in_bits, form.out_bits, form.entries
        self.slope_bits, self.intercept_bits = form.slope_bits, form.intercept_bits
        self.shift, self.align, self.zero_point = form.shift, form.align, form.zero_point
        self.slope_digits = form.slope_digits
        super().__init__(
            form.fields(), signed(self.in_bits), signed(self.out_bits), stages, (2, 0, 1)
        )

    def fit(self, table: Contents | integer.PiecewiseLinear) -> Contents:
        """The same function as this unit holds it (:meth:`.table_format.TableFormat.fit`)."""
        return self.format.fit(table)

    def _product(self, m: Module, slope: Value, q: Value) -> Value:
        """``slope q`` by shifts, of a slope's register: exact for slopes that fit."""
        terms: list[Value] = []
        for number in range(self.slope_digits):
            digit = slope.word_select(number, self.format.digit_bits)
            code = Mux(digit[0], q, 0).as_signed()
            shifted = wire(m, f"shifted{number}", (code << digit[2:]))
            terms += [shifted.as_unsigned() ^ digit[1].replicate(len(shifted)), digit[1]]
        total = terms[0].as_signed() + terms[1]
        for term, carry in zip(terms[2::2], terms[3::2], strict=True):
            total = total + term.as_signed() + carry
        return total[: self.slope_bits + self.in_bits].as_signed()

    def words(self, table: Contents | integer.PiecewiseLinear) -> list[int]:
        """What to send over `load`, first word first; `last` goes with the last one.

        Errors as :meth:`fit`.
        """
        return self.pack(self.format.values(table))

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
            low = half(bounds(self.shift)[0]) % (1 << self.align) if self.format.folds else 0
            intercept = Cat(Const(low, self.align), intercept).as_signed()
        else:
            intercept = intercept << self.held["align"]
        product = self._product(m, slope, q) if self.slope_digits else slope * q
        return {"total": wire(m, "total", product + intercept)}

    def _finish(self, m: Module, values: Values) -> Values:
        total = values["total"]
        if self.format.folds:
            value = wire(m, "value", total[self.shift :].as_signed())
            return {"o": saturate(value, *code_range(len(value)), self.out_bits)}
        low = bounds(self.shift)[0]
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
