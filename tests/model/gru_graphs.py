"""A small torch network, and the same as an ONNX graph that is written by hand."""

import numpy as np
import torch
from genogate.model.checkpoints.floating import forward, layer_names

FEATURES, UNITS, CLASSES = 8, 12, 10
EXAMPLE = np.random.default_rng(2026).standard_normal((3, 6, FEATURES)).astype(np.float32)


class Net(torch.nn.Module):
    """As users write it."""

    def __init__(self, layers=1, first=True, bias=True, **more):
        super().__init__()
        self.rnn = torch.nn.GRU(FEATURES, UNITS, layers, batch_first=first, bias=bias, **more)
        self.fc = torch.nn.Linear(UNITS, CLASSES, bias=bias)
        self.first = first

    def forward(self, x):
        states, last = self.rnn(x)
        return self.fc(states[:, -1] if self.first else last[-1])


def net(**more):
    torch.manual_seed(2026)
    return Net(**more).eval()


def state(**more):
    return {name: value.numpy() for name, value in net(**more).state_dict().items()}


def same(checkpoint, model, first=True):
    x = np.random.default_rng(2026).standard_normal((5, 9, FEATURES)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x if first else x.swapaxes(0, 1).copy())).numpy()
    np.testing.assert_allclose(forward(checkpoint, x).logits, expected, atol=2e-6)


def to_onnx_order(array):
    r, z, n = np.split(array, 3)
    return np.concatenate([z, r, n])


def graph(
    path, layers=1, extra=None, soft=False, front=None, middle=None, given=None, **attributes
):
    """The net as an ONNX file, written by hand: [batch, steps, features] to [batch, classes].

    front : nodes that make x1 of x, for the GRU
    middle : nodes that make h2, for the linear layer, of h, the last state, or of s1, all states
    given : initial values, beside or in place of the net's own
    attributes : of the GRU nodes
    """
    from onnx import TensorProto, helper, numpy_helper

    weights, nodes, values = state(layers=layers), [], {"last": np.array(-1), "axis": np.array([1])}
    nodes += front or []
    nodes.append(helper.make_node("Transpose", ["x1" if front else "x"], ["s0"], perm=[1, 0, 2]))
    form = {"linear_before_reset": 1, "hidden_size": UNITS} | attributes
    for k in range(layers):
        w_ih, w_hh, b_ih, b_hh = (to_onnx_order(weights[f"rnn.{n}"]) for n in layer_names(k))
        values |= {
            f"W{k}": w_ih[None],
            f"R{k}": w_hh[None],
            f"B{k}": np.concatenate([b_ih, b_hh])[None],
        }
        names = [f"s{k}", f"W{k}", f"R{k}", f"B{k}", *(extra or [])]
        nodes.append(helper.make_node("GRU", names, [f"Y{k}", f"H{k}"], **form))
        nodes.append(helper.make_node("Squeeze", [f"Y{k}", "axis"], [f"s{k + 1}"]))
    nodes.append(helper.make_node("Gather", [f"s{layers}", "last"], ["h"], axis=0))
    nodes += middle or []
    values |= {"C": weights["fc.weight"], "b": weights["fc.bias"]} | (given or {})
    name = "h2" if middle else "h"
    nodes.append(helper.make_node("Gemm", [name, "C", "b"], ["logits"], transB=1))
    if soft:
        nodes.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t", FEATURES])],
        [helper.make_tensor_value_info("y" if soft else "logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(made, opset_imports=opset).SerializeToString())
    return path
