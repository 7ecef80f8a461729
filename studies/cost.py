"""The fronts of error against cells of fixed INT8 units: NSGA-II, the exact rival, and both.

Units take 8-bit codes at the finest scale that holds the function's range, and give 8-bit codes.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.hdl import units as units_of_hardware
from genogate.hdl.units.shift_add_unit import build, forms
from genogate.model.files import write_bytes
from genogate.model.integer import code_range
from genogate.model.quantize.activations import unit_codes
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function
from genogate.model.tables.optimal import GUARD, Exact
from genogate.model.tables.points import Points
from genogate.model.tables.table import LutTable
from genogate.search import units as units_of_search
from genogate.search.units.genes import Candidate, Genes
from genogate.search.units.meter import front, predicted
from genogate.search.units.pareto import explore
from genogate.search.units.rival import best_of, exact_genes
from genogate.search.units.target import Target
from genogate.synth.area import measure as areas_of
from genogate.synth.recipes import script_hash
from genogate.synth.yosys import find
from scipy.stats import spearmanr

from .kept import Case, rows_of

#: Population and generations: 24 + 4 * 8 evaluations by Yosys a run, and as many for the rival.
POP_SIZE, GENERATIONS, SEEDS = 24, 4, (0, 1, 2)
EVALUATIONS = POP_SIZE + GENERATIONS * (POP_SIZE // 3)
FOLDER = Path("build/studies/tables_cost")
METHODS = {
    "rival": "exact, priced",
    "seeded": "NSGA-II from exact",
    "random": "NSGA-II from chance",
}


def scale_of(function: Function) -> int:
    """The finest scale whose 8-bit codes reach over the whole range, but for the last code."""
    reach = max(abs(function.low), abs(function.high))
    return 7 - int(np.ceil(np.log2(reach)))


def hypervolume(candidates: Sequence[Candidate], target: Target, best: float, cells: int) -> float:
    """Share of the box that a front dominates: log10 of the error from `best` to the coarsest of
    use, by cells from 0 to `cells`."""
    width = np.log10(target.coarsest / best)
    area, last = 0.0, float(cells)
    for candidate in sorted(candidates, key=lambda c: c.mse):
        if candidate.mse < target.coarsest and candidate.cells < last:
            depth = np.log10(target.coarsest / max(candidate.mse, best))
            area += depth * (last - candidate.cells)
            last = candidate.cells
    return float(area / (width * cells))


def cells_at(candidates: Sequence[Candidate], mse: float) -> int | None:
    """Fewest cells of those with at most that error."""
    return min((c.cells for c in candidates if c.mse <= mse), default=None)


def error_at(candidates: Sequence[Candidate], cells: int) -> float | None:
    """Least error of those with at most so many cells."""
    return min((c.mse for c in candidates if c.cells <= cells), default=None)


def _rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    return [
        {
            "cells": c.cells,
            "mse": c.mse,
            "form": c.form,
            "entries": len(c.unit.slopes),
            "fraction_bits": c.unit.fraction_bits,
            "zero_point": c.unit.zero_point,
            "breakpoints": c.unit.breakpoints.tolist(),
            "slopes": c.unit.slopes.tolist(),
            "intercepts": c.unit.intercepts.tolist(),
        }
        for c in candidates
    ]


def references(target: Target) -> dict[str, dict[str, Any]]:
    """The full table, and the exact method's 8- and 16-entry units of the default format, in the
    forms of the network's own operators (table or multiplier, the smaller one) and in the best."""
    function, k = target.function, target.scale
    points = Points.of(function, [k], target.in_bits)
    form = Format.of(function)
    units = {}
    low, high = code_range(target.out_bits)
    wanted = np.clip(np.floor(target.wanted + 0.5), low, high).astype(int)
    # What is not judged is as its judged neighbour, which is the least logic.
    judged = np.flatnonzero(target.weight > 0)
    wanted = wanted[np.clip(np.arange(len(wanted)), judged[0], judged[-1])]
    first = code_range(target.in_bits)[0]
    steps = range(first + 1, first + len(wanted))
    full = Genes("none", 0, 0, tuple(steps), (0,) * len(wanted), tuple(wanted.tolist()))
    units["full"] = full.canonical(target.in_bits).unit(target)
    exact = Exact(points, form, guard=GUARD)
    for entries in (8, 16):
        found = exact.best(entries)
        table = LutTable.from_cuts(points, form, found.cuts(points), found.slopes, found.intercepts)
        units[str(entries)] = table.rows[0].unit(
            target.in_bits, target.out_bits, target.out_scale, target.zero_point
        )
    result = {}
    for name, unit in units.items():
        # A line for each code is no form for a full table.
        every = [
            f
            for f in forms(unit)
            if name != "full" or f.split()[-1] not in ("shift-add", "lines", "multiplier")
        ]
        areas = areas_of([build(unit, f) for f in every])
        cells = {f: area.cells for f, area in zip(every, areas, strict=True)}
        plain = {f: cells[f] for f in ("table", "multiplier") if f in cells}
        best = min(cells, key=lambda f: cells[f])
        result[name] = {
            "mse": target.mse(unit_codes(unit)),
            "cells": min(plain.values()),
            "best_cells": cells[best],
            "best_form": best,
        }
    return result


def _measured(name: str, seeds: Sequence[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Fronts and figures of a function."""
    target = Target.of(FUNCTIONS[name], scale_of(FUNCTIONS[name]))
    known = references(target)
    start = exact_genes(target, say)
    say(f"{name}: rival")
    meters = {"rival": [best_of(target, start, EVALUATIONS, say)], "seeded": [], "random": []}
    for seed in seeds:
        for method, first in (("seeded", start), ("random", [])):
            say(f"{name}: {METHODS[method]}, seed {seed}")
            meters[method].append(explore(target, GENERATIONS, POP_SIZE, seed, first, say))
    every = [m for group in meters.values() for m in group]
    union = front(c for meter in every for c in meter.known.values())
    best = min(known["full"]["mse"], union[-1].mse)
    top = known["full"]["cells"]
    distinct = {pair: c for meter in every for pair, c in meter.known.items()}
    ranks = [(predicted(c.unit)[c.form], c.cells) for c in distinct.values()]
    fronts = {m: [front(x.known.values()) for x in group] for m, group in meters.items()}
    at, room = known["8"]["mse"], known["8"]["cells"]
    figures = {
        method: {
            "hypervolume": [hypervolume(f, target, best, top) for f in group],
            "cells_at_error_8": [cells_at(f, at) for f in group],
            "error_at_cells_8": [error_at(f, room) for f in group],
            "on_union": [
                len({(c.cells, c.mse) for c in f} & {(c.cells, c.mse) for c in union})
                for f in group
            ],
        }
        for method, group in {**fronts, "union": [union]}.items()
    }
    return {
        "scale": target.scale,
        "out_scale": target.out_scale,
        "zero_point": target.zero_point,
        "folds": [fold for fold, _ in target.folds],
        "coarsest": target.coarsest,
        "references": known,
        "figures": figures,
        "union": _rows(union),
        "fronts": {
            m: [[(c.cells, c.mse) for c in f] for f in group] for m, group in fronts.items()
        },
        "evaluations": {m: [x.count for x in group] for m, group in meters.items()},
        "distinct_evaluations": len(distinct),
        "exact_tables": len(start),
        "prediction_spearman": float(spearmanr(*zip(*ranks, strict=True))[0]),
    }


def _sources() -> str:
    """Changes whenever the searches or their units may: what others gave is measured again."""
    parts = [
        Path(package.__file__ or "").parent for package in (units_of_hardware, units_of_search)
    ]
    texts = [path.read_bytes() for part in parts for path in sorted(part.glob("*.py"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:8]


def measure(
    say: Callable[[str], None] = lambda text: None,
    functions: Sequence[str] = tuple(FUNCTIONS),
    seeds: Sequence[int] = SEEDS,
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """Fronts and figures of all functions: ``{"functions": {name: ...}, ...}``, JSON-able. Each is
    kept in `folder` as soon as it is there."""
    version = f"{find().version} {script_hash()} {_sources()} {list(seeds)}"
    place = folder / hashlib.sha256(version.encode()).hexdigest()[:8]
    cases = [
        Case(place / f"{name}.json", name, partial(_measured, name, seeds, say))
        for name in functions
    ]
    rows, _ = rows_of(cases, say, None)
    return {
        "yosys": find().version,
        "script": script_hash(),
        "evaluations": EVALUATIONS,
        "pop_size": POP_SIZE,
        "generations": GENERATIONS,
        "seeds": list(seeds),
        "functions": dict(zip(functions, rows, strict=True)),
    }


def _middle(values: Sequence[float | None]) -> float | None:
    numbers = [v for v in values if v is not None]
    return float(np.median(numbers)) if len(numbers) == len(values) else None


def render(data: dict[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s data."""
    count, seeds = data["evaluations"], len(data["seeds"])
    every = data["functions"].values()
    lines = [
        "## Cost-aware search: error against cells",
        "",
        "Fixed units, 8-bit codes in and out, no multiplier. Error: mean square over protocol R of "
        f"the rounded output. Cells: {data['yosys']}, script {data['script']}, combinational. "
        f"Scale: the finest whose codes hold the range. Each run has {count} evaluations by Yosys; "
        f'NSGA-II on {seeds} seeds. "Before" is the smaller of a decision diagram and a unit '
        'with a multiplier; "all" is the front of all runs together. Sigmoid and tanh are one '
        "problem in codes, since tanh x = 2 sigmoid 2x - 1.",
        "",
        "| function | scale | exact, 8 entries: error, cells before / in the best form | "
        "16 entries | full table | **all: cells at the 8-entry error** | "
        "all: error at the cells before |",
        "|---|---|---|---|---|---|---|",
    ]

    def cells(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    def pair(reference: dict[str, Any]) -> str:
        best = f"{reference['best_cells']} ({reference['best_form']})"
        return f"{reference['mse']:.2e}, {reference['cells']} / {best}"

    for name, f in data["functions"].items():
        ref, union = f["references"], f["figures"]["union"]
        lines.append(
            f"| {name} | 2^{-f['scale']} | {pair(ref['8'])} | {pair(ref['16'])} | "
            f"{pair(ref['full'])} | **{cells(union['cells_at_error_8'][0])}** | "
            f"{union['error_at_cells_8'][0]:.2e} |"
        )
    lines += [
        "",
        "Hypervolume, the share of a box of log error and cells that a front dominates, and cells "
        "at the 8-entry unit's error; medians, and for hypervolumes least and greatest of the "
        "seeds:",
        "",
        "| function | exact with prices | NSGA-II from exact | NSGA-II from chance | all | cells: "
        "exact | from exact | from chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    wins = []
    for name, f in data["functions"].items():
        volumes = {m: f["figures"][m]["hypervolume"] for m in (*METHODS, "union")}
        wins.append(sum(v > volumes["rival"][0] for v in volumes["seeded"]))
        shown = [
            f"{np.median(v):.3f}" + (f" ({min(v):.3f} to {max(v):.3f})" if len(v) > 1 else "")
            for v in volumes.values()
        ]
        at = [cells(_middle(f["figures"][m]["cells_at_error_8"])) for m in METHODS]
        lines.append(f"| {name} | {' | '.join(shown)} | {' | '.join(at)} |")
    ranks = [f["prediction_spearman"] for f in every]
    lines += [
        "",
        f"From exact tables, NSGA-II beats the exact method with prices in {sum(wins)} of "
        f"{seeds * len(wins)} runs. Predicted cells, which choose what Yosys is asked, rank its "
        f"answers with Spearman {min(ranks):.2f} to {max(ranks):.2f}.",
    ]
    return lines


def front_picture(data: dict[str, Any], path: str | Path) -> None:
    """Draw all fronts of :func:`measure`'s data, error against cells, to an SVG or PNG file."""
    # Takes half a second to import, and nothing else here needs it.
    from matplotlib.figure import Figure

    functions = data["functions"]
    across = min(4, len(functions))
    down = -(-len(functions) // across)
    figure = Figure(figsize=(3.6 * across, 2.9 * down), layout="constrained")
    for place, (name, f) in enumerate(functions.items(), 1):
        axes = figure.add_subplot(down, across, place)
        for method, colour in (("random", "#c9a227"), ("rival", "#777777"), ("seeded", "#1f6fb4")):
            for number, points in enumerate(f["fronts"][method]):
                axes.step(
                    *zip(*points, strict=True),
                    where="post",
                    color=colour,
                    lw=0.9,
                    label=METHODS[method] if number == 0 else None,
                )
        for reference, mark in (("8", "s"), ("16", "D"), ("full", "*")):
            known = f["references"][reference]
            label = "full table" if reference == "full" else f"exact, {reference} entries"
            axes.plot(known["cells"], known["mse"], mark, color="black", ms=6, label=label)
        axes.set(yscale="log", title=name, xlabel="cells", ylabel="mean squared error")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=6)
    made = io.BytesIO()
    figure.savefig(made, format=Path(path).suffix[1:] or "svg")
    write_bytes(path, made.getvalue())
