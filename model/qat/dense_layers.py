"""Dense layers around the GRU layers as torch sees them: codes forward, gradients straight through.

Scales stay as calibration chose them, but for that of the weights of the first layer behind the GRU
layers: it follows the state's, which may be learned, so that its M stays an allowed number.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..integer import DenseLayer, Table, code_range
from ..quantize.activations import unit_codes
from ..quantize.error_curves import FUNCTIONS
from ..quantize.stage import SUMS


def output_codes(unit: Any) -> np.ndarray:
    """Output codes of a unit for all input codes, in order."""
    return unit.table if isinstance(unit, Table) else unit_codes(unit)


class DenseSide:
    """The constants of a dense layer.

    layer : the integers; scales : those of ``IntModel.info["dense_scales"]``
    """

    def __init__(self, torch: Any, layer: DenseLayer, scales: Mapping[str, Any]) -> None:
        self.torch, self.layer, op = torch, layer, layer.dense
        shifts = op.channel_shift.astype(np.float64)[:, None]
        self.divisors = torch.from_numpy(2.0**shifts)
        self.gain = torch.from_numpy(op.multiplier * 2.0 ** -(op.shift + shifts))
        #: Weight scale times input scale.
        self.product = op.multiplier * 2.0**-op.shift * scales["w"]["scale"]
        self.low, self.high, self.least, self.most = (
            torch.tensor(float(limit), dtype=torch.float64)
            for limit in (*code_range(op.weight_bits), *code_range(op.out_bits))
        )
        self.table: Any = None
        if layer.activation is not None:
            codes = np.arange(*code_range(op.out_bits))
            codes = np.append(codes, codes[-1] + 1)
            real = (codes - op.zero_point) * scales["w"]["scale"]
            function = FUNCTIONS[SUMS[layer.function]]
            step = 1e-4
            slope = (function(real + step) - function(real - step)) / (2 * step)
            self.table = torch.from_numpy(output_codes(layer.activation).astype(np.float64))
            self.slopes = torch.from_numpy(slope * scales["w"]["scale"] / layer.scale)

    def weight_scale(self, in_scale: Any) -> Any:
        """Scale of the weights, of all rows before channel shifts."""
        return self.product / in_scale

    def side(self, operand: tuple[Any, Any]) -> tuple[Any, ...]:
        """Row scales, lowest and highest code, operand scale and zero, as a GRU layer's side."""
        rows = self.weight_scale(operand[0]) / self.divisors
        return rows, self.low, self.high, *operand

    def run(self, network: Any, weight: Any, bias: Any, value: Any) -> Any:
        """Output codes float32 [..., outputs, batch] for weight codes, folded bias and input codes
        [..., inputs, batch]."""
        sums = weight @ value.double() + bias[:, None]
        zero = self.layer.dense.zero_point
        codes = network.codes(sums * self.gain + zero, self.least, self.most)
        if self.table is not None:
            codes = network.looked_up(codes - self.least, self.table, self.slopes)
        return codes.float()


def lookup(torch: Any) -> Any:
    """A function of indices, a table and its slopes that gives the table's entries; gradients are
    multiplied by the slopes."""

    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, index: Any, table: Any, slopes: Any) -> Any:
            places = index.long()
            ctx.save_for_backward(slopes[places])
            return table[places]

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.saved_tensors[0], None, None

    return Lookup.apply
