"""The search within a budget: what it spends, keeps, refuses, and goes on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.errors import InputError
from genogate.model.genome import Genome, found_with
from genogate.model.knobs import SHARES, Knobs
from genogate.model.quantize.trained import Trained
from genogate.model.zoo import load as load_checkpoint
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.run import Run
from genogate.search.ladder import plan as ladder_plan
from genogate.search.ladder.ladder import begin, search
from genogate.search.ladder.page import markdown, page
from genogate.search.ladder.plan import (
    Plan,
    check_limits,
    check_validation,
    epochs_within,
    short_rate,
    terms_of,
)
from genogate.search.ladder.price import COSTS, Sharing, costs_of, price_of
from genogate.search.ladder.rungs import Net, Rungs

PLAN = Plan(("digits-row",), drop=3.0, budget=20.0, epochs=2, seed=1)


def test_costs_follow_the_bits():
    knobs = Knobs(activation="table")
    wide, narrow = (price_of(("digits-row", Genome.uniform(b), knobs)) for b in (8, 4))
    assert wide.keys() == narrow.keys() == COSTS.keys()
    # 81,421 um^2 by synthesis: genogate area --genome int8 --target sky130.
    assert wide["um2"] == pytest.approx(81_421, rel=0.05)
    assert wide["cycles"] == narrow["cycles"] == 1032
    assert all(narrow[name] < 0.65 * wide[name] for name in COSTS.keys() - {"cycles"})


def test_costs_for_an_fpga_are_its_resources_and_its_limits_hold_for_the_search():
    knobs = Knobs(activation="table")
    case = ("digits-row", Genome.uniform(8), knobs)
    costs = price_of(case, "ice40-up5k")
    assert costs.keys() == costs_of("ice40-up5k").keys()
    assert {"lut", "ff", "ebr", "dsp"} <= costs.keys()
    assert "um2" not in costs
    assert 1300 < costs["lut"] < 2200
    Plan(("digits-row",), cost="lut", target="ice40-up5k", limits=(("ebr", 30),))
    with pytest.raises(InputError, match="cost 'lut': um2, size"):
        Plan(("digits-row",), cost="lut")
    with pytest.raises(InputError, match="cost 'um2': lut, ff"):
        Plan(("digits-row",), target="ice40-up5k")


def test_a_price_takes_the_cheapest_hardware_that_keeps_the_limits():
    case = ("digits-row", Genome.uniform(5), Knobs(activation="table"))

    def chosen(cycles, target="ice40-up5k", cost="lut", shares=SHARES):
        return price_of(case, target, Sharing(shares, cost, (("cycles", cycles),)))

    alone = price_of(case, "ice40-up5k")
    slow, fast = chosen(100_000), chosen(2_000)
    assert slow["share"] == "all"
    assert slow["lut"] < 0.5 * fast["lut"]
    assert fast == alone | {"share": "none"}
    # None keeps it: the fastest.
    assert chosen(10)["share"] == "none"
    least, gates, alone = (chosen(c, "sky130", "um2") for c in (100_000, 10_000, 2_000))
    assert [row["share"] for row in (least, gates, alone)] == ["all", "gates", "none"]
    assert least["um2"] < gates["um2"] < 0.8 * alone["um2"]
    # No model of the FPGA tells a machine of shared gates.
    with pytest.raises(InputError, match=r"ice40-up5k: no models tell .* is shared as gates"):
        chosen(100_000, shares=("gates",))


def test_the_price_is_that_of_the_hardware_of_the_knobs():
    def cost(**changes):
        knobs = Knobs(activation="table", **changes)
        return price_of(("digits-row", Genome.uniform(4), knobs))["um2"]

    assert cost(pipeline=2) > cost()
    # Lanes that no adder and no gates can share: what is left is not to share.
    case = ("digits-row", Genome.uniform(4), Knobs(activation="table", lanes_x=3, lanes_h=2))
    assert price_of(case, "sky130", Sharing(SHARES))["share"] == "none"


def test_a_part_gives_cost_and_limits_to_every_search_within_a_budget():
    assert terms_of() == {"target": "sky130", "cost": "um2", "limits": ()}
    assert terms_of("sky130", {"size": 9.0}, "cells")["limits"] == (("size", 9.0),)
    terms = terms_of("ice40-hx1k", {"lut": 9e9, "ebr": 2.0, "cycles": 400.0})
    limits = dict(terms["limits"])
    # Its own resources, of two for one cost the lower, and what has no resource.
    assert (terms["cost"], limits["lut"], limits["ebr"], limits["cycles"]) == ("lut", 1280, 2, 400)
    with pytest.raises(
        InputError, match=r"^max-um2: target ice40-hx1k has lut, .* another --target"
    ):
        terms_of("ice40-hx1k", {"um2": 3.0})


def test_limits_of_a_part_are_told_as_such():
    plan = Plan(("digits-row",), cost="lut", target="ice40-hx1k", limits=(("lut", 1280),))
    with pytest.raises(InputError, match=r"target ice40-hx1k: it has 1,280 .* takes 1,500"):
        check_limits(plan, {"lut": 1500})
    with pytest.raises(InputError, match="max-lut: 1000 is below"):
        check_limits(replace(plan, limits=(("lut", 1000),)), {"lut": 1500})


def test_fewer_units_take_the_time_between_those_of_two_checkpoints(tmp_path):
    plan = Plan(("mnist-pixel", "mnist-pixel-h48"))
    rungs = Rungs(tmp_path, plan, None)
    # The first training compiles.
    rungs.seconds_of_epoch = {0: [30.0, 2.0, 2.0], 1: [1.0]}
    nets = [Net(0, Genome.uniform(6)), Net(1, Genome.uniform(6))]
    fewer = [replace(nets[0], cut=2), replace(nets[1], cut=3)]
    assert [rungs.units(net) for net in (*nets, *fewer)] == [(64,), (48,), (56,), (39,)]
    assert [rungs.pace(net) for net in (*nets, *fewer)] == [2.0, 1.0, 1.5, 1.0]
    rungs.plan = replace(plan, pace=(4.0, 2.0))
    assert [rungs.pace(net) for net in (*nets, *fewer)] == [4.0, 2.0, 3.0, 2.0]
    # A quarter stays, and none where units are no gene.
    assert rungs.most_cut(0) == rungs.most_cut(1) == 12
    rungs.plan = replace(plan, fewer=False)
    assert rungs.most_cut(0) == 0
    rungs.close()


def test_a_limit_that_needs_fewer_units_is_kept(tmp_path):
    """No homogeneous network of 32 units has so few bits: the search begins with fewer units."""
    plan = replace(PLAN, drop=90.0, budget=12.0, epochs=1, limits=(("size", 9_000.0),), spare=0.0)
    least = price_of(("digits-row", Genome.uniform(3), replace(plan.knobs, input_bits=3)))
    assert least["size"] > 9_000
    document = search(tmp_path, plan)
    trained = document["finished"][1:]
    assert trained
    assert all(entry["size"] <= 9_000 and entry["hidden"] < 32 for entry in trained)
    assert document["best"]["hidden"] < 32
    assert document["best"]["cut_from"] == 32
    checkpoint, _ = found_with(str(tmp_path / "best"))
    assert zoo.load(checkpoint).hidden_size() == document["best"]["hidden"]


def test_a_search_goes_on_until_a_network_keeps_the_limits(tmp_path):
    """INT8 is so much dearer than what the limit allows that no step from it leads there."""
    plan = replace(PLAN, drop=3.0, budget=12.0, epochs=1, limits=(("um2", 30_000.0),))
    document = search(tmp_path, replace(plan, pace=(0.4,)))
    assert document["int8"]["um2"] > 70_000
    kept = [entry for entry in document["finished"][1:] if entry["um2"] <= 30_000]
    assert len(kept) >= 5
    assert document["spent_seconds"] > 8


def test_a_search_is_not_gone_on_with_as_another_one(tmp_path):
    plan = replace(PLAN, shares=SHARES)
    begin(tmp_path, plan, False)
    (tmp_path / "ladder.json").write_text("{}")
    begin(tmp_path, plan, True)
    with pytest.raises(InputError, match="differs in shares"):
        begin(tmp_path, PLAN, True)


def test_a_search_ends_with_the_hardware_that_its_price_chose(tmp_path):
    plan = replace(PLAN, cost="lut", target="ice40-up5k", budget=9.0, epochs=1, shares=SHARES)
    document = search(tmp_path, plan)
    assert document["best"]["share"] == "all"
    checkpoint, changes = found_with(str(tmp_path / "best"))
    assert changes["share"] == "all"
    trained = Trained.of(load_checkpoint(checkpoint))
    assert trained.fits(trained.model().genome, Knobs(**changes))
    cycles = f"{document['best']['cycles']:,}"
    assert f"share all: {cycles} cycles a step" in (tmp_path / "page.md").read_text()


def test_the_page_says_what_is_built_takes_of_its_part():
    entry = {"hidden": 6, "genes": [8] * 17, "input_bits": 8, "classifier_bits": 8, "lost": 0.2}
    entry["epochs"] = 4
    whole = {"lut": 1420, "ff": 400, "ram": 31, "dsp": 2}
    limits = {"lut": 5280, "ff": 5280, "ram": 30, "dsp": 8}
    document = {
        "task": "mine",
        "target": "ice40-up5k",
        "cost": "lut",
        "spare": 1.0,
        "drop": 0.5,
        "int8": entry | {"lut": 2000},
        "best": entry | {"lut": 1400},
        "front": [],
        "spent_seconds": 60.0,
        "budget_seconds": 60.0,
        "trainings": {"full": 1, "short": 1},
        "epochs": {"full": 1, "short": 1},
        "validation": "300 sequences",
        "measured_in": {
            "target": "ice40-up5k",
            "part": "iCE40UP5K",
            "yosys": "Yosys 0.70",
            "whole": whole,
            "limits": limits,
            "fits": False,
            "advice": ["31 of 30 block RAMs, 1 too many"],
        },
    }
    text = markdown(document)
    assert "1,400 4-input LUTs of ice40-up5k, estimated, 30.0 % less than INT8" in text
    assert "Measured for ice40-up5k (iCE40UP5K) by Yosys 0.70: 1,420 of 5,280 LUTs" in text
    assert "it does not fit**: 31 of 30 block RAMs" in text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    return folder, search(folder, PLAN)


def test_it_ends_within_its_budget_with_a_network_that_keeps_the_limit(whole):
    _, document = whole
    assert document["done"]
    # A round that began within it is ended, and beside other work its seconds are worth less.
    assert document["spent_seconds"] <= 2 * PLAN.budget
    assert document["trainings"]["short"] >= 1
    # INT8.
    assert document["trainings"]["full"] == 1
    # Weights are inherited, and all of their epochs told.
    epochs, short = [e["epochs"] for e in document["finished"]], document["epochs"]["short"]
    assert epochs[:3] == [2, 2 + short, 2 + 2 * short]
    assert document["best"]["epochs"] in epochs
    best, int8 = document["best"], document["int8"]
    assert best["lost"] + best["error"] <= PLAN.drop + 1e-3
    assert best["um2"] <= int8["um2"]
    assert int8["lost"] == 0
    judged = [entry["judged"] for entry in document["front"]]
    assert judged == sorted(judged)


def test_its_genome_file_is_the_trained_network(whole):
    folder, document = whole
    checkpoint, knobs = found_with(str(folder / "best"))
    trained = Trained.of(load_checkpoint(checkpoint))
    model = trained.model(knobs=Knobs(**knobs))
    assert list(model.genome.genes) == document["best"]["genes"]
    assert model.classifier.weight_bits == document["best"]["classifier_bits"]
    assert trained.fits(model.genome, Knobs(**knobs))


def test_the_page_says_what_to_build_and_with_what_error(whole):
    folder, document = whole
    text = (folder / "page.md").read_text()
    assert text == markdown(document)
    for words in ("Build the network", "um^2", "standard error", "test part was not looked at"):
        assert words in text
    assert "<table>" in (folder / "page.html").read_text() == page(document)
    tested = {**document, "best": None, "int8": {**document["int8"], "test": 0.75}}
    assert "looked at once, INT8 has 75.00 %." in markdown(tested)
    assert "larger one with --resume" in markdown({**document, "best": None})
    assert (document["caution"], "Note:" in text) == (None, False)
    told = {**document, "caution": "a.pt: <unknown>"}
    assert "\nNote: a.pt: <unknown>.\n" in markdown(told)
    assert "<p>Note: a.pt: &lt;unknown&gt;.</p>" in page(told)


def test_started_again_it_evaluates_nothing_and_ends_the_same(whole):
    folder, document = whole
    before = (folder / "evaluations.sqlite").stat().st_mtime_ns
    assert search(folder, PLAN, resume=True) == document
    assert (folder / "evaluations.sqlite").stat().st_mtime_ns == before


def test_a_network_of_unknown_training_is_told(whole, tmp_path, monkeypatch):
    """The network that is chosen by validation may have been trained on it."""
    folder, _ = whole
    shutil.copytree(folder, tmp_path / "run")
    known = load_checkpoint("digits-row")
    info = {key: value for key, value in known.info.items() if key != "unseen"}
    unknown = Checkpoint(known.tensors, {**info, "imported": "model.pt"})
    monkeypatch.setattr(zoo, "load", lambda name: unknown)
    document = search(tmp_path / "run", PLAN, resume=True)
    assert "digits-row: it is unknown what this network was trained on" in document["caution"]
    assert json.loads((tmp_path / "run" / "ladder.json").read_text()) == document
    assert f"Note: {document['caution']}." in (tmp_path / "run" / "page.md").read_text()


def test_killed_and_gone_on_with_it_uses_what_was_known(whole, tmp_path):
    """Killed in mid-search; what is done by then is in the store and is asked for again first."""
    code = (
        "import sys; from genogate.search.ladder.ladder import search; "
        "from genogate.search.ladder.plan import Plan; "
        "search(sys.argv[1], Plan(('digits-row',), drop=3.0, budget=20.0, epochs=2, seed=1))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")])
    limit = time.monotonic() + 120
    while time.monotonic() < limit and not (tmp_path / "run" / "ladder.json").exists():
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path.name for path in (tmp_path / "run" / "networks").glob("*.safetensors")}
    assert done
    with pytest.raises(InputError, match="holds a search already; --resume"):
        search(tmp_path / "run", PLAN)
    # It needs no more than INT8 and what follows it.
    document = search(tmp_path / "run", replace(PLAN, budget=12.0), resume=True)
    assert document["done"]
    # INT8 was trained before the kill, and is what the whole search has.
    assert document["int8"]["judged"] == whole[1]["int8"]["judged"]
    assert done <= {p.name for p in (tmp_path / "run" / "networks").glob("*.safetensors")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0.5}, "budget: .* CPU minutes are too few: 3 trainings of digits-row"),
        ({"limits": (("size", 100.0),)}, "max-size: 100 is below the .* of fewest bits"),
        (
            {"checkpoints": ("digits-row", "kws4")},
            "checkpoint kws4: trained on 'kws4', not on digits-row",
        ),
        ({"checkpoints": ("digits-row", "digits-row-2layer")}, "or number of layers than"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        search(tmp_path, replace(PLAN, **change))
    assert not (tmp_path / "ladder.json").exists()


def test_a_folder_of_another_search_is_refused(whole):
    folder, _ = whole
    with pytest.raises(InputError, match=r"differs in drop, seed; use the same options"):
        search(folder, replace(PLAN, seed=2, drop=1.0), resume=True)


def test_neither_kind_of_search_takes_the_folder_of_the_other(whole, tmp_path):
    folder, _ = whole
    before = (folder / "config.json").read_bytes()
    with pytest.raises(InputError, match=r"holds a search within a budget; give --budget"):
        Run(
            folder,
            Setting("digits-row", PLAN.knobs, False),
            Config(("accuracy", "size")),
            resume=True,
        )
    assert (folder / "config.json").read_bytes() == before
    other = tmp_path / "other"
    Run(other, Setting("digits-row", PLAN.knobs, False), Config(("accuracy", "size")))
    before = (other / "config.json").read_bytes()
    with pytest.raises(InputError, match="holds something else; use another folder"):
        search(other, PLAN)
    assert (other / "config.json").read_bytes() == before


def test_a_search_whose_configuration_is_gone_is_not_gone_on_with(tmp_path):
    (tmp_path / "ladder.json").write_text("{}")
    with pytest.raises(InputError, match=r"without its config\.json; use another folder"):
        search(tmp_path, PLAN, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["ladder.json"]


def test_weights_that_are_loaded_are_of_two_units_or_more(tmp_path):
    for weights, least in (("rom", 1), ("load", 2)):
        plan = replace(PLAN, knobs=replace(PLAN.knobs, weights=weights))
        rungs = Rungs(tmp_path / weights, plan, None)
        rungs._units = [(4,)]
        net = Net(0, Genome.uniform(2), cut=rungs.most_cut(0))
        assert rungs.units(net) == (least,)
        rungs.close()


def test_a_validation_part_that_cannot_tell_is_refused(monkeypatch):
    kind = {"own_measure": "", "measure": "explained variance"}
    one = SimpleNamespace(name="mine", y_val=np.zeros(40), real=False, every=False, **kind)
    few = SimpleNamespace(task=one, y_shifted=np.zeros(40))
    monkeypatch.setattr(ladder_plan, "load", lambda setting: few)
    with pytest.raises(InputError, match=r"mine: one of its 40 .* is 2\.5 points.*--max-drop 2\.5"):
        check_validation(replace(PLAN, drop=0.5))
    assert "to about 3.5 points" in check_validation(replace(PLAN, drop=2.5))
    # Of a class at every step each that counts is judged; 160 of these 200 do.
    steps = np.repeat(np.where(np.arange(5) < 4, 1, -1)[None], 40, 0)
    few.task = SimpleNamespace(name="tags", y_val=steps, real=False, every=True, **kind)
    few.y_shifted = np.concatenate([steps, steps])
    few.task.y_train = np.repeat(steps, 3, axis=0)
    assert "640 steps in 4 folds" in check_validation(replace(PLAN, drop=0.5, folds=4))
    assert "160 validation steps and 160" in check_validation(replace(PLAN, drop=0.5))
    with pytest.raises(InputError, match=r"tags: one of its 320 validation steps is 0\.3 points"):
        check_validation(replace(PLAN, drop=0.1))
    few.task = SimpleNamespace(name="real", y_val=np.zeros(40), real=True, every=True, **kind)
    assert "by explained variance" in check_validation(replace(PLAN, drop=0.1))


def test_inherited_weights_of_long_sequences_keep_their_rate():
    assert short_rate(8) == short_rate(64) == 0.4
    assert short_rate(65) == short_rate(784) == 1


def test_epochs_follow_the_budget():
    plan = replace(PLAN, epochs=None, budget=160.0)
    assert epochs_within(plan, 1.0, "t") == (10, 2)
    # A short training has updates enough to mean something, and is no longer than a full one.
    assert epochs_within(plan, 1.0, "t", updates=40) == (10, 5)
    assert epochs_within(plan, 1.0, "t", updates=10) == (10, 10)
    assert epochs_within(replace(plan, budget=1e6), 1.0, "t")[0] == 80
    with pytest.raises(InputError, match=r"give --budget 1m or more"):
        epochs_within(replace(plan, budget=10.0), 1.0, "t")


def test_limits_are_kept(tmp_path):
    plan = replace(PLAN, budget=9.0, epochs=1, drop=100.0, limits=(("size", 20_000.0),))
    document = search(tmp_path, plan)
    assert document["best"]["size"] <= 20_000
    assert json.loads((tmp_path / "ladder.json").read_text()) == document


def test_genomes_that_are_given_are_trained_first_and_fully(tmp_path):
    start = Genome.from_genes([3] * 6 + [7] * 11)
    plan = replace(PLAN, budget=9.0, epochs=1, starts=(start,))
    document = search(tmp_path, plan)
    assert list(start.genes) == document["finished"][1]["genes"]
    with pytest.raises(InputError, match="its search differs in starts"):
        search(tmp_path, replace(plan, starts=()), resume=True)
    # A folder of before there was a choice is one without.
    config = json.loads((tmp_path / "config.json").read_text())
    del config["starts"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="its search differs in starts"):
        search(tmp_path, plan, resume=True)


def test_dense_layers_have_their_genes_in_it(tmp_path):
    rng = np.random.default_rng(4)
    shapes = {"weight_ih_l0": (15, 6), "weight_hh_l0": (15, 5)}
    shapes |= {"bias_ih_l0": (15,), "bias_hh_l0": (15,)}
    shapes |= {"front0.weight": (6, 8), "front0.bias": (6,)}
    shapes |= {"back0.weight": (7, 5), "back0.bias": (7,)}
    shapes |= {"classifier.weight": (10, 7), "classifier.bias": (10,)}
    tensors = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    info = {"task": "digits-row", "split_seed": 0, "front": ["relu"], "back": ["tanh"]}
    Checkpoint(tensors, info).save(path := tmp_path / "dense.safetensors")
    plan = Plan((str(path),), cost="lut", target="ice40-up5k", drop=60.0, budget=8.0, epochs=1)
    document = search(tmp_path / "run", plan)
    assert {len(entry["genes"]) for entry in document["finished"]} == {17 + 4}
    assert document["int8"]["hidden"] == 5
    trained = Trained.of(load_checkpoint(found_with(str(tmp_path / "run" / "best"))[0]))
    model = trained.model()
    assert [bits for pair in model.genome.dense for bits in pair] == document["best"]["genes"][17:]
    assert "888888 88888 888 888, 8 8, 8 8" in (tmp_path / "run" / "page.md").read_text()


def test_networks_of_two_layers_have_the_genes_of_both(tmp_path):
    plan = Plan(("digits-row-2layer",), drop=30.0, budget=16.0, epochs=1)
    document = search(tmp_path, plan)
    assert {len(entry["genes"]) for entry in document["finished"]} == {34}
    assert document["best"]["um2"] < document["int8"]["um2"]
    assert (
        len(Trained.of(load_checkpoint(found_with(str(tmp_path / "best"))[0])).model().layers) == 2
    )
    assert "888888 88888 888 888, 888888 88888 888 888" in (tmp_path / "page.md").read_text()
