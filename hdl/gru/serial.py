"""Layers that compute units one after the other (``share`` gates and all): what their plans have
in common, and the cycles of several in series."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ...model.integer import Layer
from ..operator import Part


@dataclass(frozen=True)
class SerialPlan(ABC):
    """A layer that takes a step's inputs, and then its units, one after the other.

    Parameters
    ----------
    layer : Layer
    unit_cycles : of a unit, the one in which it leaves included
    """

    layer: Layer
    unit_cycles: int

    @property
    def every(self) -> bool:
        """Whether it answers at every step."""
        return False

    @property
    def answer_cycles(self) -> int:
        """Cycles of an answer, where this layer gives one."""
        return 0

    @property
    @abstractmethod
    def weight_cycles(self) -> int:
        """Cycles of a unit in which weights are worked on."""

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """The layer's submodules by name, none of them built yet."""


def chain_cycles(plans: Sequence[SerialPlan], steps: int = 64, busy: int = 0) -> int:
    """Cycles between steps of such layers in series, found by following them for `steps` steps.

    With `busy` units of the last layer go into a copy of its state, which is free again when a
    classifier has read it, for so many cycles.

    A layer takes the units of the one below while it takes inputs, so a unit below that is
    complete waits for the end of the step above.
    """
    count = len(plans)
    # Cycle in which a layer is free to take inputs, by layer; ends of the last layer's steps.
    free, ends = [0] * count, []
    copied = 0  # cycle in which the copy is free
    for _ in range(steps):
        arrivals = [0] * plans[0].layer.input_size  # a feature a cycle
        for k, plan in enumerate(plans):
            time = free[k]
            for arrival in arrivals:
                time = max(time, arrival) + 1
            gate, leaves = free[k + 1] if k + 1 < count else copied, []
            for _ in range(plan.layer.hidden_size):
                # It leaves in the last of its cycles, or when the layer above takes it.
                time = max(time + plan.unit_cycles - 1, gate)
                leaves.append(time)
                time += 1
            time += plan.answer_cycles if plan.every else 0
            free[k], arrivals = time, leaves
        if busy:
            copied = arrivals[-1] + busy + 1
        ends.append(free[-1])
    return ends[-1] - ends[-2]
