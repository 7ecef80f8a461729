"""What NSGA-II has to beat at as many evaluations."""

from collections.abc import Iterator

import numpy as np

from .. import sensitivity
from ..candidate import USEFUL_DROP
from .context import Context
from .first import first_population


def sample(context: Context) -> Iterator[None]:
    """A generation of random rows between any two yields."""
    config, space = context.config, context.encoding.space
    rng = np.random.default_rng([config.seed, 2])
    first_population(context)
    while True:
        shape = config.pop_size, len(space.low)
        rows = rng.integers(space.low, space.high + 1, shape)
        context.evaluate([context.encoding.decode(row) for row in rows])
        yield


def descend(context: Context) -> Iterator[None]:
    """Greedy descent, with as many evaluations a generation as the others have at most."""
    config = context.config
    costs = [n for n in config.objectives if n not in ("accuracy", "cycles")]
    drop = USEFUL_DROP if config.max_drop is None else config.max_drop / 100
    first_population(context)
    for generation in range(1, config.generations + 1):
        # Started again it finds all that it did before among the points.
        sensitivity.descent(
            context.judge,
            context.encoding.layers,
            context.encoding.dense,
            costs=costs,
            drop=drop,
            budget=config.pop_size * generation,
        )
        yield
