# amaranth: UnusedElaboratable=no
"""Loadable, selecting and pipelined table units: their law, what fits, loads, latency."""

import re

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.units.fixed_units import PipelinedUnit, SelectUnit
from genogate.hdl.units.lut_unit import LoadableUnit, integer_unit
from genogate.model import integer
from genogate.model.errors import InputError
from genogate.model.integer import code_range
from genogate.model.tables.segments import Segments
from genogate.sim import golden
from genogate.sim.golden_lut import Contents
from genogate.sim.rtl.streams import run_operator, run_streams
from genogate.synth.unit_verilog import emit_unit

CODES = np.arange(-128, 128)


def random_rows(seed, entries=8, width=8):
    """One table with constants of 6 fraction bits at the scales 2**0 to 2**-6."""
    rng = np.random.default_rng(seed)
    low, high = code_range(width)
    slopes, intercepts = rng.integers(low, high, (2, entries), endpoint=True)
    rows = []
    for k in range(7):
        points = np.sort(rng.integers(-128, 128, entries - 1, endpoint=True))
        rows.append(Segments(k, points, slopes, [6] * entries, intercepts, [6] * entries))
    return rows


def random_op(seed, entries=8, **changes):
    """A unit whose codes in and out share the scale 2**-4."""
    row = random_rows(seed, entries)[4]
    op = row.unit(8, 8, 4, int(np.random.default_rng(seed).integers(-128, 128)))
    return integer.PiecewiseLinear(**{**op.__dict__, **changes})


def test_the_law_by_hand():
    table = Contents((-1, 2), (1, 2, -3), (1, 0, 5), align=1, shift=1, zero_point=10)
    # (q + 2 + 1) >> 1, from -1 on (2 q + 1) >> 1, from 2 on (-3 q + 10 + 1) >> 1; plus 10
    assert table([-3, -2, -1, 0, 1, 2, 3], 8).tolist() == [10, 10, 9, 10, 11, 12, 11]
    assert table([-128, 127], 5).tolist() == [-16, -16]
    assert Contents((), (3,), (-1,), 2, -2, 1)([-1, 5], 8).tolist() == [-27, 45]


@pytest.mark.parametrize("seed", range(6))
def test_every_scale_of_a_table_fits_exactly(seed):
    unit, rows = integer_unit(8), random_rows(seed)
    for row in rows:
        for out_scale in range(row.scale, row.scale + 7):
            op = row.unit(8, 8, out_scale, 5 * seed - 11)
            wanted = golden.activation(op, CODES)
            np.testing.assert_array_equal(unit.fit(op)(CODES, 8), wanted)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_scale_out_needs_no_shift_register(seed):
    short = LoadableUnit(shift=6, align=(0, 6), zero_point=False)
    long = LoadableUnit(shift=6, align=0, intercept_bits=15, zero_point=False)
    for row in random_rows(seed):
        op = row.unit(8, 8, row.scale)
        for unit in (short, long):
            np.testing.assert_array_equal(unit.fit(op)(CODES, 8), golden.activation(op, CODES))
    # A zero point goes into the long intercepts.
    op = row.unit(8, 8, row.scale, -128)
    np.testing.assert_array_equal(long.fit(op)(CODES, 8), golden.activation(op, CODES))


@pytest.mark.parametrize("digits", [1, 2])
def test_slopes_of_few_powers_of_two_need_no_multiplier(digits):
    unit = LoadableUnit(slope_digits=digits)
    slopes = (64, -8, 1, -128, 0, 2) if digits == 1 else (96, -65, 127, 0, -12, 3)
    table = Contents((-90, -20, 0, 33, 70), slopes, (5, -9, 0, 1, 127, -128), 2, 6)
    got = run_streams(
        unit,
        {"i": CODES},
        {"o": 256},
        pause=0.3,
        seed=digits,
        extra=loaded(unit, unit.words(table)),
    )["o"]
    np.testing.assert_array_equal(got, table(CODES, 8))
    text = emit_unit(unit, "unit", [])
    assert not re.search(r" \* ", text)
    assert re.search(r" \* ", emit_unit(LoadableUnit(), "unit", []))


def test_a_slope_of_more_powers_than_the_unit_adds_is_refused():
    table = Contents((0,), (64, 85), (0, 0), 0, 6)
    for digits, what in ((1, "a power"), (2, "a sum of two powers")):
        with pytest.raises(InputError, match=rf"slope 1 \(85\) is not {what} of two"):
            LoadableUnit(slope_digits=digits).words(table)
    with pytest.raises(InputError, match="slope_digits: 3 is not within 0 to 2"):
        LoadableUnit(slope_digits=3)


def loaded(unit, words):
    """A bench that sends `words` at once."""

    async def bench(ctx):
        for k, word in enumerate(words):
            ctx.set(unit.load.payload, {"data": word, "last": k == len(words) - 1})
            ctx.set(unit.load.valid, 1)
            await ctx.tick().until(unit.load.ready)
        ctx.set(unit.load.valid, 0)

    return bench


@pytest.mark.parametrize(
    ("settings", "stages"),
    [
        ({}, 1),
        ({}, 3),
        ({"shift": 6, "align": (0, 6), "zero_point": False}, 2),
        ({"shift": (2, 6), "align": 4}, 1),
        ({"shift": 6, "align": 4, "intercept_bits": 12, "zero_point": False}, 2),
    ],
)
def test_operands_wait_for_a_load_that_comes_with_them(settings, stages):
    unit = LoadableUnit(stages=stages, **settings)
    op = random_rows(3, 6)[4].unit(8, 8, 4, 9 if unit.zero_point else 0)
    got = run_streams(
        unit, {"i": CODES}, {"o": 256}, pause=0.3, seed=stages, extra=loaded(unit, unit.words(op))
    )["o"]
    np.testing.assert_array_equal(got, golden.activation(op, CODES))


@pytest.mark.parametrize(
    "make",
    [
        lambda stages: integer_unit(8, 4, stages),
        lambda stages: PipelinedUnit(random_op(1), stages),
        lambda stages: SelectUnit([random_op(1), random_op(2)], stages),
    ],
)
@pytest.mark.parametrize("stages", range(4))
def test_latency_is_as_stated_and_one_result_a_cycle(make, stages):
    unit = make(stages)
    seen = []

    async def bench(ctx):
        ctx.set(unit.i.valid, 1)
        ctx.set(unit.o.ready, 1)
        for _ in range(8):
            seen.append((ctx.get(unit.o.valid), ctx.get(unit.i.ready)))
            await ctx.tick()

    sim = Simulator(unit)
    if stages or isinstance(unit, LoadableUnit):
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()
        assert seen == [(int(k >= stages), 1) for k in range(8)]


def test_a_load_waits_for_operands_inside_and_blocks_those_outside():
    unit = integer_unit(8, 2, stages=2)
    facts = []

    async def bench(ctx):
        async def step():
            ports = unit.i.ready, unit.load.ready, unit.o.valid
            facts.append(tuple(ctx.get(port) for port in ports))
            await ctx.tick()

        ctx.set(unit.i.valid, 1)
        await step()  # one operand goes in
        ctx.set(unit.load.valid, 1)
        await step()  # it is between selection and multiplier: the word waits, and so does `i`
        await step()  # now it is at the output, which nobody takes
        ctx.set(unit.load.valid, 0)
        await step()  # between two words nothing is taken either

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert facts == [(1, 1, 0), (0, 0, 0), (0, 1, 1), (0, 1, 1)]


def test_without_registers_a_load_waits_for_the_operand_that_is_shown():
    unit = integer_unit(8, 2, stages=0)
    facts = []

    async def bench(ctx):
        ctx.set(unit.load.valid, 1)
        for valid, ready in ((1, 0), (1, 1), (0, 0), (1, 1)):
            ctx.set(unit.i.valid, valid)
            ctx.set(unit.o.ready, ready)
            facts.append((ctx.get(unit.load.ready), ctx.get(unit.o.valid), ctx.get(unit.i.ready)))
            await ctx.tick()

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    # Held, then taken together with the operand; from then on operands are kept out.
    assert facts == [(0, 1, 0), (1, 1, 1), (1, 0, 0), (1, 0, 0)]


def test_words_are_one_a_register_the_widest_last():
    unit = LoadableUnit(8, 8, 3, slope_bits=6, intercept_bits=12, shift=(0, 3), align=0)
    op = integer.PiecewiseLinear(8, 8, 2, 7, np.array([-5]), np.array([-2, 3]), np.array([100, -1]))
    names = [field.name for field in reversed(unit.fields)]
    assert dict(zip(names, unit.words(op), strict=True)) == {
        "intercept0": 100,
        "intercept1": 4095,
        "intercept2": 4095,
        "point0": 251,
        "point1": 127,
        "slope0": 62,
        "slope1": 3,
        "slope2": 3,
        "zero_point": 7,
        "shift": 2,
    }
    widths = [field.width for field in unit.fields]
    assert widths == sorted(widths, reverse=True)
    assert unit.word_bits == 12


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_select_past_the_last_unit_means_the_last(stages):
    ops = [random_op(seed, entries) for seed, entries in ((4, 8), (5, 3), (6, 1))]
    unit = SelectUnit(ops, stages)
    assert unit.select_bits == 2
    select = np.random.default_rng(1).integers(0, 4, 256)
    payloads = [{"code": int(q), "select": int(k)} for q, k in zip(CODES, select, strict=True)]
    got = run_streams(unit, {"i": payloads}, {"o": 256}, pause=0.3, seed=stages)["o"]
    wanted = [
        int(golden.activation(ops[min(k, 2)], np.array([q]))[0])
        for q, k in zip(CODES, select, strict=True)
    ]
    assert got == wanted


@pytest.mark.parametrize("stages", range(4))
@pytest.mark.parametrize("seed", range(3))
def test_pipelined_constants_equal_golden(seed, stages):
    op = random_op(10 + seed, [8, 1, 16][seed], **({"slopes": np.array([0])} if seed == 1 else {}))
    got = run_operator(PipelinedUnit(op, stages), {"i": CODES}, pause=0.3 * (seed > 0), seed=seed)
    np.testing.assert_array_equal(got, golden.activation(op, CODES))


def test_the_head_describes_ports_and_load_order():
    text = emit_unit(LoadableUnit(entries=2, stages=2), "unit_a", ["gelu at scale 2^-3"])
    head = text.split("module ")[0]
    facts = (
        "gelu at scale 2^-3",
        "i (in)       [7:0] (signed)",
        "load (in)    [7:0] data, [8:8]",
        "Latency 2 cycles",
        "A load is 8 words",
        "shift[3] align[3] zero_point",
    )
    for fact in facts:
        assert fact in head
    assert "module unit_a(" in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"slopes": [1, 300]},
            r"^slope 1 \(300\) is not within -128 to 127: the unit holds 8 bits",
        ),
        ({"intercepts": [0, 1001]}, r"^intercept 1 \(1001\) is not within -128 to 127"),
        ({"fraction_bits": 9}, r"^slope 0 \(1\) has 9 fraction bits, the unit at most 6"),
        ({"zero_point": 200}, r"^zero_point 0 \(200\) is not within -128 to 127"),
        ({"a_bits": 7}, r"^input codes: 7 bits, the unit's have 8"),
        ({"out_bits": 5}, r"^output codes: 5 bits, the unit's have 8"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(change, text):
    fields = {
        "a_bits": 8,
        "out_bits": 8,
        "fraction_bits": 6,
        "zero_point": 0,
        "breakpoints": [3],
        "slopes": [1, 2],
        "intercepts": [0, 1],
        **change,
    }
    arrays = ("breakpoints", "slopes", "intercepts")
    op = integer.PiecewiseLinear(
        **{k: np.array(v) if k in arrays else v for k, v in fields.items()}
    )
    with pytest.raises(InputError, match=text):
        integer_unit(8, 4).words(op)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (Contents((1, 2), (0, 0, 0), (0, 0, 0), 0, 6), "entries: 3 segments, the unit holds 2"),
        (Contents((200,), (0, 0), (0, 0), 0, 6), r"breakpoint 0 \(200\) is not within -128 to 127"),
        (Contents((), (0, 0), (0, 0), 0, 6), "N - 1 breakpoints"),
    ],
)
def test_impossible_contents_are_refused(table, text):
    with pytest.raises(InputError, match=text):
        integer_unit(8, 2).words(table)


def test_unsorted_breakpoints_are_refused():
    with pytest.raises(InputError, match=r"breakpoint 1 \(3\) is below breakpoint 0 \(4\)"):
        integer_unit(8, 3).words(Contents((4, 3), (0, 0, 0), (0, 0, 0), 0, 6))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LoadableUnit(entries=1), "entries: 1 is not within 2 to 256"),
        (lambda: LoadableUnit(in_bits=65), "in_bits: 65 is not within 2 to 64"),
        (lambda: LoadableUnit(shift=-1), "shift: -1 is not within 0 to 16"),
        (lambda: LoadableUnit(shift=17), "shift: 17 is not within 0 to 16"),
        (lambda: LoadableUnit(align=(0, 0)), "align: 0 is not within 1 to 64"),
        (lambda: LoadableUnit(stages=4), "stages: 4 is not within 0 to 3"),
        (lambda: SelectUnit([]), "units: 0 is not within 1 to 64"),
        (
            lambda: SelectUnit([random_op(1), random_op(1, out_bits=6)]),
            "unit 1: codes of 8 and 6 bits",
        ),
        (lambda: emit_unit(PipelinedUnit(random_op(1)), "a b"), "module name 'a b'"),
    ],
)
def test_impossible_units_are_refused(make, text):
    with pytest.raises(InputError, match=text):
        make()
