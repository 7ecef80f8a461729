"""Shells complete commands, options and names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from genogate.cli import app

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text()
PROGRAM = "import sys; sys.argv[0] = 'genogate'; from genogate.cli import main; main()"


def answer(instruction, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "_GENOGATE_COMPLETE": instruction, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_produces_a_script_for_the_shell(shell):
    assert f"_GENOGATE_COMPLETE={shell}_source genogate" in DOCS
    script = answer(f"{shell}_source")
    assert f"_GENOGATE_COMPLETE={shell}_complete" in script
    assert " genogate" in script


def test_a_shell_completes_an_option():
    words = {"COMP_WORDS": "genogate gru --ge", "COMP_CWORD": "2"}
    assert answer("bash_complete", **words) == "plain,--genome\n"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("ar", ["area"]),
        ("gru --ge", ["--genome"]),
        ("gru --genome int", ["int2", "int3", "int4", "int5", "int6", "int7", "int8"]),
        ("gru --task kws1", ["kws10", "kws12"]),
        ("gru --checkpoint digits-row-2", ["digits-row-2layer"]),
        ("area --target sk", ["sky130"]),
        ("bitstream --board ices", ["icesugar"]),
        ("lut gel", ["gelu"]),
        ("proxy sc", ["score"]),
    ],
)
def test_words_are_completed(line, names):
    *words, incomplete = line.split()
    items = BashComplete(app, {}, "genogate", "_").get_completions(words, incomplete)
    # A value that may also be a file is left to the shell besides.
    assert [item.value for item in items if item.type == "plain"] == names
