# amaranth: UnusedElaboratable=no
"""Searches by the figures of a target: estimated while they run, measured in the end."""

import json
from dataclasses import replace

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.candidate import Candidate, Point
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.ledger import Ledger
from genogate.search.genomes.refresh import corrected, estimate_errors, rank_correlation
from genogate.search.genomes.run import Run
from genogate.search.report.data import collect
from genogate.synth.targets import prices

SETTING = Setting(
    "digits-row",
    Knobs(activation="table"),
    silicon=False,
    shifts=False,
    estimate=True,
    target="sky130",
)
CONFIG = Config(
    objectives=("accuracy", "um2"),
    target="sky130",
    pop_size=6,
    generations=2,
    exploit=1,
    initial="homogeneous",
)


@pytest.fixture
def measured(monkeypatch):
    """In place of Yosys: the estimate times 1.1 (logic) and 0.9 (constants). Genomes asked for."""
    asked = []

    def measure(target, designs, memories="flops", progress=None, workers=None):
        rows = []
        for design in designs:
            asked.append(design.model.genome)
            row = prices.figures(target, design, memories)
            if target == "sky130":
                row["logic_um2"] *= 1.1
                row["rom_um2"] *= 0.9
                row["um2"] = row["logic_um2"] + row["rom_um2"] + row["ram_um2"]
            rows.append(row)
        return rows

    monkeypatch.setattr("genogate.search.genomes.evaluate.measure_target", measure)
    monkeypatch.setattr("genogate.search.genomes.evaluate.target_version", lambda target: "test")
    return asked


def test_a_search_by_area_measures_its_front_and_says_what_estimates_were_off_by(
    tmp_path, measured
):
    run = Run(tmp_path / "run", SETTING, CONFIG)
    front = run.go()
    assert 0 < len(measured) == len(set(measured)) < len(run.estimated)
    assert {point.genome for point in front} <= set(measured)
    int8 = run.points[run.int8].result
    assert min(point.result["um2"] for point in front) < int8["um2"]
    document = json.loads((tmp_path / "run" / "front.json").read_text())
    assert 0 < document["estimates"]["um2"]["median_percent"] < 10
    assert document["estimates"]["um2"]["genomes"] == len(measured)
    assert all({"um2", "logic_um2", "rom_um2", "ram_um2"} <= set(p) for p in document["points"])
    assert (tmp_path / "run" / "least-area").exists()
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["setting"]
    assert recorded["target"] == "sky130"
    assert recorded["prices"]["um2"]["median_percent"] < 10


def test_a_search_by_area_resumes_to_the_same_front_and_has_a_page(tmp_path, measured):
    whole = [(str(p.candidate), p.result) for p in Run(tmp_path / "a", SETTING, CONFIG).go()]
    count = len(measured)
    again = Run(tmp_path / "a", SETTING, CONFIG, resume=True)
    assert [(str(p.candidate), p.result) for p in again.go()] == whole
    assert len(measured) == count
    assert again.fresh == 0
    data = collect(tmp_path / "a", cells=False)
    assert "um2" in [figure["key"] for figure in data["figures"]]
    assert "--target sky130" in data["random"]
    assert any("sky130" in note for note in data["notes"])


def test_energy_is_an_objective_and_a_limit(tmp_path, measured):
    config = replace(
        CONFIG, objectives=("accuracy", "energy"), limits=(("energy", 80.0),), max_drop=None
    )
    run = Run(tmp_path / "run", SETTING, config)
    front = run.go()
    int8 = run.points[run.int8].result["energy"]
    assert 60 < int8 < 140  # about 0.1 nJ a cycle, 1,032 cycles
    assert all(point.result["energy"] < min(int8, 80.0) for point in front)
    assert (tmp_path / "run" / "least-energy").exists()
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["setting"]
    assert recorded["prices"]["energy"]["median_percent"] < 15
    # It is told by a model in the end too, which is no measurement of its error.
    document = json.loads((tmp_path / "run" / "front.json").read_text())
    assert set(document["estimates"]) == {"um2"}


def test_a_random_twin_searches_by_area_too(tmp_path, measured):
    config = replace(CONFIG, method="random", exploit=0, initial=None)
    front = Run(tmp_path / "run", SETTING, config).go()
    assert all("um2" in point.result for point in front)


def test_what_a_part_has_is_a_limit(tmp_path, measured):
    setting = replace(SETTING, target="ice40-up5k")
    config = replace(
        CONFIG,
        objectives=("accuracy", "lut", "ebr"),
        target="ice40-up5k",
        fit=True,
        limits=(("ff", 400.0),),
        max_drop=None,
    )
    bounds = dict(config.bounds)
    assert bounds == {"ff": 5280, "lut": 5280, "ebr": 30, "dsp": 8}
    run = Run(tmp_path / "run", setting, config)
    front = run.go()
    assert run.points[run.int8].result["ff"] > 400
    assert front
    for point in front:
        assert point.result["ff"] <= 400
        assert point.result["ebr"] <= 30


def test_a_network_that_cannot_fit_is_refused_at_once(tmp_path, monkeypatch):
    setting = replace(SETTING, target="ice40-up5k")
    config = replace(CONFIG, objectives=("accuracy", "lut"), target="ice40-up5k", fit=True)
    monkeypatch.setattr(
        "genogate.search.genomes.run.costs_of",
        lambda case: {"lut": 6500, "ff": 300, "ebr": 31, "dsp": 0},
    )
    with pytest.raises(InputError, match=r"not even two bits .*6,500 of 5,280.*31 of 30 block RAM"):
        Run(tmp_path / "run", setting, config).go()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "sky13"}, "target 'sky13': not one of generic"),
        ({"target": "generic"}, "objective 'um2': target generic has no figures of a part"),
        ({"target": "ice40-up5k"}, "target ice40-up5k has lut, ff, ebr, dsp; um2 is a figure of"),
        (
            {"target": "ecp5-25k", "objectives": ("accuracy", "lut"), "memories": "sram"},
            "--memories sram: for --target sky130",
        ),
        ({"objectives": ("accuracy", "silicon")}, "one price for all bits"),
        ({"fit": True}, "--fit: target sky130 is no FPGA"),
        (
            {"objectives": ("accuracy", "energy"), "memories": "sram"},
            "objective energy: its model is of state in flip-flops, not of --memories sram",
        ),
        (
            {"target": "ice40-up5k", "objectives": ("accuracy", "energy")},
            "energy is a figure of --target sky130",
        ),
        ({"memories": "core"}, "memories 'core': not one of flops latches sram"),
        ({"limits": (("lut", 5.0),)}, "target sky130 has um2, energy; lut is a figure of"),
    ],
)
def test_what_a_target_does_not_have_is_refused(changes, message):
    with pytest.raises(InputError) as error:
        replace(CONFIG, **changes)
    assert message in str(error.value)


def test_a_folder_of_a_search_by_one_price_for_all_bits_is_refused_with_its_reason(
    tmp_path, measured
):
    run = Run(tmp_path / "run", SETTING, CONFIG)
    run.evaluator.store.keep("key", "genome", {"accuracy": 0.5})
    path = tmp_path / "run" / "config.json"
    document = json.loads(path.read_text())
    document["config"]["objectives"] = ["accuracy", "silicon"]
    document["version"] = 4
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="minimised silicon, one price for all bits"):
        Run(tmp_path / "run", SETTING, CONFIG, resume=True)


def test_estimates_take_the_scale_of_what_was_measured():
    rng = np.random.default_rng(2026)
    int8 = Candidate(Genome.uniform(8))
    genomes = [int8, *(Candidate(Genome.from_genes(row)) for row in rng.integers(2, 9, (9, 17)))]
    estimated, exact = {}, {}
    for k, candidate in enumerate(genomes):
        logic, rom, ram = 1000.0 + 50 * k, 400.0 - 9 * k, 700.0
        shares = {"logic_um2": logic, "rom_um2": rom, "ram_um2": ram}
        result = {"accuracy": 0.9, "um2": logic + rom + ram, **shares}
        estimated[candidate] = Point(candidate, result)
        shares = {"logic_um2": 1.2 * logic, "rom_um2": 0.8 * rom, "ram_um2": ram}
        exact[candidate] = Point(
            candidate, {"accuracy": 0.9, "um2": sum(shares.values()), **shares}
        )
    ledger = Ledger(("accuracy", "um2"), (), int8, blind=False)
    ledger.points |= {candidate: exact[candidate] for candidate in genomes[:4]}
    again = corrected(ledger, estimated)
    for candidate in genomes:
        assert again.points[candidate].result["um2"] == pytest.approx(
            exact[candidate].result["um2"]
        )
    errors = estimate_errors(ledger, estimated)
    assert errors["um2"]["genomes"] == 4
    assert 3 < errors["um2"]["median_percent"] < 12


def test_rank_correlation_is_spearmans():
    assert rank_correlation([1, 2, 3, 9], [10, 20, 25, 26]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ties share their mean rank: by hand, (0.5, 0.5, 2, 3) against (0, 1, 2, 3).
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def _clocked(monkeypatch, mhz_of):
    """In place of nextpnr: the clock of each point's result. Genomes asked for."""
    asked = []

    def clock_of(setting, point, clock, say):
        asked.append(point.genome)
        mhz = mhz_of(point.result)
        return {"period_ns": 1000 / mhz, "fmax_mhz": mhz, "clock_by": "nextpnr"}

    monkeypatch.setattr("genogate.search.genomes.clocks.clock_of", clock_of)
    monkeypatch.setattr("genogate.search.genomes.run.check_tools", lambda target: None)
    return asked


FPGA_SETTING = replace(SETTING, target="ice40-up5k")
FPGA_CONFIG = replace(CONFIG, objectives=("accuracy", "lut"), target="ice40-up5k", clock=24.0)


def test_networks_that_miss_the_clock_are_left_out_of_front_and_files(
    tmp_path, measured, monkeypatch
):
    free = Run(tmp_path / "free", FPGA_SETTING, replace(FPGA_CONFIG, clock=None)).go()
    least = min(point.result["lut"] for point in free)
    # The smallest network is too slow; all others are fast enough.
    asked = _clocked(monkeypatch, lambda result: 20.0 if result["lut"] <= least else 30.0)
    front = Run(tmp_path / "run", FPGA_SETTING, FPGA_CONFIG).go()
    assert len(asked) == len(set(asked)) >= len(free)
    assert front
    assert all(point.result["fmax_mhz"] == 30 for point in front)
    assert min(point.result["lut"] for point in front) > least
    document = json.loads((tmp_path / "run" / "front.json").read_text())
    assert document["clock"]["measured"] == len(asked)
    assert document["clock"]["met"] == len(asked) - 1
    assert {point["fmax_mhz"] for point in document["points"]} == {30}
    assert len(list((tmp_path / "run").glob("front-*"))) == len(front)


def test_a_clock_that_nobody_meets_leaves_no_front_and_names_the_fastest(
    tmp_path, measured, monkeypatch
):
    asked = _clocked(monkeypatch, lambda result: 1e4 / result["lut"])
    run = Run(tmp_path / "run", FPGA_SETTING, FPGA_CONFIG)
    assert run.go() == []
    assert 0 < len(asked) <= 2 * FPGA_CONFIG.pop_size
    clock = json.loads((tmp_path / "run" / "front.json").read_text())["clock"]
    assert clock["met"] == 0
    assert clock["fastest_mhz"] == max(p.result.get("fmax_mhz", 0) for p in run.points.values())
    assert not list((tmp_path / "run").glob("front-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clock": 0.0}, "clock: 0 MHz is not within"),
        ({"clock": 20.0, "memories": "sram"}, "--clock: nothing here knows the delays of SRAM"),
        (
            {"clock": 20.0, "target": "generic", "objectives": ("accuracy", "cells")},
            "--clock: generic cells have no clock",
        ),
    ],
)
def test_a_clock_that_cannot_be_asked_for_is_refused(changes, message):
    with pytest.raises(InputError) as error:
        replace(CONFIG, **changes)
    assert message in str(error.value)
