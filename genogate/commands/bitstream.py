"""`genogate bitstream`: a network behind a serial port, for a board."""

from __future__ import annotations

from typing import Any

import click

from .completion import boards
from .help import Command, group
from .options import build, network_options, out_option, output_options
from .terminal import progress, show


@click.command(cls=Command, examples=("genogate bitstream --board icebreaker --genome int4",))
@network_options
@group(
    "Board",
    click.option(
        "--board",
        default="icebreaker",
        show_default=True,
        metavar="NAME",
        shell_complete=boards,
        help="Board: icebreaker, icesugar, ice40-hx8k-evn, ulx3s-25f, ulx3s-85f, orangecrab or "
        "tang-nano-9k.",
    ),
)
@output_options(out_option("FOLDER", "build/CHECKPOINT/GENOME/BOARD"))
def bitstream(board: str, **options: Any) -> None:
    """Make a bitstream with a network behind the board's serial port.

    Writes the bitstream, board.json (frequency, resources, rate of the serial port) and the integer
    model. Yosys, nextpnr and the packer come from PyPI (the extra fpga). Program the board with its
    own tool, then run genogate host.
    """
    from ..synth.boards import check_board
    from ..targets import print_bitstream, write_bitstream

    check_board(board)
    with progress() as say:
        network = build(options, say)
        document, folder = write_bitstream(network, board, options["out"], say)
    show(document, lambda: print_bitstream(document, folder))
