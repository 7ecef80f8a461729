"""`genogate host`: test sequences through a board on a serial port."""

from __future__ import annotations

import click

from .completion import tasks
from .help import Command, group
from .options import output_options
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate host --port /dev/ttyUSB1 --model build/digits-row/int4/icebreaker --sequences 8",
    ),
)
@group(
    "Board",
    click.option(
        "--port", required=True, help="Serial port of the board: /dev/ttyUSB1, COM3 and so on."
    ),
    click.option(
        "--model",
        required=True,
        metavar="FOLDER",
        type=click.Path(),
        help="Folder that genogate bitstream wrote, with board.json and model.safetensors.",
    ),
    click.option(
        "--load",
        "weights",
        metavar="FOLDER",
        type=click.Path(),
        show_default="those of --model",
        help="Load the weights of another network of the same hardware: a folder of genogate gru "
        "--weights load.",
    ),
    click.option(
        "--baud",
        type=click.IntRange(300),
        show_default="as board.json says",
        help="Rate of the serial port in bit/s.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0.01),
        default=5.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    ),
)
@group(
    "Data",
    click.option(
        "--task",
        metavar="NAME|FILE.npz",
        shell_complete=tasks,
        show_default="the one that the network was made for",
        help="Data set: a task by name, or a file with your own data.",
    ),
    click.option(
        "--sequences",
        type=int,
        default=16,
        show_default=True,
        help="Number of test sequences to send.",
    ),
)
@output_options()
def host(
    port: str,
    model: str,
    weights: str | None,
    task: str | None,
    sequences: int,
    baud: int | None,
    timeout: float,
) -> None:
    """Send test sequences to a board and check its labels.

    The board says which model it runs; labels are compared with the golden model. Prints labels,
    accuracy and latency; weights that are not part of the bitstream are loaded first. Exits with 1
    where a label differs.
    """
    from ..host import print_session, session

    with progress() as say:
        result = session(port, model, task, sequences, baud, timeout, say, weights)
    show(result, lambda: print_session(result))
    if result["mismatches"]:
        raise click.exceptions.Exit(1)
