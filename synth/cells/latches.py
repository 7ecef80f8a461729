"""Register files of latches: memories that are written, mapped to a latch for each bit.

A word is written in the cycle after the one in which it is given. Enable, address and code go into
registers at the rising edge that ends that cycle; in the low phase after it the pulse

    pulse[word] = NOR(clk, not (enable and address == word))

opens the latches of the word, which keep the code when the clock rises. Why a pulse has no glitch:

* While the clock is high the NOR is shut, whatever its other input does. Registers change just
  after the rising edge, and the decoder settles while the clock is high, so the second input
  stands still through the low phase, if half a period is longer than register and decoder.
* At the end the clock itself shuts the gate, after the delay of one NOR; the second input changes
  a register and a decoder later, and the code a register later. So the latch closes on its old
  code; between the two leaves of the clock tree a skew below the delay of a register is harmless.
* The gate is a cell of the library that logic synthesis does not look into: nothing else is ever
  put between the clock and a latch.

Reading sees what a memory of flip-flops shows, to the cycle: the latches hold the word from the low
phase after its edge on, before the next edge at which a read port's register can look for it. A
path of half a period, from the falling edge through latch and read multiplexer to that register,
is timed by OpenSTA as any other.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from ...model.errors import InputError
from .liberty import Library

#: Name of the file with the map, and of that with the cells it instantiates.
MAP, BOXES = "latches.v", "boxes.v"
#: In place of one `synth`: memories are mapped between its two halves.
SYNTH = """read_verilog -lib boxes.v
synth {options} -run begin:fine
techmap -autoproc -map latches.v t:$mem_v2 r:WR_PORTS=1 %i
synth {options} -run fine:check
delete {boxes}
"""

#: The map, with the names of cells and pins to be filled in.
MAP_TEXT = """(* techmap_celltype = "$mem_v2" *)
module latches (RD_CLK, RD_EN, RD_ARST, RD_SRST, RD_ADDR, RD_DATA, WR_CLK, WR_EN, WR_ADDR, WR_DATA);
  parameter MEMID = "", SIZE = 2, OFFSET = 0, ABITS = 1, WIDTH = 1;
  parameter signed INIT = 1'bx;
  parameter RD_PORTS = 1, RD_CLK_ENABLE = 1, RD_CLK_POLARITY = 1, RD_TRANSPARENCY_MASK = 0;
  parameter RD_COLLISION_X_MASK = 0, RD_WIDE_CONTINUATION = 0, RD_CE_OVER_SRST = 0;
  parameter RD_ARST_VALUE = 0, RD_SRST_VALUE = 0, RD_INIT_VALUE = 0;
  parameter WR_PORTS = 1, WR_CLK_ENABLE = 1, WR_CLK_POLARITY = 1, WR_PRIORITY_MASK = 0;
  parameter WR_WIDE_CONTINUATION = 0;
  // Bits of the enable that are the same net have the same number.
  parameter _TECHMAP_BITS_CONNMAP_ = 1;
  parameter [WIDTH*_TECHMAP_BITS_CONNMAP_-1:0] _TECHMAP_CONNMAP_WR_EN_ = 0;
  input RD_CLK, RD_EN, RD_ARST, RD_SRST, WR_CLK;
  input [ABITS-1:0] RD_ADDR, WR_ADDR;
  output reg [WIDTH-1:0] RD_DATA;
  input [WIDTH-1:0] WR_EN, WR_DATA;
  wire _TECHMAP_FAIL_ = RD_PORTS != 1 || WR_PORTS != 1 || RD_CLK_ENABLE != 1 ||
    WR_CLK_ENABLE != 1 || RD_CLK_POLARITY != 1 || WR_CLK_POLARITY != 1 ||
    RD_TRANSPARENCY_MASK != 0 || OFFSET != 0;
  reg [ABITS-1:0] address;
  reg [WIDTH-1:0] enable, code;
  always @(posedge WR_CLK) begin
    enable <= WR_EN;
    {hold}begin address <= WR_ADDR; code <= WR_DATA; end
  end
  function integer leader(input integer bit);
    integer k;
    begin
      leader = bit;
      for (k = bit - 1; k >= 0; k = k - 1)
        if (_TECHMAP_CONNMAP_WR_EN_[k*_TECHMAP_BITS_CONNMAP_ +: _TECHMAP_BITS_CONNMAP_] ==
            _TECHMAP_CONNMAP_WR_EN_[bit*_TECHMAP_BITS_CONNMAP_ +: _TECHMAP_BITS_CONNMAP_])
          leader = k;
    end
  endfunction
  wire [SIZE-1:0] pulse [0:WIDTH-1];
  wire [(1 << ABITS)-1:0] column [0:WIDTH-1];
  genvar word, bit;
  generate
    for (bit = 0; bit < WIDTH; bit = bit + 1) begin : of_bit
      localparam LEADER = leader(bit);
      for (word = 0; word < SIZE; word = word + 1) begin : of_word
        if (LEADER == bit)
          {gate} gate (.{gate_a}(WR_CLK), .{gate_b}(~(enable[bit] && address == word)),
            .{gate_y}(pulse[bit][word]));
        {latch} latch (.{latch_d}(code[bit]), .{latch_g}(pulse[LEADER][word]),
          .{latch_q}(column[bit][word]));
      end
      if (SIZE < 1 << ABITS)
        assign column[bit][(1 << ABITS)-1:SIZE] = {{((1 << ABITS) - SIZE){{1'bx}}}};
      always @(posedge RD_CLK) if (RD_EN) RD_DATA[bit] <= column[bit][RD_ADDR];
    end
  endgenerate
endmodule
"""


@dataclass(frozen=True)
class LatchCells:
    """The cells of register files. latch : its name; data, enable, q : its pins
    gate : a NOR of two inputs; a, b, y : its pins"""

    latch: str
    data: str
    enable: str
    q: str
    gate: str
    a: str
    b: str
    y: str

    def techmap(self, *, gated: bool) -> str:
        """The map for Yosys; `gated`: the clock of address and code stops where nothing is
        written."""
        return MAP_TEXT.format(
            hold="if (|WR_EN) " if gated else "",
            gate=self.gate,
            gate_a=self.a,
            gate_b=self.b,
            gate_y=self.y,
            latch=self.latch,
            latch_d=self.data,
            latch_g=self.enable,
            latch_q=self.q,
        )

    @property
    def boxes(self) -> str:
        """Modules without contents, so that Yosys knows the directions of their pins."""
        return (
            f"module {self.latch} (input {self.data}, input {self.enable}, output {self.q});\n"
            f"endmodule\nmodule {self.gate} (input {self.a}, input {self.b}, output {self.y});\n"
            "endmodule\n"
        )

    def synth(self, options: str) -> str:
        """Commands in place of ``synth``, which need the files :data:`MAP` and :data:`BOXES`."""
        return SYNTH.format(options=options, boxes=f"={self.latch} ={self.gate}")

    def files(self, *, gated: bool) -> dict[str, str]:
        return {MAP: self.techmap(gated=gated), BOXES: self.boxes}


@lru_cache(maxsize=4)
def latch_cells(library: Library) -> LatchCells:
    """The smallest latch, open while its enable is high, and the smallest NOR of two inputs.

    Raises :class:`InputError` where a library has none.
    """
    latches: list[tuple[float, str]] = []
    gates: list[tuple[float, str]] = []
    for name, text in library.cells.items():
        area = float((re.search(r"\barea\s*:\s*\"?([\d.eE+-]+)", text) or ["", "inf"])[1])
        if re.search(r"\blatch\s*\(", text):
            try:
                if len(library.cell(name).outputs) == 1:
                    latches.append((area, name))
            except InputError:
                continue
        elif len(re.findall(r"\bpin\s*\(", text)) == 3 and _is_nor(library, name):
            gates.append((area, name))
    if not latches or not gates:
        missing = "NOR of two inputs" if latches else "latch without clear"
        raise InputError(f"{library.source}: there is no {missing}, give --memories flops")
    latch, gate = min(latches)[1], min(gates)[1]
    cell = library.cell(latch)
    assert cell.latch is not None
    (y,) = library.cell(gate).outputs
    a, b = _inputs(library, gate)
    return LatchCells(latch, cell.latch[1], cell.latch[0], next(iter(cell.outputs)), gate, a, b, y)


def _inputs(library: Library, name: str) -> list[str]:
    (function,) = library.cell(name).outputs.values()
    return sorted({*re.findall(r"\{(\w+)\}", function)} - {"M"})


def _is_nor(library: Library, name: str) -> bool:
    try:
        cell = library.cell(name)
    except InputError:
        return False
    outputs = cell.outputs
    if len(outputs) != 1 or cell.clock or cell.latch or len(_inputs(library, name)) != 2:
        return False
    (function,) = outputs.values()
    a, b = _inputs(library, name)
    text = function.format(**{a: "a", b: "b", "M": "1"})
    # Our own expression, of names and operators alone.
    return [eval(text, {"a": k >> 1, "b": k & 1}) for k in range(4)] == [1, 0, 0, 0]
