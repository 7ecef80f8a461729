"""Statistics of a float network, collected on one batch.

Derivatives are those of the mean cross entropy of the batch, by torch in float64; a quantised
output is a leaf of the graph by means of a zero that is added to it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from ...model.aliases import Array, Say
from ...model.checkpoints.descent import import_torch
from .statistics import KEPT, KINDS, MORE, PROBES, Statistics

#: Power iteration: most rounds, and the relative change that ends it.
ROUNDS, TOLERANCE = 50, 1e-3


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
    origin: Mapping[str, Any],
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
        return _collect(torch, network, x, y, origin, seed, say)
    finally:
        torch.set_num_threads(threads)


def _gradient(torch: Any, value: Any, leaves: Sequence[Any], **how: bool) -> list[Any]:
    """Gradient for every leaf; zeros where `value` does not depend on it."""
    gradients = torch.autograd.grad(value, leaves, allow_unused=True, **how)
    return [
        torch.zeros_like(leaf) if g is None else g
        for g, leaf in zip(gradients, leaves, strict=True)
    ]


def _parted(network: Network, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Leaves as weights, and as what is added to outputs."""
    pairs = list(zip(network.weights, leaves, strict=True))
    return (
        [None if weight is None else leaf for weight, leaf in pairs],
        [leaf if weight is None else None for weight, leaf in pairs],
    )


def _fisher(values: Sequence[Array], gradients: Sequence[Array], batch: int) -> Array:
    """Fisher information of the channels of each output [samples, ..., channels], summed."""
    return np.array(
        [
            0.5 * ((v * g).reshape(batch, -1, v.shape[-1]).sum(1) ** 2).mean(0).sum() * batch**2
            for v, g in zip(values, gradients, strict=True)
        ]
    )


def _collect(
    torch: Any, network: Network, x: Array, y: Array, origin: Mapping[str, Any], seed: int, say: Say
) -> Statistics:
    draw = np.random.default_rng([seed, 2307])
    generator = torch.Generator().manual_seed(seed)
    inputs, classes = torch.from_numpy(np.asarray(x, np.float64)), torch.from_numpy(np.asarray(y))
    batch = len(inputs)
    entropy = torch.nn.functional.cross_entropy
    fixed = network.weights

    say("statistics: gradients")
    with torch.no_grad():
        _, plain = network.forward(inputs, fixed, [None] * len(network.names))
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

    diagonal, eigenvalues = _hessian(torch, slopes, leaves, generator, say)
    say("statistics: gradients of single samples")
    squared = _squared_gradients(torch, network, inputs, classes, slopes, leaves)
    say("statistics: virtual gradients")
    virtual = _virtual(torch, network, plain)

    values = [output.numpy() for output in plain]
    sources = {
        "gradient": [slope.detach().numpy() for slope in slopes],
        "hessian": [each.numpy() for each in diagonal],
        "squared_gradient": [each.numpy() for each in squared],
    }
    tensors, errors, counts = _samples(network, values, sources, virtual, draw)
    facts = network.facts()
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
            "fisher": _fisher(values, of_outputs, batch),
            "similarity": linear_cka(values),
            "stages": facts["stages"],
            "operands": facts["operands"],
        },
        about={"seed": seed, "batch": batch, "probes": PROBES, "kept": KEPT, **origin},
    )


def _hessian(
    torch: Any, slopes: Sequence[Any], leaves: Sequence[Any], generator: Any, say: Say
) -> tuple[list[Any], Array]:
    """Diagonal of every leaf's block of the Hessian, by Hutchinson's probes, and the block's
    largest eigenvalue."""

    def times_hessian(item: int, vector: Any) -> Any:
        """The item's block of the Hessian times `vector`."""
        along = (slopes[item] * vector).sum()
        if not along.requires_grad:
            return torch.zeros_like(vector)
        return _gradient(torch, along, [leaves[item]], retain_graph=True)[0]

    diagonal, eigenvalues = [], np.zeros(len(leaves))
    for item, leaf in enumerate(leaves):
        say(f"statistics: Hessian, {item} of {len(leaves)} items")
        # One item at a time: what couples it to others would only be noise in its own estimate.
        estimate = torch.zeros_like(leaf)
        for _ in range(PROBES):
            sign = torch.randint(0, 2, leaf.shape, generator=generator, dtype=torch.float64) * 2 - 1
            estimate += sign * times_hessian(item, sign) / PROBES
        diagonal.append(estimate)
        eigenvalues[item] = _largest(torch, partial(times_hessian, item), leaf.shape, generator)
    return diagonal, eigenvalues


def _squared_gradients(
    torch: Any,
    network: Network,
    inputs: Any,
    classes: Any,
    slopes: Sequence[Any],
    leaves: Sequence[Any],
) -> list[Any]:
    """Squared gradient of every leaf: of weights the mean over single samples."""
    batch = len(inputs)
    squared = [(batch * slope.detach()) ** 2 for slope in slopes]
    weighted = [k for k, weight in enumerate(network.weights) if weight is not None]
    weights, nothing = _parted(network, leaves)[0], [None] * len(leaves)
    sums = {k: torch.zeros_like(leaves[k]) for k in weighted}
    for sample in range(batch):
        part = slice(sample, sample + 1)
        logits, _ = network.forward(inputs[part], weights, nothing)
        loss = torch.nn.functional.cross_entropy(logits, classes[part])
        gradients = _gradient(torch, loss, [leaves[k] for k in weighted])
        for k, gradient in zip(weighted, gradients, strict=True):
            sums[k] += gradient**2 / batch
    for k in weighted:
        squared[k] = sums[k]
    return squared


def _samples(
    network: Network,
    values: Sequence[Array],
    sources: Mapping[str, Sequence[Array]],
    virtual: Sequence[Array],
    draw: np.random.Generator,
) -> tuple[dict[str, list[Array]], list[dict[int, Array]], Array]:
    """The elements that are kept of every tensor [channels, kept] by kind, their quantisation
    errors by width, and how many elements each item has.

    values : outputs of the operators; sources : further tensors by kind, of weights or outputs
    """
    tensors: dict[str, list[Array]] = {kind: [] for kind in (*KINDS, *MORE)}
    errors: list[dict[int, Array]] = []
    counts = np.zeros(len(values), np.int64)
    for k, weight in enumerate(network.weights):
        has = weight is not None
        whole = _channels(weight.detach().numpy() if has else values[k], has)
        columns = _sampled(whole.shape, draw)
        counts[k] = whole.size
        seen = _channels(values[k], False)
        tensors["weight"].append(whole[:, columns])
        tensors["activation"].append(
            seen[:, _sampled(seen.shape, draw)] if has else whole[:, columns]
        )
        for kind, arrays in sources.items():
            tensors[kind].append(_channels(arrays[k], has)[:, columns])
        steady = _channels(virtual[k], has)
        tensors["virtual_gradient"].append(steady[:, columns if has else columns % steady.shape[1]])
        errors.append(
            {
                bits: _single(network.error(k, bits, whole[:, columns], columns))
                for bits in network.widths
            }
        )
    return tensors, errors, counts


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
