"""Parts around the GRU layers, for the models of :mod:`.prices`: the control of a dense layer, the
requantiser of a head's codes, the copy of a state that the classifier reads.

Their coefficients are fitted to random networks by :mod:`.fit_stages`; the datapath, the activation
unit and the memories of a dense layer are of the kinds that GRU layers have.
"""

from collections.abc import Callable
from typing import Any

from ...model.integer import signed_width
from ...model.quantize.scales import signed_digits

Identity = tuple[Any, ...]


def _bits(count: int) -> int:
    return (max(1, count) - 1).bit_length()


def _control(i: Identity) -> list[float]:
    _, inputs, outputs, lanes, chunks, vectors, finals, pipeline, bits, slot, again = i
    words = -(-inputs // lanes)
    odd = [n for n in (words, chunks) if n & (n - 1)]
    return [
        1,
        _bits(words) + _bits(chunks) + _bits(outputs),
        _bits(words * chunks * outputs) * bool(odd),
        len(odd),
        _bits(vectors * words),
        (lanes - 1) * (vectors > 0),
        vectors > 0,
        vectors == 2,
        finals,
        pipeline > 0,
        pipeline == 2,
        chunks > 1,
        bits * lanes,
        slot,
        again,
    ]


def _requantiser(i: Identity) -> list[float]:
    _, low, high, bits, multiplier, *_ = i
    width, digits = signed_width(low, high), signed_digits(multiplier)
    return [1, width, (digits - 1) * width, bits, digits]


def _copy(i: Identity) -> list[float]:
    _, bits, units = i
    return [1, bits, _bits(units), bits * units]


#: Features of each kind.
FEATURES: dict[str, Callable[[Identity], list[float]]] = {
    "StageControl": _control,
    "Requantize": _requantiser,
    "StateCopy": _copy,
}
