# amaranth: UnusedElaboratable=no
"""Figures of a target without Yosys, against what Yosys measures."""

import numpy as np
import pytest
from amaranth.hdl import Fragment
from genogate.hdl.gru.design import Design
from genogate.hdl.memories import Rom
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs, Lanes
from genogate.sim.random_model import random_model
from genogate.synth.cells import liberty
from genogate.synth.targets import (
    cell_memories,
    cell_pieces,
    energy,
    figures,
    fit_shared,
    fit_stages,
    prices,
)
from genogate.synth.targets.devices import DEVICES
from genogate.synth.targets.fit import Parts
from genogate.synth.targets.memories import block_rams, entropy
from genogate.synth.targets.samples import designs
from genogate.synth.targets.stores import memories_of

SEED = 2026


@pytest.fixture(scope="module")
def design():
    return Design.of(random_model(np.random.default_rng(SEED), Genome.uniform(4), 5, 8, 3))


@pytest.mark.parametrize(
    ("words", "width", "rams"),
    # Measured by Yosys 0.70 (synth_ice40); constants of at most 1,024 bits are logic.
    [
        *((256, 3, 0), (256, 6, 1), (512, 8, 1), (512, 13, 2), (640, 5, 1), (640, 6, 2)),
        *((640, 13, 3), (768, 1, 0), (1024, 2, 1), (1024, 3, 1), (1024, 5, 2), (1024, 13, 4)),
        *((2048, 3, 2), (2048, 5, 3), (2048, 13, 7), (4096, 1, 1), (4096, 3, 3), (4096, 8, 8)),
    ],
)
def test_constants_take_the_block_rams_that_yosys_gives_them(words, width, rams):
    assert block_rams("ice40", words, width, written=False) == rams


@pytest.mark.parametrize(
    ("words", "width", "rams"),
    [(16, 4, 0), (20, 3, 0), (20, 4, 1), (16, 6, 1), (64, 8, 1), (128, 2, 1)],
)
def test_state_takes_block_rams_from_64_bits_on(words, width, rams):
    assert block_rams("ice40", words, width, written=True) == rams


def test_entropy_is_shannons():
    assert entropy([3] * 8) == 0
    assert entropy(list(range(16))) == pytest.approx(4)
    # Half zeros, a quarter each of two others, by hand.
    assert entropy([0, 0, 5, 7]) == pytest.approx(1.5)


@pytest.mark.parametrize("share", ["none", "all"])
def test_contents_of_memories_are_known_without_building_them(share):
    model = random_model(np.random.default_rng(SEED), Genome.uniform(3), 3, 4, 2)
    count = 0
    for part in Design.of(model, Lanes(), share).parts:
        stores = [store for store in memories_of(part) if store.words is not None]
        if part.identity[0] == "Rom":
            rom: Rom = part.build()
            Fragment.get(rom, None)  # or Amaranth warns that nobody used it
            assert [(s.words, s.width) for s in stores] == [(rom.words, rom.width)]
            count += 1
        pieces = list(cell_pieces.pieces_of(cell_pieces.part_design(part), part.about))
        shapes = sorted(piece.shape for piece in pieces if piece.kind != "logic")
        known = sorted((s.depth, s.width) for s in memories_of(part))
        assert shapes == known, part.about
    assert count > 2


def test_an_estimated_area_is_near_the_measured_one():
    try:
        liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    (design,) = designs("digits-row", Knobs(), [Genome.uniform(6)])
    wanted = [p for p in design.parts if p.identity[0] in ("Dense", "Sum", "Rom")][:6]
    exact = figures.measure_parts("sky130", wanted, workers=1)

    class Some:
        parts, cycles_per_step = wanted, 1

    estimate = prices.figures("sky130", Some)["um2"]
    assert estimate == pytest.approx(sum(row["um2"] for row in exact), rel=0.15)


def test_machines_that_no_fit_has_seen_are_near_what_yosys_makes():
    try:
        liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    for share in ("gates", "all"):
        (part,) = fit_shared.machines(fit_shared.SharedGroup("digits-row", share, 1, seed=99))
        (exact,) = figures.measure_parts("sky130", [part], workers=1)
        told = prices.exact_figures("sky130", Parts([part]))["logic_um2"]
        assert told == pytest.approx(exact["logic_um2"], rel=0.1), share


def test_macros_are_counted_whole(design):
    row = prices.figures("sky130", design, "sram")
    macros = 0.0
    for part in design.parts:
        for store in memories_of(part):
            number, macro = cell_memories.macros_for(store.depth, store.width)
            macros += number * macro.area_um2
    assert row["rom_um2"] + row["ram_um2"] == pytest.approx(macros, abs=0.2)
    assert row["um2"] > 20 * prices.figures("sky130", design)["um2"]


def test_latches_take_less_than_flip_flops(design):
    flops, latches = (prices.figures("sky130", design, kind) for kind in ("flops", "latches"))
    assert latches["logic_um2"] == flops["logic_um2"]
    assert 0.5 < latches["ram_um2"] / flops["ram_um2"] < 0.85
    # A latch for every flip-flop and multiplexer, and a clock gate a word.
    assert cell_memories.latch_um2(32, 8, 10_000.0) == pytest.approx(
        10_000 - 256 * (20.0192 + 11.2608 - 15.0144) + 32 * 17.5168
    )


def test_a_part_of_an_unknown_kind_is_measured(design, monkeypatch):
    calls = []

    def measured(target, parts, memories, workers):
        calls.append([part.identity[0] for part in parts])
        return [{"um2": 6.0, "logic_um2": 1.0, "rom_um2": 2.0, "ram_um2": 3.0}]

    monkeypatch.setattr(figures, "measure_parts", measured)
    monkeypatch.setattr(prices.estimate, "FEATURES", {})
    prices._logic.cache_clear()
    row = prices.figures("sky130", design)
    prices._logic.cache_clear()
    kinds = {part.identity[0] for part in design.parts} - {"Rom", "CodeBuffer", "Fork"}
    assert {kind for (kind,) in calls} == kinds
    assert row["um2"] > 6 * len(calls)


@pytest.mark.parametrize("target", DEVICES)
def test_every_fpga_has_models_and_states_their_error(target, design):
    prices.check_prices(target)
    row = prices.figures(target, design)
    assert row["lut"] > 100
    assert row["ff"] > 50
    for figure in ("lut", "ff", "ebr", "dsp"):
        error = prices.errors(target)[figure]
        assert 0 <= error["median_percent"] <= error["worst_percent"]
        assert error["genomes"] >= 12


def test_a_target_without_models_is_refused(monkeypatch):
    monkeypatch.setitem(prices._SAME, "ecp5-85k", "ecp5-0k")
    with pytest.raises(
        InputError, match=r"^target ecp5-85k: no models .* search.* by them"
    ) as error:
        prices.check_prices("ecp5-85k")
    assert "genogate area --target measures it" in str(error.value)


@pytest.mark.parametrize(("bits", "blocks"), [(8, 6), (6, 6), (5, 0)])
@pytest.mark.parametrize("target", ["ecp5-85k", "gowin-gw2a-18"])
def test_wide_weights_that_come_whole_take_a_dsp_block(target, bits, blocks):
    """As many inputs as units: no weight has time to come in digits."""
    model = random_model(np.random.default_rng(SEED), Genome.uniform(bits), 8, 8, 3, input_bits=8)
    dense = [p for p in Design.of(model).parts if p.identity[0] == "Dense"]
    assert sum(prices.dsp_blocks(target, part.identity) for part in dense) == blocks


def test_energy_of_a_step_follows_the_netlists_that_were_measured(design):
    row = prices.figures("sky130", design)
    small = energy.pj_per_cycle(row["um2"])
    assert row["energy"] == pytest.approx(small * design.cycles_per_step / 1000, abs=1e-4)
    assert "energy" not in prices.figures("sky130", design, "sram")
    for measured in energy.rows():
        told = energy.pj_per_cycle(measured["um2"])
        assert told == pytest.approx(measured["pj_per_cycle"], rel=0.3)
    # Told by the others.
    error = prices.errors("sky130")["energy"]
    assert error["genomes"] == len(energy.rows()) >= 4
    assert 0 < error["median_percent"] < 15


def test_the_resources_of_a_part_are_limits():
    assert prices.limits("ice40-up5k") == {"lut": 5280, "ff": 5280, "ebr": 30, "dsp": 8}
    assert prices.over("ice40-up5k", {"lut": 5280, "ff": 1, "ebr": 35, "dsp": 0}) == {"ebr": 5}
    with pytest.raises(InputError, match="target sky130 is no FPGA"):
        prices.limits("sky130")
    assert prices.figures_of("generic") == ()
    assert {prices.figures_of(name) for name in DEVICES} == {prices.FPGA_FIGURES}


@pytest.mark.parametrize("target", ["sky130", "ice40-up5k"])
def test_nothing_around_gru_layers_is_synthesised_to_be_priced(monkeypatch, target):
    def refused(*arguments, **options):
        raise AssertionError("a part was measured")

    monkeypatch.setattr(figures, "measure_parts", refused)
    kinds = set()
    for stages, others in fit_stages.drawn(4, 2, seed=5):
        for parts in (*stages, others):
            told = prices.exact_figures(target, Parts(parts))
            assert told["um2" if target == "sky130" else "lut"] > 0
            kinds |= {part.identity[0] for part in parts}
    assert kinds >= {"StageControl", "Requantize", "StateCopy", "Dense"}


def test_control_of_dense_layers_that_no_fit_has_seen_is_near_what_yosys_makes():
    controls = [
        part
        for _, kinds in fit_stages.drawn(3, 1, seed=77)
        for part in kinds
        if part.identity[0] != "StateCopy"
    ]
    told = prices.exact_figures("ice40-up5k", Parts(controls))
    rows = figures.measure_parts("ice40-up5k", controls, workers=1)
    measured = {name: sum(row[name] for row in rows) for name in ("lut", "ff")}
    for name, value in measured.items():
        assert told[name] == pytest.approx(value, rel=0.12), name
