# amaranth: UnusedElaboratable=no
"""Register files of latches: the same bits in every cycle, and pulses without glitches."""

import random
import re
import subprocess
from functools import lru_cache

import numpy as np
import pytest
from genogate.asic import AsicOptions
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.synth.asic.gate_level import gate_level
from genogate.synth.asic.mapping import map_design
from genogate.synth.asic.models import cell_models
from genogate.synth.cells import liberty
from genogate.synth.cells.latches import latch_cells
from genogate.synth.integration.plain_bench import plain_bench
from genogate.synth.targets.cell_report import standard_cell_report
from genogate.synth.verilog import emit_rtlil

PERIOD = 10


def library_or_skip():
    try:
        return liberty.find()
    except InputError as error:
        pytest.skip(str(error))


def network(**hardware):
    rng = np.random.default_rng(2026)
    model = random_model(rng, Genome.uniform(2), 3, 3, 2)
    return Design.of(model, **hardware), rng.integers(-128, 128, (20, 3, 3))


@lru_cache
def latched():
    """Two lanes, so that a write reaches half of a word."""
    design, codes = network(lanes=Lanes(2, 2))
    netlist = map_design(emit_rtlil(design), "gru", library_or_skip(), gated=True, latches=True)
    return design, netlist, codes


def test_a_netlist_with_latches_equals_golden():
    design, netlist, codes = latched()
    outcome = gate_level(netlist, design, codes)
    assert outcome.mismatches == 0
    assert outcome.transfers == 20 * (3 * 3 + 2 + 1)
    # One input vector of two words, two state vectors of two words: two codes each.
    assert netlist.latches == 2 * 2 * 8 + 2 * 2 * 2 * design.model.layers[0].bits("h")
    assert 0 < len(netlist.pulse_gates) <= 2 * 2 + 2 * 2 * 2


def test_one_adder_for_all_with_latches_equals_golden():
    design, codes = network(share="all")
    netlist = map_design(emit_rtlil(design), "gru", library_or_skip(), latches=True)
    assert gate_level(netlist, design, codes).mismatches == 0
    assert netlist.latches > 0


def with_delays(text, gate, seed):
    """Models of cells in which every cell takes its time, and latches tell of short pulses. The
    gate that makes pulses is the fastest of all, so that it swallows nothing."""
    chooser = random.Random(seed)
    modules = []
    for module in re.split(r"(?=^module )", text, flags=re.M):
        fast = module.startswith(f"module {gate} ")
        delay = 0.01 if fast else chooser.uniform(0.05, 0.2)
        if "reg open" not in module:  # in a layout the clock tree is balanced behind clock gates
            module = re.sub(r"assign ", f"assign #{delay:.3f} ", module)
        module = re.sub(r"state <= ", f"state <= #{chooser.uniform(0.2, 0.4):.3f} ", module)
        if "if (GATE)" in module:
            module = module.replace(
                "endmodule",
                "  real up = 0;\n  always @(posedge GATE) up = $realtime;\n"
                f"  always @(negedge GATE) if (up > 0 && ($realtime - up < {0.48 * PERIOD}\n"
                f'    || $realtime - up > {0.52 * PERIOD})) $display("GLITCH");\n'
                '    else if (up > 0) $display("PULSE");\nendmodule',
            )
        modules.append(module)
    return "`timescale 1ns/1ps\n" + "".join(modules)


def simulated(folder, netlist, design, codes, cells):
    files = {
        "gru_netlist.v": netlist.verilog,
        "cells.v": cells,
        **plain_bench(design, codes[:2]),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    sources = ["cells.v", "gru_netlist.v", "gru_tb.v"]
    subprocess.run(["iverilog", "-o", "tb", *sources], cwd=folder, check=True)
    return subprocess.run(["vvp", "-n", "tb"], cwd=folder, capture_output=True, text=True).stdout


@pytest.mark.parametrize("seed", range(3))
def test_every_pulse_is_half_a_period_whatever_cells_take(tmp_path, seed):
    design, netlist, codes = latched()
    models = cell_models(netlist.library, netlist.types)
    cells = with_delays(models, latch_cells(netlist.library).gate, seed)
    text = simulated(tmp_path, netlist, design, codes, cells)
    assert "PASS" in text, text[-300:]
    # Both sequences: 2 x 3 x 3 features and as many states, 8 latches at least each.
    assert text.count("PULSE") > 2 * 9 * 8
    assert "GLITCH" not in text


def test_a_clock_that_comes_late_to_the_gates_is_found(tmp_path):
    """The same test sees the spikes that too large a skew causes."""
    design, netlist, codes = latched()
    models = cell_models(netlist.library, netlist.types)
    cells = latch_cells(netlist.library)
    head, rest = with_delays(models, cells.gate, 0).split(f"module {cells.gate} ", 1)
    body, rest = rest.split("endmodule", 1)
    ports, function = body.split(";", 1)
    function = re.sub(rf"\b{cells.a}\b", "late", function)
    late = f"{ports};\n  wire late;\n  assign #1.5 late = {cells.a};{function}"
    text = f"{head}module {cells.gate} {late}endmodule{rest}"
    assert "GLITCH" in simulated(tmp_path, netlist, design, codes, text)


def test_the_report_measures_what_is_built():
    design, _ = network(share="all")
    report = standard_cell_report(design, "latches", library=library_or_skip())
    rams = [memory for memory in report.memories if memory.kind == "ram"]
    assert [memory.latched_um2 is not None for memory in rams] == [True, True]
    assert report.total_um2 == report.totals["latches"] < report.totals["flops"]


def test_a_library_without_latches_is_refused(tmp_path):
    library = library_or_skip()
    path = tmp_path / "cells.lib"
    path.write_text(re.sub(r"\blatch \(", "latch_bank (", library.text))
    with pytest.raises(InputError, match="no latch without clear, give --memories flops"):
        AsicOptions(liberty=str(path), memories="latches").check()
    AsicOptions(liberty=str(path)).check()
