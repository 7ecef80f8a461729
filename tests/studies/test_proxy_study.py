"""The study of proxies, on a network whose accuracy is a known sum over items."""

import json

import numpy as np
import pytest
from genogate.search.proxies import handcrafted, tables
from genogate.search.proxies.statistics import KINDS, MORE, OWN, Statistics
from genogate.search.proxies.tables import Table

from studies import proxies as study

SEED = 11
ITEMS, WIDTHS = 6, (2, 4, 8)


def toy():
    draw = np.random.default_rng(SEED)
    weights = tuple(draw.normal(0, 1 + k, (3, 4)) for k in range(ITEMS))
    errors = tuple(
        {bits: draw.normal(0, 2.0**-bits * (1 + k), (3, 4)) for bits in WIDTHS}
        for k in range(ITEMS)
    )
    twelve, one, slack = np.full(ITEMS, 12), np.ones(ITEMS), 4.0 ** -np.arange(ITEMS)
    network = Statistics(
        tuple("abcdef"),
        WIDTHS,
        dict.fromkeys((*KINDS, *MORE), weights),
        errors,
        twelve,
        twelve,
        twelve,
        twelve,
        {
            "eigenvalue": slack,
            "trace": slack,
            "fisher": one,
            "stages": np.zeros(ITEMS, int),
            "similarity": np.eye(ITEMS),
            "operands": np.full((ITEMS, 2), OWN),
        },
        {"batch": 2},
    )
    genomes = np.unique(draw.choice(WIDTHS, (200, ITEMS)).astype(np.uint8), axis=0)[:120]
    kinds = np.arange(len(genomes), dtype=np.uint8) % 4
    # What is lost is the squared error, so that one proxy is right and none is better.
    accuracy = 1 + 0.001 * handcrafted.scores("mse", network, genomes)
    trained = np.where(np.arange(len(genomes)) < 40, accuracy, np.nan)
    table = Table(
        "toy",
        network.names,
        genomes,
        kinds,
        accuracy,
        genomes.sum(1) * 12,
        trained,
        np.stack([accuracy[:80], accuracy[:80][::-1]]),
        {"judged_on": 7, "task": "toy", "checkpoint_hash": "0"},
    )
    return network, table


@pytest.fixture
def measured(monkeypatch):
    network, table = toy()
    monkeypatch.setattr(tables, "load", lambda name: table)
    monkeypatch.setattr(study, "statistics_of", lambda name, say: network)
    monkeypatch.setattr(study, "output_kl", lambda name, rows: np.arange(len(rows)) * 1.0)
    monkeypatch.setattr(study.use, "found", lambda: {"mine": "negate(mean(square(error)))"})
    # As it comes back from its file.
    return json.loads(json.dumps(study.measure(names=("toy",)), allow_nan=False))


def test_every_proxy_is_judged_on_every_subset(measured):
    rows = {row["proxy"]: row["reports"] for row in measured["rows"]}
    assert set(rows) == {*handcrafted.NAMES, study.CEILING, "mine"}
    assert rows["mse"]["all"]["spearman"] == 1
    assert rows["mse"]["equal-sum"]["regret"] == 0
    assert rows["mine"]["equal-size"]["spearman"] == 1
    assert rows["bnorm"]["all"]["spearman"] < 1
    assert rows["mse"]["trained"]["spearman"] == 1


def test_the_ceiling_is_the_mean_over_repetitions(measured):
    # One repetition is the table itself, the other the same in reverse.
    _, table = toy()
    rows = table.subset("all")
    rows = rows[rows < 80]
    backward = study.spearman(table.accuracy[:80][::-1][rows], table.accuracy[rows])
    found = {row["proxy"]: row["reports"] for row in measured["rows"]}[study.CEILING]["all"]
    assert found["spearman"] == pytest.approx((1 + backward) / 2, abs=1e-3)


def test_the_section_has_the_best_first_and_anchors_last(measured):
    lines = study.render(measured)
    assert lines[0].startswith("## ")
    heads = [k for k, line in enumerate(lines) if line.startswith("| proxy |")]
    assert len(heads) == 3
    names = [line.split("|")[1].strip() for line in lines[heads[0] + 2 : heads[0] + 29]]
    assert {names[0], names[1]} == {"mse", "**mine**"}
    assert set(names[len(handcrafted.NAMES) :]) == {"output-kl", "noise ceiling"}
    assert any(line.startswith("40 genomes of toy were trained as well") for line in lines)
    assert any("0.79 at 100 %" in line for line in lines)
