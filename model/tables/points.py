"""The input codes that a table is judged on, and what the function is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..aliases import Array
from ..errors import InputError, index_within, shown
from ..integer import code_range
from .functions import Function

#: Widest codes of a table that is searched on every code.
MIN_IN_BITS, MAX_IN_BITS = 4, 8
#: Scales 2**-k that a table may be for.
MIN_SCALE, MAX_SCALE = -8, 16
#: The scale set of arXiv 2403.19591.
SCALES = tuple(range(7))
Protocol = Literal["R", "A"]


def codes(function: Function, in_bits: int, scale: int, protocol: Protocol = "R") -> Array:
    """Input codes int64 that `protocol` judges at scale ``2**-scale``, ascending.

    Raises :class:`InputError` where a range holds fewer than two codes of that scale.
    """
    low, high = code_range(in_bits)
    every = np.arange(low, high + 1)
    x = np.ldexp(every.astype(np.float64), -scale)
    if protocol == "A":
        return every[function.defined(x)]
    inside = (x >= function.low) & (x <= function.high)
    if inside.sum() < 2:
        raise InputError(
            f"range of {function.name}: {function.low:g} to {function.high:g} holds "
            f"{inside.sum()} of the {in_bits}-bit codes at scale 2^{-scale} "
            f"({x[0]:g} to {x[-1]:g} in steps of {2.0**-scale:g}); leave that scale out or widen it"
        )
    return every[inside]


@dataclass(frozen=True)
class Inputs:
    """Finitely many inputs that a table is judged on, in the order of break points.

    x, y, weight : float64 [n], inputs, wanted outputs, and their weights
    """

    x: Array
    y: Array
    weight: Array


@dataclass(frozen=True)
class Points(Inputs):
    """Every input that a table is judged on, of one scale or of many, in the order of break points.

    A real break point p becomes, at scale S, the code round(p / S). On ``2**-(K+1)``, K the finest
    scale, all places where that rounding changes are integers, so a break point is a cell ``c`` of
    that grid (p = c + 1/2 of its steps), and input i is on its right side when ``c < key[i]``. No
    two inputs have the same key.

    The weights sum to 1.

    key : int64 [n], strictly ascending
    scale : int64 [n], the k of the scale 2**-k that the input belongs to
    function, in_bits, scales : what the inputs were made of
    """

    key: Array
    scale: Array
    function: Function
    in_bits: int
    scales: tuple[int, ...]

    @classmethod
    def of(
        cls,
        function: Function,
        scales: Sequence[int] = SCALES,
        in_bits: int = 8,
        weight: Array | None = None,
    ) -> "Points":
        """The inputs of protocol R: mean over codes of each scale, then over scales.

        `weight` [2**in_bits] weighs the codes, lowest code first, for example a histogram of real
        activations; within each scale it is normalised. Raises :class:`InputError` for a scale
        without inputs, a weighting without mass there, or a function that is not finite.
        """
        scales = check_scales(scales)
        check_in_bits(in_bits)
        low, _ = code_range(in_bits)
        if weight is not None:
            weight = np.asarray(weight, np.float64)
            if weight.shape != (1 << in_bits,) or not np.isfinite(weight).all():
                raise InputError(
                    f"weights: {1 << in_bits} finite numbers are needed, one a code, "
                    f"not an array of shape {weight.shape}"
                )
            if (weight < 0).any():
                at = int(np.argmax(weight < 0))
                raise InputError(f"weights: that of code {at + low} is negative ({weight[at]:g})")
        finest = max(scales)
        parts = []
        for k in scales:
            q = codes(function, in_bits, k)
            x = np.ldexp(q.astype(np.float64), -k)
            share = np.ones(len(q)) if weight is None else weight[q - low]
            if not share.sum() > 0:
                raise InputError(f"weights: all are zero within the range at scale 2^{-k}")
            share = share / share.sum() / len(scales)
            parts.append((x, function(x), share, (2 * q + 1) << (finest - k), np.full(len(q), k)))
        x, y, w, key, scale = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(key)
        return cls(
            x[order], y[order], w[order], key[order], scale[order], function, in_bits, scales
        )

    @property
    def finest(self) -> int:
        """K of the finest scale."""
        return max(self.scales)

    def cut(self, position: int) -> int:
        """A cell with inputs 0 ... position-1 on its left: the roundest one, so that comparators
        are short and tables readable."""
        low, high = int(self.key[position - 1]), int(self.key[position]) - 1
        # The cell c stands for p = (2 c + 1) / 2 steps; the least odd part is the roundest p.
        step = 1 << max(0, (high - low + 1).bit_length() - 1)
        while step > 1 and -(-low // step) * step > high:
            step >>= 1
        return -(-low // step) * step

    def positions(self, cuts: Array) -> Array:
        """How many inputs are left of each cell in `cuts` (any shape)."""
        return np.searchsorted(self.key, cuts, side="right")

    def breakpoints(self, cuts: Array, scale: int) -> Array:
        """The codes int64 that begin the segments right of `cuts` at a scale."""
        # The least q with (2 q + 1) 2**(K-k) > c.
        shift = self.finest - scale
        return ((np.asarray(cuts, np.int64) >> shift) + 1) >> 1

    def values(self, cuts: Array, slopes: Array, intercepts: Array) -> Array:
        """Outputs float64 [n] of a shared table with real slopes and intercepts [N]."""
        segment = np.searchsorted(cuts, self.key - 1, side="right")
        return slopes[segment] * self.x + intercepts[segment]


def check_scales(scales: Sequence[int]) -> tuple[int, ...]:
    """`scales` ascending and without doubles, each within MIN_SCALE to MAX_SCALE."""
    if not len(scales):
        raise InputError("scales: at least one is needed")
    for k in scales:
        if isinstance(k, bool) or int(k) != k or not MIN_SCALE <= k <= MAX_SCALE:
            raise InputError(f"scale {shown(k)}: k of 2^-k is within {MIN_SCALE} to {MAX_SCALE}")
    return tuple(sorted({int(k) for k in scales}))


def check_in_bits(in_bits: int) -> int:
    """`in_bits`, within what a table can be searched for."""
    return index_within("input bits", in_bits, MIN_IN_BITS, MAX_IN_BITS)
