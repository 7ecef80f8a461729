"""`genogate experiment`: everything for a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..model.errors import InputError
from ..model.knobs import Knobs
from .completion import targets
from .help import Command, group
from .options import (
    confirm_option,
    folds_option,
    keep_units_option,
    out_option,
    output_options,
    seed_option,
    spare_option,
    training_task_option,
    workers_option,
)
from .terminal import saying, show

#: Told where a plan has a value for every task.
PLAN = "the task's plan"


#: Options of an experiment within a budget of time alone.
WITHIN_TIME = ("max_cycles", "folds", "spare", "confirm", "keep_units")


@click.command(
    cls=Command,
    examples=(
        "genogate experiment --task mine.npz --budget 60m",
        "genogate experiment --task digits-row --budget quick",
        "genogate experiment --task mine.npz --checkpoints mine.safetensors --hidden none",
    ),
)
@group(
    "Networks and data",
    training_task_option,
    click.option(
        "--checkpoints",
        metavar="NAME|FILE,...",
        show_default="all that are shipped for the task",
        help="Float networks: the reference, further seeds of its size, and networks of the sizes "
        "of --hidden. The name seedN is a network trained here.",
    ),
    click.option(
        "--hidden",
        metavar="N,...|none",
        show_default=PLAN,
        help="Further hidden sizes, trained here.",
    ),
    click.option(
        "--lanes",
        default="1",
        show_default=True,
        metavar="N|X,H",
        help="Multiply-accumulates per cycle of a dense operator.",
    ),
    click.option(
        "--activation",
        type=click.Choice(["auto", "pwl", "table"]),
        default="table",
        show_default=True,
        help="Hardware of sigmoid and tanh. Tables are quick to measure.",
    ),
)
@group(
    "Searches",
    click.option(
        "--budget",
        metavar="TIME|full|quick",
        default="full",
        show_default=True,
        help="Effort. A CPU time over all processes, as in 60m, trains networks of several sizes,"
        " searches with training, and writes page.html, which says what to build. full is "
        "the task's plan. quick shows the flow; its figures mean nothing.",
    ),
    click.option(
        "--max-drop",
        type=float,
        metavar="POINTS",
        show_default="0.5",
        help="Points of accuracy that may be lost, with a budget of time.",
    ),
    folds_option("a budget of time"),
    spare_option("a budget of time"),
    confirm_option("a budget of time"),
    keep_units_option("a budget of time"),
    click.option(
        "--objectives", show_default="accuracy,size,cells", help="Objectives of the searches."
    ),
    click.option(
        "--pop", "pop_size", type=int, show_default=PLAN, help="Population size of a search."
    ),
    click.option(
        "--generations",
        type=int,
        show_default=PLAN,
        help="Number of generations of exploration; as many of local search follow.",
    ),
    click.option(
        "--seed-patterns/--no-seed-patterns",
        default=None,
        help="Also start searches from genomes written by hand; not by default.",
    ),
    seed_option(None, help="Seed of searches and trainings; 0 by default."),
    click.option(
        "--target",
        metavar="NAME",
        shell_complete=targets,
        show_default="sky130",
        help="Part to build for, with a budget of time: an FPGA (fewest LUTs, all of its resources "
        "are limits) or sky130 (least area). What is built is measured in it.",
    ),
    click.option(
        "--max-cycles",
        type=float,
        metavar="CYCLES",
        help="Limit for cycles per step, with a budget of time. The operators then share "
        "hardware as far as it lets them, where the models of the part tell what that takes.",
    ),
)
@group(
    "Training",
    click.option(
        "--epochs",
        type=int,
        show_default=PLAN,
        help="Number of epochs of training a network for its genome.",
    ),
    click.option(
        "--any-epochs",
        type=int,
        show_default=PLAN,
        help="Number of epochs of training weights for all genomes.",
    ),
    click.option(
        "--sequences", type=int, show_default="all", help="Training sequences that an epoch sees."
    ),
    click.option(
        "--any-sequences",
        type=int,
        show_default="as --sequences",
        help="Training sequences that an epoch of training for all genomes sees.",
    ),
    click.option(
        "--scales",
        type=click.Choice(["fixed", "learned"]),
        show_default="fixed",
        help="Keep the scales of a network trained for its genome, or train them too.",
    ),
    click.option(
        "--teacher",
        type=click.Choice(["own", "reference"]),
        show_default=PLAN,
        help="Teacher of networks of other sizes: their own float network, or the reference.",
    ),
    click.option(
        "--rounds",
        type=int,
        show_default=PLAN,
        help="Number of rounds that train networks of the front.",
    ),
    click.option(
        "--trained", type=int, show_default=PLAN, help="Number of networks that a round trains."
    ),
    click.option(
        "--every-seed/--first-seed",
        default=None,
        help="Train on every seed in each round, or only on the first; further seeds may be added"
        " later.",
    ),
)
@group(
    "Run",
    workers_option(),
    click.option(
        "--sim-sequences",
        type=int,
        show_default="20",
        help="Number of test sequences to simulate as Verilog.",
    ),
)
@output_options(
    click.option(
        "--record", is_flag=True, help="Copy the record to docs/data, for the results pages."
    ),
    out_option("FOLDER", "runs/experiment-TASK"),
)
def experiment(
    task: str,
    budget: str,
    out: str | None,
    workers: int,
    record: bool,
    lanes: str,
    activation: str,
    target: str | None,
    **options: Any,
) -> None:
    """Run the whole flow for a task: search, training, cells, test.

    Trains float networks, and weights for all genomes; searches on both; trains homogeneous rivals
    and, in rounds and on several seeds, the networks that the searches found; measures cells with
    Yosys; and simulates one mixed network as Verilog. Every number is written to experiment.json at
    once, so after a stop the same command resumes.
    """
    knobs = Knobs.from_texts({"activation": activation, "lanes": lanes})
    if budget not in ("full", "quick"):
        _within_budget(task, budget, options, knobs, out, workers, record, target)
        return
    from ..experiment import record_in_docs, run_experiment

    if options.pop("max_drop") is not None:
        raise InputError("max-drop: with a budget of time, as in --budget 60m, alone")
    within_time = {"target": target}
    within_time |= {name: options.pop(name) for name in WITHIN_TIME}
    for name, value in within_time.items():
        if value is not None and value is not False:
            option = name.replace("_", "-")
            raise InputError(f"{option}: with a budget of time, as in --budget 60m, alone")
    if options["generations"] is not None:
        options["exploit"] = options["generations"]
    with saying() as say:
        document, folder = run_experiment(task, budget, options, knobs, out, workers, say)
    copies = [record_in_docs(document)] if record else []

    def table() -> None:
        print_experiment(document, folder)
        for path in copies:
            click.echo(f"written  {path}")

    show(document, table)
    if document.get("simulation", {}).get("mismatches"):
        raise click.exceptions.Exit(1)


def _within_budget(
    task: str,
    budget: str,
    options: dict[str, Any],
    knobs: Knobs,
    out: str | None,
    workers: int,
    record: bool,
    target: str | None,
) -> None:
    from ..budgeted import run_budgeted
    from .search import print_ladder

    with saying() as say:
        document, folder = run_budgeted(
            task, budget, options, knobs, out, workers, record, say, target
        )
    show(document, lambda: print_ladder(document, folder))


def print_experiment(document: dict[str, Any], folder: str | Path) -> None:
    """The table of ``genogate experiment``."""
    from rich.text import Text

    from ..search.experiment.summary import lines_of
    from .tables import console, print_pairs

    terminal = console()
    for line in lines_of(document):
        terminal.print(Text(line))
    simulation = document.get("simulation", {})
    if "skipped" in simulation:
        said = f"skipped: {simulation['skipped']}"
    elif simulation:
        said = (
            f"{simulation['count']} test sequences of {simulation['steps_run']} steps, "
            f"{simulation['mismatches']} mismatches"
        )
    else:
        said = "none"
    print_pairs(terminal, [("simulated", said), ("written", f"{folder}/experiment.json")])
