"""Which epoch a training ends with, and who teaches the genomes of a batch."""

from functools import cache

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.qat.any_precision import AnyTrainer, AnyTuning  # noqa: E402
from genogate.model.qat.recipe import Tuning  # noqa: E402
from genogate.model.qat.tune import GenomeTrainer  # noqa: E402

KNOBS, SEED = Knobs(activation="table"), 3


@cache
def material():
    return load_task("digits-row", 0), zoo.load("digits-row")


def worse_and_worse(monkeypatch, kind):
    monkeypatch.setattr(kind, "judge", lambda self: (1 - self.epoch / 10, float(self.epoch)))


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_a_training_for_a_genome_keeps_what_its_recipe_says(monkeypatch, keep, epoch):
    worse_and_worse(monkeypatch, GenomeTrainer)
    recipe = Tuning(epochs=3, seed=SEED, keep=keep)
    trainer = GenomeTrainer(*material(), recipe, Genome.uniform(4), KNOBS)
    trainer.run(None, None)
    assert trainer.best_epoch == epoch
    same = [np.array_equal(trainer.kept[n], v) for n, v in trainer.tensors().items()]
    assert all(same) == (keep == "last")


def test_training_for_all_genomes_keeps_the_last_epoch_whatever_its_pool_was_like(monkeypatch):
    worse_and_worse(monkeypatch, AnyTrainer)
    trainer = AnyTrainer(*material(), AnyTuning(epochs=2, pool=3, seed=SEED), KNOBS)
    trainer.run(None, None)
    assert trainer.best_epoch == 2


def test_in_a_sandwich_int8_is_in_every_batch_and_teaches_the_others():
    recipe = AnyTuning(epochs=1, pool=4, together=2, sandwich=True, seed=SEED)
    task, checkpoint = material()
    trainer = AnyTrainer(task, checkpoint, recipe, KNOBS)
    trainer.draw_pool(trainer.tensors(), 0)
    first, other = trainer.structures(np.random.default_rng(SEED))
    assert first.model.genome == Genome.uniform(8)
    assert other in trainer.pool
    x, y = task.x_train[:16], torch.from_numpy(task.y_train[:16])
    float_answers = trainer.teacher(x)
    trainer.loss(first, x, y, float_answers)
    taught = trainer.loss(other, x, y, float_answers)
    logits = trainer.network.real_logits(other, trainer.latents, other.input_codes(x))
    assert torch.equal(taught, trainer.loss_of(logits, y, trainer.inner))
    assert not torch.equal(taught, trainer.loss_of(logits, y, float_answers))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Tuning, {"keep": "first"}, "keep: 'first' is not best or last"),
        (Tuning, {"keep": "last", "patience": 3}, "patience: it keeps the best epoch"),
        (AnyTuning, {"sandwich": True, "together": 1}, "sandwich: at least 2 genomes"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(kind, given, message):
    with pytest.raises(InputError, match=message):
        kind(**given)
