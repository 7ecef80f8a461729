"""What is said about features that suit neither a GRU nor INT8 codes."""

import numpy as np
import pytest
from genogate.model.data.features import feature_warnings
from genogate.model.data.tasks import load_task


def features(count=3):
    return np.random.default_rng(0).normal(0, 1, (50, 8, count)).astype(np.float32)


def test_ordinary_features_are_not_remarked_on():
    x = features()
    pixels = np.abs(x) / np.abs(x).max()
    dead = x * [1, 0, 1]
    constant = x * [1, 0, 1] + [0, 1, 0]
    for usual in (x, 3 * x + 1, pixels, pixels[:, :, :1], dead, constant, 0 * x):
        assert feature_warnings(usual) == []


@pytest.mark.parametrize("name", ["digits-row"])
def test_no_shipped_task_is_remarked_on(name):
    assert feature_warnings(load_task(name, 0).x_calibration) == []


@pytest.mark.parametrize(("factor", "text"), [(1e4, "/= 8192"), (1e-4, "*= 8192")])
def test_a_feature_of_another_size_is_named_with_its_remedy(factor, text):
    x = features() * np.array([1, factor, 1])
    lines = [line for line in feature_warnings(x) if "size" in line]
    assert len(lines) == 1
    assert "column 1 reaches" in lines[0]
    assert f"x[..., 1] {text}" in lines[0]


def test_the_remedy_brings_the_feature_to_the_size_of_the_others():
    x = features() * np.array([1, 1e4, 1])
    line = feature_warnings(x)[0]
    power = int(line.split("x[..., 1] /= ")[1].split(",")[0])
    x[..., 1] /= power
    assert feature_warnings(x) == []


def test_two_features_of_different_size_name_the_larger():
    assert "column 0 reaches" in feature_warnings(features(2) * np.array([1e3, 1]))[0]


def test_features_that_are_not_centred_are_named_with_the_expression_that_centres_them():
    lines = feature_warnings(features() * 100 + 300)
    assert len(lines) == 1
    assert "mean 30" in lines[0]
    assert "x_train.mean((0, 1))" in lines[0]


def test_a_constant_of_a_million_is_named():
    x = features()
    x[..., 2] = 1e6
    assert "column 2 reaches 1,000,000" in feature_warnings(x)[0]


def test_many_odd_columns_make_one_line():
    x = features(40) * np.where(np.arange(40) % 2, 1e5, 1)
    lines = feature_warnings(x)
    assert all("\n" not in line and len(line) < 500 for line in lines)
