# amaranth: UnusedElaboratable=no
"""The whole network: GRU layers in series, then the classifier."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.integer import Classifier as ClassifierOp
from ...model.integer import IntModel
from ..operator import Part
from .classifier import Classifier, class_bits, classifier_chunks, logit_layout
from .layer import GruLayer, code_layout, layer_parts
from .schedule import Schedule, cycles_per_step

__all__ = ["Network", "cycles_per_step"]


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


def _classifier(model: IntModel, last: Schedule) -> tuple[ClassifierOp, int]:
    return model.classifier, classifier_chunks(model.classifier, last.pass_cycles)


def network_parts(model: IntModel, lanes_x: int = 1, lanes_h: int = 1) -> list[dict[str, Part]]:
    """All that a :class:`Network` is made of, none of it built yet: the parts of each layer by
    name, then ``classifier`` and ``fork``. Raises :class:`InputError` for impossible lanes."""
    plans = [Schedule.of(layer, lanes_x, lanes_h) for layer in model.layers]
    rows = [
        layer_parts(layer, plan, int(lanes_x), int(lanes_h))
        for layer, plan in zip(model.layers, plans, strict=True)
    ]
    return [
        *rows,
        {
            "classifier": Classifier.part(*_classifier(model, plans[-1])),
            "fork": Part(Fork.identity, "Fork", Fork),
        },
    ]


class Network(wiring.Component):
    """All layers of an integer model and its classifier, bit-exact with golden.run.

    Submodules ``layer0``, ``layer1``, ..., ``classifier``, ``fork``; between them are wires alone.
    A sequence starts from the zero state, after reset and after each `last`; sequences may follow
    each other at once. Every stream may pause at any time; what is valid stays until it is taken.

    Parameters
    ----------
    model : IntModel
    lanes_x, lanes_h : int
        Products per cycle of each x-side and each h-side dense operator, 1 to 64, all layers.

    Members
    -------
    i : In, {code: signed(in_bits), last: 1}
        Features of a step in order, steps in order; `last` with the last of a sequence.
    o_h : Out, {code: signed(state_bits), last: 1}
        States of the last layer, unit after unit, step after step; `last` with a sequence's last.
    o_logits : Out, {logit: signed(acc_width), last: 1}
        The logits of a sequence, class 0 first; `last` with the last class.
    o_class : Out, unsigned
        Index of the first greatest logit; after its sequence's logits.
    """

    def __init__(self, model: IntModel, lanes_x: int = 1, lanes_h: int = 1) -> None:
        self.model = model
        self.layers = [GruLayer(layer, lanes_x, lanes_h) for layer in model.layers]
        self.classifier = Classifier(*_classifier(model, self.layers[-1].schedule))
        self.fork = Fork()
        top = model.layers[-1]
        super().__init__(
            {
                "i": In(stream.Signature(code_layout(model.layers[0].in_bits))),
                "o_h": Out(stream.Signature(code_layout(top.bits("h")))),
                "o_logits": Out(stream.Signature(logit_layout(model.classifier))),
                "o_class": Out(stream.Signature(unsigned(class_bits(model.classifier)))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for number, layer in enumerate(self.layers):
            m.submodules[f"layer{number}"] = layer
        m.submodules.classifier = classifier = self.classifier
        wiring.connect(m, wiring.flipped(self.i), self.layers[0].i)
        for below, above in zip(self.layers, self.layers[1:], strict=False):
            wiring.connect(m, below.o, above.i)
        # The last layer's states leave, and pass the classifier, in the same cycle.
        top = self.layers[-1]
        m.submodules.fork = fork = self.fork
        m.d.comb += [
            fork.i_valid.eq(top.o.valid),
            fork.ready_a.eq(self.o_h.ready),
            fork.ready_b.eq(classifier.i.ready),
            self.o_h.payload.eq(top.o.payload),
            self.o_h.valid.eq(fork.valid_a),
            classifier.i.payload.eq(top.o.payload),
            classifier.i.valid.eq(fork.valid_b),
            classifier.last_step.eq(top.last_step),
            top.o.ready.eq(fork.i_ready),
        ]
        wiring.connect(m, classifier.o_logits, wiring.flipped(self.o_logits))
        wiring.connect(m, classifier.o_class, wiring.flipped(self.o_class))
        return m
