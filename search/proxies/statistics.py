"""What proxies look at: statistics of every operator of a float network, made once and reused.

Each item of a genome (an operator of a GRU, a layer of a CNN) has one tensor that its width
quantises. Of a GRU's dense operators that is the weight matrix (their outputs have 8 bits, knob
``dense_output``); of all its other operators the output, at positions sampled from one batch. All
statistics of an item are of these very elements, so that formulas may combine them.

Derivatives are those of the mean cross entropy of one batch of the calibration data, by torch in
float64; a quantised output is a leaf of the graph by means of a zero that is added to it.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...model import zoo
from ...model.checkpoints.floating import Checkpoint
from ...model.checkpoints.training import import_torch
from ...model.data.tasks import Task, load_task
from ...model.errors import InputError
from ...model.files import read_archive, write_bytes
from ...model.genome import GENES
from ...model.integer import code_range
from ...model.quantize.calibrate import Calibration, calibrate
from ...synth.cache import folder

Array = np.ndarray
Say = Callable[[str], None]
FORMAT, VERSION = "genogate-proxy-statistics", 1
KINDS = ("weight", "activation", "gradient", "virtual_gradient", "hessian")
#: Further tensors that baselines need: the mean over samples of squared per-sample gradients.
MORE = ("squared_gradient",)
#: What a vector of one number for each item says; ``similarity`` has one for each pair.
VECTORS = ("eigenvalue", "trace", "fisher", "similarity", "stages", "operands")
#: Sequences or images of the batch, elements kept of a tensor, and Hutchinson's probes.
BATCH, KEPT, PROBES = 64, 4096, 10
#: Power iteration: most rounds, and the relative change that ends it.
ROUNDS, TOLERANCE = 50, 1e-3
#: In ``operands``: a multiplication's factor that is no item has 8 bits; -2: the item's own.
FIXED, OWN = -1, -2


@dataclass(frozen=True)
class Statistics:
    """Statistics of all L items of a network.

    Parameters
    ----------
    names : items, in the order of a genome
    widths : the widths that an item may have, ascending
    tensors : for each of :data:`KINDS` and :data:`MORE` a float64 array [rows, columns] of each
        item; rows are outputs or channels. ``weight`` is the quantised tensor itself (of an
        operator without weights, its output), ``activation`` the output, with columns of its own
        where the item has weights; all others have the shape of ``weight``
    errors : for each item, by width, what quantisation adds to ``weight``
    elements : int64 [L], elements of the quantised tensor: weights, or values of a time step
    counts : int64 [L], elements of all that ``weight`` was sampled from, batch and steps included
    macs : int64 [L], multiplications, of a time step or of an image
    parameters : int64 [L], weights that are stored; 0 where the item has none
    vectors : by name (:data:`VECTORS`): ``eigenvalue`` and ``trace`` of the item's block of the
        Hessian; ``fisher``, half the mean square of each channel's sum of output times gradient,
        summed over channels; ``similarity`` [L, L], linear CKA of outputs over the batch;
        ``stages``, the part of the network, counted from 0; ``operands`` int64 [L, 2], the items
        that give the two factors of its multiplications their widths, :data:`FIXED`, :data:`OWN`
    about : JSON-able provenance

    Raises :class:`InputError` where the parts do not fit together.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    tensors: Mapping[str, tuple[Array, ...]]
    errors: tuple[Mapping[int, Array], ...]
    elements: Array
    counts: Array
    macs: Array
    parameters: Array
    vectors: Mapping[str, Array]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.names)
        for kind in (*KINDS, *MORE):
            if len(self.tensors.get(kind, ())) != count:
                raise InputError(f"statistics: {kind} is not one tensor for each of {count} items")
        for kind in (*KINDS[2:], *MORE):
            for name, array, weight in zip(
                self.names, self.tensors[kind], self.tensors["weight"], strict=True
            ):
                if array.shape != weight.shape:
                    raise InputError(
                        f"statistics: {kind} of {name} is {array.shape}, its weight {weight.shape}"
                    )
        for name, errors in zip(self.names, self.errors, strict=True):
            if tuple(sorted(errors)) != self.widths:
                raise InputError(f"statistics: {name} has errors of other widths")

    @property
    def hash(self) -> str:
        """SHA-256, 16 hex digits, over all numbers."""
        digest = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {
            name: getattr(self, name) for name in ("elements", "counts", "macs", "parameters")
        }
        arrays |= {f"vector.{name}": value for name, value in self.vectors.items()}
        for kind, tensors in self.tensors.items():
            for item, array in enumerate(tensors):
                arrays[f"{kind}.{item}"] = array.astype(np.float32)
        for item, errors in enumerate(self.errors):
            for bits, array in errors.items():
                arrays[f"error{bits}.{item}"] = array.astype(np.float32)
        return arrays

    def saved(self) -> bytes:
        """As an ``.npz`` file; equal statistics give equal bytes."""
        about = {
            "format": FORMAT,
            "version": VERSION,
            "names": self.names,
            "widths": self.widths,
            "about": self.about,
        }
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **self._arrays()}
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_bytes(path, self.saved())

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what :meth:`save` wrote. Raises :class:`InputError` for anything else."""
        arrays = read_archive(path)
        try:
            about = json.loads(str(arrays.pop("about")))
            if (about["format"], about["version"]) != (FORMAT, VERSION):
                raise ValueError("another format or version")
            names, widths = tuple(about["names"]), tuple(about["widths"])
            items = range(len(names))
            tensors = {
                kind: tuple(arrays[f"{kind}.{k}"].astype(np.float64) for k in items)
                for kind in (*KINDS, *MORE)
            }
            errors = tuple(
                {bits: arrays[f"error{bits}.{k}"].astype(np.float64) for bits in widths}
                for k in items
            )
            vectors = {
                name.removeprefix("vector."): value
                for name, value in arrays.items()
                if name.startswith("vector.")
            }
            return cls(
                names,
                widths,
                tensors,
                errors,
                arrays["elements"],
                arrays["counts"],
                arrays["macs"],
                arrays["parameters"],
                vectors,
                about["about"],
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not statistics of a network ({reason})") from None


class Network(Protocol):
    """What :func:`collect` needs of a float network, its tensors in torch, float64.

    names, widths : as of :class:`Statistics`
    weights : for each item its weight tensor, outputs first; None where its output is quantised
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def weights(self) -> Sequence[Any]: ...

    def forward(
        self, x: Any, weights: Sequence[Any], added: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Logits [batch, classes], and outputs [batch, ..., channels] of all items, computed with
        these `weights`; what is `added` to an output is None or of its shape."""

    def virtual(self, weights: Sequence[Any], added: Sequence[Any]) -> Any:
        """The sum of all logits of one input of ones, every weight (`weights` are positive already)
        by its absolute value, biases zero."""

    def error(self, item: int, bits: int, values: Array, columns: Array) -> Array:
        """What quantising adds to `values`, the sampled columns of the item's tensor."""

    def facts(self) -> dict[str, Array]:
        """``macs``, ``parameters``, ``elements`` and the vectors ``stages``, ``operands``."""


def _channels(array: Array, weight: bool) -> Array:
    """[rows, columns] of a weight tensor (outputs first) or of outputs [batch, ..., channels]."""
    return array.reshape(len(array), -1) if weight else array.reshape(-1, array.shape[-1]).T


def _sampled(shape: tuple[int, int], draw: np.random.Generator) -> Array:
    rows, columns = shape
    count = max(1, min(columns, KEPT // rows))
    if count == columns:
        return np.arange(columns)
    return np.sort(draw.choice(columns, count, replace=False))


def linear_cka(outputs: Sequence[Array]) -> Array:
    """Linear centred kernel alignment of every pair of outputs [batch, features], [L, L]."""
    grams = []
    for output in outputs:
        flat = np.asarray(output, np.float64).reshape(len(output), -1)
        flat = flat - flat.mean(0)
        gram = flat @ flat.T
        grams.append(gram / (np.linalg.norm(gram) + 1e-30))
    stacked = np.stack(grams).reshape(len(grams), -1)
    return np.clip(stacked @ stacked.T, 0, 1)


def collect(
    network: Network,
    x: Array,
    y: Array,
    about: Mapping[str, Any],
    *,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Statistics:
    """Statistics of `network` on one batch: inputs `x`, classes `y`. `seed` draws the elements that
    are kept and the probes."""
    torch = import_torch()
    threads = torch.get_num_threads()
    # Small products on several threads wait for one another more than they work.
    torch.set_num_threads(1)
    try:
        return _collect(torch, network, x, y, about, seed, say)
    finally:
        torch.set_num_threads(threads)


def _gradient(torch: Any, value: Any, leaves: Sequence[Any], **how: bool) -> list[Any]:
    """Gradient for every leaf; zeros where `value` does not depend on it."""
    found = torch.autograd.grad(value, leaves, allow_unused=True, **how)
    return [
        torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)
    ]


def _parted(network: Network, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Leaves as weights, and as what is added to outputs."""
    pairs = list(zip(network.weights, leaves, strict=True))
    return (
        [None if weight is None else leaf for weight, leaf in pairs],
        [leaf if weight is None else None for weight, leaf in pairs],
    )


def _collect(
    torch: Any, network: Network, x: Array, y: Array, about: Mapping[str, Any], seed: int, say: Say
) -> Statistics:
    count = len(network.names)
    draw = np.random.default_rng([seed, 2307])
    generator = torch.Generator().manual_seed(seed)
    inputs, classes = torch.from_numpy(np.asarray(x, np.float64)), torch.from_numpy(np.asarray(y))
    batch = len(inputs)
    entropy = torch.nn.functional.cross_entropy
    fixed = network.weights
    nothing = [None] * count

    say("statistics: gradients")
    with torch.no_grad():
        _, plain = network.forward(inputs, fixed, nothing)
    shifts = [torch.zeros_like(output).requires_grad_() for output in plain]
    loss = entropy(network.forward(inputs, fixed, shifts)[0], classes)
    of_outputs = [g.numpy() for g in _gradient(torch, loss, shifts)]
    leaves = [
        shift.detach().requires_grad_()
        if weight is None
        else weight.detach().clone().requires_grad_()
        for weight, shift in zip(fixed, shifts, strict=True)
    ]
    loss = entropy(network.forward(inputs, *_parted(network, leaves))[0], classes)
    slopes = _gradient(torch, loss, leaves, create_graph=True)

    def times_hessian(item: int, vector: Any) -> Any:
        """The item's block of the Hessian times `vector`."""
        along = (slopes[item] * vector).sum()
        if not along.requires_grad:
            return torch.zeros_like(vector)
        return _gradient(torch, along, [leaves[item]], retain_graph=True)[0]

    diagonal, eigenvalues = [], np.zeros(count)
    for item, leaf in enumerate(leaves):
        say(f"statistics: Hessian, {item} of {count} items")
        # One item at a time: what couples it to others would only be noise in its own estimate.
        estimate = torch.zeros_like(leaf)
        for _ in range(PROBES):
            sign = torch.randint(0, 2, leaf.shape, generator=generator, dtype=torch.float64) * 2 - 1
            estimate += sign * times_hessian(item, sign) / PROBES
        diagonal.append(estimate)
        eigenvalues[item] = _largest(torch, partial(times_hessian, item), leaf.shape, generator)

    say("statistics: gradients of single samples")
    squared = [(batch * slope.detach()) ** 2 for slope in slopes]
    own = [k for k in range(count) if fixed[k] is not None]
    sums = {k: torch.zeros_like(leaves[k]) for k in own}
    for sample in range(batch):
        part = inputs[sample : sample + 1], classes[sample : sample + 1]
        one = entropy(network.forward(part[0], _parted(network, leaves)[0], nothing)[0], part[1])
        for k, g in zip(own, _gradient(torch, one, [leaves[k] for k in own]), strict=True):
            sums[k] += g**2 / batch
    for k in own:
        squared[k] = sums[k]

    say("statistics: virtual gradients")
    virtual = _virtual(torch, network, plain)

    values = [output.numpy() for output in plain]
    tensors: dict[str, list[Array]] = {kind: [] for kind in (*KINDS, *MORE)}
    errors: list[dict[int, Array]] = []
    counts = np.zeros(count, np.int64)
    for k in range(count):
        weight = fixed[k]
        has = weight is not None
        whole = _channels(weight.detach().numpy() if has else values[k], has)
        columns = _sampled(whole.shape, draw)
        counts[k] = whole.size
        seen = _channels(values[k], False)
        tensors["weight"].append(whole[:, columns])
        tensors["activation"].append(
            seen[:, _sampled(seen.shape, draw)] if has else whole[:, columns]
        )
        for kind, source in (
            ("gradient", slopes[k].detach().numpy()),
            ("hessian", diagonal[k].numpy()),
            ("squared_gradient", squared[k].numpy()),
        ):
            tensors[kind].append(_channels(source, has)[:, columns])
        steady = _channels(virtual[k], has)
        tensors["virtual_gradient"].append(steady[:, columns if has else columns % steady.shape[1]])
        errors.append(
            {
                bits: _single(network.error(k, bits, whole[:, columns], columns))
                for bits in network.widths
            }
        )
    facts = network.facts()
    fisher = np.array(
        [
            0.5 * ((v * g).reshape(batch, -1, v.shape[-1]).sum(1) ** 2).mean(0).sum() * batch**2
            for v, g in zip(values, of_outputs, strict=True)
        ]
    )
    return Statistics(
        names=network.names,
        widths=network.widths,
        tensors={kind: tuple(map(_single, arrays)) for kind, arrays in tensors.items()},
        errors=tuple(errors),
        elements=facts["elements"],
        counts=counts,
        macs=facts["macs"],
        parameters=facts["parameters"],
        vectors={
            "eigenvalue": eigenvalues,
            "trace": np.array([float(d.sum()) for d in diagonal]),
            "fisher": fisher,
            "similarity": linear_cka(values),
            "stages": facts["stages"],
            "operands": facts["operands"],
        },
        about={"seed": seed, "batch": batch, "probes": PROBES, "kept": KEPT, **about},
    )


def _single(array: Array) -> Array:
    """Rounded as it will be stored, so that what was read back gives the same scores."""
    return np.ascontiguousarray(array, np.float32).astype(np.float64)


def _virtual(torch: Any, network: Network, plain: Sequence[Any]) -> list[Array]:
    leaves = [
        (torch.zeros_like(output[:1]) if weight is None else weight.detach().abs()).requires_grad_()
        for weight, output in zip(network.weights, plain, strict=True)
    ]
    return [g.numpy() for g in _gradient(torch, network.virtual(*_parted(network, leaves)), leaves)]


def _largest(torch: Any, product: Callable[[Any], Any], shape: Any, generator: Any) -> float:
    """The eigenvalue of largest size of a symmetric operator, by power iteration."""
    vector = torch.randn(shape, generator=generator, dtype=torch.float64)
    vector /= vector.norm() + 1e-30
    value = 0.0
    for _ in range(ROUNDS):
        image = product(vector)
        before, value = value, float((vector * image).sum())
        norm = float(image.norm())
        if norm == 0:
            return 0.0
        vector = image / norm
        if abs(value - before) <= TOLERANCE * abs(value):
            break
    return value


class GruNetwork:
    """A GRU checkpoint as :func:`collect` needs it: the 17 operators of every layer are items.

    In its virtual pass every weight matrix is divided by its largest row sum, a constant for the
    gradient: otherwise sums of absolute weights would drive all gates where they are flat, and no
    gradient would be left. Sigmoid and tanh are as always.
    """

    widths = tuple(range(2, 9))

    def __init__(self, torch: Any, checkpoint: Checkpoint, calibration: Calibration) -> None:
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
                for kept, array in zip((self.weights, self.biases), pair, strict=True):
                    kept.append(
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
            scale = weights.curves[bits, "tensor"].best_scale
            codes, _, _ = weights.quantize(bits, scale, "tensor")
            return codes[:, columns] * scale - weights.matrix[:, columns]
        tensor = of.tensors[name]
        scale = tensor.curves[bits].best_scale
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


def balanced(y: Array, count: int, seed: int) -> Array:
    """Indices of `count` samples, the classes in turn, in an order drawn with `seed`."""
    order = np.random.default_rng([seed, 64]).permutation(len(y))
    turn = np.zeros(len(y), np.int64)
    seen: dict[int, int] = {}
    for place, index in enumerate(order):
        label = int(y[index])
        turn[place] = seen.get(label, 0)
        seen[label] = turn[place] + 1
    return order[np.argsort(turn, kind="stable")][:count]


def cached(key: Sequence[Any], make: Callable[[], Statistics]) -> Statistics:
    """The statistics in the cache (``$GENOGATE_CACHE``) under a key, or made and put there."""
    text = json.dumps([FORMAT, VERSION, PROBES, KEPT, *key])
    path = folder() / "statistics" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"
    if path.exists():
        with contextlib.suppress(InputError):
            return Statistics.load(path)
    made = make()
    # Where the folder cannot be written nothing is kept, and nothing else fails.
    with contextlib.suppress(InputError):
        made.save(path)
    return made


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

    def make() -> Statistics:
        torch = import_torch()
        calibration = calibrate(checkpoint, task.x_calibration)
        # The calibration data are sequences of the training part: these have a class.
        chosen = balanced(task.y_train, batch, seed)
        network = GruNetwork(torch, checkpoint, calibration)
        about = {
            "network": "gru",
            "checkpoint_hash": checkpoint.hash,
            "task": task.name,
            "split_hash": task.split_hash,
            "torch": str(torch.__version__),
        }
        return collect(
            network, task.x_train[chosen], task.y_train[chosen], about, seed=seed, say=say
        )

    key = ("gru", checkpoint.hash, task.split_hash, seed, batch)
    return cached(key, make) if keep else make()


def of(name: str, *, seed: int = 0, say: Say = lambda text: None) -> Statistics:
    """Statistics of the network that a table (:mod:`.tables`) is about, by the table's name or
    file; from the cache where they are. Raises :class:`InputError` for an unknown one."""
    from . import tables

    if name.endswith(".npz"):
        name = str(tables.load(name).about.get("checkpoint"))
    if name in tables.CNN_NAMES:
        from . import cnn

        return cnn.statistics(name, seed=seed, say=say)
    checkpoint = zoo.load(name)
    info = checkpoint.info
    task = load_task(info.get("task", "digits-row"), info.get("split_seed", 0))
    return of_gru(checkpoint, task, seed=seed, say=say)
