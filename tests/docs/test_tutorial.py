"""The tutorial as it stands: its program and its commands, one after the other."""

import re
import sys
from pathlib import Path

from tools.wheels import call, environment_of, tutorial

ROOT = Path(__file__).resolve().parents[2]


def test_the_tutorial_runs_as_printed(tmp_path):
    program, commands = tutorial((ROOT / "docs" / "tutorial.md").read_text())
    (tmp_path / "train.py").write_text(program)
    environment = environment_of(Path(sys.executable).parent)
    assert len(commands) == 8
    outputs = []
    for command in commands:
        done = call(command, tmp_path, environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    assert re.search(r"bit-exact|0 mismatches", outputs[3])
    assert (tmp_path / "build/mine-int8/gru.v").exists()
    assert (tmp_path / "build/mine-knee/report.json").exists()
    assert (tmp_path / "build/mine-int4/gru.v").exists()
