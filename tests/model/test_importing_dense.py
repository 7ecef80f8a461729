"""Models with dense layers around the GRU, or with a first state of their own, from elsewhere."""

import genogate
import numpy as np
import pytest
from genogate.model.checkpoints.chain import Asked
from genogate.model.checkpoints.floating import forward
from genogate.model.checkpoints.importing import from_onnx, from_state
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.quantize.quantize import quantize
from genogate.sim import golden

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
from torch import nn  # noqa: E402

FEATURES, UNITS, CLASSES = 6, 9, 4
X = np.random.default_rng(2026).standard_normal((20, 9, FEATURES)).astype(np.float32)


class Net(nn.Module):
    """Modules in front, a GRU, and modules behind its last state or all of its states."""

    def __init__(self, front, back, every=False, layers=1, state=False, inputs=None):
        super().__init__()
        torch.manual_seed(7)
        self.front, self.back = (nn.Sequential(*modules) for modules in (front(), back()))
        self.gru = nn.GRU(inputs or FEATURES, UNITS, layers, batch_first=True)
        self.every = every
        self.h0 = nn.Parameter(torch.rand(layers, 1, UNITS) - 0.5) if state else None

    def forward(self, x):
        state = None if self.h0 is None else self.h0.expand(-1, x.shape[0], -1).contiguous()
        states, _ = self.gru(self.front(x), state)
        return self.back(states if self.every else states[:, -1])


def norm(size):
    module = nn.BatchNorm1d(size)
    with torch.no_grad():
        for array in (module.weight, module.running_var):
            array.uniform_(0.5, 2)
        for array in (module.bias, module.running_mean):
            array.uniform_(-1, 1)
    return module


def classifier(units=UNITS):
    return [nn.Linear(units, CLASSES)]


#: Network, functions of its dense layers, and what is asked of it.
NETWORKS = {
    "relu in front": (
        lambda: Net(lambda: [nn.Linear(FEATURES, 7), nn.ReLU()], classifier, inputs=7),
        {"front0": "relu"},
    ),
    "relu on the last state": (
        lambda: Net(list, lambda: [nn.ReLU(), *classifier()]),
        {"back0": "relu"},
    ),
    "two linear layers behind": (
        lambda: Net(list, lambda: [nn.Linear(UNITS, 12), nn.Dropout(), *classifier(12)]),
        {},
    ),
    "two linear layers with a function between": (
        lambda: Net(
            list,
            lambda: [
                nn.Linear(UNITS, 12),
                nn.Sigmoid(),
                nn.Linear(12, 5),
                nn.Tanh(),
                *classifier(5),
            ],
        ),
        {"back0": "sigmoid", "back1": "tanh"},
    ),
    "normalised between relu and classifier": (
        lambda: Net(
            list, lambda: [nn.Linear(UNITS, 8), norm(8), nn.ReLU(), norm(8), *classifier(8)]
        ),
        {"back0": "relu"},
    ),
    "all around two layers": (
        lambda: Net(
            lambda: [nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, 7), nn.ReLU()],
            lambda: [nn.Linear(UNITS, 8), nn.ReLU(), *classifier(8)],
            layers=2,
            state=True,
            inputs=7,
        ),
        {"front0": "tanh", "front1": "relu", "back0": "relu"},
    ),
    "a first state of its own": (lambda: Net(list, classifier, state=True), {}),
}
#: As in a denoiser: gains at every step.
GAINS = (
    lambda: Net(
        lambda: [nn.Linear(FEATURES, 7)],
        lambda: [nn.Linear(UNITS, 12), nn.ReLU(), nn.Linear(12, CLASSES), nn.Sigmoid()],
        every=True,
        layers=2,
        inputs=7,
    ),
    {"back0": "relu"},
)


def exported(model, path, axes=True):
    dynamic = {"dynamic_axes": {"x": {0: "batch", 1: "steps"}}} if axes else {}
    torch.onnx.export(
        model.eval(),
        (torch.from_numpy(X[:2]),),
        str(path),
        dynamo=False,
        input_names=["x"],
        **dynamic,
    )
    return path


def outputs(model):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(X)).numpy()


def near(checkpoint, expected):
    """INT8 is near the float network, as a share of the spread of its answers."""
    model = quantize(checkpoint, Genome.uniform(8, *checkpoint.counts), None, X)
    result = golden.run(model, model.quantize_input(X))
    real = result.logits * model.info["logit_scale"]
    if result.codes is not None:
        real = model.stage.real(result.codes)
    assert np.sqrt(((real - expected) ** 2).mean()) < 0.1 * expected.std()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_an_onnx_graph_with_dense_layers_is_read(name, tmp_path):
    make, functions = NETWORKS[name]
    model = make()
    checkpoint = from_onnx(exported(model, tmp_path / "m.onnx"), X, CLASSES)
    assert checkpoint.functions == functions
    np.testing.assert_allclose(forward(checkpoint, X).logits, outputs(model), atol=1e-5)
    near(checkpoint, outputs(model))


@pytest.mark.filterwarnings("ignore")
def test_gains_at_every_step_are_the_heads_sigmoid(tmp_path):
    make, functions = GAINS
    model = make()
    asked = Asked(every=True, real=True)
    checkpoint = from_onnx(exported(model, tmp_path / "m.onnx"), X, CLASSES, asked)
    assert checkpoint.functions == functions
    assert str(checkpoint.head) == "sigmoid codes at every step"
    np.testing.assert_allclose(forward(checkpoint, X).values, outputs(model), atol=1e-5)
    near(checkpoint, outputs(model))


@pytest.mark.filterwarnings("ignore")
def test_which_class_is_greatest_does_not_depend_on_a_tanh_that_ends_the_network(tmp_path):
    model = Net(list, lambda: [*classifier(), nn.Tanh()])
    path = exported(model, tmp_path / "m.onnx")
    checkpoint = from_onnx(path, X, CLASSES)
    assert checkpoint.functions == {}
    np.testing.assert_array_equal(forward(checkpoint, X).classes, outputs(model).argmax(-1))
    # Of real values it is the head's function.
    real = from_onnx(path, X, CLASSES, Asked(real=True))
    assert real.head.activation == "tanh"
    np.testing.assert_allclose(forward(real, X).values, outputs(model), atol=1e-5)


class Clipped(nn.Module):
    """Limits as ``torch.clamp`` sets them."""

    def __init__(self, low=None, high=None):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x):
        return torch.clamp(x, self.low, self.high)


@pytest.mark.filterwarnings("ignore")
def test_limits_that_change_nothing_are_left_out_and_one_at_zero_is_a_relu(tmp_path):
    gains = Net(list, lambda: [*classifier(), nn.Sigmoid(), Clipped(1e-4, 1.0)], every=True)
    asked = Asked(every=True, real=True)
    checkpoint = from_onnx(exported(gains, tmp_path / "m.onnx"), X, CLASSES, asked)
    assert checkpoint.head.activation == "sigmoid"
    np.testing.assert_allclose(forward(checkpoint, X).values, outputs(gains), atol=1e-4)
    relu = Net(list, lambda: [nn.Linear(UNITS, 8), Clipped(0.0), *classifier(8)])
    checkpoint = from_onnx(exported(relu, tmp_path / "m.onnx"), X, CLASSES)
    assert checkpoint.functions == {"back0": "relu"}
    np.testing.assert_allclose(forward(checkpoint, X).logits, outputs(relu), atol=1e-5)
    relu6 = Net(list, lambda: [nn.Linear(UNITS, 8), Clipped(0.0, 6.0), *classifier(8)])
    with pytest.raises(InputError, match="operator Clip is not supported behind a linear layer"):
        from_onnx(exported(relu6, tmp_path / "m.onnx"), X, CLASSES)


class Apart(Net):
    """A dense layer between two GRU layers, or a first state for each sequence."""

    def __init__(self, between):
        super().__init__(list, classifier)
        self.between, self.second = between, nn.GRU(UNITS, UNITS, batch_first=True)
        self.states = nn.Parameter(torch.rand(1, 2, UNITS))

    def forward(self, x):
        if not self.between:
            return self.back(self.gru(x, self.states)[0][:, -1])
        return self.back(self.second(torch.relu(self.gru(x)[0]))[0][:, -1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Apart(True), "GRU layer 2 stands behind a relu behind GRU layer 1: dense layers"),
        (lambda: Apart(False), "GRU layer 1 begins in another state for each sequence"),
        (
            lambda: Net(lambda: [nn.Linear(FEATURES, FEATURES), nn.LeakyReLU()], classifier),
            "operator LeakyRelu is not supported behind a linear layer on the input: .* ReLU",
        ),
        (
            lambda: Net(list, lambda: [*[nn.Linear(UNITS, UNITS), nn.ReLU()] * 9, *classifier()]),
            "more than 8 dense layers",
        ),
        (
            lambda: Net(list, lambda: [nn.LayerNorm(UNITS), *classifier()]),
            "LayerNormalization is not supported behind GRU layer 1: its mean and spread are",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_true_line(make, message, tmp_path):
    path = exported(make(), tmp_path / "m.onnx", axes=False)
    with pytest.raises(InputError, match=message) as refusal:
        from_onnx(path, X[:2], CLASSES)
    assert "\n" not in str(refusal.value)


def state(model):
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "name", ["relu in front", "two linear layers behind", "all around two layers"]
)
def test_a_state_dict_is_the_network_with_the_functions_that_are_given(name):
    make, functions = NETWORKS[name]
    model = make()
    front = [function for layer, function in functions.items() if layer.startswith("front")]
    back = [function for layer, function in functions.items() if layer.startswith("back")]
    if not functions:
        back = ["none"]
    checkpoint = from_state(state(model), classes=CLASSES, front=front, back=back)
    assert checkpoint.functions == functions
    np.testing.assert_allclose(forward(checkpoint, X).logits, outputs(model), atol=1e-5)


def test_the_first_state_of_a_state_dict_is_taken():
    model = NETWORKS["a first state of its own"][0]()
    checkpoint = from_state(state(model), classes=CLASSES)
    np.testing.assert_allclose(forward(checkpoint, X).logits, outputs(model), atol=1e-5)
    wrong = {**state(model), "h0": np.zeros((2, 1, UNITS), np.float32)}
    with pytest.raises(InputError, match=r"tensor h0 \(2, 1, 9\): a first state for each"):
        from_state(wrong, classes=CLASSES)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("conv.weight", (5, 7, 3), r"tensor conv.weight \(5, 7, 3\) is of a convolution"),
        ("mix.in_proj_weight", (27, 9), "tensor mix.in_proj_weight is of attention"),
    ],
)
def test_modules_beside_a_gru_that_are_no_linear_layer_are_named(name, shape, message):
    model = NETWORKS["a first state of its own"][0]()
    with pytest.raises(InputError, match=message):
        from_state({**state(model), name: np.zeros(shape, np.float32)}, classes=CLASSES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"no linear layer from the GRU's 9 units .* \(of those between, give .*--back relu\)"),
        ({"back": ["relu"]}, "2 linear layers beside .*, functions of 0 in front and of 1 behind"),
        ({"back": ["relu", "relu"]}, "0 in front of a GRU of 7 inputs and 2 between its 9 units"),
    ],
)
def test_a_state_dict_whose_linear_layers_have_no_place_is_refused(given, message):
    model = Net(
        lambda: [nn.Linear(FEATURES, 7), nn.ReLU()],
        lambda: [nn.Linear(UNITS, 8), nn.ReLU(), *classifier(8)],
        inputs=7,
    )
    with pytest.raises(InputError, match=message):
        from_state(state(model), classes=CLASSES, **given)


def test_a_linear_layer_in_front_without_a_function_given_is_refused():
    model = NETWORKS["relu in front"][0]()
    with pytest.raises(
        InputError, match=r"beside .* linear layers, 'front.0', .* give --front and"
    ):
        from_state(state(model), classes=CLASSES)


def test_numbers_in_names_decide_the_order_of_layers_of_equal_shape():
    model = Net(
        list,
        lambda: [nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 9), nn.Tanh(), *classifier()],
    )
    tensors = state(model)
    checkpoint = from_state(tensors, classes=CLASSES, back=["relu", "tanh"])
    np.testing.assert_allclose(forward(checkpoint, X).logits, outputs(model), atol=1e-5)
    names = {"back.0": "enter", "back.2": "leave"}
    unnumbered = {
        f"{names.get(key[:6], key[:6])}{key[6:]}": array for key, array in tensors.items()
    }
    with pytest.raises(InputError, match="2 linear layers whose shapes allow several orders"):
        from_state(unnumbered, classes=CLASSES, back=["relu", "tanh"])


class Functional(nn.Module):
    """A ReLU that leaves no trace in the state dict."""

    def __init__(self, features, classes):
        super().__init__()
        torch.manual_seed(5)
        self.gru, self.fc = nn.GRU(features, 8, batch_first=True), nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(torch.relu(self.gru(x)[0][:, -1]))


def test_a_module_is_what_its_forward_computes():
    model = Functional(8, 10).eval()
    network = genogate.quantize(model, "int8", activation="table")
    assert network.checkpoint.functions == {"back0": "relu"}
    x = load_task("digits-row", 0).x_test[:20]
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(forward(network.checkpoint, x).logits, expected, atol=1e-5)
