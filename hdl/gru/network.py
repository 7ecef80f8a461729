# amaranth: UnusedElaboratable=no
"""The whole network: GRU layers in series, then the classifier."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .classifier import class_layout, logit_layout
from .layer import code_layout

if TYPE_CHECKING:
    from .design import Design


class Fork(wiring.Component):
    """The handshake of one stream that goes to two, which both take a transfer in the same cycle.

    Members
    -------
    i_valid, ready_a, ready_b : In(1); i_ready, valid_a, valid_b : Out(1)
    """

    #: See :class:`hdl.operator.Part`.
    identity: tuple[object, ...] = ("Fork",)

    def __init__(self) -> None:
        ins, outs = ("i_valid", "ready_a", "ready_b"), ("i_ready", "valid_a", "valid_b")
        super().__init__({name: In(1) for name in ins} | {name: Out(1) for name in outs})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [
            self.valid_a.eq(self.i_valid & self.ready_b),
            self.valid_b.eq(self.i_valid & self.ready_a),
            self.i_ready.eq(self.ready_a & self.ready_b),
        ]
        return m


class Network(wiring.Component):
    """All layers of an integer model and its classifier, bit-exact with golden.run.

    Submodules ``front0``, ..., ``layer0``, ``layer1``, ..., ``back0``, ..., ``classifier``; between
    them are wires alone. The classifier reads the state in the last layer, or a ``copy`` of it
    where it answers at every step, behind a ``fork``; where everything is shared the last layer
    does its work. With dense layers behind, the first of them stands in its place, and it reads a
    copy of what the last of them gives, or is one of them where it answers codes. Else a head that
    answers codes has ``requantize``, and ``activation`` for sigmoid and tanh, behind it.
    A sequence starts from the zero state, or the one that is given, after reset and after each
    `last`; sequences may follow each other at once. Every stream may pause at any time; what is
    valid stays until it is taken.

    Parameters
    ----------
    design : Design

    Members
    -------
    i : In, {code: signed(in_bits), last: 1}
        Features of a step in order, steps in order; `last` with the last of a sequence. A `last`
        that comes earlier ends the sequence, whose class then means nothing; the next is right.
    o_h : Out, {code: signed(state_bits), last: 1}
        States of the last layer, unit after unit, step after step; `last` with a sequence's last.
    o_logits : Out, {logit: signed(acc_width), last: 1}, of a head that answers class or logits
        The logits of an answer, class 0 first; `last` with a sequence's last.
    o_class : Out, unsigned, of a head that answers a class
        Index of the first greatest logit; after its sequence's logits. At every step
        {label: unsigned, last: 1}, after that step's logits.
    o_codes : Out, {code: signed(out_bits), last: 1}, of a head that answers codes
        The codes of an answer in order; `last` with a sequence's last.
    i_weights : In, unsigned, where weights are loaded
        The words of all parameter memories, of :func:`~.loading.image`: see
        :class:`~.loader.Loader`.
    loaded : Out(1), where weights are loaded: features are taken
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        model = design.planned
        top = model.layers[-1]
        members: dict[str, Any] = {
            "i": In(stream.Signature(code_layout(model.in_bits))),
            "o_h": Out(stream.Signature(code_layout(top.bits("h")))),
        }
        if model.stage is not None:
            members["o_codes"] = Out(stream.Signature(code_layout(model.stage.out_bits)))
        else:
            logits = logit_layout(model.classifier.acc_width)
            members["o_logits"] = Out(stream.Signature(logits))
        if model.head.output == "class":
            members["o_class"] = Out(stream.Signature(class_layout(model.classes, model.head)))
        if design.weights == "load":
            members["i_weights"] = In(stream.Signature(design.load_shape[1]))
            members["loaded"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        design = self.design
        layers: list[Any] = list(design.layer_components())
        for number, layer in enumerate(layers):
            m.submodules[f"layer{number}"] = layer
        stages: dict[str, Any] = design.stage_components()
        for name, stage in stages.items():
            m.submodules[name] = stage
        front = [stage for name, stage in stages.items() if name.startswith("front")]
        back = [stage for name, stage in stages.items() if not name.startswith("front")]
        rest: dict[str, Any] = {name: part.build() for name, part in design.rest.items()}
        below = [*front, *layers]
        if "loader" in rest:
            classifier = [rest["classifier"]] if "classifier" in rest else []
            self._load(m, [*below, *back, *classifier], rest)
        else:
            wiring.connect(m, wiring.flipped(self.i), below[0].i)
        for lower, upper in [*pairwise(below), *pairwise(back)]:
            wiring.connect(m, lower.o, upper.i)
        top = layers[-1]
        if design.share == "all" and not back:
            output = design.model.head.output
            names = {"logits": ("o_logits",), "codes": ()}.get(output, ("o_logits", "o_class"))
            if output != "class":
                # The class is found, and nobody takes it.
                m.d.comb += top.o_class.ready.eq(1)
            if output == "codes":
                self._codes(m, top.o_logits, rest)
            for name in names:
                wiring.connect(m, getattr(top, name), wiring.flipped(getattr(self, name)))
            wiring.connect(m, top.o, wiring.flipped(self.o_h))
            return m
        if back:
            self._behind(m, top, back, rest)
        if "classifier" not in rest:
            wiring.connect(m, back[-1].o, wiring.flipped(self.o_codes))
            return m
        m.submodules.classifier = classifier = rest["classifier"]
        if back:
            self._copied(m, back[-1], rest)
        elif design.model.head.every:
            m.submodules.copy = copy = rest["copy"]
            self._fork(m, top.o, copy.i, rest)
            m.d.comb += classifier.final.eq(copy.final)
            wiring.connect(m, copy.reader, classifier.state)
        else:
            wiring.connect(m, top.reader, classifier.state)
            wiring.connect(m, top.o, wiring.flipped(self.o_h))
        if "requantize" in rest:
            self._codes(m, classifier.o_logits, rest)
            return m
        wiring.connect(m, classifier.o_logits, wiring.flipped(self.o_logits))
        if design.model.head.output == "class":
            wiring.connect(m, classifier.o_class, wiring.flipped(self.o_class))
        return m

    def _load(self, m: Module, owners: list[Any], rest: dict[str, Any]) -> None:
        """The loader stands before the features, and fills memories of the `owners` in order."""
        m.submodules.loader = loader = rest["loader"]
        i = owners[0].i
        answer = getattr(self, f"o_{self.design.model.head.output}")
        final: Value | int = 1
        if self.design.model.head.output != "class" or self.design.model.head.every:
            final = answer.payload.last
        m.d.comb += [
            loader.words.payload.eq(self.i_weights.payload),
            loader.words.valid.eq(self.i_weights.valid),
            self.i_weights.ready.eq(loader.words.ready),
            self.loaded.eq(loader.loaded),
            loader.i_valid.eq(self.i.valid),
            loader.i_last.eq(self.i.payload.last),
            loader.i_ready.eq(i.ready),
            i.payload.eq(self.i.payload),
            i.valid.eq(loader.valid),
            self.i.ready.eq(loader.ready),
            loader.answered.eq(answer.valid & answer.ready & final),
        ]
        start = 0
        for owner in owners:
            count = len(owner.load.enable)
            m.d.comb += [
                owner.load.enable.eq(loader.enable[start : start + count]),
                owner.load.address.eq(loader.address),
                owner.load.data.eq(loader.data),
            ]
            start += count

    def _fork(self, m: Module, units: Any, sink: Any, rest: dict[str, Any]) -> None:
        """Units leave, and go into `sink` besides, in the same cycle."""
        m.submodules.fork = fork = rest["fork"]
        m.d.comb += [
            fork.i_valid.eq(units.valid),
            fork.ready_a.eq(self.o_h.ready),
            fork.ready_b.eq(sink.ready),
            self.o_h.payload.eq(units.payload),
            self.o_h.valid.eq(fork.valid_a),
            sink.payload.eq(units.payload),
            sink.valid.eq(fork.valid_b),
            units.ready.eq(fork.i_ready),
        ]

    def _behind(self, m: Module, top: Any, back: list[Any], rest: dict[str, Any]) -> None:
        """Dense layers behind the state."""
        if "fork" in rest:
            self._fork(m, top.o, back[0].i, rest)
        else:
            wiring.connect(m, top.reader, back[0].state)
            wiring.connect(m, top.o, wiring.flipped(self.o_h))

    def _copied(self, m: Module, last: Any, rest: dict[str, Any]) -> None:
        """The classifier reads a copy of what the last dense layer gives."""
        m.submodules.copy = copy = rest["copy"]
        wiring.connect(m, last.o, copy.i)
        wiring.connect(m, copy.reader, rest["classifier"].state)
        if self.design.model.head.every:
            m.d.comb += rest["classifier"].final.eq(copy.final)

    def _codes(self, m: Module, sums: Any, rest: dict[str, Any]) -> None:
        """The `sums` leave as codes, in the cycles in which they are there."""
        m.submodules.requantize = stage = rest["requantize"]
        m.d.comb += [
            stage.i.payload.eq(sums.payload.logit),
            stage.i.valid.eq(sums.valid),
            sums.ready.eq(stage.i.ready),
        ]
        if "activation" in rest:
            m.submodules.activation = rest["activation"]
            wiring.connect(m, stage.o, rest["activation"].i)
            stage = rest["activation"]
        m.d.comb += [
            self.o_codes.payload.code.eq(stage.o.payload),
            self.o_codes.payload.last.eq(sums.payload.last),
            self.o_codes.valid.eq(stage.o.valid),
            stage.o.ready.eq(self.o_codes.ready),
        ]
