"""Weights that a port fills after reset (`weights` load): sums for any weights, and the words.

The datapath of such a network must hold for whatever is loaded, so it is planned for the
:func:`envelope` of the model. What is loaded is an :class:`Image`: the words of all parameter
memories, one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

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
from ..memories import WeightMemory, bias_words, weight_words
from ..operator import Part
from .stages.plan import head_layer

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
    linear += [layer.dense for layer in (*model.front, *model.back)]
    if min(len(op.bias) for op in (*linear, model.classifier)) < 2:
        raise InputError(
            "weights load: for networks of 2 units or more in each layer, and 2 outputs or more: "
            "give --weights rom"
        )
    front, back = (
        tuple(replace(layer, dense=_widest(layer.dense)) for layer in dense)
        for dense in (model.front, model.back)
    )
    layers = tuple(
        Layer(
            {name: _widest(op) if isinstance(op, Dense) else op for name, op in layer.ops.items()},
            layer.initial_state,
        )
        for layer in model.layers
    )
    classifier, stage = _widest(model.classifier), model.stage
    if stage is not None:
        sums = {"acc_min": classifier.acc_min, "acc_max": classifier.acc_max}
        stage = replace(stage, requantize=replace(stage.requantize, **sums))
    return replace(model, layers=layers, classifier=classifier, stage=stage, front=front, back=back)


def refuse_loaded(design: Design, what: str) -> None:
    """Raises :class:`InputError` where `what` cannot load the weights of `design`."""
    if design.weights == "load":
        raise InputError(f"weights load: {what}: give --weights rom, or take gru.v and its streams")


@dataclass(frozen=True)
class Store:
    """A parameter memory. name : ``front0.weights``, ``layer0.w_ir_weights``, ...,
    ``classifier.biases``"""

    name: str
    depth: int
    width: int


def loaded_part(name: str, part: Part) -> Part:
    """A memory that is loaded, in place of one of weights, biases or a given state; other parts as
    they are."""
    if name != "initial" and not name.endswith(("weights", "biases")):
        return part
    _, *shape = part.identity
    return WeightMemory.part(*cast(list[int], shape))


def loaded_names(parts: Mapping[str, Part]) -> list[str]:
    """The parts of a layer that are loaded, in order."""
    return [name for name, part in parts.items() if part.identity[0] == "WeightMemory"]


def stores(design: Design) -> list[Store]:
    """The parameter memories of a network whose weights are loaded, in the order of loading, which
    is that of the data: dense layers in front, GRU layers, dense layers behind, classifier."""
    memories = []
    for place, parts in design.places.items():
        for name in loaded_names(parts):
            _, depth, width = cast(tuple[str, int, int], parts[name].identity)
            memories.append(Store(f"{place}.{name}", depth, width))
    if not design.classifier_alone:
        return memories
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


def _layer_words(design: Design, number: int, widths: Mapping[str, int]) -> list[list[int]]:
    """Words of the memories of a GRU layer."""
    layer = design.model.layers[number]
    if design.share == "all":
        return [design.shared[number].program.weights]
    if design.share == "gates":
        return [*replace(design.gates[number], layer=layer).constants()]
    schedule, memories = design.schedules[number], []
    for name in GENES[:6]:
        lanes = design.lanes.x if name[2] == "i" else design.lanes.h
        width = widths[f"layer{number}.{name}_biases"]
        memories += _linear_words(layer.dense(name), lanes, schedule.chunks[name], width)
    return memories


def _memories(design: Design, widths: Mapping[str, int]) -> Iterator[list[int]]:
    """Words of each of :func:`stores`; `widths` of these by name."""
    model = design.model
    last = head_layer(model) if design.ends_in_stage else None
    layers = (*model.front, *model.back, *([last] if last else []))
    plans = dict(zip(design.stages, (*design.front, *design.back), strict=True))
    stages = dict(zip(design.stages, layers, strict=True))
    for place in design.places:
        if place in stages:
            dense, plan, width = stages[place].dense, plans[place], widths[f"{place}.biases"]
            yield from _linear_words(dense, plan.lanes, plan.chunks, width)
            continue
        number = int(place.removeprefix("layer"))
        yield from _layer_words(design, number, widths)
        state, layer = model.layers[number].initial_state, model.layers[number]
        if state is not None:
            lanes = 1 if design.share == "all" else design.lanes.h
            yield weight_words(state[None], layer.bits("h"), lanes, 1)
    if design.classifier_alone:
        chunks, _ = design.classifier_plan
        yield from _linear_words(model.classifier, 1, chunks, widths["classifier.biases"])


def image(design: Design) -> Image:
    """The parameters of `design`, whose weights are loaded."""
    places = stores(design)
    memories = [*_memories(design, {store.name: store.width for store in places})]
    assert [len(memory) for memory in memories] == [store.depth for store in places]
    words = [word for memory in memories for word in memory]
    # Constants that stay, such as tables, count too.
    fixed = [part.contents() for part in design.parts]
    identities = [part.identity for part in design.parts]
    digest = hashlib.sha256(repr((design.model.genome.layers, identities, fixed)).encode())
    width = max(store.width for store in places)
    return Image(tuple(words), width, tuple(places), digest.hexdigest()[:16])
