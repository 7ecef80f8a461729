"""Genomes written by hand, which a population starts from only where a user asks for it.

They are what a person would write down: narrow weights, narrower for the gates than for the
candidate, and one width for the rest. With them in a population its search has found nothing that
was not put there, so they are off by default (``--seed-patterns``).
"""

from ...model.genome import Genome

#: Weights of r, z and n, on both sides.
WEIGHT_PATTERNS = ((2, 2, 2), (2, 2, 3), (3, 3, 3), (2, 2, 4), (3, 3, 4))
#: Widths of the rest.
REST_WIDTHS = (8, 7, 6, 5, 4)


def patterns(layers: int = 1, dense: int = 0) -> list[Genome]:
    """All of them, every layer alike; dense layers have the weights of the candidate."""
    return [
        Genome(((*2 * weights, *[rest] * 11),) * layers, ((weights[2], rest),) * dense)
        for weights in WEIGHT_PATTERNS
        for rest in REST_WIDTHS
    ]
