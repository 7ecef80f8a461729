"""Models trained elsewhere: what is read equals what they compute, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from genogate.model.checkpoints.floating import layer_names
from genogate.model.checkpoints.importing import from_onnx, from_state, import_model
from genogate.model.checkpoints.torch_files import read_state
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from safetensors.numpy import save_file

torch = pytest.importorskip("torch")
from gru_graphs import (  # noqa: E402
    CLASSES,
    EXAMPLE,
    FEATURES,
    UNITS,
    Net,
    graph,
    net,
    same,
    state,
)

# --- state dicts


@pytest.mark.parametrize("kind", ["pt", "nested", "safetensors", "half"])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_saved_model_computes_what_it_did_in_torch(tmp_path, kind, layers):
    model = net(layers=layers)
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(state(layers=layers), path)
    elif kind == "nested":
        torch.save({"state_dict": model.state_dict(), "epoch": 3}, path)
    elif kind == "half":
        torch.save(model.half().state_dict(), path)
        model = model.float()
    else:
        torch.save(model.state_dict(), path)
    checkpoint = from_state(read_state(path), classes=CLASSES)
    assert checkpoint.layers == layers
    for name in layer_names(layers - 1):
        expected = getattr(model.rnn, name).detach().numpy()
        np.testing.assert_array_equal(checkpoint.tensors[name], expected)
    same(checkpoint, model)


@pytest.mark.parametrize(("layers", "first", "bias"), [(2, False, True), (1, True, False)])
def test_batch_first_does_not_matter_and_missing_biases_are_zero(layers, first, bias):
    checkpoint = from_state(state(layers=layers, first=first, bias=bias), classes=CLASSES)
    same(checkpoint, net(layers=layers, first=first, bias=bias), first)


def test_modules_may_have_any_names_and_be_chosen_by_them():
    model = net()
    named = {
        name.replace("rnn", "a.encoder").replace("fc", "b.out"): value
        for name, value in state().items()
    }
    same(from_state(named, classes=CLASSES), model)
    two = state() | {f"other.{name}": value for name, value in state().items()}
    with pytest.raises(InputError, match=r"2 recurrent modules, .* whose sizes do not follow"):
        from_state(two, classes=CLASSES)
    with pytest.raises(InputError, match=r"2 linear layers .* give --classifier"):
        from_state(state() | {"aux.weight": state()["fc.weight"]}, classes=CLASSES)
    with pytest.raises(InputError, match="gru 'no': no such module, there are 'rnn'"):
        from_state(state(), classes=CLASSES, gru="no")
    with pytest.raises(InputError, match="classifier 'no': no tensor"):
        from_state(state(), classes=CLASSES, classifier="no")
    bare = {name.removeprefix("rnn."): value for name, value in state().items()}
    same(from_state(bare, classes=CLASSES, classifier="fc"), model)


def without(name):
    return {key: value for key, value in state().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: state(bidirectional=True), "the GRU is bidirectional"),
        (lambda: state() | {"rnn.weight_hr_l0": np.zeros((4, UNITS))}, "projected"),
        (lambda: {n: v.numpy() for n, v in torch.nn.LSTM(8, 4).state_dict().items()}, "an LSTM's"),
        (lambda: {n: v.numpy() for n, v in torch.nn.RNN(8, 4).state_dict().items()}, "plain RNN's"),
        (lambda: {"fc.weight": np.zeros((10, 12), np.float32)}, "no torch.nn.GRU"),
        (lambda: without("rnn.weight_hh_l0"), "tensor rnn.weight_hh_l0 is missing"),
        (lambda: without("fc.weight"), "no linear layer from the GRU's 12 units to .* 10 classes"),
        (lambda: state() | {"norm.weight": np.ones(12)}, "tensor norm.weight .* more than a GRU"),
        (lambda: state() | {"fc.weight": np.ones((10, 12), np.int64)}, "fc.weight holds int64"),
        (lambda: state() | {"rnn.bias_ih_l0": np.full(36, np.nan)}, "not finite"),
        (lambda: state() | {"rnn.bias_ih_l0": np.zeros(35)}, "bias_ih_l0 has shape"),
        (lambda: state() | {"rnn.weight_ih_l0": np.zeros(35)}, "no matrix"),
    ],
)
def test_what_is_no_gru_with_a_classifier_is_refused(tensors, message):
    with pytest.raises(InputError, match=message):
        from_state(tensors(), classes=CLASSES)


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("was-run"),)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save(net(), path), "a whole model; a state dict is needed"),
        (lambda path: torch.save({"a": Payload()}, path), "a whole model or other objects"),
        (lambda path: torch.save([1, 2], path), "no tensors in it: save model.state_dict"),
        (lambda path: torch.save({"a": 1}, path), "no tensors in it: save"),
        (lambda path: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, path), "not a pla"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"<html>"), "not a file of torch"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: None, "No such file"),
    ],
)
def test_a_file_of_more_or_less_than_tensors_is_refused(tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert not Path("was-run").exists()


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_state(path)


def test_sizes_must_be_the_tasks(tmp_path):
    task = load_task("digits-row")
    path = tmp_path / "model.safetensors"
    save_file(state(), path)
    checkpoint = import_model(path, task)
    assert set(checkpoint.info["accuracy"]) == {"train", "val", "test"}
    assert "split_hash" not in checkpoint.info  # it may have seen the test part
    wide = torch.nn.GRU(9, UNITS)
    save_file(state() | {f"rnn.{n}": v.numpy() for n, v in wide.state_dict().items()}, path)
    with pytest.raises(InputError, match="9 inputs and 10 classes, task digits-row has 8 and 10"):
        import_model(path, task)
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match=r"an HDF5 file: save the Keras model as \.keras"):
        import_model(tmp_path / "model.h5", task)


# --- ONNX

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize(("layers", "soft"), [(1, False), (2, True)])
def test_an_onnx_gru_is_the_torch_gru(tmp_path, layers, soft):
    checkpoint = from_onnx(graph(tmp_path / "m.onnx", layers, soft=soft), EXAMPLE)
    assert checkpoint.hash == from_state(state(layers=layers), classes=CLASSES).hash
    same(checkpoint, net(layers=layers))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layers", "first"), [(1, True), (2, False)])
def test_what_torch_exports_is_what_torch_saves(tmp_path, layers, first):
    model, path = net(layers=layers, first=first), tmp_path / "m.onnx"
    x = torch.zeros((1, 6, FEATURES) if first else (6, 1, FEATURES))
    torch.onnx.export(model, (x,), str(path), dynamo=False)
    checkpoint = from_onnx(path, EXAMPLE)
    assert checkpoint.hash == from_state(state(layers=layers), classes=CLASSES).hash


@pytest.mark.filterwarnings("ignore")
def test_a_squeeze_of_a_free_axis_is_decided_by_the_shape(tmp_path):
    """torch's older exporter writes it as an If."""

    class Squeezed(Net):
        def forward(self, x):
            return self.fc(self.rnn(x)[0][:, -1:].squeeze(1))

    torch.manual_seed(2026)
    model, path = Squeezed().eval(), tmp_path / "m.onnx"
    axes = {"dynamic_axes": {"x": {0: "n", 1: "t"}}, "input_names": ["x"]}
    torch.onnx.export(model, (torch.zeros(2, 6, FEATURES),), str(path), dynamo=False, **axes)
    assert "If" in {node.op_type for node in onnx.load(path).graph.node}
    same(from_onnx(path, EXAMPLE), model)


@pytest.mark.parametrize(("taken", "same_network"), [(True, True), (False, False)])
def test_of_an_if_with_a_constant_condition_one_branch_counts(tmp_path, taken, same_network):
    from onnx import helper, numpy_helper

    def branch(name, *nodes, **given):
        return helper.make_graph(
            nodes, name, [], [helper.make_empty_tensor_value_info(name)], **given
        )

    half = numpy_helper.from_array(np.float32(0.5), "half")
    condition = numpy_helper.from_array(np.array(taken))
    middle = [
        helper.make_node("Constant", [], ["c"], value=condition),
        helper.make_node(
            "If",
            ["c"],
            ["h2"],
            then_branch=branch("same", helper.make_node("Identity", ["h"], ["same"])),
            else_branch=branch(
                "halved", helper.make_node("Mul", ["h", "half"], ["halved"]), initializer=[half]
            ),
        ),
    ]
    checkpoint = from_onnx(graph(tmp_path / "m.onnx", middle=middle), EXAMPLE)
    weight = state()["fc.weight"] * (1 if same_network else np.float32(0.5))
    np.testing.assert_array_equal(checkpoint.tensors["classifier.weight"], weight)


def test_an_if_on_what_the_network_computes_is_refused(tmp_path):
    from onnx import helper

    info = [helper.make_empty_tensor_value_info("h3")]
    same = helper.make_graph([helper.make_node("Identity", ["h"], ["h3"])], "same", [], info)
    middle = [helper.make_node("If", ["h"], ["h2"], then_branch=same, else_branch=same)]
    with pytest.raises(InputError, match="an If decides while the graph runs"):
        from_onnx(graph(tmp_path / "m.onnx", middle=middle), EXAMPLE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linear_before_reset": 0}, "linear_before_reset=0: it resets the state before"),
        ({"direction": "reverse"}, "is reverse"),
        ({"direction": "bidirectional"}, "is bidirectional"),
        ({"activations": ["HardSigmoid", "Tanh"]}, "activations .*hardsigmoid"),
        ({"clip": 3.0}, "clips its sums"),
        ({"extra": ["last"]}, "lengths of sequences"),
        ({"extra": ["", "C"]}, r"begins in a state of shape \(10, 12\)"),
    ],
)
def test_another_form_of_gru_is_refused_with_the_reason(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        from_onnx(graph(tmp_path / "m.onnx", **given), EXAMPLE)


def test_a_graph_that_computes_something_else_is_refused(tmp_path):
    from onnx import helper

    leaky = [helper.make_node("LeakyRelu", ["h"], ["h2"])]
    with pytest.raises(InputError, match="operator LeakyRelu is not supported behind GRU layer 1"):
        from_onnx(graph(tmp_path / "m.onnx", middle=leaky), EXAMPLE)
    double = [helper.make_node("Add", ["h", "h"], ["h2"])]
    with pytest.raises(InputError, match="two computed values meet in Add behind GRU layer 1"):
        from_onnx(graph(tmp_path / "m.onnx", middle=double), EXAMPLE)
    weight = [helper.make_node("Gemm", ["h", "C"], ["h2"], transB=1)]
    with pytest.raises(InputError, match=r"linear layer of shape \(10, 12\) stands behind"):
        from_onnx(graph(tmp_path / "m.onnx", middle=weight), EXAMPLE)


def test_a_loop_of_keras_that_resets_before_the_matrix_is_told_what_helps(tmp_path):
    """As tf2onnx writes Keras' GRU with reset_after=False: .keras would be refused too."""
    from onnx import helper

    state_times_reset = [
        helper.make_node("Mul", ["r", "state"], ["rh"]),
        helper.make_node("MatMul", ["rh", "C"], ["candidate"]),
    ]
    body = helper.make_graph(state_times_reset, "body", [], [])
    loop = [helper.make_node("Loop", ["last", "", "h"], ["h2"], body=body)]
    with pytest.raises(
        InputError, match=r"resets the state before.*train Keras' GRU with reset_af"
    ):
        from_onnx(graph(tmp_path / "m.onnx", middle=loop), EXAMPLE)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"\x08\x07" + bytes(50)])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, raw):
    path = tmp_path / "m.onnx"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="not an ONNX model"):
        from_onnx(path, EXAMPLE)


def test_a_truncated_graph_is_refused(tmp_path):
    path = graph(tmp_path / "m.onnx")
    for cut in (100, 3000, len(path.read_bytes()) - 4):
        (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match=r"cut\.onnx"):
            from_onnx(tmp_path / "cut.onnx", EXAMPLE)


def test_damaged_graphs_are_read_or_refused_in_one_line(tmp_path):
    raw = graph(tmp_path / "m.onnx").read_bytes()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(raw)
        for place in rng.integers(len(raw), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        (tmp_path / "damaged.onnx").write_bytes(damaged)
        message = ""
        try:
            from_onnx(tmp_path / "damaged.onnx", EXAMPLE)
        except InputError as error:
            message = str(error)
        assert "\n" not in message, seed


def test_a_graph_that_reads_another_step_is_refused(tmp_path):
    from onnx import helper

    first = [helper.make_node("Gather", ["s1", "zero"], ["h2"], axis=0)]
    first.insert(0, helper.make_node("Constant", [], ["zero"], value_int=0))
    with pytest.raises(InputError, match=r"not use the last state: its output takes step 1 of 6"):
        from_onnx(graph(tmp_path / "m.onnx", middle=first), EXAMPLE)
