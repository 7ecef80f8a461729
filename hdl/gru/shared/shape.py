"""What shapes the logic of a shared layer, and how rows of its program are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth import *
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from ....model.head import Head
from ....model.integer import Classifier, Layer
from ..classifier import class_layout, logit_layout
from ..layer import code_layout
from .rows import FACTORS, KINDS, OPERANDS, Program, Row

_TARGETS = ("", "t0", "t1", "t2")
_FLAGS = ("negative", "carry", "first", "loop", "own", "settle")


@dataclass(frozen=True)
class Shape:
    """All that shapes the machine: what is not in one of its memories.

    digit : bits of a weight's digit
    encoding : field -> its values by their number in a row of the program
    activations : (name, is it a table, address bits of its selector, words of each)
    every : whether classes are told at every step
    given : whether the state before a sequence is in a memory of its own
    """

    inputs: int
    hidden: int
    in_bits: int
    state_bits: int
    zero: int
    rows: int
    row_bits: int
    loop: int
    classify: int
    classes: int
    logit_bits: int
    weights: int
    guard: int
    width: int
    operand_bits: int
    digit: int
    activations: tuple[tuple[str, bool, int, int], ...]
    encoding: tuple[tuple[str, tuple[Any, ...]], ...]
    every: bool = False
    given: bool = False

    @classmethod
    def of(
        cls,
        layer: Layer,
        classifier: Classifier | None,
        program: Program,
        every: bool = False,
        logit_bits: int | None = None,
    ) -> "Shape":
        """The least that runs `program`; `logit_bits` where they are not the classifier's own."""
        encoding = tuple(
            (name, tuple(v for v in values if any(getattr(r, name) == v for r in program.rows)))
            for name, values in (
                ("kind", KINDS),
                ("operand", OPERANDS),
                ("factor", FACTORS),
                ("target", _TARGETS),
                ("shift", (0, 1, 2, 4, 8)),
                ("place", tuple(range(64))),
                ("bits", tuple(range(9))),
                *((flag, (False, True)) for flag in _FLAGS),
            )
        )
        row_bits = sum(_field_bits(values) for _, values in encoding)
        activations = tuple(
            (name, unit.table, unit.levels + (not unit.table), unit.length)
            for name, unit in program.activations.items()
        )
        return cls(
            layer.input_size,
            layer.hidden_size,
            layer.in_bits,
            layer.bits("h"),
            layer.state_zero_point,
            len(program.rows),
            row_bits,
            program.loop,
            program.classify,
            len(classifier.bias) if classifier else 0,
            (logit_bits or classifier.acc_width) if classifier else 0,
            len(program.weights),
            program.guard,
            program.width,
            program.operand_bits,
            program.digit,
            activations,
            encoding,
            every and classifier is not None,
            layer.initial_state is not None,
        )

    def encode(self, row: Row) -> int:
        """The word of a row."""
        word = at = 0
        for name, values in self.encoding:
            word |= values.index(getattr(row, name)) << at
            at += _field_bits(values)
        return word


def _field_bits(values: Sequence[Any]) -> int:
    return (len(values) - 1).bit_length()


class Decoded:
    """The fields of a program's word."""

    def __init__(self, shape: Shape, word: Value) -> None:
        self.fields: dict[str, tuple[tuple[Any, ...], Value]] = {}
        at = 0
        for name, values in shape.encoding:
            width = _field_bits(values)
            self.fields[name] = (values, word[at : at + width])
            at += width

    def is_(self, name: str, value: Any) -> Value:
        """Whether a field has a value."""
        values, field = self.fields[name]
        if value not in values:
            return Const(0, 1)
        if len(values) == 1:
            return Const(1, 1)
        return field == values.index(value)

    def flag(self, name: str) -> Value:
        """A field that is a flag."""
        return self.is_(name, True)


def streams_of(shape: Shape) -> dict[str, Any]:
    """The streams of a shared layer."""
    members = {
        "i": In(stream.Signature(code_layout(shape.in_bits))),
        "o": Out(stream.Signature(code_layout(shape.state_bits))),
    }
    if shape.classes:
        labels = class_layout(shape.classes, Head("every" if shape.every else "last"))
        members["o_logits"] = Out(stream.Signature(logit_layout(shape.logit_bits)))
        members["o_class"] = Out(stream.Signature(labels))
    return members
