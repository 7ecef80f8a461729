"""Sections about the evolution of proxies and about prescreened searches, from made-up figures."""

import pytest

from studies import proxy_evolution as study_evolution
from studies import proxy_prescreen as study_prescreen


def run(variant, seed, fitness, held):
    return {
        "variant": variant,
        "seed": seed,
        "fitness": [None, fitness],
        "validity": 0.3,
        "counts": {"drawn": 30},
        "held": {"kws10": {"all": held, "equal-sum": None}},
    }


def test_the_page_says_who_wins_and_who_is_not_beaten():
    data = {
        "size": {"searched": ["digits-row"], "seeds": 2, "evaluations": 10},
        "at": [5, 10],
        "runs": [
            run("evolution", 0, 0.7, 0.6),
            run("evolution", 1, 0.5, 0.8),
            run("random search", 0, 0.6, 0.5),
            run("random search", 1, 0.6, 0.5),
        ],
        "baselines": {
            "kws10": {"bit-sum": {"all": 0.9}, "hawq-v2": {"all": 0.65}, "mse": {"all": 0.2}}
        },
        "speed": {"candidate": 0.01, "passes": 5.0, "configurations": 9},
    }
    lines = study_evolution.render(data)
    text = "\n".join(lines)
    assert "evolution beats random search in 1 of 2 seeds (0.600 and 0.600)" in text
    assert (
        "| kws10 (new) | 0.70 ± 0.14 | 0.50 ± 0.00 | 0.90 | 0.65 | 0.20 | 0.90 (bit-sum) |" in text
    )
    assert "no variant's mean beats: bit-sum on kws10." in text
    assert "500 times as long" in text


def test_evaluations_needed_are_those_until_the_plain_search_is_reached():
    plain = {"evaluations": [50, 100], "seconds": [5.0, 10.0], "hypervolume": [0.2, 0.4]}
    fast = {"evaluations": [10, 20, 30], "seconds": [2.0, 3.0, 4.0], "hypervolume": [0.3, 0.4, 0.5]}
    slow = {**fast, "hypervolume": [0.1, 0.2, 0.3]}
    assert study_prescreen.reached(fast, 0.4) == 1
    assert study_prescreen.reached(slow, 0.4) is None
    rows = [("plain", 0, plain), ("plain", 1, plain), ("p", 0, fast), ("p", 1, slow)]
    data = {
        "size": {
            "seeds": 2,
            "pop_size": 4,
            "plain": [1, 1],
            "factor": 5,
            "blind": 3,
            "checkpoints": ["digits-row"],
        },
        "runs": [{"checkpoint": "digits-row", "method": m, "seed": s, **r} for m, s, r in rows],
        "proxies": {"p": "mse"},
    }
    row = next(line for line in study_prescreen.render(data) if line.startswith("| p |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[4].startswith("0.3000")
    assert cells[5:] == ["1 of 2", "20 (20 %)", "3.0"]


@pytest.mark.parametrize("module", [study_evolution, study_prescreen])
def test_studies_have_a_quick_version(module):
    assert module.QUICK.seeds < module.FULL.seeds
