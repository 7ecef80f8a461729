"""Networks from elsewhere that answer at every step, or with real values."""

import numpy as np
import pytest
import torch
from genogate.model.checkpoints.floating import forward
from genogate.model.checkpoints.importing import import_model
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.head import Head

N, T, FEATURES, UNITS, OUTPUTS = 40, 9, 3, 6, 2


class Net(torch.nn.Module):
    """GRU, linear layer and an activation, at every step or the last."""

    def __init__(self, every, activation=None, outputs=OUTPUTS):
        super().__init__()
        torch.manual_seed(3)
        self.gru = torch.nn.GRU(FEATURES, UNITS, batch_first=True)
        self.fc = torch.nn.Linear(UNITS, outputs)
        self.every, self.activation = every, activation or torch.nn.Identity()

    def forward(self, x):
        states = self.gru(x)[0]
        return self.activation(self.fc(states if self.every else states[:, -1]))


def task_of(folder, net, real):
    """A task whose targets are what `net` answers."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (N, T, FEATURES)).astype(np.float32)
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    if not real:
        y = y.argmax(-1) if net.every else np.arange(N) % OUTPUTS
    np.savez(folder / "task.npz", x=x, y=y)
    return load_task(str(folder / "task.npz"))


def saved(folder, net, kind):
    path = folder / f"net.{kind}"
    if kind == "pt":
        torch.save(net.state_dict(), path)
    else:
        example = torch.zeros(2, T, FEATURES)
        axes = {"x": {0: "n"}}
        torch.onnx.export(
            net, (example,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["pt", "onnx"])
@pytest.mark.parametrize(
    ("every", "activation", "real"),
    [
        (True, None, False),
        (True, torch.nn.Sigmoid(), True),
        (True, None, True),
        (False, None, True),
    ],
    ids=["tags", "mask", "every value", "value"],
)
def test_a_network_answers_as_it_did(tmp_path, kind, every, activation, real):
    pytest.importorskip("onnx")
    net = Net(every, activation)
    task = task_of(tmp_path, net, real)
    checkpoint = import_model(saved(tmp_path, net, kind), task)
    names = {None: "none", torch.nn.Sigmoid: "sigmoid"}
    function = names[activation and type(activation)] if real else "none"
    at = "every" if every else "last"
    assert checkpoint.head == Head(at, "codes" if real else "class", function)
    with torch.no_grad():
        expected = net(torch.from_numpy(task.x_test)).numpy()
    result = forward(checkpoint, task.x_test)
    got = result.values if real else result.logits
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert checkpoint.info["accuracy"]["test"] == pytest.approx(1, abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_answers_elsewhere_than_asked_is_refused(tmp_path):
    pytest.importorskip("onnx")
    every, last = Net(True), Net(False)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tags, classes = task_of(tmp_path / "a", every, False), task_of(tmp_path / "b", last, False)
    with pytest.raises(InputError, match="it answers at 1 of 9 steps, where the task asks for"):
        import_model(saved(tmp_path / "b", last, "onnx"), tags)
    with pytest.raises(InputError, match="a task with a target at every step takes it"):
        import_model(saved(tmp_path / "a", every, "onnx"), classes)
    soft = Net(True, torch.nn.Softmax(-1))
    real = task_of(tmp_path / "a", soft, True)
    with pytest.raises(InputError, match="goes through Softmax, where the task asks for real"):
        import_model(saved(tmp_path / "a", soft, "onnx"), real)
