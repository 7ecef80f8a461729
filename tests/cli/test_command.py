"""The command on good input: what it writes and what it prints."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from genogate import __version__
from genogate.cli import app
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.data.tasks import load_task
from genogate.model.genome import GENES, Genome
from genogate.model.integer import IntModel
from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.sim import golden
from genogate.sim.random_model import random_model


def test_help_names_every_command_and_every_option_has_a_help(genogate):
    done = genogate()
    assert done.code == 0
    assert done.out == genogate("--help").out
    for name in app.list_commands(None):
        command = app.get_command(None, name)
        assert f"  {name} " in done.out
        text = genogate(name, "--help")
        assert (text.code, text.err) == (0, "")
        assert command.help
    assert genogate("--version").out == f"genogate {__version__}\n"


@pytest.fixture
def model(tmp_path):
    return random_model(np.random.default_rng(2026), Genome.uniform(5), 3, 4, 2)


def test_golden_writes_what_the_golden_model_computes(genogate, tmp_path, model):
    model.save(tmp_path / "model.safetensors")
    codes = np.random.default_rng(2026).integers(-128, 128, (5, 6, 3))
    np.save(tmp_path / "x.npy", codes.astype(np.int8))
    expected = golden.run(model, codes)
    done = genogate("golden", "model.safetensors", "x.npy", "deep/y.npz")
    assert (done.code, done.err) == (0, "")
    with np.load(tmp_path / "deep/y.npz") as arrays:
        assert set(arrays) == {"hidden", "logits", "classes"}
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], getattr(expected, name))
    done = genogate("golden", "model.safetensors", "x.npy", "y.npy")
    assert done.out == "y.npy [5, 6, 4]\ny.logits.npy [5, 2]\n"
    np.testing.assert_array_equal(np.load("y.npy"), expected.hidden)
    np.testing.assert_array_equal(np.load("y.logits.npy"), expected.logits)


def test_train_writes_a_checkpoint_that_remakes_itself(genogate, tmp_path):
    pytest.importorskip("torch")
    call = ["train", "--epochs", "2", "--hidden", "5", "--layers", "2", "--seed", "3"]
    done = genogate(*call, "--out", "a.safetensors")
    assert (done.code, done.err) == (0, "")
    made = Checkpoint.load("a.safetensors")
    assert (made.layers, made.hidden_size(), made.info["seed"]) == (2, 5, 3)
    again = made.info["command"].split()
    assert again[0] == "genogate"
    assert genogate(*again[1:]).code == 0
    first, second = (tmp_path / "a.safetensors", tmp_path / "build/digits-row/seed3.safetensors")
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run of ``genogate gru``: its folder and what it printed."""
    import contextlib
    import io
    import os
    import sys
    from unittest import mock

    from genogate.cli import main

    folder = tmp_path_factory.mktemp("gru")
    argv = ["genogate", "gru", "--genome", "int4", "--lanes", "2,4", "--wrapper", "axi"]
    out, before = io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out):
            with pytest.raises(SystemExit) as stop:
                main()
    finally:
        os.chdir(before)
    assert not stop.value.code
    return folder, out.getvalue()


def test_gru_writes_files_that_belong_together(made):
    folder, _ = made
    results = [path for path in folder.rglob("*") if path.is_file()]
    assert len({path.parent for path in results}) == 1
    place = results[0].parent
    assert place.relative_to(folder).as_posix() == "build/digits-row/int4-lanes-2x4"
    bench = {f"gru_tb_{stream}.hex" for stream in ("i", "o_h", "o_logits", "o_class")}
    assert {path.name for path in results} == bench | {
        *("gru.v", "gru_tb.v", "gru_axi.v", "gru.core", "model.safetensors", "report.json")
    }
    report = json.loads((place / "report.json").read_text())
    model = IntModel.load(place / "model.safetensors")
    assert report["model_hash"] == model.hash
    head = (place / "gru.v").read_text().split("module")[0]
    assert model.hash in head
    apart, steps = report["cycles_per_sequence"], report["steps"]
    assert f"{apart} cycles between sequences of {steps} steps" in head
    assert model.genome == Genome.uniform(4)
    assert report["genome"] == {"id": "int4", "layers": [[4] * 17]}
    assert (report["knobs"]["lanes_x"], report["knobs"]["lanes_h"]) == (2, 4)
    assert report["size_bits"] == model.size_bits
    assert 0.4 < report["size_relative_to_int8"] < 0.65
    task = load_task("digits-row", 0)
    assert (report["split_hash"], report["checkpoint"]) == (
        task.split_hash,
        zoo.load("digits-row").hash,
    )
    classes = golden.run(model, model.quantize_input(task.x_test)).classes
    assert report["accuracy"] == pytest.approx((classes == task.y_test).mean(), abs=1e-6)
    assert report["accuracy_float"] == pytest.approx(0.9703, abs=0.003)


def test_the_report_has_every_operator_and_its_totals(made):
    report = json.loads(next(made[0].rglob("report.json")).read_text())
    rows = {row["name"]: row for row in report["operators"]}
    assert {f"layer0.{gene}" for gene in GENES} <= set(rows)
    for gene in GENES:
        assert rows[f"layer0.{gene}"]["bits"] == 4
        assert rows[f"layer0.{gene}"]["cells"] > 0
    for key in ("cells", "transistors", "memory_bits"):
        assert report[key] == sum(row[key] for row in report["operators"])
    assert report["memory_bits"] >= 0.9 * report["size_bits"]
    assert report["cells_flat"] > 0
    assert "osys" in report["yosys"]
    assert 0.9 < report["utilisation"] <= 1
    assert report["cycles_per_step"] >= 32 * max(8 / 2, 32 / 4)


def test_gru_prints_the_report_within_80_columns(made):
    folder, text = made
    report = json.loads(next(folder.rglob("report.json")).read_text())
    for gene in GENES:
        assert re.search(rf"^layer0\.{gene} +4 ", text, re.M)
    for word in (
        f"{report['accuracy']:.4f}",
        f"{report['cells']:,}",
        f"{report['size_bits']:,}",
        f"{report['cycles_per_step']:,}",
        "build/digits-row/int4",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_same_call_gives_the_same_files_and_leaves_no_other(made, genogate, tmp_path):
    folder, _ = made
    same = "--genome", ",".join(["4"] * 17), "--lanes", "2,4", "--wrapper", "axi"
    done = genogate("gru", *same, "--out", "again")
    assert (done.code, done.err) == (0, "")
    first = next(folder.rglob("report.json")).parent
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        path.name for path in first.iterdir()
    }
    for path in first.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_area_agrees_with_the_report(made, genogate, tmp_path):
    report = json.loads(next(made[0].rglob("report.json")).read_text())
    done = genogate("area", "--genome", "int4", "--lanes", "2,4", "--out", "a")
    assert (done.code, done.err) == (0, "")
    document = json.loads((tmp_path / "a/area.json").read_text())
    for key, value in document.items():
        assert report[key] == value, key
    assert f"{report['cells']:,}" in done.out


@pytest.mark.skipif("not __import__('shutil').which('iverilog')", reason="needs Icarus Verilog")
def test_sim_holds_the_verilog_of_gru_to_the_golden_model(made, genogate, tmp_path):
    report = json.loads(next(made[0].rglob("report.json")).read_text())
    done = genogate("sim", "--genome", "int4", "--lanes", "2,4", "--sequences", "2", "--out", "s")
    assert (done.code, done.err) == (0, ""), done
    assert "bit-exact" in done.out
    found = json.loads((tmp_path / "s/sim.json").read_text())
    assert found["passed"] is True
    assert found["model_hash"] == report["model_hash"]
    assert found["cycles_per_step"] == pytest.approx(report["cycles_per_step"], abs=0.01)


def test_the_readme_shows_what_the_first_command_prints(genogate):
    """Names exactly; figures within what another processor's rounding may move."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    block = readme.split("\n    operator ")[1].split("\n\nThe folder holds")[0]
    shown = ["operator " + block.split("\n")[0], *(row[4:] for row in block.split("\n")[1:])]
    printed = genogate("gru").out.rstrip().split("\n")
    number = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w.])")
    for ours, theirs in zip(shown, printed, strict=True):
        if ours.startswith("measured by"):
            assert ours == theirs
            continue
        assert number.sub("", ours).split() == number.sub("", theirs).split()
        for a, b in zip(number.findall(ours), number.findall(theirs), strict=True):
            slack = 0 if "." in a else 3
            assert float(a.replace(",", "")) == pytest.approx(
                float(b.replace(",", "")), rel=0.03, abs=slack
            ), f"README {ours!r}, now {theirs!r}: paste what make gru GENOME=int8 prints"


def test_folders_are_named_after_the_checkpoint_and_the_genome_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = zoo.load("digits-row-seed1")
    checkpoint.save("mine.safetensors")
    genes = [4] * 16 + [5]
    Genome.from_genes(genes).save("low-power.json")
    name, knobs = Genome.from_genes(genes).id, Knobs(activation="table", lanes_x=2, lanes_h=4)

    def folder(genome):
        source = {"task": None, "checkpoint": "mine.safetensors", "knobs": knobs}
        return build_network(genome=genome, **source, say=lambda text: None).folder.as_posix()

    place = f"build/mine-{checkpoint.hash[:8]}"
    assert folder("low-power.json") == f"{place}/low-power-{name}-table-lanes-2x4"
    assert folder(",".join(map(str, genes))) == f"{place}/mixed-{name}-table-lanes-2x4"
    assert folder("int4") == f"{place}/int4-table-lanes-2x4"
