"""Damaged genome files of a search: what is wrong, and how to get them back."""

import json

import pytest
from genogate.model.genome import Genome

AGAIN = "--resume the search with the options of before, which writes it again"


@pytest.fixture
def run(tmp_path):
    """A folder with what commands that take its genome files look at."""
    folder = tmp_path / "run"
    genome = Genome.uniform(4)
    for name in ("knee", "front-0"):
        genome.save(folder / name, checkpoint="digits-row", knobs={})
    front = {"named": {"knee": list(genome.genes)}, "points": [{"genome": list(genome.genes)}]}
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "evaluations.sqlite").write_bytes(b"")
    return folder


def edited(change):
    def edit(path):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:90]), "knee: not valid JSON"),
        (lambda p: p.write_bytes(b""), "knee: not valid JSON"),
        (lambda p: (p.unlink(), p.mkdir()), "it is a folder"),
        (edited(lambda d: d["layers"][0].pop()), "16"),
        (edited(lambda d: d["layers"][0].__setitem__(0, 99)), "99"),
        (edited(lambda d: d["order"].reverse()), "gene order"),
        (edited(lambda d: d.update(found_with="x")), "found_with"),
        (edited(lambda d: d["found_with"].update(knobs={"granularity": 5})), "knobs are wrong"),
        (edited(lambda d: d["found_with"].update(knobs={"speed": 5})), "no knob 'speed'"),
    ],
)
@pytest.mark.parametrize("command", ["gru", "area"])
def test_a_damaged_genome_file_is_refused_with_its_remedy(genogate, run, command, damage, words):
    damage(run / "knee")
    outcome = genogate(command, "--genome", run / "knee", "--out", "out")
    outcome.refused(str(run / "knee"), words, f"remove it, and {AGAIN}")
    assert not (run.parent / "out").exists()


@pytest.mark.parametrize("checkpoint", ["../nope.safetensors", "", "a\0b.safetensors", "a" * 5000])
def test_a_checkpoint_that_is_gone_is_named_with_the_genome(genogate, run, checkpoint):
    edited(lambda d: d["found_with"].update(checkpoint=checkpoint))(run / "knee")
    genogate("gru", "--genome", run / "knee").refused(str(run / "knee"))
    # With another one the file is as good as any genome.
    if len(checkpoint) < 100:
        outcome = genogate("gru", "--genome", run / "knee", "--checkpoint", "none.safetensors")
        outcome.refused("none.safetensors", "no such file")


def test_a_missing_one_is_written_again_or_was_never_there(genogate, run):
    (run / "knee").unlink()
    genogate("gru", "--genome", run / "knee").refused("no such file", AGAIN)
    never = genogate("gru", "--genome", run / "within-0.5-smallest")
    never.refused("no such file", "that search has knee, front-0")
    assert AGAIN not in never.err


def test_elsewhere_nothing_is_said_of_a_search(genogate, run):
    (run / "evaluations.sqlite").unlink()
    (run / "knee").write_bytes(b"")
    outcome = genogate("gru", "--genome", run / "knee")
    outcome.refused("not valid JSON")
    assert "search" not in outcome.err


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b'{"version": 5, "config": {'),
        lambda p: p.write_bytes(b"\xff\xfe{}"),
        lambda p: p.write_text("[]"),
        lambda p: p.write_text('{"version": 5, "config": {}}'),
        lambda p: p.mkdir(),
    ],
)
@pytest.mark.parametrize(
    "command",
    [("report",), ("search", "--resume", "--out"), ("search", "--exact", "--resume", "--out")],
)
def test_every_command_says_the_same_of_a_damaged_configuration(genogate, run, command, damage):
    damage(run / "config.json")
    outcome = genogate(*command, run)
    outcome.refused(str(run / "config.json"), f"remove it, and {AGAIN}")
    assert not (run / "report.html").exists()
