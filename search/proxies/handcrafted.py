"""Handcrafted proxies, each to its published definition: what evolved ones have to beat.

All but the last are sums over items of a term that depends on the item and its width alone, so a
network's scores are read from one table [items, widths]. Larger is better, everywhere.

In the formulas: b width; W the quantised tensor of an item (weights, or an operator's outputs at
all steps of the batch), n its number of elements; G = dL/dW; V the virtual gradient; D_b = Q_b(W) -
W; sums run over all elements. What is "as in EMQ" is a published score of networks times b: without
that factor it would rank no configuration of one network.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import erf, sqrt

import numpy as np

from ...model.errors import InputError
from .statistics import FIXED, OWN, Statistics

Array = np.ndarray
#: Width of what no gene sets: activations of a CNN, inputs, outputs of dense operators.
FIXED_BITS = 8
#: OMPQ's temperature as EMQ has it (10 in OMPQ's README).
BETA = 1.0
#: Weights of the stages of a network in the QE-score, the last one last.
STAGE_WEIGHTS = (0.0, 0.0, 1.0, 1.0, 6.0)
_TINY = 1e-30


def _each(statistics: Statistics, term: Callable[[int, int], float]) -> Array:
    """``term(item, width)`` as a table float64 [L, W]."""
    return np.array(
        [[term(item, bits) for bits in statistics.widths] for item in range(len(statistics.names))],
        np.float64,
    )


def _times_bits(statistics: Statistics, values: Array) -> Array:
    return np.asarray(values, np.float64)[:, None] * np.array(statistics.widths, np.float64)


def _summed(statistics: Statistics, item: int, values: Array) -> float:
    """The sum over all elements, from those that were kept."""
    return float(values.mean() * statistics.counts[item])


def _norm2(statistics: Statistics, item: int, values: Array) -> float:
    """The squared norm of weights, or of the outputs of one time step (or image)."""
    return float((values**2).mean() * statistics.elements[item])


def _weight(statistics: Statistics, item: int, bits: int | None = None) -> Array:
    """W, or Q_b(W)."""
    weight = statistics.tensors["weight"][item]
    return weight if bits is None else weight + statistics.errors[item][bits]


def bit_sum(s: Statistics) -> Array:
    """Sum of bits: b."""
    return _times_bits(s, np.ones(len(s.names)))


def bparams(s: Statistics) -> Array:
    """Size of the weights in MiB: b n / 8 / 2^20; an operator without weights adds nothing."""
    return _times_bits(s, s.parameters / 8 / 2**20)


def hawq_v1_emq(s: Statistics) -> Array:
    """HAWQ-V1 as in EMQ: b lambda_max(H)."""
    return _times_bits(s, s.vectors["eigenvalue"])


def hawq_v1(s: Statistics) -> Array:
    """HAWQ-V1 (arXiv 1905.03696): -lambda_max(H) ||D_b||^2."""
    return _each(s, lambda k, b: -s.vectors["eigenvalue"][k] * _summed(s, k, s.errors[k][b] ** 2))


def hawq_v2_emq(s: Statistics) -> Array:
    """HAWQ-V2 as in EMQ: b Tr(H)."""
    return _times_bits(s, s.vectors["trace"])


def hawq_v2(s: Statistics) -> Array:
    """HAWQ-V2 (arXiv 1911.03852): -Tr(H) / n ||D_b||^2."""
    return _each(s, lambda k, b: -s.vectors["trace"][k] * float((s.errors[k][b] ** 2).mean()))


def orm(s: Statistics) -> Array:
    """OMPQ (arXiv 2109.07865): b exp(-beta gamma) / L; gamma the sum of an item's linear CKA with
    all others."""
    gamma = s.vectors["similarity"].sum(1) - np.diag(s.vectors["similarity"])
    return _times_bits(s, np.exp(-BETA * gamma) / len(s.names))


@lru_cache(maxsize=32)
def deviation(bits: int) -> float:
    """sqrt(E[clip(round(z), -2^(b-1), 2^(b-1))^2]) of a standard normal z."""
    most = 1 << (bits - 1)

    def above(x: float) -> float:
        return 0.5 * (1 - erf(x / sqrt(2)))

    inner = sum(k * k * (above(k - 0.5) - above(k + 0.5)) for k in range(1, most))
    return sqrt(2 * (inner + most * most * above(most - 0.5)))


def qe_score(s: Statistics) -> Array:
    """QE-score as in EMQ: ln(sigma(b) sigma(8)) of every layer, added up from the input to each
    stage, times the stage's weight (the last 6, the two before it 1, all before none); what only
    depends on the channels is left out, being the same in all configurations."""
    stages = s.vectors["stages"].astype(np.int64)
    count = int(stages.max()) + 1
    weights = np.array([0.0] * max(0, count - len(STAGE_WEIGHTS)) + [*STAGE_WEIGHTS[-count:]])
    # A layer is part of the sums of its own stage and of all after it.
    reach = weights[::-1].cumsum()[::-1][stages]
    logs = [np.log(deviation(bits) * deviation(FIXED_BITS)) for bits in s.widths]
    return reach[:, None] * np.array(logs)


def bsnip(s: Statistics) -> Array:
    """SNIP (arXiv 1810.02340), as in EMQ: b sum |G W|."""
    products = [
        np.abs(g * w) for g, w in zip(s.tensors["gradient"], s.tensors["weight"], strict=True)
    ]
    return _times_bits(s, np.array([_summed(s, k, v) for k, v in enumerate(products)]))


def snip_quantised(s: Statistics) -> Array:
    """SNIP with the weights of the quantised network: sum |G Q_b(W)|."""
    return _each(s, lambda k, b: _summed(s, k, np.abs(s.tensors["gradient"][k] * _weight(s, k, b))))


def bsynflow(s: Statistics) -> Array:
    """Synflow (arXiv 2006.05467), as in EMQ: b sum |W V|."""
    products = [
        np.abs(v * w)
        for v, w in zip(s.tensors["virtual_gradient"], s.tensors["weight"], strict=True)
    ]
    return _times_bits(s, np.array([_summed(s, k, v) for k, v in enumerate(products)]))


def synflow_quantised(s: Statistics) -> Array:
    """Synflow with the weights of the quantised network: sum |V Q_b(W)|."""
    return _each(
        s, lambda k, b: _summed(s, k, np.abs(s.tensors["virtual_gradient"][k] * _weight(s, k, b)))
    )


def bplain(s: Statistics) -> Array:
    """Plain, as in EMQ: b sum G W."""
    pairs = zip(s.tensors["gradient"], s.tensors["weight"], strict=True)
    return _times_bits(s, np.array([_summed(s, k, g * w) for k, (g, w) in enumerate(pairs)]))


def bgradnorm(s: Statistics) -> Array:
    """Gradient norm, as in EMQ: b ||G||."""
    gradients = s.tensors["gradient"]
    return _times_bits(s, np.array([sqrt(_summed(s, k, g**2)) for k, g in enumerate(gradients)]))


def bfisher(s: Statistics) -> Array:
    """Fisher (arXiv 1801.05787), as in EMQ: b sum over channels of half the mean over samples of
    (sum of output times its gradient)^2."""
    return _times_bits(s, s.vectors["fisher"])


def bnorm(s: Statistics) -> Array:
    """Weight norm, as in EMQ: b ||W||."""
    weights = s.tensors["weight"]
    return _times_bits(s, np.array([sqrt(_norm2(s, k, w)) for k, w in enumerate(weights)]))


def norm_quantised(s: Statistics) -> Array:
    """Weight norm of the quantised network: ||Q_b(W)||."""
    return _each(s, lambda k, b: sqrt(_norm2(s, k, _weight(s, k, b))))


def mse(s: Statistics) -> Array:
    """Quantisation error: -||D_b||^2; of outputs, that of one time step."""
    return _each(s, lambda k, b: -_norm2(s, k, s.errors[k][b]))


def sqnr(s: Statistics) -> Array:
    """Signal over quantisation noise: 10 log10(||W||^2 / ||D_b||^2), dB."""

    def term(item: int, bits: int) -> float:
        signal, lost = _norm2(s, item, _weight(s, item)), _norm2(s, item, s.errors[item][bits])
        return 10 * float(np.log10((signal + _TINY) / (lost + _TINY)))

    return _each(s, term)


def fisher_error(s: Statistics) -> Array:
    """Fisher-weighted error: -sum E[G^2] D_b^2, with gradients of single samples."""
    batch = int(s.about["batch"])

    def term(item: int, bits: int) -> float:
        product = s.tensors["squared_gradient"][item] * s.errors[item][bits] ** 2
        # An output belongs to one sample, so that the sum over the batch is to be a mean.
        return -_summed(s, item, product) / (1 if s.parameters[item] else batch)

    return _each(s, term)


def first_order(s: Statistics) -> Array:
    """First-order change of the loss: -|sum G D_b|."""
    return _each(s, lambda k, b: -abs(_summed(s, k, s.tensors["gradient"][k] * s.errors[k][b])))


def second_order(s: Statistics) -> Array:
    """Second-order change of the loss with the Hessian's diagonal: -sum H D_b^2 / 2."""
    return _each(
        s, lambda k, b: -0.5 * _summed(s, k, s.tensors["hessian"][k] * s.errors[k][b] ** 2)
    )


def noise(s: Statistics) -> Array:
    """Uniform noise over the range: -Tr(H) range(W)^2 4^-b / 12, without looking at any error."""
    ranges = [float(np.ptp(weight)) for weight in s.tensors["weight"]]
    return _each(s, lambda k, b: -s.vectors["trace"][k] * ranges[k] ** 2 * 4.0**-b / 12)


#: Proxies that are a table [items, widths], by name.
TABLES: Mapping[str, Callable[[Statistics], Array]] = {
    "bit-sum": bit_sum,
    "bparams": bparams,
    "hawq-v1-emq": hawq_v1_emq,
    "hawq-v1": hawq_v1,
    "hawq-v2-emq": hawq_v2_emq,
    "hawq-v2": hawq_v2,
    "orm": orm,
    "qe-score": qe_score,
    "bsnip": bsnip,
    "snip-quantised": snip_quantised,
    "bsynflow": bsynflow,
    "synflow-quantised": synflow_quantised,
    "bplain": bplain,
    "bgradnorm": bgradnorm,
    "bfisher": bfisher,
    "bnorm": bnorm,
    "norm-quantised": norm_quantised,
    "mse": mse,
    "sqnr": sqnr,
    "fisher-error": fisher_error,
    "first-order": first_order,
    "second-order": second_order,
    "noise": noise,
}
#: Proxies that look at pairs of items, or at the quantised network itself.
OTHERS = ("bops", "output-kl")
NAMES = (*TABLES, *OTHERS)


def columns(statistics: Statistics, genomes: Array) -> Array:
    """For genomes [N, L] the index of each width in ``statistics.widths``. Raises
    :class:`InputError` for genomes of another network, or a width that it has not."""
    genomes = np.asarray(genomes)
    if genomes.ndim != 2 or genomes.shape[1] != len(statistics.names):
        raise InputError(
            f"genomes: shape {genomes.shape}, [N, {len(statistics.names)}] is needed for this "
            "network"
        )
    widths = np.array(statistics.widths)
    index = np.searchsorted(widths, genomes)
    if (index >= len(widths)).any() or (
        widths[np.minimum(index, len(widths) - 1)] != genomes
    ).any():
        raise InputError(f"genomes: a width that is none of {statistics.widths}")
    return index


def bops(statistics: Statistics, genomes: Array) -> Array:
    """Bit operations of a time step or image in 1e9: the sum of multiplications times the widths of
    both factors. float64 [N], larger taken for better."""
    columns(statistics, genomes)
    items = np.arange(len(statistics.names))
    # Two more columns for what no other item sets.
    wide = np.concatenate(
        [np.asarray(genomes, np.float64), np.full((len(genomes), 1), float(FIXED_BITS))], axis=1
    )
    operands = statistics.vectors["operands"].astype(np.int64)
    product = np.asarray(statistics.macs, np.float64)[None].repeat(len(wide), 0)
    for side in operands.T:
        place = np.where(side == OWN, items, np.where(side == FIXED, len(items), side))
        product = product * wide[:, place]
    return product.sum(1) / 1e9


def scores(name: str, statistics: Statistics, genomes: Array) -> Array:
    """Scores float64 [N] of genomes uint8 [N, L] by a proxy of :data:`TABLES`, or ``bops``.

    Raises :class:`InputError` for another name, or genomes of another network.
    """
    if name == "bops":
        return bops(statistics, genomes)
    if name not in TABLES:
        raise InputError(f"proxy {name!r:.40}: the handcrafted ones are {', '.join(NAMES)}")
    index = columns(statistics, genomes)
    table = TABLES[name](statistics)
    return table[np.arange(index.shape[1]), index].sum(1)
