"""Counters of the sequencers."""

from amaranth import *


class Counter:
    """A counter over `count` values that starts again after the last, or after a value in whose
    cycle `end` is set; no logic for one value."""

    def __init__(
        self, m: Module, name: str, count: int, step: Value, end: Value | None = None
    ) -> None:
        self.value = Signal(range(count), name=name)
        self.last = Signal(name=f"{name}_last")
        at_end = self.value == count - 1
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
