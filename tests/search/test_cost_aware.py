"""Cost-aware search: fronts that hold, an exact rival that is exact, changes that stay valid."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from genogate.hdl.units.shift_add_unit import build, digits_of, forms
from genogate.model.errors import InputError
from genogate.model.integer import PiecewiseLinear
from genogate.model.tables.functions import FUNCTIONS
from genogate.search.units.editor import Editor
from genogate.search.units.genes import Candidate, Genes, scaled
from genogate.search.units.meter import front, predicted
from genogate.search.units.pareto import explore, pareto
from genogate.search.units.rival import best_of, exact_genes, rival
from genogate.search.units.segments import Segmenter, inputs_of, line_errors, slopes_for
from genogate.search.units.target import MAX_SEGMENTS, Target
from genogate.sim import golden
from genogate.synth import area
from genogate.synth.recipes import script_hash

from studies import cost as study_cost

DATA = Path(__file__).parents[2] / "docs" / "data" / "tables_cost.json"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """A cache of areas for this file alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENOGATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("YOSYS", raising=False)
        yield


def outputs(unit):
    """Real outputs of every code, by the golden model, without the output scale."""
    top = 1 << (unit.a_bits - 1)
    return golden.activation(unit, np.arange(-top, top))


def mse_of(unit, function, scale, out_scale):
    """Error over protocol R, from the definition."""
    top = 1 << (unit.a_bits - 1)
    x = np.arange(-top, top) / 2.0**scale
    judged = (x >= function.low) & (x <= function.high)
    y = (outputs(unit) - unit.zero_point) / 2.0**out_scale
    return float(np.mean((y[judged] - function.call(x[judged])) ** 2))


SMALL = {"in_bits": 5, "out_bits": 5}


@pytest.fixture(scope="module")
def fronts():
    """Small fronts: GELU in 5 bits, with codes outside of its range, by both methods."""
    gelu = FUNCTIONS["gelu"]
    return {
        "pareto": pareto(gelu, scale=1, generations=2, pop_size=9, seed=4, **SMALL),
        "rival": rival(gelu, scale=1, evaluations=12, **SMALL),
    }


@pytest.mark.parametrize("method", ["pareto", "rival"])
def test_nothing_in_a_front_is_dominated(fronts, method):
    found = fronts[method]
    assert len(found) >= 2
    for a, b in itertools.permutations(found, 2):
        assert not (a.cells <= b.cells and a.mse <= b.mse)
    assert [c.cells for c in found] == sorted(c.cells for c in found)


@pytest.mark.parametrize("method", ["pareto", "rival"])
def test_stated_errors_and_cells_are_true(fronts, method, tmp_path, monkeypatch):
    target = Target.of(FUNCTIONS["gelu"], 1, **SMALL)
    for c in fronts[method]:
        assert c.mse == pytest.approx(mse_of(c.unit, FUNCTIONS["gelu"], 1, target.out_scale))
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path))
    monkeypatch.setattr(area, "_met", {})
    some = fronts[method][::3]
    again = area.measure([build(c.unit, c.form) for c in some])
    assert [a.cells for a in again] == [c.cells for c in some]


@pytest.mark.parametrize("method", ["pareto", "rival"])
def test_no_unit_diverges_outside_of_its_range(fronts, method):
    gelu = FUNCTIONS["gelu"]
    x = np.arange(-16, 16) / 2.0
    beyond = np.abs(x) > 4
    assert beyond.sum() == 15
    out_scale = Target.of(gelu, 1, **SMALL).out_scale
    for c in fronts[method]:
        wanted = np.clip(gelu(x) * 2.0**out_scale, -16, 15)
        off = np.abs(outputs(c.unit) - wanted)[beyond]
        assert off.max() <= 2.0**-4 * 2.0**out_scale + 0.5


def test_more_effort_of_synthesis_costs_no_cell():
    """And says the same twice."""
    gelu = FUNCTIONS["gelu"]
    few = {**SMALL, "scale": 1, "generations": 0, "pop_size": 5}
    plain, deep = pareto(gelu, **few), pareto(gelu, deep=True, **few)
    for one in plain:
        assert min(c.cells for c in deep if c.mse <= one.mse) <= one.cells
    area.forget()
    for one in deep[:2]:
        assert area.measure_deep([build(one.unit, one.form)])[0].cells == one.cells


def test_a_unit_that_diverges_is_not_safe():
    target = Target.of(FUNCTIONS["gelu"], 1, **SMALL)
    wild = Genes("none", 0, 0, (-8, 9), (-3, 1, 0), (0, 0, 15))
    assert not target.safe(outputs(wild.unit(target)))
    editor = Editor(target, np.random.default_rng(0))
    # The best line of a segment outside keeps the guard even though no judged code sees it.
    tame = editor.reline(editor.reline(wild, 0, [0, -3], 0), 2, [0], 0)
    assert target.safe(outputs(tame.unit(target)))


def test_what_breaks_the_guard_is_not_measured():
    target = Target.of(FUNCTIONS["gelu"], 1, **SMALL)
    # Both are max(x, 0) within the range; beyond it one falls to 0.
    assert target.out_scale == 2
    wild = Genes("none", 0, 0, (0, 9), (0, 2, 0), (0, 0, 0))
    tame = Genes("none", 0, 0, (0,), (0, 2), (0, 0))
    assert target.mse(outputs(wild.unit(target))) == target.mse(outputs(tame.unit(target)))
    assert target.mse(outputs(tame.unit(target))) < target.coarsest
    for meter in (best_of(target, [wild, tame], 9), explore(target, 0, 4, 0, [wild, tame])):
        measured = {genes for genes, _ in meter.known}
        assert tame in measured
        assert wild not in measured


def test_the_same_seed_finds_the_same():
    def run(seed):
        found = pareto(
            FUNCTIONS["tanh"], scale=2, generations=1, pop_size=6, seed=seed, start=[], **SMALL
        )
        return [(c.cells, c.mse, c.form, c.unit.intercepts.tolist()) for c in found]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_search_is_never_worse_than_what_it_starts_from():
    target = Target.of(FUNCTIONS["gelu"], 1, **SMALL)
    start = exact_genes(target)
    first = front(explore(target, 0, 9, 4, start).known.values())
    later = explore(target, 2, 9, 4, start)
    assert later.count <= 9 + 2 * 3
    for a in first:
        assert any(b.cells <= a.cells and b.mse <= a.mse for b in later.known.values())


def brute_force(target, fold, ramp, fraction, nodes, slopes, intercepts, price, point_price):
    """Least error plus price over everything, each table evaluated as the unit that it is."""
    best = np.inf
    lines = list(itertools.product(slopes, intercepts))
    for count in (1, 2):
        for points in itertools.combinations(range(1, len(nodes)), count - 1):
            for chosen in itertools.product(lines, repeat=count):
                genes = Genes(
                    fold,
                    ramp,
                    fraction,
                    tuple(int(nodes[p]) for p in points),
                    tuple(s for s, _ in chosen),
                    tuple(c for _, c in chosen),
                )
                got = outputs(genes.unit(target))
                cost = target.weight @ (got - target.wanted) ** 2
                cost += sum(price[s] for s, _ in chosen) + sum(point_price[p] for p in points)
                if cost < best and fold == "negated" and fold not in forms(genes.unit(target)):
                    continue  # a size of 0, or one that saturates: no such circuit
                best = min(best, cost)
    return best


@pytest.mark.parametrize(
    ("name", "fold", "scale"),
    [
        ("gelu", "none", 1),
        ("tanh", "odd", 1),
        ("gelu", "even", 1),
        ("tanh", "negated", 1),
        ("gelu", "mirrored", 1),
    ],
)
def test_the_rival_is_optimal(name, fold, scale):
    """4-bit codes, break points on multiples of 4 (2 in a half), three slopes, even intercepts."""
    target = Target.of(FUNCTIONS[name].within(-4, 4), scale, 4, 4)
    assert fold == "none" or (fold, 0) in target.folds
    slopes = (-1, 0, 2)
    price, step = {-1: 0.02, 0: 0.0, 2: 0.3}, 4 if fold == "none" else 2
    segmenter = Segmenter(target, fold, 0, 1, 1, step, slopes)
    assert len(segmenter.nodes) == 4
    point_price = np.array([9.0, 0.1, 0.0, 0.4])
    found, genes = segmenter.solve(2, np.array([price[s] for s in slopes]), point_price)
    wanted = brute_force(
        target, fold, 0, 1, segmenter.nodes, slopes, range(-18, 20, 2), price, point_price
    )
    assert found == pytest.approx(wanted)
    # And the table that comes with it has that cost.
    error = target.weight @ (outputs(genes.unit(target)) - target.wanted) ** 2
    paid = sum(price[s] for s in genes.slopes)
    paid += sum(point_price[segmenter.nodes.tolist().index(p)] for p in genes.points)
    assert error + paid == pytest.approx(found)


@pytest.mark.parametrize(("name", "fold"), [("sigmoid", "negated"), ("gelu", "mirrored")])
def test_halves_about_0_are_built_as_such_and_cost_no_error(name, fold):
    """The least error of a full table, which halves about the middle of two codes do not have."""
    target = Target.of(FUNCTIONS[name], {"sigmoid": 4, "gelu": 5}[name])
    assert (fold, 0) in target.folds
    segmenter = Segmenter(target, fold, 0, 3, 0, 2, slopes_for(target, fold, 0, 3, 9))
    free = np.zeros(len(segmenter.slopes)), np.zeros(len(segmenter.nodes))
    unit = segmenter.solve(MAX_SEGMENTS, *free)[1].unit(target)
    assert fold in {form.split()[0] for form in forms(unit)}
    best = np.clip(np.rint(target.wanted), -128, 127)
    assert target.mse(outputs(unit)) < {"sigmoid": 1.7, "gelu": 1.001}[name] * target.mse(best)
    other = {"negated": "odd", "mirrored": "even"}[fold]
    halves = Segmenter(target, other, 0, 3, 0, 2, slopes_for(target, other, 0, 3, 9))
    free = np.zeros(len(halves.slopes)), np.zeros(len(halves.nodes))
    assert target.mse(outputs(unit)) < target.mse(
        outputs(halves.solve(MAX_SEGMENTS, *free)[1].unit(target))
    )


def test_prices_leave_fewer_segments_and_slopes_stay_allowed():
    target = Target.of(FUNCTIONS["silu"], 5)
    slopes = slopes_for(target, "none", 0, 3, 2)
    assert max(len(digits_of(s)) for s in slopes) == 2
    segmenter = Segmenter(target, "none", 0, 3, 3, 16, slopes)
    free, paid = np.zeros(len(segmenter.slopes)), np.full(len(segmenter.slopes), 2.0)
    points = np.zeros(len(segmenter.nodes))
    few = segmenter.solve(16, paid, points)[1]
    many = segmenter.solve(16, free, points)[1]
    assert len(few.slopes) < len(many.slopes)
    one = np.array([len(digits_of(int(s))) <= 1 for s in segmenter.slopes])
    only = segmenter.solve(16, free, points, one)[1]
    assert all(len(digits_of(s)) <= 1 for s in only.slopes)


@pytest.mark.parametrize("name", ["gelu", "tanh", "rsqrt"])
def test_changes_stay_valid_and_canonical_forms_keep_the_law(name):
    target = Target.of(FUNCTIONS[name], 5)
    editor = Editor(target, np.random.default_rng(7))
    pool = [editor.random() for _ in range(6)]
    for step in range(60):
        a, b = pool[step % 6], pool[(step * 5 + 1) % 6]
        raw = a
        for _ in range(3):
            raw = editor._change(raw)
        child = raw.canonical(8)
        assert child == child.canonical(8)
        np.testing.assert_array_equal(
            outputs(child.unit(target)), outputs(scaled(child, child.fraction + 2).unit(target))
        )
        np.testing.assert_array_equal(outputs(child.unit(target)), outputs(raw.unit(target)))
        both = editor.cross(child, b)
        assert len(both.slopes) <= max(MAX_SEGMENTS, len(child.slopes))
        got = outputs(both.unit(target))
        if both.fold == "odd":
            np.testing.assert_array_equal(got, ~got[::-1])
        if both.fold == "even":
            ramp = np.maximum(np.arange(-128, 128), 0) << both.ramp
            unclipped = got < 127
            rest = np.where(unclipped & unclipped[::-1], got - ramp, 0)
            np.testing.assert_array_equal(rest, rest[::-1])
        pool[step % 6] = child


def test_relining_is_best():
    target = Target.of(FUNCTIONS["exp"], 4)
    genes = Genes("none", 0, 3, (-32,), (0, 8), (-1000, 900))
    best = Editor(target, np.random.default_rng(0)).reline(genes, 1, [4, 9], 1)
    inputs = inputs_of(target, "none")
    costs = {
        (s, c): line_errors(target, "none", 0, 3, s, np.array([c]), inputs[inputs >= -32]).sum()
        for s in (4, 9)
        for c in range(-3000, 3000, 2)
    }
    assert costs[best.slopes[1], best.intercepts[1]] == pytest.approx(min(costs.values()))
    assert best.slopes[0] == 0
    assert best.points == (-32,)


def test_predictions_rank():
    """Simple before complicated, in every form that both can have."""
    target = Target.of(FUNCTIONS["gelu"], 5)
    plain = predicted(Genes("none", 0, 0, (0,), (0, 1), (0, 0)).unit(target))
    rich = predicted(
        Genes("none", 0, 3, (-64, -16, 0, 24), (0, -1, 3, 6, 8), (0, -9, 7, 5, 0)).unit(target)
    )
    assert list(plain.values()) == sorted(plain.values())
    assert "multiplier" not in plain
    for form in plain.keys() & rich.keys():
        assert plain[form] < rich[form]


def test_hypervolume_by_hand():
    target = Target.of(FUNCTIONS["gelu"], 5)
    unit = Genes("none", 0, 0, (), (0,), (0,)).unit(target)
    coarse = target.coarsest
    points = [Candidate(unit, "table", coarse / 100, 50), Candidate(unit, "table", coarse / 10, 20)]
    # Of 2 decades by 100 cells: 2 decades from 50 up, 1 decade from 20 to 50.
    assert study_cost.hypervolume(points, target, coarse / 100, 100) == pytest.approx(
        (2 * 50 + 1 * 30) / 200
    )
    assert study_cost.hypervolume(points[:1], target, coarse / 1000, 100) == pytest.approx(
        2 * 50 / 300
    )
    assert study_cost.hypervolume([], target, coarse / 100, 100) == 0


def test_scales_of_the_study():
    assert {name: study_cost.scale_of(f) for name, f in FUNCTIONS.items()} == {
        "gelu": 5,
        "hswish": 5,
        "silu": 5,
        "sigmoid": 4,
        "tanh": 5,
        "exp": 4,
        "reciprocal": 5,
        "rsqrt": 5,
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_results_file_is_true(name):
    """Every unit of the shipped fronts has the error that the file says; one has the cells."""
    data = json.loads(DATA.read_text())
    found = data["functions"][name]
    rows = found["union"]
    assert len(rows) >= 8
    assert [r["mse"] for r in rows] == sorted((r["mse"] for r in rows), reverse=True)
    for row in rows:
        unit = PiecewiseLinear(
            a_bits=8,
            out_bits=8,
            fraction_bits=row["fraction_bits"],
            zero_point=row["zero_point"],
            breakpoints=np.array(row["breakpoints"], np.int16),
            slopes=np.array(row["slopes"], np.int32),
            intercepts=np.array(row["intercepts"], np.int64),
        )
        mse = mse_of(unit, FUNCTIONS[name], found["scale"], found["out_scale"])
        assert mse == pytest.approx(row["mse"])
        if row is rows[len(rows) // 2] and script_hash() == data["script"]:
            assert area.measure([build(unit, row["form"])])[0].cells == row["cells"]
    assert any(name in line for line in study_cost.render(data))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"pop_size": 3}, "pop_size: 3 is not at least 4"),
        ({"generations": -1}, "generations: -1 is not at least 0"),
        ({"in_bits": 9}, "input bits: 9 is not within 4 to 8"),
        ({"out_bits": 1}, "output bits: 1 is not within 2 to 8"),
        ({"scale": 9}, "range of rsqrt: 0.25 to 4 holds"),
    ],
)
def test_bad_input(change, line):
    arguments = {"scale": 5, **change}
    with pytest.raises(InputError) as error:
        pareto(FUNCTIONS["rsqrt"], **arguments)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_bad_budget_and_guard():
    with pytest.raises(InputError, match=r"^evaluations: 0 is not at least 1$"):
        rival(FUNCTIONS["gelu"], scale=5, evaluations=0)
    with pytest.raises(InputError, match=r"^guard: 0 is not greater than 0$"):
        Target.of(FUNCTIONS["gelu"], 5, guard=0)


def test_the_picture_shows_every_function(tmp_path):
    data = json.loads(DATA.read_text())
    path = tmp_path / "fronts.svg"
    study_cost.front_picture(data, path)
    text = path.read_text()
    assert text.count('id="axes_') == len(data["functions"]) == 8


def test_gelu_at_its_least_error_is_as_small_as_by_hand():
    """``max(i, 0)`` less a table of the magnitudes: 71 cells were known at MSE 7.1e-5."""
    target = Target.of(FUNCTIONS["gelu"], 5)
    less = np.floor(np.arange(128) - target.wanted[128:] + 0.5).astype(int)
    steps = [0, *(np.flatnonzero(np.diff(less)) + 1)]
    flat = (0,) * len(steps)
    points, intercepts = tuple(map(int, steps[1:])), tuple(-int(less[m]) for m in steps)
    unit = Genes("mirrored", 0, 0, points, flat, intercepts).unit(target)
    np.testing.assert_array_equal(outputs(unit), np.floor(target.wanted + 0.5))
    assert target.mse(outputs(unit)) < 6.6e-5
    (measured,) = area.measure([build(unit, "mirrored 0 less")])
    assert measured.cells <= 71
