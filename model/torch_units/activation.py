"""Activations by piecewise-linear units, bit-exact with the hardware."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..integer import PiecewiseLinear, code_range, half
from ..tables.points import MAX_SCALE, MIN_SCALE
from ..tables.table import LutTable
from .base import Calibrated, Surrogate, check_codes, to_codes, unsaturated


class PiecewiseActivation(Calibrated):
    """A function of one variable as the integer unit of a table computes it, any shape.

    Float in, float out: input codes ``sat(floor(x 2**scale + 1/2))``, the unit, and
    ``(o - zero_point) 2**-out_scale``; NaN stays NaN. Backwards the slope of the segment, 0 where
    input or output saturates. Integers in, integers out: the unit itself, int64.

    Parameters
    ----------
    table : LutTable
        Gives a row a scale. With one row the scale is known, and only the output's is open.
    out_bits : int
        Width of the output codes, 2 to 8; that of the input is the table's.

    Half precision holds the outputs exactly in bfloat16 (8 significant bits), and in float16 down
    to its least number; under autocast the type of the input is kept. The state is in integer
    buffers, so ``state_dict`` is all that is needed, and ``.to(dtype)`` leaves it alone.
    """

    breakpoints: Tensor
    slopes: Tensor
    intercepts: Tensor
    _outputs: Tensor
    _slopes: Tensor

    def __init__(self, table: LutTable, out_bits: int = 8) -> None:
        # Then scale, out_scale, zero_point, fraction_bits (-1: the scales are open).
        super().__init__([table.in_bits, out_bits], [0, 0, 0, -1])
        self.table = table
        n, codes = table.entries, 1 << table.in_bits
        self.register_buffer("breakpoints", torch.zeros(n - 1, dtype=torch.int64))
        self.register_buffer("slopes", torch.zeros(n, dtype=torch.int64))
        self.register_buffer("intercepts", torch.zeros(n, dtype=torch.int64))
        # The unit over all codes, made from the above: output - zero point, and slope.
        self.register_buffer("_outputs", torch.zeros(codes, dtype=torch.int64), persistent=False)
        self.register_buffer("_slopes", torch.zeros(codes, dtype=torch.int64), persistent=False)
        self._refresh()

    def set_scales(self, scale: int, out_scale: int, zero_point: int = 0) -> None:
        """Input codes at ``2**-scale`` (one of the table's), output codes at ``2**-out_scale``."""
        self._set(
            self.table.row(scale).unit(self.in_bits, self.out_bits, out_scale, zero_point),
            scale,
            out_scale,
        )

    def _set(self, unit: PiecewiseLinear, scale: int, out_scale: int) -> None:
        # Segments that no code reaches are left out of a unit; here they begin above every code.
        short = len(self.slopes) - len(unit.slopes)
        past = 1 << (self.in_bits - 1)
        self.breakpoints.copy_(_padded(unit.breakpoints, short, past))
        self.slopes.copy_(_padded(unit.slopes, short, int(unit.slopes[-1])))
        self.intercepts.copy_(_padded(unit.intercepts, short, int(unit.intercepts[-1])))
        self.constants.copy_(
            torch.tensor(
                [self.in_bits, self.out_bits, scale, out_scale, unit.zero_point, unit.fraction_bits]
            )
        )
        self._refresh()

    def _refresh(self) -> None:
        """What is made from the persistent buffers."""
        *_, self.scale, self.out_scale, self.zero_point, self.fraction_bits = (
            int(v) for v in self.constants
        )
        if self.fraction_bits < 0:
            return
        low, high = code_range(self.in_bits)
        q = torch.arange(low, high + 1, device=self.constants.device)
        k, raw = self._raw(q)
        code = raw.clamp(*code_range(self.out_bits))
        self._outputs.copy_(code - self.zero_point)
        self._slopes.copy_(self.slopes[k] * (code == raw))

    def _raw(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Segments and outputs before saturation of int64 codes."""
        # right=True: a code on a break point belongs to the segment on its right.
        k = torch.bucketize(q.contiguous(), self.breakpoints, right=True)
        value = self.slopes[k] * q + self.intercepts[k] + half(self.fraction_bits)
        return k, (value >> self.fraction_bits) + self.zero_point

    @property
    def ready(self) -> bool:
        """Whether the scales are set."""
        return self.fraction_bits >= 0

    @property
    def unit(self) -> PiecewiseLinear:
        """The integer unit, for the golden model and Verilog."""
        self._check_ready()
        used = int((self.breakpoints < 1 << (self.in_bits - 1)).sum())
        return PiecewiseLinear(
            a_bits=self.in_bits,
            out_bits=self.out_bits,
            fraction_bits=self.fraction_bits,
            zero_point=self.zero_point,
            breakpoints=self.breakpoints[:used].cpu().numpy().astype(np.int16),
            slopes=self.slopes[: used + 1].cpu().numpy().astype(np.int32),
            intercepts=self.intercepts[: used + 1].cpu().numpy().copy(),
        )

    def codes(self, x: Tensor) -> Tensor:
        """Input codes int64 of real `x`."""
        self._check_ready()
        return to_codes(x, self.scale, self.in_bits)

    def integer(self, q: Tensor) -> Tensor:
        """Output codes int64 of input codes `q`, any shape and integer type.

        Raises :class:`InputError` for what is not a code.
        """
        self._check_ready()
        return self._raw(check_codes(q, self.in_bits))[1].clamp(*code_range(self.out_bits))

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return self.integer(x)
        if self.seen is not None:
            return self.watch(x)
        index = self.codes(x) - code_range(self.in_bits)[0]
        kind = torch.promote_types(x.dtype, torch.float32)
        value = self._outputs[index].to(kind) * 2.0**-self.out_scale
        value = torch.where(x.isnan(), x, value.to(x.dtype))
        if not (torch.is_grad_enabled() and x.requires_grad):
            return value
        inside = unsaturated(x, self.scale, self.in_bits)
        worth = 2.0 ** (self.scale - self.out_scale - self.fraction_bits)
        slope = self._slopes[index].to(kind) * worth * inside
        return cast(Tensor, Surrogate.apply(x, value, slope))

    def exact(self, x: Tensor) -> Tensor:
        real = x.detach().to(torch.float64).cpu().numpy()
        finite = np.isfinite(real)
        value = np.where(finite, self.table.function(np.where(finite, real, 1.0)), np.nan)
        return torch.from_numpy(value).to(x)

    def vectors(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 1)

    def settle(self, seen: Sequence[np.ndarray]) -> None:
        """Scales and zero point of least squared error of the output over `seen` inputs."""
        self.set_scales(
            *best_scales(self.table, self.out_bits, np.concatenate([v.ravel() for v in seen]))
        )

    def extra_repr(self) -> str:
        scales = f"2^{-self.scale} to 2^{-self.out_scale}" if self.ready else "scales not set"
        return (
            f"{self.table.function.name}, {self.table.entries} entries, {self.in_bits} to "
            f"{self.out_bits} bits, {scales}"
        )


def _padded(values: np.ndarray, count: int, fill: int) -> Tensor:
    return torch.from_numpy(np.append(values.astype(np.int64), np.full(count, fill, np.int64)))


def best_scales(table: LutTable, out_bits: int, x: np.ndarray) -> tuple[int, int, int]:
    """Scale of the input, scale of the output and zero point of least squared error.

    `x` are real inputs. The error is that of the whole unit: rounding and saturation of the input,
    the table, rounding and saturation of the output. Negative outputs get as many codes as they
    need: the zero point is the lowest code where there are none.
    """
    if not len(x) or not np.isfinite(x).all():
        raise InputError(f"{table.function.name}: calibration needs inputs, all finite")
    target = table.function(x)
    low, high = code_range(table.in_bits)
    out_low, out_high = code_range(out_bits)
    rivals = []
    for row in table.rows:
        y = row(np.clip(np.floor(np.ldexp(x, row.scale) + 0.5), low, high).astype(np.int64))
        least = min(float(y.min()), 0.0)
        span = max(float(y.max()), 0.0) - least
        # The scale at which all outputs have a code, and finer ones that saturate a few.
        widest = int(np.floor(np.log2((out_high - out_low) / max(span, 2.0**-8))))
        for out_scale in range(widest - 1, widest + 3):
            zero = int(np.clip(out_low + np.ceil(np.ldexp(-least, out_scale)), out_low, 0))
            o = np.clip(np.floor(np.ldexp(y, out_scale) + 0.5) + zero, out_low, out_high)
            error = float(((np.ldexp(o - zero, -out_scale) - target) ** 2).mean())
            rivals.append((error, row.scale, out_scale, zero))
    return min(rivals)[1:]


def scales_near(top: float, bits: int, least: int = MIN_SCALE) -> list[int]:
    """Scales k to try for values up to `top` in size: one at which all have a code, finer ones that
    saturate some."""
    widest = int(np.floor(np.log2(code_range(bits)[1] / max(top, 2.0**-MAX_SCALE))))
    return sorted({int(np.clip(widest + d, least, MAX_SCALE)) for d in range(4)})
