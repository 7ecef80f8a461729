"""Networks in real parts: what they take, how well estimates rank them, and what a search by the
wrong price costs in the right one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.files import read_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.search.genomes.candidate import USEFUL_DROP
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, costs_of
from genogate.search.genomes.pareto import hypervolume, non_dominated
from genogate.search.genomes.run import Run
from genogate.synth.targets import prices
from genogate.synth.targets.devices import DEVICES
from genogate.synth.targets.report import NAMES, fpga_report
from genogate.synth.yosys import find as find_yosys

FOLDER = Path("build/studies/targets")
TASKS = ("digits-row", "kws4", "kws10")
#: Genomes of each task: by name, with knobs. Mixed ones were found by ``genogate experiment``
#: (``docs/data/experiment-*.json``): fewest cells within a point, of the size that is shipped.
MIXED: Mapping[str, tuple[str, Knobs]] = {
    "digits-row": ("4,4,4,3,3,3,3,5,6,3,3,8,8,8,7,5,4", Knobs(activation="table", input_bits=6)),
    "kws4": ("2,2,2,2,2,2,7,7,7,7,7,7,7,7,7,7,7", Knobs(activation="table")),
    "kws10": ("3,3,3,2,3,2,3,3,3,8,4,5,8,8,5,5,5", Knobs(activation="table", input_bits=6)),
}
#: Networks that are synthesised whole for the small FPGA.
WHOLE = (("kws10", "INT8"), ("kws10", "mixed"))
UP5K = "ice40-up5k"
#: Seconds from one step to the next, of tasks whose steps are frames of sound.
STEP_SECONDS = {"kws4": 0.02, "kws10": 0.02}
CLOCK_MHZ = 12
#: Objectives beside accuracy of the searches that are compared, and the target of each.
SEARCHES = {
    "cells": (("cells",), "generic"),
    "um2": (("um2",), "sky130"),
    "LUT and block RAM": (("lut", "ebr"), UP5K),
}
SEEDS, POP, GENERATIONS, EXPLOIT = (0, 1, 2), 12, 6, 4

Say = Callable[[str], None]


class _Estimated(Run):
    """A search that ends with its estimates: what it found is priced in every way afterwards."""

    def _measure(self, pool: Any, say: Any) -> Iterator[None]:
        yield


def _genomes(task: str) -> Iterator[tuple[str, str, Knobs]]:
    yield "INT8", "int8", Knobs(activation="table")
    yield "INT4", "int4", Knobs(activation="table")
    yield "mixed", *MIXED[task]


def _row(task: str, name: str, genome: str, knobs: Knobs, say: Say) -> dict[str, Any]:
    """A network in every target, by the models; whole on the small FPGA where that is measured."""
    network = build_network(genome=genome, task=task, checkpoint=None, knobs=knobs, say=say)
    design = network.design
    row: dict[str, Any] = {
        "task": task,
        "genome": name,
        "cycles_per_step": design.cycles_per_step,
        UP5K: prices.figures(UP5K, design),
        **{
            f"sky130 {kind}": prices.figures("sky130", design, kind)
            for kind in ("flops", "latches", "sram")
        },
    }
    row["over"] = prices.over(UP5K, row[UP5K])
    if (task, name) in WHOLE:
        report = fpga_report(UP5K, design, progress=say)
        row["whole"] = vars(report.whole) | {"over": report.over}
    if task in STEP_SECONDS:
        cycles = STEP_SECONDS[task] * CLOCK_MHZ * 1e6
        row["real_time_factor"] = round(cycles / design.cycles_per_step, 1)
    return row


def _search(name: str, seed: int, knob_genes: tuple[str, ...], say: Say) -> list[dict[str, Any]]:
    """Front of a search by estimates: genomes, knobs and accuracies."""
    objectives, target = SEARCHES[name]
    config = Config(
        objectives=("accuracy", *objectives),
        target=target,
        pop_size=POP,
        generations=GENERATIONS,
        exploit=EXPLOIT,
        initial="homogeneous",
        knob_genes=knob_genes,
        seed=seed,
    )
    setting = Setting(
        "digits-row", Knobs(activation="table"), config.silicon, estimate=True, target=target
    )
    folder = FOLDER / f"{name.replace(' ', '-')}-{seed}{'-share' if knob_genes else ''}"
    run = _Estimated(folder, setting, config, resume=(folder / "config.json").exists())
    front = run.go(workers=1, say=say)
    share = [dict(point.candidate.knobs) for point in front]
    return [
        {
            "genes": list(point.genome.genes),
            "knobs": knobs,
            "accuracy": point.result["accuracy"],
            "cycles": point.result["cycles"],
        }
        for point, knobs in zip(front, share, strict=True)
    ]


def _priced(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point with its cells, area and LUTs by estimate."""
    knobs = replace(Knobs(activation="table"), **point["knobs"])
    genome = Genome.from_genes(point["genes"])
    figures: dict[str, Any] = dict(point)
    for target in ("generic", "sky130", UP5K):
        setting = Setting("digits-row", knobs, target == "generic", estimate=True, target=target)
        figures |= costs_of((setting, genome))
    return figures


def _volume(points: Sequence[Mapping[str, Any]], name: str, int8: Mapping[str, Any]) -> float:
    """Share of the useful region of accuracy and one price that points dominate."""
    costs = np.array([[1 - p["accuracy"], p[name] / int8[name]] for p in points])
    reference = np.array([1 - int8["accuracy"] + USEFUL_DROP, 1.0])
    return round(hypervolume(costs[non_dominated(costs)], reference), 4)


def _compared(say: Say) -> dict[str, Any]:
    """Fronts by each price, and what each is worth in the others."""
    fronts: dict[str, list[dict[str, Any]]] = {}
    volumes: dict[str, dict[str, list[float]]] = {name: {} for name in SEARCHES}
    int8: dict[str, Any] | None = None
    for seed in SEEDS:
        for name in SEARCHES:
            say(f"search by {name}, seed {seed}")
            points = [_priced(point) for point in _search(name, seed, (), say)]
            best = max(points, key=lambda p: (p["genes"] == [8] * 17, p["accuracy"]))
            if int8 is None:
                accuracy = best["accuracy"]
                int8 = _priced({"genes": [8] * 17, "knobs": {}, "accuracy": accuracy})
            fronts.setdefault(name, []).extend(points)
            for price in ("cells", "um2", "lut"):
                volumes[name].setdefault(price, []).append(_volume(points, price, int8))
    assert int8 is not None
    least = {
        name: {
            price: min(
                (p[price] for p in points if p["accuracy"] >= int8["accuracy"] - 0.01),
                default=None,
            )
            for price in ("cells", "um2", "lut", "ebr")
        }
        for name, points in fronts.items()
    }
    return {"int8": int8, "volumes": volumes, "least": least}


def _shared(int8: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """A search with sharing as a gene, and its least area within a point measured."""
    points = [_priced(point) for point in _search("um2", 0, ("share",), say)]
    near = [p for p in points if p["accuracy"] >= int8["accuracy"] - 0.01] or points
    least = min(near, key=lambda p: p["um2"])
    return {
        "points": len(points),
        "shared": sum(p["knobs"].get("share", "none") != "none" for p in points),
        "least": least,
        "saved_percent": round(100 * (1 - least["um2"] / int8["um2"]), 1),
    }


def measure(say: Say) -> dict[str, Any]:
    """Tables, errors and searches. Raises :class:`InputError` without Yosys."""
    rows = [
        _row(task, name, genome, knobs, say)
        for task in TASKS
        for name, genome, knobs in _genomes(task)
    ]
    document = read_json(prices.FILE)["targets"]
    compared = _compared(say)
    return {
        "rows": rows,
        "errors": {
            target: {"error": models["error"], "parts": models.get("parts")}
            for target, models in document.items()
        },
        "rom": document["sky130"].get("rom", {}),
        "searches": compared,
        "shared": _shared(compared["int8"], say),
        "yosys": find_yosys().version,
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _words(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _range(volumes: Sequence[float]) -> str:
    return f"{np.mean(volumes):.3f} ({min(volumes):.3f} to {max(volumes):.3f})"


def _networks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    limits = prices.limits(UP5K)
    table = []
    for row in rows:
        figures, whole = row[UP5K], row.get("whole")
        over = whole["over"] if whole else row["over"]
        names = {"ebr": NAMES["ram"]} | NAMES
        excess = ", ".join(f"{names[name]} by {number}" for name, number in over.items())
        table.append(
            (
                row["task"],
                row["genome"],
                _words(figures["lut"]),
                _words(whole["lut"]) if whole else "-",
                f"{figures['ebr']:.0f}",
                f"{figures['dsp']:.0f}",
                f"**no**: {excess}" if over else "yes",
                *(_words(row[f"sky130 {kind}"]["um2"]) for kind in ("flops", "latches", "sram")),
                _words(row["cycles_per_step"]),
                row.get("real_time_factor", "-"),
            )
        )
    return [
        *_table(
            (
                *("task", "genome", "LUTs", "LUTs, whole", "block RAMs", "DSP", "fits"),
                *("um^2, flops", "um^2, latches", "um^2, SRAM", "cycles a step", "real time"),
            ),
            table,
        ),
        f"LUTs, block RAMs and DSP blocks are of an {DEVICES[UP5K].part} ({limits['lut']:,} LUTs, "
        f"{limits['ebr']} block RAMs, {limits['dsp']} DSP blocks), by the models that "
        "searches use; block RAMs and DSP blocks by rules, exact on all that was measured; whole: "
        "the network as one module by Yosys. um^2 are of sky130 by the models: constants as logic, "
        "state as flip-flops or latches; or all memories in whole SRAM macros. Genomes without "
        f"training of their own. Real time: speed at {CLOCK_MHZ} MHz against a step every 20 ms.",
        "",
    ]


def _errors(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for target, models in data["errors"].items():
        for figure, row in models["error"].items():
            rows.append(
                (
                    target,
                    figure,
                    models["parts"],
                    row["genomes"],
                    f"{row['median_percent']} %",
                    f"{row['worst_percent']} %",
                    row.get("rank_correlation"),
                    f"{row.get('ranked')} of {row.get('ranked_network')}",
                )
            )
    lines = [
        "### How well estimates rank networks",
        "",
        "Every part is told by models that were not fitted to it (five shares of the parts, each "
        "told by the four others), and the parts of a network are added up.",
        "",
        *_table(
            (
                *("target", "figure", "parts measured", "genomes", "off, median", "off, worst"),
                *("rank correlation", "of genomes"),
            ),
            rows,
        ),
    ]
    if data["rom"]:
        lines += [
            "A ROM as logic by word count, width and entropy, told by the ROMs of all other "
            "networks:",
            "",
            *_table(
                ("network", "memories", "off, median of a memory", "off, sum of all"),
                [
                    (n, r["memories"], f"{r['median_percent']} %", f"{r['sum_percent']:+} %")
                    for n, r in data["rom"].items()
                ],
            ),
        ]
    return lines


def _verdict(volumes: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """What a search by cells costs in the other prices, in words."""
    words = []
    for name, price, unit in (("um2", "um2", "um^2"), ("LUT and block RAM", "lut", "LUTs")):
        cells, own = volumes["cells"][price], volumes[name][price]
        apart = max(cells) < min(own) or max(own) < min(cells)
        told = "which is outside" if apart else "which is within"
        words.append(
            f"in {unit} a search by cells has {np.mean(cells) / np.mean(own):.0%} of the volume of "
            f"the search by {name}, {told} what seeds differ by"
        )
    return f"So {'; '.join(words)}."


def _searches(data: Mapping[str, Any]) -> list[str]:
    searches, int8 = data["searches"], data["searches"]["int8"]
    count = POP * (GENERATIONS + EXPLOIT)
    rows = []
    for name in SEARCHES:
        volumes, least = searches["volumes"][name], searches["least"][name]
        rows.append(
            (
                name,
                *(_range(volumes[price]) for price in ("cells", "um2", "lut")),
                *(_words(least[price]) for price in ("cells", "um2", "lut", "ebr")),
            )
        )
    rows.append(
        ("(INT8)", "", "", "", *(_words(int8[price]) for price in ("cells", "um2", "lut", "ebr")))
    )
    shared = data["shared"]
    least = shared["least"]
    genes = ",".join(map(str, least["genes"]))
    return [
        "### A search by the wrong price",
        "",
        f"Searches of digits-row with equal evaluations (at most {count}), seeds "
        f"{', '.join(map(str, SEEDS))}, accuracy after quantisation without training. Hypervolume "
        "of accuracy and one price (mean, and range of the seeds): what each search found, priced "
        "in every way; then the least of each price within a point of INT8's accuracy, of all "
        "seeds. All by estimate.",
        "",
        *_table(
            (
                *("search by", "volume in cells", "in um^2", "in LUTs"),
                *("least cells", "least um^2", "least LUTs", "least block RAMs"),
            ),
            rows,
        ),
        _verdict(searches["volumes"]),
        "",
        "With `share` as a gene (`genogate search --target sky130 --objectives accuracy,um2 "
        f"--knob-genes share`): {shared['shared']} of the {shared['points']} points of the front "
        f"share hardware; the least area within a point of INT8 is {least['um2']:,.0f} um^2, "
        f"{shared['saved_percent']} % less than INT8 with a unit for each operator, with share "
        f"{least['knobs'].get('share', 'none')} and genes {genes}, {least['cycles']:,} cycles a "
        "step.",
        "",
    ]


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    kws = {r["genome"]: r for r in data["rows"] if r["task"] == "kws10"}
    whole = kws["INT8"].get("whole")
    rams = whole["ram"] if whole else kws["INT8"][UP5K]["ebr"]
    lines = [
        "## Networks in real parts",
        "",
        f"Measured by {data['yosys']}, one lane. No board was measured, no layout made. "
        "[Targets](../targets.md) says what the columns count.",
        "",
        f"kws10 at INT8 does not fit an iCE40UP5K: {rams:.0f} of {prices.limits(UP5K)['ebr']} "
        f"block RAMs. The mixed network takes {kws['mixed'][UP5K]['ebr']:.0f} and fits.",
        "",
    ]
    return [*lines, *_networks(data["rows"]), *_errors(data), *_searches(data)]
