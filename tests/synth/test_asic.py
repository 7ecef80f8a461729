# amaranth: UnusedElaboratable=no
"""A network in standard cells: the netlist computes what golden does, and its figures add up."""

import json
import subprocess
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from genogate.asic import AsicOptions, _timing_rows
from genogate.hdl.gru.design import Design
from genogate.hdl.gru.loading import image
from genogate.hdl.memories import Rom
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import code_range
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.synth.asic import mapping, simulation
from genogate.synth.asic.fan_out import FAN_OUT
from genogate.synth.asic.gate_level import gate_level, steps_for
from genogate.synth.asic.mapping import Mapped, map_design
from genogate.synth.asic.models import cell_models
from genogate.synth.asic.timing import constraints, energy, timing
from genogate.synth.cells import liberty
from genogate.synth.cells.silicon import find_sta
from genogate.synth.constants import to_rtlil
from genogate.synth.integration.plain_bench import plain_bench
from genogate.synth.verilog import emit_rtlil

SEED = 2026
#: What the report shows of energy, all of it zero.
ENERGY = {
    "pj_per_cycle": 0,
    "clocking_share": 0,
    "uj_per_inference": 0,
    "cycles_per_inference": 0,
    "opensta": "",
}


def library_or_skip():
    """Skips where neither GENOGATE_LIBERTY, PDK_ROOT nor GENOGATE_DATA leads to the cells."""
    try:
        return liberty.find()
    except InputError as error:
        pytest.skip(str(error))


def sta_or_skip():
    try:
        return find_sta()
    except InputError as error:
        pytest.skip(str(error))


@lru_cache
def mapped(gated):
    """A small network: its design, its netlist, and sequences of codes."""
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(3), 2, 2, 2)
    design = Design.of(model)
    low, high = code_range(model.layers[0].in_bits)
    codes = rng.integers(low, high + 1, (70, 3, 2))
    netlist = map_design(emit_rtlil(design), "gru", library_or_skip(), gated=gated)
    return design, netlist, codes


@lru_cache
def outcome_of(gated):
    """The comparison of the netlist with golden."""
    design, netlist, codes = mapped(gated)
    return gate_level(netlist, design, codes)


@pytest.mark.parametrize("gated", [False, True])
def test_a_netlist_equals_golden(gated):
    _, netlist, _ = mapped(gated)
    outcome = outcome_of(gated)
    assert outcome.mismatches == 0
    # 3 steps of 2 units, 2 logits, a class.
    assert outcome.transfers == 70 * (6 + 2 + 1)
    assert (outcome.sequences, outcome.steps) == (70, 3)
    assert netlist.clock_gates == 0 if not gated else netlist.clock_gates > 0


@lru_cache
def loaded(share):
    """A network whose weights are loaded: into flip-flops, or with `share` all into latches."""
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(2), 2, 2, 2)
    lanes = Lanes(4, 4) if share == "all" else Lanes()
    design = Design.of(model, lanes, share, weights="load")
    text, latches = emit_rtlil(design), share == "all"
    netlist = map_design(text, "gru", library_or_skip(), gated=True, latches=latches)
    return design, netlist, rng.integers(-128, 128, (70, 2, 2))


@pytest.mark.parametrize("share", ["gates", "all"])
def test_a_netlist_loads_its_weights(tmp_path, share, monkeypatch):
    design, netlist, codes = loaded(share)
    words = image(design).words
    bits = sum(store.depth * store.width for store in image(design).stores)
    assert bits < (netlist.latches if share == "all" else netlist.flip_flops)
    outcome = gate_level(netlist, design, codes)
    assert (outcome.mismatches, outcome.transfers) == (0, 70 * (4 + 2 + 1))
    # Loading counts neither as work nor as activity.
    assert outcome.activity.cycles < 2 * design.cycles_per_sequence(2) + 20
    if share == "gates":
        return
    # The written netlist, its load and its streams paused at random.
    files = {"net.v": netlist.verilog, "cells.v": cell_models(netlist.library, netlist.types)}
    for name, text in (files | {**plain_bench(design, codes[:3])}).items():
        (tmp_path / name).write_text(text)
    command = ["iverilog", "-o", "tb", "net.v", "cells.v", "gru_tb.v"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "-n", "tb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("PASS: 21 transfers equal"), done.stdout
    # Other words give other results.
    other = replace(image(design), words=tuple(word ^ 1 for word in words))
    monkeypatch.setattr("genogate.synth.asic.gate_level.image", lambda _: other)
    assert gate_level(netlist, design, codes[:8]).mismatches > 0


def test_a_netlist_with_crossed_wires_is_found():
    design, netlist, codes = mapped(False)
    changed = json.loads(netlist.document)
    changed["modules"]["gru"]["ports"]["o_logits__payload"]["bits"][:2] = reversed(
        changed["modules"]["gru"]["ports"]["o_logits__payload"]["bits"][:2]
    )
    broken = Mapped("gru", 1.0, 1.0, netlist.types, json.dumps(changed), netlist.library, "")
    outcome = gate_level(broken, design, codes[:8])
    assert 0 < outcome.mismatches <= 8 * 2


def test_a_netlist_that_never_answers_is_refused():
    design, netlist, codes = mapped(False)
    changed = json.loads(netlist.document)
    changed["modules"]["gru"]["ports"]["o_class__valid"]["bits"] = ["0"]
    broken = Mapped("gru", 1.0, 1.0, netlist.types, json.dumps(changed), netlist.library, "")
    with pytest.raises(InputError, match=r"stopped after \d+ cycles: it is not correct"):
        gate_level(broken, design, codes[:8])


def loads(netlist):
    """Net -> input pins on it, of nets that logic drives or reads; clocks are not among them."""
    count = Counter()
    for cell in netlist.module["cells"].values():
        kind = netlist.library.cell(cell["type"])
        for pin, bits in cell["connections"].items():
            if pin not in kind.outputs and pin != kind.clock:
                count[bits[0]] += 1
    return count


def test_addresses_of_constants_are_buffered(monkeypatch):
    rng = np.random.default_rng(SEED)
    rom = Rom(rng.integers(0, 256, 256).tolist(), 8)
    text = to_rtlil(rom, "top")
    library = library_or_skip()
    netlist = map_design(text, "top", library)
    assert max(loads(netlist).values()) <= FAN_OUT
    monkeypatch.setattr(mapping, "buffered", lambda document, *_: (document, {}))
    plain = map_design(text, "top", library)
    assert max(loads(plain).values()) > FAN_OUT
    assert netlist.area_um2 < 1.1 * plain.area_um2


def test_a_netlist_that_misses_its_clock_is_told_by_how_much():
    sta = sta_or_skip()
    _, netlist, _ = mapped(False)
    document = {"timing": timing(netlist, sta, 1.0).to_json(), "energy": ENERGY}
    (_, text), *_ = _timing_rows(document)
    slack = -document["timing"]["slack_ns"]
    assert f"too late by {slack:.2f} ns: give a lower --clock" in text
    document["timing"] = timing(netlist, sta, 20.0).to_json()
    assert "too late" not in _timing_rows(document)[0][1]


@pytest.mark.parametrize("gated", [False, True])
def test_the_written_netlist_passes_the_plain_bench_in_icarus(tmp_path, gated):
    design, netlist, codes = mapped(gated)
    files = {
        "gru_netlist.v": netlist.verilog,
        "cells.v": cell_models(netlist.library, netlist.types),
        **plain_bench(design, codes[:3]),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    sources = ["gru_netlist.v", "cells.v", "gru_tb.v"]
    subprocess.run(["iverilog", "-o", "tb", *sources], cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "-n", "tb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("PASS: 27 transfers equal"), done.stdout


def test_every_flip_flop_bears_the_name_of_its_net():
    _, netlist, _ = mapped(False)
    assert len(set(netlist.instances.values())) == netlist.cells
    named = [name for name in netlist.instances.values() if name.startswith("r_layer0_")]
    assert len(named) > 0.5 * netlist.flip_flops


def test_a_netlist_has_slack_and_is_too_slow_at_a_short_clock():
    sta = sta_or_skip()
    _, netlist, _ = mapped(False)
    slow, fast = timing(netlist, sta, 20.0), timing(netlist, sta, 1.0)
    assert slow.slack_ns > 0 > fast.slack_ns
    # 0.6 of the period lies between the delays outside, or all of it between registers.
    assert 0.6 * 19 - 0.1 < slow.slack_ns - fast.slack_ns < 19.1
    text = constraints(netlist, 20.0)
    assert text.startswith("create_clock -name clk -period 20 [get_ports clk]\n")
    assert "set_input_delay 4 -clock clk [get_ports {i__payload[*]}]" in text


def test_clock_gates_save_most_of_the_clocking():
    sta = sta_or_skip()
    spent = {}
    for gated in (False, True):
        _, netlist, _ = mapped(gated)
        spent[gated] = energy(netlist, sta, outcome_of(gated).activity, 20.0)
    assert spent[True].clocking < 0.7 * spent[False].clocking
    assert spent[True].data == pytest.approx(spent[False].data, rel=0.3)
    assert all(e.leakage < 0.01 * e.total for e in spent.values())


def test_long_sequences_are_cut_to_what_fits():
    design, _, _ = mapped(False)
    assert steps_for(design, 3) == 3
    assert steps_for(design, 10**6, cycles=100 * design.cycles_per_step) == 100
    assert steps_for(design, 5, cycles=1) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock_ns": 0}, "clock: 0 is not within 0.01 to 1000000.0"),
        ({"sequences": 0}, "sequences: 0 is not 1 or more"),
        ({"liberty": "/nowhere/x.lib"}, "/nowhere/x.lib: no such file"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError) as refusal:
        AsicOptions(**options).check()
    assert message in str(refusal.value)


def test_a_file_that_is_no_liberty_file_is_refused(tmp_path):
    path = tmp_path / "cells.lib"
    path.write_text("module x; endmodule\n")
    with pytest.raises(InputError, match="not a Liberty file"):
        AsicOptions(liberty=str(path)).check()


def test_a_missing_compiler_is_refused(monkeypatch):
    library_or_skip()
    monkeypatch.setattr(simulation.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="no C compiler"):
        AsicOptions().check()


def test_clock_gating_without_a_clock_gate_is_refused(tmp_path):
    library = library_or_skip()
    path = tmp_path / "cells.lib"
    path.write_text(library.text.replace("clock_gating_integrated_cell", "nothing"))
    with pytest.raises(InputError, match="no clock gate; give --clock-gating off"):
        AsicOptions(liberty=str(path)).check()
    AsicOptions(liberty=str(path), gated=False).check()
