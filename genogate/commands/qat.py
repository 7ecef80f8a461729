"""`genogate qat`: training of quantised networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..model.errors import InputError
from .help import Command, group
from .options import (
    genome_option,
    knob_options,
    knobs_of,
    out_option,
    output_options,
    seed_option,
    source_options,
    test_option,
    was_given,
    with_recorded_options,
)
from .terminal import epochs_bar, show

#: Options of the training itself, by the names of the recipe's fields.
RECIPE = (
    "epochs",
    "lr",
    "batch",
    "seed",
    "distil",
    "narrow",
    "tables",
    "scales",
    "initial_state",
    "patience",
)


@click.command(
    cls=Command,
    examples=(
        "genogate qat --genome int4 --epochs 3 --out int4.safetensors",
        "genogate qat --any --epochs 3 --out any.safetensors",
    ),
)
@group("Network", genome_option("int4"))
@source_options
@group(
    "Training",
    click.option(
        "--any",
        "for_all",
        is_flag=True,
        help="Train one set of weights for all genomes instead of one for --genome.",
    ),
    click.option(
        "--epochs", type=int, show_default="30, or 50 with --any", help="Number of epochs."
    ),
    click.option(
        "--lr",
        type=float,
        show_default="0.005; a fifth for long sequences",
        help="Greatest learning rate.",
    ),
    click.option(
        "--batch",
        type=int,
        show_default="as the float network's training",
        help="Number of sequences in an update.",
    ),
    seed_option(),
    click.option(
        "--distil/--no-distil",
        default=True,
        show_default=True,
        help="Let the float network teach the quantised one.",
    ),
    click.option("--ternary", "narrow", is_flag=True, help="Keep 2-bit weights within -1 to 1."),
    click.option("--tables", is_flag=True, help="Train the entries of activation tables too."),
    click.option(
        "--scales",
        type=click.Choice(["learned", "fixed"]),
        show_default="fixed",
        help="Train the scales too, or keep them.",
    ),
    click.option(
        "--initial-state",
        type=click.Choice(["learned", "fixed"]),
        show_default="learned where the checkpoint has one, else zero",
        help="Train the state that sequences start with too, or keep it.",
    ),
    click.option(
        "--patience",
        type=int,
        show_default="never stop early",
        help="Stop after so many epochs without a better validation accuracy.",
    ),
)
@knob_options()
@output_options(
    test_option,
    out_option("FILE", "build/CHECKPOINT/GENOME-qat.safetensors", "Checkpoint to write."),
)
def qat(genome: str, for_all: bool, out: str | None, test: bool, **options: Any) -> None:
    """Train the weights further, quantised by a genome (needs torch).

    The forward pass is the integer network itself, so `genogate gru --genome G --checkpoint FILE`
    gives exactly the network that was trained; any other genome with that checkpoint is quantised
    as always. With --any the weights are trained for all genomes at once, for a search to run on.
    A training that was stopped resumes when the same command is given again.
    """
    from ..tuning import run_any, run_tuning

    if for_all and was_given("genome"):
        raise InputError("genome: --any trains for all genomes; leave one of the two out")
    given = {**options, "genome": genome}
    network = given if for_all else with_recorded_options(given)
    with epochs_bar("Reading") as update:

        def say(text: str) -> None:
            update(description=text)

        def tell(done: int, total: int, loss: float, score: float) -> None:
            now = f"loss {loss:.4f}, validation {score:.4f}"
            update(total=total, completed=done, now=now)

        arguments: dict[str, Any] = {
            "task": network["task"],
            "checkpoint": network["checkpoint"],
            "knobs": knobs_of(network),
            "out": out,
            "options": {name: options[name] for name in RECIPE},
            "say": say,
            "tell": tell,
            "test": test,
        }
        if for_all:
            report, path = run_any(**arguments)
        else:
            report, path = run_tuning(genome=network["genome"], **arguments)
    show({"written": str(path), **report}, lambda: print_tuning(report, path))


def print_tuning(report: dict[str, Any], path: str | Path) -> None:
    """What ``genogate qat`` made."""
    from ..reference import size_text
    from .tables import console, print_caution, print_pairs

    scores = report["accuracy"]
    rows = []

    def row(name: str, score: dict[str, float]) -> None:
        parts = {"val": "validation", "test": "test"}
        text = ", ".join(f"{parts[part]} {score[part]:.4f}" for part in parts if part in score)
        rows.append((name, text))

    row("float before", scores["float"])
    if "qat" in scores:
        row("quantised", scores["ptq"])
        row("trained", scores["qat"])
        rows.append(
            (
                "size",
                size_text(report),
            )
        )
        rows.append(
            ("epochs", f"{report['epochs_done']}, the weights of epoch {report['best_epoch']} kept")
        )
        rows.append(("model", report["model_hash"]))
    else:
        for genome, both in scores.items():
            if genome != "float":
                row(f"{genome} before", both["ptq"])
                row(f"{genome} after", both["any"])
    print_pairs(console(), [*rows, ("written", str(path))])
    for note in ("worse", "caution"):
        print_caution(report.get(note))
