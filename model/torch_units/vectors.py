"""Softmax and layer normalisation by piecewise-linear units, bit-exact with the hardware."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..integer import code_range, half
from ..tables.composites import Normalise, Softmax, layernorm_params, softmax_params
from ..tables.reduction import Pieces, Reduction
from .activation import scales_near
from .base import Calibrated, Surrogate, check_codes, to_codes, unsaturated


def _shift(value: Tensor, n: Tensor) -> Tensor:
    """``round(value / 2**n)``, half up, for n of any size."""
    down, up = n.clamp(0, 62), (-n).clamp(0, 62)
    return ((value << up) + ((torch.ones_like(down) << down) >> 1)) >> down


def _pieces(op: Pieces, q: Tensor) -> Tensor:
    breakpoints, slopes, intercepts = (
        torch.from_numpy(v).to(q.device) for v in (op.breakpoints, op.slopes, op.intercepts)
    )
    k = torch.bucketize(q.contiguous(), breakpoints, right=True)
    return (slopes[k] * q + intercepts[k] + half(op.shift)) >> op.shift


def _reduce(op: Reduction, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mantissa and exponent of unsigned integers."""
    x = x.clamp(min=1 << op.least)
    # The exponent of a float64 is the place of the leading one, exactly, below 2**53.
    s = torch.frexp(x.double())[1].long() - 1
    s = s - s % op.step
    return _pieces(op.pieces, _shift(x, s - op.fraction)), s // op.step


def _softmax(op: Softmax, q: Tensor) -> Tensor:
    """Outputs of :func:`genogate.sim.golden_composites.softmax` before they saturate."""
    difference = q.amax(-1, keepdim=True) - q
    t = (difference * op.multiplier + half(op.shift)) >> op.shift
    i, p = t >> op.exp_fraction, t & ((1 << op.exp_fraction) - 1)
    power = _pieces(op.exp, p)
    term = (power << (op.sum_fraction - op.exp.fraction_bits)) >> i.clamp(max=62)
    mantissa, exponent = _reduce(op.reciprocal, term.sum(-1, keepdim=True))
    n = op.out_shift - op.reciprocal.least + i + exponent
    return _shift(power * mantissa, n) + op.zero_point


def _normalise(op: Normalise, q: Tensor) -> Tensor:
    """Outputs of :func:`genogate.sim.golden_composites.normalise` before they saturate."""
    total = q.sum(-1, keepdim=True)
    variance = op.length * (q * q).sum(-1, keepdim=True) - total * total
    mantissa, exponent = _reduce(op.rsqrt, (variance << op.variance_shift) + op.epsilon)
    value = _shift((op.length * q - total) * mantissa, op.norm_shift + exponent)
    if op.gamma is not None and op.beta is not None:
        gamma, beta = (torch.from_numpy(v).to(q.device) for v in (op.gamma, op.beta))
        value = (value * gamma + beta + half(op.shift)) >> op.shift
    return value + op.zero_point


class _PiecewiseVector(Calibrated):
    """What :class:`PiecewiseSoftmax` and :class:`PiecewiseLayerNorm` share: codes of vectors.

    The state's constants: in_bits, out_bits, entries, then scale, out_scale, zero_point, length
    (of softmax: the greatest; 0: the scales are open).
    """

    def __init__(self, in_bits: int, out_bits: int, entries: int) -> None:
        super().__init__([in_bits, out_bits, entries], [0, 0, 0, 0])
        self.entries = entries
        self._refresh()

    def _set(self, *settings: int) -> None:
        self.constants[len(self.fixed) :] = torch.tensor(settings)
        self._refresh()

    def _refresh(self) -> None:
        self.scale, self.out_scale, self.zero_point, self.length = (
            int(v) for v in self.constants[len(self.fixed) :]
        )

    @property
    def ready(self) -> bool:
        return self.length > 0

    def _raw(self, q: Tensor) -> Tensor:
        """Outputs before saturation, vectors along the last axis as everywhere here."""
        raise NotImplementedError

    def _last(self, x: Tensor) -> Tensor:
        """`x` with its vectors along the last axis, or back."""
        return x

    def vectors(self, x: Tensor) -> Tensor:
        return self._last(x).reshape(-1, self._last(x).shape[-1])

    def real(self, x: Tensor) -> Tensor:
        """The real function of vectors along the last axis."""
        raise NotImplementedError

    def exact(self, x: Tensor) -> Tensor:
        return self._last(self.real(self._last(x)))

    def _lost(self, x: np.ndarray) -> float:
        """Sum of squared errors over vectors [vectors, length]."""
        real = torch.from_numpy(x).to(self.constants.device)
        o = self._raw(to_codes(real, self.scale, self.in_bits)).clamp(*code_range(self.out_bits))
        y = (o - self.zero_point).double() * 2.0**-self.out_scale
        return float(((y - self.real(real).detach()) ** 2).sum())

    def integer(self, q: Tensor) -> Tensor:
        """Output codes int64 of input codes `q` of any integer type."""
        self._check_ready()
        q = check_codes(q, self.in_bits)
        return self._last(self._raw(self._last(q)).clamp(*code_range(self.out_bits)))

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return self.integer(x)
        if self.seen is not None:
            return self.watch(x)
        self._check_ready()
        q = to_codes(x, self.scale, self.in_bits)
        raw = self._last(self._raw(self._last(q)))
        low, high = code_range(self.out_bits)
        kind = torch.promote_types(x.dtype, torch.float32)
        value = (raw.clamp(low, high) - self.zero_point).to(kind) * 2.0**-self.out_scale
        value = (value + torch.where(x.isnan(), x, 0.0)).to(x.dtype)
        if not torch.is_grad_enabled():
            return value
        inside = unsaturated(x, self.scale, self.in_bits)
        coded = Surrogate.apply(x, (q.to(kind) * 2.0**-self.scale).to(x.dtype), inside)
        return cast(Tensor, Surrogate.apply(self.exact(coded), value, (raw >= low) & (raw <= high)))


class PiecewiseSoftmax(_PiecewiseVector):
    """``nn.Softmax(dim)`` as :class:`~genogate.model.tables.composites.Softmax` computes it.

    Minus infinity, as a mask, is the least code, whose probability is small but need not be 0.

    Parameters
    ----------
    dim : int
    entries : segments of the tables for the power of two and the reciprocal
    max_length : longest vector; None for the longest that calibration sees
    """

    def __init__(
        self,
        dim: int = -1,
        entries: int = 8,
        in_bits: int = 8,
        out_bits: int = 8,
        max_length: int | None = None,
    ) -> None:
        self.dim, self.max_length = dim, max_length
        super().__init__(in_bits, out_bits, entries)

    def set_scales(self, scale: int, max_length: int) -> None:
        """Input codes at ``2**-scale``; the output's are all used, ``2**-out_bits`` apart."""
        self._set(scale, self.out_bits, -(1 << (self.out_bits - 1)), max_length)

    def _refresh(self) -> None:
        super()._refresh()
        self._unit = (
            softmax_params(
                self.scale,
                self.entries,
                self.length,
                self.in_bits,
                self.out_bits,
                self.out_scale,
                self.zero_point,
            )
            if self.ready
            else None
        )

    @property
    def unit(self) -> Softmax:
        self._check_ready()
        return cast(Softmax, self._unit)

    def _last(self, x: Tensor) -> Tensor:
        return x.transpose(self.dim, -1)

    def _raw(self, q: Tensor) -> Tensor:
        if not 1 <= q.shape[-1] <= self.length:
            raise InputError(f"softmax: a vector of {q.shape[-1]}; 1 to {self.length} are possible")
        return _softmax(self.unit, q)

    def real(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def settle(self, seen: Sequence[np.ndarray]) -> None:
        """The input scale of least squared error of the probabilities."""
        # A vector that is masked altogether has no probabilities.
        seen = [v[~np.isneginf(v).all(1)] for v in seen]
        if any(np.isnan(v).any() or np.isposinf(v).any() for v in seen):
            raise InputError("softmax: calibration needs inputs that are finite, or -inf")
        length = self.max_length or max(v.shape[1] for v in seen)
        top = max(float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in seen)

        def error(scale: int) -> float:
            self.set_scales(scale, length)
            return sum(self._lost(v) for v in seen)

        self.set_scales(min(scales_near(top, self.in_bits), key=error), length)

    def extra_repr(self) -> str:
        scales = f"2^{-self.scale}, up to {self.length}" if self.ready else "scales not set"
        return (
            f"dim={self.dim}, {self.entries} entries, {self.in_bits} to {self.out_bits} bits, "
            f"{scales}"
        )


class PiecewiseLayerNorm(_PiecewiseVector):
    """``nn.LayerNorm`` over the last axis as :class:`~genogate.model.tables.composites.Normalise`
    computes it.

    ``weight`` and ``bias`` stay float parameters, and are rounded to the unit's codes at every use,
    so that they can be trained.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self, layer: nn.LayerNorm, entries: int = 8, in_bits: int = 8, out_bits: int = 8
    ) -> None:
        if len(layer.normalized_shape) != 1:
            raise InputError(
                f"layer norm: over {len(layer.normalized_shape)} axes; only the last can be"
            )
        super().__init__(in_bits, out_bits, entries)
        (self.size,), self.eps = layer.normalized_shape, layer.eps
        self.register_parameter("weight", layer.weight)
        self.register_parameter("bias", layer.bias)

    def set_scales(self, scale: int, out_scale: int) -> None:
        """Input codes at ``2**-scale``, output codes at ``2**-out_scale``, zero point 0."""
        self._set(scale, out_scale, 0, self.size)

    @property
    def unit(self) -> Normalise:
        self._check_ready()
        gamma, beta = (
            None if p is None else p.detach().double().cpu().numpy()
            for p in (self.weight, self.bias)
        )
        return layernorm_params(
            self.size,
            self.scale,
            self.entries,
            self.in_bits,
            self.out_bits,
            self.out_scale,
            self.zero_point,
            self.eps,
            gamma,
            beta,
        )

    def _raw(self, q: Tensor) -> Tensor:
        if q.shape[-1] != self.size:
            raise InputError(f"layer norm: a vector of {q.shape[-1]}, not of {self.size}")
        return _normalise(self.unit, q)

    def real(self, x: Tensor) -> Tensor:
        weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        return nn.functional.layer_norm(x, (self.size,), weight, bias, self.eps)

    def settle(self, seen: Sequence[np.ndarray]) -> None:
        """Input and output scale of least squared error."""
        x = np.concatenate(seen)
        if not np.isfinite(x).all():
            raise InputError("layer norm: calibration needs finite inputs")
        with torch.no_grad():
            y = self.real(torch.from_numpy(x).to(self.constants.device))
        outs = scales_near(float(y.abs().max()), self.out_bits, 0)

        def error(scale: int, out_scale: int) -> float:
            self.set_scales(scale, out_scale)
            return self._lost(x)

        # One after the other: which input scale is best hardly depends on the output's.
        ins = scales_near(float(np.abs(x).max()), self.in_bits)
        scale = min(ins, key=lambda k: error(k, outs[-1]))
        self.set_scales(scale, min(outs, key=lambda k: error(scale, k)))

    def extra_repr(self) -> str:
        scales = f"2^{-self.scale} to 2^{-self.out_scale}" if self.ready else "scales not set"
        return (
            f"{self.size}, {self.entries} entries, {self.in_bits} to {self.out_bits} bits, {scales}"
        )
