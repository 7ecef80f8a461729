"""The search over genomes: fronts, hypervolume, the store, and runs that are stopped."""

import dataclasses
import json
import os
import re
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
from genogate.search.genomes.candidate import Candidate
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.pareto import hypervolume, knee, non_dominated
from genogate.search.genomes.run import Run
from genogate.search.genomes.store import Store
from genogate.synth.area import ModuleArea

SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False, shifts=False)
CONFIG = Config(
    objectives=("accuracy", "size"),
    pop_size=8,
    generations=2,
    exploit=1,
    seed=5,
    initial="homogeneous",
)


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
    store.keep("more", "8", {"v": 1})
    store.keep("more", "8", {"v": 1, "cells": 2})
    store.close()
    again = Store(tmp_path / "a" / "x.sqlite")
    assert again.load(["k", "other", "more"]) == {"k": {"v": 1}, "more": {"v": 1, "cells": 2}}
    assert len(again) == 2
    (tmp_path / "noise").write_bytes(b"not a database at all" * 99)
    with pytest.raises(InputError, match=r"noise: not a store of evaluations"):
        Store(tmp_path / "noise")
    db = sqlite3.connect(tmp_path / "next")
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    with pytest.raises(InputError, match=r"next: version 99, this program reads 2"):
        Store(tmp_path / "next")


def test_results_are_those_of_the_genomealone():
    """In whatever company and order, and what the parts of the product say one by one."""
    rng = np.random.default_rng(7)
    genomes = [Genome.from_genes(rng.integers(2, 9, 17)) for _ in range(3)]
    together = dict(evaluate(SETTING, genomes))
    for genome in reversed(genomes):
        assert dict(evaluate(SETTING, [genome])) == {genome: together[genome]}
    from genogate.model.quantize.quantize import quantize
    from genogate.sim import golden

    material = load(SETTING)
    model = quantize(material.calibration, genomes[0], SETTING.knobs)
    x, y = material.task.x_val, material.task.y_val
    right = (golden.run(model, model.quantize_input(x)).classes == y).mean()
    assert together[genomes[0]]["accuracy"] == pytest.approx(right)
    assert together[genomes[0]]["size"] == model.size_bits


def test_a_small_validation_part_is_judged_with_its_shifted_copies():
    from genogate.sim import fast

    plain = load(SETTING)
    assert plain.task.max_shift == (1, 1)
    assert len(plain.y_shifted) == 9 * len(plain.task.y_val) == 9 * 189
    genome = Genome.uniform(4)
    ((_, result),) = evaluate(dataclasses.replace(SETTING, shifts=True), [genome])
    from genogate.model.quantize.quantize import quantize

    model = quantize(plain.calibration, genome, SETTING.knobs)
    right = 0
    for down in (-1, 0, 1):
        for aside in (-1, 0, 1):
            x = np.zeros_like(plain.task.x_val)
            rows, columns = (slice(max(0, k), 8 + min(0, k)) for k in (down, aside))
            from_rows, from_columns = (slice(max(0, -k), 8 + min(0, -k)) for k in (down, aside))
            x[:, rows, columns] = plain.task.x_val[:, from_rows, from_columns]
            right += (fast.run(model, model.quantize_input(x)).classes == plain.task.y_val).sum()
    assert result["accuracy"] == pytest.approx(right / (9 * 189))


def files_of(folder):
    names = ("front.json", "history.json", "knee", "smallest", "most-accurate")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def said():
    """What the run of :func:`whole` said on the way, and its generations among that."""
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory, said):
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    seen = []

    def tell(progress):
        seen.append(progress)
        said.append(progress)

    Run(folder, SETTING, CONFIG).go(tell=tell, say=said.append)
    return folder, seen


def test_a_search_says_how_far_it_is_before_its_first_generation_ends(whole, said):
    first = next(k for k, each in enumerate(said) if not isinstance(each, str))
    assert first > 0
    pattern = r"generation 1 of 3: (\d+) of (\d+) genomes evaluated; "
    counts = [found.groups() for text in said[:first] if (found := re.match(pattern, text))]
    # INT8 alone, then the homogeneous genomes, one after the other.
    assert counts[0] == ("0", "1")
    assert counts[1:7] == [(str(done), "6") for done in range(6)]


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
    floor = found["8," * 16 + "8"]["accuracy"] - 0.10
    useful = [result for result in found.values() if result["accuracy"] >= floor]
    front = json.loads((folder / "front.json").read_text())["points"]
    for point in front:
        assert point["accuracy"] >= floor
        mine = point["accuracy"], -point["size"]
        for other in useful:
            theirs = other["accuracy"], -other["size"]
            assert not (theirs > mine and theirs[0] >= mine[0] and theirs[1] >= mine[1])
    knee = json.loads((folder / "knee").read_text())["layers"][0]
    of_knee = next(point for point in front if point["genome"] == knee)
    assert of_knee["accuracy"] >= floor
    smallest = min(result["size"] for result in useful)
    assert json.loads((folder / "smallest").read_text())["layers"]
    assert smallest == min(point["size"] for point in front)


def test_genome_files_are_written_where_they_change(tmp_path):
    """A file that holds what it must is left alone; one that is gone, or must hold another, not."""
    run = Run(tmp_path / "a", SETTING, dataclasses.replace(CONFIG, generations=1, exploit=0))
    front = run.go()
    assert len(front) > 2
    names = [path.name for path in run.folder.glob("front-*")]

    def inodes():
        return {name: (run.folder / name).stat().st_ino for name in names}

    before = inodes()
    (run.folder / "front-0").unlink()
    run.save([], front)
    after = inodes()
    assert {n: i for n, i in after.items() if n != "front-0"} == {
        n: i for n, i in before.items() if n != "front-0"
    }
    held = (run.folder / "front-0").read_bytes()
    run.save([], front[1:])
    assert not (run.folder / names_last(names)).exists()
    assert (run.folder / "front-0").read_bytes() != held
    run.save([], front)
    assert (run.folder / "front-0").read_bytes() == held
    assert inodes().keys() == before.keys()


def names_last(names):
    return max(names, key=lambda name: int(name.rpartition("-")[2]))


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
        "from genogate.search.genomes.config import Config\n"
        "from genogate.search.genomes.run import Run\nfrom genogate.model.knobs import Knobs\n"
        "from genogate.search.genomes.evaluate import Setting\n"
        f"Run({str(tmp_path / 'c')!r}, {SETTING!r}, {CONFIG!r}).go()"
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    store = tmp_path / "c" / "evaluations.sqlite"
    limit = time.monotonic() + 600
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
    other = dataclasses.replace(CONFIG, seed=6)
    with pytest.raises(InputError, match="its run differs in seed"):
        Run(folder, SETTING, other, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ("accuracy",)}, "two or more"),
        ({"objectives": ("accuracy", "accuracy")}, "two or more"),
        ({"objectives": ("accuracy", "beauty")}, "objective 'beauty': accuracy, size"),
        ({"objectives": ("size", "cells")}, "accuracy must be one"),
        ({"initial": "best"}, "initial 'best': sensitivity, homogeneous"),
        ({"initial": "sensitivity", "method": "random"}, "initial sensitivity: for nsga2"),
        ({"exploit": -1}, "exploit: -1 is not within 0"),
        ({"knob_genes": ("colour",)}, "knob 'colour': dense_output, granularity"),
        ({"knob_genes": ("lanes", "lanes")}, "knobs as genes: 'lanes' is given twice"),
        ({"max_drop": -1.0}, "max_drop: -1.0 is not a number from 0 up"),
        ({"limits": (("beauty", 1),)}, "limit 'beauty': size, cells"),
        ({"limits": (("cells", 0),)}, "limit of cells: 0 is not above 0"),
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
    arguments = [
        "search",
        "--objectives",
        "accuracy,size",
        "--activation",
        "table",
        "--pop",
        "4",
        "--checkpoint",
        "digits-row-seed1",
        "--generations",
        "1",
        "--exploit",
        "0",
        "--initial",
        "homogeneous",
        "--workers",
        "1",
        "--out",
        "run",
    ]
    done = CliRunner().invoke(app, [*arguments, "--resume"])
    assert done.exit_code == 0, done.output
    assert "Nothing to resume in run: a new search begins there." in done.stderr
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert "test" not in done.stdout
    assert not any("test_accuracy" in point for point in front["points"])
    done = CliRunner().invoke(app, [*arguments, "--resume", "--test"])
    assert done.exit_code == 0, done.output
    assert "Nothing to resume" not in done.stderr
    assert "genogate gru --genome run/within-0.5-smallest" in done.output
    printed = done.stdout
    points = json.loads((tmp_path / "run" / "front.json").read_text())["points"]
    assert all(0 <= point["test_accuracy"] <= 1 for point in points)
    # The genome file brings checkpoint and knobs with it; what a user says counts more.
    done = CliRunner().invoke(app, ["gru", "--genome", "run/knee", "--out", "built"])
    assert done.exit_code == 0, done.output
    knee = json.loads((tmp_path / "run" / "knee").read_text())
    of_knee = next(p for p in points if p["genome"] == knee["layers"][0])
    report = json.loads((tmp_path / "built" / "report.json").read_text())
    assert report["accuracy"] == pytest.approx(of_knee["test_accuracy"], abs=1e-6)
    # The smallest within half a point has a file, and a row with its figures.
    smallest = json.loads((tmp_path / "run" / "within-0.5-smallest").read_text())["layers"][0]
    int8 = dict(
        evaluate(Setting("digits-row-seed1", Knobs(activation="table"), False), [Genome.uniform(8)])
    )[Genome.uniform(8)]
    able = [p for p in points if p["accuracy"] >= int8["accuracy"] - 0.005]
    least = min(p["size"] for p in able)
    assert smallest in [p["genome"] for p in able if p["size"] == least]
    row = next(line for line in printed.splitlines() if line.startswith("within-0.5-smallest"))
    assert row.split()[3:5] == [f"{least:,}", f"{least / int8['size']:.1%}"]
    assert "189 validation sequences and their 1,512 shifted copies" in printed
    assert report["knobs"]["activation"] == "table"
    knee["found_with"]["knobs"] = {"colour": 3}
    (tmp_path / "odd").write_text(json.dumps(knee))
    done = CliRunner().invoke(app, ["gru", "--genome", "odd", "--out", "built"])
    assert "odd: its knobs are wrong (no knob 'colour'; there are " in str(done.exception)


def test_silicon_is_that_of_the_area_report():
    """Cells and memory bits are those of the area report; known hardware needs no Yosys."""
    from genogate.hdl.gru.design import Design
    from genogate.model.quantize.quantize import quantize
    from genogate.synth.report import area_report, cheapest

    setting = Setting("digits-row", Knobs(activation="table"))
    genome = Genome.uniform(3)
    ((_, result),) = evaluate(setting, [genome])
    model = quantize(load(setting).calibration, genome, setting.knobs, cheapest=cheapest)
    total = area_report(Design.of(model), flat=False).total
    assert (result["cells"], result["memory"]) == (total.cells, total.memory_bits)


def run_of(tmp_path, **changes):
    """A short run; the folder's name is that of the changes."""
    folder = tmp_path / "-".join(map(str, changes)) / str(len(list(tmp_path.iterdir())))
    setting = changes.pop("setting", SETTING)
    retrain = changes.pop("retrain", None)
    run = Run(folder, setting, dataclasses.replace(CONFIG, **changes), retrain=retrain)
    run.go()
    return run


def test_useless_genomes_are_not_measured_and_never_on_the_front(tmp_path, monkeypatch):
    """A fake Yosys: cells are the sum of all bits."""
    asked = []
    monkeypatch.setattr(
        "genogate.search.genomes.evaluate.cheapest",
        lambda groups, say=None, workers=1: [len(group) - 1 for group in groups],
    )

    def totals(cases, say=None, workers=1):
        for model in (design.model for design in cases):
            asked.append(model.genome)
            yield ModuleArea(cells=sum(model.genome.genes), memory_bits=model.size_bits)

    monkeypatch.setattr(
        "genogate.search.genomes.evaluate.totals", lambda *a, **k: list(totals(*a, **k))
    )
    setting = dataclasses.replace(SETTING, silicon=True)
    run = run_of(tmp_path, setting=setting, objectives=("accuracy", "cells"), max_drop=2.0)
    floor = run.points[run.int8].result["accuracy"] - 0.02
    for candidate, point in run.points.items():
        measured = "cells" in point.result
        assert measured == (point.result["accuracy"] >= floor), str(candidate)
        assert measured == (candidate.genome in asked)
    assert 0 < len(asked) == len(set(asked)) < len(run.points)
    assert all(point.result["accuracy"] >= floor for point in run.front())
    # The same evaluations serve a search that wants more of them measured.
    before = len(asked)
    wider = Run(tmp_path / "wider", setting, dataclasses.replace(run.config, max_drop=None))
    (tmp_path / "wider" / "evaluations.sqlite").unlink()
    run.evaluator.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "wider" / "evaluations.sqlite").write_bytes(run.evaluator.store.path.read_bytes())
    wider.evaluator.store = Store(tmp_path / "wider" / "evaluations.sqlite")
    wider.go()
    assert all("cells" in point.result for point in wider.points.values())
    again = asked[before:]
    assert len(set(again)) == len(again)
    measured_twice = set(again) & set(asked[:before])
    assert len(measured_twice) == len([g for g in asked[:before] if Candidate(g) in wider.points])


def test_limits_keep_points_off_the_front(tmp_path):
    free = run_of(tmp_path, max_drop=None)
    size = 0.6 * free.points[free.int8].result["size"]
    bound = run_of(tmp_path, limits=(("size", size),), max_drop=3.0)
    assert any(point.result["size"] > size for point in free.front())
    int8 = bound.points[bound.int8].result["accuracy"]
    for point in bound.front():
        assert point.result["size"] <= size
        assert point.result["accuracy"] >= int8 - 0.03
    # Nothing at all within the limits is no error: the run says so and can go on.
    none = run_of(tmp_path, limits=(("size", 10.0),))
    assert none.front() == []
    assert json.loads((none.folder / "front.json").read_text())["points"] == []


def test_knobs_as_genes_reach_network_and_genome_file(tmp_path):
    from genogate.model.quantize.quantize import quantize

    run = run_of(tmp_path, knob_genes=("granularity", "multiplier_terms", "lanes"), pop_size=20)
    kinds = {name for candidate in run.points for name, _ in candidate.knobs}
    assert kinds == {"granularity", "multiplier_terms", "lanes"}
    candidate = next(c for c in run.points if {"granularity", "lanes"} <= set(dict(c.knobs)))
    knobs = dataclasses.replace(
        SETTING.knobs,
        granularity="channel",
        multiplier_terms=dict(candidate.knobs).get("multiplier_terms", 1),
        lanes_x=dict(candidate.knobs)["lanes"],
        lanes_h=dict(candidate.knobs)["lanes"],
    )
    ((_, alone),) = evaluate(dataclasses.replace(SETTING, knobs=knobs), [candidate.genome])
    assert run.points[candidate].result == alone
    model = quantize(load(SETTING).calibration, candidate.genome, knobs)
    assert alone["size"] == model.size_bits
    row = run.encoding.encode(candidate)
    assert run.encoding.decode(row) == candidate
    for k, point in enumerate(json.loads((run.folder / "front.json").read_text())["points"]):
        file = json.loads((run.folder / f"front-{k}").read_text())["found_with"]["knobs"]
        wanted = point.get("knobs", {})
        assert file.get("granularity", "tensor") == wanted.get("granularity", "tensor")
        assert file.get("lanes_x", 1) == file.get("lanes_h", 1) == wanted.get("lanes", 1)


def test_the_first_population_knows_what_every_operator_minds(tmp_path):
    run = run_of(tmp_path, initial="sensitivity", generations=1, exploit=0, pop_size=24)
    alone = [c for c in run.points if sorted(c.genome.genes)[1] == 8 != min(c.genome.genes)]
    assert len(alone) == 102
    blind = run_of(tmp_path, initial="random", generations=1, exploit=0, pop_size=24)
    of_first = [p.result["accuracy"] for c, p in run.points.items() if c not in alone]
    of_blind = [p.result["accuracy"] for p in blind.points.values()]
    assert np.median(of_first) > np.median(of_blind)


def test_exploitation_starts_from_the_front_and_finds_more(tmp_path):
    run = run_of(tmp_path, exploit=3, generations=3)
    history = json.loads((run.folder / "history.json").read_text())
    assert [row["phase"] for row in history] == ["explore"] * 3 + ["exploit"] * 3
    assert history[-1]["hypervolume"] > history[2]["hypervolume"]
    assert history[-1]["evaluations"] <= history[2]["evaluations"] + 3 * 8


@pytest.mark.parametrize("method", ["random", "greedy"])
def test_rivals_evaluate_as_many_genomes(tmp_path, method):
    run = run_of(tmp_path, method=method, exploit=0, generations=4)
    assert 24 < len(run.points) <= 4 * 8 + 7
    assert run.front()
    again = Run(run.folder, SETTING, run.config, resume=True)
    again.go()
    assert again.fresh == 0
    assert again.front() == run.front()


def test_a_run_can_be_made_longer(whole, tmp_path):
    folder, seen = whole
    short = Run(tmp_path / "l", SETTING, dataclasses.replace(CONFIG, exploit=0, generations=1))
    short.go()
    long = Run(tmp_path / "l", SETTING, CONFIG, resume=True)
    long.go()
    assert files_of(tmp_path / "l") == files_of(folder)
    assert long.fresh + len(short.points) == seen[-1].evaluations


def zoo_bytes():
    """The shipped checkpoint with other recurrent weights."""
    from pathlib import Path

    import genogate.model.zoo as shipped
    from safetensors.numpy import load_file, save

    source = Path(shipped.__file__).parent / "digits-row.safetensors"
    from safetensors import safe_open

    with safe_open(source, "numpy") as file:
        about = file.metadata()
    tensors = load_file(source)
    name = next(name for name in tensors if "hh" in name and tensors[name].ndim == 2)
    tensors[name] = (np.round(tensors[name] * 16) / 16).astype(tensors[name].dtype)
    return save(tensors, about)


def test_beacons_lend_their_weights_to_their_neighbours(tmp_path):
    lit = []

    def retrain(genome, path):
        lit.append(genome)
        path.write_bytes(zoo_bytes())

    changes = {"beacons": 2, "beacon_distance": 1.5, "generations": 3, "exploit": 1}
    run = run_of(tmp_path, retrain=retrain, **changes)
    assert len(lit) == 2
    away = np.abs(np.subtract(lit[0].genes, lit[1].genes)).mean()
    assert away > 1.5
    gained = 0
    for candidate, point in run.points.items():
        near = min(np.abs(np.subtract(g.genes, candidate.genome.genes)).mean() for g in lit) <= 1.5
        ((_, plain),) = evaluate(SETTING, [candidate.genome])
        if point.beacon:
            assert near
            other = dataclasses.replace(SETTING, checkpoint=point.beacon)
            ((_, bright),) = evaluate(other, [candidate.genome])
            assert point.result == bright
            assert bright["accuracy"] > plain["accuracy"]
            gained += 1
        else:
            assert point.result == plain
    assert gained
    # On resuming nothing is trained again, and what comes out is the same.
    again = Run(run.folder, SETTING, run.config, resume=True, retrain=retrain)
    again.go()
    assert len(lit) == 2
    assert again.fresh == 0
    assert [str(p.candidate) for p in again.front()] == [str(p.candidate) for p in run.front()]
    (run.folder / "beacon-0.safetensors").write_bytes(
        (run.folder / "beacon-0.safetensors").read_bytes()[:-4] + b"\0\0\0\0"
    )
    with pytest.raises(InputError, match=r"beacon-0.safetensors"):
        Run(run.folder, SETTING, run.config, resume=True, retrain=retrain).go()


def test_beacon_commands(tmp_path):
    from genogate.search.genomes.beacons import Beacons, by_command

    for bad, message in (("train {out}", "it needs {genome}"), ("x 'y", "No closing quotation")):
        with pytest.raises(InputError, match=message):
            by_command(bad)
    genome = Genome.uniform(4)
    with pytest.raises(InputError, match=r"beacon command nowhere: No such file"):
        by_command("nowhere {genome} {out}")(genome, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"beacon command sh: exit status 3 \(why\)"):
        by_command("sh -c 'echo why; exit 3' {genome} {out}")(genome, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="beacon 0: retraining wrote no"):
        Beacons(tmp_path, by_command("true {genome} {out}")).light(genome)
    source = tmp_path / "made"
    source.write_bytes(zoo_bytes())
    beacon = Beacons(
        tmp_path,
        by_command(
            f"cp {source} {{out}} --no-preserve=all -u {{genome}}".replace(" -u {genome}", "")
            + " --suffix={genome}"
        ),
    ).light(genome)
    assert (tmp_path / "beacon-0.safetensors").read_bytes() == source.read_bytes()
    # The program's genome file says what the run is about.
    from genogate.model.genome import found_with

    by_command(f"cp {source} {{out}} --suffix={{genome}}", "digits-row-seed1", {"entries": 4})(
        genome, tmp_path / "x.safetensors"
    )
    assert found_with(str(tmp_path / "x.genome")) == ("digits-row-seed1", {"entries": 4})
    assert beacon.near(Genome.uniform(5), 1.0)
    assert not beacon.near(Genome.uniform(6), 1.0)


def test_folders_and_stores_that_are_not_as_they_should_be(whole, tmp_path):
    import shutil

    folder = tmp_path / "f"

    def fresh():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole[0], folder)
        return Run(folder, SETTING, CONFIG, resume=True)

    # One that never came to evaluate anything stands in nobody's way.
    Run(tmp_path / "early", SETTING, CONFIG)
    Run(tmp_path / "early", SETTING, dataclasses.replace(CONFIG, seed=6))
    # Two at once: the second is told to wait; when the first has ended it works.
    run = fresh()

    def second(progress):
        with pytest.raises(InputError, match="another process searches there"):
            Run(folder, SETTING, CONFIG, resume=True).go()

    run.go(tell=second)
    document = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"version": 1}, "a run of version 1, this program makes 5"),
        ({"setting": 3}, "config.json: not the file of a search"),
    ):
        (folder / "config.json").write_text(json.dumps(document | change))
        with pytest.raises(InputError, match=message):
            Run(folder, SETTING, CONFIG, resume=True)
    # What it is told to do: without the file, the options of before write it again.
    (folder / "config.json").unlink()
    Run(folder, SETTING, CONFIG, resume=True)
    assert json.loads((folder / "config.json").read_text()) == document
    # A row that somebody changed counts as not there, and is made again.
    run = fresh()
    run.evaluator.store.close()
    db = sqlite3.connect(folder / "evaluations.sqlite")
    db.execute('UPDATE evaluations SET result = \'{"accuracy": 1.0, "size": 1}\' WHERE rowid=9')
    db.commit()
    run = Run(folder, SETTING, CONFIG, resume=True)
    run.go()
    assert run.fresh == 1
    assert run.evaluator.store.damaged
    assert files_of(folder) == files_of(whole[0])
    run.evaluator.store.close()
    # A damaged file is refused, with what to do; without it the run makes everything again.
    path = folder / "evaluations.sqlite"
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"not a store of evaluations .*; move it away, and --res"):
        Run(folder, SETTING, CONFIG, resume=True).go()
    path.unlink()
    run = Run(folder, SETTING, CONFIG, resume=True)
    run.go()
    assert files_of(folder) == files_of(whole[0])


def test_a_locked_store_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("genogate.search.genomes.store.PATIENCE", 0.1)
    Store(tmp_path / "s").close()
    other = sqlite3.connect(tmp_path / "s")
    other.execute("BEGIN EXCLUSIVE")
    store = Store(tmp_path / "s")
    with pytest.raises(InputError, match=r"locked.*; end the other program that holds it, and"):
        store.keep("k", "8", {"v": 1})
    other.rollback()
    store.keep("k", "8", {"v": 1})
    assert len(store) == 1


def test_a_full_disk_says_so_and_loses_nothing(tmp_path):
    store = Store(tmp_path / "s")
    store.keep("first", "8", {"v": 1})
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count={pages}")

    def fill():
        for k in range(1000):
            store.keep(f"k{k}", "8" * 200, {"v": k})

    with pytest.raises(InputError, match="make room on the disk, and --resume"):
        fill()
    store.close()
    again = Store(tmp_path / "s")
    assert again.load(["first"]) == {"first": {"v": 1}}


def test_yosys_failing_on_one_module_costs_only_what_needs_it(tmp_path, monkeypatch):
    """A Yosys that gives up one module: one clear line, all else is kept, and a resumed search
    measures nothing twice and ends as if nothing had been."""
    from genogate.synth import area

    measured = []
    broken = [True]

    def outputs(job):
        cells = len(job.files["unit.il"]) // 100
        logic = {
            "num_cells": cells,
            "estimated_num_transistors": str(6 * cells),
            "num_cells_by_type": {"$_AND_": cells},
        }
        return {
            "memory.json": json.dumps({"design": {"num_memory_bits": 8}}),
            "logic.json": json.dumps({"design": logic}),
        }

    def run(tool, jobs, *, progress=None, done=None, workers=None, timeout=900):
        for number, job in enumerate(jobs):
            if broken[0] and "Sum" in job.name:
                continue
            measured.append((job.files["unit.il"], job.script))
            done(number, outputs(job))
        if broken[0] and any("Sum" in job.name for job in jobs):
            raise InputError("Yosys took more than 900 s for a Sum, it was stopped")

    monkeypatch.setattr(area, "run", run)
    setting = dataclasses.replace(SETTING, silicon=True)
    config = dataclasses.replace(
        CONFIG, objectives=("accuracy", "cells"), pop_size=4, generations=1, exploit=0
    )
    try:
        monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "whole"))
        area.forget()
        broken[0] = False
        Run(tmp_path / "w", setting, config).go()
        everything = sorted(measured)
        measured.clear()
        monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "cache"))
        area.forget()
        broken[0] = True
        with pytest.raises(InputError, match="took more than 900 s for a Sum"):
            Run(tmp_path / "r", setting, config).go()
        assert measured
        broken[0] = False
        area.forget()
        Run(tmp_path / "r", setting, config, resume=True).go()
    finally:
        area.forget()
    assert sorted(measured) == everything
    for name in ("front.json", "history.json", "knee"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "w" / name).read_bytes()
