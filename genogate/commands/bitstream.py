"""`genogate bitstream`: a network behind a serial port, for a board."""

from __future__ import annotations

from typing import Any

import click

from .options import build, network_options
from .terminal import progress


@click.command()
@network_options
@click.option(
    "--board",
    default="icebreaker",
    show_default=True,
    metavar="NAME",
    help="icebreaker, icesugar, ice40-hx8k-evn, ulx3s-25f, ulx3s-85f, orangecrab or tang-nano-9k.",
)
def bitstream(board: str, **options: Any) -> None:
    """A bitstream for a board: features in and labels out over its serial port.

    Writes the bitstream, board.json (frequency, what it takes, rate of the serial port) and the
    integer model. Yosys, nextpnr and the packer come from PyPI (the extra fpga). Program the board
    with its own tool, then run genogate host.
    """
    from ..synth.boards import check_board
    from ..targets import print_bitstream, write_bitstream

    check_board(board)
    with progress() as say:
        network = build(options, say)
        document, folder = write_bitstream(network, board, options["out"], say)
    print_bitstream(document, folder)
