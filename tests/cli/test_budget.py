"""`--budget` of search and experiment: what it makes, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from genogate.model.errors import InputError

pytest.importorskip("torch")
pytest.importorskip("numba")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four classes that the sign of the mean of either feature tells."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 4, 900)
    signs = np.stack([y & 1, y >> 1], 1) * 2.0 - 1
    x = (signs[:, None] * 0.8 + rng.normal(0, 1, (900, 5, 2))).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, x=x, y=y)
    return path


def test_an_experiment_ends_with_a_page_and_the_files_of_a_network(genogate, data, tmp_path):
    about = ("--task", data, "--hidden", "6,4", "--workers", "1", "--out", "run")
    genogate("experiment", *about, "--budget", "30s").refused("validation", "--max-drop 1.1")
    about += ("--max-drop", "3")
    outcome = genogate("experiment", *about, "--budget", "30s", "--json")
    assert outcome.code == 0, outcome
    document = json.loads(outcome.out)
    folder = tmp_path / "run"
    assert document == json.loads((folder / "experiment.json").read_text())
    assert document["done"]
    assert {"test", "um2", "lost"} <= document["best"].keys()
    assert document["float_seconds"] > 0
    assert document["budget_seconds"] + document["float_seconds"] == pytest.approx(30, abs=0.1)
    said = [line for line in outcome.err.splitlines() if line.startswith("Float networks of 6, 4")]
    assert len(said) == 1, outcome.err
    assert "of the budget of 30 s" in said[0]
    page = (folder / "page.md").read_text()
    assert "minutes (" in page.partition("of the budget's 0.5 ")[2]
    assert "The same command with a larger --budget goes on." in page
    assert "On the test part, looked at once" in page
    assert (folder / "page.html").exists()
    report = json.loads((folder / "best" / "report.json").read_text())
    assert report["accuracy"] == pytest.approx(document["best"]["test"], abs=1e-6)
    assert (folder / "best" / "gru.v").exists()
    again = ("experiment", *about, "--budget", "30s", "--quiet")
    again = [word if word != "run" else "other" for word in again]
    for name, content in (
        ("float/h4-seed0.safetensors", b""),
        ("search/config.json", b"[]"),
        ("search/evaluations.sqlite", b"\xff" * 5000),
    ):
        shutil.rmtree("other", ignore_errors=True)
        shutil.copytree(folder, "other")
        (tmp_path / "other" / name).write_bytes(content)
        genogate(*again).refused(f"other/{name}", "give the same command again")
    # What that asks for helps: a float network that is gone is trained again.
    shutil.rmtree("other")
    shutil.copytree(folder, "other")
    (tmp_path / "other" / "float" / "h4-seed0.safetensors").unlink()
    outcome = genogate(*again)
    assert outcome.code == 0, outcome.err
    (tmp_path / "other" / "page.md").unlink()
    (tmp_path / "other" / "page.md").mkdir()
    genogate(*again).refused("other/page.md", "it is a folder")
    # Nor does an experiment of another kind take its place.
    full = genogate("experiment", "--task", data, "--hidden", "none", "--out", "run")
    full.refused("run/experiment.json", "with a budget of time", "another folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "experiment.json").write_text(json.dumps({"numbers": []}))
    full = genogate(*["full" if word == "other" else word for word in again])
    full.refused("full/experiment.json", "with another --budget", "another folder")
    genogate("report", "run").refused("its page is run/page.html")
    (tmp_path / "other" / "search" / "best").write_bytes(b"")
    genogate("gru", "--genome", "other/search/best").refused("give the experiment's command again")
    outcome = genogate("sim", "--genome", "run/search/best", "--sequences", "1", "--out", "sim")
    assert outcome.code == 0, outcome


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "--budget", "soon"), ("budget", "as in 60m")),
        # Quiet: on a busy machine there is progress to tell before.
        (("search", "--budget", "1s", "--quiet"), ("budget", "too few", "give --budget")),
        (("search", "--budget", "9m", "--pop", "8"), ("pop", "no part of a search")),
        (("search", "--budget", "9m", "--target", "generic"), ("target generic", "no part")),
        (("search", "--budget", "9m", "--clock", "20"), ("clock", "no part of a search")),
        (("search", "--budget", "9m", "--max-energy", "9"), ("max-energy", "no part of a search")),
        (("search", "--budget", "9m", "--max-lut", "9"), ("max-lut: target sky130 has um2",)),
        (("search", "--budget", "9m", "--fit"), ("--fit", "--max-um2")),
        (
            ("search", "--budget", "9m", "--target", "ice40-up5k", "--max-lut", "9"),
            ("max-lut: 9 is below",),
        ),
        (
            ("search", "--budget", "9m", "--knob-genes", "share,lanes"),
            ("knob-genes share, lanes", "share may be a gene"),
        ),
        (("search", "--budget", "9m", "--input-bits", "4"), ("input-bits", "it is a gene")),
        (
            ("search", "--budget", "9m", "--objectives", "accuracy,size,cells"),
            ("objectives", "one cost of um2, size"),
        ),
        (("search", "--budget", "9m", "--max-drop", "none"), ("max-drop", "not a number")),
        (("search", "--budget", "9m", "--out", "/dev/null"), ("/dev/null", "a folder is needed")),
        (("experiment", "--out", "/dev/null"), ("/dev/null", "a folder is needed")),
        (("search", "--budget", "9m", "--max-size", "9"), ("max-size: 9 is below",)),
        (("search", "--budget", "9m", "--max-cycles", "9"), ("max-cycles: 9 is below",)),
        (("experiment", "--budget", "soon"), ("budget", "as in 60m")),
        (("experiment", "--budget", "9m", "--rounds", "2"), ("rounds", "the budget decides it")),
        (("experiment", "--max-drop", "1"), ("max-drop", "budget of time")),
        (("experiment", "--target", "sky130"), ("target", "budget of time")),
        (("experiment", "--max-cycles", "9"), ("max-cycles", "budget of time")),
        (("experiment", "--folds", "4"), ("folds", "budget of time")),
        (("experiment", "--budget", "9m", "--folds", "1"), ("folds", "not within 2 to 20")),
        (("search", "--folds", "4"), ("folds", "add --budget")),
        (("search", "--folds", "0"), ("folds", "add --budget")),
        (("search", "--budget", "9m", "--folds", "21"), ("folds", "not within 2 to 20")),
        (("experiment", "--spare", "2"), ("spare", "budget of time")),
        (("experiment", "--budget", "9m", "--spare", "6"), ("spare: 6", "0 to 5")),
        (("search", "--spare", "0"), ("spare", "add --budget")),
        (("search", "--keep-units"), ("keep-units", "add --budget")),
        (("search", "--confirm"), ("confirm", "add --budget")),
        (("experiment", "--keep-units"), ("keep-units", "budget of time")),
        (("experiment", "--confirm"), ("confirm", "budget of time")),
        (("search", "--budget", "9m", "--spare", "-1"), ("spare: -1", "1 is usual")),
        (("search", "--budget", "9m", "--spare", "nan"), ("spare: nan", "0 to 5")),
        (("experiment", "--budget", "9m", "--target", "generic"), ("target generic", "no part")),
        (("experiment", "--budget", "9m", "--target", "up5k"), ("target 'up5k'", "not one of")),
        (("experiment", "--budget", "9m", "--record"), ("record", "--budget full")),
        # Before a float network is trained.
        (("experiment", "--budget", "9m", "--max-drop", "nan"), ("max-drop: nan", "0 to 100")),
        (("experiment", "--budget", "9m", "--max-cycles", "-1"), ("max-cycles: -1", "above 0")),
        (("search", "--budget", "9m", "--max-size", "nan"), ("max-size: nan", "above 0")),
        (("experiment", "--budget", "9m", "--checkpoints", ","), ("checkpoints: ','", "leave it")),
    ],
)
def test_bad_input_is_one_line(genogate, arguments, words):
    genogate(*arguments, "--workers", "1").refused(*words)


def test_what_there_is_none_of_to_resume_begins_and_is_told(genogate, monkeypatch):
    from genogate.search.ladder import ladder

    def trained(*_):
        raise InputError("trained")

    monkeypatch.setattr(ladder.Rungs, "trained", trained)
    arguments = ("search", "--budget", "9m", "--workers", "1", "--resume", "--out")
    said = "Nothing to resume in run: a new search begins there.\n"
    outcome = genogate(*arguments, "run")
    assert (outcome.code, outcome.err) == (2, f"{said}genogate: trained\n")
    # The folder is there now; and where it is refused that alone is said.
    genogate(*arguments, "run").refused("trained")
    genogate(*arguments, "none", "--max-size", "9").refused("max-size: 9 is below")
    genogate(*arguments, "other", "--quiet").refused("trained")


def test_the_api_takes_a_budget_and_refuses_what_the_command_refuses():
    import genogate

    with pytest.raises(InputError, match="generations: no part of a search within"):
        genogate.search("digits-row", budget="9m", generations=3)
    with pytest.raises(InputError, match=r"objectives: .* one cost of um2"):
        genogate.search("digits-row", budget="9m", objectives=("accuracy", "size", "um2"))


def test_sizes_that_the_budget_is_too_small_for_are_named(monkeypatch, tmp_path, capsys):
    from genogate import budgeted
    from genogate.search.genomes.remedies import SAME, with_remedies

    options = {"seed": None, "checkpoints": None, "hidden": None}
    # digits-row is shipped, with 32 units.
    monkeypatch.setattr(budgeted, "_estimate", lambda task, seed, hidden: 2.0 * hidden)
    floats = budgeted.plan_floats(tmp_path, "digits-row", options, 150.0)
    assert (floats.names, floats.ahead, floats.left_out) == (("digits-row",), {24: 48.0}, (16,))
    floats.announce(150.0)
    said = " ".join(capsys.readouterr().err.split())
    assert "of 24 units take about 48 s of the budget of 2 min (32%)" in said
    assert "Left out: networks of 16 units" in said
    # What was begun without a network goes on without it, whatever the budget is now.
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "ladder.json").write_text("{}")
    floats = budgeted.plan_floats(tmp_path, "digits-row", options, 9000.0)
    assert (floats.ahead, floats.left_out) == ({}, (24, 16))
    # One with which it began, and that is gone, is trained again.
    (tmp_path / "float").mkdir()
    (tmp_path / "float" / "sizes.json").write_text("[24]")
    floats = budgeted.plan_floats(tmp_path, "digits-row", options, 9000.0)
    assert (floats.ahead, floats.left_out) == ({24: 48.0}, (16,))
    floats.announce(9000.0)
    assert "without which the search began" in " ".join(capsys.readouterr().err.split())
    # One that was trained, and is damaged, is named.
    (tmp_path / "float" / "h24-seed0.safetensors").write_bytes(b"")
    refused = pytest.raises(InputError, match=r"h24-seed0.*give the same command again")
    with refused, with_remedies(tmp_path, SAME):
        budgeted.plan_floats(tmp_path, "digits-row", options, 9000.0)


@pytest.mark.parametrize("by", ["make", "genogate"])
def test_hints_of_a_search_name_make_only_to_those_who_use_it(by, capsys, monkeypatch):
    from genogate.commands.search import print_search

    if by == "make":
        monkeypatch.setenv("GENOGATE_MAKE", "1")
    row = {"name": "within-0.5-smallest", "drop": 0.4, "size": 900, "share": 0.5}
    report = {"points": [row], "conclusion": [row], "unit": "points", "reference": "int8"}
    print_search(report | {"judged": "42 sequences"}, "run")
    out = " ".join(capsys.readouterr().out.split())
    hints = {
        "make": ("page make report RUN=run", "emit make gru GENOME=run/within-0.5-smallest"),
        "genogate": ("page genogate report run", "emit genogate gru --genome run/within-0.5-smal"),
    }
    assert all(hint in out for hint in hints[by])
    assert ("make" in out) == (by == "make")


@pytest.mark.parametrize(("best", "words"), [(True, "the least"), (False, "none")])
def test_the_table_says_which_network_is_the_best(capsys, monkeypatch, best, words):
    """Cheaper ones that seem to lose nothing may stand in the front."""
    from genogate.commands.search import print_ladder

    entry = {
        "hidden": 4,
        "genes": [8] * 17,
        "input_bits": 8,
        "classifier_bits": 8,
        "um2": 900.0,
        "lost": 0.0,
        "epochs": 2,
    }
    document = {
        "int8": entry,
        "best": entry if best else None,
        "front": [entry | {"um2": 500.0}],
        "cost": "um2",
        "drop": 3.0,
        "spare": 1.0,
        "validation": "42 validation sequences",
        "spent_seconds": 30.0,
        "budget_seconds": 60.0,
    }
    print_ladder(document, "run")
    out = " ".join(capsys.readouterr().out.split())
    print_ladder(document | {"float_seconds": 20.0}, "run")
    more = " ".join(capsys.readouterr().out.split())
    assert "Another 0.3 of the budget's 1.3 minutes (25%) went to training float networks." in more
    assert "float networks" not in out
    assert f"best {words} within 3 with a standard error of the difference to INT8 to spare" in out
    print_ladder(document | {"spare": 2.0}, "run")
    strict = " ".join(capsys.readouterr().out.split())
    assert f"{words} within 3 with 2 standard errors of the difference to INT8 to spare" in strict
    assert "Note" not in out
    assert ("emit genogate gru --genome run/best" in out) == best
    monkeypatch.setenv("GENOGATE_MAKE", "1")
    print_ladder(document, "run")
    under_make = " ".join(capsys.readouterr().out.split())
    assert ("emit make gru GENOME=run/best" in under_make) == best
    print_ladder(document | {"caution": "a.pt: it is unknown what it saw"}, "run")
    assert "Note: a.pt: it is unknown what it saw." in " ".join(capsys.readouterr().out.split())
