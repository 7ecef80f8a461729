"""`genogate campaign`: many random networks, simulated."""

from __future__ import annotations

import click


@click.command()
@click.option("--n", "count", type=int, default=300, show_default=True, help="Number of networks.")
@click.option("--seed", type=int, default=2026, show_default=True, help="Of everything random.")
@click.option("--workers", type=int, default=2, show_default=True, help="Processes.")
@click.option(
    "--out",
    metavar="FOLDER",
    default="build/campaign",
    show_default=True,
    help="Where to write; a campaign that was stopped goes on from there.",
)
def campaign(count: int, seed: int, workers: int, out: str) -> None:
    """Simulate many random genomes, knobs and sizes.

    Each network is emitted, simulated and held to the golden model as in `genogate sim`. Exits with
    1 when anything differs; what failed stays in the folder, with a waveform.
    """
    from ..printing import print_campaign
    from ..sim.rtl.network.campaign import campaign as run

    summary = run(count, out_dir=out, seed=seed, workers=workers)
    print_campaign(summary, out)
    if summary["failed_cases"]:
        raise click.exceptions.Exit(1)
