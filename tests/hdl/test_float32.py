# amaranth: UnusedElaboratable=no
"""The FP32 unit in Amaranth's simulator: cases by hand; tests/sim/rtl has many more in Icarus."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.units.float32 import FloatUnit, MultiplyAdd
from genogate.model.errors import InputError
from genogate.sim.golden_lut import float_triples, float_unit, from_bits, multiply_add, same_floats
from genogate.sim.rtl.streams import run_streams

TINY, HUGE = np.float32(2.0**-149), np.finfo(np.float32).max
INF, NAN = np.float32(np.inf), np.float32(np.nan)
BELOW_ONE = np.float32(1 - 2.0**-24)


def settle(triples):
    """Bits out of the combinational multiply-add for bits [n, 3]."""
    unit, got = MultiplyAdd(0), []

    async def bench(ctx):
        for a, b, c in triples:
            ctx.set(unit.i.payload, {"a": int(a), "b": int(b), "c": int(c)})
            got.append(ctx.get(unit.o.payload))

    sim = Simulator(unit)
    sim.add_testbench(bench)
    sim.run()
    return np.array(got, np.int64)


def test_by_hand():
    cases = [
        (1.5, 2.0, 0.25, 3.25),
        (1 + 2.0**-23, 1 + 2.0**-23, 0, 1 + 2.0**-22),  # 2**-46 is far below a tie
        (1 + 2.0**-12, 1 + 2.0**-12, 0, 1 + 2.0**-11),  # a tie goes to the even neighbour
        (3 * 2.0**-12 + 2, 1 + 2.0**-12, 0, 2 + 5 * 2.0**-12 + 2.0**-22),  # a tie, upwards
        (1, 1, 2.0**-24, 1),  # a tie of the sum
        (1, 1 + 2.0**-23, 2.0**-24, 1 + 2.0**-22),  # the same from an odd number
        (1, 1, -(2.0**-25), 1),
        (1, 1, -(2.0**-24) - 2.0**-47, 1 - 2.0**-24),
        (0.1, 10, -1, 0),  # the product is rounded first: fused would leave 1.49e-8
        (TINY, 0.5, 0, 0),  # half of the least number: even is zero
        (TINY, 0.5 + 2.0**-20, 0, TINY),
        (TINY, 2.0**100, TINY, 2.0**-49 + 0.0),
        (2.0**-126, 0.5, 2.0**-127, 2.0**-126),  # subnormal plus subnormal is normal
        (2.0**-126, 1, -TINY, 2.0**-126 - float(TINY)),
        (HUGE, 1, 2.0**103, INF),  # a tie, whose carry goes into infinity
        (HUGE, 1, HUGE * 2.0**-25, HUGE),
        (HUGE, 2, -INF, NAN),
        (HUGE, 1, HUGE, INF),
        (HUGE, HUGE, 1, INF),
        (-HUGE, HUGE, 1, -INF),
        (INF, -2, HUGE, -INF),
        (INF, 0, 1, NAN),
        (0, -INF, INF, NAN),
        (NAN, 0, 0, NAN),
        (1, 1, NAN, NAN),
        (-0.0, 1, -0.0, -0.0),
        (-0.0, 1, 0.0, 0.0),
        (3, -2, 6, 0.0),
        (-1, TINY, TINY, 0.0),
    ]
    bits = [np.array(case[:3], np.float32).view(np.uint32) for case in cases]
    wanted = np.array([case[3] for case in cases], np.float32)
    got = settle(bits)
    for case, bits_out, want in zip(cases, got, wanted, strict=True):
        value = from_bits(bits_out)
        assert same_floats(value, want), f"{case}: {value} ({bits_out:#x})"
        assert not np.isnan(want) or bits_out == 0x7FC00000


def test_a_sample_of_all_kinds_equals_numpy():
    triples = float_triples(60_000, 3)[:, -120:]
    got = from_bits(settle(triples.T))
    assert same_floats(got, multiply_add(*map(from_bits, triples))).all()


def test_the_triples_hold_what_they_are_said_to():
    triples = float_triples(100_000, 5)
    assert triples.shape == (3, 100_000)
    a, b, c = (from_bits(row) for row in triples)
    least = np.finfo(np.float32).tiny
    with np.errstate(all="ignore"):
        product, total = a * b, multiply_add(a, b, c)
        exact = a.astype(np.float64) * b.astype(np.float64)
        unit = np.spacing(np.abs(product)).astype(np.float64)
        kinds = {
            "product ties": np.abs(exact - product) * 2 == unit,
            "cancelling": (np.abs(total) < np.abs(product) * 1e-5) & (total != 0),
            "subnormal products": (np.abs(product) < least) & (product != 0),
            "subnormal sums": (np.abs(total) < least) & (total != 0),
            "products over": np.isinf(product) & np.isfinite(a) & np.isfinite(b),
            "sums over": np.isinf(total) & np.isfinite(product) & np.isfinite(c),
            "NaN": np.isnan(total),
        }
    assert {kind: int(found.sum()) for kind, found in kinds.items() if found.sum() < 100} == {}


def test_zeros_are_equal_and_segments_begin_at_their_break_points():
    points = np.array([-np.inf, -2, -1e-45, 0, 1, np.inf], np.float32)
    slopes = np.zeros(7, np.float32)
    intercepts = np.arange(7, dtype=np.float32)
    unit = FloatUnit(8, 1)
    x = np.array([-INF, -HUGE, -2, -1.5, -TINY, -0.0, 0.0, TINY, 1, BELOW_ONE, HUGE, 5], np.float32)
    # 0 times infinity is no number.
    wanted = [NAN, 1, 2, 2, 3, 4, 4, 4, 5, 4, 5, 5]
    words = unit.words(points, slopes, intercepts)
    assert same_floats(float_unit(x, points, slopes, intercepts), np.array(wanted, "f4")).all()

    async def load(ctx):
        for k, word in enumerate(words):
            ctx.set(unit.load.payload, {"data": word, "last": k == len(words) - 1})
            ctx.set(unit.load.valid, 1)
            await ctx.tick().until(unit.load.ready)
        ctx.set(unit.load.valid, 0)

    got = run_streams(unit, {"i": x.view(np.uint32).tolist()}, {"o": len(x)}, extra=load)["o"]
    assert same_floats(from_bits(got), np.array(wanted, np.float32)).all()


@pytest.mark.parametrize("stages", range(3))
def test_latency_is_as_stated(stages):
    unit, seen = MultiplyAdd(stages), []

    async def bench(ctx):
        ctx.set(unit.i.valid, 1)
        ctx.set(unit.o.ready, 1)
        for _ in range(5):
            seen.append(ctx.get(unit.o.valid))
            await ctx.tick()

    sim = Simulator(unit)
    if stages:
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()
        assert seen == [int(k >= stages) for k in range(5)]


def test_impossible_tables_are_refused():
    unit = FloatUnit(2)
    with pytest.raises(InputError, match="entries: 3 segments, the unit holds 2"):
        unit.words([1, 2], [0, 0, 0], [0, 0, 0])
    with pytest.raises(InputError, match="breakpoint 0: nan is no number"):
        unit.words([np.nan], [0, 0], [0, 0])
    with pytest.raises(InputError, match=r"breakpoint 1 \(1.0\) is below breakpoint 0 \(2.0\)"):
        FloatUnit(3).words([2, 1], [0, 0, 0], [0, 0, 0])
    with pytest.raises(InputError, match="N - 1 breakpoints"):
        unit.words([], [0, 0], [0, 0])
    with pytest.raises(InputError, match="entries: 1 is not within 2 to 256"):
        FloatUnit(1)
    with pytest.raises(InputError, match="stages: 3 is not within 0 to 2"):
        MultiplyAdd(3)
