"""What a shared unit does for a layer, cycle by cycle: its program, and the order of its constants.

All 17 operators and the classifier are sums of ``operand << v`` for set bits of a factor, a shift
right, and a saturation. A machine with one adder does them all::

    P = (0 if first else P) + (((operand & factor bit) ^ negative) << guard) + carry
    P = P >> 1 if shift

A row of the program is such a cycle, or such a cycle for every word of a vector. Planes of a factor
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

#: Operands, factors and kinds of rows, by their number in the program.
OPERANDS = ("imm", "x", "h", "t0", "t1", "t2")
FACTORS = ("zero", "one", "rom", "serial", "a_r", "a_z", "a_n")
KINDS = ("add", "load", "emit", "logit", "class")
#: Operators in the order in which they are done for a unit, their operands' registers and that of
#: their result. A product takes the bits of t1.
ORDER = (
    ("w_hz", ("h",), "t0"),
    ("w_iz", ("x",), "t1"),
    ("s_z", ("t1", "t0"), "t0"),
    ("a_z", ("t0",), "t2"),
    ("w_hr", ("h",), "t0"),
    ("w_ir", ("x",), "t1"),
    ("s_r", ("t1", "t0"), "t0"),
    ("a_r", ("t0",), "t1"),
    ("w_hn", ("h",), "t0"),
    ("p_rn", ("t1", "t0"), "t0"),
    ("w_in", ("x",), "t1"),
    ("s_n", ("t1", "t0"), "t0"),
    ("a_n", ("t0",), "t0"),
    ("c_z", ("t2",), "t1"),
    ("p_zn", ("t1", "t0"), "t0"),
    ("p_zh", ("t2", "t1"), "t1"),
    ("s_h", ("t0", "t1"), ""),
)
#: Bits of a logit below P when it leaves: t1 catches them.
LOGIT_BITS = 8


@dataclass(frozen=True)
class Row:
    """A cycle, or one for each word of a vector.

    operand, factor, kind : of the tuples above
    negative, carry, shift, first : see the head of this file
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
    shift: bool = False
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
    """

    drop: int
    constant: int | np.ndarray
    planes: dict[int, list[Row]] = field(default_factory=dict)
    bounds: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    ones: int = 0
    bits: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def add(self, v: int, row: Row, low: object, high: object, words: int = 1) -> None:
        """Add a row to plane `v`; its products lie within `low` to `high`."""
        low, high = np.asarray(low), np.asarray(high)
        if row.negative:
            low, high = -high - words, -low - words
            self.ones += words << v
        self.planes.setdefault(v, []).append(row)
        self.bounds.setdefault(v, []).append((low, high))

    @property
    def guard(self) -> int:
        """Bits below the operand that this operator needs."""
        return max(0, max(self.planes, default=0) + 1 - self.drop)


def codes_from_zero(bits: int) -> tuple[int, int]:
    """Bounds of a code or 0."""
    low, high = code_range(bits)
    return min(low, 0), max(high, 0)


def dense_op(op: Dense | Classifier, side: str) -> Op:
    """A dense operator, whose digits are those of ``multiplier << (most - k_i)`` times weights."""
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
        drop, factor, constant, wide = LOGIT_BITS, 1, bias, op.weight_bits
    low, high = codes_from_zero(op.in_bits)
    words = weight.shape[1]
    result = Op(drop, constant)
    for power, sign in signed_digits(factor):
        for p in range(wide):
            bits = (weight >> p) & 1
            count = bits.sum(1)
            negative = (p == wide - 1) == (sign > 0)
            row = Row(side, "rom", negative=negative, loop=True)
            result.add(p + power, row, count * low, count * high, words)
            result.bits.setdefault(p + power, []).append(bits)
    return result


def _times(op: Op, row: Row, factor: int, low: int, high: int, sign: int = 1) -> None:
    """Add the constant `factor` times an operand."""
    for power, digit in signed_digits(abs(factor)):
        negative = (digit * sign * (1 if factor >= 0 else -1)) < 0
        op.add(power, replace(row, factor="one", negative=negative), low, high)


def elementwise_op(op: Operator, sources: Sequence[str]) -> Op:
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
    # The operand in t1 comes bit by bit, the other as a whole.
    serial = sources.index("t1")
    whole = sources[1 - serial]
    bits = (op.a_bits, op.b_bits)
    low, high = codes_from_zero(bits[1 - serial])
    for power, sign in signed_digits(m):
        for p in range(bits[serial]):
            negative = (p == bits[serial] - 1) == (sign > 0)
            result.add(p + power, Row(whole, "serial", negative=negative, place=p), low, high)
    zero_serial, zero_whole = (z_a, z_b) if serial == 0 else (z_b, z_a)
    _times(result, Row(whole), m * zero_serial, low, high, sign=-1)
    _times(result, Row("t1"), m * zero_whole, *codes_from_zero(bits[serial]), sign=-1)
    return result


@dataclass
class Activation:
    """The memory of an activation: word ``[selector, index]`` is one bit.

    selector : the code for a table; for pieces a node of the search, then ``2**levels + segment``
    """

    table: bool
    levels: int
    words: list[int] = field(default_factory=list)
    length: int = 0


@dataclass
class Program:
    """A program, and all that it reads.

    rows : the rows; `loop` is the first of a unit, `classify` of a class, -1 without a classifier
    weights : bits of the weights' memory in the order in which they are read
    activations : by name
    guard, width : bits below the operand in P, and of P in all
    operand_bits : width of the operand
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
    unit_cycles: int = 0
    class_cycles: int = 0
