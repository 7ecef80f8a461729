"""How the quantisation error of a tensor, or of a weight matrix, depends on width and scale.

Separable, so it is done once per model and width; a genome's quantisation only picks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..checkpoints.floating import sigmoid
from ..integer import MAX_CHANNEL_SHIFT, code_range
from .ranges import PRIOR, sane_range, stand_in
from .scales import kept_format

#: Grid steps per octave of scale; errors vary smoothly enough for 4 % steps.
STEPS = 16
BINS = 512
#: Octaves searched below and above the scale that just covers the range.
BELOW, ABOVE = 3, 1
#: Largest magnitude of a zero point; only a gate z that stays near 1 needs more than 2**12.
FARTHEST_ZERO = 1 << 15
#: How many times the error of a lost tensor a scale outside of them costs.
OUTSIDE = 64.0
#: Largest power-of-two spread of channel scales (three bits would cost shifter stages, not error).
CHANNEL_SPREAD = min(3, MAX_CHANNEL_SHIFT)
#: Widest weights worth error compensation; above, rounding errors are too small to matter.
COMPENSATED_BITS = 6
#: Elements of a matrix from which on errors are computed scale by scale.
LARGE = 1 << 14
#: Quantised forms kept per matrix.
REMEMBERED = 2048
#: Share of the mean variance added to every input's own, so that the covariance can be inverted.
DAMPING = 0.01
#: Zero points 0 and "lowest code" need no constant adder at a multiplier; they are preferred while
#: they cost at most this share of squared error more than the best one. At 8 bits the error is far
#: below what any accuracy notices; at few bits it is what the accuracy is made of.
CHEAP_ZERO_TOLERANCE = {8: 3.0, 7: 1.0, 6: 0.5, 5: 0.25, 4: 0.1}
LEAST_TOLERANCE = 0.02
CHEAP_ZERO = frozenset({"a_r", "a_z", "a_n", "c_z", "w_hn", "s_h", "p_rn", "p_zn", "p_zh"})


def zero_tolerance(bits: int) -> float:
    """Share of squared error that a cheaper zero point may cost at a width."""
    return CHEAP_ZERO_TOLERANCE.get(bits, LEAST_TOLERANCE)


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "s_r": sigmoid,
    "s_z": sigmoid,
    "s_n": np.tanh,
}


def grid_index(scale: np.ndarray | float) -> np.ndarray:
    """Nearest index on the logarithmic grid of scales, ``2**(index / STEPS)``."""
    return np.rint(np.log2(scale) * STEPS).astype(np.int64)


@dataclass(frozen=True)
class Curve:
    """Squared error against scale at one width: ``error[k]`` at grid index ``start + k``.

    outside : error of a tensor that is lost, at scales outside the searched octaves. There the
        error also grows with the distance, so that the nearest scale is taken where linked scales
        leave no other, and it is far above any error inside.
    """

    start: int
    error: np.ndarray
    outside: float

    def __call__(self, scale: np.ndarray) -> np.ndarray:
        """Error at `scale` (any shape)."""
        index = grid_index(scale) - self.start
        nearest = np.clip(index, 0, len(self.error) - 1)
        octaves = np.abs(index - nearest) / STEPS
        lost = OUTSIDE * self.outside * (1 + octaves)
        return np.where(octaves > 0, lost, self.error[nearest])

    @property
    def best_scale(self) -> float:
        """Scale of least error."""
        return float(2 ** ((self.start + int(self.error.argmin())) / STEPS))


def scale_grid(span: float, bits: int) -> np.ndarray:
    """Octaves, on the logarithmic grid, of scales around the one that just covers `span`."""
    return _grid(span, bits) / STEPS


def _grid(span: float, bits: int) -> np.ndarray:
    full = int(grid_index(span / ((1 << bits) - 1)))
    return np.arange(full - BELOW * STEPS, full + ABOVE * STEPS + 1)


class Tensor:
    """A float tensor's weighted histogram, and its error at any width, scale and zero point."""

    def __init__(
        self, name: str, values: np.ndarray, weights: np.ndarray, reach: float = 1.0
    ) -> None:
        """`values` and their `weights`, of any shape; `reach`: the largest magnitude that there
        might be where all values are zero."""
        self.name = name
        values, weights = values.ravel().astype(np.float64), weights.ravel().astype(np.float64)
        # A floor keeps values that do not matter to first order from being thrown away.
        weights = weights + 0.02 * weights.mean() + 1e-12
        lowest, highest = float(values.min()), float(values.max())
        self.low, self.high = sane_range(name, lowest, highest, reach)
        span = self.high - self.low
        index = np.minimum(((values - self.low) * (BINS / span)).astype(np.int64), BINS - 1)
        mass = np.bincount(index, weights, BINS)
        used = mass > 0
        self.centre = np.bincount(index, weights * values, BINS)[used] / mass[used]
        self.mass = mass[used] / len(values)
        if (self.low, self.high) != (lowest, highest):
            # Nothing was seen of most of the range; so that it counts at all, it counts a little.
            prior = np.linspace(self.low, self.high, BINS // 8)
            self.centre = np.concatenate([self.centre, prior])
            share = np.full(len(prior), PRIOR * self.mass.sum() / len(prior))
            self.mass = np.concatenate([self.mass, share])
        function = FUNCTIONS.get(name)
        self.function = function or (lambda v: v)
        self.target = self.function(self.centre)
        #: Error of a tensor of which nothing is left, not even a constant.
        self.lost = float((self.target - self.function(np.zeros(1))) ** 2 @ self.mass)
        self._known: dict[tuple[int, float], int] = {}
        self._curves: dict[int, Curve] = {}

    def errors(self, bits: int, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """Squared errors, the shape of `scale` and `zero` broadcast."""
        scale, zero = np.asarray(scale), np.asarray(zero)
        if zero.ndim > 1:
            # One scale at a time stays in the cache, where all at once are megabytes of new pages.
            scale = np.broadcast_to(scale, zero.shape)
            return np.stack([self.errors(bits, *pair) for pair in zip(scale, zero, strict=True)])
        scale, zero = scale[..., None], zero[..., None]
        codes = np.clip(np.floor(self.centre / scale + 0.5) + zero, *code_range(bits))
        return ((self.function((codes - zero) * scale) - self.target) ** 2) @ self.mass

    def _zeros(self, bits: int, scale: np.ndarray) -> np.ndarray:
        """Candidate zero points [..., 11] for scales [...]: windows between the range's ends."""
        low, high = code_range(bits)
        first = low - np.rint(self.low / scale)
        last = high - np.rint(self.high / scale)
        steps = np.linspace(0, 1, 9)
        zeros = np.rint(first[..., None] + (last - first)[..., None] * steps)
        cheap = np.broadcast_to(np.array([0.0, low]), (*zeros.shape[:-1], 2))
        zeros = np.concatenate([zeros, cheap], -1)
        # The initial state is real zero, so the state must have a code for it.
        return (
            np.clip(zeros, low, high)
            if self.name == "s_h"
            else np.clip(zeros, -FARTHEST_ZERO, FARTHEST_ZERO)
        )

    def _preferred(self, errors: np.ndarray, bits: int) -> np.ndarray:
        """Index of the zero point to take along the last axis of `errors`."""
        best = errors.argmin(-1)
        if self.name not in CHEAP_ZERO:
            return best
        cheap = errors.shape[-1] - 2 + errors[..., -2:].argmin(-1)
        least = np.take_along_axis(errors, best[..., None], -1)[..., 0]
        cost = np.take_along_axis(errors, cheap[..., None], -1)[..., 0]
        return np.where(cost <= least * (1 + zero_tolerance(bits)), cheap, best)

    def zero_point(self, bits: int, scale: float) -> int:
        """The zero point of least error at an exact scale (a cheap one where it costs little).
        What was asked before is remembered: genomes share many scales."""
        if form := kept_format(self.name, bits):
            return form[1]
        if (bits, scale) not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            zeros = self._zeros(bits, np.array([scale]))
            errors = self.errors(bits, np.full(zeros.shape, scale), zeros)
            self._known[bits, scale] = int(zeros[0, self._preferred(errors, bits)[0]])
        return self._known[bits, scale]

    def format(self, bits: int) -> tuple[float, int]:
        """Scale and zero point of codes of `bits` bits of least error: steps over the whole range,
        the best grid scale (which clips where that helps), or the best power of two (pixels are
        often exact in one of them)."""
        best = self.curve(bits).best_scale
        covering = (self.high - self.low) / ((1 << bits) - 1)
        tried = []
        for scale in (
            covering,
            best,
            2.0 ** np.round(np.log2(best)),
            2.0 ** np.ceil(np.log2(covering)),
        ):
            zero = self.zero_point(bits, float(scale))
            tried.append(
                (float(self.errors(bits, np.array(scale), np.array(zero))), float(scale), zero)
            )
        _, scale, zero = min(tried)
        return scale, zero

    def curve(self, bits: int) -> Curve:
        """Error against scale at a width, each scale at its best zero point."""
        if bits not in self._curves:
            self._curves[bits] = self._curve(bits)
        return self._curves[bits]

    def _curve(self, bits: int) -> Curve:
        if form := kept_format(self.name, bits):
            error = self.errors(bits, np.array(form[0]), np.array(form[1]))
            # One scale alone is right, however much another seems to gain.
            return Curve(int(grid_index(form[0])), error[None], 1.0 + float(error))
        grid = _grid(self.high - self.low, bits)
        scale = 2.0 ** (grid / STEPS)
        zeros = self._zeros(bits, scale)
        errors = self.errors(bits, scale[:, None], zeros)
        pick = self._preferred(errors, bits)
        error = np.take_along_axis(errors, pick[:, None], -1)[:, 0]
        if self.name in CHEAP_ZERO:
            # Scales that admit no cheap zero point compete with the tolerance against them.
            dear = pick < errors.shape[-1] - 2
            error = np.where(dear, error * (1 + zero_tolerance(bits)), error)
        return Curve(int(grid[0]), error, self.lost)


def _weight_codes(matrix: np.ndarray, bits: int, scale: np.ndarray, narrow: bool) -> np.ndarray:
    low, high = code_range(bits)
    return np.clip(np.floor(matrix / scale + 0.5), low + narrow, high)


class Weights:
    """A weight matrix and its error in h' at any width, scale and granularity."""

    def __init__(
        self, matrix: np.ndarray, inputs: np.ndarray, weight: np.ndarray, output: float
    ) -> None:
        """`matrix` [outputs, inputs]; `inputs` [samples, inputs] of the calibration data; `weight`
        [samples, outputs], squared error in h' per squared error of each output; `output`: largest
        magnitude of the outputs."""
        self.matrix = matrix.astype(np.float64)
        self._scaled_by = stand_in(self.matrix, output, float(np.abs(inputs).max()) or 1.0)
        total = weight.sum(0)[:, None] + 1e-30
        #: Weighted mean input of every output, [outputs, inputs], for bias correction.
        self.mean = weight.T @ inputs / total
        second = weight.T @ inputs**2 - self.mean**2 * total
        sensitivity = np.maximum(second, 0) / len(inputs)
        #: Squared error in h' per squared error of a weight, [outputs, inputs].
        self.sensitivity = sensitivity + 0.02 * sensitivity.mean() + 1e-12
        importance = weight.mean(1) + 1e-12
        centred = inputs - importance @ inputs / importance.sum()
        covariance = (centred * importance[:, None]).T @ centred / importance.sum()
        damping = DAMPING * np.trace(covariance) / len(covariance) + 1e-9
        self._covariance = covariance + damping * np.eye(len(covariance))
        self._known: dict[tuple[int, float, str], tuple[np.ndarray, np.ndarray, bool]] = {}
        self._curves: dict[tuple[int, str], Curve] = {}

    @cached_property
    def _feedback(self) -> tuple[np.ndarray, np.ndarray]:
        """Order of the columns, widest spread first, and the upper Cholesky factor of the inverse
        covariance in that order: how the error of a column is made good by those after it."""
        order = np.argsort(-np.diag(self._covariance), kind="stable")
        inverse = np.linalg.inv(self._covariance[np.ix_(order, order)])
        return order, np.linalg.cholesky(inverse).T

    def compensated(self, bits: int, scale: np.ndarray, narrow: bool) -> np.ndarray:
        """Weight codes at row scales [outputs]: columns are rounded one after the other, and each
        one's rounding error is passed on to the columns that correlate with it (GPTQ, arXiv
        2210.17323, with the covariance of the calibration inputs)."""
        low, high = code_range(bits)
        order, factor = self._feedback
        rest, codes = self.matrix[:, order].copy(), np.empty_like(self.matrix)
        for j, column in enumerate(order):
            code = np.clip(np.floor(rest[:, j] / scale + 0.5), low + narrow, high)
            codes[:, column] = code
            error = (rest[:, j] - code * scale) / factor[j, j]
            rest[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
        return codes

    def codes(self, bits: int, scale: np.ndarray, narrow: bool) -> np.ndarray:
        """Weight codes at scales that broadcast against the matrix."""
        return _weight_codes(self.matrix, bits, scale, narrow)

    def _row_errors(self, bits: int, narrow: bool) -> tuple[int, np.ndarray]:
        """Start of the grid of scales, and errors [grid, outputs]."""
        matrix = self._scaled_by
        grid = _grid(2 * float(np.abs(matrix).max()), bits)
        grid = np.arange(grid[0] - CHANNEL_SPREAD * STEPS, grid[-1] + 1)
        scales = 2.0 ** (grid / STEPS)[:, None, None]
        # Of a large matrix one scale at a time stays in the cache.
        parts = np.split(scales, len(scales)) if matrix.size > LARGE else [scales]
        errors = []
        for scale in parts:
            codes = _weight_codes(matrix, bits, scale, narrow)
            errors.append((((codes * scale - matrix) ** 2) * self.sensitivity).sum(-1))
        return int(grid[0]), np.concatenate(errors)

    def curve(self, bits: int, granularity: str) -> Curve:
        """Error against matrix scale, at the better code range; remembered."""
        if (bits, granularity) not in self._curves:
            self._curves.update(self._curves_of(bits))
        return self._curves[bits, granularity]

    def _curves_of(self, bits: int) -> dict[tuple[int, str], Curve]:
        outputs = len(self.matrix)
        lost = float((self._scaled_by**2 * self.sensitivity).sum()) / outputs
        tensor, channel = [], []
        for narrow in (False, True):
            start, rows = self._row_errors(bits, narrow)
            skip = CHANNEL_SPREAD * STEPS
            tensor.append(rows[skip:].sum(-1))
            # Channel k_i divides the scale by 2**k_i: look that many octaves down the grid.
            shifted = [
                rows[skip - k * STEPS : len(rows) - k * STEPS] for k in range(CHANNEL_SPREAD + 1)
            ]
            channel.append(np.min(shifted, axis=0).sum(-1))
        start += CHANNEL_SPREAD * STEPS
        return {
            (bits, "tensor"): Curve(start, np.min(tensor, axis=0) / outputs, lost),
            (bits, "channel"): Curve(start, np.min(channel, axis=0) / outputs, lost),
        }

    def rounded(self, scale: float, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What 8-bit codes at matrix scale `scale` make of the weights, and `bias` less the mean
        error of that."""
        matrix = self.quantize(8, scale, "tensor")[0] * scale
        return matrix, bias - ((matrix - self.matrix) * self.mean).sum(1)

    def quantize(
        self, bits: int, scale: float, granularity: str
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """As :meth:`_quantize`, remembering what was asked before: genomes share many scales."""
        key = bits, scale, granularity
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = self._quantize(*key)
        return self._known[key]

    def _quantize(
        self, bits: int, scale: float, granularity: str
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Codes int8 [outputs, inputs], channel shifts uint8 [outputs], and whether the code range
        is narrow: the choice of least error at matrix scale `scale`."""
        best: tuple[float, np.ndarray, np.ndarray, bool] | None = None
        importance = self.sensitivity.mean(1)
        spread = CHANNEL_SPREAD if granularity == "channel" else 0
        for narrow in (False, True):
            scales = scale / 2.0 ** np.arange(spread + 1)[:, None, None]
            codes = self.codes(bits, scales, narrow)
            error = ((codes * scales - self.matrix) ** 2 * self.sensitivity).sum(-1)
            shift = error.argmin(0)
            row_scale = scale / 2.0**shift
            candidates = [codes[shift, np.arange(len(shift))]]
            if bits <= COMPENSATED_BITS:
                candidates.append(self.compensated(bits, row_scale, narrow))
            for codes in candidates:
                wrong = codes * row_scale[:, None] - self.matrix
                total = float(importance @ ((wrong @ self._covariance) * wrong).sum(1))
                if best is None or total < best[0]:
                    best = total, codes.astype(np.int8), shift.astype(np.uint8), narrow
        assert best is not None
        return best[1:]
