"""Range reduction, softmax and normalisation: Verilog in Icarus against golden, and error tables.

The bench is Verilog: it pushes the payloads of a file with random pauses, resets in mid-vector
where it is told to, and logs what comes out; the log is compared with the golden model here.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.composites.normalise import normalise_cycles
from ...hdl.composites.softmax import Softmax
from ...model.errors import InputError
from ...model.integer import code_range
from ...model.leftovers import scratch
from ...model.tables import composites, reduction
from ...model.tables.functions import FUNCTIONS, Function
from ...model.tables.table import codes
from ...synth.composite_verilog import Composite, emit_composite, top_name
from .. import golden_composites as golden
from .network.regression import require_simulator
from .units.bench import require_icarus

Array = np.ndarray
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
    plan, wanted = [], []
    for segment in segments:
        first = len(stimulus)
        wanted.append([p for vector in segment.vectors for p in _law(op, vector)])
        stimulus += [p for vector in segment.vectors for p in _payloads(op, vector)]
        after, more = segment.reset or (NEVER, 0)
        plan += [
            first,
            len(stimulus),
            len(wanted[-1]),
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
    return _compare(segments, wanted, (folder / "log.txt").read_text(), seed)


def _compare(
    segments: Sequence[Segment], wanted: Sequence[Sequence[int]], log: str, seed: int
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
    for number, (segment, want, have) in enumerate(zip(segments, wanted, got, strict=True)):
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
    found = []
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
        found.append(np.clip(vector, low, high))
    return found


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
    made = [Segment(random_vectors(op, [n] * 3, rng)) for n in equal]
    left -= sum(3 * n for n in equal)
    for cut in range(2):
        vectors = random_vectors(op, [equal[cut]] * 3, rng)
        after = int(rng.integers(0, 3 * equal[cut]))
        pauses = (0.2 * cut, 0.2 * cut)
        made.append(Segment(vectors, pauses, (after, int(rng.integers(0, most + 12)))))
    shares = ((0.0, 0.0), (0.0, 0.4), (0.4, 0.0), (0.3, 0.3), (0.7, 0.7))
    for pauses in shares:
        count = max(2, round(left / len(shares) / mean))
        lengths = [every[k % len(every)] for k in rng.permutation(max(count, len(every)))[:count]]
        made.append(Segment(random_vectors(op, lengths, rng), pauses))
    return made


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
        found: dict[str, Any] = {
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
            found["elements"] += outcome.elements
            found["cycles"] += outcome.cycles
            found["mismatches"] += [f"case {case}: {text}" for text in outcome.mismatches]
            found["periods"] += len(outcome.periods)
            found["periods_as_stated"] += sum(
                stated_cycles(op, before, n) == cycles for before, n, cycles in outcome.periods
            )
            say(
                f"{kind} {case + 1}/{cases}: {found['elements']:,} elements, "
                f"{len(found['mismatches'])} mismatches"
            )
        record[kind] = found
    return record


#: What the anchors say under protocol R (mean over 2**0 to 2**-6 of the mean squared error, outputs
#: not rounded): LUT-APP's shipped tables, which use range reduction, and its format's optimum.
PUBLISHED: dict[tuple[reduction.Name, int], tuple[float, float]] = {
    ("reciprocal", 8): (1.47e-6, 6.27e-7),
    ("reciprocal", 16): (2.35e-6, 4.43e-7),
    ("rsqrt", 8): (5.66e-6, 4.19e-6),
    ("rsqrt", 16): (5.20e-6, 3.56e-6),
}
#: Number formats of the tables over the mantissa: fraction bits of slope and intercept.
FORMATS = {
    "8-bit slope, 8-bit intercept": reduction.Widths(7, 7),
    "8-bit slope, 13-bit intercept": reduction.Widths(8, 12),
}
#: Mantissa bits that hold every 8-bit code exactly.
EXACT = 6
SCALES = range(7)


def _protocol_r(name: reduction.Name) -> list[tuple[int, Array, Array, Array]]:
    """For each scale: the shift of x and powers of two, mantissa codes and places, of its codes."""
    found = []
    for scale in SCALES:
        q = codes(FUNCTIONS[name], 8, scale)
        doubled = scale % 2 if name == "rsqrt" else 0
        power = scale if name == "reciprocal" else (scale + doubled) // 2
        op = reduction.reduction(name, 7 + doubled, 4, EXACT)
        _, exponent = golden.reduce(op, q << doubled)
        m = (q << doubled) << (EXACT - exponent * op.step)
        found.append((scale, q, m, power - exponent))
    return found


def protocol_r_weight(name: reduction.Name) -> Array:
    """What each mantissa code counts in the mean squared error of protocol R."""
    low, high = 1 << EXACT, 1 << (EXACT + (1 if name == "reciprocal" else 2))
    weight = np.zeros(high - low + 1)
    for _, q, m, power in _protocol_r(name):
        np.add.at(weight, m - low, 4.0**power / len(q) / len(SCALES))
    return weight


def protocol_r(name: reduction.Name, pieces: reduction.Pieces) -> float:
    """Mean over the scales of the mean squared error on INT8 codes, outputs not rounded."""
    errors = []
    for scale, q, m, power in _protocol_r(name):
        got = np.ldexp(golden.pieces(pieces, m).astype(np.float64), power - pieces.fraction_bits)
        errors.append(((got - FUNCTIONS[name](np.ldexp(q.astype(float), -scale))) ** 2).mean())
    return float(np.mean(errors))


def reduction_errors() -> dict[str, Any]:
    """Protocol R beside the published figures, and relative errors over all inputs."""
    rows, relative = [], []
    rng = np.random.default_rng(SEED)
    for name, entries in PUBLISHED:
        row: dict[str, Any] = {
            "function": name,
            "entries": entries,
            "published": list(PUBLISHED[name, entries]),
        }
        for label, widths in FORMATS.items():
            weight = tuple(protocol_r_weight(name).tolist())
            row[label] = protocol_r(
                name, reduction.mantissa_pieces(name, entries, EXACT, widths, weight)
            )
        row["relative error"] = protocol_r(name, reduction.mantissa_pieces(name, entries, EXACT))
        rows.append(row)
        for bits, fraction, x in (
            (8, EXACT, np.arange(1, 128)),
            (16, 9, np.arange(1, 1 << 16)),
            (32, 9, np.maximum(rng.integers(0, 1 << 32, 10**6) >> rng.integers(0, 32, 10**6), 1)),
        ):
            op = reduction.reduction(name, bits, entries, fraction)
            mantissa, exponent = golden.reduce(op, x)
            got = np.ldexp(mantissa.astype(np.float64), -(op.pieces.fraction_bits + exponent))
            off = np.abs(got / FUNCTIONS[name](x.astype(np.float64)) - 1)
            relative.append(
                {
                    "function": name,
                    "entries": entries,
                    "bits": bits,
                    "fraction": fraction,
                    "max": float(off.max()),
                    "rms": float(np.sqrt((off**2).mean())),
                    "inputs": len(x),
                }
            )
    return {"protocol_r": rows, "relative": relative}


def _softmax_vectors(rng: np.random.Generator, n: int, scale: int) -> Array:
    """Codes [vectors, n]: uniform, normal of four widths, one above others that are equal, and one
    above three groups of equal ones, whose errors all add up."""
    count = int(np.clip(200_000 // n, 200, 4000))
    width = 2.0**scale * rng.choice([0.5, 1, 2, 4], (count, 1))
    normal = np.clip(np.round(rng.normal(size=(count, n)) * width), -128, 127).astype(np.int64)
    equal = np.repeat(127 - np.arange(256)[:, None], n, 1)
    equal[:, 0] = 127
    levels = rng.integers(0, min(255, 6 << scale) + 1, (2 * count, 3))
    levels[:count, 2] = 255
    choice = 127 - np.concatenate([np.zeros((2 * count, 1), np.int64), levels], 1)
    ends = np.sort(np.floor(2 ** rng.uniform(0, np.log2(n + 1), (2 * count, 2))), 1)
    begins = np.concatenate([np.ones((2 * count, 1)), ends], 1)
    group = (np.arange(n) >= begins[:, :, None]).sum(1)
    groups = np.take_along_axis(choice, group, 1)
    return np.concatenate([rng.integers(-128, 128, (count, n)), normal, equal, groups])


def _direct_softmax(scale: int, entries: int, q: Array) -> Array:
    """Probabilities with one table of exp over (-8, 0) and all else exact, for comparison."""
    function = Function("exp(-x)", lambda x: np.exp(-x), 0, 256)
    # Beyond the range any line will do that stays near to zero.
    x = np.ldexp(np.arange(256.0), -scale)
    table = reduction.fit_pieces(
        function, 0, 255, scale, entries, reduction.Widths(8, 12), np.where(x <= 8, 1.0, 2.0**-10)
    )
    exp = np.maximum(golden.pieces(table, q.max(-1, keepdims=True) - q), 0).astype(np.float64)
    return exp / exp.sum(-1, keepdims=True)


def _errors(got: Array, wanted: Array) -> dict[str, float]:
    off = np.abs(got - wanted)
    return {"max": float(off.max()), "mean": float(off.mean())}


def softmax_errors() -> list[dict[str, Any]]:
    """Errors in output codes (2**-8) by scale and length."""
    rows = []
    for scale in (0, 2, 4, 6):
        for n in (2, 4, 16, 64, 256, 1024):
            q = _softmax_vectors(np.random.default_rng([SEED, scale, n]), n, scale)
            exp = np.exp(np.ldexp((q - q.max(-1, keepdims=True)).astype(np.float64), -scale))
            wanted = np.minimum(256 * exp / exp.sum(-1, keepdims=True) - 128, 127)
            row: dict[str, Any] = {
                "scale": scale,
                "n": n,
                "vectors": len(q),
                "float": _errors(np.floor(wanted + 0.5), wanted),
            }
            for entries in (8, 16):
                op = composites.softmax_params(scale, entries, max(64, n))
                row[f"unit {entries}"] = _errors(golden.softmax(op, q), wanted)
                direct = np.floor(256 * _direct_softmax(scale, entries, q) + 0.5) - 128
                row[f"direct {entries}"] = _errors(np.minimum(direct, 127), wanted)
            rows.append(row)
    return rows


def normalise_errors() -> list[dict[str, Any]]:
    """Errors in output codes (2**-5) by length; gamma and beta are the stored ones."""
    rows = []
    for n in (2, 16, 64, 256, 768, 1024):
        rng = np.random.default_rng([SEED, n])
        count = int(np.clip(200_000 // n, 200, 4000))
        width = rng.choice([0.2, 0.5, 1, 4, 30, 100], (count, 1))
        q = rng.normal(size=(count, n)) * width + rng.uniform(-60, 60, (count, 1))
        q = np.clip(np.round(q), -128, 127).astype(np.int64)
        affine = {"gamma": rng.normal(1, 0.3, n), "beta": rng.normal(0, 0.5, n)}
        kinds: dict[str, dict[str, Any]] = {
            "layer norm": {},
            "layer norm, gamma, beta": affine,
            "root mean square": {"rms": True},
        }
        for kind, knobs in kinds.items():
            row: dict[str, Any] = {"kind": kind, "n": n, "vectors": count}
            for entries in (8, 16):
                op = composites.layernorm_params(n, 4, entries, **knobs)
                x = np.ldexp(q.astype(np.float64), -4)
                x = x - x.mean(-1, keepdims=True) if op.centre else x
                y = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
                if op.gamma is not None and op.beta is not None:
                    fraction = op.shift + 5 - op.norm_fraction
                    y = y * np.ldexp(op.gamma.astype(np.float64), -fraction) + affine["beta"]
                wanted = np.clip(32 * y, -128, 127)
                row["float"] = _errors(np.floor(wanted + 0.5), wanted)
                row[f"unit {entries}"] = _errors(golden.normalise(op, q), wanted)
            rows.append(row)
    return rows


def exhaustive() -> dict[str, Any]:
    """Range reduction of every 16-bit integer and a million of 32 bits, through Icarus."""
    rng, found = np.random.default_rng(SEED), {}
    names: tuple[reduction.Name, ...] = ("reciprocal", "rsqrt")
    for name in names:
        wide = rng.integers(0, 1 << 32, 100_000) >> rng.integers(0, 32, 100_000)
        for bits, x in ((16, np.arange(1 << 16)), (32, wide)):
            op = reduction.reduction(name, bits, 8, 9, composites.RESULT)
            outcome = simulate(op, [Segment([x])])
            found[f"{name} {bits}"] = {"inputs": outcome.elements, "mismatches": outcome.mismatches}
    return found


def measure(say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Everything that ``docs/results.md`` says of composites, JSON-able."""
    say("range reduction: errors")
    data: dict[str, Any] = {
        "seed": SEED,
        "versions": require_simulator()
        | {"numpy": np.__version__, "amaranth": version("amaranth")},
        "reduction": reduction_errors(),
    }
    say("softmax: errors")
    data["softmax"] = softmax_errors()
    say("normalisation: errors")
    data["normalise"] = normalise_errors()
    say("range reduction: Verilog")
    data["exhaustive"] = exhaustive()
    data["campaign"] = campaign(say=say)
    return data


def render(data: dict[str, Any]) -> list[str]:
    """Markdown of what :func:`measure` returned."""
    first, second = FORMATS
    out = [
        "## Range reduction, softmax and layer normalisation",
        "",
        "Reciprocal and reciprocal square root of INT8 codes by range reduction, protocol R (mean",
        "over scales 2^0 to 2^-6 of the mean squared error, outputs not rounded). Break points and",
        "lines are the exact optimum of their format over 64 (rsqrt: 192) mantissas: for this",
        "measure, or, last column, for relative error, as the units have them. LUT-APP reduces the",
        "range too.",
        "",
        "| function | entries | LUT-APP shipped | its format's optimum | 8-bit slope, intercept "
        "| 8-bit slope, 13-bit intercept | for relative error |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["reduction"]["protocol_r"]:
        shipped, best = row["published"]
        out.append(
            f"| {row['function']} | {row['entries']} | {shipped:.2e} | {best:.2e} "
            f"| {row[first]:.2e} | {row[second]:.2e} | {row['relative error']:.2e} |"
        )
    out += [
        "",
        "Largest relative error of mantissa and exponent, unrounded line, mantissas of 6 bits",
        "(8-bit codes, exact) or rounded to 9 bits: every 8-bit and 16-bit integer, a million of",
        "32 bits of all magnitudes.",
        "",
        "| function | entries | 8 bits | 16 bits | 32 bits |",
        "|---|---|---|---|---|",
    ]
    for name, entries in PUBLISHED:
        found = [
            f"{row['max']:.2e}"
            for row in data["reduction"]["relative"]
            if (row["function"], row["entries"]) == (name, entries)
        ]
        out.append(f"| {name} | {entries} | {' | '.join(found)} |")

    def pair(errors: dict[str, float]) -> str:
        return f"{errors['max']:.2f} / {errors['mean']:.3f}"

    out += [
        "",
        "Softmax of INT8 codes, error in output codes of 2^-8, greatest / mean, over vectors that",
        "are uniform, normal, one code above equal others, or above three groups of equal ones.",
        "`float`: real softmax, rounded. `direct`: one table of exp over (-8, 0) instead of powers",
        "of two taken apart, all else exact: its absolute error adds up over a long vector.",
        "",
        "| scale | n | float | unit, 8 entries | unit, 16 | direct, 8 | direct, 16 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["softmax"]:
        cells = [pair(row[key]) for key in ("float", "unit 8", "unit 16", "direct 8", "direct 16")]
        out.append(f"| 2^{-row['scale']} | {row['n']} | {' | '.join(cells)} |")
    out += [
        "",
        "Normalisation of INT8 codes of scale 2^-4, error in output codes of 2^-5, greatest and",
        "mean; eps 1e-5, gamma as stored in 8 bits.",
        "",
        "| kind | n | float | unit, 8 entries | unit, 16 |",
        "|---|---|---|---|---|",
    ]
    for row in data["normalise"]:
        cells = [pair(row[key]) for key in ("float", "unit 8", "unit 16")]
        out.append(f"| {row['kind']} | {row['n']} | {' | '.join(cells)} |")
    wrong = sum(len(found["mismatches"]) for found in data["exhaustive"].values())
    reduced = sum(found["inputs"] for found in data["exhaustive"].values())
    out += [
        "",
        "Verilog in Icarus against the golden model: stalls on both sides, resets in mid-vector,",
        "vectors of all lengths, back to back.",
        "",
        "| unit | cases | results compared | mismatches | cycles between vectors as stated |",
        "|---|---|---|---|---|",
        f"| range reduction, all of 16 bits and some of 32 | {len(data['exhaustive'])} | "
        f"{reduced:,} | {wrong} | - |",
    ]
    for kind in ("softmax", "normalise"):
        found = data["campaign"][kind]
        out.append(
            f"| {kind} | {found['cases']} | {found['elements']:,} | {len(found['mismatches'])} | "
            f"{found['periods_as_stated']:,} of {found['periods']:,} |"
        )
    out += [
        "",
        "A vector of n takes 2 n + 7 cycles in softmax, its first result n + 9 after its last",
        "element; in normalisation n + 5, and 1 or 2 for the square of the sum.",
    ]
    tools = data["versions"]
    return [*out, "", f"Seed {data['seed']}, NumPy {tools['numpy']}, {tools['icarus']}."]
