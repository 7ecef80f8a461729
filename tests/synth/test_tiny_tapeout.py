# amaranth: UnusedElaboratable=no
"""A project for Tiny Tapeout: its files are true, and its own test runs, also on a netlist."""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from amaranth.back import rtlil
from genogate.hdl.gru.design import Design
from genogate.hdl.wrappers.tiny_tapeout import TinyTapeoutNetwork
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.synth.asic.mapping import map_design
from genogate.synth.asic.models import cell_models
from genogate.synth.cells import liberty
from genogate.synth.integration.tiny_tapeout import (
    Project,
    names,
    project_files,
    shape_for,
    tiles_for,
)

SEED = 2026
PROJECT = Project("tt_um_genogate_small", 'A "small" network', "An author", 20.0)


@lru_cache
def network():
    """A small design and sequences for it."""
    rng = np.random.default_rng(SEED)
    design = Design.of(random_model(rng, Genome.uniform(3), 2, 2, 3))
    return design, rng.integers(-128, 128, (3, 2, 2))


@lru_cache
def files():
    return project_files(PROJECT, network()[0], "1x2", network()[1])


def written(folder):
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def made(folder, *variables):
    """Whether ``make`` in the project's test folder passes, and what it printed."""
    binaries = [str(Path(sys.executable).parent), str(Path(sys.prefix) / "bin")]
    path = os.pathsep.join([*binaries, os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-C", str(folder / "test"), *variables],
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return "PASS=1 FAIL=0" in done.stdout, done.stdout + done.stderr


def test_the_projects_own_test_passes(tmp_path):
    written(tmp_path)
    passed, text = made(tmp_path)
    assert passed, text


def test_a_network_with_dense_layers_is_a_project_whose_test_passes(tmp_path):
    genome = Genome(Genome.uniform(3).layers, ((3, 4), (2, 3)))
    rng = np.random.default_rng(SEED)
    model = random_model(rng, genome, 2, 2, 3, front=[("relu", 2)], back=[("tanh", 3)])
    design, codes = Design.of(model), rng.integers(-128, 128, (3, 2, 2))
    project = project_files(PROJECT, design, "1x2", codes)
    labels = golden.run(model, codes).classes.tolist()
    cases = json.loads(project["test/vectors.json"])["cases"]
    assert [case["answer"][-1] for case in cases if len(case["answer"]) == 2] == labels
    for name, text in project.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    passed, text = made(tmp_path)
    assert passed, text


def test_the_projects_own_test_fails_on_a_wrong_answer(tmp_path):
    written(tmp_path)
    path = tmp_path / "test" / "vectors.json"
    vectors = json.loads(path.read_text())
    vectors["cases"][-1]["answer"][-1] ^= 1
    path.write_text(json.dumps(vectors))
    passed, text = made(tmp_path)
    assert not passed
    assert "case 3:" in text


def test_the_projects_own_test_passes_on_a_netlist(tmp_path):
    try:
        library = liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    written(tmp_path)
    text = rtlil.convert(TinyTapeoutNetwork(network()[0]), name=PROJECT.top, emit_src=False)
    mapped = map_design(text, PROJECT.top, library)
    (tmp_path / "test" / "gate_level_netlist.v").write_text(mapped.verilog)
    cells = tmp_path / "cells.v"
    cells.write_text(cell_models(library, mapped.types))
    passed, text = made(tmp_path, "GATES=yes", f"CELLS={cells}")
    assert passed, text


@pytest.mark.parametrize(("share", "lanes"), [("none", 2), ("all", 1)])
def test_the_projects_own_test_passes_with_latches_in_the_source(share, lanes, tmp_path):
    try:
        library = liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(4), 3, 4, 3)
    design, codes = Design.of(model, Lanes(lanes, lanes), share), rng.integers(-128, 128, (3, 2, 3))
    project = project_files(PROJECT, design, "1x2", codes, library)
    source = project["src/project.v"]
    # Two state vectors of four codes of 4 bits, and inputs in whole words of codes of 8 bits.
    assert source.count("dlxtp_1 latch_") == 2 * 4 * 4 + 8 * (4 if lanes == 2 else 3)
    for name, text in project.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    passed, text = made(tmp_path)
    assert passed, text


def test_the_information_has_every_field_and_pin():
    info = yaml.safe_load(files()["info.yaml"])
    assert info["yaml_version"] == 6
    project = info["project"]
    assert project["title"] == 'A "small" network'
    assert project["top_module"] == "tt_um_genogate_small"
    assert (project["tiles"], project["clock_hz"]) == ("1x2", 50_000_000)
    assert project["source_files"] == ["project.v"]
    assert all(project[key] for key in ("author", "description", "language"))
    assert set(info["pinout"]) == {
        f"{group}[{k}]" for group in ("ui", "uo", "uio") for k in range(8)
    }
    assert "module tt_um_genogate_small(" in files()["src/project.v"]
    assert json.loads(files()["src/config.json"])["CLOCK_PERIOD"] == 20.0


def test_the_vectors_are_goldens():
    design, codes = network()
    cases = json.loads(files()["test/vectors.json"])["cases"]
    labels = golden.run(design.model, codes).classes.tolist()
    assert [case["answer"] for case in cases] == [
        [0, labels[0]],
        [1],
        *([0, n] for n in labels[1:]),
    ]


def test_tiles_come_whole_and_in_the_shapes_there_are():
    # 160 um x 100 um at 60 %: 9,600 um2.
    assert [tiles_for(area) for area in (100, 9600, 9601, 48_000)] == [1, 1, 2, 5]
    assert [shape_for(area) for area in (100, 9601, 48_000, 153_600)] == [
        "1x1",
        "1x2",
        "3x2",
        "8x2",
    ]
    with pytest.raises(InputError, match="need 17 tiles at 60% density, a project has 16 at most"):
        shape_for(153_601)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": "gru"}, "name 'gru': it must be tt_um_"),
        ({"author": " "}, "author ' ': it must be a line of text"),
        ({"title": "two\nlines"}, "title 'two\\nlines': it must be a line of text"),
        ({"clock_ns": 1}, "clock: 1000 MHz is not within 0.001 to 200"),
    ],
)
def test_what_tiny_tapeout_would_not_take_is_refused(change, message):
    with pytest.raises(InputError) as refusal:
        Project(**{**vars(PROJECT), **change}).check()
    assert str(refusal.value).startswith(message)


def test_a_name_is_made_of_any_words():
    assert names(("genogate", "my data.npz", "9f3c")) == "tt_um_genogate_my_data_npz_9f3c"
