"""What a shared unit does for a layer, cycle by cycle: its program, and the order of its constants.

All 17 operators and the classifier are sums of ``operand << v`` for set bits of a factor, a shift
right, and a saturation. A machine with one adder does them all::

    P = (0 if first else P) + (((operand & factor bit) ^ negative) << guard) + carry
    P = P >> shift

A row of the program is such a cycle, or such a cycle for every word of a vector. Weights, and what
lies between them, come in digits of one to eight bits, each bit an adder; all other factors come
bit by bit. In a negative row with a digit the highest bit is the negative one. Planes of a factor
come lowest first, and P is shifted right between them, so that it stays as narrow as its sums.
`guard` bits below the operand keep what would be lost where a factor has more planes than the
result drops. A negative row adds ``-operand - 1`` or ``-1``: the ones are known, and the constant
of the operator makes up for them. :mod:`genogate.sim.golden` is the law.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ....model.integer import (
    Classifier,
    Complement,
    Dense,
    Operator,
    Product,
    Sum,
    code_range,
    half,
)
from ...arithmetic import signed_digits
from ...piecewise_linear import PiecewisePlan
from ..loading import bias_bound

#: Operands, factors and kinds of rows, by their number in the program.
OPERANDS = ("imm", "x", "h", "t0", "t1", "t2")
FACTORS = ("zero", "one", "rom", "serial", "a_r", "a_z", "a_n")
KINDS = ("add", "load", "emit", "logit", "class")
#: Bits of a logit below P when it leaves: t1 catches them.
LOGIT_BITS = 8


@dataclass(frozen=True)
class Row:
    """A cycle, or one for each word of a vector.

    operand, factor, kind : of the tuples above
    negative, carry, shift, first : see the head of this file; shift is 0, 1, or a digit
    loop : for every word of x or h
    target : register that gets the saturated result, or ""
    own : the state of the unit itself is asked for, for the row after this
    place : bit of an immediate operand, ``1 << place``, or of t1
    bits : width that the result is saturated to
    settle : the next node of a search for a segment, by the sign of the sum; with `shift`: t1 takes
        the bit that is shifted out
    """

    operand: str = "imm"
    factor: str = "zero"
    kind: str = "add"
    negative: bool = False
    carry: bool = False
    shift: int = 0
    first: bool = False
    loop: bool = False
    target: str = ""
    own: bool = False
    place: int = 0
    bits: int = 0
    settle: bool = False


@dataclass
class Op:
    """An operator as planes: what is added at ``1 << v``, and the bits that the result drops.

    planes : v -> rows without a shift
    constant : int, or int64 [units], whose bits come from the memory of the weights
    ones : v -> what the negative rows of a plane add beside their products, over all words
    bounds : v -> lowest and highest sum of each row, [rows] of (low, high) int64 [units] or int
    ends : the least and the greatest constant that may come from the memory, of weights that are
        loaded; those of `constant` where it is None
    """

    drop: int
    constant: int | np.ndarray
    planes: dict[int, list[Row]] = field(default_factory=dict)
    bounds: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    ones: int = 0
    bits: dict[int, list[np.ndarray]] = field(default_factory=dict)
    ends: tuple[int, int] | None = None

    def add(self, v: int, row: Row, low: int, high: int) -> None:
        """Add a row to plane `v`; operand times bit lies within `low` to `high`."""
        if row.negative:
            low, high = -high, -low
        self.add_signed(v, row, np.asarray(low), np.asarray(high), int(row.negative))

    def add_signed(self, v: int, row: Row, low: np.ndarray, high: np.ndarray, ones: int) -> None:
        """Add a row to plane `v`; what it adds, but for `ones`, lies within `low` to `high`."""
        self.ones += ones << v
        self.planes.setdefault(v, []).append(row)
        self.bounds.setdefault(v, []).append((low - ones, high - ones))

    @property
    def guard(self) -> int:
        """Bits below the operand that this operator needs."""
        return max(0, max(self.planes, default=0) - self.drop)


def codes_from_zero(bits: int) -> tuple[int, int]:
    """Bounds of a code or 0."""
    low, high = code_range(bits)
    return min(low, 0), max(high, 0)


def dense_op(op: Dense | Classifier, side: str, digit: int, loaded: bool = False) -> Op:
    """A dense operator, whose digits are those of ``multiplier << (most - k_i)`` times weights.
    Where they are `loaded` its bounds are those of any weights, and of biases within
    :func:`~..loading.bias_bound`."""
    weight, bias = op.weight.astype(np.int64), op.bias.astype(np.int64)
    if isinstance(op, Dense):
        most = int(op.channel_shift.max())
        up = most - op.channel_shift.astype(np.int64)
        drop, factor = op.shift + most, op.multiplier
        weight = weight << up[:, None]
        rounding = half(op.shift + most) + (op.zero_point << drop)
        constant = ((bias * factor) << up) + rounding
        wide = op.weight_bits + int(up.max())
    else:
        drop, factor, constant, wide, rounding = LOGIT_BITS, 1, bias, op.weight_bits, 0
    codes = codes_from_zero(op.in_bits)
    result = Op(drop, constant)
    if loaded:
        greatest = (bias_bound(op) * factor) << (wide - op.weight_bits)
        result.ends = rounding - greatest, rounding + greatest
    row = Row(side, "rom", loop=True)
    for power in _powers(factor, digit):
        _digits(result, row, weight, wide, digit, power, *codes, loaded)
    return result


def _powers(factor: int, digit: int) -> list[tuple[int, int]]:
    """Powers of two, and signs, that make up a factor."""
    # A digit of several bits has one negative bit at most, so it is never subtracted.
    ones = [(k, 1) for k in range(factor.bit_length()) if factor >> k & 1]
    return signed_digits(factor) if digit == 1 else ones


def _digits(
    op: Op,
    row: Row,
    values: np.ndarray,
    wide: int,
    digit: int,
    power: tuple[int, int],
    low: int,
    high: int,
    loaded: bool = False,
) -> None:
    """Add ``values << power`` times operands of `low` to `high`, digit by digit. Values, [units,
    words], are codes of `wide` bits, without a sign where `wide` is below 0; bounds are those of
    any codes where they are `loaded`."""
    planes = -(-abs(wide) // digit)
    for j in range(planes):
        digits = (values >> (j * digit)) & ((1 << digit) - 1)
        negative = (wide > 0 and j == planes - 1) == (power[1] > 0)
        value = digits - (digits >> (digit - 1) << digit) if negative else digits
        up, down = np.maximum(value, 0).sum(1), np.minimum(value, 0).sum(1)
        ones = values.shape[1] << (digit - 1) if negative else 0
        v = j * digit + power[0]
        bounds = up * low + down * high, up * high + down * low
        if loaded:
            bounds = _any_digits(values.shape[1], digit, negative, low, high)
        op.add_signed(v, replace(row, negative=negative), *bounds, ones)
        op.bits.setdefault(v, []).append(digits)


def _any_digits(
    words: int, digit: int, negative: bool, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of so many operands of `low` to `high` times any digits of a plane."""
    least, most = 0, (1 << digit) - 1
    if negative:
        least, most = -(1 << (digit - 1)), (1 << (digit - 1)) - 1
    ends = [d * x for d in (least, most) for x in (low, high)]
    return np.asarray(words * min(ends)), np.asarray(words * max(ends))


def piecewise_op(plan: PiecewisePlan, name: str, segments: Sequence[int], digit: int) -> Op:
    """Slope times the code in t0, and the intercept, both from the memory of the activation."""
    slopes = np.array(plan.slopes, np.int64)[segments]
    result = Op(plan.shift, np.array(plan.intercepts, np.int64)[segments])
    low, high = codes_from_zero(plan.in_bits)
    wide = plan.width if plan.negative else -plan.width
    _digits(result, Row("t0", name), slopes[:, None], wide, digit, (0, 1), low, high)
    return result


def _times(op: Op, row: Row, factor: int, low: int, high: int, sign: int = 1) -> None:
    """Add the constant `factor` times an operand."""
    for power, digit in signed_digits(abs(factor)):
        negative = (digit * sign * (1 if factor >= 0 else -1)) < 0
        op.add(power, replace(row, factor="one", negative=negative), low, high)


def elementwise_op(op: Operator, sources: Sequence[str], digit: int) -> Op:
    """A sum, complement or product of what registers hold."""
    if isinstance(op, Sum):
        constant = half(op.shift) + (op.zero_point << op.shift)
        constant -= op.multiplier_a * op.a_zero_point + op.multiplier_b * op.b_zero_point
        result = Op(op.shift, constant)
        _times(result, Row(sources[0]), op.multiplier_a, *codes_from_zero(op.a_bits))
        _times(result, Row(sources[1]), op.multiplier_b, *codes_from_zero(op.b_bits))
        return result
    if isinstance(op, Complement):
        constant = op.one + op.multiplier * op.a_zero_point
        constant += half(op.shift) + (op.zero_point << op.shift)
        result = Op(op.shift, constant)
        _times(result, Row(sources[0]), op.multiplier, *codes_from_zero(op.a_bits), sign=-1)
        return result
    assert isinstance(op, Product)
    m, z_a, z_b = op.multiplier, op.a_zero_point, op.b_zero_point
    result = Op(op.shift, half(op.shift) + (op.zero_point << op.shift) + m * z_a * z_b)
    # The operand in t1 comes digit by digit, the other as a whole.
    serial = sources.index("t1")
    whole = sources[1 - serial]
    bits = (op.a_bits, op.b_bits)
    low, high = codes_from_zero(bits[1 - serial])
    planes = -(-bits[serial] // digit)
    for power, sign in _powers(m, digit):
        for j in range(planes):
            negative = (j == planes - 1) == (sign > 0)
            row = Row(whole, "serial", negative=negative, place=j * digit)
            most = (1 << digit) - 1
            bound = max(-low, high) * most
            ones = 1 << (digit - 1) if negative else 0
            edges = np.array(-bound if low < 0 else 0), np.array(bound)
            result.add_signed(j * digit + power, row, *edges, ones)
    zero_serial, zero_whole = (z_a, z_b) if serial == 0 else (z_b, z_a)
    _times(result, Row(whole), m * zero_serial, low, high, sign=-1)
    _times(result, Row("t1"), m * zero_whole, *codes_from_zero(bits[serial]), sign=-1)
    return result


@dataclass
class Activation:
    """The memory of an activation: word ``[selector, index]`` is a digit.

    selector : the code for a table; for pieces a node of the search, then ``2**levels + segment``
    words, length : digits, and how many of them a selector has
    """

    table: bool
    levels: int
    words: list[int] = field(default_factory=list)
    length: int = 0


@dataclass
class Program:
    """A program, and all that it reads.

    rows : the rows; `loop` is the first of a unit, `classify` of a class, -1 without a classifier
    weights : words of the weights' memory, a digit each, in the order in which they are read
    activations : by name
    guard, width : bits below the operand in P, and of P in all
    operand_bits, digit : widths of the operand, and of a word of the weights
    unit_cycles, class_cycles : cycles of a unit, of a class
    """

    rows: list[Row] = field(default_factory=list)
    loop: int = 0
    classify: int = -1
    weights: list[int] = field(default_factory=list)
    weights_of_step: int = 0
    activations: dict[str, Activation] = field(default_factory=dict)
    guard: int = 0
    width: int = 0
    operand_bits: int = 0
    digit: int = 1
    unit_cycles: int = 0
    class_cycles: int = 0
