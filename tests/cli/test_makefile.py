"""The Makefile: what `make help` says is what its recipes do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text()
NETWORK = "GENOME TASK CHECKPOINT LANES OUT ARGS"


def make(*words):
    call = ["make", "-n", "-o", ".venv/core.stamp", *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True)


def recipes():
    """Target -> variables that its recipe reads, in their order."""
    rules = re.findall(r"^([a-z]+):.*## .*\n((?:\t.*\n)+)", TEXT, re.MULTILINE)
    for name, recipe in rules:
        network = " ".join(f"$${{{word}" for word in NETWORK.split())
        words = re.findall(r"\$\$\{?([A-Z]+)", recipe.replace("$(NETWORK)", network))
        yield name, list(dict.fromkeys(words))


def test_help_lists_the_variables_of_every_target_and_explains_each():
    page = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets, _, glossary = page.stdout.partition("\nVariables\n")
    used = set()
    for name, variables in recipes():
        if name != "help":
            line = re.search(rf"^  make {name} .*\n(?: {{19}}(.*)\n)?", targets, re.MULTILINE)
            assert (line[1] or "").split() == variables, name
            used |= set(variables)
    for variable in used:
        assert re.search(rf"\b{variable}\b", glossary), variable
    assert "\nFrom a network to Verilog\n" in targets


def test_a_target_takes_the_variables_that_it_reads_and_no_others():
    read = dict(recipes())
    every = sorted({word for variables in read.values() for word in variables})
    for name, variables in read.items():
        given = [f"{variable}=x" for variable in variables]
        done = make(name, *given)
        assert "make" not in done.stderr.partition("***")[2], (name, done.stderr)
        other = next(variable for variable in every if variable not in variables)
        done = make(name, f"{other}=x")
        assert done.returncode == 2, name
        assert f"make {name} takes no {other}; it takes " in done.stderr


def test_of_several_targets_one_has_to_read_a_variable():
    assert "takes no" not in make("gru", "sim", "GENOME=int4", "N=4").stderr
    assert "make gru sim takes no POP;" in make("gru", "sim", "POP=4").stderr


@pytest.mark.parametrize("value", ["", "  ", "$x"])
def test_an_empty_variable_is_not_one_that_was_left_out(value):
    done = make("gru", f"GENOME={value}")
    assert done.returncode == 2
    assert "GENOME is empty" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variable_that_make_does_not_know_is_refused():
    done = make("gru", "GENOM=int4")
    assert done.returncode == 2
    assert "no variable GENOM;" in done.stderr


def test_a_keras_file_needs_its_reader_alone():
    done = make("import", "MODEL=my.keras", "TASK=digits-row")
    assert ".[keras]" in done.stdout
    assert ".[train" not in done.stdout


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("sim", "GENOME=int4"), "sim"),
        (("import", "MODEL=x.onnx", "TASK=digits-row"), "onnx"),
    ],
)
def test_simulation_and_import_need_neither_torch_nor_test_tools(tmp_path, words, extra):
    """With all stamps missing, so that every extra that a target asks for is installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    call = ["make", "-n", f"PYTHON={sys.executable}", *words]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = re.findall(r"-e '?\.(?:\[(.*?)\])?", done.stdout)
    assert [name for name in asked if name] == [extra], done.stdout
    assert f"genogate {words[0]} " in done.stdout


def test_the_old_name_of_args_is_accepted_with_one_line():
    done = make("gru", "GENOME=int4", "ARGS=--entries 6")
    assert (done.returncode, done.stderr) == (0, "")
    done = make("gru", "KNOBS=--entries 6")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "ARGS=" in done.stderr
