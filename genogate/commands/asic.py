"""`genogate asic`: a network as a netlist of standard cells."""

from __future__ import annotations

from typing import Any

import click

from .help import Command, group
from .options import (
    build,
    liberty_option,
    memories_option,
    network_options,
    out_option,
    output_options,
)
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate asic --genome int4",
        "genogate asic --genome int8 --share all --memories latches",
        "genogate asic --genome int4 --liberty my.lib --clock-gating off --clock 100",
        "genogate asic --genome int2 --weights load --memories latches",
    ),
)
@network_options
@group(
    "Cells",
    liberty_option(),
    click.option(
        "--clock",
        type=float,
        default=50.0,
        show_default=True,
        metavar="MHZ",
        help="Clock of the netlist, MHz (earlier versions: ns).",
    ),
    click.option(
        "--clock-gating",
        type=click.Choice(["on", "off"]),
        default="on",
        show_default=True,
        help="Give registers and memory words that share an enable a clock gate.",
    ),
    memories_option(),
    click.option(
        "--sequences",
        type=int,
        default=64,
        show_default=True,
        help="Test sequences to run through the netlist.",
    ),
    click.option(
        "--whole",
        is_flag=True,
        help="Run all steps of long sequences; by default only as many as fit in 60,000 cycles.",
    ),
)
@output_options(out_option("FOLDER", "build/CHECKPOINT/GENOME/asic"))
def asic(
    liberty: str | None,
    clock: float,
    clock_gating: str,
    memories: str,
    sequences: int,
    whole: bool,
    **options: Any,
) -> None:
    """Map a network to standard cells, proved bit-exact.

    Writes the netlist, its constraints (SDC), Verilog models of its cells, a self-checking bench
    and asic.json: area of every operator, and, where OpenSTA is installed, slack and energy. Test
    sequences run through the netlist; exits with 1 when anything differs from the golden model.
    Weights are logic; those that are loaded (--weights load) are flip-flops or latches, which take
    about 40 and 27 um^2 a bit on sky130 where a constant takes about 1.
    """
    from ..asic import AsicOptions, print_asic, write_asic
    from ..pace import period_ns

    gated = clock_gating == "on"
    mapping = AsicOptions(liberty, period_ns(clock), gated, sequences, whole, memories)
    mapping.check()
    with progress() as say:
        network = build(options, say)
        document, folder = write_asic(network, mapping, options["out"], say)
    show(document, lambda: print_asic(document, folder))
    if document["gate_level"]["mismatches"]:
        raise click.exceptions.Exit(1)
