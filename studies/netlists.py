"""Sequences through netlists for FPGAs, in Verilator, with the bench that lies beside ``gru.v``."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.files import write_text
from genogate.model.leftovers import scratch
from genogate.sim.rtl.simulators import missing_for_verilator, verilator_environment
from genogate.synth.integration.plain_bench import plain_bench
from genogate.synth.targets.devices import DEVICES
from genogate.synth.verilog import TOP, emit_rtlil
from genogate.synth.yosys import Job
from genogate.synth.yosys import find as find_yosys
from genogate.synth.yosys import run as run_yosys

from .ecp5_blocks import models

#: FPGAs whose netlists are simulated, and what Verilator is told of the models of their cells.
FPGAS = {"ice40-up5k": ("-DNO_ICE40_DEFAULT_ASSIGNMENTS",), "ecp5-25k": ()}
_SCRIPT = """read_rtlil top.il
hierarchy -check -top {top}
{synth}
clean -purge
write_verilog -noattr netlist.v
"""
#: The bench has delays, so Verilator needs coroutines of the compiler; compiling takes longer than
#: running, so nothing is optimised.
_OPTIONS = ("--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--x-assign", "0")
_COMPILER = ("-CFLAGS", "-fcoroutines -O0")


def netlist(design: Design, target: str) -> str:
    """Verilog of `design` after synthesis for an FPGA: cells, block RAMs and DSP blocks alone."""
    synth = DEVICES[target].synth.replace("-top top", f"-top {TOP}")
    files = {"top.il": emit_rtlil(design)}
    job = Job("the network", files, _SCRIPT.format(top=TOP, synth=synth), ("netlist.v",))
    return run_yosys(find_yosys(), [job])[0]["netlist.v"]


def _share(family: str) -> Path:
    """Folder of Yosys' models of the cells of a family."""
    try:
        import pyosys
    except ImportError:
        raise InputError(
            "pyosys is not installed (pip install pyosys): its package holds the models of an "
            "FPGA's cells"
        ) from None
    return Path(pyosys.__file__).parent / "share" / family


def through_netlist(design: Design, target: str, codes: np.ndarray) -> dict[str, Any]:
    """Put `codes` [sequences, steps, features] through the netlist of `design` for `target`, with
    pauses on all sides, and compare every state, logit and class with the golden model.

    Raises :class:`InputError` without Verilator, Yosys or pyosys, and where a tool fails.
    """
    if lacking := missing_for_verilator():
        raise InputError(f"verilator: {lacking}")
    cells = _share(DEVICES[target].family)
    with scratch() as name, verilator_environment():
        folder = Path(name)
        files = {**plain_bench(design, codes), "netlist.v": netlist(design, target)}
        sources = ["netlist.v", "gru_tb.v", os.fspath(cells / "cells_sim.v")]
        if target.startswith("ecp5"):
            files["blocks.v"] = models()
            # Before Yosys' models, which hold the block RAM without a body: the first one counts.
            sources.insert(0, "blocks.v")
        for file, content in files.items():
            write_text(folder / file, content)
        options = [*_OPTIONS, *_COMPILER, *FPGAS[target], f"-I{cells}", "--top-module", "gru_tb"]
        _run(["verilator", *options, *sources], folder)
        said = _run(["obj_dir/Vgru_tb"], folder)
    count, steps, _ = codes.shape
    lines = [line for line in said.splitlines() if line.startswith(("PASS", "FAIL"))]
    if not lines:
        raise InputError(f"{target}: the bench of the netlist said nothing: {said.strip()[-100:]}")
    passed = lines[-1].startswith("PASS")
    return {
        "sequences": count,
        "steps": steps,
        "transfers": int(lines[-1].split()[1]) if passed else 0,
        "mismatches": 0 if passed else sum(line.startswith("FAIL") for line in lines),
    }


def _run(command: list[str], folder: Path) -> str:
    """What `command` says. Raises :class:`InputError` where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout
