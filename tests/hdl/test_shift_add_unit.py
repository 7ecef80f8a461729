# amaranth: UnusedElaboratable=no
"""Units without a multiplier: every form against golden on every code, and by hand."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.units.shift_add_unit import (
    MAX_DIGITS,
    ShiftAddUnit,
    build,
    digits_of,
    forms,
    rough,
)
from genogate.model import integer
from genogate.model.errors import InputError
from genogate.model.integer import code_range, half
from genogate.sim import golden
from genogate.sim.rtl.streams import run_operator

FEW = [s for s in range(-96, 97) if len(digits_of(s)) <= MAX_DIGITS]


def unit(bits, fraction, zero, points, slopes, folded, out_bits=None):
    """A unit of intercepts with rounding and zero point in them."""
    fold = half(fraction) + (zero << fraction)
    return integer.PiecewiseLinear(
        a_bits=bits,
        out_bits=out_bits or bits,
        fraction_bits=fraction,
        zero_point=zero,
        breakpoints=np.array(points, np.int16),
        slopes=np.array(slopes, np.int32),
        intercepts=np.array(folded, np.int64) - fold,
    )


def random_unit(rng, kind):
    """Any law, an odd one, or one that is even but for a ramp."""
    bits = int(rng.choice([3, 5, 8]))
    fraction, top = int(rng.integers(0, 6)), 1 << (bits - 1)
    count = int(rng.integers(1, min(6, top)))
    slopes = rng.choice(FEW, count)
    folded = rng.integers(-(top << fraction), top << fraction, count)
    if kind == "any":
        points = np.sort(rng.choice(np.arange(-top, top), count - 1, replace=False))
        zero = int(rng.integers(-5, 6))
        return unit(bits, fraction, zero, points, slopes, folded, int(rng.integers(2, 9)))
    points = np.sort(rng.choice(np.arange(1, top), count - 1, replace=False))
    if kind == "odd":
        left, right, below = slopes, slopes, slopes - 1 - folded
    else:
        slopes = rng.choice([-1, 0, 1], count)
        folded = rng.integers(-(1 << fraction), 1 << fraction, count)
        left, right, below = -slopes, slopes + (1 << fraction), folded - slopes
    every = np.concatenate([-points[::-1], [0], points])
    return unit(
        bits,
        fraction,
        0,
        every,
        np.concatenate([left[::-1], right]),
        np.concatenate([below[::-1], folded]),
    )


def evaluate_wire(dut, codes):
    """Settled outputs of a combinational component."""
    got = []

    async def bench(ctx):
        for code in codes:
            ctx.set(dut.i.payload, int(code))
            got.append(ctx.get(dut.o.payload))

    sim = Simulator(dut)
    sim.add_testbench(bench)
    sim.run()
    return np.array(got)


def every_code(op):
    low, high = code_range(op.a_bits)
    return np.arange(low, high + 1)


@pytest.mark.parametrize("kind", ["any", "odd", "even"])
@pytest.mark.parametrize("seed", range(5))
def test_every_form_equals_golden_on_every_code(kind, seed):
    op = random_unit(np.random.default_rng([seed, len(kind), 5]), kind)
    codes = every_code(op)
    wanted = golden.activation(op, codes)
    found = forms(op)
    assert {"table", "multiplier", "shift-add", "lines"} <= set(found)
    for form in found:
        got = evaluate_wire(build(op, form), codes)
        np.testing.assert_array_equal(got, wanted, err_msg=f"{form} of {op}")


def test_symmetry_is_seen():
    rng = np.random.default_rng(3)
    assert {"odd diagram", "odd shift-add", "odd lines"} <= set(forms(random_unit(rng, "odd")))
    # |i| of 8 bits and half a code: odd it is not, and even without a ramp is no form.
    relu = unit(8, 0, 0, [0], [0, 1], [0, 0])
    assert "even 0" in forms(relu)
    assert "mirrored 0" in forms(relu)
    assert not any(form.startswith("odd") for form in forms(relu))


#: 4-bit codes: the double up to a size of 6; and ``max(i, 0)``, less 1 at 1 and -1.
OPPOSITE = unit(4, 0, 0, [-7, -2, 3], [0, 0, 2, 0], [-8, -6, 0, 6], out_bits=4)
DIP = unit(4, 0, 0, [-1, 0, 2], [0, 0, 0, 1], [0, -1, 0, 0], out_bits=4)


def test_halves_about_0():
    for op, form in ((OPPOSITE, "negated"), (DIP, "mirrored 0"), (DIP, "mirrored 0 less")):
        codes = every_code(op)
        law = golden.activation(op, codes)
        assert form in forms(op)
        for each in forms(op):
            np.testing.assert_array_equal(evaluate_wire(build(op, each), codes), law, err_msg=each)
    np.testing.assert_array_equal(
        golden.activation(OPPOSITE, every_code(OPPOSITE)),
        [-8, -6, -6, -6, -6, -6, -4, -2, 0, 2, 4, 6, 6, 6, 6, 6],
    )
    # A lowest code that gives something else, and a size of 0 at another code than 0.
    for points, slopes, intercepts in (
        ([-2, 3], [0, 2, 0], [-6, 0, 6]),
        ([-7, -1, 2], [0, 0, 0, 0], [-8, -6, 0, 6]),
    ):
        op = unit(4, 0, 0, points, slopes, intercepts, out_bits=4)
        assert "negated" not in forms(op)
        with pytest.raises(InputError, match="'negated': its codes at i and -i are not opposite"):
            ShiftAddUnit(op, "negated")


def test_digits():  # worked by hand
    assert digits_of(0) == []
    assert digits_of(-4) == [(2, True)]
    assert digits_of(7) == [(3, False), (0, True)]
    assert digits_of(-3) == [(2, True), (0, False)]
    assert all(
        sum((-1 if minus else 1) << p for p, minus in digits_of(s)) == s for s in range(-300, 300)
    )


def test_law_by_hand():
    # o = (3 i + 4) >> 2 below 2, then -i, saturated to 3 bits.
    op = unit(4, 2, 0, [2], [3, -4], [4, 0], out_bits=3)
    wanted = [max(-4, (3 * i + 4) >> 2) if i < 2 else max(-4, -i) for i in range(-8, 8)]
    for form in ("shift-add", "lines"):
        assert evaluate_wire(ShiftAddUnit(op, form), range(-8, 8)).tolist() == wanted


@pytest.mark.parametrize("output", ["wire", "register", "hold"])
@pytest.mark.parametrize("form", ["shift-add", "lines", "odd shift-add", "odd diagram"])
def test_streams_keep_order_under_stalls(form, output):
    rng = np.random.default_rng(9)
    op = random_unit(rng, "odd")
    codes = rng.choice(every_code(op), 60)
    got = run_operator(ShiftAddUnit(op, form, output), {"i": codes}, pause=0.4, seed=2)
    np.testing.assert_array_equal(got, golden.activation(op, codes))


def test_rough_counts():
    # One line of slope 1 and no intercept: an adder that Yosys dissolves, nothing to choose.
    line = unit(8, 0, 0, [], [1], [0])
    assert rough(line, "shift-add").nodes == 0
    relu = unit(8, 0, 0, [0], [0, 1], [0, 0])
    assert rough(relu, "even 0").nodes == 0
    two = unit(8, 2, 0, [16], [3, 5], [0, 1])
    assert rough(two, "shift-add").adders > rough(line, "shift-add").adders
    assert rough(two, "multiplier").adders == 3 * 8


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("fast", "form 'fast': not known; choose one of forms() of this unit"),
        ("table", "form 'table': not known"),
        ("odd lines", "form 'odd lines': the unit is not odd"),
        ("even 0", "form 'even 0': what the ramp leaves is not even"),
        ("mirrored 0", "form 'mirrored 0': what the ramp leaves is not equal at i and -i"),
        ("ramp 9", "form 'ramp 9': a ramp's shift is within -2 to 3"),
        ("ramp -2 less", "form 'ramp -2 less': the ramp is too small at some codes"),
        ("ramp 0 more", "form 'ramp 0 more': not known"),
        ("", "form '': not known"),
    ],
)
def test_forms_that_do_not_fit(form, line):
    with pytest.raises(InputError) as error:
        ShiftAddUnit(unit(8, 2, 0, [16], [3, 5], [0, 7]), form)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_slopes_of_many_digits():
    op = unit(8, 5, 0, [16], [21, 5], [0, 7])
    assert not {"shift-add", "lines"} & set(forms(op))
    with pytest.raises(InputError, match="a slope has more than 2 signed digits"):
        ShiftAddUnit(op, "shift-add")
