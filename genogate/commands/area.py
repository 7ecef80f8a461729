"""`genogate area`: cells, transistors and memory bits of a network, or what it takes of a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import (
    build,
    network_folder,
    network_options,
    output_options,
    pace_options,
    target_options,
)
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate area --genome int4",
        "genogate area --genome int4 --target ice40-up5k",
    ),
)
@network_options
@group(
    "Part",
    target_options,
    click.option(
        "--route",
        is_flag=True,
        help="Also place and route, to measure the clock frequency of an FPGA.",
    ),
    click.option(
        "--energy",
        is_flag=True,
        help="Also measure the energy of an inference on sky130, with and without clock gates "
        "(needs OpenSTA).",
    ),
)
@pace_options
@output_options(network_folder)
def area(
    target: str,
    memories: str,
    route: bool,
    energy: bool,
    steps_per_second: float | None,
    clock: float | None,
    **options: Any,
) -> None:
    """Measure the hardware of every operator with Yosys.

    Writes area.json with cells, transistors and memory bits. With --target it writes target.json,
    the resources that the network takes of a real part. Every module is synthesised once and cached
    by its content, so a second genome costs only what is new in it.
    """
    from ..outputs import write_area
    from ..pace import Pace, pace_rows
    from ..targets import (
        check_energy,
        check_route,
        check_target_options,
        print_target,
        write_target,
    )
    from .tables import console, print_pairs

    check_target_options(target, memories)
    check_route(target, route)
    check_energy(target, energy)
    pace = Pace(steps_per_second, clock)
    pace.check()
    with progress() as say:
        network = build(options, say)
        demand = pace.document(network)
        if target == "generic":
            document = write_area(network, options["out"], say)
        else:
            document = write_target(network, target, route, options["out"], say, memories, energy)
    report = print_area if target == "generic" else print_target

    def told() -> None:
        report(document, options["out"] or network.folder)
        if demand:
            print_pairs(console(), pace_rows(demand))

    show(document | demand, told)


def print_area(document: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate area``."""
    from .tables import console, genome_text, print_operators, print_pairs

    terminal = console()
    print_operators(terminal, document)
    terminal.print()
    print_pairs(
        terminal,
        [
            ("genome", genome_text(document)),
            ("flat", f"{document['cells_flat']:,} cells with module borders dissolved"),
            ("measured by", document["yosys"]),
            ("written", str(Path(folder) / "area.json")),
        ],
    )
