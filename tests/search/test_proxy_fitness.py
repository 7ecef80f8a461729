"""Rank correlations as SciPy has them, tops, regret, and what makes a proxy fit."""

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.search.proxies.fitness import (
    Bench,
    Objective,
    half,
    kendall,
    ranks,
    regret,
    report,
    spearman,
    spearman_at,
    top,
)
from genogate.search.proxies.formula import Proxy
from proxy_networks import network, statistics
from scipy import stats as scipy_stats


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_those_of_scipy(seed, ties):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 57))
    y += x
    if ties:
        x, y = np.round(x), np.round(2 * y)
    assert ranks(x).tolist() == scipy_stats.rankdata(x).tolist()
    assert spearman(x, y) == pytest.approx(scipy_stats.spearmanr(x, y).statistic), f"seed {seed}"
    assert kendall(x, y) == pytest.approx(scipy_stats.kendalltau(x, y).statistic), f"seed {seed}"


def test_many_scores_at_once_are_each_alone():
    rng = np.random.default_rng(1)
    x, y = np.round(rng.normal(size=(9, 30)), 1), np.round(rng.normal(size=30), 1)
    assert ranks(x).tolist() == [ranks(row).tolist() for row in x]
    np.testing.assert_allclose(spearman(x, y), [spearman(row, y) for row in x])


def test_kendall_of_more_than_a_block():
    rng = np.random.default_rng(2)
    x, y = np.round(rng.normal(size=(2, 2300)), 2)
    assert kendall(x, y) == pytest.approx(scipy_stats.kendalltau(x, y).statistic)


def test_a_ranking_of_equal_values_is_no_number():
    y = np.arange(5.0)
    assert np.isnan(spearman(np.ones(5), y))
    assert np.isnan(kendall(np.ones(5), y))
    assert np.isnan(spearman(np.ones(1), np.ones(1)))
    with pytest.raises(InputError, match="scores of 4 genomes, accuracies of 5"):
        spearman(np.ones(4), y)
    with pytest.raises(InputError, match="scores of 4 genomes"):
        kendall(np.ones(4), y)


def test_the_top_is_by_score_or_by_accuracy():
    """Ten genomes, the top half by hand."""
    score = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.0])
    truth = np.array([1, 2, 9, 8, 7, 3, 4, 5, 6, 0.0])
    assert top(score, 0.5).tolist() == [0, 1, 2, 3, 4]
    assert sorted(top(truth, 0.5)) == [2, 3, 4, 7, 8]
    assert top(np.array([1, 1, 1, 2.0]), 0.5).tolist() == [3, 0]
    assert len(top(score, 0.29)) == 2
    # Scores 5 4 3 2 1 meet 1 2 5 4 3, and 5 4 3 2 1 meet 5 4 3 1 2.
    assert spearman_at(score, truth, 0.5) == pytest.approx(1 - 6 * 32 / (5 * 24))
    assert spearman_at(score, truth, 0.5, by="accuracy") == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert spearman_at(score, truth, 1.0) == pytest.approx(spearman(score, truth))
    for ratio in (0, 1.1):
        with pytest.raises(InputError, match="top share"):
            top(score, ratio)
    with pytest.raises(InputError, match="by score or accuracy"):
        spearman_at(score, truth, 0.5, by="chance")


def test_regret_of_the_pick_within_a_budget():
    score, truth = np.array([5, 4, 3, 3.0]), np.array([0.5, 0.9, 0.8, 0.6])
    sizes = np.array([4, 3, 2, 1])
    assert regret(score, truth, sizes, 9) == pytest.approx(0.4)
    assert regret(score, truth, sizes, 3) == 0
    # Two equal picks are either with the same chance.
    assert regret(score, truth, sizes, 2) == pytest.approx(0.1)
    assert np.isnan(regret(score, truth, sizes, 0))


def test_a_report_has_all_figures():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=100)
    figures = report(truth, truth, rng.integers(1, 99, 100))
    assert set(figures) == {
        "spearman",
        "kendall",
        "spearman@20",
        "spearman@50",
        "spearman@20 by accuracy",
        "spearman@50 by accuracy",
        "regret",
    }
    assert figures.pop("regret") == 0
    assert list(figures.values()) == pytest.approx([1] * 6)


TRUE = Proxy.parse("negate(dot(square(gradient), square(error)))")
BITS = Proxy.parse("bits")


def test_the_truth_wins_where_more_bits_say_nothing():
    bench = Bench.of(*network(1))
    found = {p: bench.report(p) for p in (TRUE, BITS)}
    assert found[TRUE]["all"]["spearman"] > 0.9 > found[BITS]["all"]["spearman"] > 0.2
    assert found[TRUE]["equal-sum"]["spearman"] > 0.9
    assert np.isnan(found[BITS]["equal-sum"]["spearman"])
    fitness = {p: Objective().many([bench], [p.table(bench.inputs)])[0] for p in (TRUE, BITS)}
    assert fitness[TRUE] > 0.9 > 0.5 > fitness[BITS] > 0


def test_fitness_mixes_what_it_says():
    bench = Bench.of(*network(2))
    found = bench.scores(Proxy.parse("negate(dot(hessian, square(error)))").table(bench.inputs))
    rows = bench.part("all")
    x, y = found[rows], bench.accuracy[rows]
    same = bench.part("equal-sum")
    on_same = spearman(found[same], bench.accuracy[same])
    at = [spearman_at(x, y, ratio) for ratio in (0.2, 0.5, 1.0)]
    by = [spearman_at(x, y, ratio, by="accuracy") for ratio in (0.2, 0.5, 1.0)]
    for options, expected in (
        ({"equal_sum": 0.0}, np.mean(at)),
        ({"equal_sum": 0.0, "by": "accuracy"}, np.mean(by)),
        ({"equal_sum": 0.0, "by": "both"}, np.mean(at + by)),
        ({"equal_sum": 1.0}, on_same),
        ({"equal_sum": 0.25, "ratios": (1.0,)}, 0.75 * at[2] + 0.25 * on_same),
    ):
        assert Objective(**options).one(bench, found)[0] == pytest.approx(expected)


def test_the_better_sign_is_taken():
    bench = Bench.of(*network(3))
    table = TRUE.table(bench.inputs)
    objective = Objective(worst=0)
    right, sign = objective.many([bench], [table], orient=True)
    assert sign == 1
    assert objective.many([bench], [-table], orient=True) == (pytest.approx(right), -1)
    assert objective.many([bench], [-table])[0] < 0
    assert objective.many([bench], [table], 10)[0] == pytest.approx(right - 10 * 0.0005)


def test_many_tables_count_by_their_mean_and_the_worst():
    benches = [Bench.of(*network(seed)) for seed in (4, 5)]
    proxy = Proxy.parse("negate(total(square(error)))")
    tables = [proxy.table(bench.inputs) for bench in benches]
    alone = [Objective().many([b], [t])[0] for b, t in zip(benches, tables, strict=True)]
    for worst in (0, 0.25, 1):
        both = Objective(worst=worst).many(benches, tables)[0]
        assert both == pytest.approx((1 - worst) * np.mean(alone) + worst * min(alone))


def test_rounding_ranks_nothing():
    bench = Bench.of(*network(6))
    flat = Proxy.parse("bits").table(bench.inputs) * 0.1
    same = bench.part("equal-sum")
    assert np.ptp(bench.scores(flat)[same]) == 0


def test_halves_hold_every_row_once():
    one, two = half(101, 3)
    assert sorted([*one, *two]) == list(range(101))
    assert half(101, 3)[0].tolist() == one.tolist() != half(101, 4)[0].tolist()


def test_rows_that_may_be_seen_are_all_that_is_seen():
    table, stats = network(7)
    rows = half(len(table.genomes))[0]
    bench = Bench.of(table, stats, rows=rows)
    assert bench.accuracy.tolist() == table.accuracy[rows].tolist()
    same = table.genomes[rows][bench.part("equal-sum")].astype(int).sum(1)
    assert len(set(same)) == 1
    assert len(Bench.of(table, stats, truth="trained").accuracy) == 20


def test_a_table_that_does_not_fit_is_refused():
    table, stats = network(8)
    with pytest.raises(InputError, match=r"table net8: .*both must be of one network"):
        Bench.of(table, statistics(8, items=5))
    with pytest.raises(InputError, match=r"table net8: genome .* bits, the statistics have 2, 3"):
        Bench.of(table, statistics(8, widths=(2, 3)))
    with pytest.raises(InputError, match=r"net8: 2 rows with accuracy"):
        Bench.of(table, stats, rows=[1, 2])
    bench = Bench.of(table, stats)
    with pytest.raises(InputError, match=r"net8: \d rows in its equal-size subset, 3 are needed"):
        Objective(equal_sum=0, equal_size=0.5).check(bench)
    with pytest.raises(InputError, match="subset 'odd': all, equal-sum, equal-size"):
        bench.part("odd")


@pytest.mark.parametrize(
    "options",
    [
        {"ratios": ()},
        {"ratios": (0.0,)},
        {"by": "chance"},
        {"equal_sum": 2},
        {"worst": -1},
        {"equal_sum": 0.7, "equal_size": 0.7},
        {"parsimony": 1},
    ],
)
def test_objectives_that_are_none_are_refused(options):
    with pytest.raises(InputError):
        Objective(**options)
