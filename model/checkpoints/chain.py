"""What an importer collects: GRU layers in series with affine maps before, between and behind.

An affine map that meets a matrix disappears in it exactly: a normalisation with constants or a
linear layer in front of a GRU goes into its input weights and biases, one behind the last state
into the classifier.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

from ..errors import InputError
from ..head import Head
from ..integer import MAX_SIZE
from .floating import Checkpoint, layer_names

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def real(array: Any, name: str) -> np.ndarray:
    """`array` as float32. Raises :class:`InputError` unless it holds real numbers."""
    array = np.asarray(array)
    # bfloat16 is a type of its own, not one of NumPy's kinds.
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise InputError(f"tensor {name:.60} holds {array.dtype}, real numbers are needed")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def logits_of(
    weight: np.ndarray, bias: np.ndarray, classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """A classifier's weight [n, H] and bias [n]; one logit of two classes, greater than 0 for class
    1, becomes the logits 0 and it."""
    if classes != 2 or len(weight) != 1:
        return weight, bias
    zeros = np.zeros_like(weight), np.zeros_like(bias)
    return np.concatenate([zeros[0], weight]), np.concatenate([zeros[1], bias])


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Overflow and NaN of a damaged file are reported by :class:`Checkpoint`, not by NumPy."""

    @wraps(function)
    def wrapper(*given: Any, **named: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*given, **named)

    return wrapper


@dataclass(frozen=True)
class Asked:
    """What a task asks of a network: an answer at `every` step, not the last alone; `real` values,
    not a class."""

    every: bool = False
    real: bool = False

    def head(self, activation: str = "none") -> Head:
        """The head of a network that answers so."""
        at = "every" if self.every else "last"
        return Head(at, "codes", activation) if self.real else Head(at)


@dataclass(frozen=True)
class Chain:
    """GRU layers so far, and the affine map since the last of them (or since the input).

    Parameters
    ----------
    features : int
        Values of the network's input at each step.
    layers : tuple of (w_ih, w_hh, b_ih, b_hh)
        Rows in the order r, z, n, as ``torch.nn.GRU`` keeps them.
    matrix, offset : float arrays [width, H], [width], or None
        ``matrix @ h + offset`` of the last layer's state ``h``; None stands for the identity and
        for zero.
    """

    features: int
    layers: tuple[Weights, ...] = ()
    matrix: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_SIZE:
            raise InputError(f"a layer of {self.width} values: 1 to {MAX_SIZE} are supported")

    @property
    def source(self) -> int:
        """Values that `matrix` takes: units of the last GRU layer, or features of the input."""
        return self.layers[-1][1].shape[1] if self.layers else self.features

    @property
    def width(self) -> int:
        """Values at each step."""
        return self.source if self.matrix is None else len(self.matrix)

    @property
    def place(self) -> str:
        """Where in the network this is, for a message."""
        base = f"GRU layer {len(self.layers)}" if self.layers else "the input"
        if self.matrix is not None:
            return f"a linear layer behind {base}" if self.layers else "a linear layer on the input"
        return base

    @_quiet
    def scaled(self, scale: np.ndarray, offset: np.ndarray) -> "Chain":
        """``scale * value + offset``, both [width]."""
        chain = self
        if np.any(scale != 1):
            matrix = np.eye(self.source) if self.matrix is None else self.matrix
            before = None if self.offset is None else self.offset * scale
            chain = replace(self, matrix=scale[:, None] * matrix, offset=before)
        if np.any(offset != 0):
            before = 0.0 if chain.offset is None else chain.offset
            chain = replace(chain, offset=np.asarray(before + offset, np.float64))
        return chain

    def picked(self, index: np.ndarray) -> "Chain":
        """Values `index` (0 to width - 1), in that order."""
        if len(index) == self.width and np.array_equal(index, np.arange(self.width)):
            return self
        matrix = np.eye(self.source) if self.matrix is None else self.matrix
        offset = None if self.offset is None else self.offset[index]
        return replace(self, matrix=matrix[index], offset=offset)

    @_quiet
    def dense(self, weight: np.ndarray, bias: np.ndarray | None) -> "Chain":
        """A linear layer, weight [n, width] and bias [n]."""
        if weight.ndim != 2 or weight.shape[1] != self.width:
            raise InputError(
                f"a linear layer of shape {weight.shape} stands behind {self.place}, which has "
                f"{self.width} values"
            )
        if bias is not None and bias.shape != (len(weight),):
            raise InputError(f"a linear layer of shape {weight.shape} has a bias of {bias.shape}")
        offset = bias
        if self.offset is not None:
            moved = weight.astype(np.float64) @ self.offset
            offset = moved if bias is None else moved + bias
        if self.matrix is not None:
            weight = weight.astype(np.float64) @ self.matrix
        return replace(self, matrix=weight, offset=offset)

    @_quiet
    def gru(self, weights: Weights) -> "Chain":
        """One more layer; what stands before it goes into its input weights and biases."""
        w_ih, w_hh, b_ih, b_hh = weights
        if w_hh.ndim != 2 or w_hh.shape[0] != 3 * w_hh.shape[1]:
            raise InputError(f"GRU layer {len(self.layers) + 1} has a matrix of {w_hh.shape}")
        if w_ih.shape != (len(w_hh), self.width):
            raise InputError(
                f"GRU layer {len(self.layers) + 1} takes {w_ih.shape[-1]} values a step, "
                f"{self.place} has {self.width}"
            )
        if self.offset is not None:
            b_ih = b_ih + w_ih.astype(np.float64) @ self.offset
        if self.matrix is not None:
            w_ih = w_ih.astype(np.float64) @ self.matrix
        return Chain(self.features, (*self.layers, (w_ih, w_hh, b_ih, b_hh)))

    @_quiet
    def checkpoint(self, classes: int | None = None, head: Head | None = None) -> Checkpoint:
        """The network as a checkpoint, its classifier on the last state, or as `head` says.

        classes : classes of the task; one logit ``w`` for two of them becomes the logits 0 and w

        Raises :class:`InputError` where there is no GRU, or a weight is not finite.
        """
        if not self.layers:
            raise InputError("there is no GRU in it")
        tensors: dict[str, np.ndarray] = {}
        for number, weights in enumerate(self.layers):
            tensors |= dict(zip(layer_names(number), weights, strict=True))
        matrix = np.eye(self.source) if self.matrix is None else self.matrix
        offset = np.zeros(len(matrix)) if self.offset is None else self.offset
        if head is None or head.output == "class":
            matrix, offset = logits_of(matrix, offset, classes)
        tensors |= {"classifier.weight": matrix, "classifier.bias": offset}
        return Checkpoint(
            {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()},
            {} if head is None or head.plain else {"head": head.to_json()},
        )


@_quiet
def normalisation(
    mean: np.ndarray, variance: np.ndarray, gain: Any, bias: Any, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of batch normalisation at inference,
    ``gain * (x - mean) / sqrt(variance + epsilon) + bias``; float64, the shape of `mean`."""
    scale = np.asarray(gain, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return scale, np.asarray(bias, np.float64) - np.asarray(mean, np.float64) * scale
