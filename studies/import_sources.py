"""The source's side of the import matrix: outputs and recurrent weights of a model by the framework
it comes from, without any of the import's own code."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


def _module(state: dict[str, Any]) -> Any:
    """The module of a state dict with ``gru`` or ``cell`` and ``fc``: of torch.nn.GRU or GRUCell
    and Linear, with weight normalisation where the names say it."""
    import torch
    from torch import nn
    from torch.nn.utils.parametrizations import weight_norm

    units = next(len(v) for k, v in state.items() if k.startswith(("gru.bias", "cell.bias"))) // 3
    inputs = next(v.shape[1] for k, v in state.items() if "weight_ih" in k)

    class Source(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if "cell.weight_ih" in state:
                self.cell = nn.GRUCell(inputs, units)
            else:
                self.gru = nn.GRU(inputs, units, batch_first=True)
            self.fc = nn.Linear(units, len(state["fc.bias"]))

        def forward(self, x: Any) -> Any:
            if "cell.weight_ih" not in state:
                return self.fc(self.gru(x)[0][:, -1])
            hidden = torch.zeros(len(x), units)
            for step in range(x.shape[1]):
                hidden = self.cell(x[:, step], hidden)
            return self.fc(hidden)

    module = Source()
    for name in state:
        if name.endswith(".original0"):
            owner, _, weight = name.removesuffix(".original0").partition(".parametrizations.")
            weight_norm(getattr(module, owner), weight)
    module.load_state_dict(state)
    return module.eval()


def _state(model: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(model, map_location="cpu", weights_only=True))


def module_outputs(model: Path, x: Array) -> Array:
    """Outputs of the torch module that a state dict was saved from."""
    import torch

    with torch.no_grad():
        return np.asarray(_module(_state(model))(torch.from_numpy(x)).numpy())


def recurrent_weights(model: Path) -> list[Array]:
    """Matrices [3 H, H] of the state in the order r, z, n, layer by layer, as the file has them; no
    normalisation around the GRU folds into these."""
    if model.suffix == ".pt":
        module = _module(_state(model))
        cell = getattr(module, "cell", None)
        return [(module.gru.weight_hh_l0 if cell is None else cell.weight_hh).detach().numpy()]
    if model.suffix == ".keras":
        import h5py

        with zipfile.ZipFile(model) as archive:
            file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
            matrix = np.array(file["layers/gru/cell/vars/1"]).T
        return [_reordered(matrix)]
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(str(model)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    nodes = [node for node in graph.node if node.op_type == "GRU"]
    return [_reordered(to_array(tensors[node.input[2]])[0]) for node in nodes]


def _reordered(matrix: Array) -> Array:
    """Rows of ONNX and Keras, z, r, n, in torch's order."""
    z, r, n = np.split(matrix, 3)
    return np.concatenate([r, z, n])
