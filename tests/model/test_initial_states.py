"""States that sequences start with, trained: float, quantised, and as codes of the integers."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint, accuracy
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.quantize.quantize import quantize
from genogate.sim import fast, golden

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.checkpoints.recipe import Recipe  # noqa: E402
from genogate.model.checkpoints.training import train  # noqa: E402
from genogate.model.qat.network import Network  # noqa: E402
from genogate.model.qat.recipe import Tuning  # noqa: E402
from genogate.model.qat.starting import starting_model  # noqa: E402
from genogate.model.qat.structure import Structure  # noqa: E402
from genogate.model.qat.tune import tune  # noqa: E402
from genogate.model.quantize.calibrate import calibrate  # noqa: E402

RECIPE = Recipe(hidden=8, layers=2, epochs=6, lr=1e-2, initial_state="learned")
NAMES = ("initial_state_l0", "initial_state_l1")
KNOBS = Knobs(activation="table")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Sequences of different length, two classes at every step, of which the first step's is the
    state's alone: its features are noise."""
    draw = np.random.default_rng(5)
    x = draw.normal(0, 1, (240, 6, 3)).astype(np.float32)
    y = (x[..., 0] > 0).astype(np.int64)
    y[:, 0] = 1
    path = tmp_path_factory.mktemp("own") / "steps.npz"
    np.savez(path, x=x, y=y, lengths=draw.integers(2, 7, len(x)))
    return load_task(str(path), 0)


@pytest.fixture(scope="module")
def network(task):
    return train(task, RECIPE)


def states(network):
    return np.concatenate([network.tensors[name] for name in NAMES])


def test_a_training_learns_the_states_and_says_so(task, network):
    assert np.abs(states(network)).max() > 0.02
    assert "--initial-state learned" in network.info["command"]
    assert not set(NAMES) & set(train(task, replace(RECIPE, epochs=1, initial_state="")).tensors)
    # What was trained is what the checkpoint computes.
    without = {name: v for name, v in network.tensors.items() if name not in NAMES}
    x, y = task.scored("val")
    assert network.info["accuracy"]["val"] == pytest.approx(accuracy(network, x, y), abs=1e-6)
    assert accuracy(Checkpoint(without, network.info), x, y) != accuracy(network, x, y)


def test_a_training_that_stops_goes_on_with_its_states(task, tmp_path):
    recipe, state = replace(RECIPE, epochs=2), tmp_path / "state"

    def stop(done, total, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task, recipe, stop, state=state, every=0)
    assert train(task, recipe, state=state).hash == train(task, recipe).hash


def test_a_training_begins_with_the_states_of_its_start(task, network, tmp_path):
    path = tmp_path / "start.safetensors"
    network.save(path)
    slow = replace(RECIPE, epochs=1, lr=1e-6, weight_decay=0.0, start=str(path))
    np.testing.assert_allclose(states(train(task, slow)), states(network), atol=1e-4)
    with pytest.raises(InputError, match=r"^start: .* has initial_state_l0.*--initial-state lea"):
        train(task, replace(slow, initial_state=""))
    plain = {name: v for name, v in network.tensors.items() if name not in NAMES}
    Checkpoint(plain, network.info).save(path)
    assert np.abs(states(train(task, slow))).max() < 1e-3


@pytest.mark.parametrize("scales", ["fixed", "learned"])
def test_quantised_training_moves_the_states_by_codes(task, network, scales):
    genome = Genome.uniform(4, 2)
    tuned = tune(task, network, genome, KNOBS, Tuning(epochs=3, scales=scales))
    assert np.abs(states(tuned.checkpoint) - states(network)).max() > 0.02
    for layer, record, name in zip(
        tuned.model.layers, tuned.model.info["scales"], NAMES, strict=True
    ):
        real = (layer.initial_state - layer.state_zero_point) * record["s_h"]["scale"]
        np.testing.assert_allclose(real, tuned.checkpoint.tensors[name], rtol=1e-6)
    # Torch, the compiled twin and golden compute the same, and the record makes it again.
    x, y = task.scored("val")
    assert fast.accuracy(tuned.model, x, y) == pytest.approx(tuned.validation, abs=1e-9)
    again = quantize(tuned.checkpoint, genome, KNOBS, task.x_calibration)
    assert again.hash == tuned.model.hash
    codes = again.quantize_input(np.nan_to_num(x[:8]))
    np.testing.assert_array_equal(
        golden.run(again, codes).logits, golden.run(tuned.model, codes).logits
    )


def test_states_are_kept_or_begun_where_that_is_asked_for(task, network):
    genome = Genome.uniform(6, 2)
    before = quantize(network, genome, KNOBS, task.x_calibration)
    kept = tune(task, network, genome, KNOBS, Tuning(epochs=1, initial_state="fixed"))
    for old, new in zip(before.layers, kept.model.layers, strict=True):
        difference = old.initial_state - old.state_zero_point
        np.testing.assert_array_equal(new.initial_state - new.state_zero_point, difference)
    plain = Checkpoint(
        {name: v for name, v in network.tensors.items() if name not in NAMES}, network.info
    )
    assert all(
        layer.initial_state is None
        for layer in tune(task, plain, genome, KNOBS, Tuning(epochs=1)).model.layers
    )
    begun = tune(task, plain, genome, KNOBS, Tuning(epochs=2, initial_state="learned"))
    assert np.abs(states(begun.checkpoint)).max() > 0.02
    with pytest.raises(InputError, match=r"^initial_state: .*zero.* is not learned or fixed$"):
        Tuning(initial_state="zero")
    with pytest.raises(InputError, match=r"^initial_state: "):
        Recipe(initial_state="zero")


def test_the_gradient_of_the_states_is_nearly_that_of_the_float_network(task, network):
    calibration = calibrate(network, task.x_calibration, fold=False)
    model, scale = starting_model(calibration, Genome.uniform(8, 2), KNOBS, narrow=False)
    structure = Structure(torch, model, scale, False, initial=calibration.initial)
    x = np.nan_to_num(task.x_train[:64])
    towards = torch.from_numpy(np.random.default_rng(1).normal(size=(64, 6, 2)))

    def parameters():
        return {
            name: torch.nn.Parameter(torch.from_numpy(value.copy()))
            for name, value in network.tensors.items()
        }

    latents = parameters()
    logits = Network(torch).real_logits(structure, latents, structure.input_codes(x))
    (logits * towards).sum().backward()
    exact, value = parameters(), torch.from_numpy(x)
    for k, name in enumerate(NAMES):
        gru = torch.nn.GRU(value.shape[-1], 8, batch_first=True)
        weights = {f"{part}_l0": exact[f"{part}_l{k}"] for part in ("weight_ih", "weight_hh")}
        weights |= {f"{part}_l0": exact[f"{part}_l{k}"] for part in ("bias_ih", "bias_hh")}
        first = exact[name].expand(1, len(x), 8).contiguous()
        value, _ = torch.func.functional_call(gru, weights, (value, first))
    sums = value @ exact["classifier.weight"].T + exact["classifier.bias"]
    (sums * towards).sum().backward()
    for name in NAMES:
        ours, theirs = latents[name].grad, exact[name].grad
        assert torch.nn.functional.cosine_similarity(ours, theirs, 0) > 0.98
        assert 0.9 < ours.norm() / theirs.norm() < 1.1
