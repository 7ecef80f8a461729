"""Constants as logic: read-only memories in a form that takes less area than multiplexers.

Yosys makes a tree of multiplexers of a ROM. Here the address is split into a column, its low bits,
and a row. The lines of the decoded columns are exclusive, so bit b of row r is the OR of the
columns in which it is 1, and the rows are selected by a multiplexer. A few rows together (a group)
need at most 2**rows different sets of columns: the columns of each set are gathered by one OR, and
the ORs of all rows are made of these, the last row first, halving the sets each time. This is the
method of the Four Russians for products of Boolean matrices (Arlazarov, Dinic, Kronrod and
Faradzhev, 1970), or Lupanov's representation of Boolean functions (1958), for logic gates.

Rows of all bits of a word stand together, so that bits that depend on each other share sets.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..recipes import ABC_SCRIPT
from ..rtlil import Design, Module, is_written, memory_sizes

#: Goes into the keys of measurements: another text of a ROM, or another choice, another number.
VERSION = 2
#: Bits below which a ROM stays what Yosys makes of it.
LEAST = 1024
#: Rows of a group, and bits of a column, that are tried.
_GROUPS, _COLUMNS = range(2, 9), range(3, 13)
#: A group that is good where the estimate is not.
USUAL = 4
#: um^2 of a column's decoder, of an input of an OR, of an OR of two sets, and of a row and bit,
#: fitted to 15 ROMs on sky130; only the order of layouts depends on it.
_DECODER, _INPUT, _PAIR, _ROW = 6.0, 2.2, 7.1, 3.0
#: ABC's commands for a ROM alone: area counts, and there is time.
ABC = ABC_SCRIPT.removesuffix("&nf\n&put\n") + "&nf -R 100 -F 100\n&put\n"
_CONTENTS = re.compile(r"connect \\DATA \d+'([01]+)$")
#: Ports of :func:`verilog`, and of Yosys' cell that reads a memory.
_ROLES = {"clk": "CLK", "address": "ADDR", "enable": "EN", "data": "DATA"}


@dataclass(frozen=True)
class Layout:
    """How a ROM is written. columns : bits of the address that count columns
    group : rows that share ORs"""

    columns: int
    group: int


@dataclass(frozen=True)
class Contents:
    """What a ROM holds. words : of `width` bits, at least one"""

    words: tuple[int, ...]
    width: int

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Contents | None":
        """Read from a module of RTLIL that is a :class:`~...hdl.memories.Rom` with its contents;
        None for any other."""
        sizes = memory_sizes(lines)
        data = [match[1] for line in lines if (match := _CONTENTS.search(line))]
        if len(sizes) != 1 or len(data) != 1 or is_written(lines):
            return None
        size, width = sizes[0]
        bits = data[0]
        if len(bits) != width * size:
            return None
        starts = range(len(bits) - width, -1, -width)
        return cls(tuple(int(bits[at : at + width], 2) for at in starts), width)

    @property
    def bits(self) -> int:
        return len(self.words) * self.width

    def rows(self, columns: int) -> list[list[int]]:
        """Bit b of word ``r << columns | c`` is ``[r * width + b][c]``; 0 past the last word."""
        size = 1 << columns
        count = -(-len(self.words) // size)
        words = [*self.words, *[0] * (count * size - len(self.words))]
        return [
            [word >> bit & 1 for word in words[row * size : (row + 1) * size]]
            for row in range(count)
            for bit in range(self.width)
        ]


@dataclass
class _Gathered:
    """ORs of a group of rows. sets : the rows that have a column, as bits, and such columns
    pairs : (set, of which two) made after each other; terms : sets that a row is the OR of"""

    sets: dict[int, list[int]]
    pairs: list[tuple[int, int]]
    terms: list[list[int]]


def _gathered(rows: Sequence[Sequence[int]]) -> _Gathered:
    sets: dict[int, list[int]] = {}
    for column, bits in enumerate(zip(*rows, strict=True)):
        pattern = sum(bit << k for k, bit in enumerate(bits))
        if pattern:
            sets.setdefault(pattern, []).append(column)
    group = _Gathered(sets, [], [[] for _ in rows])
    left = dict.fromkeys(sets)
    for row in reversed(range(len(rows))):
        having = [pattern for pattern in left if pattern >> row & 1]
        group.terms[row] = having
        for pattern in having:
            del left[pattern]
            rest = pattern & ~(1 << row)
            if rest:
                # Where the rest is a set of its own both have it from here on.
                group.pairs.append((rest, pattern))
                left[rest] = None
    return group


def _groups(rows: Sequence[Sequence[int]], size: int) -> Iterator[_Gathered]:
    for start in range(0, len(rows), size):
        yield _gathered(rows[start : start + size])


def _estimate(contents: Contents, layout: Layout) -> float:
    """um^2, roughly."""
    rows = contents.rows(layout.columns)
    area = _DECODER * min(len(contents.words), 1 << layout.columns) + _ROW * len(rows)
    for group in _groups(rows, layout.group):
        area += _INPUT * sum(len(columns) - 1 for columns in group.sets.values())
        sets = set(group.sets)
        for rest, _ in group.pairs:
            area += _PAIR if rest in sets else 0
            sets.add(rest)
    return area


@lru_cache(maxsize=64)
def layouts(contents: Contents, count: int = 1) -> tuple[Layout, ...]:
    """The `count` numbers of columns of least estimated area, with the best group for each, and
    after these the same with groups of :data:`USUAL` rows; empty for a ROM that is too small."""
    address = max(1, (len(contents.words) - 1).bit_length())
    best: list[tuple[float, Layout]] = []
    for columns in _COLUMNS:
        if columns < address and contents.bits >> columns <= 1 << 10:
            choices = [Layout(columns, group) for group in _GROUPS]
            areas = [_estimate(contents, choice) for choice in choices]
            best.append((min(areas), choices[areas.index(min(areas))]))
    least = [layout for _, layout in sorted(best, key=lambda pair: pair[0])[:count]]
    usual = [Layout(layout.columns, USUAL) for layout in least]
    return tuple(dict.fromkeys(least + usual))


def verilog(name: str, contents: Contents, layout: Layout) -> str:
    """A module with the ports of :class:`~...hdl.memories.Rom`, and its behaviour to the cycle."""
    address = (len(contents.words) - 1).bit_length()
    columns, width = layout.columns, contents.width
    low, high = columns // 2, columns - columns // 2
    lines = [
        f"module \\{name} (input clk, input [{address - 1}:0] address, input enable,",
        f"    output reg [{width - 1}:0] data);",
    ]
    for name, bits, place in (("low", low, 0), ("high", high, low)):
        part = f"address[{place + bits - 1}:{place}]"
        lines += [f"  wire {name}{value} = {part} == {value};" for value in range(1 << bits)]
    mask = (1 << low) - 1
    for column in range(1 << columns):
        lines.append(f"  wire c{column} = low{column & mask} & high{column >> low};")
    rows = contents.rows(columns)
    row = 0
    for number, group in enumerate(_groups(rows, layout.group)):
        lines += _group_lines(f"g{number}", group, row)
        row += len(group.terms)
    count = len(rows) // width
    for bit in range(width):
        terms = ", ".join(f"r{r * width + bit}" for r in reversed(range(count)))
        lines.append(f"  wire [{count - 1}:0] rows{bit} = {{{terms}}};")
    for bit in range(width):
        select = f"[address[{address - 1}:{columns}]]" if count > 1 else ""
        lines.append(f"  always @(posedge clk) if (enable) data[{bit}] <= rows{bit}{select};")
    return "\n".join([*lines, "endmodule", ""])


def _group_lines(name: str, group: _Gathered, row: int) -> list[str]:
    """Wires of a group: its sets, their ORs, and its rows, the first of which is `row`."""
    lines, now = [], {}
    for number, (pattern, columns) in enumerate(group.sets.items()):
        now[pattern] = f"{name}_{number}"
        gathered = " | ".join(f"c{column}" for column in columns)
        lines.append(f"  wire {now[pattern]} = {gathered};")
    pairs = iter(group.pairs)
    for place in reversed(range(len(group.terms))):
        terms = group.terms[place]
        joined = " | ".join(now[pattern] for pattern in terms) or "1'b0"
        lines.append(f"  wire r{row + place} = {joined};")
        for pattern in terms:
            if pattern == 1 << place:
                continue
            rest, _ = next(pairs)
            if rest in now:
                wire = f"{name}_{len(now)}_{place}_{rest}"
                lines.append(f"  wire {wire} = {now[rest]} | {now[pattern]};")
                now[rest] = wire
            else:
                now[rest] = now[pattern]
    return lines


def grouped(text: str) -> tuple[str, str]:
    """RTLIL `text` with an instance in place of each large ROM's memory, and their modules as
    Verilog, "" where there is none."""
    written = []
    for name, module in Design(text).modules.items():
        contents = Contents.of(module.lines)
        if contents is None or contents.bits < LEAST:
            continue
        choices = layouts(contents)
        if choices:
            written.append(verilog(f"{name[1:]}.logic", contents, choices[0]))
            before = "\n".join(module.lines)
            text = text.replace(before, "\n".join(_instead(module)), 1)
    return text, "\n".join(written)


def _instead(module: Module) -> Iterator[str]:
    """The lines of a ROM's module, with an instance in place of the memory."""
    port: dict[str, str] = {}
    cell = ""
    for line in module.lines:
        if cell == "" and not line.startswith("  memory "):
            if line.startswith(("  cell $meminit", "  cell $memrd")):
                cell = line
            elif line == "end":
                yield f"  cell {module.name}.logic \\logic"
                for name, role in _ROLES.items():
                    yield f"    connect \\{name} {port[role]}"
                yield "  end"
                yield line
            else:
                yield line
        elif cell.startswith("  cell $memrd") and line.startswith("    connect "):
            _, role, value = line.split(maxsplit=2)
            port[role[1:]] = value
        if line == "  end":
            cell = ""
