"""A float network whose weights and operators' outputs are rounded to codes: INT8 in float.

Near to the integer network, activation units and 16-bit multipliers apart, and made in one pass: it
shows what codes of a width cost before anything is quantised.
"""

from collections.abc import Mapping

import numpy as np

from ..checkpoints.floating import FUNCTIONS, Checkpoint, sigmoid
from ..data.measures import at_last, filled, lengths_of
from ..integer import code_range

#: Of an operator's output: bits, scale, zero point.
Format = tuple[int, float, int]
#: Weights [outputs, inputs] and biases, by layer and operator (``classifier`` too).
Rounded = Mapping[tuple[int, str], tuple[np.ndarray, np.ndarray]]


def rounded_logits(
    checkpoint: Checkpoint,
    x: np.ndarray,
    dense: Rounded,
    formats: Mapping[tuple[int, str], Format],
    source: Format,
) -> np.ndarray:
    """Logits [batch, (steps,) classes] for inputs `x` [batch, steps, features].

    dense : rounded weights, of dense layers by their names too, in place of the checkpoint's
    formats : of the output of every operator, by layer and gene name; source : of the input
    """

    def held(value: np.ndarray, form: Format) -> np.ndarray:
        bits, scale, zero = form
        codes = np.clip(np.floor(value / scale + 0.5) + zero, *code_range(bits))
        return (codes - zero) * scale

    def through(place: str, layer: int, value: np.ndarray) -> np.ndarray:
        for name, function in checkpoint.functions.items():
            if name.startswith(place):
                weight, bias = dense[layer, name]
                value = held(FUNCTIONS[function](value @ weight.T + bias), formats[layer, name])
        return value

    lengths = lengths_of(x)
    below = through("front", 0, held(filled(np.asarray(x, np.float64)), source))
    for layer in range(checkpoint.layers):

        def out(name: str, value: np.ndarray, layer: int = layer) -> np.ndarray:
            return held(value, formats[layer, name])

        def linear(name: str, value: np.ndarray, layer: int = layer) -> np.ndarray:
            weight, bias = dense[layer, name]
            return held(value @ weight.T + bias, formats[layer, name])

        w_ir, w_iz, w_in = (linear(name, below) for name in ("w_ir", "w_iz", "w_in"))
        states = np.zeros((*below.shape[:2], w_ir.shape[-1]))
        h = states[:, 0] + checkpoint.initial_state(layer)
        for step in range(below.shape[1]):
            r = out("a_r", sigmoid(out("s_r", w_ir[:, step] + linear("w_hr", h))))
            z = out("a_z", sigmoid(out("s_z", w_iz[:, step] + linear("w_hz", h))))
            gated = out("p_rn", r * linear("w_hn", h))
            n = out("a_n", np.tanh(out("s_n", w_in[:, step] + gated)))
            new = out("p_zn", out("c_z", 1 - z) * n)
            states[:, step] = h = out("s_h", new + out("p_zh", z * h))
        below = states
    weight, bias = dense[checkpoint.layers - 1, "classifier"]
    seen = below if checkpoint.head.every else at_last(below, lengths)
    seen = through("back", checkpoint.layers - 1, seen)
    return seen @ weight.T + bias
