"""Targets other than a class a sequence, and sequences of different length."""

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint, accuracy, forward
from genogate.model.checkpoints.recipe import Recipe
from genogate.model.checkpoints.training import train
from genogate.model.data.measures import Score, lengths_of
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.knobs import Knobs
from genogate.model.qat.any_precision import AnyTuning, tune_any
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.tune import tune
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.network import warn_of_features
from genogate.sim import fast, golden

N, T = 160, 12
FORMS = ("tags", "mask", "wave", "values", "ends", "tags-ends")


def arrays(form):
    """A running sum, as a target of every form."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (N, T, 3)).astype(np.float32)
    total = np.cumsum(x[..., 0], 1) / 3
    lengths = rng.integers(4, T + 1, N)
    wave = np.stack([np.tanh(total), np.tanh(x[..., 1])], -1).astype(np.float32)
    last = np.array([row[end - 1] > 0 for row, end in zip(total, lengths, strict=True)], int)
    y = {
        "tags": (total > 0).astype(int),
        "mask": (wave + 1) / 2,
        "wave": wave,
        "values": wave[:, -1],
        "ends": last,
        "tags-ends": (total > 0).astype(int),
    }[form]
    return {"x": x, "y": y, **({"lengths": lengths} if form.endswith("ends") else {})}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Task and float network of each form, made once."""
    folder, made = tmp_path_factory.mktemp("targets"), {}

    def get(form):
        if form not in made:
            path = folder / f"{form}.npz"
            np.savez(path, **arrays(form))
            task = load_task(str(path))
            made[form] = task, train(task, Recipe(hidden=8, epochs=25, batch=16, lr=1e-2))
        return made[form]

    return get


@pytest.mark.parametrize("form", FORMS)
def test_a_network_learns_and_int8_keeps_what_it_learned(form, trained):
    task, checkpoint = trained(form)
    heads = {
        "tags": Head("every"),
        "mask": Head("every", "codes", "sigmoid"),
        "wave": Head("every", "codes"),
        "values": Head("last", "codes"),
        "ends": Head(),
        "tags-ends": Head("every"),
    }
    assert checkpoint.head == heads[form]
    score = accuracy(checkpoint, task.x_test, task.y_test)
    assert score > (0.3 if task.real else 0.7)
    model = quantize(checkpoint, Genome.uniform(8), Knobs(), task.x_calibration)
    assert model.head == checkpoint.head
    assert golden.accuracy(model, task.x_test, task.y_test) == pytest.approx(score, abs=0.08)
    assert fast.accuracy(model, task.x_test, task.y_test) == golden.accuracy(
        model, task.x_test, task.y_test
    )


@pytest.mark.parametrize("form", ["tags-ends", "mask"])
def test_training_for_a_genome_gives_the_same_integers_again(form, trained):
    task, checkpoint = trained(form)
    genome = Genome.uniform(3)
    before = quantize(checkpoint, genome, Knobs(), task.x_calibration)
    tuned = tune(task, checkpoint, genome, recipe=Tuning(epochs=3))
    again = quantize(tuned.checkpoint, genome, Knobs(), task.x_calibration)
    assert again.hash == tuned.model.hash
    assert golden.accuracy(again, task.x_val, task.y_val) == pytest.approx(
        tuned.validation, abs=0.02
    )
    assert golden.accuracy(again, task.x_train, task.y_train) > golden.accuracy(
        before, task.x_train, task.y_train
    )


@pytest.mark.parametrize("form", ["mask", "values"])
def test_scales_of_real_answers_are_learned_too(form, trained):
    """The classifier's scale follows the state's, so that sums keep theirs."""
    task, checkpoint = trained(form)
    genome = Genome.uniform(3)
    before = quantize(checkpoint, genome, Knobs(), task.x_calibration)
    tuned = tune(task, checkpoint, genome, recipe=Tuning(epochs=6, scales="learned"))
    state = [model.info["scales"][0]["s_h"]["scale"] for model in (before, tuned.model)]
    assert state[0] != state[1], "the test needs a scale that moved"
    assert tuned.model.stage.requantize.multiplier == before.stage.requantize.multiplier
    assert tuned.model.stage.requantize.shift == before.stage.requantize.shift
    again = quantize(tuned.checkpoint, genome, Knobs(), task.x_calibration)
    assert again.hash == tuned.model.hash
    assert golden.accuracy(again, task.x_val, task.y_val) == pytest.approx(
        tuned.validation, abs=0.02
    )
    parts = task.x_train, task.y_train
    assert fast.accuracy(tuned.model, *parts) > fast.accuracy(before, *parts)


@pytest.mark.parametrize(("form", "sandwich"), [("tags-ends", True), ("mask", False)])
def test_training_for_all_genomes_serves_tasks_of_every_form(form, sandwich, trained):
    task, checkpoint = trained(form)
    recipe = AnyTuning(epochs=4, pool=5, seed=2, sandwich=sandwich)
    tuned = tune_any(task, checkpoint, recipe=recipe)
    assert tuned.head == checkpoint.head
    scores = []
    for source in (checkpoint, tuned):
        models = [quantize(source, Genome.uniform(b), Knobs(), task.x_calibration) for b in (3, 4)]
        scores.append(np.mean([fast.accuracy(m, task.x_train, task.y_train) for m in models]))
    assert scores[1] > scores[0], scores


@pytest.mark.parametrize("form", ["ends", "tags-ends", "mask"])
def test_dense_layers_around_learn_every_form_and_train_quantised(form, tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays(form))
    task = load_task(str(path))
    around = Recipe(hidden=8, epochs=25, batch=16, lr=1e-2, front="tanh:6", back="relu:10")
    checkpoint = train(task, around)
    score = accuracy(checkpoint, task.x_test, task.y_test)
    assert score > (0.3 if task.real else 0.7)
    genome = Genome(Genome.uniform(8).layers, ((2, 2), (2, 2)))
    before = quantize(checkpoint, genome, Knobs(), task.x_calibration)
    tuned = tune(task, checkpoint, genome, recipe=Tuning(epochs=10))
    # The epoch that is kept is the best one there; of so few sequences others may lose a little.
    part = task.x_val, task.y_val
    assert fast.accuracy(tuned.model, *part) >= fast.accuracy(before, *part)
    assert fast.accuracy(tuned.model, *part) == pytest.approx(tuned.validation, abs=0.02)
    again = quantize(tuned.checkpoint, genome, Knobs(), task.x_calibration)
    assert again.hash == tuned.model.hash


def test_what_follows_the_end_of_a_sequence_changes_nothing(tmp_path, trained):
    task, checkpoint = trained("ends")
    lengths = lengths_of(task.x_test)
    assert lengths.min() < T
    filled = np.where(np.isnan(task.x_test), np.float32(9.0), task.x_test)
    model = quantize(checkpoint, Genome.uniform(8), Knobs(), task.x_calibration)
    result = golden.run(model, model.quantize_input(filled), lengths=lengths)
    for k in range(0, len(filled), 9):
        alone = filled[k : k + 1, : lengths[k]]
        assert result.classes[k] == golden.run(model, model.quantize_input(alone)).classes[0]
        assert (
            forward(checkpoint, task.x_test[k : k + 1]).classes
            == forward(checkpoint, alone).classes
        )
    # Calibration neither: its statistics are those of the steps that count.
    padded = np.pad(task.x_calibration, ((0, 0), (0, 5), (0, 0)), constant_values=np.nan)
    one, two = (calibrate(checkpoint, x) for x in (task.x_calibration, padded))
    assert quantize(one, Genome.uniform(4)).hash == quantize(two, Genome.uniform(4)).hash


def test_nan_says_the_same_as_lengths(tmp_path):
    given = arrays("tags-ends")
    by_nan = {**given, "x": given["x"].copy()}
    over = np.arange(T) >= by_nan.pop("lengths")[:, None]
    by_nan["x"][over] = np.nan
    np.savez(tmp_path / "a.npz", **given)
    np.savez(tmp_path / "b.npz", **by_nan)
    one, two = load_task(str(tmp_path / "a.npz")), load_task(str(tmp_path / "b.npz"))
    assert one.split_hash == two.split_hash
    assert (one.y_train == -1).sum() == np.isnan(one.x_train[..., 0]).sum() > 0


def test_measures_are_what_they_say():
    score = Score()
    score.add(np.array([[1, 0, 2], [1, 1, 1]]), np.array([[1, 1, -1], [1, 1, -1]]))
    assert score.value == 3 / 4
    real, y = Score(), np.array([[[1.0], [3.0]], [[np.nan], [5.0]]])
    real.add(np.array([[[1.0], [3.0]], [[70.0], [4.0]]]), y)
    assert real.value == pytest.approx(1 - 1 / 8)
    assert real.mean_error == pytest.approx(np.sqrt(1 / 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros((N, T + 1), int)}, r"y has shape \(160, 13\), a class for each"),
        ({"y": np.zeros((N, T + 1, 2))}, r"y has shape \(160, 13, 2\); real values are"),
        ({"y": np.full((N, T), -1)}, "y holds no target that counts"),
        ({"y": np.full((N, T), -2)}, "must hold integers from 0"),
        ({"y": np.zeros(N)}, r"real values need a last axis"),
        ({"y": np.full((N, 2), np.inf)}, "y holds a value that is not finite"),
        ({"lengths": np.zeros(N, int)}, "lengths go from 0 to 0, 1 to 12 steps are possible"),
        ({"lengths": np.ones(3, int)}, "lengths must be 160 integers"),
        ({"x": np.full((N, T, 3), np.nan)}, "x holds a value that is not finite"),
        (
            {"x": np.where(np.arange(T)[:, None] == 4, np.nan, np.zeros((N, T, 3)))},
            r"\(nan in sequence 0, step 4, feature 0, .*: NaN fills all features of the steps af",
        ),
        (
            {"x": np.where(np.arange(3) == 1, np.inf, np.zeros((N, T, 3)))},
            r"\(inf in sequence 0, step 0, feature 1, counted from 0\)$",
        ),
    ],
)
def test_targets_that_do_not_fit_are_refused(change, message, tmp_path):
    np.savez(tmp_path / "d.npz", **{**arrays("tags"), **change})
    with pytest.raises(InputError, match=message):
        load_task(str(tmp_path / "d.npz"))


def test_as_many_real_values_as_steps_are_told_to_be_those_of_the_end(tmp_path, capsys):
    for outputs, told in ((T, True), (T - 1, False)):
        values = np.random.default_rng(1).normal(size=(N, outputs))
        np.savez(tmp_path / "d.npz", **{**arrays("tags"), "y": values})
        warn_of_features(load_task(str(tmp_path / "d.npz")))
        assert ("give y[..., None]" in capsys.readouterr().err) == told


def test_a_head_that_does_not_fit_its_task_is_refused(trained):
    tags, values = trained("tags"), trained("values")
    with pytest.raises(InputError, match="asks for one of 2 classes at every step, the network"):
        tags[0].check_head(values[1].head)
    with pytest.raises(InputError, match="activation: sigmoid answers from 0 to 1, targets go"):
        train(values[0], Recipe(activation="sigmoid"))
    with pytest.raises(InputError, match="activation: tanh is for real targets"):
        train(tags[0], Recipe(activation="tanh"))
    with pytest.raises(InputError, match="an experiment is for one class a sequence"):
        tags[0].only_plain("an experiment")


def test_the_head_is_part_of_a_checkpoints_hash(trained):
    checkpoint = trained("tags")[1]
    plain = Checkpoint(checkpoint.tensors)
    assert plain.hash != checkpoint.hash
