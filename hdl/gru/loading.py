"""Weights that a port fills after reset (`weights` load): sums for any weights, and the loader.

The datapath of such a network must hold for whatever is loaded, so it is planned for the
:func:`envelope` of the model. What is loaded is an :class:`Image`: the words of all parameter
memories, one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...model.errors import InputError
from ...model.genome import GENES
from ...model.integer import (
    Classifier,
    Dense,
    IntModel,
    Layer,
    acc_bounds,
    code_range,
    signed_width,
)
from ..dense import Folded
from ..memories import bias_words, weight_words
from ..operator import Part
from .counters import Counter

if TYPE_CHECKING:
    from .design import Design

_Linear = TypeVar("_Linear", Dense, Classifier)


def bias_bound(op: Dense | Classifier) -> int:
    """Bound of the biases that may be loaded: a power of two, at least the largest sum of products
    that weights of so many bits can make, and the operator's own biases."""
    products = op.weight.shape[1] << (op.in_bits - 1) << (op.weight_bits - 1)
    largest_bias = max(abs(int(op.bias.min())), abs(int(op.bias.max())))
    return 1 << (max(products, largest_bias) - 1).bit_length()


def _widest(op: _Linear) -> _Linear:
    """`op` with weights and biases that make its sums as wide as any can."""
    outputs, inputs = op.weight.shape
    low, high = code_range(op.weight_bits)
    bound = bias_bound(op)
    # Biases of channels with other shifts hold other constants; rows of the greatest weights give
    # the least sums only up to a half of the codes.
    more = inputs << (op.in_bits - 1)
    if isinstance(op, Dense):
        shifts = [op.shift + int(k) for k in op.channel_shift]
        more += (abs(op.zero_point) + 1) * ((1 << max(shifts)) - (1 << min(shifts)))
    weight, bias = np.full((outputs, inputs), low), np.full(outputs, bound + more)
    weight[1::2], bias[1::2] = high, -bound - more
    bounds = acc_bounds(weight, bias, op.in_bits)
    return replace(
        op,
        weight=weight.astype(op.weight.dtype),
        bias=bias.astype(op.bias.dtype),
        acc_min=bounds[0],
        acc_max=bounds[1],
    )


def envelope(model: IntModel) -> IntModel:
    """A model with the widths of `model`, whose sums are as wide as any weights and biases (within
    :func:`bias_bound`) can make them. Raises :class:`InputError` for one unit or one output."""
    linear = [layer.dense(name) for layer in model.layers for name in GENES[:6]]
    if min(len(op.bias) for op in (*linear, model.classifier)) < 2:
        raise InputError(
            "weights load: for networks of 2 units and 2 outputs or more: give --weights rom"
        )
    layers = tuple(
        Layer(
            {name: _widest(op) if isinstance(op, Dense) else op for name, op in layer.ops.items()}
        )
        for layer in model.layers
    )
    classifier, stage = _widest(model.classifier), model.stage
    if stage is not None:
        sums = {"acc_min": classifier.acc_min, "acc_max": classifier.acc_max}
        stage = replace(stage, requantize=replace(stage.requantize, **sums))
    return replace(model, layers=layers, classifier=classifier, stage=stage)


def refuse_loaded(design: Design, what: str) -> None:
    """Raises :class:`InputError` where `what` cannot load the weights of `design`."""
    if design.weights == "load":
        raise InputError(f"weights load: {what}: give --weights rom, or take gru.v and its streams")


@dataclass(frozen=True)
class Store:
    """A parameter memory. name : ``layer0.w_ir_weights`` ... ``classifier.biases``"""

    name: str
    depth: int
    width: int


def loaded_names(parts: Mapping[str, Part]) -> list[str]:
    """The parts of a layer that are loaded, in order."""
    return [name for name, part in parts.items() if part.identity[0] == "WeightMemory"]


def stores(design: Design) -> list[Store]:
    """The parameter memories of a network whose weights are loaded, in the order of loading."""
    memories = []
    for number, parts in enumerate(design.layers):
        for name in loaded_names(parts):
            _, depth, width = cast(tuple[str, int, int], parts[name].identity)
            memories.append(Store(f"layer{number}.{name}", depth, width))
    op, (chunks, _) = design.planned.classifier, design.classifier_plan
    outputs, inputs = op.weight.shape
    biases = signed_width(int(op.bias.min()), int(op.bias.max()))
    return [
        *memories,
        Store("classifier.weights", outputs * inputs * chunks, op.weight_bits // chunks),
        Store("classifier.biases", outputs, biases),
    ]


@dataclass(frozen=True)
class Image:
    """What is loaded.

    words : in order, those of each of `stores` from address 0 on
    width : bits of a word, those of the widest memory
    hardware : hash of the datapath. Images of equal hardware can be loaded one in place of the
        other
    """

    words: tuple[int, ...]
    width: int
    stores: tuple[Store, ...]
    hardware: str

    @property
    def text(self) -> str:
        """For ``$readmemh``: a word a line."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)


def _linear_words(op: Dense | Classifier, lanes: int, chunks: int, width: int) -> list[list[int]]:
    """Words of weights and of biases; `width` of the latter, channel included."""
    if isinstance(op, Dense):
        folded = Folded.of(op)
        biases, channels = folded.biases, folded.channels
    else:
        biases = op.bias.tolist()
        channels = [0] * len(biases)
    bias_bits = width - max(channels).bit_length()
    return [
        weight_words(op.weight, op.weight_bits, lanes, chunks),
        bias_words(biases, channels, bias_bits)[0],
    ]


def image(design: Design) -> Image:
    """The parameters of `design`, whose weights are loaded."""
    places = stores(design)
    widths = {store.name: store.width for store in places}
    words: list[int] = []
    if design.share == "gates":
        for plan, layer in zip(design.gates, design.model.layers, strict=True):
            for memory in replace(plan, layer=layer).constants():
                words += memory
    else:
        for number, (layer, schedule) in enumerate(
            zip(design.model.layers, design.schedules, strict=True)
        ):
            for name in GENES[:6]:
                lanes = design.lanes.x if name[2] == "i" else design.lanes.h
                width = widths[f"layer{number}.{name}_biases"]
                for memory in _linear_words(layer.dense(name), lanes, schedule.chunks[name], width):
                    words += memory
    chunks, _ = design.classifier_plan
    for memory in _linear_words(design.model.classifier, 1, chunks, widths["classifier.biases"]):
        words += memory
    assert len(words) == sum(store.depth for store in places)
    # Constants that stay, such as given states, count too.
    fixed = [part.contents() for part in design.parts]
    identities = [part.identity for part in design.parts]
    digest = hashlib.sha256(repr((design.model.genome.layers, identities, fixed)).encode())
    width = max(widths.values())
    return Image(tuple(words), width, tuple(places), digest.hexdigest()[:16])


def load_signature(count: int, addresses: int, width: int) -> wiring.Signature:
    """Ports through which `count` memories are filled, as their owner has them.

    enable : In(count), write into that memory; address : In; data : In(width)
    """
    return wiring.Signature({"enable": In(count), "address": In(addresses), "data": In(width)})


def fill(m: Module, port: Any, memories: Sequence[Any]) -> None:
    """Connect the write ports of `memories` to `port`, of :func:`load_signature`."""
    for number, memory in enumerate(memories):
        m.d.comb += [
            memory.write_enable.eq(port.enable[number]),
            memory.write_address.eq(port.address),
            memory.write_data.eq(port.data),
        ]


class Loader(wiring.Component):
    """Fills the parameter memories, and keeps features out meanwhile.

    After reset features wait until every word has been taken. A word that is offered later begins
    another load: features of the next sequence wait, the sequences in the network are answered,
    and then words are taken, all of them, before features are again. So no sequence is ever
    computed with weights of two loads.

    Parameters
    ----------
    depths : words of each memory
    width : bits of a word
    most : sequences in the network at most; the next one waits

    Members
    -------
    words : In(stream.Signature(width)), the words of all memories, in order
    enable : Out(len(depths)), address, data : Out; of :func:`load_signature`
    i_valid, i_last, i_ready : In(1), of the features outside, and the network's ready
    valid, ready : Out(1), of the features to the network, and the ready outside
    answered : In(1), the last word of a sequence's answer is taken
    loaded : Out(1), all words have been taken
    """

    def __init__(self, depths: Sequence[int], width: int, most: int) -> None:
        self.depths, self.width, self.most = tuple(depths), width, most
        super().__init__(
            {
                "words": In(stream.Signature(width)),
                "enable": Out(len(self.depths)),
                "address": Out(address_bits(self.depths)),
                "data": Out(width),
                **{name: In(1) for name in ("i_valid", "i_last", "i_ready", "answered")},
                **{name: Out(1) for name in ("valid", "ready", "loaded")},
            }
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """See :class:`hdl.operator.Part`."""
        return "Loader", self.depths, self.width, self.most

    @classmethod
    def part(cls, depths: Sequence[int], width: int, most: int) -> Part:
        """Deferred form of the component."""
        depths = tuple(depths)
        return Part(
            ("Loader", depths, width, most),
            f"Loader of {sum(depths)} words of {width} bits",
            partial(cls, depths, width, most),
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        words, count = self.words, len(self.depths)
        taken, full = Signal(), Signal()
        memory = Counter(m, "memory", count, taken & full)
        address = Signal(len(self.address))
        last = Array(Const(depth - 1, len(address)) for depth in self.depths)[memory.value]
        inside = Signal()  # a sequence has begun, and not ended
        pending = Signal(range(self.most + 1))  # sequences that ended and are not answered
        entered = self.valid & self.i_ready
        open_ = self.loaded & (inside | ~words.valid) & (pending != self.most)
        m.d.comb += [
            words.ready.eq(~self.loaded | (~inside & (pending == 0))),
            taken.eq(words.valid & words.ready),
            full.eq(address == last),
            self.enable.eq(taken.replicate(count) & (1 << memory.value)),
            self.address.eq(address),
            self.data.eq(words.payload),
            self.valid.eq(self.i_valid & open_),
            self.ready.eq(self.i_ready & open_),
        ]
        with m.If(taken):
            m.d.sync += [
                address.eq(Mux(full, 0, address + 1)),
                self.loaded.eq(full & memory.last),
            ]
        with m.If(entered):
            m.d.sync += inside.eq(~self.i_last)
        m.d.sync += pending.eq(pending + (entered & self.i_last) - self.answered)
        return m


def address_bits(depths: Sequence[int]) -> int:
    """Width of an address of memories of so many words."""
    return max(1, (max(depths) - 1).bit_length())
