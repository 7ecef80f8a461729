"""Options that several commands have, and what they stand for: knobs and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..model.errors import InputError
from ..model.knobs import Knob, Knobs, declared, knob_text, options

if TYPE_CHECKING:
    from ..flow import Network, Say

Command = TypeVar("Command", bound=Callable[..., Any])

GENOME_HELP = (
    "Bits (2 to 8) of the 17 operators of every layer: int2 ... int8, a list of integers "
    "(8,8,4,...), or a JSON genome file."
)


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def knob_options(knobs: type[Knobs] = Knobs) -> Callable[[Command], Command]:
    """An option for every knob, read off its declaration."""
    return together(
        *(
            _knob_option(option, [declared(knobs)[name] for name in names], default)
            for (option, names), default in zip(
                options(knobs).items(), knobs().option_texts().values(), strict=True
            )
        )
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


#: The float checkpoint, and what the paper leaves open.
source_options = together(
    click.option("--task", help="Data set; digits-row, or the checkpoint's own."),
    click.option(
        "--checkpoint",
        metavar="NAME|FILE",
        help="Float checkpoint: a shipped one by name, or a file; the task's by default.",
    ),
    knob_options(),
)
#: A look at the part of the data that no choice may depend on.
test_option = click.option(
    "--test", is_flag=True, help="Also look at the test part, which no choice may depend on."
)
#: Which network is meant.
network_options = together(
    click.option("--genome", default="int8", show_default=True, help=GENOME_HELP),
    source_options,
    click.option("--out", metavar="FOLDER", help="Where to write; build/TASK/GENOME/."),
)


def knobs_of(given: dict[str, Any]) -> Knobs:
    """The knobs that a command's options say. Raises :class:`InputError`."""
    return Knobs.from_texts({name: str(given[name]) for name in options() if name in given})


def with_recorded_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with checkpoint and knobs of a genome file that names them in place of defaults:
    a genome alone is not the network that was found."""
    from ..model.genome import found_with

    about = found_with(options["genome"])
    if about is None:
        return options
    checkpoint, knobs = about
    try:
        wanted = Knobs(**knobs)
    except (TypeError, InputError) as error:
        raise InputError(f"{options['genome']}: its knobs are wrong ({error})") from None
    recorded = {"checkpoint": checkpoint, **wanted.option_texts()}
    source = click.get_current_context().get_parameter_source
    given = click.core.ParameterSource.DEFAULT
    return options | {name: value for name, value in recorded.items() if source(name) is given}


def build(options: dict[str, Any], say: Say) -> Network:
    from ..flow import build_network

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
