"""The float network whose answers a quantised one learns from (arXiv 1503.02531)."""

from typing import Any

import numpy as np

from ..checkpoints.descent import in_torch
from ..checkpoints.floating import Checkpoint, layer_names
from ..data.measures import at_last, filled, lengths_of
from .recipe import PARTS


class Teacher:
    """The float network's answers."""

    def __init__(self, torch: Any, checkpoint: Checkpoint) -> None:
        self.torch, self.layers, self.every = torch, [], checkpoint.head.every
        self.dense = [
            (
                name,
                function,
                *(torch.from_numpy(checkpoint.tensors[f"{name}.{part}"]) for part in PARTS),
            )
            for name, function in checkpoint.functions.items()
        ]
        self.states = [
            torch.from_numpy(checkpoint.initial_state(k)) for k in range(checkpoint.layers)
        ]
        inputs = checkpoint.tensors["weight_ih_l0"].shape[1]
        for k in range(checkpoint.layers):
            gru = torch.nn.GRU(inputs, inputs := checkpoint.hidden_size(k), batch_first=True)
            with torch.no_grad():
                for parameter, name in zip(layer_names(0), layer_names(k), strict=True):
                    getattr(gru, parameter).copy_(torch.from_numpy(checkpoint.tensors[name]))
            self.layers.append(gru)
        self.weight, self.bias = (
            torch.from_numpy(checkpoint.tensors[f"classifier.{name}"])
            for name in ("weight", "bias")
        )

    def __call__(self, x: np.ndarray) -> Any:
        """Logits float64 [batch, (steps,) classes]."""
        with self.torch.no_grad():
            value = self._through("front", self.torch.from_numpy(filled(x)))
            for gru, state in zip(self.layers, self.states, strict=True):
                value = gru(value, state.expand(1, len(x), -1).contiguous())[0]
            if not self.every:
                value = at_last(value, lengths_of(x))
            value = self._through("back", value)
            return (value @ self.weight.T + self.bias).double()

    def _through(self, place: str, value: Any) -> Any:
        """Outputs of the dense layers at `place`."""
        for name, function, weight, bias in self.dense:
            if name.startswith(place):
                value = in_torch(self.torch, function)(value @ weight.T + bias)
        return value
