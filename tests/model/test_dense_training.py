"""Training of networks with dense layers: float, quantisation-aware, and its record."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.sim import fast, golden

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.checkpoints.recipe import Recipe  # noqa: E402
from genogate.model.checkpoints.training import train  # noqa: E402
from genogate.model.qat.any_precision import AnyTuning, random_genome, tune_any  # noqa: E402
from genogate.model.qat.recipe import Tuning  # noqa: E402
from genogate.model.qat.tune import tune  # noqa: E402

RECIPE = Recipe(hidden=20, epochs=40, lr=1e-2, batch=64, front="relu:16", back="tanh:12,relu")


@pytest.fixture(scope="module")
def task():
    return load_task("digits-row", 0)


@pytest.fixture(scope="module")
def network(task):
    return train(task, RECIPE)


def test_training_makes_the_layers_that_are_asked_for_and_learns(task, network):
    assert network.functions == {"front0": "relu", "back0": "tanh", "back1": "relu"}
    shapes = {name: network.tensors[f"{name}.weight"].shape for name in network.functions}
    assert shapes == {"front0": (16, 8), "back0": (12, 20), "back1": (20, 12)}
    assert network.info["accuracy"]["val"] > 0.85
    assert "--front relu:16 --back tanh:12,relu" in network.info["command"]


def test_a_training_in_two_pieces_gives_the_same(task, tmp_path):
    recipe, state = replace(RECIPE, epochs=2), tmp_path / "state"

    def stop(done, total, loss):
        raise KeyboardInterrupt

    whole = train(task, recipe)
    with pytest.raises(KeyboardInterrupt):
        train(task, recipe, stop, state=state, every=0)
    assert train(task, recipe, state=state).hash == whole.hash


def test_training_can_start_from_a_network_of_the_same_layers(task, network, tmp_path):
    path = tmp_path / "start.safetensors"
    network.save(path)
    more = train(task, replace(RECIPE, epochs=1, start=str(path)))
    assert more.info["accuracy"]["val"] > 0.8
    with pytest.raises(InputError, match=r"start: .* has front0\.bias"):
        train(task, replace(RECIPE, front="", epochs=1, start=str(path)))


@pytest.mark.parametrize(
    "text", ["gelu:3", "relu:x", "relu:0", "relu:-2", "relu:9999", 9 * "relu,"]
)
def test_dense_layers_that_cannot_be_are_refused(text):
    with pytest.raises(InputError, match=r"^front"):
        Recipe(front=text)


def validation(task, model):
    return fast.accuracy(model, task.x_val, task.y_val)


@pytest.mark.parametrize("scales", ["fixed", "learned"])
def test_training_quantised_gets_narrow_dense_layers_back(task, network, scales):
    genome = Genome(Genome.uniform(8).layers, ((3, 2), (2, 3), (2, 2)))
    before = quantize(network, genome, Knobs(), task.x_calibration)
    tuned = tune(task, network, genome, recipe=Tuning(epochs=7, scales=scales))
    assert [layer.genes for layer in tuned.model.dense_layers.values()] == list(genome.dense)
    after = validation(task, tuned.model)
    assert after > validation(task, before) + 0.05
    # What torch computed in training is what the integers compute.
    assert after == pytest.approx(tuned.validation, abs=1e-9)
    assert tuned.checkpoint.functions == network.functions


@pytest.mark.parametrize("activation", ["table", "pwl"])
def test_the_record_of_a_training_gives_the_trained_network_again(
    task, network, activation, tmp_path
):
    states = {**network.tensors, "initial_state_l0": np.linspace(-0.5, 0.5, 20, dtype=np.float32)}
    start = Checkpoint(states, network.info)
    genome = Genome(Genome.uniform(5).layers, ((4, 5), (3, 6), (5, 4)))
    knobs = Knobs(activation=activation, granularity="channel")
    tuned = tune(task, start, genome, knobs, Tuning(epochs=2))
    assert validation(task, tuned.model) == pytest.approx(tuned.validation, abs=1e-9)
    tuned.checkpoint.save(tmp_path / "tuned.safetensors")
    again = Checkpoint.load(tmp_path / "tuned.safetensors")
    model = quantize(again, genome, knobs, task.x_calibration)
    assert model.hash == tuned.model.hash
    codes = model.quantize_input(task.x_val[:20])
    np.testing.assert_array_equal(
        golden.run(model, codes).logits, golden.run(tuned.model, codes).logits
    )
    # Another genome calibrates the trained weights.
    other = quantize(again, Genome.uniform(8, 1, 3), knobs, task.x_calibration)
    assert other.hash != model.hash
    assert len(calibrate(again, task.x_calibration).dense_layers) == 3


def test_training_for_all_genomes_trains_dense_layers_and_given_states(task, network):
    state = np.linspace(-0.4, 0.4, 20, dtype=np.float32)
    start = Checkpoint({**network.tensors, "initial_state_l0": state}, network.info)
    knobs = Knobs(activation="table")
    fixed = AnyTuning(epochs=1, pool=2, initial_state="fixed")
    kept = tune_any(task, start, knobs, fixed).tensors["initial_state_l0"]
    np.testing.assert_array_equal(kept, state)
    tuned = tune_any(task, start, knobs, AnyTuning(epochs=3, pool=6, seed=1))
    assert tuned.functions == network.functions
    assert np.abs(tuned.tensors["initial_state_l0"] - state).max() > 0.01
    assert not np.array_equal(tuned.tensors["back1.weight"], network.tensors["back1.weight"])
    scores = []
    for source in (start, tuned):
        calibration = calibrate(source, task.x_calibration)
        models = [quantize(calibration, Genome.uniform(b, 1, 3), knobs) for b in (3, 4, 5)]
        scores.append(np.mean([validation(task, model) for model in models]))
    assert scores[1] > scores[0] + 0.02, scores
    # What was drawn has genes of dense layers that differ.
    drawn = [random_genome(np.random.default_rng(seed), 1, 3) for seed in range(20)]
    assert any(len({bits for pair in genome.dense for bits in pair}) > 1 for genome in drawn)
