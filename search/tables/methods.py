"""One interface to every search for a piecewise-linear table, and how far from the best it ends."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...model.errors import InputError, shown
from ...model.tables.formats import Format
from ...model.tables.functions import Function
from ...model.tables.optimal import Objective
from ...model.tables.points import SCALES, Points, check_in_bits, check_scales, codes
from ...model.tables.table import MAX_ENTRIES, MIN_ENTRIES, LutTable
from . import baselines, gade, gqa
from .rules import Cut, Problem, Progress

Array = np.ndarray
#: Methods, and the rules that each may be run by; the first is the one that is taken.
METHODS: Mapping[str, tuple[str, ...]] = {
    "exact": (),
    "gqa": ("best", "least-squares", "refitted", "rounded", "chord"),
    "gade": ("best", "least-squares", "refitted", "rounded", "mae"),
    "nn-lut": (),
    "least-squares": (),
}
#: Methods that draw lots: they take a seed and a budget of generations or steps.
SEEDED: Mapping[str, Callable[..., Cut]] = {
    "gqa": gqa.search,
    "gade": gade.search,
    "nn-lut": baselines.network,
}
#: Slopes that the objective max can try for every interval, in half a minute.
MAX_SLOPES = 1 << 12
PROOF = "dynamic programming over all partitions, best line of the format in every interval"


def find(
    function: Function,
    entries: int,
    *,
    method: str = "exact",
    scales: Sequence[int] = SCALES,
    in_bits: int = 8,
    form: Format | None = None,
    objective: Objective = "mse",
    weight: Array | None = None,
    guard: float | None = None,
    shared: bool = True,
    seed: int = 0,
    budget: int | None = None,
    rule: str | None = None,
    progress: Progress | None = None,
) -> LutTable:
    """A table of at most `entries` segments of `function`, for codes of `in_bits` at `scales`.

    Parameters
    ----------
    method : ``exact``; the genetic ``gqa`` and ``gade``; the cheap ``nn-lut``, ``least-squares``
    form : of slopes and intercepts; by default that of the function
    objective : mean over scales of the mean squared error over the codes in range, or the greatest
        absolute error of all; the baselines always work on squares
    weight : float [2**in_bits], weighs the codes, lowest first, such as a histogram of activations
    guard : greatest absolute error at codes outside of the range; None for any
    shared : one set of break points, slopes and intercepts for all scales, or one a scale
    seed, budget : of the methods in `SEEDED`; the budget in generations or steps
    rule : how lines follow from break points, for ``gqa`` and ``gade`` (`METHODS`)

    The table's `info` says how it was found, the objective's `value`, and the `optimum`: the least
    value possible in this format, under this guard, with its proof; the `ratio` to it; and, for
    squares, the least `real` value were slopes and intercepts any numbers. Same arguments, same
    table. Raises :class:`InputError` for whatever does not fit, or a guard that no line of the
    format holds.
    """
    scales = check_scales(scales)
    check_in_bits(in_bits)
    form = Format.of(function) if form is None else form
    rule = _check(
        function, entries, method, scales, in_bits, form, objective, guard, seed, budget, rule
    )
    options: dict[str, Any] = {"seed": seed, "budget": budget, "rule": rule, "progress": progress}
    problems = [
        Problem(Points.of(function, part, in_bits, weight), form, objective, guard)
        for part in ([scales] if shared else [(k,) for k in scales])
    ]
    outcomes = [run(problem, entries, method, **options) for problem in problems]
    both = list(zip(problems, outcomes, strict=True))
    tables = [table_of(*one) for one in both]
    costs = [_costs(*one, entries) for one in both]
    info = {
        **(tables[-1].info if shared else {}),
        "method": method,
        **({"rule": rule} if rule else {}),
        "objective": objective,
        "guard": guard,
        "weighted": weight is not None,
        **({"seed": seed} if method in SEEDED else {}),
        "evaluations": sum(outcome.evaluations for outcome in outcomes),
        **_compared(objective, costs),
    }
    rows = tuple(row for table in tables for row in table.rows)
    return LutTable(function, form, in_bits, rows, shared, info)


def _costs(problem: Problem, outcome: Cut, entries: int) -> tuple[float, float, float | None]:
    """The objective of `outcome`, the least in the format, and for squares the least with any
    slopes and intercepts."""
    real = problem.limit("real", entries).cost if problem.objective == "mse" else None
    return problem.cost(outcome), problem.cost(run(problem, entries, "exact")), real


def _compared(
    objective: Objective, costs: Sequence[tuple[float, float, float | None]]
) -> dict[str, Any]:
    """The value over all tables, and the optimum, for a table's info."""
    together = np.mean if objective == "mse" else np.max
    values, least, real = zip(*costs, strict=True)
    value, best = float(together(values)), float(together(least))
    optimum: dict[str, Any] = {objective: best, "ratio": ratio(value, best), "proof": PROOF}
    if objective == "mse":
        optimum["real"] = float(np.mean([number for number in real if number is not None]))
    return {"value": value, "optimum": optimum}


def run(
    problem: Problem,
    entries: int,
    method: str,
    *,
    seed: int = 0,
    budget: int | None = None,
    rule: str | None = None,
    progress: Progress | None = None,
) -> Cut:
    """What a method finds for one problem, its lines within the guard."""
    if method == "exact":
        best = problem.exact.best(entries)
        return Cut(best.starts, best.slopes, best.intercepts, 1)
    if method == "least-squares":
        return problem.held(baselines.least_squares(problem, entries))
    options = {"rule": rule or METHODS[method][0]} if METHODS[method] else {}
    outcome = SEEDED[method](
        problem, entries, seed=seed, budget=budget, progress=progress, **options
    )
    return problem.held(outcome)


def table_of(problem: Problem, cut: Cut, info: Mapping[str, Any] | None = None) -> LutTable:
    """The table of what a search found; break points at the roundest place between two inputs."""
    points = problem.points
    cells = np.array([points.cut(start) for start in cut.starts[1:]], np.int64)
    return LutTable.from_cuts(points, problem.form, cells, cut.slopes, cut.intercepts, info)


def ratio(value: float, best: float) -> float | None:
    """How many times the best possible a value is; None where that is zero and the value is not."""
    if value <= best * (1 + 1e-9) + 1e-15:
        return 1.0
    return value / best if best > 1e-15 else None


def _check(
    function: Function,
    entries: int,
    method: str,
    scales: tuple[int, ...],
    in_bits: int,
    form: Format,
    objective: str,
    guard: float | None,
    seed: int,
    budget: int | None,
    rule: str | None,
) -> str | None:
    """Raises :class:`InputError` for what does not fit together; the rule that is to be taken."""
    if type(entries) is not int or not MIN_ENTRIES <= entries <= MAX_ENTRIES:
        raise InputError(f"entries {shown(entries)}: {MIN_ENTRIES} to {MAX_ENTRIES} are possible")
    most = max(len(codes(function, in_bits, k)) for k in scales)
    if entries > most:
        raise InputError(
            f"entries {entries}: the range of {function.name} holds no more than {most} of the "
            f"{in_bits}-bit codes at any of these scales; ask for {most} at most"
        )
    if method not in METHODS:
        raise InputError(f"method {shown(method)}: {' '.join(METHODS)} are known")
    if objective not in ("mse", "max"):
        raise InputError(f"objective {shown(objective)}: mse and max are known")
    if guard is not None and not (math.isfinite(guard) and guard >= 0):
        raise InputError(f"guard {shown(guard)}: a finite error of 0 or more, or None")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed {shown(seed)}: an integer of 0 or more is needed")
    if budget is not None and method not in SEEDED:
        raise InputError(f"budget {shown(budget)}: method {method} takes none")
    if budget is not None and (type(budget) is not int or budget < 1):
        raise InputError(f"budget {shown(budget)}: at least 1 is needed")
    if objective == "max" and form.slopes.size > MAX_SLOPES:
        raise InputError(
            f"slopes of format {form.name}: the objective max tries all {form.slopes.size}; "
            f"{MAX_SLOPES} at most, take narrower ones"
        )
    options = METHODS[method]
    if objective == "max" and options:
        # The other rules choose lines by squares.
        options = ("best",)
    if rule is not None and rule not in options:
        which = f"{' '.join(options)} with objective {objective}" if options else "none"
        raise InputError(f"rule {shown(rule)}: method {method} takes {which}")
    return rule or (options[0] if options else None)
