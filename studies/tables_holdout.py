"""The study of table searches on ordinary functions that no default was tuned to: how far from the
optimum the default rule ends at worst."""

from collections.abc import Callable
from typing import Any

from genogate.model.tables.formats import Format
from genogate.model.tables.functions import expression
from genogate.model.tables.points import Points
from genogate.search.tables.methods import METHODS, ratio, run
from genogate.search.tables.rules import Problem

from .tables import ENTRIES, SEEDS, _versions

Say = Callable[[str], None]
#: Expressions and their ranges.
HOLD_OUTS: dict[str, tuple[float, float]] = {
    "sin(x)": (-3, 3),
    "cos(x)": (0, 6),
    "log1p(x)": (0, 4),
    "sqrt(x)": (0, 4),
    "exp(-x*x)": (-3, 3),
    "log(1+exp(x))": (-4, 4),
    "x**3": (-1.5, 1.5),
    "arctan(x)": (-6, 6),
    "x*tanh(log(1+exp(x)))": (-4, 4),
}
SEARCHES = ("gqa", "gade")
#: One scale, 2^-4, whose 8-bit codes hold every range: a tenth of the time of all seven.
SCALE = 4


def measure(say: Say) -> dict[str, Any]:
    """Errors, divided by the optimum, of both searches with their default rule."""
    rows = []
    for text, (low, high) in HOLD_OUTS.items():
        say(f"Searching tables of {text}")
        function = expression(text, low, high)
        problem = Problem(Points.of(function, (SCALE,)), Format.of(function))
        for entries in ENTRIES:
            best = problem.cost(run(problem, entries, "exact"))
            ratios = {
                search: [
                    ratio(problem.cost(run(problem, entries, search, seed=seed)), best)
                    for seed in SEEDS
                ]
                for search in SEARCHES
            }
            rows.append(
                {
                    "function": text,
                    "range": [low, high],
                    "entries": entries,
                    "format": problem.form.name,
                    "optimum": best,
                    "ratio": ratios,
                }
            )
    return {
        "rows": rows,
        "rule": METHODS[SEARCHES[0]][0],
        "scale": SCALE,
        "seeds": list(SEEDS),
        "versions": _versions(),
    }


def render(data: dict[str, Any]) -> list[str]:
    """The page of the study."""
    worst = {
        (row["function"], row["entries"], search): max(ratios)
        for row in data["rows"]
        for search, ratios in row["ratio"].items()
    }
    every = [r for row in data["rows"] for ratios in row["ratio"].values() for r in ratios]
    sizes = sorted({row["entries"] for row in data["rows"]})
    rows = {row["function"]: row for row in data["rows"]}
    columns = [(search, n) for search in SEARCHES for n in sizes]
    lines = [
        "## Table searches on functions that no default was tuned to",
        "",
        "Asked: how near to the optimum do the searches come with the default rule, whatever the "
        "function and the seed?",
        "",
        f"Result: {every.count(1.0)} of {len(every)} searches find the optimum"
        + (f"; the worst ends {100 * (max(every) - 1):.2g} % above it." if max(every) > 1 else "."),
        "",
        f"The rule is `{data['rule']}`: the line of least error that the format can hold, for "
        "every segment. The format is the one that `genogate lut` chooses for the function, the "
        f"codes have 8 bits and the scale 2^-{data['scale']}. Each figure is the greatest mean "
        f"squared error of the seeds {' '.join(map(str, data['seeds']))}, divided by the least "
        "that a table of so many segments can have in that format.",
        "",
        "| function | range | format | "
        + " | ".join(f"{search}, {n} segments" for search, n in columns)
        + " |",
        "|---|---|---" + "|---:" * len(columns) + "|",
    ]
    for text, row in rows.items():
        low, high = row["range"]
        cells = [f"{worst[text, n, search]:.3f}" for search, n in columns]
        lines.append(
            f"| `{text}` | {low:g} to {high:g} | {row['format']} | " + " | ".join(cells) + " |"
        )
    return lines
