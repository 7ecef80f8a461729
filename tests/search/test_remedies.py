"""What errors about the folder of a search tell the user to do."""

import pickle

import pytest
from genogate.model.errors import InputError, Unreachable
from genogate.model.files import read_json, write_json
from genogate.search.genomes.remedies import EXPERIMENT, SAME, Resume, with_remedies
from genogate.search.genomes.store import Store
from genogate.search.pool.backends import Pool


def told(error, *commands):
    """The line that is shown of `error`, raised in a search, or in one of `commands`."""
    with pytest.raises(InputError) as caught, with_remedies("run", *commands):
        # An experiment holds searches.
        with with_remedies("run/search"):
            raise error
    return str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("cannot read run/one/h8.safetensors: Permission denied"),
        Unreachable("cannot write run/front.json: No space left on device"),
        InputError("run/experiment.json: that of another experiment", "use another folder"),
        # Files of the user, in the same folder, or in one that ends like it.
        InputError("checkpoint run/mine.safetensors: trained on 'kws4', not on digits-row"),
        InputError("checkpoint run/one/h8.safetensors: 8 units, the first has 32"),
        InputError("data/run/float/a.safetensors: cut off"),
    ],
)
def test_what_is_whole_is_never_to_be_removed(error):
    assert told(error) == told(error, SAME) == str(error)
    assert "remove" not in str(error)


def test_what_the_system_refuses_is_not_called_damaged(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "float").write_text("a file where a folder belongs")
    with pytest.raises(Unreachable, match=r"a file stands where a folder is needed$"):
        with with_remedies(tmp_path / "run"):
            write_json(tmp_path / "run" / "float" / "sizes.json", [])


def test_what_is_damaged_is_to_be_removed_and_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(InputError) as caught, with_remedies("run"):
        read_json("run/config.json")
    end = "; remove it, and --resume the search with the options of before, which writes it again"
    assert str(caught.value).endswith(end)
    error = InputError("run/float/h4-seed0.safetensors: cut off")
    assert told(error, SAME).endswith(
        "cut off; remove it, and give the same command again, which writes it again"
    )
    # Of a file that its reader knows nothing of.
    copied = InputError("run/one/a.safetensors: damaged", "take a copy, or make it again")
    assert told(copied) == f"run/one/a.safetensors: damaged{end}"


def test_a_remedy_is_told_by_the_command_that_goes_on():
    full = InputError("workers died: what is done is kept", Resume(after="with fewer workers"))
    assert told(full).endswith(
        "; --resume the search with the options of before, with fewer workers"
    )
    assert told(full, EXPERIMENT).endswith(
        "; give the experiment's command again, with fewer workers"
    )
    # A remedy that names its command knows better.
    own = InputError("run/experiment.json: damaged", Resume("remove it", command=SAME))
    assert told(own, EXPERIMENT).endswith("; remove it, and give the same command again")


def damaged_store(path):
    Store(path)


def test_remedies_come_back_from_workers_with_the_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evaluations.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(InputError) as caught, with_remedies("run", SAME), Pool("serial", 1) as pool:
        list(pool.map(damaged_store, [str(tmp_path / "run" / "evaluations.sqlite")]))
    assert "; move it away, and give the same command again, which makes" in str(caught.value)
    error = pickle.loads(pickle.dumps(InputError("a", Resume("b"))))
    assert (str(error), error.remedy) == (f"a; {Resume('b')}", Resume("b"))
