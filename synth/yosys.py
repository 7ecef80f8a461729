"""Yosys under the name that measuring knows it by: everything is in :mod:`genogate.hdl.yosys`,
which emission needs too."""

import subprocess

from ..hdl.yosys import Done, Job, Progress, Tool, find, run

__all__ = ["Done", "Job", "Progress", "Tool", "find", "run", "subprocess"]
