"""IEEE-754 single precision: multiplier, adder, comparison, and the table unit made of them.

Both operations round to nearest, ties to even, and know subnormals, signed zeros, infinities and
NaN; a NaN that comes out is always 0x7fc00000. There are no exception flags. Bit-exact with NumPy's
float32 (:func:`sim.golden_lut.multiply_add`), NaN payloads aside.
"""

from collections.abc import Sequence

import numpy as np
from amaranth import *
from amaranth.lib import data

from ...model.errors import InputError, index_within
from .stages import Field, Loaded, Staged, Values, at_least, choose_one, one_hot, wire

FRACTION, EXPONENT, BIAS = 23, 8, 127
#: The exponent of infinities and NaN.
TOP = (1 << EXPONENT) - 1
QUIET_NAN = 0x7FC00000


class Unpacked:
    """The parts of a single.

    special : exponent of infinity or NaN
    fraction : 23 bits
    exponent : 8 bits, 1 for subnormals and zeros as well
    significand : 24 bits, with the hidden bit
    """

    def __init__(self, m: Module, name: str, bits: Value) -> None:
        self.sign = bits[-1]
        self.fraction = bits[:FRACTION]
        field = bits[FRACTION:-1]
        self.special = wire(m, f"{name}_special", field.all())
        self.normal = wire(m, f"{name}_normal", field.any())
        self.exponent = Cat(field[0] | ~self.normal, field[1:])
        self.significand = Cat(self.fraction, self.normal)


def shift_right_sticky(m: Module, name: str, value: Value, amount: Value) -> tuple[Value, Value]:
    """``value >> amount``, and whether a 1 was dropped."""
    sticky: Value = Const(0)
    for k in reversed(range(len(amount))):
        step = min(1 << k, len(value))
        lost = amount[k] & value[:step].any()
        sticky = wire(m, f"{name}_sticky{k}", sticky | lost)
        value = wire(m, f"{name}_{k}", Mux(amount[k], value[step:], value))
    return value, sticky


def leading_zeros(m: Module, name: str, value: Value) -> Signal:
    """Zeros above the highest 1, a tree; for 0 the width rounded up to a power of two."""
    bits = max(1, (len(value) - 1).bit_length())
    padded = Cat(Const(0, (1 << bits) - len(value)), value)
    # (empty, zeros) of each group of one bit, two bits and so on.
    groups = [(~padded[k], Const(0, 0)) for k in range(1 << bits)]
    for level in range(bits):
        pairs = zip(groups[::2], groups[1::2], strict=True)
        groups = []
        for k, ((low_empty, low), (high_empty, high)) in enumerate(pairs):
            empty = wire(m, f"{name}_empty{level}_{k}", low_empty & high_empty)
            count = Cat(Mux(high_empty, low, high), high_empty)
            groups.append((empty, wire(m, f"{name}_zeros{level}_{k}", count[: level + 1])))
    empty, zeros = groups[0]
    return wire(m, f"{name}_zeros", Cat(zeros & ~empty.replicate(len(zeros)), empty))


def _round(
    m: Module, name: str, significand: Value, field: Value, guard: Value, sticky: Value
) -> Signal:
    """Exponent and fraction, 31 bits, of `significand`, 24 bits, and its exponent `field`.

    The carry of the fraction goes into the exponent, from subnormal to normal and up to infinity.
    """
    up = guard & (sticky | significand[0])
    return wire(
        m, f"{name}_rounded", (Cat(significand[:FRACTION], field) + up)[: FRACTION + EXPONENT]
    )


def _pack(m: Module, name: str, sign: Value, value: Value, infinite: Value, nan: Value) -> Signal:
    """A single of 31 bits `value`, infinity or the quiet NaN."""
    huge = wire(m, f"{name}_huge", infinite | nan | value[FRACTION:].all())
    fraction = Cat(
        value[: FRACTION - 1] & ~huge.replicate(FRACTION - 1), Mux(huge, nan, value[FRACTION - 1])
    )
    exponent = value[FRACTION:] | huge.replicate(EXPONENT)
    return wire(m, f"{name}_result", Cat(fraction, exponent, sign & ~nan))


def multiply(m: Module, name: str, a_bits: Value, b_bits: Value) -> Signal:
    """``a b`` of two singles, 32 bits each, combinational."""
    a, b = Unpacked(m, f"{name}_a", a_bits), Unpacked(m, f"{name}_b", b_bits)
    # Only one operand can be subnormal and the product not vanish: `small` is normalised.
    small = wire(m, f"{name}_small", Mux(a.normal, b.significand, a.significand))
    other = wire(m, f"{name}_other", Mux(a.normal, a.significand, b.significand))
    shift: list[Value] = []
    for k in reversed(range(5)):
        empty = wire(m, f"{name}_empty{k}", ~small[max(0, FRACTION + 1 - (1 << k)) :].any())
        shift.insert(0, empty)
        small = wire(m, f"{name}_small{k}", Mux(empty, small << (1 << k), small)[: FRACTION + 1])
    zero = ~small[-1]
    product = wire(m, f"{name}_product", small * other)
    carry = product[-1]
    exponent = Signal(signed(EXPONENT + 3), name=f"{name}_exponent")
    m.d.comb += exponent.eq(a.exponent + b.exponent - Cat(shift) - BIAS + carry)
    top = wire(m, f"{name}_top", Mux(carry, product[FRACTION:], product[FRACTION - 1 : -1]))
    below = product[: FRACTION - 1].any() | (carry & product[FRACTION - 1])
    # A result below the normal numbers moves right until its exponent is 1.
    tiny = wire(m, f"{name}_tiny", exponent < 1)
    distance = wire(m, f"{name}_distance", (1 - exponent).as_unsigned())
    far = distance[5:].any()
    amount = wire(m, f"{name}_amount", (distance[:5] | far.replicate(5)) & tiny.replicate(5))
    shifted, lost = shift_right_sticky(m, f"{name}_down", top, amount)
    field = exponent[:EXPONENT] & ~tiny.replicate(EXPONENT)
    value = _round(m, name, shifted[1:], field, shifted[0], below | lost)
    over = field.all() | (~tiny & exponent[EXPONENT:].any())
    infinite = wire(m, f"{name}_infinite", a.special | b.special | over)
    nan = (a.special & a.fraction.any()) | (b.special & b.fraction.any())
    nan = wire(m, f"{name}_nan", nan | ((a.special | b.special) & zero))
    # Zero has no normalised significand, so that its exponent means nothing.
    gone = zero & ~infinite
    return _pack(m, name, a.sign ^ b.sign, value & ~gone.replicate(len(value)), infinite, nan)


def add(m: Module, name: str, a_bits: Value, b_bits: Value) -> Signal:
    """``a + b`` of two singles, 32 bits each, combinational."""
    keep = at_least(m, f"{name}_order", a_bits[:-1], b_bits[:-1])
    a = Unpacked(m, f"{name}_big", wire(m, f"{name}_a", Mux(keep, a_bits, b_bits)))
    b = Unpacked(m, f"{name}_little", wire(m, f"{name}_b", Mux(keep, b_bits, a_bits)))
    minus = wire(m, f"{name}_minus", a.sign ^ b.sign)
    distance = wire(m, f"{name}_distance", (a.exponent - b.exponent)[:EXPONENT])
    amount = distance[:5] | distance[5:].any().replicate(5)
    # Two bits below the significand, and one for all that is dropped.
    down, sticky = shift_right_sticky(m, f"{name}_down", Cat(Const(0, 2), b.significand), amount)
    addend = Cat(sticky, down) ^ minus.replicate(FRACTION + 4)
    total = Cat(Const(0, 3), a.significand) + addend + minus
    total = wire(m, f"{name}_total", Cat(total[: FRACTION + 4], total[FRACTION + 4] & ~minus))
    # To the left until the top bit is 1, but not below exponent 1.
    zeros = leading_zeros(m, name, total)
    limited = wire(m, f"{name}_limited", zeros > a.exponent)
    amount = wire(m, f"{name}_left", Mux(limited, a.exponent, zeros)[:5])
    up = total
    for k in reversed(range(5)):
        up = wire(m, f"{name}_up{k}", Mux(amount[k], up << (1 << k), up)[: len(total)])
    exponent = wire(m, f"{name}_exponent", (a.exponent + 1 - zeros)[:EXPONENT])
    field = exponent & up[-1].replicate(EXPONENT)
    value = _round(m, name, up[4:], field, up[3], up[:3].any())
    nan = wire(m, f"{name}_nan", a.special & (a.fraction.any() | (b.special & minus)))
    # What cancels is a positive zero.
    sign = a.sign & ~(minus & ~total.any())
    return _pack(m, name, sign, value, a.special | field.all(), nan)


class FloatUnit(Loaded):
    """``o = (slopes[k] i) + intercepts[k]``, ``k = #{j: p_j <= i}``, all IEEE-754 singles.

    The product is rounded to nearest even before the sum is, as two NumPy operations do. The law is
    :func:`~genogate.sim.golden_lut.float_unit`. Zeros of both signs are equal to the comparators; a
    NaN in gives the NaN 0x7fc00000. Loading is :class:`~.stages.Loaded`'s.

    Latency `stages`: 0 is combinational, 1 has a register at the output, 2 one more between
    multiplier and adder, 3 one more after the selection. One result a cycle.

    Parameters
    ----------
    entries : int
        Segments, 2 to 256.
    stages : int, 0 to 3

    Members
    -------
    i, o : stream.Signature(32), bits of singles
    load : In(stream.Signature({data: 32, last: 1}))
    """

    def __init__(self, entries: int = 8, stages: int = 2) -> None:
        self.entries = index_within("entries", entries, 2, 256)
        fields = [
            *(Field(f"intercept{k}", 32) for k in range(self.entries)),
            *(Field(f"slope{k}", 32) for k in range(self.entries)),
            *(Field(f"point{k}", 32) for k in range(self.entries - 1)),
        ]
        super().__init__(fields, 32, 32, stages, (2, 1, 0))

    def words(
        self, breakpoints: Sequence[float], slopes: Sequence[float], intercepts: Sequence[float]
    ) -> list[int]:
        """What to send over `load`: N - 1 break points, N slopes, N intercepts, N <= entries.

        Numbers are rounded to singles. Break points that are missing become NaN, which no input
        reaches. Raises :class:`InputError` for too many, or break points that are no ascending
        numbers.
        """
        with np.errstate(over="ignore"):
            points, slope, intercept = (
                np.asarray(v, np.float32) for v in (breakpoints, slopes, intercepts)
            )
        if len(slope) > self.entries:
            raise InputError(f"entries: {len(slope)} segments, the unit holds {self.entries}")
        if not len(slope) == len(intercept) == len(points) + 1:
            raise InputError("table: N slopes and N intercepts need N - 1 breakpoints")
        for k, point in enumerate(points):
            if np.isnan(point):
                raise InputError(f"breakpoint {k}: {point} is no number")
            if k and point < points[k - 1]:
                raise InputError(
                    f"breakpoint {k} ({point}) is below breakpoint {k - 1} ({points[k - 1]})"
                )
        missing = self.entries - len(slope)
        values = {}
        for name, column, fill in (
            ("point", points, np.nan),
            ("slope", slope, 0),
            ("intercept", intercept, 0),
        ):
            bits = np.append(column, np.full(missing, fill, np.float32)).astype(np.float32)
            bits = np.where(np.isnan(bits), np.uint32(QUIET_NAN), bits.view(np.uint32))
            values.update({f"{name}{k}": int(v) for k, v in enumerate(bits)})
        return self.pack(values)

    def steps(self):
        return [self._select, self._multiply, self._add]

    def _select(self, m: Module, values: Values) -> Values:
        x = values["i"]
        size = x[:-1]
        # Minus zero counts as zero, so that equal numbers have equal signs.
        negative = wire(m, "negative", x[-1] & size.any())
        reached: list[Value] = []
        for k in range(self.entries - 1):
            point = self.held[f"point{k}"]
            # Of two negative numbers the greater one is nearer to zero.
            nearer = at_least(m, f"compare{k}", size, point[:-1], ~negative)
            same = point[-1] == negative
            reached.append(wire(m, f"reached{k}", Mux(same, nearer ^ negative, ~negative)))
        selects = one_hot(m, reached)
        slopes = [self.held[f"slope{k}"] for k in range(self.entries)]
        intercepts = [self.held[f"intercept{k}"] for k in range(self.entries)]
        return {
            "x": x,
            "slope": wire(m, "slope", choose_one(selects, slopes)),
            "intercept": wire(m, "intercept", choose_one(selects, intercepts)),
        }

    def _multiply(self, m: Module, values: Values) -> Values:
        return {
            "product": multiply(m, "multiply", values["slope"], values["x"]),
            "intercept": values["intercept"],
        }

    def _add(self, m: Module, values: Values) -> Values:
        return {"o": add(m, "add", values["product"], values["intercept"])}


class MultiplyAdd(Staged):
    """``o = (a b) + c`` of singles: the arithmetic of :class:`FloatUnit` with free operands.

    Rounded to nearest even after each operation. Latency `stages`: 0 is combinational, 1 has a
    register at the output, 2 one more between multiplier and adder.

    Members
    -------
    i : In(stream.Signature({a: 32, b: 32, c: 32}))
    o : Out(stream.Signature(32))
    """

    def __init__(self, stages: int = 2) -> None:
        super().__init__(data.StructLayout({"a": 32, "b": 32, "c": 32}), 32, stages, (1, 0))

    def steps(self):
        return [self._multiply, self._add]

    def _multiply(self, m: Module, values: Values) -> Values:
        i = values["i"]
        return {"product": multiply(m, "multiply", i.a, i.b), "c": i.c}

    def _add(self, m: Module, values: Values) -> Values:
        return {"o": add(m, "add", values["product"], values["c"])}

    def elaborate(self, platform) -> Module:
        m = Module()
        self.chain(m)
        return m
