"""Keras 3's archives: each means the network that Keras computes, or is refused."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from genogate.model.checkpoints.floating import forward  # noqa: E402
from genogate.model.checkpoints.from_keras import from_keras  # noqa: E402
from genogate.model.checkpoints.torch_files import kind_of  # noqa: E402
from genogate.model.errors import InputError  # noqa: E402

FEATURES, UNITS, CLASSES, SEED = 3, 5, 4, 2026
#: keras_gru.keras: saved by Keras 3.15.1, GRU(12) and Dense(4, softmax); keras_gru.npz: sequences
#: and what Keras computes of them. Neither can be made without Keras.
CASES = Path(__file__).parent / "cases"


def sequences():
    return np.random.default_rng(SEED).standard_normal((6, 7, FEATURES)).astype(np.float32)


def keras_gru(x, kernel, recurrent, bias):
    """Keras' equations with reset_after=True, gates z r h."""
    h = np.zeros((len(x), recurrent.shape[0]))
    for step in range(x.shape[1]):
        a, b = x[:, step] @ kernel + bias[0], h @ recurrent + bias[1]
        (az, ar, ah), (bz, br, bh) = np.split(a, 3, axis=1), np.split(b, 3, axis=1)
        z, r = 1 / (1 + np.exp(-az - bz)), 1 / (1 + np.exp(-ar - br))
        h = z * h + (1 - z) * np.tanh(ah + r * bh)
    return h


def write_keras(path, layers):
    """`layers`: class, configuration, place in the HDF5 file, arrays."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file.create_group("layers")
        for _, config, place, arrays in layers:
            for number, array in enumerate(arrays):
                file[f"layers/{place}/{number}"] = array
            names = file.require_group(f"layers/{place.split('/')[0]}/vars")
            names.attrs["name"] = config["name"]
    configs = [{"class_name": kind, "config": config} for kind, config, _, _ in layers]
    with zipfile.ZipFile(path, "w") as archive:
        model = {"class_name": "Sequential", "config": {"layers": configs}}
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", held.getvalue())


def keras_layers(rng, bias=True):
    gru = [rng.normal(size=(FEATURES, 3 * UNITS)), rng.normal(size=(UNITS, 3 * UNITS)) / 2]
    gru += [rng.normal(size=(2, 3 * UNITS))] if bias else []
    dense = [rng.normal(size=(UNITS, CLASSES)), rng.normal(size=CLASSES)]
    norm = [rng.uniform(0.5, 2, FEATURES), *rng.normal(size=(2, FEATURES)), np.full(FEATURES, 2.0)]
    return [
        ("InputLayer", {"name": "in"}, "input_layer", []),
        ("BatchNormalization", {"name": "n", "epsilon": 0.5}, "batch_normalization/vars", norm),
        ("GRU", {"name": "g", "use_bias": bias}, "gru/cell/vars", gru),
        ("Dense", {"name": "d", "activation": "softmax"}, "dense/vars", dense),
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_a_keras_archive_is_the_network_that_keras_computes(tmp_path, bias):
    layers, x = keras_layers(np.random.default_rng(SEED), bias), sequences()
    write_keras(tmp_path / "model.keras", layers)
    gamma, beta, mean, variance = layers[1][3]
    normal = gamma * (x - mean) / np.sqrt(variance + 0.5) + beta
    arrays = layers[2][3] if bias else [*layers[2][3], np.zeros((2, 3 * UNITS))]
    weight, offset = layers[3][3]
    expected = keras_gru(normal, *arrays) @ weight + offset
    assert kind_of(tmp_path / "model.keras") == "keras"
    checkpoint = from_keras(tmp_path / "model.keras", CLASSES)
    np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (
            2,
            {"reset_after": False},
            "layer g: reset_after=False resets the state before the matrix",
        ),
        (2, {"go_backwards": True}, "layer g: go_backwards"),
        (2, {"activation": "relu"}, "layer g: activation is relu, the hardware has tanh"),
        (
            2,
            {"return_sequences": True},
            "layer d: an output at every step, where the task asks for one at the last",
        ),
        (3, {"activation": "gelu"}, "layer d: activation gelu is not supported; ReLU, sigmoid and"),
    ],
)
def test_keras_layers_that_mean_something_else_are_named(tmp_path, at, change, message):
    layers = keras_layers(np.random.default_rng(SEED))
    kind, config, place, arrays = layers[at]
    layers[at] = kind, config | change, place, arrays
    write_keras(tmp_path / "model.keras", layers)
    with pytest.raises(InputError, match=message):
        from_keras(tmp_path / "model.keras", CLASSES)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_a_file_of_keras_itself_gives_keras_probabilities():
    with np.load(CASES / "keras_gru.npz") as case:
        x, expected = case["x"], case["probabilities"]
    logits = forward(from_keras(CASES / "keras_gru.keras", CLASSES), x).logits
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-5)


@pytest.mark.parametrize("places", [("gru", "gru_1"), ("gru_1", "gru")])
def test_two_keras_layers_are_told_by_their_names(tmp_path, places):
    rng, x = np.random.default_rng(SEED), sequences()
    _, _, below, dense = keras_layers(rng)
    sizes = ((FEATURES, 3 * UNITS), (UNITS, 3 * UNITS), (2, 3 * UNITS))
    above = [rng.normal(size=(UNITS, 3 * UNITS)), *below[3][1:]]
    assert below[3][0].shape == sizes[0]
    layers = [
        ("GRU", {"name": "low", "return_sequences": True}, f"{places[0]}/cell/vars", below[3]),
        ("GRU", {"name": "high"}, f"{places[1]}/cell/vars", above),
        dense,
    ]
    write_keras(tmp_path / "model.keras", layers)
    states = np.stack(
        [keras_gru(x[:, : step + 1], *below[3]) for step in range(x.shape[1])], axis=1
    )
    weight, offset = dense[3]
    expected = keras_gru(states, *above) @ weight + offset
    checkpoint = from_keras(tmp_path / "model.keras", CLASSES)
    np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=1e-5)


def test_one_keras_unit_with_a_sigmoid_is_two_logits(tmp_path):
    layers, x = keras_layers(np.random.default_rng(SEED)), sequences()
    weight, offset = (array[..., :1] for array in layers[3][3])
    config = {"name": "d", "activation": "sigmoid"}
    write_keras(
        tmp_path / "model.keras", [layers[2], ("Dense", config, "dense/vars", [weight, offset])]
    )
    expected = (keras_gru(x, *layers[2][3]) @ weight + offset) * [[0, 1]]
    checkpoint = from_keras(tmp_path / "model.keras", 2)
    np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=1e-5)


def functional(path, output):
    """The archive as a Functional model whose output is the layer `output`."""
    with zipfile.ZipFile(path) as archive:
        model = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    before = None
    for layer in model["config"]["layers"]:
        layer["name"] = layer["config"]["name"]
        history = {"config": {"keras_history": [before, 0, 0]}}
        layer["inbound_nodes"] = [{"args": [history]}] if before else []
        before = layer["name"]
    model["class_name"] = "Functional"
    model["config"]["output_layers"] = output
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", weights)


def test_a_functional_keras_model_gives_its_last_layer(tmp_path):
    path, x = tmp_path / "model.keras", sequences()
    write_keras(path, keras_layers(np.random.default_rng(SEED)))
    expected = forward(from_keras(path, CLASSES), x).logits
    for output in (["d", 0, 0], [["d", 0, 0]]):
        functional(path, output)
        np.testing.assert_array_equal(forward(from_keras(path, CLASSES), x).logits, expected)
    for output in (["g", 0, 0], [["d", 0, 0], ["g", 0, 0]]):
        functional(path, output)
        with pytest.raises(InputError, match="the model's output is not that of its last layer"):
            from_keras(path, CLASSES)


def test_a_normalisation_of_time_and_sizes_that_do_not_follow_are_refused(tmp_path):
    path, rng = tmp_path / "model.keras", np.random.default_rng(SEED)
    layers = keras_layers(rng)
    layers[1][1]["axis"] = 1
    write_keras(path, layers)
    with pytest.raises(InputError, match="layer n: normalises axis 1, the features are needed"):
        from_keras(path, CLASSES)
    layers = keras_layers(rng)
    layers[3][3][0] = rng.normal(size=(UNITS + 1, CLASSES))
    write_keras(path, layers)
    with pytest.raises(InputError, match="layer d: it takes 6 values, the layer before it gives 5"):
        from_keras(path, CLASSES)


@pytest.mark.parametrize("place", ["layers/dense/vars/1", "layers/dense", "layers"])
def test_a_keras_archive_reads_no_other_file(tmp_path, place):
    path, other = tmp_path / "model.keras", tmp_path / "other.h5"
    write_keras(path, keras_layers(np.random.default_rng(SEED)))
    with zipfile.ZipFile(path) as archive:
        config, weights = archive.read("config.json"), io.BytesIO(archive.read("model.weights.h5"))
    other.write_bytes(weights.getvalue())
    with h5py.File(weights, "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(other), place)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights.getvalue())
    with pytest.raises(InputError, match=f"{place} in it points elsewhere"):
        from_keras(path, CLASSES)


def test_changed_bytes_within_a_keras_archive_give_one_line(tmp_path):
    """The archive's checksums are right, so configuration and HDF5 file are read as they are."""
    path, rng = tmp_path / "model.keras", np.random.default_rng(SEED)
    with zipfile.ZipFile(CASES / "keras_gru.keras") as archive:
        members = {name: archive.read(name) for name in ("config.json", "model.weights.h5")}
    refused = 0
    for turn in range(120):
        data = {name: bytearray(content) for name, content in members.items()}
        target = data[sorted(data)[turn % 2]]
        # The front half of the HDF5 file: headers and names, not values.
        for _ in range(rng.integers(1, 12)):
            target[rng.integers(len(target) // 2)] = rng.integers(256)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in data.items():
                archive.writestr(name, bytes(content))
        try:
            from_keras(path, CLASSES)
        except InputError:
            refused += 1
    assert 0 < refused < 120, (refused, SEED)


@pytest.mark.parametrize("adapted", [True, False])
def test_a_normalisation_of_the_features_and_a_soft_max_of_its_own_are_folded(tmp_path, adapted):
    path, rng, x = tmp_path / "model.keras", np.random.default_rng(SEED), sequences()
    layers = keras_layers(rng)
    mean, variance = np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.25, 1.0])
    config = {"name": "n", "axis": [-1]}
    config |= {} if adapted else {"mean": mean.tolist(), "variance": variance.tolist()}
    arrays = [mean, variance, np.array(7)] if adapted else []
    layers[1] = ("Normalization", config, "normalization/vars", arrays)
    layers[3][1]["activation"] = "linear"
    write_keras(path, [*layers, ("Softmax", {"name": "s"}, "softmax/vars", [])])
    gru, dense = layers[2][3], layers[3][3]
    state = keras_gru((x - mean) / np.sqrt(variance), *gru)
    logits = forward(from_keras(path, CLASSES), x).logits
    np.testing.assert_allclose(logits, state @ dense[0] + dense[1], atol=1e-5)
    layers[1] = ("Normalization", config | {"axis": 1}, "normalization/vars", arrays)
    write_keras(path, layers)
    with pytest.raises(InputError, match="layer n: only a Normalization of each feature"):
        from_keras(path, CLASSES)


@pytest.mark.parametrize(
    ("scale", "offset"), [(0.5, 0.0), (1 / 127.5, -1.0), ([2.0, 0.5, -1.0], [0.0, 1.0, 3.0])]
)
def test_a_rescaling_in_front_is_folded(tmp_path, scale, offset):
    path, x = tmp_path / "model.keras", sequences()
    layers = keras_layers(np.random.default_rng(SEED))
    twice = ("Rescaling", {"name": "q", "scale": 2.0}, "rescaling_1/vars", [])
    config = {"name": "r", "scale": scale, "offset": offset}
    gamma, beta, mean, variance = layers[1][3]
    gru, dense = layers[2][3], layers[3][3]
    write_keras(path, [layers[0], twice, ("Rescaling", config, "rescaling/vars", []), *layers[1:]])
    normal = gamma * (2 * x * scale + offset - mean) / np.sqrt(variance + 0.5) + beta
    expected = keras_gru(normal, *gru) @ dense[0] + dense[1]
    np.testing.assert_allclose(forward(from_keras(path, CLASSES), x).logits, expected, atol=1e-5)
    # Behind the normalisation as well.
    write_keras(path, [*layers[:2], ("Rescaling", config, "rescaling/vars", []), *layers[2:]])
    normal = (gamma * (x - mean) / np.sqrt(variance + 0.5) + beta) * scale + offset
    expected = keras_gru(normal, *gru) @ dense[0] + dense[1]
    np.testing.assert_allclose(forward(from_keras(path, CLASSES), x).logits, expected, atol=1e-5)


def test_a_flatten_behind_the_last_state_does_nothing(tmp_path):
    layers, flat = keras_layers(np.random.default_rng(SEED)), ("Flatten", {"name": "f"}, "f/v", [])
    write_keras(tmp_path / "plain.keras", layers)
    write_keras(tmp_path / "flat.keras", [*layers[:3], flat, layers[3]])
    plain, flattened = (from_keras(tmp_path / f"{n}.keras", CLASSES) for n in ("plain", "flat"))
    assert plain.hash == flattened.hash
    write_keras(tmp_path / "flat.keras", [*layers[:2], flat, *layers[2:]])
    with pytest.raises(InputError, match="layer f: Flatten layers are not supported"):
        from_keras(tmp_path / "flat.keras", CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [1.0, 2.0]}, "layer n: it takes 3 values, a Rescaling before it others"),
        ({"offset": {"class_name": "x"}}, "layer r: its scale and offset are no numbers"),
        ({"scale": [[1.0], [2.0, 3.0]]}, "layer r: its scale and offset are no numbers"),
    ],
)
def test_a_rescaling_that_does_not_fit_is_refused(tmp_path, change, message):
    path, layers = tmp_path / "model.keras", keras_layers(np.random.default_rng(SEED))
    config = {"name": "r", "scale": 1.0, "offset": 0.0} | change
    write_keras(path, [layers[0], ("Rescaling", config, "rescaling/vars", []), *layers[1:]])
    with pytest.raises(InputError, match=message):
        from_keras(path, CLASSES)


def relu(x):
    return np.maximum(x, 0)


def test_dense_layers_in_front_and_behind_are_those_that_keras_computes(tmp_path):
    rng, x = np.random.default_rng(SEED), sequences()

    def dense(inputs, outputs):
        return [rng.normal(size=(inputs, outputs)), rng.normal(size=outputs)]

    arrays = [dense(FEATURES, 6), dense(6, FEATURES), dense(UNITS, 7), dense(7, 8), dense(8, 4)]
    inner = {"class_name": "Dense", "config": {"name": "inner", "activation": "tanh"}}
    layers = [
        (
            "TimeDistributed",
            {"name": "t", "layer": inner},
            "time_distributed/layer/vars",
            arrays[0],
        ),
        ("Dense", {"name": "a", "activation": "linear"}, "dense/vars", arrays[1]),
        keras_layers(np.random.default_rng(SEED))[2],
        ("Dense", {"name": "b", "activation": "relu"}, "dense_1/vars", arrays[2]),
        ("Dense", {"name": "c"}, "dense_2/vars", arrays[3]),
        ("ReLU", {"name": "r"}, "re_lu", []),
        ("Dropout", {"name": "o"}, "dropout", []),
        ("Dense", {"name": "d", "activation": "softmax"}, "dense_3/vars", arrays[4]),
    ]
    write_keras(tmp_path / "model.keras", layers)
    checkpoint = from_keras(tmp_path / "model.keras", CLASSES)
    assert checkpoint.functions == {"front0": "tanh", "back0": "relu", "back1": "relu"}
    value = np.tanh(x @ arrays[0][0] + arrays[0][1]) @ arrays[1][0] + arrays[1][1]
    value = keras_gru(value, *layers[2][3])
    for weight, offset in arrays[2:4]:
        value = relu(value @ weight + offset)
    expected = value @ arrays[4][0] + arrays[4][1]
    np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (("ReLU", {"name": "r", "max_value": 6.0}, "re_lu", []), "layer r: ReLU layers are not"),
        (("Attention", {"name": "a"}, "attention", []), "layer a: Attention layers are not"),
        (("Bidirectional", {"name": "b"}, "bidirectional", []), "layer b: Bidirectional layers"),
    ],
)
def test_keras_layers_without_a_counterpart_are_named(tmp_path, layer, message):
    layers = keras_layers(np.random.default_rng(SEED))
    write_keras(tmp_path / "model.keras", [*layers[:3], layer, layers[3]])
    with pytest.raises(InputError, match=message):
        from_keras(tmp_path / "model.keras", CLASSES)
