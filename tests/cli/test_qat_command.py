"""``genogate qat``: what it writes is what the other commands make of it."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")


def test_the_checkpoint_gives_the_trained_network_to_other_commands(genogate, tmp_path):
    from genogate.model import zoo
    from genogate.model.knobs import Knobs
    from genogate.network import build_network

    genes = ",".join(["3"] * 6 + ["5"] * 11)
    given = ("qat", "--genome", genes, "--activation", "table", "--epochs", "1", "--batch", "64")
    outcome = genogate(*given, "--out", "q.safetensors")
    assert outcome.code == 0, outcome
    assert "trained" in outcome.out
    assert not list(tmp_path.glob("*.partial"))
    knobs = Knobs(activation="table", lanes_h=2)
    network = build_network(
        genome=genes, task=None, checkpoint="q.safetensors", knobs=knobs, say=lambda _: None
    )
    assert network.model.hash in outcome.out
    before = zoo.load("q.safetensors").info["before"]
    assert json.loads(json.dumps(before)).keys() == {"float", "ptq", "qat"}
    # It got no worse, so that nothing is to be said.
    assert before["qat"]["val"] >= before["ptq"]["val"]
    assert "Note:" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", "0"), ("epochs: 0",)),
        (("--lr", "-1"), ("lr: -1",)),
        (("--genome", "int9"), ("int9",)),
        (("--checkpoint", "nowhere"), ("nowhere", "no such file")),
        (("--any", "--patience", "3"), ("patience",)),
        (("--any", "--genome", "int4"), ("genome: --any trains for all genomes",)),
    ],
)
def test_bad_input_is_one_line(genogate, arguments, words):
    genogate("qat", *arguments).refused(*words)


def test_a_folder_in_the_way_is_refused(genogate, tmp_path):
    (tmp_path / "there").mkdir()
    genogate("qat", "--out", "there", "--epochs", "1").refused("there", "folder")


@pytest.mark.parametrize(("factor", "warned"), [(1, False), (1e4, True)])
def test_features_of_different_size_are_named_before_training(genogate, factor, warned):
    import numpy as np

    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    x = rng.normal(0, 1, (60, 4, 3)) + y[:, None, None]
    np.savez("plain.npz", x=(x - x.mean((0, 1))) / x.std((0, 1)), y=y)
    np.savez("my.npz", x=np.load("plain.npz")["x"] * [1, factor, 1], y=y)
    trained = genogate(
        *("train", "--task", "my.npz", "--hidden", 4, "--epochs", 1, "--out", "a.safetensors")
    )
    assert trained.code == 0, trained
    outcome = genogate(
        *("qat", "--task", "my.npz", "--checkpoint", "a.safetensors", "--genome", "int4"),
        *("--epochs", 1, "--quiet", "--out", "q.safetensors"),
    )
    assert outcome.code == 0, outcome
    for err in (trained.err, outcome.err):
        lines = [line for line in err.splitlines() if "warning" in line]
        assert len(lines) == warned, err
        assert all("column 1 reaches" in line and "8192" in line for line in lines)


def test_a_network_that_training_made_worse_is_told(genogate, capsys):
    """At this rate an epoch spoils the weights."""
    from genogate.commands.qat import print_tuning
    from genogate.model import zoo

    given = ("--epochs", "1", "--lr", "0.3", "--batch", "64", "--activation", "table", "--json")
    told = genogate("qat", "--genome", "int8", *given, "--out", "q.safetensors")
    assert told.code == 0, told
    record = json.loads(told.out)
    before, after = (record["accuracy"][name]["val"] for name in ("ptq", "qat"))
    assert after < before
    assert f"int8 {after:.4f} where quantisation alone has {before:.4f}" in record["worse"]
    assert "give more --epochs" in record["worse"]
    assert zoo.load("q.safetensors").info["worse"] == record["worse"]
    print_tuning(record, "q.safetensors")
    assert f"Note: {record['worse']}." in " ".join(capsys.readouterr().out.split())


def test_of_weights_for_all_genomes_those_that_lost_are_named():
    from genogate.tuning import worsened

    scores = {
        "int8": {"ptq": {"val": 0.97}, "any": {"val": 0.96}},
        "int4": {"ptq": {"val": 0.8}, "any": {"val": 0.8}},
        "int2": {"ptq": {"val": 0.2}, "any": {"val": 0.9}},
    }
    told = worsened(scores, "any", "train on")["worse"]
    assert told.endswith("untrained: int8 0.9600 where quantisation alone has 0.9700; train on")
    assert worsened({"int2": scores["int2"]}, "any", "train on") == {}
