"""--json prints the record on stdout and nothing else, --quiet prints no report."""

import json
import shlex
import shutil
from functools import partial

import numpy as np
import pytest
from genogate import bench
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.search.proxies import networks
from genogate.search.proxies.draws import Draws
from genogate.search.proxies.gru.table import make_gru
from genogate.sim.random_model import random_model
from genogate.synth import boards
from genogate.synth.cells import liberty
from genogate.synth.targets.route import Routed


def cells_are_there():
    try:
        liberty.find()
    except InputError:
        return False
    return True


needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs Icarus Verilog")
needs_cells = pytest.mark.skipif(
    not cells_are_there(), reason="needs a Liberty file (GENOGATE_LIBERTY or PDK_ROOT)"
)
#: Few parts to measure one by one.
SHARED = ("--share", "all")
TINY = ("--checkpoint", "tiny.safetensors", "--genome", "int4", "--activation", "table")


@pytest.fixture(autouse=True)
def tiny(genogate, tmp_path):
    """A checkpoint of digits-row with two units, untrained: quick to measure and to simulate."""
    rng = np.random.default_rng(2026)
    shapes = {
        "weight_ih_l0": (6, 8),
        "weight_hh_l0": (6, 2),
        "bias_ih_l0": (6,),
        "bias_hh_l0": (6,),
        "classifier.weight": (10, 2),
        "classifier.bias": (10,),
    }
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    Checkpoint(tensors, {"task": "digits-row"}).save(tmp_path / "tiny.safetensors")


def record(outcome, code=0):
    """What stdout holds, where it holds one JSON document and nothing else."""
    assert outcome.code == code, outcome
    return json.loads(outcome.out)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["gru", *TINY], "report.json"),
        (["area", *TINY], "area.json"),
        pytest.param(["sim", *TINY, "--sequences", "1"], "sim.json", marks=needs_icarus),
        (
            ["lut", "tanh", "--entries", "4", "--scales", "4", "--no-picture", "--no-verify"],
            "report.json",
        ),
        pytest.param(
            ["unit", "rsqrt", "--entries", "4"], "report.json", marks=needs_icarus, id="unit"
        ),
        pytest.param(
            shlex.split("front tanh --in-bits 5 --out-bits 5 --scale 2 --pop 6 --generations 1"),
            "front.json",
            marks=needs_icarus,
            id="front",
        ),
        pytest.param(
            ["area", *TINY, *SHARED, "--target", "ice40-up5k"], "target.json", id="target"
        ),
        pytest.param(
            ["asic", *TINY, "--genome", "int2", "--sequences", "2"],
            "asic.json",
            marks=needs_cells,
            id="asic",
        ),
        pytest.param(
            ["tinytapeout", *TINY, *SHARED, "--author", "A", "--title", "T"],
            "project.json",
            marks=needs_cells,
            id="tinytapeout",
        ),
        pytest.param(["campaign", "--n", "1"], "summary.json", marks=needs_icarus, id="campaign"),
    ],
)
def test_json_is_the_record_in_the_folder(genogate, tmp_path, command, file):
    printed = record(genogate(*command, "--out", "here", "--json"))
    assert printed == json.loads((tmp_path / "here" / file).read_text())


def test_a_bitstream_and_the_board_that_runs_it(genogate, tmp_path, monkeypatch):
    """Place and route, and the board, stand in for themselves: only what is printed counts."""
    routed = Routed(21.5, {"ICESTORM_LC": (900, 5280)}, {"layer0.w_ir": 3.0}, "nextpnr")
    made = boards.Bitstream("gru.bin", b"bits", 115200, 12.0, routed, ("Yosys 0.70", "nextpnr"))
    monkeypatch.setattr(boards, "build", lambda design, board, progress: made)
    printed = record(genogate("bitstream", *TINY, "--out", "here", "--json"))
    assert printed == json.loads((tmp_path / "here" / "board.json").read_text())
    assert printed["bitstream"] == "gru.bin"
    assert (tmp_path / "here" / "gru.bin").read_bytes() == b"bits"

    for mismatches in (0, 1):
        result = {"labels": [3, 1], "mismatches": mismatches}
        monkeypatch.setattr("genogate.host.session", lambda *_, result=result: result)
        outcome = genogate("host", "--port", "none", "--model", "here", "--json")
        assert record(outcome, mismatches) == result


def test_search_and_its_report(genogate, tmp_path):
    pytest.importorskip("pymoo")
    small = ["--pop", "4", "--generations", "1", "--exploit", "0", "--workers", "1"]
    network = ["--checkpoint", "tiny.safetensors", "--activation", "table", "--max-drop", "none"]
    command = ["search", *network, "--objectives", "accuracy,size", *small]
    printed = record(genogate(*command, "--out", "run", "--json"))
    assert printed == json.loads((tmp_path / "run/front.json").read_text())
    page = record(genogate("report", "run", "--no-pictures", "--no-cells", "--json"))
    assert (page["page"], page["pictures"]) == ("run/report.html", [])


def test_training_prints_what_the_checkpoint_says(genogate, tmp_path):
    pytest.importorskip("torch")
    recipe = ["--epochs", "1", "--hidden", "4"]
    trained = record(genogate("train", *recipe, "--out", "a.safetensors", "--json"))
    assert (trained["written"], trained["task"]) == ("a.safetensors", "digits-row")
    assert set(trained["accuracy"]) == {"train", "val"}
    imported = record(
        genogate("import", "a.safetensors", "--task", "digits-row", "--out", "b", "--json")
    )
    assert imported["accuracy"]["val"] == trained["accuracy"]["val"]
    tuned = record(genogate("qat", *TINY, "--epochs", "1", "--out", "c", "--json"))
    assert tuned["genome"] == "int4"
    assert set(tuned["accuracy"]) == {"float", "ptq", "qat"}


def test_golden_and_proxies(genogate, tmp_path):
    random_model(np.random.default_rng(2026), Genome.uniform(5), 3, 4, 2).save("m.safetensors")
    np.save("x.npy", np.zeros((2, 3, 3), np.int8))
    assert record(genogate("golden", "m.safetensors", "x.npy", "y.npy", "--json")) == {
        "y.npy": [2, 3, 4],
        "y.logits.npy": [2, 2],
    }
    scores = record(genogate("proxy", "score", "bit-sum", "int4", "int8", "--json"))
    assert [row["genome"] for row in scores] == ["int8", "int4"]
    assert scores[0]["score"] > scores[1]["score"]
    assert "formula" in record(genogate("proxy", "show", "negate(mean(square(error)))", "--json"))


def test_searches_and_judgements_of_proxies(genogate, tmp_path, monkeypatch):
    table = ["--table", "digits-row"]
    small = ["--evaluations", "8", "--population", "4"]
    printed = record(genogate("proxy", "search", *table, *small, "--out", "run", "--json"))
    assert printed == json.loads((tmp_path / "run/found.json").read_text())
    printed = record(genogate("proxy", "eval", "bits", *table, "--out", "e.json", "--json"))
    assert printed == json.loads((tmp_path / "e.json").read_text())
    few = Draws(any=2, around=1, equal_sum=1, equal_size=1)
    monkeypatch.setattr(networks, "make_gru", partial(make_gru, draws=few, repeats=1, repeated=1))
    printed = record(genogate("proxy", "table", "digits-row", "--out", "t.npz", "--json"))
    assert printed == {"written": "t.npz", "network": "digits-row", "genomes": 5}


def test_bench_prints_the_figures_of_its_file(genogate, tmp_path, monkeypatch):
    def figures(say):
        say("measuring")
        return {"machine": "here", "sequences_per_second": {"golden": 1.5}}

    monkeypatch.setattr(bench, "bench", figures)
    printed = record(genogate("bench", "--out", "b.json", "--json"))
    assert printed == figures(str) == json.loads((tmp_path / "b.json").read_text())


def test_quiet_prints_nothing_and_json_prints_it_all_the_same(genogate, tmp_path):
    command = ["area", *TINY, "--out", "here"]
    done = genogate(*command, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    both = record(genogate(*command, "--quiet", "--json"))
    assert both == json.loads((tmp_path / "here/area.json").read_text())


def test_an_error_with_json_is_a_line_on_stderr_and_nothing_on_stdout(genogate):
    genogate("area", "--genome", "int9", "--json").refused("int9")
