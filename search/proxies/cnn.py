"""Two small CNNs whose layers get widths 2, 3, 4 or 8: the analogue of MQ-Bench-101.

A residual network (He, arXiv 1512.03385) and one of depthwise separable convolutions (MobileNet,
arXiv 1704.04861), each trained once on UCI digits (8 x 8) and once on MNIST (28 x 28), with batch
normalisation folded into the weights. Weights are symmetric with one scale for each output channel,
chosen by squared output error; the mean error that rounding causes is taken out of the bias; inputs
of all layers have 8 bits, ranges from the calibration data. As in MQ-Bench-101 every layer but the
sums has a width of its own, the classifier among them.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...model.checkpoints.training import import_torch
from ...model.data.tasks import Task, load_task
from ...model.errors import InputError
from ...model.files import read_archive
from ...model.integer import code_range
from ..genomes.evaluate import SMALL, shifted
from . import statistics as _statistics
from . import tables
from .tables import Draws, Keeping, Table

Array = np.ndarray
Say = Callable[[str], None]
FORMAT, VERSION = "genogate-proxy-cnn", 1
WIDTHS = (2, 3, 4, 8)
#: Data sets by the name that a network's name ends with.
TASKS = {"digits": "digits-row", "mnist": "mnist-row"}
#: Images that calibration looks at, and that a configuration is judged by, at most.
CALIBRATED, JUDGED = 128, 1000
#: Bits of a bias.
BIAS_BITS = 16
#: Scales tried for a channel's weights, from the one that covers them downwards.
SCALES = np.linspace(1.0, 0.25, 31)
DRAWS = Draws(any=200, around=80, equal_sum=110, equal_size=110)
#: How the shipped networks were trained, as :func:`train` takes it.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet-digits": {"epochs": 30},
    "mobilenet-digits": {"epochs": 120},
    "resnet-mnist": {"epochs": 3, "images": 20_000},
    "mobilenet-mnist": {"epochs": 3, "images": 16_000},
}
_FOLDER = Path(__file__).parent / "data"


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
    if name not in tables.CNN_NAMES:
        raise InputError(f"CNN {name!r:.40}: the networks are {', '.join(tables.CNN_NAMES)}")
    # The larger images are halved at once, and once more by the first block.
    stride = 2 if name.endswith("mnist") else 1
    resnet = name.startswith("resnet")
    blocks = _RESNET if resnet else _MOBILENET
    found = [LayerShape("stem", 1, 12 if resnet else 16, 3, stride)]
    width = found[0].outputs
    for k, (channels, step) in enumerate(blocks):
        step = max(step, stride) if k == 0 else step
        if resnet:
            found += [
                LayerShape(f"b{k}.conv1", width, channels, 3, step, stage=1 + k),
                LayerShape(f"b{k}.conv2", channels, channels, stage=1 + k),
            ]
            if step != 1 or width != channels:
                found.append(LayerShape(f"b{k}.down", width, channels, 1, step, stage=1 + k))
        else:
            found += [
                LayerShape(f"b{k}.depthwise", width, width, 3, step, width, 1 + k),
                LayerShape(f"b{k}.pointwise", width, channels, 1, stage=1 + k),
            ]
        width = channels
    found.append(LayerShape("classifier", width, 10, 0, stage=len(blocks)))
    return tuple(found)


def _through(shapes: Sequence[LayerShape], apply: Callable[[LayerShape, Any], Any], x: Any) -> Any:
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


def _convolve(torch: Any, shape: LayerShape, x: Any, weight: Any, bias: Any = None) -> Any:
    if not shape.kernel:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.nn.functional.conv2d(
        x, weight, bias, shape.stride, shape.kernel // 2, 1, shape.groups
    )


def data(name: str) -> Task:
    """The data of a network, images as sequences of rows."""
    layers(name)
    return load_task(TASKS[name.rsplit("-", 1)[1]])


@dataclass(frozen=True)
class Net:
    """A trained network, batch normalisation folded.

    weights, biases : by layer, float32 (values of float16, as they are stored)
    about : JSON-able: how it was trained, and its validation accuracy
    """

    name: str
    weights: Mapping[str, Array]
    biases: Mapping[str, Array]
    about: Mapping[str, Any]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256()
        for shape in layers(self.name):
            for part in (self.weights, self.biases):
                digest.update(np.ascontiguousarray(part[shape.name], "<f4").tobytes())
        return digest.hexdigest()[:16]

    def saved(self) -> bytes:
        arrays: dict[str, Any] = {}
        for shape in layers(self.name):
            arrays[f"{shape.name}.weight"] = self.weights[shape.name].astype(np.float16)
            arrays[f"{shape.name}.bias"] = self.biases[shape.name].astype(np.float16)
        about = {"format": FORMAT, "version": VERSION, "name": self.name, **self.about}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> "Net":
        """Raises :class:`InputError` where the file is none of :meth:`saved`."""
        arrays = read_archive(path)
        try:
            about = json.loads(str(arrays["about"]))
            if (about.pop("format"), about.pop("version")) != (FORMAT, VERSION):
                raise ValueError("another format or version")
            name = about.pop("name")
            weights, biases = {}, {}
            for shape in layers(name):
                weights[shape.name] = arrays[f"{shape.name}.weight"].astype(np.float32)
                biases[shape.name] = arrays[f"{shape.name}.bias"].astype(np.float32)
                if weights[shape.name].shape != shape.weight_shape:
                    raise ValueError(f"{shape.name} has another shape")
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a small CNN ({reason})") from None
        return cls(name, weights, biases, about)


@lru_cache(maxsize=8)
def load(name: str) -> Net:
    """A shipped network by its name. Raises :class:`InputError` for an unknown one."""
    layers(name)
    return Net.read(_FOLDER / f"net-{name}.npz")


def train(
    name: str,
    *,
    epochs: int,
    images: int = 60_000,
    batch: int = 64,
    lr: float = 4e-3,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Net:
    """Train a network on the first `images` of its training part, shifted by up to a pixel, with
    Adam and one cosine; batch normalisation is folded into the weights at the end."""
    torch = import_torch()
    task, shapes = data(name), layers(name)
    torch.manual_seed(seed)
    draw = np.random.default_rng([seed, 28])
    modules: dict[str, Any] = {}
    for shape in shapes:
        modules[shape.name] = (
            torch.nn.Conv2d(
                shape.inputs,
                shape.outputs,
                shape.kernel,
                shape.stride,
                shape.kernel // 2,
                groups=shape.groups,
                bias=False,
            )
            if shape.kernel
            else torch.nn.Linear(shape.inputs, shape.outputs)
        )
    norms = {s.name: torch.nn.BatchNorm2d(s.outputs) for s in shapes if s.kernel}
    parameters = [p for module in (*modules.values(), *norms.values()) for p in module.parameters()]

    def apply(shape: LayerShape, x: Any) -> Any:
        out = modules[shape.name](x)
        return norms[shape.name](out) if shape.kernel else out

    x, y = task.x_train[:images], task.y_train[:images]
    optimizer = torch.optim.Adam(parameters, lr)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        order = draw.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch)
        total = 0.0
        for chosen in order:
            up, aside = draw.integers(-1, 2, 2)
            part = np.pad(x[chosen], ((0, 0), (1, 1), (1, 1)))
            part = part[:, 1 + up : 1 + up + x.shape[1], 1 + aside : 1 + aside + x.shape[2]]
            logits = _through(shapes, apply, torch.from_numpy(np.ascontiguousarray(part))[:, None])
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        say(f"{name}: epoch {epoch + 1} of {epochs}, loss {total / len(order):.4f}")
    weights, biases = {}, {}
    for shape in shapes:
        weight = modules[shape.name].weight.detach().numpy().astype(np.float64)
        if shape.kernel:
            norm = norms[shape.name]
            gain, shift, mean, var = (
                v.detach().numpy().astype(np.float64)
                for v in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            )
            factor = gain / np.sqrt(var + norm.eps)
            weight, bias = weight * factor[:, None, None, None], shift - mean * factor
        else:
            bias = modules[shape.name].bias.detach().numpy().astype(np.float64)
        # What is stored is what the network is.
        weights[shape.name] = weight.astype(np.float16).astype(np.float32)
        biases[shape.name] = bias.astype(np.float16).astype(np.float32)
    about = {
        "task": task.name,
        "split_hash": task.split_hash,
        "epochs": epochs,
        "images": len(x),
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "torch": str(torch.__version__),
    }
    net = Net(name, weights, biases, about)
    part_x, part_y = judged(name)
    return Net(
        name, weights, biases, {**about, "val": Quantised(net).accuracy(None, part_x, part_y)}
    )


@lru_cache(maxsize=4)
def judged(name: str) -> tuple[Array, Array]:
    """Images and classes that configurations are judged by: of the validation part, with shifted
    copies where it is small."""
    task = data(name)
    x, y = shifted(task) if len(task.y_val) < SMALL else (task.x_val, task.y_val)
    chosen = np.linspace(0, len(y) - 1, min(JUDGED, len(y))).astype(np.int64)
    return x[chosen], y[chosen]


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
            return _convolve(torch, shape, x, self._real[shape.name], self._bias[shape.name])

        self._real = {k: torch.from_numpy(v) for k, v in net.weights.items()}
        self._bias = {k: torch.from_numpy(v) for k, v in net.biases.items()}
        with torch.no_grad():
            _through(self.shapes, look, torch.from_numpy(images)[:, None])
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
                return _convolve(
                    torch, shape, value, self._real[shape.name], self._bias[shape.name]
                )
            step = self.step[shape.name]
            value = (value / step).round_().clamp_(0, 255).mul_(step)
            key = shape.name, int(bits[shape.name])
            return _convolve(torch, shape, value, self.codes[key], self.bias[key])

        with torch.inference_mode():
            parts = [
                _through(self.shapes, apply, torch.from_numpy(x[k : k + 250])[:, None]).numpy()
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


def _judge(case: tuple[str, int, tuple[int, ...]]) -> float:
    name, calibration, genome = case
    torch = import_torch()
    torch.set_num_threads(1)
    return quantised(name, calibration).accuracy(genome, *judged(name))


def draw_genomes(name: str, draws: Draws = DRAWS) -> tuple[Array, list[str]]:
    """Configurations uint8 [N, L] and their kinds, all different."""
    shapes = layers(name)
    widths = np.array(WIDTHS)
    weights = np.array([np.prod(s.weight_shape) for s in shapes], np.int64)
    kinds = tables.interleaved(draws.counts)
    total = round(float(widths.mean()) * len(shapes))
    # The size of a network with half of its weights at 3 bits and half at 4.
    target = round(3.5 * int(weights.sum()))
    streams = {kind: np.random.default_rng([draws.seed, k]) for k, kind in enumerate(tables.KINDS)}
    rows: list[Array] = []
    seen: set[tuple[int, ...]] = set()
    for kind in kinds:
        while True:
            draw = streams[kind]
            if kind == "any":
                row = tables.draw_any(draw, widths, len(shapes))
            elif kind == "around":
                row = tables.draw_around(draw, widths, len(shapes), 1)
            elif kind == "equal-sum":
                ones = np.ones(len(shapes), np.int64)
                row = tables.draw_weighted(draw, widths, ones, total)
            else:
                row = tables.draw_weighted(draw, widths, weights, target, tables.SAME_SIZE)
            if tuple(row) not in seen:
                break
        seen.add(tuple(row))
        rows.append(row)
    return np.array(rows, np.uint8), kinds


def make(
    name: str,
    path: Path | None = None,
    *,
    draws: Draws = DRAWS,
    repeats: int = 3,
    repeated: int = 100,
    workers: int = 1,
    say: Say = lambda text: None,
) -> Table:
    """Make the table of a shipped network, or go on with one that was begun; as
    :func:`.tables.make_gru`."""
    from ..pool.backends import Pool

    path = path or _FOLDER / f"{name}.npz"
    net = load(name)
    genomes, kinds = draw_genomes(name, draws)
    about = {
        "network": "cnn",
        "checkpoint": name,
        "checkpoint_hash": net.hash,
        "task": net.about["task"],
        "split_hash": net.about["split_hash"],
        "draws": draws.counts,
        "seed": draws.seed,
        "judged_on": len(judged(name)[1]),
        "versions": tables.versions(),
        "calibrations": f"{CALIBRATED} training images drawn with seed 0; 1 ...: with that seed",
    }
    shape = repeats, min(repeated, len(genomes))
    begin = tables.empty(name, [s.name for s in layers(name)], genomes, kinds, shape, about)
    with (
        Keeping(path, begin) as kept,
        Pool("processes" if workers > 1 else "serial", workers) as pool,
    ):
        table = kept.table
        table.sizes[:] = [size_bits(name, row) for row in genomes]
        for row, known in enumerate([table.accuracy, *table.repeats]):
            missing = np.flatnonzero(np.isnan(known))
            cases = [(name, row, tuple(map(int, genomes[k]))) for k in missing]
            for done, (index, share) in enumerate(pool.map(_judge, cases), 1):
                known[missing[index]] = share
                say(f"{name}: calibration {row}: {done} of {len(cases)} configurations")
                kept.now_and_then()
    return kept.table


class CnnNetwork:
    """A shipped CNN as :func:`.statistics.collect` needs it: every layer is an item."""

    widths = WIDTHS

    def __init__(self, torch: Any, made: Quantised) -> None:
        self.torch, self.made, self.shapes = torch, made, made.shapes
        self.names = tuple(shape.name for shape in self.shapes)
        self.weights = [
            torch.from_numpy(made.net.weights[name].astype(np.float64)) for name in self.names
        ]
        self.biases = [
            torch.from_numpy(made.net.biases[name].astype(np.float64)) for name in self.names
        ]

    def _run(
        self, x: Any, weights: Sequence[Any], biases: Sequence[Any], added: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        outputs: dict[str, Any] = {}
        place = {name: k for k, name in enumerate(self.names)}

        def apply(shape: LayerShape, value: Any) -> Any:
            k = place[shape.name]
            out = _convolve(self.torch, shape, value, weights[k], biases[k])
            # Channels last, as statistics have them.
            last = out.permute(0, 2, 3, 1) if shape.kernel else out
            if added[k] is not None:
                last = last + added[k]
            outputs[shape.name] = last
            return last.permute(0, 3, 1, 2) if shape.kernel else last

        logits = _through(self.shapes, apply, x[:, None])
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
        own, fixed = _statistics.OWN, _statistics.FIXED
        return {
            "elements": sizes,
            "parameters": sizes,
            "macs": sizes * places,
            "stages": np.array([shape.stage for shape in self.shapes], np.int64),
            "operands": np.array([(own, fixed)] * len(sizes), np.int64),
        }


def statistics(
    name: str, *, seed: int = 0, keep: bool = True, say: Say = lambda text: None
) -> _statistics.Statistics:
    """Statistics of the shipped network `name` on a batch of training images drawn with `seed`."""
    net = load(name)

    def make_them() -> _statistics.Statistics:
        torch = import_torch()
        task = data(name)
        chosen = _statistics.balanced(task.y_train, _statistics.BATCH, seed)
        about = {
            "network": "cnn",
            "checkpoint_hash": net.hash,
            "task": task.name,
            "split_hash": task.split_hash,
            "torch": str(torch.__version__),
        }
        return _statistics.collect(
            CnnNetwork(torch, quantised(name)),
            task.x_train[chosen],
            task.y_train[chosen],
            about,
            seed=seed,
            say=say,
        )

    key = ("cnn", name, net.hash, seed)
    return _statistics.cached(key, make_them) if keep else make_them()


def output_kl(name: str, genomes: Array, *, seed: int = 0) -> Array:
    """As :func:`.handcrafted.output_kl`, of a shipped network."""
    from .handcrafted import COMPARED, kl

    task = data(name)
    x = task.x_train[_statistics.balanced(task.y_train, COMPARED, seed)]
    made = quantised(name)
    plain = made.logits(None, x).astype(np.float64)
    return np.array([-kl(plain, made.logits(row, x).astype(np.float64)) for row in genomes])
