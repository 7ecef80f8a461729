"""Tasks of a registry: read out of its package, cut in thirds, ready as anyone's own data."""

import zipfile

import numpy as np
import pytest
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError

from studies import registry


def lines(count, shift):
    """Sequences of 3 steps and 2 features; a class `a` or `b` at each end."""
    rows = [f"{k + shift},1,2:0,{k},0:{'ab'[k % 2]}" for k in range(count)]
    return "\n".join(["@problemName x", "@data", *rows])


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "cache_folder", lambda: tmp_path / "cache")
    path = tmp_path / "aeon.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for part, count in (("TRAIN", 10), ("TEST", 14)):
            name = f"aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts"
            archive.writestr(name, lines(count, 0.5))
    return str(path)


def test_a_sequence_is_steps_by_features_and_its_class_a_name():
    x, classes = registry.parse_ts(lines(2, 0.5))
    assert x.shape == (2, 3, 2)
    assert classes == ["a", "b"]
    assert x[1].tolist() == [[1.5, 0.0], [1.0, 1.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("@problemName x", "without a line @data"),
        ("@data\n1,x:a", "sequence 1 holds something else"),
        ("@data\n1,2:a\n1,2,3:a", "different length"),
    ],
)
def test_a_file_of_another_form_is_refused(text, what):
    with pytest.raises(InputError, match=what):
        registry.parse_ts(text)


def test_a_task_of_the_registry_is_loaded_as_own_data(wheel):
    path = registry.convert("ItalyPowerDemand", wheel)
    task = load_task(str(path))
    assert [len(y) for y in (task.y_train, task.y_val, task.y_test)] == [8, 8, 8]
    assert task.classes == 2
    assert np.bincount(task.y_val).tolist() == [4, 4]
    every = np.concatenate([task.x_train, task.x_val, task.x_test])
    assert len(np.unique(every[:, 1, 1])) == 14
    assert registry.path_of("ItalyPowerDemand") == str(path)
    assert registry.path_of("digits-row") == "digits-row"


def test_a_package_without_the_file_is_named(wheel):
    with pytest.raises(InputError, match="holds no aeon/datasets/data/JapaneseVowels"):
        registry.convert("JapaneseVowels", wheel)
