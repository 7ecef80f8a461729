"""Rounding to codes with gradients that pass straight through."""

from typing import Any


def code_functions(torch: Any) -> tuple[Any, Any]:
    """``codes(real, low, high)``, nearest and saturated, and ``nearest(real)``; ties go up."""

    class Codes(torch.autograd.Function):
        """Nearest codes, ties up, saturated; no gradient beyond half a code outside."""

        @staticmethod
        def forward(ctx: Any, real: Any, low: Any, high: Any) -> Any:
            ctx.save_for_backward((real >= low - 0.5) & (real <= high + 0.5))
            return torch.minimum(torch.maximum(torch.floor(real + 0.5), low), high)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.saved_tensors[0], None, None

    class Nearest(torch.autograd.Function):
        """Nearest integer, ties up."""

        @staticmethod
        def forward(ctx: Any, real: Any) -> Any:
            return torch.floor(real + 0.5)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    return Codes.apply, Nearest.apply
