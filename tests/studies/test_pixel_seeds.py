"""mnist-pixel on three seeds: its float networks, and what the page says of them."""

import pytest

from studies import baselines, pixel_seeds


def test_the_float_networks_of_every_seed_are_shipped():
    from genogate.model import zoo

    for seed in pixel_seeds.SEEDS:
        for units, _ in pixel_seeds.NETWORKS.values():
            network = zoo.load(baselines.shipped(pixel_seeds.TASK, seed, units))
            assert network.hidden_size() == units
            assert (network.info["task"], network.info["split_seed"]) == ("mnist-pixel", seed)


def test_points_are_lost_against_int8_of_the_same_seed():
    names = list(pixel_seeds.NETWORKS)
    rows = [
        {"name": name, "seed": seed, "judged": judged, "test": judged - 0.01, "size": size}
        for name, size, values in ((names[0], 100, (0.95, 0.97)), (names[2], 20, (0.94, 0.98)))
        for seed, judged in enumerate(values)
    ]
    text = "\n".join(pixel_seeds.render({"rows": rows, "missing": 3}))
    assert "Not measured: 3 networks." in text
    assert f"| {names[2]} | 2 | 20 | 80.0 % | 96.00 | +0.00 ± 1.00 | 93.00, 97.00 |" in text
    assert names[1] not in text


@pytest.mark.parametrize("name", list(pixel_seeds.NETWORKS))
def test_the_networks_are_those_of_the_experiment(name):
    from genogate.search.experiment.plan import plan_for

    plan = plan_for(pixel_seeds.TASK, "full", {})
    units, _ = pixel_seeds.NETWORKS[name]
    assert units in (64, *plan.hidden)
