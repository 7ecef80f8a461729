"""`genogate listen`: speech before and after a denoiser, as WAV files and in figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .help import Command, group
from .options import (
    checkpoint_option,
    genome_option,
    knob_options,
    knobs_of,
    out_option,
    output_options,
)
from .terminal import progress, show


@click.command(
    cls=Command,
    examples=("genogate listen --genome int4", "genogate listen recording.wav --genome int4"),
)
@click.argument("sound", required=False, metavar="[SOUND.wav]", type=click.Path())
@group("Network", genome_option(), checkpoint_option)
@knob_options()
@group(
    "Speech",
    click.option("--test", is_flag=True, help="Take the test part. No choice may depend on it."),
    click.option(
        "--sequences",
        type=click.IntRange(1),
        default=60,
        show_default=True,
        help="Number of sequences of 2 s that are measured.",
    ),
    click.option(
        "--files",
        type=click.IntRange(0),
        default=4,
        show_default=True,
        help="Number of sequences that are written as WAV files.",
    ),
)
@output_options(out_option("FOLDER", "build/CHECKPOINT/GENOME/listen"))
def listen(sound: str | None, test: bool, out: str | None, **options: Any) -> None:
    """Write speech before and after a denoiser, and measure it.

    Without SOUND.wav, noisy speech of the task denoise (Speech Commands; its validation part) goes
    through the float network, INT8 and the genome's integer model: WAV files of some sequences,
    and SI-SDR, STOI and PESQ (where pesq is installed) over all. With SOUND.wav (mono, 8 or 16 kHz)
    your own recording goes through them.
    """
    from ..listen import listen as run

    with progress() as say:
        record, folder = run(
            sound,
            genome=options["genome"],
            checkpoint=options["checkpoint"],
            knobs=knobs_of(options),
            part="test" if test else "val",
            sequences=options["sequences"],
            files=options["files"],
            out=out,
            say=say,
        )
    show(record, lambda: print_listen(record, folder))


def print_listen(record: dict[str, Any], folder: Path) -> None:
    """The table of ``genogate listen``."""
    from .tables import console, new_table, print_pairs

    terminal = console()
    if "versions" in record:
        rows = new_table("sound", "SI-SDR (dB)", "gain (dB)", "STOI", "PESQ")
        for name, row in record["versions"].items():
            quality = "-" if row["pesq"] is None else f"{row['pesq']:.2f}"
            rows.add_row(
                name,
                f"{row['si_sdr']:.2f}",
                f"{row['si_sdr_gain']:.2f}",
                f"{row['stoi']:.3f}",
                quality,
            )
        terminal.print(rows)
        terminal.print()
    pairs = [("written", f"{folder}/ ({len(record['files'])} WAV files)")]
    if "versions" in record:
        pairs.insert(
            0, ("measured", f"{record['sequences']} sequences of the {record['part']} part")
        )
    print_pairs(terminal, pairs)
