"""The integer model: every integer that the hardware holds, and nothing that it does not.

An :class:`IntModel` is what quantisation makes, what :mod:`genogate.sim.golden` evaluates and what
:mod:`genogate.hdl` turns into Verilog. The equations are in ``docs/numerics.md``. All codes are
signed: a code of width ``b`` lies in ``[-2**(b-1), 2**(b-1) - 1]`` and stands for
``scale * (code - zero_point)``. Scales are documentation here; no result depends on them.
"""

from .codes import (
    MAX_CHANNEL_SHIFT,
    MAX_MULTIPLIER,
    MAX_OCTAVES,
    MAX_SHIFT,
    MAX_SIZE,
    MAX_ZERO,
    code_range,
    common_power,
    half,
    signed_width,
)
from .layer import (
    CLASSES,
    OPERANDS,
    SCHEDULE,
    Layer,
)
from .model import (
    CONTENT_VERSION,
    HEAD_VERSION,
    KIND,
    VERSION,
    IntModel,
    with_op,
)
from .operators import (
    Classifier,
    Complement,
    Dense,
    Operator,
    PiecewiseLinear,
    Product,
    Requantize,
    Sum,
    Table,
    acc_bounds,
)
from .stages import (
    DenseLayer,
    OutputStage,
)

__all__ = [
    "CLASSES",
    "CONTENT_VERSION",
    "HEAD_VERSION",
    "KIND",
    "MAX_CHANNEL_SHIFT",
    "MAX_MULTIPLIER",
    "MAX_OCTAVES",
    "MAX_SHIFT",
    "MAX_SIZE",
    "MAX_ZERO",
    "OPERANDS",
    "SCHEDULE",
    "VERSION",
    "Classifier",
    "Complement",
    "Dense",
    "DenseLayer",
    "IntModel",
    "Layer",
    "Operator",
    "OutputStage",
    "PiecewiseLinear",
    "Product",
    "Requantize",
    "Sum",
    "Table",
    "acc_bounds",
    "code_range",
    "common_power",
    "half",
    "signed_width",
    "with_op",
]
