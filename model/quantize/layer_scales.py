"""Choice of the scales of one GRU layer: those of least calibrated error among the allowed ones.

Five are chosen freely, the others follow through allowed combined scales (:mod:`.quantize`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..genome import GENES
from ..knobs import Knobs
from .calibrate import LayerCalibration
from .error_curves import STEPS, Curve
from .parts import pick
from .scales import KEPT_GATES, allowed, kept_format

#: Octaves scanned around each free scale's own optimum, and the grid step there.
SCAN_OCTAVES, SCAN_STEP = 0.75, {1: 2}


@dataclass(frozen=True)
class Widths:
    """Output and weight widths of one layer's operators."""

    out: dict[str, int]
    weight: dict[str, int]

    @classmethod
    def of(cls, genes: Sequence[int], knobs: Knobs) -> "Widths":
        bits = dict(zip(GENES, genes, strict=True))
        weight = {name: bits[name] for name in GENES[:6]}
        if knobs.dense_output == "8":
            bits.update(dict.fromkeys(weight, 8))
        return cls(bits, weight)


class LayerScales:
    """Chooses the scales of one layer (see the module text)."""

    def __init__(
        self, calibration: LayerCalibration, widths: Widths, knobs: Knobs, input_scale: float
    ) -> None:
        self.calibration, self.widths, self.knobs = calibration, widths, knobs
        self.input_scale = input_scale
        self.factors = allowed(knobs.multiplier_terms)

    def _curve(self, name: str) -> Curve:
        return self.calibration.tensors[name].curve(self.widths.out[name])

    def _into(self, child: str, total: str, terms: int | None) -> np.ndarray:
        """The combined scales of so many terms that operand `child` of sum `total` may have."""
        bits, of_sum = self.widths.out[child], self.widths.out[total]
        lowest, highest = -SUM_REACH - bits, SUM_REACH + max(0, of_sum - bits)
        return allowed(terms, lowest, highest)

    def _weight_curve(self, name: str) -> Curve:
        return self.calibration.weights[name].curve(
            self.widths.weight[name], self.knobs.granularity
        )

    def _scan(self, name: str) -> np.ndarray:
        step = SCAN_STEP.get(self.knobs.multiplier_terms or 0, 4)
        reach = int(SCAN_OCTAVES * STEPS) // step * step
        offsets = np.arange(-reach, reach + 1, step)
        return self._curve(name).best_scale * 2.0 ** (offsets / STEPS)

    def _gate(
        self,
        total: np.ndarray,
        base: np.ndarray,
        names: Sequence[str],
        state: np.ndarray,
        scales: dict[str, np.ndarray],
        into: str | None = None,
    ) -> np.ndarray:
        """Add the errors of dense outputs `names` whose scales are allowed multiples of `base`,
        the scale of the sum `into` if that is what they are operands of, and the errors of their
        weights; `state` is the scale of h."""
        for name in names:
            factors = self._into(name, into, self.knobs.multiplier_terms) if into else self.factors
            error, factor = pick(self._curve(name), base, factors)
            scales[name] = factor * base
            operand = self.input_scale if name[2] == "i" else state
            weight_error, factor = pick(
                self._weight_curve(name), scales[name] / operand, self.factors
            )
            scales[f"{name}.weight"] = factor * scales[name] / operand
            total = total + error + weight_error
        return total

    def _state_chain(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Behind the state: h' <- p_zn, p_zh; z <- p_zh; 1-z <- z; n <- p_zn, 1-z."""
        scales: dict[str, np.ndarray] = {"s_h": state}
        total = self._curve("s_h")(state)
        # A kept scale is reached exactly over powers of two alone.
        fixed_gate = any(kept_format(name, self.widths.out[name]) for name in KEPT_GATES)
        gates = allowed(1) if fixed_gate else self.factors
        for name in ("p_zn", "p_zh"):
            terms = 1 if fixed_gate and name == "p_zh" else self.knobs.multiplier_terms
            error, factor = pick(self._curve(name), state, self._into(name, "s_h", terms))
            scales[name] = factor * state
            total = total + error
        for name, base, factors in (
            ("a_z", lambda: scales["p_zh"] / state, gates),
            ("c_z", lambda: scales["a_z"], 1 / gates),
            ("a_n", lambda: scales["p_zn"] / scales["c_z"], self.factors),
        ):
            error, factor = pick(self._curve(name), base(), factors)
            scales[name] = factor * base()
            total = total + error
        return total, scales

    def solve(self) -> dict[str, float]:
        """Scales by operator name, and ``w_ir.weight`` ... of the weights; all M are allowed."""
        state = self._scan("s_h")[:, None]
        sides = [self._state_chain(state)]
        for gate in "rz":
            # What does not depend on the state's scale is one row, not one for each.
            base = self._scan(f"s_{gate}")[None]
            scales = {f"s_{gate}": base}
            names, error = [f"w_i{gate}", f"w_h{gate}"], self._curve(f"s_{gate}")(base)
            total = self._gate(error, base, names, state, scales, f"s_{gate}")
            sides.append((total, scales))
        # The candidate side has two free scales, s_n and r: all pairs along one axis.
        pairs = np.meshgrid(self._scan("s_n"), self._scan("a_r"), indexing="ij")
        base, reset = (p.ravel()[None] for p in pairs)
        scales = {"s_n": base, "a_r": reset}
        total = self._curve("s_n")(base) + self._curve("a_r")(reset)
        total = self._gate(total, base, ["w_in"], state, scales, "s_n")
        error, factor = pick(
            self._curve("p_rn"), base, self._into("p_rn", "s_n", self.knobs.multiplier_terms)
        )
        scales["p_rn"] = factor * base
        total = self._gate(total + error, scales["p_rn"] / reset, ["w_hn"], state, scales)
        sides.append((total, scales))

        at = int(sum(total.min(1) for total, _ in sides).argmin())
        solution: dict[str, float] = {}
        for total, scales in sides:
            where = int(total[at].argmin())
            solution.update(
                {
                    name: float(np.broadcast_to(value, total.shape)[at, where])
                    for name, value in scales.items()
                }
            )
        return solution


#: Octaves by which all codes of a sum's operand may stay below the sum's step, and by which they
#: may pass its range. Both operands share one shift, so this bounds their multipliers.
SUM_REACH = 3
