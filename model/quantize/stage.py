"""Quantising the answers of a head: sums of the last linear operator to codes with a scale.

The scale of the sums is given, and so the requantiser's M must be one of the allowed numbers: the
one of least squared error, behind the activation. Codes of sigmoid and tanh cover what these can
be, 0 to 1 and -1 to 1; other answers cover what calibration saw.
"""

from dataclasses import dataclass

import numpy as np

from ..head import Head
from ..integer import (
    Classifier,
    Operator,
    OutputStage,
    PiecewiseLinear,
    Requantize,
    Table,
    code_range,
)
from ..knobs import Knobs
from .error_curves import Tensor
from .scales import allowed, as_fixed_point

#: What a tensor of sums is called, by the function behind them: of a sigmoid or tanh its error is
#: measured behind it.
SUMS = {"none": "sums", "relu": "sums", "sigmoid": "s_r", "tanh": "s_n"}
#: Width of the codes between the requantiser and the unit of an activation.
BETWEEN = 8
#: Octaves below and above the scale that just covers the range, in which M is looked for.
BELOW, ABOVE = 3, 1


@dataclass(frozen=True)
class StageDraft:
    """An output stage whose unit is still to be chosen. curved : whether there is one"""

    requantize: Requantize
    curved: bool
    scale: float
    zero_point: int

    def choose(self, unit: Operator | None) -> OutputStage:
        """The stage with that unit."""
        assert unit is None or isinstance(unit, Table | PiecewiseLinear)
        return OutputStage(self.requantize, unit, self.scale, self.zero_point)


@dataclass(frozen=True)
class Between:
    """Codes in front of a unit, and those behind it."""

    a_bits: int
    a_scale: float
    a_zero: int
    out_bits: int
    scale: float
    zero: int


def format_of_sums(
    sums: Tensor, acc_scale: float, bits: int, head: Head, terms: int | None
) -> tuple[float, int, int, int]:
    """Scale and zero point of codes of `bits` bits, and multiplier and shift that lead from sums
    of scale `acc_scale` to them."""
    covering = (sums.high - sums.low) / ((1 << bits) - 1)
    factors = allowed(terms, -40, 12)
    scales = acc_scale / factors
    inside = (scales >= covering * 2.0**-BELOW) & (scales <= covering * 2.0**ABOVE)
    if not inside.any():
        inside = np.arange(len(scales)) == np.abs(np.log(scales / covering)).argmin()
    best: tuple[float, float, int, float] | None = None
    for factor in factors[inside]:
        scale = float(acc_scale / factor)
        relu = head.activation == "relu"
        zero = code_range(bits)[0] if relu else sums.zero_point(bits, scale)
        error = float(sums.errors(bits, np.array(scale), np.array(zero)))
        if best is None or error < best[0]:
            best = error, scale, zero, float(factor)
    assert best is not None
    return best[1], best[2], *as_fixed_point(best[3])


def draft_stage(
    sums: Tensor, head: Head, classifier: Classifier, acc_scale: float, knobs: Knobs
) -> tuple[StageDraft, Between | None]:
    """The stage behind `classifier`, and what its unit is between, if it needs one."""
    curved = head.activation in ("sigmoid", "tanh")
    bits = BETWEEN if curved else knobs.head_bits
    scale, zero, multiplier, shift = format_of_sums(
        sums, acc_scale, bits, head, knobs.multiplier_terms
    )
    op = Requantize(classifier.acc_min, classifier.acc_max, bits, multiplier, shift, zero)
    if not curved:
        return StageDraft(op, False, scale, zero), None
    low, high = code_range(knobs.head_bits)
    out, out_zero = (1 / (high - low), low) if head.activation == "sigmoid" else (1 / high, 0)
    between = Between(bits, scale, zero, knobs.head_bits, out, out_zero)
    return StageDraft(op, True, out, out_zero), between
