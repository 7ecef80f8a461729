"""How far the answers of a quantised network are from those of the float one."""

import numpy as np

from ...model.aliases import Array

#: Samples that outputs are compared on.
COMPARED = 64


def kl(logits: Array, quantised: Array) -> float:
    """Mean over samples of the Kullback-Leibler divergence of softmaxed answers, nats."""

    def log_softmax(x: Array) -> Array:
        x = x - x.max(1, keepdims=True)
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    p, q = log_softmax(logits), log_softmax(quantised)
    return float((np.exp(p) * (p - q)).sum(1).mean())
