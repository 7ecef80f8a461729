"""Networks of fewer units: what the others can replace is removed, and nothing else is lost."""

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import (
    PRUNED,
    RECORD,
    Checkpoint,
    accuracy,
    forward,
    layer_names,
)
from genogate.model.checkpoints.pruning import pruned
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.quantize.quantize import quantize

SEED = 11


def network(rng, units, features=3, classes=4, **info):
    """Random layers of so many units."""
    tensors, inputs = {}, features
    for k, hidden in enumerate(units):
        shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
        for name, shape in zip(layer_names(k), shapes, strict=True):
            tensors[name] = rng.normal(0, 0.6, shape).astype(np.float32)
        inputs = hidden
    for k, _ in enumerate(info.get("back", ())):
        tensors[f"back{k}.weight"] = rng.normal(0, 1, (5, inputs)).astype(np.float32)
        tensors[f"back{k}.bias"] = rng.normal(0, 1, 5).astype(np.float32)
        inputs = 5
    tensors["classifier.weight"] = rng.normal(0, 1, (classes, inputs)).astype(np.float32)
    tensors["classifier.bias"] = rng.normal(0, 1, classes).astype(np.float32)
    return Checkpoint(tensors, dict(info))


def with_copy(checkpoint, unit, share):
    """`checkpoint` of one layer with one unit more, a copy of `unit`; what both add is the same as
    `unit` did alone."""
    hidden = checkpoint.hidden_size()
    rows = [*range(3 * hidden)]
    order = [r for gate in range(3) for r in (*rows[gate * hidden : (gate + 1) * hidden], None)]
    source = [gate * hidden + unit for gate in range(3)]
    order = [source.pop(0) if r is None else r for r in order]
    tensors = {}
    for name, array in checkpoint.tensors.items():
        columns = name in ("weight_hh_l0", "classifier.weight")
        if name.endswith("_l0") and "state" not in name:
            array = array[order]
        if columns:
            array = np.concatenate([array, share * array[:, [unit]]], 1)
            array[:, unit] *= 1 - share
        tensors[name] = array
    return Checkpoint(tensors, checkpoint.info)


def test_a_unit_that_another_replaces_is_removed_without_a_loss():
    rng = np.random.default_rng(SEED)
    once = network(rng, [5])
    twice = with_copy(once, 2, 0.3)
    x = rng.normal(size=(200, 9, 3)).astype(np.float32)
    wanted = forward(once, x).logits
    assert np.abs(forward(twice, x).logits - wanted).max() < 1e-5
    back = pruned(twice, [5], x)
    assert back.hidden_size() == 5
    lost = np.abs(forward(back, x).logits - wanted).max()
    # What one does alone is worth more than all that is lost here.
    alone = np.abs(forward(pruned(once, [4], x), x).logits - wanted).max()
    assert lost < 0.02 * alone, f"seed {SEED}: {lost} of {alone}"


def test_a_unit_that_never_moves_goes_into_the_biases():
    rng = np.random.default_rng(SEED)
    still = network(rng, [6])
    tensors = {name: array.copy() for name, array in still.tensors.items()}
    # z is 1: the unit keeps its first state.
    tensors["bias_ih_l0"][6 + 3] = 50.0
    tensors["initial_state_l0"] = np.float32([0, 0, 0, 0.7, 0, 0])
    still = Checkpoint(tensors, {})
    x = rng.normal(size=(100, 7, 3)).astype(np.float32)
    fewer = pruned(still, [5], x)
    assert np.array_equal(fewer.tensors["initial_state_l0"], np.zeros(5, np.float32))
    assert np.abs(forward(fewer, x).logits - forward(still, x).logits).max() < 2e-3


@pytest.mark.parametrize("every", [False, True])
def test_every_layer_may_have_fewer(every):
    """Layers of different sizes, dense layers, sequences that end early, and a bad one: the units
    that nobody reads."""
    rng = np.random.default_rng(SEED)
    head = {"head": Head(at="every").to_json()} if every else {}
    one = network(rng, [6, 7], back=["relu"], **head)
    tensors = {name: array.copy() for name, array in one.tensors.items()}
    for name, unread in (("weight_hh_l0", [1, 4]), ("weight_ih_l1", [1, 4])):
        tensors[name][:, unread] = 0
    for name, unread in (("weight_hh_l1", [0, 6]), ("back0.weight", [0, 6])):
        tensors[name][:, unread] = 0
    one = Checkpoint(tensors, one.info)
    x = rng.normal(size=(60, 8, 3)).astype(np.float32)
    x[::3, 5:] = np.nan
    fewer = pruned(one, [4, 5], x)
    assert [fewer.hidden_size(k) for k in range(2)] == [4, 5]
    assert (fewer.head, fewer.functions) == (one.head, one.functions)
    wanted, got = forward(one, x).logits, forward(fewer, x).logits
    assert np.nanmax(np.abs(wanted - got)) < 1e-5, f"seed {SEED}"


def test_a_trained_network_keeps_most_of_its_accuracy():
    network, task = zoo.load("digits-row"), load_task("digits-row")
    x, y = task.scored("val")
    fewer = pruned(network, [28], task.x_calibration)
    whole, left = accuracy(network, x, y), accuracy(fewer, x, y)
    assert left > whole - 0.015
    # The last four removed as they come, as a control.
    rows = np.concatenate([np.arange(28) + 32 * gate for gate in range(3)])
    tensors = {name: a[rows] for name, a in network.tensors.items() if name.endswith("_l0")}
    tensors["weight_hh_l0"] = tensors["weight_hh_l0"][:, :28]
    tensors["classifier.weight"] = network.tensors["classifier.weight"][:, :28]
    tensors["classifier.bias"] = network.tensors["classifier.bias"]
    assert accuracy(Checkpoint(tensors), x, y) < left - 0.02
    assert fewer.info[PRUNED] == {"from": network.hash, "units": [32]}
    assert fewer.info["split_hash"] == network.info["split_hash"]
    assert not {"accuracy", RECORD} & set(fewer.info)


def test_states_are_taken_block_by_block(monkeypatch):
    """The same network however few steps are held in memory."""
    from genogate.model.checkpoints import pruning

    rng = np.random.default_rng(SEED)
    one = network(rng, [6, 4])
    x = rng.normal(size=(40, 9, 3)).astype(np.float32)
    x[5:9, 6:] = np.nan
    whole = pruned(one, [4, 3], x)
    monkeypatch.setattr(pruning, "STEPS_AT_ONCE", 50)
    parts = pruned(one, [4, 3], x)
    for name, tensor in whole.tensors.items():
        assert np.allclose(tensor, parts.tensors[name], atol=1e-4), name


@pytest.mark.parametrize("name", ["kws10", "digits-row"])
def test_what_few_units_are_left_of_is_quantised_so_that_it_can_be_trained(name):
    """Folded weights may be far apart, which is refused of a network that is to stay as it is."""
    network = zoo.load(name)
    task = load_task("digits-row") if name == "digits-row" else None
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(80, 20, network.input_size)).astype(np.float32)
    x = x if task is None else task.x_calibration
    fewer = pruned(network, [network.hidden_size() // 8], x)
    model = quantize(fewer, Genome.uniform(4), calibration_x=x)
    assert model.layers[0].hidden_size == network.hidden_size() // 8
    spread = {k: v.copy() for k, v in fewer.tensors.items()}
    spread["weight_ih_l0"][0] *= 1e4
    quantize(Checkpoint(spread, fewer.info), Genome.uniform(4), calibration_x=x)
    with pytest.raises(InputError, match="quantize: "):
        quantize(Checkpoint(spread), Genome.uniform(4), calibration_x=x)


def test_as_many_units_are_the_same_network():
    rng = np.random.default_rng(SEED)
    one = network(rng, [4])
    assert pruned(one, [4], rng.normal(size=(9, 3, 3)).astype(np.float32)).hash == one.hash


@pytest.mark.parametrize("units", [[0], [9], [4, 4], []])
def test_other_numbers_of_units_are_refused(units):
    rng = np.random.default_rng(SEED)
    with pytest.raises(InputError, match=r"units: .* for layers of 8: give as many numbers"):
        pruned(network(rng, [8]), units, rng.normal(size=(9, 3, 3)).astype(np.float32))
