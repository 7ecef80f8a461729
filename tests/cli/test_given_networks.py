"""Networks that a search or an experiment is given: of another task, or twice."""

import shutil
from pathlib import Path

import pytest
from genogate.model import zoo

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("pymoo")


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """Data sets that are not part of a library can neither be found nor downloaded."""
    monkeypatch.setenv("GENOGATE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GENOGATE_OFFLINE", "1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("experiment", "--task", "digits-row", "--checkpoints", "digits-row,kws4"),
        ("experiment", "--task", "digits-row", "--checkpoints", "kws4", "--budget", "quick"),
        ("experiment", "--task", "digits-row", "--checkpoints", "kws4", "--budget", "60m"),
        ("experiment", "--task", "kws4", "--checkpoints", "digits-row", "--budget", "60m"),
        ("search", "--task", "digits-row", "--also", "kws4"),
        ("search", "--task", "kws4", "--also", "digits-row"),
        ("search", "--task", "kws4", "--also", "digits-row", "--budget", "60m"),
    ],
)
def test_tasks_are_compared_before_data_is_looked_for(genogate, no_data, arguments):
    outcome = genogate(*arguments, "--workers", "1", "--out", "run")
    task, other = ("digits-row", "kws4") if arguments[2] == "digits-row" else ("kws4", "digits-row")
    outcome.refused(f"checkpoint {other}: trained on '{other}', not on {task}", "leave it out")
    assert not list(Path("run").glob("*.json"))


@pytest.mark.parametrize("budget", [(), ("--budget", "60m")])
def test_the_same_network_twice_is_named(genogate, tmp_path, budget):
    for name in ("a", "b"):
        shutil.copy(Path(zoo.__file__).parent / "digits-row-2layer.safetensors", tmp_path / name)

    def refused(*also, words):
        given = [word for name in also for word in ("--also", name)]
        genogate("search", "--workers", "1", *budget, *given).refused(*words)

    refused("digits-row", words=("'digits-row' is given twice",) if budget else ("digits-row: it",))
    refused("a", "a", words=("'a' is given twice", "each once"))
    # By what is in the file, whatever its name.
    shutil.copy(Path(zoo.__file__).parent / "digits-row.safetensors", tmp_path / "c")
    refused("c", words=("checkpoint c: the same network as digits-row", "leave it out"))


def test_two_networks_of_one_size_and_split_are_named_to_an_experiment(genogate, tmp_path):
    shutil.copy(Path(zoo.__file__).parent / "digits-row.safetensors", tmp_path / "c")
    genogate("experiment", "--checkpoints", "digits-row,c", "--workers", "1").refused(
        "checkpoint c: of the same size and split as digits-row", "leave one out"
    )
