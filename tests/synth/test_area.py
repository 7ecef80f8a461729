# amaranth: UnusedElaboratable=no
"""What a module costs, counted by hand; reports add up; the cache is right, damaged or not."""

import json
import subprocess
from collections import Counter

import numpy as np
import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from genogate.hdl.dense import Dense
from genogate.hdl.gru.design import Design as Hardware
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.model.integer import Dense as DenseOp
from genogate.model.integer import PiecewiseLinear, Table, acc_bounds
from genogate.model.knobs import Lanes
from genogate.model.quantize.activations import unit_codes
from genogate.sim.random_model import random_model
from genogate.synth import yosys
from genogate.synth.area import ModuleArea, _text, _texts, forget, measure
from genogate.synth.hardware_hash import hash_of
from genogate.synth.report import area_report, as_built, cheapest, prepare, totals
from genogate.synth.rtlil import Design
from genogate.synth.runtime_multipliers import runtime_multiplier_cells
from genogate.synth.verilog import emit_rtlil

pytestmark = pytest.mark.usefixtures("own_cache")

SEED = 2026
GENES_OF_TWO = tuple(int(g) for g in np.random.default_rng(SEED).integers(2, 9, 34))


class Circuit(wiring.Component):
    """A component made of one function ``build(m, a, b, o)``."""

    def __init__(self, build, a=4, b=4, o=4):
        self.build = build
        super().__init__({"a": In(a), "b": In(b), "o": Out(o)})

    def elaborate(self, platform):
        m = Module()
        self.build(m, self.a, self.b, self.o)
        return m


def inverter(m, a, b, o):
    m.d.comb += o.eq(~a)


def adder(m, a, b, o):
    m.d.comb += o.eq(a + b)


def register(reset_less):
    def build(m, a, b, o):
        kept = Signal(len(a), reset_less=reset_less)
        m.d.sync += kept.eq(a)
        m.d.comb += o.eq(kept)

    return build


def enabled_register(m, a, b, o):
    kept = Signal(len(a), reset_less=True)
    with m.If(b[0]):
        m.d.sync += kept.eq(a)
    m.d.comb += o.eq(kept)


def ram(m, a, b, o):
    m.submodules.memory = mem = memory.Memory(shape=4, depth=16, init=[])
    write, read = mem.write_port(), mem.read_port()
    m.d.comb += [write.addr.eq(a), write.data.eq(b), write.en.eq(1)]
    m.d.comb += [read.addr.eq(a), o.eq(read.data)]


def rom(words):
    def build(m, a, b, o):
        m.submodules.memory = mem = memory.Memory(shape=4, depth=16, init=words)
        read = mem.read_port()
        m.d.comb += [read.addr.eq(a), o.eq(read.data)]

    return build


@pytest.fixture
def no_yosys(monkeypatch):
    """A function after whose call no process may be started."""

    def forbid():
        def started(*args, **kwargs):
            raise AssertionError("a process was started")

        yosys.dismiss()
        monkeypatch.setattr(subprocess, "Popen", started)
        monkeypatch.setattr(subprocess, "run", started)

    return forbid


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(SEED)
    genes = rng.integers(2, 5, 34)
    return random_model(rng, Genome.from_genes(genes), 3, 3, 2)


@pytest.fixture(scope="module")
def warm(tmp_path_factory, model):
    """A report, and the cache that holds all that it is made of."""
    folder = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENOGATE_CACHE", str(folder))
        patch.delenv("YOSYS", raising=False)
        # What this process has met already would not be written to the new folder.
        forget()
        return area_report(Hardware.of(model, Lanes(1, 2))), folder


def test_known_circuits_cost_what_a_hand_counts():
    circuits = {
        "inverter": inverter,
        "flip-flops": register(reset_less=True),
        "reset": register(reset_less=False),
        "enable": enabled_register,
        "ram": ram,
        "rom": rom(list(range(16))),
    }
    areas = dict(zip(circuits, measure([Circuit(c) for c in circuits.values()]), strict=True))
    # Yosys: an inverter has 2 transistors, a D flip-flop 16, an and with an inverted input 8,
    # a multiplexer 12.
    assert areas["inverter"] == ModuleArea(4, 0, 4 * 2, 0)
    assert areas["flip-flops"] == ModuleArea(4, 4, 4 * 16, 0)
    assert areas["reset"].cells == 4 + 4
    assert areas["enable"] == ModuleArea(4 + 4, 4, 4 * (16 + 12), 0)
    assert areas["ram"] == areas["rom"] == ModuleArea(0, 0, 0, 64)


def test_result_depends_on_the_module_alone(own_cache, monkeypatch):
    def multiplier(m, a, b, o):
        m.d.comb += o.eq(a * b)

    def longer_names(m, a, b, o):
        product = Signal(12, name="some_other_name")
        m.d.comb += [product.eq(a * b), o.eq(product)]

    shape = {"a": 6, "b": 6, "o": 12}
    alone = measure([Circuit(multiplier, **shape)])
    monkeypatch.setenv("GENOGATE_CACHE", str(own_cache / "another"))
    *_, last, renamed = measure(
        [
            Circuit(adder, 9, 9, 9),
            Circuit(inverter),
            Circuit(multiplier, **shape),
            Circuit(longer_names, **shape),
        ]
    )
    assert [last] == alone
    assert renamed.cells <= last.cells * 1.1


def test_memory_contents_make_no_difference(no_yosys):
    first = measure([Circuit(rom(list(range(16))))])
    no_yosys()
    assert measure([Circuit(rom([0] * 16)), Circuit(rom([3, 1, 4, 1, 5]))]) == first * 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00\xfe",
        b"[]",
        b"null",
        b'{"key": "another", "cells": 1, "flip_flops": 0, "transistors": 4, "memory_bits": 0}',
        "no cells",
        "negative",
        "text",
        "one more",
        "no check",
        "cut",
    ],
)
def test_damaged_entries_are_measured_again(damage, own_cache, no_yosys):
    measured = measure([Circuit(inverter)])
    (path,) = own_cache.rglob("*.json")
    sound = path.read_bytes()
    entry = json.loads(sound)
    if damage == "no cells":
        del entry["cells"]
    elif damage == "negative":
        entry["cells"] = -1
    elif damage == "text":
        entry["cells"] = "4"
    elif damage == "one more":
        entry["cells"] += 1
    elif damage == "no check":
        del entry["check"]
    path.write_bytes(
        damage
        if isinstance(damage, bytes)
        else sound[:40]
        if damage == "cut"
        else json.dumps(entry).encode()
    )
    assert measure([Circuit(inverter)]) == measured
    assert path.read_bytes() == sound
    no_yosys()
    assert measure([Circuit(inverter)]) == measured


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / "file"))
    assert measure([Circuit(inverter)])[0].cells == 4


def test_another_version_measures_again(program, monkeypatch):
    measure([Circuit(inverter)])
    monkeypatch.setenv("YOSYS", program('echo "ERROR: asked" >&2; exit 1'))
    with pytest.raises(
        InputError, match=r"^Yosys 0.70 \(git sha1 0123456\) failed .*: ERROR: asked"
    ):
        measure([Circuit(inverter)])


@pytest.mark.parametrize(
    ("logic", "message"),
    [
        (
            '{"design": {"num_cells": 1, "num_cells_by_type": {}, '
            '"estimated_num_transistors": "364+"}}',
            "no statistic that can be read",
        ),
        (
            '{"design": {"num_cells": 1, "num_cells_by_type": {"$_DFFE_PP_": 1}, '
            '"estimated_num_transistors": "16"}}',
            r"left cells that are no gates: \$_DFFE_PP_",
        ),
        ("Yosys says hello", "no statistic that can be read"),
    ],
)
def test_statistics_that_leave_cells_out_are_refused(logic, message, program, monkeypatch):
    body = f"""echo '{{"design": {{"num_memory_bits": 0}}}}' > memory.json
cat > logic.json <<'END'\n{logic}\nEND"""
    monkeypatch.setenv("YOSYS", program(body))
    with pytest.raises(InputError, match=message):
        measure([Circuit(inverter)])


def test_report_has_a_row_for_every_gene_and_adds_up(warm, model):
    report, _ = warm
    rows = {row.name: row for row in report.rows}
    assert len(rows) == len(report.rows)
    genes = [f"layer{k}.{gene}" for k in range(2) for gene in GENES]
    assert [row.name for row in report.rows if row.bits is not None] == [
        name for k in range(2) for name in genes[17 * k : 17 * k + 17]
    ]
    assert [rows[name].bits for name in genes] == list(model.genome.genes)
    for number, layer in enumerate(model.layers):
        for gene in GENES[:6]:
            row, op = rows[f"layer{number}.{gene}"], layer.dense(gene)
            assert row.area.cells > 0
            # Words of two lanes may be filled up; biases come on top.
            assert row.area.memory_bits > op.weight.size * op.weight_bits
        assert all(rows[f"layer{number}.{gene}"].area.memory_bits == 0 for gene in GENES[6:])
        for part in ("control", "x_buffer", "state"):
            assert f"layer{number}.{part}" in rows
    assert rows["classifier"].area.cells > 0
    document = report.to_json()
    assert json.loads(json.dumps(document)) == document
    for name in ("cells", "flip_flops", "transistors", "memory_bits"):
        assert document[name] == sum(row[name] for row in document["operators"])
    assert report.yosys_version.startswith("Yosys 0.")
    # The same circuit with the borders dissolved, over which much may be simplified here: random
    # operators saturate, and one that always gives the same code makes others needless.
    assert report.flat.memory_bits == report.total.memory_bits
    assert report.flat.flip_flops <= report.total.flip_flops
    assert 0 < report.flat.cells < 1.05 * report.total.cells


def cells_of(text):
    """How many cells of each kind there are in RTLIL text."""
    names = (line.split()[1] for line in text.splitlines() if line.startswith("  cell "))
    return Counter(name if name[0] == "$" else "instance" for name in names)


def test_parts_are_all_of_the_network_and_look_the_same_alone():
    """The modules that hold parts have wires alone, and a part alone is what it is inside."""
    rng = np.random.default_rng(SEED)
    genome = Genome((GENES_OF_TWO[:17], GENES_OF_TWO[17:]))
    model = random_model(rng, genome, 3, 5, 4, terms=2)
    design = Design(emit_rtlil(Hardware.of(model, Lanes(1, 3))))
    top = design.modules[design.top]
    children = {cell[1:]: name for name, cell in top.instances}
    hardware = Hardware.of(model, Lanes(1, 3))
    holders = [top, *(design.modules[children[f"layer{k}"]] for k in range(2))]
    for module in holders:
        inside = len(module.instances)
        assert sum(line.lstrip().startswith("cell ") for line in module.lines) == inside
        assert not any(line.lstrip().startswith("switch ") for line in module.lines)
    seen = 0
    for parts, module in zip(hardware.layers, holders[1:], strict=True):
        inside = {cell[1:]: name for name, cell in module.instances}
        assert set(parts) == set(inside)
        for name, part in parts.items():
            alone = Design(rtlil.convert(part.build(), name="top", emit_src=False))
            # Ports are in another order, no more.
            assert cells_of(alone.unit(alone.top)) == cells_of(design.unit(inside[name])), name
            seen += 1
    assert seen == 2 * (17 + 12 + 3)


def test_equal_identities_are_equal_circuits():
    """Over many random operators, some of which differ in one constant only."""
    texts, met = {}, 0
    for seed in range(12):
        rng = np.random.default_rng([SEED, seed])
        genome = Genome.from_genes(rng.integers(2, 4, 17))
        model = random_model(rng, genome, 2, 2, 2, terms=[1, None][seed % 2])
        for parts in Hardware.of(model, Lanes(1, 1 + seed % 2)).layers:
            for part in parts.values():
                component = part.build()
                assert component.identity == part.identity
                text = _text(component)
                assert texts.setdefault(part.identity, text) == text, f"{part}, seed {seed}"
                met += 1
    assert 100 < len(texts) < met


def dense(seed, **changed):
    """A dense operator; two of different seeds hardly ever have the same bounds."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.integers(-4, 4, (3, 5)).astype(np.int8), rng.integers(-9, 9, 3)
    low, high = acc_bounds(weight, bias, 6)
    settings = {
        "in_bits": 6,
        "weight_bits": 3,
        "out_bits": 4,
        "multiplier": 3,
        "shift": 5,
        "zero_point": 2,
        "channel_shift": np.zeros(3, np.uint8),
    } | changed
    return DenseOp(weight=weight, bias=bias, acc_min=low, acc_max=high, **settings)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# Why.", "# Because.", True),
        ('"""A module."""', "", True),
        ('"""It adds."""', '"""It\n    adds two."""', True),
        ("a + 1", "(a  +\n        1)", True),
        ("a + 1", "a + 2", False),
        ('"kept"', '"lost"', False),
        ("def f", "def g", False),
    ],
)
def test_only_a_change_of_what_code_does_makes_areas_old(old, new, same):
    text = '''"""A module."""
def f(a):
    """It adds."""
    # Why.
    if a:
        "kept"
    return a + 1
'''
    assert old in text
    one, other = hash_of([text, text]), hash_of([text, text.replace(old, new)])
    assert (one == other) == same
    # Again from what was kept.
    assert (hash_of([text, text]), hash_of([text, text.replace(old, new)])) == (one, other)


def test_identities_tell_widths_and_functions_not_constants():
    ops = [dense([SEED, k]) for k in range(60)]
    parts = [Dense.part(op, 1) for op in ops]
    bounds = {(op.acc_min, op.acc_max) for op in ops}
    identities = {part.identity for part in parts}
    assert len(identities) < len(bounds) / 2
    texts = {}
    for part in parts:
        texts.setdefault(part.identity, set()).add(_text(part))
    assert all(len(same) == 1 for same in texts.values())
    assert len(set().union(*texts.values())) == len(texts)
    # What the shift does not show, and what it does.
    assert Dense.part(dense(SEED, shift=6), 1).identity != Dense.part(dense(SEED), 1).identity
    lines = PiecewiseLinear(3, 3, 1, 0, np.array([0]), np.array([1, 2]), np.array([0, 0]))
    table = Table(3, 3, unit_codes(lines).astype(np.int8))
    assert as_built(lines) == as_built(table)
    assert _text(as_built(lines)) == _text(as_built(table))


def test_parts_are_elaborated_by_several_processes_as_by_one(model):
    parts = Hardware.of(model).parts[:20]
    assert _texts(parts, 2) == _texts(parts, 1)


def test_what_fails_is_named_and_what_does_not_is_kept(program, monkeypatch, no_yosys):
    statistics = {
        "memory.json": {"design": {"num_memory_bits": 0}},
        "logic.json": {
            "design": {"num_cells": 7, "num_cells_by_type": {}, "estimated_num_transistors": "14"}
        },
    }
    good = "\n".join(f"echo '{json.dumps(text)}' > {name}" for name, text in statistics.items())
    # A table of 3 output bits, and none of 2, has a port of that width.
    bad = 'if grep -q "width 3 output" unit.il; then echo "ERROR: of three" >&2; exit 1; fi\n'
    monkeypatch.setenv("YOSYS", program(bad + good))
    rng = np.random.default_rng(SEED)
    parts = [as_built(Table(4, bits, rng.integers(-2, 2, 16).astype(np.int8))) for bits in (2, 3)]
    more = [as_built(Table(4, 2, rng.integers(-2, 2, 16).astype(np.int8))) for _ in range(3)]
    with pytest.raises(InputError, match=r"failed on Table, 4 to 3 bits: ERROR: of three$"):
        measure([*parts, *more])
    # Of another process, nothing but the disk knows.
    forget()
    no_yosys()
    assert measure([parts[0], *more]) == [ModuleArea(7, 0, 14, 0)] * 4


def test_second_report_comes_from_the_cache(warm, model, monkeypatch, no_yosys):
    report, folder = warm
    monkeypatch.setenv("GENOGATE_CACHE", str(folder))
    no_yosys()
    assert area_report(Hardware.of(model, Lanes(1, 2))) == report


def test_prepared_networks_are_reported_without_yosys(no_yosys):
    rng = np.random.default_rng(SEED)
    model = random_model(rng, Genome.uniform(2), 2, 2, 2)
    prepare([Hardware.of(model, Lanes(lanes, 1)) for lanes in (1, 2)])
    no_yosys()
    narrow, wide = (
        area_report(Hardware.of(model, Lanes(lanes, 1)), flat=False).total for lanes in (1, 2)
    )
    assert 0 < narrow.cells < wide.cells


def test_totals_are_those_of_reports(warm, model, monkeypatch, no_yosys):
    report, folder = warm
    monkeypatch.setenv("GENOGATE_CACHE", str(folder))
    forget()
    no_yosys()
    assert totals([Hardware.of(model, Lanes(1, 2))] * 2) == [report.total] * 2


def test_cheapest_takes_the_fewest_cells(no_yosys):
    rng = np.random.default_rng(SEED)
    noise = Table(5, 4, rng.integers(-8, 8, 32).astype(np.int8))
    constant = Table(5, 4, np.full(32, 3, np.int8))
    steps = Table(5, 4, np.repeat(np.arange(-8, 8), 2).astype(np.int8))
    groups = [[noise, steps], [constant, noise, steps], [noise], [noise, noise]]
    assert cheapest(groups) == [1, 0, 0, 0]
    no_yosys()
    assert cheapest(groups[::-1]) == [0, 0, 0, 1]


def test_single_candidates_need_no_yosys(no_yosys):
    no_yosys()
    assert cheapest([[Table(2, 2, np.zeros(4, np.int8))]] * 2) == [0, 0]
    assert cheapest([]) == []


def test_runtime_factors_cost_more():
    model = random_model(np.random.default_rng(SEED), Genome.uniform(2), 2, 2, 2)
    constant, runtime = runtime_multiplier_cells(Hardware.of(model))
    assert constant == area_report(Hardware.of(model), flat=False).total.cells
    assert runtime > 2 * constant
