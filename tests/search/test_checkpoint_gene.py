"""Which checkpoint, and how wide inputs are, as genes; weights of the GRU alone as an objective."""

import dataclasses
import json
import sqlite3

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint, forward
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome, found_with
from genogate.model.knobs import Knobs
from genogate.model.quantize.quantize import quantize
from genogate.search.genomes.candidate import Candidate
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate, load
from genogate.search.genomes.exploit import Space, propose, steps
from genogate.search.genomes.run import Run
from genogate.search.report.page import collect, page

SEED = 7
SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False, shifts=False)
CONFIG = Config(
    objectives=("accuracy", "weights"),
    pop_size=10,
    generations=2,
    exploit=1,
    seed=SEED,
    initial="homogeneous",
    max_drop=None,
)
UNITS = 30


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """The shipped network without two units, in a file whose name needs care."""
    whole = zoo.load("digits-row")
    hidden, tensors = whole.hidden_size(), {}
    states = forward(whole, load_task("digits-row", 0).x_calibration).hidden
    matter = np.linalg.norm(whole.tensors["classifier.weight"], axis=0) * states.std((0, 1))
    kept = np.sort(np.argsort(-matter)[:UNITS])
    rows = np.concatenate([kept + gate * hidden for gate in range(3)])
    for name, array in whole.tensors.items():
        if name.startswith("classifier"):
            tensors[name] = array[:, kept] if array.ndim == 2 else array
        else:
            tensors[name] = (
                array[rows][:, kept] if "_hh_" in name and array.ndim == 2 else (array[rows])
            )
    path = tmp_path_factory.mktemp("other checkpoints") / "30 units, a=b|c.safetensors"
    Checkpoint({k: np.ascontiguousarray(v) for k, v in tensors.items()}, whole.info).save(path)
    return str(path)


@pytest.fixture(scope="module")
def run(smaller, tmp_path_factory):
    config = dataclasses.replace(CONFIG, checkpoints=(smaller,), knob_genes=("input_bits",))
    made = Run(tmp_path_factory.mktemp("run") / "r", SETTING, config)
    made.go()
    return made


def test_a_candidate_is_evaluated_with_its_checkpoint_and_input_bits(run, smaller):
    kinds = {(c.checkpoint, dict(c.knobs).get("input_bits", 8)) for c in run.points}
    assert {name for name, _ in kinds} == {None, smaller}
    assert {bits for _, bits in kinds} > {8}
    genome = next(c.genome for c in run.points if c.checkpoint and "input_bits" in dict(c.knobs))
    candidate = next(c for c in run.points if c.genome == genome and c.checkpoint)
    bits = dict(candidate.knobs)["input_bits"]
    knobs = dataclasses.replace(SETTING.knobs, input_bits=bits)
    alone = Setting(smaller, knobs, silicon=False, shifts=False)
    ((_, result),) = evaluate(alone, [genome])
    assert run.points[candidate].result == result
    model = quantize(load(alone).calibration, genome, knobs)
    assert (model.in_bits, model.layers[0].hidden_size) == (bits, UNITS)
    genes = dict(zip(GENES, genome.genes, strict=True))
    assert (
        result["weights"]
        == model.weight_bits
        == sum(genes[name] * UNITS * (8 if name[2] == "i" else UNITS) for name in GENES[:6])
    )
    assert result["size"] == model.size_bits
    for other in run.points:
        assert run.encoding.decode(run.encoding.encode(other)) == other
    # All is relative to INT8 of the first checkpoint.
    assert run.int8 == Candidate(Genome.uniform(8))
    assert run.ledger.costs([run.points[run.int8]])[0, 1] == 1.0
    assert run.points[run.int8].result["weights"] == 8 * 3 * 32 * (8 + 32)


def test_genome_files_name_the_checkpoint(run, smaller):
    points = json.loads((run.folder / "front.json").read_text())["points"]
    of = [point.get("knobs", {}).get("checkpoint") for point in points]
    assert smaller in of
    for k, (point, name) in enumerate(zip(points, of, strict=True)):
        checkpoint, knobs = found_with(str(run.folder / f"front-{k}"))
        assert zoo.load(checkpoint).hidden_size() == (UNITS if name else 32)
        assert knobs.get("input_bits", 8) == point.get("knobs", {}).get("input_bits", 8)
    least = min(points, key=lambda point: point["weights"])
    assert json.loads((run.folder / "fewest-weights").read_text())["layers"][0] == least["genome"]


def test_resumed_runs_end_the_same_and_notice_another_checkpoint(run, smaller, tmp_path):
    again = Run(run.folder, SETTING, run.config, resume=True)
    before = (run.folder / "front.json").read_bytes()
    again.go()
    assert again.fresh == 0
    assert (run.folder / "front.json").read_bytes() == before
    with pytest.raises(InputError, match="its run differs in checkpoints, also"):
        Run(run.folder, SETTING, dataclasses.replace(run.config, checkpoints=()), resume=True)
    whole = zoo.load(smaller)
    moved = {k: v + np.float32(0.01) for k, v in whole.tensors.items()}
    other = tmp_path / "other.safetensors"
    config = dataclasses.replace(run.config, checkpoints=(str(other),))
    whole.save(other)
    first = Run(tmp_path / "r", SETTING, dataclasses.replace(config, generations=1, exploit=0))
    first.go()
    Checkpoint(moved, whole.info).save(other)
    load.__globals__["_material"].cache_clear()
    with pytest.raises(InputError, match="its run differs in also"):
        Run(tmp_path / "r", SETTING, config, resume=True)


def test_a_folder_moved_with_its_checkpoints_goes_on(smaller, tmp_path):
    import shutil

    (tmp_path / "here").mkdir()
    shutil.copy(smaller, tmp_path / "here" / "small.safetensors")

    def run_in(place, **more):
        also = str(tmp_path / place / "small.safetensors")
        config = dataclasses.replace(CONFIG, checkpoints=(also,), generations=1, exploit=0)
        made = Run(tmp_path / place / "run", SETTING, config, **more)
        made.go()
        return made

    before = run_in("here")
    before.evaluator.store.close()
    (tmp_path / "here").rename(tmp_path / "there")
    after = run_in("there", resume=True)
    assert after.fresh == 0
    assert [p.result for p in after.front()] == [p.result for p in before.front()]
    for path in (tmp_path / "there" / "run").glob("front-*"):
        checkpoint, _ = found_with(str(path))
        assert "here/" not in checkpoint.replace("there/", "")


@pytest.mark.parametrize(
    ("also", "message"),
    [
        (
            ("digits-row-seed1",),
            "checkpoint digits-row-seed1: its split is 7204883df0105e55, that "
            "of digits-row 64cf3559ac0ece75; all must have the same",
        ),
        (("digits-row-2layer",), "checkpoint digits-row-2layer: 2 layers, digits-row has 1; all"),
        (("digits-row",), "checkpoint digits-row: it is the first one already"),
        (("nowhere",), "checkpoint 'nowhere': no such file"),
    ],
)
def test_checkpoints_that_do_not_go_together_are_refused(also, message, tmp_path):
    with pytest.raises(InputError) as refused:
        Run(tmp_path / "r", SETTING, dataclasses.replace(CONFIG, checkpoints=also))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r").exists()


def test_configurations_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="further checkpoints: 'a' is given twice; give each once"):
        Config(checkpoints=("a", "a"))
    with pytest.raises(InputError, match="method greedy: it has no further checkpoints"):
        Config(method="greedy", checkpoints=("a",))


def test_the_page_tells_the_checkpoint(run, smaller, monkeypatch):
    data = collect(run.folder, cells=False)
    assert not [note for note in data["notes"] if "do not read" in note or "another" in note]
    assert len(data["points"]) == len(run.points)
    assert "weights" in [figure["key"] for figure in data["figures"]]
    with_it = [p for p in data["points"] if p.get("k", {}).get("checkpoint") == smaller]
    assert len(with_it) == sum(c.checkpoint is not None for c in run.points)
    text = page(data)
    assert smaller.replace("|", "|") in text
    assert f"--also '{smaller}'" in data["command"]
    # A genome whose file does not say it: the command does.
    for path in run.folder.glob("front-*"):
        document = json.loads(path.read_text())
        document.pop("found_with")
        path.write_text(json.dumps(document))
    data = collect(run.folder, cells=False)
    for point in data["points"]:
        if point.get("f"):
            suffix = data["suffixes"][point.get("s", 0)]
            assert suffix.count("--checkpoint ") == ("checkpoint" in point.get("k", {}))
    run.save(json.loads((run.folder / "history.json").read_text()), run.front())
    # Cells by operator are those of the network with its own checkpoint.
    from genogate.search.report import cells as report_cells

    sizes = []
    monkeypatch.setattr(report_cells, "cheapest", lambda groups, say: [0] * len(groups))
    monkeypatch.setattr(
        report_cells,
        "prepare",
        lambda cases, say: sizes.extend(
            (design.model.layers[0].hidden_size, design.model.in_bits) for design in cases
        ),
    )
    monkeypatch.setattr(report_cells, "area_report", lambda *a, **k: type("R", (), {"rows": ()}))
    key = (Genome.uniform(4).genes, (("checkpoint", smaller), ("input_bits", "3")))
    report_cells.measured({"knobs": SETTING.knobs.to_json()}, [(key, smaller)], lambda text: None)
    assert sizes == [(UNITS, 3)]


def test_pictures_show_knobs_of_the_front(run):
    pytest.importorskip("matplotlib")
    from genogate.search.report.pictures import draw

    images = draw(collect(run.folder, cells=False))
    assert {"genes.png", "accuracy-weights.png"} <= images.keys()


def test_runs_of_before_go_on(tmp_path):
    """Configurations without knobs and checkpoints that came later, results without weights."""
    config = dataclasses.replace(CONFIG, objectives=("accuracy", "size"), pop_size=4, exploit=0)
    whole = Run(tmp_path / "a", SETTING, config)
    whole.go()
    document = json.loads((tmp_path / "a" / "config.json").read_text())
    assert document.pop("version") == 5
    for name in ("checkpoints", "prescreen", "prescreen_factor", "proxy_only"):
        del document["config"][name]
    del document["setting"]["also"]
    del document["setting"]["knobs"]["input_bits"]
    (tmp_path / "a" / "config.json").write_text(json.dumps({"version": 2, **document}))
    db = whole.evaluator.store.db
    from genogate.search.genomes.store import _checksum

    for key, result in db.execute("SELECT key, result FROM evaluations").fetchall():
        old = json.loads(result)
        del old["weights"]
        text = json.dumps(old, sort_keys=True)
        db.execute(
            "UPDATE evaluations SET result=?, checksum=? WHERE key=?",
            (text, _checksum(key, text), key),
        )
    db.commit()
    again = Run(tmp_path / "a", SETTING, config, resume=True)
    again.go()
    assert again.fresh == 0
    assert [p.candidate for p in again.front()] == [p.candidate for p in whole.front()]
    # Where weights are an objective, what lacks them is evaluated again, and only that.
    other = dataclasses.replace(config, objectives=("accuracy", "weights"))
    wanting = Run(tmp_path / "b", SETTING, other)
    wanting.evaluator.store.close()
    wanting.evaluator.store = whole.evaluator.store
    wanting.go()
    assert wanting.fresh == len(wanting.points)
    rows = sqlite3.connect(tmp_path / "a" / "evaluations.sqlite").execute(
        "SELECT COUNT(*) FROM evaluations"
    )
    assert rows.fetchone()[0] == len({*wanting.points, *again.points})


def test_a_category_has_no_order():
    space = Space(np.array([2] * 6 + [0]), np.array([8] * 6 + [4]), (6,))
    rng = np.random.default_rng(SEED)
    near = steps(rng, space, np.array([5] * 6 + [1]))
    assert {int(v) for v in near[:, 6]} == {0, 1, 2, 3, 4}
    assert (near >= space.low).all()
    assert (near <= space.high).all()
    # The model learns what each value does, however the values lie.
    rows = rng.integers(space.low, space.high + 1, (400, 7))
    effect = np.array([0.0, 0.3, -0.2, 0.5, 0.1])
    costs = np.column_stack([0.2 + effect[rows[:, 6]] / 5, rows[:, :6].sum(1) / 48])
    start = np.array([[5] * 6 + [3]])
    found = propose(
        rng,
        space,
        np.vstack([rows, start]),
        np.vstack([costs, [[0.3, 0.625]]]),
        [400],
        np.array([0.5, 1.0]),
        12,
    )
    assert (found[:, 6] == 2).sum() >= 3


def test_beacons_serve_the_checkpoint_that_they_began_with(smaller, tmp_path):
    lit = []

    def retrain(source):
        def make(genome, path):
            lit.append(source)
            zoo.load(source or "digits-row").save(path)

        return make

    config = dataclasses.replace(
        CONFIG,
        objectives=("accuracy", "size"),
        checkpoints=(smaller,),
        beacons=3,
        beacon_distance=8.0,
        generations=3,
        exploit=0,
    )
    by_source = {name: retrain(name) for name in (None, smaller)}
    run = Run(tmp_path / "r", SETTING, config, retrain=by_source)
    run.go()
    # Far enough for one beacon of each to be near everything of its checkpoint.
    assert sorted(lit, key=str) == sorted([None, smaller], key=str)
    for candidate, point in run.points.items():
        units = UNITS if candidate.checkpoint else 32
        bits = dict(zip(GENES, candidate.genome.genes, strict=True))
        assert point.result["weights"] == sum(
            bits[name] * units * (8 if name[2] == "i" else units) for name in GENES[:6]
        )
    again = Run(tmp_path / "r", SETTING, config, resume=True, retrain=by_source)
    again.go()
    assert len(lit) == 2
    assert again.fresh == 0


def test_the_command_takes_further_checkpoints(smaller, tmp_path, monkeypatch):
    from click.testing import CliRunner
    from genogate.cli import app

    monkeypatch.chdir(tmp_path)
    arguments = [
        "search",
        "--checkpoint",
        "digits-row",
        "--also",
        smaller,
        "--objectives",
        "accuracy,weights",
        "--activation",
        "table",
        "--pop",
        "6",
        "--generations",
        "1",
        "--exploit",
        "0",
        "--initial",
        "homogeneous",
        "--knob-genes",
        "input-bits",
        "--workers",
        "1",
        "--max-drop",
        "none",
        "--out",
        "run",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "within-1.0-smallest" in done.output
    points = json.loads((tmp_path / "run" / "front.json").read_text())["points"]
    k, point = next(
        (k, p) for k, p in enumerate(points) if p.get("knobs", {}).get("checkpoint") == smaller
    )
    done = CliRunner().invoke(app, ["area", "--genome", f"run/front-{k}", "--out", "built"])
    assert done.exit_code == 0, done.output
    area = json.loads((tmp_path / "built" / "area.json").read_text())
    assert area["checkpoint"] == zoo.load(smaller).hash
    assert area["knobs"]["input_bits"] == point["knobs"].get("input_bits", 8)
