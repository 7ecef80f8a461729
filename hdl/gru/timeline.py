"""When things happen in a network of one unit per operator: cycles, found unit by unit."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .schedule import Schedule


@dataclass
class _Layer:
    """Cycles of the last events of a layer.

    asked, used : the last word was asked for, was accumulated
    taken, loaded, left : the last unit was taken from the accumulators, has its new state, left
    ends : each step's last word was asked for; lefts : each step's last unit left
    filled : the newest input vector was complete
    """

    asked: int = -1
    used: int = -1
    taken: int = -1
    loaded: int = -1
    left: int = -1
    ends: list[int] = field(default_factory=list)
    lefts: list[int] = field(default_factory=list)
    filled: int = -1


def answer_ends(
    schedules: Sequence[Schedule],
    classifier: int,
    steps: int,
    sequences: int,
    *,
    every: bool = False,
) -> list[int]:
    """The cycle in which each answer to some sequences of `steps` back to back has its last logit.

    Neither side of the network ever stalls. `classifier`: cycles that it takes for a state, from
    the first word that it asks for to the last logit; the step after the next waits for it. With
    `every` each step has an answer, from a copy of its state, and units wait for the copy.
    """
    layers = [_Layer() for _ in schedules]
    free = 0  # the classifier may begin
    done: dict[int, int] = {}  # final steps and when their logits were complete
    for step in range(steps * sequences):
        arrivals: list[int] = []
        for k, (plan, layer) in enumerate(zip(schedules, layers, strict=True)):
            above = layers[k + 1] if k + 1 < len(layers) else None
            vectors = schedules[k + 1].vectors if above else 0
            gate = -1
            if above and step >= vectors:
                gate = above.ends[step - vectors]
            last = k == len(layers) - 1
            held = -1
            if last and every:
                gate = done.get(step - 1, -1)
            elif last:
                held = done.get(step - 2, -1)
            arrivals = _step(plan, layer, step, arrivals, gate, held)
        if every or step % steps == steps - 1:
            free = max(layers[-1].left + 1, free)
            done[step] = free + classifier - 1
            free = done[step] + 1
    return list(done.values())


def _step(
    plan: Schedule, layer: _Layer, step: int, arrivals: Sequence[int], gate: int, held: int
) -> list[int]:
    """A step of a layer; when its units left. `arrivals`: when its inputs came, none for a feature
    a cycle; `gate`: end of the step of the layer above that its units wait for; `held`: when the
    state that it writes over was read."""
    cycles, depth, guard = plan.pass_cycles, plan.pipeline, plan.guard
    if arrivals:
        layer.filled = arrivals[-1]
    else:
        free = layer.ends[step - plan.vectors] if step >= plan.vectors else -1
        layer.filled = max(layer.filled, free) + plan.input_size
    drained, lefts = layer.left, []
    for unit in range(plan.hidden_size):
        first = max(layer.asked + 1, layer.used - depth)
        if unit == 0:
            first = max(first, layer.filled + 1, held + 1)
        rest = first + guard
        if unit == 0:
            rest = max(rest, drained + 1 + plan.late)
        last = rest + cycles - 1 - guard
        # Words wait where the unit before has not left the accumulators.
        used = max(last + 1 + depth, max(first + 1 + depth, layer.taken) + cycles - 1)
        layer.asked, layer.used = max(last, used - 1 - depth), used
        layer.taken = max(used + 1, layer.loaded + plan.slot)
        register = cycles > 1
        layer.loaded = max(layer.taken + plan.drain - 1, layer.left + register)
        layer.left = max(layer.loaded + 1, layer.left + 1, gate + 1)
        lefts.append(layer.left)
    layer.ends.append(layer.asked)
    layer.lefts.append(layer.left)
    return lefts
