"""One page about a run of the search, to be opened from disk: everything in it, nothing fetched.

What :func:`.data.collect` gathered is put into ``report.html``, whose script draws it.
"""

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...model.files import check_place, write_bytes, write_text
from ...model.genome import GENES
from ..genomes.evaluate import Say
from .data import NAMED, collect
from .run_files import Document, read_config, words


def _embedded(value: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _header(data: Document) -> str:
    """What the run is, as rows of a description list."""
    config = data["config"]
    knobs = ", ".join(
        f"{name.replace('_', ' ')} {words(value)}" for name, value in data["knobs"].items()
    )
    checkpoint = data["checkpoint"]
    if data["checkpoint_hash"]:
        checkpoint += f" ({str(data['checkpoint_hash'])[:12]})"
    state = "finished" if data["finished"] else "not finished"
    rows = [
        ("Task", data["task"]),
        ("Checkpoint", checkpoint),
        ("Method", f"{config['method']}, seed {config['seed']}"),
        ("Objectives", words(data["objectives"])),
        ("Evaluations", f"{data['evaluations']:,} genomes"),
        (
            "Generations",
            f"{data['generation'] or '?'} of {data['generations']}, {state}; "
            f"population {config.get('pop_size', '?')}",
        ),
        ("Yosys", data["yosys"] or "not used (no silicon among the objectives)"),
        ("Target", words(config.get("target", "generic"))),
        ("Knobs", knobs),
    ]
    if isinstance(judged := data["judged_on"], int):
        rows.insert(
            3,
            (
                "Accuracy",
                f"on {judged:,} sequences of the validation part, shifted "
                "copies among them where it is small",
            ),
        )
    shown = {"objectives", "method", "seed", "pop_size", "generations", "target"}
    if "silicon" not in data["objectives"]:
        shown.add("bit_weight")
    if not config.get("beacons"):
        shown.add("beacon_distance")
    more = [
        f"{name.replace('_', ' ')} {words(value)}"
        for name, value in config.items()
        if name not in shown and value not in (None, [], 0, "")
    ]
    if more:
        rows.append(("Also", ", ".join(more)))
    return "\n".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in rows
    )


def _grouped(genes: str) -> str:
    """Genes of each layer by kind: dense, sums, products, activations."""
    end = len(genes) // len(GENES) * len(GENES)
    layers = [genes[k : k + len(GENES)] for k in range(0, end, len(GENES))]
    grouped = [" ".join((g[:6], g[6:11], g[11:14], g[14:])) for g in layers]
    dense = [genes[k : k + 2] for k in range(end, len(genes), 2)]
    return " | ".join(grouped + ([" ".join(dense)] if dense else []))


def _digits(figure: Document, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 100:.2f}" if figure["high"] else f"{value:,.10g}"


def _table(data: Document) -> str:
    """The front as a table that needs no script."""
    figures = data["figures"]
    front = [(k, point) for k, point in enumerate(data["points"]) if point.get("f")]
    tested = any("t" in point for _, point in front)
    head = [("point", "")]
    for figure in figures:
        head.append((figure.get("short", figure["key"]).lower(), figure["unit"]))
        if figure["high"] and tested:
            head.append(("test", figure["unit"]))
    relative = [k for k, f in enumerate(figures) if f["key"] in ("size", "cells") and f["against"]]
    head += [(figures[k]["key"], f"% of INT8 of {figures[k]['against']['name']}") for k in relative]
    head.append(("genome", "by layer: dense, sums, products, activations"))
    out = ["<thead><tr>"]
    out += [
        f'<th scope="col"><span class="h">{html.escape(name)}</span>'
        f'<span class="u">{html.escape(unit)}</span></th>'
        for name, unit in head
    ]
    out.append("</tr></thead><tbody>")
    for number, point in front:
        names = point["n"][0]
        more = [NAMED.get(name, name) for name in point["n"][1:]]
        label = html.escape(names) + (
            f" <small>{html.escape(', '.join(more))}</small>" * bool(more)
        )
        place = names.rpartition("-")[2]
        order = place if place.isdigit() else number
        cells = [f'<th scope="row" data-v="{order}">{label}</th>']
        for figure, value in zip(figures, point["v"], strict=True):
            sort = "" if value is None else value
            cells.append(f'<td data-v="{sort}">{_digits(figure, value)}</td>')
            if figure["high"] and tested:
                test = point.get("t")
                cells.append(
                    f'<td data-v="{"" if test is None else test}">{_digits(figure, test)}</td>'
                )
        for k in relative:
            share = (
                None if point["v"][k] is None else point["v"][k] / figures[k]["against"]["value"]
            )
            sort, text = ("", "") if share is None else (share, f"{share:.1%}")
            cells.append(f'<td data-v="{sort}">{text}</td>')
        knobs = "".join(f"; {name} {value}" for name, value in point.get("k", {}).items())
        cells.append(
            f'<td class="g" data-v="{point["g"]}">{html.escape(_grouped(point["g"]) + knobs)}</td>'
        )
        out.append(f'<tr data-i="{number}">{"".join(cells)}</tr>')
    return "\n".join([*out, "</tbody>"])


def command_of(data: Document, point: Document) -> str:
    """The command that emits the hardware of a point of :func:`collect`."""
    genome = point.get("c") or ",".join(point["g"])
    return f"{data['emit']}{genome}{data['suffixes'][point.get('s', 0)]}"


def page(data: Document) -> str:
    """The HTML page of what :func:`collect` gathered; it loads nothing."""
    template = (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    notes = [*data["notes"], *([data["cells_note"]] if data["cells_note"] else [])]
    shown_data = data | {
        "points": [
            point | {"c": command_of(data, point)} if point.get("n") else point
            for point in data["points"]
        ]
    }
    parts = {
        "title": html.escape(f"{data['task']}: {data['run']}"),
        "run": html.escape(data["run"]),
        "task": html.escape(data["task"]),
        "header": _header(data),
        "command": html.escape(data["command"]),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in notes),
        "table": _table(data),
        "data": _embedded(shown_data),
    }
    # In one pass, so that what a name holds is never taken for a place of the template.
    text = re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], template)
    # A folder's name may hold bytes that are no text.
    return text.encode(errors="replace").decode()


def write_report(
    folder: str | Path,
    beside: Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    pictures: bool = True,
    cells: bool = True,
    say: Say = lambda text: None,
) -> tuple[Path, list[Path], list[str]]:
    """Write the page about the run in `folder` (``report.html`` in it, or `out`) and PNG files
    beside it; the page, the pictures, and what there is to say.

    Nothing is written before all of it is made. Raises :class:`InputError` as :func:`collect`, and,
    before anything is measured, for a place that cannot be written.
    """
    target = Path(out) if out else Path(folder) / "report.html"
    # The page of another place shall not overwrite the pictures of a page beside it.
    place = target.parent / ("pictures" if not out else f"{target.stem}-pictures")
    document = read_config(Path(folder))
    for path in (target, place / "front.png") if pictures else (target,):
        check_place(path)
    data = collect(folder, beside, cells=cells, say=say, document=document)
    text = page(data)
    drawn: dict[str, bytes] = {}
    notes = [*data["notes"], *([data["cells_note"]] if data["cells_note"] else [])]
    if pictures:
        say("Pictures")
        from .pictures import draw

        try:
            drawn = draw(data)
        except ImportError:
            notes.append(
                "No pictures: matplotlib is not installed; pip install 'genogate[search]'."
            )
    write_text(target, text)
    for name, image in drawn.items():
        write_bytes(place / name, image)
    return target, [place / name for name in drawn], notes
