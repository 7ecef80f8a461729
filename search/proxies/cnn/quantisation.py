"""A CNN with its layers at all widths, of which a configuration picks.

Weights are symmetric with one scale for each output channel, chosen by squared output error; the
mean error that rounding causes is taken out of the bias; inputs of all layers have 8 bits, ranges
from the calibration data.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ....model.aliases import Array
from ....model.checkpoints.descent import import_torch
from ....model.integer import code_range
from ...genomes.evaluate import SMALL, shifted
from ..collection import balanced
from ..divergence import COMPARED, kl
from .layers import WIDTHS, LayerShape, convolve, data, layers, through
from .network import Net, load

#: Images that calibration looks at, and that a configuration is judged by, at most.
CALIBRATED, JUDGED = 128, 1000
#: Bits of a bias.
BIAS_BITS = 16
#: Scales tried for a channel's weights, from the one that covers them downwards.
SCALES = np.linspace(1.0, 0.25, 31)


@lru_cache(maxsize=4)
def judged(name: str) -> tuple[Array, Array]:
    """Images and classes that configurations are judged by: of the validation part, with shifted
    copies where it is small."""
    task = data(name)
    x, y = shifted(task) if len(task.y_val) < SMALL else (task.x_val, task.y_val)
    indices = np.linspace(0, len(y) - 1, min(JUDGED, len(y))).astype(np.int64)
    return x[indices], y[indices]


class Quantised:
    """A network with its layers at all widths, of which a configuration picks.

    calibration : number of the draw of training images that ranges, scales and bias corrections
        are made from
    """

    def __init__(self, net: Net, calibration: int = 0) -> None:
        self.torch = torch = import_torch()
        self.net, self.shapes = net, layers(net.name)
        task = data(net.name)
        order = np.random.default_rng([calibration, 101]).permutation(len(task.y_train))
        images = task.x_train[np.sort(order[:CALIBRATED])]
        seen: dict[str, Any] = {}

        def look(shape: LayerShape, x: Any) -> Any:
            seen[shape.name] = x
            return convolve(torch, shape, x, self._real[shape.name], self._bias[shape.name])

        self._real = {k: torch.from_numpy(v) for k, v in net.weights.items()}
        self._bias = {k: torch.from_numpy(v) for k, v in net.biases.items()}
        with torch.no_grad():
            through(self.shapes, look, torch.from_numpy(images)[:, None])
        #: Step of the 8-bit codes of each layer's inputs, none of which is negative.
        self.step = {name: max(float(x.max()), 1e-9) / 255 for name, x in seen.items()}
        self.codes: dict[tuple[str, int], Any] = {}
        self.bias: dict[tuple[str, int], Any] = {}
        for shape in self.shapes:
            first, second = self._moments(shape, seen[shape.name])
            flat = net.weights[shape.name].reshape(shape.outputs, -1).astype(np.float64)
            for bits in WIDTHS:
                rounded = quantise(flat, second, bits)
                drift = ((rounded - flat) * first).sum(1)
                self.codes[shape.name, bits] = torch.from_numpy(
                    rounded.reshape(shape.weight_shape).astype(np.float32)
                )
                self.bias[shape.name, bits] = torch.from_numpy(
                    (net.biases[shape.name] - drift).astype(np.float32)
                )

    def _moments(self, shape: LayerShape, x: Any) -> tuple[Array, Array]:
        """Mean and mean square of what each weight is multiplied by, [outputs or 1, weights]."""
        torch = self.torch
        if shape.kernel:
            x = torch.nn.functional.unfold(
                x, shape.kernel, padding=shape.kernel // 2, stride=shape.stride
            )
            x = x.transpose(1, 2).reshape(-1, x.shape[1])
        x = x.numpy().astype(np.float64)
        first, second = x.mean(0), (x**2).mean(0)
        # A depthwise filter sees the patches of one channel.
        groups = shape.groups
        return first.reshape(groups, -1), second.reshape(groups, -1)

    def logits(self, genome: Sequence[int] | None, x: Array) -> Array:
        """Logits [batch, 10] for images [batch, h, w]; without a genome of the float network."""
        torch = self.torch
        bits = (
            None
            if genome is None
            else dict(zip((s.name for s in self.shapes), genome, strict=True))
        )

        def apply(shape: LayerShape, value: Any) -> Any:
            if bits is None:
                return convolve(torch, shape, value, self._real[shape.name], self._bias[shape.name])
            step = self.step[shape.name]
            value = (value / step).round_().clamp_(0, 255).mul_(step)
            key = shape.name, int(bits[shape.name])
            return convolve(torch, shape, value, self.codes[key], self.bias[key])

        with torch.inference_mode():
            parts = [
                through(self.shapes, apply, torch.from_numpy(x[k : k + 250])[:, None]).numpy()
                for k in range(0, len(x), 250)
            ]
        return np.concatenate(parts)

    def accuracy(self, genome: Sequence[int] | None, x: Array, y: Array) -> float:
        """Share of right classes."""
        return float((self.logits(genome, x).argmax(1) == y).mean())

    def error(self, name: str, bits: int) -> Array:
        """Q_b(W) - W, [outputs, weights of an output]."""
        weight = self.net.weights[name].astype(np.float64)
        rounded = self.codes[name, bits].numpy().astype(np.float64)
        return (rounded - weight).reshape(len(weight), -1)


def quantise(flat: Array, second: Array, bits: int) -> Array:
    """Weights [outputs, weights] rounded to codes of `bits` bits, symmetric, each row with the
    scale of least squared error weighted by `second`, the mean square of the inputs."""
    low, high = code_range(bits)
    covering = np.abs(flat).max(1) / high + 1e-12
    scales = covering[:, None, None] * SCALES[:, None]
    rounded = np.clip(np.floor(flat[:, None] / scales + 0.5), low, high) * scales
    errors = ((rounded - flat[:, None]) ** 2 * (second + 0.02 * second.mean())[:, None]).sum(-1)
    return rounded[np.arange(len(flat)), errors.argmin(1)]


@lru_cache(maxsize=4)
def quantised(name: str, calibration: int = 0) -> Quantised:
    """The shipped network `name`, quantised with a draw of calibration images."""
    return Quantised(load(name), calibration)


def size_bits(name: str, genome: Sequence[int]) -> int:
    """Bits of all weights and biases."""
    return int(
        sum(
            int(np.prod(s.weight_shape)) * int(b) + BIAS_BITS * s.outputs
            for s, b in zip(layers(name), genome, strict=True)
        )
    )


def output_kl(name: str, genomes: Array, *, seed: int = 0) -> Array:
    """As :func:`~..networks.output_kl`, of a shipped network."""
    task = data(name)
    x = task.x_train[balanced(task.y_train, COMPARED, seed)]
    network = quantised(name)
    plain = network.logits(None, x).astype(np.float64)
    return np.array([-kl(plain, network.logits(row, x).astype(np.float64)) for row in genomes])
