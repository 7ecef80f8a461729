"""What commands tell about data and networks of one's own: features, parts that may have been seen,
and the test part, which is looked at only where that is asked for."""

import re

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.provenance import UNSEEN, unseen
from genogate.model.knobs import Knobs
from genogate.network import build_network
from safetensors.numpy import save_file

UNITS, FEATURES, CLASSES = 3, 4, 3
TABLE = ("--activation", "table")


@pytest.fixture
def own(genogate, tmp_path):
    """``mine.npz`` with centred features, ``raw.npz`` with the same as they come from a sensor, and
    a network in ``mine.st``."""
    rng = np.random.default_rng(5)
    y = np.arange(120) % CLASSES
    x = rng.normal(0, 1, (120, 5, FEATURES)) + (y[:, None, None] - 1)
    np.savez("mine.npz", x=x, y=y)
    np.savez("raw.npz", x=x * 100 + 300, y=y)
    shapes = {"weight_ih_l0": (3 * UNITS, FEATURES), "weight_hh_l0": (3 * UNITS, UNITS)}
    shapes |= {"bias_ih_l0": (3 * UNITS,), "bias_hh_l0": (3 * UNITS,)}
    shapes |= {"classifier.weight": (CLASSES, UNITS), "classifier.bias": (CLASSES,)}
    tensors = {name: rng.normal(0, 0.6, shape).astype("f4") for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "mine.st")
    return genogate


def imported(genogate, task="mine.npz", *more):
    done = genogate("import", "mine.st", "--task", task, "--out", "c.st", *more)
    assert done.code == 0, done
    return done


def trained(genogate, task="mine.npz", *more):
    pytest.importorskip("torch")
    words = ("--hidden", UNITS, "--epochs", 1, "--out", "t.st")
    done = genogate("train", "--task", task, *words, *more)
    assert done.code == 0, done
    return done


def one_warning(text):
    (line,) = text.splitlines()
    assert line.startswith("genogate: warning: 4 of 4 features are not centred or not scaled: ")
    assert re.search(r"column [0-3] has mean 3\d\d and standard deviation 1\d\d", line), line
    assert line.endswith("Train on (x - x_train.mean((0, 1))) / x_train.std((0, 1)), std 0 as 1")


def test_unscaled_features_are_told_by_every_command_that_meets_them_first(own, capsys):
    one_warning(imported(own, "raw.npz").err)
    # What `gru` does before it writes Verilog and asks Yosys, which take seconds.
    build_network(
        genome="int8",
        task=None,
        checkpoint="c.st",
        knobs=Knobs(activation="table"),
        say=lambda text: None,
    )
    one_warning(capsys.readouterr().err)
    one_warning(trained(own, "raw.npz").err)
    assert imported(own).err == trained(own).err == ""


def test_the_test_part_is_looked_at_where_that_is_asked_for(own):
    def said(done, path, asked):
        assert ("test" in done.out.replace("--test", "")) == asked, done.out
        assert "validation" in done.out
        assert ("test" in zoo.load(path).info["accuracy"]) == asked

    for asked in (False, True):
        more = ("--test",) * asked
        said(imported(own, "mine.npz", *more), "c.st", asked)
        said(trained(own, "mine.npz", *more), "t.st", asked)
        pytest.importorskip("numba")
        words = ("--genome", "int4", *TABLE, "--epochs", 1, "--out", "q.st", "--checkpoint", "t.st")
        done = own("qat", *words, *more)
        assert done.code == 0, done
        said(done, "q.st", asked)


def test_a_search_says_that_its_part_may_have_been_seen(own):
    """An imported network may have been trained on the part that the search chooses by."""
    pytest.importorskip("numba")
    pytest.importorskip("pymoo")
    imported(own)
    small = ("--pop", 4, "--generations", 1, "--exploit", 0, "--objectives", "accuracy,size")
    more = ("--initial", "random", "--workers", 1, "--out", "run")
    done = own("search", "--checkpoint", "c.st", *TABLE, *small, *more)
    assert done.code == 0, done
    note = "Note: it is unknown what this network was trained on. If its training saw the"
    assert note in " ".join(done.out.split())


@pytest.mark.parametrize("known", [True, False])
def test_a_beacon_knows_what_its_network_had_seen(own, tmp_path, known):
    pytest.importorskip("torch")
    pytest.importorskip("numba")
    from genogate.model.genome import Genome
    from genogate.search.genomes.beacons import Beacons

    trained(own) if known else imported(own)
    source = "t.st" if known else "c.st"

    def retrain(genome, path):
        genes = ",".join(map(str, genome.genes))
        words = ("qat", "--genome", genes, *TABLE, "--epochs", 1, "--checkpoint", source)
        assert own(*words, "--out", path).code == 0

    beacon = Beacons(tmp_path, retrain).light(Genome.uniform(4))
    expected = True if known else None
    assert unseen(zoo.load(beacon.checkpoint)) == {"val": expected, "test": expected}
    assert zoo.load(beacon.checkpoint).info[UNSEEN]["test"] is expected


def test_an_experiment_says_beforehand_what_it_does_and_how_long_that_takes(own, capsys):
    pytest.importorskip("torch")
    from genogate.experiment import _announce
    from genogate.search.experiment.plan import plan_for

    imported(own)
    trained(own)
    capsys.readouterr()
    for source, told in (("c.st", True), ("t.st", False)):
        given = {"checkpoints": (source,), "hidden": (2,)}
        _announce(plan_for("mine.npz", "quick", given), 2)
        text = capsys.readouterr().err
        line = text.splitlines()[0]
        assert re.match(rf"\d+ networks of {UNITS}, 2 units to train for their genomes \(\d+", line)
        assert re.search(r"The trainings take about [\d.]+ (s|min|h) with 2 processes", line)
        assert (f"Note on {source}: it is unknown what" in text) == told
        assert len(text.splitlines()) == 1 + told
