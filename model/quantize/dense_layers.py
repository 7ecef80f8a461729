"""Dense layers in front of and behind the GRU layers: their statistics, and their quantisation.

The scale of a layer's input is given. Two scales are chosen together, of the weights and of the
sums, whose quotient must be an allowed M: those of least error in the layer's output, first order.
Where a sigmoid or tanh follows, the sums have codes of 8 bits and the error is measured behind it;
its unit cuts the link, so the output's scale is free. ReLU has no unit: the lowest code is zero.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..checkpoints.floating import FUNCTIONS
from ..integer import Dense, DenseLayer, Operator, PiecewiseLinear, Table, code_range
from ..knobs import Knobs
from .error_curves import Tensor, Weights, scale_grid
from .parts import activation_candidates, linear_operator, pick, snap
from .ranges import FAR, FLAT
from .scales import allowed
from .stage import BETWEEN, SUMS

#: Steps of the calibration data that the statistics of a layer are of, at most.
SAMPLES = 20_000
#: What :func:`~.parts.activation_candidates` calls a unit of a function.
_UNIT = {"sigmoid": "a_r", "tanh": "a_n"}
#: Derivative of a function from its output.
_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": np.ones_like,
    "relu": lambda o: (o > 0).astype(np.float64),
    "sigmoid": lambda o: o * (1 - o),
    "tanh": lambda o: 1 - o**2,
}


@dataclass(frozen=True)
class DenseCalibration:
    """What quantisation needs of a dense layer.

    function : "none", "relu", "sigmoid" or "tanh"
    sums : of "none" and "relu" the outputs, of others the sums, measured behind the function
    output : the outputs
    weights, bias : of the layer
    units : units that quantisation made, by scales and widths
    """

    function: str
    sums: Tensor
    output: Tensor
    weights: Weights
    bias: np.ndarray
    units: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        function: str,
        weight: np.ndarray,
        bias: np.ndarray,
        inputs: np.ndarray,
        reader: np.ndarray,
    ) -> "DenseCalibration":
        """Statistics of a layer for `inputs` [samples, inputs].

        reader : the matrix [outputs, units] that takes the layer's output; outputs that it reads
            with large weights count more
        """
        inputs = inputs[:: max(1, len(inputs) // SAMPLES)].astype(np.float64)
        sums = inputs @ weight.T.astype(np.float64) + bias
        if function in _UNIT and np.abs(sums).max() > FAR:
            sums = np.clip(sums, -FLAT, FLAT)
        output = FUNCTIONS[function](sums)
        read = (reader.astype(np.float64) ** 2).sum(0)
        importance = np.broadcast_to((read + 1e-30) / (read.mean() + 1e-30), output.shape)
        ranged = sums if function in _UNIT else output
        reach = float(np.abs(sums).max()) or 1.0
        return cls(
            function,
            Tensor(SUMS[function], ranged, importance, reach),
            Tensor("output", output, importance, reach),
            Weights(weight, inputs, _SLOPES[function](output) ** 2 * importance, reach),
            bias.astype(np.float64),
        )

    @property
    def curved(self) -> bool:
        """Whether there is a unit behind the sums."""
        return self.function in _UNIT

    def scales(
        self, genes: tuple[int, int], in_scale: float, knobs: Knobs
    ) -> tuple[float, int, float]:
        """Scale and zero point of the codes of the sums, and scale of the weights."""
        tensor, bits = self.sums, BETWEEN if self.curved else genes[1]
        scales = 2.0 ** scale_grid(tensor.high - tensor.low, bits)
        lowest = code_range(bits)[0]
        if self.function == "relu":
            total = tensor.errors(bits, scales[:, None], np.full((len(scales), 1), lowest))[:, 0]
        else:
            total = tensor.curve(bits)(scales)
        curve = self.weights.curve(genes[0], knobs.granularity)
        error, factors = pick(curve, scales / in_scale, allowed(knobs.multiplier_terms))
        at = int((total + error).argmin())
        scale = float(scales[at])
        zero = lowest if self.function == "relu" else tensor.zero_point(bits, scale)
        return scale, zero, float(factors[at] * scale / in_scale)


@dataclass(frozen=True)
class DenseDraft:
    """A dense layer whose unit is still to be chosen.

    group : the units that may stand there, none where it needs none
    scales : as noted in the model's ``info``
    """

    dense: Dense
    function: str
    group: tuple[Operator, ...]
    scale: float
    zero_point: int
    scales: dict[str, Any]

    @classmethod
    def fixed(cls, layer: DenseLayer, scales: dict[str, Any]) -> "DenseDraft":
        """A draft that leaves nothing to choose."""
        group = () if layer.activation is None else (layer.activation,)
        return cls(layer.dense, layer.function, group, layer.scale, layer.zero_point, scales)

    def choose(self, unit: Operator | None) -> DenseLayer:
        """The layer with that unit."""
        assert unit is None or isinstance(unit, Table | PiecewiseLinear)
        return DenseLayer(self.dense, unit, self.function, self.scale, self.zero_point)


def quantize_dense_layer(
    calibration: DenseCalibration,
    genes: tuple[int, int],
    knobs: Knobs,
    *,
    in_scale: float,
    in_zero: int,
    in_bits: int,
) -> DenseDraft:
    """A dense layer with weights and output of the widths `genes`, for input codes of that
    format."""
    scale, zero, weight_scale = calibration.scales(genes, in_scale, knobs)
    bits = BETWEEN if calibration.curved else genes[1]
    m, n = snap(weight_scale * in_scale / scale, knobs.multiplier_terms)
    stored = linear_operator(
        calibration.weights,
        calibration.bias,
        scale=weight_scale,
        in_scale=in_scale,
        in_zero=in_zero,
        in_bits=in_bits,
        weight_bits=genes[0],
        granularity=knobs.granularity,
        output=(m, n, zero, bits),
    )
    dense = Dense(**stored, out_bits=bits, multiplier=m, shift=n, zero_point=zero)
    scales = {
        "weight": {"scale": weight_scale, "zero_point": 0},
        "w": {"scale": scale, "zero_point": zero},
    }
    draft = partial(DenseDraft, dense, calibration.function)
    if not calibration.curved:
        return draft((), scale, zero, scales | {"o": scales["w"]})
    out_scale, out_zero = calibration.output.format(genes[1])
    between: dict[str, Any] = {
        "a_bits": bits,
        "a_scale": scale,
        "a_zero": zero,
        "out_bits": genes[1],
        "scale": out_scale,
        "zero": out_zero,
    }
    key = (*between.values(), knobs.activation, knobs.entries)
    if key not in calibration.units:
        calibration.units[key] = activation_candidates(
            _UNIT[calibration.function], calibration.sums, knobs=knobs, **between
        )
    scales["o"] = {"scale": out_scale, "zero_point": out_zero}
    return draft(tuple(calibration.units[key]), out_scale, out_zero, scales)
