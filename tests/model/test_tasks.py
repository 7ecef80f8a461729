"""Data sets and their three parts."""

import numpy as np
import pytest
from genogate.model.checkpoints.augmentation import shifted
from genogate.model.data.own import target_warnings
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError


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
        fits = [
            (a, b)
            for a in range(3)
            for b in range(3)
            if np.array_equal(image, source[a : a + 8, b : b + 8])
        ]
        assert fits
        seen.add(fits[0])
    assert len(seen) == 9
    np.testing.assert_array_equal(shifted(x, (0, 0), np.random.default_rng(0)), x)


# --- one's own data


def arrays(seed=2026, count=60, shape=(5, 3), classes=3):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((count, *shape)), np.arange(count) % classes


def test_ones_own_sequences_are_cut_as_digits_are(tmp_path):
    x, y = arrays()
    np.savez(tmp_path / "my data.npz", x=x, y=y)
    task = load_task(str(tmp_path / "my data.npz"), 5)
    assert (task.steps, task.features, task.classes, task.label) == (5, 3, 3, "my-data")
    assert [len(part) for part in (task.y_train, task.y_val, task.y_test)] == [36, 6, 18]
    assert np.bincount(task.y_test).tolist() == [6] * 3
    every = np.concatenate([task.x_train, task.x_val, task.x_test])
    assert every.dtype == np.float32
    assert {row.tobytes() for row in every} == {row.tobytes() for row in x.astype(np.float32)}
    assert load_task(str(tmp_path / "my data.npz"), 6).split_hash != task.split_hash


def test_parts_of_ones_own_stay_as_they_are(tmp_path):
    parts = {
        f"{axis}_{name}": array
        for seed, name in enumerate(("train", "val", "test"))
        for axis, array in zip("xy", arrays(seed), strict=True)
    }
    path = tmp_path / "my.npz"
    np.savez(path, **parts)
    task = load_task(str(path))
    for name, array in parts.items():
        np.testing.assert_array_equal(getattr(task, name), array.astype(getattr(task, name).dtype))
    del parts["x_val"], parts["y_val"]
    np.savez(path, **parts)
    task = load_task(str(path))
    assert (len(task.x_train), len(task.x_val), len(task.x_test)) == (51, 9, 60)
    assert np.bincount(task.y_val).tolist() == [3] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "array 'x' is missing"),
        ({"x": None, "y": None}, "array 'x_train' is missing"),
        ({"x": np.zeros((60, 5))}, r"x has shape \(60, 5\)"),
        ({"x": np.zeros((60, 0, 3))}, "none of them 0"),
        ({"x": np.zeros((60, 5, 5000), np.int8)}, "5000 features, at most"),
        ({"x": np.full((60, 5, 3), np.inf)}, "not finite"),
        ({"x": np.full((60, 5, 3), 1e300)}, "not finite"),
        ({"x": np.zeros((60, 5, 3), complex)}, "holds complex128"),
        ({"x": np.array([{}])}, "not a whole .npz file of arrays"),
        ({"y": np.zeros(59, int)}, r"y has shape \(59,\)"),
        ({"y": np.zeros(60)}, "y must hold integers"),
        ({"y": np.full(60, -1)}, "y must hold integers"),
        ({"y": np.arange(60)}, "class 0 has 1 sequences; 5 or more"),
        ({"y": np.arange(60) % 3 + 1}, r"class 0 has 0 sequences \(classes count from 0\)"),
        ({"y": np.zeros(60, int)}, "y holds class 0 alone"),
        ({"x_val": np.zeros((9, 5, 3))}, "'x_val' beside x and y"),
        ({"lengths_test": np.ones(60, int)}, "'lengths_test' beside x and y"),
        ({"x": np.array([np.zeros((n, 3)) for n in (4, 5)], object)}, "a list of sequences: make"),
    ],
)
def test_data_of_another_form_is_refused_by_name(tmp_path, change, message):
    x, y = arrays()
    given = {
        name: value for name, value in ({"x": x, "y": y} | change).items() if value is not None
    }
    path = tmp_path / "my.npz"
    np.savez(path, **given)
    with pytest.raises(InputError, match=message) as caught:
        load_task(str(path))
    assert str(caught.value).startswith(str(path))


def test_real_targets_that_are_one_hot_are_noticed():
    labels = np.arange(12) % 3
    assert "y.argmax(-1)" in target_warnings(np.eye(3, dtype=np.float32)[labels])[0]
    masks = np.full((4, 5, 2), np.nan, np.float32)
    masks[:, :3] = [0, 1]
    assert len(target_warnings(masks)) == 1
    assert target_warnings(labels) == []
    assert target_warnings(np.float32([[0, 1], [1, 1]])) == []
    assert target_warnings(np.float32([[0.5], [1]])) == []


def test_parts_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "my.npz"
    good = {
        f"{axis}_{name}": array
        for seed, name in enumerate(("train", "val", "test"))
        for axis, array in zip("xy", arrays(seed), strict=True)
    }
    for change, message in [
        ({"x_test": arrays(shape=(5, 4))[0]}, r"x_test has \(5, 4\) steps and features"),
        ({"y_train": np.arange(60) % 2}, "class 2 of 3 is not in y_train"),
    ]:
        np.savez(path, **(good | change))
        with pytest.raises(InputError, match=message):
            load_task(str(path))


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 no", b"\x93NUMPY"])
def test_a_damaged_archive_is_refused(tmp_path, raw):
    path = tmp_path / "my.npz"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"my\.npz: not a whole \.npz file"):
        load_task(str(path))
    np.savez_compressed(path, x=arrays()[0], y=arrays()[1])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"my\.npz: not a whole \.npz file"):
        load_task(str(path))


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_it_is(tmp_path, monkeypatch):
    from genogate.model.data import tasks

    monkeypatch.setattr(tasks, "OWN_MAX_BYTES", 10_000)
    path = tmp_path / "my.npz"
    np.savez_compressed(path, x=np.zeros((100, 50, 3)), y=np.zeros(100, int))
    with pytest.raises(InputError, match="larger than 10000 bytes when unpacked"):
        load_task(str(path))


def test_calibration_sees_training_sequences_from_all_over_it(tmp_path):
    digits = load_task("digits-row")
    assert digits.x_calibration is digits.x_train
    x, y = arrays(count=1000, shape=(200, 1))
    x[:, 0, 0] = np.arange(1000)
    np.savez(tmp_path / "my.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    chosen = load_task(str(tmp_path / "my.npz")).x_calibration[:, 0, 0]
    assert len(chosen) == 140
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert np.diff(chosen).max() <= 8


def test_the_digits_are_those_of_scikit_learn():
    from genogate.model.data.tasks import digits
    from sklearn.datasets import load_digits

    images, labels = digits()
    expected = load_digits()
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.target)
