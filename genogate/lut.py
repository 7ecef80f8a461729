"""What ``genogate lut`` does: a table, its proof, its picture, its verified unit and its area."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .model.errors import InputError, shown
from .model.files import staged, write_json, write_text

if TYPE_CHECKING:
    import numpy as np

    from .model.integer import PiecewiseLinear
    from .model.tables.functions import Function
    from .model.tables.table import LutTable

Say = Callable[[str], None]
STYLES = ("fixed", "loadable", "select")


def parse_scales(text: str) -> tuple[int, ...]:
    """Scales k of 2**-k from ``5``, ``0:6`` (both ends) or ``0,2,5``.

    Raises :class:`InputError`.
    """
    match = re.fullmatch(r"\s*(-?\d{1,3})\s*:\s*(-?\d{1,3})\s*", text)
    if match:
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise InputError(f"scales {shown(text)}: the first, {first}, is above the last, {last}")
        return tuple(range(first, last + 1))
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"scales {shown(text)}: neither a number, a range such as 0:6, nor a list such as 0,2,5"
        ) from None


#: What ``auto`` tries. A guard that is met at any price costs error within the range (cos on 0 to
#: 6: a hundred times as much with a guard of 0.5), so there is nothing between these two.
GUARDS = (0.0625, None)


def parse_guard(text: str) -> tuple[float | None, ...]:
    """Tolerances to try in this order; None is no guard. Raises :class:`InputError`."""
    if text.strip().lower() == "auto":
        return GUARDS
    if text.strip().lower() == "none":
        return (None,)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise InputError(f"guard {shown(text)}: auto, none, or a tolerance of 0 or more is needed")
    return (value,)


def read_weights(path: str) -> np.ndarray:
    """An array of weights from a ``.npy`` file. Raises :class:`InputError`."""
    import numpy as np

    from .model.files import read_array

    array = read_array(path)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: an array of numbers is needed")
    return array.astype(np.float64)


@dataclass(frozen=True)
class Unit:
    """The hardware of a table at one scale.

    scale, out_scale : k of the scales 2**-k of input and output codes
    """

    name: str
    scale: int
    out_scale: int
    op: PiecewiseLinear


def units_of(table: LutTable, out_bits: int, out_scale: int | None) -> list[Unit]:
    """A unit for every scale of `table`; the output's scale, if not given, by least error."""
    from .model.tables.points import MAX_SCALE, MIN_SCALE
    from .model.tables.table import output_scale

    if out_scale is not None and not MIN_SCALE <= out_scale <= MAX_SCALE:
        raise InputError(f"out scale {out_scale}: k of 2^-k is within {MIN_SCALE} to {MAX_SCALE}")
    word = re.sub(r"[^a-z0-9]+", "_", table.function.name.lower()).strip("_")[:40]
    # A Verilog name starts with a letter.
    word = word if word[:1].isalpha() else f"f_{word}"
    units = []
    for row in table.rows:
        # Every code can come, those outside of the range too.
        best, zero = output_scale(table.function, table.in_bits, row.scale, out_bits, "A")
        k = best if out_scale is None else out_scale
        name = f"{word}_{'s' if row.scale >= 0 else 'm'}{abs(row.scale)}"
        units.append(Unit(name, row.scale, k, row.unit(table.in_bits, out_bits, k, zero)))
    return units


def _format(options: dict[str, Any], function: Function) -> Any:
    from .model.tables.formats import Format

    given = {
        name: options[name]
        for name in ("slope_bits", "intercept_bits", "fraction_bits", "slope_digits")
        if options[name] is not None
    }
    if options["form"] == "dynamic":
        if "fraction_bits" in given:
            raise InputError("fraction bits: dynamic values have an exponent each; leave them out")
        return Format("dynamic", **given)
    return replace(Format.of(function), **given)


def make_table(options: dict[str, Any], say: Say) -> LutTable:
    """The table that the command's options ask for, searched or read.

    Raises :class:`InputError` for anything that does not fit.
    """
    from .model.tables.functions import parse_function
    from .model.tables.table import LutTable

    if options["table"]:
        if options["function"]:
            raise InputError(
                f"function {shown(options['function'])}: the table names its own; give one of both"
            )
        # What a file says of how it was found cannot be checked, so it is not repeated.
        return replace(LutTable.load(options["table"]), info={"source": options["table"]})
    if not options["function"]:
        raise InputError("function: give one, such as gelu, or --table FILE")
    from .model.tables.optimal import GuardError
    from .search.tables.methods import find

    low, high = options["bounds"] or (None, None)
    function = parse_function(options["function"], low, high)
    say(f"Searching a table of {function.name}")
    arguments: dict[str, Any] = {
        "method": options["method"],
        "scales": parse_scales(options["scales"]),
        "in_bits": options["in_bits"],
        "form": _format(options, function),
        "objective": options["objective"],
        "weight": read_weights(options["weights"]) if options["weights"] else None,
        "shared": not options["separate"],
        "seed": options["seed"],
    }
    guard, *weaker = parse_guard(options["guard"])
    try:
        return find(function, options["entries"], guard=guard, **arguments)
    except GuardError as error:
        if not weaker:
            # Only tried can be known: what one scale cannot hold is not held by a table of its own.
            hint = ", or --separate" if _separately(function, options, guard, arguments) else ""
            raise GuardError(f"{error}{hint}") from None
    table = find(function, options["entries"], guard=weaker[0], **arguments)
    return replace(table, info={**table.info, "guard_asked": guard})


def _separately(
    function: Function, options: dict[str, Any], guard: float | None, arguments: dict[str, Any]
) -> bool:
    """Whether a table for each scale would hold the guard that one for all of them cannot."""
    from .model.tables.optimal import GuardError
    from .search.tables.methods import find

    if not arguments["shared"] or len(arguments["scales"]) < 2:
        return False
    try:
        find(function, options["entries"], guard=guard, **{**arguments, "shared": False})
    except GuardError:
        return False
    return True


def _hardware(table: LutTable, units: list[Unit], style: str, stages: int) -> dict[str, Any]:
    """Components by module name, each with the simulation case that holds it to golden."""
    from .hdl.piecewise_linear import PiecewiseLinear
    from .hdl.units.fixed_units import PipelinedUnit, SelectUnit
    from .hdl.units.lut_unit import LoadableUnit
    from .model.integer import signed_width
    from .sim.rtl.units.cases import loadable_case, select_case, unit_case
    from .synth.unit_verilog import emit_unit

    what = f"{table.function.name}, {table.entries} segments, {table.format.name}"
    ops = [unit.op for unit in units]
    if style == "fixed":
        texts: dict[str, Any] = {}
        for unit in units:
            scales = f"input codes of scale 2^{-unit.scale}, output codes of 2^{-unit.out_scale}"
            part: Any = (
                PipelinedUnit(unit.op, stages)
                if stages > 1
                else PiecewiseLinear(unit.op, output="register" if stages else "wire")
            )
            text = emit_unit(part, unit.name, [what, f"{scales}, zero point {unit.op.zero_point}"])
            texts[unit.name] = part, unit_case(unit.name, text, unit.op, 2026)
        return texts
    name = units[0].name.rsplit("_", 1)[0] + f"_{style}"
    places = [f"{k}: scale 2^{-unit.scale} to 2^{-unit.out_scale}" for k, unit in enumerate(units)]
    if style == "select":
        header = [what, "select " + "; ".join(places)]
        case = select_case(name, ops, stages, 2026, header_lines=header)
        return {name: (SelectUnit(ops, stages), case)}
    slope_bits = max(signed_width(int(op.slopes.min()), int(op.slopes.max())) for op in ops)
    part = _loadable(LoadableUnit, table, ops, max(slope_bits, table.format.slope_bits), stages)
    header = [what, "words.json has the words of every scale"]
    return {name: (part, loadable_case(name, part, ops, 2026, header_lines=header))}


def _loadable(
    kind: Any, table: LutTable, ops: list[PiecewiseLinear], slope_bits: int, stages: int
) -> Any:
    """The loadable unit of the narrowest intercepts that holds all of `ops`."""
    entries = max(2, table.entries)
    failed: InputError | None = None
    for bits in range(table.format.intercept_bits, 33):
        part = kind(
            table.in_bits,
            ops[0].out_bits,
            entries,
            slope_bits,
            bits,
            shift=(min(-1, *(op.fraction_bits for op in ops)), max(op.fraction_bits for op in ops)),
            stages=stages,
            slope_digits=table.format.slope_digits,
        )
        try:
            for op in ops:
                part.fit(op)
        except InputError as error:
            failed = failed or error
        else:
            return part
    assert failed is not None
    raise failed


def _unit_entry(table: LutTable, unit: Any) -> dict[str, Any]:
    """What the report says of the unit of a scale."""
    return {
        "scale": unit.scale,
        "out_scale": unit.out_scale,
        "codes_off": _codes_off(table, unit),
        **_integers(unit.op),
    }


def write_lut(
    table: LutTable, options: dict[str, Any], out: str | None, say: Say
) -> tuple[dict[str, Any], Path]:
    """``table.json``, ``unit.v``, ``report.json``, and ``table.svg`` and ``words.json`` where they
    are wanted, in one folder, all or none. Returns the report, and the folder."""
    from .model.tables.points import check_in_bits
    from .sim.rtl.units.bench import simulate_units
    from .sim.rtl.units.verification import summary
    from .synth.area import measure
    from .synth.yosys import find

    style = options["style"]
    check_in_bits(options["out_bits"])
    units = units_of(table, options["out_bits"], options["out_scale"])
    word = units[0].name.rsplit("_", 1)[0]
    suffix = "" if style == "fixed" else f"-{style}"
    folder = Path(out or Path("build") / "lut" / f"{word}-{table.entries}{suffix}")
    with staged(folder) as stage:
        say("Emitting Verilog")
        parts = _hardware(table, units, style, options["stages"])
        write_text(stage / "unit.v", "\n".join(case.verilog for _, case in parts.values()))
        table.save(stage / "table.json")
        if options["picture"]:
            from .pictures import draw_table

            say("Drawing")
            draw_table(table, stage / "table.svg")
        verified: dict[str, Any] = {}
        if options["verify"]:
            say("Simulating")
            outcome = summary(simulate_units([case for _, case in parts.values()]))
            verified = {"passed": not outcome["mismatches"], **outcome}
        say("Measuring")
        components = [part for part, _ in parts.values()]
        areas = [asdict(area) for area in measure(components, say)]
        if options["silicon"]:
            from .synth.cells.silicon import measure_all

            for record, silicon in zip(areas, measure_all(components, progress=say), strict=True):
                record["silicon"] = asdict(silicon)
        report = {
            "genogate": __version__,
            "table": table.to_json(),
            "style": style,
            "stages": options["stages"],
            "units": [_unit_entry(table, unit) for unit in units],
            "modules": [{"name": name, **area} for name, area in zip(parts, areas, strict=True)],
            "verified": verified,
            "yosys": find().version,
        }
        if style == "loadable":
            part = next(iter(parts.values()))[0]
            words = {str(unit.scale): part.words(unit.op) for unit in units}
            write_json(stage / "words.json", words)
        write_json(stage / "report.json", report)
    return report, folder


def _codes_off(table: LutTable, unit: Unit) -> int:
    """Output codes by which the unit misses the function, rounded to a code, at most; over every
    input code of the domain."""
    import numpy as np

    from .model.integer import code_range
    from .model.tables.points import codes
    from .sim import golden

    q = codes(table.function, table.in_bits, unit.scale, "A")
    y = table.function(np.ldexp(q.astype(np.float64), -unit.scale))
    expected = np.floor(np.ldexp(y, unit.out_scale) + 0.5) + unit.op.zero_point
    expected = np.clip(expected, *code_range(unit.op.out_bits))
    return int(np.abs(golden.activation(unit.op, q) - expected).max())


def _integers(op: PiecewiseLinear) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in vars(op).items()
    }


def _write_units(
    folder: Path, front: Sequence[Any], function: str, scale: int
) -> dict[str, tuple[str, Any]]:
    """A Verilog file for each unit of a front. Returns its text and unit by name."""
    from .hdl.units.shift_add_unit import build
    from .synth.unit_verilog import emit_unit

    sources = {}
    for number, candidate in enumerate(front):
        comment = f"{function} at scale 2^{-scale}: {candidate.form}, mse {candidate.mse:.4g}"
        text = emit_unit(build(candidate.unit, candidate.form), f"unit_{number}", [comment])
        write_text(folder / f"unit-{number}.v", text)
        sources[f"unit_{number}"] = text, candidate.unit
    return sources


def _front_entry(number: int, candidate: Any) -> dict[str, Any]:
    """What the record says of unit `number` of a front."""
    return {
        "file": f"unit-{number}.v",
        "form": candidate.form,
        "mse": candidate.mse,
        "cells": candidate.cells,
        **_integers(candidate.unit),
    }


def write_front(
    function: str,
    bounds: tuple[float, float] | None,
    *,
    scale: int,
    in_bits: int,
    out_bits: int,
    generations: int,
    pop_size: int,
    seed: int,
    deep: bool,
    out: str | None,
    say: Say,
) -> tuple[dict[str, Any], Path]:
    """Units of a function from the smallest to the most accurate: ``front.json`` and a Verilog file
    for each, ``unit-N.v``, verified, in one folder; the record, and the folder."""
    from .model.tables.functions import parse_function
    from .model.tables.points import check_in_bits, check_scales
    from .search.units.pareto import pareto
    from .sim.rtl.units.verification import verify_verilog
    from .synth.yosys import find

    parsed = parse_function(function, *(bounds or (None, None)))
    check_scales([scale])
    check_in_bits(out_bits)
    word = re.sub(r"[^a-z0-9]+", "_", parsed.name.lower()).strip("_")[:40] or "f"
    settings: dict[str, Any] = {
        "scale": scale,
        "generations": generations,
        "pop_size": pop_size,
        "deep": deep,
        "seed": seed,
    }
    folder = Path(out or Path("build") / "front" / f"{word}-{scale}")
    with staged(folder) as stage:
        front = pareto(parsed, in_bits=in_bits, out_bits=out_bits, progress=say, **settings)
        if not front:
            raise InputError(
                f"scale {scale}: no unit of {parsed.name} with {in_bits}-bit codes in and "
                f"{out_bits}-bit codes out holds the guard; choose a finer scale"
            )
        say("Simulating")
        sources = _write_units(stage, front, parsed.name, scale)
        outcome = verify_verilog(sources, seed=2026)
        record: dict[str, Any] = {
            "genogate": __version__,
            "function": parsed.name,
            "range": [parsed.low, parsed.high],
            **settings,
            "yosys": find().version,
            "verified": {"passed": not outcome["mismatches"], **outcome},
            "units": [_front_entry(number, candidate) for number, candidate in enumerate(front)],
        }
        write_json(stage / "front.json", record)
    # Those of an earlier, longer front.
    for path in folder.glob("unit-*.v"):
        if path.name not in {unit["file"] for unit in record["units"]}:
            path.unlink()
    return record, folder
