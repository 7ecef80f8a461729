"""Segments with integer slopes and intercepts at one scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..aliases import Array
from ..errors import InputError
from ..integer import PiecewiseLinear, code_range, common_power


@dataclass(frozen=True)
class Segments:
    """A table at one scale.

    scale : int, the k of S = 2**-k
    breakpoints : int64 [N-1], codes, not descending; where two are equal a segment is empty
    slopes, slope_fraction, intercepts, intercept_fraction : int64 [N], integers and the bits
        behind their points; an intercept is in units of y, not yet divided by S
    """

    scale: int
    breakpoints: Array
    slopes: Array
    slope_fraction: Array
    intercepts: Array
    intercept_fraction: Array

    def __post_init__(self) -> None:
        for name in ("breakpoints", "slopes", "slope_fraction", "intercepts", "intercept_fraction"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        n = len(self.slopes)
        for name in ("slope_fraction", "intercepts", "intercept_fraction"):
            if len(getattr(self, name)) != n:
                raise InputError(
                    f"scale {self.scale}: {n} slopes and {len(getattr(self, name))} "
                    f"{name}; as many of each are needed"
                )
        if not n or len(self.breakpoints) != n - 1:
            raise InputError(
                f"scale {self.scale}: {n} slopes and {len(self.breakpoints)} breakpoints; one "
                "fewer breakpoint than slopes is needed"
            )
        for name in ("slope_fraction", "intercept_fraction"):
            if (bad := (getattr(self, name) < 0) | (getattr(self, name) > 24)).any():
                raise InputError(
                    f"scale {self.scale}: {name} {getattr(self, name)[bad][0]} is not "
                    "within 0 to 24"
                )
        if (steps := np.diff(self.breakpoints)).size and steps.min() < 0:
            j = int(np.argmax(steps < 0))
            raise InputError(
                f"scale {self.scale}: breakpoint {j + 1} ({self.breakpoints[j + 1]}) is below "
                f"breakpoint {j} ({self.breakpoints[j]})"
            )

    @property
    def entries(self) -> int:
        """Segments, empty ones included."""
        return len(self.slopes)

    def __call__(self, q: Array) -> Array:
        """``y`` float64 of integer codes, any shape; exact for codes of up to 24 bits."""
        q = np.asarray(q, np.int64)
        k = np.searchsorted(self.breakpoints, q, side="right")
        slope = np.ldexp(self.slopes.astype(np.float64), -self.slope_fraction)[k]
        intercept = np.ldexp(self.intercepts.astype(np.float64), -self.intercept_fraction)[k]
        return slope * np.ldexp(q.astype(np.float64), -self.scale) + intercept

    def unit(
        self, in_bits: int, out_bits: int, out_scale: int, zero_point: int = 0
    ) -> PiecewiseLinear:
        """The integer unit of codes in, codes out: ``y = (o - zero_point) 2**-out_scale``, rounded
        half up and saturated. Segments without a code are left out.
        """
        low, high = code_range(in_bits)
        fraction = int(max(self.slope_fraction.max(), self.intercept_fraction.max(), -self.scale))
        # In units of 2**-(fraction + scale): slope q + intercept 2**scale.
        slopes = self.slopes << (fraction - self.slope_fraction)
        intercepts = self.intercepts << (fraction + self.scale - self.intercept_fraction)
        shift = fraction + self.scale - out_scale
        if shift < 0:
            slopes, intercepts, shift = slopes << -shift, intercepts << -shift, 0
        # A common power of two is no information, and only makes the multiplier wider.
        common = common_power(shift, slopes, intercepts)
        first = np.concatenate([[low], np.maximum(self.breakpoints, low)])
        past = np.concatenate([first[1:], [high + 1]])
        segments = np.flatnonzero((past > first) & (first <= high))
        return PiecewiseLinear(
            a_bits=in_bits,
            out_bits=out_bits,
            fraction_bits=shift - common,
            zero_point=int(zero_point),
            breakpoints=first[segments][1:].astype(np.int16),
            slopes=(slopes[segments] >> common).astype(np.int32),
            intercepts=intercepts[segments] >> common,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record."""
        return {name: value.tolist() for name, value in vars(self).items() if name != "scale"}
