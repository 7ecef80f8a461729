"""Cells by an estimate: what it promises, and searches that measure only what they end with."""

import dataclasses
import json

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs, Lanes
from genogate.model.quantize.quantize import quantize
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.run import Run
from genogate.search.genomes.strategies.measure import promising
from genogate.search.pool.backends import Pool
from genogate.search.report.page import collect
from genogate.sim.random_model import random_model
from genogate.synth import estimate
from genogate.synth.area import ModuleArea
from genogate.synth.report import area_report, cheapest

SEED = 17
SETTING = Setting("digits-row", Knobs(activation="table"), shifts=False, estimate=True)
CONFIG = Config(
    objectives=("accuracy", "size", "cells"),
    pop_size=8,
    generations=2,
    exploit=1,
    seed=SEED,
    initial="homogeneous",
)


def test_every_part_of_a_network_has_an_estimate():
    rng = np.random.default_rng(SEED)
    for layers, knobs in (
        (1, {"activation": "pwl"}),
        (2, {"channel": True, "terms": None}),
        (1, {"terms": 1, "input_bits": 1, "classifier_bits": 2}),
    ):
        genome = Genome.from_genes(rng.integers(2, 9, 17 * layers))
        model = random_model(rng, genome, 5, 12, 3, **knobs)
        for lanes in (1, 4):
            parts = Design.of(model, Lanes(lanes, lanes)).parts
            for part in parts:
                kind, cells = part.identity[0], estimate.cells(part.identity)
                assert kind in {*estimate.FEATURES, "Rom", "CodeBuffer"}
                assert np.isfinite(cells)
                assert cells >= (kind not in ("Rom", "CodeBuffer"))


def test_estimates_are_near_what_yosys_measures():
    """Memory bits exactly, cells within 6 %: networks of homogeneous and other genomes."""
    setting = dataclasses.replace(SETTING, estimate=False)
    for bits in (3, 8):
        model = quantize(
            load(setting).calibration, Genome.uniform(bits), setting.knobs, cheapest=cheapest
        )
        measured, guessed = (
            area_report(Design.of(model), flat=False).total,
            estimate.total(Design.of(model)),
        )
        assert guessed.memory_bits == measured.memory_bits
        assert guessed.cells == pytest.approx(measured.cells, rel=0.06), bits


def test_fit_finds_what_cells_are_made_of():
    rng = np.random.default_rng(SEED)
    known = {}
    for _ in range(200):
        bits, lanes = (int(v) for v in rng.integers(2, 9, 2))
        known["StateMemory", bits, lanes, 64, 0, False] = 3 * bits + 2 * bits * lanes
    found = estimate.fit(known)
    assert set(found) == {"StateMemory"}
    for identity, cells in known.items():
        told = np.dot(estimate.FEATURES["StateMemory"](identity), found["StateMemory"])
        assert told == pytest.approx(cells, rel=0.06), f"seed {SEED}"


@pytest.fixture
def yosys(monkeypatch):
    """In place of Yosys: the estimate, up to some per cent off. Told: what was asked for."""
    asked = []

    def total(model):
        off = 1 + 0.03 * np.sin(sum(k * g for k, g in enumerate(model.genome.genes)))
        asked.append(model.genome)
        known = estimate.total(Design.of(model))
        return ModuleArea(cells=round(known.cells * off), memory_bits=known.memory_bits)

    def chosen(groups, say=None, workers=1):
        return [0] * len(groups)

    def totals(cases, say=None, workers=1):
        return [total(design.model) for design in cases]

    monkeypatch.setattr("genogate.search.genomes.evaluate.cheapest", chosen)
    monkeypatch.setattr("genogate.search.genomes.evaluate.totals", totals)
    return asked


def test_a_search_by_estimates_measures_what_it_ends_with(tmp_path, yosys):
    run = Run(tmp_path / "r", SETTING, CONFIG)
    front = run.go()
    assert 0 < len(yosys) == len(set(yosys)) < len(run.estimated)
    assert {p.genome for p in front} <= set(yosys)
    exact = dataclasses.replace(SETTING, estimate=False)
    count = len(yosys)
    for point in front:
        ((_, alone),) = evaluate(exact, [point.genome])
        assert point.result == alone
    del yosys[count:]
    # Nothing that was measured is better than a point of the front in everything.
    costs = run.ledger.costs(list(run.points.values()))
    wall = run.ledger.costs(front)
    assert all((wall <= row).all(1).any() for row in costs[(costs < run.ledger.reference).all(1)])
    history = json.loads((tmp_path / "r" / "history.json").read_text())
    assert [row["phase"] for row in history] == ["explore"] * 2 + ["exploit", "measure"]
    assert history[-1]["evaluations"] == len(run.estimated)
    before = {
        path.name: path.read_bytes()
        for path in (tmp_path / "r").glob("*")
        if path.name in ("front.json", "history.json", "knee")
    }
    again = Run(tmp_path / "r", SETTING, CONFIG, resume=True)
    again.go()
    assert again.fresh == 0
    assert len(yosys) == count
    assert all((tmp_path / "r" / name).read_bytes() == text for name, text in before.items())
    data = collect(tmp_path / "r", cells=False)
    assert " --estimate " in data["command"]
    assert any("were measured in the end" in note for note in data["notes"])


def test_hardware_of_hopeless_genomes_changes_nothing_for_a_run_that_goes_on(tmp_path, yosys):
    """What is below the floor has no hardware for a run, though another one measured it since."""
    config = dataclasses.replace(CONFIG, initial="sensitivity", max_drop=1.0)
    run = Run(tmp_path / "r", SETTING, config)
    run.go()
    before = {name: (tmp_path / "r" / name).read_bytes() for name in ("front.json", "history.json")}
    low = [c for c, point in run.estimated.items() if "cells" not in point.result]
    assert len(low) > 5
    with Pool("serial") as pool:
        looker = Run(tmp_path / "r", SETTING, config, resume=True)
        assert all("cells" in point.result for point in looker.evaluate(low, pool))
    again = Run(tmp_path / "r", SETTING, config, resume=True)
    again.go()
    assert again.fresh == 0
    assert {c: p.result for c, p in again.estimated.items()} == {
        c: p.result for c, p in run.estimated.items()
    }
    assert before == {name: (tmp_path / "r" / name).read_bytes() for name in before}


def test_what_estimates_may_have_hidden_is_measured_too(tmp_path, yosys):
    run = Run(tmp_path / "r", SETTING, CONFIG)
    run.go()
    front = {p.candidate for p in run.front()}
    # Some of what was measured was not on the front by its estimate.
    estimated = Run(tmp_path / "r", SETTING, CONFIG, resume=True)
    estimated.ledger.points = dict(run.estimated)
    by_estimate = {p.candidate for p in estimated.front()}
    worth_it = promising(estimated.ledger, CONFIG.pop_size)
    assert by_estimate <= set(worth_it)
    assert len(worth_it) <= 2 * len(by_estimate)
    assert front <= {*worth_it, run.int8}


def test_estimates_have_keys_of_their_own():
    exact = dataclasses.replace(SETTING, estimate=False)
    assert SETTING.key != exact.key
    ((_, guessed),) = evaluate(SETTING, [Genome.uniform(5)])
    model = quantize(load(exact).calibration, Genome.uniform(5), exact.knobs)
    assert guessed["cells"] == estimate.total(Design.of(model)).cells
    assert guessed["memory"] == estimate.total(Design.of(model)).memory_bits
