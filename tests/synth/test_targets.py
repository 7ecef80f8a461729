# amaranth: UnusedElaboratable=no
"""What parts cost on a target, checked against shapes whose cost is known."""

import json

import numpy as np
import pytest
from genogate.hdl.gru.design import Design as Hardware
from genogate.hdl.memories import CodeBuffer, Rom
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.sim.random_model import random_model
from genogate.synth import yosys
from genogate.synth.cells import liberty
from genogate.synth.rtlil import Design
from genogate.synth.targets import fpga, tools
from genogate.synth.targets.cell_memories import MACROS, macros_for
from genogate.synth.targets.cell_pieces import Piece, memory_modules, part_design, pieces_of
from genogate.synth.targets.cell_report import Memory
from genogate.synth.targets.devices import DEVICES, TARGETS, check_target
from genogate.synth.targets.report import FpgaReport, Row, fpga_report, module_parts
from genogate.synth.targets.route import operator_of, parse_report, route
from genogate.synth.targets.sky130 import measure
from genogate.synth.verilog import emit_rtlil

SEED = 2026
UP5K = DEVICES["ice40-up5k"]


def rom(words, width):
    rng = np.random.default_rng(SEED)
    return Rom([int(word) for word in rng.integers(0, 1 << width, words)], width)


@pytest.fixture(scope="module")
def model():
    return random_model(np.random.default_rng(SEED), Genome.uniform(4), 3, 3, 2)


@pytest.mark.parametrize(
    ("target", "words", "width", "rams"),
    # iCE40 has blocks of 4 kbit, ECP5 and Gowin of 18 kbit.
    [
        ("ice40-up5k", 512, 8, 1),
        ("ice40-up5k", 1024, 8, 2),
        ("ice40-hx8k", 4096, 2, 2),
        ("ecp5-25k", 2048, 9, 1),
        ("gowin-gw1n-9", 2048, 8, 1),
    ],
)
def test_a_memory_takes_the_block_rams_of_the_family(target, words, width, rams):
    (figures,) = fpga.measure(DEVICES[target], [rom(words, width)], ["rom"])
    assert figures.ram == rams
    assert figures.memory_bits == words * width
    assert figures.lut < 20


def test_a_small_memory_is_logic_and_depends_on_its_contents():
    constant, random = Rom([5] * 32, 8), rom(32, 8)
    same, varied = fpga.measure(UP5K, [constant, random], ["a", "b"])
    assert same.ram == varied.ram == 0
    assert same.lut < varied.lut


def test_a_part_is_measured_once(monkeypatch):
    first = fpga.measure(UP5K, [rom(64, 3), rom(64, 3)], ["a", "b"])
    assert first[0] == first[1]
    monkeypatch.setattr(fpga, "run", lambda tool, jobs, **_: pytest.fail("ran") if jobs else [])
    assert fpga.measure(UP5K, [rom(64, 3)], ["a"]) == first[:1]


def test_a_cell_that_the_family_lacks_is_refused():
    statistics = json.dumps({"design": {"num_cells_by_type": {"SB_LUT4": 3, "$mul": 1}}})
    with pytest.raises(InputError, match=r"left a cell that ice40-up5k does not have: \$mul$"):
        fpga.count(yosys.find(), UP5K, statistics)


def test_statistics_that_are_none_are_refused():
    with pytest.raises(InputError, match="wrote no statistic that can be read"):
        fpga.count(yosys.find(), UP5K, "{")


def test_a_report_has_a_row_for_every_module_and_the_whole_is_near_their_sum(model):
    hardware = Hardware.of(model)
    report = fpga_report("ice40-hx1k", hardware)
    assert [row.name for row in report.rows] == [
        name for name, _, _ in module_parts(Hardware.of(model))
    ]
    assert {row.bits for row in report.rows if row.name == "layer0.w_ir"} == {4}
    total, whole = report.total, report.whole
    assert total.ram == whole.ram
    assert 0.7 * total.lut < whole.lut < 1.1 * total.lut
    assert report.fits
    assert report.to_json()["advice"] == []


def test_a_design_that_does_not_fit_says_by_how_much_and_which_genes_would_help(model):
    rows = [
        Row("layer0.w_hr_weights", None, fpga.Resources(ram=32)),
        Row("classifier", None, fpga.Resources()),
    ]
    report = FpgaReport(UP5K, tuple(rows), fpga.Resources(ram=35), "Yosys")
    assert not report.fits
    assert report.over == {"ram": 5}
    (sentence,) = report.advice()
    assert "35 of 30 block RAMs, 5 too many" in sentence
    assert "w_hr" in sentence


@pytest.mark.parametrize(
    ("cell", "operator"),
    [
        ("core.layer0.w_ir.acc_SB_DFF_Q", "layer0.w_ir"),
        ("core.layer0.w_ir_weights.memory.0.0_RAM", "layer0.w_ir"),
        ("core.layer1.control.full", "layer1.control"),
        ("core.classifier.known", "classifier"),
        ("core.layer0.b__valid", "layer0, between operators"),
        ("folded_SB_DFF_Q", "outside"),
    ],
)
def test_a_cell_belongs_to_the_operator_in_its_name(cell, operator):
    assert operator_of(cell) == operator


def test_a_small_memory_routes_and_has_a_frequency():
    routed = route(DEVICES["ice40-hx1k"], rom(16, 4), "a rom")
    assert 50 < routed.fmax_mhz < 1000
    used, available = routed.utilisation["ICESTORM_LC"]
    assert 0 < used < available == 1280


def test_a_route_report_that_is_none_is_refused():
    with pytest.raises(InputError, match="wrote no report that can be read"):
        parse_report('{"fmax": {}}', "nextpnr")


def test_a_tool_that_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setattr(tools.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"nextpnr-ice40 not found: pip install"):
        tools.find("nextpnr-ice40")


def test_a_tool_that_a_variable_names_in_vain_is_refused(monkeypatch):
    monkeypatch.setenv("ICEPACK", "/nowhere/icepack")
    with pytest.raises(InputError, match="ICEPACK=/nowhere/icepack: no such program"):
        tools.find("icepack")


def test_an_unknown_target_is_refused():
    assert "sky130" in TARGETS
    with pytest.raises(InputError, match=r"^target 'virtex': not one of generic ice40-up5k"):
        check_target("virtex")


def test_every_memory_of_a_network_is_a_constant_or_a_state(model):
    design = Design(emit_rtlil(Hardware.of(model)))
    kinds = {name.split(".", 1)[1]: kind for name, kind in memory_modules(design).items()}
    assert kinds["layer0.w_ir_weights"] == "rom"
    assert kinds["layer0.state.buffer"] == "ram"
    assert kinds["layer0.x_buffer"] == "ram"
    assert sum(kind == "rom" for kind in kinds.values()) == 14


def test_the_pieces_of_a_module_are_its_logic_and_each_of_its_memories(model):
    pieces = list(pieces_of(Design(emit_rtlil(Hardware.of(model))), "net"))
    assert [piece.kind for piece in pieces].count("logic") == 1
    assert "$meminit" not in pieces[0].text
    shapes = {piece.name: piece.shape for piece in pieces[1:]}
    assert all(words > 0 and width > 0 for words, width in shapes.values())


def test_macros_come_whole():
    assert macros_for(32, 8)[0] == 1
    number, macro = macros_for(4096, 8)
    assert number * macro.words * macro.width >= 4096 * 8
    small = Memory("state", "ram", 32, 8, 9768.0)
    assert small.sram_um2 > 190_000  # one macro is far larger than 256 flip-flops


def test_a_macro_has_the_density_that_openram_reports():
    for macro in MACROS:
        # 17 to 25 um^2 a bit: small macros are mostly periphery.
        assert 17 < macro.area_um2 / (macro.words * macro.width) < 25


@pytest.fixture
def sky130():
    """Skips where neither GENOGATE_LIBERTY, PDK_ROOT nor GENOGATE_DATA leads to the cells."""
    try:
        library = liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    if library.name != liberty.NAME.removesuffix(".lib"):
        pytest.skip(f"{library.source} is another library")


def test_a_constant_takes_less_area_than_a_state_of_as_many_bits(sky130):
    pieces = [
        Piece("rom", "rom", fpga.part_text(rom(32, 4))),
        Piece("ram", "ram", fpga.part_text(CodeBuffer(bits=4, lanes=1, depth=32))),
    ]
    constant, state = measure(pieces)
    # A flip-flop of these cells has 20 um^2 or more; a buffer of 32 codes has 128 of them.
    assert state.ff_um2 > 128 * 20
    assert 0 < constant.um2 < state.um2 / 5


def test_a_buffer_is_state():
    design = Design(emit_rtlil_of(CodeBuffer(bits=4, lanes=1, depth=8)))
    assert list(memory_modules(design).values()) == ["ram"]


def emit_rtlil_of(component):
    from amaranth.back import rtlil

    return rtlil.convert(component, name="top", emit_src=False)


def test_a_multiplier_is_measured_by_both_recipes_and_the_smaller_counts(sky130):
    network = Hardware.of(random_model(np.random.default_rng(SEED), Genome.uniform(8), 3, 3, 2))
    part = next(part for part in network.parts if part.identity[0] == "Dense")
    (piece,) = (p for p in pieces_of(part_design(part), "dense") if p.kind == "logic")
    (first,) = measure([piece], recipes=True)
    assert set(first.by_recipe) == {"array", "booth"}
    assert min(first.by_recipe.values()) == first.um2
    # From the cache the same.
    assert measure([piece], recipes=True) == [first]
