"""Torch modules that compute a non-linear function as the integer unit does, for fine-tuning.

:func:`replace` swaps ``nn.GELU``, ``nn.SiLU``, ``nn.Hardswish``, ``nn.Sigmoid`` and ``nn.Tanh`` of
a model for :class:`PiecewiseActivation`, ``nn.Softmax`` for :class:`PiecewiseSoftmax` and
``nn.LayerNorm`` for :class:`PiecewiseLayerNorm`; :func:`calibrate` chooses their scales from data.
A module quantises its input to codes, evaluates the integer unit and gives back what the output
codes stand for. Backwards, the slope of the segment stands for the derivative of an activation, and
softmax and normalisation have the derivative of the real function at the quantised input; there is
none where a code saturates. Given integer tensors a module takes and gives codes, bit-exact with
:func:`genogate.sim.golden.activation` (tie rule included), ``golden_composites.softmax`` and
``golden_composites.normalise``.

Only modules can be seen: a function called in a ``forward`` (``F.gelu``, the softmax inside
``nn.MultiheadAttention``) stays what it is.

This module needs torch; nothing that emits or evaluates integers imports it.
"""

from .activation import PiecewiseActivation, best_scales
from .base import Calibrated, check_codes, exact_table, to_codes, unsaturated
from .replacement import ACTIVATIONS, FUNCTION_OF, Replaced, calibrate, replace
from .vectors import PiecewiseLayerNorm, PiecewiseSoftmax

__all__ = [
    "ACTIVATIONS",
    "FUNCTION_OF",
    "Calibrated",
    "PiecewiseActivation",
    "PiecewiseLayerNorm",
    "PiecewiseSoftmax",
    "Replaced",
    "best_scales",
    "calibrate",
    "check_codes",
    "exact_table",
    "replace",
    "to_codes",
    "unsaturated",
]
