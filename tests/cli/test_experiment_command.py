"""``genogate experiment``: one command to the end, killed and gone on with, and what it refuses."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("pymoo")

#: As little as has every stage.
SMALL = (
    "experiment",
    "--budget",
    "quick",
    "--checkpoints",
    "digits-row",
    "--hidden",
    "12",
    "--pop",
    "6",
    "--generations",
    "1",
    "--rounds",
    "1",
    "--trained",
    "1",
    "--sequences",
    "100",
    "--sim-sequences",
    "1",
    "--workers",
    "1",
    "--first-seed",
)
SEEDS = (*SMALL, "--checkpoints", "digits-row,digits-row-seed1")


def without_times(value):
    if isinstance(value, dict):
        return {
            k: without_times(v) for k, v in value.items() if k not in ("seconds", "wall_seconds")
        }
    return [without_times(v) for v in value] if isinstance(value, list) else value


def read(folder):
    return json.loads((folder / "experiment.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An experiment that was killed while it trained, and gone on with, with one seed more."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    run = "import sys; from genogate.cli import main; sys.argv[0] = 'genogate'; main()"
    command = [sys.executable, "-c", run, *SMALL, "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 3600
    while not list(folder.glob("one/*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read(folder)
    command = [*command[:3], *SEEDS, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, before, done


def test_killed_and_gone_on_with_it_keeps_what_was_known(whole):
    folder, before, done = whole
    after = read(folder)
    assert not before["done"]
    assert after["done"]
    known = {json.dumps([r["stage"], r["about"]]): r["found"] for r in after["numbers"]}
    assert len(before["numbers"]) >= 4
    for row in before["numbers"]:
        # Seconds too: nothing of it was done again.
        assert known[json.dumps([row["stage"], row["about"]])] == row["found"]
    assert "least size within 0.5" in done.stdout
    assert not list(folder.rglob("*.partial"))


def test_the_record_is_that_of_a_run_that_was_never_stopped(whole, genogate, tmp_path):
    folder, _, _ = whole
    # As a command has: NumPy is loaded here with as many threads as there are cores, and sums of
    # other order may calibrate another network.
    with threadpool_limits(1):
        outcome = genogate(*SEEDS, "--out", tmp_path / "straight", "--json")
    assert outcome.code == 0, outcome
    # And --json prints it, and nothing else.
    assert json.loads(outcome.out) == read(tmp_path / "straight")
    trained = [row["about"] for row in read(folder)["numbers"] if row["stage"] == "trained"]
    assert {about["seed"] for about in trained} == {0, 1}
    assert without_times(read(tmp_path / "straight")) == without_times(read(folder))


def test_the_test_part_comes_after_every_choice(whole):
    document = read(whole[0])
    stages = [row["stage"] for row in document["numbers"]]
    assert "test" not in stages[: stages.index("test")]
    assert set(stages[stages.index("test") :]) == {"test"}
    tested = {json.dumps(row["about"]) for row in document["numbers"] if row["stage"] == "test"}
    for row in document["numbers"]:
        if row["stage"] in ("trained", "quantised", "float"):
            assert json.dumps({row["stage"]: row["about"]}) in tested
            assert "test" not in row["found"]


def test_the_verilog_was_compared_or_the_reason_is_there(whole):
    simulation = read(whole[0])["simulation"]
    if "skipped" not in simulation:
        assert simulation["mismatches"] == 0
        assert simulation["codes"] > 0


def test_a_trained_network_is_what_the_other_commands_make_of_its_file(whole):
    from genogate.model.knobs import Knobs
    from genogate.network import build_network

    folder, _, _ = whole
    row = next(r for r in read(folder)["numbers"] if r["stage"] == "trained")
    knobs = Knobs(activation="table", **row["about"]["knobs"])
    label = f"h{row['about']['hidden']}-seed{row['about']['seed']}"
    hashes = set()
    for path in folder.glob(f"one/{label}-*.safetensors"):
        network = build_network(
            genome=",".join(map(str, row["about"]["genes"])),
            task=None,
            checkpoint=str(path),
            knobs=knobs,
            say=lambda _: None,
        )
        hashes.add(network.model.hash)
    assert row["found"]["model_hash"] in hashes


def test_other_options_in_its_folder_are_refused(whole, genogate):
    folder, _, _ = whole
    genogate(*SEEDS, "--epochs", "2", "--out", folder).refused("epochs", "another folder")
    # Fewer seeds, another first one, and rounds that would have looked at the further ones.
    genogate(*SMALL, "--out", folder).refused("differs in checkpoints", "another folder")
    genogate(*SMALL, "--checkpoints", "digits-row-seed1,digits-row", "--out", folder).refused(
        "differs in checkpoints", "another folder"
    )
    genogate(*SEEDS, "--every-seed", "--out", folder).refused("every_seed", "another folder")


def test_a_folder_of_something_else_is_refused(genogate, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.json").write_text("[]")
    genogate(*SMALL, "--out", "run").refused("experiment.json", "another folder")
    damaged = {"version": 1, "plan": {"rounds": "x"}, "data": {}, "numbers": []}
    (tmp_path / "run" / "experiment.json").write_text(json.dumps(damaged))
    genogate(*SMALL, "--out", "run").refused("experiment.json: damaged", "another folder")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--task", "digits"), ("digits", "unknown")),
        (("--hidden", "24,x"), ("hidden", "integers")),
        (("--hidden", "24,24"), ("hidden", "different")),
        (("--checkpoints", "kws4"), ("kws4", "digits-row")),
        (("--hidden", "24", "--checkpoints", "digits-row-2layer"), ("hidden 24", "other sizes")),
        (("--checkpoints", "digits-row,digits-row"), ("each once",)),
        (("--checkpoints", "nowhere"), ("nowhere", "no such file")),
        (("--checkpoints", ","), ("checkpoints: ','", "names none", "leave it out")),
        (("--hidden", "99999999"), ("hidden", "1 to 4096")),
        (("--objectives", "size,cells"), ("accuracy",)),
        (("--epochs", "0"), ("epochs: 0",)),
        (("--rounds", "-1"), ("rounds: -1",)),
    ],
)
def test_bad_input_is_one_line(genogate, arguments, words):
    genogate("experiment", "--workers", "1", *arguments).refused(*words)


def test_a_finished_experiment_may_be_moved(whole, genogate, tmp_path):
    """Its records do not name the place where it was; nothing is done again elsewhere."""
    folder, moved = whole[0], tmp_path / "moved"
    aside = folder.rename(folder.with_name("aside"))
    try:
        shutil.copytree(aside, moved)
        outcome = genogate(*SEEDS, "--out", moved)
        assert outcome.code == 0, outcome
        assert read(moved)["numbers"] == read(aside)["numbers"]
        assert not folder.exists()
        # A simulation writes its job, with full paths, anew each time that it runs.
        records = [path for path in moved.rglob("*.json") if path.name != "job.json"]
        assert [path.name for path in records if str(folder) in path.read_text()] == []
    finally:
        aside.rename(folder)


def emptied(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_bytes(path):
    path.write_bytes(b"\xff\xfe{}")


def a_list(path):
    path.write_text("[]")


def a_mapping(path):
    path.write_text("{}")


def a_folder(path):
    path.unlink()
    path.mkdir()


def row_without(stage, name, value=None):
    """A record in which `value` stands in place of a number of a row of `stage`."""

    def damage(path):
        document = json.loads(path.read_text())
        row = next(row for row in document["numbers"] if row["stage"] == stage)
        if value is None:
            del row["found"][name]
        else:
            row["found"][name] = value
        path.write_text(json.dumps(document))

    return damage


def part_without(part, value):
    def damage(path):
        document = json.loads(path.read_text())
        path.write_text(json.dumps(document | {part: value}))

    return damage


WAYS = (emptied, truncated, of_bytes, a_list, a_mapping, a_folder)
RECORDS = (
    part_without("plan", []),
    part_without("plan", {"rounds": "x"}),
    part_without("data", 3),
    part_without("numbers", {}),
    part_without("numbers", [3]),
    part_without("numbers", [{"stage": "test"}]),
    row_without("trained", "judged"),
    row_without("trained", "model_hash"),
    row_without("quantised", "seconds", float("nan")),
    row_without("test", "test", "x"),
    row_without("float", "val", [1]),
    row_without("round", "chosen", 3),
    row_without("search", "front", [None]),
)


def state(folder):
    """Files and when they were written, but for the lock, which every command takes."""
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_a_record_damaged_in_any_way_is_refused_and_nothing_is_written(whole, genogate, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(whole[0], folder)
    record, good = folder / "experiment.json", (whole[0] / "experiment.json").read_bytes()
    for damage in (*RECORDS, *WAYS):
        record.write_bytes(good)
        damage(record)
        before = state(folder)
        genogate(*SEEDS, "--quiet", "--out", folder).refused(str(folder), "another folder")
        assert state(folder) == before


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("float/h12-seed0.safetensors", WAYS),
        ("any/h32-seed0.safetensors", WAYS),
        # What is read late, in few ways.
        ("one/*.safetensors", (truncated,)),
        ("search/any/config.json", (a_list,)),
        ("search/float/evaluations.sqlite", (truncated, a_folder)),
        # It is only written.
        ("search/float/history.json", (a_folder,)),
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(whole, genogate, tmp_path, name, ways):
    """Without the record, which says what is in them, all are read."""
    folder = tmp_path / "damaged"
    shutil.copytree(whole[0], folder)
    path = next(iter(sorted(folder.glob(name))))
    good = path.read_bytes()
    for damage in ways:
        path.write_bytes(good)
        damage(path)
        (folder / "experiment.json").unlink(missing_ok=True)
        before = set(state(folder))
        outcome = genogate(*SEEDS, "--quiet", "--out", folder)
        outcome.refused(str(path), "give the same command again")
        new = {str(made) for made in set(state(folder)) - before}
        # What is known until then, and the log of a store.
        assert not {n for n in new if n != "experiment.json" and ".sqlite-" not in n}, new


def test_networks_that_are_gone_are_trained_again_where_they_are_needed_alone(
    whole, genogate, tmp_path
):
    folder = tmp_path / "again"
    shutil.copytree(whole[0], folder)
    shutil.rmtree(folder / "one")
    outcome = genogate(*SEEDS, "--out", folder)
    assert outcome.code == 0, outcome
    assert "trained again" not in outcome.err
    assert not (folder / "one").exists()
    assert read(folder)["numbers"] == read(whole[0])["numbers"]
    # Accuracy on test and simulation are made of the networks.
    record = read(folder)
    of_test = [r for r in record["numbers"] if r["stage"] == "test" and "trained" in r["about"]]
    record["numbers"].remove(of_test[-1])
    del record["simulation"]
    (folder / "experiment.json").write_text(json.dumps(record))
    with threadpool_limits(1):
        outcome = genogate(*SEEDS, "--out", folder)
    assert outcome.code == 0, outcome
    made = {path.name for path in folder.glob("one/*")}
    said = [line for line in outcome.err.splitlines() if line.startswith(f"Gone from {folder}/one")]
    assert 1 <= len(said) <= 2, outcome.err
    assert 1 <= len(made) <= 2
    assert all(any(name in line for line in said) for name in made)
    assert without_times(read(folder)["numbers"]) == without_times(read(whole[0])["numbers"])
    assert read(folder)["simulation"]["mismatches"] == 0


def test_what_is_removed_as_was_told_is_made_again(whole, genogate, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(whole[0], folder)
    (folder / "search" / "any" / "config.json").unlink()
    gone = next(iter(sorted(folder.glob("one/h12-*.safetensors"))))
    gone.unlink()
    (folder / "experiment.json").unlink()
    # As a command has, see above.
    with threadpool_limits(1):
        outcome = genogate(*SEEDS, "--quiet", "--out", folder)
    assert outcome.code == 0, outcome
    assert gone.exists()
    assert without_times(read(folder)["numbers"]) == without_times(read(whole[0])["numbers"])


def test_other_commands_know_a_folder_of_an_experiment(whole, genogate, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(whole[0], folder)
    genogate("report", folder).refused(f"{folder}: an experiment", str(folder / "search"))
    run = folder / "search" / "any"
    emptied(run / "knee")
    again = "remove it, and give the experiment's command again"
    genogate("gru", "--genome", run / "knee").refused(str(run / "knee"), again)
    for name in ("history.json", "front.json", "config.json"):
        # In the order in which they are read, the last first.
        a_mapping(run / name)
        genogate("report", run).refused(str(run / name), again)


def test_more_rounds_make_it_longer_and_fewer_are_refused(whole, genogate):
    """The last here, since it changes the folder that the others read."""
    folder, _, _ = whole
    before = read(folder)
    outcome = genogate(*SEEDS, "--rounds", before["plan"]["rounds"] + 1, "--out", folder)
    assert outcome.code == 0, outcome
    after = read(folder)
    rounds = [[r for r in each["numbers"] if r["stage"] == "round"] for each in (before, after)]
    assert len(rounds[1]) == len(rounds[0]) + 1
    assert rounds[1][: len(rounds[0])] == rounds[0]
    genogate(*SEEDS, "--out", folder).refused("rounds", "another folder")


def test_a_checkpoint_of_another_size_stands_for_one_that_would_be_trained(genogate, tmp_path):
    small = tmp_path / "small.safetensors"
    assert genogate("train", "--hidden", "12", "--epochs", "3", "--out", small).code == 0
    given = [
        *SMALL,
        "--rounds",
        "0",
        "--sim-sequences",
        "0",
        "--checkpoints",
        f"digits-row,{small}",
    ]
    genogate(*given, "--hidden", "20", "--out", "other").refused("small.safetensors", "12", "20")
    genogate(*SMALL, "--checkpoints", "digits-row,none.safetensors").refused("none.safetensors")
    twice = tmp_path / "twice.safetensors"
    twice.write_bytes(small.read_bytes())
    genogate(*SMALL, "--checkpoints", f"digits-row,{small},{twice}").refused("same size and split")
    outcome = genogate(*given, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome
    stages = [row["stage"] for row in read(tmp_path / "run")["numbers"]]
    assert "float training" not in stages
    assert {
        row["about"]["hidden"]
        for row in read(tmp_path / "run")["numbers"]
        if row["stage"] == "trained"
    } == {12, 32}
