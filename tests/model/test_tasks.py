"""Data sets and their three parts."""

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tasks import load_task
from genogate.model.training import shifted


def test_digits_row_is_the_whole_data_set_in_three_stratified_parts():
    task = load_task("digits-row", 0)
    assert (task.steps, task.features, task.classes) == (8, 8, 10)
    parts = [(task.x_train, task.y_train), (task.x_val, task.y_val), (task.x_test, task.y_test)]
    assert sum(len(x) for x, _ in parts) == 1797
    assert len(task.x_test) / 1797 == pytest.approx(0.30, abs=0.002)
    assert len(task.x_val) / 1797 == pytest.approx(0.70 * 0.15, abs=0.002)
    whole = np.bincount(np.concatenate([y for _, y in parts])) / 1797
    for x, y in parts:
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.min() >= 0
        assert x.max() <= 1
        np.testing.assert_allclose(np.bincount(y) / len(y), whole, atol=0.01)


def test_no_image_is_in_two_parts():
    task = load_task("digits-row", 3)
    rows = np.concatenate([task.x_train, task.x_val, task.x_test])
    # The data set itself has no duplicates, so every image must be there once.
    assert len(np.unique(rows, axis=0)) == 1797


def test_a_row_of_pixels_is_a_step():
    from sklearn.datasets import load_digits

    images = load_digits().images / 16
    image = load_task("digits-row", 0).x_test[0]
    assert any(np.array_equal(image, other.astype(np.float32)) for other in images)


def test_the_same_seed_draws_the_same_parts_and_another_seed_others():
    first, again, other = (
        load_task("digits-row", 0),
        load_task("digits-row", 0),
        load_task("digits-row", 1),
    )
    assert first.split_hash == again.split_hash != other.split_hash


def test_the_split_of_the_shipped_checkpoints_never_moves():
    hashes = [load_task("digits-row", seed).split_hash for seed in range(3)]
    assert hashes == ["64cf3559ac0ece75", "7204883df0105e55", "d5b1731f15cc1428"]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "0"])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(InputError, match=r"^seed: "):
        load_task("digits-row", seed)


def test_an_unknown_task_is_refused_and_the_known_ones_are_named():
    with pytest.raises(InputError, match=r"^task 'mnist-rows': unknown, .*digits-row"):
        load_task("mnist-rows", 0)


def test_shifted_moves_whole_images_by_at_most_what_was_asked():
    x = load_task("digits-row", 0).x_train[:200]
    moved = shifted(x, (1, 1), np.random.default_rng(2026))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    seen = set()
    for image, source in zip(moved, padded, strict=True):
        fits = [(a, b) for a in range(3) for b in range(3)
                if np.array_equal(image, source[a : a + 8, b : b + 8])]  # fmt: skip
        assert fits
        seen.add(fits[0])
    assert len(seen) == 9
    np.testing.assert_array_equal(shifted(x, (0, 0), np.random.default_rng(0)), x)
