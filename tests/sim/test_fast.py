"""The compiled twin gives the golden model's bits."""

import numpy as np
import pytest
from genogate.model.genome import Genome
from genogate.model.integer import code_range
from genogate.sim import fast, golden
from genogate.sim.random_model import random_model


@pytest.mark.parametrize("seed", range(24))
def test_twin_equals_golden(seed):
    rng = np.random.default_rng(seed)
    layers = 1 + seed % 2
    genome = Genome.from_genes(rng.integers(2, 9, 17 * layers))
    model = random_model(
        rng,
        genome,
        int(rng.integers(1, 12)),
        int(rng.integers(1, 20)),
        5,
        channel=bool(seed % 3),
        terms=[1, 2, 3, None][seed % 4],
        activation=["pwl", "table", "mix"][seed % 3],
    )
    shape = (fast.BLOCK + 3 if seed == 0 else 7, 5, model.layers[0].input_size)
    codes = rng.integers(*code_range(8), shape, endpoint=True)
    expected, got = golden.run(model, codes), fast.run(model, codes)
    for name in ("hidden", "logits", "classes"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), f"seed {seed}")
    last = fast.run(model, codes, every=False)
    np.testing.assert_array_equal(last.hidden, expected.hidden[:, -1:], f"seed {seed}")
    np.testing.assert_array_equal(last.logits, expected.logits, f"seed {seed}")


def test_a_model_beyond_the_compiled_types_is_still_exact():
    """512 inputs at 8 x 8 bits with a 16-bit multiplier need more than 32 bits."""
    rng = np.random.default_rng(9)
    model = random_model(rng, Genome.uniform(8), 512, 3, 2, terms=None)
    codes = rng.choice(code_range(8), (4, 3, 512))
    expected, got = golden.run(model, codes), fast.run(model, codes)
    np.testing.assert_array_equal(got.hidden, expected.hidden)
    np.testing.assert_array_equal(got.logits, expected.logits)
    last = fast.run(model, codes, every=False)
    np.testing.assert_array_equal(last.hidden, expected.hidden[:, -1:])
