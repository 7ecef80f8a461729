"""Yosys under the name that measuring knows it by: everything is in :mod:`genogate.hdl.yosys`,
which emission needs too."""

from ..hdl.yosys import Done, Job, Progress, Tool, dismiss, find, run

__all__ = ["Done", "Job", "Progress", "Tool", "dismiss", "find", "run"]
