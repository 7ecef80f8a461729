"""Allowed combined scales, and the knobs' refusals."""

from itertools import product

import pytest
from genogate.model.errors import InputError
from genogate.model.knobs import Knobs
from genogate.model.quantize.scales import allowed, as_fixed_point, signed_digits


def test_signed_digits_equals_the_shortest_sum_of_powers():
    powers = [sign * (1 << k) for k in range(9) for sign in (-1, 1)]
    shortest: dict[int, int] = {}
    for count in (1, 2, 3):
        for terms in product(powers, repeat=count):
            shortest.setdefault(sum(terms), count)
    for value in range(1, 129):
        if value in shortest:
            assert signed_digits(value) == shortest[value], value
        else:
            assert signed_digits(value) > 3


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_allowed_scales_have_few_digits_and_are_exact(terms):
    values = allowed(terms)
    assert (values[1:] > values[:-1]).all()
    for value in values:
        m, n = as_fixed_point(float(value))
        assert m / 2**n == value
        assert 1 <= signed_digits(m) <= terms


def test_more_terms_allow_more():
    one, two, three = (set(allowed(t).tolist()) for t in (1, 2, 3))
    assert one < two < three
    assert {1.5, 0.75, 1.25}.isdisjoint(one)
    assert {1.5, 0.75, 1.25} <= two


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dense_output", "9"),
        ("granularity", "row"),
        ("multiplier_terms", 0),
        ("multiplier_terms", True),
        ("activation", "relu"),
        ("entries", 1),
        ("entries", 65),
        ("entries", 8.0),
        ("lanes_x", 0),
        ("lanes_h", -3),
        ("lanes_h", 65),
        ("lanes_x", "two"),
    ],
)
def test_impossible_knob_is_refused(name, value):
    with pytest.raises(InputError, match=f"^{name}: ") as caught:
        Knobs(**{name: value})
    assert "\n" not in str(caught.value)


def test_suffix_names_what_differs_from_the_defaults():
    assert Knobs().suffix == ""
    assert Knobs(lanes_h=4, multiplier_terms=None).suffix == "-terms-free-lanes-1x4"
