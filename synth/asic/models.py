"""Verilog models of library cells, made from their Liberty functions."""

from collections.abc import Iterable

from ..cells.liberty import Library


def cell_models(library: Library, cells: Iterable[str]) -> str:
    """Verilog modules of `cells`: function only, no delays, no power pins.

    Flip-flops start at 0, so that a simulation begins as one in two states would. Raises
    :class:`InputError` for a cell whose function cannot be said.
    """
    head = f"// Cells of {library.name}, made from the functions in its Liberty file.\n"
    return head + "\n".join(_model(library, name) for name in sorted(cells))


class _Pins(dict):
    """In a cell's expressions a pin stands for itself, and all ones are one."""

    def __missing__(self, name: str) -> str:
        self.used.append(name)
        return name

    def __init__(self) -> None:
        super().__init__(M="1'b1", state="state")
        self.used: list[str] = []


def _model(library: Library, name: str) -> str:
    cell = library.cell(name)
    pins = _Pins()
    if cell.gated:
        # Latched while the clock is low, so that the gated clock has no spike.
        clock = library.clock_pin(name)
        inputs = list(dict.fromkeys([clock, str(cell.enable)]))
        return (
            f"module {name} (input {', input '.join(inputs)}, output {cell.gated});\n"
            f"  reg open = 0;\n"
            f"  always @* if (!{clock}) open = {cell.enable};\n"
            f"  assign {cell.gated} = {clock} & open;\nendmodule\n"
        )
    lines = [
        f"  assign {pin} = {function.format_map(pins)};" for pin, function in cell.outputs.items()
    ]
    if cell.clock:
        following = str(cell.next_state).format_map(pins)
        lines = [
            "  reg state = 0;",
            f"  always @(posedge {cell.clock}) state <= {following};",
            *lines,
        ]
        pins.used.append(cell.clock)
    if cell.latch:
        enable, data = cell.latch
        lines = ["  reg state = 0;", f"  always @* if ({enable}) state = {data};", *lines]
        pins.used += cell.latch
    inputs = sorted(set(pins.used) - set(cell.outputs))
    ports = [*(f"input {pin}" for pin in inputs), *(f"output {pin}" for pin in cell.outputs)]
    return "\n".join([f"module {name} ({', '.join(ports)});", *lines, "endmodule", ""])
