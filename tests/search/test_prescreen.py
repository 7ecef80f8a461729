"""Searches with a training-free proxy: what is evaluated, what is told, and that they go on."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate
from genogate.search.genomes.run import Run
from genogate.search.genomes.screening import Forecast, Prescreen, select, shortlist
from genogate.search.genomes.strategies.measure import promising
from scipy.stats import spearmanr

SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False, shifts=False)
CONFIG = Config(
    objectives=("accuracy", "size"),
    pop_size=8,
    generations=2,
    exploit=1,
    seed=3,
    prescreen="evolved",
    prescreen_factor=4,
)
FILES = ("front.json", "history.json", "knee")


@pytest.fixture(scope="module", autouse=True)
def statistics(tmp_path_factory):
    """Made once for all tests here, by torch."""
    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENOGATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class SumOfBits:
    """A proxy that takes all operators for equal."""

    def scores(self, genes):
        return genes.sum(1).astype(float)


def test_a_forecast_learns_where_the_proxy_is_wrong():
    """Three operators matter here, one of them most, and none of the others."""
    rng = np.random.default_rng(11)
    genes = rng.integers(2, 9, (260, 17))
    accuracy = 0.97 - 4.0 ** (1 - genes[:, [2, 5, 10]]) @ [0.4, 0.8, 2.4]
    known, new = slice(0, 60), slice(60, None)
    told = Forecast(SumOfBits(), genes[known], accuracy[known])(genes[new])
    by_proxy = spearmanr(SumOfBits().scores(genes[new]), accuracy[new])[0]
    assert spearmanr(told, accuracy[new])[0] > max(0.7, by_proxy + 0.3)


def test_a_forecast_of_a_right_proxy_needs_few_points():
    rng = np.random.default_rng(12)
    genes = rng.integers(2, 9, (220, 17))
    accuracy = 1 / (1 + np.exp(-(genes.sum(1) - 60) / 6))
    told = Forecast(SumOfBits(), genes[:20], accuracy[:20])(genes[20:])
    assert spearmanr(told, accuracy[20:])[0] > 0.8


def test_what_nothing_is_better_than_is_selected_first():
    rng = np.random.default_rng(0)
    losses = np.array([0.0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5, 0.1])
    costs = np.array([[3.0], [2], [1], [0], [3.5], [2.5], [1.5], [0.5], [9]])
    useful = np.ones(9, bool)
    assert select(rng, losses, costs, 4, useful=useful) == [0, 1, 2, 3]
    useful[0] = False
    assert 0 not in select(rng, losses, costs, 3, useful=useful)
    assert select(rng, losses, costs, 20, useful=useful) == list(range(9))


def test_what_is_far_below_the_front_is_looked_at_closely():
    rng = np.random.default_rng(0)
    values = np.array([[0.5, 0.5], [0.1, 0.1], [0.9, 0.9], [0.2, 0.2], [0.3, 0.3]])
    front = np.array([[0.4, 0.4]])
    assert sorted(shortlist(rng, values, front, np.ones(2), 3)) == [1, 3, 4]
    # Without a front, by layers.
    assert sorted(shortlist(rng, values, None, np.ones(2), 2)) == [1, 3]


def test_a_better_score_is_a_smaller_loss():
    screen = Prescreen.of("evolved", SETTING)
    genomes = [Genome.uniform(bits) for bits in range(2, 9)]
    loss, damage = screen.loss(genomes), screen.damage(genomes)
    assert (np.diff(loss) <= 0).all()
    assert loss[0] == 1
    assert (damage[0], damage[-1]) == (1, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screened") / "whole"
    Run(folder, SETTING, CONFIG).go()
    return folder


def test_only_what_is_kept_is_evaluated(whole):
    history = json.loads((whole / "history.json").read_text())
    db = sqlite3.connect(whole / "evaluations.sqlite")
    (count,) = db.execute("SELECT count(*) FROM evaluations").fetchone()
    # The first population, INT8 in it, and two generations: no more, however many were made.
    assert [row["evaluations"] for row in history] == [8, 16, 24]
    assert count == 24
    config = json.loads((whole / "config.json").read_text())["config"]
    assert config["prescreen"].startswith("x1 = l1_norm(error)")
    assert config["prescreen_factor"] == 4


def test_a_stopped_run_arrives_at_the_same_front(whole, tmp_path):
    def stop(progress):
        if progress.generation == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "run", SETTING, CONFIG).go(tell=stop)
    Run(tmp_path / "run", SETTING, CONFIG, resume=True).go()
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name
    for change in ({"prescreen": None}, {"prescreen": "mse"}, {"prescreen_factor": 3}):
        with pytest.raises(InputError, match=r"its run differs in prescreen"):
            Run(tmp_path / "run", SETTING, replace(CONFIG, **change), resume=True)


def test_a_search_by_a_proxy_alone_has_true_accuracies_in_the_end(tmp_path):
    config = replace(CONFIG, proxy_only=True, generations=4, prescreen="hawq-v2")
    seen = []
    run = Run(tmp_path / "run", SETTING, config)
    front = run.go(tell=lambda p: seen.append((p.phase, p.fresh, p.by_proxy)))
    assert seen[:-1] == [("explore", 0, True)] * 4 + [("exploit", 0, True)]
    phase, fresh, by_proxy = seen[-1]
    assert (phase, by_proxy) == ("measure", False)
    assert 1 < fresh <= config.pop_size + 1
    true = dict(evaluate(SETTING, [p.genome for p in front]))
    for point in front:
        assert point.result == true[point.genome]
    written = json.loads((tmp_path / "run" / "front.json").read_text())["points"]
    assert [p["accuracy"] for p in written] == [p.result["accuracy"] for p in front]
    before = {name: (tmp_path / "run" / name).read_bytes() for name in FILES}
    Run(tmp_path / "run", SETTING, config, resume=True).go()
    assert before == {name: (tmp_path / "run" / name).read_bytes() for name in FILES}


def test_cells_are_told_by_estimate_until_the_front_is_measured(tmp_path):
    setting = replace(SETTING, silicon=True, estimate=True)
    config = replace(
        CONFIG,
        objectives=("accuracy", "cells"),
        proxy_only=True,
        generations=1,
        exploit=0,
        pop_size=4,
    )
    run = Run(tmp_path / "run", setting, config)

    def measure(pool, say):
        yield  # not here, where Yosys would be needed

    run._measure = measure
    run.go()
    points = [run.points[candidate] for candidate in promising(run.ledger, config.pop_size)]
    assert 1 < len(points) <= 4
    assert all(p.result["cells"] > 100 for p in points)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prescreen": "negate(mean(eror))"}, r"eror"),
        ({"prescreen": "nonsense"}, r"no formula, and the names are"),
        ({"prescreen": "output-kl"}, r"output-kl: it runs the network"),
        ({"prescreen": None, "proxy_only": True}, r"--prescreen PROXY says by which"),
        ({"prescreen_factor": 1}, r"prescreen_factor: 1 is not within 2 to 10000"),
        ({"method": "random", "initial": "random"}, r"prescreen: for method nsga2, not for random"),
        ({"knob_genes": ("lanes",)}, r"without knobs as genes"),
        ({"checkpoints": ("kws4",)}, r"further checkpoints"),
        ({"proxy_only": True, "beacons": 2}, r"proxy-only: nothing is evaluated"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)


def test_the_command_takes_a_proxy(tmp_path, monkeypatch, capsys):
    from genogate import cli

    def command(*words):
        monkeypatch.setattr("sys.argv", ["genogate", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr()

    code, out = command("search", "--prescreen", "negate(mean(", "--out", str(tmp_path / "a"))
    assert code == 2
    assert len(out.err.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()
    code, out = command(
        "search",
        "--prescreen",
        "mse",
        "--proxy-only",
        "--objectives",
        "accuracy,size",
        "--pop",
        "4",
        "--generations",
        "1",
        "--exploit",
        "0",
        "--workers",
        "1",
        "--activation",
        "table",
        "--out",
        str(tmp_path / "b"),
    )
    assert code == 0, out.err
    points = json.loads((tmp_path / "b" / "front.json").read_text())["points"]
    assert all(0 < p["accuracy"] <= 1 and "test_accuracy" not in p for p in points)


def test_without_torch_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match=r"torch"):
        Run(tmp_path / "run", SETTING, CONFIG).go()
