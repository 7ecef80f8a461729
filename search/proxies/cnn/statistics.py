"""Statistics of a small CNN: every layer is an item."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....model.aliases import Array, Say
from ....model.checkpoints.descent import import_torch
from ..collection import balanced, collect
from ..statistics import BATCH, FIXED, OWN, Statistics, cached
from .layers import WIDTHS, LayerShape, convolve, data, through
from .network import load
from .quantisation import Quantised, quantised


class CnnNetwork:
    """A shipped CNN as :func:`.collection.collect` needs it: every layer is an item."""

    widths = WIDTHS

    def __init__(self, torch: Any, quantised: Quantised) -> None:
        self.torch, self.made, self.shapes = torch, quantised, quantised.shapes
        self.names = tuple(shape.name for shape in self.shapes)
        self.weights = [
            torch.from_numpy(quantised.net.weights[name].astype(np.float64)) for name in self.names
        ]
        self.biases = [
            torch.from_numpy(quantised.net.biases[name].astype(np.float64)) for name in self.names
        ]

    def _run(
        self, x: Any, weights: Sequence[Any], biases: Sequence[Any], added: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        outputs: dict[str, Any] = {}
        place = {name: k for k, name in enumerate(self.names)}

        def apply(shape: LayerShape, value: Any) -> Any:
            k = place[shape.name]
            out = convolve(self.torch, shape, value, weights[k], biases[k])
            # Channels last, as statistics have them.
            last = out.permute(0, 2, 3, 1) if shape.kernel else out
            if added[k] is not None:
                last = last + added[k]
            outputs[shape.name] = last
            return last.permute(0, 3, 1, 2) if shape.kernel else last

        logits = through(self.shapes, apply, x[:, None])
        return logits, [outputs[name] for name in self.names]

    def forward(
        self, x: Any, weights: Sequence[Any], added: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        return self._run(x, weights, self.biases, added)

    def virtual(self, weights: Sequence[Any], added: Sequence[Any]) -> Any:
        task = data(self.made.net.name)
        x = self.torch.ones((1, task.steps, task.features), dtype=self.torch.float64)
        biases = [self.torch.zeros_like(bias) for bias in self.biases]
        return self._run(x, weights, biases, added)[0].sum()

    def error(self, item: int, bits: int, values: Array, columns: Array) -> Array:
        return self.made.error(self.names[item], bits)[:, columns]

    def facts(self) -> dict[str, Array]:
        task = data(self.made.net.name)
        x = self.torch.zeros((1, task.steps, task.features), dtype=self.torch.float64)
        with self.torch.no_grad():
            _, outputs = self.forward(x, self.weights, [None] * len(self.names))
        sizes = np.array([weight.numel() for weight in self.weights], np.int64)
        places = np.array([out.numel() // out.shape[-1] for out in outputs], np.int64)
        return {
            "elements": sizes,
            "parameters": sizes,
            "macs": sizes * places,
            "stages": np.array([shape.stage for shape in self.shapes], np.int64),
            "operands": np.array([(OWN, FIXED)] * len(sizes), np.int64),
        }


def of_cnn(
    name: str, *, seed: int = 0, keep: bool = True, say: Say = lambda text: None
) -> Statistics:
    """Statistics of the shipped network `name` on a batch of training images drawn with `seed`."""
    net = load(name)

    def make() -> Statistics:
        torch = import_torch()
        task = data(name)
        indices = balanced(task.y_train, BATCH, seed)
        provenance = {
            "network": "cnn",
            "checkpoint_hash": net.hash,
            "task": task.name,
            "split_hash": task.split_hash,
            "torch": str(torch.__version__),
        }
        return collect(
            CnnNetwork(torch, quantised(name)),
            task.x_train[indices],
            task.y_train[indices],
            provenance,
            seed=seed,
            say=say,
        )

    key = ("cnn", name, net.hash, seed)
    return cached(key, make) if keep else make()
