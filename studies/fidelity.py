# amaranth: UnusedElaboratable=no
"""Whether the sum of operators' cells ranks genomes as synthesis of the whole design does.

The search adds up modules that are synthesised apart, each once ever. Here networks are synthesised
as one module with all borders dissolved as well, and the two compared: over random genomes, over
genomes as a search meets them, over knobs, and among genomes of nearly one size, where order is all
that counts. For what differs, element-wise operators are also synthesised in groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, pstdev
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from genogate.hdl.gru.design import Design
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.integer import IntModel
from genogate.model.knobs import Knobs
from genogate.model.quantize.drafts import draft
from genogate.model.quantize.quantize import without_synthesis
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.sensitivity import Profile, ordered, profile
from genogate.synth.area import ModuleArea, measure
from genogate.synth.recipes import script_hash
from genogate.synth.report import area_report, cheapest, prepare
from genogate.synth.yosys import find

from .search import table

Array = np.ndarray
Say = Callable[[str], None]
#: Networks whose whole designs go to Yosys together.
BATCH = 8
#: Knobs beside the default ones.
KNOBS = (
    Knobs(dense_output="gene"),
    Knobs(granularity="channel"),
    Knobs(multiplier_terms=2),
    Knobs(multiplier_terms=None),
    Knobs(activation="table"),
    Knobs(activation="pwl"),
    Knobs(lanes_x=1, lanes_h=4),
)
#: Streams between the element-wise operators: source, sink, operand.
LINKS = (
    ("s_r", "a_r", "i"),
    ("s_z", "a_z", "i"),
    ("a_r", "p_rn", "a"),
    ("p_rn", "s_n", "b"),
    ("s_n", "a_n", "i"),
    ("a_z", "c_z", "i"),
    ("a_z", "p_zh", "a"),
    ("c_z", "p_zn", "a"),
    ("a_n", "p_zn", "b"),
    ("p_zn", "s_h", "a"),
    ("p_zh", "s_h", "b"),
)
#: Operators whose borders are dissolved together, to see where the sum counts too much.
GROUPS = {
    "a_r, p_rn": ("a_r", "p_rn"),
    "a_z, c_z, p_zh": ("a_z", "c_z", "p_zh"),
    "c_z, a_n, p_zn": ("c_z", "a_n", "p_zn"),
    "p_zn, p_zh, s_h": ("p_zn", "p_zh", "s_h"),
    "all element-wise": GENES[6:],
}


@dataclass(frozen=True)
class Size:
    """How many genomes of each kind are compared, and with what.

    uniform : random ones of 2 to 8 bits; the homogeneous ones come besides
    found : random ones around the chain of :func:`~genogate.search.genomes.sensitivity.ordered`, as
    searches find them equal : random ones whose sizes are next to each other, out of `pool`
    knobs : random ones for each of :data:`KNOBS`
    borders : of the first random ones, in how many single borders are dissolved
    """

    uniform: int = 30
    found: int = 20
    equal: int = 24
    pool: int = 240
    knobs: int = 4
    borders: int = 12
    checkpoint: str = "digits-row"
    seed: int = 0


FULL, QUICK = Size(), Size(uniform=3, found=2, equal=3, pool=12, knobs=0, borders=1)


def _random(rng: np.random.Generator, layers: int) -> Genome:
    return Genome.from_genes(rng.integers(MIN_BITS, MAX_BITS + 1, layers * len(GENES)))


def around(rng: np.random.Generator, chain: Sequence[Genome]) -> Genome:
    """A genome of `chain` with some genes a bit off."""
    genes = np.array(chain[int(rng.integers(len(chain)))].genes)
    off = rng.choice([-1, 0, 1], len(genes), p=(0.2, 0.6, 0.2))
    return Genome.from_genes(np.clip(genes + off, MIN_BITS, MAX_BITS))


def fast_profile(setting: Setting) -> Profile:
    """The profile of `setting` by accuracy and size alone."""
    plain = Setting(setting.checkpoint, setting.knobs, silicon=False)
    return profile(
        lambda genomes: [result for _, result in evaluate(plain, genomes)], load(setting).layers
    )


def same_size(setting: Setting, genomes: Sequence[Genome], count: int) -> list[Genome]:
    """The `count` of `genomes` that lie closest together in size."""
    calibration = load(setting).calibration
    # Size hardly depends on how activations are built, and tables are quantised fastest.
    made = [draft(calibration, genome, Knobs(activation="table")) for genome in genomes]
    sizes = np.array([m.choose(without_synthesis(m.groups)).size_bits for m in made])
    order = np.argsort(sizes, kind="stable")
    spans = sizes[order[count - 1 :]] - sizes[order[: len(order) - count + 1]]
    start = int(spans.argmin())
    return [genomes[k] for k in order[start : start + count]]


def cases(size: Size) -> list[tuple[str, Knobs, Genome]]:
    """Kind, knobs and genome of everything that is compared, each once."""
    setting = Setting(size.checkpoint, Knobs())
    layers = load(setting).layers
    rng = np.random.default_rng([size.seed, 7])
    found = [
        ("homogeneous", Knobs(), Genome.uniform(b, layers)) for b in range(MIN_BITS, MAX_BITS + 1)
    ]
    found += [("uniform", Knobs(), _random(rng, layers)) for _ in range(size.uniform)]
    chain = ordered(fast_profile(setting), ["size"], drop=0.15)
    found += [("found", Knobs(), around(rng, chain)) for _ in range(size.found)]
    pool = [_random(rng, layers) for _ in range(size.pool)]
    found += [("equal", Knobs(), g) for g in same_size(setting, pool, size.equal)]
    found += [("knobs", knobs, _random(rng, layers)) for knobs in KNOBS for _ in range(size.knobs)]
    return list({(knobs, genome): (kind, knobs, genome) for kind, knobs, genome in found}.values())


def models(setting: Setting, chosen: Sequence[tuple[Knobs, Genome]], say: Say) -> list[IntModel]:
    """The integer models, their activation units chosen by Yosys."""
    calibration = load(setting).calibration
    drafts = [draft(calibration, genome, knobs) for knobs, genome in chosen]
    units = iter(cheapest([group for made in drafts for group in made.groups], say))
    return [made.choose([next(units) for _ in made.groups]) for made in drafts]


def flat_areas(networks: Sequence[Design], say: Say = lambda text: None) -> list[ModuleArea]:
    """Area of each network as one module with its borders dissolved."""
    areas: list[ModuleArea] = []
    for start in range(0, len(networks), BATCH):
        say(f"Whole designs: {start} of {len(networks)}")
        areas += measure([of.component() for of in networks[start : start + BATCH]])
    return areas


class Together(wiring.Component):
    """Some element-wise operators of a layer joined as they are there, all other streams outside.

    Members
    -------
    NAME_OPERAND : In, for each operand that none of them drives; NAME_o : Out, for each result that
        none of them takes
    """

    def __init__(self, parts: Mapping[str, wiring.Component]) -> None:
        self.parts = dict(parts)
        self.links = [link for link in LINKS if link[0] in parts and link[1] in parts]
        driven = {(sink, operand) for _, sink, operand in self.links}
        sources = {source for source, _, _ in self.links}
        self.inputs = [
            (name, operand)
            for name, part in self.parts.items()
            for operand in ("i", "a", "b")
            if hasattr(part, operand) and (name, operand) not in driven
        ]
        self.outputs = [name for name in self.parts if name not in sources]

        def shape(name: str, port: str) -> stream.Signature:
            return stream.Signature(getattr(self.parts[name], port).payload.shape())

        super().__init__(
            {f"{name}_{operand}": In(shape(name, operand)) for name, operand in self.inputs}
            | {f"{name}_o": Out(shape(name, "o")) for name in self.outputs}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
        ready: set[str] = set()
        for source, sink, operand in self.links:
            out, into = self.parts[source].o, getattr(self.parts[sink], operand)
            m.d.comb += [into.payload.eq(out.payload), into.valid.eq(out.valid)]
            if source not in ready:
                m.d.comb += out.ready.eq(into.ready)
            ready.add(source)
        for name, operand in self.inputs:
            wiring.connect(
                m,
                wiring.flipped(getattr(self, f"{name}_{operand}")),
                getattr(self.parts[name], operand),
            )
        for name in self.outputs:
            wiring.connect(m, self.parts[name].o, wiring.flipped(getattr(self, f"{name}_o")))
        return m


def dissolved(networks: Sequence[Design]) -> dict[str, list[tuple[int, int]]]:
    """For each of :data:`GROUPS` and each network (its first layer): cells of the group as a sum,
    and synthesised together."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in GROUPS}
    for design in networks:
        # Not built yet: what is measured has to be built afresh each time.
        parts = design.layers[0]
        alone = dict(zip(GENES[6:], measure([parts[n] for n in GENES[6:]]), strict=True))
        joined = measure(
            [Together({n: parts[n].build() for n in members}) for members in GROUPS.values()]
        )
        for (name, members), area in zip(GROUPS.items(), joined, strict=True):
            found[name].append((sum(alone[n].cells for n in members), area.cells))
    return found


def wrong_pairs(summed: Sequence[float], flat: Sequence[float]) -> dict[str, float]:
    """Pairs that the sum puts in the other order: their share, and by how much, in percent of the
    smaller, whole designs differ in the worst of them."""
    a, b = np.asarray(summed, float), np.asarray(flat, float)
    i, j = np.triu_indices(len(a), 1)
    wrong = (a[i] - a[j]) * (b[i] - b[j]) < 0
    apart = 100 * (np.maximum(b[i], b[j]) / np.minimum(b[i], b[j]) - 1)
    return {
        "pairs": len(i),
        "wrong": int(wrong.sum()),
        "worst_percent": round(float(apart[wrong].max()), 3) if wrong.any() else 0.0,
        "median_percent": round(float(np.median(apart[wrong])), 3) if wrong.any() else 0.0,
    }


def agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Relative errors in percent of the sums of cells against whole designs, and order."""
    from scipy.stats import spearmanr

    summed, flat = [row["cells"] for row in rows], [row["flat"] for row in rows]
    error = [100 * (a / b - 1) for a, b in zip(summed, flat, strict=True)]
    rank = float(spearmanr(summed, flat).statistic) if len(set(flat)) > 1 < len(set(summed)) else 1
    return {
        "n": len(rows),
        "mean": round(mean(error), 3),
        "spread": round(pstdev(error), 3),
        "least": round(min(error), 3),
        "greatest": round(max(error), 3),
        "spearman": round(rank, 5),
        **wrong_pairs(summed, flat),
    }


def by_gene(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Which operators' widths explain the relative error: ridge regression on all genes.

    ``percent_per_bit`` for each operator, layers added up, and ``explained``, the share of the
    variance.
    """
    x = np.array([row["genome"] for row in rows], float)
    y = np.array([100 * (row["cells"] / row["flat"] - 1) for row in rows])
    x, y = x - x.mean(0), y - y.mean()
    weights = np.linalg.solve(x.T @ x + len(rows) * 0.1 * np.eye(x.shape[1]), x.T @ y)
    left = float(((y - x @ weights) ** 2).sum() / max((y**2).sum(), 1e-12))
    per_gene = weights.reshape(-1, len(GENES)).sum(0)
    return {
        "percent_per_bit": dict(zip(GENES, per_gene.round(4).tolist(), strict=True)),
        "explained": round(1 - left, 3),
    }


def measure_fidelity(say: Say, size: Size = FULL) -> dict[str, Any]:
    """Sum and whole of every case; known ones come from the cache, so it goes on where it was
    stopped."""
    setting = Setting(size.checkpoint, Knobs())
    chosen = cases(size)
    say(f"{len(chosen)} networks")
    made = models(setting, [(knobs, genome) for _, knobs, genome in chosen], say)
    networks = [
        Design.of(model, **knobs.hardware)
        for model, (_, knobs, _) in zip(made, chosen, strict=True)
    ]
    prepare(networks, say)
    rows = []
    for (kind, knobs, genome), network, flat in zip(
        chosen, networks, flat_areas(networks, say), strict=True
    ):
        total = area_report(network, flat=False).total
        rows.append(
            {
                "kind": kind,
                "knobs": knobs.suffix.lstrip("-") or "default",
                "genome": list(genome.genes),
                "size": network.model.size_bits,
                "cells": total.cells,
                "flat": flat.cells,
                "transistors": total.transistors,
                "flat_transistors": flat.transistors,
                "flip_flops": total.flip_flops,
                "flat_flip_flops": flat.flip_flops,
            }
        )
    apart = [
        network for (kind, _, _), network in zip(chosen, networks, strict=True) if kind == "uniform"
    ][: size.borders]
    say(f"Borders of {len(apart)} networks")
    return {
        "size": asdict(size),
        "rows": rows,
        "borders": dissolved(apart),
        "yosys": find().version,
        "script": script_hash(),
        "command": "python -m studies --only search_fidelity",
    }


#: What the kinds of genomes are called.
_KINDS = {
    "homogeneous": "homogeneous, int2 to int8",
    "uniform": "random, 2 to 8 bits",
    "found": "random, near what a search finds",
    "equal": "random, of nearly one size",
    "knobs": "random, other knobs",
}


def render_fidelity(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    rows = data["rows"]
    groups = {name: [r for r in rows if r["kind"] == name] for name in _KINDS}
    groups = {name: several for name, several in groups.items() if len(several) > 1}
    found = {"all": agreement(rows)} | {n: agreement(several) for n, several in groups.items()}
    titles = {"all": "all", **_KINDS}
    every = found["all"]
    genes = by_gene([row for row in rows if row["kind"] != "knobs"])
    ranked = sorted(genes["percent_per_bit"].items(), key=lambda item: item[1])
    most = ", ".join(f"{name} {value:+.2f}" for name, value in ranked[:5])
    flops = [
        row["cells"] - row["flat"] - (row["flip_flops"] - row["flat_flip_flops"]) for row in rows
    ]
    first = [row for row in rows if row["kind"] == "uniform"][: data["size"]["borders"]]
    gates = sum(abs(v) for v in flops) / max(1, sum(abs(r["cells"] - r["flat"]) for r in rows))
    lines = [
        "## The area model: sum of operators against the whole design",
        "",
        "The search adds up the cells of modules that were synthesised apart. Here that sum is "
        "held against the cells of the same network synthesised as one flat module, for "
        f"{len(rows)} genomes of digits-row. Error: of the sum relative to the whole, in percent. "
        "Spearman: rank correlation of the two. Pairs in wrong order: pairs of genomes of which "
        "the sum makes the other one the smaller; by how much the whole designs of such pairs "
        "differ, in the median and at worst.",
        "",
        *table(
            (
                "genomes",
                "n",
                "mean error, %",
                "spread",
                "least",
                "greatest",
                "Spearman",
                "pairs in wrong order",
                "median, %",
                "worst, %",
            ),
            [
                (
                    titles[name],
                    a["n"],
                    f"{a['mean']:+.2f}",
                    f"{a['spread']:.2f}",
                    f"{a['least']:+.2f}",
                    f"{a['greatest']:+.2f}",
                    f"{a['spearman']:.4f}",
                    f"{a['wrong']} of {a['pairs']} ({100 * a['wrong'] / a['pairs']:.1f} %)",
                    f"{a['median_percent']:.2f}",
                    f"{a['worst_percent']:.2f}",
                )
                for name, a in found.items()
            ],
        ),
    ]
    sizes = [row["size"] for row in groups.get("equal", [])]
    if sizes:
        lines += [
            f"Of nearly one size: {min(sizes):,} to {max(sizes):,} bits, while whole designs have "
            f"{min(r['flat'] for r in groups['equal']):,} to "
            f"{max(r['flat'] for r in groups['equal']):,} cells.",
            "",
        ]
    return [
        *lines,
        "How the error depends on the width of each operator (ridge regression, percentage "
        f"points for one bit more; it explains {100 * genes['explained']:.0f} % of the variance), "
        f"largest first: {most}. {100 * gates:.0f} % of the difference is gates, not flip-flops. "
        "Where the sum is greater, a common synthesis removes logic: an operator of few bits "
        "gives few different codes, and whatever takes them need not serve any others. In the "
        f"first {data['size']['borders']} random genomes sum and whole differ by "
        f"{mean(r['cells'] - r['flat'] for r in first):.0f} cells on average. Of these, groups of "
        "element-wise operators that are synthesised together save:",
        "",
        *table(
            ("synthesised together", "cells as a sum, mean", "fewer together, mean", "most"),
            [
                (
                    name,
                    f"{mean(a for a, _ in pairs):.0f}",
                    f"{mean(a - b for a, b in pairs):.1f}",
                    max(a - b for a, b in pairs),
                )
                for name, pairs in data["borders"].items()
                if pairs
            ],
        ),
        f"Rank correlation over all: {every['spearman']:.4f}. `{data['command']}`, seed "
        f"{data['size']['seed']}; {data['yosys']}, script {data['script']}.",
        "",
    ]
