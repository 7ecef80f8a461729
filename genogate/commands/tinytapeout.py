"""`genogate tinytapeout`: a network as a project for Tiny Tapeout."""

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
        "genogate tinytapeout --task kws4 --genome int4 --share all --author 'My Name'",
        "genogate tinytapeout --task kws4 --genome int4 --share all --memories latches",
    ),
)
@network_options
@group(
    "Project",
    click.option(
        "--name",
        metavar="tt_um_NAME",
        help="Name of the top module, by default from task and genome.",
    ),
    click.option("--title", help="Title of the project, by default from task and genome."),
    click.option(
        "--author", default="(author)", show_default=True, help="Author that the project names."
    ),
    click.option(
        "--clock",
        type=float,
        default=50.0,
        show_default=True,
        metavar="MHZ",
        help="Clock of the chip, MHz (earlier versions: ns).",
    ),
    liberty_option(),
    memories_option(),
)
@output_options(out_option("FOLDER", "build/CHECKPOINT/GENOME/tinytapeout"))
def tinytapeout(
    name: str | None,
    title: str | None,
    author: str,
    clock: float,
    liberty: str | None,
    memories: str,
    **options: Any,
) -> None:
    """Make a project folder for Tiny Tapeout.

    Writes info.yaml, the source with its settings, documentation and a cocotb test. The network
    takes a byte a feature on 8 pins and answers in bytes on 8 others. How many tiles it needs is
    estimated from the area of its cells at 60 % density; nothing is laid out.
    """
    from ..pace import period_ns
    from ..synth.cells.latches import latch_cells
    from ..synth.cells.liberty import find
    from ..synth.integration.tiny_tapeout import Project, names
    from ..tinytapeout import print_project, write_project

    period = period_ns(clock)
    Project(name or "tt_um_x", title or "x", author, period).check()
    library = find(liberty)
    if memories == "latches":
        latch_cells(library)
    with progress() as say:
        network = build(options, say)
        label = (network.task.label, network.model.genome.id)
        project = Project(
            name or names(("genogate", *label)),
            title or f"GRU network of task {label[0]}, genome {label[1]}",
            author,
            period,
        )
        document, folder = write_project(network, project, liberty, options["out"], say, memories)
    show(document, lambda: print_project(document, folder))
