"""Input codes of fewer than 8 bits, from calibration to training and files."""

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
from genogate.sim import fast, golden


@cache
def material():
    task = load_task("digits-row", 0)
    checkpoint = load("digits-row")
    return task, checkpoint, calibrate(checkpoint, task.x_calibration)


def network(bits: int, genome: Genome | None = None) -> IntModel:
    knobs = Knobs(activation="table", input_bits=bits)
    return quantize(material()[2], genome or Genome.uniform(6), knobs)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_codes_have_the_width_and_both_models_take_them(bits, tmp_path):
    task, _, _ = material()
    model = network(bits)
    codes = model.quantize_input(task.x_val)
    assert model.in_bits == bits == model.layers[0].in_bits
    low, high = code_range(bits)
    # Pixels have 17 values: what more bits there are need not be used.
    assert low <= codes.min() < codes.max() <= high
    assert len(np.unique(codes)) == min(1 << bits, 17)
    result = golden.run(model, codes)
    np.testing.assert_array_equal(fast.run(model, codes).hidden, result.hidden)
    np.testing.assert_array_equal(fast.run(model, codes).logits, result.logits)
    with pytest.raises(InputError, match=f"{code_range(bits)[1]} is allowed"):
        golden.run(model, codes + 1)
    model.save(tmp_path / "model.safetensors")
    assert IntModel.load(tmp_path / "model.safetensors").hash == model.hash


def test_codes_are_those_of_least_squared_error():
    """No scale and zero point of a fine grid does much better, and fewer bits do worse."""
    task, _, _ = material()
    x = np.asarray(task.x_calibration, float).ravel()

    def error(bits, scale, zero):
        codes = np.clip(np.floor(x / scale + 0.5) + zero, *code_range(bits))
        return float((((codes - zero) * scale - x) ** 2).mean())

    found = {}
    for bits in (1, 2, 3, 4, 8):
        model = network(bits)
        found[bits] = error(bits, model.input_scale, model.input_zero_point)
        low, high = code_range(bits)
        best = (
            min(
                error(bits, scale, zero)
                for zero in range(low, high + 1)
                for scale in np.geomspace(0.02, 2, 120)
            )
            if bits < 8
            else np.inf
        )
        assert found[bits] <= 1.1 * best, bits
    assert found[1] > found[2] > found[3] > found[4] > found[8]


def test_accuracy_falls_gently():
    task, _, _ = material()
    x, y = np.concatenate([task.x_val, task.x_test]), np.concatenate([task.y_val, task.y_test])
    share = {}
    for bits in (8, 4, 3, 2):
        model = network(bits)
        share[bits] = float((fast.run(model, model.quantize_input(x)).classes == y).mean())
    assert share[4] > share[8] - 0.02
    assert share[2] > share[8] - 0.08


def test_eight_bits_are_in_no_hash():
    """What was measured and trained before there was a choice still counts."""
    assert "input_bits" not in Knobs().identity
    assert Knobs(input_bits=4).identity == Knobs().identity | {"input_bits": 4}
    assert Knobs(input_bits=4).changes == {"input_bits": 4}
    assert Knobs(input_bits=4).suffix == "-input-4"
    _, checkpoint, _ = material()
    model = network(8)
    document = record(model, Knobs(activation="table"), 1.0, False)
    del document["knobs"]["input_bits"]
    trained = Trained(checkpoint.tensors, document)
    assert trained.fits(model.genome, Knobs(activation="table"))
    assert not trained.fits(model.genome, Knobs(activation="table", input_bits=4))


@pytest.mark.parametrize("bits", [0, 9, True, 2.0])
def test_other_widths_are_refused(bits):
    with pytest.raises(InputError, match=r"^input_bits: .* is not an integer from 1 to 8$"):
        Knobs(input_bits=bits)


def test_training_with_narrow_inputs_gives_the_integer_network():
    """What is trained on codes of 2 bits is, from its checkpoint, the same network bit for bit."""
    pytest.importorskip("torch")
    from genogate.model.qat.recipe import Tuning
    from genogate.model.qat.tune import tune

    task, checkpoint, _ = material()
    knobs, genome = Knobs(activation="table", input_bits=2), Genome.uniform(4)
    tuned = tune(task, checkpoint, genome, knobs, Tuning(epochs=2, seed=1))
    again = quantize(calibrate(tuned.checkpoint, task.x_calibration), genome, knobs)
    assert again.in_bits == 2
    assert again.hash == tuned.model.hash
    # Another width is quantised as that of any checkpoint.
    other = quantize(
        calibrate(tuned.checkpoint, task.x_calibration),
        genome,
        Knobs(activation="table", input_bits=3),
    )
    assert other.in_bits == 3
    before = network(2, genome)
    codes = tuned.model.quantize_input(task.x_val)
    right = [(fast.run(m, codes).classes == task.y_val).mean() for m in (before, again)]
    assert right[1] >= right[0] - 0.02
