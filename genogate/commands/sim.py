"""`genogate sim`: the emitted Verilog against the golden model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..sim.rtl.network.regression import SimReport

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import build, network_options, out_option, output_options, seed_option
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=(
        "genogate sim --genome int4 --sequences 4",
        "genogate sim --genome int4 --sequences all --simulator verilator",
    ),
)
@network_options
@group(
    "Simulation",
    click.option(
        "--sequences",
        metavar="N|all",
        default="8",
        show_default=True,
        help="Number of test sequences to run; all is the whole test part.",
    ),
    click.option(
        "--simulator",
        type=click.Choice(["verilator", "icarus"]),
        show_default="Icarus for few sequences, Verilator for many, or the one installed",
        help="Simulator to run.",
    ),
    seed_option(2026, help="Seed for the choice of sequences, stalls and resets."),
)
@output_options(out_option("FOLDER", "build/CHECKPOINT/GENOME/sim"))
def sim(sequences: str, simulator: str | None, seed: int, **options: Any) -> None:
    """Prove the Verilog equal to the integer model, bit by bit.

    Runs real test sequences through Verilator or Icarus Verilog under cocotb, with random stalls,
    resets in mid-sequence and sequences back to back, and compares every code of every operator,
    every hidden state and every logit. Exits with 1 when anything differs, naming the first
    operator that does.
    """
    from ..model.files import read_json
    from ..simulation import run_sim

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
    show(read_json(folder / "sim.json"), lambda: print_sim(report, folder))
    if not report.passed:
        raise click.exceptions.Exit(1)


def print_sim(report: SimReport, folder: str | Path) -> None:
    """The outcome of ``genogate sim``."""
    from rich.text import Text

    from .tables import console, number_text, print_pairs

    terminal = console()
    for message in report.mismatches[:10]:
        terminal.print(Text(message))
    more = len(report.mismatches) - 10
    if more > 0:
        terminal.print(f"... and {more} more")
    rows = [
        ("result", "bit-exact" if report.passed else "DIFFERS"),
        ("genome", f"{report.genome} (model {report.model_hash})"),
        (
            "compared",
            f"{report.codes:,} codes of {report.sequences} sequences, "
            f"{report.steps:,} steps; seed {report.seed}",
        ),
        ("cycles per step", number_text(report.cycles_per_step) or "not measured"),
        ("scenarios", ", ".join(scenario["name"] for scenario in report.scenarios)),
        ("simulator", ", cocotb ".join(report.versions.values())),
        ("time", f"{report.seconds:.1f} s"),
        ("written", str(Path(folder) / "sim.json")),
    ]
    if report.waveform:
        rows.insert(1, ("waveform", report.waveform))
    print_pairs(terminal, rows)
