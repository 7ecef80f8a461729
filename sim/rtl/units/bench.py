"""Emitted table units in Icarus Verilog: every code, random stalls, tables reloaded under traffic.

One plain Verilog bench for any number of units, so that a run is one compilation: it reads operands
and load words from files, pauses at random on every stream, logs results, and looks for payloads
that move before they are taken, unknown bits and deadlocks. What came out is compared here.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....hdl.piecewise_linear import PiecewiseLinear
from ....hdl.units.float32 import QUIET_NAN, FloatUnit, MultiplyAdd
from ....hdl.units.lut_unit import LoadableUnit, SelectUnit
from ....model import integer
from ....model.errors import InputError
from ....model.files import write_text
from ....model.integer import code_range, half
from ....model.leftovers import scratch
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

Array = np.ndarray
#: Chance of a pause after a transfer, each side.
STALL = 0.3
#: Cycles that a transfer may take on average before the bench gives up.
PATIENCE = 60


@dataclass(frozen=True)
class Load:
    """A load under traffic.

    at : operands taken before its first word is offered
    words : integers, first one first
    wanted : results of every operand of the case with this table, payload bits or signed codes
    """

    at: int
    words: Sequence[int]
    wanted: Array


@dataclass(frozen=True)
class Case:
    """One unit to be simulated.

    name : top module of `verilog`
    in_bits, out_bits, word_bits : payload widths; word_bits without the flag `last`
    operands : payloads, integers (signed ones are taken modulo 2**in_bits)
    wanted : results of the operands, for a unit without loads
    loads : in order of `at`, the first at 0
    stall : chance of a pause, 0 to less than 1
    same : compares results with wanted ones where bits need not be equal; both as unsigned payloads
    """

    name: str
    verilog: str
    in_bits: int
    out_bits: int
    operands: Sequence[int]
    wanted: Array | None = None
    loads: Sequence[Load] = ()
    word_bits: int = 0
    stall: float = STALL
    same: Callable[[Array, Array], Array] = field(default=np.equal)


@dataclass(frozen=True)
class Outcome:
    """What one unit did.

    compared : results held to the law
    mismatches : lines, the first difference first
    cycles : clock cycles from the first operand offered to the last result taken
    distinct : different operands, of the table that saw fewest
    """

    compared: int
    mismatches: list[str]
    cycles: int = 0
    distinct: int = 0


def require_icarus() -> str:
    """Version of Icarus Verilog. Raises :class:`InputError` where it is missing."""
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        raise InputError(
            "iverilog: Icarus Verilog is not on the path; install it (apt-get install iverilog)"
        )
    banner = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout
    return banner.split("\n")[0].strip()


def _hex(values: Sequence[int], bits: int) -> str:
    mask, digits = (1 << bits) - 1, -(-bits // 4)
    return "".join(f"{int(value) & mask:0{digits}x}\n" for value in values)


_DRIVER = """
module drive_{name} (input clk, input rst, output reg done);
  reg [{in_high}:0] operands [0:{last}];
  reg i_valid = 0, o_ready = 0, load_valid = 0;
  reg [{in_high}:0] i_payload = 0;
  wire i_ready, o_valid, load_ready;
  wire [{out_high}:0] o_payload;
  reg held = 0;
  reg [{out_high}:0] kept = 0;
  integer log, seed = {seed}, taken = 0, given = 0, cycles = 0, word = 0;
{load_state}
  initial begin
    done = 0;
    $readmemh("{name}_i.hex", operands);
    log = $fopen("{name}.log", "w");
{load_init}
  end
  {name} dut ({clock}.i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready){load_ports});
  always @(posedge clk) if (!rst && !done) begin
    if (i_valid || taken > 0) cycles = cycles + 1;
    if (i_valid && i_ready) taken = taken + 1;
    if ((i_valid && i_ready) || !i_valid) begin
      i_valid <= {start} taken < {count} && ($random(seed) & 1023) >= {stall};
      if (taken < {count}) i_payload <= operands[taken];
    end
{load_step}
    if ((i_valid && i_ready === 1'bx) || o_valid === 1'bx) $fwrite(log, "x\\n");
    if (held && (o_valid !== 1'b1 || o_payload !== kept)) $fwrite(log, "moved\\n");
    held <= o_valid && !o_ready;
    kept <= o_payload;
    if (o_valid && o_ready) begin
      $fwrite(log, "%h\\n", o_payload);
      given = given + 1;
    end
    o_ready <= ($random(seed) & 1023) >= {stall};
    if (given == {count}) begin
      $fwrite(log, "end %0d\\n", cycles);
      $fclose(log);
      done <= 1;
    end
  end
endmodule
"""
_LOADER = """\
    if (load_valid && load_ready) begin
      if (words[word][{word_high}]) begin
        $fwrite(log, "load %0d\\n", taken);
        started = 1;
      end
      word = word + 1;
    end
    if ((load_valid && load_ready) || !load_valid) begin
      load_valid <= word < {words} && taken >= at[word] && ($random(seed) & 1023) >= {stall};
      if (word < {words}) load_payload <= words[word];
    end"""


def _driver(case: Case, seed: int) -> str:
    words = sum(len(load.words) for load in case.loads)
    stall = round(case.stall * 1024)
    loaded = {"load_state": "", "load_init": "", "load_ports": "", "load_step": "", "start": ""}
    if case.loads:
        loaded = {
            "load_state": f"  reg [{case.word_bits}:0] words [0:{words - 1}], load_payload = 0;\n"
            f"  reg [31:0] at [0:{words - 1}];\n  reg started = 0;",
            "load_init": f'    $readmemh("{case.name}_words.hex", words);\n'
            f'    $readmemh("{case.name}_at.hex", at);',
            "load_ports": ",\n    .load__payload(load_payload), .load__valid(load_valid), "
            ".load__ready(load_ready)",
            "load_step": _LOADER.format(word_high=case.word_bits, words=words, stall=stall),
            "start": "started &&",
        }
    clocked = re.search(rf"module {case.name}\(.*?\bclk\b.*?\);", case.verilog, re.S)
    return _DRIVER.format(
        name=case.name,
        in_high=case.in_bits - 1,
        out_high=case.out_bits - 1,
        seed=seed,
        last=len(case.operands) - 1,
        count=len(case.operands),
        stall=stall,
        clock=".clk(clk), .rst(rst), " if clocked else "",
        **loaded,
    )


def _bench(cases: Sequence[Case], seed: int) -> str:
    most = max(len(c.operands) + sum(len(load.words) for load in c.loads) for c in cases)
    instances = "".join(
        f"  drive_{case.name} drive_{k} (clk, rst, done[{k}]);\n" for k, case in enumerate(cases)
    )
    return f"""`timescale 1ns/1ps
{"".join(_driver(case, seed + number) for number, case in enumerate(cases))}
module bench;
  reg clk = 0, rst = 1;
  wire [{len(cases) - 1}:0] done;
  integer cycle = 0;
  always #5 clk = !clk;
{instances}
  always @(posedge clk) begin
    cycle = cycle + 1;
    if (cycle == 3) rst <= 0;
    if (&done || cycle > {PATIENCE * most + 1000}) $finish;
  end
endmodule
"""


def _run(command: Sequence[str], folder: Path, seconds: float) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]}: stopped after {seconds:g} s in {folder}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise InputError(f"{command[0]}: {' '.join(lines[0].split())[:300]}")


def _judge(case: Case, log: str, seed: int) -> Outcome:
    """Compare a log with what the case wants."""
    lines = log.splitlines()
    place = f"({case.name}, seed {seed})"
    faults = [f"a payload moved before it was taken {place}"] * lines.count("moved")
    faults += [f"valid or ready is unknown {place}"] * lines.count("x")
    if not lines or not lines[-1].startswith("end "):
        given = sum(not line.startswith(("load", "x", "moved")) for line in lines)
        return Outcome(
            0, [*faults, f"deadlock: {given} of {len(case.operands)} results came {place}"]
        )
    results, starts = [], []
    for line in lines[:-1]:
        if line.startswith("load"):
            starts.append(int(line.split()[1]))
        elif line not in ("x", "moved"):
            # -1 is no payload: bits were unknown.
            results.append(-1 if re.search("[xz]", line, re.I) else int(line, 16))
    count, mask = len(case.operands), (1 << case.out_bits) - 1
    if case.loads:
        table = np.searchsorted(starts, np.arange(count), side="right") - 1
        every = np.array([load.wanted for load in case.loads[: len(starts)]], np.int64)
        wanted = every[table, np.arange(count)]
    else:
        table = np.zeros(count, np.int64)
        wanted = np.asarray(case.wanted, np.int64)
    got, wanted = np.array(results, np.int64), wanted & mask
    bad = np.flatnonzero(~(case.same(got, wanted) & (got >= 0)))
    for j in bad[:20]:
        which = f", table {table[j]}" if case.loads else ""
        faults.append(
            f"operand {j} ({int(case.operands[j]) & (1 << case.in_bits) - 1:#x}{which}): "
            f"rtl {f'{got[j]:#x}' if got[j] >= 0 else 'x'} != golden "
            f"{wanted[j]:#x} {place}"
        )
    faults += [f"and {len(bad) - 20} more {place}"] * (len(bad) > 20)
    operands = np.array([int(value) & ((1 << case.in_bits) - 1) for value in case.operands], object)
    distinct = min(len(set(operands[table == k])) for k in range(max(1, len(case.loads))))
    return Outcome(count, faults, int(lines[-1].split()[1]), distinct)


def simulate_units(
    cases: Sequence[Case],
    folder: str | Path | None = None,
    seed: int = 2026,
    seconds: float = 1800.0,
) -> dict[str, Outcome]:
    """Run all `cases` side by side in one Icarus simulation; outcomes by name.

    The files stay in `folder`, where one is given. Raises :class:`InputError` where Icarus is
    missing, the Verilog does not compile, or the simulator runs longer than `seconds`; faults of a
    unit are in its outcome.
    """
    require_icarus()
    names = [case.name for case in cases]
    if len(set(names)) != len(names) or not names:
        raise InputError(f"units: {len(names)} names, {len(set(names))} of them different")
    with scratch() as temporary:
        place = Path(folder or temporary)
        sources = ["bench.v"]
        write_text(place / "bench.v", _bench(cases, seed))
        for case in cases:
            write_text(place / f"{case.name}.v", case.verilog)
            write_text(place / f"{case.name}_i.hex", _hex(case.operands, case.in_bits))
            sources.append(f"{case.name}.v")
            if case.loads:
                words = [
                    int(word) | ((k == len(load.words) - 1) << case.word_bits)
                    for load in case.loads
                    for k, word in enumerate(load.words)
                ]
                at = [load.at for load in case.loads for _ in load.words]
                write_text(place / f"{case.name}_words.hex", _hex(words, case.word_bits + 1))
                write_text(place / f"{case.name}_at.hex", _hex(at, 32))
        _run(["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", *sources], place, seconds)
        _run(["vvp", "-n", "bench.vvp"], place, seconds)
        return {c.name: _judge(c, (place / f"{c.name}.log").read_text(), seed) for c in cases}


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
    wanted = np.array([golden.activation(op, codes) for op in units])[select, np.arange(len(order))]
    payloads = (codes & ((1 << bits) - 1)) | select << bits
    text = emit_unit(unit, name, header_lines)
    return Case(
        name,
        text,
        bits + unit.select_bits,
        units[0].out_bits,
        payloads.tolist(),
        wanted,
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
    # The unit adds its rounding constant to an intercept of finer units.
    top = code_range(unit.intercept_bits)[1] - (half(unit.shift) >> unit.align)
    intercepts = (min(value, top) for value in sizes(unit.intercept_bits, unit.entries))
    return Contents(
        tuple(points),
        tuple(sizes(unit.slope_bits, unit.entries)),
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


def same_singles(got: Array, wanted: Array) -> Array:
    """Bits agree; any NaN of NumPy's wants this unit's own."""
    nan = np.isnan(from_bits(wanted))
    return np.where(
        nan, got == QUIET_NAN, same_floats(from_bits(got & 0xFFFFFFFF), from_bits(wanted))
    )


def multiply_add_case(name: str, count: int, stages: int, seed: int, stall: float = STALL) -> Case:
    """`count` triples of singles (:func:`genogate.sim.golden_lut.float_triples`), the FP32
    arithmetic alone."""
    a, b, c = triples = float_triples(count, seed)
    wanted = multiply_add(from_bits(a), from_bits(b), from_bits(c)).view(np.uint32)
    payloads = [x | y << 32 | z << 64 for x, y, z in triples.T.tolist()]
    return Case(
        name,
        emit_unit(MultiplyAdd(stages), name),
        96,
        32,
        payloads,
        wanted.astype(np.int64),
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
    share, made, blocks = -(-count // tables), [], []
    for number in range(tables):
        n = unit.entries - (number % 2)
        pool = np.concatenate([from_bits(SPECIALS), rng.normal(0, 4, 40).astype(np.float32)])
        points = np.sort(rng.choice(pool[~np.isnan(pool)], n - 1, replace=False))
        lines = rng.normal(0, 2, (2, n)).astype(np.float32)
        made.append((points, *lines))
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
        for k, table in enumerate(made)
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


def summary(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """JSON-able: units, codes compared, mismatches (the first twenty as text), the simulator."""
    faults = [line for outcome in outcomes.values() for line in outcome.mismatches]
    return {
        "units": len(outcomes),
        "codes": sum(outcome.compared for outcome in outcomes.values()),
        "mismatches": len(faults),
        "first": faults[:20],
        "simulator": require_icarus(),
    }


def verify_verilog(
    sources: Mapping[str, tuple[str, integer.PiecewiseLinear]],
    folder: str | Path | None = None,
    seed: int = 2026,
) -> dict[str, Any]:
    """Simulate emitted fixed units on every code, with stalls; see :func:`summary`.

    sources : module name -> (its Verilog, the unit that it must equal)
    """
    cases = [unit_case(name, text, op, seed) for name, (text, op) in sources.items()]
    return {**summary(simulate_units(cases, folder, seed)), "seed": seed}


def verify_table(
    units: Mapping[str, integer.PiecewiseLinear],
    folder: str | Path | None = None,
    seed: int = 2026,
) -> dict[str, Any]:
    """Emit fixed units (output register) and hold every code of each to golden.activation.

    units : module name -> unit, for example one a scale of a table
    """
    sources = {
        name: (emit_unit(PiecewiseLinear(op, output="register"), name), op)
        for name, op in units.items()
    }
    return verify_verilog(sources, folder, seed)
