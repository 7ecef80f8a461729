"""Structures of the campaign's random networks: dense layers around the GRU, given states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....model.genome import GENES, MAX_BITS, MIN_BITS
from ....model.head import ACTIVATIONS, OUTPUTS

if TYPE_CHECKING:
    from .cases import Case

#: Dense layers on one side, and outputs of one, at most.
MOST_LAYERS, MOST_UNITS = 3, 12


def with_structure(case: Case) -> Case:
    """`case` with dense layers in front or behind, or a given state, all drawn from its seed and
    index; small enough for a simulator."""
    rng = np.random.default_rng([case.seed, case.index, 3])

    def one_of(values: Iterable[Any]) -> Any:
        options = list(values)
        return options[int(rng.integers(len(options)))]

    most = MOST_UNITS if case.share == "none" else 4
    front, back = 0, 0
    while not front + back:
        front, back = (int(n) for n in rng.integers(0, MOST_LAYERS, 2))
    stages = [(one_of(ACTIVATIONS), int(rng.integers(1, most + 1))) for _ in range(front + back)]
    widths = rng.integers(MIN_BITS, MAX_BITS + 1, (front + back, 2))
    layers = one_of((1, 1, 2))
    genes = rng.integers(MIN_BITS, MAX_BITS + 1, (layers, len(GENES)))
    output = one_of(OUTPUTS)
    at = one_of(("last", "every"))
    return replace(
        case,
        name="structure",
        genes=tuple(tuple(map(int, row)) for row in genes),
        hidden_size=min(case.hidden_size, 12),
        front=tuple(stages[:front]),
        back=tuple(stages[front:]),
        dense=tuple((int(w), int(o)) for w, o in widths),
        initial_state=bool(rng.random() < 0.5),
        at=at,
        output=output,
        function=one_of(ACTIVATIONS) if output == "codes" else "none",
        head_bits=int(rng.integers(MIN_BITS, MAX_BITS + 1)) if output == "codes" else 8,
    )
