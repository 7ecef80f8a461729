"""The exactness of the table units: every style, width and pipeline form, in Icarus."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from genogate.hdl.piecewise_linear import PiecewiseLinear
from genogate.hdl.units.fixed_units import PipelinedUnit
from genogate.hdl.units.float32 import FloatUnit
from genogate.hdl.units.lut_unit import LoadableUnit, integer_unit
from genogate.model import integer
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS
from genogate.model.tables.optimal import Exact
from genogate.model.tables.points import SCALES, Points
from genogate.model.tables.table import LutTable, output_scale
from genogate.sim.rtl.units.bench import Case, Outcome, require_icarus, simulate_units
from genogate.sim.rtl.units.cases import (
    float_unit_case,
    loadable_case,
    multiply_add_case,
    select_case,
    unit_case,
    wide_case,
)
from genogate.synth.unit_verilog import emit_unit

SEED = 2026
#: Operands of every wide unit, of the FP32 unit, and triples of its arithmetic alone.
WIDE, SINGLES, TRIPLES = 100_000, 100_000, 1_000_000
#: Parts of the triples: as many simulations.
PARTS = 20
#: What a section's operands are.
OPERANDS = {
    "fixed": "all 256 codes, 8 functions at 7 scales",
    "fixed, pipelined": "all 256 codes, 0 to 3 stages",
    "select": "all 256 codes of every table, another one in each transfer, 0 to 3 stages",
    "loadable INT8": "all 256 codes of every table, 0 to 3 stages",
    "loadable INT16": "corners and random ones, 1 stage (8 entries) and 3 (16)",
    "loadable INT32": "corners and random ones, 1 stage (8 entries) and 3 (16)",
    "loadable FP32": "special, neighbours of break points, uniform bits",
    "FP32 multiply-add": "specials, uniform, cancelling, ties, subnormal, overflow; 0 to 2 stages",
}


def units(name: str, entries: int) -> list[integer.PiecewiseLinear]:
    """INT8 units of a known function's optimal shared table, one a scale 2**0 to 2**-6."""
    function = FUNCTIONS[name]
    points, form = Points.of(function), Format.of(function)
    best = Exact(points, form).best(entries)
    table = LutTable.from_cuts(points, form, best.cuts(points), best.slopes, best.intercepts)
    return [table.row(k).unit(8, 8, *output_scale(function, 8, k, 8)) for k in SCALES]


def _fixed(entries: int, seed: int) -> Iterator[Case]:
    for name in FUNCTIONS:
        for k, op in enumerate(units(name, entries)):
            module = f"{name}_{entries}_{k}"
            text = emit_unit(PiecewiseLinear(op, output="register"), module)
            yield unit_case(module, text, op, seed)


def _pipelined(entries: int, seed: int) -> Iterator[Case]:
    for number, name in enumerate(FUNCTIONS):
        op = units(name, entries)[number % len(SCALES)]
        for stages in range(4):
            module = f"{name}_{entries}_{stages}"
            yield unit_case(module, emit_unit(PipelinedUnit(op, stages), module), op, seed)


def _select(entries: int, seed: int) -> Iterator[Case]:
    for stages in range(4):
        every = [units(name, entries) for name in FUNCTIONS]
        for k, rows in enumerate(every):
            if k % 4 == stages:
                yield select_case(f"scales_{entries}_{k}", rows, stages, seed)
        mixed = [rows[3] for rows in every]
        yield select_case(f"functions_{entries}_{stages}", mixed, stages, seed)


def _loadable(entries: int, seed: int) -> Iterator[Case]:
    narrow = [op for name in FUNCTIONS for op in units(name, entries) if FUNCTIONS[name].width == 8]
    wide = [op for name in FUNCTIONS for op in units(name, entries) if FUNCTIONS[name].width > 8]
    for stages in range(4):
        unit = integer_unit(8, entries, stages)
        yield loadable_case(f"int8_{entries}_{stages}", unit, narrow, seed + stages)
        unit = LoadableUnit(entries=entries, slope_bits=10, intercept_bits=10, stages=stages)
        yield loadable_case(f"int8w_{entries}_{stages}", unit, wide, seed + stages)


def _wide(bits: int, entries: int, seed: int) -> Iterator[Case]:
    stages = 1 if entries == 8 else 3
    unit = integer_unit(bits, entries, stages)
    yield wide_case(f"int{bits}_{entries}_{stages}", unit, WIDE, 50, seed)


def _singles(entries: int, seed: int) -> Iterator[Case]:
    yield float_unit_case(f"fp32_{entries}", FloatUnit(entries, 2), SINGLES, 50, seed)


def _triples(part: int) -> Iterator[Case]:
    yield multiply_add_case("multiply_add", TRIPLES // PARTS, part % 3, SEED + part, 0.1)


def _jobs() -> list[tuple[str, Callable[[], Iterator[Case]]]]:
    """(section, cases) in the order of the report; each one simulation."""
    sections: dict[str, Callable[[int, int], Iterator[Case]]] = {
        "fixed": _fixed,
        "fixed, pipelined": _pipelined,
        "select": _select,
        "loadable INT8": _loadable,
        "loadable INT16": partial(_wide, 16),
        "loadable INT32": partial(_wide, 32),
        "loadable FP32": _singles,
    }
    jobs: list[tuple[str, Callable[[], Iterator[Case]]]] = [
        (section, partial(make, entries, SEED))
        for section, make in sections.items()
        for entries in (8, 16)
    ]
    return [*jobs, *(("FP32 multiply-add", partial(_triples, part)) for part in range(PARTS))]


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Run every section; rows of units, tables loaded, results compared, mismatches."""
    rows: dict[str, dict[str, Any]] = {}
    jobs = _jobs()
    with ThreadPoolExecutor(2) as pool:
        waiting = []
        for number, (section, make) in enumerate(jobs):
            # Emission talks to Yosys through the environment: one after the other.
            cases = list(make())
            waiting.append((number, section, cases, pool.submit(simulate_units, cases, None, SEED)))
            while len(waiting) > 2 or (waiting and number == len(jobs) - 1):
                done, name, held, future = waiting.pop(0)
                _count(rows, name, held, future.result())
                say(f"{done + 1} of {len(jobs)}: {name}, {rows[name]['mismatches']} mismatches")
    return {"seed": SEED, "rows": list(rows.values()), "simulator": require_icarus()}


def _count(
    rows: dict[str, dict[str, Any]],
    section: str,
    cases: Sequence[Case],
    outcomes: dict[str, Outcome],
) -> None:
    row = rows.setdefault(
        section,
        {
            "section": section,
            "units": 0,
            "loads": 0,
            "compared": 0,
            "mismatches": 0,
            "fewest_operands": None,
            "first": [],
            "stall": cases[0].stall,
        },
    )
    for case in cases:
        outcome = outcomes[case.name]
        row["units"] += 1
        row["loads"] += len(case.loads)
        row["compared"] += outcome.compared
        row["mismatches"] += len(outcome.mismatches)
        row["first"] = (row["first"] + outcome.mismatches)[:5]
        fewest = [n for n in (row["fewest_operands"], outcome.distinct) if n is not None]
        row["fewest_operands"] = min(fewest)


def render(data: dict[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    total = sum(row["compared"] for row in data["rows"])
    wrong = sum(row["mismatches"] for row in data["rows"])
    lines = [
        "## Exactness of the table units",
        "",
        f"The emitted Verilog of every unit in {data['simulator'].split(' (')[0]}, seed "
        f"{data['seed']}, held to the golden model (INT8: `golden.activation`; wider and FP32: "
        "`golden_lut`, Python integers and NumPy's float32), 8 and 16 entries. Both sides of each "
        "stream pause at random; tables are loaded while operands are offered. "
        f"{total:,} results, {wrong} mismatches. A NaN has to be 0x7fc00000 where NumPy gives "
        "any; all other singles are compared bit by bit.",
        "",
        "| unit | operands | units | tables loaded | results compared | mismatches |",
        "|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        lines.append(
            f"| {row['section']} | {OPERANDS[row['section']]} | {row['units']} | "
            f"{row['loads'] or '-'} | {row['compared']:,} | {row['mismatches']} |"
        )
    return [*lines, ""]
