"""`genogate host`: test sequences through a board on a serial port."""

from __future__ import annotations

import click

from .terminal import progress


@click.command()
@click.option("--port", required=True, help="Serial port of the board: /dev/ttyUSB1, COM3 ...")
@click.option(
    "--model",
    required=True,
    metavar="FOLDER",
    help="What genogate bitstream wrote: board.json and model.safetensors.",
)
@click.option("--task", help="Data set; the one that the network was made for.")
@click.option("--sequences", type=int, default=16, show_default=True, help="Sequences to send.")
@click.option("--baud", type=click.IntRange(300), help="bit/s; as board.json says.")
@click.option(
    "--timeout", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Seconds."
)
def host(
    port: str, model: str, task: str | None, sequences: int, baud: int | None, timeout: float
) -> None:
    """Send test sequences to a board, print its labels, their accuracy and latency.

    The board says which model it runs; labels are compared with the golden model. Exits with 1
    where one differs.
    """
    from ..host import print_session, session

    with progress() as say:
        result = session(port, model, task, sequences, baud, timeout, say)
    print_session(result)
    if result["mismatches"]:
        raise click.exceptions.Exit(1)
