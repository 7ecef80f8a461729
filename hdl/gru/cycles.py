"""Cycles of a step and of a sequence, for every way to share; exact, as a campaign checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .classifier import classifier_cycles
from .serial import chain_cycles
from .stages import timeline
from .timeline import answer_ends

if TYPE_CHECKING:
    from .design import Design


def _answers(design: Design, steps: int, sequences: int) -> list[int]:
    """Cycles in which the answers to sequences back to back are complete."""
    chunks, depth = design.classifier_plan
    busy = classifier_cycles(design.model.classifier, chunks, depth)
    every = design.model.head.every
    return answer_ends(design.schedules, busy, steps, sequences, every=every)


def cycles_per_step(design: Design) -> int:
    """Cycles between time steps of long sequences, inputs always there, outputs always taken.

    Per layer ``max(H K + wait, I)`` with ``K = max(ceil(I / lanes.x), ceil(H / lanes.h))`` and
    ``wait = max(0, drain + 2 + pipeline + late - guard)``: H units of K cycles, the wait of
    unit 0 for the last unit of the step before as far as nothing hides it, and the one feature
    a cycle that comes in; ``H K + max(wait, I)`` where the input buffer holds one vector. The
    slowest layer decides. Where gates or everything are shared: ``I + H U``, U cycles a unit
    (:class:`~.gates.layer.GatesLayer`, :class:`~.shared.layer.SharedLayer`); for layers in
    series
    :func:`~.serial.chain_cycles`. A head at every step may take longer, and then decides:
    ``C (H chunks + 2 + pipeline)`` cycles and those in which the units of a step come. Dense
    layers: :attr:`.stages.plan.StagePlan.cycles_per_step`, all followed together
    (:mod:`.stages.timeline`).
    """
    if design.chain is not None:
        return timeline.cycles_per_step(design.chain)
    if design.share == "gates" and design.model.head.every:
        busy = classifier_cycles(design.model.classifier, *design.classifier_plan)
        return chain_cycles(design.sharing_plans, busy=busy)
    if design.share != "none":
        return chain_cycles(design.sharing_plans)
    cycles = max(schedule.cycles_per_step for schedule in design.schedules)
    if design.model.head.every:
        ends = _answers(design, 8, 1)
        return max(cycles, ends[-1] - ends[-2])
    return cycles


def cycles_per_sequence(design: Design, steps: int) -> int:
    """Cycles between sequences of `steps` that follow back to back, no side ever stalling.

    T steps, or what the classifier takes longer: ``C (H chunks + 2 + pipeline)`` cycles from
    the last unit of a sequence to the second step of the next, which may write over the state.
    Followed unit by unit (:mod:`.timeline`). Where everything is shared the classifier's
    cycles come after the steps, and where gates share units as far as the first vector of the
    next sequence takes less. A head at every step adds nothing to its steps.
    """
    if design.chain is not None:
        return timeline.cycles_per_sequence(design.chain, steps)
    if design.share == "gates" and not design.model.head.every:
        busy = classifier_cycles(design.model.classifier, *design.classifier_plan)
        return steps * design.cycles_per_step + max(0, busy - design.model.layers[-1].input_size)
    if design.share != "none":
        cycles = steps * design.cycles_per_step
        return cycles if design.model.head.every else cycles + design.shared[-1].answer_cycles
    if design.model.head.every:
        return steps * design.cycles_per_step
    # Long sequences end alike.
    few = min(steps, 8)
    ends = _answers(design, few, 6)
    return ends[-1] - ends[-2] + (steps - few) * design.cycles_per_step


def ideal_cycles_per_step(design: Design) -> int:
    """``H max(ceil(I / lanes.x), ceil(H / lanes.h))`` of the slowest layer: no lane ever idle
    on the longer side; where everything is shared, the cycles in which bits of weights are
    added. Utilisation is ideal over actual."""
    if design.share != "none":
        return max(plan.layer.hidden_size * plan.weight_cycles for plan in design.sharing_plans)
    return max(schedule.hidden_size * schedule.pass_cycles for schedule in design.schedules)
