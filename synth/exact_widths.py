"""RTLIL whose Verilog passes linters: exact widths, no wires of no bits, and whole cases.

Amaranth trims the sign and zero extensions of operands. Yosys prints what is left, so that the
context rules of Verilog extend it again; the result is right, and every linter warns. Here the
extensions are written out. A synthesiser trims them as Amaranth did, since the signedness of a
cell stays.
"""

import re
from collections.abc import Iterator

_CELL = re.compile(r"  cell (\$\w+) (\S+)$")
_PARAMETER = re.compile(r"    parameter \\(\w+) (\S+)$")
_NOTHING = re.compile(r" *connect \\\S+ \{ *\}$")
_EMPTY = re.compile(r"    parameter \\(Y_WIDTH|WIDTH) 0$")
_CONNECT = re.compile(r"    connect \\(\w+) (.*)$")
#: Both operands as wide as the result, modulo whose power of two it is.
_ARITHMETIC = ("$add", "$sub", "$neg")
_COMPARISONS = ("$eq", "$ne", "$lt", "$le", "$gt", "$ge")
#: The shifted operand as wide as the result.
_SHIFTS = ("$shl", "$shr", "$sshr", "$shift")


def exact_widths(text: str) -> str:
    """`text`, RTLIL as Amaranth writes it, with every operand as wide as its operator computes.

    Wires of no bits are left out, and the cells that drive them; a switch that does not name all
    values gets an empty default. The circuit stays the same.
    """
    return "\n".join(_whole_cases(_lines(iter(text.splitlines())))) + "\n"


def _whole_cases(lines: Iterator[str]) -> Iterator[str]:
    """`lines` with an empty default in each switch that leaves values out."""
    open_switches: list[tuple[str, list[str | None]]] = []
    for line in lines:
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word == "switch":
            open_switches.append((line[: -len(line.lstrip())], []))
        elif word == "case":
            patterns = re.findall(r"'([01-]+)", line)
            open_switches[-1][1].extend(patterns or [None])
        elif word == "end" and open_switches and line == open_switches[-1][0] + "end":
            indent, named = open_switches.pop()
            widths = [len(pattern) for pattern in named if pattern is not None]
            values = sum(1 << pattern.count("-") for pattern in named if pattern is not None)
            # A switch of one bit is printed as an `if`.
            if None not in named and max(widths) > 1 and values < 1 << widths[0]:
                yield f"{indent}  case"
        yield line


def _lines(lines: Iterator[str]) -> Iterator[str]:
    """`lines` with cells of exact widths and nothing of no bits."""
    attributes: list[str] = []
    new = 0
    for line in lines:
        if line.startswith("  attribute "):
            attributes.append(line)
            continue
        if line.startswith("  wire width 0 ") or _NOTHING.match(line):
            attributes = []
            continue
        yield from attributes
        attributes = []
        match = _CELL.match(line)
        if not match:
            yield line
            continue
        body = []
        for inner in lines:
            if inner == "  end":
                break
            body.append(inner)
        if any(_EMPTY.match(inner) for inner in body):
            continue
        before, cell, after = _exact(match[1], body, f"$exact${new}")
        new += 1
        yield from (*before, line, *cell, "  end", *after)


def _extended(signal: str, width: int, to: int, signed: bool) -> str:
    """A sigspec of `to` bits that holds the value of `signal`, a sigspec of `width` bits."""
    if width == to:
        return signal
    if width > to:
        return f"{signal} [{to - 1}:0]"
    top = f"{signal} [{width - 1}]" if signed else "1'0"
    return "{ " + f"{top} " * (to - width) + f"{signal} }}"


def _exact(kind: str, body: list[str], wire: str) -> tuple[list[str], list[str], list[str]]:
    """A cell's lines with exact widths, and lines of the module before and after it."""
    parameters = {m[1]: m[2] for m in map(_PARAMETER.match, body) if m}
    ports = {m[1]: m[2] for m in map(_CONNECT.match, body) if m}
    before: list[str] = []
    after: list[str] = []
    changed: tuple[str, ...]
    if kind in _ARITHMETIC:
        width, changed = int(parameters["Y_WIDTH"]), ("A", "B")
    elif kind in _COMPARISONS:
        width, changed = max(int(parameters["A_WIDTH"]), int(parameters["B_WIDTH"])), ("A", "B")
    elif kind in _SHIFTS:
        result = int(parameters["Y_WIDTH"])
        width, changed = max(int(parameters["A_WIDTH"]), result), ("A",)
        if width > result:
            before = [f"  wire width {width} {wire}"]
            after = [f"  connect {ports['Y']} {wire} [{result - 1}:0]"]
            parameters["Y_WIDTH"], ports["Y"] = str(width), wire
    else:
        return [], body, []
    for port in changed:
        if port in ports:
            had, signed = int(parameters[f"{port}_WIDTH"]), parameters[f"{port}_SIGNED"] != "0"
            ports[port] = _extended(ports[port], had, width, signed)
            parameters[f"{port}_WIDTH"] = str(width)
    return (
        before,
        [
            *(f"    parameter \\{name} {value}" for name, value in parameters.items()),
            *(f"    connect \\{name} {value}" for name, value in ports.items()),
        ],
        after,
    )
