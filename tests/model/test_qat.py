"""Quantisation-aware training: what is trained is the integer model, bit for bit."""

import json
from functools import cache

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.knobs import Knobs
from genogate.model.quantize.calibrate import calibrate
from genogate.model.quantize.quantize import quantize
from genogate.model.quantize.scales import signed_digits
from genogate.model.quantize.trained import RECORD, Trained, without_record
from genogate.sim import golden

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model.qat import trainer  # noqa: E402
from genogate.model.qat import tune as qat  # noqa: E402
from genogate.model.qat.export import export  # noqa: E402
from genogate.model.qat.network import Network  # noqa: E402
from genogate.model.qat.recipe import Tuning  # noqa: E402
from genogate.model.qat.starting import starting_model  # noqa: E402
from genogate.model.qat.structure import Structure  # noqa: E402

SEED = 20261


@cache
def material(name):
    task, checkpoint = load_task("digits-row", 0), zoo.load(name)
    return task, checkpoint, calibrate(checkpoint, task.x_calibration)


CASES = [
    ("digits-row", {}),
    ("digits-row", {"multiplier_terms": 2, "granularity": "channel", "activation": "pwl"}),
    ("digits-row", {"multiplier_terms": 3, "dense_output": "gene", "activation": "table"}),
    ("digits-row", {"multiplier_terms": None, "dense_output": "gene", "activation": "table"}),
    ("digits-row", {"granularity": "channel", "dense_output": "gene", "activation": "table"}),
    ("digits-row-2layer", {"activation": "table"}),
    ("digits-row-2layer", {"multiplier_terms": 2, "activation": "pwl", "entries": 4}),
]


class Watched(Network):
    """Keeps what the layers compute."""

    def __init__(self, torch):
        super().__init__(torch)
        self.seen = []

    def layer(self, *given):
        states, codes, passed = super().layer(*given)
        self.seen.append(codes.copy())
        return states, codes, passed


@pytest.mark.parametrize("case", range(len(CASES)))
def test_training_computes_every_code_that_golden_computes(case):
    """Codes of all 17 operators of every layer and step on real sequences, with weights that are
    neither those of quantisation nor of the float network, and the logits."""
    name, given = CASES[case]
    task, checkpoint, calibration = material(name)
    rng = np.random.default_rng([SEED, case])
    knobs, layers = Knobs(**given), checkpoint.layers
    genomes = [Genome.from_genes(rng.integers(2, 9, 17 * layers)), Genome.uniform(2, layers)]
    for genome in genomes:
        model, scale = starting_model(calibration, genome, knobs, narrow=case % 2 == 0)
        structure = Structure(torch, model, scale, case % 2 == 0)
        latents = {
            key: torch.from_numpy(value + rng.normal(0, 0.05, value.shape).astype(np.float32))
            for key, value in checkpoint.tensors.items()
        }
        for key, value in structure.unit_values.items():
            moved = value.numpy() + rng.normal(0, 0.1, value.shape).astype(np.float32)
            latents[key] = torch.from_numpy(moved)
        network = Watched(torch)
        values = {key: value.numpy() for key, value in latents.items()}
        trained = export(network, structure, values)
        x = task.x_val[rng.choice(len(task.x_val), 40, replace=False)]
        expected = golden.run(trained, trained.quantize_input(x), trace=True)
        where = f"seed {[SEED, case]}, genome {genome}"

        logits = network.logits(structure, latents, structure.input_codes(x))
        for layer, codes in enumerate(network.seen):
            for k, operator in enumerate(GENES):
                np.testing.assert_array_equal(
                    codes[:, k].transpose(2, 0, 1),
                    expected.trace[layer, operator],
                    err_msg=f"{where}, layer {layer}, {operator}",
                )
        np.testing.assert_array_equal(logits.numpy(), expected.logits, err_msg=where)


def test_a_gradient_step_of_any_tensor_lowers_the_loss():
    """The straight-through gradient of each tensor points downhill, for the real network."""
    task, checkpoint, calibration = material("digits-row")
    knobs = Knobs(activation="table")
    model, scale = starting_model(calibration, Genome.uniform(8), knobs, narrow=True)
    structure, network = (
        Structure(torch, model, scale, True),
        Network(torch),
    )
    x, y = structure.input_codes(task.x_train[:256]), torch.from_numpy(task.y_train[:256])
    rng = np.random.default_rng(SEED)
    start = {
        key: value + rng.normal(0, 0.15, value.shape).astype(np.float32)
        for key, value in checkpoint.tensors.items()
    }

    def loss(latents):
        logits = network.real_logits(structure, latents, x)
        return torch.nn.functional.cross_entropy(logits, y)

    start |= {key: value.numpy() for key, value in structure.unit_values.items()}
    latents = {key: torch.nn.Parameter(torch.from_numpy(value)) for key, value in start.items()}
    before = loss(latents)
    before.backward()
    for key, value in latents.items():
        # A table's entries are squared in the state within a few steps: less far.
        length = 0.2 if key in checkpoint.tensors else 0.03
        step = length * value.grad / value.grad.norm()
        moved = {**latents, key: value.detach() - step}
        with torch.no_grad():
            gain = float(before - loss(moved))
        # What a linear loss would gain, within a factor.
        expected = float((step * value.grad).sum())
        assert 0.4 * expected < gain < 1.6 * expected, (key, gain, expected, SEED)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_learned_scales_stay_within_the_hardware_and_golden(case):
    """With scales moved far from calibration: every code of golden, every M of few terms."""
    name, given = CASES[case]
    task, checkpoint, calibration = material(name)
    rng = np.random.default_rng([SEED, case, 1])
    knobs, layers = Knobs(**given), checkpoint.layers
    for genome in (Genome.from_genes(rng.integers(2, 9, 17 * layers)), Genome.uniform(2, layers)):
        model, scale = starting_model(calibration, genome, knobs, narrow=False)
        structure, network = (
            Structure(torch, model, scale, False, True),
            Watched(torch),
        )
        where = f"seed {[SEED, case, 1]}, genome {genome}"
        if knobs.activation == "table":
            assert structure.model_of(structure.latents).hash == model.hash, where
        values = dict(checkpoint.tensors) | {
            key: value + rng.normal(0, 0.5, value.shape) for key, value in structure.latents.items()
        }
        if knobs.activation != "table":
            structure.choose_units(calibration, knobs, qat.without_synthesis, values)
        latents = {key: torch.from_numpy(value) for key, value in values.items()}
        trained = export(network, structure, values)
        x = task.x_val[rng.choice(len(task.x_val), 30, replace=False)]
        expected = golden.run(trained, trained.quantize_input(x), trace=True)
        logits = network.logits(structure, latents, structure.input_codes(x))
        for layer, codes in enumerate(network.seen):
            for k, operator in enumerate(GENES):
                np.testing.assert_array_equal(
                    codes[:, k].transpose(2, 0, 1),
                    expected.trace[layer, operator],
                    err_msg=f"{where}, layer {layer}, {operator}",
                )
        np.testing.assert_array_equal(logits.numpy(), expected.logits, err_msg=where)
        assert trained.hash != model.hash
        for layer in trained.layers:
            for op in layer.ops.values():
                found = [
                    value for key, value in op.integers().items() if key.startswith("multiplier")
                ]
                for value in found if knobs.multiplier_terms else []:
                    assert signed_digits(value) <= knobs.multiplier_terms, where


def test_a_step_along_the_gradient_of_scales_lowers_the_loss():
    """Free multipliers and 8 bits, so that scales move smoothly, and are too small."""
    task, checkpoint, calibration = material("digits-row")
    knobs = Knobs(activation="table", multiplier_terms=None)
    model, scale = starting_model(calibration, Genome.uniform(8), knobs, narrow=False)
    structure = Structure(torch, model, scale, False, True)
    network = Network(torch)
    x, y = structure.input_codes(task.x_train[:256]), torch.from_numpy(task.y_train[:256])
    rng = np.random.default_rng(SEED)
    start = structure.latents
    start["scale.0"] -= rng.uniform(0.3, 1.0, start["scale.0"].shape)
    latents = {
        name: torch.nn.Parameter(torch.from_numpy(value))
        for name, value in {**checkpoint.tensors, **start}.items()
    }

    def loss(moved):
        logits = network.real_logits(structure, {**latents, "scale.0": moved}, x)
        return torch.nn.functional.cross_entropy(logits, y)

    before = loss(latents["scale.0"])
    before.backward()
    gradient = latents["scale.0"].grad
    step = 0.2 * gradient / gradient.norm()
    with torch.no_grad():
        gain = float(before - loss(latents["scale.0"] - step))
    expected = float((step * gradient).sum())
    assert 0.4 * expected < gain < 1.6 * expected, (gain, expected, SEED)


@cache
def tuned():
    task, checkpoint, calibration = material("digits-row")
    genome = Genome.from_genes(np.random.default_rng(SEED).integers(2, 5, 17))
    # Activation units are piecewise linear at some time: chosen when scales are settled.
    recipe = Tuning(epochs=3, seed=1, scales="learned")
    return genome, qat.tune(task, checkpoint, genome, Knobs(), recipe, calibration=calibration)


def accuracy(model, x, y):
    return float((golden.run(model, model.quantize_input(x)).classes == y).mean())


def test_the_exported_model_has_the_accuracy_that_training_saw():
    task, _, calibration = material("digits-row")
    genome, result = tuned()
    assert accuracy(result.model, task.x_val, task.y_val) == result.validation
    before = accuracy(quantize(calibration, genome), task.x_val, task.y_val)
    assert result.validation > before + 0.04


def test_a_checkpoint_gives_the_trained_model_again(tmp_path):
    task, _, _ = material("digits-row")
    _, result = tuned()
    result.checkpoint.save(tmp_path / "c.safetensors")
    loaded = Checkpoint.load(tmp_path / "c.safetensors")
    calibration = calibrate(loaded, task.x_calibration)
    made = quantize(calibration, result.model.genome, Knobs(lanes_x=2))
    assert made.hash == result.model.hash
    assert made.info["knobs"]["lanes_x"] == 2
    # Any other genome is quantised as those of other checkpoints.
    plain = calibrate(without_record(loaded), task.x_calibration)
    assert quantize(plain, result.model.genome).hash != result.model.hash
    for genome in (Genome.uniform(6), Genome.uniform(3)):
        assert quantize(calibration, genome).hash == quantize(plain, genome).hash
    again = Trained.of(loaded)
    assert again.model().hash == result.model.hash
    assert again.fits(result.model.genome, Knobs(lanes_x=4))
    for hardware in ({"share": "all"}, {"pipeline": 2}, {"weights": "load"}):
        assert again.fits(result.model.genome, Knobs(**hardware))
    assert not again.fits(result.model.genome, Knobs(granularity="channel"))
    assert not again.fits(Genome.uniform(4), Knobs())


@pytest.mark.parametrize("damage", ["weights", "kind", "scale", "version", "table"])
def test_a_damaged_record_is_refused(damage):
    _, result = tuned()
    tensors = {key: value.copy() for key, value in result.checkpoint.tensors.items()}
    info = json.loads(json.dumps(result.checkpoint.info))
    about = info[RECORD]
    if damage == "weights":
        tensors["weight_ih_l0"][0] += 1
    elif damage == "kind":
        about["layers"][0]["s_h"]["kind"] = "dense"
    elif damage == "scale":
        about["scales"][0]["w_ir.weight"]["scale"] = "x"
    elif damage == "version":
        about["version"] = 99
    else:
        about["layers"][0]["a_n"] = {"kind": "table"}
    with pytest.raises(InputError, match=r"^checkpoint: its (record|weights)"):
        Trained.of(Checkpoint(tensors, info)).model()


def test_training_in_pieces_gives_the_same_bytes(tmp_path):
    task, checkpoint, calibration = material("digits-row")
    genome, whole = tuned()

    class Stop(Exception):
        pass

    def stop(done, *_):
        if done == 2:
            raise Stop

    given = (task, checkpoint, genome, Knobs(), Tuning(epochs=3, seed=1, scales="learned"))
    state = tmp_path / "state"
    with pytest.raises(Stop):
        qat.tune(*given, calibration=calibration, progress=stop, state=state)
    done = []
    result = qat.tune(
        *given, calibration=calibration, state=state, progress=lambda *now: done.append(now)
    )
    assert [now[0] for now in done] == [3]
    whole.checkpoint.save(tmp_path / "whole")
    result.checkpoint.save(tmp_path / "parts")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_a_damaged_state_is_refused(tmp_path):
    task, checkpoint, calibration = material("digits-row")
    (tmp_path / "state").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a state that training can go on from"):
        qat.tune(
            task, checkpoint, Genome.uniform(4), calibration=calibration, state=tmp_path / "state"
        )


def test_a_loss_that_is_no_number_is_one_clear_error(monkeypatch):
    task, checkpoint, calibration = material("digits-row")
    monkeypatch.setattr(trainer.Trainer, "loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(InputError, match=r"^training diverged in epoch 1 \(the loss is nan\)"):
        qat.tune(task, checkpoint, Genome.uniform(4), calibration=calibration)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "^epochs: 0 is not within"),
        ({"lr": 0.0}, "^lr: 0.0 is not above 0"),
        ({"distil": 1.5}, "^distil: 1.5 is not within"),
        ({"batch": 0}, "^batch: 0 is not within"),
        ({"scales": "free"}, "^scales: 'free' is not learned or fixed"),
        (
            {"tables": True, "scales": "learned"},
            "^tables: entries are trained only where scales are",
        ),
        ({"temperature": 0.0}, "^temperature: 0.0"),
        ({"patience": -1}, "^patience: -1"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Tuning(**given)


@pytest.mark.parametrize("bits", [8, 3])
def test_gradients_through_long_sequences_are_limited(bits):
    """Images read again and again by a network whose state feeds back twice as strongly: what 64
    steps send back as it is stays bounded over 192."""
    task, checkpoint, _ = material("digits-row")
    tensors = dict(checkpoint.tensors)
    tensors["weight_hh_l0"] = 2 * tensors["weight_hh_l0"]
    norms = {}
    for times in (8, 24):
        x = np.tile(task.x_train[:64], (1, times, 1))
        calibration = calibrate(Checkpoint(tensors), x)
        # A network that 8 bits cannot hold is refused otherwise; here it is the point.
        calibration.held.append(True)
        model, scale = starting_model(
            calibration, Genome.uniform(bits), Knobs(activation="table"), narrow=False
        )
        structure, network = (
            Structure(torch, model, scale, False),
            Network(torch),
        )
        latents = {k: torch.from_numpy(v.copy()).requires_grad_() for k, v in tensors.items()}
        logits = network.real_logits(structure, latents, structure.input_codes(x))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(task.y_train[:64])).backward()
        norms[times] = float(latents["weight_hh_l0"].grad.norm())
    assert norms[8] > 10_000, "the network should be one whose gradients grow"
    assert 1 < norms[24] < 1000, norms


def test_long_sequences_learn_more_slowly(monkeypatch):
    """How far weights move in an epoch, as a share of what they move where sequences are short."""
    task, checkpoint, calibration = material("digits-row")
    moved = []
    for long in (64, 4):
        monkeypatch.setattr(trainer, "LONG", long)
        training = qat.GenomeTrainer(
            task,
            checkpoint,
            Tuning(epochs=1, distil=0.0),
            Genome.uniform(8),
            Knobs(activation="table"),
            calibration=calibration,
        )
        before = training.tensors()
        training.run(None, None)
        after = training.tensors()
        moved.append(sum(float(np.abs(after[name] - before[name]).sum()) for name in before))
    assert 0.1 < moved[1] / moved[0] < 0.5, moved
