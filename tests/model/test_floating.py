"""The float network in NumPy against torch, and its file against everything that is not one."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import (
    KIND,
    Checkpoint,
    accuracy,
    forward,
    layer_names,
    sigmoid,
)
from genogate.model.data.measures import Score
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.files import write_tensors
from genogate.model.genome import GENES
from genogate.model.integer import OPERANDS


def random_checkpoint(seed, sizes=(5, 7), classes=3):
    """Weights of a plausible size for layers `sizes[1:]` on `sizes[0]` inputs."""
    draw = np.random.default_rng(seed)
    tensors = {}
    for k, (inputs, hidden) in enumerate(pairwise(sizes)):
        shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
        for name, shape in zip(layer_names(k), shapes, strict=True):
            tensors[name] = draw.normal(0, 0.7, shape).astype(np.float32)
    tensors["classifier.weight"] = draw.normal(size=(classes, sizes[-1])).astype(np.float32)
    tensors["classifier.bias"] = draw.normal(size=classes).astype(np.float32)
    return Checkpoint(tensors, {"seed": seed})


@pytest.mark.parametrize("sizes", [(1, 1), (5, 7), (8, 32), (3, 6, 6), (9, 4, 4, 4)])
def test_forward_equals_torch(sizes):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    checkpoint = random_checkpoint(len(sizes), sizes)
    gru = torch.nn.GRU(sizes[0], sizes[1], len(sizes) - 1, batch_first=True)
    with torch.no_grad():
        for k in range(len(sizes) - 1):
            for name in layer_names(k):
                getattr(gru, name).copy_(torch.from_numpy(checkpoint.tensors[name]))
    x = np.random.default_rng(2026).normal(size=(11, 20, sizes[0])).astype(np.float32)
    with torch.no_grad():
        expected = gru(torch.from_numpy(x))[0].numpy()
    result = forward(checkpoint, x)
    np.testing.assert_allclose(result.hidden, expected, atol=1e-5)
    weight, bias = checkpoint.tensors["classifier.weight"], checkpoint.tensors["classifier.bias"]
    np.testing.assert_allclose(result.logits, expected[:, -1] @ weight.T + bias, atol=1e-4)
    assert result.classes.tolist() == result.logits.argmax(1).tolist()
    single = forward(checkpoint, x, dtype=np.float32)
    assert single.hidden.dtype == np.float32
    np.testing.assert_allclose(single.hidden, expected, atol=1e-5)


def test_a_torch_network_comes_in_by_its_state_dict(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    gru, linear = torch.nn.GRU(4, 6, 2, batch_first=True), torch.nn.Linear(6, 3)
    tensors = {name: value.numpy() for name, value in gru.state_dict().items()}
    tensors |= {f"classifier.{name}": value.numpy() for name, value in linear.state_dict().items()}
    Checkpoint(tensors).save(tmp_path / "mine.safetensors")
    x = torch.rand(3, 5, 4)
    with torch.no_grad():
        expected = linear(gru(x)[0][:, -1])
    result = forward(Checkpoint.load(tmp_path / "mine.safetensors"), x.numpy())
    np.testing.assert_allclose(result.logits, expected, atol=1e-5)


def test_the_trace_holds_every_operator_and_each_follows_from_its_operands():
    checkpoint = random_checkpoint(1, (4, 6, 3))
    x = np.random.default_rng(2).normal(size=(5, 9, 4))
    result = forward(checkpoint, x, trace=True)
    assert set(result.trace) == {(layer, name) for layer in (0, 1) for name in GENES}
    for layer in (0, 1):
        taken = {name: result.trace[layer, name] for name in GENES}
        below = x if layer == 0 else result.trace[0, "s_h"]
        state = np.zeros_like(taken["s_h"])
        state[:, 1:] = taken["s_h"][:, :-1]
        value = {"x": below, "h": state, **taken}
        for name, sources in OPERANDS.items():
            a, *rest = (value[source] for source in sources)
            if name.startswith("w_"):
                weight, bias = checkpoint.operator(layer, name)
                expected = a @ weight.T + bias
            elif name.startswith("s_"):
                expected = a + rest[0]
            elif name.startswith("p_"):
                expected = a * rest[0]
            elif name == "c_z":
                expected = 1 - a
            else:
                expected = np.tanh(a) if name == "a_n" else sigmoid(a)
            np.testing.assert_allclose(taken[name], expected, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(result.hidden, result.trace[1, "s_h"])
    assert not forward(checkpoint, x).trace


def test_a_sigmoid_far_out_neither_overflows_nor_leaves_its_range():
    with np.errstate(all="raise"):
        values = sigmoid(np.array([-1e4, -40.0, 0.0, 40.0, 1e4]))
    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1], atol=1e-15)


def test_a_saved_checkpoint_comes_back_and_equal_content_is_equal_bytes(tmp_path):
    checkpoint = random_checkpoint(3, (4, 5, 5))
    for name in "ab":
        checkpoint.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Checkpoint.load(tmp_path / "a")
    assert loaded.hash == checkpoint.hash != random_checkpoint(4, (4, 5, 5)).hash
    assert loaded.info == checkpoint.info
    assert (loaded.layers, loaded.input_size, loaded.hidden_size(), loaded.classes) == (2, 4, 5, 3)
    for name, array in checkpoint.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], array)


def _with(**changed):
    return {**random_checkpoint(0).tensors, **changed}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "weight_ih_l0 is missing"),
        ({k: v for k, v in _with().items() if k != "bias_hh_l0"}, "bias_hh_l0 is missing"),
        (_with(weight_ih_l2=np.zeros((21, 7), np.float32)), "weight_ih_l2 is not one of"),
        (_with(weight_hh_l0=np.zeros((20, 7), np.float32)), "weight_hh_l0 has shape"),
        (_with(bias_ih_l0=np.zeros(20, np.float32)), "bias_ih_l0 has shape"),
        (_with(bias_ih_l0=np.zeros(21, np.float64)), "bias_ih_l0 is not a float32"),
        (_with(bias_ih_l0=np.full(21, np.nan, np.float32)), "bias_ih_l0 holds a value"),
        (_with(bias_ih_l0=np.full(21, np.inf, np.float32)), "bias_ih_l0 holds a value"),
        (_with(weight_ih_l0=np.zeros((0, 5), np.float32)), "weight_ih_l0 has the impossible"),
    ],
)
def test_tensors_that_are_no_gru_are_refused(tmp_path, tensors, message):
    with pytest.raises(InputError, match=message):
        Checkpoint(tensors)
    write_tensors(tmp_path / "bad", tensors, {"version": 1, "info": {}}, KIND)
    with pytest.raises(InputError, match=f"bad: checkpoint: .*{message}"):
        Checkpoint.load(tmp_path / "bad")


@pytest.mark.parametrize("metadata", [{"version": 2}, [], None, {"version": 1, "info": []}])
def test_a_checkpoint_of_another_version_is_refused(tmp_path, metadata):
    write_tensors(tmp_path / "bad", _with(), metadata, KIND)
    with pytest.raises(InputError, match="bad: "):
        Checkpoint.load(tmp_path / "bad")


@pytest.mark.parametrize("from_end", [1, 4, 40])
def test_a_weight_that_changed_on_the_disk_is_noticed(tmp_path, from_end):
    path = tmp_path / "mine.safetensors"
    checkpoint = random_checkpoint(0)
    checkpoint.save(path)
    assert Checkpoint.load(path).hash == checkpoint.hash
    raw = bytearray(path.read_bytes())
    raw[-from_end] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"mine\.safetensors: damaged, its weights .* take a copy"):
        Checkpoint.load(path)


def test_a_checkpoint_of_before_records_no_hash_and_is_taken(tmp_path):
    write_tensors(tmp_path / "old", _with(), {"version": 1, "info": {"task": "mine"}}, KIND)
    assert Checkpoint.load(tmp_path / "old").hash == random_checkpoint(0).hash


@pytest.mark.parametrize("shape", [(4, 5), (1, 2, 4), (0, 2, 5), (1, 0, 5)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match=r"^inputs: shape .* \[batch, steps, 5\] is needed$"):
        forward(random_checkpoint(0), np.zeros(shape))


#: What the shipped networks reach at least; a weak one would make every saving look free.
LEAST = {
    "digits-row": 0.965,
    "mnist-row": 0.985,
    "mnist-pixel14": 0.95,
    "mnist-pixel": 0.98,
    "kws4": 0.93,
    "kws10": 0.92,
    "kws12": 0.89,
    # SI-SDR gain, in hundreds of dB.
    "denoise": 0.055,
}


def accuracy_of(checkpoint, x, y):
    """In single precision where steps are many, in half the time."""
    if x.shape[1] <= 150:
        return accuracy(checkpoint, x, y)
    score = Score()
    for start in range(0, len(x), 250):
        result = forward(checkpoint, x[start : start + 250], dtype=np.float32)
        answers = result.classes if result.values is None else result.values
        score.add(answers, y[start : start + 250])
    return score.value


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_checkpoint_has_the_accuracy_that_it_states(name, monkeypatch):
    monkeypatch.setenv("GENOGATE_OFFLINE", "1")
    checkpoint = zoo.load(name)
    kind = checkpoint.info["task"]
    try:
        task = load_task(kind, checkpoint.info["split_seed"])
    except InputError as error:
        if kind == "digits-row" or "not found" not in str(error):
            raise
        pytest.skip(f"no data of {kind} in $GENOGATE_DATA or the cache")
    assert task.split_hash == checkpoint.info["split_hash"]
    # Ten thousand sequences of 784 steps would take a minute, and those of 196 have six networks.
    part = "val" if task.steps > 150 else "test"
    x, y = task.scored(part)
    # Another processor's rounding may move a sequence.
    stated = checkpoint.info["accuracy"]
    assert accuracy_of(checkpoint, x, y) == pytest.approx(stated[part], abs=1.1 / len(x))
    assert stated["test"] >= LEAST[kind]
    assert checkpoint.info["command"].startswith(f"genogate train --task {kind} --seed ")
    json.dumps(checkpoint.info)


def test_a_checkpoint_that_is_nowhere_is_refused_and_the_shipped_ones_are_named():
    with pytest.raises(InputError, match=r"^checkpoint 'no/such': no such file, .* digits-row, "):
        zoo.load("no/such")
    # Names are whole, those like the one that was given come first, and the rest is counted.
    with pytest.raises(InputError) as refused:
        zoo.load("mnist-pixl14")
    said = str(refused.value)
    listed, more = re.search(r"ones are (.*) and (\d+) more \(genogate doctor", said).groups()
    assert listed.startswith("mnist-pixel14, ")
    assert set(listed.split(", ")) < set(zoo.names())
    assert len(listed.split(", ")) + int(more) == len(zoo.names())
    assert len(said) < 300
