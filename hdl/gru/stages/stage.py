# amaranth: UnusedElaboratable=no
"""A dense layer in hardware: a vector of codes in, a vector of codes out."""

from collections.abc import Mapping
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...dense import Way
from ...memories import CodeBuffer
from ...operator import Part, build_into
from ..layer import code_layout, component_part, dense_parts, state_reader
from ..loader import fill, load_signature
from ..loading import loaded_names
from .control import StageControl
from .plan import StagePlan


def stage_parts(plan: StagePlan) -> dict[str, Part]:
    """The submodules of a :class:`DenseStage` by name, deferred."""
    layer = plan.layer
    output: Way = "slot" if plan.slot else "wire"
    parts = {
        name.replace("dense_", ""): part
        for name, part in dense_parts(
            "dense", layer.dense, plan.lanes, plan.chunks, output, plan.pipeline
        ).items()
    }
    if layer.activation is not None:
        parts["activation"] = component_part(
            layer.activation, digit=plan.digit, split=plan.pipeline > 0
        )
    if plan.vectors:
        depth = plan.vectors * plan.words
        parts["buffer"] = CodeBuffer.part(bits=layer.in_bits, lanes=plan.lanes, depth=depth)
    parts["control"] = StageControl.part(plan)
    return parts


class DenseStage(wiring.Component):
    """``o = unit(sat(((m acc + half) >> (n + k_i)) + Z))``, ``acc = bias + weight @ i``; bit-exact
    with golden.dense_layer.

    Submodules ``dense`` (the datapath of a dense operator), ``weights``, ``biases``, ``buffer``
    (:attr:`StagePlan.vectors` input vectors), ``control`` and ``activation``, where there is one;
    between them are wires alone. Outputs are computed one after the other,
    :attr:`StagePlan.pass_cycles` cycles each, the first from the cycle after its vector is whole;
    an output leaves two cycles after its last word was asked for, ``pipeline`` more, and one and
    :attr:`StagePlan.unit_cycles` more where a :attr:`StagePlan.slot` holds it. The next vector is
    taken from the cycle after the last word was asked for, with two vectors in the buffer at any
    time. Cycles per step: :attr:`StagePlan.cycles_per_step`.
    Both sides may pause at any time; no ready of `o` reaches `i` in the same cycle.

    Parameters
    ----------
    plan : StagePlan
    parts : :func:`stage_parts` of it

    Members
    -------
    i : In(stream.Signature(StructLayout(code=signed(in_bits), last=1))), with a buffer
        One feature a transfer; `last` with the last feature of a sequence's last vector. A `last`
        that comes earlier ends vector and sequence, whose output then means nothing.
    state : Out(:func:`~..layer.state_reader`), where the input is a state in a layer's memory
    o : Out(stream.Signature(StructLayout(code=signed(out_bits), last=1)))
        One output a transfer; `last` with the last one of a sequence's last vector.
    load : Out(:func:`~..loader.load_signature`), where weights are loaded: `load` has the widths
        of its address and data
    """

    def __init__(
        self, plan: StagePlan, parts: Mapping[str, Part], *, load: tuple[int, int] | None = None
    ) -> None:
        self.plan, self.parts = plan, parts
        layer = plan.layer
        members: dict[str, Any] = {"o": Out(stream.Signature(code_layout(layer.out_bits)))}
        if plan.vectors:
            members["i"] = In(stream.Signature(code_layout(layer.in_bits)))
        else:
            members["state"] = Out(state_reader(layer.in_bits, plan.lanes, plan.words))
        self.loaded = loaded_names(parts) if load else []
        if load:
            members["load"] = Out(load_signature(len(self.loaded), *load))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        p = build_into(m, self.parts)
        plan, control, mac = self.plan, p["control"], p["dense"]
        weights, biases, width = p["weights"], p["biases"], len(mac.bias)
        if plan.vectors:
            buffer = p["buffer"]
            m.d.comb += [
                control.i_valid.eq(self.i.valid),
                control.i_last.eq(self.i.payload.last),
                self.i.ready.eq(control.i_ready),
                buffer.write_code.eq(self.i.payload.code),
                mac.operand.eq(buffer.data),
            ]
            for port in ("write_enable", "write_address", "read_enable", "read_address"):
                m.d.comb += getattr(buffer, port).eq(getattr(control, f"x_{port}"))
        else:
            wiring.connect(m, control.reader, wiring.flipped(self.state))
            m.d.comb += mac.operand.eq(self.state.data)
        m.d.comb += [
            weights.address.eq(control.address),
            weights.enable.eq(control.advance),
            biases.address.eq(control.unit),
            biases.enable.eq(control.first_advance),
            mac.weight.eq(weights.data),
            mac.bias.eq(biases.data[:width].as_signed()),
            control.taken.eq(mac.taken),
        ]
        if mac.channel_width:
            m.d.comb += mac.channel.eq(biases.data[width:])
        names = ["enable", "first", "done"]
        names += ["move"] * bool(plan.pipeline) + ["next_digit", "top"] * (plan.chunks > 1)
        m.d.comb += [getattr(mac, name).eq(getattr(control, name)) for name in names]
        result = mac.o
        if "activation" in p:
            wiring.connect(m, mac.o, p["activation"].i)
            result = p["activation"].o
        m.d.comb += [
            self.o.payload.code.eq(result.payload),
            self.o.payload.last.eq(control.o_last),
            self.o.valid.eq(result.valid),
            result.ready.eq(self.o.ready),
        ]
        if self.loaded:
            fill(m, self.load, [p[name] for name in self.loaded])
        return m
