"""What training scripts really save: each file means the network that it came from."""

import argparse
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

from genogate.model.checkpoints.floating import forward  # noqa: E402
from genogate.model.checkpoints.from_keras import from_keras  # noqa: E402
from genogate.model.checkpoints.importing import from_state  # noqa: E402
from genogate.model.checkpoints.torch_files import (  # noqa: E402
    kind_of,
    read_named_state,
    read_state,
)
from genogate.model.errors import InputError  # noqa: E402

FEATURES, UNITS, CLASSES, SEED = 3, 5, 4, 2026
CASES = Path(__file__).parent / "cases"


def network(layers=1, classes=CLASSES):
    torch.manual_seed(SEED)
    gru = torch.nn.GRU(FEATURES, UNITS, layers, batch_first=True)
    return torch.nn.ModuleDict({"gru": gru, "head": torch.nn.Linear(UNITS, classes)})


def logits(model, x):
    with torch.no_grad():
        return model["head"](model["gru"](torch.from_numpy(x))[0][:, -1]).numpy()


def sequences():
    return np.random.default_rng(SEED).standard_normal((6, 7, FEATURES)).astype(np.float32)


def same(state, expected, classes=CLASSES, atol=1e-5):
    x = sequences()
    np.testing.assert_allclose(
        forward(from_state(state, classes=classes), x).logits, expected(x), atol=atol
    )


class Settings:
    """A class of the user's, pickled beside the weights."""

    rate = 0.1


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".pth.tar", ".PT", ""])
@pytest.mark.parametrize(
    ("wrap", "part"),
    [
        (lambda s: s, ""),
        (lambda s: {"model_state": s, "epoch": np.float64(3), "rate": 0.1}, "model_state"),
        (lambda s: {"state_dict": {f"module.{n}": v for n, v in s.items()}}, "state_dict"),
        (lambda s: {"checkpoint": {"model": s}, "step": torch.tensor(1)}, "checkpoint.model"),
        (lambda s: {"ema": s, "args": argparse.Namespace(lr=0.1, name="a")}, "ema"),
        (lambda s: {"ema": {n: 2 * v for n, v in s.items()}, "net": s}, "net"),
        (lambda s: {"settings": Settings(), "weights": s}, "weights"),
    ],
)
def test_weights_are_found_where_training_scripts_put_them(tmp_path, wrap, part, suffix):
    model, path = network(), tmp_path / f"model{suffix}"
    torch.save(wrap(model.state_dict()), path)
    state, key, _ = read_named_state(path)
    assert key == part
    same(state, lambda x: logits(model, x))


def test_both_styles_of_weight_norm_are_multiplied_out():
    for style in (torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm):
        model = network()
        for name in ("weight_ih_l0", "weight_hh_l0"):
            style(model["gru"], name)
        style(model["head"])
        with torch.no_grad():
            for name, value in model.named_parameters():
                if name.endswith(("_g", "original0")):
                    value *= 1.5
        expected = network()
        with torch.no_grad():
            for name, value in expected.named_parameters():
                if "weight" in name:
                    value *= 1.5
        same(
            {n: v.numpy() for n, v in model.state_dict().items()},
            lambda x, net=expected: logits(net, x),
        )


def test_a_cell_and_two_modules_in_series_are_layers():
    model = network()
    state = {n: v.numpy() for n, v in model.state_dict().items()}
    same({n.replace("_l0", ""): v for n, v in state.items()}, lambda x: logits(model, x))
    deep = network(layers=2)
    apart = {
        n.replace("gru.", "second.").replace("_l1", "_l0") if "_l1" in n else n: v.numpy()
        for n, v in deep.state_dict().items()
    }
    same(apart, lambda x: logits(deep, x))


def in_series(names, sizes, features):
    """Modules of torch.nn.GRU one behind the other, and their logits for sequences."""
    torch.manual_seed(SEED)
    model, x = torch.nn.ModuleDict(), torch.randn(6, 7, features)
    last = x
    with torch.no_grad():
        for name, inputs, units in zip(names, [features, *sizes], sizes, strict=False):
            model[name] = torch.nn.GRU(inputs, units, batch_first=True)
            last = model[name](last)[0]
        model["head"] = torch.nn.Linear(sizes[-1], CLASSES)
        expected = model["head"](last[:, -1]).numpy()
    return {n: v.numpy() for n, v in model.state_dict().items()}, x.numpy(), expected


@pytest.mark.parametrize(
    ("names", "sizes", "features"),
    [
        (["second", "first"], [5, 5], 3),
        (["c", "a", "b"], [5, 6, 4], 3),
        ([f"gru{k}" for k in range(9, 12)], [5, 5, 5], 5),
    ],
)
def test_modules_in_series_are_ordered_by_size_and_number_not_by_the_file(names, sizes, features):
    state, x, expected = in_series(names, sizes, features)
    for order in (sorted(state), sorted(state, reverse=True)):
        checkpoint = from_state({name: state[name] for name in order}, classes=CLASSES)
        np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "sizes", "features", "message"),
    [
        (["first", "after"], [5, 5], 5, "2 recurrent modules, 'after', 'first': their sizes allow"),
        ([f"x{'y' * k}" for k in range(9)], [5] * 9, 5, "9 recurrent modules, .* number their"),
    ],
)
def test_an_order_that_nothing_tells_is_refused(names, sizes, features, message):
    state, _, _ = in_series(names, sizes, features)
    with pytest.raises(InputError, match=message):
        from_state(state, classes=CLASSES)


def test_one_logit_becomes_two():
    model = network(classes=1)
    state = {n: v.numpy() for n, v in model.state_dict().items()}
    same(state, lambda x: logits(model, x) * [[0, 1]], classes=2)
    with pytest.raises(InputError, match="no linear layer from the GRU"):
        from_state(state, classes=3)


def test_half_precision_is_read_and_less_is_refused(tmp_path):
    from safetensors.torch import save_file

    model, path = network(), tmp_path / "model.bin"
    for dtype, atol in ((torch.bfloat16, 0.1), (torch.float16, 0.01)):
        save_file({n: v.to(dtype) for n, v in model.state_dict().items()}, path)
        same(read_state(path), lambda x: logits(model, x), atol=atol)
    save_file({"gru.weight_ih_l0": torch.zeros(15, 3).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(InputError, match=r"model.bin: tensor gru.weight_ih_l0 is F8_E4M3: save it"):
        read_state(path)


def test_a_program_of_torch_export_is_named(tmp_path):
    path = tmp_path / "model.pt2"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, path)
    with pytest.raises(InputError, match=r"a program of torch\.export: save model.state_dict\(\)"):
        kind_of(path)


def test_what_holds_no_weights_is_named(tmp_path):
    path = tmp_path / "model.pt"
    with torch.device("meta"):
        torch.save(torch.nn.GRU(3, 4).state_dict(), path)
    with pytest.raises(InputError, match="has no values"):
        read_state(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(InputError, match=r"a TorchScript archive.* save model.state_dict\(\)"):
        read_state(path)
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="a NumPy archive of arrays, not a model"):
        kind_of(tmp_path / "data.npz")


def test_damaged_files_give_one_line(tmp_path):
    """Bytes of good files are changed, cut and repeated: a model or one line, never a traceback."""
    rng = np.random.default_rng(SEED)
    good = {"a.keras": tmp_path / "a.keras", "a.pt": tmp_path / "a.pt", "a.bin": tmp_path / "a.bin"}
    good["a.keras"].write_bytes((CASES / "keras_gru.keras").read_bytes())
    torch.save({"net": network().state_dict()}, good["a.pt"])
    from safetensors.torch import save_file

    save_file(network().state_dict(), good["a.bin"])
    for name, path in good.items():
        content = path.read_bytes()
        for _ in range(40):
            data = bytearray(content)
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(len(data))] = rng.integers(256)
            if rng.random() < 0.3:
                data = data[: rng.integers(1, len(data))]
            broken = tmp_path / f"broken-{name}"
            broken.write_bytes(bytes(data))
            refusal = ""
            try:
                if kind_of(broken) == "keras":
                    from_keras(broken, CLASSES)
                elif kind_of(broken) in ("torch", "safetensors"):
                    from_state(read_state(broken), classes=CLASSES)
            except InputError as error:
                refusal = str(error)
            assert "\n" not in refusal, (name, SEED)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: [s],
        lambda s: (s, {"epoch": 3}),
        lambda s: {"models": [s]},
        lambda s: {n: v.numpy() for n, v in s.items()},
        lambda s: {"n_averaged": torch.tensor(5), **{f"module.{n}": v for n, v in s.items()}},
        lambda s: {**s, **{f"ema.shadow.{n}": v + 1 for n, v in s.items()}},
    ],
)
def test_weights_in_lists_as_numpy_arrays_and_beside_counters_are_read(tmp_path, wrap):
    model, path = network(), tmp_path / "model.pt"
    torch.save(wrap(model.state_dict()), path)
    same(read_state(path), lambda x: logits(model, x))


def test_a_file_of_two_networks_says_which_was_taken(tmp_path):
    state = network().state_dict()
    torch.save({"best": state, "last": {n: 2 * v for n, v in state.items()}}, tmp_path / "a.pt")
    assert read_named_state(tmp_path / "a.pt")[1:] == ("best", ("last",))


@pytest.mark.parametrize("style", ["old", "parametrised"])
def test_spectral_norm_and_pruning_are_multiplied_out(style):
    from torch.nn.utils import parametrizations, prune, spectral_norm

    model = network()
    normalise = spectral_norm if style == "old" else parametrizations.spectral_norm
    normalise(model["head"])
    prune.l1_unstructured(model["gru"], "weight_hh_l0", 0.5)
    model["head"](torch.zeros(1, UNITS))  # one step of its power iteration
    model.eval()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    same(state, lambda x: logits(model, x))


def test_normalisation_in_a_state_dict_and_quantised_models_are_named(tmp_path):
    model = network()
    model["norm"] = torch.nn.BatchNorm1d(UNITS)
    with pytest.raises(InputError, match=r"norm.running_mean.*export it as ONNX"):
        from_state({n: v.numpy() for n, v in model.state_dict().items()}, classes=CLASSES)
    with pytest.raises(InputError, match="torch has quantised the model: save the float"):
        from_state({"fc.scale": np.ones(()), "fc.zero_point": np.ones(())}, classes=CLASSES)
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(InputError, match="an empty file"):
        kind_of(tmp_path / "empty.pt")


def test_a_missing_file_beside_an_onnx_graph_is_named_in_full(tmp_path):
    onnx = pytest.importorskip("onnx")
    from genogate.model.checkpoints.from_onnx import from_onnx

    weights = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    name = "a_name_of_some_length_that_must_not_be_cut_in_its_middle.onnx.data"
    weights.external_data.add(key="location", value=name)
    value = onnx.helper.make_tensor_value_info("x", 1, [1, 7, FEATURES])
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value], [onnx.ValueInfoProto(name="y")], [weights])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(InputError, match=f"'{name}', which is not beside it: copy that file"):
        from_onnx(tmp_path / "a.onnx", sequences())
    (tmp_path / "b.onnx.data").write_bytes(b"123")
    with pytest.raises(InputError, match="weights of an ONNX model: give the"):
        kind_of(tmp_path / "b.onnx.data")


def test_an_index_that_picks_the_last_step_of_each_sequence_is_understood(tmp_path):
    pytest.importorskip("onnx")
    from genogate.model.checkpoints.from_onnx import from_onnx

    class Picked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = network()

        def forward(self, x):
            states = self.parts["gru"](x)[0]
            last = torch.full((len(x), 1, 1), x.shape[1] - 1).expand(-1, 1, UNITS)
            return self.parts["head"](states.gather(1, last)[:, 0])

    model, x = Picked().eval(), sequences()
    torch.onnx.export(model, (torch.zeros(1, 7, FEATURES),), tmp_path / "a.onnx", dynamo=False)
    read = from_onnx(tmp_path / "a.onnx", x)
    np.testing.assert_allclose(forward(read, x).logits, logits(model.parts, x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_torch_quantised_dynamically_is_named_as_that(tmp_path):
    model = torch.nn.Sequential(torch.nn.GRU(8, 4), torch.nn.Linear(4, 3))
    quantised = torch.ao.quantization.quantize_dynamic(model, {torch.nn.GRU, torch.nn.Linear})
    torch.save(quantised.state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match="torch has quantised the model: save the float"):
        read_state(tmp_path / "model.pt")
