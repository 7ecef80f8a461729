"""Models that tell what genomes are worth by the steps of their genes."""

import numpy as np
from genogate.search.genomes.exploit import Linear, Space


def test_a_linear_model_tells_rows_that_it_has_not_seen():
    rng = np.random.default_rng(20)
    space = Space(np.full(6, 2), np.full(6, 8))
    rows = rng.integers(2, 9, (120, 6))
    worth = rows @ np.array([5.0, 0, 1, -2, 0.5, 3]) + 7
    told = Linear.fit(space, rows[:90], worth[:90])(rows[90:])
    assert np.abs(told - worth[90:]).max() < 0.1 * np.ptp(worth)


def test_a_linear_model_of_known_steps_adds_them_up():
    space = Space(np.full(3, 2), np.full(3, 8))
    told = Linear(space, 7.0, np.repeat([1.0, 10.0, 100.0], 6))
    rows = np.array([[2, 2, 2], [8, 2, 2], [3, 4, 5]])
    np.testing.assert_array_equal(told(rows), [7, 13, 7 + 1 + 20 + 300])
