"""One set of weights for every genome."""

from functools import cache

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.sim import golden

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.qat.any_precision import AnyTuning, random_genome, tune_any  # noqa: E402

SEED, KNOBS = 7, Knobs(activation="table")


@cache
def material():
    return load_task("digits-row", 0), zoo.load("digits-row")


@cache
def trained():
    task, checkpoint = material()
    return tune_any(task, checkpoint, KNOBS, AnyTuning(epochs=3, pool=6, seed=SEED))


def test_random_genomes_are_of_every_kind():
    draw = np.random.default_rng(SEED)
    genomes = [random_genome(draw, 2) for _ in range(200)]
    assert {bits for genome in genomes for bits in genome.genes} == set(range(2, 9))
    alike = sum(len(set(genome.genes)) == 1 for genome in genomes)
    assert 25 < alike < 90
    spreads = [max(genome.genes) - min(genome.genes) for genome in genomes]
    assert {0, 6} <= set(spreads)


def test_quantisation_of_any_genome_gains(tmp_path):
    """Mean validation accuracy over genomes that training never saw, without any of their own."""
    task, checkpoint = material()
    trained().save(tmp_path / "any.safetensors")
    sources = [checkpoint, Checkpoint.load(tmp_path / "any.safetensors")]
    calibrations = [calibrate(source, task.x_calibration) for source in sources]
    draw = np.random.default_rng(SEED + 1)
    scores = []
    for _ in range(12):
        genome = random_genome(draw, 1)
        models = [quantize(calibration, genome, KNOBS) for calibration in calibrations]
        scores.append(
            [
                float((golden.run(m, m.quantize_input(task.x_val)).classes == task.y_val).mean())
                for m in models
            ]
        )
    before, after = np.mean(scores, 0)
    assert after > before + 0.02, (before, after, SEED)


def test_training_in_pieces_gives_the_same_bytes(tmp_path):
    """Also where it stops between two calibrations."""
    task, checkpoint = material()

    class Stop(Exception):
        pass

    def stop(done, *_):
        if done == 1:
            raise Stop

    given, state = (task, checkpoint, KNOBS, AnyTuning(epochs=3, pool=6, seed=SEED)), tmp_path / "s"
    with pytest.raises(Stop):
        tune_any(*given, progress=stop, state=state)
    tune_any(*given, state=state).save(tmp_path / "parts")
    trained().save(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pool": 0}, "^pool: 0 is not within"),
        ({"together": 65}, "^together: 65 is not within"),
        ({"refresh": 0}, "^refresh: 0 is not within"),
        ({"patience": 3}, "^patience: "),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        AnyTuning(**given)


def test_over_many_steps_genomes_at_chance_are_drawn_again(monkeypatch):
    """What is trained has a share of INT8's accuracy before; in short sequences anything is."""
    from genogate.model.qat import any_precision as anyprecision

    task, checkpoint = material()
    x, y = task.x_train[: anyprecision.JUDGED_BY], task.y_train[: anyprecision.JUDGED_BY]

    def worst():
        trainer = anyprecision.AnyTrainer(task, checkpoint, AnyTuning(pool=16, seed=SEED), KNOBS)
        trainer.draw_pool(trainer.tensors(), 0)
        assert len(trainer.pool) == 16
        return min(
            (trainer.network.answers(structure, trainer.latents, x) == y).mean()
            for structure in trainer.pool
        )

    least = 0.98 * anyprecision.HOPE
    assert worst() < least, "the test needs a genome that is to be drawn again"
    monkeypatch.setattr(anyprecision, "LONG", 4)
    assert worst() >= least
