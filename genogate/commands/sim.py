"""`genogate sim`: the emitted Verilog against the golden model."""

from __future__ import annotations

from typing import Any

import click

from .options import build, network_options
from .terminal import progress


@click.command()
@network_options
@click.option(
    "--sequences",
    metavar="N|all",
    default="8",
    show_default=True,
    help="Test sequences to run; all: the whole test part.",
)
@click.option(
    "--simulator",
    type=click.Choice(["verilator", "icarus"]),
    help="Default: Icarus for few sequences, Verilator where compiling pays, or whichever is "
    "installed.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=2026,
    show_default=True,
    help="Of the choice of sequences, stalls and resets.",
)
def sim(sequences: str, simulator: str | None, seed: int, **options: Any) -> None:
    """Hold the emitted Verilog to the golden model, bit by bit.

    Runs real test sequences through Verilator or Icarus Verilog under cocotb, with random stalls,
    resets in mid-sequence and sequences back to back, and compares every code of every operator,
    every hidden state and every logit. Exits with 1 when anything differs, naming the first
    operator that does.
    """
    from ..flow import run_sim
    from ..printing import print_sim

    try:
        count = None if sequences == "all" else int(sequences)
    except ValueError:
        raise click.BadParameter(
            f"{sequences!r} is neither a number nor all", param_hint="--sequences"
        ) from None
    with progress() as say:
        network = build(options, say)
        report, folder = run_sim(
            network,
            sequences=count,
            seed=seed,
            out=options["out"],
            say=say,
            simulator=simulator,
        )
    print_sim(report, folder)
    if not report.passed:
        raise click.exceptions.Exit(1)
