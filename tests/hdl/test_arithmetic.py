"""Constant arithmetic, counters and serial steps, each on its own."""

from itertools import pairwise

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator
from combinational import outputs
from genogate.hdl.arithmetic import (
    beyond,
    multiply,
    product_interval,
    saturate,
    signed_digits,
    times,
    trailing_zeros,
)
from genogate.hdl.gru.counters import Counter, UnitCounter, one_lane
from genogate.hdl.serial import Steps


@pytest.mark.parametrize("value", [1, 7, 11, 181, 255, 682, 4095])
def test_signed_digits_are_canonical(value):
    digits = signed_digits(value)
    assert sum(sign << power for power, sign in digits) == value
    powers = [power for power, _ in digits]
    assert all(b - a >= 2 for a, b in pairwise(powers))


def test_no_digits_of_zero_and_trailing_zeros():
    assert signed_digits(0) == []
    assert [trailing_zeros(v) for v in (1, 2, 12, 64)] == [0, 1, 2, 6]


@pytest.mark.parametrize("constant", [0, 1, 6, 11, 181])
def test_times_a_constant(constant):
    m, x, o = Module(), Signal(signed(6)), Signal(signed(18))
    m.d.comb += o.eq(times(x, constant))
    rows = [(v,) for v in range(-32, 32)]
    assert outputs(m, [x], rows, o) == [v * constant for (v,) in rows]


@pytest.mark.parametrize("sign", [0, 1])
def test_multiply_takes_the_last_digit_as_its_sign(sign):
    m, factor, x, o = Module(), Signal(3), Signal(signed(5)), Signal(signed(10))
    m.d.comb += o.eq(multiply(m, "product", factor, x, sign))
    rows = [(f, v) for f in range(8) for v in range(-16, 16)]
    want = [(f - 8 * (sign and f >= 4)) * v for f, v in rows]
    assert outputs(m, [factor, x], rows, o) == want


@pytest.mark.parametrize("bounds", [(-40, 39), (-8, 39), (-40, 7), (-8, 7)])
def test_saturation_costs_only_the_end_that_can_be_passed(bounds):
    low, high = bounds
    m, x, o = Module(), Signal(signed(7)), Signal(signed(4))
    m.d.comb += o.eq(saturate(x, low, high, 4))
    rows = [(v,) for v in range(low, high + 1)]
    assert outputs(m, [x], rows, o) == np.clip([v for (v,) in rows], -8, 7).tolist()
    assert beyond(low, high, 4) == (low < -8, high > 7)


def test_an_interval_of_products_holds_the_corners():
    assert product_interval((-3, 5), (-7, 2)) == (-35, 21)


def clocked(m, *ports, cycles):
    """The values of `ports` in each of so many cycles."""
    rows = []

    async def bench(ctx):
        for _ in range(cycles):
            rows.append(tuple(ctx.get(port) for port in ports))
            await ctx.tick()

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return rows


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_counter_starts_again_after_its_last_value(count):
    m, always = Module(), Signal(init=1)
    counter = Counter(m, "counter", count, always)
    got = clocked(m, counter.value, counter.last, cycles=2 * count + 1)
    assert got == [(k % count, int(k % count == count - 1)) for k in range(2 * count + 1)]


@pytest.mark.parametrize(("count", "lanes"), [(5, 1), (8, 4), (7, 3), (3, 5), (6, 3)])
def test_codes_are_counted_by_word_and_lane(count, lanes):
    m, always = Module(), Signal(init=1)
    units = UnitCounter(m, "unit", count, lanes, always)
    word, lane, hot = Signal(8), Signal(8), Signal(lanes)
    m.d.comb += [word.eq(units.word), lane.eq(units.lane), hot.eq(one_lane(units.lane, lanes))]
    got = clocked(m, word, lane, hot, units.last, cycles=2 * count)
    places = [divmod(k % count, lanes) for k in range(2 * count)]
    lasts = [int(k % count == count - 1) for k in range(2 * count)]
    assert got == [(w, n, 1 << n, last) for (w, n), last in zip(places, lasts, strict=True)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_serial_steps_hand_out_digits_then_wait(count):
    m, valid, ready = Module(), Signal(init=1), Signal()
    steps, value = (
        Steps(m, count, valid, ready),
        Signal(2 * count, init=0b1001110110 >> 10 - 2 * count),
    )
    digit, done = steps.digit(m, value, 2), Signal()
    m.d.comb += done.eq(steps.done)
    got = clocked(m, digit, steps.running, done, cycles=count + 3)
    assert [row[1:] for row in got] == [(1, 0)] * count + [(0, 1)] * 3
    digits = [row[0] for row in got[:count]]
    assert sum(d << 2 * k for k, d in enumerate(digits)) == value.init
