"""Cells without Yosys: what a part will cost, told by the integers that shape it.

A linear model for each kind of part, over a few products of its widths, with coefficients fitted to
modules that Yosys measured (``estimate.json``; ``python -m genogate.synth.estimate`` makes it
again). A search may rank thousands of genomes by it and measure only those that it ends with. An
estimate is a function of the part alone, never of what a cache holds.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..hdl.diagram import Diagram
from ..hdl.gru.design import Design
from ..hdl.gru.shared.shape import Shape
from ..model.files import write_json
from ..model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ..model.integer import Operator, signed_width
from ..model.knobs import Knobs
from ..model.quantize.scales import signed_digits
from .area import ModuleArea, known_areas
from .report import as_built

Identity = tuple[Any, ...]
_FILE = Path(__file__).with_name("estimate.json")
#: What an identity of a shared machine lists.
_MACHINE = tuple(field.name for field in fields(Shape))
#: Weight of the penalty on coefficients, whose features are scaled to at most 1.
_RIDGE = 0.1


def _digits(value: int) -> int:
    return signed_digits(abs(value)) if value else 0


def _changes(values: Sequence[int], width: int) -> int:
    """Bits in which neighbours differ."""
    mask = (1 << width) - 1
    return sum(((a ^ b) & mask).bit_count() for a, b in pairwise(values))


def _aligned(bits: int, zero: int) -> bool:
    """Whether a zero point needs no adder in front of a multiplier."""
    return zero in (0, -(1 << (bits - 1)))


def _dense(i: Identity) -> list[float]:
    (
        _,
        in_bits,
        out,
        lanes,
        chunks,
        output,
        width,
        digit,
        keep,
        bias,
        channel,
        factor,
        _,
        rest,
        total,
        value,
        below,
        above,
        *pipeline,
    ) = i
    return [
        1,
        lanes * in_bits * digit,
        lanes * in_bits,
        lanes * digit,
        lanes * in_bits * (digit == 1),
        width,
        keep,
        bias,
        total * (_digits(factor) - 1),
        total,
        out,
        max(0, value - out),
        (below + above) * out,
        out * (output != "wire"),
        channel * value,
        len(rest) - 1,
        chunks > 1,
        (chunks > 1) * in_bits,
        (chunks > 1) * width,
        min(in_bits, digit),
        lanes * (digit - 1) * (in_bits - 1),
        # Registers after the multipliers, and before them.
        (pipeline != []) * (in_bits + digit),
        (pipeline == [2]) * lanes * (in_bits + digit),
    ]


def _sum(i: Identity) -> list[float]:
    _, a, b, out, m_a, m_b, shift, constant, output = i
    width = ((m_a << (a - 1)) + (m_b << (b - 1))).bit_length() + 1
    more, wider = _digits(m_a) + _digits(m_b) - 2, max(0, max(1, width - shift) - out)
    return [
        1,
        a,
        b,
        min(a, b),
        width,
        width - shift,
        more,
        more * width,
        out,
        wider,
        out * (output in ("register", "slot")),
        output in ("register", "slot"),
        out * (output == "hold"),
        constant != 0,
        _digits(constant),
        (constant != 0) * width,
        min(width, shift),
        abs(m_a.bit_length() - m_b.bit_length()),
    ]


def _product(i: Identity) -> list[float]:
    _, a, b, out, z_a, z_b, factor, shift, zero, _, digit = i
    wide_a, wide_b = a + (not _aligned(a, z_a)), b + (not _aligned(b, z_b))
    width, whole = wide_a + wide_b, digit == 0
    over = max(0, width + factor.bit_length() - 1 - shift - out)
    return [
        1,
        whole * wide_a * wide_b,
        width,
        (not whole) * wide_a,
        (not whole) * wide_b,
        not whole,
        digit * wide_b,
        out,
        over,
        z_a == -(1 << (a - 1)),
        z_b == -(1 << (b - 1)),
        not _aligned(a, z_a),
        not _aligned(b, z_b),
        a * (not _aligned(a, z_a)),
        b * (not _aligned(b, z_b)),
        _digits(factor) - 1,
        (_digits(factor) - 1) * width,
        zero != 0,
        _digits(zero),
        min(shift, width),
        min(a, b),
        out * (over > 0),
        whole * min(wide_a, wide_b),
        whole * max(wide_a, wide_b),
    ]


def _complement(i: Identity) -> list[float]:
    _, a, out, zero, factor, one, shift, _, _ = i
    width = max(factor << a, abs(one)).bit_length() + 1
    return [
        1,
        a,
        out,
        width,
        max(0, width - shift - out),
        not _aligned(a, zero),
        _digits(one),
        _digits(factor) - 1,
        min(a, out),
    ]


def _diagram(i: Identity) -> list[float]:
    _, codes, bits, output = i
    size, inputs = Diagram(codes, bits).size, len(codes).bit_length() - 1
    return [
        1,
        size,
        inputs,
        bits,
        size * (inputs == 8),
        size**0.5,
        len(set(codes)),
        bits * (output != "wire"),
    ]


def _piecewise(i: Identity) -> list[float]:
    _, slopes, intercepts, points, negative, width, a, out, shift, digit, *_ = i
    high = max(abs(v) for v in intercepts).bit_length() + 1
    # A comparison looks at the bits above the lowest one that is set.
    compared = sum(a - 1 - ((p & -p).bit_length() - 1 if p else a - 1) for p in points)
    return [
        1,
        len(points),
        width,
        high,
        _changes(slopes, width),
        _changes(intercepts, high),
        out,
        shift,
        compared,
        negative,
        len(set(slopes)),
        a * width * (digit == 0),
        digit == 0,
    ]


def _sequencer(i: Identity) -> list[float]:
    _, x_words, h_words, cycles, chunks, _, hidden, inputs, vectors, *rest = i
    _, lanes_x, lanes_h, read, *_ = rest
    words = [c * (x_words if k < 3 else h_words) for k, c in enumerate(chunks)]
    return [
        1,
        len(set(words)),
        sum(c > 1 for c in chunks),
        (hidden - 1).bit_length(),
        (cycles - 1).bit_length(),
        (inputs - 1).bit_length(),
        len(set(chunks)),
        sum((w - 1).bit_length() for w in dict.fromkeys(words)),
        sum(bool(c & (c - 1)) for c in set(chunks)),
        lanes_x > 1,
        lanes_h > 1,
        vectors,
        read,
    ]


def _classifier(i: Identity) -> list[float]:
    _, (classes, inputs), width, digit, in_bits, bias, acc, lanes, chunks, *_ = i
    return [
        1,
        in_bits * digit,
        width,
        acc,
        bias,
        in_bits,
        (classes - 1).bit_length(),
        (inputs - 1).bit_length(),
        chunks,
        in_bits * (lanes - 1),
    ]


def _machine(i: Identity) -> list[float]:
    facts = dict(zip(_MACHINE, i[1:], strict=True))
    values = {name: len(states) for name, states in facts["encoding"]}
    counters = [facts[n] for n in ("inputs", "hidden", "rows", "weights")]
    return [
        1,
        facts["width"],
        facts["operand_bits"] * facts["digit"],
        facts["row_bits"],
        sum((n - 1).bit_length() for n in counters),
        facts["logit_bits"],
        sum(bits for *_, bits, _ in facts["activations"]),
        values["bits"],
        values["factor"],
        facts["state_bits"],
    ]


def _gates_machine(i: Identity) -> float:
    """Cells of shared gates, roughly: multiply-accumulate, multiplier, requantiser, pieces."""
    _, _, _, lanes, in_bits, state_bits, _, _, digit, _, channel, acc, first, second, *rest = i
    total, value, looks, pieces, *_ = rest
    mac = lanes * digit * (max(in_bits, state_bits) * 5 + 3) + 9 * acc
    shared = 14 * (first + second) + 30 * total + 8 * value + 8 * channel * value
    tables = sum(1.4 * Diagram(codes, 8).size for _, codes in looks)
    pieced = sum(30 * len(plan.slopes) for _, plan in pieces)
    return 0.85 * (300 + mac + shared + tables + pieced)


def _stage_control(i: Identity) -> float:
    """Cells of the control of a dense layer around the GRU: its counters, within 6 % of 14 that
    Yosys measured."""
    _, inputs, outputs, lanes, chunks, vectors, _, pipeline, *_ = i
    words = -(-inputs // lanes)
    counts = [words, chunks, outputs]
    if any(n & (n - 1) for n in (words, chunks)):
        counts.append(words * chunks * outputs)
    bits = sum((n - 1).bit_length() for n in counts)
    buffer = 3.0 * (inputs - 1).bit_length() + 2.3 * lanes * (lanes > 1) if vectors else 0.0
    return 7.5 + 6.6 * bits + buffer + 19.9 * vectors + 11.4 * pipeline


def _state(i: Identity) -> list[float]:
    _, bits, lanes, _, zero, *_ = i
    return [bits, bits * lanes, _digits(zero) * lanes]


#: Features of each kind of part; what is not here is memory, or the same in every network.
FEATURES: dict[str, Callable[[Identity], list[float]]] = {
    "Dense": _dense,
    "Sum": _sum,
    "Product": _product,
    "Complement": _complement,
    "Diagram": _diagram,
    "PiecewiseLinear": _piecewise,
    "Sequencer": _sequencer,
    "Classifier": _classifier,
    "StateMemory": _state,
    "Machine": _machine,
}


@cache
def _coefficients() -> dict[str, np.ndarray]:
    document = json.loads(_FILE.read_text())
    return {kind: np.array(values) for kind, values in document["coefficients"].items()}


@cache
def version() -> str:
    """Ten hex digits that change whenever estimates may."""
    return hashlib.sha256(Path(__file__).read_bytes() + _FILE.read_bytes()).hexdigest()[:10]


@lru_cache(maxsize=1 << 16)
def cells(identity: Identity) -> float:
    """Cells that a part (:class:`hdl.operator.Part`) is expected to cost; 0 for memories."""
    kind = identity[0]
    if kind == "Fork":
        return 3.0
    if kind == "StateCopy":
        return 8.0 + 2.0 * (identity[2] - 1).bit_length() * 2
    if kind == "Requantize":
        _, low, high, bits, multiplier, *_ = identity
        # One adder for each term of the multiplier and for the rounding constant, and saturation.
        adders = _digits(multiplier)
        return 4.0 * adders * signed_width(low, high) + 3.0 * bits
    if kind == "Loader":
        _, depths, _, most = identity
        address, select = (max(depths) - 1).bit_length(), (len(depths) - 1).bit_length()
        # Counters, the last address of each memory, and an enable for each.
        return 7.0 * (address + select + most.bit_length()) + 3.0 * len(depths) + 25.0
    if kind == "GatesMachine":
        return _gates_machine(identity)
    if kind == "StageControl":
        return _stage_control(identity)
    if kind not in FEATURES:
        return 0.0
    return max(1.0, float(_coefficients()[kind] @ np.array(FEATURES[kind](identity), float)))


def memory_bits(identity: Identity) -> int:
    """Bits of all memories of a part, exactly."""
    kind, *rest = identity
    if kind in ("Rom", "WeightMemory"):
        return int(rest[0] * rest[1])
    if kind in ("CodeBuffer", "StateMemory"):
        return int(rest[0] * rest[1] * rest[2])
    if kind == "Classifier":
        (classes, inputs), _, digit, _, bias, _, _, chunks, *_ = rest
        return int(classes * (inputs * digit * chunks + bias))
    if kind == "StateCopy":
        return int(rest[0] * rest[1])
    return 0


def cheapest(groups: Sequence[Sequence[Operator]]) -> list[int]:
    """As :func:`.report.cheapest`, by the estimate."""
    rows = [[cells(as_built(op).identity) for op in group] for group in groups]
    return [min(range(len(row)), key=row.__getitem__) for row in rows]


def total(design: Design) -> ModuleArea:
    """Cells of a network by the estimate, and its memory bits exactly; nothing else is told."""
    parts = [part.identity for part in design.parts]
    return ModuleArea(
        cells=round(sum(cells(identity) for identity in parts)),
        memory_bits=sum(memory_bits(identity) for identity in parts),
    )


def ridge(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients of a ridge regression, features scaled by their greatest."""
    scale = np.abs(rows).max(0)
    scale[scale == 0] = 1
    x = rows / scale
    penalty = _RIDGE * np.eye(x.shape[1])
    penalty[0, 0] *= 1e-5
    return np.linalg.solve(x.T @ x + penalty, x.T @ values) / scale


def fit(cells: Mapping[Identity, int]) -> dict[str, list[float]]:
    """Coefficients by kind, for :data:`_FILE`, from the cells of measured parts."""
    models = {}
    for kind, features in FEATURES.items():
        identities = [identity for identity in cells if identity[0] == kind]
        if identities:
            rows = np.array([features(identity) for identity in identities], float)
            values = np.array([cells[identity] for identity in identities], float)
            models[kind] = [float(f"{value:.6g}") for value in ridge(rows, values)]
    return models


#: Networks whose parts the coefficients are fitted to: checkpoints and knobs.
FITTED: tuple[tuple[str, Knobs], ...] = (
    ("digits-row", Knobs()),
    ("digits-row", Knobs(granularity="channel")),
    ("digits-row", Knobs(multiplier_terms=2)),
    ("digits-row", Knobs(lanes_x=2, lanes_h=2)),
    ("digits-row", Knobs(share="all")),
    ("kws4", Knobs(share="all")),
    ("digits-row", Knobs(share="all", lanes_x=4, lanes_h=4)),
    ("digits-row", Knobs(share="all", lanes_x=8, lanes_h=8)),
    ("digits-row-seed1", Knobs()),
    ("digits-row-2layer", Knobs()),
    ("kws4", Knobs()),
    ("kws10", Knobs()),
    ("mnist-row", Knobs()),
)


def _genomes(layers: int, seed: int = 3, drawn: int = 40) -> list[Genome]:
    """Homogeneous ones, INT8 with one operator of few bits, and random ones."""
    top = [MAX_BITS] * (layers * len(GENES))
    alone = [[*top[:g], bits, *top[g + 1 :]] for g in range(len(GENES)) for bits in (2, 4, 6)]
    rows = np.random.default_rng(seed).integers(MIN_BITS, MAX_BITS + 1, (drawn, len(top)))
    return [
        *(Genome.uniform(b, layers) for b in range(MIN_BITS, MAX_BITS + 1)),
        *(Genome.from_genes(row) for row in [*alone, *rows]),
    ]


def remake(say: Callable[[str], None] = print) -> None:
    """Fit again, to those parts of :data:`FITTED` that were measured before (the cache of areas),
    and write ``estimate.json``. A search over each of them beforehand measures most."""
    from ..model import zoo
    from ..model.data.tasks import load_task
    from ..model.quantize.calibrate import calibrate
    from ..model.quantize.drafts import draft
    from ..model.quantize.quantize import without_synthesis

    cells: dict[Identity, int] = {}
    for name, knobs in FITTED:
        checkpoint = zoo.load(name)
        task = load_task(checkpoint.info["task"], checkpoint.info.get("split_seed", 0))
        calibration, identities = calibrate(checkpoint, task.x_calibration), set()
        for genome in _genomes(checkpoint.layers):
            drafted = draft(calibration, genome, knobs)
            model = drafted.choose(without_synthesis(drafted.groups))
            identities |= {as_built(op).identity for group in drafted.groups for op in group}
            identities |= {part.identity for part in Design.of(model, **knobs.hardware).parts}
        areas = known_areas(identities)
        cells |= {identity: area.cells for identity, area in areas.items()}
        say(f"{name}{knobs.suffix}: {len(areas)} of {len(identities)} parts are known")
    # In an order of their own, so that sums come out the same.
    cells = {identity: cells[identity] for identity in sorted(cells, key=repr)}
    write_json(_FILE, {"parts": len(cells), "coefficients": fit(cells)})


if __name__ == "__main__":
    remake()
