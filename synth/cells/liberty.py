"""Finding a standard-cell library in Liberty form, and what its cells compute.

Looked for in this order: the file named by ``$GENOGATE_LIBERTY``; the SkyWater PDK under
``$PDK_ROOT``; ``$GENOGATE_DATA/pdk``; the user's cache folder. Any of them may end in ``.gz``.

Why no library reads the file: Yosys must get the vendor's own text without the groups that mapping
does not need, byte for byte, since measured areas are kept by its hash, and ``liberty-parser``
(0.0.29) writes a text of its own; it takes 4.5 s for sky130's cells, this file 0.4 s; and a library
without a flip-flop, or one that was cut off, would still have to be refused here. Its functions of
cells and ours agree on all 328 outputs of sky130's combinational cells.
"""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from ...model.errors import InputError
from ..cache import folder

#: The typical corner of SkyWater's high-density cells: 25 C, 1.8 V.
NAME = "sky130_fd_sc_hd__tt_025C_1v80.lib"
#: The attribute by which a library marks its clock gates.
CLOCK_GATE = "clock_gating_integrated_cell"
_PDK = Path("sky130A", "libs.ref", "sky130_fd_sc_hd", "lib", NAME)
_REMEDY = "set GENOGATE_LIBERTY to a Liberty file, or PDK_ROOT to an installed sky130 PDK"

_BRACE = re.compile(r"/\*.*?\*/|[{}]", re.DOTALL)
_HEAD = re.compile(r"(\w+)\s*\(([^()]*)\)\s*$")
#: Groups that neither mapping nor a cell's function needs: two fifths of the text.
_UNUSED = {"internal_power", "leakage_power", "pg_pin", "test_cell"}
#: Cells that isolate, shift levels or probe: they compute, but belong between power domains.
_SPECIAL = re.compile(r"lpflow_|probe")


@dataclass(frozen=True)
class Cell:
    """What a cell computes. Functions are Python expressions over ``{pin}``, bitwise on integers
    whose bits are independent cases, ``{M}`` for all ones.

    outputs : output pin -> expression; those of a flip-flop may use ``{state}``
    clock, next_state : of a flip-flop that a rising edge clocks, else None
    enable, gated : of a clock gate: the pin that enables it, and the clock that comes out
    latch : of a latch: the pin that opens it while high, and its data; outputs may use ``{state}``
    """

    outputs: Mapping[str, str]
    clock: str | None = None
    next_state: str | None = None
    enable: str | None = None
    gated: str | None = None
    latch: tuple[str, str] | None = None


@dataclass(frozen=True)
class Library:
    """A Liberty file that was read and looks sound.

    source : what to call it in messages
    text : all of it
    """

    source: str
    text: str = field(repr=False)

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the text's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def name(self) -> str:
        """The library's own name."""
        return re.search(r'library\s*\(\s*"?([^")]*?)"?\s*\)', self.text)[1]  # type: ignore[index]

    @cached_property
    def for_synthesis(self) -> str:
        """The text without power tables, and without cells that stand between power domains."""
        return self._parts[0]

    @cached_property
    def _parts(self) -> tuple[str, dict[str, str]]:
        """:attr:`for_synthesis`, and the insides of its cells by name."""
        blocks: list[str] = []
        cells: dict[str, str] = {}
        position, skipped, name, first = 0, None, "", 0
        for depth, head, start, end in _groups(self.text):
            if skipped is not None:
                if head is None and skipped == depth:
                    position, skipped = end, None
            elif head is None:
                if depth == 1 and name:
                    blocks.append(self.text[position:start])
                    position = start
                    cells[name], name = "".join(blocks[first:]), ""
            elif head[0] in _UNUSED or (head[0] == "cell" and _SPECIAL.search(head[1])):
                blocks.append(self.text[position:start])
                skipped = depth
            elif head[0] == "cell":
                blocks.append(self.text[position:end])
                position, name, first = end, head[1], len(blocks)
        return "".join([*blocks, self.text[position:]]), cells

    def __contains__(self, cell: str) -> bool:
        return cell in self._parts[1]

    @property
    def cells(self) -> Mapping[str, str]:
        """Text of every cell by name."""
        return self._parts[1]

    @lru_cache  # noqa: B019 - libraries are few and live as long as the process
    def cell(self, name: str) -> Cell:
        """What cell `name` computes. Raises :class:`InputError` for cells it cannot be said of."""
        return _cell(name, self._parts[1][name])

    def clock_pin(self, name: str) -> str:
        """The pin by which the clock enters clock gate `name`."""
        pins = re.findall(r"\bpin\s*\(\s*\"?(\w+)", self._parts[1][name])
        gate = self.cell(name)
        first = r'\bpin\s*\(\s*"?{}"?\s*\)(?:(?!\bpin\s*\().)*?\bclock_gate_clock_pin'
        for pin in pins:
            if re.search(first.format(pin), self._parts[1][name], re.DOTALL):
                return pin
        raise InputError(f"cell {name}: no pin of its clock is named, {gate.gated} stays unknown")

    def __hash__(self) -> int:
        return hash(self.hash)


def _groups(text: str) -> Iterator[tuple[int, tuple[str, str] | None, int, int]]:
    """(depth, (kind, name) or None for an end, start, end) of every group's head and end, in order;
    the first, at depth 0, is the outermost."""
    depth = last = 0
    for match in _BRACE.finditer(text):
        if match[0] == "}":
            depth -= 1
            yield depth, None, match.start(), match.end()
        elif match[0] == "{":
            first = max(last, match.start() - 200)
            head = _HEAD.search(text[first : match.start()])
            if head:
                yield depth, (head[1], head[2].strip(' "')), first + head.start(), match.end()
            else:
                yield depth, ("", ""), match.start(), match.end()
            depth += 1
        last = match.end()


def _attribute(text: str, name: str) -> str | None:
    match = re.search(rf'\b{name}\s*:\s*"?([^";]*?)"?\s*;', text)
    return match[1].strip() if match else None


def _cell(name: str, text: str) -> Cell:
    pins: dict[str, str] = {}
    state: tuple[str, str] | None = None
    pin, first, opens = "", 0, False
    for depth, head, start, end in _groups(text):
        if depth == 0 and head and head[0] == "pin":
            pin, first = head[1], end
        elif depth == 0 and head and head[0] in ("ff", "latch"):
            state, first, opens = (head[1], ""), end, head[0] == "latch"
        elif depth == 0 and head and head[0] in ("bus", "bundle", "ff_bank", "latch_bank"):
            raise InputError(f"cell {name}: a {head[0]} is not simulated")
        elif depth == 0 and head is None:
            if pin:
                pins[pin], pin = text[first:start], ""
            elif state and not state[1]:
                state = state[0], text[first:start]
    gate = _attribute(text, CLOCK_GATE)
    if gate:
        (enable,) = (p for p, t in pins.items() if _attribute(t, "clock_gate_enable_pin"))
        (gated,) = (p for p, t in pins.items() if _attribute(t, "clock_gate_out_pin"))
        return Cell({}, enable=enable, gated=gated)
    names, clock, next_state = {p: f"{{{p}}}" for p in pins}, None, None
    latch = None
    if state and opens:
        variables = [v.strip(' "') for v in state[0].split(",")]
        opening, data = _attribute(state[1], "enable"), _attribute(state[1], "data_in")
        if opening not in pins or data not in pins or re.search(r"\b(clear|preset)\s*:", state[1]):
            raise InputError(f"cell {name}: this latch is not simulated")
        names |= {variables[0]: "{state}"} | dict.fromkeys(variables[1:], "({M}^{state})")
        latch = (opening, data)
    elif state:
        variables = [v.strip(' "') for v in state[0].split(",")]
        clock, following = _attribute(state[1], "clocked_on"), _attribute(state[1], "next_state")
        if clock not in pins or not following or re.search(r"\b(clear|preset)\s*:", state[1]):
            raise InputError(f"cell {name}: this flip-flop is not simulated")
        names |= {variables[0]: "{state}"} | dict.fromkeys(variables[1:], "({M}^{state})")
        next_state = expression(following, names)
    outputs = {
        p: expression(function, names)
        for p, t in pins.items()
        if _attribute(t, "direction") == "output" and (function := _attribute(t, "function"))
    }
    return Cell(outputs, clock, next_state, latch=latch)


def expression(function: str, names: Mapping[str, str]) -> str:
    """A Liberty function as a Python expression: ``! '`` not, ``& *`` or nothing and, ``^``,
    ``| +`` or, in falling precedence. Raises :class:`InputError` where it is none."""
    tokens = re.findall(r"[A-Za-z_]\w*|[01()!'&*^|+]|\S", function)[::-1]

    def fail() -> InputError:
        return InputError(f"Liberty function {function!r}: it cannot be read")

    def atom() -> str:
        token = tokens.pop() if tokens else ""
        if token == "(":
            value = binary(0)
            if not tokens or tokens.pop() != ")":
                raise fail()
        elif token == "!":
            return f"({{M}}^{atom()})"
        elif token in names:
            value = names[token]
        elif token in ("0", "1"):
            value = "{M}" if token == "1" else "0"
        else:
            raise fail()
        while tokens and tokens[-1] == "'":
            tokens.pop()
            value = f"({{M}}^{value})"
        return value

    def binary(level: int) -> str:
        if level == 3:
            return atom()
        # Xor binds closest, then and, then or.
        signs, sign = (("|+", "|"), ("&*", "&"), ("^", "^"))[level]
        terms = [binary(level + 1)]
        while tokens and (tokens[-1] in signs or (level == 1 and tokens[-1] not in ")|+^'")):
            if tokens[-1] in signs:
                tokens.pop()
            terms.append(binary(level + 1))
        return f"({sign.join(terms)})" if len(terms) > 1 else terms[0]

    value = binary(0)
    if tokens:
        raise fail()
    return value


def _read(path: Path, source: str) -> Library:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: {error.strerror or error}; {_REMEDY}") from None
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        raise InputError(f"{source}: damaged, or not a Liberty file; {_REMEDY}") from None
    if not re.match(r"(?:\s|/\*.*?\*/)*library\s*\(", text, re.DOTALL):
        raise InputError(f"{source}: not a Liberty file, it has no library (...); {_REMEDY}")
    if not text.rstrip().endswith("}") or text.count("{") != text.count("}"):
        raise InputError(f"{source}: cut off, a brace is not closed; {_REMEDY}")
    for what, pattern in (
        ("cell", r"\bcell\s*\("),
        ("flip-flop", r"\bff\s*\("),
        ("area", r"\barea\s*:"),
    ):
        if not re.search(pattern, text):
            raise InputError(f"{source}: a Liberty file without any {what}; {_REMEDY}")
    return Library(source, text)


@lru_cache(maxsize=2)
def _known(path: str, source: str, modified: int) -> Library:
    return _read(Path(path), source)


def _places() -> Iterator[Path]:
    for variable, tail in (("PDK_ROOT", _PDK), ("GENOGATE_DATA", Path("pdk", NAME))):
        if os.environ.get(variable):
            yield Path(os.environ[variable], tail)
    yield folder() / NAME


def find(path: str | os.PathLike[str] | None = None) -> Library:
    """The library in `path`, else in one of the places at the head of this file.

    Raises :class:`InputError` when there is none, or it is damaged or no Liberty file.
    """
    named = os.environ.get("GENOGATE_LIBERTY")
    if path is not None or named:
        file = Path(path if path is not None else str(named))
        source = str(file) if path is not None else f"GENOGATE_LIBERTY={named}"
        if file.is_dir():
            raise InputError(f"{source}: a folder, a Liberty file is needed; {_REMEDY}")
        if not file.is_file():
            raise InputError(f"{source}: no such file; {_REMEDY}")
    else:
        candidates = (
            p for place in _places() for p in (place, place.with_name(f"{place.name}.gz"))
        )
        file = next((p for p in candidates if p.is_file()), None)  # type: ignore[assignment]
        if file is None:
            raise InputError(f"no standard-cell library found: {_REMEDY}")
        source = str(file)
    return _known(str(file), source, file.stat().st_mtime_ns)
