"""Genomes written by hand: nowhere unless they are asked for."""

import json
from dataclasses import asdict

import pytest
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.patterns import patterns
from genogate.search.genomes.run import Run

SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False, shifts=False)


def first_genomes(folder, **about):
    config = Config(
        ("accuracy", "size"), pop_size=12, generations=1, initial="homogeneous", **about
    )
    run = Run(folder, SETTING, config)
    run.go()
    return {candidate.genome for candidate in run.points}


def test_a_population_has_none_and_half_of_it_with_the_flag(tmp_path):
    assert not first_genomes(tmp_path / "a") & set(patterns())
    assert len(first_genomes(tmp_path / "b", seed_patterns=True) & set(patterns())) == 6


def test_a_run_of_before_the_flag_goes_on_without_them(tmp_path):
    genomes = first_genomes(tmp_path)
    path = tmp_path / "config.json"
    document = json.loads(path.read_text())
    del document["config"]["seed_patterns"]
    path.write_text(json.dumps(document))
    config = Config(("accuracy", "size"), pop_size=12, generations=1, initial="homogeneous")
    run = Run(tmp_path, SETTING, config, resume=True)
    run.go()
    assert {candidate.genome for candidate in run.points} == genomes
    assert run.fresh == 0


def test_layers_are_alike():
    assert {len(genome.layers) for genome in patterns(2)} == {2}
    assert patterns(2)[0].layers[0] == patterns(2)[0].layers[1] == patterns()[0].layers[0]


def test_experiments_start_from_none_and_those_that_did_go_on_with_them(tmp_path):
    pytest.importorskip("torch")
    from genogate.search.experiment.experiment import Experiment
    from genogate.search.experiment.plan import Plan, by_hand, scheme_genome

    plan = Plan("digits-row", ("digits-row",))
    new = Experiment(tmp_path, plan)
    new.prepare()
    assert new.schemes() == []
    begun = json.loads(json.dumps(asdict(plan)))
    del begun["seed_patterns"], begun["knobs"]["classifier_bits"]
    data = json.loads(json.dumps(new.record.head["data"]))
    for recipe in data["recipes"]:
        del recipe["keep"], recipe["initial_state"]
    del data["recipes"][1]["sandwich"]
    document = {**new.record.head, "data": data, "plan": begun, "numbers": [], "done": False}
    (tmp_path / "experiment.json").write_text(json.dumps(document))
    old = Experiment(tmp_path, plan)
    old.prepare()
    assert {c.genome for c in old.schemes()} >= set(patterns())
    assert by_hand(scheme_genome("weights 2, rest 8", 1), {})
    assert not by_hand(scheme_genome("weights 2, rest 8", 1), {"input_bits": 4})
    assert not by_hand(Genome.uniform(4), {})
