"""`genogate area`: cells, transistors and memory bits of a network."""

from __future__ import annotations

from typing import Any

import click

from .options import build, network_options
from .terminal import progress


@click.command()
@network_options
def area(**options: Any) -> None:
    """Cells, transistors and memory bits of every operator, by Yosys.

    Writes area.json. Every module is synthesised once and cached by its content, so a second genome
    costs only what is new in it.
    """
    from ..flow import write_area
    from ..printing import print_area

    with progress() as say:
        network = build(options, say)
        document = write_area(network, options["out"], say)
    print_area(document, options["out"] or network.folder)
