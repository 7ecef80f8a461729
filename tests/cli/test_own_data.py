"""Recipes for one's own data, by how much of it there is."""

from pathlib import Path

import numpy as np
import pytest
from genogate.model.checkpoints.recipe import Recipe, recipe_for
from genogate.model.data.tasks import changing, load_task
from genogate.model.errors import InputError


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 200)
    x = rng.normal(0, 5, (200, 20, 4)) + y[:, None, None]
    np.savez("my.npz", x=x, y=y)
    return "my.npz"


@pytest.mark.parametrize(
    ("sequences", "batch", "epochs"),
    [(200, 32, 120), (1069, 32, 118), (12_000, 128, 43), (10**6, 128, 3)],
)
def test_batch_and_epochs_follow_from_the_number_of_updates(sequences, batch, epochs):
    recipe = recipe_for("my.npz", {}, sequences)
    assert (recipe.batch, recipe.epochs) == (batch, epochs)
    updates = epochs * -(-sequences // batch)
    assert updates <= 4100 or epochs == 3


def test_what_is_given_counts_and_named_tasks_keep_their_recipes():
    recipe = recipe_for("my.npz", {"batch": 16, "epochs": 2}, 12_000)
    assert (recipe.batch, recipe.epochs) == (16, 2)
    assert recipe_for("my.npz", {"batch": 32}, 12_000).epochs == 11
    assert recipe_for("digits-row", {}, 12_000) == Recipe()
    with pytest.raises(InputError, match="batch: 0"):
        recipe_for("my.npz", {"batch": 0}, 12_000)


@pytest.mark.parametrize("steps", [(), (20,)])
def test_no_and_yes_are_the_classes_0_and_1(own, steps):
    with np.load(own) as arrays:
        x = arrays["x"]
    yes = np.random.default_rng(4).random((len(x), *steps)) < 0.5
    np.savez("yes.npz", x=x, y=yes)
    np.savez("one.npz", x=x, y=yes.astype(np.int64))
    of_yes, of_one = load_task("yes.npz"), load_task("one.npz")
    assert of_yes.classes == 2
    assert of_yes.split_hash == of_one.split_hash
    np.testing.assert_array_equal(of_yes.y_test, of_one.y_test)


def test_several_answers_of_yes_and_no_are_refused_with_what_to_do(own):
    with np.load(own) as arrays:
        np.savez("several.npz", x=arrays["x"], y=np.ones((len(arrays["x"]), 5), bool))
    with pytest.raises(InputError, match=r"yes and no: y\.astype\(np\.float32\)"):
        load_task("several.npz")


def test_changes_are_relative_to_the_data(own):
    task = load_task(own)
    changed = changing(task, "shift,noise=0.2")
    assert changed.max_shift == (1, 0)
    assert changed.noise == pytest.approx(0.2 * task.x_train.std(), rel=1e-4)
    assert (changed.stretch, changed.offset) == (0, 0)
    assert changed.split_hash == task.split_hash
    assert changing(task, "shift=0.5").max_shift == (10, 0)
    assert changing(task, "") is task
    for text, words in (("blur", "shift, stretch"), ("noise=2", "from 0 to 1"), ("noise=x", "'x'")):
        with pytest.raises(InputError, match=words):
            changing(task, text)
    with pytest.raises(InputError, match="has changes of its own"):
        changing(load_task("digits-row"), "shift")


def test_quantised_training_takes_batch_and_changes_of_the_float_training(own):
    pytest.importorskip("torch")
    pytest.importorskip("numba")
    from genogate.model.checkpoints.training import train
    from genogate.model.genome import Genome
    from genogate.model.qat.recipe import Tuning
    from genogate.model.qat.tune import tune

    task = load_task(own)
    checkpoint = train(task, Recipe(hidden=3, epochs=1, batch=50, augment="noise=0.5"))
    assert "--augment noise=0.5" in checkpoint.info["command"]
    tuned = tune(task, checkpoint, Genome.uniform(4), recipe=Tuning(epochs=1))
    assert tuned.checkpoint.info["batch"] == 50
    assert tuned.checkpoint.info["augment"] == "noise=0.5"
    told = tune(task, checkpoint, Genome.uniform(4), recipe=Tuning(epochs=1, batch=20))
    assert told.checkpoint.info["batch"] == 20


def test_an_experiment_looks_at_other_sizes_and_knows_how_much_it_has_to_do(own):
    from genogate.search.experiment.duration import work_of
    from genogate.search.experiment.plan import plan_for

    plan = plan_for(own, "full", {})
    assert plan.hidden == (24, 16)
    assert plan.checkpoints == ("seed0",)
    assert plan_for(own, "full", {"hidden": ()}).hidden == ()
    work = work_of(plan, 12_000, 128, 43)
    assert work.trainings == 6 + 2 * 2 + 3 * 4
    assert work.for_all == work.floats == 3
    assert work.seconds(0.01, 2) == pytest.approx(work.seconds(0.02, 4))
    assert work.seconds(0.02, 1) > 2 * work.seconds(0.01, 1) - 1e-9


def test_data_that_was_moved_is_found_again(own, genogate, tmp_path):
    """A checkpoint says which file it was trained on; where that is gone, a search asks, and the
    import of the checkpoint tells it, and changes nothing else."""
    from genogate.model.checkpoints.floating import Checkpoint

    task = load_task(own)
    rng, gates = np.random.default_rng(2), 3 * 8
    shapes = {
        "weight_ih_l0": (gates, task.features),
        "weight_hh_l0": (gates, 8),
        "bias_ih_l0": (gates,),
        "bias_hh_l0": (gates,),
        "classifier.weight": (task.classes, 8),
        "classifier.bias": (task.classes,),
    }
    tensors = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    known = {
        "task": own,
        "split_hash": task.split_hash,
        "split_seed": 0,
        "accuracy": {"train": 0.5, "val": 0.5},
        "unseen": {"val": True, "test": True},
    }
    Checkpoint(tensors, known).save("a.safetensors")
    Path(own).rename("elsewhere.npz")
    given = ("--checkpoint", "a.safetensors", "--task", "elsewhere.npz")
    small = ("--pop", 4, "--generations", 1, "--exploit", 0, "--objectives", "accuracy,size")
    told = ("my.npz", "genogate import a.safetensors --task FILE.npz")
    genogate("search", *given, *small).refused(*told)
    genogate("search", *given, "--budget", "1m").refused(*told)
    of_it = ("--checkpoints", "a.safetensors", "--task", "elsewhere.npz")
    genogate("experiment", *of_it).refused(*told)
    new = ("--task", "elsewhere.npz", "--out", "b.safetensors")
    assert genogate("import", "a.safetensors", *new).code == 0
    now = Checkpoint.load("b.safetensors")
    assert now.info == known | {"task": "elsewhere.npz"}
    assert now.hash == Checkpoint.load("a.safetensors").hash
