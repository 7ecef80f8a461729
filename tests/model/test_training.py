"""Training: the same bytes from the same seed, in one go or in pieces, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.model.checkpoints import training
from genogate.model.checkpoints.augmentation import augmented, stretched
from genogate.model.checkpoints.recipe import Recipe, recipe_for
from genogate.model.checkpoints.training import train
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError

torch = pytest.importorskip("torch")


def trained_bytes(folder, name, **recipe):
    checkpoint = train(load_task("digits-row", 0), Recipe(epochs=1, **recipe))
    checkpoint.save(folder / name)
    return (folder / name).read_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first = trained_bytes(tmp_path, "a", seed=5, hidden=6)
    torch.rand(7)  # what ran before must not matter
    assert first == trained_bytes(tmp_path, "b", seed=5, hidden=6)
    assert first != trained_bytes(tmp_path, "c", seed=6, hidden=6)


def test_a_few_epochs_learn_and_progress_is_told():
    calls = []
    task = load_task("digits-row", 0)
    checkpoint = train(
        task, Recipe(epochs=20, hidden=16, layers=2), lambda *call: calls.append(call)
    )
    assert [call[:2] for call in calls] == [(k, 20) for k in range(1, 21)]
    assert calls[-1][2] < calls[0][2] / 2
    assert checkpoint.info["accuracy"]["val"] > 0.75
    assert "test" not in checkpoint.info["accuracy"]
    assert (checkpoint.layers, checkpoint.hidden_size(), checkpoint.classes) == (2, 16, 10)
    assert checkpoint.info["split_hash"] == task.split_hash


@pytest.mark.parametrize(
    "bad",
    [
        {"hidden": 0},
        {"hidden": 5000},
        {"layers": 0},
        {"epochs": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr": -1.0},
        {"lr": float("nan")},
        {"weight_decay": -0.1},
        {"label_smoothing": 1.0},
        {"patience": -1},
    ],
)
def test_an_impossible_recipe_is_refused(bad):
    with pytest.raises(InputError, match=f"^{next(iter(bad))}: "):
        Recipe(**bad)


def small(parts=("train", "val", "test"), count=90):
    task = load_task("digits-row", 0)
    cut = {
        f"{axis}_{part}": getattr(task, f"{axis}_{part}")[:count] for part in parts for axis in "xy"
    }
    return replace(task, **cut)


@pytest.mark.parametrize("patience", [0, 9])
def test_a_training_that_is_killed_anywhere_goes_on_to_the_same_bytes(
    tmp_path, monkeypatch, patience
):
    task = replace(small(), stretch=0.1, noise=0.1, offset=0.1)
    recipe = Recipe(hidden=6, epochs=7, batch=16, patience=patience, label_smoothing=0.1)
    expected = train(task, recipe)
    state = tmp_path / "state"
    # An epoch has six batches: killed in the midst of the third, and at the end of the fifth.
    for batches in (15, 15):
        left = iter(range(batches))

        def augmented_or_killed(*args, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return augmented(*args)

        monkeypatch.setattr(training, "augmented", augmented_or_killed)
        with pytest.raises(KeyboardInterrupt):
            train(task, recipe, None, state, every=0)
    monkeypatch.undo()
    calls = []
    resumed = train(task, recipe, lambda *call: calls.append(call[0]), state)
    assert calls == [5, 6, 7]
    assert resumed.hash == expected.hash
    assert resumed.info == expected.info
    # Of another recipe, it is not taken.
    other = train(task, replace(recipe, seed=3), None, state)
    assert other.hash == train(task, replace(recipe, seed=3)).hash


def test_a_damaged_state_is_refused(tmp_path):
    state = tmp_path / "state"
    recipe = Recipe(hidden=4, epochs=2)
    train(small(), recipe, None, state, every=0)
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"state: not a state that .* delete it"):
        train(small(), recipe, None, state)


def test_patience_keeps_the_best_epoch_and_stops():
    recipe = Recipe(hidden=8, epochs=200, batch=16, lr=0.02, patience=3)
    epochs = []
    checkpoint = train(small(), recipe, lambda done, total, loss: epochs.append(done))
    assert len(epochs) == checkpoint.info["epochs_done"] < 200
    assert checkpoint.info["best_epoch"] == len(epochs) - 3
    assert checkpoint.info["command"].endswith("--patience 3")
    # The epochs before the best one are the same training; none of them was better.
    shorter = train(small(), replace(recipe, patience=2))
    assert shorter.info["accuracy"]["val"] <= checkpoint.info["accuracy"]["val"]


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_loss_that_is_no_number_says_so():
    task = small()
    spoilt = replace(task, x_train=np.full_like(task.x_train, 3e38), max_shift=(0, 0), noise=3e38)
    with pytest.raises(InputError, match=r"^training diverged in epoch 1 .*give a smaller --lr"):
        train(spoilt, Recipe(hidden=4, epochs=2))


def test_changed_sequences_are_like_the_ones_they_come_from():
    task = replace(small(), stretch=0.2, noise=0.01, offset=0.01)
    index, draw = np.arange(60), np.random.default_rng(2026)
    changed = augmented(task, index, draw)
    assert changed.shape == task.x_train[:60].shape
    assert changed.dtype == np.float32
    assert not np.array_equal(changed, task.x_train[:60])
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None], (50, 20, 1))
    speeds = stretched(ramp, 0.25, draw)[:, 10, 0] / 10
    assert 0.8 <= speeds.min() < 0.9
    assert 1.1 < speeds.max() <= 1.25


def test_a_task_has_a_recipe_of_its_own_that_options_change():
    assert recipe_for("digits-row", {"hidden": None}) == Recipe()
    assert recipe_for("mnist-row", {"hidden": None, "lr": 0.001}) == Recipe(
        hidden=64, epochs=15, batch=128, lr=0.001
    )
    assert "--label-smoothing 0.1" in recipe_for("kws10", {}).command("kws10")


def test_a_training_may_start_from_another_network_made_slower(tmp_path):
    start = train(small(), Recipe(epochs=2, hidden=6, seed=3))
    start.save(tmp_path / "start.safetensors")
    # So small a rate leaves the weights as they were.
    file = str(tmp_path / "start.safetensors")
    still = Recipe(epochs=1, hidden=6, lr=1e-9, weight_decay=0, start=file)
    for slower in (1.0, 4.0):
        recipe = replace(still, slower=slower)
        after = train(small(), recipe)
        assert after.info["started_from"] == {"checkpoint": recipe.start, "hash": start.hash}
        assert f"--start {recipe.start}" in after.info["command"]
        for name, value in start.tensors.items():
            value = value.copy()
            if name == "bias_ih_l0":
                value[6:12] += np.log(slower)  # of z, between those of r and n
            np.testing.assert_allclose(after.tensors[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"start": "nowhere"}, "no such file"),
        ({"start": "kws4"}, "the sizes, layers and classes"),
        ({"slower": 2.0}, "give --start too"),
        ({"start": "digits-row", "slower": 0.5}, "1 to 1000"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(given, fault):
    with pytest.raises(InputError, match=fault):
        train(small(), Recipe(epochs=1, **given))
