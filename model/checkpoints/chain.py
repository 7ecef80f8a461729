"""What an importer collects: dense layers and GRU layers in series, with affine maps between them.

An affine map that meets a matrix disappears in it exactly: a normalisation with constants or a
linear layer in front of a GRU goes into its input weights and biases, one behind the last state
into the classifier. An affine map that meets a function (ReLU, sigmoid, tanh) is a dense layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

from ..errors import InputError
from ..genome import MAX_DENSE
from ..head import Head
from ..integer import MAX_SIZE
from .floating import PLACES, Checkpoint, layer_names

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
class Function:
    """A dense layer: ``function(weight @ x + bias)``; float arrays [n, inputs] and [n]."""

    function: str
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Chain:
    """Layers so far, and the affine map since the last of them (or since the input).

    Parameters
    ----------
    features : int
        Values of the network's input at each step.
    layers : tuple of (w_ih, w_hh, b_ih, b_hh)
        Rows in the order r, z, n, as ``torch.nn.GRU`` keeps them.
    matrix, offset : float arrays [width, H], [width], or None
        ``matrix @ h + offset`` of the last layer's output ``h``; None stands for the identity and
        for zero.
    front, back : dense layers in front of and behind the GRU layers
    states : of each GRU layer the state [H] that sequences start with, None where that is zero
    """

    features: int
    layers: tuple[Weights, ...] = ()
    matrix: np.ndarray | None = None
    offset: np.ndarray | None = None
    front: tuple[Function, ...] = ()
    back: tuple[Function, ...] = ()
    states: tuple[np.ndarray | None, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_SIZE:
            raise InputError(f"a layer of {self.width} values: 1 to {MAX_SIZE} are supported")

    @property
    def source(self) -> int:
        """Values that `matrix` takes: outputs of the last layer, or features of the input."""
        if self.layers and not self.back:
            return self.layers[-1][1].shape[1]
        last = self.back[-1:] or self.front[-1:]
        return len(last[0].bias) if last else self.features

    @property
    def width(self) -> int:
        """Values at each step."""
        return self.source if self.matrix is None else len(self.matrix)

    @property
    def place(self) -> str:
        """Where in the network this is, for a message."""
        base = f"GRU layer {len(self.layers)}" if self.layers else "the input"
        if last := self.back[-1:] or (() if self.layers else self.front[-1:]):
            base = f"a {last[0].function} behind {base}"
        if self.matrix is not None:
            on_input = base == "the input"
            return "a linear layer on the input" if on_input else f"a linear layer behind {base}"
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
    def activated(self, function: str) -> "Chain":
        """`function` of every value: what stands before it becomes a dense layer."""
        layer = Function(function, *self.affine)
        chain = replace(self, matrix=None, offset=None)
        if self.layers:
            chain = replace(chain, back=(*self.back, layer))
        else:
            chain = replace(chain, front=(*self.front, layer))
        if len(chain.front) + len(chain.back) > MAX_DENSE:
            raise InputError(f"more than {MAX_DENSE} dense layers: at most so many are supported")
        return chain

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset, written out."""
        matrix = np.eye(self.source) if self.matrix is None else self.matrix
        return matrix, np.zeros(len(matrix)) if self.offset is None else self.offset

    @property
    def opened(self) -> "tuple[Chain, str]":
        """The chain without the function that it ends with, and that function, "none" where it
        ends with none."""
        if not self.back or self.matrix is not None or self.offset is not None:
            return self, "none"
        last = self.back[-1]
        chain = replace(self, back=self.back[:-1], matrix=last.weight, offset=last.bias)
        return chain, last.function

    @_quiet
    def gru(self, weights: Weights, state: np.ndarray | None = None) -> "Chain":
        """One more layer; what stands before it goes into its input weights and biases.

        state : [H], that sequences start with; None for zero
        """
        w_ih, w_hh, b_ih, b_hh = weights
        if self.back:
            raise InputError(
                f"GRU layer {len(self.layers) + 1} stands behind {self.place}: dense layers with "
                "a function may stand in front of all GRU layers or behind them, not between"
            )
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
        layers = *self.layers, (w_ih, w_hh, b_ih, b_hh)
        return Chain(self.features, layers, front=self.front, states=(*self.states, state))

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
        for number, state in enumerate(self.states):
            if state is not None and np.any(state):
                tensors[f"initial_state_l{number}"] = state
        info: dict[str, Any] = {} if head is None or head.plain else {"head": head.to_json()}
        for place in PLACES:
            for number, layer in enumerate(getattr(self, place)):
                tensors[f"{place}{number}.weight"] = layer.weight
                tensors[f"{place}{number}.bias"] = layer.bias
                info.setdefault(place, []).append(layer.function)
        matrix, offset = self.affine
        if head is None or head.output == "class":
            matrix, offset = logits_of(matrix, offset, classes)
        tensors |= {"classifier.weight": matrix, "classifier.bias": offset}
        return Checkpoint(
            {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()},
            info,
        )

    def ended(self, classes: int | None, asked: Asked, sigmoid: bool = False) -> Checkpoint:
        """The network as a checkpoint that answers what is asked.

        sigmoid : whether a sigmoid follows, which no class depends on

        A function that ends the chain is the head's where real values are asked for; which class is
        the greatest does not depend on a sigmoid or tanh.
        """
        chain, function = (self, "sigmoid") if sigmoid else self.opened
        if asked.real:
            return chain.checkpoint(classes, asked.head(function))
        return (self if function == "relu" else chain).checkpoint(classes, asked.head())


@_quiet
def normalisation(
    mean: np.ndarray, variance: np.ndarray, gain: Any, bias: Any, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of batch normalisation at inference,
    ``gain * (x - mean) / sqrt(variance + epsilon) + bias``; float64, the shape of `mean`."""
    scale = np.asarray(gain, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return scale, np.asarray(bias, np.float64) - np.asarray(mean, np.float64) * scale
