"""Options that several commands have, and what they stand for: knobs and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..model.errors import InputError
from ..model.knobs import Knobs

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


#: The float checkpoint, and what the paper leaves open.
source_options = together(
    click.option("--task", help="Data set; digits-row, or the checkpoint's own."),
    click.option(
        "--checkpoint",
        metavar="NAME|FILE",
        help="Float checkpoint: a shipped one by name, or a file; the task's by default.",
    ),
    click.option(
        "--lanes",
        default="1",
        show_default=True,
        metavar="N|X,H",
        help="Multiply-accumulates per cycle of a dense operator (input side, state side).",
    ),
    click.option(
        "--dense-output",
        type=click.Choice(["gene", "8"]),
        default=Knobs.dense_output,
        show_default=True,
        help="Output bits of a dense operator: its gene's, or always 8.",
    ),
    click.option(
        "--granularity",
        type=click.Choice(["tensor", "channel"]),
        default=Knobs.granularity,
        show_default=True,
        help="Weight scales: one per matrix, or per output by powers of two.",
    ),
    click.option(
        "--multiplier-terms",
        type=click.Choice(["1", "2", "3", "free"]),
        default=str(Knobs.multiplier_terms or "free"),
        show_default=True,
        help="Signed powers of two in a requantiser's multiplier (1: shift only).",
    ),
    click.option(
        "--activation",
        type=click.Choice(["auto", "pwl", "table"]),
        default=Knobs.activation,
        show_default=True,
        help="Sigmoid and tanh: piecewise linear, tables, or the cheaper that holds accuracy.",
    ),
    click.option(
        "--entries",
        type=int,
        default=Knobs.entries,
        show_default=True,
        help="Segments of a piecewise-linear unit.",
    ),
    click.option(
        "--input-bits",
        type=int,
        default=Knobs.input_bits,
        show_default=True,
        help="Width of the network's input codes, 1 to 8.",
    ),
)
#: Which network is meant.
network_options = together(
    click.option("--genome", default="int8", show_default=True, help=GENOME_HELP),
    source_options,
    click.option("--out", metavar="FOLDER", help="Where to write; build/TASK/GENOME/."),
)


def knobs_of(options: dict[str, Any]) -> Knobs:
    from ..flow import parse_lanes

    lanes_x, lanes_h = parse_lanes(options["lanes"])
    terms = options["multiplier_terms"]
    return Knobs(
        dense_output=options["dense_output"],
        granularity=options["granularity"],
        multiplier_terms=None if terms == "free" else int(terms),
        activation=options["activation"],
        entries=options["entries"],
        lanes_x=lanes_x,
        lanes_h=lanes_h,
        input_bits=options["input_bits"],
    )


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
    found: dict[str, Any] = {
        "checkpoint": checkpoint,
        "dense_output": wanted.dense_output,
        "granularity": wanted.granularity,
        "multiplier_terms": str(wanted.multiplier_terms or "free"),
        "activation": wanted.activation,
        "entries": wanted.entries,
        "lanes": f"{wanted.lanes_x},{wanted.lanes_h}",
        "input_bits": wanted.input_bits,
    }
    source = click.get_current_context().get_parameter_source
    given = click.core.ParameterSource.DEFAULT
    return options | {name: value for name, value in found.items() if source(name) is given}


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
