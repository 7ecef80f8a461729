"""How the experiment chooses what to train, and the page that it makes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("pymoo")

from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.checkpoints.recipe import Recipe
from genogate.model.checkpoints.training import train
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.search.experiment import choice as experiment_choice
from genogate.search.experiment import plan as experiment_plan
from genogate.search.experiment.choice import Entry, predicted, proposals
from genogate.search.experiment.experiment import Experiment
from genogate.search.experiment.plan import Plan
from genogate.search.experiment.record import continues
from genogate.search.experiment.sources import Source
from genogate.search.experiment.summary import Found, rows_of
from genogate.search.genomes.candidate import Candidate

from studies import experiments as experiment_page

INT8 = {"accuracy": 0.97, "size": 100.0, "cells": 50.0, "weights": 80.0}


def entry(weights, rest, accuracy, hidden=32):
    genome = Genome(((weights,) * 6 + (rest,) * 11,))
    return Entry(
        hidden, Candidate(genome), accuracy, 12.5 * weights, 4.0 * rest + weights, 10.0 * weights
    )


def test_without_trainings_a_share_of_the_loss_is_predicted():
    entries = [entry(4, 4, 0.97), entry(3, 3, 0.87)]
    drops = predicted(entries, [], 0.97)
    np.testing.assert_allclose(drops, [0, 10 * experiment_choice.PRIOR], atol=1e-9)


def test_trainings_teach_that_narrow_weights_are_won_back_and_narrow_rests_are_not():
    known = [(entry(2, rest, 0.87), 0.0) for rest in (8, 7)]
    known += [(entry(w, 2, 0.87), 9.0) for w in (8, 7)]
    kind, hard = entry(2, 6, 0.87), entry(7, 3, 0.87)
    found = predicted([kind, hard], known, 0.97)
    assert found[0] < 2 < found[1], found


def test_what_is_proposed_is_new_differs_and_is_least_within_the_limit():
    entries = [entry(w, r, 0.97 - 0.002 * (16 - w - r)) for w in range(2, 9) for r in range(2, 9)]
    known = [(entry(2, 8, 0.95), 0.1)]
    chosen = proposals(entries, known, INT8, 4)
    assert len({e.key for e in chosen}) == len(chosen) == 4
    assert known[0][0].key not in {e.key for e in chosen}
    drops = predicted(entries, known, INT8["accuracy"])
    within = [
        e.cells for e, d in zip(entries, drops, strict=True) if d <= 0.5 + experiment_choice.MARGIN
    ]
    assert min(e.cells for e in chosen) <= min(within) + 1


def test_an_entry_whose_hardware_is_unknown_is_not_chosen_for_its_cells():
    from dataclasses import replace

    entries = [replace(entry(2, 2, 0.97), cells=0.0), entry(3, 3, 0.97)]
    assert proposals(entries, [], INT8, 1, ("cells",))[0].key == entries[1].key


def document():
    """A finished experiment of two seeds, as small as can be."""
    plan = json.loads(
        json.dumps(
            {
                "task": "mnist-row",
                "checkpoints": ["a", "b"],
                "hidden": [],
                "epochs": 1,
                "any_epochs": 1,
                "sequences": None,
                "knobs": {"activation": "table"},
                "baselines": ["int8", "int3"],
            }
        )
    )
    numbers = []

    def add(stage, about, found):
        numbers.append({"stage": stage, "about": about, "found": found})

    mixed = [2] * 6 + [8] * 11
    for seed in (0, 1):
        add("float", {"source": f"h64-seed{seed}", "weights": "float"}, {"judged": 0.99})
        for genes, accuracy, size in (([8] * 17, 0.99, 1000), (mixed, 0.988, 300)):
            about = {"hidden": 64, "seed": seed, "genes": genes, "knobs": {}}
            numbers_of = {
                "judged": accuracy,
                "val": accuracy,
                "size": size,
                "weights": 20 * size,
                "cycles": 9,
                "model_hash": f"{seed}{size}",
            }
            add("quantised", {**about, "weights": "float"}, numbers_of)
            add("trained", about, numbers_of)
    for row in list(numbers):
        add("test", {row["stage"]: row["about"]}, {"test": row["found"]["judged"]})
    least = {"hidden": 64, "genes": mixed, "knobs": {}, "name": "found"}
    return {
        "plan": plan,
        "data": {"sequences": {"val": 10, "test": 10}},
        "done": True,
        "choices": {"least": {"size 0.5": least, "size 1": None}, "front": []},
        "simulation": {"skipped": "iverilog: not here"},
        "numbers": numbers,
    }


def test_the_page_has_savings_and_says_what_is_missing():
    page = "\n".join(experiment_page.render({"tasks": [document()]}))
    (row,) = [line for line in page.splitlines() if line.startswith("| least size within 0.5")]
    assert "70.0 (70.0..70.0)" in row, row
    assert "0.20" in row, row
    assert "least size within 1 |" in page
    assert "none |" in page
    assert "INT3, trained | - |" in page
    assert "not simulated (iverilog: not here)" in page
    assert "HGQ2 98.79 % with 46.5 kbit: dominated by 98.80 % with 6.0 kbit" in page


def test_an_error_to_spare_is_one_over_the_seeds(monkeypatch):
    """Of two networks the smaller is within the limit in the mean, but not by its error."""
    made = object.__new__(Experiment)
    made.plan = Plan("digits-row")
    made.seeds = [Source(32, seed, f"seed{seed}") for seed in range(3)]
    made.silicon = False

    def group(hidden, size, drops):
        return {
            "hidden": hidden,
            "genes": [2] * 6 + [7] * 11,
            "knobs": {},
            "name": "found",
            "seeds": {
                str(k): {"drop": drop, "size": size, "weights": size}
                for k, drop in enumerate(drops)
            },
        }

    groups = [group(32, 300, [0.2, 0.3, 0.25]), group(24, 200, [-0.6, 0.3, 1.2])]
    monkeypatch.setattr(made, "groups", lambda: groups)
    found = made.choices()
    assert found["least"]["size 0.5"]["hidden"] == 24
    # Mean 0.3, standard deviation 0.9, error 0.52.
    assert found["least with an error to spare"]["size 0.5"]["hidden"] == 32
    assert found["least with an error to spare"]["size 1"]["hidden"] == 24
    made.seeds = made.seeds[:2]
    assert set(made.choices()) == {"least", "front"}


@pytest.mark.parametrize(
    ("checkpoints", "every_seed", "goes_on"),
    [
        (("a", "b", "a-small"), False, True),
        (("a", "a-small", "b", "b-small"), False, True),
        (("a", "a-small"), True, True),
        (("a", "b", "a-small"), True, False),
        (("b", "a", "a-small"), False, False),
        (("a", "b"), False, False),
        # Another size of a seed that was there: it would have been trained for that.
        (("a", "a-small", "a-tiny"), False, False),
    ],
)
def test_further_seeds_go_on_where_rounds_did_not_look_at_them(checkpoints, every_seed, goes_on):
    seeds = {"a": 0, "a-small": 0, "a-tiny": 0, "b": 1, "b-small": 1}
    old = {"checkpoints": ["a", "a-small"], "every_seed": every_seed}
    new = {"checkpoints": list(checkpoints), "every_seed": every_seed}
    assert continues("checkpoints", old, new, seeds) == goes_on


def test_networks_with_dense_layers_go_through_an_experiment(tmp_path):
    """All stages on a network of two dense layers, and another size with the same ones."""
    task = load_task("digits-row", 0)
    network = train(task, Recipe(hidden=8, epochs=2, front="relu:6", back="tanh:7"))
    network.save(path := tmp_path / "dense.safetensors")
    plan = Plan(
        "digits-row",
        (str(path),),
        hidden=(6,),
        objectives=("accuracy", "size"),
        baselines=("int8", "weights 3, rest 8"),
        small=("int4",),
        float_epochs=1,
        epochs=1,
        any_epochs=1,
        initial="homogeneous",
        pop_size=4,
        generations=1,
        exploit=0,
        rounds=1,
        trained=1,
        sequences=100,
    )
    document = Experiment(tmp_path / "run", plan).go()
    genes = [row["about"]["genes"] for row in document["numbers"] if row["stage"] == "trained"]
    assert {len(row) for row in genes} == {17 + 4}
    assert [3] * 6 + [8] * 11 + [3, 8, 3, 8] in genes
    smaller = Checkpoint.load(tmp_path / "run" / "float" / "h6-seed0.safetensors")
    assert smaller.functions == network.functions
    assert smaller.tensors["back0.weight"].shape == (7, 6)
    assert any("WEIGHTS" in row[0].upper() for row in rows_of(Found(document)))
    other = train(task, Recipe(hidden=5, epochs=1, front="relu:6"))
    other.save(tmp_path / "other.safetensors")
    given = replace(plan, checkpoints=(str(path), str(tmp_path / "other.safetensors")), hidden=(5,))
    with pytest.raises(InputError, match=r"other.safetensors: other layers than"):
        Experiment(tmp_path / "more", given).go()


def test_the_results_page_reads_what_experiments_recorded(tmp_path):
    from genogate.experiment import record_in_docs

    from studies.results import results

    (tmp_path / "data").mkdir()
    record_in_docs(document(), tmp_path)
    assert results(("none",), tmp_path, lambda _: None) == ["experiments"]
    assert "**mnist-row**" in (tmp_path / "results" / "experiments.md").read_text()


def test_the_command_makes_what_is_recorded():
    """The plan of a task is that of its record in docs/data, so that one command makes it again."""
    data = Path(__file__).parents[2] / "docs" / "data"
    found = sorted(data.glob("experiment-*.json"))
    assert found
    for path in found:
        plan = json.loads(path.read_text())["plan"]
        # A record that is older than a knob was made with the knob's default.
        plan["knobs"] = asdict(Knobs()) | plan["knobs"]
        plan = {"seed_patterns": True} | plan
        own = experiment_plan.plan_for(
            plan["task"], "full", {"seed_patterns": plan["seed_patterns"]}
        )
        assert json.loads(json.dumps(asdict(own))) == plan, path.name
