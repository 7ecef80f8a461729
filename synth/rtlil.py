"""RTLIL text as Amaranth writes it: cut into modules, and made comparable.

Only Amaranth's own writing is read here, line by line; what Yosys writes is read as JSON.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

_NAME = re.compile(r"[\\$][^\s]+")
_PORT = re.compile(r"  wire .*(input|output|inout) \d")
_INSTANCE = re.compile(r"\s*cell (\\\S+) (\S+)")
_SIZE = re.compile(r"  memory width (\d+) size (\d+)")
#: Attributes that mean something to synthesis; the rest says where things came from.
_KEPT = ("init", "keep", "blackbox")


@dataclass(frozen=True)
class Module:
    """One module: its name (with backslash) and its lines, ``module`` and ``end`` included."""

    name: str
    lines: tuple[str, ...]

    @cached_property
    def instances(self) -> tuple[tuple[str, str], ...]:
        """(module, cell name) of every submodule, names with backslash."""
        matches = (_INSTANCE.match(line) for line in self.lines)
        return tuple((match[1], match[2]) for match in matches if match)

    @property
    def stub(self) -> list[str]:
        """A module with the same ports and nothing in it, which synthesis leaves alone."""
        ports = [line for line in self.lines if _PORT.match(line)]
        return ["attribute \\blackbox 1", self.lines[0], *ports, "end"]


class Design:
    """The modules of one RTLIL text by name; `top` is the first."""

    def __init__(self, text: str) -> None:
        self.modules: dict[str, Module] = {}
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("module "):
                lines = [line]
            elif lines:
                lines.append(line)
                if line == "end":
                    name = lines[0].split()[1]
                    self.modules[name] = Module(name, tuple(lines))
                    lines = []
        self.top = next(iter(self.modules))

    def below(self, name: str) -> Iterator[str]:
        """`name` and every module under it, each once."""
        seen = {name: None}
        todo = [name]
        while todo:
            for child, _ in self.modules[todo.pop()].instances:
                if child not in seen:
                    seen[child] = None
                    todo.append(child)
        return iter(seen)

    def unit(self, name: str, outside: Collection[str] = (), *, contents: bool = False) -> str:
        """Comparable RTLIL of module `name` with everything below it; top module ``\\top``.

        Modules named in `outside` stay black boxes: ports, and nothing in them. With `contents`
        memories keep what they hold.
        """
        lines: list[str] = []
        seen, todo = {name}, [name]
        while todo:
            module = self.modules[todo.pop()]
            if module.name in outside:
                lines += module.stub
                continue
            lines += module.lines
            for child, _ in module.instances:
                if child not in seen:
                    seen.add(child)
                    todo.append(child)
        return comparable(lines, name, contents=contents)


def memory_sizes(lines: Iterable[str]) -> list[tuple[int, int]]:
    """(words, width) of every memory that these lines declare."""
    matches = (_SIZE.match(line) for line in lines)
    return [(int(match[2]), int(match[1])) for match in matches if match]


def is_written(lines: Iterable[str]) -> bool:
    """Whether a port in these lines writes a memory."""
    return any(line.startswith("  cell $memwr") for line in lines)


def comparable(lines: Collection[str], top: str, *, contents: bool = False) -> str:
    """The same modules with names that only tell positions, without sources and memory contents.

    Equal circuits that Amaranth named differently become equal text. What a memory holds never
    touches logic, because memories are not taken apart, so it is left out too: weights do not
    make modules different. A target that makes logic of memories needs it: `contents` keeps it.
    """
    names = {top: "\\top"}

    def rename(match: re.Match[str]) -> str:
        name = match[0]
        if name not in names:
            names[name] = f"\\n{len(names)}"
        return names[name]

    out: list[str] = []
    builtin = dropped = False
    for line in lines:
        words = line.split(maxsplit=2)
        if not words:
            continue
        kind = words[0]
        if dropped:
            dropped = kind != "end"
        elif kind == "attribute":
            if words[1][1:] in _KEPT:
                out.append(line)
        elif kind == "cell":
            if words[1].startswith("$meminit") and not contents:
                dropped = True
                continue
            builtin = words[1].startswith("$")
            cell = words[1] if builtin else rename(re.match(_NAME, words[1]))  # type: ignore[arg-type]
            out.append(f"  cell {cell} {_NAME.sub(rename, words[2])}")
        elif kind == "parameter":
            if words[1] == "\\MEMID":
                # Written as a string, in which a backslash is doubled.
                name = names.setdefault(words[2].strip('"')[1:], f"\\n{len(names)}")
                line = f'    parameter \\MEMID "\\{name}"'
            out.append(line)
        elif kind == "connect" and builtin and line.startswith("    "):
            out.append(f"    connect {words[1]} {_NAME.sub(rename, words[2])}")
        else:
            out.append(_NAME.sub(rename, line))
    return "\n".join(out) + "\n"


def whole(text: str) -> str:
    """Comparable RTLIL of the top module of `text` with everything below it."""
    design = Design(text)
    return design.unit(design.top)
