"""The search over genomes: fronts, hypervolume, the store, and runs that are stopped."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.evaluate import Setting, evaluate, load
from genogate.search.evolution import Config, Run, hypervolume, knee, non_dominated
from genogate.search.store import Store

SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False)
CONFIG = Config(objectives=("accuracy", "size"), pop_size=8, generations=3, seed=5)


@pytest.mark.parametrize("seed", range(4))
def test_non_dominated_equals_brute_force(seed):
    costs = np.random.default_rng(seed).integers(0, 6, (40, 3)).astype(float)
    kept = non_dominated(costs)
    for k, row in enumerate(costs):
        beaten = any((o <= row).all() and (o < row).any() for o in costs)
        assert (k in kept) == (not beaten and not any((costs[j] == row).all() for j in range(k)))


@pytest.mark.parametrize("seed", range(3))
def test_hypervolume_is_the_share_of_random_points_that_are_dominated(seed):
    rng = np.random.default_rng(seed)
    costs, reference = rng.uniform(0, 1.2, (6, 3)), np.array([0.9, 1.0, 0.7])
    inside = rng.uniform(0, 1, (200_000, 3)) * reference
    share = (costs[:, None] <= inside).all(2).any(0).mean()
    assert hypervolume(costs, reference) == pytest.approx(share, abs=0.005), f"seed {seed}"
    assert hypervolume(np.full((1, 3), 2.0), reference) == 0


def test_knee_is_the_bend():
    assert knee(np.array([[0.0, 10], [1, 2], [2, 1.9], [8, 1]])) == 1


def test_store_keeps_the_first_result_and_refuses_other_files(tmp_path):
    store = Store(tmp_path / "a" / "x.sqlite")
    store.keep("k", "8", {"v": 1})
    store.keep("k", "8", {"v": 2})
    store.close()
    again = Store(tmp_path / "a" / "x.sqlite")
    assert again.load(["k", "other"]) == {"k": {"v": 1}}
    assert len(again) == 1
    (tmp_path / "noise").write_bytes(b"not a database at all" * 99)
    with pytest.raises(InputError, match=r"noise: not a store of evaluations"):
        Store(tmp_path / "noise")
    db = sqlite3.connect(tmp_path / "next")
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    with pytest.raises(InputError, match=r"next: version 99, this program reads 1"):
        Store(tmp_path / "next")


def test_results_are_those_of_the_genome_alone():
    """In whatever company and order, and what the parts of the product say one by one."""
    rng = np.random.default_rng(7)
    genomes = [Genome.from_genes(rng.integers(2, 9, 17)) for _ in range(3)]
    together = dict(evaluate(SETTING, genomes))
    for genome in reversed(genomes):
        assert dict(evaluate(SETTING, [genome])) == {genome: together[genome]}
    from genogate.model.quantize import quantize
    from genogate.sim import golden

    material = load(SETTING)
    model = quantize(material.calibration, genomes[0], SETTING.knobs)
    x, y = material.task.x_val, material.task.y_val
    right = (golden.run(model, model.quantize_input(x)).classes == y).mean()
    assert together[genomes[0]]["accuracy"] == pytest.approx(right)
    assert together[genomes[0]]["size"] == model.size_bits


def files_of(folder):
    names = ("front.json", "history.json", "knee", "smallest", "most-accurate")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    seen = []
    Run(folder, SETTING, CONFIG).go(tell=seen.append)
    return folder, seen


def test_front_dominates_everything_and_hypervolume_never_falls(whole):
    folder, seen = whole
    assert [p.generation for p in seen] == [1, 2, 3]
    shares = [p.hypervolume for p in seen]
    assert shares == sorted(shares)
    assert shares[-1] > 0
    rows = sqlite3.connect(folder / "evaluations.sqlite").execute(
        "SELECT genome, result FROM evaluations"
    )
    found = {genome: json.loads(result) for genome, result in rows}
    assert len(found) == seen[-1].evaluations <= 8 * 3 + 7
    front = json.loads((folder / "front.json").read_text())["points"]
    for point in front:
        mine = point["accuracy"], -point["size"]
        for other in found.values():
            theirs = other["accuracy"], -other["size"]
            assert not (theirs > mine and theirs[0] >= mine[0] and theirs[1] >= mine[1])
    knee = json.loads((folder / "knee").read_text())["layers"][0]
    of_knee = next(point for point in front if point["genome"] == knee)
    assert of_knee["accuracy"] > found["8," * 16 + "8"]["accuracy"] - 0.10
    smallest = min(result["size"] for result in found.values())
    assert json.loads((folder / "smallest").read_text())["layers"]
    assert smallest == min(point["size"] for point in front)


def test_a_stopped_run_arrives_at_the_same_front(whole, tmp_path):
    folder, seen = whole

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.generation == 2:
            raise Stopped

    with pytest.raises(Stopped):
        Run(tmp_path / "b", SETTING, CONFIG).go(tell=stop)
    again = Run(tmp_path / "b", SETTING, CONFIG, resume=True)
    again.go()
    assert files_of(tmp_path / "b") == files_of(folder)
    assert 0 < again.fresh < seen[-1].evaluations


def test_a_killed_run_arrives_at_the_same_front(whole, tmp_path):
    script = (
        "from genogate.search.evolution import *\nfrom genogate.model.knobs import Knobs\n"
        "from genogate.search.evaluate import Setting\n"
        f"Run({str(tmp_path / 'c')!r}, {SETTING!r}, {CONFIG!r}).go()"
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    store = tmp_path / "c" / "evaluations.sqlite"
    limit = time.monotonic() + 120
    while time.monotonic() < limit and child.poll() is None:
        if store.exists() and len(Store(store)) >= 10:
            break
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = len(Store(store))
    assert kept >= 10
    again = Run(tmp_path / "c", SETTING, CONFIG, resume=True)
    again.go()
    assert files_of(tmp_path / "c") == files_of(whole[0])
    assert again.fresh == whole[1][-1].evaluations - kept


def test_a_folder_with_another_run_is_refused(whole):
    folder, _ = whole
    with pytest.raises(InputError, match="holds a run already; --resume"):
        Run(folder, SETTING, CONFIG)
    other = Config(objectives=("accuracy", "size"), pop_size=8, generations=3, seed=6)
    with pytest.raises(InputError, match="its run differs in seed"):
        Run(folder, SETTING, other, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ("accuracy",)}, "two or more"),
        ({"objectives": ("accuracy", "accuracy")}, "two or more"),
        ({"objectives": ("accuracy", "beauty")}, "objective 'beauty': accuracy, size"),
        ({"method": "magic"}, "method 'magic': nsga2, random"),
        ({"pop_size": 2}, "pop_size: 2 is not within 4"),
        ({"generations": 0}, "generations: 0 is not within 1"),
        ({"seed": -1}, "seed: -1 is not within 0"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Config(**change)


def test_the_command_searches_and_its_genomes_are_taken_by_the_others(tmp_path, monkeypatch):
    from click.testing import CliRunner
    from genogate.cli import app

    monkeypatch.chdir(tmp_path)
    arguments = ["search", "--objectives", "accuracy,size", "--activation", "table", "--pop", "4",
                 "--generations", "1", "--workers", "1", "--out", "run"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "make gru GENOME=run/knee KNOBS='--activation table'" in done.output
    points = json.loads((tmp_path / "run" / "front.json").read_text())["points"]
    assert all(0 <= point["test_accuracy"] <= 1 for point in points)
    from genogate.model.genome import parse_genome

    assert len(parse_genome("run/knee", 1).genes) == 17


def test_silicon_is_measured_once_and_weighs_in():
    """Cells and memory bits are those of the area report; known hardware needs no Yosys."""
    from genogate.model.quantize import quantize
    from genogate.search.evaluate import BIT_WEIGHT
    from genogate.synth.area import area_report, cheapest

    setting = Setting("digits-row", Knobs(activation="table"))
    genome = Genome.uniform(3)
    ((_, result),) = evaluate(setting, [genome])
    model = quantize(load(setting).calibration, genome, setting.knobs, cheapest=cheapest)
    total = area_report(model, flat=False).total
    assert (result["cells"], result["memory"]) == (total.cells, total.memory_bits)
    assert result["silicon"] == total.cells + BIT_WEIGHT * total.memory_bits
