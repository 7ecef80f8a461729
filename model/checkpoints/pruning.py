"""Networks of fewer units, cut from a trained one.

A unit of a GRU layer is read by the layer itself, and by what comes behind it. What a unit adds to
all that reads it, and the other units do not, is what removing it loses; the rest is folded into
the weights of those that stay: the state of a removed unit is replaced by its linear regression on
the others. Units are removed one after the other, always the one that loses least: optimal brain
surgeon (Hassibi and Stork 1993, equation 5), with the covariance of states in place of the Hessian
and a whole unit in place of a weight. Rows of removed units go on counting as readers: without them
four of six networks that were tried kept a little more, and two a little less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.measures import lengths_of
from ..errors import InputError
from .floating import PRUNED, RECORD, STEPS_AT_ONCE, Checkpoint, forward, layer_names

#: Share of the mean variance of states that is added to each, so that units which hardly differ
#: from one another do not get weights that cancel.
RIDGE = 1e-3
#: Sequences, evenly spread, that states are taken from. A head at the last step sees one state of
#: each: with 64 of them for 64 units mnist-pixel lost up to 10 points more.
SEQUENCES = 512
#: What is no longer true of a network with fewer units.
_OF_ALL_UNITS = ("accuracy", "seconds", RECORD)


@dataclass
class _Moments:
    """Mean [H] and covariance [H, H] of states that are added one block after the other."""

    count: int
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, units: int) -> "_Moments":
        return cls(0, np.zeros(units), np.zeros((units, units)))

    def add(self, states: np.ndarray) -> None:
        """Take in states [any, H]."""
        states = states.astype(np.float64)
        self.count += len(states)
        self.sums += states.sum(0)
        self.squares += states.T @ states

    @property
    def mean(self) -> np.ndarray:
        return self.sums / self.count

    @property
    def cover(self) -> np.ndarray:
        cover = self.squares / self.count - np.outer(self.mean, self.mean)
        ridge = RIDGE * max(float(np.trace(cover)) / len(cover), 1e-12)
        return cover + ridge * np.eye(len(cover))


def pruned(checkpoint: Checkpoint, units: Sequence[int], x: np.ndarray) -> Checkpoint:
    """`checkpoint` with fewer units.

    units : of every GRU layer, the first one's first; at least one, and at most those it has
    x : real inputs [batch, steps, features] that states are taken from, NaN behind the end of a
        sequence; no labels are needed

    The network that it gives has not been trained: what the removed units did alone is lost.
    Raises :class:`InputError` for other numbers of units.
    """
    now = [checkpoint.hidden_size(k) for k in range(checkpoint.layers)]
    pairs = zip(units, now, strict=False)
    if len(units) != len(now) or any(not 1 <= new <= old for new, old in pairs):
        raise InputError(
            f"units: {', '.join(map(str, units))} for layers of {', '.join(map(str, now))}: give "
            "as many numbers as there are layers, each at least 1 and at most those it has"
        )
    tensors = dict(checkpoint.tensors)
    moments = _moments(checkpoint, x)
    for layer, count in enumerate(units):
        if count < now[layer]:
            reader = _reader(checkpoint, layer)
            tensors |= _without_units(tensors, layer, reader, count, *moments[layer])
    info: dict[str, Any] = {k: v for k, v in checkpoint.info.items() if k not in _OF_ALL_UNITS}
    return Checkpoint(tensors, {**info, PRUNED: {"from": checkpoint.hash, "units": now}})


def _moments(checkpoint: Checkpoint, x: np.ndarray) -> list[tuple[_Moments, _Moments]]:
    """Of every layer the states that it reads itself, those before every step, and those that what
    is behind it reads."""
    x = x[np.linspace(0, len(x) - 1, min(len(x), SEQUENCES)).astype(np.int64)]
    sizes = [checkpoint.hidden_size(k) for k in range(checkpoint.layers)]
    moments = [(_Moments.none(units), _Moments.none(units)) for units in sizes]
    # In blocks: the trace has all operators.
    block = max(1, STEPS_AT_ONCE // x.shape[1])
    for start in range(0, len(x), block):
        part = x[start : start + block]
        lengths = lengths_of(part)
        if lengths is None:
            lengths = np.full(len(part), part.shape[1])
        valid = np.arange(part.shape[1]) < lengths[:, None]
        several = len(sizes) > 1
        result = forward(checkpoint, part, trace=several, dtype=np.float32)
        for layer, (before, read) in enumerate(moments):
            states = result.trace[layer, "s_h"] if several else result.hidden
            first = np.broadcast_to(checkpoint.initial_state(layer), (len(part), 1, sizes[layer]))
            before.add(np.concatenate([first, states[:, :-1]], 1)[valid])
            at_end = layer == len(sizes) - 1 and not checkpoint.head.every
            read.add(states[np.arange(len(part)), lengths - 1] if at_end else states[valid])
    return moments


def _reader(checkpoint: Checkpoint, layer: int) -> tuple[str, str]:
    """Names of the weight and the bias that take the states of a layer."""
    if layer + 1 < checkpoint.layers:
        return f"weight_ih_l{layer + 1}", f"bias_ih_l{layer + 1}"
    name = "back0" if "back0" in checkpoint.functions else "classifier"
    return f"{name}.weight", f"{name}.bias"


def _without_units(
    tensors: dict[str, np.ndarray],
    layer: int,
    reader: tuple[str, str],
    count: int,
    before: _Moments,
    read: _Moments,
) -> dict[str, np.ndarray]:
    """The tensors that change where `layer` has `count` units."""
    w_ih, w_hh, b_ih, b_hh = layer_names(layer)
    hidden = tensors[w_hh].shape[1]
    keep = _kept(
        tensors[w_hh].astype(np.float64),
        tensors[reader[0]].astype(np.float64),
        count,
        before,
        read,
    )
    rows = np.concatenate([gate * hidden + keep for gate in range(3)])
    recurrent, bias = _folded(tensors[w_hh], tensors[b_hh], keep, before)
    outer, outer_bias = _folded(tensors[reader[0]], tensors[reader[1]], keep, read)
    changed = {
        w_ih: tensors[w_ih][rows],
        b_ih: tensors[b_ih][rows],
        w_hh: recurrent[rows],
        b_hh: bias[rows],
        reader[0]: outer,
        reader[1]: outer_bias,
    }
    if (name := f"initial_state_l{layer}") in tensors:
        changed[name] = tensors[name][keep]
    return changed


def _kept(
    recurrent: np.ndarray, outer: np.ndarray, count: int, before: _Moments, read: _Moments
) -> np.ndarray:
    """The units that stay, in order."""
    hidden = recurrent.shape[1]
    #: Weights, and the inverse covariance of the states that they take; the gates and what reads
    #: the layer count alike, each against the variance that it has of its own.
    parts = [(gate, before) for gate in np.split(recurrent, 3)] + [(outer, read)]
    readers = []
    for weight, moments in parts:
        variance = float(np.einsum("ij,jk,ik->", weight, moments.cover, weight))
        readers.append((weight / np.sqrt(max(variance, 1e-30)), np.linalg.inv(moments.cover)))
    left = list(range(hidden))
    while len(left) > count:
        loss = sum((w**2).sum(0) / np.diag(inverse) for w, inverse in readers)
        k = int(np.argmin(loss))
        after = []
        for weight, inverse in readers:
            share = inverse[k] / inverse[k, k]
            # The regression of unit k on the others, folded into the weights.
            weight = np.delete(weight - np.outer(weight[:, k], share), k, 1)
            inverse = inverse - np.outer(inverse[:, k], share)
            after.append((weight, np.delete(np.delete(inverse, k, 0), k, 1)))
        readers = after
        del left[k]
    return np.array(left)


def _folded(
    weight: np.ndarray, bias: np.ndarray, keep: np.ndarray, moments: _Moments
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias float32 that take the units of `keep` alone."""
    gone = np.setdiff1d(np.arange(weight.shape[1]), keep)
    cover, mean = moments.cover, moments.mean
    share = np.linalg.solve(cover[np.ix_(keep, keep)], cover[np.ix_(keep, gone)]).T
    lost = weight[:, gone].astype(np.float64)
    folded = weight[:, keep] + lost @ share
    moved = bias + lost @ (mean[gone] - share @ mean[keep])
    return folded.astype(np.float32), moved.astype(np.float32)
