"""One GRU layer of a batch, forward and backward: the kernels of :mod:`.kernels`, step by step.

Both passes share the buffers of a batch and follow the same operators in the same order.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..genome import GENES
from .structure import import_kernels

#: Steps beyond which the gradient that a sequence sends back in time is limited to
#: :data:`MOST_GROWTH` times what came in: over the 784 steps of mnist-pixel it grew to 1e9 times
#: that with 4 bits, over the 49 of keywords to less than ten times with any.
LONG, MOST_GROWTH = 64, 10.0


def _gradient_limit(grad: Any) -> np.ndarray:
    """Greatest length, by sequence, of the gradient that is sent back in time."""
    if len(grad) <= LONG:
        return np.full(grad.shape[2], np.inf, np.float32)
    return (MOST_GROWTH * grad.square().sum((0, 1)).sqrt()).numpy()


def _gain_gradients(torch: Any, plan: Any, sides: Iterable[tuple[Any, ...]]) -> Any:
    """Gradients of the dense operators' gains. Each is the gradient of its accumulators times
    them, which are linear in weights and biases.

    sides : of input and state, the gradient of the weights, the weights, and the same of the biases
    """
    sums = torch.cat([(g * w).sum(1) + h * b for g, w, h, b in sides]).double()
    return sums.view(6, -1).sum(1) / torch.from_numpy(plan.factors)


def _plan_gradients(
    torch: Any, plan: Any, sides: Iterable[tuple[Any, ...]], totals: np.ndarray
) -> tuple[Any, Any]:
    """Gradients of what is learned of the plan: the dense operators' gains, and the constants of
    the others, from `totals` [8, 3, batch]."""
    constants = torch.from_numpy(totals.sum(-1).astype(np.float64))
    return _gain_gradients(torch, plan, sides), constants


class LayerPass:
    """Runs the steps of a layer, and keeps buffers for the next batch."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.kernels = torch, import_kernels()
        self.free: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}

    def take(self, steps: int, hidden: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for the codes and bits of a layer. Used again: fresh pages cost more than what is
        computed into them."""
        free = self.free.get((steps, hidden, batch))
        if free:
            return free.pop()
        return (
            np.empty((steps, len(GENES), hidden, batch), np.int8),
            np.empty((steps, hidden, batch), np.uint16),
        )

    def give_back(self, codes: np.ndarray, passed: np.ndarray) -> None:
        """The other way."""
        self.free.setdefault(passed.shape, []).append((codes, passed))

    def _kind(self, plan: Any, weights: tuple[Any, Any], bias: Any) -> Any:
        """The float type in which no sum of a layer rounds."""
        in_bits = plan.layer.in_bits, plan.layer.bits("h")
        sums = [
            (w.abs().sum(1) * 2.0 ** (bits - 1)).view(3, -1)
            for w, bits in zip(weights, in_bits, strict=True)
        ]
        return plan.kind((self.torch.cat(sums) + bias.abs()).amax(1).numpy())

    def layer(
        self,
        plan: Any,
        x: Any,
        w_x: Any,
        w_h: Any,
        b_x: Any,
        b_h: Any,
        tables: Any,
        first: Any = None,
    ) -> tuple[Any, ...]:
        """States float32 [steps + 1, H, batch] with the initial one, codes int8 [steps, 17, H,
        batch] of all operators, and their bits of passed gradients uint16 [steps, H, batch].

        first : codes [H] of the initial state; None: that of `plan`
        """
        torch = self.torch
        steps, _, batch = x.shape
        hidden = w_h.shape[1]
        bias = torch.cat([b_x, b_h]).view(6, hidden)
        kind = self._kind(plan, (w_x, w_h), bias)
        gain, dense, ops = plan.constants(kind)
        real = torch.float32 if kind is np.float32 else torch.float64
        x, w_x = x.to(real), w_x.to(real)
        acc_x, acc_h = (torch.empty(3 * hidden, batch, dtype=real) for _ in range(2))
        w_h, bias, tables = w_h.to(real), bias.to(real).numpy(), tables.to(real).numpy()
        states = torch.empty(steps + 1, hidden, batch)
        state = torch.full((hidden, batch), float(plan.state_zero_point), dtype=real)
        if first is not None:
            state[:] = first[:, None].to(real)
        elif plan.first_state is not None:
            state[:] = torch.from_numpy(plan.first_state.astype(np.float64))[:, None]
        states[0], new = state, torch.empty_like(state)
        codes, passed = self.take(steps, hidden, batch)
        for step in range(steps):
            # Step by step, so that the sums are still in the cache when they are used.
            torch.mm(w_x, x[step], out=acc_x)
            torch.mm(w_h, state, out=acc_h)
            self.kernels.forward_step(
                acc_x.numpy(),
                acc_h.numpy(),
                bias,
                gain,
                dense,
                ops,
                plan.offsets,
                tables,
                state.numpy(),
                codes[step],
                passed[step],
                new.numpy(),
            )
            states[step + 1] = new
            state, new = new, state
        return states, codes, passed

    def layer_gradients(self, ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Gradients of what :meth:`layer` was given."""
        torch, plan, (codes, passed) = self.torch, ctx.plan, ctx.record
        x, w_x, w_h, b_x, b_h, states = ctx.saved_tensors
        steps, hidden, batch = grad.shape
        gain, _, ops = plan.constants(np.float32)
        w_h = w_h.float()
        # Weights and biases take their share step by step, while it is in the cache; those of all
        # steps kept for one product cost more than what is computed with them.
        to_x, to_h = torch.empty(3 * hidden, batch), torch.empty(3 * hidden, batch)
        of_w = [torch.zeros(w.shape) for w in (w_x, w_h)]
        of_b = [torch.zeros(3 * hidden) for _ in range(2)]
        x, ones = x.float(), torch.ones(batch)
        narrow = w_x.float().T if ctx.needs_input_grad[0] else None
        of_x: Any = None if narrow is None else torch.empty(x.shape)
        through, to_state = torch.empty(hidden, batch), torch.zeros(hidden, batch)
        to_units = np.empty((3, hidden, batch), np.float32)
        of_tables = np.zeros((3, 256)) if ctx.needs_input_grad[5] else None
        learned = ctx.needs_input_grad[7]
        totals = np.zeros((8, 3, batch), np.float32) if learned else None
        grad = grad.float().contiguous()
        limit = _gradient_limit(grad)
        for step in reversed(range(steps)):
            self.kernels.limited(grad[step].numpy(), to_state.numpy(), limit, through.numpy())
            self.kernels.backward_step(
                through.numpy(),
                states[step].numpy(),
                codes[step],
                passed[step],
                gain,
                ops,
                plan.offsets,
                plan.slopes,
                to_x.numpy(),
                to_h.numpy(),
                to_state.numpy(),
                to_units,
                totals,
            )
            if of_tables is not None:
                self.kernels.add_by_code(codes[step], to_units, plan.offsets, of_tables)
            to_state.addmm_(w_h.T, to_h)
            for w, b, to, given in zip(of_w, of_b, (to_x, to_h), (x, states), strict=True):
                w.addmm_(to, given[step].T)
                b.addmv_(to, ones)
            if narrow is not None:
                torch.mm(narrow, to_x, out=of_x[step])
        kind = w_x.dtype
        of_plan: tuple[Any, ...] = (None, None)
        if totals is not None:
            sides = zip(of_w, (w_x, w_h), of_b, (b_x, b_h), strict=True)
            of_plan = _plan_gradients(torch, plan, sides, totals)
        return (
            of_x,
            *(g.to(kind) for g in (*of_w, *of_b)),
            None if of_tables is None else torch.from_numpy(of_tables).float(),
            *of_plan,
            # Of the codes that all sequences start with.
            to_state.sum(1) if ctx.needs_input_grad[8] else None,
        )


def layer_function(torch: Any) -> Any:
    """The layer as a function of torch, with its gradient."""
    steps = LayerPass(torch)

    class LayerCodes(torch.autograd.Function):
        """States [steps, H, batch] of a layer for input codes [steps, inputs, batch]."""

        @staticmethod
        def forward(
            ctx: Any,
            x: Any,
            w_x: Any,
            w_h: Any,
            b_x: Any,
            b_h: Any,
            tables: Any,
            factors: Any,
            ops: Any,
            first: Any,
            plan: Any,
        ) -> Any:
            states, *saved = steps.layer(plan, x, w_x, w_h, b_x, b_h, tables, first)
            if any(ctx.needs_input_grad):
                ctx.record = saved
            else:
                steps.give_back(*saved)
            ctx.save_for_backward(x, w_x, w_h, b_x, b_h, states)
            ctx.plan = plan
            return states[1:]

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            gradients = steps.layer_gradients(ctx, grad)
            steps.give_back(*ctx.record)
            return *gradients, None

    return LayerCodes.apply
