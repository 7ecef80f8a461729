# amaranth: UnusedElaboratable=no
"""Piecewise-linear units without a multiplier: the ways to build one, for Yosys to choose from.

A fixed unit is a function of few bits, and no one structure is the smallest for all of them. Known
constants leave these, by name:

``table``      a decision diagram of the whole function (:class:`~genogate.hdl.table.Table`)
``multiplier`` slope and intercept chosen, one multiplier (:mod:`genogate.hdl.piecewise_linear`)
``shift-add``  for slopes of at most two signed digits: an adder for each digit, which the segment
               gives the code, shifted, complemented, or nothing
``lines``      each line computed alone, its constant in a constant's adder, then one is chosen
``ramp p``     ``max(i, 0) 2**p`` and a diagram of what is missing: for functions such as GELU
``odd ...``    where ``o(~i) = ~o(i)``: the form of one half, between two rows of XOR
``even p``     a ramp where what is missing is equal at i and ~i: a diagram of one half
``negated``    where ``o(-i) = -o(i)``: a diagram of the magnitudes, between two negations
``mirrored p`` a ramp where what is missing is equal at i and -i: a diagram of the magnitudes

``... less``   a ramp that is nowhere too small, less a diagram without a sign: GELU at its least
               error takes 70 cells so, 90 added; some units take more

``negated`` and ``mirrored`` cost more than ``odd`` and ``even``, and no half a code of error:
functions are odd and even about 0, not about the middle between two codes. The lowest code has no
magnitude; it is taken for 0, which ``mirrored`` has to allow, and ``negated`` answers by the lowest
code.

One long file: the forms of a unit share their lines, ramps and diagrams, and are compared by cells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from amaranth import *

from ...model import integer
from ...model.errors import InputError, shown
from ...model.integer import code_range, signed_width
from ..arithmetic import narrow, saturate, signed_digits, times
from ..diagram import Diagram
from ..operator import Elementwise, Output, integers_of
from ..piecewise_linear import PiecewiseLinear, PiecewisePlan
from ..table import Table

#: Digits of a slope that a unit without multiplier takes: each costs an adder.
MAX_DIGITS = 2
#: Shifts of a ramp that are looked at.
RAMPS = range(-2, 4)
#: A digit of a slope: power of two, and whether it is subtracted. None for nothing.
Digit = tuple[int, bool] | None


def digits_of(slope: int) -> list[tuple[int, bool]]:
    """The fewest signed digits of any integer, highest first."""
    digits = [(power, (sign < 0) != (slope < 0)) for power, sign in signed_digits(abs(slope))]
    return digits[::-1]


@dataclass(frozen=True)
class Rough:
    """What a form consists of: rough counts that its cells are nearly linear in.

    nodes : multiplexers of decision diagrams
    adders : bits of adders of two variables
    constants : bits of adders of a variable and a constant
    gates : further gates, such as those that choose and complement
    """

    nodes: int = 0
    adders: int = 0
    constants: int = 0
    gates: int = 0


class _Lines:
    """The lines of a plan on a set of inputs, and the digits of their slopes in adder slots.

    Parameters
    ----------
    plan : PiecewisePlan
    inputs : int64 [2**bits], ascending, codes or the magnitudes of one half
    shift : fraction bits
    """

    def __init__(self, plan: PiecewisePlan, inputs: np.ndarray, shift: int) -> None:
        piece = np.searchsorted(plan.points, inputs, side="right")
        # Only what these inputs reach.
        used, self.piece = np.unique(piece, return_inverse=True)
        slopes = [plan.slopes[k] for k in used]
        intercepts = [plan.intercepts[k] for k in used]
        self.slopes, self.intercepts, self.shift = slopes, intercepts, shift
        self.inputs = inputs
        self.totals = np.array(slopes)[self.piece] * inputs + np.array(intercepts)[self.piece]
        self.values = self.totals >> shift

    @property
    def bits(self) -> int:
        """Of an input, those of a magnitude without sign."""
        return (len(self.inputs) - 1).bit_length()

    def slots(self) -> list[list[Digit]]:
        """For each adder the digit of each line: equal ones share an adder where they can."""
        digits = [digits_of(slope) for slope in self.slopes]
        count = max(map(len, digits))
        rows: list[list[Digit]] = [[None] * count for _ in digits]
        seen: list[set[Digit]] = [set() for _ in range(count)]
        for line in sorted(range(len(digits)), key=lambda k: -len(digits[k])):
            padded: list[Digit] = [*digits[line], *[None] * (count - len(digits[line]))]

            def price(order: Iterable[Digit]) -> int:
                return sum(
                    0
                    if digit is None or digit in held
                    else 1
                    if digit[0] in {other[0] for other in held if other}
                    else 3
                    for digit, held in zip(order, seen, strict=True)
                )

            # The first of equals: permutations come in a fixed order.
            rows[line] = list(min(permutations(padded), key=price))
            for digit, held in zip(rows[line], seen, strict=True):
                if digit:
                    held.add(digit)
        return [list(column) for column in zip(*rows, strict=True)]


def _diagram(values: np.ndarray, bits: int, signed_inputs: bool) -> Diagram:
    """Of values [2**n], in the order of ascending inputs."""
    # Diagram wants the order of signed codes; that of magnitudes is another.
    order = values if signed_inputs else np.roll(values, len(values) // 2)
    return Diagram([int(v) for v in order], bits)


def _nodes(values: np.ndarray, bits: int, signed_inputs: bool) -> int:
    """Multiplexers of that diagram, without those of two equal operands."""
    order = np.asarray(values)
    # Codes are two's complement: the pattern of code 0 comes first; that of magnitudes as well.
    order = np.roll(order, len(order) // 2) if signed_inputs else order
    planes = (
        np.array([[int(v) >> bit & 1 for v in order] for bit in range(bits)])
        if order.dtype == object
        else order[None, :] >> np.arange(bits)[:, None] & 1
    )
    nodes, count = planes, 0
    while nodes.shape[1] > 1:
        low, high = nodes[:, ::2], nodes[:, 1::2]
        size = int(nodes.max()) + 1
        different = low != high
        pairs, number = np.unique((low * size + high)[different], return_inverse=True)
        # Where both halves are equal the node is that half.
        nodes = low.copy()
        nodes[different] = size + number
        count += len(pairs)
    return count


#: Forms of one half that fold at 0.
_EXACT = ("negated", "mirrored")


def _negated(value: Value, on: Value) -> Value:
    """``-value`` where `on`, modulo its width: bits above the lowest one change."""
    bits: list[Value] = []
    lower: Value = Const(0, 1)
    for bit in value:
        bits.append(bit ^ (on & lower))
        lower = lower | bit
    return Cat(*bits)


@dataclass(frozen=True)
class _Plan:
    """A form of a unit, its name taken apart, and what it works on."""

    core: str
    odd: bool
    ramp: int | None
    #: Lines on the inputs of the core.
    lines: _Lines
    #: What a diagram gives where the core is one: codes, or what a ramp leaves of them.
    rest: np.ndarray
    #: Whether the diagram is subtracted from the ramp, without its sign.
    less: bool = False

    @property
    def half(self) -> bool:
        """Whether only one half is computed."""
        return self.odd or self.core in ("even", *_EXACT)


class ShiftAddUnit(Elementwise):
    """``o = sat(((slopes[k] i + intercepts[k] + half) >> f) + Z)``, ``k = #{j: p_j <= i}``.

    Bit-exact with golden.activation on every code, in any form; constants only, no multiplier.
    Latency 0 (`output` wire) or 1; back-pressure honoured.

    Parameters
    ----------
    op : integer.PiecewiseLinear
    form : str
        One of :func:`forms` of `op` other than ``table`` and ``multiplier``; see the head of
        this file.
    output : 'wire', 'register' or 'hold', see :data:`hdl.operator.Output`

    Members
    -------
    i : In(stream.Signature(signed(a_bits)))
    o : Out(stream.Signature(signed(out_bits)))
    """

    def __init__(
        self, op: integer.PiecewiseLinear, form: str = "shift-add", output: Output = "wire"
    ) -> None:
        self.op, self.form = op, form
        self._plan = _parse(op, form)
        super().__init__({"i": op.a_bits}, op.out_bits, output)

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return ("ShiftAddUnit", *integers_of(self.op), self.form, self.output)

    def compute(self, m: Module, *operands: Value) -> Value:
        i, plan, op = operands[0], self._plan, self.op
        sign = i[-1]
        x: Value = i
        if plan.half:
            magnitude = Signal(op.a_bits - 1)
            if plan.core in _EXACT:
                m.d.comb += magnitude.eq(_negated(i[:-1], sign))
            else:
                m.d.comb += magnitude.eq(i[:-1] ^ sign.replicate(op.a_bits - 1))
            x = magnitude
        if plan.core == "negated":
            size = Signal(op.out_bits - 1)
            m.d.comb += size.eq(_diagram(plan.rest, op.out_bits - 1, False).build(m, x))
            # No other code than 0, and the lowest, has the size 0.
            return Cat(_negated(size, sign), sign).as_signed()
        if plan.core in ("ramp", "even", "mirrored"):
            assert plan.ramp is not None
            ramp = i[:-1] & ~sign.replicate(op.a_bits - 1)
            ramp = ramp << plan.ramp if plan.ramp >= 0 else ramp >> -plan.ramp
            # The sum of every code is a code: bits above are never there.
            if plan.less:
                width = _unsigned_width(plan.rest)
                rest = _diagram(-plan.rest, width, not plan.half).build(m, x).as_unsigned()
                return (ramp - rest)[: op.out_bits].as_signed()
            width = signed_width(int(plan.rest.min()), int(plan.rest.max()))
            rest = _diagram(plan.rest, width, not plan.half).build(m, x)
            return (ramp + rest)[: op.out_bits].as_signed()
        if plan.core == "diagram":
            code = _diagram(plan.rest, op.out_bits, False).build(m, x)
        else:
            lines = plan.lines
            control = _CONTROLS[plan.core](lines)
            picked = _diagram(control.packed(), control.width, not plan.half).build(m, x)
            x = Cat(x, 0).as_signed() if plan.half else x
            total = control.total(m, x, control.unpacked(picked))
            low, high = int(lines.totals.min()), int(lines.totals.max())
            total = narrow(m, "total", total, low, high)
            low, high = low >> lines.shift, high >> lines.shift
            value = narrow(m, "value", total >> lines.shift, low, high)
            code = saturate(value, low, high, op.out_bits)
        if plan.odd:
            wide = Signal(signed(op.out_bits))
            m.d.comb += wide.eq(code)
            return (wide.as_unsigned() ^ sign.replicate(op.out_bits)).as_signed()
        return code


class _Control:
    """Signals that depend on the segment alone, as one decision diagram, and what they control."""

    adders = constants = gates = 0

    def __init__(self, lines: _Lines) -> None:
        self.lines = lines
        #: Per-line values of each signal, with their widths.
        self.signals: list[tuple[np.ndarray, int]] = []

    def signal(self, values: list[int], width: int) -> int:
        """Number of a signal with the value `values[k]` on line k."""
        self.signals.append((np.array(values, object), width))
        return len(self.signals) - 1

    @property
    def width(self) -> int:
        """Bits of all signals together."""
        return max(1, sum(width for _, width in self.signals))

    def packed(self) -> np.ndarray:
        """All signals of every input side by side, Python integers."""
        per_line = np.zeros(len(self.lines.slopes), object)
        at = 0
        for values, width in self.signals:
            per_line = per_line + np.array([int(v) % (1 << width) << at for v in values], object)
            at += width
        return per_line[self.lines.piece]

    def unpacked(self, picked: Value) -> list[Value]:
        """The signals, by number, of the diagram's output."""
        fields, at = [], 0
        for _, width in self.signals:
            fields.append(picked[at : at + width])
            at += width
        return fields

    def total(self, m: Module, x: Value, signals: list[Value]) -> Value:
        """``slope x + intercept`` of the line that the signals choose; `x` signed."""
        raise NotImplementedError


class _Slots(_Control):
    """An adder for each digit; what goes in is chosen."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__(lines)
        self.slots = lines.slots() if any(lines.slopes) else []
        folded = list(lines.intercepts)
        for slot in self.slots:
            for line, digit in enumerate(slot):
                # Less a number is its complement and one more.
                if digit and digit[1]:
                    folded[line] += 1 << digit[0]
        low, high = min(folded), max(folded)
        self.intercept = self.signal(folded, signed_width(low, high))
        self.controls: list[tuple[int | None, dict[int, int | None]]] = []
        bits = lines.bits
        for slot in self.slots:
            present = [digit for digit in slot if digit]
            signs = {negative for _, negative in present}
            flip = None
            if len(signs) > 1:
                flip = self.signal([int(bool(d and d[1])) for d in slot], 1)
                self.gates += bits
            choose: dict[int, int | None] = {}
            for power in sorted({digit[0] for digit in present}):
                always = all(d and d[0] == power for d in slot)
                choose[power] = (
                    None
                    if always
                    else self.signal([int(bool(d and d[0] == power)) for d in slot], 1)
                )
                self.gates += 0 if always else 2 * bits
            self.controls.append((flip, choose))
            top = max(choose)
            self.adders += bits + top - max(min(choose), 0)

    def total(self, m: Module, x: Value, signals: list[Value]) -> Value:
        total: Value = signals[self.intercept].as_signed()
        for slot, (flip, choose) in zip(self.slots, self.controls, strict=True):
            source = x
            if flip is not None:
                source = (x.as_unsigned() ^ signals[flip].replicate(len(x))).as_signed()
            elif next(digit for digit in slot if digit)[1]:
                source = (~x.as_unsigned()).as_signed()
            width = len(x) + max(choose)
            term: Value = Const(0, width)
            for power, on in choose.items():
                # Not `<<`, which makes room for any power of as many bits.
                moved = Cat(Const(0, power), source)
                moved = Cat(moved, source[-1].replicate(width - len(moved)))
                # Zeros below a complemented number stay zeros: the folded one is at its power.
                term = term | (moved if on is None else moved & signals[on].replicate(width))
            total = total + term.as_signed()
        return total


class _Each(_Control):
    """Every line by itself, and the one that counts chosen."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__(lines)
        self.pairs = sorted(set(zip(lines.slopes, lines.intercepts, strict=True)))
        every = list(zip(lines.slopes, lines.intercepts, strict=True))
        self.on = [self.signal([int(pair == line) for line in every], 1) for pair in self.pairs]
        low, high = int(lines.totals.min()), int(lines.totals.max())
        self.total_width = signed_width(low, high)
        for slope, intercept in self.pairs:
            if slope:
                self.gates += 2 * (self.total_width - lines.shift)
                self.constants += lines.bits if intercept else 0
                self.adders += lines.bits * (len(digits_of(slope)) - 1)

    def total(self, m: Module, x: Value, signals: list[Value]) -> Value:
        total: Value = Const(0, self.total_width)
        for (slope, intercept), on in zip(self.pairs, self.on, strict=True):
            # Less a number is its complement and one more.
            source = x if slope >= 0 else (~x.as_unsigned()).as_signed()
            constant = intercept + (abs(slope) if slope < 0 else 0)
            line = Signal(signed(self.total_width), name="line")
            m.d.comb += line.eq(times(source, abs(slope)) + constant)
            total = total | (line.as_unsigned() & signals[on].replicate(self.total_width))
        return total.as_signed()


_CONTROLS = {"shift-add": _Slots, "lines": _Each}


def _inputs(op: integer.PiecewiseLinear) -> np.ndarray:
    low, high = code_range(op.a_bits)
    return np.arange(low, high + 1)


def _codes(op: integer.PiecewiseLinear) -> np.ndarray:
    """Output codes of all input codes."""
    values = _Lines(PiecewisePlan.of(op), _inputs(op), op.fraction_bits).values
    return np.clip(values, *code_range(op.out_bits))


def _ramp(inputs: np.ndarray, power: int) -> np.ndarray:
    positive = np.maximum(inputs, 0)
    return positive << power if power >= 0 else positive >> -power


def _unsigned_width(rest: np.ndarray) -> int:
    """Bits of what is subtracted from a ramp."""
    return max(1, int(-rest.min()).bit_length())


def _is_negated(codes: np.ndarray, bits: int) -> bool:
    """Whether ``o(-i) = -o(i)``, with no 0 but that of 0, and the lowest code gives the lowest."""
    below, above = np.split(codes, 2)
    opposite = (below[1:] == -above[1:][::-1]).all() and (above[1:] > 0).all()
    return bool(opposite and above[0] == 0 and below[0] == code_range(bits)[0])


def _is_mirrored(rest: np.ndarray) -> bool:
    """Whether it is equal at i and -i, and at the lowest code as at 0."""
    below, above = np.split(rest, 2)
    return bool((below[1:] == above[1:][::-1]).all() and below[0] == above[0])


def _parse(op: integer.PiecewiseLinear, form: str) -> _Plan:
    """Take the name of a form apart. Raises :class:`InputError` for one that does not fit `op`."""
    inputs = _inputs(op)
    plan = PiecewisePlan.of(op)
    whole = _Lines(plan, inputs, op.fraction_bits)
    codes = np.clip(whole.values, *code_range(op.out_bits))
    positive = inputs >= 0
    words = form.split()

    def refuse(why: str) -> InputError:
        return InputError(f"form {shown(form)}: {why}; choose one of forms() of this unit")

    odd = words[:1] == ["odd"]
    core = " ".join(words[1:] if odd else words)
    if core in ("shift-add", "lines", "diagram") and (odd or core != "diagram"):
        right = inputs[positive] if odd else inputs
        lines = _Lines(plan, right, op.fraction_bits)
        if core != "diagram" and max(len(digits_of(s)) for s in lines.slopes) > MAX_DIGITS:
            raise refuse(f"a slope has more than {MAX_DIGITS} signed digits")
        if odd and (codes != ~codes[::-1]).any():
            raise refuse("the unit is not odd")
        return _Plan(core, odd, None, lines, codes[positive] if odd else codes)
    if form == "negated":
        if not _is_negated(codes, op.out_bits):
            raise refuse("its codes at i and -i are not opposite")
        return _Plan(form, False, None, whole, codes[positive])
    ramps = ("ramp", "even", "mirrored")
    less = words[2:] == ["less"]
    if len(words) == 2 + less and words[0] in ramps and words[1].lstrip("-").isdigit():
        power = int(words[1])
        if power not in RAMPS:
            raise refuse(f"a ramp's shift is within {RAMPS[0]} to {RAMPS[-1]}")
        rest = codes - _ramp(inputs, power)
        if words[0] == "even":
            if (rest != rest[::-1]).any():
                raise refuse("what the ramp leaves is not even")
            rest = rest[positive]
        if words[0] == "mirrored":
            if not _is_mirrored(rest):
                raise refuse("what the ramp leaves is not equal at i and -i")
            rest = rest[positive]
        if less and rest.max() > 0:
            raise refuse("the ramp is too small at some codes")
        return _Plan(words[0], False, power, whole, rest, less)
    raise refuse("not known")


def forms(op: integer.PiecewiseLinear) -> list[str]:
    """The forms in which `op` can be built, most of them without a multiplier.

    Of ramps only the one that leaves the smallest diagram, and of mirrored ones.
    """
    inputs, plan = _inputs(op), PiecewisePlan.of(op)
    lines = _Lines(plan, inputs, op.fraction_bits)
    codes = np.clip(lines.values, *code_range(op.out_bits))
    few = max(len(digits_of(slope)) for slope in lines.slopes) <= MAX_DIGITS
    odd = bool((codes == ~codes[::-1]).all())
    names = ["table", "multiplier"]
    cores = ["shift-add", "lines"] if few else []
    names += cores
    if odd:
        half = _Lines(plan, inputs[inputs >= 0], op.fraction_bits)
        few = max(len(digits_of(slope)) for slope in half.slopes) <= MAX_DIGITS
        names += [f"odd {core}" for core in ("diagram", *(cores if few else []))]
    if _is_negated(codes, op.out_bits):
        names.append("negated")
    sizes: dict[str, int] = {}
    mirrored: dict[str, int] = {}
    for power in RAMPS:
        rest = codes - _ramp(inputs, power)
        even = bool((rest == rest[::-1]).all())
        width = signed_width(int(rest.min()), int(rest.max()))
        if _is_mirrored(rest) and width < op.out_bits:
            mirrored[f"mirrored {power}"] = _nodes(rest[inputs >= 0], width, False)
        rest = rest[inputs >= 0] if even else rest
        if width < op.out_bits:
            name = f"{'even' if even else 'ramp'} {power}"
            sizes[name] = _nodes(rest, width, not even)
    for each in (sizes, mirrored):
        if each:
            names.append(name := min(each, key=lambda name: each[name]))
            if (codes <= _ramp(inputs, int(name.split()[1]))).all():
                names.append(f"{name} less")
    return names


def build(op: integer.PiecewiseLinear, form: str, output: Output = "wire") -> Elementwise:
    """The component of `op` in one of its :func:`forms`."""
    if form == "table":
        table = integer.Table(op.a_bits, op.out_bits, _codes(op).astype(np.int16))
        return Table(table, output)
    if form == "multiplier":
        return PiecewiseLinear(op, 0, output)
    return ShiftAddUnit(op, form, output)


def rough(op: integer.PiecewiseLinear, form: str) -> Rough:
    """What a form of `op` consists of, without building it."""
    if form == "multiplier":
        linear = PiecewisePlan.of(op)
        return Rough(adders=linear.width * op.a_bits, gates=8 * len(linear.points))
    if form == "table":
        return Rough(nodes=_nodes(_codes(op), op.out_bits, True))
    plan, bits = _parse(op, form), op.a_bits
    if plan.core == "negated":
        # Three gates a bit that is negated.
        gates = 3 * (bits - 1) + 3 * (op.out_bits - 1)
        return Rough(nodes=_nodes(plan.rest, op.out_bits - 1, False), gates=gates)
    if plan.core in ("ramp", "even", "mirrored"):
        # Of both ways to join a diagram to its ramp alike: only Yosys can tell which is smaller.
        width = signed_width(int(plan.rest.min()), int(plan.rest.max()))
        return Rough(
            _nodes(plan.rest, width, not plan.half),
            width,
            op.out_bits - width,
            (bits - 1) * (1 + plan.half + 2 * (plan.core == "mirrored")),
        )
    gates = (bits - 1 + op.out_bits) * plan.odd
    if plan.core == "diagram":
        return Rough(nodes=_nodes(plan.rest, op.out_bits, False), gates=gates)
    control = _CONTROLS[plan.core](plan.lines)
    low, high = int(plan.lines.values.min()), int(plan.lines.values.max())
    least, greatest = code_range(op.out_bits)
    gates += control.gates + op.out_bits * ((low < least) + (high > greatest))
    nodes = _nodes(control.packed(), control.width, not plan.half)
    return Rough(nodes, control.adders, control.constants, gates)
