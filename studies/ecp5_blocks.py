"""Verilog models of two blocks of ECP5 that Yosys ships none of, as far as netlists of networks use
them: a block RAM that is only read, and a multiplier, both without registers at their outputs."""

#: Words of 20 bits in a parameter of the contents, 18 of them used; and such parameters.
_SLICE, _SLICES = 16, 64


def _pins(name: str, bits: int) -> list[str]:
    return [f"{name}{bit}" for bit in reversed(range(bits))]


def _module(name: str, ports: list[str], body: list[str]) -> str:
    lines = [f"module {name}({', '.join(ports)});", *(f"  {line}" for line in body), "endmodule"]
    return "\n".join(lines) + "\n"


def block_ram() -> str:
    """``DP16KD``: port A reads at the clock's edge; nothing is written, port B gives nothing."""
    outputs = [*_pins("DOA", 18), *_pins("DOB", 18)]
    inputs = [
        pin
        for side in "AB"
        for pin in (
            *_pins(f"DI{side}", 18),
            *_pins(f"AD{side}", 14),
            *(f"{name}{side}" for name in ("CE", "OCE", "CLK", "WE", "RST")),
            *_pins(f"CS{side}", 3),
        )
    ]
    # A parameter of the module that the netlist sets, and that says nothing about a memory of
    # constants.
    texts = ("REGMODE", "CSDECODE", "WRITEMODE")
    muxes = [f"{name}{side}MUX" for side in "AB" for name in ("CLK", "CE", "OCE", "WE", "RST")]
    contents = [f"INITVAL_{k:02X}" for k in range(_SLICES)]
    return _module(
        "DP16KD",
        [*inputs, *outputs],
        [
            f"input {', '.join(inputs)};",
            f"output {', '.join(outputs)};",
            "parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;",
            *(f'parameter {name}_{side} = "";' for name in texts for side in "AB"),
            *(f'parameter {name} = "";' for name in (*muxes, "GSR", "RESETMODE")),
            'parameter ASYNC_RESET_RELEASE = "";',
            *(f"parameter [319:0] {name} = 320'h0;" for name in contents),
            f"wire [13:0] address = {{{', '.join(_pins('ADA', 14))}}};",
            "reg [17:0] words [0:1023], q = 0;",
            "integer k;",
            "initial begin",
            f"  for (k = 0; k < {_SLICE}; k = k + 1) begin",
            *(
                f"    words[{_SLICE * number} + k] = {name}[20*k +: 18];"
                for number, name in enumerate(contents)
            ),
            "  end",
            "end",
            "wire [17:0] word = words[address[13:4]];",
            # A narrow word lies in the low or high nine bits.
            "wire [8:0] half = address[3] ? word[17:9] : word[8:0];",
            "always @(posedge CLKA) if (CEA) case (DATA_WIDTH_A)",
            "  18: q <= word;",
            "  9: q <= {9'd0, half};",
            "  4: q <= {14'd0, address[2] ? half[7:4] : half[3:0]};",
            "  2: q <= {16'd0, half[2*address[2:1] +: 2]};",
            "  1: q <= {17'd0, half[address[2:0]]};",
            "endcase",
            f"assign {{{', '.join(_pins('DOA', 18))}}} = q;",
            f"assign {{{', '.join(_pins('DOB', 18))}}} = 18'd0;",
        ],
    )


def multiplier() -> str:
    """``MULT18X18D``: the product of both factors, each signed or not as its pin says."""
    inputs = [*_pins("A", 18), *_pins("B", 18), *_pins("C", 18)]
    inputs += ["SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB"]
    outputs = _pins("P", 36)
    return _module(
        "MULT18X18D",
        [*inputs, *outputs],
        [
            f"input {', '.join(inputs)};",
            f"output {', '.join(outputs)};",
            f"wire signed [18:0] a = {{SIGNEDA & A17, {', '.join(_pins('A', 18))}}};",
            f"wire signed [18:0] b = {{SIGNEDB & B17, {', '.join(_pins('B', 18))}}};",
            "wire signed [37:0] product = a * b;",
            f"assign {{{', '.join(outputs)}}} = product[35:0];",
        ],
    )


def models() -> str:
    """Both."""
    return block_ram() + multiplier()
