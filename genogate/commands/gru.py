"""`genogate gru`: from a genome to Verilog, integer model and report."""

from __future__ import annotations

from typing import Any

import click

from .help import Command
from .options import build, network_folder, network_options, output_options
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate gru --genome int4",
        "genogate gru --genome 4,4,6,3,3,5,6,6,8,6,8,6,8,8,5,5,8 --lanes 2",
        "genogate gru --checkpoint digits-row-2layer --out build/two-layers",
    ),
)
@network_options
@click.option(
    "--wrapper",
    type=click.Choice(["none", "axi", "bytes"]),
    default="none",
    show_default=True,
    help="Also write gru_axi.v or gru_bytes.v: gru.v behind AXI4-Stream or byte streams.",
)
@output_options(network_folder)
def gru(wrapper: str, **options: Any) -> None:
    """Quantise a network, write its Verilog and measure it.

    Writes gru.v, model.safetensors (every integer of the network) and report.json (accuracy, size,
    cycles, cells of every operator), and prints the report. Beside them a self-checking Verilog
    bench with vectors (gru_tb.v and its .hex files) and gru.core for FuseSoC. Either all files are
    written or none.
    """
    from ..flow import write_gru
    from ..printing import print_report

    with progress() as say:
        network = build(options, say)
        report = write_gru(network, options["out"], say, wrapper)
    show(report, lambda: print_report(report, options["out"] or network.folder))
