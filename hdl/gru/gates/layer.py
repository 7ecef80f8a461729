# amaranth: UnusedElaboratable=no
"""A layer whose gates share one of each unit (``share`` gates): plan, component and timing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ....model.genome import GENES
from ....model.integer import Layer
from ...dense import Folded
from ...memories import CodeBuffer, Rom, weight_words
from ...operator import Part, build_into
from ..layer import code_layout, initial_part, state_reader
from ..loader import fill, load_signature
from ..loading import loaded_names
from ..serial import SerialPlan
from ..shared.order import ORDER
from .machine import GatesMachine
from .plan import Shape

_DENSE = [name for name, *_ in ORDER if name in GENES[:6]]


def _weights(layer: Layer, shape: Shape) -> list[int]:
    """Words of all dense operators, in the order in which units ask for them."""
    columns = []
    for name in _DENSE:
        weight = layer.dense(name).weight
        words = weight_words(weight, shape.weight_bits, shape.lanes, 1)
        columns.append(np.array(words, object).reshape(len(weight), -1))
    return [int(word) for word in np.concatenate(columns, 1).ravel()]


def _biases(layer: Layer, shape: Shape) -> list[int]:
    """Biases, and channels above them, in the same order."""
    mask, words = (1 << shape.bias_bits) - 1, []
    for name in _DENSE:
        folded = Folded.of(layer.dense(name))
        pairs = zip(folded.biases, folded.channels, strict=True)
        words.append([(bias & mask) | (k << shape.bias_bits) for bias, k in pairs])
    return [word for unit in zip(*words, strict=True) for word in unit]


@dataclass(frozen=True)
class GatesPlan(SerialPlan):
    """A layer with shared gates: its parts and its timing.

    Parameters
    ----------
    layer, unit_cycles : as of :class:`~..serial.SerialPlan`
    shape : of its machine
    """

    shape: Shape

    @classmethod
    def of(cls, layer: Layer, lanes: int, classified: bool) -> "GatesPlan":
        """Plan `layer`; `classified` with a classifier that reads its state."""
        shape = Shape.of(layer, lanes, classified)
        return cls(layer, shape.unit_cycles, shape)

    @property
    def weight_cycles(self) -> int:
        return 3 * (self.shape.words("x") + self.shape.words("h"))

    def constants(self) -> tuple[list[int], list[int]]:
        """Words of weights, and of biases."""
        return _weights(self.layer, self.shape), _biases(self.layer, self.shape)

    def parts(self) -> dict[str, Part]:
        layer, shape = self.layer, self.shape
        parts = {
            "machine": Part(
                ("GatesMachine", *vars(shape).values()),
                f"GatesMachine, {self.unit_cycles} cycles a unit, {shape.lanes} lanes",
                partial(GatesMachine, shape),
            )
        }
        parts["weights"] = Rom.part(
            layer.hidden_size * shape.weight_words,
            shape.lanes * shape.weight_bits,
            partial(_weights, layer, shape),
        )
        parts["biases"] = Rom.part(
            6 * layer.hidden_size,
            shape.bias_bits + shape.channel_bits,
            partial(_biases, layer, shape),
        )
        for name, bits, words in (
            ("x_buffer", shape.in_bits, shape.words("x")),
            ("state", shape.state_bits, 2 * shape.words("h")),
        ):
            parts[name] = CodeBuffer.part(bits=bits, lanes=shape.lanes, depth=words)
        return parts | initial_part(layer, shape.lanes)


class GatesLayer(wiring.Component):
    """A layer in which r, z and n go one after the other through one multiply-accumulate, one
    requantiser, one activation unit and one multiplier; bit-exact with golden.run_layer.

    Submodules ``machine`` (all logic), ``weights``, ``biases``, ``x_buffer`` (one input
    vector) and ``state`` (two state vectors); between them are wires alone. A step takes
    ``I + H U`` cycles, U being :attr:`GatesPlan.unit_cycles`.

    Parameters
    ----------
    plan : GatesPlan
    parts : its parts

    Members
    -------
    i, o, reader, load : as of :class:`~..layer.GruLayer`; the next step is taken when one has
        ended, and after a sequence when the classifier has read its state
    """

    def __init__(
        self, plan: GatesPlan, parts: Mapping[str, Part], *, load: tuple[int, int] | None = None
    ) -> None:
        self.plan, self.parts = plan, parts
        shape = plan.shape
        members: dict[str, Any] = {
            "i": In(stream.Signature(code_layout(shape.in_bits))),
            "o": Out(stream.Signature(code_layout(shape.state_bits))),
        }
        if shape.classified:
            reader = state_reader(shape.state_bits, shape.lanes, shape.words("h"))
            members["reader"] = In(reader)
        self.streams = tuple(members)
        self.loaded = loaded_names(parts) if load else []
        if load:
            members["load"] = Out(load_signature(len(self.loaded), *load))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = build_into(m, self.parts)
        machine, x, state = p["machine"], p["x_buffer"], p["state"]
        for name in self.streams:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(machine, name))
        for name in ("weight", "bias"):
            memory = p["weights" if name == "weight" else "biases"]
            m.d.comb += [
                memory.address.eq(getattr(machine, f"{name}_address")),
                memory.enable.eq(1),
                getattr(machine, name).eq(memory.data),
            ]
        for memory, side in ((x, "x"), (state, "h")):
            m.d.comb += [
                memory.write_enable.eq(getattr(machine, f"{side}_write_enable")),
                memory.write_address.eq(getattr(machine, f"{side}_write_address")),
                memory.read_enable.eq(1),
                memory.read_address.eq(getattr(machine, f"{side}_read_address")),
                getattr(machine, f"{side}_data").eq(memory.data),
            ]
        m.d.comb += [x.write_code.eq(machine.i.payload.code), state.write_code.eq(machine.code)]
        if "initial" in p:
            # The lowest bit of a state's address is its bank.
            m.d.comb += [
                p["initial"].address.eq(machine.h_read_address[1:]),
                p["initial"].enable.eq(1),
                machine.initial.eq(p["initial"].data),
            ]
        if self.loaded:
            fill(m, self.load, [p[name] for name in self.loaded])
        return m
