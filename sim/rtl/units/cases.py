"""Cases of units: operands that reach every code, and what the law says of them."""

from collections.abc import Sequence

import numpy as np

from ....hdl.arithmetic import signed_digits
from ....hdl.units.fixed_units import SelectUnit
from ....hdl.units.float32 import QUIET_NAN, FloatUnit, MultiplyAdd
from ....hdl.units.lut_unit import LoadableUnit
from ....model import integer
from ....model.aliases import Array
from ....model.integer import code_range, half
from ....synth.unit_verilog import emit_unit
from ... import golden
from ...golden_lut import (
    SPECIALS,
    Contents,
    float_triples,
    float_unit,
    from_bits,
    multiply_add,
    same_floats,
)
from .bench import STALL, Case, Load


def every_code(bits: int, rng: np.random.Generator) -> Array:
    """All signed codes of `bits` bits in random order."""
    low, high = code_range(bits)
    return rng.permutation(np.arange(low, high + 1))


def unit_case(
    name: str, verilog: str, op: integer.PiecewiseLinear, seed: int, stall: float = STALL
) -> Case:
    """All input codes of a fixed unit in random order, held to golden.activation."""
    codes = every_code(op.a_bits, np.random.default_rng(seed))
    return Case(
        name,
        verilog,
        op.a_bits,
        op.out_bits,
        codes.tolist(),
        golden.activation(op, codes),
        stall=stall,
    )


def select_case(
    name: str,
    units: Sequence[integer.PiecewiseLinear],
    stages: int,
    seed: int,
    stall: float = STALL,
    header_lines: Sequence[str] = (),
) -> Case:
    """Every code of every unit in a :class:`SelectUnit`, the select another in every transfer."""
    rng = np.random.default_rng(seed)
    unit = SelectUnit(units, stages)
    bits, order = units[0].a_bits, rng.permutation(len(units) << units[0].a_bits)
    select, codes = order >> bits, (order & ((1 << bits) - 1)) + code_range(bits)[0]
    expected = np.array([golden.activation(op, codes) for op in units])[
        select, np.arange(len(order))
    ]
    payloads = (codes & ((1 << bits) - 1)) | select << bits
    text = emit_unit(unit, name, header_lines)
    return Case(
        name,
        text,
        bits + unit.select_bits,
        units[0].out_bits,
        payloads.tolist(),
        expected,
        stall=stall,
    )


def loadable_case(
    name: str,
    unit: LoadableUnit,
    units: Sequence[integer.PiecewiseLinear],
    seed: int,
    stall: float = STALL,
    header_lines: Sequence[str] = (),
) -> Case:
    """Tables loaded one after the other under traffic; each sees every code at least once."""
    rng = np.random.default_rng(seed)
    spare = 1 << unit.in_bits - 2
    # A load begins within the spare operands, and then every code comes once.
    blocks = [
        np.concatenate([every_code(unit.in_bits, rng)[:spare], every_code(unit.in_bits, rng)])
        for _ in units
    ]
    codes = np.concatenate(blocks)
    loads = [
        Load(k * len(blocks[0]), unit.words(op), golden.activation(op, codes))
        for k, op in enumerate(units)
    ]
    text = emit_unit(unit, name, header_lines)
    return Case(
        name,
        text,
        unit.in_bits,
        unit.out_bits,
        codes.tolist(),
        loads=loads,
        word_bits=unit.word_bits,
        stall=stall,
    )


def few_digits(value: int, count: int, bits: int) -> int:
    """The greatest `count` signed digits of `value`, of which those of `bits` bits remain."""
    digits = sorted(signed_digits(abs(value)))[-count:]
    size = sum(sign << power for power, sign in digits)
    size >>= int(size > code_range(bits)[1])
    return -size if value < 0 else size


def random_contents(rng: np.random.Generator, unit: LoadableUnit) -> Contents:
    """A table that fits `unit`: corners among constants of all sizes, break points anywhere."""

    def sizes(bits: int, count: int) -> list[int]:
        low, high = code_range(bits)
        drawn = rng.integers(low, high, count, endpoint=True) >> rng.integers(0, bits, count)
        drawn[rng.random(count) < 0.1] = rng.choice([low, high, -1, 0, 1])
        return [int(v) for v in drawn]

    assert isinstance(unit.shift, int)
    assert isinstance(unit.align, int)
    low, high = code_range(unit.in_bits)
    points = np.sort(rng.integers(low, high, unit.entries - 1, endpoint=True)).tolist()
    slopes = sizes(unit.slope_bits, unit.entries)
    if unit.slope_digits:
        slopes = [few_digits(value, unit.slope_digits, unit.slope_bits) for value in slopes]
    # The unit adds its rounding constant to an intercept of finer units.
    top = code_range(unit.intercept_bits)[1] - (half(unit.shift) >> unit.align)
    intercepts = (min(value, top) for value in sizes(unit.intercept_bits, unit.entries))
    return Contents(
        tuple(points),
        tuple(slopes),
        tuple(intercepts),
        unit.align,
        unit.shift,
    )


def wide_case(
    name: str, unit: LoadableUnit, count: int, tables: int, seed: int, stall: float = STALL
) -> Case:
    """`count` operands of a unit too wide for all codes, `tables` random tables under traffic.

    Corners (least, greatest, around zero, around every break point) come first for each table, then
    numbers of all sizes.
    """
    rng = np.random.default_rng(seed)
    low, high = code_range(unit.in_bits)
    contents = [random_contents(rng, unit) for _ in range(tables)]
    share = -(-count // tables)
    blocks = []
    for table in contents:
        around = np.array([low, 0, high, *table.breakpoints], np.int64)
        corners = np.clip(np.concatenate([around - 1, around, around + 1]), low, high)
        # A load begins within the first few.
        n = share - len(corners) - 64
        sizes = rng.integers(low, high, 64 + n, endpoint=True) >> rng.integers(
            0, unit.in_bits, 64 + n
        )
        blocks.append(np.concatenate([sizes[:64], corners, sizes[64:]]))
    operands = np.concatenate(blocks)
    loads = [
        Load(k * share, unit.words(table), table(operands, unit.out_bits))
        for k, table in enumerate(contents)
    ]
    return Case(
        name,
        emit_unit(unit, name),
        unit.in_bits,
        unit.out_bits,
        operands.tolist(),
        loads=loads,
        word_bits=unit.word_bits,
        stall=stall,
    )


def same_singles(got: Array, expected: Array) -> Array:
    """Bits agree; any NaN of NumPy's wants this unit's own."""
    nan = np.isnan(from_bits(expected))
    return np.where(
        nan, got == QUIET_NAN, same_floats(from_bits(got & 0xFFFFFFFF), from_bits(expected))
    )


def multiply_add_case(name: str, count: int, stages: int, seed: int, stall: float = STALL) -> Case:
    """`count` triples of singles (:func:`genogate.sim.golden_lut.float_triples`), the FP32
    arithmetic alone."""
    a, b, c = triples = float_triples(count, seed)
    expected = multiply_add(from_bits(a), from_bits(b), from_bits(c)).view(np.uint32)
    payloads = [x | y << 32 | z << 64 for x, y, z in triples.T.tolist()]
    return Case(
        name,
        emit_unit(MultiplyAdd(stages), name),
        96,
        32,
        payloads,
        expected.astype(np.int64),
        stall=stall,
        same=same_singles,
    )


def float_unit_case(
    name: str, unit: FloatUnit, count: int, tables: int, seed: int, stall: float = STALL
) -> Case:
    """`count` singles through a loadable FP32 unit, `tables` random tables under traffic.

    Break points are of all sizes, both zeros, subnormals and infinities among them; operands are
    all special ones, all break points and their neighbours, uniform bits, and ordinary numbers.
    """
    rng = np.random.default_rng(seed)
    share, cases, blocks = -(-count // tables), [], []
    for number in range(tables):
        n = unit.entries - (number % 2)
        pool = np.concatenate([from_bits(SPECIALS), rng.normal(0, 4, 40).astype(np.float32)])
        points = np.sort(rng.choice(pool[~np.isnan(pool)], n - 1, replace=False))
        lines = rng.normal(0, 2, (2, n)).astype(np.float32)
        cases.append((points, *lines))
        bits = points.view(np.uint32).astype(np.int64)
        corners = np.concatenate([SPECIALS, bits - 1, bits, bits + 1]) & 0xFFFFFFFF
        n = share - len(corners)
        uniform = rng.integers(0, 1 << 32, n)
        ordinary = rng.normal(0, 4, n).astype(np.float32).view(np.uint32)
        mixed = np.where(rng.random(n) < 0.5, uniform, ordinary)
        blocks.append(np.concatenate([mixed[:64], corners, mixed[64:]]))
    operands = np.concatenate(blocks)
    loads = [
        Load(
            k * share,
            unit.words(*table),
            float_unit(from_bits(operands), *table).view(np.uint32).astype(np.int64),
        )
        for k, table in enumerate(cases)
    ]
    return Case(
        name,
        emit_unit(unit, name),
        32,
        32,
        operands.tolist(),
        loads=loads,
        word_bits=32,
        stall=stall,
        same=same_singles,
    )
