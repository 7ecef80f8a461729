"""Emitted table units in Icarus Verilog: every code, random stalls, tables reloaded under traffic.

One plain Verilog bench for any number of units, so that a run is one compilation: it reads operands
and load words from files, pauses at random on every stream, logs results, and looks for payloads
that move before they are taken, unknown bits and deadlocks. What came out is compared here.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ....model.aliases import Array
from ....model.errors import InputError
from ....model.files import write_text
from ....model.leftovers import scratch

#: Chance of a pause after a transfer, each side.
STALL = 0.3
#: Cycles that a transfer may take on average before the bench gives up.
PATIENCE = 60


@dataclass(frozen=True)
class Load:
    """A load under traffic.

    at : operands taken before its first word is offered
    words : integers, first one first
    expected : results of every operand of the case with this table, payload bits or signed codes
    """

    at: int
    words: Sequence[int]
    expected: Array


@dataclass(frozen=True)
class Case:
    """One unit to be simulated.

    name : top module of `verilog`
    in_bits, out_bits, word_bits : payload widths; word_bits without the flag `last`
    operands : payloads, integers (signed ones are taken modulo 2**in_bits)
    expected : results of the operands, for a unit without loads
    loads : in order of `at`, the first at 0
    stall : chance of a pause, 0 to less than 1
    same : compares results with expected ones, both as unsigned payloads, where bits need not be
        equal
    """

    name: str
    verilog: str
    in_bits: int
    out_bits: int
    operands: Sequence[int]
    expected: Array | None = None
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


def _run(command: Sequence[str], folder: Path, temporary: Path, seconds: float) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(temporary)},
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
        every = np.array([load.expected for load in case.loads[: len(starts)]], np.int64)
        expected = every[table, np.arange(count)]
    else:
        table = np.zeros(count, np.int64)
        expected = np.asarray(case.expected, np.int64)
    got, expected = np.array(results, np.int64), expected & mask
    bad = np.flatnonzero(~(case.same(got, expected) & (got >= 0)))
    for j in bad[:20]:
        which = f", table {table[j]}" if case.loads else ""
        faults.append(
            f"operand {j} ({int(case.operands[j]) & (1 << case.in_bits) - 1:#x}{which}): "
            f"rtl {f'{got[j]:#x}' if got[j] >= 0 else 'x'} != golden "
            f"{expected[j]:#x} {place}"
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
        _run(
            ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", *sources],
            place,
            temporary,
            seconds,
        )
        _run(["vvp", "-n", "bench.vvp"], place, temporary, seconds)
        return {c.name: _judge(c, (place / f"{c.name}.log").read_text(), seed) for c in cases}
