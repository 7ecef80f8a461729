"""Reports as tables on the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .reference import size_text

if TYPE_CHECKING:
    from .model.checkpoints.floating import Checkpoint
    from .sim.rtl.network.regression import SimReport


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _pairs(console: Console, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        console.print(Text(f"{name:<{width}}", "bold") + Text(value))


def _genome(document: dict[str, Any]) -> str:
    genome = document["genome"]
    if genome["id"].startswith("int"):
        return str(genome["id"])
    return f"{genome['id']} ({' | '.join(','.join(map(str, g)) for g in genome['layers'])})"


def _operators(console: Console, document: dict[str, Any]) -> None:
    table = _table("operator", "bits", "cells", "transistors", "memory bits")
    for row in document["operators"]:
        table.add_row(
            row["name"],
            *(_number(row.get(key)) for key in ("bits", "cells", "transistors", "memory_bits")),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        *(_number(document[key]) for key in ("cells", "transistors", "memory_bits")),
        style="bold",
    )
    console.print(table)
    for row in document["operators"]:
        if "serves" in row:
            console.print(f"{row['name']} serves {' '.join(row['serves'])}", highlight=False)


def _original(about: dict[str, Any]) -> str:
    """What is known of the float network that a chain of trainings began with."""
    name = about.get("imported") or about.get("source") or f"checkpoint {about.get('hash')}"
    if "accuracy" in about:
        score = f"{about['accuracy']:.4f}"
    elif "val" in about:
        score = f"{about['val']:.4f} on validation"
    else:
        score = "unknown"
    return f"{score}, the original network ({name})"


def print_report(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate gru``."""
    console = _console()
    _operators(console, report)
    console.print()
    images = f"{report['test_sequences']} test sequences"
    if not report["test_unseen"]:
        images += ", which its training may have seen"
    float_text = f"float {report['accuracy_float']:.4f}"
    if "original" in report:
        float_text = f"the trained weights run as float {report['accuracy_float']:.4f}"
    _pairs(
        console,
        [
            ("genome", _genome(report)),
            (
                report.get("measure", "accuracy"),
                f"{report['accuracy']:.4f} on {images} ({float_text})",
            ),
            *(
                [("mean error", f"{report['mean_error']:.4g} (root mean square)")]
                if "mean_error" in report
                else []
            ),
            *([("head", report["head"])] if "head" in report else []),
            *([("float", _original(report["original"]))] if "original" in report else []),
            (
                "size",
                size_text(report),
            ),
            (
                "cycles per step",
                f"{report['cycles_per_step']:,}, multipliers busy {report['utilisation']:.1%}",
            ),
            (
                "per sequence",
                f"{report['cycles_per_sequence']:,} cycles back to back, {report['steps']} steps",
            ),
            ("cells", f"{report['cells']:,} summed over modules, {report['cells_flat']:,} flat"),
            ("memory", f"{report['memory_bits']:,} bits"),
            ("measured by", report["yosys"]),
            (
                "written",
                str(Path(folder) / "{gru.v,gru_tb.v,report.json,...}"),
            ),
        ],
    )


def print_area(document: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate area``."""
    console = _console()
    _operators(console, document)
    console.print()
    _pairs(
        console,
        [
            ("genome", _genome(document)),
            ("flat", f"{document['cells_flat']:,} cells with module borders dissolved"),
            ("measured by", document["yosys"]),
            ("written", str(Path(folder) / "area.json")),
        ],
    )


def print_sim(report: SimReport, folder: str | Path) -> None:
    """The outcome of ``genogate sim``."""
    console = _console()
    for message in report.mismatches[:10]:
        console.print(Text(message))
    more = len(report.mismatches) - 10
    if more > 0:
        console.print(f"... and {more} more")
    rows = [
        ("result", "bit-exact" if report.passed else "DIFFERS"),
        ("genome", f"{report.genome} (model {report.model_hash})"),
        (
            "compared",
            f"{report.codes:,} codes of {report.sequences} sequences, "
            f"{report.steps:,} steps; seed {report.seed}",
        ),
        ("cycles per step", _number(report.cycles_per_step) or "not measured"),
        ("scenarios", ", ".join(scenario["name"] for scenario in report.scenarios)),
        ("simulator", ", cocotb ".join(report.versions.values())),
        ("time", f"{report.seconds:.1f} s"),
        ("written", str(Path(folder) / "sim.json")),
    ]
    if report.waveform:
        rows.insert(1, ("waveform", report.waveform))
    _pairs(console, rows)


def print_campaign(summary: dict[str, Any], folder: str | Path) -> None:
    """The summary of ``genogate campaign``."""
    console = _console()
    for failure in summary["failures"][:10]:
        console.print(Text(f"case {failure['index']} ({failure['name']}): {failure['first']}"))
    busy = summary["utilisation_16_units_and_more"]["min"]
    _pairs(
        console,
        [
            ("networks", f"{summary['cases']:,}, {summary['failed_cases']} failed"),
            (
                "compared",
                f"{summary['codes']:,} codes of {summary['sequences']:,} sequences, "
                f"{summary['mismatches']} mismatches; seed {summary['seed']}",
            ),
            (
                "multipliers busy",
                f"at least {busy:.1%} from 16 units on" if busy else "not measured",
            ),
            ("time", f"{summary['seconds']:,} s, {summary['resumed']} networks resumed"),
            ("written", str(Path(folder) / "summary.json")),
        ],
    )


def _parts(scores: dict[str, float]) -> str:
    """Accuracies on the parts that were looked at; the test part is only where it was asked for."""
    names = {"test": "test", "val": "validation", "train": "training"}
    return ", ".join(f"{names[part]} {scores[part]:.4f}" for part in names if part in scores)


def print_training(checkpoint: Checkpoint, path: str | Path) -> None:
    """What ``genogate train`` made."""
    scores = checkpoint.info["accuracy"]
    _pairs(
        _console(),
        [
            (
                checkpoint.info.get("measure", "accuracy"),
                _parts(scores),
            ),
            ("again", checkpoint.info["command"]),
            ("written", str(path)),
        ],
    )


def print_tuning(report: dict[str, Any], path: str | Path) -> None:
    """What ``genogate qat`` made."""
    scores = report["accuracy"]
    rows = []

    def row(name: str, score: dict[str, float]) -> None:
        parts = {"val": "validation", "test": "test"}
        text = ", ".join(f"{parts[part]} {score[part]:.4f}" for part in parts if part in score)
        rows.append((name, text))

    row("float before", scores["float"])
    if "qat" in scores:
        row("quantised", scores["ptq"])
        row("trained", scores["qat"])
        rows.append(
            (
                "size",
                size_text(report),
            )
        )
        rows.append(("epochs", f"{report['epochs_done']}, kept {report['best_epoch']}"))
        rows.append(("model", report["model_hash"]))
    else:
        for genome, both in scores.items():
            if genome != "float":
                row(f"{genome} before", both["ptq"])
                row(f"{genome} after", both["any"])
    _pairs(_console(), [*rows, ("written", str(path))])
    _caution(report.get("caution"))


def _caution(text: str | None) -> None:
    """What the reader should mind about the figures above; nothing where there is nothing."""
    if text:
        _console().print(Text(f"Note: {text}."))


def print_import(checkpoint: Checkpoint, path: str | Path) -> None:
    """What ``genogate import`` read."""
    scores = checkpoint.info["accuracy"]
    units = ", ".join(str(checkpoint.hidden_size(k)) for k in range(checkpoint.layers))
    _pairs(
        _console(),
        [
            (
                "network",
                f"{checkpoint.input_size} inputs, {checkpoint.layers} GRU layers of {units} "
                f"units, {checkpoint.classes} "
                f"{'classes' if checkpoint.head.output == 'class' else 'outputs'}",
            ),
            (
                checkpoint.info.get("measure", "accuracy"),
                f"{_parts(scores)} (float)",
            ),
            *([] if checkpoint.head.plain else [("head", str(checkpoint.head))]),
            ("written", str(path)),
        ],
    )


def print_bench(figures: dict[str, Any], path: str | Path) -> None:
    """The figures of ``genogate bench``, nested ones with dotted names."""
    rows = []
    for name, value in figures.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, number in inner:
            text = (
                f"{number:,.4g}"
                if isinstance(number, float) and number < 1e4
                else (f"{number:,.0f}" if isinstance(number, float) else _number(number))
            )
            rows.append((".".join(filter(None, (name, key))).replace("_", " "), text))
    _pairs(_console(), [*rows, ("written", str(path))])


def print_unit(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate unit``."""
    area, verified = report["area"], report["verified"]
    console = _console()
    for text in verified["mismatches"][:10]:
        console.print(Text(text))
    _pairs(
        console,
        [
            (
                "unit",
                f"{report['unit']}, {report['in_bits']}-bit codes of scale 2^{-report['scale']} "
                f"to {report['out_bits']}-bit codes, {report['entries']} segments",
            ),
            (
                "verified",
                f"{verified['elements']:,} elements in Icarus, stalls and resets, "
                f"{len(verified['mismatches'])} mismatches",
            ),
            (
                "area",
                f"{area['cells']:,} cells ({area['flip_flops']:,} flip-flops), "
                f"{area['memory_bits']:,} memory bits",
            ),
            ("measured by", area["yosys"]),
            ("written", str(Path(folder) / "{unit.v,report.json}")),
        ],
    )


def _power(k: int) -> str:
    return f"2^{-k}" if k else "1"


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


def print_lut(report: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate lut``."""
    table, verified = report["table"], report["verified"]
    console = _console()
    for text in verified.get("first", ()):
        console.print(Text(text))
    fixed, silicon = report["style"] == "fixed", "silicon" in report["modules"][0]
    costs = ["cells", *(["um^2"] if silicon else [])] if fixed else []
    rows = _table("scale", "mse", "max", "mse (A)", "max (A)", "output", "off", *costs)
    for k, (row, unit) in enumerate(zip(table["scales"], report["units"], strict=True)):
        errors = [f"{row['errors'][p][e]:.3g}" for p in ("R", "A") for e in ("mse", "max")]
        cells = [f"{report['modules'][k]['cells']:,}"] if fixed else []
        if fixed and silicon:
            cells.append(f"{report['modules'][k]['silicon']['area_um2']:,.0f}")
        rows.add_row(
            _power(row["scale"]), *errors, _power(unit["out_scale"]), str(unit["codes_off"]), *cells
        )
    console.print(rows)
    console.print(
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
    if not fixed:
        area = report["modules"][0]
        pairs.append(("area", f"{area['cells']:,} cells ({area['flip_flops']:,} flip-flops)"))
        if silicon:
            made = area["silicon"]
            text = f"{made['area_um2']:,.0f} um^2 for a clock of {made['clock_ns']:g} ns"
            if made["delay_ns"] is not None:
                text += f", {made['delay_ns']:.2f} ns needed"
            pairs.append(("silicon", text))
    pairs += [("measured by", report["yosys"]), ("written", f"{folder}/")]
    _pairs(console, pairs)


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


def print_experiment(document: dict[str, Any], folder: str | Path) -> None:
    """The table of ``genogate experiment``."""
    from .search.experiment.summary import lines_of

    console = _console()
    for line in lines_of(document):
        console.print(Text(line))
    simulation = document.get("simulation", {})
    if "skipped" in simulation:
        said = f"skipped: {simulation['skipped']}"
    elif simulation:
        said = (
            f"{simulation['count']} test sequences of {simulation['steps_run']} steps, "
            f"{simulation['mismatches']} mismatches"
        )
    else:
        said = "none"
    _pairs(console, [("simulated", said), ("written", f"{folder}/experiment.json")])


def print_search(report: dict[str, Any], folder: str | Path) -> None:
    """What ``genogate search`` ends with; the whole front is in its file and its page."""
    console, rows = _console(), report["conclusion"]
    if report.get("damaged"):
        console.print(f"{report['damaged']} damaged evaluations were made again.")
    if not report["points"]:
        console.print("No genome within the limits was found: allow more, or search longer.")
        return
    costs = [name for name in ("cells", "memory") if name in rows[0]]
    tested = ["test"] if "test_accuracy" in rows[0] else []
    share = f"of int8 ({report['reference']})"
    table = _table("genome", "points lost", *tested, "bits", share, *costs)
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['drop']:.2f}",
            *(f"{row['test_accuracy']:.4f}" for _ in tested),
            f"{row['size']:,}",
            f"{row['share']:.1%}",
            *(_number(row.get(name)) for name in costs),
        )
    console.print(table)
    console.print()
    names = [row["name"] for row in rows]
    chosen = next((n for n in names if n.startswith("within-0.5")), names[-1])
    page = "make report RUN={}" if by_make() else "genogate report {}"
    pairs = [
        ("points lost", f"against int8, on {report['judged']}"),
        ("front", f"{len(report['points'])} points in {Path(folder) / 'front.json'}"),
        ("page", page.format(folder)),
    ]
    if chosen != "int8":
        emit = "make gru GENOME={}" if by_make() else "genogate gru --genome {}"
        pairs.append(("emit", emit.format(Path(folder) / chosen)))
    _pairs(console, [*pairs, ("written", f"{folder}/")])
    _caution(report.get("caution"))


def by_make() -> bool:
    """Whether the command was started by the Makefile, whose users are told what to make."""
    return bool(os.environ.get("GENOGATE_MAKE"))


def print_front(record: dict[str, Any], folder: str | Path) -> None:
    """The units of ``genogate front``."""
    console, verified = _console(), record["verified"]
    for text in verified["first"]:
        console.print(Text(text))
    rows = _table("file", "cells", "mean squared error", "segments", "form")
    for unit in record["units"]:
        rows.add_row(
            unit["file"],
            f"{unit['cells']:,}",
            f"{unit['mse']:.3g}",
            str(len(unit["slopes"])),
            unit["form"],
        )
    console.print(rows)
    console.print()
    low, high = record["range"]
    _pairs(
        console,
        [
            (
                "function",
                f"{record['function']} on {low:g} to {high:g}, "
                f"codes of scale {_power(record['scale'])}",
            ),
            (
                "verified",
                f"{verified['codes']:,} codes in Icarus, stalls, "
                f"{verified['mismatches']} mismatches",
            ),
            ("measured by", record["yosys"]),
            ("written", f"{folder}/"),
        ],
    )
