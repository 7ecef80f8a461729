"""Options that several commands have, and what they stand for: networks, knobs, output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..model.knobs import Knob, Knobs, declared, knob_text, options
from .completion import checkpoints, genomes, targets, tasks
from .help import Decorated, group, together

if TYPE_CHECKING:
    from ..model.aliases import Say
    from ..network import Network

GENOME_HELP = (
    "Bits (2 to 8) of the 17 operators of every layer: int2 ... int8, a list of integers "
    "(8,8,4,...), or a JSON genome file."
)


def knob_options(knobs: type[Knobs] = Knobs) -> Callable[[Decorated], Decorated]:
    """An option for every knob, read off its declaration."""
    return group(
        "Knobs of quantisation and hardware",
        *(
            _knob_option(option, [declared(knobs)[name] for name in names], default)
            for (option, names), default in zip(
                options(knobs).items(), knobs().option_texts().values(), strict=True
            )
        ),
    )


def _knob_option(option: str, fields: list[Knob], default: str) -> Callable[[Any], Any]:
    first = fields[0]
    kind: dict[str, Any] = {}
    if len(fields) > 1:
        kind = {"metavar": "N|X,H"}
    elif first.choices is None:
        kind = {"type": int}
    else:
        kind = {"type": click.Choice([knob_text(value) for value in first.choices])}
    return click.option(
        f"--{option.replace('_', '-')}",
        default=default if len(fields) > 1 or first.choices is not None else int(default),
        show_default=True,
        help=first.help,
        **kind,
    )


def _switch(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Keep a switch of the output where :mod:`.terminal` looks it up."""
    if value:
        context.meta[f"genogate.{parameter.name}"] = True


def genome_option(default: str = "int8") -> Callable[[Any], Any]:
    """The genome of a network."""
    return click.option(
        "--genome", default=default, show_default=True, shell_complete=genomes, help=GENOME_HELP
    )


#: Range of the function of a table or a unit.
range_option = click.option(
    "--range",
    "bounds",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Range of the function; an expression needs one.",
)


def out_option(kind: str, default: str, help: str = "") -> Callable[[Any], Any]:
    """Where a result goes. `kind` : ``FOLDER`` or ``FILE``; `default` : the place, in words."""
    text = help or f"{kind.capitalize()} to write to."
    return click.option("--out", metavar=kind, show_default=default, help=text)


def seed_option(
    default: int | None = 0, help: str = "Seed for all random choices."
) -> Callable[[Any], Any]:
    """The seed of a command."""
    return click.option(
        "--seed", type=click.IntRange(0), default=default, show_default=True, help=help
    )


def liberty_option() -> Callable[[Any], Any]:
    """The standard cells of a netlist."""
    return click.option(
        "--liberty",
        metavar="FILE",
        help="Liberty file of the cells; GENOGATE_LIBERTY, or sky130's under PDK_ROOT, by default.",
    )


def memories_option() -> Callable[[Any], Any]:
    """What a chip keeps input and state in."""
    return click.option(
        "--memories",
        type=click.Choice(["flops", "latches"]),
        default="flops",
        show_default=True,
        help="Keep input, state and loaded weights in flip-flops, or in latches that are written "
        "while the clock is low.",
    )


def workers_option(default: int = 2) -> Callable[[Any], Any]:
    """Processes that work at the same time."""
    return click.option(
        "--workers",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help="Number of worker processes.",
    )


def folds_option(budget: str) -> Callable[[Any], Any]:
    """The folds of a search within a budget, which the command calls `budget`."""
    return click.option(
        "--folds",
        type=int,
        metavar="K",
        help=f"Judge every network by cross-validation over K folds, with {budget}: the training "
        "and validation parts are cut into K folds, and each fold is judged by a network trained "
        "on the others. Use it when the validation part is too small to tell half a point; each "
        "network then takes K trainings.",
    )


def spare_option(budget: str) -> Callable[[Any], Any]:
    """The errors to spare of a search within a budget, which the command calls `budget`."""
    return click.option(
        "--spare",
        type=float,
        metavar="ERRORS",
        show_default="1",
        help=f"Standard errors of the loss that must fit below --max-drop too, with {budget}. More "
        "make it less likely that the chosen network was only lucky on the validation part, and "
        "the network larger.",
    )


def keep_units_option(budget: str) -> Callable[[Any], Any]:
    """No fewer units in a search within a budget, which the command calls `budget`."""
    return click.option(
        "--keep-units",
        is_flag=True,
        default=None,
        help=f"Keep the numbers of units of the float networks, with {budget}. Without it units "
        "are a gene too: the search removes those that the others can replace.",
    )


def confirm_option(budget: str) -> Callable[[Any], Any]:
    """Second trainings in a search within a budget, which the command calls `budget`."""
    return click.option(
        "--confirm",
        is_flag=True,
        default=None,
        help=f"Train the network that would be chosen once more, with other random numbers, with "
        f"{budget} and within it, and choose the cheapest that is within --max-drop both times. "
        "Use it where few sequences judge, and a network that is chosen was often lucky.",
    )


#: Data of a command that has a checkpoint as well.
task_option = click.option(
    "--task",
    metavar="NAME|FILE.npz",
    shell_complete=tasks,
    show_default="the checkpoint's own, or digits-row",
    help="Data set: a task by name, or a file with your own data.",
)
#: Data of a command that trains.
training_task_option = click.option(
    "--task",
    metavar="NAME|FILE.npz",
    default="digits-row",
    show_default=True,
    shell_complete=tasks,
    help="Data set: a task by name, or a file with your own data.",
)
#: A trained float network.
checkpoint_option = click.option(
    "--checkpoint",
    metavar="NAME|FILE",
    shell_complete=checkpoints,
    show_default="the one shipped for the task",
    help="Float network: a shipped checkpoint by name, or a file.",
)
#: The float network and its data.
source_options = group("Network", task_option, checkpoint_option)
#: A look at the part of the data that no choice may depend on.
test_option = click.option(
    "--test", is_flag=True, help="Evaluate the test part too. No choice may depend on it."
)
#: The part that figures are of.
target_options = together(
    click.option(
        "--target",
        default="generic",
        show_default=True,
        metavar="NAME",
        shell_complete=targets,
        help="Part to measure for: generic (cells), an FPGA (ice40-up5k, ice40-hx8k, ecp5-25k, "
        "ecp5-85k, gowin-gw1n-9 ...) or sky130 (um^2; GENOGATE_LIBERTY or PDK_ROOT names the "
        "cells).",
    ),
    click.option(
        "--memories",
        default="flops",
        show_default=True,
        metavar="KIND",
        help="Memories on sky130: flops (constants as logic, state as flip-flops), latches "
        "(state as latches), or sram (everything in whole macros).",
    ),
)
#: Steps that come in, and the clock that they must be met with.
pace_options = group(
    "Pace",
    click.option(
        "--steps-per-second",
        type=float,
        metavar="N",
        help="Rate at which time steps arrive. A network that is too slow for it at --clock is "
        "refused.",
    ),
    click.option("--clock", type=float, metavar="MHZ", help="Clock of the hardware, MHz."),
)
#: The report as JSON, or no report at all.
output_switches = together(
    click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_switch,
        help="Print the report as JSON on stdout, and nothing else there.",
    ),
    click.option(
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_switch,
        help="Print no report and no progress, only errors and warnings.",
    ),
)


def output_options(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """What a command prints and where it writes, `options` first."""
    return group("Output", *options, output_switches)


#: Which network is meant.
network_options = together(
    group("Network", genome_option()),
    source_options,
    knob_options(),
)
#: The folder of a network's results.
network_folder = out_option("FOLDER", "build/CHECKPOINT/GENOME")


def knobs_of(given: dict[str, Any]) -> Knobs:
    """The knobs that a command's options say. Raises :class:`InputError`."""
    return Knobs.from_texts({name: str(given[name]) for name in options() if name in given})


def was_given(name: str) -> bool:
    """Whether an option of the command that runs was given, in whatever way."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def with_recorded_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with checkpoint and knobs of a genome file that names them in place of
    defaults."""
    from ..network import check_recorded, recorded_with

    record = recorded_with(options["genome"])
    if record is None:
        return options
    checkpoint, knobs = record
    recorded = {"checkpoint": checkpoint, **knobs.option_texts()}
    if not was_given("checkpoint"):
        check_recorded(options["genome"], checkpoint)
    return options | {name: value for name, value in recorded.items() if not was_given(name)}


def build(options: dict[str, Any], say: Say) -> Network:
    from ..network import build_network

    options = with_recorded_options(options)
    return build_network(
        genome=options["genome"],
        task=options["task"],
        checkpoint=options["checkpoint"],
        knobs=knobs_of(options),
        say=say,
    )


def expression(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A function's name or an expression, which may begin with a minus; a mistyped option may not
    pass for one."""
    if value is not None and value.startswith("--"):
        raise click.NoSuchOption(value, ctx=context)
    return value
