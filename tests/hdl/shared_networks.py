"""Networks that share hardware: drawn at random, and what golden says of them."""

import numpy as np
from genogate.model.genome import Genome
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from transfers import expected, features, received


def draw(seed, steps, layers=1, sizes=(3, 4, 3), bits=None, **knobs):
    """A random network, and a sequence for it of each number of `steps`."""
    rng = np.random.default_rng(seed)
    rows = [(bits,) * 17 if bits else tuple(rng.integers(2, 9, 17).tolist()) for _ in range(layers)]
    model = random_model(rng, Genome(tuple(rows)), *sizes, **knobs)
    low, high = -(1 << (model.layers[0].in_bits - 1)), 1 << (model.layers[0].in_bits - 1)
    return model, [rng.integers(low, high, (int(t), sizes[0])) for t in steps]


def check(design, sequences, pause, seed):
    """Simulate `design` with streams that pause, and hold its outputs to golden."""
    wanted = expected(design.model, sequences)
    got = run_streams(
        design.component(),
        {"i": features(sequences)},
        {name: len(values) for name, values in wanted.items()},
        pause=pause,
        seed=seed,
        cycles=60000,
    )
    assert received(got) == wanted
