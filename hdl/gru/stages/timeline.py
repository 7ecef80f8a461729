"""When things happen in a network with dense layers: cycles, found output by output.

Every part of the network is followed through a time step before the part above it; a part that
fills the buffer of another waits for it by the cycle in which that gave the buffer free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..schedule import Schedule
from ..serial import SerialPlan
from ..shared.layer import SharedPlan
from ..timeline import _Layer, _step
from .plan import StagePlan

#: Steps after which every part of a network is in the rhythm of a long sequence.
SETTLED = 12


class Actor(Protocol):
    """A part of a network: ``vectors`` that it takes before it gives one free, and when it did."""

    @property
    def vectors(self) -> int: ...
    @property
    def ends(self) -> list[int]: ...
    def step(self, arrivals: Sequence[int], gate: int, held: int) -> list[int]:
        """Cycles in which the outputs of a vector leave.

        arrivals : when its inputs came, none for one a cycle; gate : the cycle in which the part
        above gave a buffer free; held : in which the state that it writes over was read
        """
        ...


class StageActor:
    """A :class:`~.stage.DenseStage`."""

    def __init__(self, plan: StagePlan) -> None:
        self.plan, self.vectors = plan, plan.vectors
        self.ends: list[int] = []
        self.free = 0  # a word may be asked for
        self.left = self.filled = -1
        self.halts: list[tuple[int, int]] = []  # first and last cycle in which words stood still

    def step(self, arrivals: Sequence[int], gate: int, held: int) -> list[int]:
        plan, depth, lefts = self.plan, self.plan.pipeline, []
        if arrivals:
            self.filled = arrivals[-1]
        else:
            free = self.ends[-plan.vectors] if len(self.ends) >= plan.vectors else -1
            self.filled = max(self.filled, free) + plan.layer.input_size
        for output in range(plan.layer.output_size):
            first = self.free
            if output == 0:
                first = max(first, self.filled + 1)
                if plan.vectors == 0 and self.ends:
                    first = max(first, self.ends[-1] + 1)
            asked = self._moves(first + 1, plan.pass_cycles - 1) if plan.pass_cycles > 1 else first
            self.free = self._moves(asked + 1, 1)
            complete = self._moves(asked + 1, depth + 1) + 1
            if plan.slot:
                taken = max(complete, self.left + 1)
                self.left = max(taken + 1 + plan.unit_cycles, gate + 1)
            else:
                taken = self.left = max(complete, gate + 1)
            if taken > complete:
                self.halts = [*self.halts[-2:], (complete, taken - 1)]
            lefts.append(self.left)
        # A state in a layer's memory is given free when its last word has left the memory.
        self.ends.append(self.free if plan.vectors == 0 else asked)
        return lefts

    def _moves(self, cycle: int, count: int) -> int:
        """The `count`-th cycle from `cycle` on in which words do not stand still."""
        for start, end in self.halts:
            if end < cycle:
                continue
            if start > cycle:
                if count <= start - cycle:
                    break
                count -= start - cycle
            cycle = end + 1
        return cycle + count - 1


class GruActor:
    """A layer of one unit per operator."""

    def __init__(self, plan: Schedule) -> None:
        self.plan, self.vectors = plan, plan.vectors
        self.layer = _Layer()

    @property
    def ends(self) -> list[int]:
        return self.layer.ends

    def step(self, arrivals: Sequence[int], gate: int, held: int) -> list[int]:
        return _step(self.plan, self.layer, len(self.ends), arrivals, gate, held)


class SerialActor:
    """A layer that shares hardware: takes a step's inputs, then computes its units."""

    vectors = 1

    def __init__(self, plan: SerialPlan) -> None:
        self.plan = plan
        self.ends: list[int] = []
        self.answers = plan.every

    def step(self, arrivals: Sequence[int], gate: int, held: int) -> list[int]:
        # A program's memory has its first word one cycle after a reset.
        time = self.ends[-1] + 1 if self.ends else int(isinstance(self.plan, SharedPlan))
        for arrival in arrivals or [0] * self.plan.layer.input_size:
            time = max(time, arrival) + 1
        time, lefts = max(time, held + 1), []
        for _ in range(self.plan.layer.hidden_size):
            # A unit leaves in the last of its cycles, or when the part above takes it.
            time = max(time + self.plan.unit_cycles - 1, gate + 1)
            lefts.append(time)
            time += 1
        self.ends.append(time - 1 + (self.plan.answer_cycles if self.answers else 0))
        return lefts


@dataclass
class Answers:
    """The classifier. cycles : from the first word that it asks for to the last logit"""

    cycles: int
    vectors: int = 1
    ends: list[int] = field(default_factory=list)

    def step(self, arrivals: Sequence[int], gate: int, held: int) -> list[int]:
        begin = max(arrivals[-1], self.ends[-1] if self.ends else -1) + 1
        self.ends.append(begin + self.cycles - 1)
        return self.ends[-1:]


@dataclass(frozen=True)
class Chain:
    """The parts of a network in order.

    front, layers, back : plans of the parts
    classifier : cycles of an answer; 0 where the last layer's machine gives it
    every : whether answers come at every step
    """

    front: Sequence[StagePlan]
    layers: Sequence[Schedule] | Sequence[SerialPlan]
    back: Sequence[StagePlan]
    classifier: int
    every: bool

    def follow(self, lengths: Sequence[int]) -> "Times":
        """Follow sequences of so many steps, back to back, no side of the network ever stalling."""
        below: list[Actor] = [StageActor(plan) for plan in self.front]
        for layer in self.layers:
            below.append(GruActor(layer) if isinstance(layer, Schedule) else SerialActor(layer))
        above: list[Actor] = [StageActor(plan) for plan in self.back]
        above += [Answers(self.classifier)] if self.classifier else []
        # Whether the state is read where it is, or streams out into a buffer.
        reads = not self.every and not (self.back and self.back[0].vectors)
        times = Times(below, above)
        for length in lengths:
            for step in range(length):
                answers = self.every or step == length - 1
                held = -1
                if reads and above:
                    held = self._held(times, above[0])
                units: list[int] = []
                for number, actor in enumerate(below):
                    top = number == len(below) - 1
                    gate = -1
                    if not top:
                        gate = _gate(below[number + 1])
                    elif above and not reads:
                        gate = _gate(above[0])
                    units = actor.step(units, gate, held if top else -1)
                times.units.append(units[-1])
                if not answers:
                    continue
                times.finals.append(len(times.units) - 1)
                for number, actor in enumerate(above):
                    gate = _gate(above[number + 1]) if number + 1 < len(above) else -1
                    units = actor.step(units, gate, -1)
                if not above and not self.every:
                    # The machine of the last layer goes on to the classes.
                    machine = below[-1]
                    assert isinstance(machine, SerialActor)
                    machine.ends[-1] += machine.plan.answer_cycles
        return times

    def _held(self, times: "Times", reader: Actor) -> int:
        """When the state that this step writes over was read. A layer of one unit per operator has
        two banks: the step after a last one writes into the other."""
        step, older = len(times.units), 2 if isinstance(self.layers[0], Schedule) else 1
        ends = [
            end for at, end in zip(times.finals, reader.ends, strict=True) if at <= step - older
        ]
        return ends[-1] if ends else -1


def _gate(actor: Actor) -> int:
    """When the part gave the buffer free that the next vector fills."""
    return actor.ends[-actor.vectors] if len(actor.ends) >= actor.vectors else -1


@dataclass
class Times:
    """Cycles of events. units : the last unit of each step left the last layer; finals : steps
    after which the network answers"""

    below: list[Actor]
    above: list[Actor]
    units: list[int] = field(default_factory=list)
    finals: list[int] = field(default_factory=list)


def cycles_per_step(chain: Chain) -> int:
    """Cycles between steps of a long sequence: those of the part that takes longest."""
    times = chain.follow([SETTLED])
    actors = times.below + (times.above if chain.every else [])
    return max(actor.ends[-1] - actor.ends[-2] for actor in actors)


def cycles_per_sequence(chain: Chain, steps: int) -> int:
    """Cycles between sequences of `steps` back to back."""
    few = min(steps, SETTLED)
    times = chain.follow([few] * (SETTLED // few + 4))
    spans = [actor.ends[-1] - actor.ends[-1 - few] for actor in times.below]
    per = few if chain.every else 1
    spans += [actor.ends[-1] - actor.ends[-1 - per] for actor in times.above]
    return max(spans) + ((steps - few) * cycles_per_step(chain) if steps > few else 0)


def mean_cycles(chain: Chain, lengths: Sequence[int]) -> tuple[float | None, float | None]:
    """Mean cycles from step to step of the first of such sequences, its first step left out, and
    from sequence to sequence, at the last unit of the last layer: what a test bench measures."""
    ends = chain.follow(lengths).units
    steps = ends[1 : lengths[0]]
    step = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else None
    finals, at = [], -1
    for length in lengths:
        at += length
        finals.append(ends[at])
    pairs = len(finals) - 1
    return step, (finals[-1] - finals[0]) / pairs if pairs else None
