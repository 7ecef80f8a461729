"""`genogate area`: cells, transistors and memory bits of a network, or what it takes of a part."""

from __future__ import annotations

from typing import Any

import click

from .options import build, network_options
from .terminal import progress


@click.command()
@network_options
@click.option(
    "--target",
    default="generic",
    show_default=True,
    metavar="NAME",
    help="generic (cells), an FPGA (ice40-up5k, ice40-hx8k, ecp5-25k, ecp5-85k, gowin-gw1n-9 ...) "
    "or sky130 (um^2; GENOGATE_LIBERTY or PDK_ROOT names the cells).",
)
@click.option("--route", is_flag=True, help="Place and route too: clock frequency (FPGAs).")
def area(target: str, route: bool, **options: Any) -> None:
    """Cells, transistors and memory bits of every operator, by Yosys.

    Writes area.json. With --target what the network takes of a real part, in target.json. Every
    module is synthesised once and cached by its content, so a second genome costs only what is new
    in it.
    """
    from ..flow import write_area
    from ..printing import print_area
    from ..targets import check_route, print_target, write_target

    check_route(target, route)
    with progress() as say:
        network = build(options, say)
        if target == "generic":
            document = write_area(network, options["out"], say)
        else:
            document = write_target(network, target, route, options["out"], say)
    if target == "generic":
        print_area(document, options["out"] or network.folder)
    else:
        print_target(document, options["out"] or network.folder)
