"""The operators: integers, their bounds, and the equation of each (``docs/numerics.md``)."""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from ..errors import InputError, integer_within
from ..genome import MAX_BITS, MIN_BITS
from .codes import (
    MAX_CHANNEL_SHIFT,
    MAX_MULTIPLIER,
    MAX_SHIFT,
    MAX_ZERO,
    check_array,
    code_range,
    signed_width,
)


@dataclass(frozen=True)
class Op:
    """What all operators share: checks of widths and constants on construction."""

    kind: ClassVar[str]

    def integers(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type in (int, "int")}

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }

    def __post_init__(self) -> None:
        for name, value in self.integers().items():
            where = f"{self.kind}.{name}"
            if name == "in_bits":
                # Input codes may be single bits; what has a gene may not.
                integer_within(where, value, 1, MAX_BITS)
            elif name.endswith("bits") and name != "fraction_bits":
                integer_within(where, value, MIN_BITS, MAX_BITS)
            elif name in ("shift", "fraction_bits"):
                integer_within(where, value, 0, MAX_SHIFT)
            elif name.startswith("multiplier"):
                integer_within(where, value, 1, MAX_MULTIPLIER)
            elif name.endswith("zero_point"):
                integer_within(where, value, -MAX_ZERO, MAX_ZERO)
            elif name == "one":
                integer_within(where, value, -(1 << 48), 1 << 48)
            else:
                integer_within(where, value, -(1 << 62), 1 << 62)


def acc_bounds(weight: np.ndarray, bias: np.ndarray, in_bits: int) -> tuple[int, int]:
    """Interval arithmetic: least and greatest ``bias + weight @ x`` over all codes ``x``."""
    low, high = code_range(in_bits)
    wide = weight.astype(np.int64)
    least = bias + np.minimum(wide * low, wide * high).sum(1)
    greatest = bias + np.maximum(wide * low, wide * high).sum(1)
    return int(least.min()), int(greatest.max())


@dataclass(frozen=True, kw_only=True)
class Linear(Op):
    """``acc = bias + weight @ x``, what :class:`Dense` and :class:`Classifier` share."""

    weight: np.ndarray
    bias: np.ndarray
    in_bits: int
    weight_bits: int
    acc_min: int
    acc_max: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array(f"{self.kind}.weight", self.weight, 2, *code_range(self.weight_bits))
        check_array(f"{self.kind}.bias", self.bias, 1, -(1 << 40), 1 << 40)
        if len(self.weight) != len(self.bias):
            raise InputError(f"{self.kind}: weight and bias differ in outputs")
        if (self.acc_min, self.acc_max) != acc_bounds(self.weight, self.bias, self.in_bits):
            raise InputError(f"{self.kind}: acc_min and acc_max are not the bounds of its weights")

    @property
    def acc_width(self) -> int:
        """Width of ``acc``, bits. Wrap-around of partial sums is harmless: only the end counts."""
        return signed_width(self.acc_min, self.acc_max)

    @property
    def size_bits(self) -> int:
        """Stored bits: weights, and biases at their least common width."""
        bias = len(self.bias) * signed_width(int(self.bias.min()), int(self.bias.max()))
        return self.weight.size * self.weight_bits + bias


@dataclass(frozen=True, kw_only=True)
class Dense(Linear):
    """``acc = bias + weight @ x``; ``o = sat(((m acc + half) >> (n + k_i)) + zero_point)``.

    Parameters
    ----------
    weight : int8 array [outputs, inputs], codes of `weight_bits` bits, zero point 0.
    bias : int64 array [outputs], accumulator units; holds the float bias and the folded zero
        point of the input, ``round(b / (S_w S_x)) - Z_x sum_j w_ij``.
    channel_shift : uint8 array [outputs], ``k_i``, 0 to 7; all 0 where granularity is per tensor.
    in_bits, weight_bits, out_bits, multiplier (``m``), shift (``n``), zero_point : int
    acc_min, acc_max : int
        The proof: bounds of ``acc`` by interval arithmetic over all input codes.
    """

    kind: ClassVar[str] = "dense"
    channel_shift: np.ndarray
    out_bits: int
    multiplier: int
    shift: int
    zero_point: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array("dense.channel_shift", self.channel_shift, 1, 0, MAX_CHANNEL_SHIFT)
        if len(self.channel_shift) != len(self.bias):
            raise InputError("dense: bias and channel_shift differ in outputs")

    @property
    def size_bits(self) -> int:
        """Stored bits: weights, biases at their least common width, and channel shifts."""
        return super().size_bits + len(self.bias) * int(self.channel_shift.max()).bit_length()


@dataclass(frozen=True)
class Sum(Op):
    """``o = sat(((m_a (a - Z_a) + m_b (b - Z_b) + half) >> n) + Z)``; one rounding for both."""

    kind: ClassVar[str] = "sum"
    a_bits: int
    b_bits: int
    out_bits: int
    a_zero_point: int
    b_zero_point: int
    multiplier_a: int
    multiplier_b: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Complement(Op):
    """``o = sat(((one - m (a - Z_a) + half) >> n) + Z)``; ``one = round(2**n / S_o)``."""

    kind: ClassVar[str] = "complement"
    a_bits: int
    out_bits: int
    a_zero_point: int
    multiplier: int
    one: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Product(Op):
    """``o = sat(((m (a - Z_a) (b - Z_b) + half) >> n) + Z)``."""

    kind: ClassVar[str] = "product"
    a_bits: int
    b_bits: int
    out_bits: int
    a_zero_point: int
    b_zero_point: int
    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True)
class Table(Op):
    """``o = table[a + 2**(a_bits-1)]``: one output code for every input code."""

    kind: ClassVar[str] = "table"
    a_bits: int
    out_bits: int
    table: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array("table.table", self.table, 1, *code_range(self.out_bits))
        if len(self.table) != 1 << self.a_bits:
            raise InputError(f"table: {len(self.table)} entries, {1 << self.a_bits} are needed")


@dataclass(frozen=True)
class PiecewiseLinear(Op):
    """``k = #{j: breakpoints[j] <= a}``;
    ``o = sat(((slopes[k] a + intercepts[k] + half) >> fraction_bits) + zero_point)``.

    N segments have N - 1 strictly increasing break points; a code on a break point belongs to
    the segment on its right (arXiv 2403.19591, the trainer's rule).
    """

    kind: ClassVar[str] = "pwl"
    a_bits: int
    out_bits: int
    fraction_bits: int
    zero_point: int
    breakpoints: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array("pwl.slopes", self.slopes, 1, -(1 << 24), 1 << 24)
        check_array("pwl.intercepts", self.intercepts, 1, -(1 << 40), 1 << 40)
        if len(self.slopes) > 1:
            check_array("pwl.breakpoints", self.breakpoints, 1, *code_range(self.a_bits))
        if len(self.breakpoints) != len(self.slopes) - 1 or len(self.slopes) != len(
            self.intercepts
        ):
            raise InputError("pwl: N slopes and N intercepts need N - 1 breakpoints")
        steps = np.diff(self.breakpoints.astype(np.int64))
        if (steps <= 0).any():
            j = int(np.argmax(steps <= 0))
            raise InputError(
                f"pwl: breakpoint {j + 1} ({self.breakpoints[j + 1]}) is not above "
                f"breakpoint {j} ({self.breakpoints[j]})"
            )


@dataclass(frozen=True)
class Requantize(Op):
    """``o = sat(((m a + half) >> n) + Z)`` of a sum ``a`` within `acc_min` to `acc_max`."""

    kind: ClassVar[str] = "requantize"
    acc_min: int
    acc_max: int
    out_bits: int
    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class Classifier(Linear):
    """Dense on the last state, weights of 2 to 8 bits; logits are the raw accumulators, the class
    is the first greatest."""

    kind: ClassVar[str] = "classifier"


Operator = Dense | Sum | Complement | Product | Table | PiecewiseLinear
