"""One's own data and model through the commands, and data that is not there."""

import json
import subprocess
import sys

import numpy as np
import pytest
from genogate.model import zoo
from safetensors.numpy import save_file
from sklearn.datasets import load_digits


def genogate(folder, *words, **environment):
    """The command in `folder`, with no data set, cache or network within reach."""
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "GENOGATE_OFFLINE": "1",
        **environment,
    }
    program = "from genogate.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, env=env, capture_output=True, text=True
    )


def refused(done, *parts):
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("genogate: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def few_units(count):
    """Weights of the first units of the shipped network of digits-row."""
    tensors = dict(zoo.load("digits-row").tensors)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        gates = np.split(tensors[name], 3)
        tensors[name] = np.concatenate([gate[:count] for gate in gates])
    for name in ("weight_hh_l0", "classifier.weight"):
        tensors[name] = np.ascontiguousarray(tensors[name][:, :count])
    return tensors


@pytest.fixture
def own(tmp_path):
    digits = load_digits()
    np.savez(tmp_path / "my.npz", x=digits.images[:300] / 16, y=digits.target[:300])
    return tmp_path


def test_a_model_from_elsewhere_becomes_a_checkpoint_for_data_from_elsewhere(own):
    shipped = zoo.load("digits-row")
    named = {f"module.{name}": value for name, value in shipped.tensors.items()}
    save_file(named, own / "model.safetensors")
    done = genogate(own, "import", "model.safetensors", "--task", "my.npz", "--out", "a/c.st")
    assert done.returncode == 0, done.stderr
    assert "8 inputs, 1 GRU layers of 32 units, 10 classes" in done.stdout
    made = zoo.load(own / "a" / "c.st")
    assert made.hash == shipped.hash
    assert made.info["task"] == "my.npz"
    assert made.info["accuracy"]["val"] > 0.9
    assert "test" not in done.stdout
    assert "test" not in made.info["accuracy"]
    done = genogate(
        own, "import", "model.safetensors", "--task", "my.npz", "--out", "model.safetensors"
    )
    refused(done, "it is the model itself")


def test_a_feature_of_another_size_changes_nothing_after_training_and_is_named_before(own):
    """A column times 10,000: the integers answer as before; `train` and `qat` warn."""
    digits = load_digits()
    x = digits.images[:300] / 16
    scales = {}
    for name, factor in (("plain", 1), ("scaled", 1e4)):
        np.savez(
            own / "my.npz", x=x * np.where(np.arange(8) == 3, factor, 1), y=digits.target[:300]
        )
        tensors = few_units(12)
        tensors["weight_ih_l0"][:, 3] /= factor
        save_file(tensors, own / "model.safetensors")
        done = genogate(own, "import", "model.safetensors", "--task", "my.npz", "--out", "c.st")
        assert (done.returncode, done.stderr) == (0, "")
        options = ("--checkpoint", "c.st", "--activation", "table", "--out", name)
        done = genogate(own, "gru", *options)
        assert (done.returncode, done.stderr) == (0, "")
        scales[name] = json.loads((own / name / "report.json").read_text())
    # Two of the 91 sequences lie so near that the processor's own rounding decides them.
    assert scales["scaled"]["accuracy"] == pytest.approx(scales["plain"]["accuracy"], abs=0.05)
    pytest.importorskip("torch")
    done = genogate(own, "train", "--task", "my.npz", "--epochs", "1", "--out", "t.st")
    assert done.returncode == 0, done.stderr
    warning, *rest = done.stderr.splitlines()
    assert warning.startswith("genogate: warning: features differ in size by 16,000 times")
    assert "x[..., 3] /= 8192, weight_ih_l0[:, 3] *= 8192" in warning
    assert rest == []


def test_what_nobody_knows_about_an_imported_model_stays_unknown_through_training(own):
    """The network that training ends with comes from one whose training may have seen all data."""
    pytest.importorskip("torch")
    pytest.importorskip("numba")
    save_file(few_units(8), own / "model.safetensors")
    done = genogate(own, "import", "model.safetensors", "--task", "my.npz", "--out", "c.st")
    assert done.returncode == 0, done.stderr
    words = ("--genome", "int4", "--activation", "table", "--checkpoint")
    done = genogate(own, "qat", *words, "c.st", "--epochs", "1", "--out", "q.st")
    assert done.returncode == 0, done.stderr
    assert "test" not in done.stdout.replace("test part", "")
    assert "unknown what this network was trained on" in done.stdout
    done = genogate(own, "gru", *words, "q.st", "--out", "built")
    assert done.returncode == 0, done.stderr
    assert "which its training may have seen" in done.stdout
    report = json.loads((own / "built" / "report.json").read_text())
    assert report["test_unseen"] is None
    # Both float networks are named, and the user's own is read again for its accuracy.
    assert report["float_network"] == "the trained weights, run as float"
    assert report["original"]["hash"] == zoo.load(own / "c.st").hash
    done = genogate(own, "gru", *words, "c.st", "--out", "before")
    of_checkpoint = json.loads((own / "before" / "report.json").read_text())
    assert of_checkpoint["float_network"] == "the checkpoint"
    assert report["original"]["accuracy"] == of_checkpoint["accuracy_float"]
    assert of_checkpoint["test_unseen"] is None


def test_a_network_is_trained_on_ones_own_data_and_knows_it_again(own):
    pytest.importorskip("torch")
    words = ("train", "--task", "my.npz", "--hidden", "4", "--epochs", "2", "--out", "c.st")
    done = genogate(own, *words)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in own.iterdir()) == ["c.st", "my.npz"]
    info = zoo.load(own / "c.st").info
    assert info["command"].startswith("genogate train --task my.npz --seed 0 --hidden 4 ")
    json.dumps(info)
    # Other data under the same name is noticed.
    digits = load_digits()
    np.savez(own / "my.npz", x=digits.images[:200] / 16, y=digits.target[:200])
    refused(genogate(own, "area", "--checkpoint", "c.st"), "another split of my.npz")


def test_a_task_without_a_checkpoint_says_how_to_make_one(own):
    refused(genogate(own, "gru", "--task", "my.npz"), "'my.npz'", "genogate train", "--checkpoint")


def test_a_checkpoint_that_names_no_data_asks_for_it(own):
    from genogate.model.checkpoints.floating import Checkpoint

    shipped = zoo.load("digits-row").tensors
    few = {k: v[:3] if k.startswith("classifier") else v for k, v in shipped.items()}
    Checkpoint(few).save(own / "mine.safetensors")
    done = genogate(own, "gru", "--checkpoint", "mine.safetensors")
    refused(done, "8 inputs and 3 classes", "--task FILE.npz")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("gru", "--task", "mnist-row"), ("MNIST: not found", "GENOGATE_DATA", "https://")),
        (("search", "--task", "kws4"), ("Speech Commands: not found", "GENOGATE_DATA", "https://")),
        (("train", "--task", "nothing.npz"), ("nothing.npz", "No such file")),
        (("train", "--task", "mnist"), ("task 'mnist': unknown", "mnist-row", ".npz")),
        (("import", "my.npz", "--task", "my.npz"), ("not",)),
        (("import", "no.pt", "--task", "my.npz"), ("no.pt", "No such file")),
        (("import", "no.pt"), ("--task",)),
    ],
)
def test_what_is_missing_is_said_in_one_line(own, words, parts):
    refused(genogate(own, *words), *parts)
