"""Tables, pairs and texts of reports on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Columns of a terminal of reports: rich would cut the columns of a table to 80 where it sees none.
WIDTH = 1000


def console() -> Console:
    return Console(highlight=False, soft_wrap=True, width=WIDTH)


def new_table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def number_text(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def print_pairs(console: Console, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        console.print(Text(f"{name:<{width}}", "bold") + Text(value))


def genome_text(document: dict[str, Any]) -> str:
    genome = document["genome"]
    if genome["id"].startswith("int"):
        return str(genome["id"])
    return f"{genome['id']} ({' | '.join(','.join(map(str, g)) for g in genome['layers'])})"


def print_operators(console: Console, document: dict[str, Any]) -> None:
    table = new_table("operator", "bits", "cells", "transistors", "memory bits")
    for row in document["operators"]:
        table.add_row(
            row["name"],
            *(number_text(row.get(key)) for key in ("bits", "cells", "transistors", "memory_bits")),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        *(number_text(document[key]) for key in ("cells", "transistors", "memory_bits")),
        style="bold",
    )
    console.print(table)
    for row in document["operators"]:
        if "serves" in row:
            console.print(f"{row['name']} serves {' '.join(row['serves'])}", highlight=False)


def accuracies(scores: dict[str, float], measure: str = "accuracy") -> str:
    """Accuracies on the parts that were looked at; the test part is only where it was asked for."""
    from ..model.data.measures import score_text

    names = {"test": "test", "val": "validation", "train": "training"}
    return ", ".join(
        f"{names[part]} {score_text(measure, scores[part])}" for part in names if part in scores
    )


def print_caution(text: str | None) -> None:
    """What the reader should mind about the figures above; nothing where there is nothing."""
    if text:
        console().print(Text(f"Note: {text}."))


def power_text(k: int) -> str:
    return f"2^{-k}" if k else "1"
