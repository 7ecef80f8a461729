# amaranth: UnusedElaboratable=no
"""Emitted table units in Icarus: every style and pipeline form, and faults that the bench finds."""

import numpy as np
import pytest
from genogate.hdl.units.fixed_units import PipelinedUnit
from genogate.hdl.units.float32 import FloatUnit
from genogate.hdl.units.lut_unit import LoadableUnit, integer_unit
from genogate.model.errors import InputError
from genogate.model.tables.segments import Segments
from genogate.sim import golden
from genogate.sim.rtl.units.bench import Case, simulate_units
from genogate.sim.rtl.units.cases import (
    float_unit_case,
    loadable_case,
    multiply_add_case,
    select_case,
    unit_case,
    wide_case,
)
from genogate.sim.rtl.units.verification import summary, verify_table
from genogate.synth.unit_verilog import emit_unit

TRIPLES = 8_000


def random_units(seed, entries=8, count=7):
    """Units at the scales 2**0 to 2**-6, outputs at several scales, zero points anywhere."""
    rng = np.random.default_rng(seed)
    slopes, intercepts = rng.integers(-128, 128, (2, entries))
    found = []
    for k in range(count):
        points = np.sort(rng.integers(-128, 128, entries - 1, endpoint=True))
        row = Segments(k, points, slopes, [6] * entries, intercepts, [6] * entries)
        found.append(row.unit(8, 8, k + k % 3, int(rng.integers(-128, 128))))
    return found


def test_every_scale_of_a_table_in_one_run(tmp_path):
    units = {f"scale_{k}": op for k, op in enumerate(random_units(1))}
    result = verify_table(units, tmp_path, seed=5)
    assert (result["units"], result["codes"], result["mismatches"]) == (7, 7 * 256, 0)
    assert result["seed"] == 5
    assert "Icarus" in result["simulator"]
    assert (tmp_path / "scale_3.v").exists()


def test_all_styles_over_all_codes():
    ops = random_units(2)
    cases = []
    for stages in range(4):
        op = ops[stages]
        name = f"pipelined_{stages}"
        cases.append(unit_case(name, emit_unit(PipelinedUnit(op, stages), name), op, 3, stall=0))
        cases.append(select_case(f"select_{stages}", ops[stages : stages + 3], stages, 4))
        unit = integer_unit(8, 8, stages)
        cases.append(loadable_case(f"loadable_{stages}", unit, ops[stages : stages + 4], 5))
    outcomes = simulate_units(cases)
    assert [line for outcome in outcomes.values() for line in outcome.mismatches] == []
    for stages in range(4):
        # Without stalls: one operand a cycle, and the latency once.
        assert outcomes[f"pipelined_{stages}"].cycles == 256 + stages
        assert outcomes[f"loadable_{stages}"].distinct == 256
    assert outcomes["loadable_0"].compared == 4 * (64 + 256)


def test_units_without_a_multiplier_over_random_tables():
    """12 bits in, and tables of every power and sign, in each place of the pipeline."""
    units = [
        LoadableUnit(
            12, 10, 5, 9, 14, shift=7, align=3, zero_point=False, stages=k, slope_digits=1 + k % 2
        )
        for k in range(4)
    ]
    cases = [wide_case(f"shifts{k}", unit, 3000, 5, k) for k, unit in enumerate(units)]
    assert summary(simulate_units(cases))["mismatches"] == 0


def test_wide_and_odd_widths():
    odd = LoadableUnit(12, 10, 5, 9, 14, shift=7, align=3, zero_point=False, stages=2)
    cases = [
        wide_case("int16", integer_unit(16, 8, 1), 3000, 5, 1),
        wide_case("int32", integer_unit(32, 8, 3), 3000, 5, 2),
        wide_case("odd", odd, 3000, 5, 3),
    ]
    assert summary(simulate_units(cases))["mismatches"] == 0


def test_singles():
    cases = [
        float_unit_case("fp32", FloatUnit(8, 2), 1000, 5, 1),
        multiply_add_case("multiply_add", TRIPLES, 2, 1, stall=0.05),
    ]
    outcomes = simulate_units(cases)
    assert [line for outcome in outcomes.values() for line in outcome.mismatches] == []
    assert outcomes["multiply_add"].compared == TRIPLES


GOOD = """
module unit(clk, rst, i__payload, i__valid, i__ready, o__payload, o__valid, o__ready);
  input clk, rst, i__valid, o__ready; input signed [7:0] i__payload;
  output i__ready, o__valid; output signed [7:0] o__payload;
  reg full = 0; reg signed [7:0] code = 0;
  assign i__ready = !full || o__ready, o__valid = full, o__payload = code;
  always @(posedge clk) if (rst) full <= 0; else if (i__ready) begin
    full <= i__valid; code <= i__payload >>> 1;
  end
endmodule
"""
CODES = np.arange(-128, 128)


def fault_of(text, **changes):
    """The first fault that the bench finds in a unit that shall halve its codes."""
    fields = {"operands": CODES.tolist(), "expected": CODES >> 1, **changes}
    found = simulate_units([Case("unit", text, 8, 8, **fields)])["unit"].mismatches
    return found[0] if found else None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (">>> 1", ">> 1", "operand 0 (0x80): rtl 0x40 != golden 0xc0 (unit, seed 2026)"),
        ("full || o__ready", "full", "operand 2 "),
        ("o__payload = code", "o__payload = code + (full && !o__ready)", "payload moved"),
        ("!full || o__ready", "1'b1", "payload moved"),
        ("o__valid = full", "o__valid = 1'b0", "deadlock: 0 of 256 results came"),
        ("o__valid = full", "o__valid = full ? 1'b1 : 1'bx", "valid or ready is unknown"),
        (
            "code <= i__payload",
            "code <= i__payload == 5 ? 8'sbx : i__payload",
            "rtl x != golden 0x2",
        ),
    ],
)
def test_the_bench_finds(old, new, fault):
    assert fault_of(GOOD) is None
    assert GOOD.count(old) == 1
    found = fault_of(GOOD.replace(old, new))
    assert fault in found


def test_a_table_that_takes_effect_too_late_is_found():
    unit, (old, new) = integer_unit(8, 8, 1), random_units(7)[:2]
    case = loadable_case("late", unit, [old, new], 1)
    text = case.verilog
    # The last words of a load are lost: the old table's stay.
    broken = [
        case.loads[0],
        case.loads[1].__class__(case.loads[1].at, case.loads[0].words, case.loads[1].expected),
    ]
    wrong = Case("late", text, 8, 8, case.operands, loads=broken, word_bits=8)
    codes = np.array(case.operands[:256])
    assert (golden.activation(old, codes) != golden.activation(new, codes)).any()
    assert "table 1" in simulate_units([wrong])["late"].mismatches[0]


def test_what_cannot_run_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"iverilog: .*syntax error"):
        fault_of(GOOD.replace("module unit(", "module unit((", 1))
    case = Case("unit", GOOD, 8, 8, [1], np.array([0]))
    with pytest.raises(InputError, match="units: 2 names, 1 of them different"):
        simulate_units([case, case])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="iverilog: Icarus Verilog is not on the path"):
        simulate_units([case])
