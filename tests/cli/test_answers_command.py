"""The commands on tasks with a target at every step, real targets and different lengths."""

import json

import numpy as np
import pytest
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.sim import golden
from genogate.sim.random_model import random_model

N, T = 60, 6


@pytest.fixture
def data(tmp_path):
    """Files ``mask.npz`` (two shares at every step) and ``tags.npz`` (classes, other lengths)."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (N, T, 2)).astype(np.float32)
    total = np.cumsum(x[..., 0], 1)
    np.savez(tmp_path / "mask.npz", x=x, y=1 / (1 + np.exp(-x)))
    lengths = rng.integers(2, T + 1, N)
    np.savez(tmp_path / "tags.npz", x=x, y=(total > 0).astype(int), lengths=lengths)


def test_gru_reports_in_the_tasks_own_measure(genogate, tmp_path, data):
    pytest.importorskip("torch")
    call = ["train", "--task", "mask.npz", "--hidden", "4", "--epochs", "60"]
    call += ["--batch", "8", "--lr", "0.02"]
    done = genogate(*call, "--out", "m.safetensors")
    assert "explained variance" in done.out, done
    done = genogate("gru", "--checkpoint", "m.safetensors", "--genome", "int7", "--out", "out")
    assert done.code == 0, done
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["measure"] == "explained variance"
    assert report["head"] == "sigmoid codes at every step"
    assert report["accuracy"] > 0.3
    assert 0 < report["mean_error"] < 0.3
    assert {row["name"] for row in report["operators"]} >= {"requantize", "activation"}
    assert "mean error" in done.out
    genogate("gru", "--checkpoint", "m.safetensors", "--task", "tags.npz").refused(
        "asks for one of 2 classes at every step, the network answers sigmoid codes"
    )
    done = genogate("gru", "--checkpoint", "m.safetensors", "--share", "all", "--out", "shared")
    assert done.code == 0, done
    shared = json.loads((tmp_path / "shared/report.json").read_text())
    assert (shared["head"], shared["knobs"]["share"]) == (report["head"], "all")


def test_sim_puts_every_sequence_through_with_its_own_length(genogate, tmp_path, data):
    pytest.importorskip("torch")
    call = ["train", "--task", "tags.npz", "--hidden", "2", "--epochs", "2"]
    assert "frame accuracy" in genogate(*call, "--out", "t.safetensors").out
    call = ["sim", "--checkpoint", "t.safetensors", "--genome", "int4", "--sequences", "4"]
    done = genogate(*call, "--out", "sim", "--simulator", "icarus")
    assert done.code == 0, done
    report = json.loads((tmp_path / "sim/sim.json").read_text())
    whole = next(part for part in report["scenarios"] if part["name"] == "back-to-back")
    assert 4 * 2 <= whole["steps"] < 4 * T


def test_golden_writes_codes(genogate, tmp_path):
    head = Head("every", "codes", "tanh")
    model = random_model(np.random.default_rng(1), Genome.uniform(4), 2, 3, 2, head=head)
    model.save(tmp_path / "model.safetensors")
    codes = np.random.default_rng(2).integers(-128, 128, (3, 4, 2))
    np.save(tmp_path / "x.npy", codes)
    assert genogate("golden", "model.safetensors", "x.npy", "y.npz").code == 0
    with np.load(tmp_path / "y.npz") as arrays:
        np.testing.assert_array_equal(arrays["codes"], golden.run(model, codes).codes)
    done = genogate("golden", "model.safetensors", "x.npy", "y.npy")
    assert done.out == "y.npy [3, 4, 3]\ny.codes.npy [3, 4, 2]\n"


def test_golden_takes_a_network_with_dense_layers(genogate, tmp_path):
    genome = Genome(Genome.uniform(4).layers, ((3, 5), (4, 6)))
    around = {"front": [("relu", 4)], "back": [("tanh", 5)]}
    model = random_model(np.random.default_rng(1), genome, 2, 3, 2, **around, initial_state=True)
    model.save(tmp_path / "model.safetensors")
    codes = np.random.default_rng(2).integers(-128, 128, (3, 4, 2))
    np.save(tmp_path / "x.npy", codes)
    assert genogate("golden", "model.safetensors", "x.npy", "y.npz").code == 0
    result = golden.run(model, codes)
    with np.load(tmp_path / "y.npz") as arrays:
        np.testing.assert_array_equal(arrays["logits"], result.logits)
        np.testing.assert_array_equal(arrays["hidden"], result.hidden)
