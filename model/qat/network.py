"""The integer network as torch sees it: codes forward, gradients straight through.

A :class:`.structure.Structure` holds the constants of an integer model. A :class:`Network` computes
a batch by the codes of every operator exactly as :mod:`genogate.sim.golden` does (:mod:`.kernels`),
for latent weights that come from outside. :func:`.export.export` makes the integer model that was
computed.

Needs torch and Numba (the ``train`` and ``search`` extras), imported when one is made.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checkpoints.floating import FUNCTIONS as OF_HEAD
from ..checkpoints.floating import layer_names
from ..data.measures import Score, filled, lengths_of
from ..quantize.layer import ACTIVATIONS
from .dense_layers import lookup
from .layer_pass import layer_function
from .rounding import code_functions
from .structure import Structure, View

#: Sequences that are judged together.
JUDGED = 512


class Network:
    """Evaluates structures on latent weights: the bridge between torch and the kernels."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.codes, self.nearest = code_functions(torch)
        self.layer_codes = layer_function(torch)
        self.looked_up = lookup(torch)

    def linear(
        self, latents: Mapping[str, Any], name: str, bias: str, side: Any
    ) -> tuple[Any, Any]:
        """Weight codes and folded bias, float64, of a latent matrix; gradients pass through."""
        rows, low, high, scale, zero = side
        codes = self.codes(latents[name].double() / rows, low, high)
        real = self.nearest(latents[bias].double() / (rows[:, 0] * scale))
        return codes, real - zero * codes.sum(1)

    def tables(
        self, structure: Structure, view: View, latents: Mapping[str, Any], layer: int
    ) -> Any:
        """Output codes float32 [3, 256] of the activation units, those that are trained from their
        latent values."""
        if (part := view.learned[layer]) is not None:
            return part.tables
        tables = self.torch.from_numpy(view.plans[layer].tables)
        for k, name in enumerate(ACTIVATIONS):
            if (key := f"{name}.{layer}") in latents:
                scale, zero, low, high = structure.units[key]
                codes = self.codes(latents[key] / scale + zero, low, high)
                rest = self.torch.zeros(256 - len(codes))
                row = self.torch.cat([codes, rest])[None]
                tables = self.torch.cat([tables[:k], row, tables[k + 1 :]])
        return tables

    def logits(
        self,
        structure: Structure,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None = None,
    ) -> Any:
        """Logits float64 [batch, (steps,) classes], accumulators, for input codes of the structure;
        `lengths` [batch] are the steps of each sequence, where they differ."""
        return self._logits(structure, structure.view(latents), latents, codes, lengths)

    def _logits(
        self,
        structure: Structure,
        view: View,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None,
    ) -> Any:
        sides = iter(view.sides)
        value = self.dense(structure, view, latents, "front", codes)
        firsts = structure.first_states(self.codes, view, latents)
        for number, (plan, part) in enumerate(zip(view.plans, view.learned, strict=True)):
            w_ih, w_hh, b_ih, b_hh = layer_names(number)
            w_x, b_x = self.linear(latents, w_ih, b_ih, next(sides))
            w_h, b_h = self.linear(latents, w_hh, b_hh, next(sides))
            tables = self.tables(structure, view, latents, number)
            moved = (None,) * 2 if part is None else (part.factors, part.ops)
            first = firsts[number]
            value = self.layer_codes(value, w_x, w_h, b_x, b_h, tables, *moved, first, plan)
        weight, bias = self.linear(latents, "classifier.weight", "classifier.bias", next(sides))
        head = structure.model.head
        if structure.model.back:
            if not head.every:
                last = value[-1]
                if lengths is not None:
                    last = value[lengths - 1, :, np.arange(value.shape[2])].T
                value, lengths = last[None], None
            value = self.dense(structure, view, latents, "back", value)
        if head.every:
            # [steps, H, batch] to [batch, steps, classes].
            sums = weight @ value.double() + bias[:, None]
            return sums.permute(2, 0, 1)
        if lengths is None:
            return (weight @ value[-1].double() + bias[:, None]).T
        states = value[lengths - 1, :, np.arange(value.shape[2])]
        return states.double() @ weight.T + bias

    def dense(
        self, structure: Structure, view: View, latents: Mapping[str, Any], place: str, value: Any
    ) -> Any:
        """Codes float32 [steps, outputs, batch] of the dense layers at `place` for codes [steps,
        inputs, batch]."""
        for name, operand in structure.dense_operands(view.state).items():
            if name.startswith(place):
                side = structure.dense[name]
                pair = self.linear(latents, f"{name}.weight", f"{name}.bias", side.side(operand))
                value = side.run(self, *pair, value)
        return value

    def real_logits(
        self,
        structure: Structure,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None = None,
    ) -> Any:
        """The same in real units."""
        view = structure.view(latents)
        column, *_, operand, _ = view.sides[-1]
        scale = (column[0, 0] if structure.follows else structure.classifier_scale) * operand
        return self._logits(structure, view, latents, codes, lengths) * scale

    def answers(
        self, structure: Structure, latents: Mapping[str, Any], x: np.ndarray
    ) -> np.ndarray:
        """Answers to real input sequences: the index of the first greatest logit, or real values
        (which are not rounded to output codes here)."""
        head, answers = structure.model.head, []
        with self.torch.no_grad():
            for start in range(0, len(x), JUDGED):
                part = x[start : start + JUDGED]
                codes, lengths = structure.input_codes(filled(part)), lengths_of(part)
                if head.output == "codes":
                    real = self.real_logits(structure, latents, codes, lengths).numpy()
                    answers.append(OF_HEAD[head.activation](real))
                    continue
                # NumPy says which of equal ones it takes.
                logits = self.logits(structure, latents, codes, lengths).numpy()
                answers.append(logits.argmax(-1))
        return np.concatenate(answers)

    def score(
        self, structure: Structure, latents: Mapping[str, Any], x: np.ndarray, y: np.ndarray
    ) -> float:
        """Score of the answers to `x` with the targets `y` of a task."""
        score = Score()
        score.add(self.answers(structure, latents, x), y)
        return score.value
