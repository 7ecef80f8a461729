"""What a bit of a weight costs as logic, and what makes it cheaper at equal results: the order of
words, their coding, biases among weights, one memory in place of many, and training for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from genogate.hdl.memories import Rom, bias_words, weight_words
from genogate.model.data.tasks import load_task
from genogate.model.genome import GENES, Genome
from genogate.model.integer import IntModel, Layer
from genogate.model.integer.operators import acc_bounds
from genogate.model.knobs import Knobs
from genogate.model.qat.tune import GenomeTrainer, Tuning, export
from genogate.model.zoo import load
from genogate.network import build_network
from genogate.sim import fast
from genogate.synth.cells import liberty
from genogate.synth.constants import to_rtlil
from genogate.synth.rtlil import Design
from genogate.synth.targets.cell_pieces import Piece, pieces_of
from genogate.synth.targets.sky130 import measure as measure_pieces
from genogate.synth.yosys import find as find_yosys

from .search import table
from .sharing import GENOMES

Say = Callable[[str], None]
#: Words of a memory, and their width.
Memory = tuple[list[int], int]
NETWORKS = (
    ("digits-row", "INT8"),
    ("digits-row", "INT4"),
    ("digits-row", "mixed"),
    ("kws10", "INT8"),
)
DENSE = GENES[:6]
#: Training: strengths of the penalty on the magnitude of weights, epochs, seeds.
STRENGTHS, EPOCHS, SEEDS = (0.0, 0.03, 0.1, 0.3), 24, (0, 1)
#: Codes that weights are rounded to after training.
CODES = (64, 32, 16)


def _dense(layer: Layer) -> dict[str, Memory]:
    """Weights of every dense operator, and its biases."""
    rows: dict[str, Memory] = {}
    for name in DENSE:
        op = layer.dense(name)
        rows[name] = weight_words(op.weight, op.weight_bits, 1, 1), op.weight_bits
        rows[f"{name} bias"] = _biases(layer, name)
    return rows


def _biases(layer: Layer, name: str) -> Memory:
    bias = layer.dense(name).bias.tolist()
    words, width, _ = bias_words(bias, [0] * len(bias))
    return words, width


def today(layer: Layer) -> list[Memory]:
    """A memory for every operator's weights, and one for its biases."""
    return list(_dense(layer).values())


def inputs_outside(layer: Layer) -> list[Memory]:
    """The low bits of the address count outputs in place of inputs."""
    rows = _dense(layer)
    for name in DENSE:
        op = layer.dense(name)
        rows[name] = weight_words(op.weight.T, op.weight_bits, 1, 1), op.weight_bits
    return list(rows.values())


def gray(layer: Layer) -> list[Memory]:
    """Addresses count in Gray code, where there are as many words as addresses."""
    rows = _dense(layer)
    for name in DENSE:
        words, width = rows[name]
        if len(words) & (len(words) - 1) == 0:
            at = np.arange(len(words))
            coded = np.empty(len(words), object)
            coded[at ^ (at >> 1)] = words
            rows[name] = coded.tolist(), width
    return list(rows.values())


def magnitudes(layer: Layer) -> list[Memory]:
    """Sign and magnitude in place of two's complement, where no weight is the least code."""
    rows = _dense(layer)
    for name in DENSE:
        op = layer.dense(name)
        weight, sign = op.weight.astype(np.int64), 1 << (op.weight_bits - 1)
        if weight.min() > -sign:
            coded = np.where(weight < 0, sign - weight, weight).ravel().tolist()
            rows[name] = coded, op.weight_bits
    return list(rows.values())


def digits_apart(layer: Layer) -> list[Memory]:
    """A memory for every bit of the words."""
    return [
        ([word >> bit & 1 for word in words], 1)
        for words, width in _dense(layer).values()
        for bit in range(width)
    ]


def digits_in_a_row(layer: Layer) -> list[Memory]:
    """Bits of a weight one after the other: words of a bit, an address longer by the bits."""
    rows = _dense(layer)
    for name in DENSE:
        op = layer.dense(name)
        rows[name] = weight_words(op.weight, op.weight_bits, 1, op.weight_bits), 1
    return list(rows.values())


def biases_among(layer: Layer) -> list[Memory]:
    """A row of weights, then the bias of its output in words of the same width."""
    memories = []
    for name in DENSE:
        op = layer.dense(name)
        (biases, wide), bits = _biases(layer, name), op.weight_bits
        rows = np.array(weight_words(op.weight, bits, 1, 1)).reshape(op.weight.shape)
        words = []
        for row, bias in zip(rows.tolist(), biases, strict=True):
            words += row
            words += [bias >> shift & ((1 << bits) - 1) for shift in range(0, wide, bits)]
        memories.append((words, bits))
    return memories


def three_gates(layer: Layer) -> list[Memory]:
    """Words of the three gates side by side: one memory for each side, one for all biases."""
    rows = _dense(layer)
    sides = [[rows[name] for name in names] for names in (DENSE[:3], DENSE[3:])]
    sides.append([rows[f"{name} bias"] for name in DENSE])
    return [_side_by_side(side) for side in sides]


def _side_by_side(memories: Sequence[Memory]) -> Memory:
    words, shift = [0] * len(memories[0][0]), 0
    for values, width in memories:
        words = [word | value << shift for word, value in zip(words, values, strict=True)]
        shift += width
    return words, shift


def all_in_a_row(layer: Layer) -> list[Memory]:
    """One memory of bits for all weights and biases, as ``share all`` reads them."""
    words: list[int] = []
    for values, width in digits_in_a_row(layer):
        words += [value >> bit & 1 for value in values for bit in range(width)]
    return [(words, 1)]


def sorted_units(layer: Layer) -> Layer:
    """The same layer with its units in another order: each is followed by the one whose weights
    differ in the fewest bits. Results are equal but for that order."""
    rows = []
    for name in DENSE:
        op = layer.dense(name)
        codes = op.weight.astype(np.int64)[:, :, None] >> np.arange(op.weight_bits) & 1
        rows.append(codes.reshape(len(codes), -1))
    bits = np.concatenate(rows, 1)
    left, order = set(range(1, len(bits))), [0]
    while left:
        nearest = min(left, key=lambda unit: (int((bits[unit] ^ bits[order[-1]]).sum()), unit))
        left.remove(nearest)
        order.append(nearest)
    ops: dict[str, Any] = dict(layer.ops)
    for name in DENSE:
        op = layer.dense(name)
        weight = op.weight[order] if name[2] == "i" else op.weight[order][:, order]
        ops[name] = replace(
            op,
            weight=np.ascontiguousarray(weight),
            bias=op.bias[order],
            channel_shift=op.channel_shift[order],
        )
    return replace(layer, ops=ops)


LAYOUTS: dict[str, tuple[str, Callable[[Layer], list[Memory]]]] = {
    "today": ("a memory for each operator's weights and one for its biases", today),
    "units sorted": (
        "a unit is followed by the most similar one",
        lambda x: today(sorted_units(x)),
    ),
    "inputs outside": ("low bits of the address count outputs", inputs_outside),
    "Gray": ("addresses count in Gray code", gray),
    "sign and magnitude": ("in place of two's complement", magnitudes),
    "biases among weights": ("a row, then its bias", biases_among),
    "gates side by side": ("one wide memory for each side, one for biases", three_gates),
    "digits apart": ("a memory for every bit", digits_apart),
    "digits in a row": ("words of a bit, longer addresses", digits_in_a_row),
    "one memory": ("all weights and biases bit by bit, as `share all` reads them", all_in_a_row),
}


#: Today's memories as a netlist of the whole network has them.
FLAT = "today, flat netlist"


def _pieces(memories: Sequence[Memory], name: str) -> list[Piece]:
    return [
        piece
        for words, width in memories
        for piece in pieces_of(Design(to_rtlil(Rom(words, width), "top")), name)
        if piece.kind == "rom"
    ]


class OneModule(wiring.Component):
    """Memories in one module, those of equal depth with the same address, as in a network's flat
    netlist."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self.memories = memories
        depths = {len(words) for words, _ in memories}
        super().__init__(
            {
                **{f"address_{depth}": In(range(max(2, depth))) for depth in depths},
                **{f"enable_{depth}": In(1) for depth in depths},
                **{f"data_{k}": Out(width) for k, (_, width) in enumerate(memories)},
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for k, (words, width) in enumerate(self.memories):
            rom, depth = Rom(words, width), len(words)
            m.submodules[f"rom{k}"] = rom
            m.d.comb += [
                rom.address.eq(getattr(self, f"address_{depth}")),
                rom.enable.eq(getattr(self, f"enable_{depth}")),
                getattr(self, f"data_{k}").eq(rom.data),
            ]
        return m


def um2_flat(layer: Layer, name: str) -> float:
    """Area of today's memories side by side in flat modules: one for each side, one for biases."""
    rows = _dense(layer)
    sides = [[rows[name] for name in names] for names in (DENSE[:3], DENSE[3:])]
    sides.append([rows[f"{name} bias"] for name in DENSE])
    pieces = [Piece(name, "logic", to_rtlil(OneModule(side), "top")) for side in sides]
    return sum(cost.um2 for cost in measure_pieces(pieces, workers=1))


def um2(memories: Sequence[Memory], name: str) -> float:
    """Area of memories of constants, each synthesised alone."""
    return sum(cost.um2 for cost in measure_pieces(_pieces(memories, name), workers=1))


def entropy(weights: Sequence[np.ndarray]) -> float:
    """Bits a weight, of the distribution of all codes."""
    _, counts = np.unique(np.concatenate([w.ravel() for w in weights]), return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _weights(model: IntModel) -> list[np.ndarray]:
    return [model.layers[0].dense(name).weight for name in DENSE]


def fewer_codes(model: IntModel, count: int) -> IntModel:
    """The model with its weights rounded to `count` codes, those that are used most (Lloyd)."""
    layer = model.layers[0]
    values = np.concatenate([w.ravel() for w in _weights(model)]).astype(np.float64)
    codes = np.unique(np.quantile(values, (np.arange(count) + 0.5) / count).round())
    for _ in range(30):
        nearest = np.abs(values[:, None] - codes).argmin(1)
        codes = np.unique([round(values[nearest == k].mean()) for k in np.unique(nearest)])
    ops: dict[str, Any] = dict(layer.ops)
    for name in DENSE:
        op = layer.dense(name)
        places = np.abs(op.weight[..., None] - codes).argmin(-1)
        weight = codes[places].astype(np.int8)
        low, high = acc_bounds(weight, op.bias, op.in_bits)
        ops[name] = replace(op, weight=weight, acc_min=low, acc_max=high)
    return replace(model, layers=(replace(layer, ops=ops), *model.layers[1:]))


class SparseTrainer(GenomeTrainer):
    """Adds the mean magnitude of weights to the loss, in units of what it was at the start."""

    strength = 0.0
    #: Mean magnitude of each matrix at the start.
    starts: dict[str, float]

    def loss_of(self, logits: Any, y: Any, taught: Any) -> Any:
        loss = super().loss_of(logits, y, taught)
        if not self.strength:
            return loss
        for name, value in self.latents.items():
            if name.startswith("weight"):
                if name not in self.starts:
                    self.starts[name] = float(value.detach().abs().mean())
                loss = loss + self.strength / 2 * value.abs().mean() / self.starts[name]
        return loss


def _trained(task_name: str, seed: int, strength: float) -> IntModel:
    task, recipe = load_task(task_name), Tuning(epochs=EPOCHS, seed=seed, keep="last")
    trainer = SparseTrainer(task, load(task_name), recipe, Genome.uniform(8), Knobs())
    trainer.strength, trainer.starts = strength, {}
    trainer.run(None, None)
    return export(trainer.network, trainer.structure, trainer.kept)


def _judged(model: IntModel, about: Mapping[str, Any]) -> dict[str, Any]:
    task = load_task("digits-row")
    return {
        **about,
        "val": fast.accuracy(model, task.x_val, task.y_val),
        "test": fast.accuracy(model, task.x_test, task.y_test),
        "entropy": entropy(_weights(model)),
        "um2": um2(today(model.layers[0]), "trained"),
        "um2_in_a_row": um2(digits_in_a_row(model.layers[0]), "trained"),
    }


def measure(say: Say) -> dict[str, Any]:
    """Every layout of every network, and the trainings; raises :class:`InputError` without Yosys
    or cells."""
    rows = []
    for task, name in NETWORKS:
        network = build_network(
            genome=GENOMES[name], task=task, checkpoint=None, knobs=Knobs(), say=say
        )
        layer = network.model.layers[0]
        bits = sum(len(words) * width for words, width in today(layer))
        for layout, (_, memories) in LAYOUTS.items():
            say(f"{task} {name}: {layout}")
            area = um2(memories(layer), f"{task} {name}")
            rows.append({"task": task, "genome": name, "layout": layout, "bits": bits, "um2": area})
    trained = []
    for strength in STRENGTHS:
        for seed in SEEDS:
            say(f"digits-row INT8, penalty {strength}, seed {seed}")
            model = _trained("digits-row", seed, strength)
            trained.append(_judged(model, {"strength": strength, "seed": seed}))
            if not strength:
                trained += [
                    _judged(fewer_codes(model, count), {"codes": count, "seed": seed})
                    for count in CODES
                ]
    return {
        "rows": rows,
        "trained": trained,
        "epochs": EPOCHS,
        "yosys": find_yosys().version,
        "library": liberty.find().name,
    }


def _less(now: float, before: float) -> str:
    return f"{100 * (now / before - 1):+.1f} %"


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    rows = data["rows"]
    networks = list(dict.fromkeys((row["task"], row["genome"]) for row in rows))
    area = {(row["task"], row["genome"], row["layout"]): row["um2"] for row in rows}
    body = []
    for layout in dict.fromkeys(row["layout"] for row in rows):
        cells = []
        for network in networks:
            now, before = area.get((*network, layout)), area[*network, "today"]
            cells.append("" if now is None else f"{now:,.0f} ({_less(now, before)})")
        what = LAYOUTS[layout][0] if layout in LAYOUTS else "side by side in one module, flat"
        body.append((layout, what, *cells))
    lines = [
        "## Constants: what a bit of a weight costs, and what makes it cheaper",
        "",
        f"Weights and biases of the six dense operators as logic, {data['library']}, "
        f"{data['yosys']}; um^2, each memory synthesised alone, its output registers with it. "
        "Every layout holds the same integers, so results are equal (with sorted units but for "
        "the order of the units).",
        "",
        *table(("layout", "what", *(f"{task} {name}" for task, name in networks)), body),
    ]
    bits = {(row["task"], row["genome"]): row["bits"] for row in rows}
    lines += [
        "Today's price of a bit: "
        + "; ".join(
            f"{task} {name} {area[task, name, 'today'] / bits[task, name]:.2f} um^2"
            for task, name in networks
        )
        + ".",
        "",
        *_conclusion(area, networks),
        *_render_trained(data),
    ]
    return lines


def _conclusion(
    area: Mapping[tuple[str, str, str], float], networks: Sequence[tuple[str, str]]
) -> list[str]:
    """What wins, and what of it the hardware has."""

    def span(layout: str) -> str:
        changes = [
            100 * (area[*network, layout] / area[*network, "today"] - 1)
            for network in networks
            if (*network, layout) in area
        ]
        return f"{max(changes):+.0f} to {min(changes):+.0f} %"

    return [
        f"One memory of bits wins most ({span('one memory')}): the longer the address, the fewer "
        f"gates a bit takes. `--share all` has it. Gates side by side share the decoding of their "
        f"address ({span('gates side by side')}); the netlist of a whole network is flat, and "
        f"there Yosys finds the same for memories that are apart ({span(FLAT)}), so nothing was "
        "changed: reports by module say that much too much, `genogate asic` does not. "
        f"Biases among weights ({span('biases among weights')}) would need cycles of their own. "
        "Orders and codings of words are worth less than the parts that they would add.",
        "",
        "These are memories as Yosys maps them, trees of multiplexers. Since then a ROM is also "
        "written as rows and columns that share their ORs (`synth/cells/roms.py`), and the smaller "
        "counts: with everything shared, the weights of digits-row with 20 units and 2-bit weights "
        "take 5,336 um^2 (6,650 before), its program 2,505 (2,999), the weights of kws10 with 48 "
        "units 13,300 (16,870). No further memory was merged: the program is read in the same "
        "cycle as a weight, and the digits of the activations in one memory with the weights take "
        "6,251 um^2, apart 6,718, of which the multiplexer of the address takes most back (some "
        "300 um^2 by its cells, not built).",
        "",
    ]


def _render_trained(data: Mapping[str, Any]) -> list[str]:
    """Trainings and roundings, means over the seeds."""
    trained = data["trained"]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in trained:
        name = (
            f"rounded to {row['codes']} codes"
            if "codes" in row
            else f"penalty {row['strength']:g}"
            if row["strength"]
            else "no penalty"
        )
        groups.setdefault(name, []).append(row)

    def mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
        return float(np.mean([row[key] for row in rows]))

    base = groups["no penalty"]
    body = [
        (
            name,
            f"{100 * mean(rows, 'val'):.2f}",
            f"{100 * mean(rows, 'test'):.2f}",
            f"{mean(rows, 'entropy'):.2f}",
            *(
                f"{mean(rows, key):,.0f} ({_less(mean(rows, key), mean(base, key))})"
                for key in ("um2", "um2_in_a_row")
            ),
        )
        for name, rows in groups.items()
    ]
    seeds = sorted({row["seed"] for row in trained})
    head = (
        "digits-row INT8",
        "validation, %",
        "test, %",
        "entropy, bits a weight",
        "um^2",
        "um^2, digits in a row",
    )
    return [
        f"Training for it: {data['epochs']} epochs, the last one kept, seeds "
        f"{', '.join(map(str, seeds))}. A penalty adds the mean magnitude of the weights to the "
        "loss, in units of what it was at the start; rounding takes the trained network without "
        "penalty to fewer codes, with no training after it.",
        "",
        *table(head, body),
        "Fewer codes save next to nothing: every bit of a word is a function of its own, and stays "
        "as irregular. What counts is the number of bits, which genomes choose.",
        "",
    ]
