# amaranth: UnusedElaboratable=no
"""The plain Verilog bench and the FuseSoC core file, used as a user without Python uses them."""

import subprocess
from functools import lru_cache

import numpy as np
import pytest
import yaml
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.integer import code_range
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.simulators import missing_for_verilator, verilator_environment
from genogate.synth.integration.fusesoc import core_file
from genogate.synth.integration.plain_bench import plain_bench, sequences_for
from genogate.synth.verilog import emit

SEED = 2026


@lru_cache
def files_of(share, lanes, head=None, weights="rom"):
    """``gru.v``, bench and vectors of a small random network."""
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(4), 3, 4, 3, head=head)
    design = Design.of(model, lanes, share, weights=weights)
    low, high = code_range(model.layers[0].in_bits)
    codes = rng.integers(low, high + 1, (3, 4, 3))
    return design, {"gru.v": emit(design), **plain_bench(design, codes)}


def written(folder, share="none", lanes=None, head=None, weights="rom"):
    """The files in `folder`."""
    design, files = files_of(share, lanes, head, weights)
    for name, text in files.items():
        (folder / name).write_text(text)
    return design, files


def simulated(folder, *options):
    subprocess.run(["iverilog", *options, "-o", "tb", "gru.v", "gru_tb.v"], cwd=folder, check=True)
    done = subprocess.run(
        ["vvp", "-n", "tb"], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("share", "lanes"), [("none", Lanes(2, 2)), ("all", None)])
@pytest.mark.parametrize("stalls", [0, 1])
def test_the_bench_passes_in_icarus(tmp_path, share, lanes, stalls):
    written(tmp_path, share, lanes)
    *_, last = simulated(tmp_path, f"-Pgru_tb.STALLS={stalls}")
    # 3 sequences: 4 steps of 4 units, 3 logits and a class.
    assert last.startswith(f"PASS: {3 * (16 + 3 + 1)} transfers equal")


@pytest.mark.parametrize(
    ("head", "transfers"),
    [
        (Head("every"), 4 * (4 + 3 + 1)),
        (Head("every", "codes", "tanh"), 4 * (4 + 3)),
        (Head("last", "logits"), 16 + 3),
    ],
    ids=str,
)
def test_the_bench_passes_with_other_heads(tmp_path, head, transfers):
    written(tmp_path, head=head)
    *_, last = simulated(tmp_path)
    assert last.startswith(f"PASS: {3 * transfers} transfers equal")


@pytest.mark.parametrize(
    ("share", "lanes", "head", "transfers"),
    [
        ("none", Lanes(1, 3), None, 16 + 3 + 1),
        ("gates", None, Head("last", "codes", "sigmoid"), 16 + 3),
        ("none", None, Head("every"), 4 * (4 + 3 + 1)),
        ("all", Lanes(8, 8), Head("every", "codes", "tanh"), 4 * (4 + 3)),
    ],
    ids=str,
)
def test_the_bench_loads_the_weights_first(tmp_path, share, lanes, head, transfers):
    written(tmp_path, share, lanes, head, "load")
    *_, last = simulated(tmp_path)
    assert last.startswith(f"PASS: {3 * transfers} transfers equal")
    # The weights count.
    path = tmp_path / "gru_weights.hex"
    path.write_text("0\n" * len(path.read_text().split()))
    *_, last = simulated(tmp_path)
    assert last.startswith("FAIL")


def test_the_core_file_names_the_weights(tmp_path):
    design, files = files_of("none", None, None, "load")
    core = yaml.safe_load(core_file(design, [n for n in files if n != "gru.v"]).split("\n", 1)[1])
    bench = [name for item in core["filesets"]["bench"]["files"] for name in item]
    assert "gru_weights.hex" in bench
    assert "i_weights" in files["gru.v"].split("module ")[0]


@pytest.mark.skipif(bool(missing_for_verilator()), reason=str(missing_for_verilator()))
def test_verilator_takes_the_bench_as_the_page_says(tmp_path):
    """As far as to C++, where a warning would stop it; to compile that takes 20 s more."""
    written(tmp_path, "none", Lanes(1, 3), None, "load")
    command = "verilator --cc --main --exe --timing gru.v gru_tb.v --top-module gru_tb"
    with verilator_environment():
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Warning" not in done.stdout
    assert (tmp_path / "obj_dir/Vgru_tb__main.cpp").exists()


@pytest.mark.parametrize("stream", ["i", "o_h", "o_logits", "o_class"])
def test_the_bench_fails_when_a_vector_is_altered(tmp_path, stream):
    written(tmp_path)
    path = tmp_path / f"gru_tb_{stream}.hex"
    words = path.read_text().split()
    for number in range(len(words)) if stream == "i" else [len(words) - 1]:
        # The lowest bit of the last word; of the input all codes, so that the result differs.
        words[number] = f"{int(words[number], 16) ^ (4 if stream == 'i' else 1):x}"
    path.write_text("\n".join(words))
    lines = simulated(tmp_path)
    assert lines[-1].startswith("FAIL: ")
    if stream != "i":
        assert lines[0].startswith(f"FAIL: {stream} transfer {len(words) - 1} is ")


def test_the_bench_fails_when_the_network_says_too_much(tmp_path):
    _, files = written(tmp_path)
    cut = files["gru_tb.v"].replace("o_h_count >= 48", "o_h_count >= 47")
    (tmp_path / "gru_tb.v").write_text(cut)
    lines = simulated(tmp_path)
    assert "FAIL: o_h: more than 48 transfers" in lines
    assert lines[-1] == "FAIL: 1 errors"


def test_the_bench_fails_when_the_network_hangs(tmp_path):
    _, files = written(tmp_path)
    hung = files["gru_tb.v"].replace(".i__valid(i_valid)", ".i__valid(1'b0)")
    (tmp_path / "gru_tb.v").write_text(hung.replace("i_ready === 1'b1", "1'b0"))
    lines = simulated(tmp_path, "-Pgru_tb.LIMIT=500")
    assert lines == ["FAIL: deadlock, nothing moved for 500 cycles", "FAIL: 1 errors"]


def test_slow_designs_get_fewer_sequences():
    model = random_model(np.random.default_rng(SEED), Genome.uniform(8), 8, 32, 10)
    assert sequences_for(Design.of(model), 8) == 8
    assert sequences_for(Design.of(model, None, "all"), 784) == 1


def test_the_core_file_names_every_file(tmp_path):
    design, files = written(tmp_path)
    bench = [name for name in files if name != "gru.v"]
    text = core_file(design, bench)
    assert text.startswith("CAPI=2:\n")
    core = yaml.safe_load(text)
    assert core["filesets"]["rtl"]["files"] == ["gru.v"]
    assert [next(iter(entry)) for entry in core["filesets"]["bench"]["files"]] == bench
    assert core["targets"]["default"]["toplevel"] == "gru"
    assert core["targets"]["sim"]["filesets"] == ["rtl", "bench"]


def test_a_wrapper_is_in_the_core_file_with_a_target_of_its_own(tmp_path):
    design, _ = written(tmp_path)
    core = yaml.safe_load(core_file(design, ["gru_tb.v"], ["gru_axi.v"]))
    assert core["filesets"]["rtl"]["files"] == ["gru.v", "gru_axi.v"]
    assert core["targets"]["axi"] == {"filesets": ["rtl"], "toplevel": "gru_axi"}
