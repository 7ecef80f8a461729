"""Piecewise-linear fits: the segmentation is optimal, the integer unit stays near its target."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from genogate.model.piecewise import exact_table, fit, segmentation
from genogate.sim import golden


def line_error(x, y, w):
    if len(x) < 2:
        return 0.0
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(w))
    return float(w @ (slope * x + intercept - y) ** 2)


@pytest.mark.parametrize("seed", range(5))
def test_segmentation_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    y, w = rng.normal(size=9).cumsum(), rng.uniform(0.1, 1, 9)
    x = np.arange(9.0)

    def cost(starts):
        ends = [*starts[1:], 9]
        return sum(line_error(x[a:b], y[a:b], w[a:b]) for a, b in zip(starts, ends, strict=True))

    best = min(cost([0, *cut]) for n in range(3) for cut in combinations(range(1, 9), n))
    starts, _ = segmentation(y, w, 3)
    assert len(starts) <= 3
    assert cost(starts) == pytest.approx(best, abs=1e-9), f"seed {seed}"


@pytest.mark.parametrize("function", [np.tanh, lambda x: 1 / (1 + np.exp(-x))])
@pytest.mark.parametrize(("bits", "out_bits"), [(8, 8), (8, 5), (5, 8), (2, 3)])
def test_eight_segments_stay_within_two_codes(function, bits, out_bits):
    codes = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
    target = function(codes * 8 / (1 << bits)) * ((1 << (out_bits - 1)) - 1)
    unit = fit(target, bits, out_bits, 8)
    exact = golden.activation(exact_table(target, bits, out_bits), codes)
    assert np.abs(golden.activation(unit, codes) - exact).max() <= 2
    assert len(unit.slopes) <= 8


def test_more_entries_never_fit_worse():
    codes = np.arange(-128, 128)
    target = np.tanh(codes / 32) * 127
    errors = [((golden.activation(fit(target, 8, 8, n), codes) - target) ** 2).mean()
              for n in (2, 4, 8, 16, 32)]  # fmt: skip
    assert all(a > b for a, b in pairwise(errors)), errors
