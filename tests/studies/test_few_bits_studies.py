"""Studies of training at few bits: roundings by chance, and widths by gradient."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch
from genogate.model import zoo
from genogate.model.data.tasks import load_task
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.teacher import Teacher
from genogate.search.ladder.price import price_of

from studies import few_bits, pressure


@pytest.mark.parametrize("kind", [few_bits.ByChance, few_bits.WithNoise])
def test_weights_are_loose_for_half_of_the_epochs_and_right_on_average(kind):
    task, source = load_task("digits-row"), zoo.load("digits-row")
    recipe = Tuning(epochs=2, seed=3, keep="last")
    trainer = kind(task, source, recipe, Genome.uniform(4), Knobs(activation="table"))
    real, low, high = torch.full((20_000,), 1.3).double(), torch.tensor(-2.0), torch.tensor(1.5)
    trainer.before_epoch()
    loose = trainer.network.codes(real, low, high)
    assert float(loose.max()) <= 1.5
    inner = trainer.network.codes(real, low, torch.tensor(7.0))
    assert float(inner.mean()) == pytest.approx(1.3, abs=0.02)
    assert len(np.unique(inner)) > 1
    trainer.epoch = 1
    trainer.before_epoch()
    assert np.unique(trainer.network.codes(real, low, torch.tensor(7.0))) == [1.0]


def test_gradients_pass_rounding_by_chance_as_they_pass_rounding():
    task, source = load_task("digits-row"), zoo.load("digits-row")
    recipe = Tuning(epochs=2, seed=3, keep="last")
    trainer = few_bits.ByChance(task, source, recipe, Genome.uniform(4), Knobs(activation="table"))
    trainer.before_epoch()
    real = torch.tensor([0.2, 9.0], requires_grad=True)
    trainer.network.codes(real, torch.tensor(-8.0), torch.tensor(7.0)).sum().backward()
    assert real.grad.tolist() == [1.0, 0.0]


def test_without_noise_the_network_is_the_float_one():
    task, checkpoint = load_task("digits-row"), zoo.load("digits-row")
    noisy = pressure.Noisy(torch, checkpoint, 0)
    with torch.no_grad():
        found = noisy.logits(torch.from_numpy(task.x_val[:20])).numpy()
    expected = Teacher(torch, checkpoint)(task.x_val[:20]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert min(noisy.seen) > 0


def test_more_pressure_leaves_less_area():
    task = load_task("digits-row")
    areas = []
    for weight in (0.0, 30.0):
        genes = pressure.widths(task, "digits-row", weight, 2, 0)
        assert len(genes) == 17
        genome = Genome.from_genes(genes)
        areas.append(price_of(("digits-row", genome, pressure.KNOBS))["um2"])
    assert areas[1] < 0.9 * areas[0]


def test_networks_are_held_against_homogeneous_ones_of_their_area():
    rows = [
        {"kind": "homogeneous", "seed": s, "um2": um2, "test": accuracy}
        for s, um2, accuracy in ((0, 100.0, 0.8), (0, 200.0, 0.9), (1, 150.0, 0.1))
    ]
    one = {"kind": "by gradient", "seed": 0, "um2": 150.0}
    assert pressure.beside(rows, one, "test") == pytest.approx(0.85)
    assert pressure.beside(rows, {**one, "um2": 90.0}, "test") is None
