# amaranth: UnusedElaboratable=no
"""Packets of whole sequences: what every wrapper has in common."""

import enum
import operator
from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError
from ..gru.classifier import class_bits
from ..gru.design import Design
from ..gru.layer import code_layout
from ..gru.network import Network

#: Sequences that may be in the network at the same time.
_IN_FLIGHT = 7


class Kind(enum.IntEnum):
    """What a word of an answer is."""

    LOGIT = 0
    CLASS = 1
    ERROR = 2


def answer_layout(bits: int) -> data.StructLayout:
    """Payload of answers: a value of `bits`, its :class:`Kind`, and `last` with the packet's
    last."""
    return data.StructLayout({"value": signed(bits), "kind": 2, "last": 1})


class Slice(wiring.Component):
    """A register on both directions of a handshake: two words, no combinational path.

    Latency 1 cycle, 1 word a cycle, back-pressure honoured.

    Members
    -------
    i, o : In, Out(stream.Signature(shape))
    """

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        # The second word, of the cycle in which the reader stopped.
        spare, full = Signal(self.shape, reset_less=True), Signal()
        free = ~self.o.valid | self.o.ready
        m.d.comb += self.i.ready.eq(~full)
        with m.If(free):
            m.d.sync += [self.o.valid.eq(full | self.i.valid), full.eq(0)]
            m.d.sync += self.o.payload.eq(Mux(full, spare, self.i.payload))
        with m.Elif(self.i.valid & ~full):
            m.d.sync += [full.eq(1), spare.eq(self.i.payload)]
        return m


class NetworkInstance(wiring.Component):
    """The module ``gru`` of another Verilog file, with the ports of the network.

    Members
    -------
    restart : In(1), resets the network
    others : of :class:`~hdl.gru.network.Network`
    """

    def __init__(self, design: Design) -> None:
        # Never built: only its ports are needed.
        ports = Network(design).signature.members
        super().__init__({"restart": In(1), **ports})

    def elaborate(self, platform) -> Module:
        m = Module()
        ports: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal() | self.restart}
        for path, member, value in self.signature.flatten(self):
            if path == ("restart",):
                continue
            name = "__".join(map(str, path))
            flow = "i" if member.flow == In else "o"
            ports[f"{flow}_{name}"] = Value.cast(value)
        m.submodules.gru = Instance("gru", **ports)
        return m


class PacketNetwork(wiring.Component):
    """A network that takes sequences as packets and answers each with a packet.

    The answer to a sequence: its logits, class 0 first, then its class, with `last`. A packet that
    is no whole number of steps is answered by one word of the kind ``ERROR``, value 1, after the
    answers to the packets before it; the network is then as after a reset, and nothing of the
    broken packet is left in it. Where weights are loaded they stay: the network computes the broken
    sequence to its end, and its answer is dropped. States (``o_h``) are dropped.

    Parameters
    ----------
    design : Design
    instance : whether the network is the module ``gru`` of another file

    Members
    -------
    i : In, {code: signed(in_bits), last: 1}
        Features of a step in order, steps in order; `last` with the last of a sequence.
    o : Out, :func:`answer_layout` of :func:`answer_bits`
    i_weights, loaded : of :class:`~hdl.gru.network.Network`, where weights are loaded
    """

    def __init__(self, design: Design, *, instance: bool = False) -> None:
        self.design, self.instance = design, instance
        model = design.model
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(model.in_bits))),
                "o": Out(stream.Signature(answer_layout(answer_bits(design)))),
                **weight_ports(design),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        restart = Signal()
        network = self._network(m, restart)
        inputs = self.design.model.input_size
        feature = Signal(range(max(2, inputs)))
        whole = feature == inputs - 1
        pending = Signal(range(_IN_FLIGHT + 1))
        broken = Signal()
        room = pending != _IN_FLIGHT
        bad = self.i.payload.last & ~whole
        keeps = self.design.weights == "load"
        # A broken packet's last feature does not go in; the reset takes the others away. A network
        # that would lose its weights takes it: it ends a sequence wherever it comes.
        stops = Const(0, 1) if keeps else bad
        m.d.comb += [
            network.i.payload.eq(self.i.payload),
            network.i.valid.eq(self.i.valid & ~broken & room & ~stops),
            self.i.ready.eq(~broken & room & (network.i.ready | stops)),
        ]
        moved = self.i.valid & self.i.ready
        with m.If(moved):
            m.d.sync += feature.eq(Mux(whole | self.i.payload.last, 0, feature + 1))
        entered = moved & self.i.payload.last & ~stops
        with m.If(moved & bad):
            m.d.sync += broken.eq(1)

        finished = self._answer(m, network, broken, pending, restart)
        m.d.sync += pending.eq(pending + entered - finished)
        m.d.comb += network.o_h.ready.eq(1)
        if keeps:
            m.d.comb += self.loaded.eq(network.loaded)
            wiring.connect(m, wiring.flipped(self.i_weights), network.i_weights)
        return m

    def _answer(
        self, m: Module, network: Any, broken: Signal, pending: Signal, restart: Signal
    ) -> Signal:
        """Answer sequences, and the `broken` packet when it is the oldest of the `pending` ones;
        whether an answer ends that a sequence in the network has asked for."""
        # Logits and class of a sequence leave before those of the next.
        at_class = Signal()
        finished, failed = Signal(), Signal()
        error = [
            self.o.payload.value.eq(1),
            self.o.payload.kind.eq(Kind.ERROR),
            self.o.payload.last.eq(1),
        ]
        if self.design.weights == "load":
            # Nothing enters after a broken packet, so the last answer is that of its sequence.
            with m.If(broken & (pending == 1)):
                m.d.comb += [
                    *error,
                    network.o_logits.ready.eq(~at_class),
                    self.o.valid.eq(at_class & network.o_class.valid),
                    network.o_class.ready.eq(at_class & self.o.ready),
                    finished.eq(self.o.valid & self.o.ready),
                    failed.eq(finished),
                ]
        else:
            with m.If(broken & (pending == 0)):
                m.d.comb += [*error, self.o.valid.eq(1), failed.eq(self.o.ready), restart.eq(1)]
        with m.Elif(at_class):
            m.d.comb += [
                self.o.valid.eq(network.o_class.valid),
                self.o.payload.value.eq(network.o_class.payload),
                self.o.payload.kind.eq(Kind.CLASS),
                self.o.payload.last.eq(1),
                network.o_class.ready.eq(self.o.ready),
                finished.eq(network.o_class.valid & self.o.ready),
            ]
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(network.o_logits.valid),
                self.o.payload.value.eq(network.o_logits.payload.logit),
                network.o_logits.ready.eq(self.o.ready),
            ]
        with m.If(network.o_logits.valid & network.o_logits.ready & network.o_logits.payload.last):
            m.d.sync += at_class.eq(1)
        with m.If(finished):
            m.d.sync += at_class.eq(0)
        with m.If(failed):
            m.d.sync += broken.eq(0)
        return finished

    def _network(self, m: Module, restart: Signal) -> Any:
        """The network that `restart` resets: an instance of ``gru``, or its logic in here."""
        if self.instance:
            instance = NetworkInstance(self.design)
            m.submodules.network = instance
            m.d.comb += instance.restart.eq(restart)
            return instance
        network = self.design.component()
        m.submodules.network = ResetInserter(restart)(network)
        return network


def weight_ports(design: Design) -> dict[str, Any]:
    """The members through which the weights of `design` are loaded; none where they are constant.

    i_weights, loaded : as of :class:`~hdl.gru.network.Network`
    """
    if design.weights != "load":
        return {}
    return {"i_weights": In(stream.Signature(design.load_shape[1])), "loaded": Out(1)}


def answer_bits(design: Design) -> int:
    """Width of an answer's value: signed, for logits and for class indices."""
    return max(2, design.model.classifier.acc_width, class_bits(design.model.classifier) + 1)


def check_byte_codes(design: Design) -> None:
    """Raises :class:`InputError` where a feature does not fit into a byte, and for a network that
    does not answer a class at the last step."""
    if not design.model.head.plain:
        raise InputError(
            f"a wrapper answers a class at the last step of a sequence, this network answers "
            f"{design.model.head}: use the streams of gru.v"
        )
    bits = operator.index(design.model.in_bits)
    if bits > 8:
        raise InputError(f"a wrapper takes features of 8 bits at most, not {bits}")
