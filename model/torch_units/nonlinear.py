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

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import InputError, index_within, shown
from ..integer import MAX_BITS, MIN_BITS, PiecewiseLinear, code_range, half
from ..tables.composites import Normalise, Softmax, layernorm_params, softmax_params
from ..tables.functions import FUNCTIONS, Function
from ..tables.optimal import GUARD, Exact
from ..tables.reduction import Pieces, Reduction
from ..tables.table import MAX_SCALE, MIN_SCALE, SCALES, Format, LutTable, Points, check_scales

#: Values that calibration keeps of a module's input, at most, and of one batch.
MAX_SEEN, MAX_SEEN_BATCH = 1 << 15, 1 << 13
#: torch's element-wise modules and the functions that they are; GELU's two forms are one here,
#: they differ by 5e-4 at most.
ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Hardswish: "hswish",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
}
#: Every class that :func:`replace` knows.
FUNCTION_OF = {**ACTIVATIONS, nn.Softmax: "softmax", nn.LayerNorm: "layernorm"}


@lru_cache(maxsize=256)
def exact_table(
    function: Function,
    entries: int = 8,
    *,
    scales: tuple[int, ...] = SCALES,
    in_bits: int = 8,
    shared: bool = True,
    guard: float | None = GUARD,
) -> LutTable:
    """The table of least mean squared error, its format the function's own.

    `shared` gives one table for all `scales` (the paper's setting), otherwise every scale has the
    best table of its own. Scales at which the range holds too few codes are an
    :class:`InputError`.
    """
    form = Format.of(function)
    info = {"method": "exact", "objective": "mse", "guard": guard}

    def best(group: Sequence[int]) -> LutTable:
        points = Points.of(function, group, in_bits)
        found = Exact(points, form, guard=guard).best(entries)
        return LutTable.from_cuts(
            points, form, found.cuts(points), found.slopes, found.intercepts, info
        )

    scales = check_scales(scales)
    if shared:
        return best(scales)
    rows = tuple(best([k]).rows[0] for k in scales)
    return LutTable(function, form, in_bits, rows, False, info)


class _Surrogate(torch.autograd.Function):
    """`value` forwards; backwards `x` gets the gradient times `derivative` (all of one shape)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, derivative: Tensor) -> Tensor:
        ctx.save_for_backward(derivative)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        return (gradient * derivative).to(gradient.dtype), None, None


def to_codes(x: Tensor, scale: int, bits: int) -> Tensor:
    """Codes int64 of real `x`: ``sat(floor(x 2**scale + 1/2))``, NaN as 0."""
    low, high = code_range(bits)
    # At least float32: half precision would lose the rounding constant.
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    return (wide * 2.0**scale + 0.5).floor().nan_to_num(0.0).clamp(low, high).long()


def unsaturated(x: Tensor, scale: int, bits: int) -> Tensor:
    """Where :func:`to_codes` of `x` is not for being out of range."""
    low, high = code_range(bits)
    return (x >= (low - 0.5) * 2.0**-scale) & (x < (high + 0.5) * 2.0**-scale)


def check_codes(q: Tensor, bits: int) -> Tensor:
    """`q` as int64. Raises :class:`InputError` where it is not signed codes of `bits` bits."""
    low, high = code_range(bits)
    if q.is_floating_point() or q.is_complex() or q.dtype == torch.bool:
        raise InputError(f"codes: type {q.dtype}, integers are needed")
    if q.numel() and not (low <= int(q.min()) and int(q.max()) <= high):
        raise InputError(
            f"codes: {int(q.min())} to {int(q.max())} are not within {low} to {high} ({bits} bits)"
        )
    return q.long()


class Calibrated(nn.Module):
    """What the modules here share: an input that calibration watches before scales are set, and
    integer constants as their state.

    fixed : what the first constants must be: a state of another shape is not loaded
    """

    constants: Tensor
    scale: int
    out_scale: int
    zero_point: int

    def __init__(self, fixed: Sequence[int], settings: Sequence[int]) -> None:
        super().__init__()
        self.fixed = list(fixed)
        self.in_bits, self.out_bits = self.fixed[:2]
        for what, bits in (("input", self.in_bits), ("output", self.out_bits)):
            index_within(f"{what} bits", bits, MIN_BITS, MAX_BITS)
        self.register_buffer("constants", torch.tensor([*self.fixed, *settings]))
        #: None, or the inputs seen so far while calibration watches.
        self.seen: list[np.ndarray] | None = None

    @property
    def ready(self) -> bool:
        """Whether the scales are set."""
        raise NotImplementedError

    @property
    def unit(self) -> PiecewiseLinear | Softmax | Normalise:
        """The integers of the unit."""
        raise NotImplementedError

    def exact(self, x: Tensor) -> Tensor:
        """The real function; what calibration lets through."""
        raise NotImplementedError

    def settle(self, seen: Sequence[np.ndarray]) -> None:
        """Set scales from inputs `seen`, float64 [vectors, length] each."""
        raise NotImplementedError

    def _refresh(self) -> None:
        """Make what is made from the constants."""
        raise NotImplementedError

    def _check_ready(self) -> None:
        if not self.ready:
            raise InputError(
                f"{type(self).__name__}: the scales are not set; call calibrate(model, batches) "
                "or load a state_dict"
            )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        stored, n = state_dict.get(f"{prefix}constants"), len(self.fixed)
        if stored is not None and (found := stored[:n].tolist()) != self.fixed:
            error_msgs.append(f"{prefix}constants: {found} is not {self.fixed}, the widths here")
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        try:
            self._refresh()
            _ = self.unit if self.ready else None
        except InputError as error:
            error_msgs.append(f"{prefix[:-1]}: {error}")

    def vectors(self, x: Tensor) -> Tensor:
        """`x` as [vectors, length]: what belongs together, for :meth:`settle`."""
        raise NotImplementedError

    def watch(self, x: Tensor) -> Tensor:
        """Note `x`, thinned evenly, and answer exactly."""
        assert self.seen is not None
        rows = self.vectors(x.detach())
        room = min(MAX_SEEN_BATCH, MAX_SEEN - sum(v.size for v in self.seen)) // rows.shape[1]
        if len(rows) and room > 0:
            rows = rows[:: -(-len(rows) // room)]
            self.seen.append(rows.to(torch.float64).cpu().numpy())
        return self.exact(x)


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
        kept = int((self.breakpoints < 1 << (self.in_bits - 1)).sum())
        return PiecewiseLinear(
            a_bits=self.in_bits,
            out_bits=self.out_bits,
            fraction_bits=self.fraction_bits,
            zero_point=self.zero_point,
            breakpoints=self.breakpoints[:kept].cpu().numpy().astype(np.int16),
            slopes=self.slopes[: kept + 1].cpu().numpy().astype(np.int32),
            intercepts=self.intercepts[: kept + 1].cpu().numpy().copy(),
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
        return cast(Tensor, _Surrogate.apply(x, value, slope))

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
    found = []
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
            found.append((error, row.scale, out_scale, zero))
    return min(found)[1:]


def _scales_near(top: float, bits: int, least: int = MIN_SCALE) -> list[int]:
    """Scales k to try for values up to `top` in size: one at which all have a code, finer ones that
    saturate some."""
    widest = int(np.floor(np.log2(code_range(bits)[1] / max(top, 2.0**-MAX_SCALE))))
    return sorted({int(np.clip(widest + d, least, MAX_SCALE)) for d in range(4)})


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
        coded = _Surrogate.apply(x, (q.to(kind) * 2.0**-self.scale).to(x.dtype), inside)
        return cast(
            Tensor, _Surrogate.apply(self.exact(coded), value, (raw >= low) & (raw <= high))
        )


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

        self.set_scales(min(_scales_near(top, self.in_bits), key=error), length)

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
        outs = _scales_near(float(y.abs().max()), self.out_bits, 0)

        def error(scale: int, out_scale: int) -> float:
            self.set_scales(scale, out_scale)
            return self._lost(x)

        # One after the other: which input scale is best hardly depends on the output's.
        ins = _scales_near(float(np.abs(x).max()), self.in_bits)
        scale = min(ins, key=lambda k: error(k, outs[-1]))
        self.set_scales(scale, min(outs, key=lambda k: error(scale, k)))

    def extra_repr(self) -> str:
        scales = f"2^{-self.scale} to 2^{-self.out_scale}" if self.ready else "scales not set"
        return (
            f"{self.size}, {self.entries} entries, {self.in_bits} to {self.out_bits} bits, {scales}"
        )


@dataclass(frozen=True)
class Replaced:
    """One module that :func:`replace` swapped.

    name : where it stands in the model
    kind : the class that stood there
    function : what it computes
    """

    name: str
    kind: str
    function: str


#: Non-linear modules of torch that nothing here stands for.
_UNKNOWN = (
    nn.CELU,
    nn.ELU,
    nn.GLU,
    nn.GroupNorm,
    nn.LogSigmoid,
    nn.LogSoftmax,
    nn.Mish,
    nn.MultiheadAttention,
    nn.RMSNorm,
    nn.SELU,
    nn.Softmax2d,
    nn.Softmin,
    nn.Softplus,
    nn.Softsign,
)


def replace(
    model: nn.Module,
    tables: Mapping[str | type[nn.Module], LutTable] | None = None,
    *,
    entries: int = 8,
    in_bits: int = 8,
    out_bits: int = 8,
    only: Collection[str] | None = None,
) -> list[Replaced]:
    """Swap the non-linear modules of `model`, in place, for the ones of this file.

    Parameters
    ----------
    tables : mapping, optional
        Function name, or a module class of your own, to its table. Activations that are not in it
        get :func:`exact_table`, one table for the scales of the paper.
    entries : segments of every table that is not given
    in_bits, out_bits : widths of the codes; those into a given table are the table's
    only : names, optional
        What to replace (gelu silu hswish sigmoid tanh softmax layernorm); everything where none
        are given.

    Returns what was replaced, in the model's order; a module that stands in several places is
    replaced by one. Call :func:`calibrate` next. Raises :class:`InputError`, the model untouched,
    for a non-linear module without a table, and where there is nothing to replace.
    """
    tables = dict(tables or {})
    for what, names, known in (
        ("only", only or (), set(FUNCTION_OF.values())),
        ("tables", tables, set(ACTIVATIONS.values())),
    ):
        for name in names:
            if isinstance(name, str) and name not in known:
                raise InputError(f"{what}: {shown(name)} is not known: {' '.join(sorted(known))}")

    def stand_in(module: nn.Module) -> tuple[Calibrated, str] | None:
        kind = type(module)
        if kind in tables:
            return PiecewiseActivation(tables[kind], out_bits), tables[kind].function.name
        function = FUNCTION_OF.get(kind)
        if function is not None and (only is None or function in only):
            if isinstance(module, nn.Softmax):
                if module.dim is None:
                    raise InputError("Softmax without dim; give it one")
                return PiecewiseSoftmax(module.dim, entries, in_bits, out_bits), function
            if isinstance(module, nn.LayerNorm):
                return PiecewiseLayerNorm(module, entries, in_bits, out_bits), function
            table = tables.get(function) or exact_table(
                FUNCTIONS[function], entries, in_bits=in_bits
            )
            return PiecewiseActivation(table, out_bits), function
        if kind in _UNKNOWN and only is None:
            raise InputError(
                f"no table stands for {kind.__name__}; give one in tables by its class, "
                "or name the functions to replace in only"
            )
        return None

    if type(model) in tables or type(model) in FUNCTION_OF:
        raise InputError(
            f"model: a bare {type(model).__name__} cannot be replaced in place; give the module "
            "that holds it"
        )
    places: list[tuple[str, nn.Module]] = []
    made: dict[nn.Module, nn.Module] = {}
    report = []
    # A module that stands in several places is listed, and swapped, in each.
    for name, module in model.named_modules(remove_duplicate=False):
        try:
            new = None if module in made else stand_in(module)
        except InputError as error:
            raise InputError(f"{name or 'model'}: {error}") from None
        if new is not None:
            made[module] = new[0].to(next(model.parameters(), torch.empty(0)).device)
            report.append(Replaced(name, type(module).__name__, new[1]))
        if module in made:
            places.append((name, made[module]))
    if not places:
        raise InputError(
            "model: no module to replace was found; functions called in forward() cannot be seen"
        )
    for name, stand in places:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, stand)
    return report


def calibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the scales of every replaced module of `model` from its inputs over `batches`.

    A batch is a tensor, or a tuple of what ``model(*batch)`` takes. While they run, without
    gradients and in evaluation mode, the replaced modules compute the exact functions. Raises
    :class:`InputError` naming a module that no batch reached, or whose inputs are not finite.
    """
    modules = {n: m for n, m in model.named_modules() if isinstance(m, Calibrated)}
    if not modules:
        raise InputError("model: nothing in it is replaced; call replace(model) first")
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        for module in modules.values():
            module.seen = []
        with torch.no_grad():
            for batch in batches:
                model(*batch) if isinstance(batch, tuple | list) else model(batch)
        for name, module in modules.items():
            if not module.seen:
                raise InputError(f"{name}: no batch reached it, so its scales stay open")
            try:
                module.settle(module.seen)
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
    finally:
        for module in modules.values():
            module.seen = None
        for m, mode in training.items():
            m.training = mode
