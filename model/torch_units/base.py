"""Codes of tensors, scales that are calibrated, and tables that are the best of their format."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import InputError, index_within
from ..genome import MAX_BITS, MIN_BITS
from ..integer import PiecewiseLinear, code_range
from ..tables.composites import Normalise, Softmax
from ..tables.formats import Format
from ..tables.functions import Function
from ..tables.optimal import GUARD, Exact
from ..tables.points import SCALES, Points, check_scales
from ..tables.table import LutTable

#: Values that calibration keeps of a module's input, at most, and of one batch.
MAX_SEEN, MAX_SEEN_BATCH = 1 << 15, 1 << 13


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
        solution = Exact(points, form, guard=guard).best(entries)
        return LutTable.from_cuts(
            points, form, solution.cuts(points), solution.slopes, solution.intercepts, info
        )

    scales = check_scales(scales)
    if shared:
        return best(scales)
    rows = tuple(best([k]).rows[0] for k in scales)
    return LutTable(function, form, in_bits, rows, False, info)


class Surrogate(torch.autograd.Function):
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
        if stored is not None and (stored_widths := stored[:n].tolist()) != self.fixed:
            error_msgs.append(
                f"{prefix}constants: {stored_widths} is not {self.fixed}, the widths here"
            )
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
