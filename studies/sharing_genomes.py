"""What sharing does to the genome: whether networks rank as they do with a unit for each operator,
whether searches find others, and how much of the savings of few bits remains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, costs_of
from genogate.search.genomes.run import Run
from genogate.synth.targets import prices
from genogate.synth.targets.figures import measure_parts
from genogate.synth.targets.fit import Parts
from genogate.synth.targets.fit_shared import drawn
from genogate.synth.targets.samples import designs
from genogate.synth.targets.shared_features import MACHINES
from scipy.stats import spearmanr

from .search import table

Say = Callable[[str], None]
TASK, SHARES = "digits-row", ("none", "gates", "all")
FOLDER = Path("build/studies/sharing")
KNOBS = Knobs(activation="table")
#: Random genomes that are ranked, and their seed.
GENOMES, SEED = 60, 2026
#: Searches: seed, population, generations, populations of local search.
SEARCH_SEED, POP, GENERATIONS, EXPLOIT = 0, 12, 4, 2
#: Points of accuracy that a saving may cost.
POINT = 0.01


class _Estimated(Run):
    """A search that ends with its estimates."""

    def _measure(self, pool: Any, say: Any) -> Iterator[None]:
        yield


def _um2(share: str, genome: Genome) -> float:
    """Area by the models of the target."""
    knobs = replace(KNOBS, share=share)
    setting = Setting(TASK, knobs, False, estimate=True, target="sky130")
    return float(costs_of((setting, genome))["um2"])


def _measured(share: str, genome: Genome) -> float:
    """The same, but for the machine that gates or all operators share, which Yosys measures."""
    (design,) = designs(TASK, replace(KNOBS, share=share), [genome])
    shared = [part for part in design.parts if part.identity[0] in MACHINES]
    rest = [part for part in design.parts if part.identity[0] not in MACHINES]
    told: Any = Parts(rest)
    exact = measure_parts("sky130", shared, workers=1)
    return prices.exact_figures("sky130", told)["um2"] + sum(row["um2"] for row in exact)


def _front(share: str, say: Say) -> list[dict[str, Any]]:
    """What a search by accuracy and area with this `share` finds, with its area where others are
    searched."""
    config = Config(
        objectives=("accuracy", "um2"),
        target="sky130",
        pop_size=POP,
        generations=GENERATIONS,
        exploit=EXPLOIT,
        initial="homogeneous",
        seed=SEARCH_SEED,
    )
    knobs = replace(KNOBS, share=share)
    setting = Setting(TASK, knobs, False, estimate=True, target="sky130")
    folder = FOLDER / share
    run = _Estimated(folder, setting, config, resume=(folder / "config.json").exists())
    return [
        {
            "genes": list(point.genome.genes),
            "accuracy": point.result["accuracy"],
            "um2": {name: _um2(name, point.genome) for name in SHARES},
        }
        for point in run.go(workers=1, say=say)
    ]


def measure(say: Say) -> dict[str, Any]:
    """Ranks of random genomes, and a search for each value of the knob."""
    genomes = []
    for number, genome in enumerate(drawn(GENOMES, SEED)):
        say(f"genome {number + 1} of {GENOMES}")
        genomes.append({"genes": list(genome.genes), **{s: _measured(s, genome) for s in SHARES}})
    int8 = {share: _um2(share, Genome.uniform(8)) for share in SHARES}
    fronts = {}
    for share in SHARES:
        say(f"search, share {share}")
        fronts[share] = _front(share, say)
    least = {share: _least(fronts, share) for share in SHARES}
    for share, point in least.items():
        say(f"the least of share {share}")
        genome = Genome.from_genes(point["genes"])
        point["um2"] = {name: _um2(name, genome) for name in SHARES}
    return {"genomes": genomes, "int8": int8, "fronts": fronts, "least": least}


def _accuracy(fronts: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """INT8's accuracy, which every search has in its first population."""
    return max(
        (p["accuracy"] for points in fronts.values() for p in points if p["genes"] == [8] * 17),
        default=max(p["accuracy"] for points in fronts.values() for p in points),
    )


def _least(fronts: Mapping[str, Sequence[Mapping[str, Any]]], share: str) -> dict[str, Any]:
    """The least network of a front within a point of INT8."""
    limit = _accuracy(fronts) - POINT
    near = [point for point in fronts[share] if point["accuracy"] >= limit]
    return dict(min(near or fronts[share], key=lambda point: point["um2"][share]))


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    genomes, int8, fronts = data["genomes"], data["int8"], data["fronts"]
    ranks = [
        (f"{a} and {b}", f"{spearmanr([g[a] for g in genomes], [g[b] for g in genomes])[0]:.3f}")
        for k, a in enumerate(SHARES)
        for b in SHARES[k + 1 :]
    ]
    spread = [
        (
            share,
            f"{int8[share]:,.0f}",
            f"{100 * (1 - np.mean([g[share] for g in genomes]) / int8[share]):.0f} %",
            f"{100 * (1 - min(g[share] for g in genomes) / int8[share]):.0f} %",
        )
        for share in SHARES
    ]
    body = []
    same = {tuple(p["genes"]) for p in fronts["none"]}
    for share in SHARES:
        point, front = data["least"][share], fronts[share]
        um2 = point["um2"]
        body.append(
            (
                share,
                len(front),
                sum(tuple(p["genes"]) in same for p in front),
                f"`{''.join(map(str, point['genes']))}`",
                f"{100 * point['accuracy']:.2f}",
                *(f"{um2[s]:,.0f} ({100 * (um2[s] / int8[s] - 1):+.0f} %)" for s in SHARES),
                f"{100 * (um2[share] / int8['none'] - 1):+.0f} %",
            )
        )
    return [
        "### What sharing does to the genome",
        "",
        f"{TASK}, um^2 by the models of sky130 (constants as logic, state as flip-flops); shared "
        "machines of the random genomes were measured. Rank "
        f"correlation of the area of the same {len(genomes)} random genomes: "
        + ", ".join(f"{pair} {value}" for pair, value in ranks)
        + ".",
        "",
        *table(("share", "INT8, um^2", "random genomes, mean saved", "most saved"), spread),
        f"Searches by accuracy (after quantisation, validation part with its shifted copies) and "
        f"area, seed {SEARCH_SEED}, equal evaluations; the least network within a point of INT8 "
        "that each found, priced with each way to share, and against INT8 of that share.",
        "",
        *table(
            (
                "searched with share",
                "points of its front",
                "of these on the front of none",
                "its least network",
                "validation, %",
                *(f"um^2 with {share}" for share in SHARES),
                "its own against INT8 of none",
            ),
            body,
        ),
        *_answer(data["least"]),
    ]


def _answer(least: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether a search must know what is shared."""
    theirs, own = (least[share]["um2"]["all"] for share in ("none", "all"))
    return [
        f"With everything shared, what the search with none found takes {theirs:,.0f} um^2, what "
        f"the search for it found {own:,.0f} ({100 * (own / theirs - 1):+.1f} %). One seed.",
        "",
    ]
