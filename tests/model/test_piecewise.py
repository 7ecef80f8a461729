"""Piecewise-linear fits of activations: best lines, then rounded codes, near their target."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from genogate.model.integer import PiecewiseLinear, code_range
from genogate.model.quantize.activations import Fitting, exact_table, fit, unit_codes
from genogate.sim import golden


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def target_of(function, bits, out_bits):
    codes = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
    return function(codes * 8 / (1 << bits)) * ((1 << (out_bits - 1)) - 1)


@pytest.mark.parametrize("function", [np.tanh, sigmoid])
@pytest.mark.parametrize(("bits", "out_bits"), [(8, 8), (8, 5), (5, 8), (2, 3)])
def test_eight_segments_stay_within_two_codes(function, bits, out_bits):
    codes = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
    target = target_of(function, bits, out_bits)
    unit = fit(target, bits, out_bits, 8)
    exact = golden.activation(exact_table(target, bits, out_bits), codes)
    assert np.abs(golden.activation(unit, codes) - exact).max() <= 2
    assert len(unit.slopes) <= 8
    np.testing.assert_array_equal(unit_codes(unit), golden.activation(unit, codes))


def test_more_entries_never_fit_worse():
    codes = np.arange(-128, 128)
    target = np.tanh(codes / 32) * 127
    errors = [
        ((golden.activation(fit(target, 8, 8, n), codes) - target) ** 2).mean()
        for n in (2, 4, 8, 16, 32)
    ]
    assert all(a > b for a, b in pairwise(errors)), errors


@pytest.mark.parametrize("seed", range(3))
def test_unrounded_lines_are_the_best_of_all(seed):
    """Against every way to cut 8 codes in up to 3 pieces and every line of the format."""
    rng = np.random.default_rng(seed)
    target, weight = rng.uniform(-2, 1.9, 8).cumsum() / 3, rng.uniform(0.1, 1, 8)
    fitting = Fitting(target, 3, 3, weight)
    bits = fitting.bits[-1]
    y, w, x = np.clip(target, *code_range(3)), weight / weight.sum(), np.arange(-4, 4)
    slopes, intercepts = (np.arange(-n << bits, n << bits) / 2**bits for n in (8, 40))
    s, b = (axis.ravel() for axis in np.meshgrid(slopes, intercepts))
    off = (s[:, None] * x + b[:, None] - y) ** 2 * w
    sums = np.concatenate([np.zeros((len(s), 1)), off.cumsum(1)], 1)

    def cost(cuts):
        edges = [0, *cuts, 8]
        return sum((sums[:, j] - sums[:, i]).min() for i, j in pairwise(edges))

    best = min(cost(cut) for n in range(3) for cut in combinations(range(1, 8), n))
    assert fitting.solution(bits, 3).cost == pytest.approx(best, abs=1e-12), f"seed {seed}"


@pytest.mark.parametrize(
    ("function", "bits", "entries"),
    [(np.tanh, 8, 8), (sigmoid, 7, 6), (sigmoid, 6, 4), (np.tanh, 5, 4)],
)
def test_rounded_codes_are_better_than_those_of_the_unrounded_lines(function, bits, entries):
    target = target_of(function, bits, bits)
    fitting = Fitting(target, bits, bits)
    refined = fitting.error(unit_codes(fitting.unit(entries)))
    low = code_range(bits)[0]
    for fraction in fitting.bits:
        solution = fitting.solution(fraction, entries)
        grids = fitting.grids(fraction)
        slopes, _ = grids[0].stored(solution.slopes)
        intercepts, _ = grids[1].stored(solution.intercepts)
        plain = PiecewiseLinear(
            a_bits=bits,
            out_bits=bits,
            fraction_bits=fraction,
            zero_point=0,
            breakpoints=np.array(solution.starts[1:]) + low,
            slopes=slopes,
            intercepts=intercepts,
        )
        # The fewest fraction bits within 15 % of the best are taken.
        assert refined <= 1.15 * fitting.error(unit_codes(plain)) + 1e-12
    assert refined >= fitting.error(exact_table(target, bits, bits).table)
