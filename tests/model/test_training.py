"""Training: the same bytes from the same seed, and what it refuses."""

import pytest
from genogate.model.errors import InputError
from genogate.model.tasks import load_task
from genogate.model.training import Recipe, train

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
    assert checkpoint.info["accuracy"]["test"] > 0.75
    assert (checkpoint.layers, checkpoint.hidden_size(), checkpoint.classes) == (2, 16, 10)
    assert checkpoint.info["split_hash"] == task.split_hash


@pytest.mark.parametrize(
    "bad",
    [{"hidden": 0}, {"hidden": 5000}, {"layers": 0}, {"epochs": 0}, {"batch": 0}, {"lr": 0.0},
     {"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -0.1}],
)  # fmt: skip
def test_an_impossible_recipe_is_refused(bad):
    with pytest.raises(InputError, match=f"^{next(iter(bad))}: "):
        Recipe(**bad)
