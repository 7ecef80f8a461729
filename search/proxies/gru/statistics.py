"""Statistics of a GRU: the 17 operators of every layer are its items."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....model.aliases import Array, Say
from ....model.checkpoints.descent import import_torch
from ....model.checkpoints.floating import Checkpoint
from ....model.data.tasks import Task
from ....model.genome import GENES
from ....model.integer import code_range
from ....model.quantize.calibrate import Calibration, calibrate
from ..collection import balanced, collect
from ..statistics import BATCH, FIXED, OWN, Statistics, cached


class GruNetwork:
    """A GRU checkpoint as :func:`collect` needs it: the 17 operators of every layer are items.

    In its virtual pass every weight matrix is divided by its largest row sum, a constant for the
    gradient: otherwise sums of absolute weights would drive all gates where they are flat, and no
    gradient would be left. Sigmoid and tanh are as always.
    """

    widths = tuple(range(2, 9))

    def __init__(self, torch: Any, checkpoint: Checkpoint, calibration: Calibration) -> None:
        checkpoint.need_plain("a proxy")
        self.torch, self.checkpoint, self.calibration = torch, checkpoint, calibration
        layers = checkpoint.layers
        self.names = tuple(
            gene if layers == 1 else f"{layer}.{gene}" for layer in range(layers) for gene in GENES
        )

        def real(name: str) -> Any:
            return torch.from_numpy(checkpoint.tensors[name].astype(np.float64))

        self.weights: list[Any] = []
        self.biases: list[Any] = []
        for layer in range(layers):
            for gene in GENES:
                dense = gene in GENES[:6]
                pair = checkpoint.operator(layer, gene) if dense else (None, None)
                for tensors, array in zip((self.weights, self.biases), pair, strict=True):
                    tensors.append(
                        None if array is None else torch.from_numpy(array.astype(np.float64))
                    )
        self.head = real("classifier.weight"), real("classifier.bias")

    def _layer(
        self, x: Any, weights: Sequence[Any], biases: Sequence[Any], added: Sequence[Any]
    ) -> dict[str, list[Any]]:
        """Outputs of every operator, step by step; `added` [17] is None or [batch, steps, H]."""
        torch = self.torch
        h = torch.zeros((len(x), weights[3].shape[0]), dtype=torch.float64)
        of = {gene: place for place, gene in enumerate(GENES)}
        taken: dict[str, list[Any]] = {gene: [] for gene in GENES}
        inputs = [x @ weights[k].T + biases[k] for k in range(3)]

        def keep(gene: str, value: Any, step: int) -> Any:
            more = added[of[gene]]
            value = value if more is None else value + more[:, step]
            taken[gene].append(value)
            return value

        for step in range(x.shape[1]):
            ir, iz, in_ = (keep(GENES[k], inputs[k][:, step], step) for k in range(3))
            hr, hz, hn = (keep(GENES[k], h @ weights[k].T + biases[k], step) for k in range(3, 6))
            r = keep("a_r", torch.sigmoid(keep("s_r", ir + hr, step)), step)
            z = keep("a_z", torch.sigmoid(keep("s_z", iz + hz, step)), step)
            p_rn = keep("p_rn", r * hn, step)
            n = keep("a_n", torch.tanh(keep("s_n", in_ + p_rn, step)), step)
            c_z = keep("c_z", 1 - z, step)
            p_zn, p_zh = keep("p_zn", c_z * n, step), keep("p_zh", z * h, step)
            h = keep("s_h", p_zn + p_zh, step)
        return taken

    def _run(
        self, x: Any, weights: Sequence[Any], biases: Sequence[Any], added: Sequence[Any], head: Any
    ) -> tuple[Any, list[Any]]:
        outputs = []
        for start in range(0, len(self.names), len(GENES)):
            part = slice(start, start + len(GENES))
            taken = self._layer(x, weights[part], biases[part], added[part])
            stacked = {gene: self.torch.stack(values, 1) for gene, values in taken.items()}
            x = stacked["s_h"]
            outputs += [stacked[gene] for gene in GENES]
        return x[:, -1] @ head[0].T + head[1], outputs

    def forward(
        self, x: Any, weights: Sequence[Any], added: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        return self._run(x, weights, self.biases, added, self.head)

    def virtual(self, weights: Sequence[Any], added: Sequence[Any]) -> Any:
        torch = self.torch
        calm = [
            None if weight is None else weight / weight.detach().sum(1).max() for weight in weights
        ]
        biases = [None if bias is None else torch.zeros_like(bias) for bias in self.biases]
        steps = next(shift.shape[1] for shift in added if shift is not None)
        x = torch.ones((1, steps, self.checkpoint.input_size), dtype=torch.float64)
        head = self.head[0].abs(), torch.zeros_like(self.head[1])
        return self._run(x, calm, biases, added, head)[0].sum()

    def error(self, item: int, bits: int, values: Array, columns: Array) -> Array:
        layer, place = divmod(item, len(GENES))
        name = GENES[place]
        of = self.calibration.layers[layer]
        if place < 6:
            weights = of.weights[name]
            scale = weights.curve(bits, "tensor").best_scale
            codes, _, _ = weights.quantize(bits, scale, "tensor")
            return codes[:, columns] * scale - weights.matrix[:, columns]
        tensor = of.tensors[name]
        scale = tensor.curve(bits).best_scale
        zero = tensor.zero_point(bits, scale)
        codes = np.clip(np.floor(values / scale + 0.5) + zero, *code_range(bits))
        return (codes - zero) * scale - values

    def facts(self) -> dict[str, Array]:
        of = {gene: place for place, gene in enumerate(GENES)}
        elements, macs, parameters, stages, operands = [], [], [], [], []
        for layer in range(self.checkpoint.layers):
            start, hidden = layer * len(GENES), self.checkpoint.hidden_size(layer)
            below = start - len(GENES) + of["s_h"] if layer else FIXED
            pairs = {
                gene: (OWN, below if gene[2] == "i" else start + of["s_h"]) for gene in GENES[:6]
            }
            # A dense operator's output has 8 bits, whatever its gene.
            pairs |= {
                "p_rn": (start + of["a_r"], FIXED),
                "p_zn": (start + of["c_z"], start + of["a_n"]),
                "p_zh": (start + of["a_z"], start + of["s_h"]),
            }
            for gene in GENES:
                size = self.weights[start + of[gene]].numel() if gene in GENES[:6] else 0
                elements.append(size or hidden)
                parameters.append(size)
                macs.append(size or (hidden if gene in pairs else 0))
                operands.append(pairs.get(gene, (FIXED, FIXED)))
                stages.append(layer)
        named = {
            "elements": elements,
            "macs": macs,
            "parameters": parameters,
            "stages": stages,
            "operands": operands,
        }
        return {name: np.array(value, np.int64) for name, value in named.items()}


def of_gru(
    checkpoint: Checkpoint,
    task: Task,
    *,
    seed: int = 0,
    batch: int = BATCH,
    keep: bool = True,
    say: Say = lambda text: None,
) -> Statistics:
    """Statistics of a GRU on a batch of its calibration data, drawn with `seed`.

    keep : whether they are taken from, and left in, the cache
    """

    task.only_plain("a training-free proxy")

    def make() -> Statistics:
        torch = import_torch()
        calibration = calibrate(checkpoint, task.x_calibration, fold=False)
        # The calibration data are sequences of the training part: these have a class.
        indices = balanced(task.y_train, batch, seed)
        network = GruNetwork(torch, checkpoint, calibration)
        provenance = {
            "network": "gru",
            "checkpoint_hash": checkpoint.hash,
            "task": task.name,
            "split_hash": task.split_hash,
            "torch": str(torch.__version__),
        }
        return collect(
            network, task.x_train[indices], task.y_train[indices], provenance, seed=seed, say=say
        )

    key = ("gru", checkpoint.hash, task.split_hash, seed, batch)
    return cached(key, make) if keep else make()
