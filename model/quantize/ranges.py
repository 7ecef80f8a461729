"""Sane ranges for every tensor of a network, whatever its statistics.

Calibration reads scales off the values that it saw. A constant gate, a pruned row, a state that is
always zero or a bias of 1e6 leave nothing to read: a range without width, or one that hides all
other values. Four rules, in this file alone, give calibration something to read:

* A range without width is widened to real zero (:func:`sane_range`); a tensor that was always zero
  has the range that its operands allow (:func:`natural_reach`), with a weight too small to matter.
* What a saturated sigmoid or tanh does not see is left out of the ranges in front of it
  (:func:`visible`).
* Biases of r and z that cancel are one bias (:func:`merged_biases`): the equations only add them.
* A network of which 8 bits cannot hold a tensor is refused (:func:`refuse_lost`), with its name.

None of them changes anything for a network with ordinary statistics.
"""

from collections.abc import Mapping

import numpy as np

from ..checkpoints.floating import Checkpoint

#: Values below count as zero: float32 tells 1 from 1 + 2**-24.
TINY = 2.0**-40
#: Least width of a range as a share of its largest magnitude, of z and of any other tensor.
LEAST_Z_WIDTH, LEAST_WIDTH = 1 / 128, 1 / 16
#: Least width of the range of a gate and of a pre-activation of a gate, absolute: sigmoid and tanh
#: have units of their own. Smaller differences are below what 8 bits of the state can show.
GATE_WIDTH, PRE_ACTIVATION_WIDTH = 2.0**-10, 2.0**-6
WIDTHS = {
    **dict.fromkeys(("a_r", "a_z", "c_z"), GATE_WIDTH),
    **dict.fromkeys(("s_r", "s_z"), PRE_ACTIVATION_WIDTH),
}
#: Products of weights and operands below this share of an output do not change it.
LOST_PRODUCT = 2.0**-10
#: Beyond, sigmoid and tanh are flat to 1e-5: a pre-activation further out counts as here.
FLAT = 12.0
#: Pre-activations up to here are left as they are: their ranges hold them well.
FAR = 48.0
#: Weight, of one that is like the others, of the range that a tensor without values might have.
PRIOR = 1e-6
#: Biases of one pre-activation that cancel are merged where one is larger.
LARGE_BIAS = 16.0


def sane_range(name: str, low: float, high: float, reach: float) -> tuple[float, float]:
    """The range of a tensor: `low` to `high`, the values seen, widened where it has no width.

    reach : largest magnitude to allow for where all values are zero
    """
    if name == "s_h":
        # Every sequence starts at zero.
        low, high = min(low, 0.0), max(high, 0.0)
    largest = max(abs(low), abs(high))
    # Inputs have units of their own: any but zero is a value.
    if largest < TINY and not (name == "x" and largest):
        return -reach, reach
    least = WIDTHS.get(name, 0.0)
    if name == "a_z":
        # 1 - z may be far smaller than z, which therefore keeps fine steps far from zero.
        least = max(least, largest * LEAST_Z_WIDTH)
    elif high - low < max(largest * LEAST_WIDTH, least):
        low, high = min(low, 0.0), max(high, 0.0)
    spare = least - (high - low)
    return (low - spare / 2, high + spare / 2) if spare > 0 else (low, high)


def natural_reach(trace: Mapping[str, np.ndarray], hidden: Mapping[str, float]) -> dict[str, float]:
    """Largest magnitude [by operator] of the outputs of a layer: the values seen, or where they
    are all zero what their operands allow.

    trace : outputs [batch, steps, H] of the 17 operators
    hidden : by operator ``w_hr`` ...: largest sum of the magnitudes of a row's weights
    """
    reach = {name: float(np.abs(values).max()) for name, values in trace.items()}

    def fill(name: str, value: float) -> None:
        if reach[name] < TINY:
            reach[name] = value if value >= TINY else 1.0

    for name in ("a_r", "a_z", "a_n", "c_z", "w_ir", "w_iz", "w_in"):
        fill(name, 1.0)
    for name in ("s_r", "s_z", "s_n", "s_h"):
        fill(name, 1.0)
    for name, largest in hidden.items():
        fill(name, largest * reach["s_h"])
    for name, a, b in (("p_rn", "a_r", "w_hn"), ("p_zn", "c_z", "a_n"), ("p_zh", "a_z", "s_h")):
        fill(name, reach[a] * reach[b])
    return reach


def stand_in(matrix: np.ndarray, output: float, operand: float) -> np.ndarray:
    """What the scale of weights `matrix` is read from: the matrix, or where its products are lost
    beside the largest magnitudes of `output` and `operand`, weights of which they would not be."""
    largest = float(np.abs(matrix).max())
    size = output / operand
    if largest >= LOST_PRODUCT * size:
        return matrix
    size *= LOST_PRODUCT if largest else 1.0
    return np.linspace(-size, size, matrix.size).reshape(matrix.shape)


def visible(trace: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a layer's operators for ranges: without what a saturated activation does not
    see. The larger operand of the sum in front of it stands for the excess."""
    values = dict(trace)
    for total, a, b in (("s_r", "w_ir", "w_hr"), ("s_z", "w_iz", "w_hz"), ("s_n", "w_in", "p_rn")):
        if np.abs(values[total]).max() <= FAR:
            continue
        near = np.clip(values[total], -FLAT, FLAT)
        excess = values[total] - near
        first = np.abs(values[a]) >= np.abs(values[b])
        values[total] = near
        values[a] = values[a] - np.where(first, excess, 0)
        values[b] = values[b] - np.where(first, 0, excess)
    # The product p_rn follows its sum, and w_hn the product, where r is open.
    if values["p_rn"] is not trace["p_rn"]:
        gate = np.maximum(trace["a_r"], TINY)
        values["w_hn"] = np.where(
            values["p_rn"] != trace["p_rn"], values["p_rn"] / gate, trace["w_hn"]
        )
    return values


def merged_biases(checkpoint: Checkpoint) -> Checkpoint:
    """An equal network in which no large biases of r and z cancel each other."""
    tensors = dict(checkpoint.tensors)
    for layer in range(checkpoint.layers):
        names = f"bias_ih_l{layer}", f"bias_hh_l{layer}"
        ours, theirs = (tensors[name].astype(np.float64) for name in names)
        both = ours + theirs
        larger = np.maximum(np.abs(ours), np.abs(theirs))
        cancel = (larger > LARGE_BIAS) & (np.abs(both) < larger / 2)
        cancel[2 * len(cancel) // 3 :] = False
        if cancel.any():
            tensors[names[0]] = np.where(cancel, both, ours).astype(np.float32)
            tensors[names[1]] = np.where(cancel, 0, theirs).astype(np.float32)
    if all(tensors[name] is checkpoint.tensors[name] for name in tensors):
        return checkpoint
    return Checkpoint(tensors, checkpoint.info)
