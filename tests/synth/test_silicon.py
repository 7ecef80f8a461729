# amaranth: UnusedElaboratable=no
"""Area by hand in a library of six cells, power that follows clock and activity, and bad tools.

The real library is used where it is at hand; the small one, which has no flip-flop with an enable,
makes every figure countable.
"""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from genogate.hdl.piecewise_linear import PiecewiseLinear
from genogate.hdl.units.lut_unit import LoadableUnit
from genogate.model.errors import InputError
from genogate.model.files import read_json
from genogate.model.tables.functions import FUNCTIONS
from genogate.sim import golden
from genogate.sim.golden_lut import Contents
from genogate.synth import yosys
from genogate.synth.cells import liberty, opensta, silicon
from genogate.synth.cells.gates import Netlist, Stimulus
from genogate.synth.cells.silicon import Subject, measure_all, silicon_if_available

from studies.silicon import PAPER, fixed, loadable, render

pytestmark = pytest.mark.usefixtures("own_cache")

AREAS = {"inv": 1.0, "buf": 1.5, "nand2": 2.0, "nor2": 2.5, "dff": 7.0, "icg": 5.0}
HAS_STA = shutil.which("sta") is not None
needs_sta = pytest.mark.skipif(not HAS_STA, reason="no OpenSTA (apt-get install opensta)")
GELU = Contents((-10, 0, 10, 30), (0, -7, 11, 55, 64), (0, -100, 50, 20, 0), 2, 6)


def _pin(name, direction, more=""):
    return f"pin ({name}) {{ direction : {direction}; {more} }}\n"


def _arc(source, delay, kind="combinational", energy=0.0):
    tables = "".join(
        f'{name} (flat) {{ values ("{value}, {value}", "{value}, {value}"); }}\n'
        for name, value in (
            ("cell_rise", delay),
            ("cell_fall", delay),
            ("rise_transition", 0.01),
            ("fall_transition", 0.01),
        )
    )
    power = "".join(
        f'{edge}_power (even) {{ values ("{energy}, {energy}", "{energy}, {energy}"); }}\n'
        for edge in ("rise", "fall")
    )
    return (
        f'timing () {{ related_pin : "{source}"; timing_type : {kind}; '
        f"timing_sense : non_unate; {tables} }}\n"
        f'internal_power () {{ related_pin : "{source}"; {power} }}\n'
    )


def small_library(areas=AREAS) -> str:
    """Liberty text: 1 ns a gate, 1 fF a pin, flip-flops of 2 ns; leakage 1 nW a cell."""
    load = "capacitance : 0.001;"

    def cell(name, body, more=""):
        return (
            f'cell ("{name}") {{ area : {areas[name]}; cell_leakage_power : 1.0; {more}\n'
            f"{body} }}\n"
        )

    edges = "".join(f'{e}_power (scalar) {{ values ("0.005"); }}\n' for e in ("rise", "fall"))
    two = _pin("A", "input", load) + _pin("B", "input", load)
    arcs = _arc("A", 1.0) + _arc("B", 1.0)
    cells = [
        cell(
            "inv",
            _pin("A", "input", load) + _pin("Y", "output", f'function : "!A"; {_arc("A", 1.0)}'),
        ),
        cell(
            "buf",
            _pin("A", "input", load) + _pin("Y", "output", f'function : "A"; {_arc("A", 1.0)}'),
        ),
        cell("nand2", two + _pin("Y", "output", f'function : "!(A & B)"; {arcs}')),
        cell("nor2", two + _pin("Y", "output", f'function : "(A + B)\'"; {arcs}')),
        cell(
            "dff",
            'ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }\n'
            + _pin("CK", "input", f"{load} clock : true; internal_power () {{ {edges} }}")
            + _pin("D", "input", load)
            + _pin("Q", "output", f'function : "IQ"; {_arc("CK", 2.0, "rising_edge", 0.01)}'),
        ),
        cell(
            "icg",
            'statetable ("CK E", "M") { table : "L L : - : L, L H : - : H, H - : - : N"; }\n'
            + _pin("CK", "input", f"{load} clock : true; clock_gate_clock_pin : true;")
            + _pin("E", "input", f"{load} clock_gate_enable_pin : true;")
            + _pin("M", "internal", 'internal_node : "M";')
            + _pin(
                "G",
                "output",
                f'clock_gate_out_pin : true; state_function : "(CK & M)"; {_arc("CK", 1.0)}',
            ),
            'clock_gating_integrated_cell : "latch_posedge";',
        ),
    ]
    voltage = (
        ' operating_conditions ("typical") { voltage : 1.0; process : 1.0; temperature : 25; }\n'
    )
    return (
        'library ("small") {\n delay_model : table_lookup;\n time_unit : "1ns";\n'
        ' voltage_unit : "1V";\n current_unit : "1mA";\n leakage_power_unit : "1nW";\n'
        " capacitive_load_unit (1, pf);\n nom_voltage : 1.0;\n nom_process : 1.0;\n"
        " nom_temperature : 25;\n" + voltage + ' default_operating_conditions : "typical";\n'
        " default_max_transition : 10;\n"
        + "".join(
            f" {side}_threshold_pct_{edge} : 50;\n slew_lower_threshold_pct_{edge} : 20;\n"
            f" slew_upper_threshold_pct_{edge} : 80;\n"
            for side in ("input", "output")
            for edge in ("rise", "fall")
        )
        + "".join(
            f"{kind}_template (name) {{ variable_1 : input_{slew}; "
            "variable_2 : total_output_net_capacitance; "
            'index_1 ("0.01, 1"); index_2 ("0.001, 1"); }\n'.replace("name", name)
            for kind, name, slew in (
                ("lu_table", "flat", "net_transition"),
                ("power_lut", "even", "transition_time"),
            )
        )
        + "".join(cells)
        + "}\n"
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The library of six cells, and nothing else to be found."""
    path = tmp_path / "small.lib"
    path.write_text(small_library())
    for name in ("PDK_ROOT", "GENOGATE_DATA", "STA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENOGATE_LIBERTY", str(path))
    return path


@pytest.fixture
def sky130():
    """The real library, or a skip that says what to set."""
    try:
        library = liberty.find()
    except InputError as error:
        pytest.skip(str(error))
    if library.name != liberty.NAME.removesuffix(".lib"):
        pytest.skip(f"{library.source} is another library")
    return library


class Circuit(wiring.Component):
    """A component made of one function ``build(m, a, b, o)`` of 4 bits each."""

    def __init__(self, build):
        self.build = build
        super().__init__({"a": In(4), "b": In(4), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        self.build(m, self.a, self.b, self.o)
        return m


def inverters(m, a, b, o):
    m.d.comb += o.eq(~a)


def nands(m, a, b, o):
    m.d.comb += o.eq(~(a & b))


def registers(m, a, b, o):
    kept = Signal(4, reset_less=True)
    m.d.sync += kept.eq(a)
    m.d.comb += o.eq(kept)


def enabled(m, a, b, o):
    kept = Signal(4, reset_less=True)
    with m.If(b[0]):
        m.d.sync += kept.eq(a)
    m.d.comb += o.eq(kept)


def register_between(m, a, b, o):
    kept = Signal(4, reset_less=True)
    m.d.sync += kept.eq(~a)
    m.d.comb += o.eq(~kept)


def refusal(call, *arguments, **named) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_area_is_what_a_hand_adds_up(small):
    found = measure_all([Circuit(c) for c in (inverters, nands, registers, enabled)])
    areas = [unit.area_um2 for unit in found]
    assert areas[:3] == [4 * AREAS["inv"], 4 * AREAS["nand2"], 4 * AREAS["dff"]]
    # One gate serves all four.
    assert areas[3] == 4 * AREAS["dff"] + AREAS["icg"]
    assert [unit.flip_flops for unit in found] == [0, 0, 4, 4]
    assert [unit.cells for unit in found] == [4, 4, 4, 5]
    assert found[2].sequential_um2 == found[2].area_um2
    (plain,) = measure_all([Circuit(enabled)], gated=False)
    # Each bit holds itself through a multiplexer: three nands, and an inverter for all.
    assert plain.area_um2 == 4 * (AREAS["dff"] + 3 * AREAS["nand2"]) + AREAS["inv"]


@needs_sta
def test_delay_is_counted_from_edge_to_edge_and_slack_has_a_sign(small):
    slow, fast = (
        measure_all([Circuit(c) for c in (inverters, register_between)], clock_ns=t)
        for t in (10, 2.5)
    )
    for period, units in ((10, slow), (2.5, fast)):
        assert units[0].delay_ns == pytest.approx(1.0)
        assert units[1].delay_ns == pytest.approx(2.0 + 1.0)
        assert [u.slack_ns for u in units] == pytest.approx([period - 1, period - 3])
    assert fast[1].slack_ns < 0 < slow[1].slack_ns


@needs_sta
def test_power_is_leakage_and_energy_by_clock_and_activity(small):
    def power(circuit, clock_ns=10.0, activity=0.5):
        subject = Subject(Circuit(circuit), Stimulus(activity=activity))
        return measure_all([subject], clock_ns=clock_ns)[0].power

    still = power(registers, activity=0.0)
    assert still.leakage == pytest.approx(4e-6)
    # Only the clock, 0.01 pJ a cycle for each of four flip-flops, at 100 MHz.
    assert still.internal == pytest.approx(4e-3, rel=0.01)
    assert still.switching == 0
    half, full = power(registers, activity=0.5), power(registers, activity=1.0)
    assert full.internal > half.internal > still.internal
    twice = power(registers, clock_ns=5.0)
    assert twice.internal == pytest.approx(2 * half.internal)
    assert twice.leakage == half.leakage
    # And as much for a Q that toggles in each cycle.
    assert full.internal == pytest.approx(8e-3, rel=0.01)
    for p in (still, half, full, twice):
        assert p.total == p.internal + p.switching + p.leakage


@needs_sta
def test_a_closed_clock_gate_takes_the_clock_away(small):
    holds = ({"b": 0}, {"b": 1}, {})
    subjects = [Subject(Circuit(enabled), Stimulus(hold=hold, activity=0)) for hold in holds]
    closed, opened, random = (unit.power for unit in measure_all(subjects, clock_ns=10))
    assert closed.internal == 0
    assert opened.internal == pytest.approx(4e-3, rel=0.01)
    # Half of the cases have an open one all the time.
    assert random.internal == pytest.approx(2e-3, rel=0.3)


@needs_sta
def test_even_power_has_one_rate_on_every_net(small):
    units = measure_all([Subject(Circuit(registers), Stimulus(activity=a)) for a in (0.1, 1)])
    assert silicon.EVEN == 0.1
    assert units[0].even == units[1].even
    assert units[0].power.internal == pytest.approx(units[0].even.internal, rel=0.05)


def test_cache_spares_the_tools_until_library_or_stimulus_change(own_cache, small, monkeypatch):
    subject = Subject(Circuit(nands))
    first = measure_all([subject], clock_ns=10)

    def started(*args, **kwargs):
        raise AssertionError("a process was started")

    if HAS_STA:
        opensta.find_sta()
    yosys.dismiss()
    monkeypatch.setattr(subprocess, "Popen", started)
    assert measure_all([subject], clock_ns=10.0) == first
    for again in ({"clock_ns": 5}, {"clock_ns": 10, "gated": False}):
        with pytest.raises(AssertionError):
            measure_all([subject], **again)
    with pytest.raises(AssertionError):
        measure_all([Subject(Circuit(nands), Stimulus(activity=0.1))], clock_ns=10)
    small.write_text(small_library({**AREAS, "nand2": 2.25}))
    os.utime(small, ns=(1, 1))
    with pytest.raises(AssertionError):
        measure_all([subject], clock_ns=10)
    monkeypatch.undo()
    monkeypatch.setenv("GENOGATE_LIBERTY", str(small))
    assert measure_all([subject], clock_ns=10)[0].area_um2 == 4 * 2.25


def test_without_opensta_there_is_area_alone(small, monkeypatch):
    monkeypatch.setenv("STA", "/nowhere/sta")
    (unit,) = measure_all([Circuit(inverters)])
    assert unit.area_um2 == 4
    assert (unit.delay_ns, unit.slack_ns, unit.power, unit.power_mw) == (None,) * 4
    assert "apt-get install opensta" in refusal(opensta.find_sta)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("echo GNU Awk", "not an OpenSTA"),
        ('[ "$1" = -version ] && echo 2.0.17 || echo "Error: no luck"', "failed: Error: no luck"),
        ('[ "$1" = -version ] && echo 2.0.17 || exit 139', "failed: exit status 139"),
        ('[ "$1" = -version ] && echo 2.0.17 || echo worst slack', "reported no slack"),
        ('[ "$1" = -version ] && echo 2.0.17 || echo worst slack 1.0', "no report of power"),
    ],
)
def test_an_opensta_that_fails_says_so(answer, message, small, tmp_path, monkeypatch):
    path = tmp_path / "some-sta"
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    monkeypatch.setenv("STA", str(path))
    if "not an" in message:
        assert message in refusal(opensta.find_sta)
    else:
        assert message in refusal(measure_all, [Circuit(inverters)])


def test_power_reports_that_do_not_add_up_are_refused():
    row = " {} {} 1.0e-09 {} {}\n"
    total = "Total {} 0.0e+00 2.0e-09 {} 100.0%\n"

    def report(each, whole):
        body = "".join(row.format(each, "0.0e+00", each, name) for name in ("u1", "u2"))
        return "".join(
            f"== {k}\n{body}{total.format(whole, whole)}" for k in ("still", "busy", "off")
        )

    sta = opensta.Sta("sta", "OpenSTA 2.0.17")
    found = opensta.energies_of(sta, report("1.0e-06", "2.0e-06"), ["u1", "u2"])
    # This version charges a rise and a fall for each transition.
    assert found["busy"]["u2"].internal == 0.5e-3
    newer = opensta.energies_of(
        opensta.Sta("sta", "OpenSTA 2.6.0"), report("1.0e-06", "2.0e-06"), ["u1", "u2"]
    )
    assert newer["busy"]["u2"].internal == 1e-3
    for text, names in (
        (report("1.0e-06", "2.5e-06"), ["u1", "u2"]),
        (report("1.0e-06", "2.0e-06"), ["u1", "u2", "u3"]),
        ("Error", ["u1"]),
    ):
        assert "power" in refusal(opensta.energies_of, sta, text, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a Liberty file"),
        (b"module top; endmodule", "it has no library"),
        (b"\x1f\x8b\x08\x00damaged", "damaged, or not a Liberty file"),
        (gzip.compress(small_library().encode())[:300], "damaged, or not a Liberty file"),
        (b"\xff\xfe\x00", "damaged, or not a Liberty file"),
        (small_library()[:900].encode(), "cut off, a brace is not closed"),
        (b'library ("l") { }', "without any cell"),
        (b'library ("l") { cell (a) { area : 1; } }', "without any flip-flop"),
    ],
)
def test_damaged_and_foreign_libraries_are_refused(text, message, small):
    small.write_bytes(text)
    line = refusal(liberty.find)
    assert line.startswith(f"GENOGATE_LIBERTY={small}: ")
    assert message in line
    assert "set GENOGATE_LIBERTY to a Liberty file" in line


def test_missing_libraries_are_refused_with_what_to_set(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GENOGATE_LIBERTY", "/nowhere/cells.lib")
    assert refusal(liberty.find).startswith("GENOGATE_LIBERTY=/nowhere/cells.lib: no such file")
    monkeypatch.delenv("GENOGATE_LIBERTY")
    assert refusal(liberty.find).startswith("no standard-cell library found: set GENOGATE_LIBERTY")
    assert silicon_if_available([Circuit(inverters)]) is None


def test_libraries_are_found_where_they_lie_also_compressed(small, tmp_path, monkeypatch):
    monkeypatch.delenv("GENOGATE_LIBERTY")
    data = small_library().encode()
    places = [
        ("GENOGATE_CACHE", tmp_path / "c" / liberty.NAME),
        ("GENOGATE_DATA", tmp_path / "d" / "pdk" / f"{liberty.NAME}.gz"),
        ("PDK_ROOT", tmp_path / "p" / "sky130A/libs.ref/sky130_fd_sc_hd/lib" / liberty.NAME),
    ]
    for variable, path in places:  # each goes before the one before
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        monkeypatch.setenv(variable, str(tmp_path / path.relative_to(tmp_path).parts[0]))
        library = liberty.find()
        assert (library.source, library.name) == (str(path), "small")


@pytest.mark.parametrize(
    ("function", "python"),
    [
        ("!A", lambda a, b, c: ~a),
        ("A B'", lambda a, b, c: a & ~b),
        ("(A&!B) | (!A&B)", lambda a, b, c: a ^ b),
        ("A + B * C", lambda a, b, c: a | b & c),
        ("A ^ B & C", lambda a, b, c: (a ^ b) & c),
        ("(A + B)' C", lambda a, b, c: ~(a | b) & c),
        ("1", lambda a, b, c: ~0),
    ],
)
def test_functions_of_cells_mean_what_the_format_says(function, python):
    names = {"A": "a", "B": "b", "C": "c"}
    text = liberty.expression(function, names).format(M="255")
    a, b, c = 0b11110000, 0b11001100, 0b10101010
    assert eval(text, {"a": a, "b": b, "c": c}) == python(a, b, c) & 255


@pytest.mark.parametrize("function", ["A &", "(A", "A)", "D", "A ? B", ""])
def test_functions_that_are_none_are_refused(function):
    assert "cannot be read" in refusal(liberty.expression, function, {"A": "a", "B": "b"})


def netlist_of(component, library, monkeypatch) -> Netlist:
    """The netlist that was measured, with a lane for each code of 8 bits."""
    made = []
    monkeypatch.setattr(
        silicon,
        "_best",
        lambda sta, unit, choices, *rest: (
            made.append((unit, choices)) or silicon.Silicon(1.0, 0.0, 1, 0, 1.0, choices[0].recipe)
        ),
    )
    measure_all([component], path=library)
    ((unit, choices),) = made
    return [Netlist(net.document, liberty.find(library), unit.names, 256) for net in choices]


def test_every_mapped_netlist_computes_the_law(small, monkeypatch):
    op = fixed(FUNCTIONS["gelu"], 8).op
    codes = np.arange(-128, 128)
    for net in netlist_of(PiecewiseLinear(op), str(small), monkeypatch):
        net.set("i__payload", net.bits("i__payload", codes))
        net.settle()
        got = net.get("o__payload").astype(np.int8)
        np.testing.assert_array_equal(got, golden.activation(op, codes))


def test_loadable_netlists_compute_what_was_loaded(small, monkeypatch):
    unit = LoadableUnit(8, 8, 6, 8, 8, shift=6, align=2, zero_point=False, stages=2)
    words = unit.words(GELU)
    codes = np.arange(-128, 128)
    for net in netlist_of(unit, str(small), monkeypatch):
        for port, value in (("rst", 1), ("o__ready", 1), ("i__valid", 0), ("load__valid", 0)):
            net.set(port, value)
        net.settle()
        net.clock()
        net.set("rst", 0)
        net.set("load__valid", 1)
        for k, word in enumerate(words):
            net.set("load__payload", word | (k == len(words) - 1) << unit.word_bits)
            net.settle()
            net.clock()
        net.set("load__valid", 0)
        net.set("i__valid", 1)
        net.set("i__payload", net.bits("i__payload", codes))
        for _ in range(2):
            net.settle()
            net.clock()
        net.settle()
        assert (net.get("o__valid") == 1).all()
        np.testing.assert_array_equal(net.get("o__payload").astype(np.int8), GELU(codes, 8))


def test_rates_are_those_of_the_stimulus(small, monkeypatch):
    (net, *_) = netlist_of(Circuit(enabled), str(small), monkeypatch)
    rates = net.rates(Stimulus(hold={"b": 1}, activity=0.25))
    flops = [name for name, (kind, _) in net._instances.items() if kind.clock]
    assert np.mean([rates.toggles[name] for name in flops]) == pytest.approx(0.25, abs=0.02)
    assert all(rates.clocked[name] == 1 for name in flops)
    still = net.rates(Stimulus(hold={"b": 0}))
    assert all(still.toggles[name] == still.clocked[name] == 0 for name in flops)
    half = net.rates(Stimulus())
    assert half.clocked[flops[0]] == pytest.approx(0.5, abs=0.03)
    listed = net.rates(Stimulus(hold={"b": 1}, codes={"a": [3]}))
    assert all(listed.toggles[name] == 0 for name in flops)
    with pytest.raises(InputError, match=r"^stimulus: load is no input of this unit$"):
        net.rates(Stimulus(hold={"load": 0}))


def test_operands_wait_while_they_are_not_taken(small, monkeypatch):
    op = fixed(FUNCTIONS["gelu"], 4).op
    (net, *_) = netlist_of(PiecewiseLinear(op, output="register"), str(small), monkeypatch)
    running = net.rates(Stimulus())
    stalled = net.rates(Stimulus(hold={"o__ready": 0}))
    assert max(running.toggles.values()) > 0.4
    assert max(stalled.toggles.values()) == 0


def test_impossible_requests_are_refused(small):
    assert "clock_ns: 0 is not" in refusal(measure_all, [], clock_ns=0)
    assert refusal(Stimulus, activity=1.5) == "activity: 1.5 is not within 0 to 1"

    def rom(m, a, b, o):
        from amaranth.lib import memory

        m.submodules.memory = mem = memory.Memory(shape=4, depth=16, init=range(16))
        read = mem.read_port()
        m.d.comb += [read.addr.eq(a), o.eq(read.data)]

    assert "memory that holds constants" in refusal(measure_all, [Circuit(rom)])


def test_known_cells_of_the_real_library(sky130):
    """nand2_1 3.7536 um^2, dfxtp_1 20.0192, dlclkp_1 17.5168."""
    found = measure_all([Circuit(c) for c in (nands, enabled)])
    wanted = [4 * 3.7536, 4 * 20.0192 + 17.5168]
    assert [unit.area_um2 for unit in found] == pytest.approx(wanted)
    assert not any(name in sky130 for name in ("sky130_fd_sc_hd__lpflow_isobufsrc_1", "inv"))


def test_loadable_units_of_all_widths_get_the_same_numbers():
    (small, wide, single) = (loadable(kind, 8) for kind in ("INT8", "INT32", "FP32"))
    x = [np.array(s.stimulus.codes["i__payload"]) for s in (small, wide, single)]
    real = x[2].astype(np.uint32).view(np.float32)
    assert len(real) == 4096
    np.testing.assert_allclose(x[0] / 2.0**5, real, atol=2**-5)
    np.testing.assert_allclose(x[1] / 2.0**29, real, atol=1e-6)


def test_stored_figures_say_what_the_page_says():
    """Saved shares are those of the stored areas; INT8 saves more than the paper at 8 entries."""
    data = read_json(Path(__file__).parents[2] / "docs" / "data" / "silicon.json")
    page = "\n".join(render(data))
    rows = {
        (r["kind"], r["entries"]): r
        for r in data["loadable"]
        if r["gated"] and r["clock_ns"] == data["clock_ns"] and not r["powers"]
    }
    for wide in ("INT32", "FP32"):
        for field, paper in (("area_um2", 0), ("power_mw", 1)):
            saved = 1 - rows["INT8", 8][field] / rows[wide, 8][field]
            assert f"{100 * saved:.1f} %" in page
            assert saved > 1 - PAPER["INT8"][paper] / PAPER[wide][paper]
        # The unit that is like the paper's: its scale comes at run time.
        saved = 1 - rows["INT8*", 8]["area_um2"] / rows[wide, 8]["area_um2"]
        assert saved > 1 - PAPER["INT8"][0] / PAPER[wide][0]
    for row in data["loadable"]:
        parts = row["internal_mw"] + row["switching_mw"] + row["leakage_mw"]
        assert parts == pytest.approx(row["power_mw"], abs=2e-6)
        assert row["delay_ns"] <= data["clock_ns"]  # the slower of the two
