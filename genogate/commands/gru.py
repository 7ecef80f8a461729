"""`genogate gru`: from a genome to Verilog, integer model and report."""

from __future__ import annotations

from typing import Any

import click

from .options import build, network_options
from .terminal import progress


@click.command()
@network_options
def gru(**options: Any) -> None:
    """Quantise, emit Verilog and measure, in one folder.

    Writes gru.v, model.safetensors (every integer of the network) and report.json (accuracy, size,
    cycles, cells of every operator), and prints the report. Beside them a self-checking Verilog
    bench with vectors (gru_tb.v and its .hex files) and gru.core for FuseSoC. Either all files are
    written or none.
    """
    from ..flow import write_gru
    from ..printing import print_report

    with progress() as say:
        network = build(options, say)
        report = write_gru(network, options["out"], say)
    print_report(report, options["out"] or network.folder)
