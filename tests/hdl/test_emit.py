"""The emitted Verilog: header, stable ports, readable by the tools that are there."""

import gc
import re
import shutil
import subprocess

import numpy as np
import pytest
from genogate import __version__
from genogate.hdl.emit import emit
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.sim.random_model import random_model

#: Verilator's opinions on style that Yosys' Verilog does not share: unused slices of named
#: fields, several modules in one file, implicit sign extension, one-bit ranges.
STYLE = ("UNUSEDSIGNAL", "DECLFILENAME", "WIDTH", "LITENDIAN")


@pytest.fixture(scope="module")
def emitted():
    model = random_model(np.random.default_rng(3), Genome.uniform(5, 2), 3, 6, 3, channel=True)
    return model, emit(model, 2, 1)


def test_header_says_where_it_comes_from(emitted):
    model, text = emitted
    head = text.split("module ")[0]
    for fact in (f"Genogate {__version__}", "genome int5", model.hash, "lanes: 2 (x side), 1 (h"):
        assert fact in head


def test_ports_are_stable(emitted):
    _, text = emitted
    body = text[text.index("module gru(") :]
    ports = re.search(r"module gru\((.*?)\);", body, re.S)
    streams = {f"{s}__{p}" for s in ("i", "o_h", "o_logits", "o_class")
               for p in ("payload", "valid", "ready")}  # fmt: skip
    assert set(re.split(r",\s*", ports[1])) == streams | {"clk", "rst"}
    top = body[: body.index("endmodule")]
    for name, width in (("i__payload", 9), ("o_h__payload", 6), ("o_class__payload", 2)):
        assert re.search(rf"put \[{width - 1}:0\] {name};", top)
    assert set(re.findall(r"`include|\$readmem\w", text)) == set()


def test_same_model_same_text(emitted):
    model, text = emitted
    assert emit(model, 2, 1) == text


def test_simulator_and_linter_read_it(emitted, tmp_path):
    source = tmp_path / "gru.v"
    source.write_text(emitted[1])
    ran = 0
    if shutil.which("iverilog"):
        command = ["iverilog", "-g2012", "-o", str(tmp_path / "gru.vvp"), str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        ran += 1
    if shutil.which("verilator"):
        quiet = [f"-Wno-{name}" for name in STYLE]
        command = ["verilator", "--lint-only", "-Wall", *quiet, str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        ran += 1
    if not ran:
        pytest.skip("neither iverilog nor verilator is installed")


def test_impossible_lanes_are_refused(emitted):
    with pytest.raises(InputError, match="lanes_x: 0 is not within 1 to 64"):
        emit(emitted[0], 0, 1)


# The network is made before Amaranth looks for Yosys, and then never used.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_missing_yosys_is_one_clear_line(emitted, monkeypatch):
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    with pytest.raises(InputError, match="Yosys failed to write Verilog") as caught:
        emit(emitted[0])
    assert "\n" not in str(caught.value)
    assert "unset YOSYS" in str(caught.value)
    del caught
    gc.collect()
