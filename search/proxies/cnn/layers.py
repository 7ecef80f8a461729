"""Two small CNNs whose layers get widths 2, 3, 4 or 8: the analogue of MQ-Bench-101.

A residual network (He, arXiv 1512.03385) and one of depthwise separable convolutions (MobileNet,
arXiv 1704.04861), each trained once on UCI digits (8 x 8) and once on MNIST (28 x 28), with batch
normalisation folded into the weights. As in MQ-Bench-101 every layer but the sums has a width of
its own, the classifier among them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ....model.data.tasks import Task, load_task
from ....model.errors import InputError
from ..tables import CNN_NAMES

WIDTHS = (2, 3, 4, 8)
#: Data sets by the name that a network's name ends with.
TASKS = {"digits": "digits-row", "mnist": "mnist-row"}


@dataclass(frozen=True)
class LayerShape:
    """A convolution, or (kernel 0) the classifier.

    relu : whether one follows, sums aside; stage : part of the network, from 0
    """

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    stage: int = 0

    @property
    def weight_shape(self) -> tuple[int, ...]:
        fan = self.inputs // self.groups
        return (self.outputs, fan, self.kernel, self.kernel) if self.kernel else (self.outputs, fan)


#: Channels and stride of each block.
_RESNET = ((12, 1), (12, 1), (24, 2), (24, 1))
_MOBILENET = ((24, 1), (32, 2), (32, 1), (48, 2), (48, 1))


def layers(name: str) -> tuple[LayerShape, ...]:
    """Layers of the network `name` (ARCHITECTURE-DATA), in the order of a genome. Raises
    :class:`InputError` for another name."""
    if name not in CNN_NAMES:
        raise InputError(f"CNN {name!r:.40}: the networks are {', '.join(CNN_NAMES)}")
    # The larger images are halved at once, and once more by the first block.
    stride = 2 if name.endswith("mnist") else 1
    resnet = name.startswith("resnet")
    blocks = _RESNET if resnet else _MOBILENET
    shapes = [LayerShape("stem", 1, 12 if resnet else 16, 3, stride)]
    width = shapes[0].outputs
    for k, (channels, step) in enumerate(blocks):
        step = max(step, stride) if k == 0 else step
        if resnet:
            shapes += [
                LayerShape(f"b{k}.conv1", width, channels, 3, step, stage=1 + k),
                LayerShape(f"b{k}.conv2", channels, channels, stage=1 + k),
            ]
            if step != 1 or width != channels:
                shapes.append(LayerShape(f"b{k}.down", width, channels, 1, step, stage=1 + k))
        else:
            shapes += [
                LayerShape(f"b{k}.depthwise", width, width, 3, step, width, 1 + k),
                LayerShape(f"b{k}.pointwise", width, channels, 1, stage=1 + k),
            ]
        width = channels
    shapes.append(LayerShape("classifier", width, 10, 0, stage=len(blocks)))
    return tuple(shapes)


def through(shapes: Sequence[LayerShape], apply: Callable[[LayerShape, Any], Any], x: Any) -> Any:
    """Logits of images [batch, 1, h, w]; `apply` computes one layer without its ReLU."""
    of = {shape.name: shape for shape in shapes}
    x = apply(of["stem"], x).relu()
    for k in range(sum(name.endswith((".conv1", ".depthwise")) for name in of)):
        if f"b{k}.conv1" in of:
            y = apply(of[f"b{k}.conv1"], x).relu()
            y = apply(of[f"b{k}.conv2"], y)
            down = of.get(f"b{k}.down")
            x = (y + (x if down is None else apply(down, x))).relu()
        else:
            x = apply(of[f"b{k}.depthwise"], x).relu()
            x = apply(of[f"b{k}.pointwise"], x).relu()
    return apply(of["classifier"], x.mean((2, 3)))


def convolve(torch: Any, shape: LayerShape, x: Any, weight: Any, bias: Any = None) -> Any:
    if not shape.kernel:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.nn.functional.conv2d(
        x, weight, bias, shape.stride, shape.kernel // 2, 1, shape.groups
    )


def data(name: str) -> Task:
    """The data of a network, images as sequences of rows."""
    layers(name)
    return load_task(TASKS[name.rsplit("-", 1)[1]])
