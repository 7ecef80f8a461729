"""The study of table searches: errors of every method beside the optimum, and their speed."""

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function
from genogate.model.tables.optimal import GUARD, Lines, solve, squared_lines
from genogate.model.tables.points import SCALES, Inputs, Points
from genogate.search.tables import gade, gqa
from genogate.search.tables.methods import ratio, run, table_of
from genogate.search.tables.rules import Cut, Problem

from studies.reference_loop import Loop, Rate

Say = Callable[[str], None]
ENTRIES, SEEDS = (8, 16), tuple(range(5))
DYNAMIC = Format("dynamic")
#: Methods that draw lots, as the study names them: method, rule, format, options.
DRAWN: dict[str, tuple[str, str | None, bool]] = {
    "gqa, chord": ("gqa", "chord", False),
    "gqa, least squares, plain": ("gqa", "plain", False),
    "gqa, least squares": ("gqa", "least-squares", False),
    "gade, as published": ("gade", "mae", False),
    "gade, least squares": ("gade", "least-squares", False),
    "gade, as published, dynamic": ("gade", "mae", True),
    "gade, least squares, dynamic": ("gade", "least-squares", True),
    "nn-lut": ("nn-lut", None, False),
}
#: Measured on the tables that the released repositories ship: mean squared error under protocol R
#: and A (GQA-LUT a5be4ea, LUT-APP ff79698; None where protocol A was not measured).
SHIPPED: dict[tuple[str, int], dict[str, tuple[float, float | None]]] = {
    ("gelu", 8): {"GQA-LUT": (9.97e-5, 3.81e-5), "LUT-APP": (2.07e-5, 2.81e-2)},
    ("gelu", 16): {"GQA-LUT": (9.06e-5, 9.87e-6), "LUT-APP": (4.54e-6, 1.88e-6)},
    ("hswish", 8): {"GQA-LUT": (3.08e-4, 1.56e-4)},
    ("hswish", 16): {"GQA-LUT": (2.00e-4, 1.64e-5)},
    ("silu", 8): {"GQA-LUT, trained again": (3.09e-4, 3.96e-3), "LUT-APP": (2.47e-4, 1.73)},
    ("silu", 16): {"LUT-APP": (1.71e-4, 0.967)},
    ("exp", 8): {"GQA-LUT": (1.22e-4, 2.17e-5), "LUT-APP": (3.16e-5, 2.01e-4)},
    ("exp", 16): {"GQA-LUT": (8.38e-5, 1.68e-5), "LUT-APP": (4.56e-6, 4.65e-5)},
    ("reciprocal", 8): {"LUT-APP": (1.47e-6, None)},
    ("reciprocal", 16): {"LUT-APP": (2.35e-6, None)},
    ("rsqrt", 8): {"LUT-APP": (5.66e-6, None)},
    ("rsqrt", 16): {"LUT-APP": (5.20e-6, None)},
}
#: Released trainers, on two shared cores: tables judged a second, and seconds of a full run.
RELEASED = {"GQA-LUT": (212, 93), "LUT-APP (GADE)": (13, 2025)}


def lut_app_limit(function: Function, entries: int) -> float:
    """Least mean squared error under protocol R in LUT-APP's own format: dynamic slopes and
    intercepts, one set of break points on multiples of 1/16, compared with x itself, not rounded to
    the codes of a scale. For functions that LUT-APP does not scale first."""
    points = Points.of(function)
    x, at = np.unique(points.x, return_inverse=True)
    weight = np.bincount(at, points.weight)
    lines = squared_lines(Inputs(x, function(x), weight), DYNAMIC.slopes, DYNAMIC.intercepts)
    # A multiple of 1/16 lies above the last input of a segment, up to the first of the next.
    apart = np.concatenate([[True], np.floor(x[1:] * 16) / 16 > x[:-1], [True]])
    cost = np.where(apart[:, None] & apart[None, :], lines.cost, np.inf)
    return solve(Lines(cost, lines.slope, lines.intercept), entries)[-1].cost


def _judged(problem: Problem, cut: Cut) -> tuple[float, float]:
    table = table_of(problem, cut)
    return table.mse("R"), table.mse("A")


def _draw(problem: Problem, entries: int, name: str, seed: int) -> Cut:
    method, rule, _ = DRAWN[name]
    if rule == "plain":
        return gqa.search(problem, entries, seed=seed, plain=True)
    return run(problem, entries, method, seed=seed, rule=rule)


def measure(say: Say) -> dict[str, Any]:
    """Errors under protocols R and A of every method, for all functions, 8 and 16 entries."""
    limits, drawn = [], []
    for function in FUNCTIONS.values():
        say(f"Searching tables of {function.name}")
        points = Points.of(function)
        forms = {False: Problem(points, Format.of(function)), True: Problem(points, DYNAMIC)}
        fixed, dynamic = forms[False], forms[True]
        held = Problem(points, fixed.form, guard=GUARD)
        single = {
            guard: [Problem(Points.of(function, (k,)), fixed.form, guard=guard) for k in SCALES]
            for guard in (None, GUARD)
        }
        for entries in ENTRIES:
            found = {
                "shared": _judged(fixed, run(fixed, entries, "exact")),
                "shared, guard": _judged(held, run(held, entries, "exact")),
                "dynamic": _judged(dynamic, run(dynamic, entries, "exact")),
                "least-squares": _judged(fixed, run(fixed, entries, "least-squares")),
                "refitted": _judged(fixed, _limit(fixed, "refitted", entries)),
            }
            for guard, problems in single.items():
                each = [_judged(p, run(p, entries, "exact")) for p in problems]
                r, a = np.mean(each, axis=0).tolist()
                found["one a scale" + (", guard" if guard else "")] = (r, a)
            limits.append(
                {
                    "function": function.name,
                    "entries": entries,
                    "format": fixed.form.name,
                    "errors": {name: list(pair) for name, pair in found.items()},
                    "real": fixed.limit("real", entries).cost,
                    "lut-app": None
                    if function.width > 8 or function.name == "exp"
                    else lut_app_limit(function, entries),
                }
            )
            for name, (_, _, is_dynamic) in DRAWN.items():
                problem = forms[is_dynamic]
                pairs = [_judged(problem, _draw(problem, entries, name, seed)) for seed in SEEDS]
                best = problem.exact.best(entries).cost
                drawn.append(
                    {
                        "function": function.name,
                        "entries": entries,
                        "method": name,
                        "R": [r for r, _ in pairs],
                        "A": [a for _, a in pairs],
                        "ratio": [ratio(r, best) for r, _ in pairs],
                    }
                )
    return {
        "limits": limits,
        "drawn": drawn,
        "seeds": list(SEEDS),
        "guard": GUARD,
        "scales": list(SCALES),
        "in_bits": 8,
        "versions": _versions(),
    }


def _limit(problem: Problem, rule: Any, entries: int) -> Cut:
    best = problem.limit(rule, entries)
    return Cut(best.starts, best.slopes, best.intercepts, 1)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "numpy": np.__version__}


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    limits = {(row["function"], row["entries"]): row for row in data["limits"]}
    ours = [r for d in data["drawn"] if d["method"] == "gqa, least squares" for r in d["ratio"]]
    cheap = [row["errors"]["refitted"][0] / row["errors"]["shared"][0] for row in data["limits"]]
    lines = [
        "## Tables: the optimum, and what searches reach",
        "",
        "Asked: what is the least error that a piecewise-linear table of N segments can have, and "
        "how near to it do published searches come?",
        "",
        "Result: `exact` finds the optimum. `gqa` with the least-squares rule is within "
        f"{100 * (max(ours) - 1):.1f} % of it for every function, size and seed. A rule that tries "
        f"only the slope nearest to the least-squares line is {100 * (max(cheap) - 1):.0f} % above "
        "it at worst, whatever the search.",
        "",
        "The error is the mean squared error over the seven scales 2^0 to 2^-6. Protocol R counts "
        "the codes within the function's range, protocol A all codes. Slopes and intercepts have 8 "
        "bits, 6 of them behind the point (10 for reciprocal and rsqrt). The columns: `shared`, "
        "one table for all scales; `one a scale`, a table for each; `with guard`, codes out of "
        f"range are off by {data['guard']:g} at most; `dynamic format`, the point is placed for "
        "each table; `real`, a bound: slopes and intercepts may be any numbers.",
        "",
        "| function | N | exact, shared: R | A | with guard: R | A | one a scale: R "
        "| with guard: R | dynamic format: R | real: R |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (function, n), row in limits.items():
        e = row["errors"]
        cells = [
            e["shared"][0],
            e["shared"][1],
            *e["shared, guard"],
            e["one a scale"][0],
            e["one a scale, guard"][0],
            e["dynamic"][0],
            row["real"],
        ]
        lines.append(f"| {function} | {n} | " + " | ".join(f"{v:.2e}" for v in cells) + " |")
    lines += [
        "",
        "What searches reach: error divided by the optimum of the same format, under R. Means over "
        f"the seeds {' '.join(map(str, data['seeds']))}, in brackets the least and the greatest "
        "where they differ. `gqa` and `gade` are genetic searches for break points; the words "
        "behind their names say how lines follow from break points. `chord`: the line through the "
        "function at both ends of a segment. `plain`: only the operators of the GQA-LUT paper, as "
        "with `chord`. `as published`: GADE's own objective, the mean absolute error of rounded "
        "least-squares lines. `refitted`: the best table whose slopes are rounded least-squares "
        "slopes, found exactly. `nn-lut`: a trained network of one hidden layer, whose segments "
        "are the table.",
        "",
        "| function | N | least-squares | refitted | " + " | ".join(DRAWN) + " |",
        "|---" * (4 + len(DRAWN)) + "|",
    ]
    ratios = {(d["function"], d["entries"], d["method"]): d["ratio"] for d in data["drawn"]}
    for (function, n), row in limits.items():
        best = row["errors"]["shared"][0]
        cells = [f"{row['errors'][name][0] / best:.2f}" for name in ("least-squares", "refitted")]
        for name in DRAWN:
            r = ratios[function, n, name]
            span = f" ({min(r):.2f}-{max(r):.2f})" if max(r) - min(r) >= 0.005 else ""
            cells.append(f"{statistics.mean(r):.2f}{span}")
        lines.append(f"| {function} | {n} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Tables that others ship, measured under the same protocols, and their error divided by "
        "the optimum of ours and of LUT-APP's own format. For reciprocal and rsqrt LUT-APP scales "
        "the input first, which is another problem:",
        "",
        "| function | N | table | R | / exact, shared | / LUT-APP's optimum | A "
        "| exact with guard: A |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (function, n), tables in SHIPPED.items():
        row = limits[function, n]
        for name, (r, a) in tables.items():
            own = row["lut-app"] if name == "LUT-APP" else None
            cells = [
                f"{r:.2e}",
                f"{r / row['errors']['shared'][0]:.2f}",
                f"{r / own:.2f}" if own else "",
                "" if a is None else f"{a:.2e}",
                f"{row['errors']['shared, guard'][1]:.2e}",
            ]
            lines.append(f"| {function} | {n} | {name} | " + " | ".join(cells) + " |")
    return lines


def measure_speed(say: Say) -> dict[str, Any]:
    """Tables judged a second and CPU seconds of every method, interleaved in this process."""
    rows = []
    for name, entries in (("gelu", 8), ("gelu", 16), ("exp", 8)):
        say(f"Speed of searches for {name}, {entries} entries")
        function = FUNCTIONS[name]
        best = Problem(Points.of(function), Format.of(function)).exact.best(entries).cost
        runs = _runs(function, entries)
        took: dict[str, list[Rate]] = {label: [] for label in runs}
        for seed in range(3):
            for label, go in runs.items():
                took[label].append(go(seed))
        for label, rates in took.items():
            rows.append(
                {
                    "function": name,
                    "entries": entries,
                    "method": label,
                    "evaluations": [r.evaluations for r in rates],
                    "seconds": [r.seconds for r in rates],
                    "errors": [r.error for r in rates],
                    "optimum": best,
                }
            )
    say("Speed of the exact method")
    exact = [
        {
            "function": function.name,
            "entries": entries,
            "seconds": _runs(function, entries)["exact"](0).seconds,
        }
        for function in FUNCTIONS.values()
        for entries in (*ENTRIES, 64)
    ]
    return {
        "rows": rows,
        "exact": exact,
        "released": RELEASED,
        "machine": f"{platform.machine()}, one thread",
        "versions": _versions(),
    }


def _runs(function: Function, entries: int) -> dict[str, Callable[[int], Rate]]:
    """Searches by name: a seed to the CPU time it took, the lines of all intervals included."""

    def timed(search: Callable[[Problem, int], Cut]) -> Callable[[int], Rate]:
        def go(seed: int) -> Rate:
            began = time.process_time()
            problem = Problem(Points.of(function), Format.of(function))
            cut = search(problem, seed)
            return Rate(cut.evaluations, time.process_time() - began, problem.cost(cut))

        return go

    def genetic(**options: Any) -> Callable[[int], Rate]:
        return timed(lambda problem, seed: gqa.search(problem, entries, seed=seed, **options))

    loop, lists = Loop(function), Loop(function, numpy_calls=False)
    return {
        "plain loop, NumPy a point": lambda seed: loop.run(entries, 4, seed),
        "plain loop, lists": lambda seed: lists.run(entries, 20, seed),
        "gqa, chord": genetic(rule="chord"),
        "gqa, least squares, plain": genetic(rule="least-squares", plain=True),
        "gqa, least squares, 20 generations": genetic(rule="least-squares", budget=20),
        "gqa, least squares": genetic(rule="least-squares"),
        "gade, least squares": timed(
            lambda problem, seed: gade.search(problem, entries, seed=seed, rule="least-squares")
        ),
        "exact": timed(lambda problem, seed: run(problem, entries, "exact")),
    }


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:,.0f}"


def render_speed(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    exact = [row["seconds"] for row in data["exact"]]
    lines = [
        "## Speed of table searches",
        "",
        "Asked: how many tables does a search judge in a second, beside a plain loop like that of "
        "the released trainer?",
        "",
        f"Result: `exact` takes {min(exact):.2f} to {max(exact):.2f} s for a function and size, "
        "less than one run of the released trainers.",
        "",
        "CPU seconds, preparation included, one thread, all in one run; medians of three seeds. "
        "The plain loops judge tables on the float grid, as the released trainer does; the others "
        "on all codes of seven scales. `times the loop` compares with the plain loop over lists. "
        "`gqa` without `plain` judges a table by the two segments that a move changes, which is "
        "why it judges so many.",
        "",
        "| function | N | search | tables judged | seconds | judged a second | times the loop "
        "| error / optimum |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def rate(row: dict[str, Any]) -> float:
        pairs = zip(row["evaluations"], row["seconds"], strict=True)
        return statistics.median(judged / seconds for judged, seconds in pairs)

    lists = {
        (row["function"], row["entries"]): rate(row)
        for row in data["rows"]
        if row["method"] == "plain loop, lists"
    }
    for row in data["rows"]:
        speed, base = rate(row), lists[row["function"], row["entries"]]
        loop = row["method"].startswith("plain loop")
        judged = statistics.median(row["evaluations"])
        error = statistics.median(row["errors"]) / row["optimum"]
        counts = [
            f"{judged:,.0f}",
            f"{speed:,.0f}",
            _times(speed / base),
        ]
        if row["method"] == "exact":
            counts = ["all", "", ""]
        lines.append(
            f"| {row['function']} | {row['entries']} | {row['method']} | {counts[0]} | "
            f"{statistics.median(row['seconds']):.2f} | {counts[1]} | {counts[2]} | "
            f"{'' if loop else f'{error:.2f}'} |"
        )
    slowest = max(data["exact"], key=lambda row: row["seconds"])
    lines += [
        "",
        f"`exact` for all eight functions at 8, 16 and 64 entries, seven scales: "
        f"{min(exact):.2f} to {max(exact):.2f} s (slowest: {slowest['function']}, "
        f"{slowest['entries']} entries). Released trainers, measured on another machine: "
        + "; ".join(
            f"{name} {rate} tables a second, {whole} s a run of 500 generations"
            for name, (rate, whole) in data["released"].items()
        )
        + ".",
    ]
    return lines
