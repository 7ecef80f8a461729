"""Constant arithmetic that the operators share: signed digits, shift-adds, saturation.

Every value is carried with the interval that it provably lies in, so that widths are the least
that hold it, and a saturation that cannot happen costs nothing.
"""

from amaranth import *

from ..model.integer import code_range, signed_width


def signed_digits(value: int) -> list[tuple[int, int]]:
    """Canonical signed digits of a non-negative integer: ``(power, sign)``, no two adjacent.

    ``sum(sign << power) == value`` with the fewest terms possible.
    """
    digits, power = [], 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((power, sign))
            value -= sign
        value >>= 1
        power += 1
    return digits


def trailing_zeros(value: int) -> int:
    """The greatest k such that ``2**k`` divides the positive `value`."""
    return (value & -value).bit_length() - 1


def times(value: Value, constant: int) -> Value:
    """``value * constant`` for a constant >= 0, as shifts and adds."""
    digits = signed_digits(constant)[::-1]
    if not digits:
        return Const(0)
    # The greatest digit is positive, so nothing is negated.
    total = value << digits[0][0]
    for power, sign in digits[1:]:
        total = total + (value << power) if sign > 0 else total - (value << power)
    return total


def interval(factor: int, low: int, high: int) -> tuple[int, int]:
    """Bounds of ``factor * v`` for v within `low` to `high`."""
    return min(factor * low, factor * high), max(factor * low, factor * high)


def product_interval(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Bounds of ``a * b`` for operands within two intervals."""
    corners = [p * q for p in a for q in b]
    return min(corners), max(corners)


def narrow(m: Module, name: str, value: Value, low: int, high: int) -> Signal:
    """A signal of the least width that holds `low` to `high`, driven by `value`.

    Bits above that width are dropped, also out of `value`'s adders: the caller proves the bounds.
    """
    return resized(m, name, value, signed_width(low, high))


def resized(m: Module, name: str, value: Value, width: int) -> Signal:
    """A signed signal of `width` bits, driven by `value`."""
    signal = Signal(signed(width), name=name)
    m.d.comb += signal.eq(value)
    return signal


def saturate(value: Value, low: int, high: int, bits: int) -> Value:
    """Clip signed `value`, known to lie within `low` to `high`, to a signed code of `bits` bits."""
    return clip(value, *beyond(low, high, bits), bits)


def beyond(low: int, high: int, bits: int) -> tuple[bool, bool]:
    """Whether values within `low` to `high` may lie below, and above, the codes of `bits` bits."""
    least, greatest = code_range(bits)
    return low < least, high > greatest


def clip(value: Value, below: bool, above: bool, bits: int) -> Value:
    """Clip signed `value` to a signed code of `bits` bits, where it may lie `below` or `above`."""
    width = len(value)
    if not below and not above:
        return value[: min(bits, width)].as_signed()
    sign, top = value[-1], value[bits - 1 : -1]
    if not below:
        over = ~sign & top.any()
        return Cat((value[k] | over for k in range(bits - 1)), sign).as_signed()
    if not above:
        under = sign & ~top.all()
        return Cat((value[k] & ~under for k in range(bits - 1)), sign).as_signed()
    outside = Mux(sign, ~top.all(), top.any())
    return Cat((Mux(outside, ~sign, value[k]) for k in range(bits - 1)), sign).as_signed()


#: Multipliers of two operands of at least so many bits are left to the synthesiser: Booth's
#: encoding begins to pay (8 by 8 bits: 445 cells, 455 as rows), and FPGAs have blocks for them.
WIDE = 6


def add_or_subtract(a: Value, b: Value, minus: Value) -> Value:
    """``a - b`` where `minus` is 1, else ``a + b``, for signed values: one adder."""
    # Less b is its complement and a carry more; the carry comes from a bit below.
    flipped = Cat(minus, b.as_unsigned() ^ minus.replicate(len(b))).as_signed()
    return (Cat(1, a).as_signed() + flipped)[1:].as_signed()


def multiply(m: Module, name: str, factor: Value, value: Value, sign: Value | int) -> Value:
    """``factor * value``, one row of adders for each bit of `factor`.

    Parameters
    ----------
    factor : unsigned bits; the last one counts negative where `sign` is 1
    value : signed or unsigned
    sign : 0, 1, or a signal

    Each row adds to what lies above the lowest bit of the row before. Cut like that, no
    synthesiser makes one large tree of partial products of it.
    """
    signed_value = value.as_signed() if value.shape().signed else Cat(value, 0).as_signed()
    width = len(signed_value)
    low: list[Value] = []
    rest: Value = Const(0, 1).as_signed()
    for k in range(len(factor)):
        row = Signal(signed(width), name=f"{name}_row{k}")
        m.d.comb += row.eq(Mux(factor[k], signed_value, 0))
        total = Signal(signed(width + 1), name=f"{name}_sum{k}")
        if k < len(factor) - 1 or (isinstance(sign, int) and not sign):
            m.d.comb += total.eq(rest + row)
        elif isinstance(sign, int):
            m.d.comb += total.eq(rest - row)
        else:
            m.d.comb += total.eq(add_or_subtract(rest, row, sign))
        low.append(total[0])
        rest = total[1:].as_signed()
    return Cat(*low, rest).as_signed()


def product_of(m: Module, name: str, factor: Value, value: Value, sign: Value | int) -> Value:
    """``factor * value`` as :func:`multiply`, or left to the synthesiser where that is better."""
    if isinstance(sign, int) and min(len(factor), len(value)) >= WIDE:
        return (factor.as_signed() if sign else factor) * value
    return multiply(m, name, factor, value, sign)


def multiply_add(
    m: Module, name: str, addend: Value, factor: Value, value: Value, sign: Value | int
) -> Value:
    """``addend + factor * value`` with operands as in :func:`multiply`, addend signed."""
    if len(factor) > 1 or isinstance(sign, int):
        return addend + product_of(m, name, factor, value, sign)
    # One bit, one adder.
    row = Mux(factor, value, 0)
    row = row if row.shape().signed else Cat(row, 0).as_signed()
    return add_or_subtract(addend, row, sign)
