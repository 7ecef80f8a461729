"""What stands around the GRU layers: dense layers, and what makes codes of the last sums."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError, integer_within, shown
from ..head import ACTIVATIONS
from .codes import MAX_ZERO, check_scale, code_range
from .operators import Dense, PiecewiseLinear, Requantize, Table


@dataclass(frozen=True)
class OutputStage:
    """What makes codes of the sums of a linear operator: a requantiser, and an activation or none.

    ReLU needs no unit: the requantiser's lowest code stands for zero, and it saturates there.

    Parameters
    ----------
    requantize : Requantize
    activation : Table, PiecewiseLinear or None
    scale, zero_point
        A code stands for ``scale * (code - zero_point)``; no result depends on them.
    """

    requantize: Requantize
    activation: Table | PiecewiseLinear | None
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        check_scale("output stage: scale", self.scale)
        integer_within("output stage: zero_point", self.zero_point, -MAX_ZERO, MAX_ZERO)
        if self.activation is not None and self.activation.a_bits != self.requantize.out_bits:
            raise InputError(
                f"output stage: the activation takes {self.activation.a_bits} bits, "
                f"the requantiser gives {self.requantize.out_bits}"
            )

    @property
    def out_bits(self) -> int:
        """Width of the codes."""
        return (self.activation or self.requantize).out_bits

    def real(self, codes: np.ndarray) -> np.ndarray:
        """What `codes` stand for, float64."""
        return self.scale * (np.asarray(codes, np.float64) - self.zero_point)


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer in front of or behind the GRU layers: ``o = unit(dense(x))``, or ``dense(x)``.

    ReLU needs no unit: the lowest code of `dense` stands for zero, and its requantiser saturates
    there.

    Parameters
    ----------
    dense : Dense
    activation : Table, PiecewiseLinear or None
        The unit behind it, of a sigmoid or tanh.
    function : "none", "relu", "sigmoid" or "tanh"
        What the layer computes behind its sums.
    scale, zero_point
        A code of the output stands for ``scale * (code - zero_point)``; no result depends on them.
    """

    dense: Dense
    activation: Table | PiecewiseLinear | None = None
    function: str = "none"
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.function, str) or self.function not in ACTIVATIONS:
            raise InputError(f"dense layer: {shown(self.function)} is not one of {ACTIVATIONS}")
        check_scale("dense layer: scale", self.scale)
        integer_within("dense layer: zero_point", self.zero_point, -MAX_ZERO, MAX_ZERO)
        if (self.function in ("sigmoid", "tanh")) != (self.activation is not None):
            raise InputError(f"dense layer: {self.function} and its activation unit do not fit")
        if self.activation is not None and self.activation.a_bits != self.dense.out_bits:
            raise InputError(
                f"dense layer: the activation takes {self.activation.a_bits} bits, "
                f"the dense operator gives {self.dense.out_bits}"
            )
        lowest = code_range(self.dense.out_bits)[0]
        if self.function == "relu" and self.dense.zero_point != lowest:
            raise InputError(
                f"dense layer: relu needs the zero point {lowest}, not {self.dense.zero_point}"
            )

    @property
    def in_bits(self) -> int:
        """Width of the input codes."""
        return self.dense.in_bits

    @property
    def out_bits(self) -> int:
        """Width of the output codes."""
        return (self.activation or self.dense).out_bits

    @property
    def input_size(self) -> int:
        return self.dense.weight.shape[1]

    @property
    def output_size(self) -> int:
        return self.dense.weight.shape[0]

    @property
    def genes(self) -> tuple[int, int]:
        """Widths of the weights and of the output codes."""
        return self.dense.weight_bits, self.out_bits
