"""Register files of latches as Verilog, for flows that synthesise the source themselves.

The circuit is that of :mod:`.latches`, which Yosys makes here by a map; its argument why no pulse
has a glitch holds for this one too, since latch and gate are cells that no flow looks into.
"""

import re
from collections.abc import Iterator

from ..rtlil import Design, Module, memory_sizes
from .latches import LatchCells

_WIRE = re.compile(r"  wire width (\d+) .*?(\\\S+)$")
_PIECE = re.compile(r"(\\\S+|\$\S+)(?: \[(\d+)(?::(\d+))?\])?")
#: Ports of the module, and which of the memory's cells has what they are connected to.
_PORTS = {
    "clk": ("memwr", "CLK"),
    "write": ("memwr", "EN"),
    "write_address": ("memwr", "ADDR"),
    "code": ("memwr", "DATA"),
    "read": ("memrd", "EN"),
    "read_address": ("memrd", "ADDR"),
    "data": ("memrd", "DATA"),
}
_TEXT = """module \\{name} (input clk, input [{w}:0] write, input [{a}:0] write_address,
    input [{w}:0] code, input read, input [{a}:0] read_address, output reg [{w}:0] data);
  reg [{a}:0] address;
  reg [{w}:0] enable, held;
  always @(posedge clk) begin
    enable <= write;
    if (|write) begin address <= write_address; held <= code; end
  end
  wire [{w}:0] words [0:{last}];
  always @(posedge clk) if (read) data <= words[read_address];
"""


def _bits(value: str, widths: dict[str, int]) -> list[str]:
    """Bits of a signal in RTLIL, the lowest first; equal ones are the same net."""
    bits: list[str] = []
    for name, high, low in _PIECE.findall(value):
        top = int(high) if high else widths.get(name, 1) - 1
        bottom = int(low) if low else (int(high) if high else 0)
        bits += [f"{name}[{k}]" for k in range(top, bottom - 1, -1)]
    return bits[::-1]


def _written(module: Module) -> dict[str, dict[str, str]] | None:
    """What a memory's cells are connected to, where one port writes it and one reads it."""
    ports: dict[str, dict[str, str]] = {}
    kind = ""
    for line in module.lines:
        if line.startswith("  cell $mem"):
            kind = line.split()[1].removeprefix("$").removesuffix("_v2")
            if kind in ports:
                return None
            ports[kind] = {}
        elif line == "  end":
            kind = ""
        elif kind and line.startswith("    connect "):
            _, port, value = line.split(maxsplit=2)
            ports[kind][port[1:]] = value
    return ports if {"memwr", "memrd"} <= set(ports) else None


def _verilog(name: str, words: int, width: int, leaders: list[int], cells: LatchCells) -> str:
    """The module. leaders : for every bit the lowest one with the same enable"""
    address = max(1, (words - 1).bit_length()) - 1
    lines = [_TEXT.format(name=name, w=width - 1, a=address, last=words - 1).rstrip()]
    for word in range(words):
        for bit in sorted(set(leaders)):
            lines.append(
                f"  wire pulse_{word}_{bit};\n  {cells.gate} gate_{word}_{bit} (.{cells.a}(clk), "
                f".{cells.b}(~(enable[{bit}] && address == {word})), "
                f".{cells.y}(pulse_{word}_{bit}));"
            )
        for bit, leader in enumerate(leaders):
            lines.append(
                f"  {cells.latch} latch_{word}_{bit} (.{cells.data}(held[{bit}]), "
                f".{cells.enable}(pulse_{word}_{leader}), .{cells.q}(words[{word}][{bit}]));"
            )
    return "\n".join([*lines, "endmodule", ""])


def _instead(
    module: Module, name: str, ports: dict[str, dict[str, str]], one: bool
) -> Iterator[str]:
    """The lines of a memory's module with an instance in place of the memory."""
    inside = False
    for line in module.lines:
        if line.startswith("  cell $mem"):
            inside = True
        if line == "end":
            yield f"  cell \\{name} \\latches"
            for port, (kind, role) in _PORTS.items():
                # An address of one word has no bit.
                value = "1'0" if one and role == "ADDR" else ports[kind][role]
                yield f"    connect \\{port} {value}"
            yield "  end"
        if not inside and not line.startswith("  memory "):
            yield line
        if line == "  end":
            inside = False


def as_latches(text: str, cells: LatchCells) -> tuple[str, str]:
    """RTLIL `text` with an instance in place of each memory that is written, and the modules of
    these as Verilog, "" where there is none."""
    modules = []
    for module in Design(text).modules.values():
        sizes = memory_sizes(module.lines)
        ports = _written(module)
        if len(sizes) != 1 or ports is None:
            continue
        words, width = sizes[0]
        widths = {m[2]: int(m[1]) for line in module.lines if (m := _WIRE.match(line))}
        enables = _bits(ports["memwr"]["EN"], widths)
        leaders = [enables.index(bit) for bit in enables]
        name = f"{module.name[1:]}.latches"
        modules.append(_verilog(name, words, width, leaders, cells))
        lines = "\n".join(_instead(module, name, ports, words == 1))
        text = text.replace("\n".join(module.lines), lines, 1)
    return text, "\n".join(modules)
