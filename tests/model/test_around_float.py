"""Float networks with dense layers and given states: against torch, calibrated and quantised."""

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint, forward
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.head import ACTIVATIONS
from genogate.model.knobs import Knobs
from genogate.model.quantize.quantize import quantize
from genogate.sim import fast, golden

torch = pytest.importorskip("torch")

FEATURES, UNITS, OUTPUTS = 6, 10, 4


def checkpoint(front=(), back=(), layers=1, states=False, head=None, seed=0):
    """A float network with weights of ordinary sizes."""
    rng = np.random.default_rng(seed)

    def matrix(outputs, inputs, gain=1.2):
        return (rng.normal(0, gain / np.sqrt(inputs), (outputs, inputs))).astype(np.float32)

    tensors, inputs = {}, FEATURES
    for k, (_, units) in enumerate(front):
        tensors |= {f"front{k}.weight": matrix(units, inputs)}
        tensors |= {f"front{k}.bias": rng.normal(0, 0.2, units).astype(np.float32)}
        inputs = units
    for k in range(layers):
        tensors[f"weight_ih_l{k}"] = matrix(3 * UNITS, inputs, 2)
        tensors[f"weight_hh_l{k}"] = matrix(3 * UNITS, UNITS)
        for side in "ih":
            tensors[f"bias_{side}h_l{k}"] = rng.normal(0, 0.2, 3 * UNITS).astype(np.float32)
        if states:
            tensors[f"initial_state_l{k}"] = rng.uniform(-0.9, 0.9, UNITS).astype(np.float32)
        inputs = UNITS
    for k, (_, units) in enumerate(back):
        tensors |= {f"back{k}.weight": matrix(units, inputs, 2)}
        tensors |= {f"back{k}.bias": rng.normal(0, 0.2, units).astype(np.float32)}
        inputs = units
    tensors |= {"classifier.weight": matrix(OUTPUTS, inputs)}
    tensors |= {"classifier.bias": rng.normal(0, 0.2, OUTPUTS).astype(np.float32)}
    info = {"front": [f for f, _ in front], "back": [f for f, _ in back]}
    info = {place: functions for place, functions in info.items() if functions}
    return Checkpoint(tensors, info | ({} if head is None else {"head": head}))


def in_torch(network, x):
    """Logits [batch, steps, outputs] by torch's own layers."""
    functions = {
        "none": lambda v: v,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    tensors = {name: torch.from_numpy(array) for name, array in network.tensors.items()}
    value = torch.from_numpy(x)
    for place in ("front", "gru", "back"):
        if place == "gru":
            for k in range(network.layers):
                gru = torch.nn.GRU(value.shape[-1], UNITS, batch_first=True)
                with torch.no_grad():
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                        getattr(gru, f"{name}_l0").copy_(tensors[f"{name}_l{k}"])
                state = torch.from_numpy(network.initial_state(k)).expand(1, len(x), UNITS)
                value = gru(value, state.contiguous())[0]
            continue
        for k, function in enumerate(network.info.get(place, ())):
            sums = value @ tensors[f"{place}{k}.weight"].T + tensors[f"{place}{k}.bias"]
            value = functions[function](sums)
    logits = value @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    return logits.detach().numpy()


STRUCTURES = {
    "relu in front": {"front": [("relu", 9)]},
    "relu and none behind": {"back": [("relu", 12), ("none", 7)]},
    "all around two layers": {
        "front": [("tanh", 8), ("none", 5)],
        "back": [("sigmoid", 6)],
        "layers": 2,
        "states": True,
    },
    "given states": {"layers": 2, "states": True},
}
EVERY = {"at": "every", "output": "logits"}


def sequences(count=40, steps=12, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (count, steps, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_float_network_is_that_of_torch(name):
    x = sequences()
    every = checkpoint(**STRUCTURES[name], head=EVERY)
    expected = in_torch(every, x)
    result = forward(every, x, trace=True)
    np.testing.assert_allclose(result.logits, expected, atol=1e-5)
    last = checkpoint(**STRUCTURES[name])
    np.testing.assert_allclose(forward(last, x).logits, expected[:, -1], atol=1e-5)
    for layer, function in every.functions.items():
        if function == "relu":
            assert (result.trace[layer, "o"] == np.maximum(result.trace[layer, "w"], 0)).all()


def distance(network, x, bits=8, **knobs):
    """Root mean square of the differences of the logits, as a share of their spread."""
    layers = network.layers, network.dense_layers
    model = quantize(network, Genome.uniform(bits, *layers), Knobs(**knobs), x[:30])
    result = golden.run(model, model.quantize_input(x))
    np.testing.assert_array_equal(fast.run(model, model.quantize_input(x)).logits, result.logits)
    real = forward(network, x).logits
    # The scale of the classifier's sums is noted with the model.
    return float(
        np.sqrt(((result.logits * model.info["logit_scale"] - real) ** 2).mean()) / real.std()
    )


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("activation", ["table", "pwl"])
def test_int8_answers_as_the_float_network_does(name, activation):
    network = checkpoint(**STRUCTURES[name], head=EVERY)
    x = sequences()
    eight = distance(network, x, 8, activation=activation)
    assert eight < 0.08
    assert distance(network, x, 5, activation=activation) > eight


@pytest.mark.parametrize("function", ACTIVATIONS)
@pytest.mark.parametrize("place", ["front", "back"])
def test_every_function_of_a_dense_layer_is_quantised(place, function):
    network = checkpoint(**{place: [(function, 9)]}, head=EVERY)
    x = sequences()
    assert distance(network, x, granularity="channel", multiplier_terms=None) < 0.06
    model = quantize(network, Genome.uniform(6, 1, 1), None, x)
    (layer,) = model.dense_layers.values()
    assert (layer.function, layer.genes) == (function, (6, 6))
    if function == "relu":
        assert layer.activation is None
        assert layer.dense.zero_point == -32


def test_codes_of_dense_layers_stand_for_what_the_float_layers_give():
    network = checkpoint(**STRUCTURES["all around two layers"], head=EVERY)
    x = sequences()
    model = quantize(network, Genome.uniform(8, 2, 3), None, x)
    codes = golden.run(model, model.quantize_input(x), trace=True).trace
    real = forward(network, x, trace=True).trace
    for name, layer in model.dense_layers.items():
        values = layer.scale * (codes[name, "o"] - layer.zero_point)
        assert np.abs(values - real[name, "o"]).mean() < 0.06 * real[name, "o"].std(), name
        assert model.info["dense_scales"][name]["o"]["scale"] == layer.scale
    for k, layer in enumerate(model.layers):
        scale = model.info["scales"][k]["s_h"]["scale"]
        given = (layer.initial_state - layer.state_zero_point) * scale
        np.testing.assert_allclose(given, network.initial_state(k), atol=scale)


def test_genes_of_dense_layers_are_the_widths_of_its_weights_and_output():
    network = checkpoint(**STRUCTURES["all around two layers"])
    genome = Genome(Genome.uniform(8, 2).layers, ((3, 5), (8, 2), (4, 6)))
    model = quantize(network, genome, None, sequences())
    assert [layer.genes for layer in model.dense_layers.values()] == [(3, 5), (8, 2), (4, 6)]
    assert model.genome == genome
    with pytest.raises(InputError, match="genes of 0 dense layers given, the network has 3"):
        quantize(network, Genome.uniform(8, 2), None, sequences())


def test_size_counts_dense_layers_and_given_states():
    network = checkpoint(front=[("relu", 9)], states=True)
    model = quantize(network, Genome(Genome.uniform(8).layers, ((4, 8),)), None, sequences())

    rest = sum(model.layers[0].dense(n).size_bits for n in list(model.layers[0].ops)[:6])
    assert (
        model.size_bits == rest + model.classifier.size_bits + model.front[0].dense.size_bits + 80
    )
    assert model.weight_bits == 8 * (3 * 9 * 10 + 3 * 100) + 4 * 6 * 9


def test_sequences_of_different_lengths_calibrate_by_the_steps_that_count():
    network = checkpoint(**STRUCTURES["all around two layers"])
    x = sequences(60)
    padded = np.concatenate([x, np.full((60, 20, FEATURES), np.nan, np.float32)], 1)
    plain, longer = (quantize(network, Genome.uniform(8, 2, 3), None, v) for v in (x, padded))
    assert plain.hash == longer.hash
    np.testing.assert_array_equal(forward(network, padded).logits, forward(network, x).logits)


def test_a_layer_that_gives_nothing_but_zeros_is_quantised():
    network = checkpoint(front=[("relu", 9)])
    tensors = {**network.tensors, "front0.bias": np.full(9, -50, np.float32)}
    dead = Checkpoint(tensors, network.info)
    assert np.isfinite(distance(dead, sequences()))


def test_features_of_very_different_size_fold_into_the_first_dense_layer():
    network = checkpoint(front=[("relu", 9)], head=EVERY)
    factor = np.array([1, 1, 1e4, 1, 1, 1], np.float32)
    tensors = {**network.tensors, "front0.weight": network.tensors["front0.weight"] / factor}
    large = Checkpoint(tensors, network.info)
    assert distance(large, sequences() * factor) < 0.08


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_file_keeps_dense_layers_and_states(name, tmp_path):
    network = checkpoint(**STRUCTURES[name])
    network.save(tmp_path / "network.safetensors")
    again = Checkpoint.load(tmp_path / "network.safetensors")
    assert (again.hash, again.functions) == (network.hash, network.functions)
    np.testing.assert_array_equal(
        forward(again, sequences()).logits, forward(network, sequences()).logits
    )


def test_the_hash_sees_functions_and_states():
    plain = checkpoint(front=[("relu", 9)])
    tanh = checkpoint(front=[("tanh", 9)])
    assert len({plain.hash, tanh.hash, checkpoint(front=[("relu", 9)], states=True).hash}) == 3


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"front": ["relu", "relu"]}, "tensor front1.bias is missing"),
        ({}, "tensor front0.bias is not one of a GRU's"),
        ({"front": "relu"}, "front is not a list of at most 8"),
        ({"front": ["softmax"]}, "front0: 'softmax' is not one of"),
        ({"front": [3]}, "front0: 3 is not one of"),
    ],
)
def test_a_checkpoint_whose_functions_do_not_fit_is_refused(info, text):
    with pytest.raises(InputError, match=text):
        Checkpoint(checkpoint(front=[("relu", 9)]).tensors, info)


def test_shapes_that_do_not_follow_each_other_are_refused():
    network = checkpoint(front=[("relu", 9)], states=True)
    for name, shape in (
        ("front0.bias", (8,)),
        ("initial_state_l0", (9,)),
        ("weight_ih_l0", (30, 8)),
    ):
        tensors = {**network.tensors, name: np.zeros(shape, np.float32)}
        with pytest.raises(InputError, match=f"{name} has shape"):
            Checkpoint(tensors, network.info)
