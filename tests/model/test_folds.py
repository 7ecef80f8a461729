"""Folds of a task: every sequence is validated once, and the test part stays what it is."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.model.checkpoints.recipe import recipe_for
from genogate.model.data.folds import cut_fold, fold_name, fold_of
from genogate.model.data.task import Task
from genogate.model.data.tasks import changing, load_task
from genogate.model.errors import InputError


def task_of(speakers=None, counts=(9, 15, 6)):
    """Sequences that tell their number, a third of them in the validation part."""
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1)
    val = np.arange(len(y)) % 3 == 0
    parts = (x[~val], y[~val], x[val], y[val], x[:4] + 100, y[:4])
    return Task("tiny", 3, *parts, len(counts), speakers=speakers)


def numbers(x):
    return x[:, 0, 0].astype(int).tolist()


def test_every_sequence_is_validated_once_by_networks_that_did_not_see_it():
    task = task_of()
    folds = [cut_fold(task, fold, 3) for fold in (1, 2, 3)]
    validated = np.concatenate([numbers(fold.x_val) for fold in folds])
    assert sorted(validated.tolist()) == list(range(30))
    for number, fold in enumerate(folds, 1):
        assert sorted(numbers(fold.x_train) + numbers(fold.x_val)) == list(range(30))
        assert np.array_equal(fold.x_test, task.x_test)
        # A third of every class, and labels that went with their sequences.
        assert np.bincount(fold.y_val).tolist() == [3, 5, 2]
        whole = np.repeat(np.arange(3), (9, 15, 6))
        assert fold.y_val.tolist() == whole[numbers(fold.x_val)].tolist()
        assert fold.name == fold_name("tiny", number, 3)
    assert len({fold.split_hash for fold in folds}) == 3
    assert cut_fold(task, 1, 3).split_hash == folds[0].split_hash


def test_no_speaker_is_in_two_folds():
    speakers = np.arange(30) % 7
    order = numbers(np.concatenate([task_of().x_train, task_of().x_val]))
    for fold in (1, 2, 3):
        cut = cut_fold(task_of(speakers), fold, 3)
        said_by = dict(zip(order, speakers, strict=True))
        heard = {said_by[n] for n in numbers(cut.x_val)}
        assert heard
        assert not heard & {said_by[n] for n in numbers(cut.x_train)}


def test_folds_have_their_share_of_a_rare_class_in_sequences_of_different_length():
    task = task_of(counts=(24, 6))
    x = np.concatenate([task.x_train, np.full_like(task.x_train, np.nan)], 1)
    x_val, x_test = (np.concatenate([part, part], 1) for part in (task.x_val, task.x_test))
    uneven = replace(task, x_train=x, x_val=x_val, x_test=x_test)
    for fold in (1, 2, 3):
        assert np.bincount(cut_fold(uneven, fold, 3).y_val).tolist() == [8, 2]


def test_a_fold_has_a_name_that_loads_it():
    assert fold_of("kws4#2of5") == ("kws4", 2, 5)
    assert fold_of("mine#1of3.npz") is None
    assert fold_of("kws4#6of5") is None
    whole, fold = load_task("digits-row", 1), load_task("digits-row#4of4", 1)
    assert len(fold.x_train) + len(fold.x_val) == len(whole.x_train) + len(whole.x_val)
    assert np.array_equal(fold.y_test, whole.y_test)
    with pytest.raises(InputError, match="unknown"):
        load_task("digits-rows#1of4")


def test_a_fold_is_trained_as_its_task_is(tmp_path):
    assert recipe_for("kws4#1of4", {}) == recipe_for("kws4", {}) != recipe_for("digits-row", {})
    own = str(tmp_path / "mine.npz")
    assert recipe_for(f"{own}#1of4", {}, 5000) == recipe_for(own, {}, 5000)
    x = np.random.default_rng(1).normal(size=(40, 5, 2)).astype(np.float32)
    np.savez(own, x=x, y=np.arange(40) % 2)
    fold = changing(load_task(f"{own}#1of4"), "shift,noise")
    assert fold.max_shift == (1, 0)
    assert fold.noise > 0


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(InputError, match="folds: 7, and a class of tiny has 6"):
        cut_fold(task_of(), 1, 7)
    with pytest.raises(InputError, match=r"folds: 3, .* has 2 speakers .*; give 2 or fewer"):
        cut_fold(task_of(np.arange(30) % 2), 1, 3)
    with pytest.raises(InputError, match=r"a class of tiny has 1 sequences .*; leave it out"):
        cut_fold(task_of(counts=(9, 1)), 1, 2)
    with pytest.raises(InputError, match="share no speaker and no noise"):
        cut_fold(replace(task_of(), targets=lambda part: None), 1, 3)
