"""Still pictures for reports and papers, as SVG. Needs matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.errors import InputError
from .model.files import write_bytes

if TYPE_CHECKING:
    from .model.tables.table import LutTable

#: Colours that are told apart by colour-blind readers too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


def _figure(rows: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure with `rows` axes below each other, drawn without a display."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "matplotlib: not installed; pip install 'genogate[search]', or say --no-picture"
        ) from None
    # Text stays text, and equal pictures are equal bytes.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "genogate", "font.size": 9})
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(rows, 1, squeeze=False)[:, 0])


def _save(figure: Any, path: str | Path) -> None:
    held = io.BytesIO()
    figure.savefig(held, format="svg", metadata={"Date": None, "Creator": "genogate"})
    write_bytes(path, held.getvalue())


def draw_table(table: LutTable, path: str | Path) -> None:
    """The function with its pieces, and the error at every code of every scale, as SVG."""
    import numpy as np

    from .model.tables.points import codes

    function = table.function
    figure, (top, bottom) = _figure(2, (7, 6))
    x = np.linspace(function.low, function.high, 600)
    top.plot(x, function(x), color="#999999", linewidth=3, label=function.name)
    finest = table.rows[-1]
    for row, colour in zip(table.rows, COLOURS * 3, strict=False):
        q = codes(function, table.in_bits, row.scale)
        at = np.ldexp(q.astype(float), -row.scale)
        bottom.plot(
            at,
            row(q) - function(at),
            ".-",
            markersize=3,
            linewidth=0.6,
            color=colour,
            label=f"$2^{{{-row.scale}}}$",
        )
        if row is table.rows[0] or row is finest:
            top.plot(
                at, row(q), ".", markersize=3, color=colour, label=f"codes of $2^{{{-row.scale}}}$"
            )
    cuts = table.info.get("cuts")
    points = (
        np.ldexp(np.array(cuts["values"], float), -cuts["fraction_bits"])
        if cuts
        else np.ldexp(finest.breakpoints.astype(float), -finest.scale)
    )
    for point in points:
        if function.low <= point <= function.high:
            top.axvline(point, color="#CCCCCC", linewidth=0.6, zorder=0)
    top.set_ylabel("value")
    top.legend(frameon=False)
    top.set_title(
        f"{function.name}, {table.entries} segments, {table.format.name}: "
        f"mean squared error {table.mse():.3g} (R), {table.mse('A'):.3g} (A)"
    )
    bottom.axhline(0, color="#999999", linewidth=0.6)
    bottom.set_ylabel("error")
    bottom.set_xlabel("x")
    bottom.legend(frameon=False, ncols=4, title="scale")
    _save(figure, path)
