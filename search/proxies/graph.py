"""Pictures of a proxy's graph: inputs at the top, what is made of them below, the score at the end.

As SVG, written by hand so that it needs no library, and as DOT for Graphviz.
"""

from html import escape
from pathlib import Path

from ...model.errors import InputError
from ...model.files import write_text
from .formula import Proxy
from .inputs import SYMBOLS
from .primitives import PRIMITIVES

#: Colours of inputs and of the kinds of primitives, told apart by colour-blind readers too.
COLOURS = {
    "input": "#56B4E9",
    "elementwise": "#F0F0F0",
    "within": "#E3D3EA",
    "reduce": "#F5C767",
    "across": "#8FD3B6",
    "score": "#FFFFFF",
}
_WIDTH, _HEIGHT, _GAP, _RISE = 104, 28, 18, 34


def _labels(proxy: Proxy) -> list[tuple[str, str]]:
    """Label and kind of every node, and of the score."""
    labels = []
    for node in proxy.nodes:
        if node.arguments:
            labels.append((node.name, PRIMITIVES[node.name].kind))
        else:
            plain = node.name.removeprefix("bits*")
            labels.append((("b*" if plain != node.name else "") + SYMBOLS[plain], "input"))
    return [*labels, ("score", "score")]


def _edges(proxy: Proxy) -> list[tuple[int, int]]:
    edges = [(k, place) for place, node in enumerate(proxy.nodes) for k in node.arguments]
    return [*edges, (len(proxy.nodes) - 1, len(proxy.nodes))]


def dot(proxy: Proxy) -> str:
    """The graph for Graphviz."""
    lines = ["digraph proxy {", "  node [shape=box, style=filled, fontname=sans];"]
    for place, (label, kind) in enumerate(_labels(proxy)):
        lines.append(f'  n{place} [label="{label}", fillcolor="{COLOURS[kind]}"];')
    lines += [f"  n{start} -> n{end};" for start, end in _edges(proxy)]
    return "\n".join([*lines, "}"]) + "\n"


def _places(proxy: Proxy) -> list[tuple[int, float]]:
    """Row and column of every node: below all that it reads, and near the middle of it."""
    rows: list[int] = []
    for node in proxy.nodes:
        rows.append(1 + max((rows[k] for k in node.arguments), default=-1))
    # An input stands right above what reads it first.
    for place, node in enumerate(proxy.nodes):
        if not node.arguments:
            readers = [rows[end] for start, end in _edges(proxy)[:-1] if start == place]
            rows[place] = min(readers, default=1) - 1
    rows.append(max(rows) + 1)
    columns = [0.0] * len(rows)
    used: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        used.setdefault(row, []).append(place)
    above: dict[int, list[int]] = {}
    for start, end in _edges(proxy):
        above.setdefault(end, []).append(start)
    for row in sorted(used):
        ideal = {
            place: sum(columns[k] for k in above[place]) / len(above[place])
            if place in above
            else float(number)
            for number, place in enumerate(used[row])
        }
        taken = float("-inf")
        for place in sorted(used[row], key=lambda place: (ideal[place], place)):
            columns[place] = taken = max(ideal[place], taken + 1)
    return list(zip(rows, columns, strict=True))


def svg(proxy: Proxy) -> str:
    """The graph as SVG, with the formula as its title."""
    places = _places(proxy)
    across = max(column for _, column in places) + 1
    width = round(across * (_WIDTH + _GAP) + _GAP)
    height = (places[-1][0] + 1) * (_HEIGHT + _RISE) - _RISE + 2 * _GAP
    at = [
        (_GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _RISE)) for row, column in places
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(proxy.formula)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    seen: dict[tuple[int, int], int] = {}
    for start, end in _edges(proxy):
        # Two edges between the same nodes run side by side.
        aside = 16 * seen.get((start, end), 0)
        seen[start, end] = seen.get((start, end), 0) + 1
        x, y = at[start][0] + _WIDTH / 2 + aside, at[start][1] + _HEIGHT
        to_x, to_y = at[end][0] + _WIDTH / 2 + aside, at[end][1]
        bend = (to_y - y) / 2
        lines.append(
            f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}" '
            'fill="none" stroke="#555" marker-end="url(#tip)"/>'
        )
    for (x, y), (label, kind) in zip(at, _labels(proxy), strict=True):
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
            f'fill="{COLOURS[kind]}" stroke="#555"/>'
            f'<text x="{x + _WIDTH / 2:g}" y="{y + _HEIGHT / 2 + 4.5:g}" text-anchor="middle">'
            f"{escape(label)}</text>"
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def write(proxy: Proxy, path: str | Path) -> None:
    """Write the picture, SVG or DOT by the name of the file. Raises :class:`InputError` for
    another name, and where it cannot be written."""
    kinds = {".svg": svg, ".dot": dot}
    suffix = Path(path).suffix.lower()
    if suffix not in kinds:
        raise InputError(f"{path}: a graph is written as .svg or .dot")
    write_text(path, kinds[suffix](proxy))
