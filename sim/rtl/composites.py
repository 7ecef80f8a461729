"""Range reduction, softmax and normalisation: Verilog in Icarus against golden, and error tables.

The bench is Verilog: it pushes the payloads of a file with random pauses, resets in mid-vector
where it is told to, and logs what comes out; the log is compared with the golden model here.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.composites.normalise import normalise_cycles
from ...hdl.composites.softmax import Softmax
from ...model.aliases import Array
from ...model.errors import InputError
from ...model.integer import code_range
from ...model.leftovers import scratch
from ...model.tables import composites, reduction
from ...synth.composite_verilog import Composite, emit_composite, top_name
from .. import golden_composites as golden
from .units.bench import require_icarus

SEED = 2026
#: In place of the number of inputs after which a segment is cut short by a reset.
NEVER = 0xFFFFFFFF
#: Cycles without a transfer after which the bench gives up.
LIMIT = 20_000
_BENCH = """\
`timescale 1ns/1ps
module bench;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;
  reg i_valid = 0, o_ready = 0;
  reg [{i_high}:0] i_payload = 0, stimulus [0:{inputs}-1];
  wire i_ready, o_valid;
  wire [{o_high}:0] o_payload;
  {top} dut (.clk(clk), .rst(rst),
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready));
  // Segments: first input, past the last, outputs wanted, inputs until a reset, cycles more until
  // then, pauses of the two sides in 256.
  reg [31:0] plan [0:{segments}*7-1];
  integer log, segment = 0, seed = {seed}, index, sent = 0, got = 0, late = 0, idle = 0, cycle = 0;
  reg fresh = 1, held = 0;
  reg [{o_high}:0] kept;
  wire i_move = i_valid && i_ready === 1'b1, o_move = o_valid === 1'b1 && o_ready;
  initial begin
    $readmemh("stimulus.hex", stimulus);
    $readmemh("plan.hex", plan);
    log = $fopen("log.txt", "w");
  end
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (segment == {segments}) begin $fclose(log); $finish; end
    else if (fresh) begin
      fresh <= 0; rst <= 0; held <= 0; i_valid <= 0; o_ready <= 0;
      sent <= 0; got <= 0; late <= 0; idle <= 0; index = plan[segment*7];
    end else begin
      if (!i_valid || i_move) begin
        i_valid <= 0;
        if (index < plan[segment*7+1] && ($random(seed) & 255) >= plan[segment*7+5]) begin
          i_valid <= 1; i_payload <= stimulus[index]; index = index + 1;
        end
      end
      o_ready <= ($random(seed) & 255) >= plan[segment*7+6];
      sent <= sent + i_move; got <= got + o_move;
      idle <= i_move | o_move ? 0 : idle + 1;
      held <= o_valid & ~o_ready; kept <= o_payload;
      if (o_valid !== 1'b0 && o_valid !== 1'b1) $fwrite(log, "%0d %0d unknown\\n", segment, cycle);
      if (held && (o_valid !== 1'b1 || o_payload !== kept))
        $fwrite(log, "%0d %0d moved\\n", segment, cycle);
      if (o_move) $fwrite(log, "%0d %0d %h\\n", segment, cycle, o_payload);
      if (sent >= plan[segment*7+3]) late <= late + 1;
      if (sent >= plan[segment*7+3] && late >= plan[segment*7+4]) begin
        rst <= 1; fresh <= 1; segment <= segment + 1;
      end else if (got + o_move >= plan[segment*7+2]) begin
        fresh <= 1; segment <= segment + 1;
      end else if (idle > {limit}) begin
        $fwrite(log, "%0d %0d stuck\\n", segment, cycle); $fclose(log); $finish;
      end
    end
  end
endmodule
"""


@dataclass(frozen=True)
class Segment:
    """Vectors that go through one after the other.

    vectors : code arrays, of any lengths that the unit takes
    pauses : chance that either side pauses in a cycle
    reset : (inputs, cycles) after which a reset ends the segment, None for none
    """

    vectors: Sequence[Array]
    pauses: tuple[float, float] = (0.0, 0.0)
    reset: tuple[int, int] | None = None


@dataclass
class Outcome:
    """What :func:`simulate` found.

    elements : results compared
    cycles : of the whole run
    mismatches : one line each, at most 20
    periods : (length of the vector before, length, cycles from first result to first result) of
        segments that never paused
    """

    elements: int = 0
    cycles: int = 0
    mismatches: list[str] = field(default_factory=list)
    periods: list[tuple[int, int, int]] = field(default_factory=list)


def _in_width(op: Composite) -> int:
    return op.in_bits + isinstance(op, composites.Softmax | composites.Normalise)


def _out_width(op: Composite) -> int:
    if isinstance(op, reduction.Reduction):
        return op.pieces.bounds[1].bit_length() + max(1, op.exponents[-1].bit_length())
    return op.out_bits + isinstance(op, composites.Softmax | composites.Normalise)


def _law(op: Composite, vector: Array) -> list[int]:
    """Payloads, unsigned, that a vector of codes gives."""
    if isinstance(op, reduction.Reduction):
        mantissa, exponent = golden.reduce(op, vector)
        return (mantissa + (exponent << op.pieces.bounds[1].bit_length())).tolist()
    if isinstance(op, reduction.PositiveUnit):
        return (golden.positive(op, vector) & ((1 << op.out_bits) - 1)).tolist()
    law: Any = golden.softmax if isinstance(op, composites.Softmax) else golden.normalise
    return _with_last(law(op, vector), op.out_bits)


def _with_last(codes: Array, bits: int) -> list[int]:
    payload = np.asarray(codes) & ((1 << bits) - 1)
    payload[-1] |= 1 << bits
    return payload.tolist()


def _payloads(op: Composite, vector: Array) -> list[int]:
    if isinstance(op, composites.Softmax | composites.Normalise):
        return _with_last(np.array(vector, np.int64), op.in_bits)
    return (np.asarray(vector, np.int64) & ((1 << op.in_bits) - 1)).tolist()


def simulate(
    op: Composite,
    segments: Sequence[Segment],
    *,
    seed: int = SEED,
    verilog: str | None = None,
    folder: str | Path | None = None,
) -> Outcome:
    """Drive the Verilog of `op` in Icarus and compare every result with the golden model.

    verilog : other text than what is emitted, with the same top module
    folder : where the files are kept; None for a temporary one
    """
    require_icarus()
    if folder is None:
        with scratch() as temporary:
            return simulate(op, segments, seed=seed, verilog=verilog, folder=temporary)
    folder = Path(folder)
    stimulus: list[int] = []
    plan, expected = [], []
    for segment in segments:
        first = len(stimulus)
        expected.append([p for vector in segment.vectors for p in _law(op, vector)])
        stimulus += [p for vector in segment.vectors for p in _payloads(op, vector)]
        after, more = segment.reset or (NEVER, 0)
        plan += [
            first,
            len(stimulus),
            len(expected[-1]),
            after,
            more,
            *(round(256 * pause) for pause in segment.pauses),
        ]
    bench = _BENCH.format(
        top=top_name(op),
        inputs=len(stimulus),
        segments=len(segments),
        limit=LIMIT,
        seed=seed & 0x7FFFFFFF,
        i_high=_in_width(op) - 1,
        o_high=_out_width(op) - 1,
    )
    texts = {"dut.v": verilog or emit_composite(op), "bench.v": bench}
    for name, numbers in (("stimulus.hex", stimulus), ("plan.hex", plan)):
        texts[name] = "\n".join(f"{number:x}" for number in numbers) + "\n"
    for name, text in texts.items():
        (folder / name).write_text(text)
    for command in (
        ["iverilog", "-g2005", "-Wall", "-o", "bench.vvp", "bench.v", "dut.v"],
        ["vvp", "-n", "bench.vvp"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"{command[0]} failed: {' '.join(done.stderr.split())[:300]}")
    return _compare(segments, expected, (folder / "log.txt").read_text(), seed)


def _compare(
    segments: Sequence[Segment], expected: Sequence[Sequence[int]], log: str, seed: int
) -> Outcome:
    outcome = Outcome()
    got: list[list[tuple[int, int]]] = [[] for _ in segments]
    for line in log.splitlines():
        where, cycle, text = line.split()
        outcome.cycles = int(cycle)
        try:
            got[int(where)].append((int(cycle), int(text, 16)))
        except ValueError:
            outcome.mismatches.append(f"segment {where} cycle {cycle}: {text} (seed {seed})")
    for number, (segment, want, have) in enumerate(zip(segments, expected, got, strict=True)):
        outcome.elements += len(have)
        if segment.reset is None and len(have) != len(want):
            outcome.mismatches.append(
                f"segment {number}: {len(have)} results, {len(want)} are needed (seed {seed})"
            )
        for at, ((_, rtl), right) in enumerate(zip(have, want, strict=False)):
            if rtl != right:
                outcome.mismatches.append(
                    f"segment {number}: o[{at}] rtl {rtl:#x} != golden {right:#x} (seed {seed})"
                )
        if segment.reset is None and segment.pauses == (0, 0) and len(have) == len(want):
            lengths = [len(vector) for vector in segment.vectors]
            starts = np.cumsum([0, *lengths[:-1]])
            begun = [have[at][0] for at in starts]
            outcome.periods += zip(lengths[:-1], lengths[1:], np.diff(begun).tolist(), strict=True)
    outcome.mismatches = outcome.mismatches[:20]
    return outcome


def random_vectors(op: Composite, lengths: Sequence[int], rng: np.random.Generator) -> list[Array]:
    """Vectors of input codes: uniform, normal of any spread, and now and then only two codes."""
    if isinstance(op, reduction.Reduction):
        return [
            rng.integers(0, 1 << op.in_bits, n) >> rng.integers(0, op.in_bits, n) for n in lengths
        ]
    low, high = code_range(op.in_bits)
    vectors = []
    for n in lengths:
        kind = rng.integers(6)
        if kind < 2:
            vector = rng.integers(low, high + 1, n)
        elif kind < 5:
            vector = np.round(
                rng.normal(size=n) * 2 ** rng.uniform(-2, op.in_bits) + rng.uniform(low, high)
            ).astype(np.int64)
        else:
            vector = np.where(
                rng.random(n) < rng.random(), *rng.integers(low, high + 1, 2).tolist()
            )
        vectors.append(np.clip(vector, low, high))
    return vectors


def segments_of(op: Composite, elements: int, rng: np.random.Generator) -> list[Segment]:
    """About `elements` elements: equal lengths back to back, all lengths, stalls, resets."""
    if isinstance(op, composites.Softmax):
        most = op.max_length
        every = [*range(1, most + 1)]
        rng.shuffle(every)
    else:
        most = op.length if isinstance(op, composites.Normalise) else 64
        every = [most]
    mean, left = sum(every) / len(every), max(elements, 12 * most)
    equal = [int(rng.integers(1, most + 1)) if len(every) > 1 else most for _ in range(2)]
    segments = [Segment(random_vectors(op, [n] * 3, rng)) for n in equal]
    left -= sum(3 * n for n in equal)
    for cut in range(2):
        vectors = random_vectors(op, [equal[cut]] * 3, rng)
        after = int(rng.integers(0, 3 * equal[cut]))
        pauses = (0.2 * cut, 0.2 * cut)
        segments.append(Segment(vectors, pauses, (after, int(rng.integers(0, most + 12)))))
    shares = ((0.0, 0.0), (0.0, 0.4), (0.4, 0.0), (0.3, 0.3), (0.7, 0.7))
    for pauses in shares:
        count = max(2, round(left / len(shares) / mean))
        lengths = [every[k % len(every)] for k in rng.permutation(max(count, len(every)))[:count]]
        segments.append(Segment(random_vectors(op, lengths, rng), pauses))
    return segments


def stated_cycles(op: Composite, before: int, n: int) -> int:
    """What the documentation says of the cycles between two vectors' first results."""
    if isinstance(op, composites.Softmax):
        return Softmax.cycles(n, before)
    return normalise_cycles(op) if isinstance(op, composites.Normalise) else n


def random_op(kind: str, rng: np.random.Generator) -> Composite:
    """A unit of `kind` (softmax, normalise) with random widths, scales, lengths and tables."""
    entries = int(rng.choice([2, 4, 8, 16]))
    in_bits, out_bits = (int(v) for v in rng.choice([8, 8, 8, 4, 5, 6, 7], 2))
    scale = int(rng.integers(-1, 8))
    if kind == "softmax":
        most = int(rng.choice([1, 2, 3, 7, 16, 33, 64, 100, 256]))
        return composites.softmax_params(scale, entries, most, in_bits, out_bits)
    n = int(rng.choice([2, 3, 5, 16, 31, 64, 100, 192]))
    affine: dict[str, Any] = {}
    if rng.random() < 0.5:
        affine = {
            "gamma": rng.normal(1, 0.4, n),
            "beta": rng.normal(0, 0.5, n),
            "gamma_bits": int(rng.choice([8, 16])),
        }
    rms = bool(rng.random() < 0.3)
    zero = int(rng.integers(*code_range(in_bits))) if rms else 0
    return composites.layernorm_params(
        n,
        scale,
        entries,
        in_bits,
        out_bits,
        max(0, out_bits - int(rng.integers(1, 5))),
        zero_point=int(rng.integers(-3, 4)),
        eps=float(rng.choice([0, 1e-5, 1e-2])),
        rms=rms,
        in_zero_point=zero,
        **affine,
    )


def campaign(
    cases: int = 14,
    elements: int = 8000,
    seed: int = SEED,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Random softmax and normalise units in Icarus, about `elements` elements each.

    Returns what was compared by kind; a mismatch names its case, which ``random_op(kind,
    default_rng([seed, case]))`` makes again.
    """
    record: dict[str, Any] = {"seed": seed}
    for kind in ("softmax", "normalise"):
        totals: dict[str, Any] = {
            "cases": cases,
            "elements": 0,
            "cycles": 0,
            "mismatches": [],
            "periods": 0,
            "periods_as_stated": 0,
        }
        for case in range(cases):
            rng = np.random.default_rng([seed, case])
            op = random_op(kind, rng)
            outcome = simulate(op, segments_of(op, elements, rng), seed=seed + case)
            totals["elements"] += outcome.elements
            totals["cycles"] += outcome.cycles
            totals["mismatches"] += [f"case {case}: {text}" for text in outcome.mismatches]
            totals["periods"] += len(outcome.periods)
            totals["periods_as_stated"] += sum(
                stated_cycles(op, before, n) == cycles for before, n, cycles in outcome.periods
            )
            say(
                f"{kind} {case + 1}/{cases}: {totals['elements']:,} elements, "
                f"{len(totals['mismatches'])} mismatches"
            )
        record[kind] = totals
    return record
