# amaranth: UnusedElaboratable=no
"""Silicon area and power of piecewise-linear units in sky130: loadable, fixed, composite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.lib import wiring
from genogate.hdl.composites.normalise import Normalise
from genogate.hdl.composites.range_reduction import PositiveUnit
from genogate.hdl.composites.softmax import Softmax
from genogate.hdl.operator import Elementwise
from genogate.hdl.piecewise_linear import PiecewiseLinear
from genogate.hdl.units.fixed_units import SelectUnit
from genogate.hdl.units.float32 import FloatUnit
from genogate.hdl.units.lut_unit import LoadableUnit
from genogate.hdl.units.shift_add_unit import MAX_DIGITS, build, forms
from genogate.model import integer
from genogate.model.tables.composites import layernorm_params, softmax_params
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, Function
from genogate.model.tables.optimal import GUARD, Exact
from genogate.model.tables.points import Points
from genogate.model.tables.reduction import positive_unit
from genogate.model.tables.table import LutTable, output_scale
from genogate.sim.golden_lut import Contents
from genogate.synth import area
from genogate.synth.cells import liberty
from genogate.synth.cells.gates import Stimulus
from genogate.synth.cells.opensta import find_sta
from genogate.synth.cells.silicon import EVEN, Silicon, Subject, measure_all
from genogate.synth.yosys import find as find_yosys

Say = Callable[[str], None]
SEED = 2026
#: Every unit has 3 register stages, and is made for and run at one clock. The slow one is met by
#: every unit's smallest netlist; at the fast one the wide ones need faster and larger ones.
STAGES = 3
SLOW_NS, FAST_NS = 40.0, 20.0
#: The paper, 28 nm, 8 entries, 500 MHz: um2 and mW.
PAPER = {"INT8": (961, 0.40), "INT32": (5243, 1.93), "FP32": (5135, 2.02)}
WIDTHS = {"INT8": 8, "INT16": 16, "INT32": 32}
#: What else an INT8 unit takes when it is loaded, and how it multiplies. ``*`` is the paper's unit:
#: its scale shifts the intercepts. ``**`` has the output's scale and zero point too.
RUN_TIME: dict[str, dict[str, Any]] = {
    "INT8*": {"shift": 6, "align": (0, 7), "zero_point": False},
    "INT8**": {"shift": (-1, 6), "align": (0, 7), "zero_point": True},
}
POWERS = {"": 0, ", powers of two": 1, ", two powers": 2}
#: Functions of the smaller unit with a select.
SELECTED = ("gelu", "exp", "sigmoid", "tanh")
#: Codes of scale 2**-5 cover (-4, 4), of 2**-4 (-8, 8).
SCALES = {"exp": 4}


def lines(function: Function, entries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real break points, slopes and intercepts: least squares on equal segments of the range."""
    edges = np.linspace(function.low, function.high, entries + 1)
    fits = []
    for low, high in pairwise(edges):
        x = np.linspace(low, high, 257)
        fits.append(np.polyfit(x, function(x), 1))
    slopes, intercepts = np.array(fits).T
    return edges[1:-1], slopes, intercepts


def _stimulus(words: Sequence[int], word_bits: int, codes: np.ndarray) -> Stimulus:
    """A load of `words`, then inputs drawn from `codes` while nothing is loaded."""
    last = len(words) - 1
    setup = [
        {"load__valid": 1, "load__payload": word | (k == last) << word_bits}
        for k, word in enumerate(words)
    ]
    return Stimulus(setup, {"load__valid": 0, "load__payload": 0}, {"i__payload": codes.tolist()})


def loadable(kind: str, entries: int, powers: str = "") -> Subject:
    """The loadable unit of `kind` with GELU in it, fed with uniform reals of (-4, 4).

    ``o = sat((slope i + (intercept << align) + half) >> shift)`` in all integer kinds, constants as
    wide as codes, 2 integer bits in slopes and intercepts, 3 in codes. INT8* and INT8** have
    registers for more (`RUN_TIME`); with `powers` slopes are sums of powers of two (`POWERS`).
    """
    points, slopes, intercepts = lines(FUNCTIONS["gelu"], entries)
    x = np.random.default_rng(SEED).uniform(-4, 4, 4096)
    if kind == "FP32":
        single = FloatUnit(entries, STAGES)
        codes = x.astype(np.float32).view(np.uint32).astype(np.int64)
        words = single.words(points.tolist(), slopes.tolist(), intercepts.tolist())
        return Subject(single, _stimulus(words, single.word_bits, codes))
    w = WIDTHS[kind.rstrip("*")]
    fixed: dict[str, Any] = {"shift": w - 2, "align": w - 3, "zero_point": False}
    digits = POWERS[powers]
    unit = LoadableUnit(
        w, w, entries, w, w, stages=STAGES, slope_digits=digits, **RUN_TIME.get(kind, fixed)
    )
    held = np.round(np.ldexp(slopes, w - 2)).astype(np.int64)
    if digits:
        form = Format(slope_bits=w, fraction_bits=w - 2, slope_digits=digits)
        held = form.slopes.stored(form.slopes.nearest(slopes))[0]
    table = Contents(
        tuple(np.ceil(np.ldexp(points, w - 3)).astype(np.int64).tolist()),
        tuple(held.tolist()),
        tuple(np.round(np.ldexp(intercepts, w - 2)).astype(np.int64).tolist()),
        w - 3,
        w - 2,
    )
    codes = np.floor(np.ldexp(x, w - 3)).astype(np.int64)
    return Subject(unit, _stimulus(unit.words(table), unit.word_bits, codes))


@dataclass(frozen=True)
class Fixed:
    """A function's table at one scale as an INT8 unit."""

    op: integer.PiecewiseLinear
    mse: float


def fixed(function: Function, entries: int, few: bool = False) -> Fixed:
    """The exact table of at most `entries` segments with the guard; `few`: slopes of few digits."""
    scale = SCALES.get(function.name, 5)
    form = Format.of(function)
    if few:
        form = replace(form, slope_digits=MAX_DIGITS)
    points = Points.of(function, (scale,))
    best = Exact(points, form, guard=GUARD).best(entries)
    table = LutTable.from_cuts(points, form, best.cuts(points), best.slopes, best.intercepts, {})
    out_scale, zero_point = output_scale(function, 8, scale, 8)
    return Fixed(table.row(scale).unit(8, 8, out_scale, zero_point), table.mse())


def _smallest(ops: Sequence[integer.PiecewiseLinear], say: Say) -> list[tuple[str, Elementwise]]:
    """For each the form without a multiplier that has the fewest generic cells."""
    choices = [[form for form in forms(op) if form != "multiplier"] for op in ops]
    units = [
        [build(op, form, "register") for form in names]
        for op, names in zip(ops, choices, strict=True)
    ]
    cells = iter(area.measure([unit for row in units for unit in row], say))
    found = []
    for names, row in zip(choices, units, strict=True):
        costs = [next(cells).cells for _ in row]
        best = int(np.argmin(costs))
        found.append((names[best], row[best]))
    return found


def _record(silicon: Silicon) -> dict[str, Any]:
    power, even = silicon.power, silicon.even
    assert power
    assert even
    return {
        "area_um2": round(silicon.area_um2, 1),
        "sequential_um2": round(silicon.sequential_um2, 1),
        "silicon_cells": silicon.cells,
        "flip_flops": silicon.flip_flops,
        "delay_ns": round(silicon.delay_ns or 0.0, 3),
        "recipe": silicon.recipe,
        "power_mw": round(power.total, 6),
        "internal_mw": round(power.internal, 6),
        "switching_mw": round(power.switching, 6),
        "leakage_mw": round(power.leakage, 9),
        "even_mw": round(even.total, 6),
    }


def _least(function: Function, entries: int, digits: int) -> float:
    """Least mean squared error of a table of all scales, slopes sums of `digits` powers of two."""
    form = replace(Format.of(function), slope_digits=digits)
    return Exact(Points.of(function), form).best(entries).cost


def _cells(components: Sequence[wiring.Component], say: Say) -> list[int]:
    return [module.cells for module in area.measure(components, say)]


def measure(say: Say) -> dict[str, Any]:
    """Everything; raises :class:`InputError` without a cell library, Yosys or OpenSTA."""
    sta, library = find_sta(), liberty.find()
    data: dict[str, Any] = {
        "seed": SEED,
        "stages": STAGES,
        "clock_ns": SLOW_NS,
        "fast_ns": FAST_NS,
        "even": EVEN,
        "library": library.name,
        "library_hash": library.hash,
        "yosys": find_yosys().version,
        "opensta": sta.version,
        "guard": GUARD,
    }

    cases = [(kind, entries, "") for entries in (8, 16) for kind in (*WIDTHS, "FP32")]
    cases += [(kind, entries, "") for entries in (8, 16) for kind in RUN_TIME]
    few = [powers for powers in POWERS if powers]
    cases += [(kind, e, p) for e in (8, 16) for kind in ("INT8", *RUN_TIME) for p in few]
    rows = []
    for gated, clock in ((True, SLOW_NS), (False, SLOW_NS), (True, FAST_NS)):
        every = gated and clock == SLOW_NS
        chosen = [case for case in cases if every or (case[1] == 8 and not case[2])]
        say(f"loadable units at {clock:g} ns, {'with' if gated else 'without'} clock gates")
        for (kind, entries, powers), silicon in zip(
            chosen,
            measure_all(
                [loadable(*case) for case in chosen], clock_ns=clock, gated=gated, progress=say
            ),
            strict=True,
        ):
            rows.append(
                {
                    "kind": kind,
                    "entries": entries,
                    "powers": powers,
                    "gated": gated,
                    "clock_ns": clock,
                    **_record(silicon),
                }
            )
    cells = _cells([loadable(*case).component for case in cases], say)
    for row in rows:
        row["cells"] = cells[cases.index((row["kind"], row["entries"], row["powers"]))]
    data["loadable"] = rows
    say("errors of tables without a multiplier")
    data["errors"] = [
        {
            "function": function.name,
            "entries": entries,
            "mse": {powers: _least(function, entries, digits) for powers, digits in POWERS.items()},
        }
        for function in FUNCTIONS.values()
        for entries in (8, 16)
    ]

    say("fixed units")
    names = [(name, entries) for name in FUNCTIONS for entries in (8, 16)]
    tables = [(fixed(FUNCTIONS[n], e), fixed(FUNCTIONS[n], e, True)) for n, e in names]
    plain = [PiecewiseLinear(a.op, 0, "register") for a, _ in tables]
    small = _smallest([b.op for _, b in tables], say)
    units: list[wiring.Component] = [*plain, *(unit for _, unit in small)]
    silicon_of = measure_all(units, clock_ns=SLOW_NS, progress=say)
    cells = _cells(units, say)
    data["fixed"] = [
        {
            "function": n,
            "entries": e,
            "scale": SCALES.get(n, 5),
            "linear": {"mse": a.mse, "cells": cells[k], **_record(silicon_of[k])},
            "few": {
                "mse": b.mse,
                "form": small[k][0],
                "cells": cells[k + len(names)],
                **_record(silicon_of[k + len(names)]),
            },
        }
        for k, ((n, e), (a, b)) in enumerate(zip(names, tables, strict=True))
    ]

    say("several functions in one unit")
    groups = [SELECTED, tuple(FUNCTIONS)]
    ops = {n: a.op for (n, e), (a, _) in zip(names, tables, strict=True) if e == 8}
    selects = [SelectUnit([ops[n] for n in group]) for group in groups]
    found = measure_all(selects, clock_ns=SLOW_NS, progress=say)
    apart = {r["function"]: r["linear"]["area_um2"] for r in data["fixed"] if r["entries"] == 8}
    data["select"] = [
        {
            "functions": list(group),
            "entries": 8,
            "cells": count,
            "apart_um2": round(sum(apart[n] for n in group), 1),
            **_record(silicon),
        }
        for group, count, silicon in zip(groups, _cells(selects, say), found, strict=True)
    ]

    say("range reduction, softmax, normalisation")
    composites: dict[str, wiring.Component] = {
        f"{name}, any positive code, {entries} entries": PositiveUnit(
            positive_unit(name, entries=entries), "register"
        )
        for name in ("reciprocal", "rsqrt")
        for entries in (8, 16)
    }
    composites["softmax, up to 64 codes"] = Softmax(softmax_params())
    composites["layer norm of 64 codes"] = Normalise(layernorm_params(64))
    # A vector ends with each 16th code on average.
    ends = [code | (k % 16 == 0) << 8 for k in range(16) for code in range(256)]
    subjects = [
        Subject(c, Stimulus(codes={"i__payload": ends}))
        if not isinstance(c, Elementwise)
        else Subject(c)
        for c in composites.values()
    ]
    found = measure_all(subjects, clock_ns=SLOW_NS, progress=say)
    cells = _cells(list(composites.values()), say)
    data["composites"] = [
        {"name": name, "cells": count, **_record(silicon)}
        for name, count, silicon in zip(composites, cells, found, strict=True)
    ]
    return data


def _saved(small: float, large: float) -> str:
    return f"{100 * (1 - small / large):.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
        "",
    ]


def _compared(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where units without a multiplier win, and at what error."""
    better = [r for r in rows if r["few"]["area_um2"] < r["linear"]["area_um2"]]
    worse = [f"{r['function']} {r['entries']}" for r in rows if r not in better]
    areas, errors, powers = (
        float(np.exp(np.mean([np.log(r["few"][name] / r["linear"][name]) for r in rows])))
        for name in ("area_um2", "mse", "power_mw")
    )
    return [
        f"{len(better)} of {len(rows)} units without a multiplier are smaller than the linear ones"
        + (f"; {', '.join(worse)} are not" if worse else "")
        + f". In the geometric mean they take {areas:.2f} times the area and {powers:.2f} times "
        f"the power, with {errors:.2f} times the squared error.",
        "",
    ]


def _verdict(saved: Callable[..., str], clock: float) -> list[str]:
    """The unit that is like the paper's, beside the paper."""
    figures = {
        kind: [saved("area_um2", 8, True, clock, wide, kind) for wide in ("INT32", "FP32")]
        for kind in RUN_TIME
    }
    paper = [_saved(PAPER["INT8"][0], PAPER[wide][0]) for wide in ("INT32", "FP32")]
    return [
        "Result: with 8 entries the unit that is built like the paper's (GQA-LUT; INT8* below) "
        f"takes {figures['INT8*'][0]} less area than in INT32 and {figures['INT8*'][1]} less than "
        f"in FP32. The paper states {' and '.join(paper)}, in 28 nm. INT8** saves "
        f"{' and '.join(figures['INT8**'])}. INT8, whose one scale is folded into the table, saves "
        "more than either.",
        "",
    ]


def _without_multiplier(
    data: Mapping[str, Any], found: Mapping[Any, Mapping[str, Any]], clock: float
) -> list[str]:
    """Area that slopes of powers of two save in a loadable unit, and the error that they cost."""
    lines = [
        "### Loadable units without a multiplier",
        "",
        "`genogate lut FUNCTION --style loadable --slope-digits 1` makes slopes powers of two, "
        f"`2` sums of two. Area with clock gates at {clock:g} ns, in brackets against the same "
        "unit with a multiplier:",
        "",
    ]
    few = [powers for powers in POWERS if powers]
    areas = []
    for entries in (8, 16):
        for kind in ("INT8", *RUN_TIME):
            base = found[kind, entries, True, clock]["area_um2"]
            each = [found[kind + powers, entries, True, clock]["area_um2"] for powers in few]
            cells = [f"{area:,.0f} ({area / base - 1:+.1%})" for area in each]
            areas.append((entries, kind, f"{base:,.0f}", *cells))
    head = [powers.removeprefix(", ") for powers in few]
    lines += _table(("entries", "unit", "multiplier, um^2", *head), areas)
    lines += [
        "The price is accuracy. Least mean squared error of one table for seven scales, over the "
        "codes in the function's range (protocol R), in the function's default format and without "
        "the guard, so less than `genogate lut` finds where the guard costs accuracy; in brackets "
        "how many times the error with any slopes:",
        "",
    ]
    errors = []
    for row in data["errors"]:
        base = row["mse"][""]
        each = [row["mse"][powers] for powers in few]
        cells = [f"{mse:.2e} ({mse / base:.1f})" for mse in each]
        errors.append((row["function"], row["entries"], f"{base:.2e}", *cells))
    return lines + _table(("function", "entries", "any slopes", *head), errors)


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    slow, fast = data["clock_ns"], data["fast_ns"]
    found = {
        (r["kind"] + r["powers"], r["entries"], r["gated"], r["clock_ns"]): r
        for r in data["loadable"]
    }

    def saved(
        field: str, entries: int, gated: bool, clock: float, wide: str, kind: str = "INT8"
    ) -> str:
        return _saved(
            found[kind, entries, gated, clock][field], found[wide, entries, gated, clock][field]
        )

    lines = [
        "## Silicon area and power of piecewise-linear units",
        "",
        "Asked: how much area and power does a unit for a non-linear function take in standard "
        "cells, and how much do 8-bit codes save against 32 bits? The unit computes the function "
        "piece by piece: it selects a segment of the input and evaluates its line.",
        "",
        *_verdict(saved, slow),
        f"Area: netlists of {data['library']} by {data['yosys']}, before placement, so without "
        "wires, clock tree and outside loads. A loadable unit has registers after selection, "
        f"multiply-add and output ({data['stages']} stages); a fixed unit has them at the output. "
        "Each unit is mapped in two ways, in four where it multiplies. The smallest netlist that "
        f"meets the clock counts; at {slow:g} ns the smallest always does. Where none meets it, "
        "the fastest counts and is marked late.",
        "",
        f"Power: {data['opensta']} gives the energy of each cell's transition. Its internal "
        "energies are halved, because this version charges a rise and a fall for each transition. "
        "How often each output toggles is counted in a simulation of the netlist: 64 cases of 64 "
        "cycles, without glitches, GELU's table loaded, and a new input each cycle, uniform in "
        "(-4, 4). All units get the same numbers, in their own format. The column `even` assumes "
        f"{data['even']:g} transitions a cycle on every net instead. The table does not change "
        "while the unit runs. With clock gates its registers get no clock meanwhile, without them "
        "they do. Generic cells are Yosys' own, before mapping to the library.",
        "",
        *([data["earlier"], ""] if "earlier" in data else []),
        "### The loadable unit",
        "",
        "Break points, slopes and intercepts are registers as wide as a code. They are written "
        "word by word, so that one unit serves any function. INT8 has its scale folded into the "
        "table. INT8* takes the scale at run time and shifts the intercepts by it, as the paper's "
        "unit does. INT8** also takes the output's scale and zero point at run time. Where slopes "
        "are powers of two, or sums of two such powers, the unit has no multiplier.",
        "",
    ]
    lines += _table(
        (
            "entries",
            "unit",
            "clock gates",
            "clock, ns",
            "um^2",
            "of it registers",
            "generic cells",
            "flip-flops",
            "delay, ns",
            "power, mW",
            "even, mW",
        ),
        [
            (
                r["entries"],
                r["kind"] + r["powers"],
                "yes" if r["gated"] else "no",
                f"{r['clock_ns']:g}",
                f"{r['area_um2']:,.0f}",
                f"{r['sequential_um2']:,.0f}",
                f"{r['cells']:,}",
                r["flip_flops"],
                f"{r['delay_ns']:.1f}" + " (late)" * (r["delay_ns"] > r["clock_ns"]),
                f"{r['power_mw']:.3f}",
                f"{r['even_mw']:.3f}",
            )
            for r in data["loadable"]
        ],
    )
    lines += [
        "What INT8 saves against the same unit in 32 bits, and in brackets what INT8* and INT8** "
        "save:",
        "",
    ]
    cases = [(8, True, slow), (16, True, slow), (8, False, slow), (8, True, fast)]

    def both(field: str, case: tuple[int, bool, float], wide: str) -> str:
        kinds = [kind for kind in RUN_TIME if (kind, *case) in found]
        stars = [f"{kind} {saved(field, *case, wide, kind)}" for kind in kinds]
        return f"{saved(field, *case, wide)} ({', '.join(stars)})"

    paper = PAPER["INT8"]
    lines += _table(
        (
            "",
            "area, INT32",
            "area, FP32",
            "power, INT32",
            "power, FP32",
            "even, INT32",
            "even, FP32",
        ),
        [
            (
                f"{entries} entries, {'with' if gated else 'no'} clock gates, {clock:g} ns",
                *(
                    both(field, (entries, gated, clock), wide)
                    for field in ("area_um2", "power_mw", "even_mw")
                    for wide in ("INT32", "FP32")
                ),
            )
            for entries, gated, clock in cases
        ]
        + [
            (
                "paper, 28 nm, 8 entries",
                *(_saved(paper[k], PAPER[wide][k]) for k in (0, 1) for wide in ("INT32", "FP32")),
                "-",
                "-",
            )
        ],
    )
    lines += _without_multiplier(data, found, slow)
    lines += [
        "### Fixed units, INT8, constants folded",
        "",
        "A fixed unit has its constants in its logic and computes one function at one scale (2^-5, "
        "exp at 2^-4). Its table is the best of that size; codes outside of the function's range "
        f"are off by {data['guard']:g} at most. `linear` selects slope and intercept and "
        "multiplies, or is a decision diagram where that is estimated to be smaller. `no "
        "multiplier` has slopes of at most two signed digits, in the form with the fewest generic "
        "cells; the form `table` stores the output of every code. Inputs are random codes. The "
        "last column compares with the loadable INT8 unit of as many entries.",
        "",
    ]
    base = {entries: found["INT8", entries, True, slow]["area_um2"] for entries in (8, 16)}
    lines += _table(
        (
            "function",
            "entries",
            "linear: MSE",
            "cells",
            "um^2",
            "mW",
            "no multiplier: form",
            "MSE",
            "cells",
            "um^2",
            "mW",
            "of the loadable unit",
        ),
        [
            (
                r["function"],
                r["entries"],
                f"{r['linear']['mse']:.2e}",
                r["linear"]["cells"],
                f"{r['linear']['area_um2']:,.0f}",
                f"{r['linear']['power_mw']:.3f}",
                r["few"]["form"],
                f"{r['few']['mse']:.2e}",
                r["few"]["cells"],
                f"{r['few']['area_um2']:,.0f}",
                f"{r['few']['power_mw']:.3f}",
                f"{100 * r['few']['area_um2'] / base[r['entries']]:.1f} %",
            )
            for r in data["fixed"]
        ],
    )
    lines += _compared(data["fixed"])
    lines += [
        "### Several functions in one unit, INT8, 8 entries",
        "",
        "One unit with the constants of several functions in its logic; each operand brings the "
        "choice of its function. Beside it: the linear units above, one for each function, and the "
        "loadable unit, which holds one function at a time.",
        "",
    ]
    lines += _table(
        ("functions", "um^2", "side by side", "loadable", "generic cells", "power, mW"),
        [
            (
                ", ".join(r["functions"]),
                f"{r['area_um2']:,.0f}",
                f"{r['apart_um2']:,.0f}",
                f"{base[8]:,.0f}",
                f"{r['cells']:,}",
                f"{r['power_mw']:.3f}",
            )
            for r in data["select"]
        ],
    )
    lines += [
        "### Range reduction and composites, INT8",
        "",
        "The first rows bring any positive code into the range of a table and back. Softmax and "
        "layer norm are whole units around such tables. Their memories of vectors, 64 codes of 8 "
        "bits, are flip-flops here.",
        "",
    ]
    lines += _table(
        (
            "unit",
            "um^2",
            "of it registers",
            "generic cells",
            "flip-flops",
            "delay, ns",
            "power, mW",
        ),
        [
            (
                r["name"],
                f"{r['area_um2']:,.0f}",
                f"{r['sequential_um2']:,.0f}",
                f"{r['cells']:,}",
                r["flip_flops"],
                f"{r['delay_ns']:.1f}",
                f"{r['power_mw']:.3f}",
            )
            for r in data["composites"]
        ],
    )
    return lines
