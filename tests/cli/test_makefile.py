"""The Makefile: what `make help` says is what its recipes do."""

import re
import subprocess
from pathlib import Path

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


def test_every_variable_of_a_recipe_may_be_set():
    used = {word for _, variables in recipes() for word in variables}
    for variable in used:
        assert make("help", f"{variable}=x").returncode == 0, variable


def test_a_variable_that_make_does_not_know_is_refused():
    done = make("gru", "GENOM=int4")
    assert done.returncode == 2
    assert "no variable GENOM;" in done.stderr


def test_the_old_name_of_args_is_accepted_with_one_line():
    done = make("gru", "GENOME=int4", "ARGS=--entries 6")
    assert (done.returncode, done.stderr) == (0, "")
    done = make("gru", "KNOBS=--entries 6")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "ARGS=" in done.stderr
