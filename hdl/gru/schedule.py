"""Timing of a layer: what happens in which cycle, and cycles per time step.

A unit of the state takes :attr:`Schedule.pass_cycles` cycles in the dense operators, and at most
as many after them, in the element-wise ones: those work on one unit while the dense operators
sum up the next. Whatever fits into that time without lengthening it is done serially, in less
logic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product as combinations

from ...model.genome import GENES
from ...model.integer import Layer, PiecewiseLinear, Product
from ...model.knobs import Lanes
from ..piecewise_linear import PiecewisePlan
from ..product import ProductPlan

#: Share of a step that serial products may cost where waiting for the last unit cannot be hidden.
TOLERANCE = 0.01
#: Operators that can be serial, and the bits that they may take a cycle (0: all at once).
SERIAL = ("p_rn", "p_zn", "p_zh", "a_r", "a_z", "a_n")


def divisor_within(bits: int, limit: int) -> int:
    """The greatest divisor of `bits` that is at most `limit`, at least 1."""
    return max(d for d in range(1, bits + 1) if bits % d == 0 and d <= max(1, limit))


@dataclass(frozen=True)
class Schedule:
    """The timing of one layer.

    x_words, h_words : words of lanes.x inputs and lanes.h states
    pass_cycles : cycles of a unit in the dense operators, ``max(x_words, h_words)``
    chunks : dense operator -> digits that its weights come in, as many as fit into a pass
    digits : product or piecewise-linear unit -> bits that a cycle processes, 0: all at once
    hold : whether s_n has a register (not where a pass is one cycle)
    drain : cycles of a unit in the element-wise operators, up to that in which it leaves
    guard : word of the state before which unit 0 waits until the step before it has ended
    vectors : input vectors that the buffer holds: one where the next one can wait until a step has
        ended, for 1 % of the cycles
    pipeline : registers in the multiply-accumulate, at most ``pass_cycles - 1``
    """

    x_words: int
    h_words: int
    pass_cycles: int
    chunks: Mapping[str, int]
    digits: Mapping[str, int]
    hold: bool
    drain: int
    guard: int
    hidden_size: int
    input_size: int
    vectors: int
    pipeline: int

    @classmethod
    def of(
        cls, layer: Layer, lanes: Lanes, pipeline: int = 0, *, lowest: bool = True
    ) -> "Schedule":
        """Choose for `layer`; `lowest` if its inputs come from outside, a feature a cycle."""
        inputs, hidden = layer.input_size, layer.hidden_size
        x_words, h_words = -(-inputs // lanes.x), -(-hidden // lanes.h)
        cycles = max(x_words, h_words)
        chunks = {}
        for name in GENES[:6]:
            words = x_words if name[2] == "i" else h_words
            chunks[name] = divisor_within(layer.dense(name).weight_bits, cycles // words)
        hold = cycles > 1
        plans: dict[str, ProductPlan | PiecewisePlan] = {}
        for name in SERIAL:
            op = layer.ops[name]
            if isinstance(op, Product):
                plans[name] = ProductPlan.of(op)
            elif isinstance(op, PiecewiseLinear):
                plans[name] = PiecewisePlan.of(op)
        pipeline = min(pipeline, cycles - 1)
        guard = _guard(hidden, lanes.h, pipeline)
        late = int(pipeline > 0 and guard > 0)
        before = guard - pipeline - late
        shortest = 2 + max(int(hold), int(pipeline > 0))
        slack = max(max(0, shortest + 2 - before), int(TOLERANCE * hidden * cycles))
        split = pipeline > 0
        options = tuple(
            (
                name,
                tuple(
                    (digit, plan.cycles(digit, split), plan.rows(digit, split))
                    for digit in plan.digits(split)
                ),
            )
            for name, plan in plans.items()
        )
        row, drain = _digits(options, hold, split, cycles, before, slack)
        wait = max(0, drain + 2 - before)
        double = max(hidden * cycles + wait, inputs)
        single = hidden * cycles + max(wait, inputs)
        # A layer above another takes units as they come, all through a step.
        vectors = 1 if lowest and single <= (1 + TOLERANCE) * double else 2
        return cls(
            x_words,
            h_words,
            cycles,
            chunks,
            dict(zip(plans, row, strict=True)),
            hold,
            drain,
            guard,
            hidden,
            inputs,
            vectors,
            pipeline,
        )

    def used(self, name: str) -> int:
        """Words of weights that a dense operator reads for a unit."""
        return (self.x_words if name[2] == "i" else self.h_words) * self.chunks[name]

    def top(self, name: str) -> int:
        """The first of those words that holds the signed digits of a dense operator's weights."""
        return self.used(name) // self.chunks[name] * (self.chunks[name] - 1)

    @property
    def wait_cycles(self) -> int:
        """Cycles per step that unit 0 waits for the last unit of the step before."""
        return max(0, self.drain + 2 + self.pipeline + self.late - self.guard)

    @property
    def late(self) -> bool:
        """Whether it is a cycle late that unit 0 learns of the end of the step before: with a
        pipeline a register is in that way too."""
        return self.pipeline > 0 and self.guard > 0

    @property
    def slot(self) -> bool:
        """Whether registers on the way of a unit may wait until they are empty, so that no ready
        of the outputs reaches the accumulators."""
        return self.pass_cycles >= self.drain

    @property
    def cycles_per_step(self) -> int:
        """Cycles of a step when inputs are there in time and no output stalls."""
        busy = self.hidden_size * self.pass_cycles
        if self.vectors == 1:
            return busy + max(self.wait_cycles, self.input_size)
        return max(busy + self.wait_cycles, self.input_size)


def _guard(hidden: int, lanes: int, pipeline: int) -> int:
    """The first word of the state that unit 0 of a step may not ask for before the step before it
    has ended: outputs that stall leave that many units unwritten.

    Two at any time: one in the element-wise operators, one in the register of s_h. When the first
    words are asked for the sums of the last unit are not taken yet, which makes three; with a
    pipeline of a whole pass a unit more waits at its end.
    """
    words = -(-hidden // lanes)
    for word in range(words):
        unwritten = 4 if word == 0 else 3 if word <= pipeline + 1 else 2
        if word >= (hidden - unwritten) // lanes:
            return min(word, words - 1 if words > 3 else max(0, words - 2))
    return 0


@lru_cache(maxsize=4096)
def _digits(
    options: tuple[tuple[str, tuple[tuple[int, int, float], ...]], ...],
    hold: bool,
    split: bool,
    cycles: int,
    guard: int,
    slack: int,
) -> tuple[tuple[int, ...], int]:
    """For each operator that can be serial, (name, its choices (digit, cycles, rows)), the digit;
    and the cycles of a unit in the element-wise operators; `split`: c_z has a register, and pieces
    are chosen a cycle before. Widths recur, so it is remembered."""
    best: tuple[tuple[float, ...], tuple[int, ...], int] | None = None
    steps = dict.fromkeys(SERIAL, 0)
    for choice in combinations(*(choices for _, choices in options)):
        steps.update((name, took) for (name, _), (_, took, _) in zip(options, choice, strict=True))
        candidate = steps["a_r"] + steps["p_rn"] + hold + steps["a_n"]
        drain = 2 + max(
            max(candidate, steps["a_z"] + split) + steps["p_zn"], steps["a_z"] + steps["p_zh"]
        )
        row = tuple(digit for digit, _, _ in choice)
        # With nothing serial it is always possible.
        if any(row) and (drain > cycles or drain + 2 - guard > slack):
            continue
        rows = sum(rows for _, _, rows in choice)
        if best is None or (rows, drain) < best[0]:
            best = ((rows, drain), row, drain)
    assert best is not None
    return best[1:]
