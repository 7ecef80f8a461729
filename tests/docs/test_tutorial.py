"""The tutorial as it stands: its program and its commands, one after the other."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text()


def test_the_tutorial_runs_as_printed(tmp_path):
    (program,) = re.findall(r"```python\n# train\.py\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "train.py").write_text(program)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    commands = re.findall(r"^    ((?:python|genogate) .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 8
    outputs = []
    for command in commands:
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    assert re.search(r"bit-exact|0 mismatches", outputs[3])
    assert (tmp_path / "build/mine-int8/gru.v").exists()
    assert (tmp_path / "build/mine-knee/report.json").exists()
    assert (tmp_path / "build/mine-int4/gru.v").exists()
