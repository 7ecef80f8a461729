"""Still pictures of a run for papers, as PNG: those of the page (:mod:`.page`). Needs matplotlib.

Readable in print at the width of a column, and by readers who do not tell all colours apart: what
differs in colour differs in shape too.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Document = Mapping[str, Any]
#: Of Okabe and Ito.
FRONT, UNIFORM, NAMED, RANDOM, FAINT = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#8C959F"
DPI = 300
_WORDS = {
    "knee": "knee",
    "most-accurate": "most accurate",
    "smallest": "smallest",
    "fewest-weights": "fewest weight bits",
    "fewest-cells": "fewest cells",
}


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    held = io.BytesIO()
    # No time and no version of a library, so that equal pictures are equal bytes.
    figure.savefig(held, format="png", dpi=DPI, metadata={"Software": None})
    return held.getvalue()


def _values(data: Document, k: int) -> np.ndarray:
    """Figure `k` of all points, float64, NaN where one has none; accuracies in per cent."""
    values = np.array([p["v"][k] if p["v"][k] is not None else np.nan for p in data["points"]])
    return values.astype(float) * (100 if data["figures"][k]["high"] else 1)


def _title(figure: Document) -> str:
    """Of an axis: with the unit, where the words do not name it already."""
    title, unit = figure["title"], figure["unit"]
    return title if unit in title.lower() else f"{title}, {unit}"


def _useful(data: Document, k: int) -> float | None:
    """The end of the useful region along figure `k`, as :func:`_values` has it."""
    figure = data["figures"][k]
    if figure["int8"] is None:
        return None
    return 100 * (figure["int8"] - data["useful_drop"]) if figure["high"] else figure["int8"]


def _named(data: Document) -> list[tuple[int, str, str]]:
    """Index, words, and markers (``D`` named, ``s`` homogeneous) of points that get a label."""
    labels = []
    for k, point in enumerate(data["points"]):
        names = point.get("n", ())
        words = [_WORDS[name] for name in names if name in _WORDS]
        uniform = [name.upper() for name in names if name[:3] == "int" and name[3:].isdigit()]
        if words or uniform:
            labels.append(
                (k, ", ".join([*words, *uniform]), "D" * bool(words) + "s" * bool(uniform))
            )
    return labels


def _limits(data: Document, x: int, y: int) -> list[tuple[float, float]] | None:
    """Ranges of two axes that show the useful region; None where the front has little in it."""
    ends = [end for end in (_useful(data, x), _useful(data, y)) if end is not None]
    if len(ends) < 2:
        return None
    inside = np.array([bool(point.get("f")) for point in data["points"]])
    for name in data["objectives"]:
        for k, figure in enumerate(data["figures"]):
            end = _useful(data, k)
            if figure["key"] == name and end is not None:
                values = _values(data, k)
                inside &= (values >= end) if figure["high"] else (values <= end)
    if inside.sum() < 2:
        return None
    # The homogeneous genomes of such accuracy too.
    for k, point in enumerate(data["points"]):
        good = all(
            f["int8"] is not None and v is not None and v >= f["int8"] - data["useful_drop"]
            for v, f in zip(point["v"], data["figures"], strict=True)
            if f["high"]
        )
        if good and any(name[:3] == "int" for name in point.get("n", ())):
            inside[k] = True
    ranges = []
    for k, end in zip((x, y), ends, strict=True):
        values = _values(data, k)[inside]
        values = np.append(values[np.isfinite(values)], end)
        low, high = float(values.min()), float(values.max())
        pad = 0.06 * (high - low) or 1.0
        ranges.append((low - pad, high + pad))
    return ranges


def _front(data: Document, x: int, y: int) -> bytes:
    """Two figures of all points against each other."""
    figure, axes = _figure(3.5, 2.9)
    xs, ys = _values(data, x), _values(data, y)
    on_front = np.array([bool(point.get("f")) for point in data["points"]])
    axes.grid(color="#E4E7EA", linewidth=0.5)
    axes.scatter(
        xs[~on_front], ys[~on_front], s=5, color=FAINT, alpha=0.45, linewidths=0, label="evaluated"
    )
    axes.scatter(xs[on_front], ys[on_front], s=15, color=FRONT, label="front", zorder=3)
    if limits := _limits(data, x, y):
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])
    for k, place, line in (
        (x, _useful(data, x), axes.axvline),
        (y, _useful(data, y), axes.axhline),
    ):
        if place is not None:
            line(place, color=FRONT, linewidth=0.7, linestyle=(0, (5, 4)), alpha=0.6)
        if not data["figures"][k]["high"] and not limits and np.nanmin(_values(data, k)) > 0:
            span = np.nanmax(_values(data, k)) / np.nanmin(_values(data, k))
            if span > 8:
                (axes.set_xscale if k == x else axes.set_yscale)("log")
    labels = []
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for k, words, markers in _named(data):
        if not (x0 <= xs[k] <= x1 and y0 <= ys[k] <= y1):
            continue
        for marker in markers:
            axes.plot(
                xs[k],
                ys[k],
                marker,
                markersize=6.5,
                markerfacecolor="none",
                markeredgecolor=NAMED if marker == "D" else UNIFORM,
                markeredgewidth=1,
                zorder=4,
            )
        labels.append((k, words, NAMED if "D" in markers else UNIFORM))
    _write(figure, axes, [(xs[k], ys[k], words, colour) for k, words, colour in labels])
    axes.set_xlabel(_title(data["figures"][x]))
    axes.set_ylabel(_title(data["figures"][y]))
    axes.legend(loc="lower right", frameon=True, framealpha=0.8, edgecolor="none", fontsize=7)
    return _png(figure)


def _write(figure: Any, axes: Any, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Words beside points, where there is room for them."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken = []
    for x, y, _, _ in labels:
        px, py = axes.transData.transform((x, y))
        taken.append((px - 5, py - 5, px + 5, py + 5))
    for x, y, words, colour in labels:
        px, py = axes.transData.transform((x, y))
        # Points of a letter at the size below, in the figure's own pixels.
        scale = figure.dpi / 72
        width, height = 3.9 * len(words) * scale, 8 * scale
        for dx, dy in (
            (6, 4),
            (6, -11),
            (-6 - width / scale, 4),
            (-6 - width / scale, -11),
            (-width / scale / 2, 9),
            (-width / scale / 2, -16),
            (8, 13),
            (8, -20),
        ):
            box = (
                px + dx * scale,
                py + dy * scale,
                px + dx * scale + width,
                py + dy * scale + height,
            )
            inside = (
                box[0] >= frame.x0
                and box[2] <= frame.x1
                and box[1] >= frame.y0
                and box[3] <= frame.y1
            )
            if inside and not any(
                box[0] < t[2] and box[2] > t[0] and box[1] < t[3] and box[3] > t[1] for t in taken
            ):
                taken.append(box)
                axes.annotate(
                    words,
                    (x, y),
                    xytext=(dx, dy),
                    textcoords="offset points",
                    fontsize=6.5,
                    color=colour,
                    zorder=5,
                )
                break


def _volume(data: Document) -> bytes:
    """Hypervolume against evaluations, this run's and those beside it."""
    figure, axes = _figure(3.5, 2.4)
    axes.grid(color="#E4E7EA", linewidth=0.5)
    seen = set()
    for curve in sorted(data["history"], key=lambda curve: curve["own"]):
        random, of_this_run = curve["method"] == "random", curve["own"]
        name = f"{curve['method']} (this run)" if of_this_run else curve["method"]
        axes.plot(
            curve["x"],
            curve["y"],
            color=RANDOM if random else FRONT,
            linestyle="--" if random else "-",
            linewidth=1.8 if of_this_run else 0.9,
            marker="o" if of_this_run else None,
            markersize=2.5,
            alpha=1 if of_this_run else 0.8,
            label=None if name in seen else name,
        )
        seen.add(name)
    axes.set_xlabel("Evaluations")
    axes.set_ylabel("Share of useful region")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=7, loc="lower right")
    return _png(figure)


def _knobs(data: Document, front: Sequence[Document]) -> dict[str, list[str]]:
    """Values of each knob that differs along the front; the setting's where a point has none."""
    defaults = {
        "checkpoint": data["checkpoint"],
        "lanes": data["knobs"].get("lanes_x"),
        **data["knobs"],
    }
    names = sorted({name for point in front for name in point.get("k", {})})
    return {
        name: [str(point.get("k", {}).get(name, defaults.get(name))) for point in front]
        for name in names
    }


def _knob_rows(
    axes: Any, knobs: Mapping[str, Sequence[Any]], first: int, columns: int
) -> list[str]:
    """Draw a row of colours for each knob, from row `first` on; returns what their letters say."""
    said = []
    for row, (name, values) in enumerate(knobs.items(), first):
        levels = list(dict.fromkeys(values))
        places = np.array([[levels.index(value) for value in values]])
        axes.imshow(
            places % 9,
            cmap="Pastel1",
            vmin=0,
            vmax=8,
            aspect="auto",
            extent=(-0.5, columns - 0.5, row + 0.5, row - 0.5),
        )
        short = levels
        if max(map(len, levels)) > 2:
            short = [chr(ord("a") + k % 26) for k in range(len(levels))]
            said.append(
                f"{name.replace('_', ' ')}: "
                + ", ".join(
                    f"{letter} {Path(value).stem}"
                    for letter, value in zip(short, levels, strict=True)
                )
            )
        if columns <= 40:
            for column, place in enumerate(places[0]):
                axes.text(column, row, short[place], ha="center", va="center", fontsize=5.5)
    return said


def _genes(data: Document, order: int) -> bytes:
    """Genes of the front as a heat map, points by figure `order`; under them what else differs."""
    front = [point for point in data["points"] if point.get("f")]
    high = data["figures"][order]["high"]
    front.sort(key=lambda p: -(p["v"][order] or 0) if high else (p["v"][order] or np.inf))
    genes = np.array([[int(bits) for bits in point["g"]] for point in front]).T
    rows, columns = genes.shape
    knobs = _knobs(data, front)
    height = 0.7 + 0.17 * (rows + 2 * len(knobs))
    figure, axes = _figure(max(2.6, min(7.2, 1.0 + 0.19 * columns)), height)
    axes.imshow(genes, cmap="Blues", vmin=1, vmax=9, aspect="auto")
    said = _knob_rows(axes, knobs, rows, columns)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows + len(knobs) - 0.5, -0.5)
    if columns <= 40:
        for row in range(rows):
            for column in range(columns):
                bits = genes[row, column]
                axes.text(
                    column,
                    row,
                    str(bits),
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color="white" if bits >= 6 else "black",
                )
    labels = [*data["operators"], *(name.replace("_", " ") for name in knobs)]
    axes.set_yticks(range(len(labels)), labels, fontsize=6.5)
    step = max(1, columns // 20)
    names = [point["n"][0].removeprefix("front-") for point in front]
    axes.set_xticks(range(0, columns, step), names[::step], fontsize=6)
    axes.tick_params(length=0)
    for edge in range(1, rows):
        if edge % 17 in (0, 6, 11, 14):
            axes.axhline(edge - 0.5, color="white", linewidth=1.6)
    axes.spines[:].set_visible(False)
    figure_name = data["figures"][order]
    axes.set_xlabel(
        f"Point of the front, by {figure_name['key']}"
        + (", best first" if high else ", smallest first")
        + "".join(f"\n{line}" for line in said),
        fontsize=6.5 if said else None,
    )
    return _png(figure)


def _cells(data: Document) -> bytes | None:
    """Cells by operator of the knee, beside those of INT8; None where one is not known."""
    cells, points = data["cells"], data["points"]
    by_name = {name: str(k) for k, p in enumerate(points) for name in p.get("n", ())}
    knee, int8 = (cells.get(by_name.get(name, "")) for name in ("knee", "int8"))
    if not knee or not int8:
        return None
    rows = np.arange(len(data["parts"]))
    figure, axes = _figure(3.5, 0.6 + 0.17 * len(rows))
    axes.barh(rows - 0.2, knee, 0.4, color=FRONT, label=f"knee: {sum(knee):,} cells")
    axes.barh(
        rows + 0.2,
        int8,
        0.4,
        facecolor="none",
        edgecolor=UNIFORM,
        linewidth=0.8,
        label=f"INT8: {sum(int8):,} cells",
    )
    genes = dict(zip(data["operators"], points[int(by_name["knee"])]["g"], strict=True))
    axes.set_yticks(
        rows,
        [f"{name}  {genes[name]}" if name in genes else name for name in data["parts"]],
        fontsize=6.5,
    )
    axes.invert_yaxis()
    axes.grid(axis="x", color="#E4E7EA", linewidth=0.5)
    axes.set_xlabel("Yosys cells (beside the names: bits of the knee)")
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def draw(data: Document) -> dict[str, bytes]:
    """PNG files by name, of what :func:`.data.collect` gathered.

    Accuracy against every figure that varies, costs among the objectives against each other,
    hypervolume, genes, and cells by operator of the knee. Raises ImportError without matplotlib.
    """
    import matplotlib

    with matplotlib.rc_context(
        {
            "font.size": 8,
            "axes.linewidth": 0.6,
            "axes.axisbelow": True,
            "font.family": "DejaVu Sans",
        }
    ):
        return _draw(data)


def _draw(data: Document) -> dict[str, bytes]:
    keys = [figure["key"] for figure in data["figures"]]
    values = [_values(data, k) for k in range(len(keys))]
    # Two values, as cycles have them, make no picture.
    moving = [k for k, of in enumerate(values) if len(np.unique(of[np.isfinite(of)])) > 2]
    costs = [k for k in moving if not data["figures"][k]["high"]]
    best = [k for k in moving if data["figures"][k]["high"]]
    objectives = [k for k in costs if keys[k] in data["objectives"]]
    pairs = [(x, y) for y in best for x in costs]
    pairs += [(x, y) for number, x in enumerate(objectives) for y in objectives[number + 1 :]]
    drawn = {f"{keys[y]}-{keys[x]}.png": _front(data, x, y) for x, y in pairs}
    if any(curve["x"] for curve in data["history"]):
        drawn["hypervolume.png"] = _volume(data)
    if any(point.get("f") for point in data["points"]):
        drawn["genes.png"] = _genes(data, (best or [0])[0])
    if (cells := _cells(data)) is not None:
        drawn["cells.png"] = cells
    return drawn
