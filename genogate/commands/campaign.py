"""`genogate campaign`: many random networks, simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import output_options, seed_option, workers_option
from .terminal import show, switched


@click.command(cls=Command, examples=("genogate campaign --n 20 --out build/campaign-20",))
@group(
    "Campaign",
    click.option(
        "--n", "count", type=int, default=300, show_default=True, help="Number of networks."
    ),
    click.option(
        "--structures",
        is_flag=True,
        help="Only networks with dense layers in front of and behind the GRU layers, and given "
        "states.",
    ),
    seed_option(2026),
    workers_option(),
)
@output_options(
    click.option(
        "--out",
        metavar="FOLDER",
        default="build/campaign",
        show_default=True,
        help="Folder to write to. A stopped campaign resumes from there.",
    )
)
def campaign(count: int, structures: bool, seed: int, workers: int, out: str) -> None:
    """Simulate many random genomes, knobs and sizes.

    Each network is emitted, simulated and compared with the golden model as in `genogate sim`.
    Exits with 1 when anything differs; what failed stays in the folder, with a waveform.
    """
    from ..sim.rtl.network.campaign import campaign as run

    visible = not switched("quiet")
    summary = run(
        count,
        out_dir=out,
        seed=seed,
        workers=workers,
        progress=visible,
        structures=structures,
    )
    show(summary, lambda: print_campaign(summary, out))
    if summary["failed_cases"]:
        raise click.exceptions.Exit(1)


def print_campaign(summary: dict[str, Any], folder: str | Path) -> None:
    """The summary of ``genogate campaign``."""
    from rich.text import Text

    from .tables import console, print_pairs

    terminal = console()
    for failure in summary["failures"][:10]:
        terminal.print(Text(f"case {failure['index']} ({failure['name']}): {failure['first']}"))
    busy = summary["utilisation_16_units_and_more"]["min"]
    print_pairs(
        terminal,
        [
            ("networks", f"{summary['cases']:,}, {summary['failed_cases']} failed"),
            (
                "compared",
                f"{summary['codes']:,} codes of {summary['sequences']:,} sequences, "
                f"{summary['mismatches']} mismatches; seed {summary['seed']}",
            ),
            (
                "multipliers busy",
                f"at least {busy:.1%} from 16 units on" if busy else "not measured",
            ),
            ("time", f"{summary['seconds']:,} s, {summary['resumed']} networks resumed"),
            ("written", str(Path(folder) / "summary.json")),
        ],
    )
