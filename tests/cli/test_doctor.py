"""genogate doctor: what is there, what is missing for which command, and what to type."""

import json
import re
from importlib import metadata

import pytest
from genogate.model import zoo


@pytest.fixture
def record(genogate):
    def call(code=0):
        done = genogate("doctor", "--json")
        assert (done.code, done.err) == (code, "")
        return json.loads(done.out)

    return call


def row(rows, name):
    return next(row for row in rows if row["name"] == name)


def test_a_working_core_is_said_to_work(genogate, record):
    found = record()
    assert found["core_works"] is True
    core = row(found["extras"], "core")
    assert core["status"] == "ok"
    assert row(core["packages"], "amaranth")["version"] == metadata.version("amaranth")
    assert row(found["programs"], "Yosys")["version"].startswith("Yosys ")
    shown = genogate("doctor").out
    assert "The core works." in shown
    # As an error line that has room for some of them promises.
    assert "and " in zoo.some("nope")
    assert "genogate doctor" in zoo.some("nope")
    assert set(zoo.names()) <= set(re.split(r"[\s,]+", shown))
    assert found["checkpoints"] == zoo.names()


def test_a_missing_package_names_the_commands_and_what_to_type(genogate, monkeypatch, record):
    version = metadata.version

    def without_torch(name):
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "pymoo" else version(name)

    monkeypatch.setattr(metadata, "version", without_torch)
    found = record()
    assert row(found["extras"], "train")["status"] == "missing"
    assert row(found["extras"], "search")["status"] == "wrong version"
    text = genogate("doctor").out
    for name in ("train", "search"):
        assert f"pip install 'genogate[{name}]'" in text
    assert "for train, qat, experiment" in text


def test_missing_programs_and_data_end_with_0(monkeypatch, tmp_path, record):
    for variable in ("PATH", "GENOGATE_DATA", "GENOGATE_CACHE", "XDG_CACHE_HOME", "PDK_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    monkeypatch.delenv("GENOGATE_LIBERTY", raising=False)
    monkeypatch.setenv("GENOGATE_OFFLINE", "1")
    found = record()
    for name in ("Icarus Verilog", "g++", "OpenSTA", "Liberty file"):
        program = row(found["programs"], name)
        assert (program["status"], program["version"]) == ("missing", None)
        assert "install" in program["remedy"] or "GENOGATE_LIBERTY" in program["remedy"]
    mnist = row(found["data"], "MNIST")
    assert mnist["status"] == "missing"
    assert "GENOGATE_DATA" in mnist["remedy"]


def test_without_yosys_the_core_does_not_work(monkeypatch, record):
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    found = record(code=1)
    assert "/nowhere/yosys" in found["core_error"]
    assert row(found["programs"], "Yosys")["status"] == "missing"


def test_stopped_trainings_are_listed_with_their_size(tmp_path, record):
    (tmp_path / "build").mkdir()
    (tmp_path / "build/mine.safetensors.partial").write_bytes(b"x" * 1500)
    (left,) = [r for r in record()["leftovers"] if "mine" in r["path"]]
    assert (left["path"], left["bytes"]) == ("build/mine.safetensors.partial", 1500)
    assert left["what"].startswith("resumes")
