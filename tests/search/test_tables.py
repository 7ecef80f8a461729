"""Every method through `find`: its table, what it says of itself, and what it refuses."""

import json
import math

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function, parse_function
from genogate.model.tables.points import Points
from genogate.model.tables.table import LutTable
from genogate.search.tables import gade, gqa
from genogate.search.tables.methods import METHODS, find, run
from genogate.search.tables.rules import Problem

from studies.reference_loop import Loop

#: Least mean squared errors under protocol R, 8 and 16 entries: one table a scale, one for all, and
#: for all with real slopes and intercepts (an independent program's, to three digits).
OPTIMA = {
    "gelu": ((1.68e-5, 3.20e-5, 1.55e-5), (3.28e-6, 5.11e-6, 1.69e-6)),
    "hswish": ((6.30e-5, 1.11e-4, 9.66e-5), (7.25e-6, 1.21e-5, 5.10e-6)),
    "silu": ((1.93e-5, 3.60e-5, 1.85e-5), (6.81e-6, 9.50e-6, 1.92e-6)),
    "sigmoid": ((1.36e-5, 1.90e-5, 8.41e-6), (6.64e-6, 7.60e-6, 5.69e-7)),
    "tanh": ((3.01e-5, 5.48e-5, 3.24e-5), (6.46e-6, 9.21e-6, 3.93e-6)),
    "exp": ((1.07e-5, 1.63e-5, 5.19e-6), (7.49e-6, 9.20e-6, 4.57e-7)),
    "reciprocal": ((8.13e-6, 3.30e-5, 2.79e-5), (3.57e-6, 5.39e-6, 1.63e-6)),
    "rsqrt": ((6.38e-6, 1.43e-5, 1.09e-5), (2.79e-6, 3.73e-6, 1.13e-6)),
}
#: Small enough that every method ends at once.
SMALL = {"scales": (1, 2), "in_bits": 6}
BUDGET = {"gqa": 10, "gade": 40, "nn-lut": 60}


def judged(data, function, protocol="R"):
    """Errors of a parsed table file, code by code in plain Python: mean over scales of the mean
    squared error, and the greatest absolute error."""
    low, high = data["range"] if protocol == "R" else data["domain"]
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    half = 1 << (data["in_bits"] - 1)
    means, worst = [], 0.0
    for row in data["scales"]:
        squares = []
        for q in range(-half, half):
            x = q / 2 ** row["scale"]
            if low <= x <= high:
                k = sum(p <= q for p in row["breakpoints"])
                slope = row["slopes"][k] / 2 ** row["slope_fraction"][k]
                intercept = row["intercepts"][k] / 2 ** row["intercept_fraction"][k]
                off = slope * x + intercept - float(function(np.array(x)))
                squares.append(off * off)
                worst = max(worst, abs(off))
        means.append(sum(squares) / len(squares))
    return sum(means) / len(means), worst


@pytest.mark.parametrize("name", FUNCTIONS)
def test_exact_tables_are_the_known_optima(name):
    for entries, (single, shared, real) in zip((8, 16), OPTIMA[name], strict=True):
        found = find(FUNCTIONS[name], entries)
        assert found.entries <= entries
        assert f"{found.mse():.2e}" == f"{shared:.2e}"
        assert f"{found.info['optimum']['real']:.2e}" == f"{real:.2e}"
        assert found.info["optimum"]["ratio"] == 1.0
        assert f"{find(FUNCTIONS[name], entries, shared=False).mse():.2e}" == f"{single:.2e}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gqa_is_within_a_tenth_of_the_optimum(name):
    problem = Problem(Points.of(FUNCTIONS[name]), Format.of(FUNCTIONS[name]))
    for entries, seeds in ((8, 1), (16, 5)):
        best = problem.exact.best(entries).cost
        for seed in range(seeds):
            # Fewer generations than it has by default.
            budget = 30 if len(problem.points.x) > 500 else 150
            cut = gqa.search(problem, entries, seed=seed, budget=budget)
            assert problem.cost(cut) <= 1.1 * best, f"{entries} entries, seed {seed}"


@pytest.mark.parametrize("objective", ["mse", "max"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_table_has_the_errors_that_are_reported(method, shared, objective, tmp_path):
    function = FUNCTIONS["silu"]
    table = find(
        function,
        6,
        method=method,
        shared=shared,
        objective=objective,
        budget=BUDGET.get(method),
        **SMALL,
    )
    table.save(tmp_path / "table.json")
    data = json.loads((tmp_path / "table.json").read_text())
    mean, worst = judged(data, function)
    assert data["errors"]["R"]["mse"] == pytest.approx(mean, rel=1e-9)
    assert data["errors"]["R"]["max"] == pytest.approx(worst, rel=1e-9)
    everywhere = judged(data, function, "A")
    assert data["errors"]["A"]["mse"] == pytest.approx(everywhere[0], rel=1e-9)
    assert data["errors"]["A"]["max"] == pytest.approx(everywhere[1], rel=1e-9)
    value = mean if objective == "mse" else worst
    assert data["value"] == pytest.approx(value, rel=1e-9)
    assert data["optimum"][objective] <= value * (1 + 1e-9)
    assert data["optimum"]["ratio"] == pytest.approx(value / data["optimum"][objective], rel=1e-6)
    again = LutTable.load(tmp_path / "table.json")
    assert again.to_json() == data


@pytest.mark.parametrize(
    ("method", "rule"),
    [(method, rule) for method, rules in METHODS.items() for rule in rules or (None,)],
)
def test_the_guard_bounds_errors_outside_of_the_range(method, rule):
    guard, function = 0.08, FUNCTIONS["silu"]
    table = find(
        function,
        8,
        method=method,
        rule=rule,
        guard=guard,
        scales=range(4),
        in_bits=7,
        budget=BUDGET.get(method),
    )
    for row in table.rows:
        q = np.arange(-64, 64)
        x = q * 2.0**-row.scale
        outside = (x < -4) | (x > 4)
        off = np.abs(row(q) - function(x))[outside]
        assert off.max(initial=0) <= guard + 1e-12, f"scale {row.scale}"


def test_without_a_guard_a_table_may_diverge():
    table = find(FUNCTIONS["silu"], 8)
    assert table.errors("A")[0][1] > 1
    assert find(FUNCTIONS["silu"], 8, guard=0.0625).errors("A")[0][1] <= 0.0625


@pytest.mark.parametrize("method", ["gqa", "gade", "least-squares"])
def test_a_search_minds_the_guard_while_it_looks(method):
    found = find(
        FUNCTIONS["silu"],
        8,
        method=method,
        guard=0.0625,
        in_bits=7,
        budget={"gqa": 20, "gade": 200}.get(method),
    )
    assert found.info["optimum"]["ratio"] < 1.5


@pytest.mark.parametrize("method", ["gqa", "gade", "nn-lut"])
def test_a_seed_decides_the_table(method):
    tables = [
        find(FUNCTIONS["gelu"], 12, method=method, seed=seed, budget=3, in_bits=7).to_json()
        for seed in (0, 0, 1)
    ]
    assert tables[0] == tables[1]
    # Another seed takes another way, even where both end at the optimum.
    ways = [(table["scales"], table["evaluations"]) for table in (tables[0], tables[2])]
    assert ways[0] != ways[1]


@pytest.mark.parametrize("method", ["exact", "gqa", "gade", "nn-lut", "least-squares"])
def test_weights_pull_a_table_to_where_they_are(method):
    # Nearly all inputs are between -1 and 0.
    weight = np.full(64, 1e-3)
    weight[24:33] = 1.0
    options = {"method": method, "scales": [3], "in_bits": 6, "budget": BUDGET.get(method)}
    near = np.arange(24, 33) - 32
    off = {}
    for name, w in (("even", None), ("weighted", weight)):
        table = find(FUNCTIONS["gelu"], 4, weight=w, **options)
        y = FUNCTIONS["gelu"](near / 8)
        off[name] = ((table.row(3)(near) - y) ** 2).mean()
        assert table.info["weighted"] == (w is not None)
    assert off["weighted"] < off["even"]


@pytest.mark.parametrize("bits", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("form", [Format("dynamic"), Format("fixed", 6, 9, 4)])
def test_widths_and_formats(bits, form):
    for method in METHODS:
        table = find(
            FUNCTIONS["tanh"],
            5,
            method=method,
            in_bits=bits,
            form=form,
            scales=(1,),
            budget=BUDGET.get(method),
        )
        row = table.row(1)
        assert row.breakpoints.min() >= -(1 << (bits - 1))
        assert np.abs(row.slopes).max() < 1 << (form.slope_bits - 1)
        assert np.abs(row.intercepts).max() < 1 << (form.intercept_bits - 1)
        if form.kind == "fixed":
            assert set(row.slope_fraction) | set(row.intercept_fraction) == {4}
        assert table.info["value"] >= table.info["optimum"]["mse"] * (1 - 1e-9)
        assert table.info["optimum"]["mse"] >= table.info["optimum"]["real"] * (1 - 1e-9)


def test_a_finer_format_comes_near_to_real_numbers():
    found = find(FUNCTIONS["gelu"], 8, form=Format("fixed", 20, 20, 16), in_bits=7, scales=(3, 5))
    assert found.info["value"] < 1.001 * found.info["optimum"]["real"]


def test_a_function_of_our_own_and_an_expression_are_searched():
    call = Function("mine", lambda x: np.sin(x) * x, -3, 3)
    text = parse_function("sin(x) * x", -3, 3)
    tables = [find(f, 8, scales=(4, 5), form=Format("fixed", 9, 9, 6)) for f in (call, text)]
    assert tables[0].mse() == tables[1].mse() < 4e-3


def test_a_table_of_a_function_that_ends_is_judged_where_it_has_values(tmp_path):
    table = find(parse_function("log(x)", 0.5, 4), 8, scales=(4, 5))
    table.save(tmp_path / "table.json")
    errors = LutTable.load(tmp_path / "table.json").errors("A")
    assert all(np.isfinite(v).all() for v in errors.values())


def test_a_line_needs_no_table():
    # Every method finds the line itself, though half of its segments are of no use.
    for method in METHODS:
        table = find(
            parse_function("x / 2 + 1", -1, 1),
            4,
            method=method,
            scales=(4,),
            budget=BUDGET.get(method),
        )
        assert table.info["optimum"]["mse"] < 1e-15
        if method != "nn-lut":
            assert table.info["optimum"]["ratio"] == 1.0


def test_progress_is_told():
    heard = []
    find(
        FUNCTIONS["exp"],
        8,
        method="gqa",
        rule="chord",
        budget=50,
        progress=lambda *args: heard.append(args),
    )
    assert [done for done, _, _ in heard] == [25, 50]
    assert all(total == 50 and 0 < best < 1 for _, total, best in heard)


@pytest.mark.parametrize("rule", ["chord", "least-squares", "best"])
def test_break_points_are_judged_as_their_table(rule):
    problem = Problem(Points.of(FUNCTIONS["gelu"], in_bits=7), Format.of(FUNCTIONS["gelu"]))
    judge = gqa.Chord(problem) if rule == "chord" else gqa.LookedUp(problem, rule)
    rng = np.random.default_rng(5)
    p = rng.uniform(-4, 4, (20, 7))
    # Break points may fall together, and onto the ends.
    p[::3, 1] = p[::3, 2]
    p[::4, 0], p[::5, 6] = -4, 4
    p.sort(axis=1)
    costs = [problem.cost(gqa.Cut(*judge.table(row), 1)) for row in p]
    np.testing.assert_allclose(judge(p), costs, rtol=1e-9)


def test_the_chord_rule_rounds_chords_that_end_far_away():
    problem = Problem(Points.of(FUNCTIONS["gelu"]), Format.of(FUNCTIONS["gelu"]))
    judge, gelu = gqa.Chord(problem), FUNCTIONS["gelu"]
    p = np.array([-2.2, -1.1, -0.3, 0.3, 0.7, 1.1, 1.6])
    _, slopes, intercepts = judge.table(p)
    edges = np.array([-1e4, *p, 1e4])
    slope = np.diff(gelu(edges)) / np.diff(edges)
    intercept = gelu(edges[:-1]) - slope * edges[:-1]
    for indices, real in ((slopes, slope), (intercepts, intercept)):
        assert problem.form.slopes.value(indices).tolist() == (np.rint(real * 64) / 64).tolist()


def test_the_released_objective_counts_absolute_errors_and_penalties():
    problem = Problem(Points.of(FUNCTIONS["exp"]), Format.of(FUNCTIONS["exp"]))
    judge = gade.Absolute(problem)
    rng = np.random.default_rng(6)
    for p in np.sort(rng.uniform(-8, 0, (20, 7)), axis=1):
        cut = gqa.Cut(*judge.table(p), 1)
        y = problem.values(cut)
        mean = np.abs(y - problem.points.y) @ problem.points.weight
        if len(cut.starts) == 8:
            assert judge(p[None])[0] == pytest.approx(mean + 1e5 * np.maximum(-y, 0).sum())
    twins = np.array([[-7.0, -6, -5, -4, -3, -2, -2]])
    assert judge(twins)[0] >= 1e5


def test_a_moved_break_point_never_makes_a_table_worse():
    problem = Problem(Points.of(FUNCTIONS["gelu"], in_bits=6), Format.of(FUNCTIONS["gelu"]))
    judge = gqa.LookedUp(problem, "refitted")
    p = np.sort(np.random.default_rng(3).uniform(-4, 4, (30, 7)), axis=1)
    better, tried = judge.polish(p)
    assert (judge(better) <= judge(p)).all()
    assert (judge(better) < judge(p)).any()
    assert (np.diff(better, axis=1) >= 0).all()
    assert tried > 30 * 7


def test_the_plain_loop_judges_as_it_says():
    function = FUNCTIONS["gelu"]
    breakpoints = [-2.5, -1.0, -0.25, 0.0, 0.3, 1.1, 2.9]
    fast = Loop(function, numpy_calls=False)
    slow = Loop(function)
    assert fast.judge(breakpoints) == pytest.approx(slow.judge(breakpoints), rel=1e-9)
    # A hundred times as many cuts: only the rounding of the chords is left.
    assert fast.judge(np.linspace(-4, 4, 700).tolist()) < fast.judge(breakpoints)
    rate = fast.run(4, 2, seed=1)
    assert 50 < rate.evaluations <= 150
    assert rate.error > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": 3}, r"^entries 3: 4 to 64 are possible$"),
        ({"entries": 65}, r"^entries 65: 4 to 64 are possible$"),
        ({"entries": True}, r"^entries True: 4 to 64 are possible$"),
        (
            {"entries": 10, "scales": [0]},
            r"^entries 10: the range of gelu holds no more than 9 of the 8-bit codes",
        ),
        (
            {"entries": 17, "in_bits": 4, "scales": [0, 2]},
            r"^entries 17: the range of gelu holds no more than 16 of the 4-bit codes",
        ),
        ({"method": "anneal"}, r"^method 'anneal': exact gqa gade nn-lut least-squares are known$"),
        ({"objective": "mae"}, r"^objective 'mae': mse and max are known$"),
        ({"guard": -1.0}, r"^guard -1.0: a finite error of 0 or more, or None$"),
        ({"guard": math.nan}, r"^guard nan: "),
        ({"method": "gqa", "budget": 0}, r"^budget 0: at least 1 is needed$"),
        ({"method": "gade", "budget": -5}, r"^budget -5: at least 1 is needed$"),
        ({"budget": 7}, r"^budget 7: method exact takes none$"),
        (
            {"method": "gqa", "rule": "spline"},
            r"^rule 'spline': method gqa takes best least-squares ",
        ),
        (
            {"method": "gqa", "rule": "chord", "objective": "max"},
            r"^rule 'chord': method gqa takes best with objective max$",
        ),
        ({"rule": "best"}, r"^rule 'best': method exact takes none$"),
        ({"seed": -1}, r"^seed -1: an integer of 0 or more is needed$"),
        ({"scales": []}, r"^scales: at least one is needed$"),
        ({"scales": [17]}, r"^scale 17: "),
        ({"in_bits": 9}, r"^input bits: 9 is not within 4 to 8$"),
        ({"weight": np.ones(3)}, r"^weights: 256 finite numbers are needed"),
        ({"weight": np.full(256, np.nan)}, r"^weights: 256 finite numbers are needed"),
        ({"weight": -np.ones(256)}, r"^weights: that of code -128 is negative \(-1\)$"),
        (
            {"objective": "max", "form": Format("fixed", 16, 16, 10)},
            r"^slopes of format s5.10: the objective max tries all 65536; 4096 at most",
        ),
        (
            {"guard": 1e-9, "form": Format("fixed", 4, 4, 2)},
            r"^guard 1e-09: no line of format s1.2 ",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change, message):
    options = {"function": FUNCTIONS["gelu"], "entries": 8, **change}
    with pytest.raises(InputError, match=message) as caught:
        find(**options)
    assert "\n" not in str(caught.value)


def test_a_range_that_no_code_of_a_scale_meets_is_refused():
    with pytest.raises(
        InputError, match=r"^range of gelu: 0\.1 to 0\.4 holds 0 of the 8-bit codes"
    ):
        find(FUNCTIONS["gelu"].within(0.1, 0.4), 4, scales=[0, 5])
    with pytest.raises(InputError, match=r"^1 / x: not finite at x = 0; choose another range$"):
        find(parse_function("1 / x", -1, 1), 4, scales=[4])


def test_a_rule_gives_what_the_best_table_of_the_rule_is():
    problem = Problem(Points.of(FUNCTIONS["gelu"]), Format.of(FUNCTIONS["gelu"]))
    costs = [
        problem.limit(rule, 16).cost
        for rule in ("real", "best", "least-squares", "refitted", "rounded")
    ]
    assert (np.diff(costs) > -1e-15).all()
    # An independent program's best table by the rule, to three digits.
    assert f"{costs[3]:.2e}" == "6.11e-06"
    cut = run(problem, 16, "gqa", rule="refitted", budget=60)
    assert costs[3] <= problem.cost(cut) < 1.05 * costs[3]


def test_cheap_methods_end_within_their_usual_distance():
    assert 1 < find(FUNCTIONS["gelu"], 8, method="least-squares").info["optimum"]["ratio"] < 1.5
    assert 1 < find(FUNCTIONS["sigmoid"], 8, method="nn-lut").info["optimum"]["ratio"] < 6


@pytest.mark.parametrize("method", ["gqa", "gade"])
@pytest.mark.parametrize(
    ("text", "low", "high", "entries"),
    [("cbrt(x)", -2, 2, 8), ("2**x", -4, 2, 16), ("sqrt(x)", 0, 4, 16), ("sin(x)", -3, 3, 16)],
)
def test_searches_end_within_two_per_cent_of_the_optimum(method, text, low, high, entries):
    """Functions that nobody tuned the searches on; few generations, so the last step decides."""
    budget = {"gqa": 10, "gade": 30}[method]
    for seed in range(2):
        table = find(
            parse_function(text, low, high),
            entries,
            method=method,
            scales=(0, 2, 4, 6),
            seed=seed,
            budget=budget,
        )
        assert table.info["optimum"]["ratio"] <= 1.02


@pytest.mark.parametrize("expression", ["exp(x*20)", "x*1e9", "1e8 + x"])
def test_a_function_that_no_format_holds_is_refused_at_once(expression):
    """It was searched slope by slope, 16 million of them for each interval."""
    with pytest.raises(InputError, match="24 bits hold 8,388,608; choose a smaller range"):
        Format.of(parse_function(expression, -4, 4))
