"""Verilator and Icarus: which one runs, and that both give the same."""

import subprocess

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.sim.random_model import random_model
from genogate.sim.rtl import simulators
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit


@pytest.fixture
def installed(monkeypatch):
    """Say which simulators there are."""

    def install(*names):
        lack = {name: None if name in names else f"{name} is missing" for name in simulators.NAMES}
        monkeypatch.setattr(simulators, "missing_for_verilator", lambda: lack["verilator"])
        monkeypatch.setattr(simulators, "missing_for_icarus", lambda: lack["icarus"])

    return install


def test_many_sequences_go_to_verilator_and_few_to_icarus(installed):
    installed("verilator", "icarus")
    assert simulators.choose(None, 500) == "verilator"
    assert simulators.choose(None, 4) == "icarus"
    assert simulators.choose("icarus", 500) == "icarus"
    assert simulators.choose("verilator", 4) == "verilator"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Icarus Verilog version 11.0 (stable) ()\n\nCopyright",
            "Icarus Verilog version 11.0 (stable)",
        ),
        (
            "Icarus Verilog version 12.0 (devel) (s20150603-1110-g18392a46)\n",
            "Icarus Verilog version 12.0 (devel) (s20150603-1110-g18392a46)",
        ),
    ],
)
def test_a_version_has_no_empty_brackets(monkeypatch, said, shown):
    simulators.version.cache_clear()
    done = subprocess.CompletedProcess([], 1, said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert simulators.version("icarus") == shown
    simulators.version.cache_clear()


def test_the_one_that_is_installed_stands_in(installed):
    installed("verilator")
    assert simulators.choose(None, 4) == "verilator"
    installed("icarus")
    said = []
    assert simulators.choose(None, 500, said.append) == "icarus"
    assert said == ["Icarus stands in for Verilator, which is faster: verilator is missing"]


def test_a_simulator_that_is_missing_or_unknown_is_refused(installed):
    installed("icarus")
    with pytest.raises(InputError, match=r"^verilator: verilator is missing$"):
        simulators.choose("verilator")
    installed()
    with pytest.raises(InputError, match=r"^icarus is missing$"):
        simulators.choose()
    with pytest.raises(InputError, match=r"^simulator must be verilator or icarus, not 'vcs'$"):
        simulators.choose("vcs")


@pytest.mark.skipif(bool(simulators.missing_for_verilator()), reason="verilator cannot run here")
def test_verilator_finds_every_code_equal_as_icarus_does(tmp_path, monkeypatch):
    # Its runtime takes the compiler longer to optimise than this network to run.
    monkeypatch.setenv("MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0")
    rng = np.random.default_rng(11)
    model = random_model(rng, Genome.uniform(4), 2, 3, 2, terms=1)
    codes = rng.integers(-128, 128, (3, 4, 2))
    text = emit(Design.of(model))
    report = simulate(model, text, codes, out_dir=tmp_path, simulator="verilator")
    assert report.passed, report.mismatches
    assert "Verilator" in report.versions["verilator"]
    assert not (tmp_path / "verilated").exists()
    reference = simulate(model, text, codes, out_dir=tmp_path / "icarus")
    assert (report.transfers, report.cycles) == (reference.transfers, reference.cycles)
