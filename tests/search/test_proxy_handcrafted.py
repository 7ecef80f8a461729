"""Handcrafted proxies on a network of two items that anyone can compute."""

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.search.proxies import handcrafted
from genogate.search.proxies.divergence import kl
from genogate.search.proxies.networks import output_kl
from genogate.search.proxies.statistics import FIXED, OWN, Statistics

#: Item 0 has four weights, item 1 two outputs in a batch of two samples; widths 2 and 4.
WEIGHT = (np.array([[1.0, -2.0], [0.0, 4.0]]), np.array([[3.0, -1.0]]))
GRADIENT = (np.array([[0.5, 0.5], [1.0, -0.25]]), np.array([[2.0, -1.0]]))
VIRTUAL = (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5, 2.0]]))
SQUARED = (np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[4.0, 1.0]]))
HESSIAN = (np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 3.0]]))
ERROR = (
    {2: np.array([[1.0, 0.0], [0.0, -2.0]]), 4: np.array([[0.0, 0.5], [0.0, 0.0]])},
    {2: np.array([[1.0, 1.0]]), 4: np.array([[0.0, 0.5]])},
)
STATISTICS = Statistics(
    names=("w", "s"),
    widths=(2, 4),
    tensors={
        "weight": WEIGHT,
        "activation": WEIGHT,
        "gradient": GRADIENT,
        "virtual_gradient": VIRTUAL,
        "hessian": HESSIAN,
        "squared_gradient": SQUARED,
    },
    errors=ERROR,
    elements=np.array([4, 1]),
    counts=np.array([4, 2]),
    macs=np.array([40, 3]),
    parameters=np.array([4, 0]),
    vectors={
        "eigenvalue": np.array([5.0, 2.0]),
        "trace": np.array([8.0, 3.0]),
        "fisher": np.array([0.5, 0.25]),
        "stages": np.array([0, 1]),
        "similarity": np.array([[1.0, 0.5], [0.5, 1.0]]),
        "operands": np.array([[OWN, FIXED], [0, 1]]),
    },
    about={"batch": 2},
)
#: Scores by hand of the genomes (2, 2), (4, 2), (2, 4).
GENOMES = np.array([[2, 2], [4, 2], [2, 4]], np.uint8)
MIB = 8 * 2**20
NORM0, NORM1 = 21**0.5, 5**0.5
EXPECTED = {
    "bit-sum": [4, 6, 6],
    "bparams": [8 / MIB, 16 / MIB, 8 / MIB],
    # 40 b0 8 + 3 b0 b1.
    "bops": [652e-9, 1304e-9, 664e-9],
    "hawq-v1-emq": [10 + 4, 20 + 4, 10 + 8],
    "hawq-v1": [-5 * 5 - 2 * 2, -5 * 0.25 - 2 * 2, -5 * 5 - 2 * 0.25],
    "hawq-v2-emq": [16 + 6, 32 + 6, 16 + 12],
    # Mean trace times squared norm: 8 / 4 times 5, 3 / 2 times 2.
    "hawq-v2": [-2 * 5 - 1.5 * 2, -2 * 0.25 - 1.5 * 2, -2 * 5 - 1.5 * 0.25],
    "orm": [2 * np.exp(-0.5), 3 * np.exp(-0.5), 3 * np.exp(-0.5)],
    # |G W| sums to 0.5 + 1 + 0 + 1 and 6 + 1.
    "bsnip": [2 * 2.5 + 2 * 7, 4 * 2.5 + 2 * 7, 2 * 2.5 + 4 * 7],
    # Q at 2 bits: 2 -2 0 2 and 4 0; at 4: 1 -1.5 0 4 and 3 -0.5.
    "snip-quantised": [2.5 + 8, 2.25 + 8, 2.5 + 6.5],
    "bsynflow": [2 * 21 + 2 * 3.5, 4 * 21 + 2 * 3.5, 2 * 21 + 4 * 3.5],
    "synflow-quantised": [14 + 2, 20 + 2, 14 + 2.5],
    # G W sums to 0.5 - 1 + 0 - 1 and 6 + 1.
    "bplain": [-3 + 14, -6 + 14, -3 + 28],
    "bgradnorm": [
        2 * 1.5625**0.5 + 2 * NORM1,
        4 * 1.5625**0.5 + 2 * NORM1,
        2 * 1.5625**0.5 + 4 * NORM1,
    ],
    "bfisher": [1 + 0.5, 2 + 0.5, 1 + 1],
    # Outputs count as those of one step: of two samples the mean of the squares, 5.
    "bnorm": [2 * NORM0 + 2 * NORM1, 4 * NORM0 + 2 * NORM1, 2 * NORM0 + 4 * NORM1],
    "norm-quantised": [12**0.5 + 8**0.5, 19.25**0.5 + 8**0.5, 12**0.5 + 4.625**0.5],
    "mse": [-5 - 1, -0.25 - 1, -5 - 0.125],
    "sqnr": [
        10 * np.log10(21 / 5 * 5 / 1),
        10 * np.log10(21 / 0.25 * 5),
        10 * np.log10(21 / 5 * 5 / 0.125),
    ],
    # E[G^2] D^2 sums to 1 + 0 + 0 + 4 (at 4 bits 0.5), and to (4 + 1) / 2 (at 4 bits 0.25 / 2).
    "fisher-error": [-5 - 2.5, -0.5 - 2.5, -5 - 0.125],
    # G D sums to 0.5 + 0.5 (at 4 bits 0.25), and to 2 - 1 (at 4 bits -0.5).
    "first-order": [-1 - 1, -0.25 - 1, -1 - 0.5],
    "second-order": [-(6 + 4) / 2, -(0 + 4) / 2, -(6 + 0.75) / 2],
    # Ranges 6 and 4.
    "noise": [
        -(8 * 36 + 3 * 16) / 16 / 12,
        -(8 * 36 / 256 + 3 * 16 / 16) / 12,
        -(8 * 36 / 16 + 3 * 16 / 256) / 12,
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_scores_are_those_by_hand(name):
    found = handcrafted.scores(name, STATISTICS, GENOMES)
    assert found.dtype == np.float64
    assert found == pytest.approx(np.array(EXPECTED[name], float), rel=1e-9)


def test_every_proxy_is_held_to_a_hand_computed_case():
    assert {*EXPECTED, "qe-score", "output-kl"} == set(handcrafted.NAMES)


def test_the_deviations_of_the_qe_score_are_the_published_ones():
    assert [round(handcrafted.deviation(bits), 4) for bits in (2, 3, 4)] == [1.0089, 1.0408, 1.0408]


def test_the_qe_score_adds_up_stages_by_weight():
    # Two stages have the weights 1 and 6; the first layer is part of both sums.
    two, four, eight = (np.log(handcrafted.deviation(bits)) for bits in (2, 4, 8))
    found = handcrafted.scores("qe-score", STATISTICS, GENOMES)
    expected = [
        7 * (a + eight) + 6 * (b + eight) for a, b in ((two, two), (four, two), (two, four))
    ]
    assert found == pytest.approx(np.array(expected))


def test_without_error_there_is_no_ranking_but_no_fault():
    still = Statistics(
        **{
            **vars(STATISTICS),
            "errors": tuple(
                {bits: 0 * error for bits, error in errors.items()} for errors in ERROR
            ),
        }
    )
    for name in handcrafted.TABLES:
        assert np.isfinite(handcrafted.scores(name, still, GENOMES)).all()


@pytest.mark.parametrize(
    ("genomes", "message"),
    [
        ([[2, 3]], "a width that is none of"),
        ([[2, 9]], "a width"),
        ([[2, 2, 2]], "is needed"),
        ([2, 2], "is needed"),
    ],
)
def test_genomes_of_another_network_are_refused(genomes, message):
    for name in ("bit-sum", "bops"):
        with pytest.raises(InputError, match=message):
            handcrafted.scores(name, STATISTICS, np.array(genomes))


def test_an_unknown_proxy_is_refused():
    with pytest.raises(InputError, match=r"proxy 'hawk'.* bit-sum, bparams"):
        handcrafted.scores("hawk", STATISTICS, GENOMES)


def test_divergence_of_answers():
    a, b = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.9, 0.1]])
    by_hand = (0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)) / 2
    assert kl(a, b + 7) == pytest.approx(by_hand)
    assert kl(a, a) == 0


def test_outputs_of_wider_networks_differ_less():
    found = output_kl("digits-row", np.array([[8] * 17, [5] * 17, [3] * 17, [2] * 17]))
    assert found[0] <= 0
    assert (np.diff(found) < 0).all()
    assert -found[0] < 0.05
