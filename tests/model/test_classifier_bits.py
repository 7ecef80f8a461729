"""Classifiers of fewer than 8 bits, from calibration to training, files and search."""

from functools import cache

import numpy as np
import pytest
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import IntModel, code_range
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.model.quantize.trained import Trained, record
from genogate.model.zoo import load
from genogate.search.genomes.candidate import Candidate
from genogate.search.genomes.config import Config
from genogate.search.genomes.encoding import Encoding
from genogate.search.genomes.evaluate import Setting
from genogate.sim import fast, golden


@cache
def material():
    task = load_task("digits-row", 0)
    checkpoint = load("digits-row")
    return task, checkpoint, calibrate(checkpoint, task.x_calibration)


def network(bits: int, genome: Genome | None = None) -> IntModel:
    knobs = Knobs(activation="table", classifier_bits=bits)
    return quantize(material()[2], genome or Genome.uniform(6), knobs)


@pytest.mark.parametrize("bits", [2, 5])
def test_weights_have_the_width_and_both_models_take_them(bits, tmp_path):
    task, _, _ = material()
    model, codes = network(bits), network(bits).quantize_input(task.x_val)
    weight = model.classifier.weight
    low, high = code_range(bits)
    assert model.classifier.weight_bits == bits
    assert low <= weight.min() < weight.max() <= high
    assert network(8).size_bits - model.size_bits >= (8 - bits) * weight.size
    np.testing.assert_array_equal(fast.run(model, codes).logits, golden.run(model, codes).logits)
    model.save(tmp_path / "model.safetensors")
    assert IntModel.load(tmp_path / "model.safetensors").hash == model.hash


def test_the_layers_do_not_change_and_the_logits_keep_their_meaning():
    task, _, _ = material()
    wide, narrow = network(8), network(5)
    codes = wide.quantize_input(task.x_val)
    results = [golden.run(model, codes) for model in (wide, narrow)]
    np.testing.assert_array_equal(results[0].hidden, results[1].hidden)
    real = [r.logits * m.info["logit_scale"] for r, m in zip(results, (wide, narrow), strict=True)]
    size = np.abs(real[0]).mean()
    assert np.abs(real[1] - real[0]).mean() < 0.1 * size
    assert (results[0].classes == results[1].classes).mean() > 0.97


def test_eight_bits_are_in_no_hash_and_older_records_mean_eight():
    assert "classifier_bits" not in Knobs().identity
    assert Knobs(classifier_bits=4).identity == Knobs().identity | {"classifier_bits": 4}
    assert Knobs(classifier_bits=4).suffix == "-classifier-4"
    _, checkpoint, _ = material()
    model, knobs = network(8), Knobs(activation="table")
    document = record(model, knobs, 1.0, False)
    del document["knobs"]["classifier_bits"]
    trained = Trained(checkpoint.tensors, document)
    assert trained.fits(model.genome, knobs)
    assert not trained.fits(model.genome, Knobs(activation="table", classifier_bits=4))


@pytest.mark.parametrize("bits", [1, 9, True, 4.0])
def test_other_widths_are_refused(bits):
    with pytest.raises(InputError, match=r"^classifier_bits: .* is not an integer from 2 to 8$"):
        Knobs(classifier_bits=bits)


def test_it_may_be_a_gene_and_goes_into_the_genome_file(tmp_path):
    knobs = Knobs(activation="table")
    encoding = Encoding(
        Setting("digits-row", knobs, False), Config(knob_genes=("classifier_bits",)), 1
    )
    candidate = Candidate(Genome.uniform(3), (("classifier_bits", 2),))
    row = encoding.encode(candidate)
    assert encoding.space.high[-1] == 6
    assert encoding.decode(row) == candidate
    assert candidate.setting(encoding.setting).knobs.classifier_bits == 2


def test_training_with_a_narrow_classifier_gives_the_integer_network():
    pytest.importorskip("torch")
    from genogate.model.qat.recipe import Tuning
    from genogate.model.qat.tune import tune

    task, checkpoint, calibration = material()
    knobs, genome = Knobs(activation="table", classifier_bits=2), Genome.uniform(4)
    before = quantize(calibration, genome, knobs)
    tuned = tune(task, checkpoint, genome, knobs, Tuning(epochs=2, seed=1))
    again = quantize(calibrate(tuned.checkpoint, task.x_calibration), genome, knobs)
    assert again.classifier.weight_bits == 2
    assert again.hash == tuned.model.hash
    codes = again.quantize_input(task.x_val)
    right = [(fast.run(m, codes).classes == task.y_val).mean() for m in (before, again)]
    assert right[1] > right[0]
