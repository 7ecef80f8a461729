"""Counters of the sequencers."""

from amaranth import *


class Counter:
    """A counter over `count` values that starts again after the last, or after a value in whose
    cycle `end` is set; no logic for one value.

    With `early` its :attr:`last` is a register of its own, for a higher clock.
    """

    def __init__(
        self,
        m: Module,
        name: str,
        count: int,
        step: Value,
        end: Value | None = None,
        *,
        early: bool = False,
    ) -> None:
        self.value = Signal(range(count), name=name)
        self.last = Signal(name=f"{name}_last")
        at_end = self.value == count - 1
        if early and count > 1:
            with m.If(step):
                m.d.sync += self.last.eq(self.value == count - 2)
        else:
            m.d.comb += self.last.eq(at_end if end is None else at_end | end)
        with m.If(step):
            if count & (count - 1) or end is not None:
                m.d.sync += self.value.eq(Mux(self.last, 0, self.value + 1))
            else:
                m.d.sync += self.value.eq(self.value + 1)


class UnitCounter:
    """Counts `count` codes that are packed `lanes` to a word: `word`, `lane`, `last`; `end` as of
    :class:`Counter`."""

    def __init__(
        self, m: Module, name: str, count: int, lanes: int, step: Value, end: Value | None = None
    ) -> None:
        if lanes & (lanes - 1) == 0:
            flat = Counter(m, name, count, step, end)
            shift = lanes.bit_length() - 1
            self.word, self.lane, self.last = flat.value[shift:], flat.value[:shift], flat.last
            return
        words, rest = -(-count // lanes), (count - 1) % lanes
        lane, word = Signal(range(lanes), name=f"{name}_lane"), Signal(range(words), name=name)
        self.last = Signal(name=f"{name}_last")
        at_end = (word == words - 1) & (lane == rest)
        m.d.comb += self.last.eq(at_end if end is None else at_end | end)
        with m.If(step):
            with m.If(self.last):
                m.d.sync += [lane.eq(0), word.eq(0)]
            with m.Elif(lane == lanes - 1):
                m.d.sync += [lane.eq(0), word.eq(word + 1)]
            with m.Else():
                m.d.sync += lane.eq(lane + 1)
        self.word, self.lane = word, lane


def one_lane(lane: Value, lanes: int) -> Value:
    """One-hot of `lane`."""
    return Cat(lane == k for k in range(lanes)) if lanes > 1 else Const(1, 1)


class Pipe:
    """Words on their way from memories through `depth` registers to where they are used.

    A word is asked for where :attr:`advance` is set; a cycle later it is there, `depth` cycles in
    which :attr:`move` is set later it is used, where :attr:`enable` is set.

    Parameters
    ----------
    ask : whether there is something to ask for
    halt : whether words must stay where they are

    Members
    -------
    valid : Signal of every stage, the memories' outputs first
    leave : the word in the memories' outputs goes on
    """

    def __init__(self, m: Module, ask: Value, halt: Value, depth: int = 0) -> None:
        self._m, self.depth, self._flags = m, depth, dict[str, list[Signal]]()
        self.advance, self.move = Signal(name="asked"), Signal(name="pipe_move")
        self.leave, self.enable = Signal(name="leave"), Signal(name="used")
        self.valid = [Signal(name="full" if k == 0 else f"full{k}") for k in range(depth + 1)]
        m.d.comb += [
            self.move.eq(~halt),
            self.leave.eq(self.valid[0] & self.move),
            self.enable.eq(self.valid[-1] & self.move),
            self.advance.eq(ask & (~self.valid[0] | self.leave)),
        ]
        with m.If(self.advance | self.leave):
            m.d.sync += self.valid[0].eq(self.advance)
        with m.If(self.move):
            m.d.sync += [self.valid[k].eq(self.valid[k - 1]) for k in range(1, depth + 1)]

    def follow(self, name: str, value: Value, stage: int = -1) -> Signal:
        """`value` of the cycle in which the word in `stage` was asked for; the last by default."""
        m = self._m
        stages = self._flags.setdefault(name, [])
        for k in range(len(stages), (stage if stage >= 0 else self.depth) + 1):
            flag = Signal(len(value), name=f"{name}_now{k or ''}", reset_less=True)
            with m.If(self.move if k else self.advance):
                m.d.sync += flag.eq(stages[-1] if k else value)
            stages.append(flag)
        return stages[stage if stage >= 0 else self.depth]

    def holds(self, name: str, value: Value) -> Value:
        """Whether any word on its way has the flag `value`."""
        flags = [self.follow(name, value, k) for k in range(self.depth + 1)]
        return Cat(v & f for v, f in zip(self.valid, flags, strict=True)).any()
