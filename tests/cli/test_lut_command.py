"""genogate lut: a table, its proof, its picture, its verified unit, from the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from genogate.model.integer import PiecewiseLinear
from genogate.model.tables.table import LutTable
from genogate.sim import golden

#: Nothing is simulated or drawn.
QUICK = ("--no-verify", "--no-picture", "--out", "given")


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_table_unit_picture_and_proof(genogate, tmp_path):
    outcome = genogate("lut", "gelu", "--entries", 8, "--scales", "3:5", "--out", "given")
    assert outcome.code == 0, outcome
    folder = tmp_path / "given"
    names = {"table.json", "table.svg", "unit.v", "report.json"}
    assert {path.name for path in folder.iterdir()} == names
    table, report = LutTable.load(folder / "table.json"), report_of(folder)
    assert [row.scale for row in table.rows] == [3, 4, 5]
    assert report["verified"]["passed"]
    assert report["verified"]["codes"] == 3 * 256
    assert table.info["optimum"]["ratio"] == 1
    assert f"{table.mse():.4g} in the range" in outcome.out
    verilog = (folder / "unit.v").read_text()
    for module in report["modules"]:
        assert f"module {module['name']}(" in verilog
        assert module["cells"] > 0
    # The integers of the report are the unit: near the function, with the errors that were said.
    for unit in report["units"]:
        about = {name: unit.pop(name) for name in ("scale", "out_scale", "codes_off")}
        op = PiecewiseLinear(
            **{name: np.array(v) if isinstance(v, list) else v for name, v in unit.items()}
        )
        q = np.arange(-128, 128)
        y = table.function(q * 2.0 ** -about["scale"]) * 2.0 ** about["out_scale"]
        wanted = np.clip(np.floor(y + 0.5) + op.zero_point, -128, 127)
        assert np.abs(golden.activation(op, q) - wanted).max() == about["codes_off"] <= 1
    assert (folder / "table.svg").read_text().count("gelu") >= 2


@pytest.mark.parametrize("style", ["loadable", "select"])
def test_one_unit_for_all_scales(genogate, tmp_path, style):
    outcome = genogate(
        "lut",
        "exp",
        "--entries",
        4,
        "--scales",
        "2,4",
        "--style",
        style,
        "--stages",
        2,
        "--no-picture",
        "--out",
        "given",
    )
    assert outcome.code == 0, outcome
    report = report_of(tmp_path / "given")
    assert len(report["modules"]) == 1
    assert report["verified"]["passed"]
    # Every table of a loadable unit sees every code after its load is done, and 64 before.
    assert report["verified"]["codes"] == 2 * (256 + (64 if style == "loadable" else 0))
    words = tmp_path / "given" / "words.json"
    assert words.exists() == (style == "loadable")
    if style == "loadable":
        assert set(json.loads(words.read_text())) == {"2", "4"}


def test_own_function_own_weights_own_format(genogate, tmp_path):
    np.save("weights.npy", np.r_[np.zeros(32), np.ones(32)])
    outcome = genogate(
        "lut",
        "x * tanh(log(1 + exp(x)))",
        "--range",
        -2,
        2,
        "--in-bits",
        6,
        "--out-bits",
        5,
        "--scales",
        4,
        "--slope-bits",
        7,
        "--intercept-bits",
        9,
        "--weights",
        "weights.npy",
        "--objective",
        "max",
        "--guard",
        "none",
        "--entries",
        5,
        "--out",
        "given",
        "--no-picture",
    )
    assert outcome.code == 0, outcome
    table = LutTable.load(tmp_path / "given" / "table.json")
    assert (table.format.slope_bits, table.format.intercept_bits) == (7, 9)
    q = np.arange(0, 32)
    x = q / 16
    off = np.abs(table.row(4)(q) - x * np.tanh(np.log1p(np.exp(x))))
    assert off.max() == pytest.approx(table.info["optimum"]["max"], abs=1e-12)


def test_a_stored_table_gives_the_same_unit(genogate, tmp_path):
    options = ("--no-picture", "--no-verify")
    assert genogate("lut", "tanh", "--scales", 5, "--out", "one", *options).code == 0
    again = genogate("lut", "--table", "one/table.json", "--out", "two", *options)
    assert again.code == 0, again
    assert "least possible" not in again.out
    verilog = [(tmp_path / name / "unit.v").read_bytes() for name in ("one", "two")]
    assert verilog[0] == verilog[1]


def test_a_wrong_code_is_a_failure(genogate, monkeypatch):
    right = golden.activation
    monkeypatch.setattr(golden, "activation", lambda op, q: right(op, q) + (np.asarray(q) == 3))
    outcome = genogate("lut", "tanh", "--scales", 5, "--no-picture", "--out", "given")
    assert outcome.code == 1, outcome
    assert "golden" in outcome.out


@pytest.fixture
def damaged(tmp_path):
    """A good table file's contents, and a function that writes a changed one."""
    from genogate.model.tables.functions import FUNCTIONS
    from genogate.search.tables.methods import find

    good = find(FUNCTIONS["tanh"], 4, scales=[5]).to_json()

    def write(change):
        data = json.loads(json.dumps(good))
        change(data)
        (tmp_path / "table.json").write_text(json.dumps(data))

    return write


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(kind="left-pad"), ["table.json", "left-pad"]),
        (lambda d: d.update(version=9), ["table.json", "9"]),
        (lambda d: d.update(function="__import__('os')"), ["__import__"]),
        (lambda d: d.update(in_bits=99), ["in_bits", "99"]),
        (lambda d: d.update(range=[1, "a"]), ["range[1]", "'a'"]),
        (lambda d: d["scales"][0].update(breakpoints=[3, -5, 9]), ["breakpoint 1 (-5)", "0 (3)"]),
        (lambda d: d["scales"][0].update(breakpoints=[3, 4]), ["4 slopes", "2 breakpoints"]),
        (lambda d: d["scales"][0].update(breakpoints=[3, 4, 999]), ["999"]),
        (lambda d: d["scales"][0]["slopes"].__setitem__(2, 1.5), ["slopes[2]", "1.5"]),
        (lambda d: d["scales"][0].update(intercepts=None), ["intercepts", "None"]),
        (lambda d: d.update(scales=[]), ["scale"]),
    ],
)
def test_damaged_tables_are_refused(genogate, damaged, tmp_path, change, words):
    damaged(change)
    genogate("lut", "--table", "table.json", "--out", "given").refused(*words)
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["function", "--table"]),
        (["gelu", "--table", "x.json"], ["one of both"]),
        (["--table", "missing.json"], ["missing.json"]),
        (["gallu"], ["gallu", "gelu"]),
        (["gelu", "--entries", 3], ["entries", "3", "4"]),
        (["gelu", "--entries", 65], ["entries", "65", "64"]),
        (["tanh", "--entries", 20, "--scales", 0], ["20", "9"]),
        (["gelu", "--range", 200, 300], ["200", "300"]),
        (["gelu", "--range", 2, 1], ["range", "2 to 1"]),
        (["gelu", "--scales", "6:0"], ["6:0"]),
        (["gelu", "--scales", "a"], ["scales", "'a'"]),
        (["gelu", "--scales", "99"], ["99"]),
        (["gelu", "--method", "magic"], ["magic", "exact"]),
        (["gelu", "--guard", "-1"], ["guard", "-1"]),
        (["gelu", "--guard", "wide"], ["guard", "wide"]),
        (["gelu", "--in-bits", 9], ["9"]),
        (["gelu", "--out-bits", 3], ["3"]),
        (["gelu", "--slope-bits", 1], ["slope_bits", "1"]),
        (["gelu", "--format", "dynamic", "--fraction-bits", 5], ["fraction bits"]),
        (["gelu", "--out-scale", 40], ["40"]),
        (["log(x)", "--range", -1, 1], ["log(x)", "not finite", "x = -1"]),
        (["x.real", "--range", -1, 1], ["Attribute"]),
        (["open(x)", "--range", -1, 1], ["open"]),
        (["y + 1", "--range", -1, 1], ["'y'"]),
        (["x +", "--range", -1, 1], ["x +"]),
        (["x * x"], ["x * x", "--range"]),
        (["9**9**9**9", "--range", -1, 1], ["not finite"]),
        (["gelu", "--weights", "missing.npy"], ["missing.npy"]),
    ],
)
def test_bad_input_is_refused(genogate, tmp_path, arguments, words):
    genogate("lut", *arguments).refused(*words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(255), ["256", "255"]),
        (np.full(256, np.nan), ["256 finite"]),
        (np.r_[np.ones(255), -1], ["code 127", "negative"]),
        (np.zeros(256), ["zero"]),
        (np.array(["a"] * 256), ["numbers"]),
    ],
)
def test_bad_weights_are_refused(genogate, weights, words):
    np.save("weights.npy", weights)
    genogate("lut", "gelu", "--scales", 5, "--weights", "weights.npy").refused(*words)


def test_a_function_may_begin_with_a_minus_and_a_mistyped_option_is_still_one(genogate, tmp_path):
    arguments = ("--range", "-1", "1", "--scales", "4", "--no-verify", "--no-picture")
    done = genogate("lut", "-x", *arguments, "--out", str(tmp_path / "a"))
    assert "-x on -1 to 1" in done.out
    done = genogate("lut", "gelu", "--entires", "8")
    assert done.code == 2
    assert "No such option" in done.err or "unexpected" in done.err


def test_a_table_that_misses_an_exact_optimum_is_reported(genogate, tmp_path):
    arguments = ("--range", "-1", "1", "--method", "nn-lut", "--scales", "4", "--no-verify")
    done = genogate("lut", "sign(x)", *arguments, "--no-picture", "--out", str(tmp_path / "b"))
    assert "least possible  0 in this format, this table" in done.out


@pytest.mark.parametrize("method", ["exact", "gqa", "gade", "least-squares"])
def test_an_optimum_of_zero_is_reached_by_every_other_method(genogate, method):
    """No ratio to zero is computed. All codes have 4 bits, so that a search is short."""
    done = genogate(
        *("lut", "sign(x)", "--range", -1, 0.875, "--in-bits", 4, "--scales", 3, "--entries", 4),
        *("--method", method, *QUICK),
    )
    assert done.code == 0, done
    assert done.err.count("\n") <= 1, done.err
    assert "least possible  0 in this format, this table 1.000 times that" in done.out


def test_scales_above_one_are_printed_as_powers(genogate):
    done = genogate("lut", "x/8", "--range", -60, 60, "--scales", "-3:-2", "--in-bits", 4, *QUICK)
    assert done.code == 0, done
    assert [line.split()[0] for line in done.out.splitlines()[1:3]] == ["2^3", "2^2"]
    verilog = Path("given/unit.v").read_text()
    assert "input codes of scale 2^3, output codes of 2^0" in verilog
    assert "input codes of scale 2^2, output codes of 2^-1" in verilog
    genogate("lut", "gelu", "--scales", -3).refused("1 of the 8-bit codes at scale 2^3 (")


@pytest.mark.parametrize(("guard", "helps"), [(0.5, True), (0.2, False)])
def test_tables_of_their_own_are_proposed_where_they_hold_the_guard(genogate, guard, helps):
    sine = ("sin(x)", "--range", -3, 3, "--in-bits", 4, "--entries", 4, *QUICK)
    together = genogate("lut", *sine, "--scales", "0:1", "--guard", guard)
    together.refused(f"guard {guard}: no line")
    assert ("--separate" in together.err) == helps
    apart = genogate("lut", *sine, "--scales", "0:1", "--guard", guard, "--separate")
    assert apart.code == (0 if helps else 2)
    assert "--separate" not in apart.err
    # One scale shares with none.
    alone = genogate("lut", *sine, "--scales", 0, "--guard", guard / 100)
    alone.refused("a wider range\n")


def test_what_was_chosen_by_itself_is_said(genogate):
    constant = genogate("lut", "3 + 0*x", "--range", -1, 1, "--scales", 4, *QUICK)
    assert "format          fixed, slopes 8, intercepts 9 bits, 6 behind the point" in constant.out
    assert "\nguard " not in constant.out
    growing = genogate("lut", "log1p(x)", "--range", 0, 4, "--scales", 4, "--entries", 4, *QUICK)
    assert "\nformat          fixed, slopes 8, intercepts 8 bits, 6 behind the point" in growing.out
    assert "\nguard           none: no table of this format stays within 0.0625 of" in growing.out
    asked = ("--guard", "none", "--entries", 4, *QUICK)
    asked = genogate("lut", "log1p(x)", "--range", 0, 4, "--scales", 4, *asked)
    assert "\nguard " not in asked.out


@pytest.mark.parametrize("digits", [1, 2])
def test_a_loadable_unit_without_a_multiplier(genogate, tmp_path, digits):
    options = ("--scales", "4:6", "--style", "loadable", "--slope-digits", digits, "--no-picture")
    outcome = genogate("lut", "gelu", *options, "--out", "given")
    assert outcome.code == 0, outcome
    report = report_of(tmp_path / "given")
    assert report["verified"]["passed"]
    assert report["verified"]["mismatches"] == 0
    slopes = [abs(slope) for unit in report["units"] for slope in unit["slopes"]]
    assert max(bin(3 * slope ^ slope).count("1") for slope in slopes) == digits
    words = json.loads((tmp_path / "given" / "words.json").read_text())
    assert sorted(words) == ["4", "5", "6"]
    genogate("lut", "gelu", "--slope-digits", 3).refused("3 is not in the range 1<=x<=2")
    genogate("lut", "gelu", "--slope-digits", 1, "--format", "dynamic").refused("only fixed slopes")
