"""`genogate lut`: piecewise-linear table and unit of a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .completion import functions
from .help import Command, group
from .options import expression, out_option, output_options, range_option, seed_option
from .terminal import progress, show


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True},
    examples=(
        "genogate lut gelu --entries 8",
        'genogate lut "x * tanh(log(1 + exp(x)))" --range -4 4 --scales 4',
        "genogate lut exp --style loadable --method least-squares",
    ),
)
@click.argument("function", callback=expression, required=False, shell_complete=functions)
@group(
    "Function and codes",
    range_option,
    click.option(
        "--scales",
        default="0:6",
        show_default=True,
        metavar="K|A:B|K,K...",
        help="Scales 2^-k of the input codes that the table is for.",
    ),
    click.option(
        "--in-bits", type=int, default=8, show_default=True, help="Bits of input codes, 4 to 8."
    ),
    click.option(
        "--out-bits", type=int, default=8, show_default=True, help="Bits of output codes, 4 to 8."
    ),
    click.option(
        "--out-scale",
        type=int,
        metavar="K",
        show_default="the one of least error",
        help="Scale 2^-K of the output codes.",
    ),
)
@group(
    "Table",
    click.option("--entries", type=int, default=8, show_default=True, help="Segments, 4 to 64."),
    click.option(
        "--separate", is_flag=True, help="Give every scale its own slopes and intercepts."
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice(["fixed", "dynamic"]),
        default="fixed",
        show_default=True,
        help="Format of slopes and intercepts: one binary point for all, or an exponent for each.",
    ),
    click.option(
        "--slope-bits",
        type=int,
        show_default="8, or 10 for steep functions",
        help="Bits of a slope.",
    ),
    click.option(
        "--intercept-bits", type=int, show_default="as slopes", help="Bits of an intercept."
    ),
    click.option(
        "--fraction-bits",
        type=int,
        show_default="6",
        help="Fraction bits of slopes and intercepts.",
    ),
    click.option(
        "--slope-digits",
        type=click.IntRange(1, 2),
        show_default="any slopes",
        help="Restrict slopes to sums of at most this many powers of two; a loadable unit then "
        "needs no multiplier.",
    ),
    click.option(
        "--table", metavar="FILE", help="Build the unit of this table.json instead of searching."
    ),
)
@group(
    "Search",
    click.option(
        "--method",
        default="exact",
        show_default=True,
        help="Method that places the break points: exact, gqa, gade, nn-lut or least-squares.",
    ),
    click.option(
        "--objective",
        type=click.Choice(["mse", "max"]),
        default="mse",
        show_default=True,
        help="Error to minimise: mean squared, or the greatest absolute one.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="A .npy array with a weight for each code, such as a histogram of activations.",
    ),
    click.option(
        "--guard",
        default="auto",
        show_default=True,
        metavar="E|none|auto",
        help="Greatest error allowed for codes outside the range; auto is 0.0625, or none where no "
        "table can hold that.",
    ),
    seed_option(),
)
@group(
    "Unit",
    click.option(
        "--style",
        type=click.Choice(["fixed", "loadable", "select"]),
        default="fixed",
        show_default=True,
        help="Kind of unit: one for each scale with its constants folded in, one with a loadable "
        "table, or one for all scales with a select input.",
    ),
    click.option(
        "--stages",
        type=click.IntRange(0, 3),
        default=0,
        show_default=True,
        help="Pipeline registers of the unit; 0 is combinational.",
    ),
    click.option(
        "--verify/--no-verify", default=True, help="Simulate the Verilog on every input code."
    ),
    click.option(
        "--silicon",
        is_flag=True,
        help="Measure area and delay in standard cells too ($GENOGATE_LIBERTY).",
    ),
)
@output_options(
    click.option("--picture/--no-picture", default=True, help="Draw table.svg (needs matplotlib)."),
    out_option("FOLDER", "build/lut/FUNCTION-ENTRIES"),
)
def lut(out: str | None, **options: Any) -> None:
    """Make the best piecewise-linear table of a function, and a unit.

    FUNCTION is gelu, hswish, silu, sigmoid, tanh, exp, reciprocal, rsqrt, or an expression in x
    such as "x * tanh(log(1 + exp(x)))". Writes table.json (integers and errors), table.svg, unit.v
    and report.json, and prints the errors beside the least possible one, the cells, and whether the
    Verilog gave every code correctly; exits with 1 where it did not.
    """
    from ..lut import make_table, write_lut

    with progress() as say:
        table = make_table(options, say)
        report, folder = write_lut(table, options, out, say)
    show(report, lambda: print_lut(report, folder))
    if not report["verified"].get("passed", True):
        raise click.exceptions.Exit(1)


def _guard(table: dict[str, Any]) -> list[tuple[str, str]]:
    """What became of the guard, where it was given up."""
    if "guard_asked" not in table:
        return []
    return [
        (
            "guard",
            f"none: no table of this format stays within {table['guard_asked']:g} of the function "
            "outside of its range",
        )
    ]


def _optimum(table: dict[str, Any]) -> str:
    """How far the table is from the best one, and why that is known."""
    optimum, objective = table["optimum"], table["objective"]
    times = (
        f"this table {table['value']:.4g}"
        if optimum["ratio"] is None
        else f"this table {optimum['ratio']:.3f} times that"
    )
    text = f"{optimum[objective]:.4g} in this format, {times}"
    text += f"; real numbers {optimum['real']:.3g}" if "real" in optimum else ""
    return f"{text}\n{'':16}by {optimum['proof']}"


def _error_rows(report: dict[str, Any]) -> Any:
    """A row for each scale: errors, and cells where each scale has a unit of its own."""
    from .tables import new_table, power_text

    table = report["table"]
    fixed, silicon = report["style"] == "fixed", "silicon" in report["modules"][0]
    costs = ["cells", *(["um^2"] if silicon else [])] if fixed else []
    rows = new_table("scale", "mse", "max", "mse (A)", "max (A)", "output", "off", *costs)
    for k, (row, unit) in enumerate(zip(table["scales"], report["units"], strict=True)):
        errors = [f"{row['errors'][p][e]:.3g}" for p in ("R", "A") for e in ("mse", "max")]
        cells = [f"{report['modules'][k]['cells']:,}"] if fixed else []
        if fixed and silicon:
            cells.append(f"{report['modules'][k]['silicon']['area_um2']:,.0f}")
        rows.add_row(
            power_text(row["scale"]),
            *errors,
            power_text(unit["out_scale"]),
            str(unit["codes_off"]),
            *cells,
        )
    return rows


def _area_pairs(area: dict[str, Any]) -> list[tuple[str, str]]:
    """Area of the one unit, in cells and, where it was measured, in square micrometres."""
    pairs = [("area", f"{area['cells']:,} cells ({area['flip_flops']:,} flip-flops)")]
    if "silicon" in area:
        silicon_figures = area["silicon"]
        text = f"{silicon_figures['area_um2']:,.0f} um^2 "
        text += f"for a clock of {1e3 / silicon_figures['clock_ns']:g} MHz"
        if silicon_figures["delay_ns"] is not None:
            text += f", {silicon_figures['delay_ns']:.2f} ns needed"
        pairs.append(("silicon", text))
    return pairs


def print_lut(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate lut``."""
    from rich.text import Text

    from .tables import console, print_pairs

    table, verified = report["table"], report["verified"]
    terminal = console()
    for text in verified.get("first", ()):
        terminal.print(Text(text))
    rows = _error_rows(report)
    terminal.print(rows)
    terminal.print(
        "Errors in the range, and of every code (A); codes that the unit is off at most\n"
    )
    form, mean = table["format"], table["errors"]
    low, high = table["range"]
    pairs = [
        (
            "function",
            f"{table['function']} on {low:g} to {high:g}, {table['entries']} segments, "
            f"{table['in_bits']}-bit codes",
        ),
        (
            "format",
            f"{form['kind']}, slopes {form['slope_bits']}, intercepts "
            f"{form['intercept_bits']} bits"
            + (f", {form['fraction_bits']} behind the point" if form["kind"] == "fixed" else ""),
        ),
        *_guard(table),
        (
            "error",
            f"{mean['R']['mse']:.4g} in the range, {mean['A']['mse']:.4g} everywhere; "
            f"greatest {mean['R']['max']:.3g} and {mean['A']['max']:.3g}",
        ),
    ]
    if "optimum" in table:
        pairs.append(("least possible", _optimum(table)))
    if verified:
        pairs.append(
            (
                "verified",
                f"{verified['codes']:,} codes in Icarus, stalls, "
                f"{verified['mismatches']} mismatches",
            )
        )
    if report["style"] != "fixed":
        pairs += _area_pairs(report["modules"][0])
    pairs += [("measured by", report["yosys"]), ("written", f"{folder}/")]
    print_pairs(terminal, pairs)
