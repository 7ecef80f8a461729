"""Formats, judged codes, rows and table files: what they hold, and what is refused."""

import copy
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function, parse_function
from genogate.model.tables.points import Points, check_scales, codes
from genogate.model.tables.segments import Segments
from genogate.model.tables.table import LutTable, output_scale
from genogate.sim.golden import activation


def table(scales=(0, 2), in_bits=8):
    """A shared table of four segments, made by hand."""
    points = Points.of(FUNCTIONS["gelu"], scales, in_bits)
    form = Format.of(FUNCTIONS["gelu"])
    cuts = [points.cut(i) for i in (4, 12, 20)]
    slopes = form.slopes.nearest(np.array([0.0, -0.1, 0.4, 1.0]))
    intercepts = form.intercepts.nearest(np.array([0.0, -0.2, 0.0, 0.0]))
    return LutTable.from_cuts(points, form, np.array(cuts), slopes, intercepts, {"seed": 5})


def test_a_fixed_format_holds_all_its_numbers_and_no_others():
    grid = Format("fixed", 4, 6, 2).slopes
    held = grid.value(np.arange(grid.size))
    assert held.tolist() == [m / 4 for m in range(-8, 8)]
    m, fraction = grid.stored(np.arange(16))
    assert m.tolist() == list(range(-8, 8))
    assert set(fraction.tolist()) == {2}
    assert held[grid.nearest(np.array([-99.0, 0.12, 0.13, 99.0]))].tolist() == [-2, 0, 0.25, 1.75]


def test_a_dynamic_format_gives_each_value_the_bits_that_its_size_leaves():
    grid = Format("dynamic", 8, 8).intercepts
    m, fraction = grid.stored(np.arange(grid.size))
    values = grid.value(np.arange(grid.size))
    for number, f, value in zip(m.tolist(), fraction.tolist(), values.tolist(), strict=True):
        assert value == number / 2**f
        assert -128 <= number <= 127
    # Above one a bit goes to the left of the point for every doubling.
    for value, wanted in ((0.7, 2**-8), (1.9, 2**-7), (3.3, 2**-6), (100.0, 0.5)):
        near = values[grid.nearest(np.array([value]))][0]
        assert abs(near - value) <= wanted


def test_nearest_is_nearest():
    rng = np.random.default_rng(1)
    for form in (Format("fixed", 5, 5, 3), Format("dynamic", 5, 6)):
        for grid in (form.slopes, form.intercepts):
            held = grid.value(np.arange(grid.size))
            wanted = rng.uniform(held[0] * 1.5, held[-1] * 1.5, 400)
            found = held[grid.nearest(wanted)]
            best = np.abs(held[:, None] - wanted).min(0)
            np.testing.assert_allclose(np.abs(found - wanted), best, atol=1e-12)


def test_protocol_r_counts_the_codes_of_the_paper():
    counts = [len(codes(FUNCTIONS["gelu"], 8, k)) for k in range(7)]
    assert counts == [9, 17, 33, 65, 129, 256, 256]


def test_protocol_a_takes_all_codes_of_the_domain():
    assert len(codes(FUNCTIONS["gelu"], 8, 3, "A")) == 256
    assert codes(FUNCTIONS["exp"], 8, 3, "A").tolist() == list(range(-128, 1))
    assert codes(parse_function("log(x)", 1, 2), 4, 1, "A").tolist() == list(range(1, 8))


def test_a_cell_is_the_rounding_of_a_real_break_point():
    # The code that begins a segment is round(p / S), half up, at every scale.
    points = Points.of(FUNCTIONS["tanh"], range(5))
    for cell in range(-130, 130):
        p = Fraction(2 * cell + 1, 4 << points.finest)
        for k in points.scales:
            assert points.breakpoints(np.array(cell), k) == math.floor(p * 2**k + Fraction(1, 2))


def test_a_cut_parts_the_inputs_at_every_scale():
    points = Points.of(FUNCTIONS["gelu"], (0, 1, 3))
    for position in range(1, len(points.x)):
        cell = points.cut(position)
        assert points.positions(np.array([cell])) == [position]
        for k in points.scales:
            at = points.scale == k
            q = np.round(points.x[at] * 2**k).astype(int)
            right = q >= points.breakpoints(np.array(cell), k)
            assert right.tolist() == (np.flatnonzero(at) >= position).tolist()


def test_scales_count_alike_and_codes_within_a_scale_too():
    points = Points.of(FUNCTIONS["gelu"], (0, 5))
    for k in (0, 5):
        assert points.weight[points.scale == k].sum() == pytest.approx(0.5)
    weight = np.arange(256.0)
    points = Points.of(FUNCTIONS["gelu"], (5,), weight=weight)
    np.testing.assert_allclose(points.weight, weight / weight.sum())


def test_an_input_on_a_break_point_is_right_of_it():
    row = Segments(0, [3], [0, 0], [0, 0], [1, 2], [0, 0])
    assert row(np.array([2, 3, 4])).tolist() == [1, 2, 2]


def test_units_compute_the_rounded_table():
    made = table((0, 2, 6))
    for row, out_bits, k in itertools.product(made.rows, (5, 8), (2, 5)):
        unit = row.unit(8, out_bits, k, zero_point=-3)
        q = np.arange(-128, 128)
        half = 1 << (out_bits - 1)
        wanted = np.clip(np.floor(row(q) * 2.0**k + 0.5) - 3, -half, half - 1)
        np.testing.assert_array_equal(activation(unit, q), wanted)


def test_the_output_scale_is_the_best_one():
    assert output_scale(FUNCTIONS["sigmoid"], 8, 4, 8) == (8, -128)
    assert output_scale(FUNCTIONS["tanh"], 8, 5, 8) == (7, 0)


def test_a_file_gives_the_same_table_back(tmp_path):
    for made in (table(), table((3,), 5)):
        made.save(tmp_path / "table.json")
        again = LutTable.load(tmp_path / "table.json")
        assert again.to_json() == made.to_json()
        assert again.info["seed"] == 5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), [], "not a genogate lut table"),
        (("kind",), "gru", r"not a genogate lut table \(kind: 'gru'\)"),
        (("version",), 99, "version 99, this program reads 1"),
        (("function",), "gulu", "function 'gulu' is not known"),
        (("function",), "__import__('os')", "Call is not allowed|is not known"),
        (("function",), None, "function None is not a str"),
        (("range",), [1], r"range \[1\] is not two numbers"),
        (("range",), [4, -4], "range of gelu: 4 to -4"),
        (("range", 0), "low", r"range\[0\] 'low' is not a finite number"),
        (("range", 1), 10**400, r"range\[1\] .* is not a finite number"),
        (("range", 1), float("nan"), r"range\[1\] nan is not a finite number"),
        (("in_bits",), 9, "in_bits 9 is not an integer within 2 to 8"),
        (("in_bits",), 8.0, "in_bits 8.0 is not an integer"),
        (("format",), "fixed", "format 'fixed' is not a dict"),
        (("format", "kind"), "float", "format 'float': fixed and dynamic are known"),
        (("format", "slope_bits"), 1, "slope_bits: 1 is not within 2 to 24"),
        (
            ("format", "fraction_bits"),
            -1,
            "format.fraction_bits -1 is not an integer within 0 to 24",
        ),
        (("shared",), "yes", "shared 'yes' is not a bool"),
        (("scales",), [], "no scale"),
        (("scales",), {}, "scales {} is not a list"),
        (("scales", 0), 7, r"scales\[0\] 7 is not a dict"),
        (("scales", 0, "scale"), 99, r"scales\[0\]\.scale 99 is not an integer within -8 to 16"),
        (("scales", 0, "scale"), 2, "scales 2 2: each once, ascending"),
        (("scales", 0, "scale"), 3, "scales 3 2: each once, ascending"),
        (("scales", 1, "breakpoints"), None, "scale 2: breakpoints None is not a list of integers"),
        (
            ("scales", 1, "breakpoints", 0),
            9,
            r"scale 2: breakpoint 1 \(-\d+\) is below breakpoint 0",
        ),
        (("scales", 1, "breakpoints", 2), 500, "scale 2: breakpoint 500 is not within -128 to 128"),
        (("scales", 1, "breakpoints", 2), 1.5, r"scale 2: breakpoints\[2\] 1\.5 is not an integer"),
        (("scales", 1, "breakpoints"), [1, 2], "scale 2: 4 slopes and 2 breakpoints"),
        (("scales", 0, "slopes"), [1, 2], "scale 0: 2 slopes and 4 slope_fraction"),
        (("scales", 0, "slopes", 0), 128, r"slopes\[0\] 128 is not an integer within -128 to 127"),
        (("scales", 0, "intercepts", 3), -129, r"intercepts\[3\] -129 is not an integer within"),
        (("scales", 0, "slopes", 1), True, r"slopes\[1\] True is not an integer"),
        (
            ("scales", 0, "slope_fraction", 1),
            25,
            "scale 0: slope_fraction 25 is not within 0 to 24",
        ),
        (("scales", 0, "intercepts"), [1] * 5000, "is not a list of integers"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_naming_the_value(path, value, message, tmp_path):
    data = table().to_json()
    if path:
        inner = data
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
    else:
        data = value
    file = tmp_path / "table.json"
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as caught:
        LutTable.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_json_at_all_is_refused(tmp_path):
    file = tmp_path / "table.json"
    for text in ("", "{", "\x00\x01", '{"kind": "genogate lut"', "[" * 5000):
        file.write_text(text)
        with pytest.raises(InputError, match=r"table\.json"):
            LutTable.load(file)
    with pytest.raises(InputError, match=r"none\.json"):
        LutTable.load(tmp_path / "none.json")


def test_any_value_of_a_file_may_be_junk():
    # Every value in turn, by every kind of junk: a table, or one line, and nothing else.
    whole = table().to_json()
    junk = [None, True, -1, 10**30, 1.5, math.inf, "x", [], {}, [[1]], {"a": 1}]

    def places(node, path=()):
        yield path
        items = (
            node.items()
            if isinstance(node, dict)
            else (list(enumerate(node))[:2] if isinstance(node, list) else ())
        )
        for key, inner in items:
            yield from places(inner, (*path, key))

    refused = []
    for path in places(whole):
        for value in junk:
            data = copy.deepcopy(whole)
            if not path:
                data = value
            else:
                inner = data
                for step in path[:-1]:
                    inner = inner[step]
                inner[path[-1]] = value
            try:
                LutTable.from_json(data, "file")
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 200
    assert all(line.startswith("file: ") and "\n" not in line for line in refused)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Format("float"), r"^format 'float': fixed and dynamic are known$"),
        (lambda: Format(slope_bits=1), r"^slope_bits: 1 is not within 2 to 24$"),
        (
            lambda: Format("dynamic", intercept_bits=13),
            r"^intercept_bits: 13 is not within 2 to 12$",
        ),
        (lambda: Format(fraction_bits=25), r"^fraction_bits: 25 is not within 0 to 24$"),
        (lambda: check_scales([]), r"^scales: at least one is needed$"),
        (lambda: check_scales([2.5]), r"^scale 2.5: k of 2\^-k is within -8 to 16$"),
        (lambda: check_scales([True]), r"^scale True: "),
        (
            lambda: Segments(0, [1, 0], [0] * 3, [0] * 3, [0] * 3, [0] * 3),
            r"^scale 0: breakpoint 1 \(0\) is below breakpoint 0 \(1\)$",
        ),
        (lambda: Segments(0, [], [], [], [], []), r"^scale 0: 0 slopes and 0 breakpoints"),
        (lambda: table().row(4), r"^scale 4: this table is for 0 2$"),
        (
            lambda: codes(FUNCTIONS["gelu"].within(200, 300), 8, 0),
            r"^range of gelu: 200 to 300 holds 0 of the 8-bit codes at scale 2\^0 \(-128 to "
            r"127 in",
        ),
        (
            lambda: Points.of(FUNCTIONS["gelu"], weight=np.eye(256)[0]),
            r"^weights: all are zero within the range at scale 2\^0$",
        ),
        (
            lambda: Points.of(Function("hole", lambda x: 1 / (x - 0.5), 0, 1), (1,)),
            r"^hole: not finite at x = 0.5; choose another range$",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digits", [1, 2])
def test_a_format_of_few_powers_of_two_holds_their_sums_and_no_others(tmp_path, digits):
    from genogate.search.tables.methods import find

    form = Format(slope_digits=digits)
    powers = {sign * 2.0**k for sign in (1, -1) for k in range(-6, 2)} | {0.0}
    sums = powers if digits == 1 else {a + b for a in powers for b in powers}
    held = form.slopes.value(np.arange(form.slopes.size))
    assert set(held.tolist()) == {value for value in sums if -2 <= value <= 127 / 64}
    assert form.name == "s1.6, slopes " + ("powers of two" if digits == 1 else "two powers of two")
    with pytest.raises(InputError, match="slope_digits: only fixed slopes"):
        Format("dynamic", slope_digits=digits)
    table = find(parse_function("gelu"), 8, form=form, scales=(4, 5))
    assert table.mse() > find(parse_function("gelu"), 8, scales=(4, 5)).mse()
    table.save(tmp_path / "t.json")
    assert LutTable.load(tmp_path / "t.json").format == form
