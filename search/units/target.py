"""What a unit is judged on: codes in, codes out, and the halves that it may be computed of."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ...hdl.units import shift_add_unit
from ...model.aliases import Array
from ...model.errors import InputError, integer_within, shown
from ...model.integer import code_range
from ...model.tables.functions import Function
from ...model.tables.optimal import GUARD
from ...model.tables.points import check_in_bits, codes
from ...model.tables.table import output_scale

Fold = Literal["none", "odd", "even", "negated", "mirrored"]
#: Most segments, and fraction bits of slopes, that are looked at.
MAX_SEGMENTS, FRACTIONS = 24, (1, 2, 3, 4, 5)
#: Error, squared codes, that an equal half may cost at most.
_FOLD_ERROR = 16.0


@dataclass(frozen=True)
class Target:
    """What a unit is judged on: codes in, codes out, both at fixed scales.

    wanted : float64 [2**in_bits], real output codes, zero point included; 0 where undefined
    weight : float64 [2**in_bits], 1/n on the n codes of protocol R, else 0
    watched : bool [2**in_bits], codes of protocol A alone, where the guard holds
    guard : greatest error there, in output codes
    coarsest : greatest mean squared error that is of any use, units of y: root 3 % of the range
    """

    function: Function
    scale: int
    in_bits: int
    out_bits: int
    out_scale: int
    zero_point: int
    wanted: Array
    weight: Array
    watched: Array
    guard: float
    coarsest: float

    @classmethod
    def of(
        cls,
        function: Function,
        scale: int,
        in_bits: int = 8,
        out_bits: int = 8,
        guard: float = GUARD,
    ) -> "Target":
        """Of a function at input scale ``2**-scale``; the output scale is the best one.

        Raises :class:`InputError` for widths or a scale that cannot be.
        """
        check_in_bits(in_bits)
        integer_within("output bits", out_bits, 2, 8)
        if not guard > 0:
            raise InputError(f"guard: {shown(guard)} is not greater than 0")
        out_scale, zero = output_scale(function, in_bits, scale, out_bits)
        low, _ = code_range(in_bits)
        exact, weight = np.zeros(1 << in_bits), np.zeros(1 << in_bits)
        watched = np.zeros(1 << in_bits, bool)
        judged = codes(function, in_bits, scale)
        for q in (codes(function, in_bits, scale, "A"), judged):
            exact[q - low] = np.ldexp(function(np.ldexp(q.astype(float), -scale)), out_scale)
            exact[q - low] += zero
            watched[q - low] = True
        weight[judged - low] = 1 / len(judged)
        watched &= weight == 0
        spread = float(np.ldexp(np.ptp(exact[weight > 0]), -out_scale))
        return cls(
            function,
            scale,
            in_bits,
            out_bits,
            out_scale,
            zero,
            exact,
            weight,
            watched,
            float(np.ldexp(guard, out_scale)) + 0.5,
            1e-3 * spread**2,
        )

    def mse(self, outputs: Array) -> float:
        """Mean squared error over protocol R of output codes [2**in_bits], in units of y."""
        return float(np.ldexp(self.weight @ (outputs - self.wanted) ** 2, -2 * self.out_scale))

    def safe(self, outputs: Array) -> bool:
        """Whether the guard holds: what protocol A adds is near to the saturated function."""
        return not self._astray(outputs, np.arange(len(self.wanted))).any()

    def _astray(self, outputs: Array, at: Array) -> Array:
        near = np.clip(self.wanted[at], *code_range(self.out_bits))
        return self.watched[at] & (np.abs(outputs - near) > self.guard)

    def errors(self, outputs: Array, at: Array) -> Array:
        """Weighted squared errors, squared codes, of outputs [..., n] at positions [n]; infinite
        in effect where the guard is broken."""
        error = self.weight[at] * (outputs - self.wanted[at]) ** 2
        return error + np.where(self._astray(outputs, at), 1e9, 0.0)

    def ramp(self) -> int:
        """The shift of the ramp for which what is left is most nearly even."""
        return min(shift_add_unit.RAMPS, key=lambda p: self._fold_error("even", p))

    def other_half(self, fold: Fold, inputs: Array) -> Array:
        """Positions of the codes that share the magnitudes `inputs`."""
        # The lowest code shares that of 0.
        exact = np.where(inputs == 0, 0, len(self.wanted) // 2 - inputs)
        return exact if fold in ("negated", "mirrored") else len(self.wanted) // 2 - 1 - inputs

    def _fold_error(self, fold: Fold, ramp: int) -> float:
        """The least error, squared codes, that equal halves cost."""
        right = len(self.wanted) // 2
        there = self.other_half(fold, np.arange(right))
        w, f = self.weight[right:], self.wanted[right:]
        v, g = self.weight[there], self.wanted[there]
        if fold in ("even", "mirrored"):
            f = f - np.ldexp(np.arange(right), ramp)
        else:
            g = -1 - g if fold == "odd" else -g
        if fold == "negated":
            # The lowest code's answer is fixed, and nothing else may be 0.
            v[0] = 0
            if (self.weight[right + 1 :] > 0).any() and (
                self.wanted[right + 1 :][self.weight[right + 1 :] > 0].min() < 0.5
            ):
                return np.inf
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.nansum(w * v / (w + v) * (f - g) ** 2))

    @cached_property
    def folds(self) -> list[tuple[Fold, int]]:
        """Ways to compute it of one half that cost little error, with the ramp; ``none`` first."""
        folds: list[tuple[Fold, int]] = [("none", 0)]
        left, right = np.split(self.weight, 2)
        # A slope needs two inputs that both halves have: exp's have the one next to 0.
        if np.count_nonzero(left * right[::-1]) < 2:
            return folds
        ramp = self.ramp()
        for fold, power in (("odd", 0), ("even", ramp), ("negated", 0), ("mirrored", ramp)):
            if power >= 0 and self._fold_error(fold, power) < _FOLD_ERROR:  # type: ignore[arg-type]
                folds.append((fold, power))  # type: ignore[arg-type]
        return folds
